"""What an agent knows of its neighbours: the newest message of each and the own value that it is compared with.

Matched handling compares a neighbour's value with the own one at the same time stamp: averages are kept, and there
is a delay beyond which the agents are unstable. Neighbour-only handling compares it with the own present value: any
delay is stood by a single consensus, but averages are biased and everything is slower.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

Handling = Literal["matched", "neighbour_only"]
HANDLINGS = ("matched", "neighbour_only")
HISTORY_US = 60_000_000  # a message that is older cannot be matched any more

Value = TypeVar("Value")


class Pair(NamedTuple, Generic[Value]):
    """Two values to compare, the neighbour's as of `stamp_us`."""

    own: Value
    theirs: Value
    stamp_us: int


class Exchange(Generic[Value]):
    """The inbox and the history of one agent.

    Args:
        handling: which own value a neighbour's is compared with.
        max_age_us: a message that is older counts no more; None: the last one counts for ever.
    """

    def __init__(self, handling: Handling = "matched", max_age_us: int | None = None) -> None:
        if handling not in HANDLINGS:
            raise ValueError(f"delay_handling = {handling!r}: there are {', '.join(HANDLINGS)}")
        self._matched, self._max_age_us = handling == "matched", max_age_us
        self._times: list[int] = []
        self._values: list[Value] = []
        self._newest: dict[str, Pair[Value]] = {}  # by name: sums do not depend on who was heard first

    def remember(self, t_us: int, own: Value) -> None:
        """The own value from `t_us` on."""
        if not self._matched:
            self._times, self._values = [t_us], [own]
            return
        self._times.append(t_us)
        self._values.append(own)
        if self._times[0] > t_us - HISTORY_US:
            return
        old = bisect_right(self._times, t_us - HISTORY_US) - 1
        if old > len(self._times) // 2:
            del self._times[:old], self._values[:old]

    def receive(self, sender: str, stamp_us: int, theirs: Value) -> None:
        """Take a message; one that is older than what the sender is known by, or than the history, is left aside."""
        known = self._newest.get(sender)
        if known is not None and stamp_us < known.stamp_us:
            return
        place = bisect_right(self._times, stamp_us) - 1 if self._matched else len(self._times) - 1
        if place >= 0:
            self._newest[sender] = Pair(self._values[place], theirs, stamp_us)
            if known is None:
                self._newest = dict(sorted(self._newest.items()))

    def pairs(self, t_us: int) -> dict[str, Pair[Value]]:
        """Every neighbour that counts at `t_us`, by name."""
        heard = self._newest.copy()
        if self._max_age_us is not None:
            oldest = t_us - self._max_age_us
            heard = {sender: pair for sender, pair in heard.items() if pair.stamp_us >= oldest}
        if self._matched:
            return heard
        return {sender: pair._replace(own=self._values[-1]) for sender, pair in heard.items()}


def message(sender: str, stamp: int, value: Sequence[Any]) -> list[Any]:
    """A message as it travels: lists survive the way to another process."""
    return [stamp, [sender, list(value)]]
