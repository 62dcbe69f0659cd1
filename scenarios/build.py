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
from mosaik.starters import PythonStarter

from gridloop.scenarios.start import Group, Plan
from gridloop.simulators.device import E_USED, EVENTS, DeviceSimulator, Sink, group_name
from gridloop.simulators.grid import GridSimulator

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
        return world.start(PythonStarter(lambda: simulator), name, step_ms=scenario.step_ms, **init)  # type: ignore[arg-type]

    grid = start("Grid", GridSimulator(plan.case, plan.events, sinks.get("Grid"), log))
    whole = grid.Grid()
    entities: dict[str, Any] = {"grid": whole} | {child.eid: child for child in whole.children}
    groups, terminals = {}, {}
    extra = [event.t_s for event in plan.events]
    for group in plan.groups:
        name = group.model.name
        device = start(
            name, DeviceSimulator(group.model, sinks.get(name)),
            extra_ticks_s=extra, s_base_mva=network.s_base_mva,
        )  # fmt: skip
        units = getattr(device, group_name(group.model))(
            ids=list(group.ids), params=group.params, s_start_pu=group.s_start_pu, emf_start_pu=group.emf_start_pu
        )
        terminal = grid.Terminals(
            units=list(group.ids), bus=list(group.bus), z=group.z_pu.tolist(),
            weight=(1 / group.params.droop_p_rad_per_s_pu).tolist(),
        )  # fmt: skip
        couple(world, plan, group, units, terminal)
        groups[name], terminals[name] = units, terminal
        entities |= {child.eid: child for child in units.children}
    until = round(scenario.until_s / TIME_RESOLUTION) + 1
    return Built(plan, world, entities, groups, terminals, simulators, until)


def couple(world: mosaik.World, plan: Plan, group: Group, units: Any, terminal: Any) -> None:
    """Connect a group with its terminals: EMF at once, what the grid answers one unit of time later."""
    loads = plan.case.loads
    forward = [("EMF[pu]", "EMF[pu]")]
    if loads.k_pf.any() or loads.k_qf.any():
        forward.append(("f[Hz]", "f[Hz]"))
    world.connect(units, terminal, *forward)
    wanted = {port.attr for port in group.model.inputs}
    answers = {"S[pu]": group.s_start_pu, E_USED: group.emf_start_pu, EVENTS: 0}
    answers = {attr: value for attr, value in answers.items() if attr in wanted or attr == EVENTS}
    world.connect(
        terminal, units, *((attr, attr) for attr in answers), time_shifted=True, initial_data=answers
    )  # fmt: skip
