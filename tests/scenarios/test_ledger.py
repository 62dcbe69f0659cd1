"""The ledger closes device by device, and an error in the books of any device shows."""

import numpy as np
import pytest

from books import EVENT_S, T_S, run_in_memory
from gridloop.scenarios.ledger import falls, outside, pack_of, refused_mwh
from gridloop.scenarios.measure import ledger, measure
from gridloop.scenarios.plant import read_plant
from gridloop.scenarios.result import Metric
from gridloop.scenarios.spans import Stretch, Trace

TOLERANCE = 1e-6


def residuals(result):
    metrics, _ = measure(result)
    return {key: metric.value for key, metric in metrics.items() if key.startswith("energy_residual")}


def test_the_books_of_every_device_close():
    found = residuals(run_in_memory())
    assert set(found) == {
        "energy_residual", "energy_residual.network", "energy_residual.batt1", "energy_residual.pv1",
        "energy_residual.dg1",
    }  # fmt: skip
    assert max(found.values()) < 1e-9
    assert found["energy_residual"] == max(found.values())


def test_the_books_close_between_events():
    _, windows = measure(run_in_memory())
    assert len(windows) == 2
    for window in windows:
        assert window.metrics["energy_residual"].value < TOLERANCE


def lost_interval(values):
    """One of the intervals is not counted."""
    grown = np.diff(values)
    grown[int(0.7 * len(grown))] = 0.0
    return np.concatenate((values[:1], values[0] + np.cumsum(grown)))


BOOKS = [
    ("batt1", key) for key in (
        "E_gen[MWh]", "E_ac[MWh]", "E_conversion_loss[MWh]", "E_chemical[MWh]", "E_terminal[MWh]", "E_loss[MWh]",
    )
] + [("pv1", "E_gen[MWh]"), ("pv1", "E_ac[MWh]"), ("pv1", "E_conversion_loss[MWh]"), ("dg1", "fuel[L]")]  # fmt: skip


def with_series(changes):
    result = run_in_memory()
    for key, change in changes.items():
        given = result.record["series"][key]
        result.record["series"][key] = (given[0], change(given[1])) if isinstance(given, tuple) else change(given)
    return result


@pytest.mark.parametrize("change", [np.negative, lost_interval], ids=["wrong sign", "lost interval"])
@pytest.mark.parametrize(("unit", "book"), BOOKS)
def test_an_error_in_one_book_shows(unit, book, change):
    found = residuals(with_series({(unit, book): change}))
    assert found[f"energy_residual.{unit}"] > TOLERANCE
    assert found["energy_residual"] == found[f"energy_residual.{unit}"]


@pytest.mark.parametrize("unit", ["batt1", "pv1"])
@pytest.mark.parametrize("change", [np.negative, lost_interval], ids=["wrong sign", "lost interval"])
def test_an_error_in_all_books_of_a_converter_shows(unit, change):
    # they agree with each other, the battery has been asked for the same: only the network knows
    books = ("E_gen[MWh]", "E_ac[MWh]", "E_conversion_loss[MWh]")
    assert residuals(with_series({(unit, book): change for book in books}))["energy_residual"] > TOLERANCE


def test_a_converter_that_turns_charging_into_discharging_shows():
    # drawn and lost fit together, but a charging battery would be discharged
    result = run_in_memory()
    series = result.record["series"]
    fed = series["batt1", "E_ac[MWh]"]
    series["batt1", "E_gen[MWh]"] = -fed
    series["batt1", "E_conversion_loss[MWh]"] = -2 * fed
    assert residuals(result)["energy_residual.batt1"] > TOLERANCE


def test_a_state_of_charge_that_moves_the_wrong_way_shows():
    assert residuals(with_series({("batt1", "SoC[%]"): lambda soc: 2 * soc[0] - soc}))["energy_residual"] > TOLERANCE


def test_a_battery_that_does_not_serve_what_it_could_shows():
    # it took nothing for a tenth of a second and calls that unserved, so that all its sums agree
    result = run_in_memory()
    series = result.record["series"]
    t_s, terminal = series["batt1", "E_terminal[MWh]"]
    missing = np.where(np.arange(len(t_s)) > 50, terminal[51] - terminal[50], 0.0)
    for book, sign in (("E_terminal[MWh]", -1), ("E_chemical[MWh]", -1), ("E_unserved[MWh]", 1)):
        series["batt1", book] = t_s, series["batt1", book][1] + sign * missing
    assert residuals(result)["energy_residual.batt1"] > TOLERANCE
    # no more is told than was drawn before: then it may
    series["batt1", "P_max[MW]"] = t_s, np.zeros(len(t_s))
    series["batt1", "P_min[MW]"] = t_s, np.zeros(len(t_s))
    pack = pack_of(next(unit for unit in read_plant(result).units if unit.id == "batt1"))
    assert pack is not None
    assert refused_mwh(read_plant(result).units[0], pack, Stretch(0.0, 20.0, np.array([])), 0.005) < 1e-12


def test_a_network_that_loses_power_shows():
    found = residuals(with_series({("grid", "P_loss[MW]"): lambda loss: 0.5 * loss}))
    assert found["energy_residual"] == found["energy_residual.network"] > TOLERANCE


def test_energy_that_the_battery_did_not_have_is_named():
    more = {("batt1", "E_terminal[MWh]"): lambda e: 0.9 * e}
    result = with_series(more)
    # a tenth of what the inverter drew is not served, so neither do the cells give it
    series = result.record["series"]
    t_s, terminal = series["batt1", "E_terminal[MWh]"]
    series["batt1", "E_unserved[MWh]"] = (t_s, terminal / 9)
    metrics, _ = measure(result)
    result.record["metrics"] = {key: metric.to_json() for key, metric in metrics.items()}
    (account,) = [a for a in ledger(result) if a.kind == "battery"]
    assert account.unserved_mwh == pytest.approx(terminal[-1] / 9)
    assert metrics["battery_unserved"].value == pytest.approx(terminal[-1] / 9)


def test_the_entries_of_every_account_add_up():
    result = run_in_memory()
    result.record["metrics"] = {key: metric.to_json() for key, metric in measure(result)[0].items()}
    found = {(account.device, account.kind): account for account in ledger(result)}
    assert list(found) == [
        ("network", "network"), ("batt1", "converter"), ("batt1", "battery"), ("pv1", "converter"),
        ("dg1", "diesel set"),
    ]  # fmt: skip
    for account in found.values():
        assert sum(account.entries.values()) == pytest.approx(0, abs=1e-12)
    drawn = found["batt1", "converter"].entries["source"]
    assert found["batt1", "battery"].entries["converter"] == pytest.approx(-drawn, rel=1e-9)


def test_a_ledger_needs_the_energies_of_the_network():
    assert ledger(run_in_memory(metrics={"f_end": Metric(50.0, "Hz", "").to_json()})) == []


WHOLE = Stretch(0.0, 2.0, np.array([]))


def test_what_no_rule_of_integration_explains():
    # 1, 2, 2 MW: between held start and held end anything from 1 to 2 and just 2 is explained
    power = Trace(np.arange(3.0), np.array([1.0, 2.0, 2.0]))

    def beyond(*grown):
        return outside(Trace(np.arange(3.0), counted(grown)), power, WHOLE, 1.0, lambda p: p)

    def counted(grown):
        return np.concatenate(([0.0], np.cumsum(grown)))

    assert beyond(1.0, 2.0) == beyond(1.5, 2.0) == beyond(2.0, 2.0) == 0
    assert beyond(1.0, 2.5) == 0  # with the slope of the interval before
    assert beyond(0.9, 2.0) == pytest.approx(0.1)
    assert beyond(2.25, 1.9) == pytest.approx(0.25 + 0.1)


def test_rows_farther_apart_than_the_step_explain_nothing():
    power = Trace(np.arange(3.0), np.ones(3))
    nothing = Trace(np.arange(3.0), np.zeros(3))
    assert outside(nothing, power, WHOLE, 1.0, lambda p: p) == 2
    assert outside(nothing, power, WHOLE, 0.5, lambda p: p) == 0


def test_what_can_only_grow():
    assert falls(Trace(np.arange(3.0), np.array([0.0, 2.0, 1.5])), WHOLE) == 0.5
    assert falls(Trace(np.arange(3.0), np.array([0.0, 2.0, 2.5])), WHOLE) == 0


def test_the_made_up_run_has_an_event_on_its_rows():
    assert EVENT_S in T_S
