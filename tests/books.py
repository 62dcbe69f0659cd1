"""A made-up run of a battery, a PV array and a diesel set, whose energies the models' own functions have counted."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.simulators.models import battery
from gridloop.simulators.models.conversion import added
from memory_runs import FromMemory

STEP_S = 0.005
T_S = np.arange(4001) * STEP_S  # 20 s
EVENT_S = 8.0
FUEL_IDLE_L_PER_KWH, FUEL_L_PER_KWH = 0.08145, 0.246
AGE_S = np.arange(5) * 1.0
LINKS = {
    "a->b": {"sent": 100.0, "delivered": 90.0, "lost": 8.0, "bytes": 6400.0, "age_mean": 50.0, "age_p95": 60.0,
             "age_max": 200.0},
    "b->a": {"sent": 50.0, "delivered": 50.0, "lost": 0.0, "bytes": 3200.0, "age_mean": 30.0, "age_p95": 70.0,
             "age_max": 80.0},
}  # fmt: skip
SOURCE: dict[str, Any] = {"type": "battery", "e_rated_kwh": 100.0, "soc_init_percent": 60.0}


def after_event(t_s, before, after):
    return np.where(t_s >= EVENT_S - 1e-9, after, before)


def first_order_hold(p):
    """Energy of every interval as devices count it: with the slope of the interval before, none after the event."""
    slope = np.append(0.0, np.diff(p)[:-1]) / STEP_S
    slope[(np.abs(T_S[:-1] - EVENT_S) < 1e-9)] = 0.0
    return p[:-1] * STEP_S + slope * STEP_S**2 / 2


def counted(steps):
    return np.concatenate(([0.0], np.cumsum(steps)))


def converter(p, efficiency=0.97):
    """E_gen, E_ac and loss of a converter on a base of 1 MVA."""
    energies: Any = (np.zeros(1), np.zeros(1), np.zeros(1))
    rows = [energies]
    for ac in first_order_hold(p):
        energies = added(energies, np.array([efficiency]), np.array([ac]))
        rows.append(energies)
    return np.array(rows)[:, :, 0].T


def pack(e_gen_mwh, every=20):
    """What a battery shows that steps every 100 ms."""
    params = battery.Params(**{key: value for key, value in SOURCE.items() if key != "type"})
    state = battery.initial(params, None, None)
    rows = [battery.respond(params, state, battery.held(params))]
    for row in range(every, len(T_S), every):
        inputs = battery.Inputs(e_gen_mwh[[row]])
        state = battery.advance(params, state, inputs, battery.Slopes(), every * STEP_S)
        rows.append(battery.respond(params, state, inputs))
    names = {
        "SoC[%]": "soc", "E_loss[MWh]": "loss_mwh", "E_chemical[MWh]": "chemical_mwh",
        "P_max[MW]": "p_max_mw", "P_min[MW]": "p_min_mw",
        "E_terminal[MWh]": "terminal_mwh", "E_unserved[MWh]": "unserved_mwh", "E_polarisation[MWh]": "polarisation_mwh",
    }  # fmt: skip
    shown = {name: np.array([getattr(row, field)[0] for row in rows]) for name, field in names.items()}
    shown["SoC[%]"] *= 100
    return {name: (T_S[::every], values) for name, values in shown.items()}


@cache
def recorded():
    """Series by entity and attribute.

    A 100 kWh battery that charges and discharges, 50 kW of PV of which 60 kW are available before the event, and a
    diesel set that is started by it.
    """
    p_battery = 0.08 * np.sin(2 * np.pi * T_S / 7) + after_event(T_S, 0.03, -0.04)
    p_pv, p_available = np.full(len(T_S), 0.05), after_event(T_S, 0.06, 0.05)
    p_diesel = after_event(T_S, 0.0, 0.1 + 0.01 * np.sin(T_S))
    running = p_diesel > 0
    p_fed = p_battery + p_pv + p_diesel
    p_loss = 0.01 * np.abs(p_fed)
    fuel_ml = FUEL_IDLE_L_PER_KWH * 200 * running[:-1] * STEP_S + FUEL_L_PER_KWH * 1e3 * first_order_hold(p_diesel)
    units = {
        "batt1": {"P_gen[MW]": p_battery, **pack(converter(p_battery)[0])},
        "pv1": {"P_gen[MW]": p_pv, "P_avail[MW]": p_available},
        "dg1": {
            "P_gen[MW]": p_diesel, "fuel[L]": counted(fuel_ml) / 3600, "running[1]": running.astype(float),
            "underload[min]": counted(running[:-1] * STEP_S / 60),
        },
    }  # fmt: skip
    for name in ("batt1", "pv1"):
        books = converter(units[name]["P_gen[MW]"])
        units[name] |= dict(zip(("E_gen[MWh]", "E_ac[MWh]", "E_conversion_loss[MWh]"), books, strict=True))
    for unit in units.values():
        one, zero = np.ones(len(T_S)), np.zeros(len(T_S))
        unit |= {"connected[1]": one, "f[Hz]": 50 * one, "Q_gen[MVar]": zero, "P_set[MW]": zero}
    totals = {
        "P_gen[MW]": p_fed, "P_load[MW]": p_fed - p_loss, "P_loss[MW]": p_loss, "P_unserved[MW]": 0 * p_fed,
        "mismatch[MW]": 0 * p_fed, "iterations[1]": 0 * p_fed + 1,
    }  # fmt: skip
    series = {(name, key): values for name, unit in units.items() for key, values in unit.items()}
    series |= {("grid", key): values for key, values in totals.items()}
    return series | {(bus, "Vm[pu]"): np.full(len(T_S), 1.0) for bus in "123"}


def run_in_memory(**changes):
    """The whole run; `changes` replace keys of its record."""
    keys = {"batt1": {"type": "inverter", "source": SOURCE}, "pv1": {"type": "inverter", "source": {"type": "pv"}}}
    record = {
        "status": "done", "message": "", "t_s": T_S, "series": dict(recorded()), "f_nom_hz": 50.0, "s_base_mva": 1.0,
        "kinds": dict.fromkeys(("batt1", "pv1", "dg1"), "unit") | dict.fromkeys("123", "bus") | {"grid": "grid"},
        "scenario": {
            "name": "books", "title": "Books", "mode": "rms", "step_ms": 5, "until_s": 20,
            "units": {**keys, "dg1": {"type": "diesel"}}, "events": [{"t_s": EVENT_S, "do": "unit_start"}],
        },
        "network": {
            "buses": [{"id": bus, "x": i, "y": 0.0, "v_kv": 0.4} for i, bus in enumerate("123")],
            "branches": [
                {"id": f"{a}-{b}", "from": a, "to": b, "kind": "line", "closed": True} for a, b in ("12", "23")
            ],
            "units": [
                {"id": name, "type": "inverter", "bus": bus, "s_rated_kva": 200.0, "q_set_kvar": 0.0, "source": source}
                for name, bus, source in (("batt1", "1", "emf"), ("pv1", "2", "power"), ("dg1", "3", "emf"))
            ],
            "pcc": [], "loads": [],
        },
        "events": [{"t_s": EVENT_S, "kind": "unit_start", "target": "dg1", "outcome": "connected"}],
        "metrics": {}, "windows": [], "wall": {}, "entities": {},
    }  # fmt: skip
    return FromMemory(Path(), record | changes)


def with_links(**changes):
    """The same with two links and two agents."""
    result = run_in_memory(link_statistics=LINKS, **changes)
    result.record["kinds"] |= dict.fromkeys(LINKS, "link")
    result.record["series"] |= {
        ("a->b", "age[ms]"): (AGE_S, np.array([np.nan, 40.0, 60.0, 50.0, 90.0])),
        ("a->b", "lost[1]"): (AGE_S, np.array([0.0, 1.0, 1.0, 4.0, 8.0])),
        ("b->a", "age[ms]"): (AGE_S, np.array([np.nan, np.nan, 20.0, 20.0, 20.0])),
        ("b->a", "lost[1]"): (AGE_S, np.zeros(5)),
        ("batt1", "Omega[Hz]"): np.linspace(0, 0.2, len(T_S)),
        ("dg1", "Omega[Hz]"): np.linspace(0, 0.1, len(T_S)),
    }
    return result
