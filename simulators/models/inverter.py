"""Grid-forming inverter with P-f and Q-V droop, power filters, an active-power limiter and voltage clamps.

The EMF E at angle delta is the bus voltage itself (ideal source) or stands behind the unit's impedance. With
both droop coefficients equal on the units' own ratings, power is shared in proportion to the ratings.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.models.parameters import as_columns, check
from gridloop.simulators.ports import Model, Port


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
    s_base_mva: float = field(default=1.0, metadata={"scalar": True})  # system base
    f_nom_hz: float = field(default=50.0, metadata={"scalar": True})

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
    def line_memory(self) -> list[Any]:
        """The last inputs (the very arrays) and the droop lines that they drew."""
        return []

    @cached_property
    def unlimited(self) -> Real:
        """No unit at a limit: zeros (n,)."""
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
    def p_limits_pu(self) -> tuple[Real, Real]:
        """Lower and upper limit of the filtered power."""
        return self.p_min_kw * self.kw_to_pu, self.p_max_kw * self.kw_to_pu

    @cached_property
    def is_limited(self) -> bool:
        """Whether any unit has a limit at all."""
        return bool(np.isfinite(self.p_min_kw).any() or np.isfinite(self.p_max_kw).any())

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


class State(NamedTuple):
    """State of n units."""

    delta_rad: Real  # EMF angle in the frame that rotates at nominal frequency
    s_filtered_pu: Complex  # P_f + j Q_f
    over_pu: Real  # integrator of the upper power limit, >= 0
    under_pu: Real  # of the lower one, >= 0
    e_offset_pu: Real  # what is left of a magnitude taken over by `align`, decays in ALIGN_DECAY_S
    aligned: bool = False  # whether `align` ever gave an offset


class Inputs(NamedTuple):
    """What reaches n units."""

    s_pu: Complex  # power into the bus, measured at the bus
    p_set_pu: Real
    q_set_pu: Real
    v_set_pu: Real
    omega_rad_per_s: Real  # frequency correction of a secondary control
    v_correction_pu: Real


class Slopes(NamedTuple):
    """Rates of the linearly held inputs."""

    s_pu: Complex


class Outputs(NamedTuple):
    """What n units show."""

    emf_pu: Complex
    f_hz: Real
    p_set_pu: Real
    limited: Real  # 1 while a power limit or a clamp acts


ALIGN_DECAY_S = 0.5
MOST_STEP_LENGTHS = 64  # remembered filter weights


def initial(p: Params, s_pu: Complex, emf_pu: Complex) -> State:
    """State at rest while delivering `s_pu` (n,) with the EMF `emf_pu` (n,)."""
    zero = np.zeros(len(s_pu))
    return State(np.angle(emf_pu), s_pu.astype(complex), zero, zero, zero)


def held(p: Params) -> Inputs:
    """Set-points from the parameters; no power yet, no secondary correction."""
    zero = np.zeros(len(p.s_rated_kva))
    return Inputs(zero.astype(complex), p.p_set_kw * p.kw_to_pu, p.q_set_kvar * p.kw_to_pu, p.v_set_pu, zero, zero)


def advance(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """Integrate filters, limiter and angle over the interval that has passed, exactly for S(t) = S0 + S' t.

    Args:
        p: parameters of n units.
        s: state at the start of the interval.
        u: inputs at the start of the interval.
        slopes: rate of the measured power [pu/s].
        dt_s: length of the interval [s], >= 0; 0 returns `s`.

    Raises:
        ValueError: dt_s < 0.

    With the filter's exact response the angle is exact too: its rate is linear in the integral of P_f. Only
    the limiter's own integral is taken by the trapezoidal rule. Droop law: Chandorkar, Divan, Adapa, IEEE
    Trans. Ind. Appl. 29 (1993). Left out: inner loops (their fast limit is assumed), DC side, current limit.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    w = p.weights(dt_s)
    filtered = w.filtered[0] * s.s_filtered_pu + w.filtered[1] * u.s_pu + w.filtered[2] * slopes.s_pu
    dropped = w.turned[0] * s.s_filtered_pu.real + w.turned[1] * u.s_pu.real + w.turned[2] * slopes.s_pu.real
    turned = droop_lines(p, u).slip_rad_per_s * dt_s - dropped
    over, under = s.over_pu, s.under_pu
    if p.is_limited:
        low, high = p.p_limits_pu
        rate, energy = p.limiter_rate_per_s, dropped / p.droop_p_rad_per_s_pu
        over = np.maximum(0.0, over + rate * (energy - high * dt_s))
        under = np.maximum(0.0, under + rate * (low * dt_s - energy))
        before = _limiter(p, s)
        after = _limiter(p, s._replace(s_filtered_pu=filtered, over_pu=over, under_pu=under))
        turned = turned - p.droop_p_rad_per_s_pu * (before + after) * (dt_s / 2)
    offset = s.e_offset_pu * math.exp(-dt_s / ALIGN_DECAY_S) if s.aligned else s.e_offset_pu
    return State(s.delta_rad + turned, filtered, over, under, offset, s.aligned)


class DroopLines(NamedTuple):
    """What n units would show at no power."""

    slip_rad_per_s: Real
    f_hz: Real
    e_pu: Real
    clamped: Mask | None  # where the voltage correction is at its limit


def droop_lines(p: Params, u: Inputs) -> DroopLines:
    """The droop lines that the set-points draw; remembered, because set-points change seldom."""
    if p.line_memory:
        seen, lines = p.line_memory
        if (
            u.p_set_pu is seen.p_set_pu and u.q_set_pu is seen.q_set_pu and u.v_set_pu is seen.v_set_pu
            and u.omega_rad_per_s is seen.omega_rad_per_s and u.v_correction_pu is seen.v_correction_pu
        ):  # fmt: skip
            known: DroopLines = lines
            return known
    slip = u.omega_rad_per_s + p.droop_p_rad_per_s_pu * u.p_set_pu
    correction, clamped = u.v_correction_pu, None
    if p.is_clamped:
        correction = np.clip(correction, -p.v_correction_limit_pu, p.v_correction_limit_pu)
        clamped = correction != u.v_correction_pu
    e_pu = u.v_set_pu + correction + p.droop_q_pu * u.q_set_pu
    lines = DroopLines(slip, p.f_nom_hz + slip / (2 * np.pi), e_pu, clamped)
    p.line_memory[:] = (u, lines)
    return lines


def _limiter(p: Params, s: State) -> Real:
    """x_lim [pu]: what the power limiter adds to the droop's power."""
    low, high = p.p_limits_pu
    power = s.s_filtered_pu.real
    beyond = np.maximum(0.0, power - high) - np.maximum(0.0, low - power)
    limit: Real = p.limiter_gain * beyond + s.over_pu - s.under_pu
    return limit


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """EMF, frequency and limiter flag; memoryless. What `align` left is added behind the clamp, so that it fits."""
    lines, filtered = droop_lines(p, u), s.s_filtered_pu
    f_hz = lines.f_hz - p.droop_p_hz_pu * filtered.real
    limited = p.unlimited
    if p.is_limited:
        limit = _limiter(p, s)
        f_hz = f_hz - p.droop_p_hz_pu * limit
        limited = (limit != 0).astype(float)
    magnitude = lines.e_pu - p.droop_q_pu * filtered.imag
    if lines.clamped is not None:
        unclamped, magnitude = magnitude, np.clip(magnitude, *p.e_limits_pu)
        limited = np.maximum(limited, lines.clamped | (magnitude != unclamped))
    if s.aligned:
        magnitude = magnitude + s.e_offset_pu
    direction: Complex = np.exp(p.imaginary_unit * s.delta_rad)
    emf: Complex = magnitude * direction
    return Outputs(emf, f_hz, u.p_set_pu, limited)


def align(p: Params, s: State, u: Inputs, applied_pu: Complex) -> State:
    """Make a unit that is not in charge follow the EMF that the grid applied (n,); others keep their state.

    The angle turns by angle(applied conj(own)); the difference in magnitude is kept as an offset that decays
    in ALIGN_DECAY_S, so that taking over again makes no step.
    """
    own = respond(p, s, u).emf_pu
    other = applied_pu != own
    return s._replace(
        delta_rad=np.where(other, s.delta_rad + np.angle(applied_pu * own.conj()), s.delta_rad),
        e_offset_pu=np.where(other, s.e_offset_pu + np.abs(applied_pu) - np.abs(own), s.e_offset_pu),
        aligned=s.aligned or bool(other.any()),
    )


def _degrees(emf_pu: Any) -> Any:
    return np.degrees(np.angle(emf_pu))


MODEL = Model(
    name="Inverter",
    params=Params,
    inputs=(
        Port("S[pu]", "s_pu", "power into the bus on the system base", hold="linear", scalar=False),
        Port("P_set[MW]", "p_set_pu", "active-power set-point", base="s"),
        Port("Q_set[MVar]", "q_set_pu", "reactive-power set-point", base="s"),
        Port("V_set[pu]", "v_set_pu", "voltage set-point"),
        Port("Omega[rad_per_s]", "omega_rad_per_s", "frequency correction of a secondary control"),
        Port("v[pu]", "v_correction_pu", "voltage correction of a secondary control"),
    ),
    outputs=(
        Port("EMF[pu]", "emf_pu", "EMF phasor in the nominal frame", scalar=False),
        Port("E[pu]", "emf_pu", "EMF magnitude", convert=np.abs),
        Port("Va_emf[deg]", "emf_pu", "EMF angle in the nominal frame, within +-180", convert=_degrees),
        Port("f[Hz]", "f_hz", "frequency of the EMF"),
        Port("P_set[MW]", "p_set_pu", "active-power set-point", base="s"),
        Port("limited[1]", "limited", "1 while a power limit or a clamp acts"),
    ),
    records=("f[Hz]", "E[pu]", "Va_emf[deg]", "P_set[MW]", "limited[1]"),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
)
