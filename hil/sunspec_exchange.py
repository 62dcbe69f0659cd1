"""The exchange with a SunSpec device, whose register map is found on the device itself.

It is scanned at the first exchange, and anew after each new connection: behind the same address may stand another
device, or the same one with other scales for its set-points. A device that shows less than before, as some do for a
while after a restart, is not spoken to until all is there again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from gridloop.hil import links
from gridloop.hil.device import Device, Write
from gridloop.hil.exchange import Line, MapExchange
from gridloop.hil.policy import Asked, Reading
from gridloop.hil.registers import SHOWN, RegisterMap
from gridloop.hil.sunspec_link import bases_of, map_of
from gridloop.hil.sunspec_models import SunSpecError

log = logging.getLogger(__name__)

T = TypeVar("T")
PROBE_S = 0.5  # for each answer of a scan, at least: a device says nothing where it has nothing


class SunSpecExchange:
    """See the module; used in the I/O thread's loop only."""

    needed = SHOWN["power"]

    def __init__(
        self, device: Device, link: Line, clock: Callable[[], float], on_write: Callable[[Write], None] | None = None
    ) -> None:  # fmt: skip
        self.device, self.link, self.clock = device, link, clock
        self._on_write = on_write
        self.counts: Counter[str] = Counter()
        self._found: MapExchange | None = None
        self._scanned = 0  # the connection that was scanned

    @property
    def statistics(self) -> links.Statistics:
        """Of the link."""
        return self.link.statistics

    @property
    def is_safe(self) -> bool:
        """Whether the safe state stands on the device, or nothing can be written to it."""
        return self._found is None or self._found.is_safe

    async def open(self) -> None:
        """Open the link; returns after the first attempt."""
        await self.link.open()

    async def close(self) -> None:
        """Leave the link."""
        await self.link.close()

    def forget(self) -> None:
        """Nothing is known of what stands on the device."""
        if self._found is not None:
            self._found.forget()

    async def write(self, asked: Asked) -> None:
        """Write what is due, after the device was scanned."""
        await (await self._known()).write(asked)

    async def read(self) -> Reading:
        """All that it shows."""
        return await (await self._known()).read()

    async def check(self) -> None:
        """Compare the device's set-points with those that were written."""
        await (await self._known()).check()

    async def _known(self) -> MapExchange:
        """The exchange with the map of this connection."""
        connected = self.link.statistics.connected
        if self._found is None or connected != self._scanned:
            deadline_s = max(self.device.deadline_s, PROBE_S)
            try:
                map = await map_of(self.link, self.device.url.unit, bases_of(self.device.url), deadline_s)
            except SunSpecError as error:
                raise links.LinkError(str(error)) from error
            self._found = self._with(map)
            self._scanned = connected
        return self._found

    def _with(self, map: RegisterMap) -> MapExchange:
        """The exchange with a map that was found."""
        name, before = self.device.name, self._found
        taken = {point.attr for point in map.written_points}
        if before is not None:
            if map == before.map:
                return before
            gone = {point.attr for point in before.map.points} - {point.attr for point in map.points}
            if gone:
                raise links.LinkError(f"it shows no {', '.join(sorted(gone))} any more")
            log.warning("%s has other registers than before: %s", name, map.description)
        elif not taken:
            log.warning("%s takes no set-points: %s", name, map.description)

        def known(values: Mapping[str, T]) -> dict[str, T]:
            return {attr: value for attr, value in values.items() if attr in taken}

        device = self.device
        device = replace(device, limits=known(device.limits), ramps=known(device.ramps), safe=known(device.safe))
        found = MapExchange(device, map, self.link, self.clock, self._on_write)
        found.counts = self.counts
        return found
