"""The distribution system operator of a scenario in the mosaik world: what it sees, and what it tells the units."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gridloop.scenarios.dispatch_plan import DispatchPlan
from gridloop.scenarios.links import Start, link
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_ledger import open_notary
from gridloop.simulators.device import Sink
from gridloop.simulators.market.dispatch_simulator import (
    P_GEN,
    P_LOAD,
    P_SET,
    Q_GEN,
    Q_LOAD,
    Q_SET,
    V_SET,
    DispatchSimulator,
)
from gridloop.simulators.market.dso import Decision, Dso, terminal_pu
from gridloop.simulators.operation import Log

DISPATCH = "Dispatch"
DECISIONS = "dispatch.jsonl"  # in the folder of a run: a line for each slot


def add_dispatch(
    plan: Plan, world: Any, start: Start, shown_by: Callable[[str, str], Any], sinks: Mapping[str, Sink],
    log: Log | None, folder: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Start a plan's operator and connect it; the arguments are those of `wire_market.add_market`.

    Returns:
        The entities by name: `NAME.dso` of each load and unit.
    """
    given = plan.dispatch
    if given is None:
        return {}
    problem = given.problem
    dso = Dso(problem, given.terms, given.requests, given.dispatch.flat_slots)
    simulator = DispatchSimulator(
        problem, dso, _notary(plan, given, folder), sink=sinks.get(DISPATCH),
        tell=None if folder is None else lambda decision: _append(folder / DECISIONS, decision), log=log,
    )  # fmt: skip
    made = start(
        DISPATCH, simulator, slot_s=given.slot_s, lead_s=given.lead_s, events=given.failures, switching=given.switching
    )
    found: dict[str, Any] = {}

    def add(name: str, kind: str, *seen: str, **params: Any) -> Any:
        entity = found[f"{name}.dso"] = getattr(made, kind)(name=name, **params)
        for attr in seen:
            link(world, shown_by(name, attr), entity, attr)
        return entity

    def tell(name: str, **first: float) -> None:
        for attr, value in first.items():
            told = {"v": V_SET, "p": P_SET, "q": Q_SET}[attr]
            link(world, found[f"{name}.dso"], shown_by(name, told), told, time_shifted=True, initial_data={told: value})

    for name in problem.demands.names:
        add(name, "Load", P_LOAD, Q_LOAD)
    for name, bus in given.others.items():
        add(name, "Other", P_GEN, Q_GEN, bus=bus)
    for name, v_pu in zip(problem.sources.names, terminal_pu(problem, problem.start).tolist(), strict=True):
        add(name, "Generator", P_GEN, p_set_mw=given.p_set_mw[name])
        tell(name, v=v_pu, p=given.p_set_mw[name])
    for name, q_mvar in zip(problem.svcs.names, problem.svcs.q_mvar.tolist(), strict=True):
        add(name, "Compensator")
        tell(name, q=q_mvar)
    for name in given.buyers:
        add(name, "Buyer", P_GEN)
        tell(name, p=0.0)
    return found


def _notary(plan: Plan, given: DispatchPlan, folder: Path | None) -> Any:
    """Who takes trades to the ledger; None where nobody buys."""
    if not given.requests:
        return None
    sellers, buyers = given.problem.sources.names, given.buyers
    roles = dict.fromkeys(sellers, ("seller",)) | dict.fromkeys(buyers, ("buyer",))
    buses = {name: plan.scenario.units[name].bus for name in roles}
    return open_notary(plan.scenario.seed, roles, buses, given.slot_s, folder)


def _append(path: Path, decision: Decision) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(as_json(decision)) + "\n")


def as_json(decision: Decision) -> dict[str, Any]:
    """A decision as plain data; what is not finite is null."""
    from gridloop.scenarios.market_tables import finite, prices_json

    problem, network = decision.problem, decision.problem.network
    found, prices = decision.found, decision.prices

    def levels(losses: Any) -> dict[str, float]:
        return {n: float(abs(losses.states.v_pu[0, row])) for n, row in
                zip(network.bus_names, network.bus_row.tolist(), strict=True)}  # fmt: skip

    plain = {
        "slot": decision.slot, "is_flat": decision.is_flat, "feasible": decision.feasible,
        "broken": list(decision.broken), "loss_before_mw": float(decision.before.loss_mw[0]),
        "loss_mw": float(decision.after.loss_mw[0]),
        "setting": dict(zip(problem.control_names, decision.x.tolist(), strict=True)),
        "v_before_pu": levels(decision.before), "v_pu": levels(decision.after),
        "band_pu": [float(problem.v_min_pu.max()), float(problem.v_max_pu.min())],
        "history": [] if found is None else found.history.tolist(),
        "prices": None if prices is None else prices_json(prices),
        "matches": [
            {"buyer": one.request.name, "bus": one.request.bus, "p_mw": one.request.p_mw, "seller": one.seller,
             "offers": [vars(offer) | {"refused": list(offer.refused)} for offer in one.offers]}
            for one in decision.matches
        ],
        "deals": [
            {"buyer": d.request.name, "seller": d.seller, "p_mw": d.request.p_mw, "price_per_mwh": d.price_per_mwh}
            for d in decision.deals
        ],
    }  # fmt: skip
    return dict(finite(plain))
