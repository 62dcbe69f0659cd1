"""What lies between the adapter and a device: nothing, or a simulated link in either direction.

Links are those of the communication simulator. The adapter is at the grid's end: what the device is told goes out as a
stamped message and reaches it when it has arrived; what the device shows comes back in the same way. Until the first
message has arrived the lines are full of what was so at the start.
"""

import math
from collections import deque
from dataclasses import replace
from typing import Any, NamedTuple

from gridloop.hil.policy import Snapshot

Message = list[Any]  # [stamp in mosaik's time, payload], as the links carry it
TOLD, SHOWN = "told[1]", "shown[1]"  # messages on their way to the device, and back
HEARD, SEEN = "heard[1]", "seen[1]"  # those that have arrived
KEPT = 4000  # steps of which it is known how old was what the device had been told


class Report(NamedTuple):
    """What a device showed, on its way back."""

    seen: Snapshot
    t_s: float  # when it was sent
    loop_s: float  # time since what it follows from was told to the device
    lag_s: float  # how old was then what it had been told


class Way:
    """The way of one unit.

    Args:
        over_links: whether there are links.

    Attributes:
        age_s: how long ago was measured what the newest values follow from: to the device, in it, and back [s].
        sent: the newest messages, by the attribute of the adapter that shows them.
    """

    def __init__(self, over_links: bool) -> None:
        self._over_links = over_links
        self.age_s = math.nan
        self.sent: dict[str, Message | None] = {TOLD: None, SHOWN: None}
        self._first_told: dict[str, float] | None = None
        self._first_report: Report | None = None
        self._lags: deque[tuple[float, float]] = deque(maxlen=KEPT if over_links else 1)
        self._mark: tuple[Any, ...] = ()
        self._first_s = math.inf

    def there(self, time: int, t_s: float, told: dict[str, float], arrived: Message | None) -> dict[str, float]:
        """Send what the device is told; what it knows at `t_s`."""
        if not self._over_links:
            return told
        self.sent[TOLD] = [time, told]
        self._first_told = self._first_told or told
        known = self._first_told if arrived is None else arrived[1]
        self._lags.append((t_s, t_s - known["t[s]"]))
        return {**known, "t[s]": t_s}

    def back(self, time: int, t_s: float, shows: Snapshot, arrived: Message | None) -> Snapshot:
        """Send what the device shows now; what has come of it at `t_s`, with its age there."""
        mark = (shows.sequence, shows.quality, shows.cause)
        # what was told before the first step was so at the start: it is no older than that
        self._first_s = min(self._first_s, t_s)
        loop_s = min(shows.loop_s, max(t_s - self._first_s, shows.age_s))
        report = Report(shows, t_s, loop_s, self._lag_s(t_s - loop_s))
        if self._over_links:
            if mark != self._mark:  # the same once more is no message
                self._mark, self.sent[SHOWN] = mark, [time, report]
            self._first_report = self._first_report or report
            report = self._first_report if arrived is None else arrived[1]
        late_s = t_s - report.t_s
        self.age_s = report.loop_s + report.lag_s + late_s
        return replace(report.seen, age_s=report.seen.age_s + late_s) if late_s else report.seen

    def _lag_s(self, t_s: float) -> float:
        """How old was at `t_s` what the device had been told; of what is not remembered the oldest."""
        for at_s, lag_s in reversed(self._lags):
            if at_s <= t_s + 1e-9:
                return lag_s
        return self._lags[0][1] if self._lags else 0.0
