"""Grid-forming inverter with P-f and Q-V droop, power filters, an active-power limiter and voltage clamps.

The EMF E at angle delta is the bus voltage itself (ideal source) or stands behind the unit's impedance. With
both droop coefficients equal on the units' own ratings, power is shared in proportion to the ratings. What stands
behind a unit's DC side is another model's: it tells how much power there is, and is told the energy drawn.
"""

import math
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models import inverter_parameters
from gridloop.simulators.models.compiled import kernels
from gridloop.simulators.models.conversion import ENERGY_PORTS, added
from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.ports import Model, Port

Params = inverter_parameters.Params


class State(NamedTuple):
    """State of n units."""

    delta_rad: Real  # EMF angle in the frame that rotates at nominal frequency
    s_filtered_pu: Complex  # P_f + j Q_f
    over_pu: Real  # integrator of the upper power limit, >= 0
    under_pu: Real  # of the lower one, >= 0
    e_offset_pu: Real  # what is left of a magnitude taken over by `align`, decays in ALIGN_DECAY_S
    e_dc_pu_h: Real  # energies since the start, as in `conversion`; 0 while none is counted
    e_ac_pu_h: Real
    e_loss_pu_h: Real
    turned_rad: Real  # by how much the angle moved in the last step
    dt_s: float = 0.0  # length of the last step
    aligned: bool = False  # whether `align` ever gave an offset


class Inputs(NamedTuple):
    """What reaches n units."""

    s_pu: Complex  # power into the bus, measured at the bus
    p_set_pu: Real
    q_set_pu: Real
    v_set_pu: Real
    omega_rad_per_s: Real  # frequency correction of a secondary control
    v_correction_pu: Real
    p_dc_max_pu: Real  # power that the DC side has to give, at most
    p_dc_min_pu: Real  # at least; negative: what it takes at most


class Slopes(NamedTuple):
    """Rates of the linearly held inputs."""

    s_pu: Complex


class Outputs(NamedTuple):
    """What n units show."""

    emf_pu: Complex
    f_hz: Real
    p_set_pu: Real
    limited: Real  # 1 while a power limit or a clamp acts
    e_dc_pu_h: Real  # energies since the start, 0 while none is counted
    e_ac_pu_h: Real
    e_loss_pu_h: Real


ALIGN_DECAY_S = 0.5


def initial(p: Params, s_pu: Complex, emf_pu: Complex) -> State:
    """State at rest while delivering `s_pu` (n,) with the EMF `emf_pu` (n,)."""
    zero = np.zeros(len(s_pu))
    return State(np.angle(emf_pu), s_pu.astype(complex), zero, zero, zero, zero, zero, zero, zero)


def held(p: Params) -> Inputs:
    """Set-points from the parameters; no power yet, no secondary correction, DC sides without limits."""
    zero, (least, most) = np.zeros(len(p.s_rated_kva)), p.endless
    p_set, q_set = p.p_set_kw * p.kw_to_pu, p.q_set_kvar * p.kw_to_pu
    return Inputs(zero.astype(complex), p_set, q_set, p.v_set_pu, zero, zero, most, least)


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
    Trans. Ind. Appl. 29 (1993). Left out: inner loops (their fast limit is assumed), the dynamics of the DC side,
    current limit.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    count = len(u.s_pu)
    loops = kernels("compiled_inverters", count)
    if loops is not None:
        filtered, found = np.empty(count, complex), np.empty((8, count))
        loops.advance_forming(
            loops.forming(p, dt_s), loops.columns(s[:8]),
            loops.columns((u.s_pu, slopes.s_pu, u.p_set_pu, u.omega_rad_per_s, u.p_dc_max_pu, u.p_dc_min_pu)),
            (dt_s, p.counts_energy, s.aligned), (filtered, found),
        )  # fmt: skip
        return State(
            found[0], filtered, found[1], found[2], found[3], found[4], found[5], found[6], found[7], dt_s, s.aligned
        )
    w = p.weights(dt_s)
    filtered = w.filtered[0] * s.s_filtered_pu + w.filtered[1] * u.s_pu + w.filtered[2] * slopes.s_pu
    dropped = w.turned[0] * s.s_filtered_pu.real + w.turned[1] * u.s_pu.real + w.turned[2] * slopes.s_pu.real
    if s.aligned:  # a unit off the grid goes on at the frequency that it took over
        off, p_held = u.s_pu == 0, s.s_filtered_pu.real
        filtered = np.where(off, p_held + 1j * filtered.imag, filtered)
        dropped = np.where(off, p.droop_p_rad_per_s_pu * p_held * dt_s, dropped)
    turned, limits = slip_rad_per_s(p, u) * dt_s - dropped, limits_in_force(p, u)
    over = under = p.nothing
    if limits is not None:
        low, high = limits
        rate, energy = p.limiter_rate_per_s, dropped / p.droop_p_rad_per_s_pu
        over = np.maximum(0.0, s.over_pu + rate * (energy - high * dt_s))
        under = np.maximum(0.0, s.under_pu + rate * (low * dt_s - energy))
        before = _limiter(p, (s.s_filtered_pu, s.over_pu, s.under_pu), limits)
        after = _limiter(p, (filtered, over, under), limits)
        turned = turned - p.droop_p_rad_per_s_pu * (before + after) * (dt_s / 2)
    offset = s.e_offset_pu * math.exp(-dt_s / ALIGN_DECAY_S) if s.aligned else s.e_offset_pu
    dc, ac, loss = s.e_dc_pu_h, s.e_ac_pu_h, s.e_loss_pu_h
    if p.counts_energy:
        dc, ac, loss = added((dc, ac, loss), p.efficiency, (u.s_pu.real + slopes.s_pu.real * (dt_s / 2)) * dt_s)
    return State(s.delta_rad + turned, filtered, over, under, offset, dc, ac, loss, turned, dt_s, s.aligned)


def slip_rad_per_s(p: Params, u: Inputs) -> Real:
    """Deviation (n,) from the nominal angular frequency at no power."""
    slip: Real = u.omega_rad_per_s + p.droop_p_rad_per_s_pu * u.p_set_pu
    return slip


class DroopLines(NamedTuple):
    """What n units would show at no power."""

    f_hz: Real
    e_pu: Real
    clamped: Mask | None  # where the voltage correction is at its limit


def droop_lines(p: Params, u: Inputs) -> DroopLines:
    """The droop lines that the set-points draw; remembered, because set-points change seldom."""
    if p.line_memory:
        seen, lines = p.line_memory
        if (
            u.omega_rad_per_s is seen.omega_rad_per_s and u.v_correction_pu is seen.v_correction_pu
            and u.p_set_pu is seen.p_set_pu and u.q_set_pu is seen.q_set_pu and u.v_set_pu is seen.v_set_pu
        ):  # fmt: skip
            known: DroopLines = lines
            return known
    correction, clamped = u.v_correction_pu, None
    if p.is_clamped:
        correction = np.clip(correction, -p.v_correction_limit_pu, p.v_correction_limit_pu)
        clamped = correction != u.v_correction_pu
    e_pu = u.v_set_pu + correction + p.droop_q_pu * u.q_set_pu
    lines = DroopLines(p.f_nom_hz + slip_rad_per_s(p, u) / (2 * np.pi), e_pu, clamped)
    p.line_memory[:] = (u, lines)
    return lines


def power_limits_pu(p: Params, u: Inputs) -> tuple[Real, Real]:
    """Least and largest active power (n,); where unit and DC side cannot both be kept, what the DC side has counts."""
    high = np.minimum(p.p_max_kw * p.kw_to_pu, p.efficiency * u.p_dc_max_pu)
    low = np.maximum(p.p_min_kw * p.kw_to_pu, u.p_dc_min_pu / p.efficiency)
    return np.minimum(low, high), high


def limits_in_force(p: Params, u: Inputs) -> tuple[Real, Real] | None:
    """Least and largest filtered power; None: no unit has a limit. Remembered, because DC sides change seldom."""
    if p.limit_memory:
        low_seen, high_seen, known = p.limit_memory
        if u.p_dc_min_pu is low_seen and u.p_dc_max_pu is high_seen:
            remembered: tuple[Real, Real] | None = known
            return remembered
    low, high = power_limits_pu(p, u)
    limits = (low, high) if np.isfinite(low).any() or np.isfinite(high).any() else None
    p.limit_memory[:] = (u.p_dc_min_pu, u.p_dc_max_pu, limits)
    return limits


def _limiter(p: Params, state: tuple[Complex, Real, Real], limits: tuple[Real, Real]) -> Real:
    """x_lim [pu]: what the power limiter adds to the droop's power, from the filtered power and both integrators.

    Remembered, because an end of a step is the begin of the next.
    """
    if p.limiter_memory:
        *seen, known = p.limiter_memory
        if all(map(is_, seen, (*state, *limits))):
            remembered: Real = known
            return remembered
    (filtered, over, under), (low, high) = state, limits
    power = filtered.real
    beyond = np.maximum(power - high, 0.0) - np.maximum(low - power, 0.0)
    limit: Real = p.limiter_gain * beyond + over - under
    p.limiter_memory[:] = (*state, *limits, limit)
    return limit


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """EMF, frequency and limiter flag; memoryless. What `align` left is added behind the clamp, so that it fits."""
    count = len(u.s_pu)
    loops = kernels("compiled_inverters", count)
    if loops is not None:
        emf, shown = np.empty(count, complex), np.empty((2, count))
        loops.respond_forming(
            loops.forming(p, 1.0), loops.columns(s[:5]), loops.columns(u[1:]), (p.f_nom_hz, s.aligned), (emf, shown)
        )
        return Outputs(emf, shown[0], u.p_set_pu, shown[1], s.e_dc_pu_h, s.e_ac_pu_h, s.e_loss_pu_h)
    lines, limits, filtered = droop_lines(p, u), limits_in_force(p, u), s.s_filtered_pu
    f_hz = lines.f_hz - p.droop_p_hz_pu * filtered.real
    limited = p.nothing
    if limits is not None:
        limit = _limiter(p, (filtered, s.over_pu, s.under_pu), limits)
        f_hz = f_hz - p.droop_p_hz_pu * limit
        limited = (limit != 0).astype(float)
    magnitude = lines.e_pu - p.droop_q_pu * filtered.imag
    if lines.clamped is not None:
        unclamped, magnitude = magnitude, np.clip(magnitude, *p.e_limits_pu)
        limited = np.maximum(limited, lines.clamped | (magnitude != unclamped))
    if s.aligned:
        magnitude = magnitude + s.e_offset_pu
    direction: Complex = np.exp(p.imaginary_unit * s.delta_rad)
    phasors: Complex = magnitude * direction
    return Outputs(phasors, f_hz, u.p_set_pu, limited, s.e_dc_pu_h, s.e_ac_pu_h, s.e_loss_pu_h)


def align(p: Params, s: State, u: Inputs, applied_pu: Complex) -> State:
    """Make a unit that is not in charge follow the EMF that the grid applied (n,); others keep their state.

    The angle turns by angle(applied conj(own)); the difference in magnitude is kept as an offset that decays
    in ALIGN_DECAY_S, so that taking over again makes no step. A unit off the grid (S = 0) takes over the frequency
    too: its filter holds the power at which the droop line gives that.
    """
    own = respond(p, s, u).emf_pu
    other = applied_pu != own
    ahead, filtered = np.angle(applied_pu * own.conj()), s.s_filtered_pu
    if s.dt_s > 0:
        slip = (s.turned_rad + ahead) / s.dt_s  # of the applied EMF over the last step
        power = (slip_rad_per_s(p, u) - slip) / p.droop_p_rad_per_s_pu
        filtered = np.where(other & (u.s_pu == 0), power + 1j * filtered.imag, filtered)
    return s._replace(
        delta_rad=np.where(other, s.delta_rad + ahead, s.delta_rad),
        s_filtered_pu=filtered,
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
        Port(
            "Omega[rad_per_s]", "omega_rad_per_s", "frequency correction of a secondary control",
            rate="dOmega[rad_per_s2]",
        ),
        Port("v[pu]", "v_correction_pu", "voltage correction of a secondary control", rate="dv[pu_per_s]"),
        Port("P_max[MW]", "p_dc_max_pu", "most that the DC side has to give", base="s"),
        Port("P_min[MW]", "p_dc_min_pu", "least; negative: most that it takes", base="s"),
    ),
    outputs=(
        Port("EMF[pu]", "emf_pu", "EMF phasor in the nominal frame", scalar=False),
        Port("E[pu]", "emf_pu", "EMF magnitude", convert=np.abs),
        Port("Va_emf[deg]", "emf_pu", "EMF angle in the nominal frame, within +-180", convert=_degrees),
        Port("f[Hz]", "f_hz", "frequency of the EMF"),
        Port("P_set[MW]", "p_set_pu", "active-power set-point", base="s"),
        Port("limited[1]", "limited", "1 while a power limit or a clamp acts"),
        *ENERGY_PORTS,
    ),
    records=("f[Hz]", "E[pu]", "Va_emf[deg]", "P_set[MW]", "limited[1]"),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
)  # fmt: skip
