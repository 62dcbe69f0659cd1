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
