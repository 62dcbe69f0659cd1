"""What of a scenario's physical agents does not fit together."""

from collections.abc import Collection, Iterator

from gridloop.hil.urls import parse
from gridloop.scenarios.agent_parts import ENDING, AgentDevice
from gridloop.scenarios.control_parts import CENTRAL, Control
from gridloop.scenarios.event_parts import SwapEvent
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.recorded import recording_for
from gridloop.scenarios.schema import Scenario

CAN_DECIDE = ("serial", "replay", "emulated")  # schemes
MOST_MEMBERS = 256  # agents are numbered by a byte


def agent_device_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Physical agents that cannot decide, and swaps of agents that are no devices."""
    aside = {path[1] for path in broken if path[:1] == ("units",) and len(path) > 1}
    for name, unit in scenario.units.items():
        if unit.agent is not None and name not in aside and ("control",) not in broken:
            yield from _of_unit(scenario, name)
    for place, event in enumerate(scenario.events):
        if not isinstance(event, SwapEvent) or not event.unit.endswith(ENDING):
            continue
        name, where = event.unit.removesuffix(ENDING), ("events", place, "unit")
        agent = scenario.units[name].agent if name in scenario.units else None
        if name not in scenario.units:
            yield Problem(where, f"there is no unit {name!r}{did_you_mean(name, list(scenario.units))}")
        elif name not in aside and (agent is None or agent.device is None):
            fix = f'add `"{event.unit}": {{device: ...}}` to the units, or run with --swap {event.unit}=URL'
            yield Problem(where, f"the agent of {name} is no device: {fix}")


def _of_unit(scenario: Scenario, name: str) -> Iterator[Problem]:
    control, agent = scenario.control, scenario.units[name].agent
    path: Path = ("units", name, "agent")
    if control is None or name not in control.members:
        yield Problem(path, f"{name} has no agent: it is no member of `control:`")
    elif agent is not None and agent.device is not None:
        yield from _of_device(scenario, control, agent.device, (*path, "device"))


def _of_device(scenario: Scenario, control: Control, device: AgentDevice, path: Path) -> Iterator[Problem]:
    if scenario.mode == "steady":
        yield Problem(path, "mode: steady has no devices: settled states follow each other at no pace; use mode: rms")
    if CENTRAL in control.laws.values():
        yield Problem(path, "of law C the central controller decides, not the agents: choose another law")
    if control.balancing is not None:
        yield Problem(path, "a physical agent balances no charge: delete `balancing:` or this section")
    if control.period_ms % 1:
        yield Problem(path, f"a physical agent counts whole milliseconds: period_ms = {control.period_ms:g} is none")
    if len(control.members) > MOST_MEMBERS:
        yield Problem(path, f"a physical agent tells {MOST_MEMBERS} members apart, not {len(control.members)}")
    for key, value in (("deadline_ms", device.deadline_ms), ("max_age_ms", device.max_age_ms)):
        if value is not None and (value > control.period_ms) == (key == "deadline_ms"):
            words = "longer" if key == "deadline_ms" else "not longer"
            yield Problem((*path, key), f"{value:g} ms is {words} than the agents' period of {control.period_ms:g} ms")
    try:
        url = parse(device.url)
    except ValueError as error:
        yield Problem((*path, "url"), str(error))
        return
    if url.scheme not in CAN_DECIDE:
        yield Problem(
            (*path, "url"), f"a {url.scheme} device is no agent: serial:///dev/... or serial+socket://HOST:PORT"
        )
    elif url.scheme == "replay":
        try:
            recording_for(scenario, f"{path[1]}{ENDING}")
        except ValueError as error:
            yield Problem((*path, "url"), str(error))
