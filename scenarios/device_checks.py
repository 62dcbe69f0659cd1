"""What of a scenario's devices does not fit together."""

from collections.abc import Collection, Iterator

from gridloop.hil.urls import parse
from gridloop.scenarios.device_plan import RoleError, role_of
from gridloop.scenarios.event_parts import SwapEvent
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario

CAN_DRIVE = ("modbus", "emulated")  # schemes


def device_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Devices that cannot stand in for their units, and swaps of units without one."""
    for name, unit in scenario.units.items():
        if unit.device is not None and ("units", name) not in broken:
            yield from _of_unit(scenario, name)
    for place, event in enumerate(scenario.events):
        if not isinstance(event, SwapEvent):
            continue
        path: Path = ("events", place, "unit")
        if event.unit not in scenario.units:
            hint = did_you_mean(event.unit, list(scenario.units))
            yield Problem(path, f"there is no unit {event.unit!r}{hint}")
        elif scenario.units[event.unit].device is None and ("units", event.unit) not in broken:
            fix = f"add `device:` to it, or run with --swap {event.unit}=URL"
            yield Problem(path, f"{event.unit} has no device that could stand in for it: {fix}")


def _of_unit(scenario: Scenario, name: str) -> Iterator[Problem]:
    device = scenario.units[name].device
    assert device is not None
    path: Path = ("units", name, "device")
    if scenario.mode == "steady":
        yield Problem(path, "mode: steady has no devices: settled states follow each other at no pace; use mode: rms")
        return
    try:
        url = parse(device.url)
        if url.scheme not in CAN_DRIVE:
            known = ", ".join(CAN_DRIVE)
            yield Problem((*path, "url"), f"a {url.scheme} device cannot stand in for a unit yet; it may be {known}")
            return
        if url.scheme == "modbus" and "map" not in url.options:
            yield Problem((*path, "url"), "needs a register map: add ?map=generic_inverter or a file of your own")
            return
        model, role = scenario.model_of(name), role_of(scenario, name)
    except ValueError as error:
        yield Problem((*path, "role" if isinstance(error, RoleError) else "url"), str(error))
        return
    if url.scheme == "emulated" and model is None:
        yield Problem((*path, "url"), "emulated: a unit whose power is given has no model that could be a device's")
    if role == "controller" and (model is None or model.source != "emf"):
        message = "a controller gives f and E, but this unit injects power: use a device or map of role power"
        yield Problem((*path, "role" if device.role else "url"), message)
    if role == "controller" and device.on_loss.then == "safe":
        message = "safe is a set-point of power, which a controller has none of: write then: model or then: stop"
        yield Problem((*path, "on_loss", "then"), message)
