"""How much delay a closed loop stands: the eigenvalues of its linearised map with the delayed values as states.

z(k+1) = A z(k) + U R z(k - d), found by finite differences of `closed_loop_period` where the loop is settled.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gridloop.simulators.models import flat_state
from gridloop.simulators.models.closed_loop_period import Loop, Whole
from gridloop.simulators.models.network import Complex, Index, Real

DIFFERENCE = 1e-4  # of a number's scale: the network's solution is exact to 1e-11, limits are farther off
SMALLEST_SCALE = 1e-3
NOTHING = 1e-7  # entries of the linearised map below this are rounding
SCANNED_TICKS = 8  # shortest delays, each looked at
GROWS_PER_S = 1e-5  # slower than this is rounding
NEUTRAL_RAD = 1e-6  # turn in a period from which on a mode swings
LARGEST_MAP = 800  # states up to which eigenvalues are taken
WARM_UPS_S = (0.3, 20.0)
MOST_NEWTON_STEPS = 12
SETTLED = 1e-8
SINGULAR = 1e-9  # directions in which the loop can rest anywhere


class NotSettled(ArithmeticError):
    """The loop comes to no rest that could be linearised."""


class Mode(NamedTuple):
    """One mode of the loop: e^(growth t), with an oscillation."""

    growth_per_s: float
    f_hz: float


@dataclass(frozen=True)
class DelayedMap:
    """z(k+1) = a z(k) + left right z(k - d) with a delay of d ticks."""

    a: Real  # (n, n)
    left: Real  # (n, r)
    right: Real  # (r, n)
    period_s: float
    kept: Index | None = None  # which numbers of the loop's state z has

    @property
    def gain(self) -> float:
        """Gain of the open loop for late values that change to and fro with every period, its fastest swing.

        Beyond 1 this grows with every other delay, whatever slower swings do.
        """
        answer = np.linalg.lstsq(-np.eye(len(self.a)) - self.a, self.left, rcond=None)[0]
        return float(np.abs(np.linalg.eigvals(self.right @ answer)).max(initial=0.0))

    def states(self, ticks: int) -> int:
        """Size of the map with this delay."""
        return len(self.a) + len(self.right) * ticks

    def eigenvalues(self, ticks: int) -> Complex:
        """Of one period, with a delay of `ticks` >= 0."""
        return np.linalg.eigvals(self._whole(ticks)).astype(complex)

    def shape(self, ticks: int) -> Complex:
        """z (n,) of the leading mode."""
        values, vectors = np.linalg.eig(self._whole(ticks))
        return vectors[: len(self.a), np.abs(values).argmax()].astype(complex)

    def _whole(self, ticks: int) -> Real:
        n, r, waiting = len(self.a), len(self.right), ticks
        if waiting == 0 or r == 0:
            summed: Real = self.a + self.left @ self.right
            return summed
        whole = np.zeros((n + r * waiting,) * 2)
        whole[:n, :n], whole[:n, -r:] = self.a, self.left
        whole[n : n + r, :n] = self.right
        whole[n + r :, n:-r] = np.eye(r * (waiting - 1))
        return whole

    def leading(self, ticks: int) -> "Mode":
        """The mode that grows fastest or dies away slowest."""
        found = self.eigenvalues(ticks)
        if not len(found):
            return Mode(-math.inf, 0.0)
        z = found[np.abs(found).argmax()]
        growth = math.log(abs(z)) / self.period_s if z != 0 else -math.inf
        return Mode(growth, abs(float(np.angle(z))) / (2 * math.pi * self.period_s))

    def growth_per_s(self, ticks: int) -> float:
        """Its rate."""
        return self.leading(ticks).growth_per_s

    def is_stable(self, ticks: int) -> bool:
        """Whether every swing dies away; a mode that neither swings nor moves is as good."""
        z = self.eigenvalues(ticks)
        rate = np.log(np.maximum(np.abs(z), 1e-300)) / self.period_s
        swings = np.abs(np.angle(z)) > NEUTRAL_RAD
        return bool((rate <= np.where(swings, -GROWS_PER_S, GROWS_PER_S)).all())


def settled(loop: Loop, whole: Whole) -> tuple[Whole, DelayedMap]:
    """Where the loop rests, and its map there.

    It runs for a while without delays, so that histories are full, and is then brought to rest by Newton's method.

    Args:
        loop: plant and control.
        whole: a state near it.

    Raises:
        NotSettled: it comes to no rest.
        VoltageCollapse: it leaves every solution of the network.
    """
    error: NotSettled | None = None
    for run_s in WARM_UPS_S:
        for _ in range(max(round(run_s / loop.period_s), 2)):
            whole = loop.period(whole, loop.told(whole))
        try:
            return _at_rest(loop, whole)
        except NotSettled as failure:
            error = failure
    assert error is not None
    raise error


def _at_rest(loop: Loop, whole: Whole) -> tuple[Whole, DelayedMap]:
    found, left = _linearised(loop, whole), math.inf
    for _ in range(MOST_NEWTON_STEPS):
        z = flat_state.flat(whole)
        if not np.isfinite(z).all():
            break
        kept = found.kept
        miss = flat_state.flat(loop.period(whole, loop.told(whole)))[kept] - z[kept]
        left = float(np.abs(miss).max(initial=0.0))
        if left < SETTLED:
            return whole, _linearised(loop, whole).delayed
        rest = np.eye(len(kept)) - found.delayed.a - found.delayed.left @ found.delayed.right
        z[kept] += np.linalg.lstsq(rest, miss, rcond=SINGULAR)[0]
        whole = flat_state.rebuilt(whole, z)
    raise NotSettled(
        f"without delay the control comes to no rest at the scenario's start (it still moves by {left:.2g} a period): "
        "is it stable, and within its limits?"
    )


class _Found(NamedTuple):
    delayed: DelayedMap
    kept: Index  # which numbers of z are in it


def _linearised(loop: Loop, whole: Whole) -> _Found:
    z, w = flat_state.flat(whole), loop.told(whole)
    a, c = np.empty((len(z), len(z))), np.empty((len(w), len(z)))
    for j, size in enumerate(_scales(loop, whole) * DIFFERENCE):
        ends = [flat_state.rebuilt(whole, z + sign * size * _unit(j, len(z))) for sign in (1, -1)]
        ahead = [flat_state.flat(loop.period(end, w)) for end in ends]
        told = [loop.told(end) for end in ends]
        a[:, j], c[:, j] = (ahead[0] - ahead[1]) / (2 * size), (told[0] - told[1]) / (2 * size)
    b = np.empty((len(z), len(w)))
    for j, size in enumerate(np.maximum(np.abs(w), 1.0) * DIFFERENCE):
        ahead = [flat_state.flat(loop.period(whole, w + sign * size * _unit(j, len(w)))) for sign in (1, -1)]
        b[:, j] = (ahead[0] - ahead[1]) / (2 * size)
    g = b @ c
    kept = _dynamic(a, g)
    a, g = a[np.ix_(kept, kept)], g[np.ix_(kept, kept)]
    u, s, vt = np.linalg.svd(g) if g.size else (g, np.zeros(0), g)
    rank = int((s > NOTHING * max(s.max(initial=0.0), 1.0)).sum())
    return _Found(DelayedMap(a, u[:, :rank] * s[:rank], vt[:rank], loop.period_s, kept), kept)


def _unit(j: int, n: int) -> Real:
    unit = np.zeros(n)
    unit[j] = 1.0
    return unit


def _scales(loop: Loop, whole: Whole) -> Real:
    """Of every number of z: what counts as large. Powers of small units are small in per unit."""
    small = min((float(np.abs(u.s_pu).max(initial=0.0)) for u in loop.plant.plant.units), default=1.0)
    scales = []
    for leaf in flat_state.leaves(whole):
        least = small if any(name.endswith("_pu") for name in leaf.path) else 1.0
        size = max(float(np.abs(leaf.value).max(initial=0.0)), min(max(least, SMALLEST_SCALE), 1.0))
        scales.append(np.full(leaf.value.size * (2 if leaf.value.dtype.kind == "c" else 1), size))
    return np.concatenate(scales)


def _dynamic(a: Real, g: Real) -> Index:
    """Numbers that are no counters, of which nothing follows, and no constants, which follow from nothing."""
    kept = np.arange(len(a))
    while True:
        free = np.abs(a[np.ix_(kept, kept)] - np.eye(len(kept))) > NOTHING
        late = np.abs(g[np.ix_(kept, kept)]) > NOTHING
        idle = ~(free | late).any(axis=1) | ~(free | late).any(axis=0)
        if not idle.any():
            return kept
        kept = kept[~idle]


class Margin(NamedTuple):
    """What the spectral radius says."""

    ticks: int | None  # longest stable delay; None: every one that was tried is stable; -1: none is
    tried_ticks: int  # the longest that was tried
    crossing_ticks: float  # where the growth rate crosses zero between two of them; inf or nan if it does not
    f_hz: float  # of the mode that grows first; nan if none does


def largest_stable_delay(found: DelayedMap, longest_ticks: int) -> Margin:
    """The longest delay up to which every shorter one is stable.

    The first ones are looked at one by one, then in steps of a half; between the last stable and the first unstable
    one by bisection. Islands of instability that are narrower than these steps are not seen.
    """
    room = (LARGEST_MAP - len(found.a)) // max(len(found.right), 1)
    longest = max(min(longest_ticks, room), 0)
    stable, d = -1, 0
    while found.is_stable(d):
        stable = d
        if d >= longest:
            return Margin(None, longest, math.inf, math.nan)
        d = d + 1 if d < SCANNED_TICKS else min(d + max(d // 2, 1), longest)
    unstable = d
    while unstable - stable > 1:
        middle = (stable + unstable) // 2
        if found.is_stable(middle):
            stable = middle
        else:
            unstable = middle
    if stable < 0:
        return Margin(-1, 0, math.nan, found.leading(0).f_hz)
    below, above = found.leading(stable), found.leading(unstable)
    share = below.growth_per_s / (below.growth_per_s - above.growth_per_s)
    return Margin(stable, unstable, stable + share, above.f_hz)
