"""Devices of a scenario: which unit's row each stands in for, in what role, and by what rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gridloop.hil.registers import load_map
from gridloop.hil.urls import DeviceUrl, parse
from gridloop.scenarios.device_parts import Device
from gridloop.scenarios.event_parts import SwapEvent
from gridloop.scenarios.groups import Group
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.device import SET_POINTS

Role = Literal["controller", "power"]
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_RATINGS = 3.0  # a power beyond is a wrong scale, not an overload
IN_PROCESS = ("emulated", "replay")  # schemes behind which there is nothing that could be harmed


@dataclass(frozen=True)
class DeviceRow:
    """A unit with a device: `group` is its place among the plan's groups, `row` that of the unit in it."""

    unit: str
    device: Device
    url: DeviceUrl
    role: Role
    group: int
    row: int
    source: str  # of the row that it stands in for: 'emf' or 'power'
    spec: Mapping[str, Any]  # parameters of its row in the adapter

    @property
    def may_write(self) -> bool:
        """Whether anything may be written to it."""
        return is_writable(self.device, self.url)


def is_writable(device: Device, url: DeviceUrl) -> bool:
    """Whether a device may be written to: with leave, or if it is an emulator on this machine."""
    return device.allow_writes or url.scheme in IN_PROCESS or url.host in LOOPBACK


class RoleError(ValueError):
    """What the file says of a device's role is not what its map says."""


def role_of(scenario: Scenario, unit: str) -> Role:
    """What a device gives: as the file says, or its register map, or as its unit's model.

    Raises:
        ValueError: the url cannot be read, or there is no such map.
        RoleError: what the file says is not what the map says.
    """
    device = scenario.units[unit].device
    assert device is not None
    url, model = parse(device.url), scenario.model_of(unit)
    own: Role = "controller" if model is not None and model.source == "emf" else "power"
    name = url.options.get("map")
    if name is None or url.scheme != "modbus":
        return device.role or own
    mapped = load_map(name, scenario.folder_of("units", unit, "device", "url")).role
    if mapped not in ("controller", "power"):
        raise ValueError(f"the map {name} is of a {mapped}, which cannot stand in for a unit")
    if device.role not in (None, mapped):
        raise RoleError(f"the map {name} is of role {mapped}: write role: {mapped}, or name another map")
    return mapped


def device_commands(scenario: Scenario) -> tuple[tuple[float, str, str], ...]:
    """Swaps in the course of the run: (t_s, unit, 'swap' or 'unswap')."""
    return tuple((event.t_s, event.unit, event.do) for event in scenario.events if isinstance(event, SwapEvent))


def device_rows(scenario: Scenario, groups: Sequence[Group], s_base_mva: float) -> tuple[DeviceRow, ...]:
    """The units that have a device."""
    found = []
    for place, group in enumerate(groups):
        for row, unit in enumerate(group.ids):
            device = scenario.units[unit].device
            if device is not None:
                url, role = parse(device.url), role_of(scenario, unit)
                spec = _spec(device, url, role, group, row, s_base_mva)
                found.append(DeviceRow(unit, device, url, role, place, row, group.source, spec))
    return tuple(found)


def _spec(device: Device, url: DeviceUrl, role: Role, group: Group, row: int, s_base_mva: float) -> dict[str, Any]:
    droop, rated_mva = getattr(group.params, "droop_p_rad_per_s_pu", None), float(group.rated_kva[row]) / 1e3
    with np.errstate(divide="ignore"):
        mw_per_hz = np.nan if droop is None else float(2 * np.pi * s_base_mva / np.asarray(droop)[row])
    return {
        "unit": group.ids[row], "role": role, "mode": "lockstep" if url.scheme in IN_PROCESS else device.mode,
        "deadline_ms": device.answer_ms, "max_age_ms": device.max_age_ms, "hold_ms": device.on_loss.hold_ms,
        "then": device.on_loss.then, "safe": complex(device.safe.p_set_kw, device.safe.q_set_kvar) / 1e3,
        "most_mva": MOST_RATINGS * rated_mva if np.isfinite(rated_mva) else np.inf,
        "set_points": _set_points(group, row), "mw_per_hz": mw_per_hz, "shadow": not is_writable(device, url),
        "where": f"the device at {device.url}", "emf_start_pu": complex(group.emf_start_pu[row]),
    }  # fmt: skip


def _set_points(group: Group, row: int) -> dict[str, float]:
    """Set-points at the start, by attribute."""
    found = {}
    for key, (attr, factor) in SET_POINTS.items():
        values = getattr(group.params, key, None)
        if values is not None:
            found[attr] = float(np.broadcast_to(values, len(group.ids))[row]) * factor
    return found
