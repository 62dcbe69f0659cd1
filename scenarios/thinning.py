"""Which samples of curves to draw: no peak is lost, and what lies on a straight line is left out."""

import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gridloop.scenarios.result import Real

MOST_POINTS = 2000  # of one curve


def thinned(rows: Real, t_s: Real, event_s: Iterable[float], limit: int = MOST_POINTS) -> NDArray[np.intp]:
    """Which samples to draw so that no peak is lost: every point on a curve stays a sample at its own time.

    Args:
        rows: (n curves, n times); nan where there is no value.
        t_s: (n times,) ascending [s].
        event_s: times [s] around which each sample counts.
        limit: number of samples that is aimed at, above 2 n.

    Returns:
        Ascending indices: the ends, the samples beside events, and of bins of equal length the lowest and the
        highest of every curve.
    """
    count = len(t_s)
    if count <= limit:
        return np.arange(count)
    beside = [np.searchsorted(t_s, event) + step for event in event_s for step in (-1, 0, 1)]
    fixed = np.clip([0, count - 1, *beside], 0, count - 1)
    n_bin = max(1, (limit - len(np.unique(fixed))) // (2 * len(rows)))
    kept = finer = np.union1d(fixed, peaks(rows, n_bin))
    while len(finer) <= limit and n_bin < limit:  # curves that peak together leave room for finer bins
        kept, n_bin = finer, math.ceil(1.2 * n_bin)
        finer = np.union1d(fixed, peaks(rows, n_bin))
    return kept


def peaks(rows: Real, n_bin: int) -> NDArray[np.intp]:
    """Indices of the lowest and the highest value of each row in each of `n_bin` bins."""
    starts = np.linspace(0, rows.shape[1], n_bin + 1).astype(int)
    found = []
    for a, b in itertools.pairwise(starts):
        part = rows[:, a:b]
        found.append(a + np.where(np.isnan(part), np.inf, part).argmin(axis=1))
        found.append(a + np.where(np.isnan(part), -np.inf, part).argmax(axis=1))
    return np.unique(np.concatenate(found))


def bends(rows: Real, t_s: Real, tolerance: float) -> NDArray[np.intp]:
    """Samples without those that lie on the straight line between the ones that stay.

    Args:
        rows: (n curves, n times); nan where there is no value.
        t_s: (n times,) ascending [s].
        tolerance: how far from that line a sample that is left out may be [unit of the rows], > 0.

    Returns:
        Ascending indices, among them the first and the last sample, and both sides of every gap.
    """
    gap = np.isnan(rows)
    rows = np.where(gap, 0.0, rows)
    breaks = set((np.flatnonzero((gap[:, 1:] != gap[:, :-1]).any(axis=0)) + 1).tolist())
    kept, steepest, flattest = [0], np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
    for i in range(1, len(t_s)):
        start = kept[-1]
        dt_s = t_s[i] - t_s[start]
        slope = (rows[:, i] - rows[:, start]) / dt_s
        if i in breaks or (slope > steepest).any() or (slope < flattest).any():
            if start < i - 1:
                kept.append(i - 1)
                dt_s = t_s[i] - t_s[i - 1]
                slope = (rows[:, i] - rows[:, i - 1]) / dt_s
            if i in breaks:
                kept.append(i)
            steepest, flattest = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
            if i in breaks:
                continue
        # lines from the sample that stays which pass close enough by this one
        steepest = np.minimum(steepest, slope + tolerance / dt_s)
        flattest = np.maximum(flattest, slope - tolerance / dt_s)
    return np.array([*kept, len(t_s) - 1] if kept[-1] < len(t_s) - 1 else kept)
