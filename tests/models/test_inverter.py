"""The droop inverter against its differential equations, and the rules that every model keeps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gridloop.simulators.models.inverter import (
    ALIGN_DECAY_S,
    Inputs,
    Params,
    Slopes,
    State,
    advance,
    align,
    held,
    initial,
    limits_in_force,
    respond,
)
from gridloop.simulators.models.parameters import ParameterError, check

THREE = Params(
    s_rated_kva=[50, 100, 20],
    droop_p_percent=[1.0, 2.0, 5.0],
    droop_q_percent=[5.0, 3.0, 0.0],
    filter_hz=[5.0, 1.0, 30.0],
    p_set_kw=[20, -10, 0],
    q_set_kvar=[5, 0, -3],
    v_set_pu=[1.0, 1.02, 0.97],
    s_base_mva=0.1,
)
STATE = State(
    delta_rad=np.array([0.3, -2.0, 40.0]),
    s_filtered_pu=np.array([0.25 + 0.02j, -0.1 + 0.1j, 0.05 - 0.01j]),
    over_pu=np.zeros(3),
    under_pu=np.zeros(3),
    e_offset_pu=np.zeros(3),
    e_dc_pu_h=np.array([0.1, -0.2, 0.0]),
    e_ac_pu_h=np.array([0.09, -0.21, 0.0]),
    e_loss_pu_h=np.array([0.01, 0.01, 0.0]),
    turned_rad=np.zeros(3),
)
INPUTS = held(THREE)._replace(
    s_pu=np.array([0.4 + 0.1j, 0.3 - 0.2j, -0.1 + 0.05j]), omega_rad_per_s=np.array([0.5, -0.2, 0.0])
)
SLOPES = Slopes(np.array([3.0 - 2.0j, -8.0 + 1.0j, 0.5j]))


def limited(p_max_kw: Any = np.inf, p_min_kw: Any = -np.inf) -> Params:
    return Params(s_rated_kva=100.0, p_max_kw=p_max_kw, p_min_kw=p_min_kw, s_base_mva=0.1)


def at_rest(p: Params, s_pu: complex) -> State:
    return initial(p, np.array([s_pu]), np.array([1 + 0j]))


def with_power(p: Params, s_pu: complex) -> Inputs:
    return held(p)._replace(s_pu=np.array([s_pu]))


# --- droop by hand ---


def test_droop_lines_by_hand():
    # 50 kVA of 100 kVA base; m = 0.02 * 2 pi 50 / 0.5 = 12.566 rad/s per pu, n = 0.05 / 0.5 = 0.1 per pu
    p = Params(50, p_set_kw=10, q_set_kvar=5, s_base_mva=0.1)
    assert p.droop_p_rad_per_s_pu == pytest.approx([12.566371], abs=1e-6)
    assert p.droop_q_pu == pytest.approx([0.1])
    # 30 kW and 15 kvar are 0.2 and 0.1 pu over the set-points: 0.02 * 50 Hz * 0.2 / 0.5 and 0.1 * 0.1
    shown = respond(p, initial(p, np.array([0.3 + 0.15j]), np.array([np.exp(0.4j)])), held(p))
    assert shown.f_hz == pytest.approx([49.6])
    assert shown.emf_pu == pytest.approx([0.99 * np.exp(0.4j)])
    assert shown.p_set_pu == pytest.approx([0.1])
    assert shown.limited.tolist() == [0.0]


def test_rated_power_costs_the_droop_whatever_the_rating():
    p = Params([10, 1000], droop_p_percent=4.0, droop_q_percent=6.0, s_base_mva=0.1)
    shown = respond(p, initial(p, np.array([0.1 + 0.1j, 10 + 10j]), np.ones(2, complex)), held(p))
    assert shown.f_hz == pytest.approx([48.0, 48.0])
    assert np.abs(shown.emf_pu) == pytest.approx([0.94, 0.94])


def test_secondary_corrections_add_up():
    u = INPUTS._replace(omega_rad_per_s=np.full(3, 2 * np.pi), v_correction_pu=np.full(3, 0.01))
    plain = respond(THREE, STATE, INPUTS._replace(omega_rad_per_s=np.zeros(3)))
    corrected = respond(THREE, STATE, u)
    assert corrected.f_hz - plain.f_hz == pytest.approx([1.0, 1.0, 1.0])
    assert np.abs(corrected.emf_pu) - np.abs(plain.emf_pu) == pytest.approx([0.01] * 3)


def test_filter_step_by_hand():
    # 5 Hz: after 1/(2 pi 5) s a step is answered to 1 - 1/e = 0.632
    p = Params(100, s_base_mva=0.1)
    s = advance(p, at_rest(p, 0j), with_power(p, 1 - 1j), Slopes(np.zeros(1, complex)), 1 / (10 * np.pi))
    assert s.s_filtered_pu == pytest.approx([(1 - 1j) * (1 - np.exp(-1))])


# --- the exact update ---


def exact(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """The equations, unit for unit; without limiter.

    T dP_f/dt = P - P_f, T dQ_f/dt = Q - Q_f, d(delta)/dt = Omega - m (P_f - P*).
    """

    def rates(t, y):
        _, pf, qf = y.reshape(3, -1)
        measured = u.s_pu + slopes.s_pu * t
        slip = u.omega_rad_per_s - p.droop_p_rad_per_s_pu * (pf - u.p_set_pu)
        corner = 2 * np.pi * p.filter_hz
        return np.concatenate((slip, corner * (measured.real - pf), corner * (measured.imag - qf)))

    y = np.concatenate((s.delta_rad, s.s_filtered_pu.real, s.s_filtered_pu.imag))
    delta, pf, qf = solve_ivp(rates, (0, dt_s), y, "DOP853", rtol=1e-13, atol=1e-14).y[:, -1].reshape(3, -1)
    return s._replace(delta_rad=delta, s_filtered_pu=pf + 1j * qf)


@pytest.mark.parametrize("dt_s", [1e-6, 1e-3, 5e-3, 0.1, 2.0])
def test_ramp_is_answered_exactly(dt_s):
    own, theirs = (step(THREE, STATE, INPUTS, SLOPES, dt_s) for step in (advance, exact))
    assert own.s_filtered_pu == pytest.approx(theirs.s_filtered_pu, abs=1e-10)
    assert own.delta_rad == pytest.approx(theirs.delta_rad, abs=1e-10)


def test_very_short_step_loses_no_digits():
    # to the second order of dt the angle turns by slip dt - m w (P - P_f) dt^2 / 2
    dt_s = 1e-6
    turned = advance(THREE, STATE, INPUTS, SLOPES, dt_s).delta_rad - STATE.delta_rad
    slip = 2 * np.pi * (respond(THREE, STATE, INPUTS).f_hz - 50)
    bend = THREE.droop_p_rad_per_s_pu * THREE.corner_rad_per_s * (INPUTS.s_pu - STATE.s_filtered_pu).real
    assert turned == pytest.approx(slip * dt_s - bend * dt_s**2 / 2, abs=1e-13)


def test_step_of_no_length_is_the_identity():
    same = advance(THREE, STATE, INPUTS, SLOPES, 0.0)
    for field in State._fields:
        assert np.array_equal(getattr(same, field), getattr(STATE, field))


@pytest.mark.parametrize("dt_s", [-1e-6, -5.0])
def test_step_backwards_is_refused(dt_s):
    with pytest.raises(ValueError, match=f"dt_s = {dt_s} must be >= 0"):
        advance(THREE, STATE, INPUTS, SLOPES, dt_s)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(dt_s=st.floats(1e-5, 1.0), share=st.floats(0.01, 0.99))
def test_two_parts_of_a_step_are_the_whole(dt_s, share):
    whole = advance(THREE, STATE, INPUTS, SLOPES, dt_s)
    first, rest = share * dt_s, dt_s - share * dt_s
    halfway = INPUTS._replace(s_pu=INPUTS.s_pu + SLOPES.s_pu * first)
    parts = advance(THREE, advance(THREE, STATE, INPUTS, SLOPES, first), halfway, SLOPES, rest)
    assert parts.s_filtered_pu == pytest.approx(whole.s_filtered_pu, abs=1e-12)
    assert parts.delta_rad == pytest.approx(whole.delta_rad, abs=1e-12)


# --- the rules of every model ---


def rows(fields: Any, k: int) -> Any:
    return type(fields)(*(f[k : k + 1] if isinstance(f, np.ndarray) else f for f in fields))


@pytest.mark.parametrize("p_max_kw", [np.inf, [20.0, np.inf, 1.0]])
def test_units_do_not_feel_each_other(p_max_kw):
    columns = {
        name: getattr(THREE, name)
        for name in ("s_rated_kva", "droop_p_percent", "droop_q_percent", "filter_hz", "p_set_kw", "v_set_pu")
    } | {"p_max_kw": np.broadcast_to(p_max_kw, 3)}
    together = Params(**columns, s_base_mva=0.1)
    applied = np.array([1.0, 1.01, 0.99]) * np.exp(1j * np.arange(3))
    after = align(together, advance(together, STATE, INPUTS, SLOPES, 0.02), INPUTS, applied)
    shown = respond(together, after, INPUTS)
    for k in range(3):
        alone = Params(**{name: column[k] for name, column in columns.items()}, s_base_mva=0.1)
        s, u = rows(STATE, k), rows(INPUTS, k)
        s = align(alone, advance(alone, s, u, rows(SLOPES, k), 0.02), u, applied[k : k + 1])
        for single, many in zip((*s[:-2], *respond(alone, s, u)), (*after[:-2], *shown), strict=True):
            assert many[k : k + 1] == pytest.approx(single, abs=1e-14)


def test_no_units_are_ordinary():
    none = Params(np.zeros(0), s_base_mva=0.1)
    empty = initial(none, np.zeros(0, complex), np.zeros(0, complex))
    s = advance(none, empty, held(none), Slopes(np.zeros(0, complex)), 0.01)
    assert len(respond(none, s, held(none)).emf_pu) == 0


def test_nothing_that_is_given_is_changed():
    p = limited(p_max_kw=30.0)
    s, u = rows(STATE, 0), rows(INPUTS, 0)
    slopes, applied = rows(SLOPES, 0), np.array([1.1 + 0.2j])
    given_arrays = [*s[:5], *u, *slopes, applied]
    kept = [array.copy() for array in given_arrays]
    moved = advance(p, align(p, s, u, applied), u, slopes, 0.02)
    respond(p, moved, u)
    for array, before in zip(given_arrays, kept, strict=True):
        assert np.array_equal(array, before)
    for fresh in moved[:4]:
        assert not any(np.shares_memory(fresh, array) for array in given_arrays)


def test_set_points_count_from_the_step_on_which_they_change():
    # 0.1 pu more of P* is 2 % of 50 Hz * 0.1 on a 1 pu unit
    p = Params(100, s_base_mva=0.1)
    s, u = at_rest(p, 0.5 + 0j), with_power(p, 0.5 + 0j)
    before = respond(p, s, u).f_hz
    after = respond(p, s, u._replace(p_set_pu=u.p_set_pu + 0.1)).f_hz
    assert after - before == pytest.approx([0.1])
    assert respond(p, s, u).f_hz == pytest.approx(before)


@pytest.mark.parametrize("field", ["p_set_pu", "q_set_pu", "v_set_pu", "omega_rad_per_s", "v_correction_pu"])
def test_units_that_have_run_answer_like_new_ones(field):
    # whatever a unit remembers of its set-points and steps must not show
    changed = INPUTS._replace(**{field: getattr(INPUTS, field) + 0.1})
    for dt_s in (0.005, 0.002):
        for u in (INPUTS, changed, INPUTS):
            new = replace(THREE)
            s, fresh = advance(THREE, STATE, u, SLOPES, dt_s), advance(new, STATE, u, SLOPES, dt_s)
            assert np.array_equal(s.delta_rad, fresh.delta_rad)
            assert np.array_equal(respond(THREE, s, u).emf_pu, respond(new, fresh, u).emf_pu)
            assert np.array_equal(respond(THREE, s, u).f_hz, respond(new, fresh, u).f_hz)
    assert not np.array_equal(respond(THREE, STATE, changed), respond(THREE, STATE, INPUTS))


# --- limits ---


def settle(p: Params, u: Inputs, seconds: float, dt_s: float, s: State) -> State:
    for _ in range(round(seconds / dt_s)):
        s = advance(p, s, u, Slopes(np.zeros(1, complex)), dt_s)
    return s


def test_limiter_lowers_the_frequency_until_the_power_obeys():
    # 10 kW over the limit on 100 kVA: at once x = 1 * 0.1, then 10 /s * 0.1 pu more each second
    p = limited(p_max_kw=50.0)
    s, u = at_rest(p, 0.6 + 0j), with_power(p, 0.6 + 0j)
    shown = respond(p, s, u)
    assert shown.f_hz == pytest.approx([50 - 1.0 * 0.6 - 1.0 * 0.1])
    assert shown.limited.tolist() == [1.0]
    later = settle(p, u, 0.3, 0.005, s)
    assert later.over_pu == pytest.approx([0.3])
    assert respond(p, later, u).f_hz == pytest.approx([50 - 0.6 - 0.1 - 0.3])


def test_lower_limit_mirrors_the_upper():
    above, below = limited(p_max_kw=50.0), limited(p_min_kw=-50.0)
    s, u = settle(above, with_power(above, 0.6 + 0j), 0.3, 0.005, at_rest(above, 0.6 + 0j)), held(above)
    mirrored = settle(below, with_power(below, -0.6 + 0j), 0.3, 0.005, at_rest(below, -0.6 + 0j))
    assert mirrored.under_pu == pytest.approx(s.over_pu)
    assert respond(below, mirrored, u).f_hz - 50 == pytest.approx(50 - respond(above, s, u).f_hz)


def test_limiter_lets_go_and_its_integral_never_turns_negative():
    p = limited(p_max_kw=50.0)
    s = settle(p, with_power(p, 0.6 + 0j), 0.1, 0.005, at_rest(p, 0.6 + 0j))
    free = settle(p, with_power(p, 0.2 + 0j), 1.0, 0.005, s)
    assert free.over_pu.tolist() == [0.0]
    assert respond(p, free, held(p)).limited.tolist() == [0.0]
    assert respond(p, free, held(p)).f_hz == pytest.approx([49.8])


def test_unit_within_its_limits_is_an_unlimited_one():
    near, free = limited(p_max_kw=70.0, p_min_kw=-10.0), limited()
    u, slopes = with_power(free, 0.2 + 0j), Slopes(np.array([4.0 + 0j]))
    s = at_rest(free, 0.6 + 0j)
    for within, without in zip(advance(near, s, u, slopes, 0.1), advance(free, s, u, slopes, 0.1), strict=True):
        assert within == pytest.approx(without, abs=1e-15)


def test_angle_of_a_limited_unit_converges_with_the_square_of_the_step():
    # P_f = 0.5 + 0.1 (1 - e^{-w t}) for a step from 0.5 to 0.6 on a limit of 0.5 pu;
    # x = (P_f - 0.5) + 10 int (P_f - 0.5), d(delta)/dt = -m (P_f + x), m = 2 pi
    p = limited(p_max_kw=50.0)
    w, end_s = 10 * np.pi, 0.2
    over = 0.1 * (end_s - (1 - np.exp(-w * end_s)) / w)  # int (P_f - 0.5)
    twice = 0.1 * (end_s**2 / 2 - end_s / w + (1 - np.exp(-w * end_s)) / w**2)
    angle = -2 * np.pi * (0.5 * end_s + 2 * over + 10 * twice)
    errors = [
        abs(settle(p, with_power(p, 0.6 + 0j), end_s, h, at_rest(p, 0.5 + 0j)).delta_rad[0] - angle)
        for h in (0.02, 0.01, 0.005)
    ]
    assert errors[0] < 1e-2
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(2.0, abs=0.1)


# --- clamps of the voltage ---


def clamped(**given: Any) -> Params:
    return Params(**({"s_rated_kva": 100.0} | given), s_base_mva=0.1)


def shown_emf(p: Params, **inputs: float) -> Any:
    """EMF magnitude and flag at no power."""
    u = held(p)._replace(**{name: np.array([value]) for name, value in inputs.items()})
    shown = respond(p, at_rest(p, 0j), u)
    return abs(shown.emf_pu[0]), shown.limited[0]


@pytest.mark.parametrize(
    ("v_pu", "e_pu", "limited"), [(0.03, 1.03, 0), (0.05, 1.05, 0), (0.2, 1.05, 1), (-0.2, 0.95, 1)]
)
def test_secondary_correction_counts_up_to_its_limit(v_pu, e_pu, limited):
    p = clamped(v_correction_limit_pu=0.05)
    assert shown_emf(p, v_correction_pu=v_pu) == (pytest.approx(e_pu), limited)
    assert shown_emf(clamped(), v_correction_pu=v_pu) == (pytest.approx(1 + v_pu), 0)


@pytest.mark.parametrize(("v_set_pu", "e_pu", "limited"), [(1.0, 1.0, 0), (1.2, 1.1, 1), (0.8, 0.9, 1)])
def test_magnitude_stays_within_its_clamp(v_set_pu, e_pu, limited):
    assert shown_emf(clamped(e_min_pu=0.9, e_max_pu=1.1), v_set_pu=v_set_pu) == (pytest.approx(e_pu), limited)


def test_one_clamp_does_without_the_other():
    assert shown_emf(clamped(e_min_pu=0.9), v_set_pu=0.8) == (pytest.approx(0.9), 1)
    assert shown_emf(clamped(e_max_pu=1.1), v_set_pu=1.2) == (pytest.approx(1.1), 1)


def test_clamp_holds_what_droop_and_correction_make_together():
    # 1.03 + 0.05 (of the 0.06 asked for) + 0.05 * 0.4 = 1.10 is too much; without reactive power it is 1.08
    p = clamped(v_set_pu=1.03, v_correction_limit_pu=0.05, e_max_pu=1.085)
    u = held(p)._replace(v_correction_pu=np.array([0.06]))
    capacitive = respond(p, at_rest(p, -0.4j), u)
    assert np.abs(capacitive.emf_pu) == pytest.approx([1.085])
    assert capacitive.limited.tolist() == [1.0]
    assert np.abs(respond(p, at_rest(p, 0j), u).emf_pu) == pytest.approx([1.08])


def test_clamp_leaves_angle_and_frequency_alone():
    p, free = clamped(e_max_pu=0.9), clamped()
    s = initial(p, np.array([0.3 + 0j]), np.array([np.exp(0.4j)]))
    assert np.angle(respond(p, s, held(p)).emf_pu) == pytest.approx([0.4])
    assert respond(p, s, held(p)).f_hz == respond(free, s, held(free)).f_hz


def test_power_limit_and_clamp_share_the_flag():
    p = clamped(p_max_kw=50, e_max_pu=1.1)
    assert respond(p, at_rest(p, 0.6 + 0j), held(p)).limited.tolist() == [1.0]
    assert respond(p, at_rest(p, -3j), held(p)).limited.tolist() == [1.0]  # 1 + 0.05 * 3
    assert respond(p, at_rest(p, 0.4 + 0j), held(p)).limited.tolist() == [0.0]


def test_clamp_of_one_unit_is_none_of_the_others():
    limits: Any = {
        "v_correction_limit_pu": [0.05, np.inf, np.inf],
        "e_min_pu": [0.9, 0, 0],
        "e_max_pu": [1.1, np.inf, 1.2],
    }
    together = Params([100.0] * 3, **limits, s_base_mva=0.1)
    u = held(together)._replace(v_correction_pu=np.array([0.06, 0.3, 0.15]))
    shown = respond(together, initial(together, np.zeros(3, complex), np.ones(3, complex)), u)
    assert np.abs(shown.emf_pu) == pytest.approx([1.05, 1.3, 1.15])
    assert shown.limited.tolist() == [1.0, 0.0, 0.0]
    collapsed = u._replace(v_set_pu=np.full(3, -0.5), v_correction_pu=np.zeros(3))
    shown = respond(together, initial(together, np.zeros(3, complex), np.ones(3, complex)), collapsed)
    assert shown.emf_pu.real == pytest.approx([0.9, -0.5, -0.5])


def test_aligned_unit_shows_what_was_applied_even_beyond_its_clamp():
    p = clamped(e_max_pu=1.1, v_set_pu=1.2)
    applied = np.array([1.15 * np.exp(0.2j)])
    assert respond(p, align(p, at_rest(p, 0j), held(p), applied), held(p)).emf_pu == pytest.approx(applied)


def test_clamps_that_never_act_change_nothing_to_the_bit():
    wide = replace(THREE, v_correction_limit_pu=1.0, e_min_pu=0.1, e_max_pu=3.0)
    u = INPUTS._replace(v_correction_pu=np.array([0.01, -0.02, 0.03]))
    for with_clamps, without in zip(respond(wide, STATE, u), respond(replace(THREE), STATE, u), strict=True):
        assert np.array_equal(with_clamps, without)
    assert wide.is_clamped and not THREE.is_clamped


def test_current_limit_on_the_system_base():
    # 120 % of 50 kVA on 100 kVA; without a limit there is none
    assert Params(50, i_max_percent=120, s_base_mva=0.1).i_max_pu == pytest.approx([0.6])
    assert Params(50, s_base_mva=0.1).i_max_pu == [np.inf]


# --- following what another applies ---


def test_aligned_unit_shows_what_was_applied():
    applied = np.array([1.03 * np.exp(-2.9j), 0.4 * np.exp(0.1j), 1.2j])
    followed = align(THREE, STATE, INPUTS, applied)
    assert respond(THREE, followed, INPUTS).emf_pu == pytest.approx(applied, abs=1e-14)
    assert followed.s_filtered_pu is STATE.s_filtered_pu


def test_alignment_turns_by_less_than_half_a_turn():
    # the angle may have grown over many turns and goes on from there
    followed = align(THREE, STATE, INPUTS, 0.9 * np.exp(1j * (STATE.delta_rad + 0.1)))
    assert followed.delta_rad - STATE.delta_rad == pytest.approx([0.1, 0.1, 0.1], abs=1e-12)


def test_unit_whose_own_emf_was_applied_keeps_its_state():
    own = respond(THREE, STATE, INPUTS).emf_pu
    applied = own.copy()
    applied[1] *= 1.01
    followed = align(THREE, STATE, INPUTS, applied)
    assert np.array_equal(followed.delta_rad[[0, 2]], STATE.delta_rad[[0, 2]])
    assert followed.e_offset_pu[[0, 2]].tolist() == [0.0, 0.0]
    assert followed.e_offset_pu[1] == pytest.approx(0.01 * abs(own[1]))


@pytest.mark.parametrize("dt_s", [0.005, 0.5, 2.0])
def test_taken_over_magnitude_decays_in_half_a_second(dt_s):
    own = respond(THREE, STATE, INPUTS).emf_pu
    followed = align(THREE, STATE, INPUTS, own * 1.05)
    later = advance(THREE, followed, INPUTS, SLOPES, dt_s)
    plain = advance(THREE, STATE, INPUTS, SLOPES, dt_s)
    assert ALIGN_DECAY_S == 0.5
    assert later.e_offset_pu == pytest.approx(0.05 * np.abs(own) * np.exp(-2 * dt_s), rel=1e-12)
    excess = np.abs(respond(THREE, later, INPUTS).emf_pu) - np.abs(respond(THREE, plain, INPUTS).emf_pu)
    assert excess == pytest.approx(later.e_offset_pu, abs=1e-14)


# --- parameters ---


def test_every_violation_is_reported_at_once():
    with pytest.raises(ParameterError) as raised:
        Params(
            s_rated_kva=[100, 0, -5],
            droop_p_percent=[0, 2, 120],
            filter_hz=[5, np.nan, 5],
            v_set_pu=2.5,
            p_max_kw=[10, 10, 10],
            p_min_kw=[0, 20, 0],
        )
    found = {(row, name) for row, name, _ in raised.value.violations}
    assert found == {
        *((row, "v_set_pu") for row in range(3)),
        (1, "s_rated_kva"),
        (2, "s_rated_kva"),
        (0, "droop_p_percent"),
        (2, "droop_p_percent"),
        (1, "filter_hz"),
        (1, "p_max_kw"),
    }
    assert "row 2: s_rated_kva = -5 must be > 0" in str(raised.value)
    assert "row 2: droop_p_percent = 120 must be > 0 and < 100" in str(raised.value)
    assert "row 1: p_max_kw = 10 must be > p_min_kw" in str(raised.value)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("s_rated_kva", [0, -1, np.nan, np.inf]),
        ("droop_p_percent", [0, -1, 100, np.nan]),
        ("droop_q_percent", [-1, 100, np.nan]),
        ("filter_hz", [0, -1, np.nan, np.inf]),
        ("p_set_kw", [np.nan, np.inf]),
        ("q_set_kvar", [np.nan, -np.inf]),
        ("v_set_pu", [0, -1, 2, np.nan]),
        ("p_max_kw", [-np.inf, np.nan]),
        ("p_min_kw", [np.inf, np.nan]),
        ("limiter_gain", [-1, np.inf, np.nan]),
        ("limiter_rate_per_s", [0, -1, np.inf, np.nan]),
        ("i_max_percent", [0, -1, np.nan]),
        ("v_correction_limit_pu", [-1, np.nan]),
        ("e_min_pu", [-1, np.inf, np.nan]),
        ("e_max_pu", [0, -1, np.nan]),
    ],
)
def test_wrong_values_are_named(field, wrong):
    columns = {"s_rated_kva": 100.0} | {field: wrong}
    with pytest.raises(ParameterError) as raised:
        Params(**columns)
    named = [(row, name, message) for row, name, message in raised.value.violations if name == field]
    assert [row for row, _, _ in named] == list(range(len(wrong)))
    for (_, _, message), value in zip(named, wrong, strict=True):
        assert message.startswith(f"{field} = {value:g} must be ")


def test_not_a_number_fails_even_a_rule_that_it_would_pass():
    p = Params([100.0, 50.0])
    object.__setattr__(p, "p_set_kw", np.array([1.0, np.nan]))
    with pytest.raises(ParameterError, match="row 1: p_set_kw = nan must be below 5"):
        check(p, ("p_set_kw", ~(p.p_set_kw >= 5), "below 5"))


@pytest.mark.parametrize("field", ["s_base_mva", "f_nom_hz"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_wrong_base_is_named(field, value):
    with pytest.raises(ParameterError, match=f"{field} = {value:g} must be"):
        Params(100.0, **{field: value})


def test_columns_of_different_lengths_are_named():
    with pytest.raises(ValueError, match="filter_hz has 3 values, s_rated_kva has 2"):
        Params([100.0, 50.0], filter_hz=[5.0, 5.0, 5.0])


def test_scalars_hold_for_every_unit():
    p = Params([100, 50], filter_hz=4.0)
    assert p.filter_hz.tolist() == [4.0, 4.0]
    assert p.s_rated_kva.dtype == float


# --- what stands behind the DC side ---


def limits_of(p: Params, u: Inputs) -> list[Any]:
    return [limit.tolist() for limit in limits_in_force(p, u) or ()]


def driven(p: Params, u: Inputs) -> float:
    """Power [pu] of a unit after 6 s behind 0.2 pu of a stiff bus at nominal frequency."""
    s, still = at_rest(p, 0j), Slopes(np.zeros(1, complex))
    power, dt_s = 0.0, 0.005
    for _ in range(1200):
        s = advance(p, s, u._replace(s_pu=np.array([power + 0j])), still, dt_s)
        power = 5.0 * float(np.sin(s.delta_rad[0]))
    return power


@pytest.mark.parametrize(
    ("p_set_kw", "limits", "expected"),
    [
        (80, (np.inf, -np.inf), 0.8),
        (80, (0.5, -np.inf), 0.45),  # of 0.5 pu on the DC side 90 % come to the bus
        (-80, (np.inf, -0.5), -0.5 / 0.9),  # and more is taken from it than arrives
        (-80, (0.3, -0.9), -0.8),
        (80, (0.0, 0.0), 0.0),
    ],
)
def test_dc_side_limits_the_power_at_the_bus(p_set_kw, limits, expected):
    p = Params(100.0, p_set_kw=p_set_kw, efficiency_percent=90.0, s_base_mva=0.1)
    most, least = limits
    u = held(p)._replace(p_dc_max_pu=np.array([most]), p_dc_min_pu=np.array([least]))
    assert driven(p, u) == pytest.approx(expected, abs=1e-6)
    filtered = at_rest(p, expected + 0j)
    assert respond(p, filtered, u).limited.tolist() == [0.0], "just at the limit nothing acts"
    assert respond(p, at_rest(p, 2.0 + 0j), u).limited.tolist() == [float(np.isfinite(most))]


def test_what_the_source_has_counts_before_the_files_least_power():
    p = Params(100.0, p_set_kw=50, p_min_kw=40, p_max_kw=60, efficiency_percent=100.0, s_base_mva=0.1)
    assert driven(p, held(p)._replace(p_dc_max_pu=np.array([0.2]))) == pytest.approx(0.2, abs=1e-6)
    assert limits_of(p, held(p)) == [pytest.approx([0.4]), pytest.approx([0.6])]


def test_limits_follow_the_source():
    p = Params(100.0, efficiency_percent=90.0, s_base_mva=0.1)
    u = held(p)  # the same arrays, but for what changes: it must not be taken for what was remembered
    assert limits_in_force(p, u) is None, "no limit costs nothing"
    less = u._replace(p_dc_max_pu=np.array([0.5]))
    assert limits_of(p, less) == [[-np.inf], pytest.approx([0.45])]
    assert limits_in_force(p, u) is None


# --- off the grid ---


def test_unit_off_the_grid_takes_over_the_frequency_of_the_bus_that_it_follows():
    # a bus 0.3 Hz below nominal; two units, of which the first is off
    p = Params([100.0, 100.0], p_set_kw=50, s_base_mva=0.1)
    s = initial(p, np.array([0.5 + 0j, 0.5 + 0j]), np.ones(2, complex))
    u, still = held(p)._replace(s_pu=np.array([0, 0.5 + 0j])), Slopes(np.zeros(2, complex))
    for k in range(1, 41):
        s = advance(p, s, u, still, 0.005)
        own = respond(p, s, u).emf_pu
        s = align(p, s, u, np.array([np.exp(-2j * np.pi * 0.3 * 0.005 * k), own[1]]))
    ahead = advance(p, s, u, still, 0.005)
    assert respond(p, ahead, u).f_hz == pytest.approx([49.7, 50.0], abs=1e-9)
    # and one step later it still stands on the bus, so that it closes without a blow
    assert ahead.delta_rad[0] == pytest.approx(-2 * np.pi * 0.3 * 0.005 * 41, abs=1e-9)
    # back in charge its filter moves on
    moved = advance(p, ahead, u._replace(s_pu=np.array([0.1, 0.5 + 0j])), still, 0.005)
    assert moved.s_filtered_pu[0].real != ahead.s_filtered_pu[0].real
