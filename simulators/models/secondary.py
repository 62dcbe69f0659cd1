"""Laws of secondary control: how an agent moves its unit's frequency and voltage correction.

With P~ = m (P_f - P*) and Q~ = n (Q_f - Q*), Omega the frequency correction, v the voltage correction, a_ij the
edges of the communication graph (1 or 0) and g_i the pins:

    F        dOmega_i = -C2 sum a_ij (Omega_i - Omega_j) - C0 g_i domega_i
    D        dOmega_i = -C2 sum a_ij (Omega_i - Omega_j) - C0 domega_i
    V        dv_i     = -C3 sum a_ij (Q~_i - Q~_j) - C0V g_i (V_i - V_ref)
    Vprime   dv_i     = -C3 sum a_ij (Q~_i - Q~_j) - beta (V_i - V_ref)
    paper23  dv_i     = -C3 sum a_ij (V_n,i - V_n,j) - C0V g_i (V_i - V_ref),  V_n = V* + v
    C        one central controller integrates K_I (-domega) and K_V (V_ref - V) and broadcasts (`central`)

F contains the sharing of active power: Omega = omega - omega_0 + P~, so that equal Omega at one frequency is equal
P~. The same is not true of paper23: the voltage is not one number for all, and Q is not shared.
Sources: F, V, paper23 after Alhasnawi et al., IJERPH 18 (2021) 8146, eq. 25, 24 and 23; D, Vprime: Simpson-Porco
et al., IEEE Trans. Industrial Electronics 62 (2015) 7025. A law of your own is one more function of this form.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TWO_PI = 2 * math.pi


@dataclass(frozen=True)
class Gains:
    """What the laws are tuned with; `more` holds whatever a law of your own needs."""

    c2_per_s: float = 4.0
    c0_per_s: float = 4.0  # of D: for every unit's own frequency
    c3_per_s: float = 10.0
    c0v_per_s: float = 10.0
    k_i_per_s: float = 2.0  # of C, frequency
    k_v_per_s: float = 2.0  # of C, voltage
    beta_per_s: float = 2.0
    v_ref_pu: float = 1.0
    omega_limit_rad_per_s: float = TWO_PI
    v_limit_pu: float = 0.05
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = [f"{key} = {value:g} must be >= 0" for key, value in vars(self).items() if key != "more" and value < 0]
        if wrong:
            raise ValueError("; ".join(wrong))


class Shared(NamedTuple):
    """What an agent tells its neighbours."""

    omega_rad_per_s: float = 0.0
    v_pu: float = 0.0
    p_share_rad_per_s: float = 0.0  # P~
    q_share_pu: float = 0.0  # Q~
    v_nominal_pu: float = 1.0  # V* + v
    energy_kwh: float = 0.0  # estimates of the mean stored energy and of the mean capacity
    capacity_kwh: float = 0.0


class Own(NamedTuple):
    """What an agent knows of its unit at this moment."""

    shared: Shared
    d_omega_rad_per_s: float = 0.0  # measured, from nominal
    v_pu: float = 1.0  # measured, |V|
    soc: float = math.nan
    pin: float = 0.0  # g


class Neighbour(NamedTuple):
    """A neighbour's value and the own one that it is compared with."""

    own: Shared
    theirs: Shared
    age_s: float = 0.0


class Rates(NamedTuple):
    """What a law answers."""

    omega_rad_per_s2: float = 0.0
    v_pu_per_s: float = 0.0


Law = Callable[[Own, Sequence[Neighbour], Gains], Rates]


def frequency_f(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """Law F: consensus of the corrections, the pinned unit restores the frequency."""
    pinned = own.pin * own.d_omega_rad_per_s if own.pin else 0.0  # who has no pin need not measure
    return Rates(_omega_consensus(neighbours, gains) - gains.c0_per_s * pinned)


def frequency_d(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """Law D (DAPI): every unit restores the frequency that it measures."""
    return Rates(_omega_consensus(neighbours, gains) - gains.c0_per_s * own.d_omega_rad_per_s)


def voltage_v(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """Law V: exact sharing of Q, the pinned unit's bus is restored."""
    return Rates(v_pu_per_s=_q_consensus(neighbours, gains) - _pinned_voltage(own, gains))


def voltage_vprime(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """Law V' (DAPI): a compromise of the sharing of Q and of every unit's own voltage."""
    return Rates(v_pu_per_s=_q_consensus(neighbours, gains) - gains.beta_per_s * (own.v_pu - gains.v_ref_pu))


def voltage_paper23(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """Eq. 23 to the letter: equal voltage set-points, the pinned bus is restored, Q is not shared."""
    apart = sum([n.own.v_nominal_pu - n.theirs.v_nominal_pu for n in neighbours])
    return Rates(v_pu_per_s=-gains.c3_per_s * apart - _pinned_voltage(own, gains))


def nothing(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """No control."""
    return Rates()


# C has no law of the agents: their corrections are the central controller's
FREQUENCY_LAWS: dict[str, Law] = {"F": frequency_f, "D": frequency_d, "C": nothing, "none": nothing}
VOLTAGE_LAWS: dict[str, Law] = {
    "V": voltage_v, "Vprime": voltage_vprime, "paper23": voltage_paper23, "C": nothing, "none": nothing,
}  # fmt: skip


def _omega_consensus(neighbours: Sequence[Neighbour], gains: Gains) -> float:
    return -gains.c2_per_s * sum([n.own.omega_rad_per_s - n.theirs.omega_rad_per_s for n in neighbours])


def _q_consensus(neighbours: Sequence[Neighbour], gains: Gains) -> float:
    return -gains.c3_per_s * sum([n.own.q_share_pu - n.theirs.q_share_pu for n in neighbours])


def _pinned_voltage(own: Own, gains: Gains) -> float:
    return gains.c0v_per_s * own.pin * (own.v_pu - gains.v_ref_pu) if own.pin else 0.0


class Correction(NamedTuple):
    """An agent's output from a tick on: Omega(t) = Omega_k + u_k (t - t_k) until the next tick, v alike."""

    omega_rad_per_s: float = 0.0
    v_pu: float = 0.0
    omega_rate_rad_per_s2: float = 0.0
    v_rate_pu_per_s: float = 0.0

    def held(self) -> "Correction":
        """The same values, at rest."""
        return self._replace(omega_rate_rad_per_s2=0.0, v_rate_pu_per_s=0.0)


def ahead(correction: Correction, dt_s: float) -> Correction:
    """Where the ramps have come to after `dt_s`; there they rest."""
    return Correction(
        correction.omega_rad_per_s + correction.omega_rate_rad_per_s2 * dt_s,
        correction.v_pu + correction.v_rate_pu_per_s * dt_s,
    )


def clamped(correction: Correction, rates: Rates, gains: Gains, period_s: float) -> Correction:
    """The correction that moves with `rates`, but ends within the limits after `period_s` (no wind-up)."""
    omega, v = correction.omega_rad_per_s, correction.v_pu
    return Correction(
        omega, v,
        _within(omega, rates.omega_rad_per_s2, gains.omega_limit_rad_per_s, period_s),
        _within(v, rates.v_pu_per_s, gains.v_limit_pu, period_s),
    )  # fmt: skip


def _within(value: float, rate: float, limit: float, period_s: float) -> float:
    """The rate, or what is left of it where it would lead beyond +- limit."""
    end = value + rate * period_s
    return rate if -limit <= end <= limit else (math.copysign(limit, end) - value) / period_s
