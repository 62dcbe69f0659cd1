"""An event loop whose clock stands still while anything happens and skips to the next timer when nothing does.

Seconds of time-outs pass in milliseconds, and deadlines are exact. Sockets are real ones within the process: before
it skips, the loop waits `GRACE_S` for bytes that are on their way.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

GRACE_S = 0.001


class _SkippingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(10.0)
        events = super().select(min(timeout, GRACE_S))
        if not events and timeout > 0:
            self.now_s += timeout
        return events


class SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now_s


def run(body: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(body)
