"""A consortium of a DSO, two prosumers and an auditor, on either backend of the ledger."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gridloop.simulators.market.ledger import Ledger
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from gridloop.simulators.market.ledger_keys import simulated
from gridloop.simulators.market.ledger_state import Genesis, Member

ROLES = {"dso": ("dso",), "house": ("buyer", "seller"), "shop": ("buyer", "seller"), "auditor": ("auditor",)}
OFFER = {"side": "sell", "slot": 5, "bus": "bus7", "w": 2000, "price": 200_000}
WISH = {"side": "buy", "slot": 5, "bus": "bus9", "w": 1500, "price": 260_000}
MAPPING = {"w": 1500, "price": 220_000, "loading_ppm": 640_000, "loss_w": -31}
PAID = 82_500  # 1500 W x 0.22 per kWh x 900 s = 0.0825


class Market:
    """A ledger, and who holds which key. `outsider` has a key and is no member."""

    def __init__(self, ledger: Ledger[Any], keys: dict[str, Any]) -> None:
        self.ledger: Any = ledger
        self.keys = keys

    def do(self, name: str, kind: str, /, **body: Any) -> str:
        """Let a member state something; the id of what it stated."""
        return str(self.ledger.append(self.ledger.sign(self.keys[name], kind, body)).id)

    def matched(self, **changes: Any) -> tuple[str, str, str]:
        """An offer, a wish and the DSO's mapping of the two, the last one with changes."""
        sell, buy = self.do("house", "propose", **OFFER), self.do("shop", "propose", **WISH)
        return sell, buy, self.do("dso", "map", **(MAPPING | {"sell": sell, "buy": buy} | changes))

    def committed(self) -> str:
        """A match that both owners approved."""
        _, _, match = self.matched()
        self.do("house", "approve", match=match)
        self.do("shop", "approve", match=match)
        return match

    def change(self, member: str, roles: list[str], signers: list[str], by: str = "dso", **changes: Any) -> str:
        """A change of the membership, signed by some."""
        body = {"member": self.address(member), "name": member, "roles": roles, "validator": 0, "change": 0} | changes
        signed = {self.address(name): self.ledger.endorse(self.keys[name], body) for name in signers}
        return self.do(by, "membership", **body, signatures=signed)

    def address(self, name: str) -> str:
        return str(self.keys[name].address)

    def balances(self) -> tuple[int, int]:
        """Of the house and of the shop."""
        return self.ledger.balance(self.address("house")), self.ledger.balance(self.address("shop"))


def consortium(key: Callable[[str], Any], **settings: Any) -> tuple[Genesis, dict[str, Any]]:
    """The genesis of all members, each a validator, and their keys with an outsider's."""
    keys = {name: key(name) for name in (*ROLES, "outsider")}
    members = {keys[name].address: Member(name, roles) for name, roles in ROLES.items()}
    return Genesis(members, tuple(members), **settings), keys


def embedded(path: Path | None = None, seed: int = 7, **settings: Any) -> Market:
    """On a chain of our own."""
    genesis, keys = consortium(lambda name: simulated(seed, name), **settings)
    return Market(EmbeddedLedger.create(path, genesis, [keys[name] for name in ROLES]), keys)


def on_evm(url: str, **settings: Any) -> Market:
    """On a contract that is deployed for it."""
    from gridloop.simulators.market.ledger_calls import simulated as account
    from gridloop.simulators.market.ledger_evm import EvmLedger

    genesis, keys = consortium(lambda name: account(7, name), **settings)
    return Market(EvmLedger.deploy(url, genesis, keys["dso"], ticker=keys["dso"]), keys)


def traded(path: Path | None = None, seed: int = 7) -> Market:
    """A market after two trades, in three blocks."""
    market = embedded(path, seed)
    for t_s in (0, 900):
        match = market.committed()
        market.ledger.seal(t_s)
        market.do("shop", "settle", match=match, w=1000)
    market.ledger.seal(1800)
    return market


def rewrite(path: Path, number: int, body: bytes) -> None:
    """Put another body into a ledger's file, as somebody with the file could."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER IF EXISTS no_update")
        connection.execute("UPDATE blocks SET body = ? WHERE number = ?", (body, number))
    connection.close()


def bodies(path: Path) -> dict[int, bytes]:
    """What a ledger's file holds, the genesis as number 0."""
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT number, body FROM blocks"))
    connection.close()
    return found
