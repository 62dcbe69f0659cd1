"""Ratings, droop, filters and limits of grid-forming inverters; what a step makes of their filters."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.parameters import as_columns, check

MOST_STEP_LENGTHS = 64  # remembered filter weights


@dataclass(frozen=True)
class Params:
    """Ratings, droop, filter and limits of n units; each field is a scalar or (n,).

    Limiter gains: proportional `limiter_gain` [1] and integral `limiter_rate_per_s`; 0.3 s after a step that
    would end 5 % above the limit the defaults hold it within 1 %; they are stable at steps up to 10 ms.
    """

    s_rated_kva: Any  # apparent-power rating, > 0
    droop_p_percent: Any = 2.0  # frequency drop from no load to rated power, percent of nominal
    droop_q_percent: Any = 5.0  # voltage drop from no load to rated reactive power, percent
    filter_hz: Any = 5.0  # corner of the first-order power filters
    p_set_kw: Any = 0.0
    q_set_kvar: Any = 0.0
    v_set_pu: Any = 1.0
    p_max_kw: Any = np.inf  # the limiter keeps the filtered power between these
    p_min_kw: Any = -np.inf
    limiter_gain: Any = 1.0
    limiter_rate_per_s: Any = 10.0
    i_max_percent: Any = np.inf  # the grid holds the current within this, percent of the rated current
    v_correction_limit_pu: Any = np.inf  # the secondary voltage correction counts up to +- this
    e_min_pu: Any = 0.0  # the droop's EMF magnitude stays between these; 0 and inf: no clamp
    e_max_pu: Any = np.inf
    efficiency_percent: Any = 97.0  # between DC side and bus, each way
    s_base_mva: float = field(default=1.0, metadata={"scalar": True})  # system base
    f_nom_hz: float = field(default=50.0, metadata={"scalar": True})
    counts_energy: bool = field(default=False, metadata={"scalar": True})  # whether something stands behind a DC side

    def __post_init__(self) -> None:
        as_columns(self)
        check(
            self,
            ("s_base_mva", self.s_base_mva > 0, "> 0"),
            ("f_nom_hz", self.f_nom_hz > 0, "> 0"),
            ("s_rated_kva", (self.s_rated_kva > 0) & np.isfinite(self.s_rated_kva), "> 0"),
            ("droop_p_percent", (self.droop_p_percent > 0) & (self.droop_p_percent < 100), "> 0 and < 100"),
            ("droop_q_percent", (self.droop_q_percent >= 0) & (self.droop_q_percent < 100), ">= 0 and < 100"),
            ("filter_hz", (self.filter_hz > 0) & np.isfinite(self.filter_hz), "> 0"),
            ("p_set_kw", np.isfinite(self.p_set_kw), "finite"),
            ("q_set_kvar", np.isfinite(self.q_set_kvar), "finite"),
            ("v_set_pu", (self.v_set_pu > 0) & (self.v_set_pu < 2), "> 0 and < 2"),
            ("p_max_kw", self.p_max_kw > self.p_min_kw, "> p_min_kw"),
            ("p_min_kw", self.p_min_kw < np.inf, "finite or -inf"),
            ("limiter_gain", (self.limiter_gain >= 0) & np.isfinite(self.limiter_gain), ">= 0"),
            ("limiter_rate_per_s", (self.limiter_rate_per_s > 0) & np.isfinite(self.limiter_rate_per_s), "> 0"),
            ("i_max_percent", self.i_max_percent > 0, "> 0"),
            ("v_correction_limit_pu", self.v_correction_limit_pu >= 0, ">= 0"),
            ("e_min_pu", (self.e_min_pu >= 0) & np.isfinite(self.e_min_pu), ">= 0"),
            ("e_max_pu", self.e_max_pu > self.e_min_pu, "> e_min_pu"),
            ("efficiency_percent", (self.efficiency_percent > 0) & (self.efficiency_percent <= 100), "> 0 and <= 100"),
        )

    @cached_property
    def kw_to_pu(self) -> float:
        """Factor from kW, kvar or kVA to per unit on the system base."""
        return 1e-3 / self.s_base_mva

    @cached_property
    def droop_p_rad_per_s_pu(self) -> Real:
        """m: fall of the angular frequency [rad/s] per pu of active power on the system base."""
        m: Real = self.droop_p_percent / 100 * 2 * np.pi * self.f_nom_hz / (self.s_rated_kva * self.kw_to_pu)
        return m

    @cached_property
    def droop_q_pu(self) -> Real:
        """n: fall of the voltage [pu] per pu of reactive power on the system base."""
        n: Real = self.droop_q_percent / 100 / (self.s_rated_kva * self.kw_to_pu)
        return n

    @cached_property
    def corner_rad_per_s(self) -> Real:
        """omega_c of the power filters."""
        corner: Real = 2 * np.pi * self.filter_hz
        return corner

    @cached_property
    def droop_p_hz_pu(self) -> Real:
        """m in Hz per pu."""
        return self.droop_p_rad_per_s_pu / (2 * np.pi)

    @cached_property
    def imaginary_unit(self) -> Complex:
        """1j (n,): numpy multiplies arrays faster than it converts a number."""
        return np.full(len(self.s_rated_kva), 1j)

    @cached_property
    def compiled_memory(self) -> dict[float, Any]:
        """The parameters as compiled loops take them, by step length."""
        return {}

    @cached_property
    def line_memory(self) -> list[Any]:
        """The last inputs (the very arrays) and the droop lines that they drew."""
        return []

    @cached_property
    def limit_memory(self) -> list[Any]:
        """The last limits of the DC sides (the very arrays) and what they come to."""
        return []

    @cached_property
    def limiter_memory(self) -> list[Any]:
        """What the limiter was asked for last (the very arrays), and what it answered."""
        return []

    @cached_property
    def nothing(self) -> Real:
        """Zeros (n,): no unit at a limit."""
        return np.zeros(len(self.s_rated_kva))

    def weights(self, dt_s: float) -> "Weights":
        """Exact response of filters and angle to one step of length `dt_s`, remembered for the next."""
        known = self._weights_by_dt.get(dt_s)
        if known is None:
            corner, m = self.corner_rad_per_s, self.droop_p_rad_per_s_pu
            decay, gone = np.exp(-corner * dt_s), -np.expm1(-corner * dt_s) / corner
            known = Weights(
                (decay + 0j, corner * gone + 0j, dt_s - gone + 0j),
                (m * gone, m * (dt_s - gone), m * (dt_s**2 / 2 - (dt_s - gone) / corner)),
            )
            if len(self._weights_by_dt) < MOST_STEP_LENGTHS:
                self._weights_by_dt[dt_s] = known
        return known

    @cached_property
    def _weights_by_dt(self) -> dict[float, "Weights"]:
        return {}

    @cached_property
    def efficiency(self) -> Real:
        """Between DC side and bus, each way (0..1)."""
        efficiency: Real = self.efficiency_percent / 100
        return efficiency

    @cached_property
    def endless(self) -> tuple[Real, Real]:
        """Least and largest power of DC sides that have no limit: -inf and inf (n,)."""
        return np.full(len(self.s_rated_kva), -np.inf), np.full(len(self.s_rated_kva), np.inf)

    @cached_property
    def i_max_pu(self) -> Real:
        """Current limit on the system base."""
        limit: Real = self.i_max_percent / 100 * self.s_rated_kva * self.kw_to_pu
        return limit

    @cached_property
    def is_clamped(self) -> bool:
        """Whether any unit's EMF or voltage correction has a clamp."""
        limits = (self.v_correction_limit_pu, self.e_max_pu)
        return bool(self.e_min_pu.any() or any(np.isfinite(limit).any() for limit in limits))

    @cached_property
    def e_limits_pu(self) -> tuple[Real, Real]:
        """Lower and upper clamp of the EMF magnitude."""
        return np.where(self.e_min_pu > 0, self.e_min_pu, -np.inf), self.e_max_pu


class Weights(NamedTuple):
    """What a step makes of (state, input, slope of the input) of the first-order power filter, for n units each."""

    filtered: tuple[Complex, Complex, Complex]  # the filter's state after the step
    turned: tuple[Real, Real, Real]  # m times the integral of the filtered power [rad]
