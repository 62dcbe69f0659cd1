"""What only several keys together show to be wrong with communication: graph, links, signals, their events."""

from collections.abc import Collection, Iterator

from gridloop.scenarios.comms_parts import Comms
from gridloop.scenarios.communication import device_links, ends_of, is_of_links, link_names, link_targets
from gridloop.scenarios.control_checks import AGENTS_GIVE
from gridloop.scenarios.event_parts import LinkDownEvent, LinkUpEvent, SetEvent
from gridloop.scenarios.link_checks import change_problems, settings_problems
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario

# parts that decide which links there are
DECIDE = {
    ("comms",), ("comms", "graph"), ("comms", "signals"), ("control",), ("control", "members"),
    ("control", "frequency"), ("control", "voltage"), ("control", "leader"), ("control", "pins"),
    ("control", "central"), ("control", "balancing"),
}  # fmt: skip
SOURCES_GIVE = ("P_max[MW]", "P_min[MW]", "P_avail[MW]")


def comms_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Everything about links; what is at the paths `broken` has been reported already."""
    comms = scenario.comms
    if comms is not None:
        without = scenario.control is None and not comms.signals and not device_links(scenario)
        if without and DECIDE.isdisjoint(_sections(broken)):
            yield Problem(("comms",), "nothing is sent: add `control:` to the scenario, or `signals:` here")
        wrong_graph = list(_graph(scenario, comms))
        yield from wrong_graph
        yield from _signals(scenario, comms)
        broken = {*broken, ("comms", "graph")} if wrong_graph else broken
    # signals that could not be read are links all the same
    unread = [str(path[2]) for path in broken if path[:2] == ("comms", "signals") and len(path) > 2]
    named = DECIDE.isdisjoint(broken)
    if named:
        yield from _links(scenario, [*link_names(scenario), *unread])
        yield from _events(scenario, unread)
    if ("comms",) not in _sections(broken):
        wrong_settings = list(settings_problems(scenario))
        yield from wrong_settings
        if named and not wrong_settings:
            yield from change_problems(scenario)


def _sections(broken: Collection[Path]) -> set[Path]:
    return {path[:1] for path in broken}


def _graph(scenario: Scenario, comms: Comms) -> Iterator[Problem]:
    if isinstance(comms.graph, str) or scenario.control is None:
        return
    known, seen = list(scenario.control.members), set[frozenset[str]]()
    for k, pair in enumerate(comms.graph):
        path: Path = ("comms", "graph", k)
        strange = [name for name in pair if name not in known]
        if strange:
            yield Problem(path, f"{strange[0]!r} is no member of the control{did_you_mean(strange[0], known)}")
        elif pair[0] == pair[1]:
            yield Problem(path, f"{pair[0]} need not talk to itself: name two different members")
        elif frozenset(pair) in seen:
            yield Problem(path, "this pair is there already; a pair is a link in both directions")
        seen.add(frozenset(pair))


def _signals(scenario: Scenario, comms: Comms) -> Iterator[Problem]:
    for name, signal in comms.signals.items():
        path: Path = ("comms", "signals", name)
        try:
            _, receiver = ends_of(name)
        except ValueError as error:
            yield Problem(path, str(error))
            continue
        unit, other = (attr.partition("[")[2].removesuffix("]") for attr in (signal.attr, signal.to_attr))
        if unit != other:
            yield Problem((*path, "to_attr"), f"is in {other}, and {signal.attr} in {unit}: both must be in one unit")
        if receiver not in scenario.units:
            yield Problem(path, f"there is no unit {receiver!r}{did_you_mean(receiver, list(scenario.units))}")
            continue
        try:
            model = scenario.model_of(receiver)
        except ValueError:  # reported where the units are checked
            continue
        takes = [] if model is None else [port.attr for port in model.inputs if port.scalar]
        if not takes:
            yield Problem(path, f"{receiver} is of type {scenario.units[receiver].type}, which takes no signals")
        elif signal.to_attr not in takes:
            hint = did_you_mean(signal.to_attr, takes)
            yield Problem((*path, "to_attr"), f"{receiver} has no input {signal.to_attr}{hint}")
        elif by := fed_by(scenario, receiver, signal.to_attr):
            yield Problem((*path, "to_attr"), f"{receiver} has its {signal.to_attr} from {by} already")


def fed_by(scenario: Scenario, unit: str, attr: str) -> str:
    """Who gives an input of a unit without any signal; nobody: ''."""
    control = scenario.control
    if control is not None and unit in control.members:
        corrected = [*AGENTS_GIVE, *(["P_set[MW]"] if control.balancing is not None else [])]
        if attr in corrected:
            return "its agent"
    return "its source" if scenario.units[unit].source is not None and attr in SOURCES_GIVE else ""


def _links(scenario: Scenario, known: list[str]) -> Iterator[Problem]:
    """Links that the scenario has not, or has twice."""
    comms = scenario.comms
    if comms is None:
        return
    for name in comms.links:
        if name not in known:
            there = did_you_mean(name, known) if known else ": nothing is sent between members"
            yield Problem(("comms", "links", name), f"there is no link {name!r}{there}")
    for name in comms.signals:
        if known.count(name) > 1:
            yield Problem(("comms", "signals", name), "is a link of the control already: send it from another entity")


def _events(scenario: Scenario, unread: list[str]) -> Iterator[Problem]:
    """Events of links that are not there."""
    for i, event in enumerate(scenario.events):
        if isinstance(event, LinkDownEvent | LinkUpEvent):
            key, of_one = "link", event.link
        elif isinstance(event, SetEvent) and is_of_links(event):
            key, of_one = "path", event.path.split(".")[2] if event.path.count(".") > 1 else ""
        else:
            continue
        if scenario.comms is None and not device_links(scenario):
            yield Problem(("events", i, key), "needs links: add `comms:` to the scenario")
        elif of_one not in unread:
            try:
                link_targets(scenario, event)
            except ValueError as error:
                yield Problem(("events", i, key), str(error))
