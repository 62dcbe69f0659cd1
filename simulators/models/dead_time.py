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
    memory: dict[Any, Any]  # what was found for sample times: steps of one length find the same again

    @property
    def differ(self) -> bool:
        """Whether the signals have different ones."""
        return self.longest_s != self.shortest_s


MOST_REMEMBERED = 64


def dead_times(dead_s: Real) -> DeadTimes:
    """Dead times (n,)."""
    return DeadTimes(dead_s, float(dead_s.max(initial=0.0)), float(dead_s.min(initial=np.inf)), {})


def settled(value: Real, dead: DeadTimes) -> History:
    """Signals (n,) that have been constant."""
    return History(np.array([-dead.longest_s - 1.0, 0.0]), np.array([value, value]), np.zeros((2, len(value))))


def appended(history: History, at_s: float, value: Real, slope: Real) -> History:
    """With one more sample, `at_s` after now."""
    return History(
        np.concatenate((history.at_s, (at_s,))),
        np.concatenate((history.value, value[None])), np.concatenate((history.slope, slope[None])),
    )  # fmt: skip


def later(history: History, dt_s: float, dead: DeadTimes) -> History:
    """`dt_s` later, without samples that nothing asks for any more."""
    at = history.at_s - dt_s
    first = max(int(at.searchsorted(-dead.longest_s, "right")) - 1, 0)
    return History(at[first:], history.value[first:], history.slope[first:])


def delayed(history: History, at_s: Real, dead: DeadTimes) -> Real:
    """Signals (q, n) at the times `at_s` (q,) relative to now, their dead time ago; none is later than the last sample.

    Between two samples a cubic through both with their slopes: its error is of fourth order in their distance.
    """
    key = (history.at_s.tobytes(), at_s.tobytes())
    weights = dead.memory.get(key)
    if weights is None:
        weights = _weights(history.at_s, at_s, dead)
        if len(dead.memory) < MOST_REMEMBERED:
            dead.memory[key] = weights
    samples = np.concatenate((history.value, history.slope))
    found: Real = weights.dot(samples) if weights.ndim == 2 else np.add.reduce(weights * samples, axis=1)
    return found


def _weights(samples_s: Real, at_s: Real, dead: DeadTimes) -> Real:
    """Weights (q, 2k) of values and slopes of the samples at `samples_s` (k,); (q, 2k, n) where dead times differ."""
    if dead.differ:
        return np.stack([_weights_of_one(samples_s, at_s - dead_s) for dead_s in dead.dead_s], axis=2)
    return _weights_of_one(samples_s, at_s - dead.longest_s)


def _weights_of_one(samples_s: Real, asked_s: Real) -> Real:
    """(q, 2k) of one signal; the first and last stretch serve beyond them."""
    count, query = len(samples_s), np.arange(len(asked_s))
    begin = np.minimum(np.maximum(samples_s.searchsorted(asked_s, "right") - 1, 0), count - 2)
    width = samples_s[begin + 1] - samples_s[begin]
    share = (asked_s - samples_s[begin]) / width
    rest, weights = 1 - share, np.zeros((len(asked_s), 2 * count))
    weights[query, begin] = rest * rest * (1 + 2 * share)
    weights[query, begin + 1] = share * share * (1 + 2 * rest)
    weights[query, count + begin] = share * rest * rest * width
    weights[query, count + begin + 1] = -share * share * rest * width
    return weights
