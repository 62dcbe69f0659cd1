"""When a device's age is worth a word: its mean over a second, beyond half of the critical delay, once."""

import pytest

from gridloop.hil.lateness import Lateness


def words(ages_ms: list[float], step_s: float = 0.1, critical_ms: float = 100.0) -> list[int]:
    """The steps at which something was said."""
    late = Lateness(critical_ms)
    return [step for step, age_ms in enumerate(ages_ms) if late.seen(age_ms, step_s if step else 0.0)]


def test_a_device_that_stays_late_is_told_once_after_a_second() -> None:
    assert words([60.0] * 40) == [10]


def test_single_late_answers_do_not_count_the_first_neither() -> None:
    assert words([750.0, *[5.0] * 60], step_s=0.2) == [5]  # 750 e^-1 = 276 ms is left: it was answered once in a second
    assert words([110.0, *[5.0] * 60]) == []
    assert words([5.0, 300.0, *[5.0] * 60]) == []


@pytest.mark.parametrize("critical_ms", [float("inf"), 121.0])
def test_within_half_of_the_critical_delay_nothing_is_said(critical_ms: float) -> None:
    assert words([60.0] * 40, critical_ms=critical_ms) == []
