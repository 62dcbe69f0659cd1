"""Average consensus on the price of power, without anybody in charge: the second protocol of negotiation.

Each party keeps a price lambda and its share y of what is still missing, and exchanges both with its neighbours:

    lambda <- W lambda + eps y,    P_i <- (lambda_i - b_i) / (2 c_i) inside its limits,    y <- W y - (P_new - P_old)

with Metropolis weights W. The sum of y is the demand less what is given, so y = 0 is the optimum of `economic.share`.

Source: Yang, Tan, Xu, Consensus based approach for economic dispatch problem in a smart grid, IEEE Trans. Power Systems
28(4), 2013, eqs. 9 to 13; Xiao, Boyd, Lall, A scheme for robust distributed sensor fusion, IPSN 2005 (the weights).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gridloop.simulators.market.economic import Offer

Array = npt.NDArray[np.floating[Any]]
SAFETY = 0.5  # of the step at which the iteration would become unstable
LIMIT_STEPS = 40  # halvings
SMALL_KW = 0.02  # sum of |y| at which the iteration ends


class Agreement(NamedTuple):
    """Where the parties ended."""

    power_kw: dict[str, float]
    prices: Array  # of each party (n,) [ct/kWh]
    missing_kw: float  # sum of y
    iterations: int
    messages: int


def chorded_ring(count: int, chord: int = 5) -> list[tuple[int, int]]:
    """Edges of a ring whose members are also linked to the one `chord` places on."""
    return sorted({
        (min(i, j), max(i, j)) for i in range(count) for j in ((i + 1) % count, (i + chord) % count) if i != j
    })  # fmt: skip


def metropolis(edges: Sequence[tuple[int, int]], count: int) -> Array:
    """Symmetric weights of an undirected graph, 1 / (1 + the greater degree) on its edges; rows sum to 1; (n, n)."""
    degree = np.bincount(np.array(edges).ravel(), minlength=count)
    weights = np.zeros((count, count))
    for i, j in edges:
        weights[i, j] = weights[j, i] = 1 / (1 + max(degree[i], degree[j]))
    return weights + np.diag(1 - weights.sum(1))


def stability_limit(weights: Array, response: Array) -> float:
    """The step eps at which the linear iteration (no limits) stops dying away.

    Args:
        weights: (n, n).
        response: dP/dlambda = 1 / (2 c) of each party [kW2h/ct], 0 without a unit (n,).
    """
    count = len(response)
    slope = np.diag(response)

    def radius(eps: float) -> float:
        """The largest magnitude beside the eigenvalue 1 of the conserved sum."""
        iteration = np.block([
            [weights, eps * np.eye(count)], [slope @ (np.eye(count) - weights), weights - eps * slope],
        ])  # fmt: skip
        found = np.linalg.eigvals(iteration)
        return float(np.max(np.abs(np.delete(found, np.argmin(np.abs(found - 1))))))

    low, high = 0.0, 4.0 / max(float(response.max()), 1e-12)
    for _ in range(LIMIT_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < 1 else (low, middle)
    return low


def agree(
    offers: Mapping[str, Offer], demand_kw: Mapping[str, float], edges: Sequence[tuple[int, int]], *,
    eps: float | None = None, most: int = 5000, loss: float = 0.0,
    random: np.random.Generator | None = None,
) -> Agreement:  # fmt: skip
    """Let all parties iterate until what is missing anywhere is small and stays so.

    Args:
        offers: of those with a unit.
        demand_kw: of every party, by name; their order is that of the graph.
        edges: between their places.
        eps: step; by default SAFETY times the stability limit.
        most: iterations.
        loss: share of the exchanges on an edge that fail, both ways at once.
        random: needed with loss.

    Raises:
        ValueError: eps is beyond SAFETY times the stability limit; loss without random.
    """
    names = list(demand_kw)
    count = len(names)
    weights = metropolis(edges, count)
    b = np.array([offers[name].b if name in offers else 0.0 for name in names])
    response = np.array([0.5 / offers[name].c if name in offers else 0.0 for name in names])
    least, greatest = (np.array([offers[name][place] if name in offers else 0.0 for name in names]) for place in (2, 3))
    limit = SAFETY * stability_limit(weights, response)
    if eps is not None and eps > limit:
        raise ValueError(f"eps = {eps:g} is beyond {limit:.4g}, {SAFETY:g} of the step at which it becomes unstable")
    if loss and random is None:
        raise ValueError("loss needs a generator of random numbers")
    step = limit if eps is None else eps
    price = np.full(count, float(np.mean([offer.b for offer in offers.values()])))
    power = np.clip(response * (price - b), least, greatest)
    missing = np.array([demand_kw[name] for name in names]) - power
    ends = np.array(edges)
    iterations = 0
    while iterations < most:
        iterations += 1
        mixing = weights
        if random is not None and loss:
            mixing = _without(weights, ends[random.random(len(edges)) < loss])
        price = mixing @ price + step * missing
        renewed = np.clip(response * (price - b), least, greatest)
        missing = mixing @ missing - (renewed - power)
        power = renewed
        if np.abs(missing).sum() <= SMALL_KW:
            break
    given = {name: float(p) for name, p in zip(names, power, strict=True) if name in offers}
    return Agreement(given, price, float(missing.sum()), iterations, 2 * len(edges) * iterations)


def _without(weights: Array, lost: npt.NDArray[np.int64]) -> Array:
    """The weights when some edges fail: what would have come stays at home."""
    left = weights.copy()
    for i, j in lost:
        left[i, i] += left[i, j]
        left[j, j] += left[j, i]
        left[i, j] = left[j, i] = 0.0
    return left
