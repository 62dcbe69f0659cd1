"""Neighbours trade what they expect to have or to need in a slot: auctioned by the DSO, recorded on the ledger.

Whoever expects a surplus asks, whoever expects a need bids; the DSO clears all orders at one price. Every trade then
goes the whole way on the ledger: both propose, the DSO maps, both approve, and when the slot is over the buyer settles
what was really delivered. Every owner learns from what became of its orders (`auction.Learner`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from gridloop.simulators.market.auction import Learner, Order, Trade, clear, traded
from gridloop.simulators.market.deals import Deal, Mapped, Notary

K = TypeVar("K")
LEAST_W = 10  # a smaller surplus or need is none


class State(NamedTuple):
    """Of the network, as the DSO saw it last: the greatest loading of a branch, and losses over what is consumed."""

    loading: float = 0.0
    loss_share: float = 0.0


class Traded(NamedTuple):
    """What became of a slot's orders."""

    price: int | None
    trades: list[Trade]
    possible_w: int  # as much as could be traded if everybody told its true value


@dataclass
class Floor(Generic[K]):
    """Where a neighbourhood trades.

    Args:
        notary: takes trades to the ledger; it knows all owners.
        sell_value: what a kWh is worth to who has too much: what the utility would pay for it [millionths].
        buy_value: what it is worth to who needs it: what the utility would take for it [millionths].
        margin: with which everybody begins to bargain.
    """

    notary: Notary[K]
    sell_value: int
    buy_value: int
    margin: float = 2.0
    _sellers: dict[str, Learner] = field(init=False)
    _buyers: dict[str, Learner] = field(init=False)
    _deals: dict[int, list[Deal]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.sell_value < self.buy_value:
            raise ValueError(
                f"a surplus is worth {self.sell_value}, a need {self.buy_value}: nobody could gain by trading"
            )
        self._sellers = {name: Learner(self.sell_value, self.margin) for name in self.notary.buses}
        self._buyers = {name: Learner(self.buy_value, self.margin) for name in self.notary.buses}

    def trade(self, slot: int, t_s: int, surplus_w: Mapping[str, int], state: State) -> Traded:
        """Auction a slot that has not begun and record its trades.

        Args:
            slot: its number.
            t_s: now.
            surplus_w: what each owner expects to have (> 0) or to need (< 0).
            state: of the network.
        """
        self.notary.ledger.seal(t_s)  # what has ended is over
        asks = [self._sellers[name].ask(name, w) for name, w in surplus_w.items() if w >= LEAST_W]
        bids = [self._buyers[name].bid(name, -w) for name, w in surplus_w.items() if w <= -LEAST_W]
        price, trades = clear(asks, bids)
        took = traded(trades)
        for order in asks:
            self._sellers[order.owner].learn(order.power_w, took.get(order.owner, 0))
        for order in bids:
            self._buyers[order.owner].learn(order.power_w, -took.get(order.owner, 0))
        limits = {order.owner: order.price for order in (*asks, *bids)}
        self._deals[slot] = [self._record(slot, one, limits, state) for one in trades]
        self.notary.ledger.seal(t_s)
        return Traded(price, trades, min(_sum(asks), _sum(bids)))

    def _record(self, slot: int, trade: Trade, limits: Mapping[str, int], state: State) -> Deal:
        """Take one trade to the ledger."""
        loss_w = round(trade.power_w * state.loss_share)
        return self.notary.record(slot, trade, limits, Mapped(round(1e6 * min(state.loading, 1.0)), loss_w))

    def settle(self, slot: int, t_s: int, surplus_w: Mapping[str, int]) -> int:
        """Settle a slot that is over; what was delivered counts, shared by what was agreed. Returns the sum [W].

        Args:
            slot: its number.
            t_s: now.
            surplus_w: what each owner had (> 0) or needed (< 0).
        """
        deals = self._deals.pop(slot, [])
        agreed = traded([deal.trade for deal in deals])
        kept = {name: _kept(agreed[name], surplus_w.get(name, 0)) for name in agreed}
        total = 0
        for deal in deals:
            w = int(deal.trade.power_w * min(kept[deal.trade.seller], kept[deal.trade.buyer]))
            self.notary.settle(deal, w)
            total += w
        self.notary.ledger.seal(t_s)
        return total


def _sum(orders: list[Order]) -> int:
    return sum(order.power_w for order in orders)


def _kept(agreed_w: int, surplus_w: int) -> float:
    """The share of what was agreed, sold (> 0) or bought (< 0), that came to be."""
    return max(0.0, min(1.0, surplus_w / agreed_w)) if agreed_w else 0.0
