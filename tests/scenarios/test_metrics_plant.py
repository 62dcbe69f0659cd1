"""Figures of fuel, cost, PV and batteries: series made by hand with calculations by hand."""

import numpy as np
import pytest

from books import EVENT_S, FUEL_IDLE_L_PER_KWH, FUEL_L_PER_KWH, T_S, run_in_memory
from gridloop.scenarios.measure import measure
from gridloop.scenarios.metrics_plant import plant_metrics
from gridloop.scenarios.plant import Plant, PlantUnit, read_plant
from gridloop.scenarios.prices import Prices
from gridloop.scenarios.spans import Stretch, Trace

HOUR = 3600.0
NO_EVENTS = np.array([])
WHOLE = Stretch(0.0, 4 * HOUR, NO_EVENTS)
HOURS_S = np.arange(5) * HOUR


def unit(name, keys=None, **series):
    """A unit of 100 kVA with values at whole hours."""
    names = {
        "p": "P_gen[MW]", "fuel": "fuel[L]", "underload": "underload[min]", "running": "running[1]", "soc": "SoC[%]",
        "available": "P_avail[MW]", "terminal": "E_terminal[MWh]", "unserved": "E_unserved[MWh]",
        "lost": "E_loss[MWh]", "converted": "E_conversion_loss[MWh]",
    }  # fmt: skip
    traces = {names[key]: Trace(HOURS_S, np.array(values, float)) for key, values in series.items()}
    return PlantUnit(name, traces, 0.1, keys or {})


def values(*units, stretch=WHOLE, served=1.0, unserved=0.0, **more):
    found = plant_metrics(Plant(units, **more), stretch, served, unserved)
    return {key: metric.value for key, metric in found.items()}


DIESEL = unit(
    "dg", p=[0, 0.06, 0.06, 0, 0.06], fuel=[0, 0, 20, 40, 40], underload=[0, 0, 1, 3, 3], running=[0, 1, 1, 0, 1]
)  # fmt: skip


def test_fuel_and_starts():
    found = values(DIESEL, unit("dg2", p=[0.05] * 5, fuel=[7, 8, 9, 10, 11], running=[1] * 5))
    assert found["fuel"] == 40 + 4
    # trapezoids of the first set: 30 + 60 + 30 + 30 kWh; 200 of the second
    assert found["fuel_per_kwh"] == pytest.approx(44 / 350)
    assert found["co2"] == pytest.approx(2.65 * 44)
    assert found["diesel_starts"] == 2
    assert found["diesel_underload"] == 3


def test_a_set_that_gave_nothing_has_no_specific_fuel():
    assert np.isnan(values(unit("dg", p=[0] * 5, fuel=[0] * 5, running=[0] * 5))["fuel_per_kwh"])


def test_counters_and_starts_belong_to_the_window_in_which_they_happen():
    first, second = (values(DIESEL, stretch=Stretch(a * HOUR, b * HOUR, NO_EVENTS, last))
                     for a, b, last in ((0, 1.5, False), (1.5, 4, True)))  # fmt: skip
    assert (first["fuel"], second["fuel"]) == (10, 30)  # half of the second hour's 20 L
    assert (first["diesel_starts"], second["diesel_starts"]) == (1, 1)
    # a start at the end of a window is the next one's
    assert values(DIESEL, stretch=Stretch(0.0, HOUR, NO_EVENTS, False))["diesel_starts"] == 0
    assert values(DIESEL, stretch=Stretch(HOUR, 2 * HOUR, NO_EVENTS, False))["diesel_starts"] == 1


BATTERY = unit(
    "b1", {"source": {"e_rated_kwh": 100}}, soc=[50, 60, 55, 40, 45], terminal=[0, -0.01, -0.005, 0.01, 0.005],
    lost=[0, 0.001, 0.002, 0.003, 0.004], converted=[0, 0, 0, 0, 0.001], unserved=[0, 0, 0, 0, 0.002],
)  # fmt: skip


def test_battery():
    other = unit("b2", {"source": {"e_rated_kwh": 300}}, soc=[50] * 5, terminal=[0] * 5)
    found = values(BATTERY, other)
    assert found["battery_throughput"] == pytest.approx(0.01 + 0.005 + 0.015 + 0.005)
    assert found["battery_cycles"] == pytest.approx(0.035 / (2 * 0.4))
    assert (found["soc_end.b1"], found["soc_end.b2"]) == (45, 50)
    assert found["soc_spread_end"] == 5
    assert found["battery_unserved"] == 0.002
    assert found["energy_conversion_losses"] == pytest.approx(0.005)


def test_one_battery_has_no_spread():
    assert "soc_spread_end" not in values(BATTERY)


def test_photovoltaics():
    # 0.1 MW available for 4 h, 0.075 used in the mean: 0, 0.1, 0.1, 0.1, 0 -> 0.3 MWh
    found = values(unit("pv", p=[0, 0.1, 0.1, 0.1, 0], available=[0.1] * 5), served=0.6)
    assert found["renewable_share"] == pytest.approx(0.3 / 0.6)
    assert found["curtailment"] == pytest.approx(0.1)
    assert found["curtailment_share"] == pytest.approx(0.25)


def test_a_night_has_no_share():
    found = values(unit("pv", p=[0] * 5, available=[0] * 5), served=0.0)
    assert np.isnan(found["renewable_share"]) and np.isnan(found["curtailment_share"])
    assert found["curtailment"] == 0


def test_cost():
    prices = Prices(2.0, 10.0, 100.0, 1000.0, 50.0)
    pcc = Trace(HOURS_S, np.full(5, 0.2))  # 0.8 MWh bought
    found = values(DIESEL, BATTERY, unserved=0.3, prices=prices, p_pcc=pcc)
    assert found["cost"] == pytest.approx(2 * 40 + 10 * 2 + 100 * 0.035 + 1000 * 0.3 + 50 * 0.8)


def test_selling_earns_what_buying_costs():
    pcc = Trace(HOURS_S, np.full(5, -0.2))
    assert values(p_pcc=pcc, prices=Prices(pcc_eur_per_mwh=50.0)) == {"cost": pytest.approx(-40.0)}


def test_prices_of_a_scenario_replace_the_assumptions():
    given = Prices.of({"prices": {"fuel_eur_per_l": 3, "start_eur": None}})
    assert given == Prices(fuel_eur_per_l=3.0)
    assert Prices.of({}) == Prices()


def test_what_is_not_there_has_no_figures():
    assert values(unit("inv", p=[0.1] * 5)) == {}
    assert set(values(unit("pv", p=[0.1] * 5, available=[0.1] * 5))) == {
        "renewable_share", "curtailment", "curtailment_share",
    }  # fmt: skip


def test_a_jump_at_an_event_is_no_ramp():
    # 0.1 MW until 2 h, then nothing: 0.2 MWh, not 0.25 of the trapezoid
    stretch = Stretch(0.0, 4 * HOUR, np.array([2 * HOUR]))
    found = values(unit("pv", p=[0.1, 0.1, 0, 0, 0], available=[0.1] * 5), stretch=stretch)
    assert found["curtailment"] == pytest.approx(0.4 - 0.2)


# --- a made-up run ---


def test_figures_of_a_run_and_its_windows():
    result = run_in_memory()
    whole, (before, after) = measure(result)
    power = result.record["series"]["dg1", "P_gen[MW]"]
    kwh = np.trapezoid(power[1600:], result.record["t_s"][1600:]) / 3.6
    fuel_l = FUEL_IDLE_L_PER_KWH * 200 * 12 / 3600 + FUEL_L_PER_KWH * kwh
    assert whole["fuel"].value == pytest.approx(fuel_l, rel=1e-5)
    assert (before.metrics["fuel"].value, after.metrics["fuel"].value) == (0, whole["fuel"].value)
    assert whole["diesel_starts"].value == after.metrics["diesel_starts"].value == 1
    assert before.metrics["diesel_starts"].value == 0
    assert whole["curtailment"].value == pytest.approx(0.01 * EVENT_S / 3600)
    assert after.metrics["curtailment"].value == pytest.approx(0, abs=1e-12)
    assert before.metrics["curtailment_share"].value == pytest.approx(1 / 6)
    served = whole["energy_served"].value
    assert whole["renewable_share"].value == pytest.approx(0.05 * 20 / 3600 / served)
    for key in ("fuel", "curtailment", "energy_conversion_losses", "battery_throughput", "cost"):
        parts = before.metrics[key].value + after.metrics[key].value
        assert parts == pytest.approx(whole[key].value, rel=1e-9)
    assert after.metrics["soc_end.batt1"].value == whole["soc_end.batt1"].value
    assert set(before.metrics) == set(after.metrics) == set(whole)


def test_keys_of_defaults_count():
    result = run_in_memory()
    result.record["scenario"]["defaults"] = {"diesel": {"fuel_l_per_kwh": 0.3}}
    units = {one.id: one for one in read_plant(result).units}
    assert units["dg1"].keys["fuel_l_per_kwh"] == 0.3
    # the run did not burn that much: its books no longer close
    assert measure(result)[0]["energy_residual.dg1"].value > 0.01


def test_a_settled_step_is_held():
    # in steady mode the power of a row holds up to the next one
    result = run_in_memory()
    result.record["scenario"]["mode"] = "steady"
    whole, _ = measure(result)
    power = result.record["series"]["grid", "P_load[MW]"]
    assert whole["energy_served"].value == pytest.approx(power[:-1].sum() * 0.005 / 3600, rel=1e-12)


def test_a_profile_that_consumes_is_a_load():
    result = run_in_memory()
    result.record["scenario"]["units"]["house"] = {"type": "profile", "p_load": 20}
    result.record["kinds"]["house"] = "unit"
    before = measure(result)[0]
    ten_s = T_S < 10  # then its bus is dead
    result.record["series"] |= {
        ("house", "P_gen[MW]"): np.where(ten_s, -0.02, 0.0), ("house", "P_set[MW]"): np.full(len(T_S), -0.02),
    }  # fmt: skip
    result.record["events"].append({"t_s": 10.0, "kind": "de_energised", "target": "3", "outcome": ""})
    after = measure(run_in_memory(**result.record))[0]
    for key, mwh in (("energy_served", 0.02), ("energy_sources", 0.02), ("energy_unserved", 0.02)):
        assert after[key].value - before[key].value == pytest.approx(mwh * 10 / 3600, rel=1e-3)
