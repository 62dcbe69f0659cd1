"""Devices of a scenario: which unit's row each stands in for, in what role, and by what rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridloop.hil.fault_course import PlannedFault
from gridloop.hil.urls import DeviceUrl, parse
from gridloop.scenarios.communication import device_ends, settings_of
from gridloop.scenarios.control_plan import Link, is_ideal
from gridloop.scenarios.device_parts import Device
from gridloop.scenarios.device_roles import Role, is_writable, mode_of, role_of
from gridloop.scenarios.event_parts import DeviceFaultEvent, SwapEvent
from gridloop.scenarios.groups import Group
from gridloop.scenarios.schedule import link_events
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.device import SET_POINTS

MOST_RATINGS = 3.0  # a power beyond is a wrong scale, not an overload


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
    links: tuple[Link, ...] = ()  # there and back, if it is behind simulated links

    @property
    def may_write(self) -> bool:
        """Whether anything may be written to it."""
        return is_writable(self.device, self.url)


def device_commands(scenario: Scenario) -> tuple[tuple[float, str, str], ...]:
    """Swaps in the course of the run: (t_s, unit, 'swap' or 'unswap')."""
    return tuple((event.t_s, event.unit, event.do) for event in scenario.events if isinstance(event, SwapEvent))


def device_faults(scenario: Scenario) -> tuple[PlannedFault, ...]:
    """What goes wrong with devices in the course of the run."""
    return tuple(
        PlannedFault(event.t_s, event.unit, event.kind, event.options, event.for_s)
        for event in scenario.events if isinstance(event, DeviceFaultEvent)
    )  # fmt: skip


def device_rows(scenario: Scenario, groups: Sequence[Group], s_base_mva: float) -> tuple[DeviceRow, ...]:
    """The units that have a device."""
    found = []
    for place, group in enumerate(groups):
        for row, unit in enumerate(group.ids):
            device = scenario.units[unit].device
            if device is not None:
                url, role = parse(device.url), role_of(scenario, unit)
                links = _links(scenario, unit)
                spec = _spec(device, url, role, group, row, s_base_mva) | _of_links(device, links)
                spec["mode"] = mode_of(scenario, unit, device)
                found.append(DeviceRow(unit, device, url, role, place, row, group.source, spec, links))
    return tuple(found)


def _links(scenario: Scenario, unit: str) -> tuple[Link, ...]:
    """The links of a unit's device; none where both are ideal and stay so: nothing is late then."""
    device = scenario.units[unit].device
    if device is None or device.comms is None:
        return ()
    ends = {"send_ms": scenario.step_ms, "receive_ms": scenario.step_ms}
    found = tuple(Link(*pair, {**settings_of(scenario, "->".join(pair)), **ends}) for pair in device_ends(unit))
    changing = {event["link"] for event in link_events(scenario)} & {"*", *(link.name for link in found)}
    return found if changing or not all(is_ideal(link.settings) for link in found) else ()


def _of_links(device: Device, links: tuple[Link, ...]) -> dict[str, Any]:
    """What a row must know of its links; without a word on it, values may be older by what the links delay."""
    late_ms = sum(link.settings.get("delay_ms", 0.0) for link in links) if device.max_age_ms is None else 0.0
    return {"over_links": bool(links), "max_age_ms": device.oldest_ms + late_ms}


def _spec(device: Device, url: DeviceUrl, role: Role, group: Group, row: int, s_base_mva: float) -> dict[str, Any]:
    droop, rated_mva = getattr(group.params, "droop_p_rad_per_s_pu", None), float(group.rated_kva[row]) / 1e3
    with np.errstate(divide="ignore"):
        mw_per_hz = np.nan if droop is None else float(2 * np.pi * s_base_mva / np.asarray(droop)[row])
    return {
        "unit": group.ids[row], "role": role,
        "deadline_ms": device.answer_ms, "hold_ms": device.on_loss.hold_ms,
        "then": device.on_loss.then, "safe": complex(device.safe.p_set_kw, device.safe.q_set_kvar) / 1e3,
        "most_mva": MOST_RATINGS * rated_mva if np.isfinite(rated_mva) else np.inf,
        "set_points": set_points_of(group, row), "mw_per_hz": mw_per_hz, "shadow": not is_writable(device, url),
        "where": f"the device at {device.url}", "emf_start_pu": complex(group.emf_start_pu[row]),
    }  # fmt: skip


def set_points_of(group: Group, row: int) -> dict[str, float]:
    """Set-points at the start, by attribute."""
    found = {}
    for key, (attr, factor) in SET_POINTS.items():
        values = getattr(group.params, key, None)
        if values is not None:
            found[attr] = float(np.broadcast_to(values, len(group.ids))[row]) * factor
    return found
