"""Margins of the isochronous speed loop against a control library's figures and by hand."""

import numpy as np
import pytest
from scipy.optimize import brentq

from gridloop.simulators.models.speed_loop import SpeedLoop, gain_margin, response

DEGOV = {"gain": 40, "t1_s": 0.01, "t2_s": 0.02, "t3_s": 0.2, "t4_s": 0.25, "t5_s": 0.009, "t6_s": 0.0384,
         "dead_time_s": 0.024, "h_s": 1.07}  # fmt: skip


def loop(**given: float) -> SpeedLoop:
    return SpeedLoop(**{name: np.array([value], float) for name, value in (DEGOV | given).items()})


def one(given: SpeedLoop, omega: float) -> complex:
    return complex(response(given, np.array([omega]))[0, 0])


def test_crossover_and_phase_margin():
    crossover = brentq(lambda omega: abs(one(loop(), omega)) - 1, 5, 20)
    assert crossover == pytest.approx(11.543, abs=5e-4)
    assert 180 + np.degrees(np.angle(one(loop(), crossover))) == pytest.approx(84.99, abs=5e-3)


def test_gain_margin():
    assert gain_margin(loop()) == pytest.approx([1.64696], abs=1e-5)
    at = brentq(lambda omega: one(loop(), omega).imag, 35, 50)
    assert at == pytest.approx(41.455, abs=2e-3)  # the control library's dead time is an approximation
    assert 1 / abs(one(loop(), at)) == pytest.approx(1.647, abs=5e-4)


def test_dead_time_that_is_tolerated():
    # phase margin over crossover: 84.99 degrees / 11.543 rad/s = 0.1285 s on top of 0.024 s
    largest = brentq(lambda dead_s: gain_margin(loop(dead_time_s=dead_s))[0] - 1, 0.05, 0.3, xtol=1e-6)
    assert largest == pytest.approx(0.1525, abs=5e-5)


def test_gain_margin_by_hand():
    # K (1 + T4 s)/(2H s^2 (1 + T s)^2) crosses -180 degrees where atan(T4 w) = 2 atan(T w): with T4 = 10 T at
    # tan(2a) = 2a'/(1 - a'^2) = 10 a', a' = T w: 1 - a'^2 = 0.2, a' = sqrt(0.8)
    t, h = 0.1, 2.0
    given = loop(gain=3, t1_s=1e-9, t2_s=1e-9, t3_s=0, t4_s=10 * t, t5_s=t, t6_s=t, dead_time_s=0, h_s=h)
    w = np.sqrt(0.8) / t
    size = 3 * np.hypot(1, 10 * t * w) / (2 * h * w**2 * (1 + (t * w) ** 2))
    assert gain_margin(given) == pytest.approx([1 / size], rel=1e-4)


def test_loop_without_lead_is_unstable_at_every_gain():
    assert gain_margin(loop(t3_s=0, t4_s=0.01, gain=1e-6)).tolist() == [0.0]


def test_rows_are_independent():
    both = SpeedLoop(**{name: np.array([value, value], float) for name, value in DEGOV.items()})
    both = both._replace(h_s=np.array([1.07, 0.5]))
    single = [gain_margin(loop())[0], gain_margin(loop(h_s=0.5))[0]]
    assert gain_margin(both).tolist() == single
    assert single[1] == pytest.approx(single[0] * 0.5 / 1.07, rel=1e-5)
