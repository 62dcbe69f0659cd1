"""The report: one file that holds everything, tells the truth about peaks and ends, and runs no foreign script."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gridloop.scenarios.display import number, quantity, scale
from gridloop.scenarios.plots import encoded, extremes, time_plots, unit_colours
from gridloop.scenarios.report import LEAST_POINTS, write_report
from gridloop.scenarios.thinning import thinned
from memory_runs import INF, NAN, T_S, FromMemory, metric, ring


@pytest.fixture
def page(tmp_path):
    """Writes a report and returns its text."""
    return lambda result: write_report(result, tmp_path / "report.html").read_text(encoding="utf-8")


def data_of(text):
    """The data for the plots."""
    (data,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


def visible(text):
    """The page without scripts and styles."""
    return re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)


def decoded(steps, resolution):
    """What the page does with the steps."""
    total, values = 0, []
    for step in steps:
        total += step or 0
        values.append(NAN if step is None else total * resolution)
    return np.array(values)


def plots_of(result):
    ranges = extremes(result)
    return {plot.title: plot for plot in time_plots(result, unit_colours(result, ranges), ranges)}


def test_the_page_holds_header_picture_plots_tables_and_log(page):
    text = page(ring())
    shown = visible(text)
    parts = ["A ring", "✓ done", "5.995 s", "5 ms", "mosaik 3.7.1", "load step 5", "now 400 kW, 0 kvar"]
    parts += ['class="network"', "line 6-7: 6 to 7", "load load5 at bus 5, 300 kW to 400 kW", "open since 2 s"]
    for part in [*parts, "From event to event"]:
        assert part in shown
    titles = [plot["title"] for plot in data_of(text)["plots"]]
    assert titles == ["Frequency", "Active power", "Reactive power", "Voltage at the buses", "Branch flow"]
    assert [e["label"] for e in data_of(text)["events"]] == ["1 load step 5", "2 line open 7-6"]


def test_the_page_asks_for_nothing_from_outside(page):
    shown = page(ring())
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", shown)
    assert not re.search(r"""@import|url\(\s*["']?(?!data:)|\bfetch\(|XMLHttpRequest|importScripts""", shown)
    others = re.sub(r'xmlns="http://www.w3.org/2000/svg"', "", visible(shown))
    assert not re.search(r"https?://", others)


def test_the_page_carries_the_licence_of_what_it_contains(page):
    assert "Permission is hereby granted" in page(ring())


def test_a_page_of_1200_steps_stays_below_300_kib(tmp_path):
    assert write_report(ring(), tmp_path / "report.html").stat().st_size < 300 * 1024


def test_names_are_text_and_never_markup(page):
    evil = "</script><script>alert(1)</script><!--"
    result = ring()
    changed = result.record | {
        "scenario": result.record["scenario"] | {"title": evil},
        "message": evil,
        "events": [{"t_s": 1.0, "kind": "set", "target": evil, "outcome": evil}],
        "metrics": {"f_nadir": metric(1.0, "Hz", evil)},
    }
    text = page(FromMemory(Path(), changed))
    assert "<script>alert" not in text
    assert text.count("</script>") == 3  # the data, uPlot and the page's own
    assert data_of(text)["events"][0]["label"].startswith("1 set </script>")


def test_never_and_undefined_are_words(page):
    shown = visible(page(ring()))
    cells = re.findall(r"<code>(\w+)</code></td><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td>", shown)
    table = {key: (re.sub(r"<.*?>", "", value), unit) for key, value, unit in cells}
    assert table["f_settling_time"] == ("never", "")
    assert table["energy_residual"] == ("undefined", "")
    assert table["f_nadir"] == ("59.8735", "Hz")
    assert table["energy_served"] == ("1.25", "kWh")
    assert table["collapse_count"] == ("0", "")


def test_metrics_stand_in_their_groups(page):
    groups = re.findall(r'class="group"><th[^>]*>(\w+)<', visible(page(ring())))
    assert groups == ["frequency", "sharing", "voltage", "energy", "limits", "numerics"]


@pytest.mark.parametrize("status", ["failed", "interrupted", "degraded"])
def test_a_run_that_did_not_go_well_says_so_with_its_message(page, status):
    shown = visible(page(ring(status=status, message="bus 7: the voltage collapsed")))
    assert re.search(rf'class="status {status}">. {status}<', shown)
    assert re.search(rf'class="message {status}" role="alert">bus 7: the voltage collapsed<', shown)


def test_a_run_that_was_killed_shows_how_far_it_came(page):
    result = ring(status="running")
    result.record["scenario"]["until_s"] = 60
    assert "5.995 s of 60 s" in visible(page(result))
    assert "interrupted" in visible(page(result))


def test_a_run_without_a_single_row_still_has_a_report(page):
    shown = visible(page(ring(status="failed", series={}, metrics={}, windows=[], events=[])))
    assert "No series were recorded" in shown
    assert 'class="network"' in shown


def test_a_record_without_network_still_has_a_report(page):
    assert 'class="network"' not in visible(page(ring(network={}, events=[])))


def test_a_unit_and_its_bus_have_one_colour_in_all_plots():
    plots = plots_of(ring())
    seen: dict[str, int] = {}
    for title in ("Frequency", "Active power", "Reactive power"):
        for curve in plots[title].curves:
            assert seen.setdefault(curve.label, curve.colour) == curve.colour
    assert seen == {"inv1": 0, "inv2": 1, "inv3": 2}
    voltage = {curve.label: curve.colour for curve in plots["Voltage at the buses"].curves}
    assert (voltage["1 (inv1)"], voltage["3 (inv3)"], voltage["4"]) == (0, 2, 3)


def test_powers_of_a_microgrid_are_shown_in_kw():
    plot = plots_of(ring())["Active power"]
    assert plot.unit == "kW"
    assert plot.curves[0].values[0] == pytest.approx(100)


def test_many_buses_are_shown_by_their_envelope_and_the_telling_ones():
    plot = plots_of(ring(n_bus=60))["Voltage at the buses, envelope of 60"]
    roles = {curve.role: curve for curve in plot.curves}
    assert [curve.label for curve in plot.curves if curve.role == "line"] == ["1 (inv1)", "2 (inv2)", "3 (inv3)", "60"]
    # bus 60 stands 0.295 below bus 1, which is the highest throughout
    assert np.allclose(roles["high"].values - roles["low"].values, 0.295)


def test_of_many_units_the_extreme_ones_keep_their_colours_in_all_plots():
    plots = plots_of(ring(n_bus=40, n_unit=30))
    lines = {c.label: c.colour for c in plots["Active power, envelope of 30"].curves if c.role == "line"}
    assert list(lines) == ["inv1", "inv2", "inv29", "inv30"]  # the powers rise with the number
    frequency = plots["Frequency, envelope of 30"].curves
    assert all(lines.get(c.label, c.colour) == c.colour for c in frequency if c.role == "line")


def test_a_dead_bus_is_a_gap_and_not_the_lowest_voltage():
    result = ring()
    result.record["series"]["4", "Vm[pu]"][600:] = 0.0
    assert extremes(result)["Vm[pu]"]["4"][0] > 0.9
    curve = next(c for c in plots_of(result)["Voltage at the buses"].curves if c.label == "4")
    assert np.isnan(curve.values[600:]).all()


def test_loading_takes_the_place_of_flow_where_ratings_are_known():
    result = ring()
    result.record["series"]["6-7", "loading[%]"] = np.full(1200, 85.0)
    assert "Branch loading" in plots_of(result)
    assert "Branch flow" not in plots_of(result)


def test_thinning_keeps_extremes_ends_and_the_samples_at_events():
    rng = np.random.default_rng(1)
    t_s = np.arange(200_000) * 1e-3
    rows = rng.normal(size=(3, len(t_s)))
    rows[0, 77_777], rows[1, 123_456] = 50.0, -50.0  # one sample each
    rows[2, 50_000:60_000] = np.nan
    before = rows.copy()
    kept = thinned(rows, t_s, event_s=[100.0])
    assert {0, len(t_s) - 1, 77_777, 123_456, 99_999, 100_000, 100_001} <= set(kept)
    assert 1000 < len(kept) <= 2010
    assert np.all(np.diff(kept) > 0)
    # no stretch of 1 % loses its peak: each of them holds at least one whole bin
    for part in np.array_split(np.arange(len(t_s)), 100):
        inside = kept[(kept >= part[0]) & (kept <= part[-1])]
        assert np.nanmax(rows[0, inside]) > 2
    np.testing.assert_array_equal(rows, before)


def test_short_series_are_not_thinned():
    assert len(thinned(np.zeros((3, 2000)), np.arange(2000.0), [])) == 2000


def test_a_long_run_stays_small(tmp_path):
    long = ring(t_s=np.arange(200_000) * 0.005)
    assert write_report(long, tmp_path / "report.html").stat().st_size < 300 * 1024


def test_a_page_of_many_restless_curves_gets_fewer_samples_of_each(tmp_path):
    result, noise = ring(), np.random.default_rng(1)
    for key in result.record["series"]:
        result.record["series"][key] = 1 + 0.1 * noise.standard_normal(len(T_S))
    path = write_report(result, tmp_path / "report.html")
    assert 200 * 1024 < path.stat().st_size < 300 * 1024
    plots = data_of(path.read_text(encoding="utf-8"))["plots"]
    assert all(LEAST_POINTS <= len(plot["t"]) < len(T_S) for plot in plots)


def test_embedded_values_come_back_to_their_resolution(page):
    # half of it by rounding, half by leaving out what lies on straight lines
    result = ring()
    plot = data_of(page(result))["plots"][0]
    values = decoded(plot["curves"][1]["d"], plot["resolution"])
    t_s = decoded(plot["t"], 1e-6)
    assert np.isin(np.round(t_s, 6), np.round(T_S, 6)).all()
    again = np.interp(T_S, t_s, values)
    np.testing.assert_allclose(again, result.series("inv2", "f[Hz]")[1], rtol=0, atol=1e-6 + 1e-12)
    assert len(t_s) < len(T_S)  # nothing moves before 1 s


def test_gaps_survive_the_encoding():
    assert encoded(np.array([NAN, 1.0, 1.5, NAN, 1.2]), 0.1) == [None, 10, 5, None, -3]


@pytest.mark.parametrize("value, unit, text", [
    (25e-3, "MW", "25 kW"), (163.2, "MW", "163.2 MW"), (-0.5, "MVar", "-500 kvar"), (100_000, "kVA", "100 MVA"),
    (0, "MWh", "0 MWh"), (3.2e-12, "1", "3.2·10⁻¹²"), (0.25, "Hz_per_s", "0.25 Hz/s"), (60, "Hz", "60.0000 Hz"),
    (85.26, "%", "85.26 %"), (1e9, "1", "1·10⁹"), (INF, "s", "never"), (NAN, "MW", "undefined"), (-INF, "s", "-∞"),
])  # fmt: skip
def test_quantities_read_well(value, unit, text):
    assert quantity(value, unit) == text


def test_a_column_has_one_unit():
    by = scale("MW", 0.8)
    assert (by.unit, [number(v * by.factor, "MW") for v in (0.8, 0.0004)]) == ("kW", ["800", "0.4"])


def with_new_kinds():
    """A run with a grid connection, a unit that only has powers, a meter of its own period, and new events."""
    result = ring()
    series, kinds = dict(result.record["series"]), dict(result.record["kinds"])
    for attribute, values in {"P_gen[MW]": np.full(1200, 0.05), "Q_gen[MVar]": np.zeros(1200)}.items():
        series["pcc", attribute] = values
        series["wind1", attribute] = values
    series["pcc", "connected[1]"] = np.ones(1200)
    series["m1", "P_gen_meas[MW]"] = T_S[::20], 0.1 + 1e-5 * np.arange(60) ** 2
    series["m1", "Vm_meas[pu]"] = T_S[::20], np.ones(60)
    kinds |= {"pcc": "pcc", "wind1": "unit", "m1": "meter"}
    happened = ("fault", "fault_cleared", "pcc_open", "pcc_close", "load_shed", "de_energised", "unit_trip")
    events = [{"t_s": 1.0 + i, "kind": kind, "target": "5", "outcome": ""} for i, kind in enumerate(happened)]
    return FromMemory(Path(), result.record | {"series": series, "kinds": kinds, "events": events})


def test_grid_connection_powers_without_frequency_and_meters_have_their_curves(page):
    result = with_new_kinds()
    plots = plots_of(result)
    assert [curve.label for curve in plots["Frequency"].curves] == ["inv1", "inv2", "inv3"]
    assert [curve.label for curve in plots["Active power"].curves] == ["inv1", "inv2", "inv3", "pcc", "wind1"]
    assert len({curve.colour for curve in plots["Active power"].curves}) == 5
    assert [curve.label for curve in plots["Meters, Vm"].curves] == ["m1"]
    measured = plots["Meters, P_gen"]
    assert (measured.unit, len(measured.t_s)) == ("kW", 60)
    assert "de energised 5" in visible(page(result))


def test_meters_of_different_periods_share_the_finest_axis():
    result = with_new_kinds()
    result.record["kinds"]["m0"] = "meter"
    result.record["series"]["m0", "P_gen_meas[MW]"] = T_S[::100], 0.1 + 1e-4 * np.arange(12.0) ** 2
    measured = plots_of(result)["Meters, P_gen"]
    assert len(measured.t_s) == 60
    assert {curve.label for curve in measured.curves} == {"m0", "m1"}


def test_a_run_in_which_no_unit_has_a_frequency_has_a_report(page):
    result = ring()
    for unit in ("inv1", "inv2", "inv3"):
        del result.record["series"][unit, "f[Hz]"]
    assert data_of(page(result))["plots"][0]["title"] == "Active power"


@pytest.mark.peers("chromium")
def test_the_plots_are_drawn_in_a_browser(tmp_path):
    path = write_report(ring(n_bus=60), tmp_path / "report.html")
    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-quic",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert shown.count("<canvas") == 5
    assert shown.count("u-legend") >= 5
