"""Real time: a simulation that waits for the wall clock, and says how late it was.

mosaik's own `rt_factor` warns of every microsecond or fails at once. Here every step has an absolute deadline, so that
waiting errors do not add up: sleep until shortly before, then spin. A step that begins late by more than the tolerance
is an overrun, of which the policy makes

    warn   a log entry; the steps that follow hurry until the clock is reached again
    slip   the clock is set back by the lateness: simulated time stays behind, steps keep their distance
    stop   `DeadlineMissed`
"""

import logging
import math
import time
from array import array
from collections.abc import Callable
from typing import Any, Literal

log = logging.getLogger(__name__)

Policy = Literal["warn", "slip", "stop"]
POLICIES = ("warn", "slip", "stop")
SPIN_S = 0.0015  # a sleep ends late by less, most times
ALONE_S = 0.0001  # even a sleep of 0 s takes half of this
LONGEST_SLEEP_S = 0.1  # who wants to stop a run does not wait for longer


class DeadlineMissed(RuntimeError):
    """A step began too late."""


class Pacer:
    """Lets simulated time go at `speed` times the wall clock.

    Args:
        speed: seconds of simulated time a second, > 0.
        policy: what an overrun leads to.
        tolerance_s: how late a step may begin.
        clock: monotonic time [s].
        sleep: waits for so many seconds; 0: lets other threads work.
        stopped: asked while waiting; True ends the wait.

    Attributes:
        overruns: steps that began too late.
        slipped_s: by how much the clock was set back.
    """

    def __init__(
        self, speed: float = 1.0, *, policy: Policy = "warn", tolerance_s: float = 0.001,
        clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        if not 0 < speed < math.inf:
            raise ValueError(f"pace = {speed:g} must be > 0: simulated seconds a second; without it a run is not paced")
        if policy not in POLICIES:
            raise ValueError(f"policy = {policy!r}: there are {', '.join(POLICIES)}")
        if not tolerance_s >= 0:
            raise ValueError(f"tolerance_s = {tolerance_s:g} must be >= 0")
        self._speed, self._policy, self._tolerance_s = speed, policy, tolerance_s
        self._clock, self._sleep, self._stopped = clock, sleep, stopped
        self._began: tuple[float, float] | None = None  # wall clock and simulated time of the first step
        self._last_t_s = -math.inf
        self._late_s = array("d")
        self._first_s = 0.0  # wall clock of the first step
        self._waited_s = self._wall_s = self.slipped_s = 0.0
        self.overruns = 0

    @property
    def acted(self) -> bool:
        """Whether the policy changed the run."""
        return self.overruns > 0 and self._policy != "warn"

    def paced(self, step: Callable[..., Any], resolution_s: float) -> Callable[..., Any]:
        """A simulator's `step(time, ...)` that begins when its time has come; one that steps at every macro step."""

        def call(time: int, *args: Any) -> Any:
            self.wait(time * resolution_s)
            return step(time, *args)

        return call

    def wait(self, t_s: float) -> None:
        """Wait until the simulated time `t_s` has come. The first call starts the clock.

        A program's first step takes longer than any other: what the second call is late by is given to the clock.

        Raises:
            DeadlineMissed: the policy is stop.
        """
        if t_s <= self._last_t_s:  # several simulators may ask
            return
        self._last_t_s = t_s
        now = self._clock()
        if self._began is None:
            self._first_s, self._began = now, (now, t_s)
        origin, first_t_s = self._began
        deadline = origin + (t_s - first_t_s) / self._speed
        late = now - deadline
        if len(self._late_s) == 1 and late > self._tolerance_s:
            self._began, late = (origin + late, first_t_s), 0.0
        why = "the step before took longer than its time"
        if late < 0:
            self._until(deadline)
            waiting, now = now, self._clock()
            self._waited_s += now - waiting
            late, why = now - deadline, "this computer woke up late"
        self._late_s.append(late)
        self._wall_s = now - self._first_s
        if late > self._tolerance_s:
            self._overrun(t_s, late, why)

    def _until(self, deadline: float) -> None:
        """Sleep in pieces, then spin; but for the last moment it lets the threads work that talk to devices."""
        while (left := deadline - self._clock()) > 0:
            if self._stopped():
                return
            if left > SPIN_S:
                self._sleep(min(left - SPIN_S, LONGEST_SLEEP_S))
            elif left > ALONE_S:
                self._sleep(0.0)

    def _overrun(self, t_s: float, late_s: float, why: str) -> None:
        self.overruns += 1
        words = f"t = {t_s:.6g} s began {1e3 * late_s:.1f} ms late, {why}"
        if self._policy == "stop":
            raise DeadlineMissed(f"{words}; use longer steps, a slower pace, or the policy warn or slip")
        if self.overruns == 1:
            log.warning("%s; further ones are counted", words)
        else:
            log.debug("%s", words)
        if self._policy == "slip" and self._began is not None:
            origin, first_t_s = self._began
            self._began = (origin + late_s, first_t_s)
            self.slipped_s += late_s

    def statistics(self) -> dict[str, float]:
        """How real the real time was: lateness over all steps, overruns, and the share of time spent waiting."""
        late_s = sorted(self._late_s)
        count = len(late_s)
        if not count:
            return {"steps": 0.0, "overruns": float(self.overruns)}
        return {
            "steps": float(count),
            "late_p50_us": 1e6 * late_s[(count - 1) // 2],
            "late_p99_us": 1e6 * late_s[math.ceil(0.99 * count) - 1],
            "late_most_us": 1e6 * late_s[-1],
            "overruns": float(self.overruns),
            "slipped_s": self.slipped_s,
            "waited_s": self._waited_s,
            "waited_share": self._waited_s / self._wall_s if self._wall_s > 0 else 0.0,
        }
