"""What of a scenario's devices does not fit together."""

from collections.abc import Collection, Iterator

from gridloop.hil.urls import parse
from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.device_roles import RoleError, role_of
from gridloop.scenarios.event_parts import DeviceFaultEvent, SwapEvent
from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import Scenario


def device_problems(scenario: Scenario, broken: Collection[Path]) -> Iterator[Problem]:
    """Devices that cannot stand in for their units, and swaps of units without one."""
    for name, unit in scenario.units.items():
        if unit.device is not None and ("units", name) not in broken:
            yield from _of_unit(scenario, name)
    for place, event in enumerate(scenario.events):
        if not isinstance(event, SwapEvent | DeviceFaultEvent):
            continue
        if isinstance(event, SwapEvent) and event.unit.endswith(ENDING):
            continue  # of an agent
        path: Path = ("events", place, "unit")
        if event.unit not in scenario.units:
            hint = did_you_mean(event.unit, list(scenario.units))
            yield Problem(path, f"there is no unit {event.unit!r}{hint}")
        elif scenario.units[event.unit].device is None and ("units", event.unit) not in broken:
            fix = f"add `device:` to it, or run with --swap {event.unit}=URL"
            yield Problem(path, f"{event.unit} has no device that could stand in for it: {fix}")
        elif isinstance(event, DeviceFaultEvent) and ("units", event.unit) not in broken:
            yield from _of_fault(scenario, event, path)


def _of_fault(scenario: Scenario, event: DeviceFaultEvent, path: Path) -> Iterator[Problem]:
    """A fault that cannot be made, or that has keys which say nothing of it."""
    device = scenario.units[event.unit].device
    if device is not None and not device.url.startswith("emulated:"):
        fix = "a fault can be made in a device of ours only: write url: emulated:, or hil emulate ... --fault KIND"
        yield Problem(path, f"the device of {event.unit} is at {device.url}: {fix}")
    for key, kinds in (("delay_ms", ("late", "slow", "restart")), ("code", ("exception",))):
        if getattr(event, key) is not None and event.kind not in kinds:
            yield Problem((*path[:2], key), f"{event.kind} has no {key}: it is of {' and '.join(kinds)}")


def _of_unit(scenario: Scenario, name: str) -> Iterator[Problem]:
    device = scenario.units[name].device
    assert device is not None
    path: Path = ("units", name, "device")
    if scenario.mode == "steady":
        yield Problem(path, "mode: steady has no devices: settled states follow each other at no pace; use mode: rms")
        return
    try:
        url = parse(device.url)
        if url.scheme == "modbus" and "map" not in url.options:
            yield Problem((*path, "url"), "needs a register map: add ?map=generic_inverter or a file of your own")
            return
        model, role = scenario.model_of(name), role_of(scenario, name)
    except ValueError as error:
        yield Problem((*path, "role" if isinstance(error, RoleError) else "url"), str(error))
        return
    if url.scheme == "serial" and role != "controller":
        yield Problem((*path, "url"), "a serial agent is a droop inverter: it gives f and E, this unit injects power")
    if url.scheme in ("emulated", "mosaik") and model is None:
        message = f"{url.scheme}: a unit whose power is given has no model that could be a device's"
        yield Problem((*path, "url"), message)
    if role == "controller" and (model is None or model.source != "emf"):
        message = "a controller gives f and E, but this unit injects power: use a device or map of role power"
        yield Problem((*path, "role" if device.role else "url"), message)
    if role == "controller" and device.on_loss.then == "safe":
        message = "safe is a set-point of power, which a controller has none of: write then: model or then: stop"
        yield Problem((*path, "on_loss", "then"), message)
