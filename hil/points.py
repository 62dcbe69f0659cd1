"""One quantity of a device and its registers: types, four byte orders, missing values, scale, sign and limits."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

Function = Literal["holding", "input", "coil", "discrete"]
Type = Literal[
    "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64", "bool", "enum16", "bitfield16",
    "bitfield32",
]  # fmt: skip
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Role = Literal["read", "write", "both", "heartbeat"]

FUNCTIONS: tuple[str, ...] = get_args(Function)
TYPES: tuple[str, ...] = get_args(Type)
ORDERS: tuple[str, ...] = get_args(Order)
ROLES: tuple[str, ...] = get_args(Role)
BITS = ("coil", "discrete")  # functions whose addresses hold one bit
BITFIELDS = ("bitfield16", "bitfield32")
READ_ONLY = ("input", "discrete")  # functions that no write exists for

_FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f", "int64": "q", "uint64": "Q",
    "float64": "d", "bool": "H", "enum16": "H", "bitfield16": "H", "bitfield32": "I",
}  # fmt: skip
_NUMBERS = {kind: struct.Struct(f">{form}") for kind, form in _FORMATS.items()}
_WORDS = {count: struct.Struct(f">{count}H") for count in (1, 2, 4)}
_LARGEST_FLOAT32 = struct.unpack(">f", b"\x7f\x7f\xff\xff")[0]
MOST_POWER = 10  # what SunSpec allows; a device that starts shows others for a while
_SLACK = 1e-9  # relative: a limit that is a whole number of steps stays one
_LARGEST = {"float32": _LARGEST_FLOAT32, "float64": math.nextafter(math.inf, 0)}

# unit -> what it measures, and how many of that one of it is
_UNITS = {
    "W": ("W", 1.0), "kW": ("W", 1e3), "MW": ("W", 1e6),
    "var": ("var", 1.0), "kvar": ("var", 1e3), "Mvar": ("var", 1e6),
    "VAr": ("var", 1.0), "kVAr": ("var", 1e3), "MVar": ("var", 1e6),
    "VA": ("VA", 1.0), "kVA": ("VA", 1e3), "MVA": ("VA", 1e6),
    "Wh": ("Wh", 1.0), "kWh": ("Wh", 1e3), "MWh": ("Wh", 1e6),
    "V": ("V", 1.0), "kV": ("V", 1e3), "mV": ("V", 1e-3),
    "A": ("A", 1.0), "kA": ("A", 1e3), "mA": ("A", 1e-3),
    "Hz": ("Hz", 1.0), "mHz": ("Hz", 1e-3), "kHz": ("Hz", 1e3),
    "1": ("1", 1.0), "pu": ("1", 1.0), "%": ("1", 1e-2), "percent": ("1", 1e-2),
    "deg": ("deg", 1.0), "rad": ("deg", 180 / math.pi),
    "s": ("s", 1.0), "ms": ("s", 1e-3), "min": ("s", 60.0), "h": ("s", 3600.0),
    "L": ("L", 1.0), "mL": ("L", 1e-3), "degC": ("degC", 1.0), "rpm": ("rpm", 1.0),
}  # fmt: skip
UNITS = tuple(_UNITS)


@dataclass(frozen=True)
class Point:
    """One quantity of a device.

    A register's number times `scale` plus `offset`, times `sign`, is the value in `unit`, with the sign of `attr`
    (`P_gen` flows into the bus): the only place where a manufacturer's sign is turned. Values that go in and out
    of this module are in the unit of `attr`; `scale`, `offset`, `base`, `low`, `high`, `safe` and `preset` are
    written in `unit`, as in the device's manual.

    Args:
        name: of the point in its map.
        attr: mosaik attribute, `Quantity[unit]`.
        address: of the first register, from 0.
        function: table that it stands in.
        type: of the number; `bool`, `enum16` and bitfields are not scaled.
        order: of the bytes, ABCD = most significant first; for 64 bits the words go on in the same way.
        sentinel: the register's number that says 'no value'; 'type' = as usual for the type, None = every number
            is a value. A float that is not finite never is one.
        low, high: limits of what is written; what is read outside of them is no value.
        unit: of the file; "" = that of `attr`.
        base: what 1 pu (or 100 %) is in `unit`, where `attr` is relative and `unit` is not.
        safe: written when a run ends or its steps stop; nan = nothing.
        preset: written while nothing else is asked for (an enable, a reversion time); nan = nothing.
        role: read, write, both (written and read back) or heartbeat: a counter that is written in each cycle. A
            counter that the device itself keeps is a point to read, with the attr `heartbeat[1]`.
        bit: of a register that a bool is read from, 0 = least significant; -1 = the whole register.
        names: of the numbers of an enum16, or of the bits of a bitfield.
        power_at: address of a register with a power of ten that `scale` is multiplied by and that may change from
            read to read, so that both are always read in one request; -1 = none.
    """

    name: str
    attr: str
    address: int
    function: Function = "holding"
    type: Type = "int16"
    order: Order = "ABCD"
    scale: float = 1.0
    offset: float = 0.0
    sign: int = 1
    sentinel: int | Literal["type"] | None = "type"
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    base: float = 1.0
    safe: float = math.nan
    preset: float = math.nan
    role: Role = "read"
    bit: int = -1
    names: tuple[tuple[int, str], ...] = ()
    power_at: int = -1

    @cached_property
    def width(self) -> int:
        """Registers (or bits of coils) that it takes."""
        return 1 if self.function in BITS else _NUMBERS[self.type].size // 2

    @property
    def end(self) -> int:
        """Address after its last register."""
        return self.address + self.width

    @cached_property
    def span(self) -> tuple[int, int]:
        """First address that one request has to hold, and the one after the last."""
        if self.power_at < 0:
            return self.address, self.end
        return min(self.address, self.power_at), max(self.end, self.power_at + 1)

    @property
    def is_read(self) -> bool:
        """Whether a cycle reads it."""
        return self.role in ("read", "both")

    @property
    def is_written(self) -> bool:
        """Whether a cycle writes it."""
        return self.role != "read"

    @cached_property
    def factor(self) -> float:
        """A value in the unit of `attr` over the same in the file's unit."""
        return unit_factor(self.unit, unit_of(self.attr), self.base)

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value, in the unit of `attr`."""
        return self.low * self.factor, self.high * self.factor

    @property
    def safe_value(self) -> float:
        """What is written in the safe state, in the unit of `attr`; nan = nothing."""
        return self.safe * self.factor

    @property
    def preset_value(self) -> float:
        """What is written while nothing else is asked for, in the unit of `attr`; nan = nothing."""
        return self.preset * self.factor

    @property
    def resolution(self) -> float:
        """Step of the register's number, in the unit of `attr`; 0 for floats."""
        return 0.0 if self.is_float else abs(self.scale) * self.factor

    @property
    def is_float(self) -> bool:
        """Whether the register holds a floating-point number."""
        return self.type in ("float32", "float64")

    @cached_property
    def missing(self) -> int | None:
        """The register's number that says 'no value', with the sign of its type."""
        if self.sentinel == "type":
            if self.is_float or self.type == "bool" or self.role == "heartbeat":  # counters run through all numbers
                return None
            bits = 16 * self.width
            return -(1 << (bits - 1)) if self.type.startswith("int") else (1 << bits) - 1
        if self.sentinel is None or not self.type.startswith("int") or self.sentinel < 1 << (16 * self.width - 1):
            return self.sentinel
        return self.sentinel - (1 << 16 * self.width)  # 0x8000 of a manual is -32768

    @cached_property
    def numbers(self) -> tuple[int, int]:
        """Least and greatest register's number that may be written; the least is greater when there is none."""
        bits = 16 * self.width
        least = -(1 << (bits - 1)) if self.type.startswith("int") else 0
        most = least + (1 << bits) - 1
        if self.missing == least:
            least += 1
        if self.missing == most:
            most -= 1
        ends = [(self.sign * limit - self.offset) / self.scale for limit in (self.low, self.high)]
        if math.isfinite(min(ends)):
            least = max(least, math.ceil(min(ends) - _SLACK * max(1.0, abs(min(ends)))))
        if math.isfinite(max(ends)):
            most = min(most, math.floor(max(ends) + _SLACK * max(1.0, abs(max(ends)))))
        return least, most

    def text(self, value: float) -> str:
        """A value for people: the names of an enum's number or of a bitfield's bits, else the number."""
        if math.isnan(value):
            return "no value"
        names = dict(self.names)
        if self.type in BITFIELDS:
            bits = range(16 * self.width)
            return ", ".join(names.get(bit, f"bit {bit}") for bit in bits if int(value) >> bit & 1) or "none"
        return names.get(int(value), f"{value:g}") if self.type == "enum16" else f"{value:.9g}"


def unit_of(attr: str) -> str:
    """The unit between the brackets of a mosaik attribute."""
    return attr[attr.index("[") + 1 : -1]


def unit_factor(unit: str, wanted: str, base: float = 1.0) -> float:
    """A value in `wanted` over the same in `unit`; `base` is what 1 pu is in `unit`.

    Raises:
        ValueError: the units do not measure the same.
    """
    if unit in ("", wanted):
        return 1.0
    if unit not in _UNITS or wanted not in _UNITS:
        unknown = unit if unit not in _UNITS else wanted
        raise ValueError(f"unknown unit {unknown}; known: {', '.join(UNITS)}")
    (kind, size), (wanted_kind, wanted_size) = _UNITS[unit], _UNITS[wanted]
    if kind == wanted_kind:
        return size / wanted_size
    if wanted_kind == "1" and base != 1.0:
        return 1.0 / base / wanted_size
    hint = f": give `base`, what 1 pu is in {unit}" if wanted_kind == "1" else ""
    raise ValueError(f"{unit} does not convert to {wanted}{hint}")


def decode(point: Point, registers: Sequence[int], power: int = 0) -> float:
    """Value in the unit of `point.attr`; nan where the device shows none.

    Args:
        registers: as many numbers of 16 bits as the point is wide; a coil's bit as 0 or 1.
        power: of ten that the scale is multiplied by; beyond MOST_POWER there is no value.

    Raises:
        ValueError: another count of registers.
    """
    if len(registers) != point.width:
        raise ValueError(f"{point.name}: {point.width} registers hold it, got {len(registers)}")
    if point.type == "bool":
        raw = registers[0] >> point.bit & 1 if point.bit >= 0 else int(registers[0] != 0)
        return math.nan if raw == point.missing else float(raw)
    data = _reordered(_WORDS[point.width].pack(*registers), point)
    number: float = _NUMBERS[point.type].unpack(data)[0]
    if number == point.missing or not math.isfinite(number) or abs(power) > MOST_POWER:
        return math.nan
    value: float = point.sign * (number * point.scale * (10.0**power if power else 1.0) + point.offset)
    if point.role == "read" and not point.low <= value <= point.high:
        return math.nan
    return value * point.factor + 0.0  # no -0


def encode(point: Point, value: float) -> tuple[list[int], bool]:
    """Registers for a value in the unit of `point.attr`, and whether it had to be cut to the limits.

    What is written lies within the point's limits after rounding too, and is never the number for 'no value'.

    Raises:
        ValueError: the value is not a number.
    """
    if math.isnan(value):
        raise ValueError(f"{point.name}: {point.attr} = nan cannot be written")
    if point.type == "bool":
        return [int(value != 0)], False
    asked = value / point.factor
    within = min(max(asked, point.low), point.high)
    saturated = within != asked and not math.isclose(within, asked, rel_tol=_SLACK)
    if point.is_float:
        most = _LARGEST[point.type]
        wanted = (point.sign * within - point.offset) / point.scale
        number: float = min(max(wanted, -most), most)
        saturated = saturated or number != wanted
    else:
        number, cut = _whole(point, within)
        saturated = saturated or cut
    data = _reordered(_NUMBERS[point.type].pack(number), point)
    return list(_WORDS[point.width].unpack(data)), saturated


def _whole(point: Point, value: float) -> tuple[int, bool]:
    """The nearest whole number within the type and the limits, and whether that cut the value [`point.unit`]."""
    least, most = point.numbers
    exact = (point.sign * value - point.offset) / point.scale
    if not least - 0.5 <= exact <= most + 0.5:
        return (least if exact < least else most), True
    number = min(max(round(exact), least), most)
    if number == point.missing:  # a neighbour says nearly the same
        number += 1 if number < 0 or number == least else -1
    return number, False


def _reordered(data: bytes, point: Point) -> bytes:
    """Bytes between the point's order and most significant first: the same way there and back."""
    if point.order in ("BADC", "DCBA"):
        data = b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
    if point.order in ("CDAB", "DCBA"):
        data = b"".join(data[at : at + 2] for at in range(len(data) - 2, -1, -2))
    return data
