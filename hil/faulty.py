"""A device in this process that goes wrong on demand, as `Emulator` does behind a wire. Its clock is simulated time.

A request is a post and the answer to it. What is not answered leaves the last values where they are, and they grow
old; whoever asks decides when they are too old.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from gridloop.hil.faults import Fault, Kind, met
from gridloop.hil.policy import FAULT, Snapshot

FROZEN_S = 2.0  # after which a heartbeat that stands still is noticed
DEFECTS = (1, 2, 3, 4)  # exceptions that say that the device or its map is wrong
UNANSWERED = {
    "silent": "no answer", "drop": "it closed the connection", "wrong_unit": "another unit answered",
    "exception": "exception {code}",
}  # fmt: skip


class Whole(Protocol):
    """A device that never goes wrong, and answers at once."""

    def post(self, values: dict[str, float]) -> None:
        """Tell it; `t[s]` is the time."""

    def snapshot(self) -> Snapshot:
        """What it shows."""

    def safe(self) -> None:
        """Its safe state."""


class Faulty:
    """See the module.

    Args:
        made: makes the device, at the beginning and after each restart.
    """

    def __init__(self, made: Callable[[], Whole]) -> None:
        self._made, self._device = made, made()
        self._faults: list[Fault] = []
        self._t_s = self._back_s = 0.0
        self._is_gone = False
        self._told: dict[str, float] = {}
        self._coming: deque[tuple[float, float, Snapshot]] = deque()  # when it comes, when it was asked for, what
        self._asked_s, self._seen = 0.0, self._device.snapshot()
        self._frozen: tuple[float, Snapshot] | None = None  # since when, and what it shows
        self._cause = ""
        self._sequence = 0

    def fault(self, kind: Kind, **options: Any) -> None:
        """Let something go wrong from now on; the options are those of `Fault`."""
        new = Fault(kind, **options)
        if kind == "restart":
            self._is_gone, self._back_s = True, self._t_s + new.delay_s
            self._coming.clear()
        else:
            self._faults.append(new)

    def clear(self) -> None:
        """Let all be well again."""
        self._faults.clear()

    def post(self, values: dict[str, float]) -> None:
        """Move on to the time `t[s]`."""
        self._t_s = t_s = values["t[s]"]
        if self._is_gone:
            self._cause = "no answer"
            if t_s < self._back_s - 1e-9:
                return
            self._is_gone, self._device = False, self._made()
        faults = met(self._faults)
        self._told = {**self._told, "t[s]": t_s} if "frozen" in faults and self._told else values
        self._device.post(self._told)
        self._cause = self._trouble(faults)
        if not self._cause:
            late_s = max((faults[kind].delay_s for kind in ("late", "slow") if kind in faults), default=0.0)
            self._coming.append((t_s + late_s, t_s, self._shown(faults)))
        while self._coming and self._coming[0][0] <= t_s + 1e-9:
            _, self._asked_s, self._seen = self._coming.popleft()

    def _trouble(self, faults: dict[str, Fault]) -> str:
        """Why this request is not answered; '' if it is."""
        kind = next((kind for kind in UNANSWERED if kind in faults), "")
        return UNANSWERED[kind].format(code=faults[kind].code) if kind else ""

    def _shown(self, faults: dict[str, Fault]) -> Snapshot:
        shows = self._device.snapshot()
        if "frozen" in faults:
            since_s, first = self._frozen = self._frozen or (self._t_s, shows)
            shows = first
            if self._t_s - since_s >= FROZEN_S - 1e-9:
                shows = replace(first, quality=FAULT, cause=f"its heartbeat stands still for {FROZEN_S:g} s")
        else:
            self._frozen = None
        if "nan" in faults:
            shows = replace(shows, values=dict.fromkeys(shows.values, math.nan))
        self._sequence += 1
        return replace(shows, sequence=self._sequence)

    def snapshot(self) -> Snapshot:
        """What has come, with its age."""
        seen, cause = self._seen, self._cause
        defect = cause and any(fault.kind == "exception" and fault.code in DEFECTS for fault in self._faults)
        quality = FAULT if defect else seen.quality
        return replace(seen, quality=quality, cause=cause or seen.cause, age_s=self._t_s - self._asked_s)

    def cycle(self, timeout_s: float) -> Snapshot:
        """The same: it waits for nobody."""
        del timeout_s
        return self.snapshot()

    def safe(self) -> None:
        """Bring it to its safe state."""
        self._device.safe()
