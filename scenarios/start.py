"""From a scenario to numbers: the network, the units' groups and the operating point at which nothing moves."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridloop.hil.fault_course import PlannedFault
from gridloop.scenarios.agent_plan import AgentRow
from gridloop.scenarios.control_plan import ControlPlan, Link, control_plan, signal_links
from gridloop.scenarios.device_plan import DeviceRow, device_commands, device_faults, device_rows
from gridloop.scenarios.dispatch_plan import DispatchPlan, dispatch_plan
from gridloop.scenarios.event_parts import LoadEvent
from gridloop.scenarios.groups import Group
from gridloop.scenarios.market_plan import MarketPlan, market_plan
from gridloop.scenarios.operating_point import OperatingPoint, Placed, droop_start, power_flow_start, stiffness
from gridloop.scenarios.placed_units import Units
from gridloop.scenarios.placement import meter_problems, placement_problems
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.profile_files import read_profiles
from gridloop.scenarios.schedule import Change, grid_events, set_point_changes
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.serve_checks import unknown_parts
from gridloop.scenarios.sources import Arrays, Packs, arrays, beyond_sources, packs
from gridloop.scenarios.steady_checks import steady_problems
from gridloop.simulators.case import Case, Pcc, Stage, Synchrocheck
from gridloop.simulators.events import PCC, Event
from gridloop.simulators.models.network import Network, Real
from gridloop.simulators.models.powerflow import PowerFlowError
from gridloop.simulators.models.solve import VoltageCollapse
from gridloop.simulators.net_case import LoadLaw, net_loads, rebased
from gridloop.simulators.pandapower_net import ImportedNet, import_net, load_net
from gridloop.simulators.protection import synchrocheck_for

LONGEST_H_LAMBDA = 0.5  # macro step times stiffness up to which the coupling is accurate


@dataclass(frozen=True)
class Plan:
    """A scenario ready to be built.

    `h_lambda` is the macro step times the stiffness of the coupling [1], 0 where nothing moves between two steps.
    """

    scenario: Scenario
    case: Case
    groups: tuple[Group, ...]
    events: tuple[Event, ...]
    changes: tuple[Change, ...]
    f_start_hz: float
    h_lambda: float
    position: Real  # (bus names, 2) for drawings
    branch_kinds: tuple[str, ...]
    packs: tuple[Packs, ...] = ()
    arrays: tuple[Arrays, ...] = ()
    control: ControlPlan | None = None
    signals: tuple[Link, ...] = ()  # single connections over links
    devices: tuple[DeviceRow, ...] = ()
    commands: tuple[tuple[float, str, str], ...] = ()  # to devices: when, unit, swap or unswap
    faults: tuple[PlannedFault, ...] = ()  # of emulated devices
    market: MarketPlan | None = None
    dispatch: DispatchPlan | None = None
    margins: dict[str, Any] = field(default_factory=dict)  # of devices, as far as they were asked for: DeviceMargin

    @property
    def event_times_s(self) -> list[float]:
        """When something happens."""
        swaps = {t_s for t_s, *_ in self.commands}
        faults = {t_s for fault in self.faults for t_s in (fault.t_s, fault.t_s + (fault.for_s or 0.0))}
        events, changes = {event.t_s for event in self.events}, {change.t_s for change in self.changes}
        return sorted(events | changes | swaps | faults)

    @property
    def agents(self) -> tuple[AgentRow, ...]:
        """Agents of secondary control that are physical."""
        return () if self.control is None else self.control.devices

    @property
    def stand_ins(self) -> tuple[DeviceRow | AgentRow, ...]:
        """All devices: in place of units, then in place of agents."""
        return (*self.devices, *self.agents)

    @property
    def links(self) -> tuple[Link, ...]:
        """All communication links, in the order of their recorded columns."""
        control = self.control
        if self.scenario.mode == "steady":  # delays are over before a step ends
            return ()
        of_control = (*control.links, *control.measured_over) if control is not None else ()
        return (*of_control, *self.signals, *(link for one in self.devices for link in one.links))

    @property
    def feeders(self) -> tuple[str, ...]:
        """Everything that feeds the network, in the grid's order: EMFs, the pcc, injections."""
        emf, power = ([i for g in self.groups if g.source == kind for i in g.ids] for kind in ("emf", "power"))
        return (*emf, *([] if self.case.pcc is None else [PCC]), *power)


def plan(scenario: Scenario) -> Plan:
    """Import the network, place the units and solve the start.

    Raises:
        ScenarioError: the network, a bus or a line does not exist, a generator bus has no unit, a profile cannot be
            read, the start has no solution.
    """
    net = _import(scenario)
    problems = placement_problems(scenario, net)
    if problems:
        raise scenario.error(*problems)
    network, law = net.network, scenario.grid.loads
    touched = [network.row_of_bus(e.bus) for e in scenario.events if isinstance(e, LoadEvent)]
    loads, load_names = net_loads(net, LoadLaw(law.zip_p, law.zip_q, law.k_pf, law.k_qf, law.v0_pu), touched)
    problems = [*meter_problems(scenario, network, load_names), *unknown_parts(scenario, network.bus_names)]
    if problems:
        raise scenario.error(*problems)
    units = Units(scenario, network, read_profiles(scenario), net.generators.bus.tolist())
    if scenario.start == "droop" and units.without_droop:
        raise scenario.error(*(
            Problem(("units", name), "start: droop needs a droop law, which this type has none of: start: power_flow")
            for name in units.without_droop
        ))  # fmt: skip
    placed, pcc = units.placed, _pcc(scenario, network)
    try:
        if scenario.start == "power_flow":
            start = power_flow_start(network, loads, net.generators, placed, pcc, law.v0_pu)
        else:
            start = units.behind_impedances(droop_start(network, loads, units.at_terminals(placed), pcc))
    except (PowerFlowError, VoltageCollapse, ArithmeticError) as error:
        raise scenario.error(Problem(("start",), f"{scenario.start}: {_explain(error, network)}")) from error
    problems = _beyond_limits(scenario, placed, start)
    if problems:
        raise scenario.error(*problems)
    if law.v0_pu is None and scenario.start == "power_flow":
        level = np.abs(start.v_bus[loads.bus])
        loads = loads._replace(v0_pu=np.where(level > 0, level, 1.0))
    changeable = {int(row): i for i, row in enumerate(loads.bus) if load_names[i].startswith("load")}
    case = Case(
        network, loads, load_names, changeable, start.v_bus, start.s_bus, pcc, _stages(scenario, network, changeable),
        law.bus_filter_ms * 1e-3 if law.frequency == "bus" else None,
    )  # fmt: skip
    moves = scenario.mode == "rms"
    h_lambda = stiffness(network, loads, placed, pcc, start) * scenario.step_ms * 1e-3 if moves else 0.0
    groups = units.groups(start)
    problems = steady_problems(scenario, groups) if scenario.mode == "steady" else []
    if problems:
        raise scenario.error(*problems)
    batteries = packs(scenario, groups)
    beyond = beyond_sources(groups, batteries, units.available)
    if beyond:
        raise scenario.error(*(
            Problem(("units", name), f"start: {scenario.start}: {name} {text}; change the start or the source")
            for name, text in beyond.items()
        ))  # fmt: skip
    return Plan(
        scenario, case, groups, grid_events(scenario), set_point_changes(scenario), start.f_hz, h_lambda,
        net.position, net.branch_kinds, batteries, arrays(units.available, groups),
        control_plan(scenario, groups), signal_links(scenario), device_rows(scenario, groups, network.s_base_mva),
        device_commands(scenario), device_faults(scenario), market=market_plan(scenario, groups),
        dispatch=dispatch_plan(scenario, groups, load_names),
    )  # fmt: skip


def _import(scenario: Scenario) -> ImportedNet:
    grid, base = scenario.grid, scenario.grid.base
    try:
        raw = load_net(grid.net, scenario.folder_of("grid", "net"))
        net = import_net(raw, next(iter(scenario.units.values())).bus)
    except ValueError as error:
        raise scenario.error(Problem(("grid", "net"), str(error))) from error
    s_mva, v_kv = (None, None) if base is None else (base.s_mva, base.v_kv)
    return rebased(net, s_mva, v_kv, grid.f_nom_hz)


def _beyond_limits(scenario: Scenario, placed: Placed, start: OperatingPoint) -> list[Problem]:
    """Units that the start asks for more than their largest current: their limit would act at once."""
    v = start.v_bus[placed.row]
    current = np.abs(np.divide(start.s_pu, v, out=np.zeros_like(start.s_pu), where=v != 0))
    return [
        Problem(
            ("units", name),
            f"start: {scenario.start}: {name} would carry {100 * i / most:.0f} % of its largest current; "
            "give it a higher i_max_percent, or less to do",
        )
        for name, i, most in zip(scenario.units, current, placed.i_max_pu, strict=True) if i > most * (1 + 1e-9)
    ]  # fmt: skip


def _explain(error: Exception, network: Network) -> str:
    if isinstance(error, PowerFlowError):
        named = [n for n, row in zip(network.bus_names, network.bus_row, strict=True) if row == error.bus]
        return f"{error}; the largest mismatch is at bus {named[0] if named else error.bus}"
    return str(error)


def _pcc(scenario: Scenario, network: Network) -> Pcc | None:
    given = scenario.pcc
    if given is None:
        return None
    total_kva = sum(unit.parameters.get("s_rated_kva", 0.0) for unit in scenario.units.values())
    sync = synchrocheck_for(total_kva) if given.sync is None else Synchrocheck(**dict(given.sync))
    f_hz = network.f_nom_hz if given.f_hz is None else given.f_hz
    z = complex(given.r_pu, given.x_pu)
    return Pcc(given.bus, z, given.v_pu, float(np.radians(given.angle_deg)), f_hz, given.closed, sync)


def _stages(scenario: Scenario, network: Network, load_of_bus: dict[int, int]) -> tuple[Stage, ...]:
    stages = []
    for stage in scenario.load_shedding:
        rows = list(load_of_bus) if stage.buses is None else [network.row_of_bus(bus) for bus in stage.buses]
        loads = tuple(load_of_bus[row] for row in dict.fromkeys(rows) if row in load_of_bus)
        stages.append(Stage(stage.below_hz, stage.delay_ms * 1e-3, stage.share_percent / 100, loads))
    return tuple(stages)
