"""Everything that a run leaves behind: series, events, metrics and run.json."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.scenarios.build import TIME_RESOLUTION
from gridloop.scenarios.measure import measure
from gridloop.scenarios.provenance import provenance
from gridloop.scenarios.result import Event, Metric, Result, Window, open_run
from gridloop.scenarios.start import Plan
from gridloop.simulators import profiles
from gridloop.simulators.device import Sink, show
from gridloop.simulators.events import PCC
from gridloop.simulators.grid_series import grid_columns
from gridloop.simulators.meter import measured
from gridloop.simulators.ports import Port
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
        self._provenance = provenance()
        self._began = time.monotonic()
        (path / "series").mkdir(exist_ok=True)
        s_base_mva, signals = plan.case.network.s_base_mva, plan.scenario.record.signals
        self._streams = {
            "Grid": self._stream("Grid", lambda rows: grid_columns(plan.case, plan.feeders, rows, signals))
        }
        given = tuple(unit for group in plan.groups if group.model is None for unit in group.ids)
        for group in plan.groups:
            if group.model is not None:
                decode = unit_decoder(group.model.outputs, group.model.records, group.ids, s_base_mva)
            else:
                decode = unit_decoder(profiles.OUTPUTS, profiles.RECORDS, given, s_base_mva)
            self._streams[group.name] = self._stream(group.name, decode)
        if plan.scenario.meters:
            self._streams["Meter"] = self._stream("Meter", meter_decoder(plan), every=1)

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

    def finish(self, status: str, message: str, wall_simulators_s: float) -> Result:
        """Close the series, compute the metrics, write run.json.

        `wall_simulators_s` is the wall time spent inside simulators, recording included.
        """
        models_s = max(wall_simulators_s - self.wall_io_s, 0.0)
        for stream in self._streams.values():
            stream.close()
        wall_s, io_s = time.monotonic() - self._began, self.wall_io_s
        wall = {"total_s": wall_s, "models_s": models_s, "io_s": io_s, "mosaik_s": wall_s - models_s - io_s}
        self._write(status, message, {}, [], wall)
        result = open_run(self._path)
        whole, windows = measure(result)
        self._write(status, message, whole | self._numerics(wall, result), windows, wall)
        return open_run(self._path)

    def _numerics(self, wall: Mapping[str, float], result: Result) -> dict[str, Metric]:
        last_s = float(result.series("grid", "P_gen[MW]")[0][-1]) if result.entities else 0.0
        whole = max(wall["total_s"], 1e-9)
        shares = {
            f"wall_share_{part}": Metric(wall[f"{part}_s"] / whole, "1", f"share of the wall time in {text}")
            for part, text in (("models", "the models"), ("mosaik", "mosaik"), ("io", "writing series"))
        }
        return {
            "step": Metric(self._plan.scenario.step_ms, "ms", "macro step"),
            "h_lambda": Metric(
                self._plan.h_lambda, "1", "macro step times stiffness of the coupling; accurate below 0.5"
            ),
            "wall_per_simulated_s": Metric(
                whole / last_s if last_s else np.nan, "1", "wall time per simulated time"
            ),
            **shares,
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
            **self._provenance,
            "f_nom_hz": network.f_nom_hz,
            "s_base_mva": network.s_base_mva,
            "network": drawing(self._plan),
            "entities": kinds(self._plan),
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


def meter_decoder(plan: Plan) -> Callable[[list[Any]], Columns]:
    """A function that turns the meters' samples into columns `meter.attribute`."""
    names = [f"{name}.{measured(attr)}" for name, meter in plan.scenario.meters.items() for attr in meter.attr]

    def decode(rows: list[Any]) -> Columns:
        return dict(zip(names, np.stack(rows, axis=1), strict=True))

    return decode


def unit_decoder(
    outputs: tuple[Port, ...], records: tuple[str, ...], ids: tuple[str, ...], s_base_mva: float
) -> Callable[[list[Any]], Columns]:
    """A function that turns recorded outputs of a group into columns `unit.attribute`."""
    ports = {port.attr: port for port in outputs}

    def decode(rows: list[Any]) -> Columns:
        stacked = type(rows[0])(*(np.stack(field) for field in zip(*rows, strict=True)))
        columns: Columns = {}
        for attribute in records:
            values = show(ports[attribute], stacked, s_base_mva)
            columns |= {f"{unit}.{attribute}": values[:, place] for place, unit in enumerate(ids)}
        return columns

    return decode


def drawing(plan: Plan) -> dict[str, Any]:
    """The network as a drawing needs it: who is connected to what, and where it stands."""
    network = plan.case.network
    named = list(zip(network.bus_names, network.bus_row.tolist(), strict=True))
    first_name = {row: name for name, row in reversed(named)}
    kw = 1e3 * network.s_base_mva
    return {
        "buses": [
            {"id": name, "x": _number(place[0]), "y": _number(place[1]), "v_kv": float(network.v_base_kv[row])}
            for name, row, place in zip(network.bus_names, network.bus_row, plan.position, strict=True)
        ],
        "branches": [
            {"id": name, "from": first_name.get(f, ""), "to": first_name.get(t, ""), "kind": kind, "closed": closed}
            for name, f, t, kind, closed in zip(
                network.branch_names, network.from_bus.tolist(), network.to_bus.tolist(), plan.branch_kinds,
                network.closed.tolist(), strict=True,
            )
        ],
        "units": [
            {"id": unit, "type": group.name.lower(), "source": group.source, "bus": bus, "s_rated_kva": _number(rated),
             "q_set_kvar": float(q)}
            for group in plan.groups
            for unit, bus, rated, q in zip(
                group.ids, group.bus, group.rated_kva,
                np.broadcast_to(getattr(group.params, "q_set_kvar", 0.0), len(group.ids)), strict=True,
            )
        ],
        "pcc": [] if plan.case.pcc is None else [{"id": PCC, "type": PCC, "bus": plan.case.pcc.bus}],
        "loads": [
            {"id": name, "bus": first_name[row], "p_kw": float(p * kw)}
            for name, row, p in zip(
                plan.case.load_names, plan.case.loads.bus.tolist(), plan.case.loads.p0_pu, strict=True
            )
        ],
    }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def kinds(plan: Plan) -> dict[str, str]:
    """What every entity is."""
    network = plan.case.network
    named = [(network.bus_names, "bus"), (network.branch_names, "branch"), (plan.case.load_names, "load")]
    named += [(group.ids, "unit") for group in plan.groups]
    named += [(tuple(plan.scenario.meters), "meter"), (() if plan.case.pcc is None else (PCC,), "pcc")]
    return {"grid": "grid"} | {name: kind for names, kind in named for name in names}


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
