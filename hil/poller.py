"""One device's exchange over its link: what is written, what is read, and what is made of what goes wrong.

A poller lives in the I/O thread's loop. Its cycle writes the set-points that changed (inside limits and ramps), reads
every block of the map and keeps the result as a `Reading`. After anything failed it writes all anew and reads back:
a write without an answer may or may not have been done.
"""

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from gridloop.hil import links
from gridloop.hil.device import Device, Write
from gridloop.hil.points import Point, decode, encode
from gridloop.hil.policy import Pulse, Reading, Reversion, SetPoints, Snapshot, Watchdog, judged
from gridloop.hil.registers import SHOWN, Block, blocks, split_around

log = logging.getLogger(__name__)

HEARTBEAT, REVERSION, QUALITY, ALARM = "heartbeat[1]", "reversion[s]", "quality[1]", "alarm[1]"
NOT_READ_BACK = (HEARTBEAT, REVERSION)  # count by themselves
DEFECTS = (1, 2, 3, 4)  # exceptions that no waiting mends: the map or the device is wrong
ILLEGAL_ADDRESS = 2
TRIES = 3  # of a set-point that does not stay
AGAIN_S = 5.0  # after which addresses that were refused are tried anew
AGES_KEPT = 10_000


class Line(Protocol):
    """What a poller needs of a link."""

    statistics: links.Statistics

    async def read(self, unit: int, function: str, address: int, count: int, deadline_s: float) -> list[int]:
        """Registers."""

    async def write(self, unit: int, function: str, address: int, values: Sequence[int], deadline_s: float) -> None:
        """Write registers."""


class Poller:
    """See the module. `post`, `snapshot` and `calm` may be called from any thread, the rest in the loop's."""

    def __init__(
        self, device: Device, link: Line, clock: Callable[[], float], on_write: Callable[[Write], None] | None = None
    ) -> None:  # fmt: skip
        self.device, self.link, self.clock = device, link, clock
        self._on_write = on_write
        map = device.map
        self._points = {point.attr: point for point in map.written_points}
        limits = {attr: _narrowed(point.limits, device.limits.get(attr)) for attr, point in self._points.items()}
        self._set_points = SetPoints(limits, device.ramps, 2 * device.period_s)
        self._watchdog = Watchdog(device.watchdog_s)
        self._reversion = Reversion(map.reversion_s) if map.reversion_s else None
        self._pulse = Pulse(device.frozen_s)
        self._beats = HEARTBEAT if self._points.get(HEARTBEAT) else ""
        self._posted: dict[str, float] = {}
        self._safe_asked = self._barked = False
        self.held = False  # in the safe state, whatever is posted
        self._on_device: dict[str, list[int]] = {}  # registers that are known to stand there
        self._beat = 0
        self._reads = map.reads()
        self._given_up: dict[str, str] = {}
        self._given_up_s = math.inf
        self._read_back_s = -math.inf
        self._look_first = True
        self._stays_not: Counter[str] = Counter()
        self._connected = 0
        self.reading = Reading()
        self.trouble = ""
        self.counts: Counter[str] = Counter()
        self.ages_s: deque[float] = deque(maxlen=AGES_KEPT)
        self.lock = asyncio.Lock()
        self.cycled_s = -math.inf

    # ---- from any thread
    def post(self, values: Mapping[str, float]) -> None:
        """Take new set-points; what the map does not know is left out."""
        self._posted = self._posted | {attr: float(value) for attr, value in values.items() if attr in self._points}
        self._safe_asked = False
        self._watchdog.posted(self.clock())

    def calm(self) -> None:
        """Go to the safe state until the next post."""
        self._safe_asked = True

    def snapshot(self) -> Snapshot:
        """The newest values and what they are worth now."""
        seen = judged(self.reading, self.trouble, self.clock(), self.device.max_age_s, SHOWN[self.device.map.role])
        if math.isfinite(seen.age_s):
            self.ages_s.append(seen.age_s)
        return seen

    # ---- in the loop
    @property
    def is_safe(self) -> bool:
        """Whether the safe state stands on the device, or nothing can be written to it."""
        if not self.device.allow_writes:
            return True
        return all(self._on_device.get(attr) == self._encoded(attr, value) for attr, value in self._safe().items())

    @property
    def steers(self) -> bool:
        """Whether anything was posted."""
        return bool(self._posted)

    async def cycle(self) -> None:
        """Write what is due, then read everything; never raises for what a device or a link does."""
        async with self.lock:
            self.cycled_s = self.clock()
            self.counts["cycles"] += 1
            try:
                self._notice_new_connection()
                await self._look()
                await self._write()
                await self._read()
                await self._read_back()
            except links.LinkError as error:
                self._failed(error)
            except Exception as error:
                log.exception("%s: the exchange broke; going to the safe state", self.device.name)
                self.trouble = f"internal error: {error}"
                self.held = True
                self._forget()
            else:
                self.trouble = ""

    def _notice_new_connection(self) -> None:
        connected = self.link.statistics.connected
        if connected != self._connected:
            if self._connected:
                self.counts["recoveries"] += 1
            self._connected = connected
            self._forget()

    def _forget(self) -> None:
        """Nothing is known of what stands on the device: write all anew, and look what became of it."""
        self._on_device = {}
        self._look_first = True
        self._read_back_s = -math.inf
        if self._reversion is not None:
            self._reversion.lost()

    def _failed(self, error: links.LinkError) -> None:
        self.trouble = str(error)
        self.counts["failed_cycles"] += 1
        self._forget()
        if isinstance(error, links.Refused) and error.code in DEFECTS:
            self.reading = replace(self.reading, fault=str(error))

    # ---- writing
    def _safe(self) -> dict[str, float]:
        return {attr: self._set_points.within(attr, value).value for attr, value in self.device.safe_state.items()}

    def _due(self, now_s: float) -> dict[str, tuple[float, float, str]]:
        """What should stand on the device, by attr: wanted, allowed, cause."""
        calm = self._safe_asked or self.held
        barks = self._watchdog.barks(now_s)
        self.counts["watchdog"] += barks and not self._barked
        self._barked = barks
        calm = calm or barks
        if calm:
            return {attr: (value, value, "safe") for attr, value in (self.device.map.presets | self._safe()).items()}
        if not self._posted:
            return {}
        wanted = self.device.map.presets | self._posted
        allowed = self._set_points.allowed(wanted, now_s)
        return {attr: (wanted[attr], one.value, one.cause) for attr, one in allowed.items()}

    def _encoded(self, attr: str, value: float) -> list[int]:
        return encode(self._points[attr], value)[0]

    async def _write(self) -> None:
        now_s = self.clock()
        due = self._due(now_s)
        if due and self._beats:
            self._beat = (self._beat + 1) % 0x10000
            due[HEARTBEAT] = (float(self._beat), float(self._beat), "heartbeat")
        all_due = self._reversion is not None and self._reversion.due(now_s)
        registers = {attr: self._encoded(attr, allowed) for attr, (_, allowed, _) in due.items()}
        for block in self.device.map.writes(list(due)):
            attrs = [point.attr for point in block.points]
            changed = [attr for attr in attrs if self._on_device.get(attr) != registers[attr]]
            if changed or all_due:
                await self._write_block(block, registers, due, changed)
        if due and all_due and self._reversion is not None:
            self._reversion.written(now_s)

    async def _write_block(
        self, block: Block, registers: Mapping[str, list[int]], due: Mapping[str, tuple[float, float, str]],
        changed: Sequence[str],
    ) -> None:  # fmt: skip
        device, trouble = self.device, ""
        attrs = [point.attr for point in block.points]
        if device.allow_writes:
            words = [word for attr in attrs for word in registers[attr]]
            for attr in attrs:
                self._on_device.pop(attr, None)  # not known until the answer is there
            try:
                await self.link.write(device.url.unit, block.function, block.address, words, device.deadline_s)
            except links.LinkError as error:
                trouble = str(error)
                raise
            finally:
                self._log(changed, registers, due, trouble)
            self.counts["writes"] += 1
        else:
            self._log([attr for attr in changed if attr != HEARTBEAT], registers, due, "writes are not allowed")
        for attr in attrs:
            self._on_device[attr] = registers[attr]
            self._set_points.found(attr, decode(self._points[attr], registers[attr]))

    def _log(
        self, attrs: Sequence[str], registers: Mapping[str, list[int]], due: Mapping[str, tuple[float, float, str]],
        trouble: str,
    ) -> None:  # fmt: skip
        for attr in attrs:
            wanted, _, cause = due[attr]
            value = decode(self._points[attr], registers[attr])
            self._tell(Write(self.clock(), self.device.name, attr, wanted, value, cause, not trouble, trouble))

    def _tell(self, write: Write) -> None:
        if self._on_write is None:
            return
        try:
            self._on_write(write)
        except Exception:
            log.exception("%s: the log of writes failed", self.device.name)

    # ---- reading
    async def _read(self) -> None:
        """Read every block; one that is refused as a whole is split until what is refused is found."""
        at_s = self.clock()
        if at_s - self._given_up_s > AGAIN_S:
            self._reads, self._given_up, self._given_up_s = self.device.map.reads(), {}, math.inf
        values: dict[str, float] = {}
        waiting, fitting = list(self._reads), []
        while waiting:
            block = waiting.pop(0)
            try:
                words = await self.link.read(
                    self.device.url.unit, block.function, block.address, block.count, self.device.deadline_s
                )  # fmt: skip
            except links.Refused as refused:
                if refused.code != ILLEGAL_ADDRESS:
                    raise
                parts = split_around(block)
                if not parts:
                    self._given_up |= {point.attr: str(refused) for point in block.points}
                    self._given_up_s = at_s
                waiting[:0] = parts
            else:
                values |= block.values(words)
                fitting.append(block)
        self._reads = fitting
        self._take(values, at_s)

    def _take(self, values: dict[str, float], at_s: float) -> None:
        fault = "; ".join(self._given_up[attr] for attr in SHOWN[self.device.map.role] if attr in self._given_up)
        if HEARTBEAT in values:
            verdict = self._pulse.seen(values[HEARTBEAT], at_s)
            if verdict == "restarted":
                log.warning("%s was restarted", self.device.name)
                self.counts["restarts"] += 1
                self._forget()
            elif verdict == "frozen":
                fault = fault or f"its heartbeat stands still for {self.device.frozen_s:g} s"
        if values.get(QUALITY, 0.0) >= 1:
            fault = fault or "it calls its own values bad"
        if values.get(ALARM, 0.0) >= 1:
            fault = fault or f"alarm {values[ALARM]:g}"
        self.reading = Reading(values, at_s, self.reading.sequence + 1, fault)

    async def _read_back(self) -> None:
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

    async def _look(self) -> None:
        """Before the first write to a device of which nothing is known: where its ramps begin."""
        if self._look_first and self._posted and self.device.allow_writes:
            for attr, value in (await self._set_points_found(list(self.device.ramps))).items():
                if not math.isnan(value):
                    self._set_points.found(attr, value)
            self._look_first = False

    async def _set_points_found(self, attrs: Sequence[str]) -> dict[str, float]:
        device, found = self.device, dict[str, float]()
        for block in blocks([self._points[attr] for attr in attrs], device.map.most_read):
            try:
                words = await self.link.read(
                    device.url.unit, block.function, block.address, block.count, device.deadline_s
                )  # fmt: skip
            except links.Refused:
                continue  # a device whose set-points cannot be read
            found |= block.values(words)
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
