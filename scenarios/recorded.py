"""Which recording plays for a unit, and what it is a recording of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridloop.hil.replay import unit_in
from gridloop.hil.urls import parse
from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.schema import Scenario

SECRET = ("key", "cert", "ca")  # options of a URL that nobody else needs to know


def recording_for(scenario: Scenario, name: str) -> tuple[Path, str]:
    """Folder of the run and name of the recorded device that stand in for a unit by `replay://FOLDER?unit=NAME`.

    Args:
        scenario: what runs.
        name: the unit, or its agent as `UNIT.agent`.

    Raises:
        ValueError: there is no such recording.
    """
    unit, is_agent = name.removesuffix(ENDING), name.endswith(ENDING)
    place = scenario.units[unit].agent if is_agent else scenario.units[unit]
    device = None if place is None else place.device
    assert device is not None
    url = parse(device.url)
    run = scenario.folder_of("units", unit, *(("agent",) if is_agent else ()), "device", "url") / url.path
    return run, unit_in(run, name, url.options.get("unit", ""))


def recorded_facts(run: Path, name: str) -> Mapping[str, Any]:
    """What a run says of one of its devices: role, mode and others.

    Raises:
        ValueError: the folder holds no run.
    """
    from gridloop.scenarios.result import open_run

    facts: Mapping[str, Any] = open_run(run).record["devices"][name]
    return facts


def public(url: str) -> str:
    """A device's URL without the files of its keys."""
    base, mark, options = url.partition("?")
    kept = [one for one in options.split("&") if one.partition("=")[0] not in SECRET]
    return base + (mark + "&".join(kept) if kept and mark else "")
