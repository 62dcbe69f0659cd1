"""What a scenario lets happen: events of the grid, set-points that change, events of links and agents."""

from dataclasses import dataclass
from typing import Any

from gridloop.scenarios.communication import is_of_links, key_of, link_targets
from gridloop.scenarios.event_parts import (  # fmt: skip
    AgentEvent,
    FaultEvent,
    KickEvent,
    LineEvent,
    LinkDownEvent,
    LinkUpEvent,
    LoadEvent,
    PccCloseEvent,
    PccOpenEvent,
    SetEvent,
    UnitEvent,
)
from gridloop.scenarios.relations import set_targets
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.events import PCC, Event


@dataclass(frozen=True)
class Change:
    """A set-point that changes at `t_s`: the key of a unit's parameter and its new value in the file's unit."""

    t_s: float
    unit: str
    key: str
    value: float


def grid_events(scenario: Scenario) -> tuple[Event, ...]:
    """What happens in the grid; the end of a fault is an event too, and an engine closes its breaker when it runs."""
    found = []
    for event in scenario.events:
        if isinstance(event, LoadEvent):
            found.append(Event(event.t_s, event.do, event.bus, event.p_kw, event.q_kvar))
        elif isinstance(event, FaultEvent):
            found.append(Event(event.t_s, "fault", event.bus, r_pu=event.r_pu, x_pu=event.x_pu))
            if event.for_s is not None:
                end_s = round(event.t_s + event.for_s, 9)
                found.append(Event(end_s, "fault_clear", event.bus, r_pu=event.r_pu, x_pu=event.x_pu))
        elif isinstance(event, LineEvent):
            found.append(Event(event.t_s, event.do, event.line))
        elif isinstance(event, UnitEvent):
            ready_s = _ready_s(scenario, event)
            if ready_s is not None:
                found.append(Event(ready_s, event.do, event.unit))
        elif isinstance(event, PccOpenEvent | PccCloseEvent):
            found.append(Event(event.t_s, event.do, PCC, sync=getattr(event, "sync", True)))
    return tuple(found)


def _ready_s(scenario: Scenario, event: UnitEvent) -> float | None:
    """When the unit's breaker moves: an engine runs up first; None where it is tripped while it still does."""
    if event.do != "unit_start":
        return event.t_s
    kind, given = scenario.model_of(event.unit), scenario.units[event.unit].parameters
    run_up_s = given.get("start_s", getattr(kind.params, "start_s", 0.0)) if kind is not None else 0.0
    ready_s = round(event.t_s + run_up_s, 9)
    is_tripped = any(
        isinstance(other, UnitEvent) and other.do == "unit_trip" and other.unit == event.unit
        and event.t_s < other.t_s <= ready_s for other in scenario.events
    )  # fmt: skip
    return None if is_tripped else ready_s


def set_point_changes(scenario: Scenario) -> tuple[Change, ...]:
    """Set-points that change."""
    return tuple(
        Change(event.t_s, unit, event.path.rpartition(".")[2], event.value)
        for event in scenario.events if isinstance(event, SetEvent) and not is_of_links(event)
        for unit in set_targets(scenario, event)
    )  # fmt: skip


def link_events(scenario: Scenario) -> list[dict[str, Any]]:
    """What happens to links, as `CommSimulator.init` takes it; link `*` is all of them."""
    found: list[dict[str, Any]] = []
    for event in scenario.events:
        if isinstance(event, SetEvent) and is_of_links(event):
            own = {"key": key_of(event), "value": event.value}
        elif isinstance(event, LinkDownEvent):
            own = {} if event.for_s is None else {"for_s": event.for_s}
        elif isinstance(event, LinkUpEvent):
            own = {}
        else:
            continue
        found += [{"t_s": event.t_s, "do": event.do, "link": link, **own} for link in link_targets(scenario, event)]
    return found


def agent_events(scenario: Scenario) -> list[dict[str, Any]]:
    """What happens to agents and central controllers, as `SecondarySimulator.init` takes it."""
    known = () if scenario.control is None else scenario.control.agent_names
    return [
        event.model_dump() for event in scenario.events
        if isinstance(event, AgentEvent | KickEvent) and event.agent in known
    ]  # fmt: skip
