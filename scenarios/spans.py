"""Integrals and changes of recorded quantities over a stretch of a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]

SAME_TIME_S = 1e-9
HOUR_S = 3600.0


class Span:
    """The rows of a stretch, over which integrals are taken.

    The trapezoidal rule holds between rows, except across an event, where the value before it holds up to the event,
    because the row at an event's time is the state just after it.

    Args:
        t_s: times of the rows, at least one.
        event_s: times of events.
        end_s: end of the stretch where that lies after the last row, whose values hold up to it.
    """

    def __init__(self, t_s: Real, event_s: Real, end_s: float | None = None) -> None:
        self.start_s = t_s[0]
        self.dt = np.diff(t_s)
        self.jump = np.isin(np.round(t_s[1:] * 1e6), np.round(event_s * 1e6))
        self.tail = max(0.0, end_s - t_s[-1]) if end_s is not None else 0.0

    def integral(self, values: Real) -> float:
        """Integral over time [s], of values (r,)."""
        right = np.where(self.jump, values[:-1], values[1:])
        return float(((values[:-1] + right) / 2) @ self.dt + values[-1] * self.tail)

    @property
    def length_s(self) -> float:
        """Length of the stretch."""
        return float(self.dt.sum() + self.tail)

    def settles(self, t_s: Real, inside: NDArray[np.bool_]) -> float:
        """Time from the start of the stretch after which `inside` stays true; inf if it does not."""
        outside = np.flatnonzero(~inside)
        if not len(outside):
            return 0.0
        return float(t_s[outside[-1] + 1] - self.start_s) if outside[-1] + 1 < len(t_s) else np.inf


@dataclass(frozen=True)
class Stretch:
    """From `start_s` to `end_s` of a run with events at `event_s`.

    At an event stretches meet; the row at its time is the state just after it and belongs to the later one. Only of
    the last stretch the row at its end is its own.
    """

    start_s: float
    end_s: float
    event_s: Real
    is_last: bool = True

    @property
    def length_s(self) -> float:
        """Length."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Trace:
    """A recorded quantity: ascending times (r,) [s] and values (r,), r >= 1."""

    t_s: Real
    values: Real

    def rows(self, stretch: Stretch) -> "Trace":
        """The rows from the start of a stretch up to, with, its end; the last row before it if there is none."""
        first = int(np.searchsorted(self.t_s, stretch.start_s - SAME_TIME_S))
        last = int(np.searchsorted(self.t_s, stretch.end_s + SAME_TIME_S))
        part = slice(min(first, max(last - 1, 0)), max(last, 1))
        return Trace(self.t_s[part], self.values[part])

    def states(self, stretch: Stretch) -> "Trace":
        """The same without the row that belongs to the next stretch."""
        rows = self.rows(stretch)
        own = len(rows.t_s) - int(not stretch.is_last and rows.t_s[-1] > stretch.end_s - SAME_TIME_S)
        return Trace(rows.t_s[: max(own, 1)], rows.values[: max(own, 1)])

    def integral(self, stretch: Stretch) -> float:
        """Integral over the time of a stretch [s]."""
        rows = self.rows(stretch)
        return Span(rows.t_s, stretch.event_s, stretch.end_s).integral(rows.values)

    def energy_mwh(self, stretch: Stretch) -> float:
        """Energy of a power [MW] over a stretch."""
        return self.integral(stretch) / HOUR_S

    def at(self, t_s: float) -> float:
        """Value of a continuous quantity; before the first row the first, after the last the last."""
        return float(np.interp(t_s, self.t_s, self.values))

    def change(self, stretch: Stretch) -> float:
        """By how much a quantity that is counted since the start grew: events do not make it jump."""
        return self.at(stretch.end_s) - self.at(stretch.start_s)

    def moved(self, stretch: Stretch) -> float:
        """The same with every step counted as positive."""
        return float(np.abs(np.diff(self.edges(stretch).values)).sum())

    def edges(self, stretch: Stretch) -> "Trace":
        """The rows of a stretch of a continuous quantity, with its values at both ends where no row stands."""
        inside = (self.t_s > stretch.start_s + SAME_TIME_S) & (self.t_s < stretch.end_s - SAME_TIME_S)
        t_s = np.concatenate(([stretch.start_s], self.t_s[inside], [stretch.end_s]))
        return Trace(t_s, np.interp(t_s, self.t_s, self.values))
