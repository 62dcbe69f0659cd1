"""What the wrapper of secondary control expects of a physical agent; `gridloop.hil.agent_stand_in` is one."""

from collections.abc import Sequence
from typing import Protocol

STAND_IN_RECORDS = ("agent_active[1]", "agent_age[ms]", "agent_quality[1]")  # `StandIn.shown`


class StandIn(Protocol):
    """A physical agent that may decide in place of a simulated one, which goes on and follows what is applied."""

    lost_of: str
    shown: tuple[float, ...]

    def command(self, t_s: float, do: str) -> list[tuple[str, str]]:
        """Swap or unswap; what is to be logged."""

    def hear(self, stamp_s: float, sender: str, values: Sequence[float]) -> None:
        """Take a message."""

    def begin(self, t_s: float, seen: Sequence[float], own: tuple[float, ...]) -> None:
        """A tick, fields of Measured, and the correction as the simulated agent decides it."""

    def end(self, t_s: float) -> tuple[tuple[float, ...] | None, list[tuple[str, str]]]:
        """The correction, None if that of the simulated agent counts; and what is to be logged."""
