"""Optimal reactive power dispatch: the setting of all controls at which the network loses least."""

from dataclasses import dataclass

import numpy as np

from gridloop.simulators.market.evolution import PROFILES, search_sbde
from gridloop.simulators.market.limits import FEASIBLE_PU, Backend, Losses, broken
from gridloop.simulators.market.problem import Problem
from gridloop.simulators.market.search import Search
from gridloop.simulators.market.slsqp import search_slsqp
from gridloop.simulators.models.network import Real

METHODS = ("slsqp", "sbde")


@dataclass(frozen=True)
class Dispatch:
    """The best setting that a search found, beside the one it started from."""

    problem: Problem
    method: str
    backend: str
    x: Real  # (k,) in the order of problem.control_names
    before: Losses  # of the net's own setting, (1, ...)
    after: Losses
    evaluations: int  # power flows
    gradients: int
    history: Real  # (h, 3): power flows so far, loss [MW] and violation [pu] of the best
    broken: tuple[str, ...]  # limits that even the best setting breaks

    @property
    def feasible(self) -> bool:
        """Whether the best setting keeps every limit."""
        return bool(self.after.violation_pu[0] <= FEASIBLE_PU)

    @property
    def loss_mw(self) -> float:
        """Active losses of the best setting; inf if no power flow converged."""
        return float(self.after.loss_mw[0])


def dispatch(backend: Backend, method: str = "slsqp", seed: int = 0, profile: str = "default") -> Dispatch:
    """Search the setting of least loss within all limits.

    Args:
        backend: a power flow, e.g. `limits.newton(problem)`.
        method: "slsqp" (smooth, exact derivatives) or "sbde" (evolution).
        seed: of sbde.
        profile: of sbde, "paper" or "default".

    Returns:
        The best setting. Where none keeps the limits it is the one that breaks them least, and `feasible` is False.

    Raises:
        ValueError: an unknown method or profile.
    """
    problem, gradients = backend.problem, 0
    low, high = problem.bounds
    if method not in METHODS:
        raise ValueError(f"method {method!r}: there are {', '.join(METHODS)}")
    if profile not in PROFILES:
        raise ValueError(f"profile {profile!r}: there are {', '.join(PROFILES)}")
    if not (high > low).any():
        search = Search()
        search.look(backend, problem.start[None])
    elif method == "slsqp":
        search, gradients = search_slsqp(backend)
    else:
        search = search_sbde(backend, PROFILES[profile], seed)
    x = problem.start if search.best_x is None else search.best_x
    after = backend.losses(x[None])
    return Dispatch(
        problem, method, backend.name, x, backend.losses(problem.start[None]), after, search.evaluations, gradients,
        np.array(search.history), broken(problem, after.states),
    )  # fmt: skip
