"""Forecasts of a series of means over slots: ridge regression on lags and the calendar, refitted every day.

Beside each one stands the seasonal naive forecast (the value a day before) and persistence (the last known value):
a forecast that does not beat them is worth nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gridloop.simulators.market.slots import DAY, Slots, is_weekend

Array = npt.NDArray[np.floating[Any]]
NEAR = (0, 1, 2, 3)  # lags from the last known value
SEASON = (DAY - 1, DAY, DAY + 1, 2 * DAY, 7 * DAY)  # lags from the slot that is forecast
HARMONICS = (1, 2)


@dataclass
class DailyRidge:
    """Ridge regression on lags, two daily harmonics and the weekend; standardised; never below zero.

    Args:
        horizon: slots from the last known value to the one that is forecast, >= 1.
        train_days: days that a fit looks back.
        alpha: weight of the penalty.
        first_day: day of the series' first slot, counted from 1970-01-01; None leaves the weekend out.

    Source: scikit-learn's Ridge behind its StandardScaler.
    """

    horizon: int = 1
    train_days: int = 56
    alpha: float = 1.0
    first_day: int | None = None
    _fitted_on: int = field(default=-1, init=False)
    _weights: Array = field(default_factory=lambda: np.zeros(0), init=False)
    _offset: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon = {self.horizon} must be >= 1 slot")

    @property
    def lags(self) -> tuple[int, ...]:
        """Distances from the forecast slot to the values that it is made of, all known by then."""
        near = [self.horizon + lag for lag in NEAR]
        return tuple(dict.fromkeys([*near, *(lag for lag in SEASON if lag >= self.horizon)]))

    @property
    def least_history(self) -> int:
        """Slots that must lie before the first one that is forecast: the longest lag and a day to learn from."""
        return max(self.lags) + DAY

    def forecast(self, series: Array, slots: Slots, more: Array | None = None) -> Array:
        """Forecasts for `slots`, each from what was known `horizon` slots before; fitted once for each day.

        Args:
            series: what is known, from slot 0 on (m,); nothing later than a slot's horizon is looked at.
            slots: increasing slots to forecast (k,).
            more: one more feature by slot, e.g. the clear sky's power; known in advance.

        Raises:
            ValueError: the series is too short for the lags.
        """
        slots = np.asarray(slots)
        given = np.empty(slots.size)
        for day in np.unique(slots // DAY):
            these = slots // DAY == day
            self._fit(series, int(day) * DAY, more)
            given[these] = self._features(series, slots[these], more) @ self._weights + self._offset
        return np.maximum(given, 0.0)

    def _fit(self, series: Array, now: int, more: Array | None) -> None:
        """Learn from the slots that were over at `now`, less the horizon."""
        last = now - self.horizon + 1
        first = max(*self.lags, last - self.train_days * DAY)
        if last - first < DAY:
            raise ValueError(
                f"a forecast {self.horizon} slots ahead needs {self.least_history + self.horizon} slots before it; "
                f"there are {now}"
            )
        if self._fitted_on == now:
            return
        ridge, standard_scaler = _scikit_learn()

        known = np.arange(first, last)
        scaler, regression = standard_scaler(), ridge(alpha=self.alpha)
        regression.fit(scaler.fit_transform(self._features(series, known, more)), series[known])
        self._weights = regression.coef_ / scaler.scale_
        self._offset = float(regression.intercept_ - scaler.mean_ @ self._weights)
        self._fitted_on = now

    def _features(self, series: Array, slots: Slots, more: Array | None) -> Array:
        angle = 2 * np.pi * (slots % DAY) / DAY
        columns = [series[slots - lag] for lag in self.lags]
        columns += [wave(order * angle) for order in HARMONICS for wave in (np.sin, np.cos)]
        if self.first_day is not None:
            columns.append(is_weekend(slots, self.first_day).astype(float))
        if more is not None:
            columns.append(more[slots])
        return np.stack(columns, axis=1)


def _scikit_learn() -> tuple[Any, Any]:
    try:
        from sklearn.linear_model import Ridge
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ValueError("ridge needs scikit-learn; install the extra: pip install 'gridloop[forecast]'") from error
    return Ridge, StandardScaler


def persistence(series: Array, slots: Slots, horizon: int = 1) -> Array:
    """The last value that was known."""
    return series[np.asarray(slots) - horizon]


def seasonal_naive(series: Array, slots: Slots, days: int = 1) -> Array:
    """The value of the same slot so many days before."""
    return series[np.asarray(slots) - days * DAY]


def normalised_error(forecast: Array, actual: Array) -> float:
    """nMAE: mean absolute error over the mean absolute value [1]; nan where nothing happened."""
    size = float(np.mean(np.abs(actual)))
    return float(np.mean(np.abs(forecast - actual)) / size) if size > 0 else float("nan")


def compared(
    forecast: Array, series: Array, slots: Slots, horizon: int, days: Sequence[int] = (1, 7)
) -> dict[str, float]:
    """nMAE of a forecast and of what it has to beat, by name."""
    actual = series[np.asarray(slots)]
    known = [day for day in days if day * DAY >= horizon]
    return {
        "ridge": normalised_error(forecast, actual),
        "persistence": normalised_error(persistence(series, slots, horizon), actual),
        **{f"naive_{day}d": normalised_error(seasonal_naive(series, slots, day), actual) for day in known},
    }
