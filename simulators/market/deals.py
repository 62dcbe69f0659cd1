"""Trades on the ledger: both propose, the DSO maps, both approve; after its slot the buyer settles what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from gridloop.simulators.market.auction import Trade
from gridloop.simulators.market.ledger import Ledger

K = TypeVar("K")


class Deal(NamedTuple):
    """A trade on the ledger."""

    trade: Trade
    match: str


class Mapped(NamedTuple):
    """What the DSO says of the network with a trade."""

    loading_ppm: int  # of the most loaded branch
    loss_w: int


@dataclass(frozen=True)
class Notary(Generic[K]):
    """Takes trades to the ledger.

    Args:
        ledger: see `ledger.Ledger`; its genesis has all of these as members.
        keys: private keys by owner's name, the DSO's among them.
        buses: where each owner is connected.
        dso: name of the DSO.
    """

    ledger: Ledger[K]
    keys: Mapping[str, K]
    buses: Mapping[str, str]
    dso: str = "dso"

    def record(self, slot: int, trade: Trade, prices: Mapping[str, int], mapped: Mapped) -> Deal:
        """Propose, map and approve one trade of a slot; `prices` are the owners' limits."""
        sell, buy = (
            self._sign(owner, "propose", {
                "side": side, "slot": slot, "bus": self.buses[owner], "w": trade.power_w, "price": prices[owner],
            })
            for owner, side in ((trade.seller, "sell"), (trade.buyer, "buy"))
        )  # fmt: skip
        match = self._sign(self.dso, "map", {
            "sell": sell, "buy": buy, "w": trade.power_w, "price": trade.price, **mapped._asdict(),
        })  # fmt: skip
        for owner in (trade.seller, trade.buyer):
            self._sign(owner, "approve", {"match": match})
        return Deal(trade, match)

    def settle(self, deal: Deal, w: int) -> None:
        """The buyer settles what was delivered of a trade [W]."""
        self._sign(deal.trade.buyer, "settle", {"match": deal.match, "w": w})

    def _sign(self, owner: str, kind: str, body: Mapping[str, object]) -> str:
        return self.ledger.append(self.ledger.sign(self.keys[owner], kind, body)).id
