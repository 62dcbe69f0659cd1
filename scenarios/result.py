"""A run's results on disk and in hand: series in Parquet segments, everything else in run.json."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridloop.simulators.recorder import Reader, read_layout

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Real = NDArray[np.floating[Any]]
Kind = Literal["unit", "bus", "branch", "load", "pcc", "meter", "link", "controller", "grid"]
Status = Literal["running", "done", "degraded", "failed", "interrupted"]


@dataclass(frozen=True)
class Metric:
    """One figure of a run; `value` is inf for 'never', nan for 'undefined'."""

    value: float
    unit: str
    description: str

    @classmethod
    def from_json(cls, value: float | str, unit: str, description: str) -> "Metric":
        """From run.json, where inf and nan are text because JSON has no such numbers."""
        return cls(float(value), unit, description)

    def to_json(self) -> dict[str, Any]:
        """For run.json."""
        value = self.value if math.isfinite(self.value) else str(self.value)
        return {"value": value, "unit": self.unit, "description": self.description}


@dataclass(frozen=True)
class Event:
    """Something that happened: `kind` of it, its `target` (bus, line, unit) and the `outcome` in words."""

    t_s: float
    kind: str
    target: str
    outcome: str


@dataclass(frozen=True)
class Window:
    """The stretch from one event to the next, with the same metrics as the whole run."""

    start_s: float
    end_s: float
    metrics: Mapping[str, Metric]

    @classmethod
    def from_json(cls, start_s: float, end_s: float, metrics: Mapping[str, Any]) -> "Window":
        """From run.json."""
        return cls(start_s, end_s, {key: Metric.from_json(**metric) for key, metric in metrics.items()})

    def to_json(self) -> dict[str, Any]:
        """For run.json."""
        figures = {key: metric.to_json() for key, metric in self.metrics.items()}
        return {"start_s": self.start_s, "end_s": self.end_s, "metrics": figures}


@dataclass(frozen=True)
class Entity:
    """What has series: its `kind` and its attributes, `Quantity[unit]`."""

    kind: Kind
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A run, finished or not.

    `record` is the content of run.json: keys schema, status, message, scenario, versions, machine, network (buses,
    branches, units, loads with their places in the single-line diagram), events, metrics, windows, wall, ...
    """

    path: Path
    record: Mapping[str, Any]

    @property
    def status(self) -> Status:
        """done, degraded, failed or interrupted; a process that was killed leaves 'interrupted'."""
        status: Status = self.record["status"]
        return "interrupted" if status == "running" else status

    @cached_property
    def entities(self) -> dict[str, Entity]:
        """Everything that has series, by its id."""
        kinds, attributes = self.record["entities"], dict[str, list[str]]()
        for name in self._streams:
            entity, _, attribute = name.partition(".")
            attributes.setdefault(entity, []).append(attribute)
        return {e: Entity(kinds.get(e, "unit"), tuple(a)) for e, a in attributes.items()}

    def series(self, entity: str, attribute: str) -> tuple[Real, Real]:
        """Times [s from start] and values of one attribute, e.g. `series("inv1", "f[Hz]")`.

        Raises:
            KeyError: there is no such series; the message lists what there is.
        """
        name = f"{entity}.{attribute}"
        columns = self._reader(self.stream(entity, attribute)).columns([name])
        return columns["t"], columns[name]

    def stream(self, entity: str, attribute: str) -> str:
        """Name of the simulator that recorded a series; series of one simulator share their times.

        Raises:
            KeyError: there is no such series; the message lists what there is.
        """
        known = self.entities
        if entity not in known:
            raise KeyError(f"there is no {entity!r}; this run has {', '.join(known)}")
        if attribute not in known[entity].attributes:
            raise KeyError(f"{entity} has no {attribute!r}; it has {', '.join(known[entity].attributes)}")
        return self._streams[f"{entity}.{attribute}"]

    def batches(self, stream: str, names: Sequence[tuple[str, str]], rows: int) -> Iterator[tuple[Real, Real]]:
        """Times [s] and values (times, names) of entities and attributes of one stream, up to `rows` at a time."""
        columns = [f"{entity}.{attribute}" for entity, attribute in names]
        for batch in self._reader(stream).batches(columns, rows):
            yield batch["t"], np.stack([batch[column] for column in columns], axis=1)

    def to_pandas(self, signals: Iterable[str] = ()) -> "pandas.DataFrame":
        """The series as a DataFrame: index `t[s]`, columns (entity, attribute), nan where one has no row.

        Args:
            signals: patterns `entity.attribute` such as `inv1.*` or `*.f[Hz]`, or ids; all series if absent.
        """
        from gridloop.scenarios.export import data_frame

        return data_frame(self, [signals] if isinstance(signals, str) else signals)

    def plot(self, *signals: str) -> "Figure":
        """Frequency, active power and voltage as a matplotlib figure (extra `plot`), or the given signals.

        Args:
            signals: an id and its attribute, `plot("inv1", "f[Hz]")`; or patterns, `plot("*.f[Hz]", "5.Vm[pu]")`.
        """
        from gridloop.scenarios.figure import figure

        return figure(self, signals)

    def _reader(self, stream: str) -> Reader:
        if stream not in self._readers:
            self._readers[stream] = Reader(self.path / "series", stream)
        return self._readers[stream]

    @cached_property
    def _readers(self) -> dict[str, Reader]:
        return {}

    def __reduce__(self) -> tuple[type["Result"], tuple[Path, Mapping[str, Any]]]:
        return type(self), (self.path, self.record)  # another process opens the files itself

    @cached_property
    def _streams(self) -> dict[str, str]:
        return read_layout(self.path / "series")

    @cached_property
    def events(self) -> list[Event]:
        """What happened, in order."""
        return [Event(**event) for event in self.record["events"]]

    @cached_property
    def devices(self) -> dict[str, dict[str, Any]]:
        """Devices by the unit for which they stood in: url, role, mode, ..., and what their links counted."""
        statistics = self.record.get("device_statistics", {})
        return {unit: {**facts, **statistics.get(unit, {})} for unit, facts in self.record.get("devices", {}).items()}

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """The run's figures by key; what does not apply is absent."""
        return self._figures[0]

    @cached_property
    def windows(self) -> list[Window]:
        """Metrics between events; number 0 ends at the first event."""
        return self._figures[1]

    @cached_property
    def _figures(self) -> tuple[dict[str, Metric], list[Window]]:
        """From run.json, or from the series of a run whose process was killed before it could write them."""
        if self.record["status"] == "running" and not self.record["metrics"]:
            from gridloop.scenarios.measure import measure

            return measure(self)
        metrics = {key: Metric.from_json(**metric) for key, metric in self.record["metrics"].items()}
        return metrics, [Window.from_json(**window) for window in self.record["windows"]]


def open_run(folder: Path | str) -> Result:
    """Open a run's folder, also that of a run that was killed.

    Raises:
        ValueError: the folder holds no run.
    """
    path = Path(folder)
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} holds no run: there is no run.json") from None
    except ValueError as error:
        raise ValueError(f"{path / 'run.json'} is damaged: {error}") from error
    return Result(path, record)
