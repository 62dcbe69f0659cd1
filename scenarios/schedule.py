"""What a scenario lets happen: events of the grid and set-points that change."""

from dataclasses import dataclass

from gridloop.scenarios.event_parts import FaultEvent, LineEvent, LoadEvent, SetEvent, UnitEvent
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
    """What happens in the grid; the end of a fault is an event too."""
    found = []
    for event in scenario.events:
        if isinstance(event, SetEvent):
            continue
        if isinstance(event, LoadEvent):
            found.append(Event(event.t_s, event.do, event.bus, event.p_kw, event.q_kvar))
        elif isinstance(event, FaultEvent):
            found.append(Event(event.t_s, "fault", event.bus, r_pu=event.r_pu, x_pu=event.x_pu))
            if event.for_s is not None:
                end_s = round(event.t_s + event.for_s, 9)
                found.append(Event(end_s, "fault_clear", event.bus, r_pu=event.r_pu, x_pu=event.x_pu))
        elif isinstance(event, LineEvent | UnitEvent):
            found.append(Event(event.t_s, event.do, getattr(event, "line", None) or event.unit))  # type: ignore[union-attr]
        else:
            found.append(Event(event.t_s, event.do, PCC, sync=getattr(event, "sync", True)))
    return tuple(found)


def set_point_changes(scenario: Scenario) -> tuple[Change, ...]:
    """Set-points that change."""
    return tuple(
        Change(event.t_s, unit, event.path.rpartition(".")[2], event.value)
        for event in scenario.events if isinstance(event, SetEvent)
        for unit in set_targets(scenario, event)
    )  # fmt: skip
