"""The ledger of a run: an embedded chain in its folder, with a simulated key for every member."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridloop.simulators.market.deals import Notary

LEDGER = "ledger.sqlite"  # in the folder of a run
DSO = "dso"
MOST_VALIDATORS = 4


def open_notary(
    seed: int, roles: Mapping[str, tuple[str, ...]], buses: Mapping[str, str], slot_s: float, folder: Path | None
) -> "Notary[Any]":  # fmt: skip
    """A ledger of its own for a DSO and owners; the DSO and the first owners validate its blocks.

    Args:
        seed: of the keys.
        roles: of each owner, sorted, by its name.
        buses: where each owner is connected.
        slot_s: length of a slot, whole seconds.
        folder: where its file goes; None keeps it in memory.

    Raises:
        ValueError: the ledger's package is not installed.
    """
    try:
        from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
        from gridloop.simulators.market.ledger_keys import simulated
    except ImportError as error:
        raise ValueError(
            "trades on a ledger need cryptography; install the extra: pip install 'gridloop[ledger]'"
        ) from error
    from gridloop.simulators.market.deals import Notary
    from gridloop.simulators.market.ledger_state import Genesis, Member

    keys = {name: simulated(seed, name) for name in (DSO, *roles)}
    members = {key.address: Member(name, roles.get(name, (DSO,))) for name, key in keys.items()}
    validators = list(keys.values())[:MOST_VALIDATORS]
    genesis = Genesis(members, tuple(key.address for key in validators), round(slot_s))
    ledger = EmbeddedLedger.create(None if folder is None else folder / LEDGER, genesis, validators)
    return Notary(ledger, keys, buses, DSO)
