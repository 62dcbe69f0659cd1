"""The grid-following inverter against its differential equations and its limits, by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gridloop.simulators.models.following import (
    DEAD_BUS_PU,
    MODEL,
    Inputs,
    Outputs,
    Params,
    Slopes,
    State,
    advance,
    align,
    held,
    initial,
    respond,
)
from gridloop.simulators.models.parameters import ParameterError

COLUMNS: dict[str, Any] = {
    "s_rated_kva": [50, 100, 20],
    "p_set_kw": [30, -40, 15],
    "q_set_kvar": [10, 5, -30],
    "p_max_kw": [np.inf, 100, 12],
    "time_constant_ms": [10, 20, 5],
    "filter_ms": [50, 20, 100],
}
THREE = Params(**COLUMNS, s_base_mva=0.1)
STATE = State(
    s_pu=np.array([0.25 + 0.02j, -0.1 + 0.1j, 0.05 - 0.01j]),
    angle_rad=np.array([0.3, -2.0, 40.0]),
    lag_rad=np.array([0.01, 0.02, -0.03]),
    tracks=np.ones(3, bool),
    e_dc_pu_h=np.array([0.1, -0.2, 0.0]),
    e_ac_pu_h=np.array([0.09, -0.21, 0.0]),
    e_loss_pu_h=np.array([0.01, 0.01, 0.0]),
)
INPUTS = held(THREE)._replace(v_pu=np.array([1.02, 0.97, 1.0]) * np.exp(1j * np.array([0.31, -1.98, 39.97])))
SPIN = np.array([3.0, -5.0, 0.5])  # rad/s
SLOPES = Slopes(np.zeros(3, complex), 1j * SPIN * INPUTS.v_pu)


def one(**given: Any) -> Params:
    """100 kVA on a base of 100 kVA."""
    return Params(**({"s_rated_kva": 100.0} | given), s_base_mva=0.1)


def at_rest(p: Params, s_pu: complex = 0j) -> State:
    return initial(p, np.array([s_pu]), np.array([1 + 0j]))


def still(p: Params) -> Slopes:
    zero = np.zeros(len(p.s_rated_kva), complex)
    return Slopes(zero, zero)


def settled(p: Params, u: Inputs | None = None) -> Outputs:
    """What is injected in the end, a hundred time constants later."""
    u = u or held(p)
    return respond(p, advance(p, at_rest(p), u, still(p), 1.0), u)


def spinning(p: Params, df_hz: float) -> tuple[State, Inputs]:
    """A unit that has measured a bus `df_hz` above nominal: lag = 2 pi df T_f."""
    lag = 2 * np.pi * df_hz * p.filter_ms * 1e-3
    return at_rest(p)._replace(angle_rad=-lag, lag_rad=lag), held(p)


# --- by hand ---


def test_step_of_the_set_point_by_hand():
    # 60 kW and -20 kvar on 100 kVA; after one time constant of 10 ms 1 - 1/e of the way is done
    p = one(p_set_kw=60, q_set_kvar=-20)
    shown = respond(p, advance(p, at_rest(p), held(p), still(p), 0.010), held(p))
    assert shown.p_gen_pu == pytest.approx([0.6 * (1 - np.exp(-1))])
    assert shown.q_gen_pu == pytest.approx([-0.2 * (1 - np.exp(-1))])
    assert shown.p_set_pu == pytest.approx([0.6])
    assert [*shown.limited, *shown.f_hz] == [0.0, 50.0]


@pytest.mark.parametrize(
    ("given", "s_kva", "limited"),
    [
        pytest.param({"p_set_kw": 60, "q_set_kvar": 80}, 60 + 80j, 0, id="just within: 60^2 + 80^2 = 100^2"),
        pytest.param({"p_set_kw": 60, "q_set_kvar": 90}, 60 + 80j, 1, id="Q gives way"),
        pytest.param({"p_set_kw": 60, "q_set_kvar": -90}, 60 - 80j, 1, id="negative Q too"),
        pytest.param({"p_set_kw": 120, "q_set_kvar": 50}, 100 + 0j, 1, id="P up to the rating, no room for Q"),
        pytest.param({"p_set_kw": -120}, -100 + 0j, 1, id="consuming"),
        pytest.param({"p_set_kw": 70, "p_max_kw": 28, "q_set_kvar": 97}, 28 + 96j, 1, id="what is available"),
        pytest.param({"p_set_kw": 20, "p_max_kw": 28}, 20 + 0j, 0, id="more available than wanted"),
        pytest.param({"p_set_kw": -20, "p_max_kw": 0}, -20 + 0j, 0, id="consuming needs nothing available"),
    ],
)
def test_limits_of_power(given, s_kva, limited):
    shown = settled(one(**given))
    assert shown.p_gen_pu + 1j * shown.q_gen_pu == pytest.approx([s_kva / 100])
    assert shown.p_set_pu == pytest.approx([s_kva.real / 100])
    assert shown.limited.tolist() == [limited]


def test_available_power_of_an_input_replaces_the_parameter():
    p = one(p_set_kw=50, p_max_kw=80)
    shown = settled(p, held(p)._replace(p_available_pu=np.array([0.3])))
    assert shown.p_gen_pu == pytest.approx([0.3])
    assert shown.limited.tolist() == [1.0]


@settings(derandomize=True, max_examples=50, deadline=None)
@given(p_kw=st.floats(-200, 200), q_kvar=st.floats(-200, 200), angle=st.floats(0, 6), dt_s=st.floats(1e-4, 0.1))
def test_apparent_power_is_never_above_the_rating(p_kw, q_kvar, angle, dt_s):
    # the way from one point of the disk to another is straight
    p = one(p_set_kw=p_kw, q_set_kvar=q_kvar)
    shown = respond(p, advance(p, at_rest(p, np.exp(1j * angle)), held(p), still(p), dt_s), held(p))
    assert np.hypot(shown.p_gen_pu, shown.q_gen_pu)[0] <= 1 + 1e-12


def test_current_limit_on_the_system_base():
    # 110 % of 50 kVA on 100 kVA
    assert Params(50, s_base_mva=0.1).i_max_pu == pytest.approx([0.55])
    assert Params(50, i_max_percent=np.inf, s_base_mva=0.1).i_max_pu == [np.inf]


# --- frequency ---


def test_a_bus_that_runs_fast_is_measured_with_the_filter():
    # 0.4 Hz for one time constant: 1 - 1/e of it; for very long: all
    p = one()
    v = held(p)._replace(v_pu=np.array([1.05 * np.exp(0.7j)]))
    slopes = Slopes(np.zeros(1, complex), 2j * np.pi * 0.4 * v.v_pu)
    s = initial(p, np.zeros(1, complex), v.v_pu)
    assert respond(p, s, v).f_hz == [50.0]
    assert respond(p, advance(p, s, v, slopes, 0.050), v).f_hz == pytest.approx([50 + 0.4 * (1 - np.exp(-1))])
    assert respond(p, advance(p, s, v, slopes, 2.0), v).f_hz == pytest.approx([50.4])


def test_measured_in_steps_the_frequency_is_that_of_the_bus_whatever_its_angle():
    # over many turns; the wrapper's slope is that of the chord, whose error is (2 pi df h)^2 / 6 = 7e-4
    p, df, h = one(), -2.0, 0.005
    v = np.exp(2j * np.pi * df * h * np.arange(1001))
    u = held(p)._replace(v_pu=v[:1])
    s = initial(p, np.zeros(1, complex), v[:1])
    for k in range(1, 1001):
        slopes = Slopes(np.zeros(1, complex), (v[k : k + 1] - u.v_pu) / h)
        u = u._replace(v_pu=v[k : k + 1])
        s = advance(p, s, u, slopes, h)
    assert respond(p, s, u).f_hz == pytest.approx([50 + df], abs=2e-3)


def test_jump_of_the_angle_decays_with_the_filter():
    # 0.05 rad ahead show 0.05 / (2 pi 0.05 s) = 0.159 Hz, gone to 1/e after 50 ms
    p = one()
    ahead = held(p)._replace(v_pu=np.array([np.exp(0.05j)]))
    for dt_s in (1e-9, 0.05):
        shown = respond(p, advance(p, at_rest(p), ahead, still(p), dt_s), ahead)
        assert shown.f_hz - 50 == pytest.approx([0.05 / (2 * np.pi * 0.05) * np.exp(-dt_s / 0.05)], rel=1e-6)


@pytest.mark.parametrize(
    ("df_hz", "p_kw", "limited"),
    [(-1.0, 80, 0), (0.2, 80, 0), (0.5, 80 - 40 * 0.3, 1), (2.0, 80 - 40 * 1.8, 1), (2.3, 0, 1), (5.0, 0, 1)],
)
def test_frequency_watt_law_by_hand(df_hz, p_kw, limited):
    # 40 kW/Hz above 50.2 Hz, from 80 kW down to nothing and no further
    p = one(p_set_kw=80, frequency_watt_percent_per_hz=40)
    s, u = spinning(p, df_hz)
    shown = respond(p, s, u)
    assert shown.f_hz == pytest.approx([50 + df_hz])
    assert shown.p_set_pu == pytest.approx([p_kw / 100], abs=1e-12)
    assert shown.limited.tolist() == [limited]


def test_frequency_watt_acts_on_what_is_available_and_not_on_consumption():
    p = Params(100, p_set_kw=[90, -30], p_max_kw=50, frequency_watt_percent_per_hz=[40, 40], s_base_mva=0.1)
    lag = np.full(2, 2 * np.pi * 0.05 * 0.7)  # 0.7 Hz: 0.5 Hz above the deadband take 20 kW
    s = initial(p, np.zeros(2, complex), np.ones(2, complex))._replace(lag_rad=lag)
    assert respond(p, s, held(p)).p_set_pu == pytest.approx([0.3, -0.3])


def test_frequency_watt_makes_room_for_reactive_power():
    p = one(p_set_kw=100, q_set_kvar=60, frequency_watt_percent_per_hz=40)
    s, u = spinning(p, 0.7)
    turning = Slopes(np.zeros(1, complex), 2j * np.pi * 0.7 * u.v_pu)
    shown = respond(p, advance(p, s, u, turning, 0.5), u)
    assert [*shown.p_gen_pu, *shown.q_gen_pu] == pytest.approx([0.8, 0.6])


def test_steady_high_frequency_is_answered_exactly():
    # lag at rest: the set-point is constant and the power follows it with 10 ms
    p = one(p_set_kw=80, frequency_watt_percent_per_hz=40)
    s, u = spinning(p, 0.7)
    turning = Slopes(np.zeros(1, complex), 2j * np.pi * 0.7 * u.v_pu)
    shown = respond(p, advance(p, s, u, turning, 0.010), u)
    assert shown.p_gen_pu == pytest.approx([0.6 * (1 - np.exp(-1))], rel=1e-12)


# --- the exact update ---


def exact(p: Params, s: State, u: Inputs, spin: Any, dt_s: float) -> State:
    """tau dS/dt = S_set - S, T d(theta_f)/dt = theta_V - theta_f for theta_V = theta_0 + spin t, limits at t."""
    filter_s, tau_s = p.filter_ms * 1e-3, p.time_constant_ms * 1e-3
    lag0 = np.angle(u.v_pu * np.exp(-1j * s.angle_rad))
    rated = p.s_rated_kva * 1e-2

    def aim(lag):
        df = lag / (2 * np.pi * filter_s)
        taken = p.frequency_watt_percent_per_hz / 100 * rated * np.maximum(0, df - p.frequency_watt_deadband_hz)
        active = np.clip(np.minimum(u.p_set_pu, u.p_available_pu), -rated, rated)
        active = np.maximum(active - taken, np.minimum(active, 0))
        room = np.sqrt(rated**2 - active**2)
        return active, np.clip(u.q_set_pu, -room, room)

    def rates(t, y):
        angle, active, reactive = y.reshape(3, -1)
        lag = s.angle_rad + lag0 + spin * t - angle
        p_aim, q_aim = aim(lag)
        return np.concatenate((lag / filter_s, (p_aim - active) / tau_s, (q_aim - reactive) / tau_s))

    y = np.concatenate((s.angle_rad, s.s_pu.real, s.s_pu.imag))
    ends = solve_ivp(rates, (0, dt_s), y, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1].reshape(3, -1)
    lag = s.angle_rad + lag0 + spin * dt_s - ends[0]
    return STATE._replace(s_pu=ends[1] + 1j * ends[2], angle_rad=ends[0], lag_rad=lag)


@pytest.mark.parametrize("dt_s", [1e-6, 1e-3, 5e-3, 0.1, 1.0])
def test_turning_bus_is_answered_exactly(dt_s):
    own, theirs = advance(THREE, STATE, INPUTS, SLOPES, dt_s), exact(THREE, STATE, INPUTS, SPIN, dt_s)
    assert own.s_pu == pytest.approx(theirs.s_pu, abs=1e-10)
    assert own.angle_rad == pytest.approx(theirs.angle_rad, abs=1e-10)
    assert own.lag_rad == pytest.approx(theirs.lag_rad, abs=1e-10)


def test_frequency_watt_converges_with_the_square_of_the_step():
    p, spin, end_s = one(p_set_kw=80, frequency_watt_percent_per_hz=40), np.array([2 * np.pi * 1.5]), 0.04
    s, u = spinning(p, 0.5)
    reference = exact(p, s, u, spin, end_s).s_pu
    errors = []
    for steps in (8, 16, 32):
        h, now, at = end_s / steps, s, u
        for k in range(steps):
            at = u._replace(v_pu=np.exp(1j * spin * h * k))
            now = advance(p, now, at, Slopes(np.zeros(1, complex), 1j * spin * at.v_pu), h)
        errors.append(abs(now.s_pu - reference)[0])
    assert errors[0] < 1e-3
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(2.0, abs=0.1)


def test_step_of_no_length_is_the_identity():
    assert advance(THREE, STATE, INPUTS, SLOPES, 0.0) is STATE


@pytest.mark.parametrize("dt_s", [-1e-6, -5.0])
def test_step_backwards_is_refused(dt_s):
    with pytest.raises(ValueError, match=f"dt_s = {dt_s} must be >= 0"):
        advance(THREE, STATE, INPUTS, SLOPES, dt_s)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(dt_s=st.floats(1e-5, 1.0), share=st.floats(0.01, 0.99))
def test_two_parts_of_a_step_are_the_whole(dt_s, share):
    whole = advance(THREE, STATE, INPUTS, SLOPES, dt_s)
    first, rest = share * dt_s, dt_s - share * dt_s
    v = INPUTS.v_pu * np.exp(1j * SPIN * first)
    between = advance(THREE, STATE, INPUTS, SLOPES, first)
    parts = advance(THREE, between, INPUTS._replace(v_pu=v), SLOPES._replace(v_pu=1j * SPIN * v), rest)
    assert parts.s_pu == pytest.approx(whole.s_pu, abs=1e-12)
    assert parts.angle_rad == pytest.approx(whole.angle_rad, abs=1e-11)
    assert parts.lag_rad == pytest.approx(whole.lag_rad, abs=1e-11)


# --- a bus without voltage ---


@pytest.mark.parametrize("v", [0j, 0.5j * DEAD_BUS_PU])
def test_on_a_dead_bus_the_power_goes_and_the_frequency_is_nominal(v):
    p = one(p_set_kw=50, frequency_watt_percent_per_hz=40)
    s, u = spinning(p, 0.5)
    dead = u._replace(v_pu=np.array([v]))
    with np.errstate(all="raise"):
        after = advance(p, s._replace(s_pu=np.array([0.5 + 0.1j])), dead, still(p), 0.010)
        shown = respond(p, after, dead)
    assert shown.p_gen_pu + 1j * shown.q_gen_pu == pytest.approx([(0.5 + 0.1j) * np.exp(-1)])
    assert [*shown.f_hz, *shown.p_set_pu, *shown.limited] == [50.0, 0.0, 1.0]


def test_bus_that_comes_back_at_another_angle_shows_no_jump_of_the_frequency():
    p = one(p_set_kw=50)
    dead, back = (held(p)._replace(v_pu=np.array([v])) for v in (0j, np.exp(2.5j)))
    s = advance(p, at_rest(p), dead, still(p), 0.1)
    for _ in range(2):
        turning = Slopes(np.zeros(1, complex), 2j * np.pi * 0.3 * back.v_pu)
        s = advance(p, s, back, turning, 0.025)
        back = back._replace(v_pu=back.v_pu * np.exp(2j * np.pi * 0.3 * 0.025))
    shown = respond(p, s, back)
    assert shown.f_hz == pytest.approx([50 + 0.3 * (1 - np.exp(-1))])
    assert shown.p_gen_pu == pytest.approx([0.5 * (1 - np.exp(-5))])


def test_bus_that_has_just_died_shows_nominal_frequency():
    p = one(p_set_kw=50, frequency_watt_percent_per_hz=40)
    s, u = spinning(p, 0.5)
    assert respond(p, s, u._replace(v_pu=np.zeros(1, complex))).f_hz.tolist() == [50.0]


def test_dead_bus_of_one_unit_is_none_of_the_others():
    v = INPUTS.v_pu.copy()
    v[1] = 0
    slopes = Slopes(SLOPES.s_pu, 1j * SPIN * v)
    some, all_alive = (
        advance(THREE, STATE, u, w, 0.01) for u, w in ((INPUTS._replace(v_pu=v), slopes), (INPUTS, SLOPES))
    )
    for field in State._fields:
        assert np.array_equal(getattr(some, field)[[0, 2]], getattr(all_alive, field)[[0, 2]])
    assert some.tracks.tolist() == [True, False, True]


# --- the rules of every model ---


def rows(fields: Any, k: int) -> Any:
    return type(fields)(*(f[k : k + 1] for f in fields))


@pytest.mark.parametrize("law", [[0, 0, 0], [40, 0, 200]])
def test_units_do_not_feel_each_other(law):
    columns = COLUMNS | {"frequency_watt_percent_per_hz": law, "frequency_watt_deadband_hz": [0.0, 0.2, 0.1]}
    together = Params(**columns, s_base_mva=0.1)
    applied = np.array([0.1 + 0.2j, -0.3 + 0j, 0.05j])
    after = advance(together, align(together, STATE, INPUTS, applied), INPUTS, SLOPES, 0.02)
    shown = respond(together, after, INPUTS)
    for k in range(3):
        alone = Params(**{name: column[k] for name, column in columns.items()}, s_base_mva=0.1)
        s, u = rows(STATE, k), rows(INPUTS, k)
        s = advance(alone, align(alone, s, u, applied[k : k + 1]), u, rows(SLOPES, k), 0.02)
        for single, many in zip((*s, *respond(alone, s, u)), (*after, *shown), strict=True):
            assert many[k : k + 1] == pytest.approx(single, abs=1e-14)


@pytest.mark.parametrize("field", ["p_set_pu", "q_set_pu", "p_available_pu", "v_pu"])
def test_units_that_have_run_answer_like_new_ones(field):
    # whatever a unit remembers of its set-points and steps must not show
    now = INPUTS._replace(p_available_pu=np.full(3, 0.3))
    changed = now._replace(**{field: getattr(now, field) * np.array([0.9, 0.0, 0.8])})
    for dt_s in (0.005, 0.002):
        for u in (now, changed, now):
            new = replace(THREE)
            for one_field in Outputs._fields:
                shown, fresh = (respond(p, advance(p, STATE, u, still(p), dt_s), u) for p in (THREE, new))
                assert np.array_equal(getattr(shown, one_field), getattr(fresh, one_field))
    one_way, other = (respond(THREE, advance(THREE, STATE, u, still(THREE), 0.005), u) for u in (changed, now))
    assert not np.array_equal(one_way, other)


def test_no_units_are_ordinary():
    none = Params(np.zeros(0), s_base_mva=0.1)
    empty = initial(none, np.zeros(0, complex), np.zeros(0, complex))
    s = advance(none, empty, held(none), still(none), 0.01)
    assert len(respond(none, s, held(none)).p_gen_pu) == 0


def test_nothing_that_is_given_is_changed():
    p = Params(**COLUMNS, frequency_watt_percent_per_hz=40, s_base_mva=0.1, counts_energy=True)
    applied = np.array([0.1 + 0.2j, -0.3 + 0j, 0.05j])
    given_arrays = [*STATE, *INPUTS, *SLOPES, applied]
    kept = [array.copy() for array in given_arrays]
    moved = advance(p, align(p, STATE, INPUTS, applied), INPUTS, SLOPES, 0.02)
    respond(p, moved, INPUTS)
    for array, before in zip(given_arrays, kept, strict=True):
        assert np.array_equal(array, before, equal_nan=True)
    for fresh in (*moved, align(p, STATE, INPUTS, applied).s_pu, initial(p, applied, INPUTS.v_pu).s_pu):
        assert not any(np.shares_memory(fresh, array) for array in given_arrays)


def test_unit_that_delivers_its_set_point_is_at_rest():
    p = one(p_set_kw=60, q_set_kvar=20)
    u = held(p)._replace(v_pu=np.array([0.98 * np.exp(-1.2j)]))
    s = initial(p, np.array([0.6 + 0.2j]), u.v_pu)
    for _ in range(100):
        s = advance(p, s, u, still(p), 0.005)
    shown = respond(p, s, u)
    assert shown.p_gen_pu == pytest.approx([0.6], abs=1e-15) and shown.q_gen_pu == pytest.approx([0.2], abs=1e-15)
    assert shown.f_hz == pytest.approx([50.0], abs=1e-12)


def test_aligned_unit_shows_what_was_applied_and_goes_on_from_there():
    p = one(p_set_kw=60)
    followed = align(p, at_rest(p, 0.6 + 0j), held(p), np.array([0.2 + 0.1j]))
    shown = respond(p, followed, held(p))
    assert (shown.p_gen_pu.tolist(), shown.q_gen_pu.tolist()) == ([0.2], [0.1])
    later = respond(p, advance(p, followed, held(p), still(p), 0.010), held(p))
    assert later.p_gen_pu == pytest.approx([0.6 - 0.4 * np.exp(-1)])


def test_what_the_wrapper_relies_on():
    linear = [port.field for port in MODEL.inputs if port.hold == "linear"]
    assert tuple(linear) == Slopes._fields
    assert {port.field for port in MODEL.inputs} == set(Inputs._fields)
    assert {port.field for port in MODEL.outputs} == set(Outputs._fields)
    assert set(MODEL.records) <= {port.attr for port in MODEL.outputs}
    assert MODEL.source == "power"


# --- parameters ---


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("s_rated_kva", [0, -1, np.nan, np.inf]),
        ("p_set_kw", [np.nan, np.inf]),
        ("q_set_kvar", [np.nan, -np.inf]),
        ("p_max_kw", [-1, -np.inf, np.nan]),
        ("i_max_percent", [0, -1, np.nan]),
        ("time_constant_ms", [0, -1, np.inf, np.nan]),
        ("frequency_watt_percent_per_hz", [-1, np.inf, np.nan]),
        ("frequency_watt_deadband_hz", [-1, np.inf, np.nan]),
        ("filter_ms", [0, -1, np.inf, np.nan]),
    ],
)
def test_wrong_values_are_named(field, wrong):
    with pytest.raises(ParameterError) as raised:
        Params(**({"s_rated_kva": 100.0} | {field: wrong}))
    named = [(row, message) for row, name, message in raised.value.violations if name == field]
    assert [row for row, _ in named] == list(range(len(wrong)))
    for (_, message), value in zip(named, wrong, strict=True):
        assert message.startswith(f"{field} = {value:g} must be ")


@pytest.mark.parametrize("field", ["s_base_mva", "f_nom_hz"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_wrong_base_is_named(field, value):
    with pytest.raises(ParameterError, match=f"{field} = {value:g} must be"):
        Params(100.0, **{field: value})


# --- droop on both sides, and another meter's frequency ---


@pytest.mark.parametrize(
    ("df_hz", "expected", "limited"),
    [(0.5, 0.3, 0), (-0.5, 0.7, 0), (3.0, -0.7, 0), (-3.0, 1.0, 1), (6.0, -1.0, 1)],
)
def test_droop_adds_below_nominal_and_takes_off_above(df_hz, expected, limited):
    # 50 kW of 100 kVA, 40 kW for each Hz
    p = one(p_set_kw=50, droop_kw_per_hz=40)
    shown = respond(p, *spinning(p, df_hz))
    assert shown.p_set_pu == pytest.approx([expected]) and shown.limited.tolist() == [limited]
    assert shown.f_hz == pytest.approx([50 + df_hz])


def test_droop_power_is_reached():
    p = one(p_set_kw=50, droop_kw_per_hz=40)
    s, u = spinning(p, 0.5)
    turning = Slopes(np.zeros(1, complex), np.array([2j * np.pi * 0.5]))
    assert advance(p, s, u, turning, 1.0).s_pu == pytest.approx([0.3], abs=1e-6)


def test_frequency_of_another_meter_counts_instead_of_the_own_in_both_laws():
    for law in ({"droop_kw_per_hz": 40}, {"frequency_watt_percent_per_hz": 40, "frequency_watt_deadband_hz": 0}):
        p = one(p_set_kw=50, **law)
        s, u = spinning(p, 0.1)
        told = respond(p, s, u._replace(f_meas_hz=np.array([50.5])))
        assert told.p_set_pu == pytest.approx([0.3]), law
        assert told.f_hz == pytest.approx([50.1]), "it shows its own"
        assert respond(p, s, u).p_set_pu == pytest.approx([0.46]), law
        after = advance(p, s, u._replace(f_meas_hz=np.array([50.5])), still(p), 1.0)
        assert after.s_pu == pytest.approx([0.3]), law


# --- what stands behind the DC side ---


@pytest.mark.parametrize(
    ("p_set_kw", "limits", "expected"),
    [
        (80, (0.5, -np.inf), 0.45),  # of 0.5 pu on the DC side 90 % come to the bus
        (-80, (np.inf, -0.5), -0.5 / 0.9),  # and more is taken from it than arrives
        (80, (0.0, 0.0), 0.0),
        (30, (0.5, -0.5), 0.3),
    ],
)
def test_dc_side_limits_the_power_at_the_bus(p_set_kw, limits, expected):
    p = one(p_set_kw=p_set_kw, efficiency_percent=90)
    most, least = limits
    for _ in range(2):  # computed, then remembered
        shown = settled(p, held(p)._replace(p_dc_max_pu=np.array([most]), p_dc_min_pu=np.array([least])))
        assert shown.p_gen_pu == pytest.approx([expected])
        assert shown.limited.tolist() == [float(expected != p_set_kw / 100)]


def test_smaller_of_available_power_and_dc_limit_counts():
    p = one(p_set_kw=80, efficiency_percent=90)
    for available, dc, expected in ((0.3, 0.5, 0.3), (0.5, 0.3, 0.27)):
        u = held(p)._replace(p_available_pu=np.array([available]), p_dc_max_pu=np.array([dc]))
        assert settled(p, u).p_gen_pu == pytest.approx([expected])


def test_droop_must_not_be_negative():
    with pytest.raises(ParameterError, match="droop_kw_per_hz = -1 must be >= 0"):
        one(droop_kw_per_hz=-1)
