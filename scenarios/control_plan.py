"""Secondary control of a scenario: who has an agent, who talks to whom, and over which links."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridloop.scenarios.agent_plan import AgentRow, agent_rows
from gridloop.scenarios.communication import agent_links, ends_of, graph_of, measurement_links
from gridloop.scenarios.groups import Group
from gridloop.scenarios.schedule import agent_events, link_events
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import BatterySource
from gridloop.simulators.comms import OF_LINK, link_name, link_params
from gridloop.simulators.models import graph
from gridloop.simulators.models.network import Real

AGENT_PARAMS = ("s_rated_kva", "droop_p_percent", "droop_q_percent", "p_set_kw", "q_set_kvar", "v_set_pu")


@dataclass(frozen=True)
class Agents:
    """The agents of one group of units; `params` holds AgentParams' fields as columns (n,) of the group."""

    group: str
    ids: tuple[str, ...]
    members: tuple[str, ...]
    params: Mapping[str, Real]
    pins: Mapping[str, float]


@dataclass(frozen=True)
class Link:
    """A directed link with its settings for CommSimulator, which is between agents, to a controller, or of a signal."""

    sender: str
    receiver: str
    settings: Mapping[str, Any]
    attr: str = ""  # of a signal: what it carries
    to_attr: str = ""

    @property
    def name(self) -> str:
        """Its entity."""
        return link_name(self.sender, self.receiver)


@dataclass(frozen=True)
class ControlPlan:
    """What the agents and central controllers of a scenario are made of.

    `measured_over` are links that carry the measurement of law C from the leader to a controller.
    """

    settings: Mapping[str, Any]  # of SecondarySimulator
    agents: tuple[Agents, ...]
    central: tuple[str, ...]
    leader: str
    pilot_bus: str
    links: tuple[Link, ...]  # between agents, and from controllers to agents
    measured_over: tuple[Link, ...]
    devices: tuple[AgentRow, ...] = ()  # agents that are physical

    @property
    def members(self) -> tuple[str, ...]:
        """Units with an agent, in the order of the recorded columns."""
        return tuple(member for agents in self.agents for member in agents.members)


def control_plan(scenario: Scenario, groups: Sequence[Group]) -> ControlPlan | None:
    """The secondary control of a scenario; None if it has none."""
    control = scenario.control
    if control is None:
        return None
    links, measured_over = (
        tuple(_links(scenario, pairs)) for pairs in (agent_links(scenario), measurement_links(scenario))
    )
    # the simulator would lay a graph's name over its agents in another order, group by group
    edges = [list(pair) for pair in graph.edges(graph_of(scenario), control.members)]
    settings = {
        **control.settings(), "graph": edges, "exchange": "links" if links else "inside",
        "events": agent_events(scenario),
    }  # fmt: skip
    leader = control.leader_name
    return ControlPlan(
        settings, tuple(_agents(scenario, groups)), control.central_names, leader,
        control.pilot_bus or scenario.units[leader].bus, links, measured_over, agent_rows(scenario),
    )  # fmt: skip


def _links(scenario: Scenario, pairs: Sequence[tuple[str, str]]) -> list[Link]:
    """Links with their settings; none where all of them are ideal and stay so, which is exchange without delay."""
    comms, control = scenario.comms, scenario.control
    if comms is None or control is None:
        return []
    ends = {"send_ms": control.period_ms, "receive_ms": control.period_ms}
    found = [Link(*pair, {**comms.link_settings(link_name(*pair)), **ends}) for pair in pairs]
    changing = {event["link"] for event in link_events(scenario)}
    if "*" in changing or any(link.name in changing or not is_ideal(link.settings) for link in found):
        return found
    return []


def is_ideal(settings: Mapping[str, Any]) -> bool:
    """Whether a link delivers everything at once."""
    return link_params({key: value for key, value in settings.items() if key not in OF_LINK}).is_ideal


def signal_links(scenario: Scenario) -> tuple[Link, ...]:
    """Links of their own for single connections, from any entity to a unit."""
    if scenario.comms is None:
        return ()
    found = []
    for name, signal in scenario.comms.signals.items():
        sender, receiver = ends_of(name)
        period_ms = signal.period_ms or scenario.step_ms
        settings = {**scenario.comms.link_settings(name), "send_ms": period_ms, "receive_ms": scenario.step_ms}
        found.append(Link(sender, receiver, settings, signal.attr, signal.to_attr))
    return tuple(found)


def _agents(scenario: Scenario, groups: Sequence[Group]) -> Iterator[Agents]:
    """The agents, one lot for each group that has members."""
    control = scenario.control
    assert control is not None
    for group in groups:
        members = tuple(unit for unit in group.ids if unit in control.members)
        if not members:
            continue
        params = {
            name: np.broadcast_to(np.asarray(getattr(group.params, name), float), len(group.ids))
            for name in AGENT_PARAMS if hasattr(group.params, name)
        }  # fmt: skip
        sources = [scenario.units[unit].source for unit in group.ids]
        stored = [s.parameters["e_rated_kwh"] if isinstance(s, BatterySource) else 0.0 for s in sources]
        pins = {unit: pin for unit, pin in control.pin_gains.items() if unit in members}
        yield Agents(group.name, group.ids, members, {**params, "e_rated_kwh": np.array(stored)}, pins)
