"""From a run's folder to its metrics: reads the series that metrics.py needs."""

from typing import Any

import numpy as np

from gridloop.scenarios.metrics import Real, Series, compute
from gridloop.scenarios.metrics import windows as windows_of
from gridloop.scenarios.result import Metric, Result, Window

COLLAPSE = "voltage_collapse"
DECIMALS = 6  # simulated time has whole microseconds


def measure(result: Result) -> tuple[dict[str, Metric], list[Window]]:
    """Metrics of the whole run and between its events; nothing where no row was recorded."""
    if not result.entities or not sharing(result):
        return {}, []
    series = read(result)
    if not len(series.t_s):
        return {}, []
    scenario_events = np.array([e["t_s"] for e in result.record["scenario"].get("events") or []], float)
    event_s = np.unique(np.round(scenario_events, DECIMALS))
    found = windows_of(series, float(series.t_s[-1]), event_s[event_s <= series.t_s[-1] + 1e-9])
    until = [start for start, _, _ in found[1:]] + [np.inf]  # what ended the run belongs to the last window
    windows = [
        Window(start, end, metrics | _collapses(result, start, before))
        for (start, end, metrics), before in zip(found, until, strict=True)
    ]
    return compute(series) | _collapses(result, 0.0, np.inf), windows


def _collapses(result: Result, start_s: float, end_s: float) -> dict[str, Metric]:
    count = sum(e.kind == COLLAPSE and start_s <= round(e.t_s, DECIMALS) < end_s for e in result.events)
    return {"collapse_count": Metric(float(count), "1", "times that the voltage collapsed")}


def sharing(result: Result) -> list[Any]:
    """The units that the figures of frequency and sharing are about: those that form the grid, else all with f."""
    units = [
        unit for unit in result.record["network"]["units"]
        if unit["id"] in result.entities and "f[Hz]" in result.entities[unit["id"]].attributes
    ]  # fmt: skip
    return [unit for unit in units if unit.get("source", "emf") == "emf"] or units


def read(result: Result) -> Series:
    """The series of a run, cut to the rows that both the grid and the units have."""
    record, drawn = result.record, result.record["network"]
    units = sharing(result)
    ids = [unit["id"] for unit in units]
    t_s, p_load = result.series("grid", "P_load[MW]")
    t_unit = result.series(ids[0], "f[Hz]")[0]
    count = min(len(t_s), len(t_unit))

    def table(names: list[str], attribute: str, otherwise: float | None = None) -> Real:
        """Columns of the entities; of those without the attribute none, or `otherwise`."""
        columns = []
        for name in names:
            if attribute in result.entities[name].attributes:
                columns.append(result.series(name, attribute)[1][:count])
            elif otherwise is not None:
                columns.append(np.full(count, otherwise))
        return np.stack(columns, axis=1) if columns else np.empty((count, 0))

    def total(attribute: str) -> Real:
        return result.series("grid", attribute)[1][:count]

    voltage = table([bus["id"] for bus in drawn["buses"] if bus["id"] in result.entities], "Vm[pu]")
    v_source = table([unit["bus"] for unit in units if unit["bus"] in result.entities], "Vm[pu]")
    return Series(
        t_s=t_s[:count],
        f_hz=np.where(table(ids, "connected[1]") == 1, table(ids, "f[Hz]"), np.nan),
        p_gen_mw=table(ids, "P_gen[MW]"),
        q_gen_mvar=table(ids, "Q_gen[MVar]"),
        p_set_mw=table(ids, "P_set[MW]", np.nan),
        limited=table(ids, "limited[1]", 0.0),
        s_rated_mva=np.array([unit["s_rated_kva"] for unit in units]) / 1e3,
        q_set_mvar=np.array([unit["q_set_kvar"] for unit in units]) / 1e3,
        v_pu=np.where(voltage == 0, np.nan, voltage),
        v_source_pu=np.where(v_source == 0, np.nan, v_source),
        p_fed_mw=total("P_gen[MW]"),
        p_load_mw=p_load[:count],
        p_loss_mw=total("P_loss[MW]"),
        p_unserved_mw=total("P_unserved[MW]"),
        mismatch_mw=total("mismatch[MW]"),
        iterations=total("iterations[1]"),
        f_nom_hz=record["f_nom_hz"],
        s_base_mva=record["s_base_mva"],
        event_s=np.array([event.t_s for event in result.events], float),
    )
