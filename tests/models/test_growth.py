"""The growth rate that is read off recorded signals."""

import numpy as np
import pytest

from gridloop.simulators.models.growth import growth

T = np.arange(0, 8.0, 0.005)


@pytest.mark.parametrize("rate", [-0.5, -0.02, 0.0, 0.02, 0.5])
@pytest.mark.parametrize("f_hz", [0.0, 1.3, 1.9, 7.0])
def test_rate_of_an_exponential_swing(rate: float, f_hz: float) -> None:
    # a constant of 60 and a mode of 3 1/s that has died away do not count
    wave = np.cos(2 * np.pi * f_hz * T) if f_hz else np.ones_like(T)
    x = 60 + 1e-3 * np.exp(rate * T) * wave + 0.05 * np.exp(-3 * T)
    if rate == 0.0 and f_hz == 0.0:
        return  # a constant: below
    # what is left of the fast mode after 4 s, 3e-7, is 1e-3 of the swing
    assert growth(T, x).rate_per_s == pytest.approx(rate, abs=0.01 + 0.06 * abs(rate))


def test_what_rests_or_is_negligible_is_stable() -> None:
    still = growth(T, np.full((len(T), 3), 60.0))
    assert (still.rate_per_s, still.swing) == (-np.inf, 0.0)
    assert still.is_stable(0.0)
    grows = growth(T, 60 + 1e-6 * np.exp(0.3 * T) * np.sin(9 * T))
    assert grows.rate_per_s > 0.25
    assert grows.is_stable(1e-3)
    assert not grows.is_stable(1e-6)


def test_too_few_samples_or_no_numbers_say_nothing() -> None:
    assert np.isnan(growth(T[:3], T[:3]).rate_per_s)
    assert np.isnan(growth(T, np.full_like(T, np.nan)).rate_per_s)


def test_columns_count_together() -> None:
    quiet, loud = np.exp(-0.5 * T) * np.sin(8 * T), np.exp(0.2 * T) * np.sin(11 * T)
    assert growth(T, np.stack((quiet, loud), axis=1)).rate_per_s == pytest.approx(0.2, abs=0.02)
