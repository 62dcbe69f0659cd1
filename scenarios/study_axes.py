"""Axes of a study's picture: where values stand, and which of them are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gridloop.scenarios.study_table import text_of

WIDE = 30.0  # ratio of values from which an axis of positive values is logarithmic


@dataclass(frozen=True)
class Direction:
    """One direction of a plot: from `low` to `high` over `length` pixels from `start`; y grows downwards.

    `names` are the values of an axis that are no numbers: these stand at 0, 1, 2 ...
    """

    low: float
    high: float
    start: float
    length: float
    is_log: bool = False
    names: tuple[str, ...] = ()

    def place(self, value: float) -> float:
        """Pixel of a value."""
        low, high, here = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return self.start + self.length * (here - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Values that are written at the axis, and their texts."""
        if self.names:
            return list(enumerate(self.names))
        values = log_ticks(self.low, self.high) if self.is_log else even_ticks(self.low, self.high)
        return [(value, f"{value:.6g}") for value in values]


def along_x(values: Sequence[Any], is_log: bool, more: Sequence[float], start: float, length: float) -> Direction:
    """The axis of the swept values; `more` are numbers that it shows too."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        names = tuple(text_of(value) for value in values)
        return Direction(-0.5, len(names) - 0.5, start, length, names=names)
    numbers = [float(value) for value in (*values, *more) if not is_log or value > 0]
    low, high = min(numbers), max(numbers)
    if is_log:
        room = (high / low) ** 0.03 if high > low else 2.0
        return Direction(low / room, high * room, start, length, is_log=True)
    room = 0.03 * (high - low) or max(abs(high), 1.0) / 2
    return Direction(low - room, high + room, start, length)


def along_y(values: Sequence[float], start: float, length: float) -> Direction:
    """The axis of a metric's finite values."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low > 0 and high / low > WIDE:
        return Direction(low / 1.3, high * 1.3, start, length, is_log=True)
    if 0 < low < 0.5 * high:
        low = 0.0
    room = 0.06 * (high - low) or max(abs(high), 1.0) / 20
    return Direction(low if low == 0 else low - room, high + room, start, length)


def even_ticks(low: float, high: float, about: int = 7) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten; of many powers the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 5 else (1,)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if low <= value <= high] or even_ticks(low, high)
