"""Dispatch by self-balanced differential evolution.

Source: Danalakshmi et al., Energies 13 (2020) 6179, eq. 4 to 7, feasibility by Deb's rule. The paper does not give
the schedule of its learning factor C, which scales the base vector: in units of 0..1 it pulls towards the lower
bounds. C = 1 makes it plain DE/rand/1/bin (Storn, Price, J. Global Optim. 11 (1997) 341).
"""

from dataclasses import dataclass

import numpy as np

from gridloop.simulators.market.limits import Backend
from gridloop.simulators.market.search import Search, better
from gridloop.simulators.models.network import Real


@dataclass(frozen=True)
class Profile:
    """Settings of the evolution."""

    generations: int
    crossover: float  # CR, 0..1
    population: int = 23
    scale: float = 0.5  # F
    least_learning: float = 1.0  # C of the worst; the best has 1, others lie between by their fitness 1 / (1 + loss)

    def __post_init__(self) -> None:
        if self.population < 4:
            raise ValueError(f"population = {self.population} must be >= 4: each trial takes three others")
        for name in ("crossover", "least_learning"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name):g} must be in 0..1")
        if self.generations < 0 or not self.scale > 0:
            raise ValueError(f"generations = {self.generations} must be >= 0 and scale = {self.scale:g} > 0")


PROFILES = {
    "paper": Profile(generations=100, crossover=0.4),
    "default": Profile(generations=150, crossover=0.9),
}


def search_sbde(backend: Backend, profile: Profile, seed: int) -> Search:
    """Evolve a population; the same seed gives the same result to the bit.

    Args:
        backend: power flow of the problem; each generation is one call.
        profile: settings, e.g. PROFILES["paper"].
        seed: of numpy's default generator.

    Returns:
        The account of `population * (1 + generations)` power flows.
    """
    rng, search = np.random.default_rng(seed), Search()
    low, high = backend.problem.bounds
    free = np.flatnonzero(high > low)
    size, count = profile.population, len(free)

    def look(z: Real) -> tuple[Real, Real]:
        x = np.tile(backend.problem.start, (size, 1))
        x[:, free] = low[free] + z * (high - low)[free]
        losses = search.look(backend, x)
        return losses.loss_mw, losses.violation_pu

    z = rng.random((size, count))
    loss, violation = look(z)
    rows = np.arange(size)
    for _ in range(profile.generations):
        chosen = np.array([rng.choice(np.delete(rows, row), 3, replace=False) for row in rows])
        base, first, second = z[chosen.T]
        mutant = _learning(profile, loss[chosen[:, 0]])[:, None] * base + profile.scale * (first - second)
        mutant = np.where(mutant < 0, z / 2, np.where(mutant > 1, (z + 1) / 2, mutant))  # half way to the bound
        crossed = rng.random((size, count)) <= profile.crossover
        crossed[rows, rng.integers(count, size=size)] = True
        trial = np.where(crossed, mutant, z)
        new_loss, new_violation = look(trial)
        wins = better(new_loss, new_violation, loss, violation)
        z = np.where(wins[:, None], trial, z)
        loss, violation = np.where(wins, new_loss, loss), np.where(wins, new_violation, violation)
    return search


def _learning(profile: Profile, loss: Real) -> Real:
    """C of each base vector (N,)."""
    fitness = 1 / (1 + loss)
    best = fitness.max()
    relative = fitness / best if best > 0 else np.ones_like(fitness)
    return profile.least_learning + (1 - profile.least_learning) * relative
