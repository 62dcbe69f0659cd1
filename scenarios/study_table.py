"""The table of a study, one row a point, and curves through it: a metric over the swept value for each case."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.scenarios.problems import did_you_mean
from gridloop.scenarios.result import Real
from gridloop.scenarios.study_points import Axis, Point
from gridloop.scenarios.study_worker import Outcome

FEW = 10  # seeds up to which a band is from the lowest to the highest; of more it is from 10 to 90 %
LAST = "from the last event on"


@dataclass(frozen=True)
class Row:
    """A point and what came of it."""

    point: Point
    outcome: Outcome

    @property
    def failed(self) -> bool:
        """Whether the run ended early."""
        return self.outcome.status == "failed"

    def figure(self, name: str) -> float:
        """A figure by its name (see `place_of`); nan where the point has none, as a failed run has no last window."""
        place, key = place_of(name)
        windows, whole = self.outcome.windows, self.outcome.metrics
        if place == "run" or not any(key in window for window in windows):
            return whole.get(key, math.nan)
        if place == "last":
            return math.nan if self.failed else windows[-1].get(key, math.nan)
        return windows[int(place)].get(key, math.nan) if int(place) < len(windows) else math.nan

    def names(self) -> list[str]:
        """Names of all its figures."""
        windows = self.outcome.windows
        keys = dict.fromkeys([*self.outcome.metrics, *(key for window in windows for key in window)])
        return [
            *([] if self.failed else keys),
            *(f"run.{key}" for key in self.outcome.metrics),
            *(f"windows.{number}.{key}" for number, window in enumerate(windows) for key in window),
        ]


def place_of(name: str) -> tuple[str, str]:
    """Where a figure is from, and its key.

    `KEY` is that of the last window, which tells how the last disturbance ended; of the whole run where windows have
    no such key. `run.KEY` is of the whole run, `windows.N.KEY` from event N on (0: before the first).
    """
    if name.startswith("run."):
        return "run", name.removeprefix("run.")
    match = re.fullmatch(r"windows\.(\d+)\.(.+)", name)
    return (match[1], match[2]) if match else ("last", name)


@dataclass(frozen=True)
class Curve:
    """A metric over the first swept value, for one case and one value of each further axis.

    Args:
        label: what tells it from other curves; "" if there is one only.
        case: the case's name.
        x: swept values.
        low, middle, high: the band over seeds and its median, (n,); inf is 'never', nan is no value.
        failed: runs that failed there, (n,).
        count: seeds.
    """

    label: str
    case: str
    x: tuple[Any, ...]
    low: Real
    middle: Real
    high: Real
    failed: tuple[int, ...]
    count: int


def swept(axes: Sequence[Axis]) -> int | None:
    """Number of the axis that a plot's x shows: the first with several values; None if there is none."""
    several = [number for number, axis in enumerate(axes) if len(axis.values) > 1]
    return several[0] if several else 0 if axes else None


def curves(rows: Sequence[Row], axes: Sequence[Axis], name: str) -> list[Curve]:
    """Curves of a metric in the order of the cases, then of the further axes' values."""
    x_axis = swept(axes)
    cases = list(dict.fromkeys(row.point.case for row in rows))
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        rest = tuple(
            (axis.values.index(value), axis.path, text_of(value))
            for number, (axis, value) in enumerate(zip(axes, row.point.values, strict=True))
            if number != x_axis and len(axis.values) > 1
        )
        groups.setdefault((cases.index(row.point.case), rest), []).append(row)
    xs = axes[x_axis].values if x_axis is not None else (0,)
    return [
        _curve(groups[group], xs, x_axis, name, _label(group[1], groups[group][0].point.case))
        for group in sorted(groups)
    ]  # fmt: skip


def _label(rest: Sequence[tuple[int, str, str]], case: str) -> str:
    return ", ".join([*([case] if case else []), *(f"{path} = {value}" for _, path, value in rest)])


def text_of(value: Any) -> str:
    """A value as one writes it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _curve(rows: Sequence[Row], xs: Sequence[Any], x_axis: int | None, name: str, label: str) -> Curve:
    low, middle, high, failed, count = [], [], [], [], 0
    for place, _ in enumerate(xs):
        here = [row for row in rows if x_axis is None or row.point.values[x_axis] == xs[place]]
        values = sorted(value for row in here if not row.failed and not math.isnan(value := row.figure(name)))
        bottom, half, top = _band(values)
        low.append(bottom)
        middle.append(half)
        high.append(top)
        failed.append(sum(row.failed for row in here))
        count = max(count, len(here))
    return Curve(
        label, rows[0].point.case, tuple(xs), np.array(low), np.array(middle), np.array(high), tuple(failed), count
    )  # fmt: skip


def _band(values: Sequence[float]) -> tuple[float, float, float]:
    """Low end, median and high end of sorted values, each one of them: between a number and never is nothing."""
    if not values:
        return math.nan, math.nan, math.nan
    last = len(values) - 1
    outer = 0.0 if len(values) <= FEW else 0.1
    return values[round(outer * last)], values[(last + 1) // 2], values[round((1 - outer) * last)]


def known_names(rows: Sequence[Row]) -> list[str]:
    """Names of the figures that any point has."""
    return list(dict.fromkeys(name for row in rows for name in row.names()))


def check_metrics(rows: Sequence[Row], metrics: Sequence[str]) -> None:
    """Refuse metrics that no point has.

    Raises:
        ValueError: with the name that was meant.
    """
    known = known_names(rows)
    for name in metrics:
        if known and name not in known and any(not row.failed for row in rows):
            keys = [key for key in known if "." not in key or key.split(".")[0] not in ("run", "windows")]
            raise ValueError(f"--metric {name}: no run has it{did_you_mean(name, known if '.' in name else keys)}")


def words(rows: Sequence[Row], name: str, described: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Description and unit of a figure."""
    place, key = place_of(name)
    unit, text = described.get(key, ("1", key.replace("_", " ")))
    if not any(key in window for row in rows for window in row.outcome.windows):
        place = "run"
    where = {"run": "whole run", "last": LAST, "0": "before the first event"}.get(place, f"from event {place} on")
    return f"{text}, {where}", unit


def write_table(rows: Sequence[Row], axes: Sequence[Axis], path: Path) -> None:
    """Write the Parquet table: overrides, case, seed, status, message, wall_s, every figure; null is no value."""
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, list[Any]] = {
        axis.path: _column([row.point.values[number] for row in rows]) for number, axis in enumerate(axes)
    }
    columns |= {
        "case": [row.point.case for row in rows], "seed": [row.point.seed for row in rows],
        "status": [row.outcome.status for row in rows], "message": [row.outcome.message for row in rows],
        "wall_s": [row.outcome.wall_s for row in rows],
    }  # fmt: skip
    for name in known_names(rows):
        columns[name] = [row.figure(name) for row in rows]
    aside = path.with_name(f".{path.name}.tmp")
    pyarrow.parquet.write_table(pyarrow.table(columns), aside, compression="zstd")
    aside.replace(path)


def _column(values: Sequence[Any]) -> list[Any]:
    """Numbers if all are numbers, else text."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    return [text_of(value) for value in values]
