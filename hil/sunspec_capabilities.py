"""What a SunSpec device can do for a run, and by which of its models: a table for people. Pure."""

import math
from typing import NamedTuple

from gridloop.hil.points import Point
from gridloop.hil.registers import RegisterMap
from gridloop.hil.sunspec import SunSpecDevice
from gridloop.hil.sunspec_map import P_MAX, rating

KW = {"P_set[MW]": "kW", "Q_set[MVar]": "kvar"}
SHOWN = {"SoC": "SoC[%]", "state": "state[1]", "f": "f[Hz]"}


class Capability(NamedTuple):
    """`by` is the model and its point, '' where the device has none."""

    capability: str
    by: str
    finding: str


def capabilities(device: SunSpecDevice, map: RegisterMap) -> list[Capability]:
    """Set-points, limits, droop, state of charge and nets of safety, those that are missing as well."""
    found = [_set_point(map, name, attr) for name, attr in (("P_set", "P_set[MW]"), ("Q_set", "Q_set[MVar]"))]
    p_max_w, by = rating(device, P_MAX)
    found.append(Capability("P_max", by, "" if math.isnan(p_max_w) else f"{p_max_w / 1e3:g} kW"))
    found += [_own_law(device, name, *place) for name, place in (("droop", (711, "Ena")), ("volt-var", (705, "Ena")))]
    found += [_shown(device, map.read(attr), name) for name, attr in SHOWN.items()]
    timer = map.written("reversion[s]")
    found.append(Capability("reversion", _place(timer), "" if timer is None else f"set to {map.reversion_s:g} s"))
    found.append(Capability("heartbeat", _place(map.written("heartbeat[1]")), ""))
    found.append(Capability("P, Q", _place(map.read("P_gen[MW]")), ""))
    return found


def _set_point(map: RegisterMap, name: str, attr: str) -> Capability:
    point = map.written(attr)
    if point is None:
        return Capability(name, "", "read only")
    low, high = (limit * 1e3 for limit in point.limits)
    return Capability(name, _place(point), f"{low:g} to {high:g} {KW[attr]}")


def _own_law(device: SunSpecDevice, name: str, id: int, path: str) -> Capability:
    """What the device does by itself, and whether it is switched on."""
    model = device.model(id)
    if model is None or not model.has(path):
        return Capability(name, "", "")
    value, names = model.raw(path), dict(model.entries[path].names)
    droop = f", {model.value('Ctl[0].KOf'):g} pu/pu" if model.has("Ctl[0].KOf") else ""
    return Capability(name, f"{id} {path}", names.get(int(value), f"{value:g}") + droop)


def _shown(device: SunSpecDevice, point: Point | None, name: str) -> Capability:
    """A quantity that is read, with what it was at the scan."""
    if point is None:
        return Capability(name, "", "")
    id, _, path = _place(point).partition(" ")
    model = device.model(int(id))
    value = math.nan if model is None else model.value(path)
    return Capability(name, _place(point), point.text(value))


def _place(point: Point | None) -> str:
    """`704 WSet`, of a point that sunspec_map named m704_WSet."""
    return "" if point is None else point.name.removeprefix("m").replace("_", " ", 1)
