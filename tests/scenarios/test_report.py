"""The report: one file that holds everything, tells the truth about peaks and ends, and runs no foreign script."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gridloop.scenarios.display import number, quantity, scale
from gridloop.scenarios.plots import encoded, extremes, thinned, time_plots, unit_colours
from gridloop.scenarios.report import write_report
from gridloop.scenarios.result import Entity, Result

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
        return self.record["t_s"], self.record["series"][entity, attribute]


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
    assert write_report(long, tmp_path / "report.html").stat().st_size < 500 * 1024


def test_embedded_values_come_back_to_their_resolution(page):
    result = ring()
    plot = data_of(page(result))["plots"][0]
    values = decoded(plot["curves"][1]["d"], plot["resolution"])
    np.testing.assert_allclose(values, result.series("inv2", "f[Hz]")[1], rtol=0, atol=0.5e-6 + 1e-12)
    np.testing.assert_allclose(decoded(plot["t"], 1e-6), T_S, rtol=0, atol=1e-9)


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
