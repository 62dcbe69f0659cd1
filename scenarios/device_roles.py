"""What a scenario's devices give, and whether they may be written to."""

from pathlib import Path as FilePath
from typing import Literal

from gridloop.hil.registers import load_map
from gridloop.hil.urls import DeviceUrl, parse
from gridloop.scenarios.agent_parts import AgentDevice
from gridloop.scenarios.device_parts import Device
from gridloop.scenarios.recorded import recorded_facts, recording_for
from gridloop.scenarios.schema import Scenario

Role = Literal["controller", "power"]
Mode = Literal["free", "lockstep"]
PSEUDO_TERMINALS = "/dev/pts"  # behind which is a program on this machine
LOOPBACK = ("localhost", "127.0.0.1", "::1")
IN_PROCESS = ("emulated", "replay", "mosaik")  # schemes behind which there is nothing that could be harmed


def is_writable(device: Device | AgentDevice, url: DeviceUrl) -> bool:
    """Whether a device may be written to: with leave, or if it is an emulator on this machine."""
    if url.scheme == "replay":
        return url.options.get("shadow") != "yes"
    here = url.host in LOOPBACK or FilePath(url.path).resolve().is_relative_to(PSEUDO_TERMINALS)
    return device.allow_writes or url.scheme in IN_PROCESS or here


def mode_of(scenario: Scenario, name: str, device: Device | AgentDevice) -> Mode:
    """How a device's answers count, of a unit or, as `UNIT.agent`, of its agent; a recording's as they did then."""
    url = parse(device.url)
    if url.scheme == "replay":
        mode: Mode = recorded_facts(*recording_for(scenario, name))["mode"]
        return mode
    return "lockstep" if url.scheme in IN_PROCESS else device.mode


class RoleError(ValueError):
    """What the file says of a device's role is not what its map says."""


def role_of(scenario: Scenario, unit: str) -> Role:
    """What a device gives: as the file says, or its register map or recording, or as its unit's model.

    Raises:
        ValueError: the url cannot be read, or there is no such map or recording.
        RoleError: what the file says is not what the map or the recording says.
    """
    device = scenario.units[unit].device
    assert device is not None
    url, model = parse(device.url), scenario.model_of(unit)
    own: Role = "controller" if model is not None and model.source == "emf" else "power"
    if url.scheme == "replay":
        recorded: Role = recorded_facts(*recording_for(scenario, unit))["role"]
        if device.role not in (None, recorded):
            raise RoleError(f"the recorded device has role {recorded}: write role: {recorded}")
        return recorded
    if url.scheme == "sunspec":
        if device.role == "controller":
            raise RoleError("a SunSpec device takes set-points of power: write role: power")
        return "power"
    name = url.options.get("map")
    if name is None or url.scheme != "modbus":
        return device.role or own
    mapped = load_map(name, scenario.folder_of("units", unit, "device", "url")).role
    if mapped not in ("controller", "power"):
        raise ValueError(f"the map {name} is of a {mapped}, which cannot stand in for a unit")
    if device.role not in (None, mapped):
        raise RoleError(f"the map {name} is of role {mapped}: write role: {mapped}, or name another map")
    return mapped
