"""Simple laws that an emulated device follows when no model stands behind it. Pure: the time is passed in."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gridloop.hil.registers import RegisterMap

P_GEN, Q_GEN, P_SET, Q_SET = "P_gen[MW]", "Q_gen[MVar]", "P_set[MW]", "Q_set[MVar]"
VM, F, E = "Vm[pu]", "f[Hz]", "E[pu]"
REST = {"SoC[%]": 50.0, "running[1]": 1.0, "state[1]": 2.0, "speed[rpm]": 1500.0}  # what stands still
RUNS = ("enable[1]", "start[1]")  # set-points without which no power flows, where a map has them


class Law(Protocol):
    """What a device shows at a time since it was switched on, for what was written to it."""

    def __call__(self, t_s: float, written: Mapping[str, float]) -> dict[str, float]: ...


@dataclass(frozen=True)
class Rating:
    """What the laws need to know of a unit.

    Args:
        s_mva: rating, > 0.
        f_hz, v_pu: that go with the set-points.
        p_mw, q_mvar: that a controller gives `f_hz` and `v_pu` at.
        droop_p, droop_q: fall of f and of V from no load to the rating [1]; 0 = none.
        tau_s: time constant of the power stage or of the controller's power filter [s], >= 0.
    """

    s_mva: float = 0.1
    f_hz: float = 50.0
    v_pu: float = 1.0
    p_mw: float = 0.0
    q_mvar: float = 0.0
    droop_p: float = 0.01
    droop_q: float = 0.05
    tau_s: float = 0.05

    def __post_init__(self) -> None:
        if not (self.s_mva > 0 and self.f_hz > 0 and self.tau_s >= 0 and self.droop_p >= 0 and self.droop_q >= 0):
            raise ValueError(f"{self}: s_mva and f_hz must be > 0, tau_s and the droops >= 0")


class Lag:
    """First-order lags with one time constant, exact for inputs that are held."""

    def __init__(self, tau_s: float, *start: float) -> None:
        self.tau_s = tau_s
        self.values = list(start)
        self._t_s = 0.0

    def at(self, t_s: float, *targets: float) -> list[float]:
        """The outputs at a time, on the way to the targets; a time that goes back is a new beginning."""
        dt_s, self._t_s = max(t_s - self._t_s, 0.0), t_s
        share = 1.0 - math.exp(-dt_s / self.tau_s) if self.tau_s > 0 else 1.0
        self.values = [value + share * (target - value) for value, target in zip(self.values, targets, strict=True)]
        return self.values


class PowerStage:
    """Power follows the set-points with a lag, less its droop on the frequency and voltage that it is told."""

    def __init__(self, rating: Rating) -> None:
        self.rating = rating
        self._lag = Lag(rating.tau_s, 0.0, 0.0)

    def __call__(self, t_s: float, written: Mapping[str, float]) -> dict[str, float]:
        rating = self.rating
        f_hz, v_pu = written.get(F, 0.0) or rating.f_hz, written.get(VM, 0.0) or rating.v_pu  # 0: it was not told
        runs = all(written.get(attr, 1.0) for attr in RUNS)
        p_mw = written.get(P_SET, 0.0) + rating.s_mva * _share(rating.f_hz - f_hz, rating.droop_p * rating.f_hz)
        q_mvar = written.get(Q_SET, 0.0) + rating.s_mva * _share(rating.v_pu - v_pu, rating.droop_q)
        size = math.hypot(p_mw, q_mvar)
        scale = min(1.0, rating.s_mva / size) if size > 0 and runs else float(runs)
        p_mw, q_mvar = self._lag.at(t_s, scale * p_mw, scale * q_mvar)
        limits = {"P_max[MW]": rating.s_mva, "P_min[MW]": -rating.s_mva}
        return REST | limits | {P_GEN: p_mw, Q_GEN: q_mvar, VM: v_pu, F: f_hz}


class DroopController:
    """Droop on the filtered power: f = f0 - droop_p f0 (P - P0) / S, E = V0 - droop_q (Q - Q0) / S."""

    def __init__(self, rating: Rating) -> None:
        self.rating = rating
        self._lag = Lag(rating.tau_s, rating.p_mw, rating.q_mvar)

    def __call__(self, t_s: float, written: Mapping[str, float]) -> dict[str, float]:
        rating = self.rating
        p_mw, q_mvar = self._lag.at(t_s, written.get(P_GEN, rating.p_mw), written.get(Q_GEN, rating.q_mvar))
        f_hz = rating.f_hz * (1.0 - rating.droop_p * (p_mw - rating.p_mw) / rating.s_mva)
        return {F: f_hz, E: rating.v_pu - rating.droop_q * (q_mvar - rating.q_mvar) / rating.s_mva}


class Consumer:
    """What a meter sees: half the rating, taken, and the energy that it adds up to."""

    def __init__(self, rating: Rating) -> None:
        self.rating = rating

    def __call__(self, t_s: float, written: Mapping[str, float]) -> dict[str, float]:
        p_mw = 0.5 * self.rating.s_mva
        return {P_GEN: -p_mw, Q_GEN: -0.2 * p_mw, VM: self.rating.v_pu, F: self.rating.f_hz, "I[A]": 1.0,
                "E_taken[MWh]": p_mw * t_s / 3600.0, "E_fed[MWh]": 0.0}  # fmt: skip


def law_for(map: RegisterMap, rating: Rating | None = None) -> Law:
    """The law of the map's role; a power device of which nothing is known follows its set-points only."""
    if map.role == "controller":
        return DroopController(rating or Rating())
    if map.role == "meter":
        return Consumer(rating or Rating())
    return PowerStage(rating or Rating(droop_p=0.0, droop_q=0.0))


def _share(difference: float, whole: float) -> float:
    """A deviation over the droop's full range; 0 without droop."""
    return difference / whole if whole else 0.0
