"""Made-up runs in memory, or saved in a folder, for tests of what shows results."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from gridloop.scenarios.result import Entity, Result, open_run

INF, NAN = float("inf"), float("nan")
T_S = np.arange(1200) * 0.005


class FromMemory(Result):
    """A result whose series were never on disk."""

    @property
    def entities(self):
        names = dict.fromkeys(entity for entity, _ in self.record["series"])
        return {
            name: Entity(self.record["kinds"][name], tuple(a for e, a in self.record["series"] if e == name))
            for name in names
        }

    def series(self, entity, attribute):
        values = self.record["series"][entity, attribute]
        return values if isinstance(values, tuple) else (self.record["t_s"], values)

    def stream(self, entity, attribute):
        return "Meter" if self.record["kinds"][entity] == "meter" else "Grid"


def swing(at_s, t_s, height, damping=3.0):
    """A decaying oscillation that begins at `at_s`, of 1.5 Hz."""
    after = np.maximum(t_s - at_s, 0)
    return height * (1 - np.exp(-damping * after) * np.cos(3 * np.pi * after))


def metric(value, unit, text):
    return {"value": value, "unit": unit, "description": text}


METRICS = {
    "f_nadir": metric(59.873456, "Hz", "lowest frequency"),
    "f_settling_time": metric(INF, "s", "time until settled"),
    "p_sharing_error_end": metric(0.0123, "1", "sharing error at the end"),
    "v_min": metric(0.92, "pu", "lowest voltage"),
    "energy_served": metric(0.00125, "MWh", "energy that reached the loads"),
    "energy_residual": metric(NAN, "1", "energy not accounted for"),
    "collapse_count": metric(0, "1", "times that the voltage collapsed"),
    "step": metric(5, "ms", "macro step"),
}


def ring(n_bus=9, n_unit=3, t_s=T_S, **changes):
    """A ring of buses with units at the first ones: load step at 1 s, line opened at 2 s."""
    names = [str(i + 1) for i in range(n_bus)]
    units = [f"inv{i + 1}" for i in range(n_unit)]
    lines = [f"{a}-{b}" for a, b in zip(names, names[1:] + names[:1], strict=True)]
    series = {}
    for i, unit in enumerate(units):
        series[unit, "f[Hz]"] = 60 - swing(1, t_s, 0.09, 2 + i) + swing(2, t_s, 0.01)
        series[unit, "P_gen[MW]"] = 0.1 * (i + 1) + swing(1, t_s, 0.03)
        series[unit, "Q_gen[MVar]"] = 0.01 * (i + 1) + swing(1, t_s, 0.01)
    for i, name in enumerate(names):
        series[name, "Vm[pu]"] = 1 - 0.005 * i - swing(1, t_s, 0.01)
    for i, name in enumerate(lines):
        series[name, "P_from[MW]"] = 0.02 * i + swing(1, t_s, 0.01)
    series["load5", "P_load[MW]"] = 0.3 + 0.1 * (t_s >= 1)
    record = {
        "status": "done", "message": "", "started": "2026-06-21T12:00:00+02:00", "wall": {"total_s": 1.5},
        "versions": {"gridloop": "0.1.0", "mosaik": "3.7.1"}, "t_s": t_s, "series": series,
        "scenario": {"name": "ring", "title": "A ring", "mode": "rms", "step_ms": 5, "until_s": float(t_s[-1])},
        "kinds": dict.fromkeys(units, "unit") | dict.fromkeys(names, "bus") | dict.fromkeys(lines, "branch")
        | {"load5": "load"},
        "network": {
            "buses": [
                {"id": name, "x": np.cos(a), "y": np.sin(a), "v_kv": 11.0}
                for name, a in zip(names, 2 * np.pi * np.arange(n_bus) / n_bus, strict=True)
            ],
            "branches": [
                {"id": line, "from": a, "to": b, "kind": "line"}
                for line, a, b in zip(lines, names, names[1:] + names[:1], strict=True)
            ],
            "units": [
                {"id": unit, "type": "inverter", "bus": bus, "s_rated_kva": 250.0}
                for unit, bus in zip(units, names, strict=False)
            ],
            "loads": [{"id": "load5", "bus": "5"}],
        },
        "events": [
            {"t_s": 1.0, "kind": "load_step", "target": "5", "outcome": "now 400 kW, 0 kvar"},
            {"t_s": 2.0, "kind": "line_open", "target": "7-6", "outcome": "opened"},
        ],
        "metrics": METRICS,
        "windows": [
            {"start_s": a, "end_s": b, "metrics": {k: METRICS[k] for k in ("f_nadir", "f_settling_time")}}
            for a, b in ((0, 1), (1, 2), (2, 6))
        ],
    }  # fmt: skip
    return FromMemory(Path(), record | changes)


def saved(result, folder, rows=None):
    """The same run in a folder, in segments of at most `rows` rows; returns it opened."""
    streams: dict = {}
    for entity, attribute in result.record["series"]:
        t_s, values = result.series(entity, attribute)
        columns = streams.setdefault(result.stream(entity, attribute), {"t": t_s})
        columns[f"{entity}.{attribute}"] = np.asarray(values, float)
    (folder / "series").mkdir(parents=True)
    for name, columns in streams.items():
        count = len(columns["t"])
        starts = range(0, max(count, 1), rows or max(count, 1))
        for number, start in enumerate(starts):
            part = {key: values[start : start + (rows or count)] for key, values in columns.items()}
            pyarrow.parquet.write_table(pyarrow.table(part), folder / "series" / f"{name}-{number:05}.parquet")
    record = {key: value for key, value in result.record.items() if key not in ("series", "t_s", "kinds")}
    record["entities"] = result.record["kinds"]
    text = json.dumps(record, default=float)
    (folder / "run.json").write_text(re.sub(r"\b(Infinity|NaN)\b", r'"\1"', text), encoding="utf-8")
    return open_run(folder)
