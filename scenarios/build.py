"""A planned scenario as a mosaik world with everything connected.

```python
with open_world() as world:
    built = build(plan(load("ieee9")), world)
    world.connect(built.entities["inv1"], my_meter, "f[Hz]")     # your own simulator beside ours
    world.run(until=built.until)
```
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import mosaik
import numpy as np
from mosaik.starters import PythonStarter

from gridloop.scenarios.groups import Group
from gridloop.scenarios.links import Form, link
from gridloop.scenarios.remote import Remotes
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import Plan
from gridloop.scenarios.steady_build import build_steady
from gridloop.scenarios.wire_control import Ends, add_control
from gridloop.scenarios.wire_devices import SHOWN_BY_ADAPTER, Attached, Placed, add_devices, follow_control
from gridloop.scenarios.wire_dispatch import add_dispatch
from gridloop.scenarios.wire_market import add_market
from gridloop.scenarios.wire_serve import add_server
from gridloop.scenarios.wire_sources import Inverters, add_sources
from gridloop.simulators import profiles
from gridloop.simulators.device import E_USED, EVENTS, RECORD, DeviceSimulator, Sink, group_name
from gridloop.simulators.grid import GridSimulator
from gridloop.simulators.meter import MeterSimulator
from gridloop.simulators.operation import Log
from gridloop.simulators.packed import pack
from gridloop.simulators.profiles import ProfileSimulator
from gridloop.simulators.records import GridTaker, UnitsTaker
from gridloop.simulators.tap import Taker, Tap
from gridloop.simulators.terminals import TRIP
from gridloop.simulators.together import Together
from gridloop.simulators.wire import to_array, to_lists

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
    simulators: Mapping[str, Any]  # in this process, by name; kinds of units apart also where mosaik sees one of them
    until: int  # exclusive, so that the end itself is recorded


@contextmanager
def open_world() -> Iterator[mosaik.World]:
    """A mosaik world as gridloop needs it; leaving it ends the simulators.

    mosaik's cache is off because it delivers wrong data over time-shifted connections. What is there before, modules
    above all, stays: the garbage collector does not look through it in the run, which would stop it for 0.15 s at once.
    """
    gc.freeze()
    try:
        with mosaik.World(
            cache=False, skip_greetings=True, configure_logging=False, time_resolution=TIME_RESOLUTION
        ) as world:
            yield world
    finally:
        gc.unfreeze()


class _Starter:
    """Starts simulators in this process or in others.

    Args:
        world: the mosaik world.
        remotes: those that are in other processes.
    """

    def __init__(self, world: mosaik.World, remotes: Remotes) -> None:
        self._world, self.remotes = world, remotes
        self.local: dict[str, Any] = {}

    def here(self, name: str, simulator: Any, **init: Any) -> Any:
        """Start a simulator of this process."""
        self.local[name] = simulator
        # a starter calls its class; ours is made already, so that the run can look at it
        return self._world.start(PythonStarter(lambda: simulator), name, **init)  # type: ignore[arg-type]

    def together(self, parts: Mapping[str, DeviceSimulator], inits: Mapping[str, Mapping[str, Any]]) -> Any:
        """Start device simulators of this process as one, each with what `init` is given under its name."""
        self.local |= parts
        starter = PythonStarter(lambda: Together(parts))  # type: ignore[arg-type]
        return self._world.start(starter, "+".join(parts), **inits)

    def there(self, name: str, **init: Any) -> Any:
        """Start a simulator of another process; what it is given can be sent."""
        return self._world.start(self.remotes.starter(name), name, **init)

    def forms(self, one: str, other: str) -> tuple[Form | None, Form | None]:
        """What a group's values need on their way from one simulator to another, and back."""
        one_is_far, other_is_far = one in self.remotes, other in self.remotes
        return (
            to_lists if other_is_far else to_array if one_is_far else None,
            to_lists if one_is_far else to_array if other_is_far else None,
        )


def build(
    plan: Plan, world: mosaik.World, sinks: Mapping[str, Sink] | None = None, log: Log | None = None,
    remotes: Remotes | None = None, attached: Attached | None = None, folder: Path | None = None,
) -> Built:  # fmt: skip
    """Start and connect the simulators of a plan.

    Args:
        plan: the scenario with its start.
        world: from `open_world`.
        sinks: takers of recorded rows, by the simulator's name ('Grid', 'Inverter', ...).
        log: takes (t_s, kind, target, outcome) of what happens in the grid.
        remotes: the simulators in other processes; none by default.
        attached: the devices that stand in for units; needed where the plan has any.
        folder: where a market's ledger goes; None keeps it in memory.
    """
    sinks, remotes = sinks or {}, remotes or Remotes({}, {})
    starter = _Starter(world, remotes)
    scenario = plan.scenario
    if scenario.mode == "steady":
        steady = build_steady(plan, world, starter.here, sinks, log)
        parts = _Parts(steady.grid, dict(steady.entities), dict(steady.groups), dict(steady.terminals), {})
        _add_meters(plan, world, starter, sinks, parts)
    else:
        parts = _build_rms(plan, world, starter, sinks, log, attached or Attached({}))
    entities = parts.entities
    entities |= add_market(plan, world, starter.here, parts.shown_by, sinks, log, folder)
    entities |= add_dispatch(plan, world, starter.here, parts.shown_by, sinks, log, folder)
    add_server(plan, world, starter.here, entities, parts.shown_by, log)
    takers = _takers(plan, remotes, sinks, log or (lambda *_: None))
    if takers:
        tap = starter.here(
            "Tap", Tap(takers), step_ms=scenario.step_ms, extra_ticks_s=plan.event_times_s
        ).Tap()  # fmt: skip
        for name in takers:  # of several groups of profiles the first tells of all
            world.connect(parts.grid if name == "Grid" else parts.groups[name], tap, RECORD)
    until = round(scenario.until_s / TIME_RESOLUTION) + 1
    return Built(plan, world, entities, parts.groups, parts.terminals, starter.local, until)


@dataclass(frozen=True)
class _Parts:
    """The entities of a world on their way to `Built`; `taps` are units as the grid sees them."""

    grid: Any
    entities: dict[str, Any]
    groups: dict[str, Any]
    terminals: dict[str, Any]
    taps: dict[str, Any]
    controllers: frozenset[str] = frozenset()  # units for which a device with an EMF may stand in

    def shown_by(self, name: str, attr: str) -> Any:
        """The entity that shows an attribute: of a unit the grid tells what the network gave it, the unit the rest.

        Of a unit for which a device may stand in the adapter tells what it applied, and the View what that gave.
        """
        if attr in SHOWN_BY_ADAPTER and name in self.controllers:
            return self.entities[f"{name}.device"]
        if attr in GRID_SHOWS and f"{name}.view" in self.entities:
            return self.entities[f"{name}.view"]
        return (self.taps.get(name) if attr in GRID_SHOWS else None) or self.entities[name]


def _build_rms(
    plan: Plan, world: mosaik.World, starter: _Starter, sinks: Mapping[str, Sink], log: Log | None, attached: Attached
) -> _Parts:
    """The grid, every unit coupled with it, what stands behind the units, and what controls them."""
    remotes = starter.remotes
    grid = _start_grid(plan, starter, sinks.get("Grid"), log)
    whole = grid.Grid()
    controllers = frozenset(one.unit for one in plan.devices if one.role == "controller")
    parts = _Parts(whole, {"grid": whole} | {child.eid: child for child in whole.children}, {}, {}, {}, controllers)
    kinds = _start_kinds(plan, starter, sinks, log)
    for group in plan.groups:
        kind = "Profiles" if group.model is None else group_name(group.model)
        units = getattr(kinds[group.name], kind)(**_params_of(group, group.name in remotes))
        terminal = grid.Terminals(
            units=list(group.ids), bus=list(group.bus), source=group.source, z=to_lists(group.z_pu),
            i_max=[float(i) if np.isfinite(i) else None for i in group.i_max_pu], weight=group.weight.tolist(),
        )  # fmt: skip
        couple(world, plan, group, (units, terminal), starter.forms(group.name, "Grid"))
        key = group.name if group.name not in parts.groups else f"{group.name}-{len(parts.groups)}"
        parts.groups[key], parts.terminals[key] = units, terminal
        parts.entities.update({child.eid: child for child in units.children})
        parts.taps.update({child.eid: child for child in terminal.children})
    inverters = Inverters(parts.groups, parts.entities, [name for name in parts.groups if name in remotes])
    parts.entities.update(add_sources(plan, world, starter.here, inverters, sinks))
    placed = Placed(grid, parts.terminals, parts.entities, _grid_needs_frequency(plan))
    parts.entities.update(add_devices(plan, world, starter.here, placed, attached, sinks, log))
    _add_meters(plan, world, starter, sinks, parts)  # whose values signals may carry
    ends = Ends(parts.groups, parts.terminals, parts.entities, parts.shown_by, starter.forms)
    parts.entities.update(add_control(plan, world, starter.here, ends, sinks, log, attached))
    follow_control(plan, world, parts.entities)
    return parts


def _start_grid(plan: Plan, starter: _Starter, sink: Sink | None, log: Log | None) -> Any:
    step_ms = plan.scenario.step_ms
    if "Grid" in starter.remotes:
        return starter.there("Grid", case=pack(plan.case), events=pack(plan.events), step_ms=step_ms)
    return starter.here("Grid", GridSimulator(plan.case, plan.events, sink, log), step_ms=step_ms)


def _start_kinds(plan: Plan, starter: _Starter, sinks: Mapping[str, Sink], log: Log | None) -> dict[str, Any]:
    """The simulators of the units, by the names of their groups; all given powers are one kind."""
    found: dict[str, Any] = {}
    parts: dict[str, DeviceSimulator] = {}
    inits = {group.name: _init_of(plan, group) for group in plan.groups}
    for group in plan.groups:
        name, sink = group.name, sinks.get(group.name)
        if name in found:
            continue
        if name in starter.remotes:
            found[name] = starter.there(name, **inits[name])
        elif group.model is None:
            found[name] = starter.here(name, ProfileSimulator(sink), **inits[name])
        else:
            parts[name] = DeviceSimulator(group.model, sink, log=log)
    if plan.scenario.grouping == "step" and len(parts) > 1:
        return found | dict.fromkeys(parts, starter.together(parts, {name: inits[name] for name in parts}))
    return found | {name: starter.here(name, part, **inits[name]) for name, part in parts.items()}


def _init_of(plan: Plan, group: Group) -> dict[str, Any]:
    """What the simulator of a group's units is started with."""
    init: dict[str, Any] = {
        "step_ms": plan.scenario.step_ms, "extra_ticks_s": plan.event_times_s,
        "s_base_mva": plan.case.network.s_base_mva,
    }  # fmt: skip
    if group.model is not None:
        init["changes"] = [(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit in group.ids]
    return init


def _params_of(group: Group, sent: bool) -> dict[str, Any]:
    """What a group of units is created with; `sent` in the form that another process can take."""
    if group.model is None:
        given = {"ids": list(group.ids), **vars(group.course)}
    else:
        given = {
            "ids": list(group.ids), "params": group.params, "s_start_pu": group.s_start_pu,
            "emf_start_pu": group.emf_start_pu,
        }  # fmt: skip
        if sent:
            given["params"] = {
                field.name: to_lists(getattr(group.params, field.name)) for field in fields(group.params)
            }  # fmt: skip
    return {name: to_lists(value) for name, value in given.items()} if sent else given


def _takers(plan: Plan, remotes: Remotes, sinks: Mapping[str, Sink], log: Log) -> dict[str, Taker]:
    """What reads the records of the simulators in other processes, by their names."""
    takers: dict[str, Taker] = {}
    if "Grid" in remotes and "Grid" in sinks:
        takers["Grid"] = GridTaker(plan.case, sinks["Grid"], log)
    for group in plan.groups:
        if group.name in remotes and group.name in sinks:
            takers[group.name] = UnitsTaker(_outputs_of(group), sinks[group.name], log)
    return takers


def _outputs_of(group: Group) -> Callable[..., Any]:
    """The type of what a group's model gives."""
    model, params = group.model, group.params
    if model is None:
        return profiles.Outputs
    return type(model.respond(params, model.initial(params, group.s_start_pu, group.emf_start_pu), model.held(params)))


def couple(
    world: mosaik.World, plan: Plan, group: Group, ends: tuple[Any, Any],
    forms: tuple[Form | None, Form | None] = (None, None),
) -> None:  # fmt: skip
    """Connect a group with its terminals: EMF or power at once, what the grid answers one unit of time later.

    Args:
        world: the mosaik world.
        plan: what the group is of.
        group: the units.
        ends: their entity and that of their terminals.
        forms: what values need on their way to the terminals, and back.
    """
    model, (units, terminal), (there, back) = group.model, ends, forms
    if model is None or model.source == "power":
        link(world, units, terminal, "P_gen[pu]", "Q_gen[pu]", form=there)
        answers = {
            "S[pu]": group.s_start_pu, "V[pu]": group.emf_start_pu, E_USED: group.s_start_pu, EVENTS: 0,
        }  # fmt: skip
    else:
        forward: list[str | tuple[str, str]] = ["EMF[pu]"]
        if _grid_needs_frequency(plan) and any(port.attr == "f[Hz]" for port in model.outputs):
            forward.append("f[Hz]")
        if any(port.attr == "reverse_trip[1]" for port in model.outputs):
            forward.append(("reverse_trip[1]", TRIP))
        link(world, units, terminal, *forward, form=there)
        answers = {"S[pu]": group.s_start_pu, E_USED: group.emf_start_pu, EVENTS: 0}
        if any(port.attr == "V[pu]" for port in model.inputs):
            row = [plan.case.network.row_of_bus(bus) for bus in group.bus]
            answers["V[pu]"] = plan.case.v_start[row]
    if model is None:
        return
    wanted = {port.attr for port in model.inputs} | {EVENTS}
    if any(event.kind == "unit_start" for event in plan.events):
        wanted.add(E_USED)  # a unit that is off follows its bus, or gives nothing
    elif any(one.unit in group.ids for one in plan.devices):
        wanted.add(E_USED)  # a model that is not in charge follows its device
        answers[E_USED] = None  # not before one was applied
    for attr in [attr for attr in answers if attr in wanted]:
        form = back if attr != EVENTS else None  # a number
        if answers[attr] is None:
            form = _unless_none(form)
        link(world, terminal, units, attr, time_shifted=True, initial_data=answers, form=form)


def _unless_none(form: Form | None) -> Form | None:
    return form and (lambda value: None if value is None else form(value))


def _grid_needs_frequency(plan: Plan) -> bool:
    """Whether loads or relays of the grid look at the units' frequency."""
    case = plan.case
    return bool(case.loads.k_pf.any() or case.loads.k_qf.any() or case.shedding or case.pcc is not None)


def meter_attributes(scenario: Scenario) -> list[str]:
    """What the meters measure."""
    return list(dict.fromkeys(attr for meter in scenario.meters.values() for attr in meter.attr))


def _add_meters(
    plan: Plan, world: mosaik.World, starter: _Starter, sinks: Mapping[str, Sink], parts: _Parts
) -> None:  # fmt: skip
    """Start the meters, if there are any, and tap what they measure."""
    scenario = plan.scenario
    if not scenario.meters:
        return
    simulator = starter.here("Meter", MeterSimulator(sinks.get("Meter")), attrs=meter_attributes(scenario))
    for name, meter in scenario.meters.items():
        parts.entities[name] = simulator.Meter(
            name=name, attr=list(meter.attr), period_ms=meter.period_ms, noise_percent=meter.noise_percent,
            noise=meter.noise, seed=scenario.seed,
        )  # fmt: skip
        for attr in meter.attr:
            world.connect(parts.shown_by(meter.of, attr), parts.entities[name], (attr, attr))
