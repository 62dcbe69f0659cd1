"""Forecasts of the generated neighbourhood, and what they have to beat."""

import numpy as np
import pytest

from gridloop.simulators.market.forecast import DailyRidge, compared, normalised_error
from gridloop.simulators.market.households import generate
from gridloop.simulators.market.slots import DAY, first_day
from neighbourhood_case import CHECKSUM, SLOTS, neighbourhood

FIRST = first_day(neighbourhood().start)


def test_the_generated_set_is_the_same_everywhere():
    assert neighbourhood().checksum.startswith(CHECKSUM)
    assert generate(2, days=8).checksum != generate(3, days=8).checksum


def test_generated_homes_and_arrays_look_like_some():
    of = neighbourhood()
    assert of.load_kw.shape == (84 * DAY, 13)
    assert (of.load_kw > 0).all()
    assert 3000 < of.load_kw.mean(0).min() * 8760 < of.load_kw.mean(0).max() * 8760 < 8000  # kWh a year
    night = np.arange(84 * DAY) % DAY < 12  # until 3 h
    assert not of.pv_kw[night].any()
    assert (of.pv_kw <= 1.1 * of.clear_sky_kw + 0.001).all()


@pytest.mark.parametrize("what", ["loads", "pv"])
def test_a_quarter_of_an_hour_ahead_beats_persistence(what):
    of = neighbourhood()
    series, sky = (of.load_kw.sum(1), None) if what == "loads" else (of.pv_kw.sum(1), of.clear_sky_kw.sum(1))
    given = DailyRidge(first_day=FIRST).forecast(series, SLOTS, sky)
    found = compared(given, series, SLOTS, 1)
    assert found["ridge"] <= 0.95 * found["persistence"]  # F1g


def test_a_day_ahead_beats_the_seasonal_naive_forecast():
    series = neighbourhood().load_kw.sum(1)
    given = DailyRidge(DAY, first_day=FIRST).forecast(series, SLOTS)
    found = compared(given, series, SLOTS, DAY)
    assert found["ridge"] <= 0.97 * min(found["naive_1d"], found["naive_7d"])  # F1g


@pytest.mark.parametrize("horizon", [1, 4, DAY])
def test_nothing_is_used_that_is_not_known_yet(horizon):
    series = neighbourhood().load_kw[:, 0].copy()
    slot = np.array([70 * DAY + 5])
    expected = DailyRidge(horizon, first_day=FIRST).forecast(series, slot)
    series[slot[0] - horizon + 1 :] = np.nan
    series[70 * DAY : slot[0] - horizon + 1] += 0  # what is left of the day is known
    assert DailyRidge(horizon, first_day=FIRST).forecast(series, slot) == expected


def test_forecasts_do_not_depend_on_how_they_are_asked_for():
    series = neighbourhood().pv_kw[:, 0]
    slots = SLOTS[: 2 * DAY]
    at_once = DailyRidge(first_day=FIRST).forecast(series, slots)
    one = DailyRidge(first_day=FIRST)
    assert np.array([one.forecast(series[:slot], np.array([slot]))[0] for slot in slots]) == pytest.approx(
        at_once, abs=1e-9
    )
    assert (at_once >= 0).all()


def test_a_short_history_is_told():
    with pytest.raises(ValueError, match=r"a forecast 1 slots ahead needs 769 slots before it; there are 672"):
        DailyRidge().forecast(np.ones(7 * DAY), np.array([7 * DAY]))
    with pytest.raises(ValueError, match="horizon = 0 must be >= 1"):
        DailyRidge(0)


def test_normalised_error():
    assert normalised_error(np.array([1.0, 3.0]), np.array([2.0, 2.0])) == 0.5
    assert np.isnan(normalised_error(np.zeros(2), np.zeros(2)))
