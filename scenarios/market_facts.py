"""What a run's record tells of its market."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from gridloop.scenarios.profile_files import sources
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_dispatch import DISPATCH
from gridloop.scenarios.wire_ledger import DSO
from gridloop.scenarios.wire_market import FORECAST_SIM, NEGOTIATION, TRADE
from gridloop.simulators.market import dispatch_simulator, forecast_simulator, negotiation_simulator, trade_simulator

WHOLE = "market"  # entity of what all agents together expect, need and trade


def market_entities(plan: Plan) -> tuple[str, ...]:
    """The market as a whole, its organisations, and the DSO that dispatches."""
    dso = () if plan.dispatch is None else (DSO,)
    return dso if plan.market is None else (WHOLE, *_organisations(plan), *dso)


def market_columns(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Recorded columns by the simulator's name."""
    found: dict[str, tuple[str, ...]] = {}
    if plan.dispatch is not None:
        problem = plan.dispatch.problem
        names = (*problem.sources.names, *problem.svcs.names)
        found[DISPATCH] = tuple(f"{DSO}.{attr}" for attr in dispatch_simulator.columns(names))
    if plan.market is None:
        return found
    found |= {
        FORECAST_SIM: tuple(f"{WHOLE}.{attr}" for attr in forecast_simulator.COLUMNS),
        NEGOTIATION: negotiation_simulator.columns(_organisations(plan)),
    }
    if plan.market.market.trades is not None:
        found[TRADE] = tuple(f"{WHOLE}.{attr}" for attr in trade_simulator.COLUMNS)
    return found


def market_facts(plan: Plan) -> dict[str, Any] | None:
    """What every reader of a result must know of the market."""
    if plan.market is None:
        return None
    market = plan.market.market
    return {
        "slot_s": market.slot_s, "lead_s": market.lead_s, "organisation": market.organisation,
        "beside": list(_beside(plan)), "forecast": market.forecast, "trades": market.trades is not None,
        "agents": [agent.name for agent in plan.market.agents], "offers": list(market.offers),
        "failures": [list(one) for one in plan.market.failures],
        "data": {name: _checksum(source.file) for name, source in sources(plan.scenario).items()},
    }  # fmt: skip


def _checksum(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def dispatch_facts(plan: Plan) -> dict[str, Any] | None:
    """What every reader of a result must know of the dispatch."""
    if plan.dispatch is None:
        return None
    given = plan.dispatch
    return {
        "slot_s": given.slot_s, "lead_s": given.lead_s, "flat_slots": [0, *given.dispatch.flat_slots],
        "pricing": given.dispatch.pricing, "method": given.dispatch.method, "net": plan.scenario.grid.net,
    }  # fmt: skip


def _organisations(plan: Plan) -> tuple[str, ...]:
    assert plan.market is not None
    return (plan.market.market.organisation, *_beside(plan))


def _beside(plan: Plan) -> tuple[str, ...]:
    assert plan.market is not None
    market = plan.market.market
    return tuple(name for name in market.beside if name != market.organisation)
