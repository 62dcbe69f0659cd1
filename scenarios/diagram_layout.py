"""Where buses and labels of a single-line diagram stand; points are complex numbers x + iy [px], y down."""

import cmath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL_NET = 40  # buses; up to here symbols are drawn at full size and every branch is labelled
SLOW_NET = 250  # buses; from here the layout by graph distances would take minutes
MARGIN = 64.0
DEVICE_SPACING = 36.0
DEVICE_REACH = 62.0  # from the bar to the far side of a device and its label

Points = NDArray[np.complex128]
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Bus:
    """A busbar: its centre, direction (1 or 1j), half length, and the side on which its devices stand."""

    at: complex
    bar: complex
    half: float
    side: complex


@dataclass(frozen=True)
class Sheet:
    """A drawing area [px] with its buses; `size` scales the symbols, 1 for a net with room."""

    width: float
    height: float
    size: float
    buses: Mapping[str, Bus]


def sheet(buses: Sequence[Record], branches: Sequence[Record], devices: Mapping[str, int]) -> Sheet:
    """Lay a network out: at its coordinates if every bus has them, otherwise by distances in its graph.

    Args:
        buses: records with id, x and y (same unit of length, y up; None where unknown).
        branches: records with id, from, to and kind.
        devices: number of units and loads to be drawn at a bus, by its id.

    Returns:
        The sheet; the same input gives the same sheet.
    """
    ids = [bus["id"] for bus in buses]
    index = {bus: i for i, bus in enumerate(ids)}
    ends = [(index[b["from"]], index[b["to"]]) for b in branches]
    room = 1.0 if len(ids) <= SMALL_NET else 1.5
    points, height = fitted(positions(buses, ends), width=760 * room, height=560 * room)
    size = symbol_size(points)
    wide = [ends[i] for i, branch in enumerate(branches) if branch["kind"] == "trafo"]
    points = separated(points, least=26 * size, wide=wide, least_wide=64 * size)
    neighbours: dict[int, list[int]] = {i: [] for i in range(len(ids))}
    for a, b in ends:
        neighbours[a].append(b)
        neighbours[b].append(a)
    placed = {bus: standing(points, i, neighbours[i], devices.get(bus, 0), size) for i, bus in enumerate(ids)}
    return Sheet(760 * room, height, size, placed)


def positions(buses: Sequence[Record], ends: Sequence[tuple[int, int]]) -> Points:
    """Places in any unit of length: the given ones, or from the graph with its long axis horizontal."""
    if all(bus.get("x") is not None and bus.get("y") is not None for bus in buses):
        return np.array([complex(bus["x"], -bus["y"]) for bus in buses], complex)
    import networkx  # only nets without coordinates need it, and it takes a while to import

    graph = networkx.Graph()
    graph.add_nodes_from(range(len(buses)))
    graph.add_edges_from(ends)
    if len(buses) > SLOW_NET:
        placed = networkx.spring_layout(graph, seed=1)
    else:
        hops = {a: dict(row) for a, row in networkx.all_pairs_shortest_path_length(graph)}
        far = 1 + max(max(row.values()) for row in hops.values())  # stands for 'not connected'
        hops = {a: {b: row.get(b, far) for b in graph} for a, row in hops.items()}
        placed = networkx.kamada_kawai_layout(graph, dist=hops)
    points = np.array([complex(*placed[i]) for i in range(len(buses))], complex)
    points -= points.mean()
    along: complex = complex(np.sqrt(np.sum(points**2)))
    return points * (along.conjugate() / abs(along) if along else 1)


def fitted(points: Points, width: float, height: float) -> tuple[Points, float]:
    """Points scaled into `width` x `height` [px] with their aspect kept, and the height really used."""
    across, down = np.ptp(points.real), np.ptp(points.imag)
    room_x, room_y = width - 2 * MARGIN, height - 2 * MARGIN
    scale = min(room_x / across if across else np.inf, room_y / down if down else np.inf)
    scale = scale if np.isfinite(scale) else 0.0  # all buses in one place
    middle = complex(points.real.min() + across / 2, points.imag.min() + down / 2)
    used = down * scale + 2 * MARGIN
    return (points - middle) * scale + complex(width, used) / 2, used


def symbol_size(points: Points) -> float:
    """Scale of the symbols: what the typical distance to the nearest bus leaves, 0.3 to 1."""
    if len(points) < 2:
        return 1.0
    distance = np.abs(points[:, None] - points[None, :])
    np.fill_diagonal(distance, np.inf)
    return float(np.clip(np.median(distance.min(axis=1)) / 70, 0.3, 1.0))


def separated(
    points: Points, least: float, wide: Iterable[tuple[int, int]], least_wide: float, rounds: int = 40
) -> Points:
    """Push buses apart that stand closer than `least` [px], as both sides of a transformer often do."""
    points = points.copy()
    wanted = np.full((len(points), len(points)), least)
    for a, b in wide:
        wanted[a, b] = wanted[b, a] = least_wide
    np.fill_diagonal(wanted, 0)
    for _ in range(rounds):
        apart = points[:, None] - points[None, :]
        distance = np.abs(apart)
        same = (distance < 1e-9) & (wanted > 0)
        order = np.sign(np.subtract.outer(np.arange(len(points)), np.arange(len(points))))
        direction = np.where(same, order, apart / np.where(distance < 1e-9, 1, distance))
        points += (direction * np.clip(wanted - distance, 0, None)).sum(axis=1) * 0.4
    return points


def standing(points: Points, i: int, neighbours: Sequence[int], n_devices: int, size: float) -> Bus:
    """The bar of one bus, with its devices on the side that is farthest from lines and other buses."""
    at = complex(points[i])
    lines = [complex(points[n]) - at for n in neighbours if points[n] != at]
    near = [complex(p) - at for p in points if 0 < abs(p - at) < 1.6 * DEVICE_REACH * size]
    directions = [d / abs(d) for d in lines + near]
    half = max(14.0, n_devices * DEVICE_SPACING / 2, 7.0 * len(lines)) * size
    if n_devices:
        side = max((-1j, 1j, 1 + 0j, -1 + 0j), key=lambda s: clearance(s, directions))
        return Bus(at, 1 + 0j if abs(side.imag) > 0.5 else 1j, half, side)
    flat = sum(abs(d.real) / abs(d) for d in lines) > sum(abs(d.imag) / abs(d) for d in lines)
    return Bus(at, 1j if flat else 1 + 0j, half, 1 + 0j if flat else 1j)


def clearance(side: complex, directions: Sequence[complex]) -> float:
    """Smallest angle [rad] between a side and the directions already taken."""
    return min((abs(cmath.phase(d / side)) for d in directions), default=cmath.pi)


def samples(path: Sequence[complex], every: float = 8.0) -> list[complex]:
    """Points along a polyline, `every` so many pixels, for keeping labels off it."""
    found = []
    for a, b in pairwise(path):
        steps = max(1, round(abs(b - a) / every))
        found += [a + (b - a) * k / steps for k in range(steps + 1)]
    return found


@dataclass
class Labels:
    """Texts placed one after the other where they cover nothing; a text without room is left out."""

    width: float
    height: float
    taken: list[tuple[complex, complex]] = field(default_factory=list)  # centre and half extent of boxes
    lines: list[complex] = field(default_factory=list)  # points that a text should rather not cover

    def take(self, centre: complex, half: complex) -> None:
        """Keep a box free of texts."""
        self.taken.append((centre, half))

    def place(self, at: complex, extent: complex, ways: Sequence[complex], needed: bool = False) -> complex | None:
        """Find room for a text beside a point.

        Args:
            at: the point.
            extent: width + height*1j of the text.
            ways: from the point to the edge of the text, best first; of equally free ones the first wins.
            needed: place the text even if it covers something.

        Returns:
            Centre of the text, or None where there is no room.
        """
        half = extent / 2
        centres = [at + way * (1 + support(way, half)) for way in ways]
        inside = [c for c in centres if self.inside(c, half)]
        free = [c for c in inside if not any(overlap(c, half, *box) for box in self.taken)]
        if not free and not needed:
            return None
        near = [p for p in self.lines if abs(p - at) < max(map(abs, ways)) + 2 * abs(extent)]
        best = min(free or centres, key=lambda c: sum(overlap(c, half, p, 0j) for p in near))
        self.take(best, half)
        return best

    def inside(self, centre: complex, half: complex) -> bool:
        """Whether a box lies on the sheet."""
        across, down = half.real <= centre.real <= self.width - half.real, half.imag <= centre.imag
        return across and down and centre.imag <= self.height - half.imag


def support(way: complex, half: complex) -> float:
    """How far a box reaches from its centre against a way, as a multiple of the way."""
    return (abs(way.real) * half.real + abs(way.imag) * half.imag) / abs(way) ** 2


def overlap(centre: complex, half: complex, other: complex, other_half: complex) -> bool:
    """Whether two boxes, given by centre and half extent, cover each other."""
    away, reach = centre - other, half + other_half
    return abs(away.real) < reach.real and abs(away.imag) < reach.imag
