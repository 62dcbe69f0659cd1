"""When the simulators of the fast coupling step: on the macro grid and at events that lie off it."""

from bisect import bisect_right
from collections.abc import Iterable


class Ticks:
    """The macro grid of one step size and the extra ticks between, in mosaik's integer time.

    Args:
        step_ms: macro step, a multiple of the time resolution.
        extra_s: times of events; those on the grid add nothing.
        time_resolution: seconds of one unit of time.

    Raises:
        ValueError: the step is no positive multiple of the time resolution.
    """

    def __init__(self, step_ms: float, extra_s: Iterable[float], time_resolution: float) -> None:
        self.step = round(step_ms * 1e-3 / time_resolution)
        if self.step < 1 or abs(self.step * time_resolution - step_ms * 1e-3) > 1e-3 * time_resolution:
            raise ValueError(f"step_ms = {step_ms:g} must be a multiple of {time_resolution * 1e3:g} ms")
        units = {round(t / time_resolution) for t in extra_s}
        self.extra = sorted(t for t in units if t % self.step)

    def after(self, time: int) -> int:
        """The next tick."""
        on_grid = time - time % self.step + self.step
        if self.extra:
            place = bisect_right(self.extra, time)
            if place < len(self.extra):
                return min(on_grid, self.extra[place])
        return on_grid


class Windows(Ticks):
    """Ticks of a grid within a window of each period only, both of its ends included.

    Args:
        step_ms: as of `Ticks`.
        window_ms: period, begin of the window in it, and its length: multiples of the step.
        time_resolution: seconds of one unit of time.

    Raises:
        ValueError: they are no multiples of the step, or the window does not fit into the period.
    """

    def __init__(self, step_ms: float, window_ms: tuple[float, float, float], time_resolution: float) -> None:
        super().__init__(step_ms, (), time_resolution)
        self.period, self.begin, self.length = (round(ms * 1e-3 / time_resolution) for ms in window_ms)
        if any(units % self.step for units in (self.period, self.begin, self.length)):
            raise ValueError(f"window_ms = {list(window_ms)} must be multiples of {step_ms:g} ms")
        if not 0 <= self.begin <= self.begin + self.length < self.period:
            raise ValueError(f"window_ms = {list(window_ms)}: the window must fit into the period")

    def after(self, time: int) -> int:
        """The next tick."""
        on_grid = time - time % self.step + self.step
        phase = on_grid % self.period
        if phase < self.begin:
            return on_grid - phase + self.begin
        return on_grid if phase <= self.begin + self.length else on_grid - phase + self.period + self.begin
