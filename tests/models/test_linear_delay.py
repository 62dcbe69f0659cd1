"""Eigenvalues with the delayed values as states, against the formula of a sampled consensus and by hand."""

import math

import numpy as np
import pytest

from consensus import CASES, LARGEST_TICKS, PERIODS_S
from gridloop.simulators.models import graph
from gridloop.simulators.models.linear_delay import DelayedMap, largest_stable_delay
from gridloop.simulators.models.margins import swing_margin_s


def consensus(kind: str, count: int, period_s: float, handling: str = "matched") -> DelayedMap:
    """x(k+1) = x(k) - h (D x - A x(k-d)), or all of the Laplacian delayed; without the mean, which does not move."""
    names = [f"a{k}" for k in range(count)]
    weights = graph.adjacency(graph.edges(kind, names), names)
    one = np.eye(count)
    if handling == "matched":
        # away from the mean: x is counted from the last agent's
        away = np.linalg.qr(np.column_stack((np.ones(count), one[:, 1:])))[0][:, 1:]
        a, g = np.eye(count - 1), -period_s * away.T @ graph.laplacian(weights) @ away
    else:
        a, g = one - period_s * np.diag(weights.sum(axis=1)), period_s * weights
    return DelayedMap(a, g, np.eye(len(a)), period_s)


@pytest.mark.parametrize("period_s", PERIODS_S[1:])
@pytest.mark.parametrize("case", CASES)
def test_consensus_has_the_margin_of_the_table(case: tuple[str, int], period_s: float) -> None:
    found = largest_stable_delay(consensus(*case, period_s), 60)
    assert found.ticks == LARGEST_TICKS[case][PERIODS_S.index(period_s)]


def test_the_crossing_lies_between_the_last_stable_and_the_first_unstable_tick() -> None:
    # line 3, h = 10 ms: pi / (2 3) = .5236 s, with half a period that the sampling adds
    found = largest_stable_delay(consensus("line", 3, 0.01), 100)
    assert found.ticks == 51
    assert (found.crossing_ticks + 0.5) * 0.01 == pytest.approx(math.pi / 6, rel=1e-3)
    assert found.f_hz == pytest.approx(3 / (2 * math.pi), rel=0.01)  # c lambda at the margin


def test_a_neighbour_only_consensus_stands_every_delay() -> None:
    found = largest_stable_delay(consensus("ring", 5, 0.05, "neighbour_only"), 100)
    assert (found.ticks, found.tried_ticks) == (None, 100)


def test_unstable_without_delay_is_minus_one() -> None:
    found = largest_stable_delay(consensus("full", 10, 0.25), 60)
    assert found.ticks == -1


def test_growth_is_that_of_the_simulated_recursion() -> None:
    found, ticks = consensus("line", 3, 0.05), 11
    x = [np.array([1.0, -0.3])] * (ticks + 1)
    for _ in range(3000):
        x.append(found.a @ x[-1] + found.left @ found.right @ x[-1 - ticks])
    size = np.linalg.norm(np.array(x), axis=1)
    early, late = size[1000:1200].max(), size[2800:3000].max()
    assert found.growth_per_s(ticks) == pytest.approx(math.log(late / early) / (1800 * 0.05), rel=0.02)


def test_swing_margin_by_hand() -> None:
    # 10 kW/Hz x 50 Hz / (2 x 2 s x 10 kVA) = 12.5 1/s
    assert swing_margin_s(10, 2 * 10, 50) == pytest.approx(0.12566, abs=1e-5)


@pytest.mark.parametrize(("late", "gain"), [(0.6, 0.4), (1.8, 1.2)])
def test_the_gain_is_that_of_the_open_loop_from_step_to_step(late: float, gain: float) -> None:
    # z(k+1) = 0.5 z(k) + late z(k - d): late / (-1 - 0.5); beyond 1 it grows with every other delay
    found = DelayedMap(np.array([[0.5]]), np.array([[late / 2]]), np.array([[2.0]]), 0.01)
    assert found.gain == pytest.approx(gain)
    small = DelayedMap(np.array([[-0.2]]), np.array([[late / 2]]), np.array([[2.0]]), 0.01)
    assert all(small.is_stable(d) for d in (0, 1, 4, 9)) == (late < 0.8)


def test_without_anything_late_there_is_no_gain() -> None:
    assert DelayedMap(np.eye(2) * 0.5, np.zeros((2, 0)), np.zeros((0, 2)), 0.01).gain == 0.0
