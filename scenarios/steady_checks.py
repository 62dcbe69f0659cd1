"""What of a scenario has no settled state, so that `mode: steady` refuses it."""

from collections.abc import Sequence

from gridloop.scenarios.event_parts import AgentEvent, Event, SetEvent
from gridloop.scenarios.groups import Group
from gridloop.scenarios.market_checks import market_names
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.models.steady_control import FREQUENCY_LAWS

MODELS = ("Inverter", "Following", "Diesel", "Machine")  # which have a settled state
NOT_SETTLED = ("fault", "link_down", "link_up", "agent_fail", "agent_recover", "agent_kick")


def steady_problems(scenario: Scenario, groups: Sequence[Group]) -> list[Problem]:
    """What of a scenario has no settled state."""
    found = [
        Problem(("units", unit), f"mode: steady knows no settled state of this type; it knows {', '.join(MODELS)}")
        for group in groups if group.model is not None and group.model.name not in MODELS
        for unit in group.ids
    ]  # fmt: skip
    found += [
        Problem(("units", unit), "mode: steady: a machine without damping_pu has no settled frequency")
        for group in groups if group.model is not None and group.model.name == "Machine"
        for unit, damping in zip(group.ids, group.params.damping_pu, strict=True) if not damping > 0
    ]  # fmt: skip
    found += [
        Problem(("events", place), f"mode: steady has no {event.do}: it is over before a step ends; use mode: rms")
        for place, event in enumerate(scenario.events) if event.do in NOT_SETTLED and not _is_of_market(scenario, event)
    ]  # fmt: skip
    found += [
        Problem(("events", place, "path"), "mode: steady has no links that could change; use mode: rms")
        for place, event in enumerate(scenario.events) if isinstance(event, SetEvent) and event.path.startswith("comms")
    ]  # fmt: skip
    if scenario.control is not None:
        law = scenario.control.frequency.law
        if law not in FREQUENCY_LAWS:
            found.append(
                Problem(("control", "frequency", "law"), "mode: steady knows where F, D, C and none come to rest")
            )
    if scenario.comms is not None and scenario.comms.signals:
        found.append(Problem(("comms", "signals"), "mode: steady has no links: delays are over before a step ends"))
    return found


def _is_of_market(scenario: Scenario, event: Event) -> bool:
    return isinstance(event, AgentEvent) and event.agent in market_names(scenario)
