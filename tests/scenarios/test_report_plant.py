"""Sections of the report about plant, ledger, control and communication: there where the run has them."""

import re

import pytest

from books import LINKS, T_S, run_in_memory, with_links
from gridloop.scenarios.measure import measure
from gridloop.scenarios.plots import COLOURS, extremes, time_plots, unit_colours
from gridloop.scenarios.report import write_report
from gridloop.scenarios.report_control import control_section, link_section
from gridloop.scenarios.report_plant import ledger_section
from memory_runs import ring

CONTROL = {
    "frequency": "F", "voltage": "own_law:with_deadband", "members": ["batt1", "dg1"], "central": [], "leader": "batt1",
    "pilot_bus": "1", "period_ms": 50.0, "delay_handling": "neighbour_only", "exchange": "links",
    "graph": [["batt1", "dg1"]],
}  # fmt: skip


def measured(result):
    result.record["metrics"] = {key: metric.to_json() for key, metric in measure(result)[0].items()}
    return result


@pytest.fixture
def page(tmp_path):
    """Writes a report and returns what is visible of it, as text."""

    def written(result):
        text = write_report(result, tmp_path / "report.html").read_text(encoding="utf-8")
        text = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))

    return written


def plots_of(result):
    ranges = extremes(result)
    return {plot.title: plot for plot in time_plots(result, unit_colours(result, ranges), ranges)}


def test_plant_and_ledger(page):
    shown = page(measured(run_in_memory()))
    assert "batt1 battery 60 % to " in shown
    assert re.search(r"dg1 diesel set 33\d\.\d Wh from 0\.1\d+ L, 0\.\d+ L/kWh, 1 start, 0\.2 min below", shown)
    assert "pv1 PV 277.8 Wh used of 300 Wh available, 22.22 Wh curtailed (7.407 %)" in shown
    assert "Cost at 1.5 EUR/L of fuel, 5 EUR a start" in shown
    assert "Energy ledger" in shown and "does not close" not in shown
    for words in ("sources", "loads", "converter", "cells", "fuel", "heat", "polarisation"):
        assert words in shown


def test_books_that_do_not_close_are_named(page):
    result = run_in_memory()
    result.record["series"]["pv1", "E_ac[MWh]"] = result.record["series"]["pv1", "E_ac[MWh]"] * 0.99
    assert page(measured(result)).count("does not close") == 1


def test_control_and_links(page):
    shown = page(measured(with_links(control=CONTROL)))
    for words in (
        "frequency law F: consensus", "voltage law own_law:with_deadband: a law of your own",
        "delay handling neighbour_only: an agent compares", "members batt1 (leader), dg1", "period 50 ms",
        "exchange over links with delay", "graph batt1-dg1", "a-&gt;b 100 90 8 (8 %) 6.4 50 60 200",
    ):  # fmt: skip
        assert words in shown


def test_what_a_run_has_not_has_no_section(page):
    shown = page(ring())
    for heading in ("Plant", "Energy ledger", "Secondary control", "Communication"):
        assert heading not in shown
    assert control_section({}) == control_section({"control": None}) == link_section({}) == ledger_section([]) == ""


def test_a_link_on_which_nothing_arrived():
    silent = {"a->b": {"sent": 3.0, "delivered": 0.0, "lost": 3.0, "bytes": 192.0}}
    assert link_section({"link_statistics": silent}).count("&ndash;") == 3
    assert "age" in link_section({"link_statistics": LINKS})


def test_curves_of_plant_control_and_links():
    plots = plots_of(with_links())
    assert [curve.label for curve in plots["State of charge"].curves] == ["batt1"]
    assert [curve.label for curve in plots["Fuel burnt"].curves] == ["dg1"]
    assert [curve.label for curve in plots["Age of the information on links"].curves] == ["a->b", "b->a"]
    assert [curve.label for curve in plots["Secondary control, frequency correction"].curves] == ["batt1", "dg1"]


def test_what_an_array_has_and_what_it_gives_stand_in_one_plot():
    result = run_in_memory()
    plot = plots_of(result)["PV power available and used"]
    available, used = plot.curves
    assert (available.label, used.label) == ("pv1 available", "pv1 used")
    assert available.colour == used.colour + COLOURS  # the same hue, dashed
    assert (available.values[0], used.values[0]) == pytest.approx((60, 50))  # kW
    assert available.values[-1] == pytest.approx(50)
    assert plot.t_s[0] == 0 and plot.t_s[-1] == T_S[-1]


def test_many_arrays_are_one_sum():
    result = run_in_memory()
    for number in range(2, 7):
        result.record["kinds"][f"pv{number}"] = "unit"
        for attribute in ("P_gen[MW]", "P_avail[MW]"):
            result.record["series"][f"pv{number}", attribute] = result.record["series"]["pv1", attribute]
    plot = plots_of(result)["PV power available and used, sum of 6"]
    available, used = plot.curves
    assert (available.label, used.label) == ("all available", "all used")
    assert (available.values[0], used.values[0]) == pytest.approx((360, 300))  # kW
