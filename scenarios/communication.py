"""The links that a scenario has, by what its control and its signals need, and what events do to them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from gridloop.scenarios.comms_parts import Comms, LinkKeys
from gridloop.scenarios.event_parts import LinkDownEvent, LinkUpEvent, SetEvent
from gridloop.scenarios.problems import did_you_mean
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.models import graph

ALL = "*"
SETTABLE_OF_LINKS = (
    "delay_ms", "loss_percent", "bandwidth_bit_per_s", "queue_bytes", "rto_ms", "jitter.percent", "jitter.ms",
    "burst.good_to_bad_percent", "burst.bad_to_good_percent", "burst.loss_bad_percent",
)  # fmt: skip
OF_DEVICE = ".device.comms."
LINE = "line"  # the graph of a scenario that names none
DEVICE = "_device"  # behind a unit's name: its device, as an end of links

Ends = tuple[str, str]


def ends_of(name: str) -> Ends:
    """Sender and receiver of a link.

    Raises:
        ValueError: this is no link's name.
    """
    sender, arrow, receiver = name.partition("->")
    if not arrow or not sender or not receiver or "->" in receiver or "." in name or sender == receiver:
        raise ValueError("a link's name is SENDER->RECEIVER, two different names without dots")
    return sender, receiver


def graph_of(scenario: Scenario) -> str | list[list[str]]:
    """Who talks to whom, as `SecondarySimulator` takes it; nobody where no law needs it."""
    if scenario.control is None or not scenario.control.needs_neighbours:
        return []
    given = LINE if scenario.comms is None else scenario.comms.graph
    return given if isinstance(given, str) else [list(pair) for pair in given]


def agent_links(scenario: Scenario) -> tuple[Ends, ...]:
    """Links between agents, and where agents also need a central controller those from it to every agent.

    Raises:
        ValueError: the graph names somebody who is no member.
    """
    control = scenario.control
    if control is None or not control.needs_neighbours:
        return ()
    pairs = graph.links(graph.edges(graph_of(scenario), control.members))
    return (*pairs, *((name, member) for name in control.central_names for member in control.members))


def measurement_links(scenario: Scenario) -> tuple[Ends, ...]:
    """Links from the leader to the central controllers where agents do nothing but follow these."""
    control = scenario.control
    if control is None or control.needs_neighbours:
        return ()
    return tuple((control.leader_name, name) for name in control.central_names)


def device_ends(unit: str) -> tuple[Ends, Ends]:
    """Links from a unit to its device and back."""
    return (unit, unit + DEVICE), (unit + DEVICE, unit)


def device_links(scenario: Scenario) -> dict[str, tuple[str, LinkKeys]]:
    """The links between units and their devices by name: the unit, and what both of its links are like."""
    return {
        "->".join(ends): (name, unit.device.comms)
        for name, unit in scenario.units.items() if unit.device is not None and unit.device.comms is not None
        for ends in device_ends(name)
    }  # fmt: skip


def link_names(scenario: Scenario) -> list[str]:
    """Every link that the scenario has: of agents, measurements, signals and devices.

    Raises:
        ValueError: the graph names somebody who is no member.
    """
    signals = () if scenario.comms is None else scenario.comms.signals
    pairs = (*agent_links(scenario), *measurement_links(scenario))
    return [*("->".join(ends) for ends in pairs), *signals, *device_links(scenario)]


def settings_of(scenario: Scenario, name: str) -> dict[str, Any]:
    """What `CommSimulator.create` takes of a link."""
    comms = scenario.comms or Comms()
    unit, keys = device_links(scenario).get(name, ("", None))
    return comms.link_settings(name) if keys is None else comms.link_settings(name, unit, keys)


def is_of_links(event: SetEvent) -> bool:
    """Whether a `set` event changes what links are like."""
    return event.path.startswith("comms.") or _of_device(event) is not None


def _of_device(event: SetEvent) -> tuple[str, str] | None:
    """Unit and key of a path units.UNIT.device.comms.KEY."""
    head, middle, key = event.path.partition(OF_DEVICE)
    return (head.removeprefix("units."), key) if middle and head.startswith("units.") else None


def link_targets(scenario: Scenario, event: LinkDownEvent | LinkUpEvent | SetEvent) -> list[str]:
    """Links that an event is about; `*` alone if it is about all of them.

    Raises:
        ValueError: there is no such link, or what is to be set cannot change.
    """
    if not isinstance(event, SetEvent):
        return _named(event.link, link_names(scenario))
    of_device = _of_device(event)
    if of_device is not None:
        pattern, key = of_device
        _refuse_key(key)
        found = [name for name, (unit, _) in device_links(scenario).items() if fnmatchcase(unit, pattern)]
        if not found:
            raise ValueError(f"no unit {pattern!r} has a device with `comms:`, the links that could change")
        return found
    _, _, rest = event.path.partition(".")
    section, _, of_one = rest.partition(".")
    if section not in ("links", "signals"):
        _refuse_key(rest)
        return [ALL]
    pattern, _, key = of_one.partition(".")
    if not key:
        raise ValueError(f"must be comms.{section}.SENDER->RECEIVER.KEY, such as comms.{section}.a->b.delay_ms")
    _refuse_key(key)
    signals = [] if scenario.comms is None else list(scenario.comms.signals)
    known = signals if section == "signals" else link_names(scenario)
    return _named(pattern, known)


def key_of(event: SetEvent) -> str:
    """What a `set` event of links changes, as a key of their settings such as jitter.percent."""
    of_device = _of_device(event)
    if of_device is not None:
        return of_device[1]
    _, _, rest = event.path.partition(".")
    section, _, of_one = rest.partition(".")
    return of_one.partition(".")[2] if section in ("links", "signals") else rest


def _refuse_key(key: str) -> None:
    if key not in SETTABLE_OF_LINKS:
        raise ValueError(f"{key!r} of links cannot change during a run{did_you_mean(key, SETTABLE_OF_LINKS)}")


def _named(pattern: str, known: Sequence[str]) -> list[str]:
    found = [ALL] if pattern == ALL and known else [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        raise ValueError(f"there is no link {pattern!r}" + (did_you_mean(pattern, known) if known else ""))
    return found
