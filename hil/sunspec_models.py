"""SunSpec's models as tables: which point stands where in the registers of a model. Pure.

The definitions are the JSON files of the package pysunspec2 (SunSpec Alliance, Apache-2.0). Nothing of its code is
used: its client takes late answers for the next ones, and it looks for definitions in the working folder first.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from gridloop.hil.points import MOST_POWER, Point, Type, decode

HEAD = 2  # registers of ID and L, which the length does not count

# type of a definition -> type of a register, and the number for 'no value' where it is not that of the type
_TYPES: dict[str, tuple[Type, Any]] = {
    "int16": ("int16", "type"), "int32": ("int32", "type"), "int64": ("int64", "type"), "sunssf": ("int16", "type"),
    "uint16": ("uint16", "type"), "uint32": ("uint32", "type"), "uint64": ("uint64", "type"),
    "count": ("uint16", "type"), "enum16": ("enum16", "type"), "enum32": ("uint32", "type"),
    "bitfield16": ("bitfield16", "type"), "bitfield32": ("bitfield32", "type"), "bitfield64": ("uint64", "type"),
    "acc16": ("uint16", 0), "acc32": ("uint32", 0), "acc64": ("uint64", 0), "ipaddr": ("uint32", 0),
    "float32": ("float32", "type"), "float64": ("float64", "type"),
}  # fmt: skip


class SunSpecError(ValueError):
    """What a device shows is no SunSpec, or not enough of it."""


@dataclass(frozen=True)
class Entry:
    """A point of a model: `Ctl[0].DbOf` in its registers, from the model's ID on."""

    path: str
    offset: int
    size: int
    kind: str
    factor: str  # path of its scale factor, or the power of ten itself; "" = none
    is_writable: bool
    is_static: bool  # stays as it is while the device runs
    names: tuple[tuple[int, str], ...]

    @property
    def type(self) -> Type | None:
        """Type of its registers; None for text and addresses."""
        return _TYPES[self.kind][0] if self.kind in _TYPES else None

    @property
    def sentinel(self) -> Any:
        """The register's number for 'no value', as Point takes it."""
        return _TYPES[self.kind][1] if self.kind in _TYPES else None


@dataclass(frozen=True)
class SunSpecModel:
    """A model of a device: its registers from the ID on, as they were read at `address`."""

    id: int
    address: int
    registers: tuple[int, ...]

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Points by path; those beyond the model's length are not there."""
        return layout(self.id, self.registers)

    def has(self, path: str) -> bool:
        """Whether the device implements a point."""
        return path in self.entries and not math.isnan(self.raw(path))

    def raw(self, path: str) -> float:
        """The register's number; nan = no value."""
        entry = self.entries.get(path)
        if entry is None or entry.type is None:
            return math.nan
        point = Point(path, "x[1]", 0, type=entry.type, sentinel=entry.sentinel)
        return decode(point, self.registers[entry.offset : entry.offset + entry.size])

    def power(self, path: str) -> int | None:
        """Power of ten of a point's scale as it was read; None = the device shows none that is allowed."""
        factor = self.entries[path].factor
        if not factor:
            return 0
        power = float(factor) if factor.lstrip("-").isdigit() else self.raw(factor)
        return int(power) if abs(power) <= MOST_POWER else None

    def value(self, path: str) -> float:
        """The scaled number; nan = no value."""
        raw = self.raw(path)
        power = None if math.isnan(raw) else self.power(path)
        return math.nan if power is None else raw * 10.0**power

    def text(self, path: str) -> str:
        """A point of text; "" = none."""
        entry = self.entries.get(path)
        if entry is None or entry.kind != "string":
            return ""
        words = self.registers[entry.offset : entry.offset + entry.size]
        return struct.pack(f">{len(words)}H", *words).split(b"\0")[0].decode("utf-8", "replace").strip()


@cache
def _definition(model: int) -> dict[str, Any] | None:
    found = files("sunspec2") / "models" / "json" / f"model_{model}.json"
    if not found.is_file():
        return None
    definition: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))["group"]
    return definition


def name_of(model: int) -> str:
    """A model's name; "" for one of a manufacturer's own."""
    definition = _definition(model)
    return "" if definition is None else str(definition["name"])


def layout(model: int, registers: Sequence[int]) -> dict[str, Entry]:
    """The points that stand in a model's registers, which are from its ID on.

    Raises:
        SunSpecError: the model is not defined.
    """
    definition = _definition(model)
    if definition is None:
        raise SunSpecError(f"SunSpec model {model} is not defined")
    found: dict[str, Entry] = {}
    _walk(definition, "", 0, registers, found)
    return found


def _walk(group: Mapping[str, Any], before: str, at: int, registers: Sequence[int], found: dict[str, Entry]) -> int:
    """Note the points of a group that begins at `at`; the offset after it.

    A scale factor stands in the group itself or at the top.
    """
    own = {definition["name"] for definition in group["points"]}
    for definition in group["points"]:
        size = int(definition["size"])
        if at + size > len(registers):
            return len(registers)  # what follows is not there either
        path, factor = before + definition["name"], str(definition.get("sf", ""))
        found[path] = Entry(
            path, at, size, definition["type"], before + factor if factor in own else factor,
            definition.get("access") == "RW", definition.get("static") == "S", tuple(_names(definition)),
        )  # fmt: skip
        at += size
    for inner in group.get("groups", ()):
        count = inner.get("count")
        for index in range(1 if count is None else _repeats(count, at, registers, found)):
            if at >= len(registers):  # a count may be any number
                return at
            name = inner["name"] if count is None else f"{inner['name']}[{index}]"
            at = _walk(inner, f"{before}{name}.", at, registers, found)
    return at


def _repeats(count: int | str, at: int, registers: Sequence[int], found: Mapping[str, Entry]) -> int:
    """How many groups there are: as many as told, or as many as fit where that is 0 (older models)."""
    if isinstance(count, int):
        return count if count else len(registers) - at
    entry = found.get(count)
    return 0 if entry is None or registers[entry.offset] == 0xFFFF else registers[entry.offset]


def _names(definition: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    for symbol in definition.get("symbols", ()):
        yield int(symbol["value"]), str(symbol["name"]).lower()
