"""The frequency of a bus voltage behind its filter."""

import math

import numpy as np
import pytest

from gridloop.simulators.models.bus_frequency import State, advance, ahead, initial

FILTER_S = 0.05
ONE = np.ones(1, complex)


def turning(df_hz: float, t_s: float) -> "np.typing.NDArray[np.complex128]":
    return np.array([np.exp(2j * np.pi * df_hz * t_s)])


def at_rest() -> State:
    return initial(ONE, np.zeros(1), FILTER_S)


def turned(df_hz: float, end_s: float, steps: int) -> State:
    state = at_rest()
    for k in range(1, steps + 1):
        state = advance(state, turning(df_hz, end_s * k / steps), end_s / steps, FILTER_S, False)
    return state


def test_bus_at_rest_has_nominal_frequency() -> None:
    state = advance(at_rest(), ONE, 0.005, FILTER_S, False)
    assert state.df_hz == 0 and ahead(state) == 0


def test_bus_that_turns_from_the_beginning_goes_on_as_it_does() -> None:
    state = initial(np.array([1, 0], complex), np.array([-0.4, -0.4]), FILTER_S)
    assert state.df_hz.tolist() == [-0.4, 0]
    later = advance(state, np.array([turning(-0.4, 0.005)[0], 0]), 0.005, FILTER_S, False)
    assert later.df_hz == pytest.approx([-0.4, 0], abs=1e-12)


@pytest.mark.parametrize("df_hz", [-0.3, 1.0])
def test_answer_to_a_step_of_the_frequency_is_that_of_the_filter(df_hz: float) -> None:
    # s/(1 + s T) of an angle that grows with df: df (1 - exp(-t/T)), after one T 63 %
    for end_s in (0.005, 0.05, 0.5):
        state = turned(df_hz, end_s, 1 if end_s < 0.1 else 10)
        assert state.df_hz == pytest.approx([df_hz * (1 - math.exp(-end_s / FILTER_S))], abs=1e-12)


@pytest.mark.parametrize("steps", [2, 7, 40])
def test_steps_of_any_length_give_the_same(steps: int) -> None:
    assert turned(0.7, 0.1, steps).df_hz == pytest.approx(turned(0.7, 0.1, 1).df_hz, abs=1e-12)


def test_step_of_no_length_is_the_identity() -> None:
    state = turned(0.7, 0.1, 3)
    same = advance(state, state.v_pu, 0.0, FILTER_S, False)
    assert same.lag_rad == pytest.approx(state.lag_rad, abs=1e-15)


def test_jump_of_the_angle_shows_as_the_filter_shows_it_and_dies_away() -> None:
    # 0.1 rad at once: df = 0.1/(2 pi T) = 0.318 Hz, which decays with T
    jumped = advance(at_rest(), np.array([np.exp(0.1j)]), 0.005, FILTER_S, True)
    assert jumped.df_hz == pytest.approx([0.1 / (2 * np.pi * FILTER_S)], rel=1e-12)
    assert ahead(jumped) == pytest.approx(jumped.df_hz), "a jump is no trend"
    later = advance(jumped, jumped.v_pu, 0.05, FILTER_S, False)
    assert later.df_hz == pytest.approx(jumped.df_hz * math.exp(-1), rel=1e-12)


def test_frequency_to_be_expected_follows_the_trend() -> None:
    one, two = turned(0.5, 0.005, 1), turned(0.5, 0.010, 2)
    assert ahead(two) == pytest.approx(2 * two.df_hz - one.df_hz, abs=1e-12)


def test_bus_without_voltage_has_nominal_frequency_and_starts_anew() -> None:
    dead = advance(turned(0.7, 0.1, 3), np.zeros(1, complex), 0.005, FILTER_S, True)
    assert dead.df_hz == 0
    back = advance(dead, np.array([np.exp(2.5j)]), 0.005, FILTER_S, True)
    assert back.df_hz == 0, "no angle is known before: no jump"
    again = advance(back, back.v_pu * np.exp(2j * np.pi * 0.7 * 0.005), 0.005, FILTER_S, False)
    assert again.df_hz == pytest.approx([0.7 * (1 - math.exp(-0.005 / FILTER_S))], abs=1e-12)


def test_buses_are_each_their_own_and_the_given_state_is_left_alone() -> None:
    first = initial(np.ones(3, complex), np.zeros(3), FILTER_S)
    kept = [np.array(field) for field in first]
    together = advance(first, np.array([1, np.exp(0.01j), 0]), 0.005, FILTER_S, False)
    assert all(np.array_equal(one, other) for one, other in zip(kept, first, strict=True))
    for row, v in enumerate((1, np.exp(0.01j), 0)):
        alone = advance(at_rest(), np.array([v], complex), 0.005, FILTER_S, False)
        assert together.df_hz[row] == pytest.approx(alone.df_hz[0], abs=1e-15)
