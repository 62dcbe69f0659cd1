"""What reactive power costs, and which load pays it.

Source: Danalakshmi et al., Energies 13 (2020) 6179, eq. 8 to 12; units of eq. 12 restored, they omit S x 1000.
"""

from dataclasses import dataclass

import numpy as np

from gridloop.simulators.market.limits import States, newton
from gridloop.simulators.market.problem import Problem
from gridloop.simulators.market.tracing import Trace, trace_reactive
from gridloop.simulators.models.network import Real

READINGS = ("apparent", "capability")
SVC_RATINGS = ("output", "lines")
PROFIT_RATE = 0.1  # k of eq. 8
SVC_YEARS = 5.0  # over which an SVC is paid off
LARGEST_SVC_MVAR = 508.0  # beyond it the quadratic of eq. 10 would rise again
NOTHING_MVAR = 1e-9  # a source that feeds loads with less feeds none


def active_cost(p_mw: Real, cost: Real) -> Real:
    """Cost [$/h] of active power (s,) [MW] by a + b P + c P^2, `cost` (s, 3). Eq. 9."""
    result: Real = cost[:, 0] + cost[:, 1] * p_mw + cost[:, 2] * p_mw**2
    return result


def apparent_cost(p_mw: Real, q_mvar: Real, cost: Real) -> Real:
    """Cost [$/h] of reactive power as that of S instead of P: eq. 8 as it is printed, and as the paper used it."""
    return PROFIT_RATE * np.abs(active_cost(np.hypot(p_mw, q_mvar), cost) - active_cost(p_mw, cost))


def capability_cost(s_max_mva: Real, q_mvar: Real, cost: Real) -> Real:
    """Cost [$/h] of the active power that reactive power leaves no room for: the literature's opportunity cost.

    Raises:
        ValueError: |Q| exceeds S_max.
    """
    if (np.abs(q_mvar) > s_max_mva).any():
        row = int(np.argmax(np.abs(q_mvar) - s_max_mva))
        raise ValueError(f"row {row}: |Q| = {abs(q_mvar[row]):.2f} Mvar exceeds s_max_mva = {s_max_mva[row]:g}")
    left = np.sqrt(s_max_mva**2 - q_mvar**2)
    return PROFIT_RATE * (active_cost(s_max_mva, cost) - active_cost(left, cost))


def svc_cost(s_mvar: Real, years: float = SVC_YEARS) -> Real:
    """Cost [$/h] of SVCs (c,) rated `s_mvar`, paid off over `years`. Eq. 10 and 12, S clamped to 0..508 Mvar."""
    s = np.clip(s_mvar, 0, LARGEST_SVC_MVAR)
    per_kvar = 0.0003 * s**2 - 0.3051 * s + 127.38
    result: Real = per_kvar * s * 1000 / (8760 * years)
    return result


def relieved_mvar(problem: Problem, x: Real, state: States) -> Real:
    """S of eq. 11 (c,) as the paper's prices imply it: what each SVC takes off the far ends of the lines to its bus.

    'Before' is the same setting with that SVC at 0.

    Raises:
        ValueError: without it the power flow does not converge.
    """
    network, count = problem.network, len(problem.svcs.bus)
    settings = np.tile(x, (count, 1))
    column = len(x) - count + np.arange(count)
    settings[np.arange(count), column] = 0
    before = newton(problem).losses(settings).states
    if not np.isfinite(before.v_pu).all():
        raise ValueError("without its SVC the net has no power flow; rate it by its output instead")
    change_from = np.abs(before.s_from_pu.imag - state.s_from_pu.imag)
    change_to = np.abs(before.s_to_pu.imag - state.s_to_pu.imag)
    at = problem.svcs.bus[:, None]
    far = np.where(network.to_bus == at, change_from, 0) + np.where(network.from_bus == at, change_to, 0)
    result: Real = network.s_base_mva * far.sum(axis=1)
    return result


@dataclass(frozen=True)
class Prices:
    """Cost of every source's and compensator's reactive power [$/h], and how the loads share it."""

    names: tuple[str, ...]  # sources, then compensators
    p_mw: Real  # nan for a compensator
    q_mvar: Real  # > 0 produced; absorbing is priced alike
    cost_per_h: Real
    load_names: tuple[str, ...]
    share_per_h: Real  # (loads, names); columns sum to the costs
    trace: Trace


def price(
    problem: Problem, x: Real, reading: str = "apparent", svc_rating: str = "output", years: float = SVC_YEARS
) -> Prices:
    """Price the reactive power of a setting and share its cost among the loads by tracing.

    Args:
        problem: its sources need costs; one generator a bus.
        x: setting (k,).
        reading: "apparent" (eq. 8 as printed) or "capability" (of the generator's rating; `sn_mva`, else `max_p_mw`).
        svc_rating: S of an SVC is its "output" |Q|, or what it relieves the "lines" of, as the paper has it.
        years: over which SVCs are paid off.

    Returns:
        Costs and shares. Who feeds no load, or absorbs, is paid by all loads in proportion to |Q|.

    Raises:
        ValueError: no power flow, no costs, an unknown reading, or |Q| beyond the rating.
    """
    for name, value, known in (("pricing", reading, READINGS), ("svc rating", svc_rating, SVC_RATINGS)):
        if value not in known:
            raise ValueError(f"{name} {value!r}: there are {', '.join(known)}")
    if not years > 0:
        raise ValueError(f"years = {years:g} must be > 0")
    state = newton(problem).losses(x[None]).states
    if not np.isfinite(state.v_pu).all():
        raise ValueError("the power flow does not converge, so nothing can be priced")
    sources, svc_q = problem.sources, problem.parts(x)[2]
    unpriced = [name for name, row in zip(sources.names, sources.cost, strict=True) if np.isnan(row).any()]
    if unpriced:
        raise ValueError(f"no cost polynomial (poly_cost) for the one generator of {', '.join(unpriced)}")
    p, q = state.p_source_mw[0], state.q_source_mvar[0]
    if reading == "apparent":
        cost = apparent_cost(p, q, sources.cost)
    else:
        cost = capability_cost(sources.s_max_mva, q, sources.cost)
    rating = np.abs(svc_q) if svc_rating == "output" else relieved_mvar(problem, x, state)
    cost = np.concatenate((cost, svc_cost(rating, years)))
    traced, names = trace_reactive(problem, x, state), sources.names + problem.svcs.names
    return Prices(
        names, np.concatenate((p, np.full(len(svc_q), np.nan))), np.concatenate((q, svc_q)), cost,
        problem.demands.names, shares(problem, traced, names, cost), traced,
    )  # fmt: skip


def shares(problem: Problem, traced: Trace, names: tuple[str, ...], cost: Real) -> Real:
    """What each load pays (loads, names) of each cost [$/h]; losses and charging fall on who is fed."""
    to_loads = traced.to(problem.demands.names)
    column = {name: place for place, name in enumerate(traced.sources.names)}
    by_size = np.abs(problem.demands.s_mva.imag)
    if not by_size.any():
        by_size = np.abs(problem.demands.s_mva)
    result = np.zeros((len(by_size), len(names)))
    for row, name in enumerate(names):
        fed = to_loads[:, column[name]] if name in column else np.zeros(len(by_size))
        fed = fed if fed.sum() > NOTHING_MVAR else by_size
        result[:, row] = cost[row] * fed / fed.sum()
    return result
