"""A SunSpec device over a link: asks what the scan wants to know."""

import asyncio
import math
from collections.abc import Collection, Sequence
from typing import Protocol

from gridloop.hil import links
from gridloop.hil.registers import RegisterMap
from gridloop.hil.sunspec import BASES, NEEDED, Scan, SunSpecDevice
from gridloop.hil.sunspec_map import REVERSION_S, sunspec_map
from gridloop.hil.urls import DeviceUrl

TRIES = 4  # of one request
WAIT_CODES = (5, 6)  # exceptions: acknowledge, busy


class Line(Protocol):
    """What a scan needs of a link."""

    async def read(self, unit: int, function: str, address: int, count: int, deadline_s: float) -> list[int]:
        """Registers."""


async def scan_device(
    link: Line, unit: int, bases: Sequence[int] = BASES, deadline_s: float = 1.0,
    wanted: Collection[int] | None = NEEDED,
) -> SunSpecDevice:  # fmt: skip
    """The models of a device.

    Args:
        deadline_s: for each request; a device that has nothing at a base may say so by saying nothing.

    Raises:
        SunSpecError: no SunSpec there.
        LinkDown: the link was lost.
    """
    scan = Scan(bases, wanted)
    while scan.request is not None:
        scan.answer(await _answer(link, unit, *scan.request, deadline_s))
    return scan.device()


async def map_of(
    link: Line, unit: int, bases: Sequence[int] = BASES, deadline_s: float = 1.0, reversion_s: float = REVERSION_S,
    v_nominal_v: float = math.nan,
) -> RegisterMap:  # fmt: skip
    """The register map of a SunSpec device; arguments and errors as of scan_device and sunspec_map."""
    return sunspec_map(await scan_device(link, unit, bases, deadline_s), reversion_s, v_nominal_v)


def bases_of(url: DeviceUrl) -> tuple[int, ...]:
    """Where the mark is looked for."""
    return (int(url.options["base"]),) if "base" in url.options else BASES


async def _answer(link: Line, unit: int, address: int, count: int, deadline_s: float) -> list[int] | None:
    """Registers; None where the device refuses them or says nothing, asked twice."""
    silent = 0
    for _ in range(TRIES):
        try:
            return await link.read(unit, "holding", address, count, deadline_s)
        except links.Refused as refused:
            if refused.code not in WAIT_CODES:
                return None
            await asyncio.sleep(deadline_s)
        except links.Busy:  # the line is left alone after an answer that did not come
            await asyncio.sleep(deadline_s)
        except links.LinkDown:
            raise
        except links.LinkError:
            silent += 1
            if silent == 2:
                return None
    return None
