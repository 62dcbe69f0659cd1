"""Both kinds of inverters as compiled loops over units: the formulas of `inverter` and `following`, without numpy's
calls.

Needs numba. What is compiled is kept in a cache, so that only the first run on a machine waits for it. States and
inputs come as tuples of their fields; results are written into arrays of the caller's, because one that is returned
costs as much as five that are given.
"""

import math
from typing import Any

import numpy as np
from numba import njit

ALIGN_DECAY_S = 0.5  # as in `inverter`
DEAD_BUS_PU = 0.01  # as in `following`
# rows of what `advance_forming` finds, and of what `advance_following` does
DELTA, OVER, UNDER, OFFSET, DC, AC, LOSS, TURNED = range(8)
ANGLE, LAG, DC_ENERGY, AC_ENERGY, LOST_ENERGY = range(5)


def forming(p: Any, dt_s: float) -> Any:
    """(n, 17) what `advance_forming` and `respond_forming` need of the parameters, made once a step length."""
    known = p.compiled_memory.get(dt_s)
    if known is None:
        w, low_high = p.weights(dt_s), p.e_limits_pu
        columns = (
            *(weight.real for weight in w.filtered), *w.turned, p.droop_p_rad_per_s_pu, p.droop_q_pu, p.limiter_gain,
            p.limiter_rate_per_s, p.efficiency, p.p_min_kw * p.kw_to_pu, p.p_max_kw * p.kw_to_pu,
            p.v_correction_limit_pu, *low_high, p.droop_p_hz_pu,
        )  # fmt: skip
        known = np.stack(np.broadcast_arrays(*columns), axis=1).astype(float)
        if len(p.compiled_memory) < 64:
            p.compiled_memory[dt_s] = known
    return known


@njit(cache=True)
def added(dc: float, ac: float, loss: float, efficiency: float, ac_pu_s: float) -> tuple[float, float, float]:
    """`conversion.added` of one converter."""
    more = ac_pu_s / 3600
    if more > 0:
        return dc + more / efficiency, ac + more, loss + more * (1 - efficiency) / efficiency
    return dc + more * efficiency, ac + more, loss + abs(more) * (1 - efficiency)


@njit(cache=True)
def power_limits(table: Any, dc_max: Any, dc_min: Any) -> Any:
    """Lower and upper limits (2, n) of the filtered power, and whether any unit has one."""
    found, limited = np.empty((2, len(table))), False
    for n in range(len(table)):
        efficiency = table[n, 10]
        high = min(table[n, 12], efficiency * dc_max[n])
        low = max(table[n, 11], dc_min[n] / efficiency)
        limited = limited or np.isfinite(low) or np.isfinite(high)
        found[0, n], found[1, n] = min(low, high), high
    return found, limited


@njit(cache=True)
def beyond(power: float, low: float, high: float) -> float:
    """How far a power stands outside its limits."""
    return max(0.0, power - high) - max(0.0, low - power)


@njit(cache=True)
def advance_forming(table: Any, state: Any, given: Any, s_rate: Any, flat: Any, found: Any) -> None:
    """`inverter.advance`, into `found`: the filtered power, and (8, n) the rest."""
    delta, filtered, over, under, offset, dc, ac, loss, _, _, aligned = state
    s, p_set, _, _, omega, _, dc_max, dc_min = given
    dt_s, counts_energy = flat
    filtered_later, later = found
    limits, limited = power_limits(table, dc_max, dc_min)
    for n in range(len(s)):
        w, m, before = table[n], table[n, 6], filtered[n]
        after = w[0] * before + w[1] * s[n] + w[2] * s_rate[n]
        dropped = w[3] * before.real + w[4] * s[n].real + w[5] * s_rate[n].real
        later[OFFSET, n] = offset[n]
        if aligned:
            later[OFFSET, n] *= math.exp(-dt_s / ALIGN_DECAY_S)
            if s[n] == 0:  # a unit off the grid goes on at the frequency that it took over
                after, dropped = complex(before.real, after.imag), m * before.real * dt_s
        turned = (omega[n] + m * p_set[n]) * dt_s - dropped
        later[OVER, n], later[UNDER, n] = over[n], under[n]
        if limited:
            low, high, energy = limits[0, n], limits[1, n], dropped / m
            at_begin = w[8] * beyond(before.real, low, high) + over[n] - under[n]
            later[OVER, n] = max(0.0, over[n] + w[9] * (energy - high * dt_s))
            later[UNDER, n] = max(0.0, under[n] + w[9] * (low * dt_s - energy))
            at_end = w[8] * beyond(after.real, low, high) + later[OVER, n] - later[UNDER, n]
            turned -= m * (at_begin + at_end) * (dt_s / 2)
        filtered_later[n] = after
        later[DELTA, n], later[TURNED, n] = delta[n] + turned, turned
        later[DC, n], later[AC, n], later[LOSS, n] = dc[n], ac[n], loss[n]
        if counts_energy:
            into_bus = (s[n].real + s_rate[n].real * (dt_s / 2)) * dt_s
            later[DC, n], later[AC, n], later[LOSS, n] = added(dc[n], ac[n], loss[n], w[10], into_bus)


@njit(cache=True)
def respond_forming(table: Any, state: Any, given: Any, f_nom_hz: float, found: Any) -> None:
    """`inverter.respond`, into `found`: the EMF, and (2, n) the frequency and whether a limit acts."""
    delta, filtered, over, under, offset, _, _, _, _, _, aligned = state
    _, p_set, q_set, v_set, omega, v_correction, dc_max, dc_min = given
    limits, limited = power_limits(table, dc_max, dc_min)
    emf, (f_hz, acts) = found[0], (found[1][0], found[1][1])
    for n in range(len(delta)):
        w, power = table[n], filtered[n]
        f_hz[n], acts[n] = f_nom_hz + (omega[n] + w[6] * p_set[n]) / (2 * np.pi) - w[16] * power.real, 0.0
        if limited:
            limit = w[8] * beyond(power.real, limits[0, n], limits[1, n]) + over[n] - under[n]
            f_hz[n] -= w[16] * limit
            acts[n] = 1.0 if limit != 0 else 0.0
        correction = min(max(v_correction[n], -w[13]), w[13])
        wanted = v_set[n] + correction + w[7] * q_set[n] - w[7] * power.imag
        magnitude = min(max(wanted, w[14]), w[15])
        if correction != v_correction[n] or magnitude != wanted:
            acts[n] = 1.0
        if aligned:
            magnitude += offset[n]
        emf[n] = magnitude * complex(math.cos(delta[n]), math.sin(delta[n]))


def following(p: Any, dt_s: float) -> Any:
    """(n, 11) what `advance_following` and `respond_following` need of the parameters, made once a step length."""
    known = p.compiled_memory.get(dt_s)
    if known is None:
        columns = (*p.weights(dt_s), p.s_rated_pu, p.efficiency, p.droop_pu, *p.frequency_watt_pu, p.hz_per_rad)
        known = np.stack(np.broadcast_arrays(*columns), axis=1).astype(float)
        if len(p.compiled_memory) < 64:
            p.compiled_memory[dt_s] = known
    return known


@njit(cache=True)
def aim(w: Any, given: Any, n: int, lag: float, alive: bool, f_nom_hz: float) -> tuple[complex, bool]:
    """`following._target` of one unit."""
    _, _, p_set, q_set, available, dc_max, dc_min, f_meas = given
    rated, efficiency = w[4], w[5]
    if not np.isnan(f_meas[n]):
        lag = (f_meas[n] - f_nom_hz) / w[9]
    wanted = p_set[n] - w[6] * lag if w[6] != 0 else p_set[n]
    high = min(available[n], efficiency * dc_max[n], rated)
    low = max(dc_min[n] / efficiency, -rated)
    active = min(max(wanted, low), high)
    active = max(active - w[7] * max(0.0, lag - w[8]), min(active, 0.0))
    room = math.sqrt(max(0.0, rated**2 - active**2))
    reactive = min(max(q_set[n], -room), room)
    if not alive:
        return 0j, True
    return complex(active, reactive), active != wanted or reactive != q_set[n]


@njit(cache=True)
def advance_following(table: Any, state: Any, given: Any, rates: Any, flat: Any, found: Any) -> None:
    """`following.advance`, into `found`: the power, whether the bus has a voltage, and (5, n) the rest."""
    power, angle, _, tracks, dc, ac, loss = state
    dt_s, f_nom_hz, counts_energy = flat
    s, v, s_rate, v_rate = given[0], given[1], rates[0], rates[1]
    power_later, lives, later = found
    for n in range(len(s)):
        w, alive = table[n], abs(v[n]) >= DEAD_BUS_PU
        theta, begun, lag, rate = math.atan2(v[n].imag, v[n].real), angle[n], 0.0, 0.0
        if alive and tracks[n]:
            lag = (theta - begun + np.pi) % (2 * np.pi) - np.pi
        elif alive:
            begun = theta
        if alive:
            rate = (v_rate[n] / v[n]).imag
        lag_later = w[2] * lag + w[3] * rate
        later[LAG, n], lives[n] = lag_later, alive
        later[ANGLE, n] = begun + lag + rate * dt_s - lag_later
        begin, _ = aim(w, given, n, lag, alive, f_nom_hz)
        end, _ = aim(w, given, n, lag_later, alive, f_nom_hz)
        power_later[n] = power[n] + (begin - power[n]) * w[0] + (end - begin) * w[1]
        energies = dc[n], ac[n], loss[n]
        if counts_energy:
            into_bus = (s[n].real + s_rate[n].real * (dt_s / 2)) * dt_s
            energies = added(dc[n], ac[n], loss[n], w[5], into_bus)
        later[DC_ENERGY, n], later[AC_ENERGY, n], later[LOST_ENERGY, n] = energies


@njit(cache=True)
def respond_following(table: Any, state: Any, given: Any, f_nom_hz: float, found: Any) -> None:
    """`following.respond`, into (5, n): injected power, frequency, set-point after limits and whether one acts."""
    power, lags, v = state[0], state[2], given[1]
    for n in range(len(v)):
        w, alive = table[n], abs(v[n]) >= DEAD_BUS_PU
        lag = lags[n] if alive else 0.0
        wanted, limited = aim(w, given, n, lag, alive, f_nom_hz)
        found[0, n], found[1, n] = power[n].real, power[n].imag
        found[2, n], found[3, n], found[4, n] = f_nom_hz + lag * w[9], wanted.real, 1.0 if limited else 0.0
