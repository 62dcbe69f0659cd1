"""The diesel set's step as a compiled loop over sets: the same formulas as in `diesel`, without numpy's calls.

Needs numba: beside plain Python numpy is faster. Results are written into arrays of the caller's, because one that is
returned costs as much as five that are given.
"""

from typing import Any

import numpy as np

from gridloop.simulators.models.diesel_parameters import (
    A2,
    A3,
    COLUMNS,
    DELTA,
    E_D,
    E_Q,
    LIMITED,
    P_F,
    POWER,
    REACTIVE,
    SLIP,
    SPEED,
    TORQUE,
    V_D,
    V_Q,
    VOLTAGE,
)
from gridloop.simulators.models.jit import loop, rows

STATES = 14
ROUNDING_S = 1e-9  # as in `diesel`
FIRST_LIMITED = LIMITED.start
FUEL_L, UNDERLOAD, REVERSE = range(3)  # rows of the counters that `integrate` finds
RUNNING, TRIPPED = range(2)  # of the flags
# columns of `table`
DEAD, T6, TORQUE_MIN, TORQUE_MAX, IMMEDIATE, LOW_0, LOW_1, HIGH_0, HIGH_1 = range(9)
P_MIN, REVERSE_POWER, REVERSE_TIME, IDLE, FUEL, DROOP_P, DROOP_Q = range(9, 16)


def table(p: Any) -> Any:
    """(n, 16) what the loops need of the parameters beside the linear part."""
    none = np.zeros(len(p.s_rated_kva), bool) if p.immediate is None else p.immediate
    low, high = p.limits_pu
    return rows(
        p.dead.dead_s, p.governor_t6_s, p.torque_min_pu, p.torque_max_pu, none, *low.T, *high.T, p.p_min_pu,
        p.reverse_power_pu, p.reverse_power_s, *p.fuel_l_per_s, p.droop_p_rad_per_s_pu, p.droop_q_pu,
    )  # fmt: skip


def of(p: Any) -> Any:
    """What `integrate` needs of the parameters, made once."""
    if not p.compiled_memory:
        p.compiled_memory.append((table(p), p.linear, p.omega_nom_rad_per_s, p.dead.longest_s))
    return p.compiled_memory[0]


@loop
def growth(v: Any, slope: Any, dt_s: float, turn: float) -> Any:
    """`machine_terminal.growth_per_s` of one set."""
    step = slope * dt_s / (v if v != 0 else 1.0 + 0j)
    if slope == 0 or not abs(step) < 1 / 3:
        return 1j * turn
    return np.log(1 - step) / -dt_s


@loop
def delayed(at_s: Any, value: Any, slope: Any, known: int, asked: float) -> float:
    """`dead_time.delayed` of one signal, of whose samples the first `known` are there."""
    begin = 0
    while begin < known - 2 and at_s[begin + 1] <= asked:
        begin += 1
    width = at_s[begin + 1] - at_s[begin]
    share = (asked - at_s[begin]) / width
    rest, v = 1 - share, value[begin]
    rise = value[begin + 1] - v
    bend = rest * (slope[begin] * width - rise) - share * (slope[begin + 1] * width - rise)
    found: float = v + share * (rise + rest * bend)
    return found


@loop
def touches(fixed: Any, x: Any) -> bool:
    """Whether a set stands at one of its limits."""
    for place in range(2):
        at = x[FIRST_LIMITED + place]
        if at <= fixed[LOW_0 + place] or at >= fixed[HIGH_0 + place]:
            return True
    return False


@loop
def rates(linear: Any, fixed: Any, whole: Any, turned: Any, found: Any, ways: tuple[bool, bool]) -> None:
    """`diesel._rates` of one set, into `found` (17,); `turned` is jV."""
    is_open, resting = ways
    v = turned * np.exp(-1j * whole[DELTA])
    whole[V_D], whole[V_Q] = v.real, v.imag
    if is_open:
        whole[V_D], whole[V_Q] = whole[E_D], whole[E_Q]
        whole[VOLTAGE] -= np.hypot(whole[E_D], whole[E_Q])
    if fixed[IMMEDIATE] != 0:
        whole[TORQUE] = min(max(whole[A3], fixed[TORQUE_MIN]), fixed[TORQUE_MAX])
    for row in range(STATES + 3):
        total = 0.0
        for column in range(COLUMNS):
            total += linear[row, column] * whole[column]
        found[row] = total
    found[SLIP] += whole[SLIP] * found[STATES] + whole[E_D] * found[STATES + 1] + whole[E_Q] * found[STATES + 2]
    if resting:
        for place in range(2):
            at, row = whole[FIRST_LIMITED + place], FIRST_LIMITED + place
            if (at <= fixed[LOW_0 + place] and found[row] < 0) or (at >= fixed[HIGH_0 + place] and found[row] > 0):
                found[row] = 0.0


@loop
def step(fixed: Any, linear: Any, x: Any, given: Any, times: tuple[float, float], resting: bool) -> None:
    """`diesel._step` of one set, which changes `x` (14,)."""
    is_open, v, v_growth, s, s_rate, reference, speed, torque = given
    begin, h = times
    slopes, whole = np.empty((4, STATES + 3)), np.empty(COLUMNS)
    for stage in range(4):
        share = (0.0, 0.5, 0.5, 1.0)[stage]
        tau = begin + share * h
        for column in range(STATES):
            whole[column] = x[column] + (share * h * slopes[stage - 1, column] if stage > 0 else 0.0)
        turned, power = 1j * v * np.exp(v_growth * tau), s + s_rate * tau
        whole[VOLTAGE], whole[SPEED] = reference - abs(turned), speed
        whole[POWER], whole[REACTIVE] = power.real, power.imag
        whole[TORQUE] = min(max(torque[(stage + 1) // 2], fixed[TORQUE_MIN]), fixed[TORQUE_MAX])
        rates(linear, fixed, whole, turned, slopes[stage], (is_open, resting))
    for column in range(STATES):
        x[column] += h / 6 * (2 * (slopes[1, column] + slopes[2, column]) + slopes[0, column] + slopes[3, column])
    for place in range(2):
        row = FIRST_LIMITED + place
        x[row] = min(max(x[row], fixed[LOW_0 + place]), fixed[HIGH_0 + place])


@loop
def counted(fixed: Any, x: Any, counters: Any, given: Any, later: Any, flags: Any) -> None:
    """`diesel._counted`: fuel, time below the minimum load and of reverse power, into `later`; who runs and trips."""
    ran, fuel, underload, reverse_s, tripped = counters
    s, s_rate, dt_s = given
    for n in range(len(s)):
        running = s[n] != 0
        later[FUEL_L, n], later[UNDERLOAD, n], later[REVERSE, n] = fuel[n], underload[n], 0.0
        if running:
            p_mean = max(0.0, s[n].real + s_rate[n].real * (dt_s / 2))
            later[FUEL_L, n] += (fixed[n, IDLE] + fixed[n, FUEL] * p_mean) * dt_s
            later[UNDERLOAD, n] += dt_s / 60 if x[n, P_F] < fixed[n, P_MIN] else 0.0
            if x[n, P_F] < fixed[n, REVERSE_POWER]:
                later[REVERSE, n] = reverse_s[n] + dt_s
        kept = tripped[n] and not (running and not ran[n])
        flags[RUNNING, n] = running
        flags[TRIPPED, n] = kept or later[REVERSE, n] > fixed[n, REVERSE_TIME] + ROUNDING_S


@loop
def integrate(parameters: Any, x: Any, history: Any, held: Any, given: Any, interval: Any, found: Any) -> int:
    """All sets over an interval of a length [s], in a number of steps.

    Args:
        parameters: as `of` gives them.
        x: state (n, 14).
        history: times (k,), values and slopes (k, n) of the torque's samples.
        held: trim and offsets of the regulator's reference, and the counters as `counted` takes them.
        given: rates of power and voltage, and the inputs.
        interval: its length and the number of steps.
        found: room for the state, for the samples with one more a step, for counters (3, n) and flags (2, n).

    Returns:
        The first sample that is still of use.
    """
    fixed, linear, omega_nom, longest_s = parameters
    trim, offset, counters = held
    s_rate, v_rate, (s, v, p_set, q_set, v_set, omega, v_correction) = given
    dt_s, count = interval
    later, (at_s, value, slope), counters_later, flags = found
    known, sets, h = len(history[0]), len(x), dt_s / count
    at_s[:known], value[:known], slope[:known] = history
    later[:] = x
    torque, growths = np.empty(3), np.empty(sets, np.complex128)
    for k in range(count):
        resting = False
        for n in range(sets):
            resting = resting or touches(fixed[n], later[n])
        for n in range(sets):
            is_open = s[n] == 0
            voltage = 0j if is_open else v[n]
            if k == 0:
                growths[n] = growth(voltage, v_rate[n], dt_s, omega_nom * later[n, SLIP])
            for third in range(3):
                asked = k * h + third * h / 2 - fixed[n, DEAD]
                torque[third] = delayed(at_s, value[:, n], slope[:, n], known + k, asked)
            reference = v_set[n] + v_correction[n] + fixed[n, DROOP_Q] * q_set[n] + trim[n] + offset[n, 0]
            speed = (omega[n] + fixed[n, DROOP_P] * p_set[n]) / omega_nom + offset[n, 1]
            one = (is_open, voltage, growths[n], s[n], s_rate[n], reference, speed, torque)
            step(fixed[n], linear[n], later[n], one, (k * h, h), resting)
            value[known + k, n], slope[known + k, n] = later[n, A3], (later[n, A2] - later[n, A3]) / fixed[n, T6]
        at_s[known + k] = (k + 1) * h
    at_s -= dt_s
    first = 0
    while first < len(at_s) - 1 and at_s[first + 1] <= -longest_s:
        first += 1
    counted(fixed, later, counters, (s, s_rate, dt_s), counters_later, flags)
    return first


@loop
def respond(fixed: Any, x: Any, running: Any, tripped: Any, f_nom_hz: float, found: Any) -> None:
    """`diesel.respond`, into `found`: EMF, and (4, n) frequency, whether a limit acts, who runs, who has tripped."""
    emf, shown = found
    for n in range(len(x)):
        emf[n] = complex(x[n, E_Q], -x[n, E_D]) * np.exp(1j * x[n, DELTA])
        shown[0, n], shown[1, n] = f_nom_hz * (1 + x[n, SLIP]), 1.0 if touches(fixed[n], x[n]) else 0.0
        shown[2, n], shown[3, n] = running[n], tripped[n]
