"""Everything that a run leaves behind: series, events, metrics and run.json."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.scenarios.build import TIME_RESOLUTION
from gridloop.scenarios.decoders import (
    agent_columns,
    applied_elsewhere,
    column_decoder,
    device_columns,
    grid_decoder,
    group_decoder,
    link_columns,
    meter_decoder,
    pv_decoder,
    unit_decoder,
)
from gridloop.scenarios.facts import control_facts, device_facts, drawing, kinds
from gridloop.scenarios.market_facts import dispatch_facts, market_columns, market_facts
from gridloop.scenarios.measure import measure
from gridloop.scenarios.metrics_devices import device_metrics
from gridloop.scenarios.metrics_dispatch import dispatch_metrics
from gridloop.scenarios.metrics_market import market_metrics
from gridloop.scenarios.pacing import pacing_metrics
from gridloop.scenarios.provenance import provenance
from gridloop.scenarios.result import Event, Metric, Result, Window, open_run
from gridloop.scenarios.sources import PV
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_control import COMMS, SECONDARY
from gridloop.scenarios.wire_devices import DEVICES
from gridloop.simulators import profiles
from gridloop.simulators.device import Sink
from gridloop.simulators.recorder import Columns, Sampling, Stream

SCHEMA = 1


class Recording:
    """A run on its way to disk.

    Args:
        plan: what runs.
        path: an empty folder.
        watch: called every few rows with (simulated seconds, outputs of a group of units).
    """

    def __init__(self, plan: Plan, path: Path, watch: Callable[[float, Any], None]) -> None:
        self._plan, self._path, self._watch = plan, path, watch
        self._events: list[Event] = []
        self._link_statistics: dict[str, dict[str, float]] = {}
        self.device_statistics: Mapping[str, Mapping[str, Any]] = {}  # of links to devices, by unit
        self.pacing: Mapping[str, Any] = {}  # of a pacer; empty if the run is not paced
        self.commands: Sequence[tuple[float, str, str]] = ()  # that users gave while the run went on
        self._provenance = provenance()
        self._began = time.monotonic()
        (path / "series").mkdir(exist_ok=True)
        s_base_mva, signals = plan.case.network.s_base_mva, plan.scenario.record.signals
        self._streams = {"Grid": self._stream("Grid", grid_decoder(plan))}
        given = tuple(unit for group in plan.groups if group.model is None for unit in group.ids)
        for group in plan.groups:
            if group.model is not None:
                decode = group_decoder(plan, group)
            else:
                decode = unit_decoder(profiles.OUTPUTS, profiles.RECORDS, given, s_base_mva)
            self._streams[group.name] = self._stream(group.name, applied_elsewhere(plan, decode))
        for packs in plan.packs:
            decode = unit_decoder(packs.model.outputs, packs.model.records, packs.ids, s_base_mva)
            self._streams[packs.name] = self._stream(packs.name, decode)
        if plan.arrays:
            self._streams[PV] = self._stream(PV, pv_decoder(plan))
        if plan.devices:
            self._streams[DEVICES] = self._stream(DEVICES, column_decoder(device_columns(plan)))
        if plan.control is not None:
            self._streams[SECONDARY] = self._stream(SECONDARY, column_decoder(agent_columns(plan)))
        if plan.links and "links" in signals:
            self._streams[COMMS] = self._stream(COMMS, column_decoder(link_columns(plan)))
        if plan.scenario.meters:
            self._streams["Meter"] = self._stream("Meter", meter_decoder(plan), every=1)
        for name, columns in market_columns(plan).items():
            self._streams[name] = self._stream(name, column_decoder(columns), every=1)

    def _stream(self, name: str, decode: Callable[[list[Any]], Columns], every: int | None = None) -> Stream:
        scenario = self._plan.scenario
        every = every or round((scenario.record.every_ms or scenario.step_ms) * 1e-3 / TIME_RESOLUTION)
        events = frozenset(round(t_s / TIME_RESOLUTION) for t_s in self._plan.event_times_s)
        watch = self._watch if self._plan.groups and name == self._plan.groups[0].name else None
        sampling = Sampling(TIME_RESOLUTION, every, events)
        return Stream(self._path / "series", name, decode, sampling, time.monotonic, watch)

    @property
    def sinks(self) -> dict[str, Sink]:
        """Takers of rows by the simulator's name."""
        return {name: stream.append for name, stream in self._streams.items()}

    @property
    def wall_io_s(self) -> float:
        """Wall time spent in writing series."""
        return sum(stream.wall_s for stream in self._streams.values())

    def log(self, t_s: float, kind: str, target: str, outcome: str) -> None:
        """Take an event."""
        self._events.append(Event(t_s, kind, target, outcome))

    def begin(self) -> None:
        """Write run.json before the first step, so that a killed run can be opened."""
        self._began = time.monotonic()
        self._write("running", "", {}, [], {})

    def finish(
        self, status: str, message: str, wall_simulators_s: float,
        link_statistics: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Result:  # fmt: skip
        """Close the series, compute the metrics, write run.json.

        Args:
            status: how the run ended.
            message: why it failed.
            wall_simulators_s: wall time spent inside simulators, recording and waiting for the clock included.
            link_statistics: of every communication link.
        """
        self._link_statistics = {name: dict(counts) for name, counts in (link_statistics or {}).items()}
        waited_s = self.pacing.get("waited_s", 0.0)
        models_s = max(wall_simulators_s - self.wall_io_s - waited_s, 0.0)
        for stream in self._streams.values():
            stream.close()
        wall_s, io_s = time.monotonic() - self._began, self.wall_io_s
        wall = {"total_s": wall_s, "models_s": models_s, "io_s": io_s, "waited_s": waited_s}
        wall["mosaik_s"] = wall_s - models_s - io_s - waited_s
        self._write(status, message, {}, [], wall)
        result = open_run(self._path)
        whole, windows = measure(result)
        self._write(status, message, whole | self._numerics(wall, result), windows, wall)
        return open_run(self._path)

    def _numerics(self, wall: Mapping[str, float], result: Result) -> dict[str, Metric]:
        last_s = float(result.series("grid", "P_gen[MW]")[0][-1]) if "grid" in result.entities else 0.0
        whole = max(wall["total_s"], 1e-9)
        shares = {
            f"wall_share_{part}": Metric(wall[f"{part}_s"] / whole, "1", f"share of the wall time in {text}")
            for part, text in (("models", "the models"), ("mosaik", "mosaik"), ("io", "writing series"))
        }
        coupling = {}
        if self._plan.scenario.mode == "rms":
            text = "macro step times stiffness of the coupling; accurate below 0.5"
            coupling = {"h_lambda": Metric(self._plan.h_lambda, "1", text)}
        return {
            "step": Metric(self._plan.scenario.step_ms, "ms", "macro step"),
            **coupling,
            "wall_per_simulated_s": Metric(
                whole / last_s if last_s else np.nan, "1", "wall time per simulated time"
            ),
            **shares,
            **(device_metrics(result, self.device_statistics) if self._plan.devices or self._plan.agents else {}),
            **(pacing_metrics(self.pacing) if self.pacing else {}),
            **market_metrics(result),
            **dispatch_metrics(result),
        }  # fmt: skip

    def _write(
        self, status: str, message: str, whole: Mapping[str, Metric], windows: list[Window],
        wall: Mapping[str, float],
    ) -> None:  # fmt: skip
        network = self._plan.case.network
        content = {
            "schema": SCHEMA,
            "status": status,
            "message": message,
            "scenario": self._plan.scenario.to_dict(),
            "folder": str(self._plan.scenario.folder.resolve()),
            **self._provenance,
            "f_nom_hz": network.f_nom_hz,
            "s_base_mva": network.s_base_mva,
            "network": drawing(self._plan),
            "entities": kinds(self._plan),
            "control": control_facts(self._plan),
            "market": market_facts(self._plan),
            "dispatch": dispatch_facts(self._plan),
            "link_statistics": self._link_statistics,
            "devices": device_facts(self._plan),
            "device_statistics": {unit: dict(counts) for unit, counts in self.device_statistics.items()},
            "pacing": dict(self.pacing),
            "commands": [list(command) for command in self.commands],
            "events": [vars(event) for event in sorted(self._events, key=_order)],
            "metrics": {key: metric.to_json() for key, metric in whole.items()},
            "windows": [window.to_json() for window in windows],
            "wall": dict(wall),
        }
        write_record(self._path, content)


def _order(event: Event) -> tuple[float, bool, str]:
    """By time, set-points before what the grid does then: simulators in other processes tell it in any order."""
    is_set = event.kind == "set"
    return round(event.t_s, 6), not is_set, event.target if is_set else ""


def write_record(folder: Path, content: Mapping[str, Any]) -> None:
    """Write run.json whole or not at all."""
    aside = folder / ".run.json.tmp"
    aside.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    aside.rename(folder / "run.json")


def add_metrics(result: Result, metrics: Mapping[str, Metric]) -> Result:
    """The run with more metrics in its run.json."""
    more = {key: metric.to_json() for key, metric in metrics.items()}
    write_record(result.path, {**result.record, "metrics": {**result.record["metrics"], **more}})
    return open_run(result.path)


def new_folder(wanted: Path | str | None, name: str) -> Path:
    """An empty folder for a run: the wanted one, or `runs/<time>-<name>`.

    Raises:
        FileExistsError: the wanted folder holds a run already.
    """
    if wanted is not None:
        path = Path(wanted)
        if (path / "run.json").exists():
            raise FileExistsError(f"{path} holds a run already; choose another folder")
        path.mkdir(parents=True, exist_ok=True)
        return path
    stem = f"{datetime.now().astimezone().strftime('%Y-%m-%dT%H-%M-%S')}-{name}"
    for attempt in range(1000):
        path = Path("runs") / (stem if not attempt else f"{stem}-{attempt + 1}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"there is no free folder {stem} in runs/")
