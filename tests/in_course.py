"""What a test does in the course of a run, at simulated times."""

from collections.abc import Callable
from typing import Any

CHANGES = ("swap", "device_lost", "device_back")


def at(*turns: tuple[float, Callable[[], object]]) -> Callable[[Any], None]:
    """A `watch` for `run` that does each once its time [s] has come."""
    waiting = list(turns)

    def watch(progress: Any) -> None:
        while waiting and progress.t_s >= waiting[0][0]:
            waiting.pop(0)[1]()

    return watch


def was_lost_and_drives_again(result: Any, unit: str) -> bool:
    """Whether a device drove, was lost and drives again; on a busy machine it may have been lost more than once."""
    kinds = [event.kind for event in result.events if event.target == unit and event.kind in CHANGES]
    return kinds[:2] == ["swap", "device_lost"] and kinds[-1] == "device_back" and result.status == "degraded"
