"""What the commands `hil` are told in words: addresses, units, points and values."""

import math
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from gridloop.hil.links import TRANSPORTS
from gridloop.hil.points import Point
from gridloop.hil.registers import RegisterMap, load_map, shipped_maps
from gridloop.hil.urls import DeviceUrl, parse
from gridloop.scenarios.problems import did_you_mean


def modbus_url(url: str) -> DeviceUrl:
    """A URL of a device that speaks Modbus."""
    at = parse(url)
    if at.scheme not in ("modbus", "sunspec") or at.transport not in TRANSPORTS:
        raise ValueError(f"{url}: only Modbus devices can be asked by hand: modbus+{', modbus+'.join(TRANSPORTS)}")
    return at


def device_of(url: str) -> tuple[DeviceUrl, RegisterMap | None]:
    """Where a device is, and its register map; None = the device itself has it."""
    at = modbus_url(url)
    if at.scheme == "sunspec":
        return at, None
    if "map" not in at.options:
        raise ValueError(
            f"{url}: which registers? Add ?map=NAME or a file; there are {', '.join(sorted(shipped_maps()))}; "
            "or write sunspec+ in place of modbus+"
        )
    return at, load_map(at.options["map"])


def devices_in(scenario: str) -> Iterator[tuple[str, tuple[DeviceUrl, RegisterMap | None], dict[str, float]]]:
    """Every Modbus device of a scenario: its unit, where it is with its map, and its safe values by attribute.

    Raises:
        ValueError: the scenario has none.
    """
    from gridloop.scenarios.reading import load

    whole, count = load(scenario), 0
    for name, unit in whole.units.items():
        if unit.device is None or parse(unit.device.url).scheme not in ("modbus", "sunspec"):
            continue
        count += 1
        at, safe = modbus_url(unit.device.url), unit.device.safe
        own = at.options.get("map")
        map = None if own is None else load_map(own, whole.folder_of("units", name, "device", "url"))
        values = {"P_set[MW]": safe.p_set_kw / 1e3, "Q_set[MVar]": safe.q_set_kvar / 1e3}
        yield name, (at, map), values
    if not count:
        raise ValueError(f"{scenario} has no unit with a device that speaks Modbus")


def point_of(map: RegisterMap, name: str) -> Point:
    """The point of a name or an attr; of two with one attr the first."""
    found = [point for point in map.points if name in (point.name, point.attr)]
    if not found:
        names = [point.name for point in map.points]
        raise ValueError(
            f"the map {map.name} has no point {name!r}{did_you_mean(name, names)}; there are {', '.join(names)}"
        )
    return found[0]


def values_of(map: RegisterMap, words: Sequence[str]) -> dict[str, float]:
    """`NAME=VALUE` words as values by point; all of them points that are written to."""
    values = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not equals or not math.isfinite(value):
            raise ValueError(f"{word}: write NAME=NUMBER, e.g. P_set=0.05")
        point = next((p for p in map.written_points if name in (p.name, p.attr)), None) or point_of(map, name)
        if not point.is_written:
            raise ValueError(f"{name} is only read; {map.name} takes {', '.join(p.name for p in map.written_points)}")
        values[point.name] = value
    return values


def units_of(text: str) -> list[int]:
    """`1-10,247` as numbers."""
    found: list[int] = []
    for word in text.split(","):
        first, dash, last = word.partition("-")
        try:
            numbers = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            numbers = range(0)
        if not numbers or numbers[0] < 0 or numbers[-1] > 255:
            raise ValueError(f"--units {text}: write 1-10,247; units are 0 to 255")
        found += numbers
    return list(dict.fromkeys(found))


def names_unit(url: str) -> bool:
    """Whether a URL says which unit: behind the address, or as an option."""
    parts = urlsplit(url)
    return "unit=" in parts.query or parts.path.rpartition("/")[2].isdigit()


def in_words(units: Sequence[int]) -> str:
    """`1 to 10`."""
    return f"{units[0]} to {units[-1]}" if len(units) > 1 else str(units[0])
