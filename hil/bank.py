"""The registers of an emulated device: a register map seen from the device's side. Pure: the time is passed in."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gridloop.hil.points import BITS, MOST_POWER, READ_ONLY, Point, decode, encode
from gridloop.hil.registers import RegisterMap

Behave = Callable[[float, Mapping[str, float]], Mapping[str, float]]

ILLEGAL_ADDRESS, ILLEGAL_VALUE = 2, 3  # exception codes of Modbus
HEARTBEAT = "heartbeat[1]"  # attribute of a counter that the device keeps
# attribute of a time after which a device that hears nothing goes back -> set-points and where the device takes what it
# goes back to from; a map that has none of these goes back to its defaults
REVERSIONS = {
    "reversion[s]": {"P_set[MW]": "P_revert[MW]", "enable[1]": "enable_revert[1]"},
    "reversion_Q[s]": {"Q_set[MVar]": "Q_revert[MVar]", "enable_Q[1]": "enable_Q_revert[1]"},
}
LARGEST = 30_000  # number that a register with a scale of its own shows well
HEARTBEAT_HZ, HEARTBEAT_SIZE = 100, 60000


class Bank:
    """What a device shows at each address, and what was written to it.

    `behave(t_s, written) -> shown` gives the values by attribute, `written` being what the set-points are now. It
    is asked whenever somebody reads or writes, with the time since the device was switched on [s]. A heartbeat that
    it does not show counts by itself. A device with a reversion time forgets its set-points when they were not
    written for so long; so does one that is switched on. `words` stand at addresses that belong to no point.
    """

    def __init__(self, map: RegisterMap, behave: Behave, words: Mapping[tuple[str, int], int] | None = None) -> None:
        self.map = map
        self.behave = behave
        self.written: dict[str, float] = {}
        self.frozen = False  # shows what it showed, whatever happens
        self.unknown = False  # shows no numbers
        self.words: dict[tuple[str, int], int] = {}
        self._written_s: dict[str, float] = {}
        self._start_s = math.nan
        for block in (*map.reads(), *map.writes([point.attr for point in map.points])):
            for address in range(block.address, block.end):  # with the gaps that the map says may be read along
                self.words[block.function, address] = 0
        self.words |= words or {}

    def switch_on(self, now_s: float) -> None:
        """Begin with all set-points at their defaults."""
        self._start_s = now_s
        self._written_s = {}
        for point in self.map.points:
            self._put(point, [0] * point.width)
        self._to_defaults()
        self.refresh(now_s)

    def read(self, function: str, address: int, count: int, now_s: float) -> list[int] | int:
        """Registers, or the code of the exception."""
        self.refresh(now_s)
        try:
            return [self.words[function, at] for at in range(address, address + count)]
        except KeyError:
            return ILLEGAL_ADDRESS

    def write(self, function: str, address: int, values: Sequence[int], now_s: float) -> int:
        """Take new set-points; 0, or the code of the exception, and then nothing changed."""
        addresses = range(address, address + len(values))
        end = address + len(values)
        points = [point for point in self.map.written_points if point.function == function]
        touched = [point for point in points if point.address < end and point.end > address]
        covered = {at for point in touched for at in _addresses(point)}
        if function in READ_ONLY or not covered.issuperset(addresses):
            return ILLEGAL_ADDRESS
        self.refresh(now_s)  # what was before, on the old set-points
        words = self.words | {(function, at): int(value) for at, value in zip(addresses, values, strict=True)}
        new = {point.attr: decode(point, [words[function, at] for at in _addresses(point)]) for point in touched}
        if any(not _accepted(point, new[point.attr]) for point in touched):
            return ILLEGAL_VALUE
        self.words = words
        self.written |= new
        self._written_s |= dict.fromkeys(new, now_s)
        self.refresh(now_s)
        return 0

    def refresh(self, now_s: float) -> None:
        """Show what the device does now."""
        if self.frozen:
            return
        self._revert(now_s)
        t_s = now_s - self._start_s
        beats = float(int(t_s * HEARTBEAT_HZ) % HEARTBEAT_SIZE)
        shown = {HEARTBEAT: beats} | dict(self.behave(t_s, dict(self.written)))
        for point in self.map.points:
            if point.attr in shown and not point.is_written:
                value = math.nan if self.unknown else shown[point.attr]
                self._put(point, unknown(point) if math.isnan(value) else self._number(point, value))

    def _revert(self, now_s: float) -> None:
        """Where a timer of the device ran out: go back to what it was told to, or to all its defaults."""
        for timer, reverts in REVERSIONS.items():
            time_s = self.written.get(timer, 0.0)
            told = {attr: back for attr, back in reverts.items() if back in self.written}
            restarts = (timer, *told) if told else tuple(self.written)
            heard_s = max((self._written_s[attr] for attr in restarts if attr in self._written_s), default=math.inf)
            if time_s <= 0 or now_s - heard_s <= time_s:
                continue
            if not told:
                self._to_defaults()
            for attr, back in told.items():
                self._take(attr, self.written[back])

    def _number(self, point: Point, value: float) -> list[int]:
        """Registers of a number; a scale that the device may choose is chosen to suit it."""
        if point.power_at < 0:
            return encode(point, value)[0]
        size = abs(value / point.factor / point.scale)
        power = math.ceil(math.log10(size / LARGEST)) if size > 0 else 0
        power = min(max(power, -2), MOST_POWER)
        self.words[point.function, point.power_at] = power & 0xFFFF
        return encode(replace(point, scale=point.scale * 10.0**power), value)[0]

    def _to_defaults(self) -> None:
        for point in self.map.points:
            if point.is_written:
                self._take(point.attr, 0.0 if math.isnan(point.safe_value) else point.safe_value)

    def _take(self, attr: str, value: float) -> None:
        point = self.map.written(attr)
        assert point is not None
        self._put(point, encode(point, value)[0])
        self.written[attr] = value

    def _put(self, point: Point, words: Sequence[int]) -> None:
        for at, word in enumerate(words, point.address):
            self.words[point.function, at] = word


def _addresses(point: Point) -> range:
    return range(point.address, point.end)


def _accepted(point: Point, value: float) -> bool:
    low, high = point.limits
    slack = point.resolution / 2 + 1e-6 * abs(value)
    return low - slack <= value <= high + slack


def unknown(point: Point) -> list[int]:
    """The registers with which a device says 'no value'; zeros where the point has no such number."""
    bare = replace(
        point, scale=1.0, offset=0.0, sign=1, sentinel=None, unit="", low=-math.inf, high=math.inf, role="both"
    )  # fmt: skip
    if point.function in BITS or point.type == "bool":
        return [0] * point.width
    if point.is_float:
        if point.width == 2:
            return encode(replace(bare, type="uint32"), 0x7FC00000)[0]
        return encode(replace(bare, type="uint64"), 0x7FF8 << 48)[0]
    return [0] * point.width if point.missing is None else encode(bare, float(point.missing))[0]
