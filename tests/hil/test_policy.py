"""Limits, ramps, watchdog, reversion timer and quality by hand; the time is a number here."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.hil.policy import FAULT, GOOD, STALE, Pulse, Reading, Reversion, SetPoints, Watchdog, judged

P = "P_set[MW]"


def test_a_set_point_stays_within_its_limits() -> None:
    points = SetPoints({P: (-0.1, 0.4)}, {}, longest_s=0.1)
    assert points.allowed({P: 0.5}, 0.0)[P].value == 0.4
    assert points.allowed({P: 0.5}, 0.0)[P].cause == "limit"
    assert points.allowed({P: -0.5}, 0.0)[P].value == -0.1
    assert points.allowed({P: 0.2}, 0.0)[P] == points.within(P, 0.2)
    assert points.within(P, 0.2).cause == ""


def test_a_ramp_starts_from_what_is_on_the_device() -> None:
    # 1 MW/s, a cycle of 50 ms: 0.05 MW each
    points = SetPoints({}, {P: 1.0}, longest_s=0.1)
    points.found(P, 0.0)
    points.allowed({P: 0.0}, 10.0)
    first = points.allowed({P: 0.12}, 10.05)[P]
    assert first.value == pytest.approx(0.05)
    assert first.cause == "ramp"
    points.found(P, first.value)
    assert points.allowed({P: 0.12}, 10.10)[P].value == pytest.approx(0.10)
    points.found(P, 0.10)
    assert points.allowed({P: 0.12}, 10.15)[P].value == 0.12
    points.found(P, 0.12)
    assert points.allowed({P: -1.0}, 10.20)[P].value == pytest.approx(0.07)


def test_a_pause_is_not_saved_up_for_a_jump() -> None:
    points = SetPoints({}, {P: 1.0}, longest_s=0.1)
    points.found(P, 0.0)
    points.allowed({P: 0.0}, 0.0)
    assert points.allowed({P: 5.0}, 60.0)[P].value == pytest.approx(0.1)


def test_a_clock_that_goes_back_moves_nothing() -> None:
    points = SetPoints({}, {P: 1.0}, longest_s=0.1)
    points.found(P, 0.3)
    points.allowed({P: 0.3}, 5.0)
    assert points.allowed({P: 1.0}, 4.0)[P].value == 0.3


def test_nan_is_never_written() -> None:
    assert SetPoints({P: (0, 1)}, {P: 1.0}, 0.1).allowed({P: math.nan}, 0.0) == {}


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=20),
    st.floats(min_value=0, max_value=1),
)
def test_whatever_is_wanted_limits_and_ramp_hold(wanted: list[float], period_s: float) -> None:
    points = SetPoints({P: (-0.5, 0.5)}, {P: 2.0}, longest_s=0.1)
    points.found(P, 0.0)
    points.allowed({}, 0.0)
    on_device, now_s = 0.0, 0.0
    for value in wanted:
        now_s += period_s
        for allowed in points.allowed({P: value}, now_s).values():
            assert -0.5 <= allowed.value <= 0.5
            assert abs(allowed.value - on_device) <= 2.0 * min(period_s, 0.1) + 1e-12
            on_device = allowed.value
            points.found(P, on_device)


def test_wrong_limits_are_named_together() -> None:
    with pytest.raises(ValueError, match=r"P_set.*lower limit 2 is above 1; Q_set.*ramp must be > 0"):
        SetPoints({P: (2, 1)}, {"Q_set[MVar]": 0.0}, 0.1)


def test_the_watchdog_sleeps_until_somebody_steered() -> None:
    watchdog = Watchdog(1.0)
    assert not watchdog.barks(1e9)
    watchdog.posted(10.0)
    assert not watchdog.barks(11.0)
    assert watchdog.barks(11.01)
    watchdog.posted(11.02)
    assert not watchdog.barks(11.5)


def test_the_reversion_timer_is_rewritten_at_half_its_time() -> None:
    timer = Reversion(10.0)
    assert timer.due(0.0)
    timer.written(0.0)
    assert not timer.due(4.9)
    assert timer.due(5.0)
    timer.written(5.0)
    timer.lost()
    assert timer.due(5.1)


def test_a_heartbeat_that_stands_still_is_frozen() -> None:
    pulse = Pulse(0.5)
    assert pulse.seen(7, 0.0) == "alive"
    assert pulse.seen(7, 0.5) == "alive"
    assert pulse.seen(7, 0.51) == "frozen"
    assert pulse.seen(8, 0.6) == "alive"
    assert pulse.seen(8, 0.9) == "alive"


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(500, 3, "restarted"), (65535, 0, "alive"), (65530, 4, "alive"), (1, 0, "alive"), (3, 500, "alive")],
)
def test_a_heartbeat_that_goes_back_is_a_restart(before: float, after: float, verdict: str) -> None:
    pulse = Pulse(0.5)
    pulse.seen(before, 0.0)
    assert pulse.seen(after, 0.1) == verdict


def test_values_are_good_until_they_are_too_old() -> None:
    reading = Reading({P: 0.1}, at_s=10.0, sequence=4)
    good = judged(reading, "timeout", 10.2, 0.2, [P])
    assert (good.quality, good.cause, good.sequence) == (GOOD, "", 4)
    assert good.age_s == pytest.approx(0.2)
    old = judged(reading, "timeout", 10.21, 0.2, [P])
    assert (old.quality, old.cause) == (STALE, "timeout")
    assert judged(reading, "", 10.3, 0.2, [P]).cause == "no answer for too long"


def test_before_the_first_answer_nothing_is_good() -> None:
    snapshot = judged(Reading(), "", 0.0, math.inf, [])
    assert snapshot.sequence == 0
    assert judged(Reading(), "", 0.0, 1.0, []).quality == STALE
    assert judged(Reading(), "", 0.0, 1.0, []).cause == "no answer yet"


def test_what_is_not_a_number_is_a_fault_where_it_is_needed() -> None:
    reading = Reading({P: math.nan, "T[degC]": math.nan}, at_s=0.0, sequence=1)
    needed = judged(reading, "", 0.0, 1.0, [P])
    assert (needed.quality, needed.cause) == (FAULT, f"no number for {P}")
    assert judged(reading, "", 0.0, 1.0, []).quality == GOOD
    assert judged(Reading({}, 0.0, 1), "", 0.0, 1.0, [P]).quality == FAULT


def test_a_fault_that_the_device_reports_outlasts_its_freshness() -> None:
    assert judged(Reading({P: 1.0}, 0.0, 1, fault="heartbeat stands still"), "", 0.0, 1.0, [P]).quality == FAULT
