"""Who gives how much at least cost: units with costs b P + c P^2 inside their limits share a demand."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Offer(NamedTuple):
    """What a unit would give: its cost is b P + c P^2 [ct/h], P between its limits [kW]."""

    b: float  # [ct/kWh]
    c: float  # [ct/kW2h], > 0
    least_kw: float
    most_kw: float


class Award(NamedTuple):
    """What was agreed: the marginal cost [ct/kWh], power of each unit [kW], and the demand that nobody could meet."""

    price: float
    power_kw: dict[str, float]
    unserved_kw: float


def at_price(offer: Offer, price: float) -> float:
    """What a unit gives where power is worth `price` [ct/kWh]."""
    return min(max((price - offer.b) / (2 * offer.c), offer.least_kw), offer.most_kw)


def share(offers: Mapping[str, Offer], demand_kw: float) -> Award:
    """Least cost: all units that are not at a limit have the same marginal cost b + 2 c P (equal lambda).

    The sum of what the units give is piecewise linear in the price, so the price is found exactly: between the two
    breakpoints that enclose the demand. A demand outside the limits of all leaves the rest unserved (< 0: too much).

    Raises:
        ValueError: no offers, or one with c <= 0 or empty limits.
    """
    for name, offer in offers.items():
        if not (offer.c > 0 and offer.least_kw <= offer.most_kw):
            raise ValueError(f"{name}: {offer} must have c > 0 and least_kw <= most_kw")
    if not offers:
        raise ValueError("nobody offers any power")
    corners = np.unique([offer.b + 2 * offer.c * p for offer in offers.values() for p in offer[2:]])
    given = np.array([sum(at_price(offer, price) for offer in offers.values()) for price in corners])
    price = float(np.interp(demand_kw, given, corners))
    power = {name: at_price(offer, price) for name, offer in offers.items()}
    return Award(price, power, demand_kw - sum(power.values()))


def cost_eur(offers: Mapping[str, Offer], power_kw: Mapping[str, float], hours: float) -> float:
    """What the power of all units costs in so many hours [EUR]."""
    return sum(offers[name].b * p + offers[name].c * p**2 for name, p in power_kw.items()) * hours / 100
