"""The diesel set against published figures, its own differential equations and by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import case_b
from gridloop.simulators.models import compiled, diesel, diesel_step
from gridloop.simulators.models.diesel import Inputs, Slopes, State, advance, align, held, initial, respond
from gridloop.simulators.models.diesel_parameters import (
    A1,
    A2,
    A3,
    C1,
    C2,
    DELTA,
    E_D,
    E_FD,
    E_Q,
    GIVEN,
    SLIP,
    STATES,
    V_R,
    VOLTAGE,
    X_F,
    Params,
)
from gridloop.simulators.models.parameters import ParameterError

W0 = 2 * np.pi * 60
S0, V0 = np.array([1.63 + 0.144601195j]), np.array([np.exp(0.168751367j)])  # at bus 2 of case9


def one(**given: Any) -> Params:
    """2 MVA on a base of 1 MVA, at the operating point of case B."""
    known = {"s_rated_kva": 2000, "p_set_kw": 1630, "q_set_kvar": 144.601195}
    return Params(**(known | given), s_base_mva=1, f_nom_hz=60)


def start(p: Params, s=S0, v=V0) -> State:
    return initial(p, s, v + p.impedance_pu * (s / v).conj())


def inputs(p: Params, s=S0, v=V0, **more: Any) -> Inputs:
    return held(p)._replace(s_pu=s, v_pu=v, **more)


def still(n: int = 1) -> Slopes:
    return Slopes(np.zeros(n, complex), np.zeros(n, complex))


def unconnected(p: Params) -> tuple[State, Inputs]:
    """At nominal speed and voltage with an open breaker; no droop moves it."""
    n = len(p.s_rated_kva)
    return initial(p, np.zeros(n, complex), np.ones(n, complex)), inputs(p, np.zeros(n, complex), np.zeros(n, complex))


# --- at rest ---


def test_operating_point_of_case_b():
    p = one()
    s = start(p)
    emf = respond(p, s, held(p)).emf_pu
    assert np.abs(emf) == pytest.approx([1.052299087], abs=1e-9)
    assert np.degrees(np.angle(emf)) == pytest.approx([22.907126], abs=6e-7)
    assert np.degrees(s.x[0, DELTA]) == pytest.approx(48.327954, abs=6e-7)
    assert s.x[0, E_FD] == pytest.approx(1.665305, abs=6e-7)
    assert s.x[0, X_F] == pytest.approx(0.01665305, abs=6e-9)
    assert s.x[0, A1] == s.x[0, A3] == pytest.approx(0.817410, abs=6e-7)
    assert 1 + s.trim_pu == pytest.approx([1.008327], abs=6e-7)  # V_ref


def test_rest_is_rest():
    p = one()
    s = start(p)
    after = s
    for _ in range(100):
        after = advance(p, after, inputs(p), still(), 0.005)
    assert np.abs(after.x - s.x).max() < 1e-12


def test_rest_below_nominal_frequency():
    # 0.2 pu more than set on 2 %: 0.4 % slow; the torque is larger by as much, and the bus turns along
    p = one(p_set_kw=1230)
    s = start(p)
    assert s.x[0, SLIP] == pytest.approx(-0.004)
    assert s.x[0, A3] * 0.996 == pytest.approx(0.817410, abs=6e-7)
    turn = np.exp(-1j * W0 * 0.004 * 0.005)
    slopes = Slopes(np.zeros(1, complex), V0 * (1 - 1 / turn) / 0.005)
    after = advance(p, s, inputs(p), slopes, 0.005)
    assert after.x[0, 1:] == pytest.approx(s.x[0, 1:], abs=1e-12)
    assert after.x[0, DELTA] - s.x[0, DELTA] == pytest.approx(-W0 * 0.004 * 0.005)


# --- governor ---


def test_poles_and_zero_of_the_control_box():
    box = one().linear[0][np.ix_([C1, C2], [C1, C2])]
    poles = np.linalg.eigvals(box)
    assert sorted(poles.imag) == pytest.approx([-66.14, 66.14], abs=5e-3) and poles.real == pytest.approx(-25)
    rack = one().linear[0][A1, [C1, C2]]  # da1/dt = K (c1 + T3 c2)
    assert -rack[0] / rack[1] == pytest.approx(-5)


@pytest.mark.parametrize("h", [0.005, 0.0025, 0.001])
def test_step_response_of_the_governor(h):
    # a rotor of endless inertia asks for 1e-4: what the actuator then gives, without the dead time
    p = one(h_s=1e9, droop_p_percent=0)
    s, u = unconnected(p)
    s = s._replace(x=np.where(np.arange(14) == A1, 0.5, s.x))  # off the lower limit
    s.x[0, [12, 13]] = 0.5
    u, seen, t = u._replace(omega_rad_per_s=np.array([1e-4 * W0])), {}, 0.0
    while t < 0.5 - 1e-9:
        s, t = advance(p, s, u, still(), h), t + h
        seen[round(t, 4)] = (s.x[0, A3] - 0.5) / 1e-4
    found = [seen[at] for at in (0.05, 0.1, 0.2, 0.5)]
    # order 4 with the fastest pole at 111 1/s
    assert found == pytest.approx([45.9139, 19.2766, 23.6031, 35.7040], abs={5: 0.05, 2.5: 2e-3, 1: 6e-5}[h * 1e3])


def test_torque_is_that_of_the_dead_time_ago():
    # the rotor accelerates by T/2H from 24 ms after the actuator on
    p = one(droop_p_percent=0, governor_gain=1e-9)
    s, u = unconnected(p)
    s = s._replace(x=np.where(np.arange(14) >= 12, 0.5, s.x))  # a2 and a3 decay from 0.5, the engine still has 0
    s.x[0, A1] = 0.5
    slips = []
    for h in (0.005, 0.0013, 0.0087, 0.009, 0.0017, 0.0033, 0.01):  # 24 ms after the fourth
        s = advance(p, s, u, still(), h)
        slips.append(s.x[0, SLIP])
    assert slips[:4] == pytest.approx([0] * 4, abs=1e-9)
    # after the dead time 0.5 (1 + w) / 2H; the history before the start is 0, so one stretch of it ramps
    assert (slips[-1] - slips[-2]) / 0.01 == pytest.approx(0.5 / 2.14, rel=0.01)


def test_margin_of_the_speed_loop_is_in_the_message():
    with pytest.raises(ParameterError, match=r"gain margin of 0\.98\d, which must be > 1") as error:
        one(h_s=[1.07, 0.64])
    assert [(row, field) for row, field, _ in error.value.violations] == [(1, "governor_gain")]
    with pytest.raises(ParameterError, match="gain margin"):
        one(dead_time_ms=153)
    one(dead_time_ms=152)


# --- voltage regulator ---


def open_loop(omega: float) -> complex:
    """From |V| to |V| of the unconnected machine, the rate feedback closed."""
    a, rows = one().linear[0], [V_R, E_FD, X_F]
    drive = np.array([a[V_R, VOLTAGE], 0, 0])
    field_pu = np.linalg.solve(1j * omega * np.eye(3) - a[np.ix_(rows, rows)], drive)[1]
    return complex(field_pu / (1 + 3.7j * omega))


def test_margins_of_the_regulator():
    crossover = brentq(lambda w: abs(open_loop(w)) - 1, 5, 40)
    assert crossover == pytest.approx(18.72, abs=5e-3)
    assert 180 + np.degrees(np.angle(open_loop(crossover))) == pytest.approx(57.64, abs=5e-3)
    at = brentq(lambda w: open_loop(w).imag, 60, 120)
    assert at == pytest.approx(86.39, abs=5e-3)
    assert 1 / abs(open_loop(at)) == pytest.approx(5.888, abs=5e-4)


def test_regulator_brings_an_unconnected_machine_to_its_set_point():
    p = one(droop_p_percent=0)
    s, u = unconnected(p)
    u = u._replace(v_set_pu=np.array([1.02]))
    for _ in range(2000):
        s = advance(p, s, u, still(), 0.005)
    # the trim at the start is E_fd / K_A = 1/200; 2 % more field need 0.02/200 more
    assert np.abs(respond(p, s, u).emf_pu) == pytest.approx([1 + 0.02 / (1 + 1 / 200)], abs=1e-6)


def test_regulator_stays_within_its_limit_and_leaves_it():
    p = one(droop_p_percent=0, v_r_max_pu=2)
    s, u = unconnected(p)
    high = u._replace(v_set_pu=np.array([1.2]))
    top = [(s := advance(p, s, high, still(), 0.005)).x[0, V_R] for _ in range(100)]
    assert max(top) == 2.0 and respond(p, s, u).limited.tolist() == [1]
    below = [(s := advance(p, s, u, still(), 0.005)).x[0, V_R] for _ in range(6)]
    assert min(below) < -0.5  # at once: it has not wound up


def test_rack_stays_within_its_limits_and_leaves_them():
    p = one(droop_p_percent=0, h_s=1e9)
    s, u = unconnected(p)
    fast = u._replace(omega_rad_per_s=np.array([0.05 * W0]))
    for _ in range(200):
        s = advance(p, s, fast, still(), 0.005)
    assert s.x[0, A1] == 1.1 and respond(p, s, u).limited.tolist() == [1]
    assert s.x[0, A2] == pytest.approx(1.1 + 0.25 * 40 * 0.05, abs=1e-6)  # a1 + T4 K e: it rests inside a step too
    back = u._replace(omega_rad_per_s=np.array([-0.05 * W0]))
    for _ in range(40):
        s = advance(p, s, back, still(), 0.005)
    assert s.x[0, A1] < 1.0


# --- the whole set ---

ODD_S = [0.005, 0.0013, 0.0087, 0.0025, 0.0049, 0.0001, 0.005, 0.012, 0.005, 0.0033] * 3
SLOPE_V = V0 * (0.4 - 1.2j)


def on_a_moving_bus(p: Params, steps: list[float], given: State | None = None) -> State:
    """The set on a bus whose voltage jumps and then moves as exp, its power as given by a straight line."""
    s, t = start(p) if given is None else given, 0.0
    for h in steps:
        v = 0.97 * V0 * np.exp((0.4 - 1.2j) * t)
        power = S0 + np.array([0.5 + 0.2j]) * t
        slopes = Slopes(np.array([0.5 + 0.2j]), v * (1 - np.exp(-(0.4 - 1.2j) * h)) / h)
        s, t = advance(p, s, inputs(p, power, v), slopes, h), t + h
    return s


def exact(end_s: float) -> Any:
    """The same by the reference's own equations and DOP853; columns in its order."""
    data, own = case_b.Diesel(), S0[0] / 2
    emf = V0[0] + complex(data.ra, data.xp) * (own / V0[0]).conjugate()
    resting_y, v_ref = data.at_rest(V0[0], (own / V0[0]).conjugate(), emf)
    pieces, y, t = list[Any](), np.array(resting_y), 0.0
    resting = y[13]

    def rates(at, x):
        torque = pieces[-1](at - case_b.DEAD_S)[13] if pieces else resting  # of the stretch before
        v = 0.97 * V0[0] * np.exp((0.4 - 1.2j) * at)
        return data.rates(x, v, own + (0.25 + 0.1j) * at, (v_ref, own), torque)

    while t < end_s - 1e-12:
        stop = min(t + case_b.DEAD_S, end_s)
        found = solve_ivp(rates, (t, stop), y, "DOP853", rtol=1e-11, atol=1e-13, dense_output=True)
        pieces.append(found.sol)
        y, t = found.y[:, -1], stop
    return y


def in_their_order(s: State) -> Any:
    x = s.x[0]
    return np.array([*x[:2], x[E_Q], x[E_D], x[V_R], x[E_FD], x[X_F], x[6], x[7], x[C1], x[C2], x[A1], x[12], x[A3]])


@pytest.mark.parametrize("steps", [[0.005] * 48, [0.0025] * 96, [0.001] * 240, [0.04] * 6])
def test_trajectory_on_a_moving_bus(steps):
    # two steps of the dead time after the jump and more: its echo is in it
    found, expected = in_their_order(on_a_moving_bus(one(), steps)), exact(0.24)
    error = np.abs(found - expected)
    assert error[[0, 1, 2, 3]].max() < {0.005: 1e-5, 0.0025: 1e-6, 0.001: 1e-7, 0.04: 1e-5}[steps[0]]
    assert error.max() < {0.005: 2e-3, 0.0025: 1e-4, 0.001: 4e-6, 0.04: 2e-3}[steps[0]]


def test_trajectory_in_odd_steps():
    end_s = sum(ODD_S)
    error = np.abs(in_their_order(on_a_moving_bus(one(), ODD_S)) - exact(end_s))
    assert error[[0, 1, 2, 3]].max() < 1e-5


def test_half_steps_converge():
    expected = exact(0.24)
    errors = [
        np.abs(in_their_order(on_a_moving_bus(one(), [h] * round(0.24 / h))) - expected)[:4].max()
        for h in (0.004, 0.002, 0.001)
    ]
    assert np.log2(np.divide(errors[:-1], errors[1:])).min() > 2.5


def test_engine_without_dead_time():
    p = one(dead_time_ms=0)
    short = one(dead_time_ms=1)
    errors = np.abs(on_a_moving_bus(p, [0.001] * 100).x - on_a_moving_bus(short, [0.001] * 100).x)
    late = np.abs(on_a_moving_bus(one(), [0.001] * 100).x - on_a_moving_bus(p, [0.001] * 100).x)
    assert 0 < errors[0, SLIP] < 0.1 * late[0, SLIP]


def test_n_sets_are_n_single_ones():
    columns = {
        "s_rated_kva": [2000, 1500, 1000], "p_set_kw": [1630, 1000, 500], "q_set_kvar": [140, 100, 0],
        "droop_p_percent": [2, 0, 4], "dead_time_ms": [24, 30, 0], "h_s": [1.07, 1.5, 2],
    }  # fmt: skip
    s0, v0 = np.array([1.63 + 0.14j, 1.0 + 0.1j, 0.0]), np.array([V0[0], 1.0, 0.99 + 0.02j])

    def after(rows: slice) -> State:
        p = Params(**{name: np.array(values)[rows] for name, values in columns.items()}, s_base_mva=1, f_nom_hz=60)
        s = start(p, s0[rows], v0[rows])
        for _ in range(20):
            s = advance(p, s, inputs(p, s0[rows], 0.98 * v0[rows]), still(len(p.h_s)), 0.0009)
        return s

    whole = after(slice(0, 3))
    for row in range(3):
        single = after(slice(row, row + 1))
        assert whole.x[row] == pytest.approx(single.x[0], abs=1e-12)
        assert whole.fuel_l[row] == pytest.approx(single.fuel_l[0], abs=1e-15)


def test_dt_0_is_the_identity_and_nothing_is_changed_in_place():
    p = one()
    s, u, slopes = start(p), inputs(p, v=0.97 * V0), Slopes(np.array([0.1 + 0j]), SLOPE_V)
    arrays = [s.x, *s.torque, s.fuel_l, s.offset_pu, *u, *slopes]
    before = [array.copy() for array in arrays]
    assert advance(p, s, u, slopes, 0.0) is s
    after = advance(p, s, u, slopes, 0.012)
    respond(p, after, u)
    align(p, after, u, V0)
    assert all(np.array_equal(one, other) for one, other in zip(arrays, before, strict=True))
    with pytest.raises(ValueError, match="dt_s"):
        advance(p, s, u, slopes, -1e-3)


# --- fuel, load and relays ---


def seconds(p: Params, s: State, p_pu: float, count: int) -> State:
    """So many seconds of a power, on the own rating; the machine itself is held where it is."""
    x = s.x.copy()
    x[0, 6] = p_pu
    for _ in range(count * 10):
        s = advance(p, s._replace(x=x), inputs(p, np.array([2 * p_pu + 0.1j])), still(), 0.1)
    return s


def test_fuel_at_the_operating_point():
    # 0.08145 * 2000 + 0.246 * 1630 = 563.9 L/h
    p, s = one(), start(one())
    for _ in range(20):
        s = advance(p, s, inputs(p), still(), 0.05)
    assert s.fuel_l * 3600 == pytest.approx([563.88], abs=1e-9)
    assert respond(p, s, held(p)).fuel_l is s.fuel_l


@pytest.mark.parametrize(("load", "percent"), [(1.0, 31.0), (0.3, 19.6)])
def test_efficiency_of_the_fuel(load, percent):
    # 9.84 kWh/L
    p = one()
    s = seconds(p, start(p), load, 1)
    assert load * 2000 / (s.fuel_l[0] * 3600 * 9.84) * 100 == pytest.approx(percent, abs=0.05)


def test_no_fuel_with_an_open_breaker_or_of_less_than_nothing():
    p = one()
    s, u = unconnected(p)
    after = advance(p, s, u, still(), 0.1)
    assert after.fuel_l.tolist() == [0] and respond(p, after, u).running.tolist() == [0]
    assert seconds(p, start(p), -0.5, 1).fuel_l * 3600 == pytest.approx([162.9], abs=1e-9)


def test_minutes_below_the_minimum_load():
    p = one()
    s = seconds(p, seconds(p, start(p), 0.29, 6), 0.31, 6)
    assert s.underload_min == pytest.approx([0.1])
    assert respond(p, s, held(p)).running.tolist() == [1]


def test_reverse_power_trips_after_two_seconds():
    p = one()
    s = seconds(p, seconds(p, start(p), -0.06, 1), -0.04, 1)  # not without a break
    s = seconds(p, s, -0.06, 2)
    assert not s.tripped[0]
    s = seconds(p, s, -0.06, 1)
    assert s.tripped[0] and seconds(p, s, 0.5, 1).tripped[0]
    assert respond(p, s, held(p)).tripped.tolist() == [1]


# --- who is not in charge ---


def test_aligned_set_takes_over_without_a_step():
    # off the grid, then closed on the bus that it followed: nothing flows, and the set-point comes in by and by
    p, bus = one(q_set_kvar=0), np.array([0.99 * np.exp(0.7j)])
    s, u = unconnected(p)
    for _ in range(100):
        s = align(p, advance(p, s, u, still(), 0.005), u, bus)
    assert respond(p, s, u).emf_pu == pytest.approx(bus)
    assert s.x[0, SLIP] == pytest.approx(0, abs=1e-5)
    almost_nothing = inputs(p, np.array([1e-9 + 0j]), bus)
    current = (respond(p, advance(p, s, almost_nothing, still(), 0.005), u).emf_pu - bus) / p.impedance_pu
    assert np.abs(current) == pytest.approx([0], abs=1e-3)
    # regulator and governor have begun there too, although 1 pu and 0.815 on 2 % are set
    after = advance(p, s, almost_nothing, still(), 0.005)
    assert after.x[0, A3] == pytest.approx(0, abs=1e-3)
    assert after.x[0, V_R] == pytest.approx(0.99, abs=0.03)  # without the offset 200 * 0.01 more, by a time of 20 ms
    assert after.offset_pu == pytest.approx(s.offset_pu * np.exp(-0.005 / 0.5))


def test_align_stands_at_what_the_grid_took():
    p = one()
    s = start(p, S0 * 0.5)
    applied = V0 + p.impedance_pu * (S0 / V0).conj()
    after = align(p, s, inputs(p), applied)
    assert respond(p, after, held(p)).emf_pu == pytest.approx(applied)
    assert after.x[0, A3] == pytest.approx(0.817410, abs=6e-7)
    assert after.torque.value == pytest.approx(after.x[0, A3])
    assert align(p, s, inputs(p), diesel._emf(p, s.x) * (1 + 1e-15)) is s


def test_align_leaves_units_in_charge_alone():
    p = Params(s_rated_kva=[2000, 2000], s_base_mva=1, f_nom_hz=60)
    s0, v0 = np.repeat(S0, 2), np.repeat(V0, 2)
    s = start(p, s0, v0)
    own = diesel._emf(p, s.x)
    after = align(p, s, inputs(p, s0, v0), own * np.array([1, 1.02]))
    assert np.array_equal(after.x[0], s.x[0]) and not np.array_equal(after.x[1], s.x[1])
    assert after.offset_pu[0].tolist() == [0, 0] and after.offset_pu[1, 0] > 0.01


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"s_rated_kva": 0}, "s_rated_kva = 0 must be > 0"),
        ({"droop_p_percent": -1}, "droop_p_percent = -1 must be >= 0 and < 100"),
        ({"dead_time_ms": 0.5}, "dead_time_ms = 0.5 must be 0, or at least 1"),
        ({"x_d_pu": 0.2}, "x_d_pu = 0.2 must be >= x_transient_pu"),
        ({"torque_max_pu": 0}, "torque_max_pu = 0 must be > torque_min_pu"),
        ({"h_s": 0}, "h_s = 0 must be > 0"),
        ({"governor_t3_s": -1}, "governor_t3_s = -1 must be >= 0"),
        ({"fuel_l_per_kwh": np.inf}, "fuel_l_per_kwh = inf must be >= 0"),
    ],
)
def test_wrong_parameters(given, message):
    with pytest.raises(ParameterError, match=message):
        one(**given)


def test_set_that_is_started_again_after_a_trip_counts_anew():
    p = one()
    s = seconds(p, start(p), -0.06, 3)
    assert s.tripped[0]
    off = advance(p, s, inputs(p, np.zeros(1, complex)), still(), 0.1)
    fuel = off.fuel_l
    for _ in range(10):
        off = advance(p, off, inputs(p, np.zeros(1, complex)), still(), 0.1)
    assert off.tripped[0] and not off.running[0] and off.fuel_l == fuel, "it stands still"
    again = advance(p, off, inputs(p), still(), 0.005)
    assert again.running[0] and not again.tripped[0] and (again.fuel_l > fuel).all()
    assert seconds(p, seconds(p, again, -0.06, 1), -0.06, 2).tripped[0]


def test_step_in_products_is_that_stage_by_stage(monkeypatch):
    monkeypatch.setattr(compiled, "ENABLED", False)
    p = Params(
        s_rated_kva=[2000.0, 500.0], dead_time_ms=[24.0, 10.0], governor_gain=[40.0, 30.0], p_set_kw=[900.0, 100.0]
    )
    s0, held_, random = np.array([0.9 + 0.1j, 0.1 + 0.05j]), held(p), np.random.default_rng(2)
    state, ways = initial(p, s0, 1.05 * np.exp(0.2j) * np.ones(2)), []
    used: list[int] = []

    def stage_by_stage(p, stages, x, v, whole):
        used.append(len(used))
        given = whole[:, STATES:].reshape(len(x), 4, GIVEN)
        return diesel_step._stage_by_stage(p, None, x, v, (given, stages.tau_s[3], False))

    for k in range(60):
        u = held_._replace(
            s_pu=s0 * complex(1 + 0.2 * random.normal()),
            v_pu=np.exp([0.1j, 0.05j]) * complex(1 + 0.02 * random.normal()),
        )
        slopes = Slopes(s0 * complex(random.normal()), np.full(2, 0.3 + 0.2j))
        dt_s = (0.005, 0.01, 0.0033)[k % 3]
        ways = [advance(p, state, u, slopes, dt_s)]
        with monkeypatch.context() as patched:
            patched.setattr(diesel_step, "_in_products", stage_by_stage)
            ways.append(advance(p, state, u, slopes, dt_s))
        assert ways[0].x == pytest.approx(ways[1].x, rel=1e-12, abs=1e-13)
        state = ways[0]
    assert len(used) >= 60  # no set came to a limit, which is integrated stage by stage anyway
