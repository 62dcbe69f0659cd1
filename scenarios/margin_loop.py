"""The closed loop of a planned scenario in the form in which its delay margin is computed."""

from typing import Any, Literal

import numpy as np

from gridloop.scenarios.communication import graph_of
from gridloop.scenarios.control_plan import ControlPlan, Link
from gridloop.scenarios.groups import Group
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.start import Plan
from gridloop.simulators.control_settings import settings
from gridloop.simulators.models import graph
from gridloop.simulators.models.agents import AgentParams
from gridloop.simulators.models.closed_loop import Plant, PlantLoop, Public, Units
from gridloop.simulators.models.closed_loop_period import BUS_ATTRS, TERMINAL_ATTRS, Loop, Signal
from gridloop.simulators.models.closed_loop_team import Member, Team
from gridloop.simulators.models.margins import ticks_of_delay

DC_LIMIT = "P_max[MW]"


def asked_of(plan: Plan) -> Literal["links", "signals"]:
    """Whose delay is in question: that of the links of secondary control, or without it that of all signals.

    Raises:
        ScenarioError: nothing in the scenario has a delay, or nothing in it swings.
    """
    if plan.scenario.mode != "rms":
        raise plan.scenario.error(Problem(("mode",), "the margin needs mode: rms, where control has time to swing"))
    control = plan.scenario.control
    if control is not None and (control.central_names or control.needs_neighbours):
        return "links"
    if plan.signals:
        return "signals"
    words = "nobody exchanges anything: the margin is that of delays in `control:` or in `comms: signals:`"
    raise plan.scenario.error(Problem((), words))


def loop_of(plan: Plan) -> Loop:
    """Plant, agents and signals of a scenario before its first event.

    Raises:
        ScenarioError: nothing has a delay, or a signal carries what cannot be followed here.
    """
    asked, place = asked_of(plan), place_of(plan)
    step_us = round(1e3 * plan.scenario.step_ms)
    plant, signals = plant_of(plan), signals_of(plan)
    periods = {round(1e3 * link.settings["send_ms"]) for link in plan.signals}
    team, pilot = None, ((0, 0), 0)
    if plan.control is not None:
        team, pilot = _team(plan, plan.control, place)
        periods = {round(1e3 * plan.control.settings["period_ms"])}
    if len(periods) > 1:
        raise plan.scenario.error(Problem(("comms", "signals"), "the margin needs signals that have one period_ms"))
    return Loop(plant, max(periods.pop() // step_us, 1), team, signals, pilot, asked)


def place_of(plan: Plan) -> dict[str, tuple[int, int]]:
    """Group and row of every unit."""
    return {name: (g, row) for g, group in enumerate(plan.groups) for row, name in enumerate(group.ids)}


def signals_of(plan: Plan) -> tuple[Signal, ...]:
    """The signals of a scenario.

    Raises:
        ScenarioError: one carries what cannot be followed here.
    """
    place, step_us = place_of(plan), round(1e3 * plan.scenario.step_ms)
    return tuple(_signal(plan, place, link, step_us) for link in plan.signals)


def plant_of(plan: Plan) -> PlantLoop:
    """Devices and network of a scenario before its first event."""
    case = plan.case
    public = None
    if case.pcc is not None and case.pcc.closed:
        emf = case.pcc.v_pu * np.exp(1j * case.pcc.angle_rad)
        public = Public(case.network.row_of_bus(case.pcc.bus), case.pcc.z_pu, complex(emf), case.pcc.f_hz)
    units = tuple(_units(plan, group) for group in plan.groups)
    step_s = round(1e3 * plan.scenario.step_ms) * 1e-6
    return PlantLoop(Plant(case.network, case.network.closed, case.loads, units, step_s, public))


def _units(plan: Plan, group: Group) -> Units:
    """A group with what its arrays give at the start."""
    rows = np.array([plan.case.network.row_of_bus(bus) for bus in group.bus], np.intp)
    given: dict[str, Any] = {}
    if group.model is not None:
        port = next((port for port in group.model.inputs if port.attr == DC_LIMIT), None)
        for arrays in plan.arrays:
            for column, feed in enumerate(arrays.feeds):
                if feed.group == group.name and port is not None:
                    values = given.setdefault(port.field, np.full(len(group.ids), np.inf))
                    at_start = np.interp(0.0, arrays.times_s, arrays.p_mw[:, column])
                    values[feed.row] = at_start / plan.case.network.s_base_mva
    return Units(
        group.ids, group.model, group.params, rows, group.z_pu, group.i_max_pu, group.weight, group.s_start_pu,
        group.emf_start_pu, given,
    )  # fmt: skip


def _signal(plan: Plan, place: dict[str, tuple[int, int]], link: Link, step_us: int) -> Signal:
    network, at = plan.case.network, ("comms", "signals", link.name)
    group, row = place[link.receiver]
    receiver = plan.groups[group].model
    if receiver is None or link.to_attr not in {port.attr for port in receiver.inputs}:
        raise plan.scenario.error(Problem(at, f"{link.receiver} has no input {link.to_attr}"))
    ticks = max(ticks_of_delay(link.settings.get("delay_ms", 0.0) * 1e-3, step_us * 1e-6), 1)
    source: tuple[int, int] | int
    if link.sender in place:
        source = place[link.sender]
        model = plan.groups[source[0]].model
        known = {port.attr for port in model.outputs if port.scalar} if model is not None else set()
        known |= set(TERMINAL_ATTRS)
    else:
        sender = plan.scenario.meters[link.sender].of if link.sender in plan.scenario.meters else link.sender
        if sender in place:
            source, known = place[sender], set(TERMINAL_ATTRS) | {"f[Hz]"}
        elif sender in network.bus_names:
            source, known = network.row_of_bus(sender), set(BUS_ATTRS)
        else:
            source, known = 0, set()
    if link.attr not in known:
        words = f"the margin follows units and buses; {link.attr} of {link.sender} is none of what they show"
        raise plan.scenario.error(Problem(at, words))
    return Signal(source, link.attr, group, row, link.to_attr, ticks)


def _team(
    plan: Plan, control: ControlPlan, place: dict[str, tuple[int, int]]
) -> tuple[Team, tuple[tuple[int, int], int]]:
    """The agents, and what law C holds."""
    assert plan.scenario.control is not None
    given = {key: value for key, value in control.settings.items() if key not in ("graph", "exchange", "events")}
    period_us = round(1e3 * given.pop("period_ms"))
    common = settings({**given, "f_nom_hz": plan.case.network.f_nom_hz}, period_us)
    params = {name: agents for agents in control.agents for name in agents.members}
    order = plan.scenario.control.members
    members = []
    for name in order:
        agents, (group, row) = params[name], place[name]
        columns = {key: float(column[row]) for key, column in agents.params.items()}
        members.append(Member(AgentParams(name, **columns, pin=agents.pins.get(name, 0.0)), group, row))
    pairs = graph.links(graph.edges(graph_of(plan.scenario), order))
    team = Team(common, tuple(members), tuple((order.index(a), order.index(b)) for a, b in pairs))
    return team, (place[control.leader], plan.case.network.row_of_bus(control.pilot_bus))
