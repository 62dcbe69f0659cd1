"""What the commands `market` print: tables for people, plain dictionaries for --json."""

from typing import TYPE_CHECKING, Any

import numpy as np

from gridloop.scenarios.console import line, out, plural, show_table
from gridloop.scenarios.market_paper import as_json, as_rows

if TYPE_CHECKING:
    from gridloop.scenarios.market_paper import Figure
    from gridloop.simulators.market.dispatch import Dispatch
    from gridloop.simulators.market.matching import Match
    from gridloop.simulators.market.pricing import Prices
    from gridloop.simulators.models.network import Real

MOST_SHOWN, LEAST_SHOWN = 5, 5e-4  # parts of a sum in a cell, and what would show as 0.000


def show_dispatch(found: "Dispatch", check_mw: float, remark: str) -> None:
    """What was found, beside what pandapower says of it."""
    problem = found.problem
    low, high = problem.bounds
    free = [row for row in range(len(low)) if high[row] > low[row]]
    line(out, "method", f"{found.method}, power flow {found.backend}: {plural(found.evaluations, 'power flow')}, "
                        f"{plural(found.gradients, 'gradient')}")  # fmt: skip
    if remark:
        line(out, "", remark, "yellow")
    before, after = found.before.loss_mw[0], found.loss_mw
    line(out, "before", f"{before:.6f} MW, outside limits by {found.before.violation_pu[0]:.6f} pu")
    text = f"{after:.6f} MW ({100 * (after / before - 1):+.2f} %), pandapower {check_mw:.6f} MW"
    if found.feasible:
        line(out, "dispatched", text, "green")
    else:
        line(out, "infeasible", f"no setting was found that keeps all limits; the nearest loses {text}", "red")
        for words in found.broken:
            line(out, "", words, "red")
    if free:
        show_table([
            {"control": problem.control_names[row], "before": f"{problem.start[row]:10.5f}",
             "dispatched": f"{found.x[row]:10.5f}", "lowest": f"{low[row]:9.3f}", "highest": f"{high[row]:9.3f}"}
            for row in free
        ])  # fmt: skip
    show_table([
        {"source": name, "Q before [Mvar]": f"{q0:11.4f}", "Q dispatched": f"{q1:11.4f}", "least": f"{low_q:9.2f}",
         "most": f"{high_q:9.2f}"}
        for name, q0, q1, low_q, high_q in zip(
            problem.sources.names, found.before.states.q_source_mvar[0], found.after.states.q_source_mvar[0],
            problem.sources.q_min_mvar, problem.sources.q_max_mvar, strict=True,
        )
    ])  # fmt: skip
    step = max(1, len(found.history) // 10)
    shown = [*found.history[:-1:step], found.history[-1]]
    show_table([
        {"power flows": f"{int(count):6d}", "best loss [MW]": f"{loss:12.6f}", "outside limits [pu]": f"{outside:.6f}"}
        for count, loss, outside in shown
    ])  # fmt: skip


def show_prices(prices: "Prices") -> None:
    """Costs, who pays them, and who feeds whom."""
    show_table([
        {"source": name, "P [MW]": "" if p != p else f"{p:9.3f}", "Q [Mvar]": f"{q:9.3f}", "$/h": f"{cost:9.3f}"}
        for name, p, q, cost in zip(prices.names, prices.p_mw, prices.q_mvar, prices.cost_per_h, strict=True)
    ])  # fmt: skip
    line(out, "total", f"{prices.cost_per_h.sum():.3f} $/h")
    fed = prices.trace.to(prices.load_names)
    show_table([
        {"load": name, "Q [Mvar]": f"{fed[row].sum():9.3f}", "$/h": f"{prices.share_per_h[row].sum():9.3f}",
         "pays [$/h]": _largest(prices.names, prices.share_per_h[row]),
         "fed by [Mvar]": _largest(prices.trace.sources.names, fed[row])}
        for row, name in enumerate(prices.load_names)
    ])  # fmt: skip


def _largest(names: tuple[str, ...], amounts: "Real") -> str:
    """The largest of several amounts by name; what is left out is named as such."""
    order = [row for row in np.argsort(-amounts, kind="stable") if amounts[row] > LEAST_SHOWN]
    words = [f"{names[row]} {amounts[row]:.3f}" for row in order[:MOST_SHOWN]]
    rest = amounts[order[MOST_SHOWN:]].sum()
    return ", ".join(words + ([f"{len(order) - MOST_SHOWN} more {rest:.3f}"] if len(order) > MOST_SHOWN else []))


def show_match(found: "Match") -> None:
    """Every seller's offer."""
    request = found.request
    head = f"bus {request.bus} buys {request.p_mw:g} MW from {request.start_h:g} to {request.end_h:g} h"
    line(out, "match" if found.seller else "no match", f"{head}: {found.seller or 'every seller is refused'}",
         "green" if found.seller else "red")  # fmt: skip
    show_table([
        {"seller": offer.seller, "loss change [%]": f"{offer.loss_change_percent:+9.2f}",
         "loss [MW]": f"{offer.loss_mw:9.4f}", "most loaded": f"{offer.line} {100 * offer.loading:.1f} %",
         "refused": "; ".join(offer.refused)}
        for offer in found.offers
    ])  # fmt: skip


def show_figures(figures: "list[Figure]") -> None:
    """The paper's figures beside ours."""
    if figures:
        line(out, "paper", "Danalakshmi et al., Energies 13 (2020) 6179, its figures beside ours")
        show_table(as_rows(figures))


def figures_json(figures: "list[Figure]") -> dict[str, Any]:
    """The same for --json."""
    return {"paper": as_json(figures)} if figures else {}


def dispatch_json(found: "Dispatch", check_mw: float, remark: str) -> dict[str, Any]:
    """For --json."""
    problem, state = found.problem, found.after.states
    return {
        "method": found.method, "backend": found.backend, "remark": remark, "feasible": found.feasible,
        "broken": list(found.broken), "loss_before_mw": float(found.before.loss_mw[0]), "loss_mw": found.loss_mw,
        "loss_pandapower_mw": check_mw, "violation_before_pu": float(found.before.violation_pu[0]),
        "violation_pu": float(found.after.violation_pu[0]), "evaluations": found.evaluations,
        "gradients": found.gradients, "setting": dict(zip(problem.control_names, found.x.tolist(), strict=True)),
        "q_mvar": dict(zip(problem.sources.names, state.q_source_mvar[0].tolist(), strict=True)),
        "v_pu": {n: float(abs(state.v_pu[0, row])) for n, row in
                 zip(problem.network.bus_names, problem.network.bus_row, strict=True)},
        "history": found.history.tolist(),
    }  # fmt: skip


def prices_json(prices: "Prices") -> dict[str, Any]:
    """For --json."""

    def by_load(names: tuple[str, ...], rows: Any) -> dict[str, dict[str, float]]:
        return {
            load: dict(zip(names, row, strict=True)) for load, row in zip(prices.load_names, rows.tolist(), strict=True)
        }

    names, traced = prices.names, prices.trace
    return {
        "cost_per_h": dict(zip(names, prices.cost_per_h.tolist(), strict=True)),
        "p_mw": dict(zip(names, prices.p_mw.tolist(), strict=True)),
        "q_mvar": dict(zip(names, prices.q_mvar.tolist(), strict=True)),
        "share_per_h": by_load(names, prices.share_per_h),
        "fed_mvar": by_load(traced.sources.names, traced.to(prices.load_names)),
    }


def finite(value: Any) -> Any:
    """JSON has no nan and no infinity: null in their place."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
