"""A pure dead time: what n signals were a fixed time ago, between steps of any length."""

from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.network import Real


class History(NamedTuple):
    """Samples of n signals since before the longest dead time."""

    at_s: Real  # (k,) ascending, relative to now, the last one 0
    value: Real  # (k, n)
    slope: Real  # (k, n) 1/s


class DeadTimes(NamedTuple):
    """Dead times (n,) of n signals, all > 0."""

    dead_s: Real
    longest_s: float
    shortest_s: float

    @property
    def differ(self) -> bool:
        """Whether the signals have different ones."""
        return self.longest_s != self.shortest_s


def dead_times(dead_s: Real) -> DeadTimes:
    """Dead times (n,)."""
    return DeadTimes(dead_s, float(dead_s.max(initial=0.0)), float(dead_s.min(initial=np.inf)))


def settled(value: Real, dead: DeadTimes) -> History:
    """Signals (n,) that have been constant."""
    return History(np.array([-dead.longest_s - 1.0, 0.0]), np.array([value, value]), np.zeros((2, len(value))))


def appended(history: History, at_s: float, value: Real, slope: Real) -> History:
    """With one more sample, `at_s` after now."""
    return History(
        np.append(history.at_s, at_s),
        np.concatenate((history.value, value[None])), np.concatenate((history.slope, slope[None])),
    )  # fmt: skip


def later(history: History, dt_s: float, dead: DeadTimes) -> History:
    """`dt_s` later, without samples that nothing asks for any more."""
    at = history.at_s - dt_s
    first = max(int(np.searchsorted(at, -dead.longest_s, "right")) - 1, 0)
    return History(at[first:], history.value[first:], history.slope[first:])


def delayed(history: History, at_s: Real, dead: DeadTimes) -> Real:
    """Signals (q, n) at the times `at_s` (q,) relative to now, their dead time ago; none is later than the last sample.

    Between two samples a cubic through both with their slopes: its error is of fourth order in their distance.
    """
    if not dead.differ:
        asked = at_s - dead.longest_s
        begin = _begin(history, asked)
        share, width = _share(history, asked, begin)
        return _cubic(history, begin, begin + 1, share[:, None], width[:, None])
    asked = at_s[:, None] - dead.dead_s
    begin, column = _begin(history, asked), np.arange(len(dead.dead_s))
    return _cubic(history, (begin, column), (begin + 1, column), *_share(history, asked, begin))


def _begin(history: History, asked_s: Real) -> Any:
    """Place of the sample before each time; the first and last stretch serve beyond them."""
    found = history.at_s.searchsorted(asked_s, "right") - 1
    return np.minimum(np.maximum(found, 0), len(history.at_s) - 2)


def _share(history: History, asked_s: Real, begin: Any) -> tuple[Real, Real]:
    """How much of its stretch has passed at each time, and the stretches' lengths."""
    start = history.at_s[begin]
    width = history.at_s[begin + 1] - start
    return (asked_s - start) / width, width


def _cubic(history: History, begin: Any, end: Any, share: Real, width: Real) -> Real:
    v, slope, rest = history.value[begin], history.slope, 1 - share
    rise = history.value[end] - v
    bend = rest * (slope[begin] * width - rise) - share * (slope[end] * width - rise)
    cubic: Real = v + share * (rise + rest * bend)
    return cubic
