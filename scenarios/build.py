"""A planned scenario as a mosaik world with everything connected.

```python
with open_world() as world:
    built = build(plan(load("ieee9")), world)
    world.connect(built.entities["inv1"], my_meter, "f[Hz]")     # your own simulator beside ours
    world.run(until=built.until)
```
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mosaik
import numpy as np
from mosaik.starters import PythonStarter

from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import Group, Plan
from gridloop.simulators.device import E_USED, EVENTS, DeviceSimulator, Sink, group_name
from gridloop.simulators.grid import GridSimulator
from gridloop.simulators.meter import MeterSimulator
from gridloop.simulators.profiles import ProfileSimulator

GRID_SHOWS = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]")  # of every unit
TIME_RESOLUTION = 1e-6  # seconds; 2.5 ms exists


@dataclass(frozen=True)
class Built:
    """Handles into a built world.

    `entities` holds every named mosaik entity: units, buses, branches, loads, `grid`; `groups` the group entities
    by the simulator's name, and `terminals` their counterparts in the grid.
    """

    plan: Plan
    world: mosaik.World
    entities: Mapping[str, Any]
    groups: Mapping[str, Any]
    terminals: Mapping[str, Any]
    simulators: Mapping[str, Any]  # the simulators in this process, by name
    until: int  # exclusive, so that the end itself is recorded


def open_world() -> mosaik.World:
    """A mosaik world as gridloop needs it; use it in a `with` statement, which ends the simulators.

    mosaik's cache is off because it delivers wrong data over time-shifted connections.
    """
    return mosaik.World(
        cache=False, skip_greetings=True, configure_logging=False, time_resolution=TIME_RESOLUTION
    )  # fmt: skip


def build(
    plan: Plan, world: mosaik.World, sinks: Mapping[str, Sink] | None = None,
    log: Callable[[float, str, str, str], None] | None = None,
) -> Built:  # fmt: skip
    """Start and connect the simulators of a plan.

    Args:
        plan: the scenario with its start.
        world: from `open_world`.
        sinks: takers of recorded rows, by the simulator's name ('Grid', 'Inverter', ...).
        log: takes (t_s, kind, target, outcome) of what happens in the grid.
    """
    sinks = sinks or {}
    scenario, network = plan.scenario, plan.case.network
    simulators: dict[str, Any] = {}

    def start(name: str, simulator: Any, **init: Any) -> Any:
        simulators[name] = simulator
        # a starter calls its class; ours is made already, so that the run can look at it
        return world.start(PythonStarter(lambda: simulator), name, **init)  # type: ignore[arg-type]

    grid = start("Grid", GridSimulator(plan.case, plan.events, sinks.get("Grid"), log), step_ms=scenario.step_ms)
    whole = grid.Grid()
    entities: dict[str, Any] = {"grid": whole} | {child.eid: child for child in whole.children}
    groups: dict[str, Any] = {}
    terminals: dict[str, Any] = {}
    taps: dict[str, Any] = {}  # units as the grid sees them
    common = {"step_ms": scenario.step_ms, "extra_ticks_s": plan.event_times_s, "s_base_mva": network.s_base_mva}
    given: Any = None  # the simulator of all given powers
    for group in plan.groups:
        if group.model is not None:
            device = start(
                group.name, DeviceSimulator(group.model, sinks.get(group.name), log=log), **common,
                changes=[(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit in group.ids],
            )  # fmt: skip
            units = getattr(device, group_name(group.model))(
                ids=list(group.ids), params=group.params, s_start_pu=group.s_start_pu, emf_start_pu=group.emf_start_pu
            )
        else:
            given = given or start(group.name, ProfileSimulator(sinks.get(group.name)), **common)
            units = given.Profiles(ids=list(group.ids), **vars(group.course))
        terminal = grid.Terminals(
            units=list(group.ids), bus=list(group.bus), source=group.source, z=group.z_pu.tolist(),
            i_max=[float(i) if np.isfinite(i) else None for i in group.i_max_pu], weight=group.weight.tolist(),
        )  # fmt: skip
        couple(world, plan, group, units, terminal)
        key = group.name if group.name not in groups else f"{group.name}-{len(groups)}"
        groups[key], terminals[key] = units, terminal
        entities |= {child.eid: child for child in units.children}
        taps |= {child.eid: child for child in terminal.children}
    if scenario.meters:
        meters = start("Meter", MeterSimulator(sinks.get("Meter")), attrs=meter_attributes(scenario))
        entities |= _add_meters(plan, world, meters, entities, taps)
    until = round(scenario.until_s / TIME_RESOLUTION) + 1
    return Built(plan, world, entities, groups, terminals, simulators, until)


def couple(world: mosaik.World, plan: Plan, group: Group, units: Any, terminal: Any) -> None:
    """Connect a group with its terminals: EMF or power at once, what the grid answers one unit of time later."""
    model = group.model
    if model is None or model.source == "power":
        world.connect(units, terminal, ("P_gen[pu]", "P_gen[pu]"), ("Q_gen[pu]", "Q_gen[pu]"))
        answers = {
            "S[pu]": group.s_start_pu, "V[pu]": group.emf_start_pu, E_USED: group.s_start_pu, EVENTS: 0,
        }  # fmt: skip
    else:
        forward = [("EMF[pu]", "EMF[pu]")]
        if _grid_needs_frequency(plan) and any(port.attr == "f[Hz]" for port in model.outputs):
            forward.append(("f[Hz]", "f[Hz]"))
        world.connect(units, terminal, *forward)
        answers = {"S[pu]": group.s_start_pu, E_USED: group.emf_start_pu, EVENTS: 0}
        if any(port.attr == "V[pu]" for port in model.inputs):
            row = [plan.case.network.row_of_bus(bus) for bus in group.bus]
            answers["V[pu]"] = plan.case.v_start[row]
    if model is None:
        return
    wanted = {port.attr for port in model.inputs} | {EVENTS}
    if any(event.kind == "unit_start" for event in plan.events):
        wanted.add(E_USED)  # a unit that is off follows its bus, or gives nothing
    answers = {attr: value for attr, value in answers.items() if attr in wanted}
    world.connect(
        terminal, units, *((attr, attr) for attr in answers), time_shifted=True, initial_data=answers
    )  # fmt: skip


def _grid_needs_frequency(plan: Plan) -> bool:
    """Whether loads or relays of the grid look at the units' frequency."""
    case = plan.case
    return bool(case.loads.k_pf.any() or case.loads.k_qf.any() or case.shedding or case.pcc is not None)


def meter_attributes(scenario: Scenario) -> list[str]:
    """What the meters measure."""
    return list(dict.fromkeys(attr for meter in scenario.meters.values() for attr in meter.attr))


def _add_meters(
    plan: Plan, world: mosaik.World, simulator: Any, entities: Mapping[str, Any], taps: Mapping[str, Any]
) -> dict[str, Any]:
    """Create the meters and tap what they measure; the meters by name."""
    scenario, meters = plan.scenario, dict[str, Any]()
    for name, meter in scenario.meters.items():
        meters[name] = simulator.Meter(
            name=name, attr=list(meter.attr), period_ms=meter.period_ms, noise_percent=meter.noise_percent,
            noise=meter.noise, seed=scenario.seed,
        )  # fmt: skip
        for attr in meter.attr:
            # of a unit the grid shows what the network gave it, its own simulator the rest
            shown_by = taps.get(meter.of) if attr in GRID_SHOWS else None
            world.connect(shown_by or entities[meter.of], meters[name], (attr, attr))
    return meters
