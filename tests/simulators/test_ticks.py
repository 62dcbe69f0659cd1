"""The instants of the fast coupling."""

import pytest

from gridloop.simulators.ticks import Ticks

US = 1e-6


def run(ticks: Ticks, until: int) -> list[int]:
    """All ticks up to `until`, from 0."""
    times = [0]
    while (following := ticks.after(times[-1])) <= until:
        times.append(following)
    return times


def test_without_events_there_is_the_macro_grid() -> None:
    assert run(Ticks(5, (), US), 20_000) == [0, 5_000, 10_000, 15_000, 20_000]


def test_event_off_the_grid_gets_a_tick_and_the_grid_stays() -> None:
    assert run(Ticks(5, (0.0062,), US), 15_000) == [0, 5_000, 6_200, 10_000, 15_000]


@pytest.mark.parametrize("t_s", [0.0, 0.005, 0.010])
def test_event_on_the_grid_adds_nothing(t_s: float) -> None:
    assert run(Ticks(5, (t_s,), US), 10_000) == [0, 5_000, 10_000]


def test_events_come_in_any_order_and_at_the_same_time() -> None:
    ticks = Ticks(5, (0.0083, 0.0001, 0.0083, 0.0002), US)
    assert run(ticks, 10_000) == [0, 100, 200, 5_000, 8_300, 10_000]


def test_event_an_instant_before_the_grid_is_not_merged_with_it() -> None:
    assert run(Ticks(5, (0.004999,), US), 10_000) == [0, 4_999, 5_000, 10_000]


@pytest.mark.parametrize(
    ("step_ms", "step"), [(5, 5000), (2.5, 2500), (0.001, 1), (16.667, 16_667), (0.1, 100), (1000, 1_000_000)]
)
def test_step_in_units_of_time(step_ms: float, step: int) -> None:
    # 0.1 ms is no binary number: the nearest whole unit is meant
    ticks = Ticks(step_ms, (), US)
    assert ticks.step == step
    assert ticks.after(0) == step


@pytest.mark.parametrize(
    ("step_ms", "message"),
    [
        (0, "step_ms = 0 must be a multiple of 0.001 ms"),
        (-5, "step_ms = -5 must be a multiple of 0.001 ms"),
        (0.0004, "step_ms = 0.0004 must be a multiple of 0.001 ms"),
        (2.5005, "step_ms = 2.5005 must be a multiple of 0.001 ms"),
    ],
)
def test_step_that_is_no_multiple_of_the_resolution_is_refused(step_ms: float, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Ticks(step_ms, (), US)
    assert str(error.value) == message


def test_coarser_resolution() -> None:
    assert Ticks(5, (), 1e-3).step == 5
    with pytest.raises(ValueError, match="multiple of 1 ms"):
        Ticks(2.5, (), 1e-3)


def test_answer_does_not_depend_on_what_was_asked_before() -> None:
    ticks = Ticks(5, (0.0062, 0.0113), US)
    assert [ticks.after(t) for t in (12_000, 6_200, 0, 6_199, 5_000, 11_299)] == [
        15_000, 10_000, 5_000, 6_200, 6_200, 11_300,
    ]  # fmt: skip
