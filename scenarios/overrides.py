"""Values set by dotted paths: `grid.base.s_mva`, `units.*.filter_hz`, `events.0.p_kw`."""

from copy import deepcopy
from fnmatch import fnmatchcase
from typing import Any

from gridloop.scenarios.problems import Problem, did_you_mean

# maps that a file may leave out and a path may still go through
OPTIONAL_MAPS = (
    "grid", "grid.base", "grid.loads", "record", "defaults", "defaults.*", "pcc.sync", "control.frequency",
    "control.voltage", "control.balancing", "control.more", "comms", "comms.jitter", "comms.burst", "comms.links",
    "comms.links.*", "comms.links.*.jitter", "comms.links.*.burst", "study", "study.set", "prices", "serve",
    "serve.*",
    "units.*.device", "units.*.device.comms", "units.*.device.comms.jitter", "units.*.device.comms.burst",
    "units.*.device.limits", "units.*.device.safe", "units.*.device.on_loss", "units.*.agent", "units.*.agent.device",
    "units.*.agent.device.on_loss",
)  # fmt: skip


def set_path(raw: Any, path: str, value: Any) -> list[Problem]:
    """Set `a.b.c` in place; a missing last key is added, `*` matches every key that is there."""
    if path == "extends":
        return [Problem((), "--set extends: what a file extends can be changed in the file only")]
    *parents, last = path.split(".")
    nodes = [raw]
    for depth, key in enumerate(parents):
        children = [child for node in nodes for child in _children(node, key, ".".join(parents[: depth + 1]))]
        if not children:
            return [_missing(path, parents[:depth], key, nodes)]
        nodes = children
    places: list[tuple[Any, Any]] = []
    for node in nodes:
        if isinstance(node, dict):
            new = [last] if "*" not in last else []
            places += [(node, key) for key in [k for k in node if fnmatchcase(k, last)] or new]
        else:
            places += [(node, index) for index in _indices(node, last)]
    for node, key in places:
        node[key] = deepcopy(value)
    return [] if places else [_missing(path, parents, last, nodes)]


def _missing(path: str, parents: list[str], key: str, nodes: list[Any]) -> Problem:
    """What stands where the path ends is told, so that the next try is right."""
    there = ".".join([*parents, key])
    optional = [] if parents else [path for path in OPTIONAL_MAPS if "." not in path]
    known = list(dict.fromkeys([name for node in nodes if isinstance(node, dict) for name in node] + optional))
    count = max((len(node) for node in nodes if isinstance(node, list)), default=0)
    if count:
        hint = f"; {'.'.join(parents)} has the indices 0 to {count - 1}" if count > 1 else "; the only index is 0"
    else:
        hint = did_you_mean(key, known) if known else ""
    return Problem((), f"--set {path}: there is no {there}{hint}")


def _children(node: Any, key: str, path: str) -> list[Any]:
    if isinstance(node, dict):
        if node.get(key) is None and "*" not in key and any(fnmatchcase(path, known) for known in OPTIONAL_MAPS):
            node[key] = {}
        return [child for name, child in node.items() if fnmatchcase(name, key)]
    return [node[index] for index in _indices(node, key)]


def _indices(node: Any, key: str) -> list[int]:
    if not isinstance(node, list):
        return []
    if key == "*":
        return list(range(len(node)))
    return [int(key)] if key.isdecimal() and int(key) < len(node) else []
