"""One device's cycle in the I/O thread: tell it what should be, read what is, and keep what became of it.

What goes over the wire is the matter of the device's exchange; a poller decides what a device is to be told (the
set-points that were posted, or the safe state) and what is known of it (the newest `Reading`, and its trouble).
"""

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from gridloop.hil import links
from gridloop.hil.device import Device
from gridloop.hil.policy import NEVER_S, Asked, Reading, Snapshot, Watchdog, judged

log = logging.getLogger(__name__)

DEFECTS = (1, 2, 3, 4)  # exceptions that no waiting mends: the map or the device is wrong
AGES_KEPT = 10_000

OnReading = Callable[[str, Reading], None]  # (device's name, reading)


class Exchange(Protocol):
    """What goes over the wire. All but the properties may raise `links.LinkError`."""

    counts: Counter[str]

    @property
    def needed(self) -> tuple[str, ...]:
        """What the device must show to be of use."""

    @property
    def statistics(self) -> links.Statistics:
        """Of the line."""

    @property
    def is_safe(self) -> bool:
        """Whether the safe state stands on the device, or nothing can be written to it."""

    async def open(self) -> None:
        """Open the line; returns after the first attempt, whatever came of it."""

    async def close(self) -> None:
        """Leave the line."""

    async def write(self, asked: Asked) -> None:
        """Tell the device what is asked for, as far as it knows it and may."""

    async def read(self) -> Reading:
        """All that it shows."""

    async def check(self) -> None:
        """See that what was told stays."""

    def forget(self) -> None:
        """Something failed: nothing is known of what the device was told."""


class Poller:
    """See the module. `post`, `snapshot` and `calm` may be called from any thread, the rest in the loop's."""

    def __init__(
        self, device: Device, exchange: Exchange, clock: Callable[[], float], on_reading: OnReading | None = None
    ) -> None:  # fmt: skip
        self.device, self.exchange, self.clock = device, exchange, clock
        self._on_reading = on_reading
        self._watchdog = Watchdog(device.watchdog_s)
        self._posted: dict[str, float] = {}
        self._posted_s = math.nan
        self._safe_asked = self._barked = False
        self.held = False  # in the safe state, whatever is posted
        self.reading = Reading()
        self.trouble = ""
        self.counts = exchange.counts
        self.ages_s: deque[float] = deque(maxlen=AGES_KEPT)
        self.lock = asyncio.Lock()
        self.cycled_s = NEVER_S

    # ---- from any thread
    def post(self, values: Mapping[str, float]) -> None:
        """Take new set-points; what the device does not know is left out."""
        self._posted = self._posted | {attr: float(value) for attr, value in values.items()}
        self._safe_asked = False
        self._posted_s = self.clock()
        self._watchdog.posted(self._posted_s)

    def calm(self) -> None:
        """Go to the safe state until the next post."""
        self._safe_asked = True

    def snapshot(self) -> Snapshot:
        """The newest values and what they are worth now."""
        seen = judged(self.reading, self.trouble, self.clock(), self.device.max_age_s, self.exchange.needed)
        if math.isfinite(seen.age_s):
            self.ages_s.append(seen.age_s)
        return seen

    # ---- in the loop
    @property
    def is_safe(self) -> bool:
        """Whether the safe state stands on the device, or nothing can be written to it."""
        return self.exchange.is_safe

    @property
    def steers(self) -> bool:
        """Whether anything was posted."""
        return bool(self._posted)

    async def cycle(self) -> None:
        """Write what is due, then read everything; never raises for what a device or a link does."""
        async with self.lock:
            self.cycled_s, told_s = self.clock(), self._posted_s
            self.counts["cycles"] += 1
            try:
                await self.exchange.write(self._asked(self.cycled_s))
                self._take(await self.exchange.read(), told_s)
                await self.exchange.check()
            except links.LinkError as error:
                self._failed(error)
            except Exception as error:
                log.exception("%s: the exchange broke; going to the safe state", self.device.name)
                self.trouble = f"internal error: {error}"
                self.held = True
                self.exchange.forget()
            else:
                self.trouble = ""

    def _asked(self, now_s: float) -> Asked:
        barks = self._watchdog.barks(now_s)
        self.counts["watchdog"] += barks and not self._barked
        self._barked = barks
        return Asked(self._posted, self._safe_asked or self.held or barks)

    def _take(self, reading: Reading, told_s: float) -> None:
        """The only place where a finished reading appears; one that holds no answer at all is none."""
        if reading.at_s == NEVER_S:
            return
        self.reading = replace(reading, sequence=self.reading.sequence + 1, told_s=told_s)
        if self._on_reading is None:
            return
        try:
            self._on_reading(self.device.name, self.reading)
        except Exception:
            log.exception("%s: the recording of its readings failed", self.device.name)

    def _failed(self, error: links.LinkError) -> None:
        self.trouble = str(error)
        self.counts["failed_cycles"] += 1
        self.exchange.forget()
        if isinstance(error, links.Refused) and error.code in DEFECTS:
            self.reading = replace(self.reading, fault=str(error))
