"""How many full trades a ledger takes: two proposals, the DSO's mapping, two approvals, the settlement.

python benchmarks/ledger.py
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anvil
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from gridloop.simulators.market.ledger_keys import simulated
from gridloop.simulators.market.ledger_state import Genesis, Member

TRADES, TRADES_EVM = 200, 20
LIMIT_S = 10.0  # for the 200 on this machine
SLOT_S = 900
ROLES = {"dso": ("dso",), "house": ("buyer", "seller"), "shop": ("buyer", "seller"), "auditor": ("auditor",)}


def consortium(key: Callable[[str], Any]) -> tuple[Genesis, dict[str, Any]]:
    """Four members that all validate, and their keys."""
    keys = {name: key(name) for name in ROLES}
    members = {keys[name].address: Member(name, roles) for name, roles in ROLES.items()}
    return Genesis(members, tuple(members), SLOT_S), keys


def trade(ledger: Any, keys: dict[str, Any], count: int) -> float:
    """Seconds for that many trades, one a slot, each slot's block closed."""

    def do(name: str, kind: str, **body: Any) -> str:
        return str(ledger.append(ledger.sign(keys[name], kind, body)).id)

    began = time.perf_counter()
    for slot in range(count):
        common = {"slot": slot, "w": 2000}
        sell = do("house", "propose", side="sell", bus="bus7", price=200_000, **common)
        buy = do("shop", "propose", side="buy", bus="bus9", price=260_000, **common)
        match = do("dso", "map", sell=sell, buy=buy, w=2000, price=230_000, loading_ppm=640_000, loss_w=12)
        do("house", "approve", match=match)
        do("shop", "approve", match=match)
        do("shop", "settle", match=match, w=1900)
        ledger.seal(slot * SLOT_S)
    return time.perf_counter() - began


def embedded_s() -> tuple[float, float]:
    """Seconds for the trades in a file on this disk, and for its verification."""
    genesis, keys = consortium(lambda name: simulated(0, name))
    with TemporaryDirectory() as folder:
        ledger = EmbeddedLedger.create(Path(folder) / "market.ledger", genesis, keys.values())
        took_s = trade(ledger, keys, TRADES)
        began = time.perf_counter()
        ledger.verify()
        verify_s = time.perf_counter() - began
        ledger.close()
    return took_s, verify_s


def evm_s() -> float:
    """Seconds for fewer trades on a node of an EVM chain on this machine, through web3."""
    from gridloop.simulators.market.ledger_calls import simulated as account
    from gridloop.simulators.market.ledger_evm import EvmLedger

    genesis, keys = consortium(lambda name: account(0, name))
    with anvil.node() as url:
        return trade(EvmLedger.deploy(url, genesis, keys["dso"], ticker=keys["dso"]), keys, TRADES_EVM)


def show() -> bool:
    """Print the figures; whether the limit is kept."""
    took_s, verify_s = embedded_s()
    txs, mark = 6 * TRADES, "ok" if took_s <= LIMIT_S else "MISSED"
    print(
        f"{f'ledger: {TRADES} trades ({txs} tx, {TRADES} blocks), s':<48} {took_s:6.2f}   at most {LIMIT_S:g}   {mark}"
    )
    print(f"{'ledger: transactions per second; verified again':<48} {txs / took_s:6.0f} {txs / verify_s:6.0f}")
    if anvil.program() is None:
        print("ledger on an EVM chain: anvil is not here, left out")
    else:
        print(f"{'ledger on anvil: transactions per second':<48} {6 * TRADES_EVM / evm_s():6.1f}")
    return took_s <= LIMIT_S


if __name__ == "__main__":
    sys.exit(0 if show() else 1)
