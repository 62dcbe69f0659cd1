"""The energy ledger, device by device: what each device got, gave, lost and kept, and what its books do not explain.

The network's sum alone is Kirchhoff's law and finds no error of a device. So every account holds two books of
different origin against each other:
- network: sources = served + losses, from the solved network.
- converter: E_gen = E_ac + E_conversion_loss, three integrals of its own; E_ac and the loss against the power that the
  network solved at its terminal.
- battery: E_chemical = E_terminal + E_loss + E_polarisation; E_chemical against what the state of charge says; and
  E_terminal + E_unserved against E_gen that its converter counts in another simulator. Energy may go unserved only at
  an end of the window of the state of charge, or beyond the power that the battery told its converter.
- diesel set: fuel against the power that the network solved at its terminal and the set's fuel curve.
No device may win energy by losing a negative amount.

An interval's integral of a solved power is known only up to the rule of integration: its start held, its end held,
their mean, or its start with the slope of the interval before. What lies between the least and the greatest of these
is explained. That needs rows at every step; with fewer of them this comparison is left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gridloop.scenarios.plant import (
    CHEMICAL,
    CONVERTED,
    DRAWN,
    FED,
    FUEL,
    LEAST,
    LOST,
    MOST,
    POLARISATION,
    POWER,
    SOC,
    TERMINAL,
    UNSERVED,
    Plant,
    PlantUnit,
)
from gridloop.scenarios.result import Metric
from gridloop.scenarios.sources import SOURCE_STEP_MS
from gridloop.scenarios.spans import HOUR_S, SAME_TIME_S, Real, Stretch, Trace
from gridloop.simulators.models import battery, coulomb_battery, diesel_parameters, inverter

MWH_PER_L = 9.84e-3  # lower heating value of diesel
IDLE_SHARE = 1e-3  # a device that moves less than at this share of its rating is judged as if it moved that much
LEAST_MWH = 1e-12
SAME_SOC = 1e-9
NETWORK = "network"


@dataclass(frozen=True)
class Account:
    """One device's books over a stretch [MWh].

    Args:
        device: id of the unit, or NETWORK.
        kind: network, converter, battery or diesel set.
        entries: what it got (> 0) and gave, lost or kept (< 0), by whom or what; their sum is 0.
        unexplained_mwh: the largest contradiction between its books.
        moved_mwh: energy that it moved, to which the residual is relative.
        unserved_mwh: what was asked of it in vain.
    """

    device: str
    kind: str
    entries: Mapping[str, float]
    unexplained_mwh: float
    moved_mwh: float
    unserved_mwh: float = 0.0

    @property
    def residual(self) -> float:
        """What is not explained, relative to what was moved."""
        return self.unexplained_mwh / self.moved_mwh if self.moved_mwh > 0 else float(self.unexplained_mwh > 0)


def accounts(plant: Plant, stretch: Stretch) -> list[Account]:
    """Accounts of all devices that keep books."""
    found = []
    for unit in plant.units:
        if unit.is_converter:
            found.append(_converter(unit, stretch, plant.step_s))
        if unit.is_battery and {CHEMICAL, TERMINAL, LOST} <= unit.traces.keys():
            found.append(_battery(unit, stretch, plant.step_s))
        if unit.is_diesel and POWER in unit.traces:
            found.append(_diesel(unit, stretch, plant.step_s))
    return found


def network_account(energy: Mapping[str, Metric]) -> Account:
    """The network's account from its figures of energy."""
    sources, served, losses, unserved = (
        energy[key].value for key in ("energy_sources", "energy_served", "energy_network_losses", "energy_unserved")
    )
    entries = {"sources": sources, "loads": -served, "losses": -losses}
    moved = max(abs(sources), abs(served), LEAST_MWH)
    return Account(NETWORK, "network", entries, abs(sources - served - losses), moved, unserved)


def ledger_metrics(found: Iterable[Account]) -> dict[str, Metric]:
    """The largest residual, and that of each unit, whose accounts may be several."""
    units: dict[str, float] = {}
    for account in found:
        units[account.device] = max(units.get(account.device, 0.0), float(account.residual))
    text = "energy that the books do not explain, relative"
    largest = Metric(max(units.values(), default=0.0), "1", f"{text}, largest of all devices")
    single = {f"energy_residual.{unit}": Metric(value, "1", f"{text}, {unit}") for unit, value in units.items()}
    return {"energy_residual": largest} | single


def _converter(unit: PlantUnit, stretch: Stretch, step_s: float) -> Account:
    traces = unit.traces
    drawn, fed, lost = (traces[key].change(stretch) for key in (DRAWN, FED, CONVERTED))
    beyond = [abs(drawn - fed - lost), falls(traces[CONVERTED], stretch)]
    if POWER in traces:
        efficiency = float(unit.keys.get("efficiency_percent", inverter.Params.efficiency_percent)) / 100
        rates = {
            FED: lambda p: p / HOUR_S,
            CONVERTED: lambda p: np.maximum(p / efficiency - p, p * efficiency - p) / HOUR_S,
        }
        beyond += [outside(traces[key], traces[POWER], stretch, step_s, rate) for key, rate in rates.items()]
    entries = {"source": drawn, "network": -fed, "losses": -lost}
    return Account(unit.id, "converter", entries, max(beyond), _moved(unit, traces[FED], stretch))


def _battery(unit: PlantUnit, stretch: Stretch, step_s: float) -> Account:
    traces = unit.traces
    chemical, terminal, lost = (traces[key].change(stretch) for key in (CHEMICAL, TERMINAL, LOST))
    polarisation = traces[POLARISATION].change(stretch) if POLARISATION in traces else 0.0
    beyond = [abs(chemical - terminal - lost - polarisation), falls(traces[LOST], stretch)]
    pack = pack_of(unit)
    if pack is not None:
        start, *_, end = traces[SOC].edges(stretch).values / 100
        beyond.append(abs(stored_mwh(pack, start, end) - chemical))
        beyond.append(refused_mwh(unit, pack, stretch, step_s))
    unserved = traces[UNSERVED].change(stretch) if UNSERVED in traces else 0.0
    if UNSERVED in traces and DRAWN in traces:
        beyond.append(_between_simulators(unit, stretch))
    entries = {"cells": chemical, "converter": -terminal, "losses": -lost}
    if POLARISATION in traces:
        entries["polarisation"] = -polarisation
    return Account(unit.id, "battery", entries, max(beyond), _moved(unit, traces[TERMINAL], stretch), unserved)


def _between_simulators(unit: PlantUnit, stretch: Stretch) -> float:
    """What the converter drew and the battery neither gave nor refused, from first to last row that both have."""
    terminal, unserved, drawn = (unit.traces[key] for key in (TERMINAL, UNSERVED, DRAWN))
    t_s, of_battery, of_converter = shared_rows(terminal, drawn)
    gap = drawn.values[of_converter] - terminal.values[of_battery] - unserved.values[of_battery]
    inside = gap[within(t_s, stretch)]
    return float(abs(inside[-1] - inside[0])) if len(inside) else 0.0


def _diesel(unit: PlantUnit, stretch: Stretch, step_s: float) -> Account:
    burnt = MWH_PER_L * unit.traces[FUEL].change(stretch)
    electric = unit.traces[POWER].energy_mwh(stretch)
    idle, slope = (
        float(unit.keys.get(key, getattr(diesel_parameters.Params, key)))
        for key in ("fuel_idle_l_per_kwh", "fuel_l_per_kwh")
    )

    def litres_per_s(p_mw: Real) -> Real:
        running = np.where(p_mw == 0, 0.0, idle * unit.rated_mva)
        return (running + slope * np.maximum(p_mw, 0)) * 1e3 / HOUR_S

    beyond = MWH_PER_L * outside(unit.traces[FUEL], unit.traces[POWER], stretch, step_s, litres_per_s)
    entries = {"fuel": burnt, "network": -electric, "heat": electric - burnt}
    return Account(unit.id, "diesel set", entries, beyond, max(burnt, abs(electric), LEAST_MWH))


def _moved(unit: PlantUnit, counted: Trace, stretch: Stretch) -> float:
    """Energy that passed a device in either direction; what hardly moves is measured against its rating."""
    return max(counted.moved(stretch), IDLE_SHARE * unit.rated_mva * stretch.length_s / HOUR_S, LEAST_MWH)


def falls(counted: Trace, stretch: Stretch) -> float:
    """By how much something that can only grow became less."""
    return float(np.maximum(-np.diff(counted.edges(stretch).values), 0).sum())


def outside(
    counted: Trace, power: Trace, stretch: Stretch, step_s: float, rate: Callable[[Real], Real]
) -> float:  # fmt: skip
    """What `counted` grew, interval by interval, beyond every rule of integrating `rate(power)`.

    Args:
        counted: quantity counted since the start.
        power: solved power [MW]; at an event's time that after it.
        stretch: what of the run counts.
        step_s: macro step [s]; where rows are farther apart nothing can be said, which is 0.
        rate: growth of the quantity per second at a power (r,).
    """
    t_s, of_counted, of_power = shared_rows(counted, power)
    if len(t_s) < 2 or np.diff(t_s).max() > step_s * (1 + 1e-6):
        return 0.0
    dt_s, p_mw, grown = np.diff(t_s), power.values[of_power], np.diff(counted.values[of_counted])
    slope = np.append(0.0, np.diff(p_mw)[:-1] / dt_s[:-1])
    start, end = p_mw[:-1], p_mw[1:]
    rules = np.stack([rate(p) for p in (start, end, (start + end) / 2, start + slope * dt_s / 2)]) * dt_s
    beyond = np.maximum(grown - rules.max(axis=0), 0) + np.maximum(rules.min(axis=0) - grown, 0)
    counts = within(t_s, stretch)
    return float(beyond[counts[:-1] & counts[1:]].sum())


def shared_rows(one: Trace, other: Trace) -> tuple[Real, NDArray[np.intp], NDArray[np.intp]]:
    """Times at which both have a row, and the rows of each."""
    if np.array_equal(one.t_s, other.t_s):
        rows = np.arange(len(one.t_s))
        return one.t_s, rows, rows
    return np.intersect1d(np.round(one.t_s, 6), np.round(other.t_s, 6), return_indices=True)


def within(t_s: Real, stretch: Stretch) -> NDArray[np.bool_]:
    """Which times belong to a stretch, its ends included."""
    return (t_s >= stretch.start_s - SAME_TIME_S) & (t_s <= stretch.end_s + SAME_TIME_S)


Pack = battery.Params | coulomb_battery.Params


def pack_of(unit: PlantUnit) -> Pack | None:
    """Parameters of a unit's battery, from its keys; None if they do not tell its size."""
    keys = {key: value for key, value in unit.source.items() if value is not None}
    kind = battery.Params if keys.get("model", "circuit") == "circuit" else coulomb_battery.Params
    known = {key: keys[key] for key in (field.name for field in fields(kind)) if key in keys}
    return kind(**known) if "e_rated_kwh" in known else None


def stored_mwh(pack: Pack, start: float, end: float) -> float:
    """Energy at open circuit from one state of charge (0..1) down to another."""
    if isinstance(pack, coulomb_battery.Params):
        return float(pack.e_rated_mwh[0]) * (start - end)
    mwh_per_v = float((pack.charge_as * pack.cells_in_series)[0]) / battery.WS_PER_MWH
    return mwh_per_v * float(pack.cell.mean(np.array([start]), np.array([end]))[0]) * (start - end)


def refused_mwh(unit: PlantUnit, pack: Pack, stretch: Stretch, step_s: float) -> float:
    """What a battery did not serve though it could: inside its window, within the power that it had told.

    Rows farther apart than its steps do not say when that was, which is 0.
    """
    needed = (TERMINAL, UNSERVED, MOST, LEAST)
    if not unit.traces.keys() >= set(needed):
        return 0.0
    t_s = unit.traces[SOC].t_s
    counts = within(t_s, stretch)
    if counts.sum() < 2 or np.diff(t_s).max() > max(step_s, SOURCE_STEP_MS * 1e-3) * (1 + 1e-6):
        return 0.0
    terminal, unserved, most, least = (unit.traces[key].values for key in needed)
    refused, soc = np.diff(unserved), unit.traces[SOC].values[1:] / 100
    asked_mw = (np.diff(terminal) + refused) / np.diff(t_s) * HOUR_S
    low, high = (float(end[0]) for end in pack.soc_window)
    allowed = (soc <= low + SAME_SOC) | (soc >= high - SAME_SOC) | (asked_mw > most[:-1]) | (asked_mw < least[:-1])
    return float(np.abs(refused[~allowed & counts[:-1] & counts[1:]]).sum())
