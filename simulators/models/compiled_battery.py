"""Batteries as loops over packs: the formulas of `battery` and `open_circuit`, without numpy's calls.

States and inputs come as tuples of columns, see `jit.columns`; results are written into arrays of the caller's. The
constants are given once more, because what numba keeps of a loop does not notice those of other files.
"""

import math
from typing import Any

from gridloop.simulators.models.jit import columns, loop, rows

# as in `battery`
TAPER = 0.02
ITERATIONS = 8
SAME_CURRENT = 1e-15
WS_PER_MWH = 3.6e9
# what a row of `packs` holds
SERIES, R0, R1, TAU, CHARGE, EFFICIENCY, SOC_MIN, SOC_MAX, V_MIN, V_MAX, I_MAX = range(11)
# rows of what `advance` finds, and of what `respond` does
SOC, V1, CURRENT, LIMITED, CHEMICAL, TERMINAL, JOULE, COULOMBIC, UNSERVED = range(9)
P_MAX, P_MIN, VOLTAGE, LOSS, POLARISATION = range(5)


def packs(p: Any) -> Any:
    """A row (11,) of every pack's parameters, and the cell's voltages and their integral at the knots; made once."""
    if not p.compiled_memory:
        table = rows(
            p.cells_in_series, p.r0_ohm, p.r1_ohm, p.cell_relaxation_s, p.charge_as, p.coulombic_efficiency,
            *p.soc_window, *p.v_limits_v, p.i_max_a,
        )  # fmt: skip
        p.compiled_memory.append((table, columns((p.cell.knots_v, p.cell.integral_v))))
    return p.compiled_memory[0]


@loop
def voltage(knots_v: Any, soc: float) -> float:
    """`OpenCircuit.at` of one cell."""
    last = len(knots_v) - 1
    place = soc * last
    if math.isnan(place):  # a compiled loop would look for it anywhere in the memory
        raise IndexError("the state of charge is not a number")
    segment = min(int(place), last - 1)
    below = knots_v[segment]
    found: float = below + (knots_v[segment + 1] - below) * (place - segment)
    return found


@loop
def mean_voltage(curve: Any, one: float, other: float) -> float:
    """`OpenCircuit.mean` of one cell."""
    knots_v, integral_v = curve
    last = len(knots_v) - 1
    low, high = (one, other) if one < other else (other, one)
    v_low, v_high = voltage(knots_v, low), voltage(knots_v, high)
    first, final = min(int(low * last), last - 1) + 1, min(int(high * last), last - 1)
    mean: float = (v_low + v_high) / 2
    if final >= first:
        integral = (
            (first / last - low) * (v_low + knots_v[first]) / 2
            + (integral_v[final] - integral_v[first])
            + (high - final / last) * (knots_v[final] + v_high) / 2
        )
        mean = integral / (high - low)
    return mean


@loop
def power_limits_w(w: Any, soc: float, e: float) -> tuple[float, float]:
    """`battery.power_limits_w` of one pack whose voltage without current is `e`."""
    r0 = w[R0]
    most = min(max(min((e - w[V_MIN]) / r0, e / (2 * r0)), 0.0), w[I_MAX])
    least = -min(max((w[V_MAX] - e) / r0, 0.0), w[I_MAX])
    discharge = (e - r0 * most) * most * min(max((soc - w[SOC_MIN]) / TAPER, 0.0), 1.0)
    charge = (e - r0 * least) * least * min(max((w[SOC_MAX] - soc) / TAPER, 0.0), 1.0)
    return charge, discharge


@loop
def current(w: Any, curve: Any, begin: Any, asked_w: float, per_a: float, rising: float) -> tuple[float, bool]:
    """`battery._flow` of one pack that begins with (SOC, v1, OCV): its current, and whether the window cuts it."""
    soc, v1_v, ocv_v = begin
    least, most = min(soc - w[SOC_MAX], 0.0) / per_a, max(soc - w[SOC_MIN], 0.0) / per_a
    e, r = ocv_v - v1_v * (1 - rising), w[R0] + w[R1] * rising
    i = min(max(asked_w / ocv_v, least), most)
    for _ in range(ITERATIONS):
        steep, before = r, i
        if i != 0:
            steep += (ocv_v - w[SERIES] * mean_voltage(curve, soc, soc - per_a * i)) / i
        root = math.sqrt(max(e**2 - 4 * steep * asked_w, 0.0))
        i = min(max(min(2 * asked_w / (e + root), e / (2 * steep)), least), most)
        if abs(i - before) <= SAME_CURRENT * abs(i):
            break
    return i, asked_w != 0 and i in (least, most)


@loop
def advance(known: Any, state: Any, dt_s: float, found: Any) -> None:
    """`battery.advance`, into (9, n) `found`."""
    table, curve = known
    socs, v1s, asked_before, asked_after, chemical, terminal, joule, coulombic, unserved = state
    to_mwh = dt_s / WS_PER_MWH
    for n in range(len(socs)):
        w, soc, v1_v, asked_mwh = table[n], socs[n], v1s[n], asked_after[n] - asked_before[n]
        series, r0, r1, tau_s = w[SERIES], w[R0], w[R1], w[TAU]
        asked_w, ocv_v = asked_mwh * (WS_PER_MWH / dt_s), series * voltage(curve[0], soc)
        share = w[EFFICIENCY] if asked_w < 0 else 1.0
        per_a = share * dt_s / w[CHARGE]
        gone = -math.expm1(-dt_s / tau_s)
        rising = 1 - gone * tau_s / dt_s
        i, is_cut = current(w, curve, (soc, v1_v, ocv_v), asked_w, per_a, rising)
        later = min(max(soc - per_a * i, w[SOC_MIN]), w[SOC_MAX])
        low, high = power_limits_w(w, soc, ocv_v - v1_v)
        limited = is_cut or asked_w > high or asked_w < low
        found[SOC, n], found[V1, n], found[CURRENT, n] = later, v1_v + (r1 * i - v1_v) * gone, i
        found[LIMITED, n] = 1.0 if limited else 0.0
        # `battery._booked`
        mean_ocv, final = series * mean_voltage(curve, soc, later), r1 * i
        fading = v1_v - final
        given = (mean_ocv - final - fading * (1 - rising) - r0 * i) * i * to_mwh
        faded = -math.expm1(-2 * dt_s / tau_s) * tau_s / (2 * dt_s)
        rc_w = (final**2 + 2 * final * fading * (1 - rising) + fading**2 * faded) / r1
        found[CHEMICAL, n] = chemical[n] + mean_ocv * i * share * to_mwh
        found[TERMINAL, n] = terminal[n] + given
        found[JOULE, n] = joule[n] + (r0 * i**2 + rc_w) * to_mwh
        found[COULOMBIC, n] = coulombic[n] + mean_ocv * (i * share - i) * to_mwh
        found[UNSERVED, n] = unserved[n] + (asked_mwh - given)


@loop
def respond(known: Any, state: Any, found: Any) -> None:
    """`battery.respond`, into (5, n) `found`."""
    table, curve = known
    socs, v1s, currents, joule, coulombic = state
    for n in range(len(socs)):
        w, soc, v1_v = table[n], socs[n], v1s[n]
        e = w[SERIES] * voltage(curve[0], soc) - v1_v
        charge_w, discharge_w = power_limits_w(w, soc, e)
        found[P_MAX, n], found[P_MIN, n], found[VOLTAGE, n] = discharge_w / 1e6, charge_w / 1e6, e - w[R0] * currents[n]
        found[LOSS, n] = joule[n] + coulombic[n]
        found[POLARISATION, n] = w[TAU] / w[R1] * v1_v**2 / 2 / WS_PER_MWH
