"""What only several keys together show to be wrong with secondary control."""

from collections.abc import Collection, Iterator

from gridloop.scenarios.control_parts import NEED_PIN, Control
from gridloop.scenarios.event_parts import AgentEvent, KickEvent
from gridloop.scenarios.market_checks import market_names
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import BatterySource

AGENTS_GIVE = ("Omega[rad_per_s]", "v[pu]")  # inputs that a member's model must have
UNREAD = ""  # type of a unit that could not be read


def control_problems(scenario: Scenario, broken: Collection[Path], reserved: Collection[str]) -> Iterator[Problem]:
    """Members, pins, controllers, laws; what is at the paths `broken` has been reported already."""
    control = scenario.control
    if control is None:
        return
    if broken_members := not {("control",), ("control", "members")}.isdisjoint(broken):
        broken = {*broken, ("control", "members")}
    else:
        yield from _members(scenario, control)
    yield from _pins(control, broken)
    yield from _controllers(scenario, control, reserved)
    for what in control.laws:
        try:
            control.own_law(what)
        except ValueError as error:
            yield Problem(("control", what, "law"), str(error))
    stores = [name for name in control.members if name in scenario.units and _has_store(scenario, name)]
    if control.balancing is not None and not stores and not broken_members:
        yield Problem(("control", "balancing"), "no member has a battery: give one `source: {type: battery, ...}`")


def _members(scenario: Scenario, control: Control) -> Iterator[Problem]:
    for k, name in enumerate(control.members):
        path: Path = ("control", "members", k)
        if name not in scenario.units:
            yield Problem(path, f"there is no unit {name!r}{did_you_mean(name, list(scenario.units))}")
        elif name in control.members[:k]:
            yield Problem(path, f"{name} is a member already")
        else:
            yield from _follower(scenario, path, name)


def _follower(scenario: Scenario, path: Path, name: str) -> Iterator[Problem]:
    """A unit that cannot do what its agent says."""
    unit = scenario.units[name]
    try:
        model = scenario.model_of(name)
    except ValueError:  # reported where the units are checked
        return
    if model is None or model.source != "emf":
        kind = f"{unit.control} {unit.type}" if unit.type == "inverter" else f"unit of type {unit.type}"
        yield Problem(path, f"{name} is a {kind}: members form the grid, as droop inverters and diesel sets do")
        return
    missing = [attr for attr in AGENTS_GIVE if attr not in {port.attr for port in model.inputs}]
    if missing:
        yield Problem(path, f"{name} cannot follow an agent: type {unit.type} has no input {' and '.join(missing)}")


def _pins(control: Control, broken: Collection[Path]) -> Iterator[Problem]:
    known = list(control.members)
    pinned: list[tuple[Path, str]] = [(("control", "pins", name), name) for name in control.pins or {}]
    pinned += [(("control", "leader"), control.leader)] if control.leader is not None else []
    if ("control", "members") not in broken:
        for path, name in pinned:
            if name not in known:
                yield Problem(path, f"{name!r} is no member{did_you_mean(name, known)}")
    if any(path in broken for path in (("control",), ("control", "leader"), ("control", "pins"))):
        return
    needy = [(what, law) for what, law in control.laws.items() if law in NEED_PIN]
    if needy and not pinned:
        what, law = needy[0]
        message = f"law {law} restores the {what} that the leader measures, and leader is missing"
        yield Problem(("control",), message, key="leader")


def _controllers(scenario: Scenario, control: Control, reserved: Collection[str]) -> Iterator[Problem]:
    names = control.central_names
    for k, name in enumerate(names):
        path: Path = ("control", "central", k) if control.central is not None else ("control",)
        if "." in name or "->" in name:
            yield Problem(path, "a controller's name has no dot and no arrow")
        if name in names[:k]:
            yield Problem(path, f"{name} is there already")
        if name in scenario.units or name in scenario.meters or name in reserved:
            rename = "" if control.central is not None else ": name the central controller otherwise, `central: [NAME]`"
            yield Problem(path, f"{name!r} is the name of another entity already{rename}")


def _has_store(scenario: Scenario, name: str) -> bool:
    return isinstance(scenario.units[name].source, BatterySource) or scenario.units[name].type == UNREAD


def agent_event_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Events of agents that are not there."""
    control = scenario.control
    known = [*([] if control is None else control.agent_names), *market_names(scenario)]
    if not {("control",), ("control", "members"), ("control", "central")}.isdisjoint(broken):
        return
    for i, event in enumerate(scenario.events):
        if not isinstance(event, AgentEvent | KickEvent):
            continue
        if not known:
            fix = "add `control:` or `market:` to the scenario"
            yield Problem(("events", i, "do"), f"{event.do} needs agents: {fix}")
        elif isinstance(event, KickEvent) and control is None:
            yield Problem(("events", i, "do"), f"{event.do} needs secondary control: add `control:` to the scenario")
        elif event.agent not in known:
            hint = did_you_mean(event.agent, known)
            yield Problem(("events", i, "agent"), f"there is no agent {event.agent!r}{hint}")
