"""The points of a register map: each by its keys, and all of them together."""

import math
import re
from dataclasses import fields
from typing import Any

from gridloop.hil.map_parsing import Node, mapping, number, one_of, read_keys, shown, whole, words
from gridloop.hil.points import (
    BITFIELDS,
    BITS,
    FUNCTIONS,
    ORDERS,
    READ_ONLY,
    ROLES,
    TYPES,
    UNITS,
    Point,
    unit_factor,
    unit_of,
)

_UNSCALED = ("bool", "enum16", *BITFIELDS)


def _attr(node: Node) -> str | None:
    if isinstance(node.value, str) and re.fullmatch(r"[A-Za-z]\w*\[[^\[\]/\s]+\]", node.value):
        return node.value
    node.wrong(f'must be a mosaik attribute like "P_gen[MW]" (in quotes), got {shown(node.value)}')
    return None


def _sign(node: Node) -> int | None:
    if node.value in (1, -1) and not isinstance(node.value, bool):
        return int(node.value)
    node.wrong(f"must be 1 or -1, got {shown(node.value)}")
    return None


def _scale(node: Node) -> float | None:
    value: float | None = number()(node)
    if value is not None and value <= 0:
        node.wrong(f"must be greater than 0, got {value:g}; `sign: -1` turns the sign")
        return None
    return value


def _sentinel(node: Node) -> Any:
    """A number, 'none' or 'type'; as 'none' is a value of its own, it comes as a word."""
    if node.value in ("none", "type"):
        return node.value
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return whole(-(1 << 63), (1 << 64) - 1)(node)
    node.wrong(f"must be the register's number for 'no value', none, or type, got {shown(node.value)}")
    return None


def _unit(node: Node) -> str | None:
    text = str(node.value) if node.value == 1 and not isinstance(node.value, bool) else node.value
    return str(text) if text in UNITS else one_of(UNITS)(node)


def _names(node: Node) -> tuple[tuple[int, str], ...]:
    """Names by number."""
    found = []
    for key, entry in mapping(node, "names by number").items():
        word = words(entry)
        if not re.fullmatch(r"[0-9]{1,5}", key) or int(key) > 0xFFFF:
            entry.wrong("must be the number that the name stands for, 0 to 65535")
        elif word is not None:
            found.append((int(key), word))
    return tuple(found)


POINT_KEYS = {
    "attr": _attr,
    "address": whole(0, 0xFFFF),
    "function": one_of(FUNCTIONS),
    "type": one_of(TYPES),
    "order": one_of(ORDERS),
    "scale": _scale,
    "offset": number(),
    "sign": _sign,
    "sentinel": _sentinel,
    "low": number(),
    "high": number(),
    "unit": _unit,
    "base": number(1e-9),
    "safe": number(),
    "preset": number(),
    "role": one_of(ROLES),
    "bit": whole(0, 15),
    "names": _names,
    "description": words,
}
_FIELDS = {field.name for field in fields(Point)}


def read_points(node: Node, defaults: dict[str, Any]) -> list[tuple[Point, Node]]:
    """The points that can be made, each with its place; what is wrong with the others is noted."""
    found = []
    for name, entry in mapping(node, "points by name").items():
        before = len(entry.problems)
        values = {**defaults, **read_keys(entry, POINT_KEYS, needed=("attr", "address"))}
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            entry.wrong("a point's name may hold letters, digits and _ only, a letter first")
        if len(entry.problems) > before:
            continue
        if values.get("sentinel") == "none":
            values["sentinel"] = None
        point = Point(name, **{key: value for key, value in values.items() if key in _FIELDS})
        _check(point, entry, values)
        if len(entry.problems) == before:
            found.append((point, entry))
    return found


def _check(point: Point, node: Node, given: dict[str, Any]) -> None:
    """Note what does not fit together within a point."""
    at = mapping(node, "keys")

    def wrong(key: str, message: str) -> None:
        at.get(key, node).wrong(message)

    if (point.type == "bool") != (point.function in BITS) and point.type != "bool":
        wrong("type", f"a {point.function} is one bit: its type is bool")
    if point.is_written and point.function in READ_ONLY:
        wrong("role", f"{point.function} registers cannot be written, {point.role} does: holding or coil?")
    if point.end > 0x10000:
        wrong("address", f"{point.width} registers from {point.address} on end beyond 65535")
    if point.bit >= 0 and (point.type != "bool" or point.function in BITS or point.is_written):
        wrong("bit", "only a bool that is read from a register has a bit")
    if point.type in _UNSCALED and (point.scale, point.offset, point.sign) != (1, 0, 1):
        wrong("type", f"a {point.type} has no scale, offset or sign")
    if point.names and point.type not in ("enum16", *BITFIELDS):
        wrong("names", "only an enum16 or a bitfield has names")
    bits = 16 * point.width
    if isinstance(point.sentinel, int) and (point.is_float or not -(1 << (bits - 1)) <= point.sentinel < 1 << bits):
        wrong("sentinel", f"no number of type {point.type}")
    if point.sentinel is not None and point.role == "heartbeat" and "sentinel" in given:
        wrong("sentinel", "a heartbeat runs through all numbers")
    try:
        unit_factor(point.unit, unit_of(point.attr), point.base)
    except ValueError as error:
        wrong("unit", str(error))
    _check_limits(point, wrong)


def _check_limits(point: Point, wrong: Any) -> None:
    if point.low > point.high:
        wrong("low", f"low {point.low:g} is above high {point.high:g}")
        return
    if point.is_written and not point.is_float and point.type != "bool":
        least, most = point.numbers
        if least > most:
            wrong("low", "no register's number gives a value between low and high")
    for key in ("safe", "preset"):
        value = getattr(point, key)
        if math.isnan(value):
            continue
        if not point.is_written:
            wrong(key, f"is never written: the role is {point.role}")
        elif not point.low <= value <= point.high:
            wrong(key, f"{value:g} is not between low and high, {point.low:g} to {point.high:g}")
    if point.is_written and re.match(r"[PQ]_set\[", point.attr) and math.isnan(point.safe):
        wrong("attr", "`safe` is missing: what is written when a run ends or its steps stop")


def check_together(points: list[tuple[Point, Node]]) -> None:
    """Note attrs that two points show or take, and writes that overlap."""
    for what, does in (("show", "is_read"), ("take", "is_written")):
        first: dict[str, Point] = {}
        for point, node in points:
            if getattr(point, does):
                other = first.setdefault(point.attr, point)
                if other is not point:
                    node.wrong(f"{other.name} and {point.name} both {what} {point.attr}")
    written = [(point, node) for point, node in points if point.is_written]
    for index, (point, node) in enumerate(written):
        for other, _ in written[:index]:
            if point.function == other.function and point.address < other.end and other.address < point.end:
                node.wrong(f"overlaps {other.name}, which stands at {other.address} to {other.end - 1}")
