"""From a run's folder to its metrics: reads the series that the groups of metrics need."""

from typing import Any, NamedTuple

import numpy as np

from gridloop.scenarios.compare import with_defaults
from gridloop.scenarios.islands import island_numbers
from gridloop.scenarios.ledger import Account, accounts, ledger_metrics, network_account
from gridloop.scenarios.metrics import Series, compute
from gridloop.scenarios.metrics import windows as windows_of
from gridloop.scenarios.metrics_comms import Comms, read_comms, whole_metrics, window_metrics
from gridloop.scenarios.metrics_plant import plant_metrics
from gridloop.scenarios.metrics_response import growth_metrics, is_undisturbed, pilot, pilot_metrics
from gridloop.scenarios.plant import Plant, jump_times, read_plant, read_trace, run_stretch
from gridloop.scenarios.result import Metric, Result, Window
from gridloop.scenarios.spans import Real, Stretch, Trace

COLLAPSE = "voltage_collapse"
GROWTH = ("stable", "growth_rate")  # of a whole run: that after its last event
ROUNDING_MW = 1e-9
DECIMALS = 6  # simulated time has whole microseconds
Figures = dict[str, Metric]


class _Recorded(NamedTuple):
    """What a run recorded, as the groups of metrics need it."""

    result: Result
    series: Series
    plant: Plant
    comms: Comms
    pilot: tuple[Trace, float] | None


def measure(result: Result) -> tuple[Figures, list[Window]]:
    """Metrics of the whole run and between its events; nothing where no row was recorded."""
    if "grid" not in result.entities or not sharing(result):
        return {}, []
    series = read(result)
    if not len(series.t_s):
        return {}, []
    recorded = _Recorded(result, series, read_plant(result), read_comms(result), pilot(result))
    scenario_events = np.array([e["t_s"] for e in result.record["scenario"].get("events") or []], float)
    event_s = np.unique(np.round(scenario_events, DECIMALS))
    end_s = float(series.t_s[-1])
    found = windows_of(series, end_s, event_s[event_s <= end_s + 1e-9])
    windows = [
        _window(recorded, Stretch(start, end, series.event_s, place == len(found) - 1), figures)
        for place, (start, end, figures) in enumerate(found)
    ]
    whole, of_network = Stretch(float(series.t_s[0]), end_s, series.event_s), compute(series)
    figures = of_network | _of_stretch(recorded, whole, of_network) | whole_metrics(recorded.comms, whole)
    figures |= {key: windows[-1].metrics[key] for key in GROWTH if key in windows[-1].metrics}
    return figures | _collapses(result, 0.0, np.inf), windows


def _window(recorded: _Recorded, stretch: Stretch, of_network: Figures) -> Window:
    """Metrics between two events; without a row the number of collapses only."""
    figures = dict(of_network)
    if figures:
        figures |= _of_stretch(recorded, stretch, figures) | window_metrics(recorded.comms, stretch)
        figures |= _growth(recorded, stretch)
    # what ended the run belongs to the last window
    figures |= _collapses(recorded.result, stretch.start_s, np.inf if stretch.is_last else stretch.end_s)
    return Window(stretch.start_s, stretch.end_s, figures)


def _of_stretch(recorded: _Recorded, stretch: Stretch, figures: Figures) -> Figures:
    """Plant, ledger and pilot bus over a stretch, of which `figures` are those of the network."""
    served, unserved = (figures[key].value for key in ("energy_served", "energy_unserved"))
    books = [network_account(figures), *accounts(recorded.plant, stretch)]
    return (
        ledger_metrics(books)
        | plant_metrics(recorded.plant, stretch, served, unserved)
        | pilot_metrics(recorded.pilot, stretch)
    )


def ledger(result: Result) -> list[Account]:
    """The accounts of a whole run, that of the network first; none where its energies are not known."""
    energy = ("energy_sources", "energy_served", "energy_network_losses", "energy_unserved")
    if not all(key in result.metrics for key in energy):
        return []
    return [network_account(result.metrics), *accounts(read_plant(result), run_stretch(result))]


def _growth(recorded: _Recorded, stretch: Stretch) -> Figures:
    if not is_undisturbed(recorded.result.record):
        return {}
    rows = recorded.series.rows(stretch.start_s, None if stretch.is_last else stretch.end_s)
    return growth_metrics(rows.t_s, rows.f_hz)


def _collapses(result: Result, start_s: float, end_s: float) -> Figures:
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

    demand_mw, in_vain_mw = consumers(result, count)
    voltage = table([bus["id"] for bus in drawn["buses"] if bus["id"] in result.entities], "Vm[pu]")
    v_source = table([unit["bus"] for unit in units if unit["bus"] in result.entities], "Vm[pu]")
    # a unit that is tripped or stands still takes part in nothing
    in_service = (table(ids, "connected[1]", 1.0) == 1) & (table(ids, "running[1]", 1.0) == 1)
    return Series(
        t_s=t_s[:count],
        f_hz=np.where(in_service, table(ids, "f[Hz]"), np.nan),
        p_gen_mw=table(ids, "P_gen[MW]"),
        q_gen_mvar=table(ids, "Q_gen[MVar]"),
        p_set_mw=table(ids, "P_set[MW]", np.nan),
        limited=table(ids, "limited[1]", 0.0),
        island=island_numbers(drawn, result.events, [unit["bus"] for unit in units], t_s[:count]),
        s_rated_mva=np.array([unit["s_rated_kva"] for unit in units]) / 1e3,
        q_set_mvar=np.array([unit["q_set_kvar"] for unit in units]) / 1e3,
        v_pu=np.where(voltage == 0, np.nan, voltage),
        v_source_pu=np.where(v_source == 0, np.nan, v_source),
        p_fed_mw=total("P_gen[MW]") + demand_mw,
        p_load_mw=p_load[:count] + demand_mw,
        p_loss_mw=total("P_loss[MW]"),
        p_unserved_mw=total("P_unserved[MW]") + in_vain_mw,
        mismatch_mw=total("mismatch[MW]"),
        iterations=total("iterations[1]"),
        f_nom_hz=record["f_nom_hz"],
        s_base_mva=record["s_base_mva"],
        step_s=float(record["scenario"].get("step_ms") or 0.0) / 1e3,
        event_s=jump_times(result, t_s[:count]),
    )


def consumers(result: Result, count: int) -> tuple[Real, Real]:
    """Power (r,) [MW] that units of type `profile` with `p_load` get, and what they ask for in vain: they are loads."""
    served, in_vain = np.zeros(count), np.zeros(count)
    for name, keys in with_defaults(result.record["scenario"])["units"].items():
        if keys.get("type") != "profile" or "p_load" not in keys:
            continue
        fed, asked = read_trace(result, name, "P_gen[MW]"), read_trace(result, name, "P_set[MW]")
        if fed is not None and len(fed.values) >= count:
            served -= fed.values[:count]
            if asked is not None and len(asked.values) >= count:
                missing = fed.values[:count] - asked.values[:count]
                in_vain += np.where(missing > ROUNDING_MW, missing, 0.0)
    return served, in_vain
