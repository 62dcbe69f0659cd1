"""A distribution system operator, slot by slot: it matches buyers with sellers, dispatches reactive power, prices it.

What it decides for a slot rests on what it saw of loads and generators before; the setting is kept where none keeps
all limits.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gridloop.simulators.market.dispatch import Dispatch, dispatch
from gridloop.simulators.market.limits import FEASIBLE_PU, Losses, States, broken, newton
from gridloop.simulators.market.matching import Match, Request, match, traded
from gridloop.simulators.market.pricing import Prices, price
from gridloop.simulators.market.problem import Problem
from gridloop.simulators.models.network import Complex, Mask, Real, islands


class Terms(NamedTuple):
    """How it dispatches and prices; see `dispatch` and `price`."""

    method: str = "slsqp"
    profile: str = "default"
    seed: int = 0
    pricing: str = "apparent"
    svc_rating: str = "output"
    years: float = 5.0


class Seen(NamedTuple):
    """What the network shows."""

    load_mva: Complex  # (d,) of the problem's demands
    p_gen_mw: Real  # (s,) of its sources, without what they sell
    others_mva: Complex  # (n,) into each bus, of whatever else stands there, without what is bought
    in_service: Mask  # (c,) which compensators are connected
    closed: Mask  # (m,) branches


class Deal(NamedTuple):
    """A request with its seller and what that means for the network."""

    request: Request
    seller: str
    loading: float  # of the most loaded line
    loss_mw: float
    price_per_mwh: float  # what the seller's own cost rises by


@dataclass(frozen=True)
class Decision:
    """Of one slot."""

    slot: int
    is_flat: bool  # the first setting on purpose, and no search
    problem: Problem  # with the loads that were seen and the trades of the slot
    x: Real  # (k,) setting of the slot
    before: Losses  # of the setting so far, (1, ...)
    after: Losses  # of the one of the slot
    found: Dispatch | None  # the search, if there was one
    broken: tuple[str, ...]  # limits that nothing keeps: of the search, else of the setting
    prices: Prices | None
    unpriced: str  # why there are none
    matches: tuple[Match, ...]  # of the requests that begin with the slot
    deals: tuple[Deal, ...]  # of the slot

    @property
    def feasible(self) -> bool:
        """Whether the slot's setting keeps all limits."""
        return bool(self.after.violation_pu[0] <= FEASIBLE_PU)


class Dso:
    """The operator.

    Args:
        problem: the net with its first setting; costs of all sources are known.
        terms: how to dispatch and price.
        requests: what buyers ask for; hours count slots.
        flat_slots: in which the first setting is taken again, to compare with.
    """

    def __init__(
        self, problem: Problem, terms: Terms, requests: Sequence[Request] = (),
        flat_slots: Collection[int] = (),
    ) -> None:  # fmt: skip
        self._problem, self._terms, self._requests = problem, terms, tuple(requests)
        self._flat_slots, self._x, self._deals = frozenset((0, *flat_slots)), problem.start, list[Deal]()

    def decide(self, slot: int, seen: Seen) -> Decision:
        """Decide on a slot that begins."""
        is_flat = slot in self._flat_slots
        problem, x = at(self._problem, seen), self._problem.start if is_flat else self._x
        given = problem.at(connected(problem, x, seen))
        running = [deal for deal in self._deals if deal.request.end_h > slot]
        matches, begun = self._match(slot, traded(given, [deal[:2] for deal in running]), not is_flat)
        self._deals = running + begun
        final = traded(given, [deal[:2] for deal in self._deals])
        power, terms = newton(final), self._terms
        found = None if is_flat else dispatch(power, terms.method, terms.seed, terms.profile)
        before = after = power.losses(final.start[None])
        chosen, words = final.start, broken(final, before.states)
        if found is not None:
            words = found.broken
            if found.feasible:
                chosen, after = found.x, found.after
        self._x = chosen
        prices, unpriced = None, ""
        try:
            prices = price(final, chosen, terms.pricing, terms.svc_rating, terms.years)
        except ValueError as error:  # no power flow, or more reactive power than a rating
            unpriced = str(error)
        return Decision(
            slot, is_flat, final, chosen, before, after, found, words, prices, unpriced, matches, tuple(self._deals)
        )  # fmt: skip

    def _match(self, slot: int, problem: Problem, redispatch: bool) -> tuple[tuple[Match, ...], list[Deal]]:
        """Serve the requests that begin with the slot; none where the net has no power flow without them."""
        found, begun = list[Match](), list[Deal]()
        for request in self._requests:
            if request.start_h != slot:
                continue
            base = newton(problem).losses(problem.start[None])
            if np.isfinite(base.loss_mw[0]):
                one = _served(problem, request, float(base.loss_mw[0]), redispatch)
            else:
                one = Match(request, (), None)
            found.append(one)
            if one.seller is not None:
                begun.append(_deal(problem, base.states, one))
                problem = traded(problem, [(request, one.seller)])
        return tuple(found), begun


def _served(problem: Problem, request: Request, base_mw: float, redispatch: bool) -> Match:
    """A request with every seller's offer, each at the setting of least loss with it.

    A seller is refused for voltages only where no setting holds them. The setting does little for the lines.
    """
    offers = []
    for seller in problem.sources.names:
        here = problem
        if redispatch:
            found = dispatch(newton(traded(problem, [(request, seller)])))
            here = problem.at(found.x) if found.feasible else problem
        offer = match(here, [request], [seller])[0].offers[0]
        offers.append(replace(offer, loss_change_percent=100 * (offer.loss_mw / base_mw - 1)))
    allowed = [offer for offer in offers if not offer.refused]
    best = min(allowed, key=lambda offer: offer.loss_change_percent, default=None)
    return Match(request, tuple(offers), best.seller if best else None)


def _deal(problem: Problem, state: States, found: Match) -> Deal:
    """A match with its price: by how much the seller's cost of active power rises, for each MWh."""
    offer = next(offer for offer in found.offers if offer.seller == found.seller)
    row = problem.sources.names.index(offer.seller)
    _, linear, square = problem.sources.cost[row].tolist()
    rise = linear + square * (2 * float(state.p_source_mw[0, row]) + found.request.p_mw)
    return Deal(found.request, offer.seller, offer.loading, offer.loss_mw, rise)


def at(problem: Problem, seen: Seen) -> Problem:
    """The problem with what the network shows; compensators that are not connected stay at 0."""
    svcs, off = problem.svcs, ~seen.in_service
    return replace(
        problem,
        network=replace(problem.network, closed=seen.closed),
        demands=replace(problem.demands, s_mva=seen.load_mva),
        sources=replace(problem.sources, p_mw=seen.p_gen_mw),
        svcs=replace(svcs, low_mvar=np.where(off, 0, svcs.low_mvar), high_mvar=np.where(off, 0, svcs.high_mvar)),
        fixed_mva=problem.fixed_mva + seen.others_mva,
    )  # fmt: skip


def is_whole(problem: Problem, closed: Mask) -> bool:
    """Whether all that is supplied still is with these branches (m,) closed."""
    label = islands(problem.network, closed)
    fed = label[problem.sources.bus[problem.sources.reference]]
    return bool(np.isin(label[problem.supplied], fed).all())


def connected(problem: Problem, x: Real, seen: Seen) -> Real:
    """A setting (k,) with compensators that are not connected at 0."""
    v, ratio, q = problem.parts(x)
    return np.concatenate((v, ratio, np.where(seen.in_service, q, 0)))


def terminal_pu(problem: Problem, x: Real) -> Real:
    """Voltages (s,) that, in the network with the problem's own ratios, act as a setting (k,) with others would.

    An ideal tap changer at a generator and what follows act on the network as V / T in front of what follows.
    """
    v, ratio, _ = problem.parts(x)
    found = v.copy()
    for row, changed in enumerate(problem.taps.ratio / ratio):
        found[problem.sources.bus == tap_bus(problem, row)] *= changed
    return found


def tap_bus(problem: Problem, row: int) -> int:
    """The bus at whose end of the branch a tap changer sits."""
    network, branch = problem.network, problem.taps.branch[row]
    return int((network.from_bus if problem.taps.at_from[row] else network.to_bus)[branch])
