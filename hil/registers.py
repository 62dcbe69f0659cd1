"""Register maps: what stands where in a type of device, and how values become registers.

A map is a YAML file; those of `maps/` ship. The names that other modules use are all to be had from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from gridloop.hil.blocks import MOST_READ, MOST_WRITTEN, Block, blocks, split_around, write_blocks
from gridloop.hil.map_parsing import (
    MapError,
    Node,
    Problem,
    did_you_mean,
    mapping,
    number,
    one_of,
    parse,
    read_keys,
    whole,
    words,
)
from gridloop.hil.map_points import POINT_KEYS, check_together, read_points
from gridloop.hil.points import Point, decode, encode

__all__ = [
    "MOST_READ",
    "MOST_WRITTEN",
    "Block",
    "MapError",
    "Point",
    "RegisterMap",
    "blocks",
    "decode",
    "encode",
    "load_map",
    "read_map",
    "shipped_maps",
    "split_around",
    "write_blocks",
]

MapRole = Literal["power", "controller", "meter"]

# what a map of each role must show, so that its device can take a unit's place
SHOWN: dict[str, tuple[str, ...]] = {
    "power": ("P_gen[MW]", "Q_gen[MVar]"), "controller": ("f[Hz]", "E[pu]"), "meter": (),
}  # fmt: skip


@dataclass(frozen=True)
class RegisterMap:
    """A type of device.

    Args:
        name: of the map.
        role: power (gets set-points; gives P, Q), controller (gets P, Q, V; gives f, E) or meter (read only).
        points: in the order of the file, which is the order of writing.
        min_gap_ms: from an answer to the next request.
        connect_delay_ms: from the connection to the first request.
        period_ms: shortest cycle that the device bears.
        deadline_ms: for one answer; 0 = half the period.
        gap: registers of no point that a merged read may take along.
        most_read, most_written: registers in one request.
        description: one line for tables.
    """

    name: str
    role: MapRole
    points: tuple[Point, ...]
    min_gap_ms: float = 0.0
    connect_delay_ms: float = 0.0
    period_ms: float = 50.0
    deadline_ms: float = 0.0
    gap: int = 0
    most_read: int = MOST_READ
    most_written: int = MOST_WRITTEN
    description: str = ""

    @cached_property
    def read_points(self) -> tuple[Point, ...]:
        """Points that a cycle reads."""
        return tuple(point for point in self.points if point.is_read)

    @cached_property
    def written_points(self) -> tuple[Point, ...]:
        """Points that a cycle writes, the heartbeat among them, in the order of writing."""
        return tuple(point for point in self.points if point.is_written)

    def reads(self) -> list[Block]:
        """Requests of one cycle that bring every point to read."""
        return blocks(self.read_points, self.most_read, self.gap)

    def writes(self, attrs: Sequence[str]) -> list[Block]:
        """Requests that write these attrs, in the order of the map."""
        return write_blocks([point for point in self.written_points if point.attr in attrs], self.most_written)

    def read(self, attr: str) -> Point | None:
        """The point that shows an attr."""
        return next((point for point in self.read_points if point.attr == attr), None)

    def written(self, attr: str) -> Point | None:
        """The point that takes an attr."""
        return next((point for point in self.written_points if point.attr == attr), None)

    @cached_property
    def presets(self) -> dict[str, float]:
        """What is written while nothing else is asked for, by attr."""
        return {p.attr: p.preset_value for p in self.written_points if p.preset == p.preset}

    @cached_property
    def safe_values(self) -> dict[str, float]:
        """What is written in the safe state, by attr."""
        return {p.attr: p.safe_value for p in self.written_points if p.safe == p.safe}

    @property
    def reversion_s(self) -> float:
        """After how long without a write the device goes to its safe state by itself; 0 = never."""
        return self.presets.get("reversion[s]", 0.0)


def shipped_maps() -> dict[str, Any]:
    """Files of the maps that ship, by name."""
    found = (files("gridloop.hil") / "maps").iterdir()
    return {path.name.removesuffix(".yaml"): path for path in found if path.name.endswith(".yaml")}


def load_map(name_or_path: str | Path, folder: str | Path = ".") -> RegisterMap:
    """A map that ships, by its name, or a file, relative to `folder`.

    Raises:
        MapError: with every problem of the file.
    """
    name, shipped = str(name_or_path), shipped_maps()
    if name in shipped:
        return read_map(shipped[name].read_text(encoding="utf-8"), f"{name}.yaml")
    path = Path(folder) / name
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        told = f"the file is not text in UTF-8: byte {error.start + 1} is wrong"
        raise MapError(str(path), [Problem(0, "", told)]) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        hint = did_you_mean(name, list(shipped)) if not path.suffix else ""
        told = f"there is no such file or map that ships{hint}"
        raise MapError(str(path) if path.suffix else name, [Problem(0, "", told)]) from error
    return read_map(text, str(path))


_KEYS = {
    "role": one_of(get_args(MapRole)),
    "description": words,
    "min_gap_ms": number(0, 60_000),
    "connect_delay_ms": number(0, 60_000),
    "period_ms": number(1, 3_600_000),
    "deadline_ms": number(0, 3_600_000),
    "gap": whole(0, MOST_READ),
    "most_read": whole(4, MOST_READ),
    "most_written": whole(4, MOST_WRITTEN),
    "defaults": lambda node: read_keys(node, {key: POINT_KEYS[key] for key in ("function", "type", "order", "role")}),
    "points": lambda node: node,
}


def read_map(text: str, file: str = "map.yaml") -> RegisterMap:
    """A map from its text.

    Raises:
        MapError: with every problem of the text.
    """
    root = parse(file, text)
    values = read_keys(root, _KEYS, needed=("role", "points"))
    defaults, node = values.pop("defaults", {}), values.pop("points", None)
    points = read_points(node, defaults) if node is not None else []
    check_together(points)
    if node is not None and not root.problems:
        _check_role(values["role"], [point for point, _ in points], node)
    if root.problems:
        raise MapError(file, root.problems)
    name = Path(file).stem
    return RegisterMap(name=name, points=tuple(point for point, _ in points), **values)


def _check_role(role: str, points: list[Point], node: Node) -> None:
    """What a device of the role must show is there, and a meter is not written to."""
    shown = [point.attr for point in points if point.is_read]
    for attr in SHOWN[role]:
        if attr not in shown:
            node.wrong(f"no point shows {attr}, which a device of role {role} gives")
    for point in points if role == "meter" else []:
        if point.is_written:
            mapping(node, "points")[point.name].wrong("a meter is only read; its role is read")
    if not points:
        node.wrong("must not be empty")
