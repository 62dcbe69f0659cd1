"""Both kinds of inverters as loops over units: the formulas of `inverter` and `following`, without numpy's calls.

States and inputs come as tuples of columns, see `jit.columns`; results are written into arrays of the caller's, because
one that is returned costs as much as five that are given.
"""

import math
from typing import Any

from gridloop.simulators.models.jit import columns, loop, rows

__all__ = [
    "advance_following", "advance_forming", "columns", "following", "forming", "respond_following", "respond_forming"
]  # fmt: skip

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
        known = rows(
            *(weight.real for weight in w.filtered), *w.turned, p.droop_p_rad_per_s_pu, p.droop_q_pu, p.limiter_gain,
            p.limiter_rate_per_s, p.efficiency, p.p_min_kw * p.kw_to_pu, p.p_max_kw * p.kw_to_pu,
            p.v_correction_limit_pu, *low_high, p.droop_p_hz_pu,
        )  # fmt: skip
        if len(p.compiled_memory) < 64:
            p.compiled_memory[dt_s] = known
    return known


@loop
def added(dc: float, ac: float, loss: float, efficiency: float, ac_pu_s: float) -> tuple[float, float, float]:
    """`conversion.added` of one converter."""
    more = ac_pu_s / 3600
    if more > 0:
        return dc + more / efficiency, ac + more, loss + more * (1 - efficiency) / efficiency
    return dc + more * efficiency, ac + more, loss + abs(more) * (1 - efficiency)


@loop
def power_limits(w: Any, dc_max: float, dc_min: float) -> tuple[float, float]:
    """Lower and upper limit of the filtered power of one unit."""
    efficiency = w[10]
    high = min(w[12], efficiency * dc_max)
    low = max(w[11], dc_min / efficiency)
    return min(low, high), high


@loop
def beyond(power: float, low: float, high: float) -> float:
    """How far a power stands outside its limits."""
    return max(0.0, power - high) - max(0.0, low - power)


@loop
def advance_forming(table: Any, state: Any, given: Any, flat: Any, found: Any) -> None:
    """`inverter.advance`, into `found`: the filtered power, and (8, n) the rest."""
    delta, filtered, over, under, offset, dc, ac, loss = state
    s, s_rate, p_set, omega, dc_max, dc_min = given
    dt_s, counts_energy, aligned = flat
    filtered_later, later = found
    for n in range(len(s)):
        w, before, at, rate = table[n], filtered[n], s[n], s_rate[n]
        m, left = w[6], offset[n]
        after = w[0] * before + w[1] * at + w[2] * rate
        dropped = w[3] * before.real + w[4] * at.real + w[5] * rate.real
        if aligned:
            left *= math.exp(-dt_s / ALIGN_DECAY_S)
            if at == 0:  # a unit off the grid goes on at the frequency that it took over
                after, dropped = complex(before.real, after.imag), m * before.real * dt_s
        turned = (omega[n] + m * p_set[n]) * dt_s - dropped
        above, below = 0.0, 0.0
        low, high = power_limits(w, dc_max[n], dc_min[n])
        if math.isfinite(low) or math.isfinite(high):
            energy = dropped / m
            at_begin = w[8] * beyond(before.real, low, high) + over[n] - under[n]
            above = max(0.0, over[n] + w[9] * (energy - high * dt_s))
            below = max(0.0, under[n] + w[9] * (low * dt_s - energy))
            at_end = w[8] * beyond(after.real, low, high) + above - below
            turned -= m * (at_begin + at_end) * (dt_s / 2)
        filtered_later[n] = after
        later[DELTA, n], later[TURNED, n] = delta[n] + turned, turned
        later[OVER, n], later[UNDER, n], later[OFFSET, n] = above, below, left
        energies = dc[n], ac[n], loss[n]
        if counts_energy:
            energies = added(dc[n], ac[n], loss[n], w[10], (at.real + rate.real * (dt_s / 2)) * dt_s)
        later[DC, n], later[AC, n], later[LOSS, n] = energies


@loop
def respond_forming(table: Any, state: Any, given: Any, flat: Any, found: Any) -> None:
    """`inverter.respond`, into `found`: the EMF, and (2, n) the frequency and whether a limit acts."""
    delta, filtered, over, under, offset = state
    p_set, q_set, v_set, omega, v_correction, dc_max, dc_min = given
    f_nom_hz, aligned = flat
    emf, shown = found
    for n in range(len(delta)):
        w, power, acts = table[n], filtered[n], 0.0
        f_hz = f_nom_hz + (omega[n] + w[6] * p_set[n]) / (2 * math.pi) - w[16] * power.real
        low, high = power_limits(w, dc_max[n], dc_min[n])
        if math.isfinite(low) or math.isfinite(high):
            limit = w[8] * beyond(power.real, low, high) + over[n] - under[n]
            f_hz -= w[16] * limit
            acts = 1.0 if limit != 0 else 0.0
        asked = v_correction[n]
        correction = min(max(asked, -w[13]), w[13])
        wanted = v_set[n] + correction + w[7] * q_set[n] - w[7] * power.imag
        magnitude = min(max(wanted, w[14]), w[15])
        if correction != asked or magnitude != wanted:
            acts = 1.0
        if aligned:
            magnitude += offset[n]
        shown[0, n], shown[1, n] = f_hz, acts
        emf[n] = magnitude * complex(math.cos(delta[n]), math.sin(delta[n]))


def following(p: Any, dt_s: float) -> Any:
    """(n, 10) what `advance_following` and `respond_following` need of the parameters, made once a step length."""
    known = p.compiled_memory.get(dt_s)
    if known is None:
        known = rows(*p.weights(dt_s), p.s_rated_pu, p.efficiency, p.droop_pu, *p.frequency_watt_pu, p.hz_per_rad)
        if len(p.compiled_memory) < 64:
            p.compiled_memory[dt_s] = known
    return known


@loop
def aim(w: Any, given: Any, n: int, lag: float, alive: bool, f_nom_hz: float) -> tuple[complex, bool]:
    """`following._target` of one unit."""
    _, p_set, q_set, available, dc_max, dc_min, f_meas = given
    if not alive:
        return 0j, True
    rated, efficiency, asked, reactive_asked = w[4], w[5], p_set[n], q_set[n]
    if not math.isnan(f_meas[n]):
        lag = (f_meas[n] - f_nom_hz) / w[9]
    wanted = asked - w[6] * lag if w[6] != 0 else asked
    high = min(available[n], efficiency * dc_max[n], rated)
    low = max(dc_min[n] / efficiency, -rated)
    active = min(max(wanted, low), high)
    active = max(active - w[7] * max(0.0, lag - w[8]), min(active, 0.0))
    room = math.sqrt(max(0.0, rated**2 - active**2))
    reactive = min(max(reactive_asked, -room), room)
    return complex(active, reactive), active != wanted or reactive != reactive_asked


@loop
def advance_following(table: Any, state: Any, given: Any, rates: Any, flat: Any, found: Any) -> None:
    """`following.advance`, into `found`: the power, whether the bus has a voltage, and (5, n) the rest."""
    power, angle, tracks, dc, ac, loss = state
    dt_s, f_nom_hz, counts_energy = flat
    s, s_rate, v_rate = rates
    power_later, lives, later = found
    for n in range(len(power)):
        w, v = table[n], given[0][n]
        alive = abs(v) >= DEAD_BUS_PU
        begun, lag, rate = angle[n], 0.0, 0.0
        if alive:
            theta, rate = math.atan2(v.imag, v.real), (v_rate[n] / v).imag
            if tracks[n]:
                lag = (theta - begun + math.pi) % (2 * math.pi) - math.pi
            else:
                begun = theta
        lag_later = w[2] * lag + w[3] * rate
        begin, _ = aim(w, given, n, lag, alive, f_nom_hz)
        end = begin
        if w[6] != 0 or w[7] != 0:  # the frequency has a say
            end, _ = aim(w, given, n, lag_later, alive, f_nom_hz)
        lives[n] = alive
        later[ANGLE, n], later[LAG, n] = begun + lag + rate * dt_s - lag_later, lag_later
        power_later[n] = power[n] + (begin - power[n]) * w[0] + (end - begin) * w[1]
        energies = dc[n], ac[n], loss[n]
        if counts_energy:
            into_bus = (s[n].real + s_rate[n].real * (dt_s / 2)) * dt_s
            energies = added(dc[n], ac[n], loss[n], w[5], into_bus)
        later[DC_ENERGY, n], later[AC_ENERGY, n], later[LOST_ENERGY, n] = energies


@loop
def respond_following(table: Any, state: Any, given: Any, f_nom_hz: float, found: Any) -> None:
    """`following.respond`, into (5, n): injected power, frequency, set-point after limits and whether one acts."""
    power, lags = state
    for n in range(len(power)):
        w, s, alive = table[n], power[n], abs(given[0][n]) >= DEAD_BUS_PU
        lag = lags[n] if alive else 0.0
        wanted, limited = aim(w, given, n, lag, alive, f_nom_hz)
        found[0, n], found[1, n] = s.real, s.imag
        found[2, n], found[3, n], found[4, n] = f_nom_hz + lag * w[9], wanted.real, 1.0 if limited else 0.0
