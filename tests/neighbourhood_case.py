"""Thirteen homes, four arrays and five dispatchable units over two weeks: what negotiation is judged by.

Days 0 to 69 of the generated set are history, days 70 to 83 are played. The offers are those of the project's design:
(b [ct/kWh], c [ct/kW2h], least, most [kW]); the last one is the tie to the grid.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.market.accuracy import Array, balancing_accuracy, within
from gridloop.simulators.market.contract_net import Bid, Message, Party, negotiate
from gridloop.simulators.market.economic import Offer, cost_eur
from gridloop.simulators.market.forecast import DailyRidge
from gridloop.simulators.market.households import Neighbourhood, generate
from gridloop.simulators.market.slots import DAY, SLOT_H, first_day

SEED = 1
CHECKSUM = "79b5d5f2ea105dd5"  # first 16 digits of the set's SHA-256
FIRST_DAY, DAYS = 70, 14
OFFERS = {
    "unit1": Offer(18, 0.30, 5, 30), "unit2": Offer(30, 0.20, 0, 40), "unit3": Offer(12, 0.40, -20, 20),
    "unit4": Offer(14, 0.35, -20, 20), "tie": Offer(25, 0.10, -60, 60),
}  # fmt: skip
FAULTS = ((312, 335), (928, 951))  # slots: day 3 from 6 to 12 h, day 9 from 16 to 22 h
CENTRAL = ("controller",)
STANDBY = ("controller", "standby")
SLOTS = np.arange(FIRST_DAY * DAY, (FIRST_DAY + DAYS) * DAY)


class Week(NamedTuple):
    """What is known and what came."""

    forecast_kw: dict[str, Array]  # of every home and array as net demand, by name
    net_demand_kw: Array
    load_kw: Array


class Played(NamedTuple):
    """What came out."""

    agreed_kw: Array
    cost_eur: Array
    sent: int

    week: Week

    def accuracy(self, in_faults: bool = False) -> float:
        """Load balancing accuracy of all slots, or of those of the fault windows."""
        week = self.week
        which = within(FAULTS, SLOTS.size) if in_faults else np.ones(SLOTS.size, bool)
        return balancing_accuracy(self.agreed_kw[which], week.net_demand_kw[which], week.load_kw[which])


@cache
def neighbourhood() -> Neighbourhood:
    """The generated set."""
    return generate(SEED)


@cache
def prepared() -> Week:
    """Two weeks of the generated set."""
    of = neighbourhood()
    return week_of(of.load_kw, of.pv_kw, SLOTS, first_day(of.start), of.clear_sky_kw)


def week_of(load_kw: Array, pv_kw: Array, slots: Any, day: int, clear_sky_kw: Array | None = None) -> Week:
    """Forecasts of a quarter of an hour ahead for every home and array (slots, n), and what came."""
    forecasts = {
        f"home{i}": DailyRidge(first_day=day).forecast(load_kw[:, i], slots) for i in range(load_kw.shape[1])
    } | {
        f"pv{i}": -DailyRidge(first_day=day).forecast(
            pv_kw[:, i], slots, None if clear_sky_kw is None else clear_sky_kw[:, i]
        )
        for i in range(pv_kw.shape[1])
    }  # fmt: skip
    whole_kw = load_kw[slots].sum(1)
    return Week(forecasts, whole_kw - pv_kw[slots].sum(1), whole_kw)


def names(week: Week | None = None) -> list[str]:
    """All that bid."""
    return [*(week or prepared()).forecast_kw, *OFFERS]


def bids(week: Week, name: str) -> Callable[[int], Bid]:
    """What one of them bids in a slot."""
    if name in OFFERS:
        return lambda slot: Bid(0.0, OFFERS[name])
    forecast_kw = week.forecast_kw[name]
    return lambda slot: Bid(float(forecast_kw[slot]))


def play(
    line: Callable[[int], Sequence[str]], down: str = "", loss: float = 0.0, seed: int = 0, week: Week | None = None
) -> Played:  # fmt: skip
    """Two weeks of negotiation; `down` is out of order in the fault windows, and a unit then holds its power."""
    week = week or prepared()
    random, everyone = np.random.default_rng(seed), names(week)
    parties = {name: Party(name, bids(week, name), line, everyone) for name in everyone}
    parties |= {name: Party(name, lambda slot: Bid(), line, everyone) for name in line(0) if name not in parties}
    in_fault, agreed, costs, sent = within(FAULTS, SLOTS.size), [], [], 0

    def reaches(message: Message) -> bool:
        return loss == 0 or bool(random.random() >= loss)

    for slot in range(SLOTS.size):
        sent += negotiate(parties, slot, reaches, [down] if down and in_fault[slot] else [])
        power_kw = {name: parties[name].power_kw or 0.0 for name in OFFERS}
        agreed.append(sum(power_kw.values()))
        costs.append(cost_eur(OFFERS, power_kw, SLOT_H))
    return Played(np.array(agreed), np.array(costs), sent, week)
