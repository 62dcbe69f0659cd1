"""What goes over the wire between a poller and a device with a register map: writes, reads, read-back.

Set-points that changed are written, inside limits and ramps; then every block of the map is read. After anything
failed all is written anew and read back: a write without an answer may or may not have been done.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gridloop.hil import links
from gridloop.hil.device import Device, Write
from gridloop.hil.points import Point, decode, encode
from gridloop.hil.policy import Asked, Pulse, Reading, Reversion, SetPoints
from gridloop.hil.registers import SHOWN, Block, RegisterMap, blocks, split_around

log = logging.getLogger(__name__)

HEARTBEAT = "heartbeat[1]"
# what a device says of itself -> whether that, with the name that the map has for it, is a fault
FAULTS: dict[str, Callable[[float, str], bool]] = {
    "quality[1]": lambda value, _: value >= 1,
    "alarm[1]": lambda value, _: value >= 1,
    "connected[1]": lambda value, _: value == 0,
    "state[1]": lambda _, name: name == "fault",
}
NOT_READ_BACK = (HEARTBEAT, "reversion[s]", "reversion_Q[s]")  # count by themselves
ILLEGAL_ADDRESS = 2
TRIES = 3  # of a set-point that does not stay
AGAIN_S = 5.0  # after which addresses that were refused are tried anew


class Line(Protocol):
    """What an exchange needs of a link."""

    statistics: links.Statistics

    async def open(self) -> None:
        """Connect, and again whenever the connection is lost."""

    async def close(self) -> None:
        """One user less."""

    async def read(self, unit: int, function: str, address: int, count: int, deadline_s: float) -> list[int]:
        """Registers."""

    async def write(self, unit: int, function: str, address: int, values: Sequence[int], deadline_s: float) -> None:
        """Write registers."""


class Due(NamedTuple):
    """What should stand on the device: the value asked for, the registers of what may be written, and why."""

    wanted: float
    registers: list[int]
    cause: str


class MapExchange:
    """The exchange with a device whose register map is known; used in the I/O thread's loop only."""

    def __init__(
        self, device: Device, map: RegisterMap, link: Line, clock: Callable[[], float],
        on_write: Callable[[Write], None] | None = None,
    ) -> None:  # fmt: skip
        self.device, self.map, self.link, self.clock = device, map, link, clock
        self._on_write = on_write
        self.counts: Counter[str] = Counter()
        self._points = {point.attr: point for point in map.written_points}
        limits = {attr: _narrowed(point.limits, device.limits.get(attr)) for attr, point in self._points.items()}
        self._set_points = SetPoints(limits, device.ramps, 2 * device.period_s)
        self._safe = {
            attr: self._set_points.within(attr, value).value
            for attr, value in (map.safe_values | dict(device.safe)).items()
            if attr in self._points
        }
        self._reversion = Reversion(map.reversion_s) if map.reversion_s else None
        self._pulse = Pulse(device.frozen_s)
        self._on_device: dict[str, list[int]] = {}  # registers that are known to stand there
        self._beat = 0
        self._encodings: dict[str, tuple[float, tuple[list[int], bool]]] = {}
        self._reads, self._writes = map.reads(), dict[tuple[str, ...], list[Block]]()
        self._says = [(one, is_fault) for attr, is_fault in FAULTS.items() if (one := map.read(attr)) is not None]
        self._given_up: dict[str, str] = {}
        self._given_up_s = math.inf
        self._read_back_s = -math.inf
        self._look_first = True
        self._stays_not: Counter[str] = Counter()
        self._connected = 0
        self._unsent: dict[str, tuple[list[int], str]] = {}  # writes that never left, and why

    @property
    def needed(self) -> tuple[str, ...]:
        """What the device must show to be of use."""
        return SHOWN[self.map.role]

    @property
    def statistics(self) -> links.Statistics:
        """Of the link."""
        return self.link.statistics

    @property
    def is_safe(self) -> bool:
        """Whether the safe state stands on the device, or nothing can be written to it."""
        if not self.device.allow_writes:
            return True
        return all(self._on_device.get(attr) == self._encoded(attr, value)[0] for attr, value in self._safe.items())

    async def open(self) -> None:
        """Open the link; returns after the first attempt."""
        await self.link.open()

    async def close(self) -> None:
        """Leave the link."""
        await self.link.close()

    def forget(self) -> None:
        """Nothing is known of what stands on the device: write all anew, and look what became of it."""
        self._on_device = {}
        self._look_first = True
        self._read_back_s = -math.inf
        if self._reversion is not None:
            self._reversion.lost()

    # ---- writing
    async def write(self, asked: Asked) -> None:
        """Write what is due."""
        self._notice_new_connection()
        await self._look(asked)
        now_s = self.clock()
        due = self._due(asked, now_s)
        all_due = self._reversion is not None and self._reversion.due(now_s)
        attrs_due = tuple(due)
        if attrs_due not in self._writes:
            self._writes = {attrs_due: self.map.writes(attrs_due)}
        for block in self._writes[attrs_due]:
            attrs = [point.attr for point in block.points]
            changed = [attr for attr in attrs if self._on_device.get(attr) != due[attr].registers]
            if changed or all_due:
                await self._write_block(block, due, changed)
        if due and all_due and self._reversion is not None:
            self._reversion.written(now_s)

    def _notice_new_connection(self) -> None:
        connected = self.link.statistics.connected
        if connected != self._connected:
            if self._connected:
                self.counts["recoveries"] += 1
            self._connected = connected
            self.forget()

    async def _look(self, asked: Asked) -> None:
        """Before the first write to a device of which nothing is known: where its ramps begin."""
        if self._look_first and asked.values and self.device.allow_writes:
            for attr, value in (await self._set_points_found(list(self.device.ramps))).items():
                if not math.isnan(value):
                    self._set_points.found(attr, value)
            self._look_first = False

    def _due(self, asked: Asked, now_s: float) -> dict[str, Due]:
        """What should stand on the device, by attr."""
        due = {}
        if asked.is_calm:
            due = {attr: self._due_value(attr, value, value, "safe") for attr, value in self._calm().items()}
        elif asked.values:
            posted = {attr: value for attr, value in asked.values.items() if attr in self._points}
            wanted = self.map.presets | posted if posted else {}
            for attr, one in self._set_points.allowed(wanted, now_s).items():
                due[attr] = self._due_value(attr, wanted[attr], one.value, one.cause)
        if due and HEARTBEAT in self._points:
            self._beat = (self._beat + 1) % 0x10000
            due[HEARTBEAT] = self._due_value(HEARTBEAT, self._beat, self._beat, "heartbeat")
        return due

    def _calm(self) -> dict[str, float]:
        return self.map.presets | self._safe

    def _due_value(self, attr: str, wanted: float, value: float, cause: str) -> Due:
        registers, was_cut = self._encoded(attr, value)
        return Due(wanted, registers, cause or "map" * was_cut)

    def _encoded(self, attr: str, value: float) -> tuple[list[int], bool]:
        """Most set-points stay from cycle to cycle: their registers are remembered."""
        known = self._encodings.get(attr)
        if known is None or known[0] != value:
            known = self._encodings[attr] = (value, encode(self._points[attr], value))
        return known[1]

    async def _write_block(self, block: Block, due: Mapping[str, Due], changed: Sequence[str]) -> None:
        device, trouble = self.device, ""
        attrs = [point.attr for point in block.points]
        if device.allow_writes:
            words = [word for attr in attrs for word in due[attr].registers]
            for attr in attrs:
                self._on_device.pop(attr, None)  # not known until the answer is there
            try:
                await self.link.write(device.url.unit, block.function, block.address, words, device.deadline_s)
                self._unsent = {}
            except (links.LinkDown, links.Busy) as error:
                trouble = str(error)
                same = self._unsent
                self._unsent = self._unsent | {attr: (due[attr].registers, trouble) for attr in changed}
                changed = [attr for attr in changed if same.get(attr) != self._unsent[attr]]  # told once
                raise
            except links.LinkError as error:
                trouble = str(error)
                raise
            finally:
                self._log(changed, due, trouble)
            self.counts["writes"] += 1
        else:
            self._log([attr for attr in changed if attr != HEARTBEAT], due, "writes are not allowed")
        for attr in attrs:
            self._on_device[attr] = due[attr].registers
            if attr in device.ramps:
                self._set_points.found(attr, decode(self._points[attr], due[attr].registers))

    def _log(self, attrs: Sequence[str], due: Mapping[str, Due], trouble: str) -> None:
        if self._on_write is None:
            return
        for attr in attrs:
            wanted, registers, cause = due[attr]
            value = decode(self._points[attr], registers)
            try:
                self._on_write(
                    Write(self.clock(), self.device.name, attr, wanted, value, cause, not trouble, trouble)
                )  # fmt: skip
            except Exception:
                log.exception("%s: the log of writes failed", self.device.name)

    # ---- reading
    async def read(self) -> Reading:
        """Read every block; one that is refused as a whole is split until what is refused is found."""
        at_s = self.clock()
        if at_s - self._given_up_s > AGAIN_S:
            self._reads, self._given_up, self._given_up_s = self.map.reads(), {}, math.inf
        values: dict[str, float] = {}
        waiting, fitting = list(self._reads), []
        while waiting:
            block = waiting.pop(0)
            try:
                values |= await self._block_values(block)
            except links.Refused as refused:
                if refused.code != ILLEGAL_ADDRESS:
                    raise
                parts = split_around(block)
                if not parts:
                    self._given_up |= {point.attr: str(refused) for point in block.points}
                    self._given_up_s = at_s
                waiting[:0] = parts
            else:
                fitting.append(block)
        self._reads = fitting
        return Reading(values, at_s, fault=self._fault(values, at_s))

    async def _block_values(self, block: Block) -> dict[str, float]:
        device = self.device
        words = await self.link.read(device.url.unit, block.function, block.address, block.count, device.deadline_s)
        return block.values(words)

    def _fault(self, values: Mapping[str, float], at_s: float) -> str:
        """What the device itself got wrong, or says that it did; '' = nothing."""
        found = [self._given_up[attr] for attr in self.needed if attr in self._given_up]
        if HEARTBEAT in values:
            verdict = self._pulse.seen(values[HEARTBEAT], at_s)
            if verdict == "restarted":
                log.warning("%s was restarted", self.device.name)
                self.counts["restarts"] += 1
                self.forget()
            elif verdict == "frozen":
                found.append(f"its heartbeat stands still for {self.device.frozen_s:g} s")
        for point, is_fault in self._says:
            value = values.get(point.attr, math.nan)
            if is_fault(value, point.text(value)):
                found.append(f"it says {point.name} = {point.text(value)}")
        return "; ".join(found)

    # ---- reading back
    async def check(self) -> None:
        """Compare the device's set-points with those that were written; what does not stay is written again."""
        now_s, device = self.clock(), self.device
        since_s = now_s - self._read_back_s
        due = since_s == math.inf or since_s >= device.readback_s > 0
        attrs = [attr for attr in self._on_device if attr not in NOT_READ_BACK]
        if due and attrs and device.allow_writes:
            found = await self._set_points_found(attrs)
            self._read_back_s = now_s
            for attr, value in found.items():
                self._compare(self._points[attr], value)

    async def _set_points_found(self, attrs: Sequence[str]) -> dict[str, float]:
        found = dict[str, float]()
        for block in blocks([self._points[attr] for attr in attrs], self.map.most_read):
            try:
                found |= await self._block_values(block)
            except links.Refused:
                continue  # a device whose set-points cannot be read
        return found

    def _compare(self, point: Point, found: float) -> None:
        attr, written = point.attr, decode(point, self._on_device[point.attr])
        if abs(found - written) <= max(point.resolution, 1e-6 * abs(written)):
            self._stays_not.pop(attr, None)
            return
        self._stays_not[attr] += 1
        self.counts["not_as_written"] += 1
        if self._stays_not[attr] == 1:
            log.warning("%s: %s is %g, written was %g", self.device.name, attr, found, written)
        if not math.isnan(found):
            self._set_points.found(attr, found)
        if self._stays_not[attr] <= TRIES:
            del self._on_device[attr]  # written again in the next cycle
            self._read_back_s = -math.inf


def _narrowed(limits: tuple[float, float], more: tuple[float, float] | None) -> tuple[float, float]:
    if more is None:
        return limits
    return max(limits[0], more[0]), min(limits[1], more[1])
