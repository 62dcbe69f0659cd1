"""Agents, central controllers and communication links in the mosaik world, connected with the units."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.agent_plan import agent_commands, stand_ins
from gridloop.scenarios.control_plan import Agents, ControlPlan, Link
from gridloop.scenarios.links import Form, Start, link
from gridloop.scenarios.schedule import link_events
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_devices import DEVICES, Attached
from gridloop.simulators.comms import MESSAGE, RECEIVED, CommSimulator
from gridloop.simulators.control import SecondarySimulator
from gridloop.simulators.device import Sink
from gridloop.simulators.meter import measured
from gridloop.simulators.operation import Log

COMMS, SECONDARY = "Comms", "Secondary"  # names of the simulators
RAMPED = {"Omega[rad_per_s]": "dOmega[rad_per_s2]", "v[pu]": "dv[pu_per_s]"}
TICK = "t_tick[s]"
MEASURED = ("f[Hz]", "Vm[pu]")  # of law C


class Ends(NamedTuple):
    """What agents and links are connected with."""

    groups: Mapping[str, Any]  # of units, by name
    terminals: Mapping[str, Any]  # their counterparts in the grid
    entities: Mapping[str, Any]  # everything by its name
    shown_by: Callable[[str, str], Any]  # the entity that shows an attribute of what goes by a name
    forms: Callable[[str, str], tuple[Form | None, Form | None]]  # of values from one simulator to another, and back


def add_control(
    plan: Plan, world: Any, start: Start, ends: Ends, sinks: Mapping[str, Sink], log: Log | None,
    attached: Attached,
) -> dict[str, Any]:  # fmt: skip
    """Start links, agents and controllers and connect them; `attached` holds the agents that are physical.

    Agents act on what the network shows at their tick; what they decide reaches the units one unit of time later.

    Returns:
        The entities of links by their names, of controllers, and of agents as `NAME.agent`.
    """
    found: dict[str, Any] = {}
    control = plan.control
    over = plan.links
    if over:
        carried = sorted({attr for one in over for attr in _carried(one, control)})
        comms = start(
            COMMS, CommSimulator(sinks.get(COMMS), log), seed=plan.scenario.seed, attrs=carried,
            events=link_events(plan.scenario),
        )  # fmt: skip
        found |= {one.name: _add_link(comms, plan, one, control) for one in over}
    for one in plan.signals:
        attr = one.attr
        shown = measured(attr) if one.sender in plan.scenario.meters else attr
        link(
            world, ends.shown_by(one.sender, attr), found[one.name], (shown, attr), time_shifted=True,
            initial_data={shown: None},
        )  # fmt: skip
        # a message acts from its arrival on: what arrives at a tick is of use for the step that begins there
        first = {attr: _at_start(plan, control, attr)}
        link(
            world, found[one.name], ends.entities[one.receiver], (attr, one.to_attr), time_shifted=True,
            initial_data=first,
        )  # fmt: skip
    if control is None:
        return found
    network = plan.case.network
    secondary = start(
        SECONDARY,
        SecondarySimulator(
            sinks.get(SECONDARY), log=log, stand_ins=stand_ins(plan.scenario, attached.handles),
            wait=None if plan.devices else attached.wait,  # the devices' adapter does
        ),
        **control.settings, f_nom_hz=network.f_nom_hz, s_base_mva=network.s_base_mva,
        commands=agent_commands(plan.commands),
    )  # fmt: skip
    for agents in control.agents:
        whole = secondary.Agents(
            ids=list(agents.ids), members=list(agents.members), params=dict(agents.params), pins=dict(agents.pins)
        )
        _connect_agents(plan, world, ends, agents, whole)
        found |= {f"{child.eid}.agent": child for child in whole.children}
    for name in control.central:
        found[name] = secondary.Central(name=name)
        _connect_controller(world, ends, control, found, name)
    for one in control.links:
        sender, receiver = (found.get(f"{name}.agent") or found[name] for name in (one.sender, one.receiver))
        world.connect(sender, found[one.name], MESSAGE, time_shifted=True, initial_data={MESSAGE: None})
        world.connect(found[one.name], receiver, RECEIVED)
    return found


def commands_to(simulators: Mapping[str, Any]) -> Callable[[str, str], None]:
    """What hands a swap to the simulator that the device is of."""

    def command(name: str, do: str) -> None:
        unit = name.removesuffix(ENDING)
        simulators[DEVICES if unit == name else SECONDARY].command(unit, do)

    return command


def _carried(one: Link, control: ControlPlan | None) -> tuple[str, ...]:
    """Attributes that a link samples by itself; none where the sender stamps messages."""
    if one.attr:
        return (one.attr,)
    return MEASURED if control is not None and one in control.measured_over else ()


def _add_link(comms: Any, plan: Plan, one: Link, control: ControlPlan | None) -> Any:
    attrs = _carried(one, control)
    more: dict[str, Any] = {}
    if attrs:
        more = {"attrs": list(attrs), "initial": {attr: _at_start(plan, control, attr) for attr in attrs}}
    return comms.Link(sender=one.sender, receiver=one.receiver, **one.settings, **more)


def _at_start(plan: Plan, control: ControlPlan | None, attr: str) -> float:
    """What an attribute shows before the first message; nan where nothing is known."""
    if attr == "f[Hz]":
        return plan.f_start_hz
    if attr == "Vm[pu]" and control is not None:
        return float(abs(plan.case.v_start[plan.case.network.row_of_bus(control.pilot_bus)]))
    return float("nan")


def _connect_controller(world: Any, ends: Ends, control: ControlPlan, found: Mapping[str, Any], name: str) -> None:
    """The frequency of the leader and the voltage of the pilot bus, at once or over a link."""
    over = next((one for one in control.measured_over if one.receiver == name), None)
    for attr, of in zip(MEASURED, (control.leader, control.pilot_bus), strict=True):
        shown = ends.shown_by(of, attr)
        if over is None:
            world.connect(shown, found[name], attr)
        else:
            world.connect(shown, found[over.name], attr, time_shifted=True, initial_data={attr: None})
            world.connect(found[over.name], found[name], attr)


def _connect_agents(plan: Plan, world: Any, ends: Ends, agents: Agents, whole: Any) -> None:
    """What the agents of a group see, and the ramps that its units follow."""
    group, terminals = ends.groups[agents.group], ends.terminals[agents.group]
    ports = next(g.model for g in plan.groups if g.name == agents.group)
    assert ports is not None
    there, seen = ends.forms(SECONDARY, agents.group)
    inputs, outputs = ({port.attr: port for port in some} for some in (ports.inputs, ports.outputs))
    link(world, group, whole, *(attr for attr in ("f[Hz]", "P_set[MW]") if attr in outputs), form=seen)
    link(world, terminals, whole, "S[pu]", "V[pu]", form=ends.forms(SECONDARY, "Grid")[1])
    zero = np.zeros(len(agents.ids))
    data: dict[str, Any] = {"Omega[rad_per_s]": zero, "v[pu]": zero}
    for attr, rate in RAMPED.items():
        if inputs[attr].rate:
            data[rate] = zero
    is_ramped = len(data) > len(RAMPED)
    if plan.control is not None and plan.control.settings.get("balancing") is not None:
        data["P_set[MW]"] = agents.params["p_set_kw"] / 1e3
        for child in whole.children:
            battery = ends.entities.get(f"{child.eid}.battery")
            if battery is not None:
                link(world, battery, child, "SoC[%]")
    link(world, whole, group, *data, time_shifted=True, initial_data=data, form=there)
    if is_ramped:
        link(world, whole, group, TICK, time_shifted=True, initial_data={TICK: 0.0})
