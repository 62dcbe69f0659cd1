"""Series in HDF5 as mosaik-hdf5 stores them, so that what reads its files reads ours.

`/Series/<sid.eid>/<attribute>` holds the values and `/Relations/<sid.eid>` pairs of paths (relation, series) of the
entities beside it. Ours besides: `unit` of each series, and `_time` [s] in every group, because series of different
simulators have different times; groups of one simulator share one `_time`. A parallel line `6-7/2` is written
`6-7:2`: a slash would begin a group.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gridloop.scenarios.aligned import VALUES_AT_ONCE, stretches
from gridloop.scenarios.result import Result

FACTS = ("status", "message", "started", "f_nom_hz", "s_base_mva")


def write_hdf5(result: Result, path: Path, names: Sequence[tuple[str, str]], every_s: float | None = None) -> None:
    """Write the named series of a run.

    Raises:
        ValueError: h5py is not installed.
    """
    h5py = library()
    streams: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        streams.setdefault(result.stream(*name), []).append(name)
    with h5py.File(path, "w") as file:
        facts = {key: result.record[key] for key in FACTS if key in result.record}
        file.attrs.update(facts | {"scenario": json.dumps(result.record["scenario"])})
        series, relations = file.create_group("Series"), file.create_group("Relations")
        for stream, own in streams.items():
            write_stream(result, series, stream, own, every_s)
        write_relations(relations, neighbours(result, streams))


def library() -> ModuleType:
    """h5py."""
    try:
        import h5py
    except ImportError:
        raise ValueError("HDF5 needs h5py; install the extra: pip install 'gridloop[hdf5]'") from None
    module: ModuleType = h5py
    return module


def full_id(stream: str, entity: str) -> str:
    """mosaik's name of an entity: each simulator of ours is started once."""
    return f"{stream}-0.{entity}".replace("/", ":")


def write_stream(
    result: Result, series: Any, stream: str, names: Sequence[tuple[str, str]], every_s: float | None
) -> None:
    """Series of one simulator. They grow together, so that a long run need not fit into memory."""
    entities = dict.fromkeys(entity for entity, _ in names)
    groups = {entity: series.create_group(full_id(stream, entity)) for entity in entities}
    rows = max(100, VALUES_AT_ONCE // (len(names) + 1))
    options = {"shape": (0,), "maxshape": (None,), "dtype": "f8", "chunks": (min(rows, 4096),), "compression": "gzip"}
    first = next(iter(groups.values()))
    time = first.create_dataset("_time", **options)
    time.attrs["unit"] = "s"
    for group in groups.values():
        if group is not first:
            group["_time"] = time
    sets = []
    for entity, attribute in names:
        values = groups[entity].create_dataset(attribute, **options)
        values.attrs["unit"] = attribute.partition("[")[2].rstrip("]")
        sets.append(values)
    for part in stretches(result, names, every_s, rows):
        start, end = len(time), len(time) + len(part.t_s)
        for values, column in zip((time, *sets), (part.t_s, *part.values.T), strict=True):
            values.resize((end,))
            values[start:end] = np.ascontiguousarray(column)


def neighbours(result: Result, streams: dict[str, list[tuple[str, str]]]) -> dict[str, set[str]]:
    """What is connected with what: elements with their buses, and an entity with itself in other simulators."""
    homes: dict[str, list[str]] = {}
    for stream, names in streams.items():
        for entity in dict.fromkeys(entity for entity, _ in names):
            homes.setdefault(entity, []).append(full_id(stream, entity))
    found: dict[str, set[str]] = {place: set() for places in homes.values() for place in places}

    def join(one: Iterable[str], other: Iterable[str]) -> None:
        others = list(other)
        for a in one:
            for b in others:
                if a != b:
                    found[a].add(b)
                    found[b].add(a)

    for places in homes.values():
        join(places, places)
    network = result.record.get("network", {})
    for element in (*network.get("units", ()), *network.get("loads", ()), *network.get("branches", ())):
        for end in ("bus", "from", "to"):
            join(homes.get(element["id"], ())[:1], homes.get(element.get(end), ()))
    return found


def write_relations(group: Any, found: dict[str, set[str]]) -> None:
    """One table of pairs for every entity."""
    for place, others in sorted(found.items()):
        pairs = [(f"/Relations/{other}".encode(), f"/Series/{other}".encode()) for other in sorted(others)]
        width = max((len(word) for pair in pairs for word in pair), default=1)
        group.create_dataset(place, data=np.array(pairs, dtype=f"S{width}").reshape(len(pairs), 2))
