"""What only several keys together show to be wrong with a market."""

from collections.abc import Collection, Iterator

from gridloop.scenarios.dispatch_checks import dispatch_problems
from gridloop.scenarios.market_parts import TIE, Market
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.unit_parts import PROFILE
from gridloop.scenarios.wire_ledger import DSO
from gridloop.simulators.market.contract_net import STAGES
from gridloop.simulators.market.negotiation_simulator import CONTROLLERS
from gridloop.simulators.market.slots import SLOT_S

RESERVED = ("market", *CONTROLLERS, *CONTROLLERS["standby"], DSO)  # entities and members of a market


def market_names(scenario: Scenario) -> list[str]:
    """Agents and controllers of the market, as events name them."""
    market = scenario.market
    if market is None:
        return []
    dso = [DSO] if market.dispatch is not None else []
    if not market.offers:
        return dso
    callers = [name for one in (market.organisation, *market.beside) for name in CONTROLLERS[one]]
    return list(dict.fromkeys([*spoken_for(scenario, market), *market.offers, *callers, *dso]))


def spoken_for(scenario: Scenario, market: Market) -> dict[str, list[str]]:
    """The units that consume or feed in as they do, by their agents; who forms the grid takes what is missing."""
    speaks = {unit: name for name, units in market.agents.items() for unit in units}
    found: dict[str, list[str]] = {}
    for unit in scenario.units:
        if unit not in market.offers and not _forms_the_grid(scenario, unit):
            found.setdefault(speaks.get(unit, unit), []).append(unit)
    return found


def _forms_the_grid(scenario: Scenario, unit: str) -> bool:
    try:
        model = scenario.model_of(unit)
    except ValueError:  # reported where the units are checked
        return False
    return model is not None and model.source == "emf"


def market_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Offers, agents and times; what is at the paths `broken` has been reported already."""
    market = scenario.market
    if market is None or ("market",) in broken:
        return
    yield from _times(scenario, market)
    yield from _offers(scenario, market, broken)
    yield from _agents(scenario, market)
    if market.dispatch is not None:
        yield from dispatch_problems(scenario, market.dispatch, broken)
    if market.offers and market.forecast == "ridge":
        yield from _ridge(scenario, market, broken)
    for name in RESERVED:
        if name in scenario.units or name in market.agents:
            path: Path = ("units", name) if name in scenario.units else ("market", "agents", name)
            yield Problem(path, f"{name!r} is the name of a part of the market: choose another")


def _times(scenario: Scenario, market: Market) -> Iterator[Problem]:
    step_s = scenario.step_ms * 1e-3
    for key in ("slot_s", "lead_s"):
        value = getattr(market, key)
        on_ledger = market.trades is not None or (market.dispatch is not None and market.dispatch.requests)
        if abs(value - round(value)) > 1e-9 and on_ledger:
            yield Problem(("market", key), f"must be whole seconds where there are trades, got {value:g}")
    if market.slot_s < step_s - 1e-9 or abs(market.slot_s / step_s - round(market.slot_s / step_s)) > 1e-9:
        yield Problem(("market", "slot_s"), f"must be a multiple of step_ms = {scenario.step_ms:g}")
    least_s = STAGES * market.patience_s
    if not market.offers:
        if not market.lead_s < market.slot_s:
            yield Problem(("market", "lead_s"), f"must be shorter than slot_s, got {market.lead_s:g}")
    elif not least_s <= market.lead_s < market.slot_s:
        message = f"must be at least {STAGES} times patience_s, {least_s:g} s, and shorter than slot_s"
        yield Problem(("market", "lead_s"), f"{message}, got {market.lead_s:g}")


def _offers(scenario: Scenario, market: Market, broken: Collection[Path]) -> Iterator[Problem]:
    for name in market.offers:
        path: Path = ("market", "offers", name)
        unit = scenario.units.get(name)
        if unit is None and name == TIE:
            if scenario.pcc is None:
                yield Problem(path, "the tie is the exchange with the utility grid: add `pcc:` to the scenario")
        elif unit is None:
            yield Problem(path, f"there is no unit {name!r}{did_you_mean(name, [*scenario.units, TIE])}")
        elif ("units", name) not in broken and (unit.type == PROFILE or "p_set_kw" not in _inputs(scenario, name)):
            yield Problem(path, f"{name} cannot be told its power: it needs a type with p_set_kw")


def _inputs(scenario: Scenario, name: str) -> Collection[str]:
    model = scenario.model_of(name)
    return ("p_set_kw",) if model is not None and "P_set[MW]" in {port.attr for port in model.inputs} else ()


def _agents(scenario: Scenario, market: Market) -> Iterator[Problem]:
    seen: set[str] = set()
    for name, units in market.agents.items():
        path: Path = ("market", "agents", name)
        if name in market.offers or (name in scenario.units and name not in units):
            yield Problem(path, f"{name!r} is the name of another agent already")
        for unit in units:
            if unit not in scenario.units:
                yield Problem(path, f"there is no unit {unit!r}{did_you_mean(unit, list(scenario.units))}")
            elif unit in market.offers:
                yield Problem(path, f"{unit} has an offer, and an agent of its own")
            elif _forms_the_grid(scenario, unit):
                yield Problem(path, f"{unit} forms the grid and takes what is missing: it has no agent")
            elif unit in seen:
                yield Problem(path, f"{unit} has another agent already")
            seen.add(unit)


def _ridge(scenario: Scenario, market: Market, broken: Collection[Path]) -> Iterator[Problem]:
    fix = "or take forecast: persistence"
    if market.slot_s != SLOT_S:
        yield Problem(("market", "slot_s"), f"ridge forecasts quarters of an hour: {SLOT_S} s, {fix}")
    if scenario.clock is None:
        yield Problem(("market", "forecast"), f"ridge needs `clock:`, the date and time at t = 0, {fix}")
    elif (scenario.clock.minute * 60 + scenario.clock.second) % SLOT_S or scenario.clock.microsecond:
        yield Problem(("clock",), f"ridge needs a start at a quarter of an hour, {fix}")
    for name, unit in scenario.units.items():
        if ("units", name) in broken or name in market.offers or _forms_the_grid(scenario, name):
            continue
        if unit.type != PROFILE:
            yield Problem(("units", name), f"ridge needs a history, which only units of type profile have, {fix}")
