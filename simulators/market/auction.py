"""A double auction with one price for all, and bidders that learn from its outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Order(NamedTuple):
    """What somebody would sell or buy: up to `power_w`, at `price` or better [micro-EUR per kWh]."""

    owner: str
    power_w: int
    price: int


class Trade(NamedTuple):
    """What was agreed on."""

    seller: str
    buyer: str
    power_w: int
    price: int


def clear(asks: Sequence[Order], bids: Sequence[Order]) -> tuple[int | None, list[Trade]]:
    """Match the cheapest asks with the dearest bids while a bid is worth its ask; all pay the same price.

    The price lies half-way between the last ask and the last bid that were matched. Orders of equal price come in the
    order of their owners' names, so that the outcome does not depend on the order of arrival.

    Returns:
        The price, None without a trade; and the trades.
    """
    sell = sorted((order for order in asks if order.power_w > 0), key=lambda one: (one.price, one.owner))
    buy = sorted((order for order in bids if order.power_w > 0), key=lambda one: (-one.price, one.owner))
    matched: list[tuple[Order, Order, int]] = []
    left_of_ask = left_of_bid = 0
    ask, bid = iter(sell), iter(buy)
    seller = buyer = None
    while True:
        if left_of_ask == 0:
            seller = next(ask, None)
            left_of_ask = seller.power_w if seller else 0
        if left_of_bid == 0:
            buyer = next(bid, None)
            left_of_bid = buyer.power_w if buyer else 0
        if seller is None or buyer is None or seller.price > buyer.price:
            break
        power_w = min(left_of_ask, left_of_bid)
        matched.append((seller, buyer, power_w))
        left_of_ask -= power_w
        left_of_bid -= power_w
    if not matched:
        return None, []
    price = (matched[-1][0].price + matched[-1][1].price) // 2
    return price, [Trade(seller.owner, buyer.owner, power_w, price) for seller, buyer, power_w in matched]


@dataclass
class Learner:
    """A bidder that moves its price by what became of its last order.

    It asks for more than its own value (or bids less) by a margin. What found no partner is offered with a smaller
    margin next time, what was traded in full with a slightly greater one.

    Args:
        value: what the energy is worth to it [micro-EUR per kWh]; it never trades at a loss.
        margin: at the start, as a share of the value.
        step: by which share of itself the margin shrinks; it grows by a quarter of that.
    """

    value: int
    margin: float = 0.5
    step: float = 0.05

    def ask(self, owner: str, power_w: int) -> Order:
        """What it would sell for."""
        return Order(owner, power_w, round(self.value * (1 + self.margin)))

    def bid(self, owner: str, power_w: int) -> Order:
        """What it would pay."""
        return Order(owner, power_w, round(self.value / (1 + self.margin)))

    def learn(self, offered_w: int, traded_w: int) -> None:
        """Take the outcome of an order."""
        if offered_w > 0:
            missed = 1 - traded_w / offered_w
            self.margin = max(0.0, self.margin * (1 + self.step * (0.25 - 1.25 * missed)))


def traded(trades: Sequence[Trade]) -> Mapping[str, int]:
    """What each owner sold (> 0) or bought (< 0) [W]."""
    sums: dict[str, int] = {}
    for trade in trades:
        sums[trade.seller] = sums.get(trade.seller, 0) + trade.power_w
        sums[trade.buyer] = sums.get(trade.buyer, 0) - trade.power_w
    return sums
