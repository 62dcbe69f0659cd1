"""What a device is and how it answers, asked for by hand: scan, read, write, stop. One link, a few requests."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from gridloop.hil import links
from gridloop.hil.points import Point, decode, encode
from gridloop.hil.registers import RegisterMap, blocks, load_map, shipped_maps, split_around
from gridloop.hil.sunspec import SunSpecDevice
from gridloop.hil.sunspec_capabilities import Capability, capabilities
from gridloop.hil.sunspec_link import bases_of, map_of, scan_device
from gridloop.hil.sunspec_map import sunspec_map
from gridloop.hil.sunspec_models import SunSpecError, name_of
from gridloop.hil.urls import DeviceUrl

LONGEST_DOWN_S, LOOK_S = 3.0, 0.01
ABSENT = (10, 11)  # exceptions of a gateway: nobody there
PLAUSIBLE = {"f[Hz]": (40.0, 70.0), "Vm[pu]": (0.5, 1.5), "E[pu]": (0.5, 1.5), "SoC[%]": (0.0, 100.0)}
EDGES_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Found:
    """A point and what it holds; nan with the trouble when it gave none."""

    point: Point
    value: float
    trouble: str = ""

    @property
    def is_plausible(self) -> bool:
        """Whether the value can be what the map says it is."""
        low, high = PLAUSIBLE.get(self.point.attr, (-math.inf, math.inf))
        return low <= self.value <= high


@dataclass(frozen=True)
class Fit:
    """How well a register map fits a unit."""

    map: str
    points: int
    answered: int
    plausible: int

    @property
    def share(self) -> float:
        """Of the map's points, those whose answer can be one."""
        return self.plausible / self.points if self.points else 0.0


@dataclass(frozen=True)
class SunSpecFound:
    """A SunSpec device, its models' names, and what it is good for; without a map, `trouble` says why."""

    device: SunSpecDevice
    names: tuple[str, ...]
    map: RegisterMap | None = None
    capabilities: tuple[Capability, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Latency:
    """Round trips of one request [s], and how many were lost."""

    rtt_s: tuple[float, ...]
    lost: int
    request: str = ""

    def histogram(self) -> list[tuple[float, int]]:
        """(upper edge [ms], count) of the bins that are not empty; the last edge may be infinite."""
        counts = dict.fromkeys((*EDGES_MS, math.inf), 0)
        for rtt_s in self.rtt_s:
            counts[next(edge for edge in counts if rtt_s * 1e3 <= edge)] += 1
        return [(edge, count) for edge, count in counts.items() if count]


@dataclass(frozen=True)
class Set:
    """A value to write: what is asked, what the registers will hold, and what became of it."""

    point: Point
    wanted: float
    registers: tuple[int, ...]
    value: float
    is_cut: bool
    done: bool = False
    read_back: float = math.nan
    trouble: str = ""


@asynccontextmanager
async def connected(url: DeviceUrl, map: RegisterMap | None = None) -> AsyncIterator[links.Link]:
    """The link of a device, closed at the end.

    Raises:
        links.LinkDown: it cannot be reached.
    """
    gap_s, delay_s = (map.min_gap_ms * 1e-3, map.connect_delay_ms * 1e-3) if map else (0.0, 0.0)
    link = links.open_link(url, min_gap_s=gap_s, connect_delay_s=delay_s)
    try:
        await link.open()
        if not link.is_up:
            raise links.LinkDown(f"{url.bus} cannot be reached: {link.reason}")
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def connected_device(
    url: DeviceUrl, map: RegisterMap | None, deadline_s: float
) -> AsyncIterator[tuple[links.Link, RegisterMap]]:  # fmt: skip
    """The link of a device with its map, which is found at the device itself where it is None.

    Raises:
        links.LinkDown: it cannot be reached.
        SunSpecError: it has no models.
    """
    async with connected(url, map) as link:
        yield link, map or await map_of(link, url.unit, bases_of(url), deadline_s)


async def is_there(link: links.Link, unit: int, deadline_s: float) -> bool:
    """Whether a unit answers anything at all."""
    for function in ("holding", "input"):
        await _up(link)
        try:
            await link.read(unit, function, 0, 1, deadline_s)
        except links.Refused as refused:
            return refused.code not in ABSENT
        except links.LinkError:
            continue
        return True
    return False


async def _up(link: links.Link) -> None:
    """Wait for a link that is being opened anew, as it is after silent units."""
    for _ in range(round(LONGEST_DOWN_S / LOOK_S)):
        if link.is_up:
            return
        await asyncio.sleep(LOOK_S)


async def read_points(
    link: links.Link, unit: int, points: Iterable[Point], map: RegisterMap, deadline_s: float
) -> list[Found]:  # fmt: skip
    """Every point once, in as few requests as the device takes."""
    found: dict[Point, Found] = {}
    waiting = blocks(points, map.most_read, map.gap)
    while waiting:
        block = waiting.pop(0)
        try:
            words = await link.read(unit, block.function, block.address, block.count, deadline_s)
        except links.Refused as refused:
            parts = split_around(block)
            waiting[:0] = parts
            found |= {} if parts else {point: Found(point, math.nan, str(refused)) for point in block.points}
        except links.LinkError as error:
            found |= {point: Found(point, math.nan, str(error)) for point in block.points}
            if isinstance(error, links.LinkDown):
                raise
        else:
            found |= {point: Found(point, block.value(point, words)) for point in block.points}
    return [found[point] for point in map.points if point in found]


async def fits(link: links.Link, unit: int, maps: Sequence[RegisterMap], deadline_s: float) -> list[Fit]:
    """How well each map fits, the best first."""
    found = []
    for map in maps:
        points = await read_points(link, unit, map.read_points, map, deadline_s)
        answered = [one for one in points if not math.isnan(one.value)]
        found.append(Fit(map.name, len(points), len(answered), sum(one.is_plausible for one in answered)))
    return sorted(found, key=lambda fit: (-fit.share, -fit.plausible))


async def sunspec(link: links.Link, unit: int, url: DeviceUrl, deadline_s: float) -> SunSpecFound | None:
    """The SunSpec models of a unit and what they are good for; None where there are none."""
    await _up(link)
    try:
        device = await scan_device(link, unit, bases_of(url), deadline_s)
    except (SunSpecError, links.LinkDown):  # a link is opened anew where it was silent at every base
        return None
    names = tuple(name_of(id) for id, _, _ in device.directory)
    try:
        map = sunspec_map(device)
    except SunSpecError as error:
        return SunSpecFound(device, names, trouble=str(error))
    return SunSpecFound(device, names, map, tuple(capabilities(device, map)))


async def latency(link: links.Link, unit: int, map: RegisterMap | None, count: int, deadline_s: float) -> Latency:
    """Round trips of the map's first read, or of one register, one after the other."""
    block = map.reads()[0] if map is not None and map.reads() else None
    function, address, size = (block.function, block.address, block.count) if block else ("holding", 0, 1)
    rtt_s, lost = [], 0
    for _ in range(count):
        before_s = time.perf_counter()
        try:
            await link.read(unit, function, address, size, deadline_s)
        except links.Refused:
            pass  # a refusal is an answer too
        except links.LinkError:
            lost += 1
            await asyncio.sleep(deadline_s)
            continue
        rtt_s.append(time.perf_counter() - before_s)
    return Latency(tuple(rtt_s), lost, f"{size} {function} at {address}")


def all_maps() -> list[RegisterMap]:
    """The maps that ship."""
    return [load_map(name) for name in sorted(shipped_maps())]


def settings(map: RegisterMap, wanted: Mapping[str, float]) -> list[Set]:
    """What would be written for values by point, in the order of the map.

    Raises:
        ValueError: a point is not written to, or a value is not a number.
    """
    names = {point.name: point for point in map.written_points}
    result = []
    for name in sorted(wanted, key=list(names).index):
        registers, is_cut = encode(names[name], wanted[name])
        result.append(Set(names[name], wanted[name], tuple(registers), decode(names[name], registers), is_cut))
    return result


async def write_points(
    link: links.Link, unit: int, sets: Sequence[Set], map: RegisterMap, deadline_s: float
) -> list[Set]:  # fmt: skip
    """Write each, then read all back."""
    done = []
    for one in sets:
        try:
            await link.write(unit, one.point.function, one.point.address, one.registers, deadline_s)
        except links.LinkError as error:
            done.append(replace(one, trouble=str(error)))
        else:
            done.append(replace(one, done=True))
    back = {one.point: one.value for one in await read_points(link, unit, [one.point for one in done], map, deadline_s)}
    return [replace(one, read_back=back.get(one.point, math.nan)) for one in done]


def holds(one: Set) -> bool:
    """Whether the device has what was written; one whose set-points cannot be read is believed."""
    if math.isnan(one.read_back):
        return one.done
    return one.done and abs(one.read_back - one.value) <= max(one.point.resolution, 1e-6 * abs(one.value))


def safe_sets(map: RegisterMap, safe: Mapping[str, float] | None = None) -> list[Set]:
    """The safe state of a device as things to write, with all that makes it count.

    Args:
        map: of the device.
        safe: other safe values than the map's, by attribute.

    Raises:
        ValueError: the map names no safe value.
    """
    if not map.safe_values:
        raise ValueError(f"the map {map.name} names no safe value; give a point `safe:`")
    state = map.presets | map.safe_values | dict(safe or {})
    return settings(map, {point.name: state[point.attr] for point in map.written_points if point.attr in state})


def with_enables(map: RegisterMap, wanted: Mapping[str, float]) -> dict[str, float]:
    """Values by point, and what has to be written along so that they count: of P, of Q, or of both."""
    points = {point.name: point for point in map.written_points}
    kinds = {_is_of_q(points[name]) for name in wanted}
    along = {name: map.presets[p.attr] for name, p in points.items() if p.attr in map.presets and _is_of_q(p) in kinds}
    return along | dict(wanted)


def _is_of_q(point: Point) -> bool:
    return "Q" in point.attr
