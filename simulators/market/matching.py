"""Which seller serves which buyer: the one with the least loss whose transaction overloads no line.

A transaction adds P at the buyer's bus and the same P to the seller's dispatch; the reference takes what the losses
change. Transactions are matched in the order they come in; one that was matched counts as given for those after it
wherever their windows overlap.

Source: Danalakshmi et al., Energies 13 (2020) 6179, section 4, with the definition made complete: there is no match
where no seller keeps all ratings, the voltage band and its own greatest power.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gridloop.simulators.market.limits import FEASIBLE_PU, States, newton
from gridloop.simulators.market.problem import Problem, row_named
from gridloop.simulators.models.network import Real


@dataclass(frozen=True)
class Request:
    """What a buyer asks for: `p_mw` at its bus from `start_h` until `end_h`."""

    name: str
    bus: str
    p_mw: float
    start_h: float = 0.0
    end_h: float = 1.0

    def __post_init__(self) -> None:
        if not self.p_mw > 0:
            raise ValueError(f"{self.name}: p_mw = {self.p_mw:g} must be > 0")
        if not self.end_h > self.start_h:
            raise ValueError(f"{self.name}: the window {self.start_h:g}..{self.end_h:g} h is empty")


@dataclass(frozen=True)
class Offer:
    """What a seller's transaction would do; the worst of its window counts."""

    seller: str
    loss_change_percent: float  # of the losses without it, over the whole window; nan without a power flow
    loss_mw: float  # mean over the window
    loading: float  # of the most loaded line, 1 = its rating
    line: str
    refused: tuple[str, ...]  # every limit it breaks, in words; empty: it may be chosen


@dataclass(frozen=True)
class Match:
    """A request with every seller's offer; `seller` is None where none may be chosen."""

    request: Request
    offers: tuple[Offer, ...]
    seller: str | None


Trade = tuple[Request, str]  # with its seller


def traded(problem: Problem, trades: Iterable[Trade]) -> Problem:
    """The problem with transactions on top of its own dispatch; a reference's dispatch follows by itself."""
    fixed, p = problem.fixed_mva.copy(), problem.sources.p_mw.copy()
    for request, seller in trades:
        fixed[problem.network.row_of_bus(request.bus)] -= request.p_mw
        p[row_named(problem.sources.names, seller, "seller")] += request.p_mw
    return replace(problem, fixed_mva=fixed, sources=replace(problem.sources, p_mw=p))


def match(problem: Problem, requests: Sequence[Request], sellers: Sequence[str] = ()) -> tuple[Match, ...]:
    """Match requests with sellers, one after the other.

    Args:
        problem: the net with its setting.
        requests: in the order in which they are served.
        sellers: names of sources that sell; all of them if empty. Among equal ones the first is chosen.

    Returns:
        One match a request.

    Raises:
        ValueError: an unknown bus or seller, or no power flow before any transaction.
    """
    sellers = tuple(sellers) or problem.sources.names
    for seller in sellers:
        row_named(problem.sources.names, seller, "seller")
    found: list[Match] = []
    for request in requests:
        problem.network.row_of_bus(request.bus)
        given = [(m.request, m.seller) for m in found if m.seller is not None]
        offers = tuple(_offer(problem, given, request, seller) for seller in sellers)
        allowed = [offer for offer in offers if not offer.refused]
        best = min(allowed, key=lambda offer: offer.loss_change_percent, default=None)
        found.append(Match(request, offers, best.seller if best else None))
    return tuple(found)


def _windows(given: Sequence[Trade], request: Request) -> list[tuple[float, list[Trade]]]:
    """Parts of a request's window [h] between which nothing changes, with the transactions at work in each."""
    edges = {request.start_h, request.end_h}
    for other, _ in given:
        edges |= {edge for edge in (other.start_h, other.end_h) if request.start_h < edge < request.end_h}
    ordered = sorted(edges)
    return [
        (end - start, [trade for trade in given if trade[0].start_h < end and start < trade[0].end_h])
        for start, end in pairwise(ordered)
    ]


def _offer(problem: Problem, given: Sequence[Trade], request: Request, seller: str) -> Offer:
    """The effect of one seller's transaction over the request's window."""
    base_mwh = with_mwh = hours = 0.0
    worst, line, refused = 0.0, "", dict[str, tuple[float, str]]()
    for hours_of, active in _windows(given, request):
        before, after = traded(problem, active), traded(problem, [*active, (request, seller)])
        base, changed = (newton(p).losses(p.start[None]) for p in (before, after))
        if not np.isfinite(base.loss_mw[0]):
            raise ValueError(f"{request.name}: the net has no power flow before this transaction")
        base_mwh, with_mwh = base_mwh + hours_of * base.loss_mw[0], with_mwh + hours_of * changed.loss_mw[0]
        hours += hours_of
        load = loadings(after, changed.states)
        if np.isfinite(load).any() and np.nanmax(load) > worst:
            worst, line = float(np.nanmax(load)), problem.network.branch_names[int(np.nanargmax(load))]
        for what, much, words in _refusals(after, changed.states, load, seller):
            refused[what] = max(refused.get(what, (much, words)), (much, words))
    solved = bool(np.isfinite(with_mwh))
    return Offer(
        seller, float(100 * (with_mwh / base_mwh - 1)) if solved else np.nan,
        float(with_mwh / hours) if solved else np.nan, worst, line, tuple(words for _, words in refused.values()),
    )  # fmt: skip


def loadings(problem: Problem, state: States) -> Real:
    """Loading (m,) of every branch by its larger apparent power over its rating, nan where it has none."""
    power = np.maximum(np.abs(state.s_from_pu[0]), np.abs(state.s_to_pu[0]))
    result: Real = power / problem.network.rating_pu
    return result


def _refusals(problem: Problem, state: States, load: Real, seller: str) -> list[tuple[str, float, str]]:
    """Each limit that a transaction breaks: which, how far, in words."""
    if not np.isfinite(state.v_pu).all():
        return [("power flow", np.inf, "the power flow does not converge")]
    network = problem.network
    found = []
    for row in np.flatnonzero(np.nan_to_num(load) > 1 + FEASIBLE_PU):
        name = f"line {network.branch_names[row]}"
        found.append((name, float(load[row]), f"{name} loaded {100 * load[row]:.1f} %"))
    level = np.abs(state.v_pu[0])
    beyond = np.maximum(problem.v_min_pu - level, level - problem.v_max_pu)
    for name, row in zip(network.bus_names, network.bus_row, strict=True):
        if beyond[row] > FEASIBLE_PU and problem.supplied[row]:
            found.append((f"bus {name}", float(beyond[row]), f"bus {name} at {level[row]:.3f} pu"))
    own = row_named(problem.sources.names, seller, "seller")
    p, most = float(state.p_source_mw[0, own]), float(problem.sources.p_max_mw[own])
    if p > most + FEASIBLE_PU * network.s_base_mva:
        found.append((seller, p, f"{seller} would give {p:.1f} MW of at most {most:g}"))
    return found
