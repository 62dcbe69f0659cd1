"""Diesel generator set: two-axis machine, exciter, voltage regulator, DEGOV governor and an engine with dead time.

The transient EMF stands behind r_a + jx' in the grid. At rest the sets share active power by their droop lines, or
hold the frequency (isochronous), and the terminal voltage falls with the reactive power.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.compiled import kernels
from gridloop.simulators.models.dead_time import History, appended, later, settled
from gridloop.simulators.models.diesel_parameters import (
    A1,
    A2,
    A3,
    DELTA,
    E_D,
    E_FD,
    E_Q,
    P_F,
    Q_F,
    SLIP,
    TRANSIENT,
    V_R,
    X_F,
    Params,
)
from gridloop.simulators.models.diesel_step import Drive, step, touching
from gridloop.simulators.models.machine_terminal import SAME_EMF_PU, growth_per_s, terminal_voltage, tracked_slip
from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.ports import Model, Port


class State(NamedTuple):
    """State of n sets."""

    x: Real  # (n, 14) machine, regulator and governor; columns as in `diesel_parameters`
    torque: History  # of the actuator, since before the dead time
    trim_pu: Real  # reference of the regulator above V_set, found at the start: it supplies the field at rest
    offset_pu: Real  # (n, 2) what `align` left of voltage and speed references, decays in ALIGN_DECAY_S
    running: Mask  # connected to the grid at the last step
    fuel_l: Real  # burnt since the start
    underload_min: Real  # time below the minimum load
    reverse_s: Real  # time for which power has been consumed without a break
    tripped: Mask  # the reverse-power relay has picked up, until the set is started again
    dt_s: float = 0.0  # length of the last step, for `align`
    aligned: bool = False  # whether `align` ever gave an offset


class Inputs(NamedTuple):
    """What reaches n sets."""

    s_pu: Complex  # power into the bus; exactly 0 of a set that is not connected
    v_pu: Complex  # bus voltage in the nominal frame
    p_set_pu: Real
    q_set_pu: Real
    v_set_pu: Real
    omega_rad_per_s: Real  # frequency correction of a secondary control
    v_correction_pu: Real


class Slopes(NamedTuple):
    """Rates of the linearly held inputs."""

    s_pu: Complex
    v_pu: Complex


class Outputs(NamedTuple):
    """What n sets show."""

    emf_pu: Complex
    f_hz: Real
    p_set_pu: Real
    limited: Real  # 1 while fuel rack or regulator are at a limit
    fuel_l: Real
    underload_min: Real
    running: Real
    tripped: Real


ALIGN_DECAY_S = 0.5
ROUNDING_S = 1e-9  # of a time that is summed up
LONGEST_STEP_S = 5e-3  # of the integration; the fastest pole is 1/T5 = 111 1/s


def initial(p: Params, s_pu: Complex, emf_pu: Complex) -> State:
    """State at rest while delivering `s_pu` (n,) with the EMF `emf_pu` (n,)."""
    u, n = held(p), len(s_pu)
    x, reference = _at_rest(p, s_pu, emf_pu, u)
    zero, no = np.zeros(n), np.zeros(n, bool)
    trim = reference - u.v_set_pu
    return State(x, settled(x[:, A3], p.dead), trim, np.zeros((n, 2)), s_pu != 0, zero, zero, zero, no)


def _at_rest(p: Params, s_pu: Complex, emf_pu: Complex, u: Inputs) -> tuple[Real, Real]:
    """State matrix at rest, and the reference of the regulator that keeps it there."""
    v = terminal_voltage(s_pu, emf_pu, p.impedance_pu)
    current = (s_pu / v).conj() * p.to_own
    axis = v + (p.r_a_pu + 1j * p.x_q_pu) * current
    turn = axis / np.abs(axis) / 1j  # of the rotor's frame, whose imaginary axis is the quadrature axis
    emf, i = emf_pu / turn, current / turn
    field_pu = emf.imag + (p.x_d_pu - p.x_transient_pu) * i.real
    power = s_pu * p.to_own
    x = np.zeros((len(s_pu), 14))
    x[:, DELTA] = np.angle(axis)
    x[:, SLIP] = u.omega_rad_per_s / p.omega_nom_rad_per_s
    x[:, SLIP] += p.droop_p_percent / 100 * (u.p_set_pu * p.to_own - power.real)
    x[:, E_D], x[:, E_Q] = emf.real, emf.imag
    x[:, V_R], x[:, E_FD], x[:, X_F] = p.exciter_gain * field_pu, field_pu, p.damped_feedback * field_pu
    x[:, P_F], x[:, Q_F] = power.real, power.imag
    torque = ((emf * i.conj()).real + p.damping_pu * x[:, SLIP]) / (1 + x[:, SLIP])
    x[:, A1] = x[:, A2] = x[:, A3] = torque
    above = p.exciter_gain * field_pu / p.avr_gain - u.v_correction_pu
    fallen = p.droop_q_percent / 100 * (power.imag - u.q_set_pu * p.to_own)
    return x, np.abs(v) + fallen + above


def held(p: Params) -> Inputs:
    """Set-points from the parameters, at nominal voltage; no power yet, no secondary correction."""
    n = len(p.s_rated_kva)
    p_set, q_set = p.p_set_kw * p.kw_to_pu, p.q_set_kvar * p.kw_to_pu
    return Inputs(np.zeros(n, complex), np.ones(n, complex), p_set, q_set, p.v_set_pu, np.zeros(n), np.zeros(n))


def advance(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """Integrate the sets over the interval that has passed.

    Args:
        p: parameters of n sets.
        s: state at the start of the interval.
        u: inputs at the start of the interval.
        slopes: rates of the power and of the bus voltage [pu/s].
        dt_s: length of the interval [s], >= 0; 0 returns `s`.

    Raises:
        ValueError: dt_s < 0.

    With all figures on the set's own rating, v = V e^-j(delta - pi/2), i = (E' - v)/(r_a + jx'):

        ddelta/dt = w0 w,  2H dw/dt = T_m (1 + w) - Re(E' conj(i)) - D w
        T'do dE'q/dt = E_fd - E'q - (x_d - x') i_d,  T'qo dE'd/dt = -E'd + (x_q - x') i_q
        T_A dV_R/dt = K_A (V_ref + v_corr - n (Q_f - Q*) - |V| - V_F) - V_R,  V_F = (K_F/T_F) E_fd - x_F
        T_e dE_fd/dt = V_R - K_e E_fd,  T_F dx_F/dt = (K_F/T_F) E_fd - x_F
        e = -w + Omega/w0 - R (P_f - P*)
        dc1/dt = c2,  T1 T2 dc2/dt = e - c1 - T1 c2,  y = c1 + T3 c2
        da1/dt = K y,  T5 da2/dt = a1 + T4 K y - a2,  T6 da3/dt = a2 - a3,  T_m(t) = a3(t - T_D) within its limits

    V_R and a1 stay within their limits and rest there while they are pushed out. Runge-Kutta of fourth order in steps
    of at most LONGEST_STEP_S and the dead time; ln V is extrapolated, the power linearly. Sources: Kundur, Power
    System Stability and Control (1994), chapters 3, 5 and 8; DEGOV of PSS/E as in OpenIPSL. Left out: saturation,
    subtransients, the exciter's ceiling other than that of V_R, limits of the generator's current.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    count = math.ceil(dt_s / min(LONGEST_STEP_S, p.dead.shortest_s) - 1e-9)
    compiled = kernels("compiled_diesel")
    if compiled is not None:
        return _compiled(compiled, p, s, (u, slopes), dt_s, count)
    drive = _drive(p, s, u, slopes, dt_s)
    x, torque, h = s.x, s.torque, dt_s / count
    for k in range(count):
        x = step(p, drive, x, torque, (k * h, h))
        torque = appended(torque, (k + 1) * h, x[:, A3], (x[:, A2] - x[:, A3]) / p.governor_t6_s)
    offset = _offset_later(s, dt_s)
    counted = _counted(p, s, x, (u.s_pu, slopes.s_pu), dt_s)
    return State(x, later(torque, dt_s, p.dead), s.trim_pu, offset, *counted, dt_s, s.aligned)


def _compiled(compiled: Any, p: Params, s: State, given: tuple[Inputs, Slopes], dt_s: float, count: int) -> State:
    """The same by compiled loops."""
    u, slopes = given
    sets, samples = len(s.x), len(s.torque.at_s) + count
    x, counters, flags = np.empty(s.x.shape), np.empty((3, sets)), np.empty((2, sets), bool)
    torque = np.empty(samples), np.empty((samples, sets)), np.empty((samples, sets))
    first = compiled.integrate(
        compiled.of(p), s.x, tuple(s.torque),
        (s.trim_pu, s.offset_pu, (s.running, s.fuel_l, s.underload_min, s.reverse_s, s.tripped)),
        (slopes.s_pu, slopes.v_pu, tuple(u)), (dt_s, count), (x, torque, counters, flags),
    )  # fmt: skip
    history = History(torque[0][first:], torque[1][first:], torque[2][first:])
    return State(
        x, history, s.trim_pu, _offset_later(s, dt_s), flags[0], counters[0], counters[1], counters[2], flags[1],
        dt_s, s.aligned,
    )  # fmt: skip


def _offset_later(s: State, dt_s: float) -> Real:
    """What is left after `dt_s` of what `align` gave."""
    return s.offset_pu * np.exp(-dt_s / ALIGN_DECAY_S) if s.aligned else s.offset_pu


_Counters = tuple[Mask, Real, Real, Real, Mask]  # State.running to State.tripped


def _counted(p: Params, s: State, x: Real, power: tuple[Complex, Complex], dt_s: float) -> _Counters:
    """Who runs, fuel and the other counters after a step from `s` to `x` with `power` and its rate."""
    s_pu, s_rate = power
    loaded = x[:, P_F]
    p_mean = np.maximum(s_pu.real + s_rate.real * (dt_s / 2), 0.0)
    idle, slope = p.fuel_l_per_s
    burnt, below = (idle + slope * p_mean) * dt_s, loaded < p.p_min_pu
    all_run = np.count_nonzero(s_pu) == np.count_nonzero(s.running) == len(x)
    if all_run and not np.count_nonzero(below) and not np.count_nonzero(s.tripped):  # as nearly always
        return s.running, s.fuel_l + burnt, s.underload_min, p.nothing, s.tripped
    running = s_pu != 0
    reverse_s = (s.reverse_s + dt_s) * (running & (loaded < p.reverse_power_pu))
    kept = s.tripped & ~(running & ~s.running)  # a set that is connected again has been looked after
    return (
        running, s.fuel_l + burnt * running, s.underload_min + (dt_s / 60) * (running & below), reverse_s,
        kept | (reverse_s > p.reverse_power_s + ROUNDING_S),
    )  # fmt: skip


def _drive(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> Drive:
    """What drives the sets over one interval."""
    is_open = u.s_pu == 0 if np.count_nonzero(u.s_pu) < len(u.s_pu) else None
    v = u.v_pu if is_open is None else np.where(is_open, 0, u.v_pu)
    growth = growth_per_s(v, slopes.v_pu, dt_s, p.omega_nom_rad_per_s * s.x[:, SLIP])
    reference, speed = _references(p, s, u)
    turned = v * p.imaginary_unit
    return Drive(turned, growth, u.s_pu, slopes.s_pu, reference, speed, is_open)


def _references(p: Params, s: State, u: Inputs) -> tuple[Real, Real]:
    """Of the regulator, and speed deviation [pu] at no power."""
    reference, speed = set_points(p, u)
    reference = reference + s.trim_pu
    if not s.aligned:
        return reference, speed
    return reference + s.offset_pu[:, 0], speed + s.offset_pu[:, 1]


def set_points(p: Params, u: Inputs) -> tuple[Real, Real]:
    """Voltage and speed deviation [pu] at no power; remembered, because set-points change seldom."""
    if p.set_point_memory:
        seen, known = p.set_point_memory
        if (
            u.omega_rad_per_s is seen.omega_rad_per_s and u.v_correction_pu is seen.v_correction_pu
            and u.p_set_pu is seen.p_set_pu and u.q_set_pu is seen.q_set_pu and u.v_set_pu is seen.v_set_pu
        ):  # fmt: skip
            remembered: tuple[Real, Real] = known
            return remembered
    reference = u.v_set_pu + u.v_correction_pu + p.droop_q_pu * u.q_set_pu
    speed = (u.omega_rad_per_s + p.droop_p_rad_per_s_pu * u.p_set_pu) / p.omega_nom_rad_per_s
    p.set_point_memory[:] = (u, (reference, speed))
    return reference, speed


def _emf(p: Params, x: Real) -> Complex:
    """E' in the nominal frame."""
    emf: Complex = x[:, TRANSIENT].view(complex)[:, 0] * np.exp(x[:, DELTA] * p.imaginary_unit)
    return emf * p.minus_imaginary_unit


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """Transient EMF, frequency and counters; memoryless."""
    compiled = kernels("compiled_diesel")
    if compiled is not None:
        emf, shown = np.empty(len(s.x), complex), np.empty((4, len(s.x)))
        compiled.respond(compiled.of(p)[0], s.x, s.running, s.tripped, p.f_nom_hz, (emf, shown))
        return Outputs(emf, shown[0], u.p_set_pu, shown[1], s.fuel_l, s.underload_min, shown[2], shown[3])
    touched = touching(p, s.x)
    limited = touched.any(axis=1).astype(float) if np.count_nonzero(touched) else p.nothing
    return Outputs(
        _emf(p, s.x), p.f_nom_hz * (1 + s.x[:, SLIP]), u.p_set_pu, limited, s.fuel_l, s.underload_min,
        s.running.astype(float), s.tripped.astype(float),
    )  # fmt: skip


def align(p: Params, s: State, u: Inputs, applied_pu: Complex) -> State:
    """Make sets that are not in charge follow the EMF that the grid applied (n,); others keep their state.

    They stand at rest, delivering what the grid took, with a speed that tends to that at which the applied EMF turns.
    What the references of regulator and governor lack for that is kept as offsets that decay in ALIGN_DECAY_S.
    """
    own = _emf(p, s.x)
    other = np.abs(applied_pu - own) > SAME_EMF_PU
    if not other.any():
        return s
    x, reference = _at_rest(p, np.where(other, u.s_pu, 0), np.where(other, applied_pu, own), u)
    x[:, SLIP] = tracked_slip(s.x[:, SLIP], np.angle(applied_pu * own.conj()), p.omega_nom_rad_per_s * s.dt_s)
    torque = s.torque._replace(
        value=np.where(other, x[:, A3], s.torque.value), slope=np.where(other, 0, s.torque.slope)
    )  # fmt: skip
    speed = x[:, SLIP] + p.droop_p_percent / 100 * x[:, P_F] - set_points(p, u)[1]
    lacking = np.stack((reference - u.v_set_pu - s.trim_pu, speed), axis=1)
    return s._replace(
        x=np.where(other[:, None], x, s.x), torque=torque, offset_pu=np.where(other[:, None], lacking, s.offset_pu),
        aligned=True,
    )  # fmt: skip


def _degrees(emf_pu: Any) -> Any:
    return np.degrees(np.angle(emf_pu))


MODEL = Model(
    name="Diesel",
    params=Params,
    inputs=(
        Port("S[pu]", "s_pu", "power into the bus on the system base", hold="linear", scalar=False),
        Port("V[pu]", "v_pu", "bus voltage in the nominal frame", hold="linear", scalar=False),
        Port("P_set[MW]", "p_set_pu", "active-power set-point", base="s"),
        Port("Q_set[MVar]", "q_set_pu", "reactive-power set-point", base="s"),
        Port("V_set[pu]", "v_set_pu", "voltage set-point"),
        Port(
            "Omega[rad_per_s]", "omega_rad_per_s", "frequency correction of a secondary control",
            rate="dOmega[rad_per_s2]",
        ),
        Port("v[pu]", "v_correction_pu", "voltage correction of a secondary control", rate="dv[pu_per_s]"),
    ),
    outputs=(
        Port("EMF[pu]", "emf_pu", "transient EMF phasor in the nominal frame", scalar=False),
        Port("E[pu]", "emf_pu", "transient EMF magnitude", convert=np.abs),
        Port("Va_emf[deg]", "emf_pu", "its angle in the nominal frame, within +-180", convert=_degrees),
        Port("f[Hz]", "f_hz", "frequency of the rotor"),
        Port("P_set[MW]", "p_set_pu", "active-power set-point", base="s"),
        Port("limited[1]", "limited", "1 while fuel rack or voltage regulator are at a limit"),
        Port("fuel[L]", "fuel_l", "fuel burnt since the start"),
        Port("underload[min]", "underload_min", "time below the minimum load since the start"),
        Port("running[1]", "running", "1 while connected to the grid"),
        Port("reverse_trip[1]", "tripped", "1 once power was consumed for too long, until the set is started again"),
    ),
    records=(
        "f[Hz]", "E[pu]", "Va_emf[deg]", "P_set[MW]", "limited[1]", "fuel[L]", "underload[min]", "running[1]",
        "reverse_trip[1]",
    ),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
)  # fmt: skip
