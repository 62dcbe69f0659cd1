"""Devices in place of a scenario's units, as a caller or a command line names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.problems import did_you_mean
from gridloop.scenarios.schema import Scenario

OWN = "emulated:"  # what stands in a scenario for a device of the caller's own
REPLAY = "replay://"


def swapped(scenario: Scenario, swap: Mapping[str, Any], allow_writes: bool = False) -> Scenario:
    """The scenario with devices in place of units.

    Args:
        scenario: what runs.
        swap: devices by unit, agents as `UNIT.agent`: URLs, or devices of the caller's own. The folder of a recording
            is looked for where the caller is.
        allow_writes: leave to write to all devices of the run.

    Raises:
        ValueError: there is no such unit.
        ScenarioError: a device cannot stand in for its unit.
    """
    for unit in swap:
        if unit.removesuffix(ENDING) not in scenario.units:
            raise ValueError(f"swap: there is no unit {unit!r}{did_you_mean(unit, list(scenario.units))}")
    changed = scenario.with_overrides(swap_overrides(swap)) if swap else scenario
    if not allow_writes:
        return changed
    leave = {f"units.{name}.device.allow_writes": True for name, unit in changed.units.items() if unit.device}
    agents = [name for name, unit in changed.units.items() if unit.agent and unit.agent.device]
    leave |= {f"units.{name}.agent.device.allow_writes": True for name in agents}
    return changed.with_overrides(leave) if leave else changed


def swap_overrides(swap: Mapping[str, Any]) -> dict[str, Any]:
    """Devices in place of units as values by dotted path; arguments as of `swapped`."""
    overrides: dict[str, Any] = {}
    for unit, what in swap.items():
        overrides[f"units.{unit}.device.url"] = _from_here(what) if isinstance(what, str) else OWN
        if hasattr(what, "role"):
            overrides[f"units.{unit}.device.role"] = what.role
    return overrides


def _from_here(url: str) -> str:
    """A recording's URL with the whole path of its folder."""
    if not url.startswith(REPLAY):
        return url
    path, mark, options = url.removeprefix(REPLAY).partition("?")
    return f"{REPLAY}{quote(str(Path(unquote(path)).resolve()))}{mark}{options}" if path else url
