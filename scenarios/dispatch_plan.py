"""What a scenario's dispatch needs to be built: the net as a problem whose controls are units."""

from dataclasses import dataclass, replace

import numpy as np

from gridloop.scenarios.dispatch_parts import Dispatch
from gridloop.scenarios.event_parts import LineEvent, UnitEvent
from gridloop.scenarios.groups import Group, parameter
from gridloop.scenarios.market_plan import failures
from gridloop.scenarios.problems import Path, Problem
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.wire_ledger import DSO
from gridloop.simulators.market import problem as market_problem
from gridloop.simulators.market.dso import Terms, tap_bus
from gridloop.simulators.market.matching import Request
from gridloop.simulators.market.net import dispatch_net
from gridloop.simulators.pandapower_net import load_net

HERE: Path = ("market", "dispatch")


@dataclass(frozen=True)
class DispatchPlan:
    """Dispatch ready to be built."""

    dispatch: Dispatch
    slot_s: float
    lead_s: float
    problem: market_problem.Problem  # sources and compensators have the names of units
    terms: Terms
    requests: tuple[Request, ...]  # hours count slots; names are the buyers'
    p_set_mw: dict[str, float]  # of the generators
    others: dict[str, str]  # units that are only looked at
    failures: tuple[tuple[float, str, str], ...]
    switching: tuple[tuple[float, str, str], ...]

    @property
    def buyers(self) -> tuple[str, ...]:
        """Units that ask for something."""
        return tuple(dict.fromkeys(request.name for request in self.requests))


def dispatch_plan(scenario: Scenario, groups: tuple[Group, ...], load_names: tuple[str, ...]) -> DispatchPlan | None:
    """The dispatch of a scenario; None if it has none.

    Raises:
        ScenarioError: the net cannot be dispatched, or its generators' buses and the generators do not fit together.
    """
    market = scenario.market
    if market is None or market.dispatch is None:
        return None
    given = market.dispatch
    try:
        net = dispatch_net(load_net(scenario.grid.net, scenario.folder_of("grid", "net"))).problem
    except ValueError as error:
        raise scenario.error(Problem(("grid", "net"), str(error))) from error
    problems = _misplaced(scenario, given, net) or _not_held(given, groups)
    if problems:
        raise scenario.error(*problems)
    net = _with_loads(_with_real_taps(net), load_names)
    problem = _with_compensators(scenario, _with_generators(scenario, given, net, groups), groups)
    requests = tuple(
        Request(one.buyer, scenario.units[one.buyer].bus, one.p_kw / 1e3, *map(float, one.slots))
        for one in given.requests
    )  # fmt: skip
    told = {*given.generators, *given.svcs, *(request.name for request in requests)}
    return DispatchPlan(
        given, market.slot_s, market.lead_s, problem,
        Terms(given.method, given.profile, scenario.seed, given.pricing, given.svc_rating, given.years), requests,
        {unit: parameter(groups, unit, "p_set_kw") / 1e3 for unit in given.generators},
        {name: unit.bus for name, unit in scenario.units.items() if name not in told},
        failures(scenario, [DSO]),
        _switching(scenario, problem),
    )  # fmt: skip


def _switching(scenario: Scenario, problem: market_problem.Problem) -> tuple[tuple[float, str, str], ...]:
    """What of the units and lines is switched, and when, lines by their names in the problem."""
    network, found = problem.network, []
    for event in scenario.events:
        if isinstance(event, UnitEvent):
            found.append((event.t_s, str(event.do), event.unit))
        elif isinstance(event, LineEvent):
            found.append((event.t_s, str(event.do), network.branch_names[network.row_of_branch(event.line)]))
    return tuple(found)


def _misplaced(scenario: Scenario, given: Dispatch, net: market_problem.Problem) -> list[Problem]:
    """Generators that stand where the net has none, buses without one."""
    rows = {net.network.row_of_bus(scenario.units[unit].bus): unit for unit in given.generators}
    found = [
        Problem((*HERE, "generators", place), f"{unit} is not the one generator at a generator's bus of the net")
        for place, unit in enumerate(given.generators)
        if rows[net.network.row_of_bus(scenario.units[unit].bus)] != unit
        or net.network.row_of_bus(scenario.units[unit].bus) not in net.sources.bus
    ]  # fmt: skip
    for name, bus, cost in zip(net.sources.names, net.sources.bus.tolist(), net.sources.cost, strict=True):
        if bus not in rows:
            found.append(Problem((*HERE, "generators"), f"the net's generator {name} has no unit here"))
        elif np.isnan(cost).any():
            found.append(Problem(("grid", "net"), f"no cost polynomial (poly_cost) for the one generator of {name}"))
    return found


def _not_held(given: Dispatch, groups: tuple[Group, ...]) -> list[Problem]:
    """Generators that do not hold the voltage that they are told."""
    found = []
    for place, unit in enumerate(given.generators):
        group = next(group for group in groups if unit in group.ids)
        if parameter(groups, unit, "droop_q_percent") or group.z_pu[group.ids.index(unit)]:
            words = f"{unit} must hold the voltage as it is told: give it droop_q_percent: 0 and no z_pu"
            found.append(Problem((*HERE, "generators", place), words))
    return found


def _with_real_taps(net: market_problem.Problem) -> market_problem.Problem:
    """Tap changers can be moved where a generator can do it for them: one to a bus, its branch the only one there."""
    taps, network = net.taps, net.network
    ends = np.concatenate((network.from_bus[network.closed], network.to_bus[network.closed]))
    at = [tap_bus(net, row) for row in range(len(taps.branch))]
    free = np.array([bus in net.sources.bus and (ends == bus).sum() == 1 for bus in at], bool)
    low, high = (np.where(free, limit, taps.ratio) for limit in (taps.low, taps.high))
    return replace(net, taps=replace(taps, low=low, high=high))


def _with_loads(net: market_problem.Problem, load_names: tuple[str, ...]) -> market_problem.Problem:
    """The loads as the grid has them: one a bus, those that events bring too."""
    names = tuple(name for name in load_names if name.startswith("load"))
    rows = np.array([net.network.row_of_bus(name.removeprefix("load")) for name in names], np.intp)
    total = np.zeros(net.network.n_bus, complex)
    np.add.at(total, net.demands.bus, net.demands.s_mva)
    return replace(net, demands=market_problem.Demands(names, rows, total[rows]))


def _with_generators(
    scenario: Scenario, given: Dispatch, net: market_problem.Problem, groups: tuple[Group, ...]
) -> market_problem.Problem:
    """Sources by the names of the units at their buses, with the voltages of these."""
    rows = {net.network.row_of_bus(scenario.units[unit].bus): unit for unit in given.generators}
    units = [rows[bus] for bus in net.sources.bus.tolist()]
    level = np.array([parameter(groups, unit, "v_set_pu") for unit in units])
    held = net.sources.v_pu
    return replace(net, sources=replace(net.sources, names=tuple(units), v_pu=held / np.abs(held) * level))


def _with_compensators(
    scenario: Scenario, net: market_problem.Problem, groups: tuple[Group, ...]
) -> market_problem.Problem:
    """The scenario's compensators; those of the net give what they give."""
    assert scenario.market is not None and scenario.market.dispatch is not None
    given, own = scenario.market.dispatch.svcs, net.svcs
    fixed = net.fixed_mva.copy()
    np.add.at(fixed, own.bus, 1j * own.q_mvar)
    limits = np.array(list(given.values())).reshape(-1, 2) / 1e3
    return replace(
        net, fixed_mva=fixed,
        svcs=market_problem.Compensators(
            tuple(given), np.array([net.network.row_of_bus(scenario.units[unit].bus) for unit in given], np.intp),
            np.array([parameter(groups, unit, "q_set_kvar") / 1e3 for unit in given]), limits[:, 0], limits[:, 1],
        ),
    )  # fmt: skip
