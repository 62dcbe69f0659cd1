"""Grid-following inverter: injects set power, within what its source and its rating allow, and answers to the
frequency if asked to, by a droop on both sides of nominal or by backing off above it.

The injected power follows its set-point with the time constant of the current control. The grid takes it as a
constant-power injection and holds the current limit inside its solve.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.compiled import kernels
from gridloop.simulators.models.conversion import ENERGY_PORTS, added
from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.models.parameters import as_columns, check
from gridloop.simulators.ports import Model, Port


@dataclass(frozen=True)
class Params:
    """Ratings, set-points and frequency laws of n units; each field is a scalar or (n,)."""

    s_rated_kva: Any  # apparent-power rating, > 0
    p_set_kw: Any = 0.0
    q_set_kvar: Any = 0.0
    p_max_kw: Any = np.inf  # power that the source has to give, >= 0
    i_max_percent: Any = 110.0  # the grid holds the current within this, percent of the rated current
    time_constant_ms: Any = 10.0  # of the current control
    frequency_watt_percent_per_hz: Any = 0.0  # percent of the rating for every Hz above the deadband; 0 = off
    frequency_watt_deadband_hz: Any = 0.2  # above nominal
    droop_kw_per_hz: Any = 0.0  # power that is added for every Hz below nominal and taken off above; 0 = off
    filter_ms: Any = 50.0  # of the frequency measurement
    efficiency_percent: Any = 97.0  # between DC side and bus, each way
    s_base_mva: float = field(default=1.0, metadata={"scalar": True})  # system base
    f_nom_hz: float = field(default=50.0, metadata={"scalar": True})
    counts_energy: bool = field(default=False, metadata={"scalar": True})  # whether something stands behind a DC side

    def __post_init__(self) -> None:
        as_columns(self)
        law, deadband, droop = self.frequency_watt_percent_per_hz, self.frequency_watt_deadband_hz, self.droop_kw_per_hz
        check(
            self,
            ("s_base_mva", self.s_base_mva > 0, "> 0"),
            ("f_nom_hz", self.f_nom_hz > 0, "> 0"),
            ("s_rated_kva", (self.s_rated_kva > 0) & np.isfinite(self.s_rated_kva), "> 0"),
            ("p_set_kw", np.isfinite(self.p_set_kw), "finite"),
            ("q_set_kvar", np.isfinite(self.q_set_kvar), "finite"),
            ("p_max_kw", self.p_max_kw >= 0, ">= 0"),
            ("i_max_percent", self.i_max_percent > 0, "> 0"),
            ("time_constant_ms", (self.time_constant_ms > 0) & np.isfinite(self.time_constant_ms), "> 0"),
            ("frequency_watt_percent_per_hz", (law >= 0) & np.isfinite(law), ">= 0"),
            ("frequency_watt_deadband_hz", (deadband >= 0) & np.isfinite(deadband), ">= 0"),
            ("droop_kw_per_hz", (droop >= 0) & np.isfinite(droop), ">= 0"),
            ("efficiency_percent", (self.efficiency_percent > 0) & (self.efficiency_percent <= 100), "> 0 and <= 100"),
            ("filter_ms", (self.filter_ms > 0) & np.isfinite(self.filter_ms), "> 0"),
        )

    @cached_property
    def kw_to_pu(self) -> float:
        """Factor from kW, kvar or kVA to per unit on the system base."""
        return 1e-3 / self.s_base_mva

    @cached_property
    def s_rated_pu(self) -> Real:
        """Rating on the system base."""
        rated: Real = self.s_rated_kva * self.kw_to_pu
        return rated

    @cached_property
    def i_max_pu(self) -> Real:
        """Current limit on the system base."""
        limit: Real = self.i_max_percent / 100 * self.s_rated_pu
        return limit

    @cached_property
    def s_settled_pu(self) -> Complex:
        """What the set-points come to at nominal voltage and frequency, within source and rating."""
        return _target(self, held(self), np.zeros(len(self.s_rated_kva)), np.ones(len(self.s_rated_kva), bool)).s_pu

    @cached_property
    def answers_to_frequency(self) -> bool:
        """Whether any unit has a droop or a frequency-watt law."""
        return bool(self.frequency_watt_percent_per_hz.any() or self.droop_kw_per_hz.any())

    @cached_property
    def droop_pu(self) -> Real:
        """The droop by the filter's lag: power [pu/rad]."""
        droop: Real = self.droop_kw_per_hz * self.kw_to_pu * self.hz_per_rad
        return droop

    @cached_property
    def frequency_watt_pu(self) -> tuple[Real, Real]:
        """The law by the filter's lag: power [pu/rad] and lag at the end of the deadband [rad]."""
        rad_per_hz = 2 * np.pi * self.filter_ms * 1e-3
        share = self.frequency_watt_percent_per_hz / 100 * self.s_rated_pu
        return share / rad_per_hz, self.frequency_watt_deadband_hz * rad_per_hz

    @cached_property
    def hz_per_rad(self) -> Real:
        """Measured deviation of the frequency for each radian of the filter's lag."""
        ratio: Real = 1 / (2 * np.pi * self.filter_ms * 1e-3)
        return ratio

    @cached_property
    def efficiency(self) -> Real:
        """Between DC side and bus, each way (0..1)."""
        efficiency: Real = self.efficiency_percent / 100
        return efficiency

    @cached_property
    def compiled_memory(self) -> dict[float, Any]:
        """The parameters as compiled loops take them, by step length."""
        return {}

    @cached_property
    def target_memory(self) -> list[Any]:
        """The last inputs (the very arrays) and what the units aim at with them."""
        return []

    def weights(self, dt_s: float) -> "Weights":
        """Exact response of power and filter to one step of length `dt_s`, remembered for the next."""
        known = self._weights_by_dt.get(dt_s)
        if known is None:
            filter_s, tau_s = self.filter_ms * 1e-3, self.time_constant_ms * 1e-3
            gone = -np.expm1(-dt_s / tau_s)
            known = Weights(
                gone, 1 - gone * tau_s / dt_s, np.exp(-dt_s / filter_s), -filter_s * np.expm1(-dt_s / filter_s)
            )
            if len(self._weights_by_dt) < MOST_STEP_LENGTHS:
                self._weights_by_dt[dt_s] = known
        return known

    @cached_property
    def _weights_by_dt(self) -> dict[float, "Weights"]:
        return {}


class Weights(NamedTuple):
    """What a step makes of power and lag, for n units each."""

    gone: Real  # share of the way to the set-point
    gained: Real  # share of a linear change of the set-point that is followed
    lag_kept: Real
    lag_for_rate: Real  # lag [rad] for each rad/s of the bus


class State(NamedTuple):
    """State of n units."""

    s_pu: Complex  # injected power
    angle_rad: Real  # what the filter makes of the bus voltage's angle
    lag_rad: Real  # how far the bus is ahead of it at the same instant, within +-pi
    tracks: Mask  # whether the bus had a voltage to be followed
    e_dc_pu_h: Real  # energies since the start, as in `conversion`; 0 while none is counted
    e_ac_pu_h: Real
    e_loss_pu_h: Real


class Inputs(NamedTuple):
    """What reaches n units."""

    s_pu: Complex  # power that the grid really took
    v_pu: Complex  # voltage of the bus in the nominal frame
    p_set_pu: Real
    q_set_pu: Real
    p_available_pu: Real
    p_dc_max_pu: Real  # power that the DC side has to give, at most
    p_dc_min_pu: Real  # at least; negative: what it takes at most
    f_meas_hz: Real  # of a meter elsewhere that counts instead of the units' own measurement; nan = there is none


class Slopes(NamedTuple):
    """Rates of the linearly held inputs."""

    s_pu: Complex
    v_pu: Complex


class Outputs(NamedTuple):
    """What n units show."""

    p_gen_pu: Real
    q_gen_pu: Real
    f_hz: Real
    p_set_pu: Real  # after limits
    limited: Real  # 1 while a limit or the frequency-watt law acts
    e_dc_pu_h: Real  # energies since the start, 0 while none is counted
    e_ac_pu_h: Real
    e_loss_pu_h: Real


DEAD_BUS_PU = 0.01  # below this voltage there is no angle to follow
MOST_STEP_LENGTHS = 64  # remembered weights


def initial(p: Params, s_pu: Complex, v_pu: Complex) -> State:
    """State at rest while delivering `s_pu` (n,) at the bus voltage `v_pu` (n,) of nominal frequency."""
    zero = np.zeros(len(s_pu))
    return State(np.array(s_pu, complex), np.angle(v_pu), zero, _alive(v_pu), zero, zero, zero)


def held(p: Params) -> Inputs:
    """Set-points from the parameters, at nominal voltage; DC sides without limits, no other meter."""
    n = len(p.s_rated_kva)
    p_set, q_set, p_max = (power * p.kw_to_pu for power in (p.p_set_kw, p.q_set_kvar, p.p_max_kw))
    endless = np.full(n, np.inf)
    return Inputs(
        np.zeros(n, complex), np.ones(n, complex), p_set, q_set, p_max, endless, -endless, np.full(n, np.nan)
    )  # fmt: skip


def _alive(v_pu: Complex) -> Mask:
    alive: Mask = np.abs(v_pu) >= DEAD_BUS_PU
    return alive


class Target(NamedTuple):
    """The set-point after limits."""

    s_pu: Complex
    limited: Real


def target(p: Params, u: Inputs, lag_rad: Real, alive: Mask) -> Target:
    """What n units aim at: the set power and what the droop adds to it, within P_avail, the DC side's limits and the
    rating, less what the frequency-watt law takes off.

    Active power goes before reactive power. That law never turns generation into consumption. Without a bus voltage
    nothing is injected. Remembered where the frequency has no say, because set-points change seldom.
    """
    if p.answers_to_frequency or np.count_nonzero(alive) < len(alive):
        return _target(p, u, lag_rad, alive)
    if p.target_memory:
        seen, known = p.target_memory
        if (
            u.p_set_pu is seen.p_set_pu and u.q_set_pu is seen.q_set_pu and u.p_available_pu is seen.p_available_pu
            and u.p_dc_max_pu is seen.p_dc_max_pu and u.p_dc_min_pu is seen.p_dc_min_pu
        ):  # fmt: skip
            remembered: Target = known
            return remembered
    aim = _target(p, u, lag_rad, alive)
    p.target_memory[:] = (u, aim)
    return aim


def _target(p: Params, u: Inputs, lag_rad: Real, alive: Mask) -> Target:
    rated, wanted = p.s_rated_pu, u.p_set_pu
    if p.answers_to_frequency:
        lag_rad = np.where(np.isnan(u.f_meas_hz), lag_rad, (u.f_meas_hz - p.f_nom_hz) / p.hz_per_rad)
        wanted = wanted - p.droop_pu * lag_rad
    high = np.minimum(np.minimum(u.p_available_pu, p.efficiency * u.p_dc_max_pu), rated)
    low = np.maximum(u.p_dc_min_pu / p.efficiency, -rated)
    active = np.minimum(np.maximum(wanted, low), high)
    if p.answers_to_frequency:
        gain, deadband = p.frequency_watt_pu
        reduced = active - gain * np.maximum(0.0, lag_rad - deadband)
        active = np.maximum(reduced, np.minimum(active, 0.0))
    room = np.sqrt(np.maximum(0.0, rated**2 - active**2))
    reactive = np.clip(u.q_set_pu, -room, room)
    limited = (active != wanted) | (reactive != u.q_set_pu)
    s = active + 1j * reactive
    if not alive.all():
        s, limited = np.where(alive, s, 0), limited | ~alive
    return Target(s, limited.astype(float))


def advance(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """Integrate power and frequency measurement over the interval that has passed.

    Args:
        p: parameters of n units.
        s: state at the start of the interval.
        u: inputs at the start of the interval.
        slopes: rates of the injected power and of the bus voltage [pu/s].
        dt_s: length of the interval [s], >= 0; 0 returns `s`.

    Raises:
        ValueError: dt_s < 0.

    tau dS/dt = S_set - S and T dtheta_f/dt = theta - theta_f are exact for a bus angle that moves at the rate
    Im(V'/V) of the interval's start, while no frequency law acts; with one the set-point is taken as linear
    between the interval's ends, an error of second order. Left out: the phase-locked loop (the current is
    aligned with the voltage at once), the dynamics of the DC side.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    count = len(u.s_pu)
    loops = kernels("compiled_inverters", count)
    if loops is not None:
        power, tracks, found = np.empty(count, complex), np.empty(count, bool), np.empty((5, count))
        loops.advance_following(
            loops.following(p, dt_s),
            loops.columns((s.s_pu, s.angle_rad, s.tracks, s.e_dc_pu_h, s.e_ac_pu_h, s.e_loss_pu_h)),
            loops.columns(u[1:]), loops.columns((u.s_pu, *slopes)), (dt_s, p.f_nom_hz, p.counts_energy),
            (power, tracks, found),
        )  # fmt: skip
        return State(power, found[0], found[1], tracks, found[2], found[3], found[4])
    w, alive = p.weights(dt_s), _alive(u.v_pu)
    angle, lag = _lag_at_start(s, u, alive)
    if np.count_nonzero(alive) == len(alive):
        rate = (slopes.v_pu / u.v_pu).imag
    else:
        rate = (slopes.v_pu / np.where(alive, u.v_pu, 1)).imag * alive
    later = w.lag_kept * lag + w.lag_for_rate * rate
    angle_later = angle + lag + rate * dt_s - later
    begin = target(p, u, lag, alive).s_pu
    power = s.s_pu + (begin - s.s_pu) * w.gone
    if p.answers_to_frequency:
        power = power + (target(p, u, later, alive).s_pu - begin) * w.gained
    dc, ac, loss = s.e_dc_pu_h, s.e_ac_pu_h, s.e_loss_pu_h
    if p.counts_energy:
        dc, ac, loss = added((dc, ac, loss), p.efficiency, (u.s_pu.real + slopes.s_pu.real * (dt_s / 2)) * dt_s)
    return State(power, angle_later, later, alive, dc, ac, loss)


def _lag_at_start(s: State, u: Inputs, alive: Mask) -> tuple[Real, Real]:
    """Filter's angle and the bus voltage's lead over it; a bus that comes back is followed from its own angle."""
    theta = np.arctan2(u.v_pu.imag, u.v_pu.real)
    angle, followed = s.angle_rad, alive & s.tracks
    lag = np.remainder(theta - angle + np.pi, 2 * np.pi) - np.pi
    if np.count_nonzero(followed) < len(followed):
        angle, lag = np.where(alive & ~s.tracks, theta, angle), np.where(followed, lag, 0.0)
    return angle, lag


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """Injected power, measured frequency and the set-point after limits; memoryless."""
    loops = kernels("compiled_inverters")  # what numpy remembers of the target costs less than a plain loop
    if loops is not None:
        shown = np.empty((5, len(u.s_pu)))
        loops.respond_following(loops.following(p, 1.0), (s.s_pu, s.lag_rad), u[1:], p.f_nom_hz, shown)
        return Outputs(
            shown[0], shown[1], shown[2], shown[3], shown[4], s.e_dc_pu_h, s.e_ac_pu_h, s.e_loss_pu_h
        )  # fmt: skip
    alive = _alive(u.v_pu)
    lag = s.lag_rad if np.count_nonzero(alive) == len(alive) else np.where(alive, s.lag_rad, 0.0)
    aim = target(p, u, lag, alive)
    return Outputs(
        s.s_pu.real, s.s_pu.imag, p.f_nom_hz + lag * p.hz_per_rad, aim.s_pu.real, aim.limited, s.e_dc_pu_h,
        s.e_ac_pu_h, s.e_loss_pu_h,
    )  # fmt: skip


def align(p: Params, s: State, u: Inputs, applied_pu: Complex) -> State:
    """Make units follow the power that the grid really applied (n,)."""
    return s._replace(s_pu=np.array(applied_pu, complex))


MODEL = Model(
    name="Following",
    params=Params,
    inputs=(
        Port("S[pu]", "s_pu", "power that the grid took, on the system base", hold="linear", scalar=False),
        Port("V[pu]", "v_pu", "bus voltage in the nominal frame", hold="linear", scalar=False),
        Port("P_set[MW]", "p_set_pu", "active-power set-point", base="s"),
        Port("Q_set[MVar]", "q_set_pu", "reactive-power set-point", base="s"),
        Port("P_avail[MW]", "p_available_pu", "power that the source has to give, at the bus", base="s"),
        Port("P_max[MW]", "p_dc_max_pu", "most that the DC side has to give", base="s"),
        Port("P_min[MW]", "p_dc_min_pu", "least; negative: most that it takes", base="s"),
        Port("f_meas[Hz]", "f_meas_hz", "frequency that a meter elsewhere has measured"),
    ),
    outputs=(
        Port("P_gen[pu]", "p_gen_pu", "injected active power on the system base", scalar=False),
        Port("Q_gen[pu]", "q_gen_pu", "injected reactive power on the system base", scalar=False),
        Port("P_gen[MW]", "p_gen_pu", "injected active power", base="s"),
        Port("Q_gen[MVar]", "q_gen_pu", "injected reactive power", base="s"),
        Port("f[Hz]", "f_hz", "measured frequency of the bus"),
        Port("P_set[MW]", "p_set_pu", "active-power set-point after limits", base="s"),
        Port("limited[1]", "limited", "1 while available power, rating, frequency or a dead bus limits the power"),
        *ENERGY_PORTS,
    ),
    records=("f[Hz]", "P_set[MW]", "limited[1]"),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
    source="power",
)
