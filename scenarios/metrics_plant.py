"""Figures of the plant over a stretch of a run: fuel, cost, renewable energy, batteries.

What is counted since the start of the run enters with its growth over the stretch.
"""

from collections.abc import Sequence

import numpy as np

from gridloop.scenarios.plant import (
    AVAILABLE,
    CONVERTED,
    FUEL,
    LOST,
    POWER,
    RUNNING,
    SOC,
    TERMINAL,
    UNDERLOAD,
    UNSERVED,
    Plant,
    PlantUnit,
)
from gridloop.scenarios.result import Metric
from gridloop.scenarios.spans import SAME_TIME_S, Stretch

NEGLIGIBLE = 1e-9
KG_CO2_PER_L = 2.65  # of burnt diesel
Figures = dict[str, Metric]


def plant_metrics(plant: Plant, stretch: Stretch, served_mwh: float, unserved_mwh: float) -> Figures:
    """All figures that the plant has.

    Args:
        plant: its units.
        stretch: what of the run counts.
        served_mwh: energy that reached the loads within it.
        unserved_mwh: energy that did not.
    """
    diesels = [unit for unit in plant.units if unit.is_diesel]
    batteries = [unit for unit in plant.units if unit.is_battery]
    arrays = [unit for unit in plant.units if unit.is_pv]
    found = _losses(plant.units, stretch)
    if diesels:
        found |= _diesel(diesels, stretch)
    if batteries:
        found |= _battery(batteries, stretch)
    if arrays:
        found |= _renewable(arrays, stretch, served_mwh)
    if diesels or batteries or plant.p_pcc is not None:
        found["cost"] = _cost(plant, found, stretch, unserved_mwh)
    return found


def _total(units: Sequence[PlantUnit], attribute: str, stretch: Stretch) -> float:
    """Growth of what is counted since the start, of all units that have it."""
    return sum(unit.traces[attribute].change(stretch) for unit in units if attribute in unit.traces)


def _losses(units: Sequence[PlantUnit], stretch: Stretch) -> Figures:
    if not any(attribute in unit.traces for unit in units for attribute in (CONVERTED, LOST)):
        return {}
    lost = _total(units, CONVERTED, stretch) + _total(units, LOST, stretch)
    return {"energy_conversion_losses": Metric(lost, "MWh", "energy lost in converters and batteries")}


def _diesel(units: Sequence[PlantUnit], stretch: Stretch) -> Figures:
    fuel_l = _total(units, FUEL, stretch)
    kwh = 1e3 * sum(unit.traces[POWER].energy_mwh(stretch) for unit in units if POWER in unit.traces)
    starts = sum(starts_of(unit, stretch) for unit in units)
    return {
        "fuel": Metric(fuel_l, "L", "fuel burnt"),
        "fuel_per_kwh": Metric(
            fuel_l / kwh if kwh > 0 else float("nan"), "L_per_kWh", "fuel for each kWh of the diesel sets"
        ),
        "co2": Metric(KG_CO2_PER_L * fuel_l, "kg", "carbon dioxide of the burnt fuel"),
        "diesel_starts": Metric(float(starts), "1", "starts of diesel sets"),
        "diesel_underload": Metric(
            _total(units, UNDERLOAD, stretch), "min", "time of diesel sets below their minimum load"
        ),
    }  # fmt: skip


def _beyond_rounding(value: float, of: float) -> float:
    """0 for what is left of a difference of two equal values of the size `of`."""
    return value if abs(value) > NEGLIGIBLE * of else 0.0


def starts_of(unit: PlantUnit, stretch: Stretch) -> int:
    """How often a set began to run within a stretch; a start at its end belongs to what follows."""
    if RUNNING not in unit.traces:
        return 0
    running = unit.traces[RUNNING]
    began = running.t_s[1:][(running.values[1:] > 0.5) & (running.values[:-1] <= 0.5)]
    until_s = np.inf if stretch.is_last else stretch.end_s
    return int(((began >= stretch.start_s - SAME_TIME_S) & (began < until_s - SAME_TIME_S)).sum())


def _battery(units: Sequence[PlantUnit], stretch: Stretch) -> Figures:
    soc = {unit.id: unit.traces[SOC].at(stretch.end_s) for unit in units}
    found: Figures = {}
    if all(TERMINAL in unit.traces for unit in units):
        moved = sum(unit.traces[TERMINAL].moved(stretch) for unit in units)
        cycles = moved / (2 * sum(unit.e_rated_mwh for unit in units))
        found["battery_throughput"] = Metric(moved, "MWh", "energy into and out of the batteries")
        found["battery_cycles"] = Metric(cycles, "1", "the same in full cycles of their rated energy")
    if any(UNSERVED in unit.traces for unit in units):
        unserved = _beyond_rounding(_total(units, UNSERVED, stretch), sum(unit.e_rated_mwh for unit in units))
        text = "energy that inverters drew and their batteries did not have"
        found["battery_unserved"] = Metric(unserved, "MWh", text)
    if len(units) > 1:
        spread = max(soc.values()) - min(soc.values())
        found["soc_spread_end"] = Metric(spread, "%", "fullest minus emptiest battery at the end")
    text = "state of charge at the end"
    return found | {f"soc_end.{name}": Metric(value, "%", f"{text}, {name}") for name, value in soc.items()}


def _renewable(units: Sequence[PlantUnit], stretch: Stretch, served_mwh: float) -> Figures:
    used = sum(unit.traces[POWER].energy_mwh(stretch) for unit in units if POWER in unit.traces)
    available = sum(unit.traces[AVAILABLE].energy_mwh(stretch) for unit in units)
    curtailment = max(_beyond_rounding(available - used, available), 0.0)
    nan = float("nan")
    return {
        "renewable_share": Metric(
            used / served_mwh if served_mwh > 0 else nan, "1", "PV energy used relative to the energy served"
        ),
        "curtailment": Metric(curtailment, "MWh", "PV energy available and not used"),
        "curtailment_share": Metric(
            curtailment / available if available > 0 else nan, "1", "the same relative to the energy available"
        ),
    }  # fmt: skip


def _cost(plant: Plant, found: Figures, stretch: Stretch, unserved_mwh: float) -> Metric:
    prices = plant.prices

    def amount(key: str) -> float:
        return found[key].value if key in found else 0.0

    bought_mwh = 0.0 if plant.p_pcc is None else plant.p_pcc.energy_mwh(stretch)
    cost = (
        prices.fuel_eur_per_l * amount("fuel")
        + prices.start_eur * amount("diesel_starts")
        + prices.battery_eur_per_mwh * amount("battery_throughput")
        + prices.unserved_eur_per_mwh * unserved_mwh
        + prices.pcc_eur_per_mwh * bought_mwh
    )
    return Metric(cost, "EUR", "operation: fuel, starts, battery wear, unserved energy, public grid")
