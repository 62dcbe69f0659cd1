"""Balancing of the state of charge: a unit that has more than the average delivers more.

    P*_i = P*_0,i + k_s S_i (SOC_i - s),     s = sum(E_i SOC_i) / sum(E_i)

The average s is estimated without a centre: every agent tracks the mean stored energy and the mean capacity by
dynamic consensus, x_i = r_i + z_i with z_i' = -C sum a_ij (x_i - x_j), r_i being the own value; s = x_energy /
x_capacity. With matched messages the sum of the z_i stays 0; lost messages let it drift. Law F makes P* real: P~ counts
from it. For equal S/E two units approach each other with the rate k_s S / E.
Source of the estimator: Spanos, Olfati-Saber, Murray, IFAC World Congress 2005.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gridloop.simulators.models.secondary import Neighbour


@dataclass(frozen=True)
class Balancing:
    """How strongly charges are balanced.

    Args:
        gain: k_s [1]: share of the rating for each unit of charge (0..1) beyond the average.
        estimate_per_s: C of the estimator; keep it well above gain * S / E.
        limit_percent: P* moves by at most this, percent of the rating.
    """

    gain: float
    estimate_per_s: float = 4.0
    limit_percent: float = 100.0

    def __post_init__(self) -> None:
        wrong = [f"balancing {key} = {value:g} must be >= 0" for key, value in vars(self).items() if not value >= 0]
        if wrong:
            raise ValueError("; ".join(wrong))


class Estimate(NamedTuple):
    """z of the mean stored energy and of the mean capacity."""

    energy_kwh: float = 0.0
    capacity_kwh: float = 0.0


def advance(estimate: Estimate, neighbours: Sequence[Neighbour], p: Balancing, dt_s: float) -> Estimate:
    """Move the estimates towards the neighbours' for one period."""
    energy = sum([n.own.energy_kwh - n.theirs.energy_kwh for n in neighbours])
    capacity = sum([n.own.capacity_kwh - n.theirs.capacity_kwh for n in neighbours])
    pull = p.estimate_per_s * dt_s
    return Estimate(estimate.energy_kwh - pull * energy, estimate.capacity_kwh - pull * capacity)


def p_set_kw(soc: float, energy_kwh: float, capacity_kwh: float, s_rated_kva: float, p: Balancing) -> float:
    """What P* moves by, for the estimated means; 0 where nobody has a store."""
    if capacity_kwh <= 0:
        return 0.0
    limit = p.limit_percent / 100
    return s_rated_kva * min(max(p.gain * (soc - energy_kwh / capacity_kwh), -limit), limit)
