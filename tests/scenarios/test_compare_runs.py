"""Several runs on one page: what differs is named, what they share is laid over each other."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gridloop.scenarios.cli import app
from gridloop.scenarios.compare import (
    letters,
    names_of,
    only_in,
    scenario_differences,
    series_differences,
    worst,
)
from gridloop.scenarios.compare_tables import event_rows, metric_row
from gridloop.scenarios.overlay import Overlays
from gridloop.scenarios.report_compare import compare_path, write_comparison
from gridloop.scenarios.result import Metric
from gridloop.scenarios.thinning import bends
from memory_runs import INF, NAN, T_S, FromMemory, metric, ring, saved, swing


def run(name="a", **changes):
    """A run in a folder of that name."""
    return FromMemory(Path(name), ring(**changes).record)


def changed(result, **series):
    """The run with other values of `entity.attribute`."""
    names = {tuple(name.split(".", 1)): values for name, values in series.items()}
    return FromMemory(result.path, result.record | {"series": result.record["series"] | names})


def differences(*scenarios):
    return {difference.path: difference.values for difference in scenario_differences(scenarios)}


@pytest.fixture
def page(tmp_path):
    """Writes a comparison and returns its text."""
    return lambda *results: write_comparison(results, tmp_path / "compare.html").read_text(encoding="utf-8")


def data_of(text):
    (data,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


def visible(text):
    """The page's text without scripts, styles and markup."""
    bare = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", bare).split())


# --- scenarios ---

DROOP = {"type": "inverter", "bus": 1}


def test_equal_scenarios_differ_in_nothing():
    scenario = {"name": "a", "grid": {"loads": {"zip_p": [0, 0, 1]}}, "events": [{"t_s": 1, "do": "load_step"}]}
    assert differences(scenario, dict(scenario)) == {}


def test_keys_that_differ_are_named_by_their_dotted_paths():
    one = {"step_ms": 5, "grid": {"net": "case9", "loads": {"zip_p": [0, 0, 1]}}, "events": [{"t_s": 1, "p_kw": 3}]}
    two = {"step_ms": 5, "grid": {"net": "case9", "loads": {"zip_p": [1, 0, 0]}}, "events": [{"t_s": 1, "p_kw": 4}]}
    assert differences(one, two) == {
        "grid.loads.zip_p": {0: [0, 0, 1], 1: [1, 0, 0]},
        "events.0.p_kw": {0: 3, 1: 4},
    }


def test_what_a_scenario_lacks_has_no_value():
    assert differences({"a": 1, "start": "droop"}, {"a": 1}, {"a": 1}) == {"start": {0: "droop"}}


def test_a_unit_more_is_one_difference():
    units = {"inv1": DROOP}
    assert differences({"units": units}, {"units": units | {"inv2": DROOP}}) == {"units.inv2": {1: DROOP}}


def test_defaults_count_as_keys_of_the_units():
    by_default = {"defaults": {"inverter": {"filter_hz": 5}}, "units": {"inv1": DROOP}}
    in_unit = {"units": {"inv1": DROOP | {"filter_hz": 5}}}
    assert differences(by_default, in_unit) == {}
    assert differences(by_default, {"units": {"inv1": DROOP | {"filter_hz": 6}}}) == {
        "units.inv1.filter_hz": {0: 5, 1: 6}
    }


def test_the_same_change_of_every_unit_is_one_row():
    def scenario(percent, last):
        units = {name: DROOP | {"droop_p_percent": percent} for name in ("inv1", "inv2")}
        return {"units": units | {"inv3": DROOP | {"droop_p_percent": last}}}

    assert differences(scenario(2, 2), scenario(4, 4)) == {"units.*.droop_p_percent": {0: 2, 1: 4}}
    assert list(differences(scenario(2, 2), scenario(4, 5))) == [f"units.inv{i}.droop_p_percent" for i in (1, 2, 3)]


def test_of_event_lists_of_other_lengths_only_what_not_all_have_is_told():
    step, trip = {"t_s": 1, "do": "load_step"}, {"t_s": 2, "do": "unit_trip"}
    assert differences({"events": [step]}, {"events": [step, trip]}) == {"events": {0: None, 1: [trip]}}


# --- series ---


def test_the_largest_difference_has_its_size_entity_and_time():
    first = run()
    f = first.series("inv2", "f[Hz]")[1].copy()
    f[700] -= 0.5
    other = changed(run("b"), **{"inv2.f[Hz]": f})
    difference = worst(series_differences(first, other))["unit", "f[Hz]"]
    assert (difference.entity, difference.t_s, difference.interpolated) == ("inv2", 3.5, False)
    assert difference.delta == pytest.approx(-0.5)
    assert worst(series_differences(first, other))["unit", "P_gen[MW]"].delta == 0


def test_a_run_at_half_the_step_is_compared_at_the_times_of_both():
    # the jump of 0.1 MW at 1 s would be a difference if rows were interpolated across it
    fine_s = np.arange(2399) * 0.0025
    jump = changed(run("b", t_s=fine_s), **{"load5.P_load[MW]": 0.3 + 0.1 * (fine_s >= 1)})
    found = worst(series_differences(run(), jump))
    assert found["load", "P_load[MW]"].delta == 0
    assert not found["load", "P_load[MW]"].interpolated
    assert abs(found["unit", "f[Hz]"].delta) < 1e-12


def test_runs_without_common_times_are_interpolated():
    shifted_s = T_S + 0.0013
    first = changed(run(), **{"inv1.f[Hz]": 50 + T_S})
    other = changed(run("b", t_s=shifted_s), **{"inv1.f[Hz]": 51 + shifted_s})
    (difference,) = (d for d in series_differences(first, other) if (d.entity, d.attribute) == ("inv1", "f[Hz]"))
    assert difference.interpolated
    assert difference.delta == pytest.approx(1)


def test_runs_that_never_overlap_have_no_differences():
    assert series_differences(run(), run("b", t_s=T_S + 100)) == []


def test_only_what_both_have_is_compared():
    found = series_differences(run(), run("b", n_unit=2))
    assert {d.entity for d in found if d.kind == "unit"} == {"inv1", "inv2"}
    assert only_in([run(), run("b", n_unit=2)]) == {(0,): ["inv3"]}
    assert only_in([run(), run("b", n_unit=2), run("c")]) == {(0, 2): ["inv3"]}


def test_angles_differ_by_the_short_way_round():
    angle = {"1.Va[deg]": np.full(1200, 179.0)}, {"1.Va[deg]": np.full(1200, -179.0)}
    one, two = changed(run(), **angle[0]), changed(run("b"), **angle[1])
    assert worst(series_differences(one, two))["bus", "Va[deg]"].delta == pytest.approx(2)


def test_values_that_one_run_lacks_are_no_difference():
    f = run().series("inv1", "f[Hz]")[1].copy()
    f[500:] = NAN
    found = series_differences(run(), changed(run("b"), **{"inv1.f[Hz]": f}))
    assert worst(found)["unit", "f[Hz]"].delta == 0


# --- names, metrics, events ---


def test_runs_are_named_by_as_much_of_their_folders_as_tells_them_apart(tmp_path):
    paths = [tmp_path / "x" / "r1", tmp_path / "y" / "r1"]
    assert names_of([run(path) for path in paths]) == ["x/r1", "y/r1"]
    assert compare_path([run("r1"), run("r2")], Path("to")) == Path("to/compare-r1-r2.html")
    many = [run("2026-06-21T12-00-00-microgrid9-" + letter) for letter in "abcd"]
    assert compare_path(many, Path()).name == "compare-2026-06-21T12-00-00-microgrid9-a-and-3-more.html"
    with pytest.raises(ValueError, match="a run is named twice"):
        names_of([run(paths[0]), run(tmp_path / "y" / ".." / "x" / "r1")])


def test_letters_go_on_after_z():
    assert letters(28)[-3:] == ["Z", "AA", "AB"]


@pytest.mark.parametrize(("first", "second", "told"), [
    (60.0, 59.4, "60.0000 59.4000 −0.6000 (−1 %)"),
    (60.0, 60.0, "60.0000 60.0000 same"),
    (2e-15, 3e-15, "2·10⁻¹⁵ 3·10⁻¹⁵ ≈ same"),
    (0.0, 0.5, "0 0.5000 +0.5000"),
    (INF, 2.0, "never 2.0000"),
    (1.0, NAN, "1.0000 undefined"),
])  # fmt: skip
def test_metrics_stand_beside_each_other_with_difference_and_percent(first, second, told):
    row = metric_row("f_nadir", [Metric(first, "Hz", "lowest"), Metric(second, "Hz", "lowest")])
    assert visible(row) == f"lowest f_nadir {told} Hz"


def test_powers_of_a_row_have_one_unit():
    row = visible(metric_row("loss_end", [Metric(0.5, "MW", "losses"), Metric(0.25, "MW", "losses"), None]))
    assert row == "losses loss_end 500 250 −250 (−50 %) &ndash; kW"


def test_an_event_of_several_runs_is_one_row():
    one, two = run(), run("b", events=[
        {"t_s": 1.0, "kind": "load_step", "target": "5", "outcome": "other"},
        {"t_s": 1.5, "kind": "unit_trip", "target": "inv3", "outcome": ""},
    ])  # fmt: skip
    labels = [row.label(i, ["A", "B"]) for i, row in enumerate(event_rows([one, two]), 1)]
    assert labels == ["1 load step 5", "2 unit trip inv3 (B)", "3 line open 7-6 (A)"]
    assert event_rows([one, two])[0].outcomes == {0: "now 400 kW, 0 kvar", 1: "other"}


# --- curves ---


def overlays_of(*results):
    found = [series_differences(results[0], other) for other in results[1:]]
    return {overlay.title: overlay for overlay in Overlays(results, found).all()}


def test_every_unit_of_three_runs_is_drawn_in_its_colour_from_the_start():
    overlay = overlays_of(run(), run("b"), run("c"))["Frequency"]
    assert overlay.entities == [("inv1", 0, True), ("inv2", 1, True), ("inv3", 2, True)]
    assert [(part.run, sorted(part.curves)) for part in overlay.parts] == [(i, [0, 1, 2]) for i in range(3)]


def test_of_many_buses_those_that_differ_most_are_drawn_first():
    v = {f"{i}.Vm[pu]": 0.9 - 0.01 * i * np.ones(1200) for i in (2, 4, 6, 8)}
    overlay = overlays_of(run(), changed(run("b"), **v), run("c"))["Voltage at the buses"]
    assert [label for label, _, shown in overlay.entities if shown] == ["2 (inv2)", "4", "6", "8"]
    assert len(overlay.entities) == 9


def test_of_sixty_buses_twelve_and_the_envelopes_are_kept():
    v = {"40.Vm[pu]": np.full(1200, 0.5)}
    overlays = overlays_of(run(n_bus=60), changed(run("b", n_bus=60), **v))
    overlay = overlays["Voltage at the buses, 12 of 60 and each run's envelope"]
    labels = [label for label, _, _ in overlay.entities]
    assert len(labels) == 14 and "40" in labels and labels[-2:] == ["lowest", "highest"]
    low, high = overlay.parts[1].curves[12], overlay.parts[1].curves[13]
    assert np.all(low == 0.5) and np.all(high > 0.9)


def test_a_unit_keeps_its_colour_where_runs_have_different_units():
    one = run(n_unit=2)
    record = ring().record
    series = {("other" if e == "inv1" else e, a): v for (e, a), v in record["series"].items()}
    two = FromMemory(Path("b"), record | {"series": series, "kinds": record["kinds"] | {"other": "unit"}})
    overlays = overlays_of(one, two)
    colours = {label: colour for label, colour, _ in overlays["Frequency"].entities}
    assert colours == {"inv1": 0, "inv2": 1, "other": 2, "inv3": 3}
    assert {label: colour for label, colour, _ in overlays["Active power"].entities} == colours


def test_samples_on_straight_lines_are_left_out_and_come_back_by_drawing_the_line():
    rng = np.random.default_rng(3)
    t_s = np.cumsum(rng.uniform(0.001, 0.01, 3000))
    rows = np.stack([swing(2, t_s, 1.0), np.round(t_s / 5) + 0.1 * t_s])
    before = rows.copy()
    kept = bends(rows, t_s, 1e-4)
    assert len(kept) < 800
    assert kept[0] == 0 and kept[-1] == 2999 and np.all(np.diff(kept) > 0)
    for row in rows:
        np.testing.assert_allclose(np.interp(t_s, t_s[kept], row[kept]), row, rtol=0, atol=1.0001e-4)
    np.testing.assert_array_equal(rows, before)


def test_both_sides_of_a_gap_stay():
    rows = np.zeros((1, 100))
    rows[0, 40:60] = NAN
    assert bends(rows, np.arange(100.0), 1e-6).tolist() == [0, 39, 40, 59, 60, 99]


# --- the page ---


def test_the_page_names_runs_differences_metrics_and_events(page):
    scenario = ring().record["scenario"] | {"step_ms": 2.5}
    metrics = ring().record["metrics"] | {"v_min": metric(0.874, "pu", "lowest voltage")}
    text = page(run(), run("b", scenario=scenario, metrics=metrics, status="failed", message="it broke"))
    shown = visible(text)
    for part in ("2 runs of A ring", "✓ done", "✕ failed", "it broke", "step_ms 5 2.5", "− A",
                 "lowest voltage v_min 0.9200 0.8740 −0.046 (−5 %) pu", "1 1 load step 5 now 400 kW, 0 kvar",
                 "unit f[Hz] same", "Scenario of B"):  # fmt: skip
        assert part in shown
    data = data_of(text)
    assert [(r["mark"], r["name"]) for r in data["runs"]] == [("A", "a"), ("B", "b")]
    assert [len(plot["parts"]) for plot in data["plots"]] == [2] * 5


def test_runs_of_different_networks_are_compared_in_what_they_share(page):
    other = run("b", n_bus=5, n_unit=1, t_s=np.arange(300) * 0.0125)
    shown = visible(page(run(), other))
    assert "Not in every run only in A: inv2, inv3, 6, 7, 8, 9" in shown


def test_runs_that_share_nothing_have_a_page(page):
    record = ring().record
    series = {(f"x{e}", a): v for (e, a), v in record["series"].items()}
    kinds = {f"x{e}": kind for e, kind in record["kinds"].items()}
    other = FromMemory(Path("b"), record | {"series": series, "kinds": kinds, "events": [], "metrics": {}})
    text = page(run(), other)
    assert "the runs have no series in common" in visible(text)
    assert [e["label"] for e in data_of(text)["plots"][0]["entities"]] == [
        "inv1", "inv2", "inv3", "xinv1", "xinv2", "xinv3",
    ]  # fmt: skip


def test_runs_without_a_row_have_a_page(page):
    shown = visible(page(run(series={}, metrics={}), run("b", series={}, metrics={})))
    assert "No series were recorded" in shown
    assert "0 s of 5.995 s" in shown


def test_the_page_asks_for_nothing_from_outside_and_has_no_foreign_markup(page):
    evil = "</script><script>alert(1)</script><!--"
    scenario = ring().record["scenario"] | {"title": evil, evil: evil}
    event = {"t_s": 1.0, "kind": "set", "target": evil, "outcome": evil}
    metrics = {evil: metric(1.0, evil, evil)}
    text = page(run(), run("b", scenario=scenario, message=evil, events=[event], metrics=metrics))
    assert "<script>alert" not in text
    assert text.count("</script>") == 3  # the data, uPlot and the page's own
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.search(r"""@import|url\(\s*["']?(?!data:)|\bfetch\(|XMLHttpRequest|importScripts""", text)


def test_a_page_of_three_runs_stays_below_300_kib(tmp_path):
    t_s = np.arange(1200) * 0.005
    results = [run(name, t_s=t_s) for name in "abc"]
    assert write_comparison(results, tmp_path / "c.html").stat().st_size < 300 * 1024


def test_one_run_or_too_many_are_refused(tmp_path):
    with pytest.raises(ValueError, match="2 to 12 runs, got 1"):
        write_comparison([run()], tmp_path / "c.html")
    with pytest.raises(ValueError, match="got 13"):
        write_comparison([run(str(i)) for i in range(13)], tmp_path / "c.html")


def dumped(path, folder):
    """The page as a browser has it after its scripts ran."""
    return subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-quic",
         f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


@pytest.mark.peers("chromium")
def test_runs_and_names_hide_their_curves_in_a_browser(tmp_path):
    results = [run(), run("b"), run("c", t_s=np.arange(1714) * 0.0035)]
    path = write_comparison(results, tmp_path / "compare.html")
    clicks = """<script>
      document.querySelector('.toggle[data-run="1"]').click();
      document.querySelector('.names button.entity').click();
      document.querySelectorAll('.names button.all')[0].click();
      requestAnimationFrame(() => {
        const over = document.querySelectorAll('.u-over')[1], box = over.getBoundingClientRect();
        const at = { clientX: box.left + box.width * 0.213, clientY: box.top + 5, bubbles: true };
        over.dispatchEvent(new MouseEvent('mouseenter', at));
        over.dispatchEvent(new MouseEvent('mousemove', at));
      });
    </script></body>"""
    assert "59.920000" in dumped(path, tmp_path).split('<div class="plot">')[1]  # where inv3 ends: 60 - 0.09 + 0.01
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", clicks), encoding="utf-8")
    shown = dumped(path, tmp_path)
    assert shown.count("<canvas") == 5
    assert re.findall(r'data-run="(\d)" aria-pressed="(\w+)"', shown) == [("0", "true"), ("1", "false"), ("2", "true")]
    assert re.search(r'<tr class="off"><th><button class="entity"[^>]*aria-pressed="false"[^>]*>.*?inv1', shown)
    plots = shown.split('<div class="plot">')
    assert 'class="off"' not in plots[4]  # the buses, all shown by the click
    assert plots[5].count('class="off"') == 5  # the branches: 4 of 9
    # under the pointer, in all plots; a run without a row at that time is interpolated
    (told_s,) = re.findall(r'class="time">(1\.2\d+) s<', plots[2])
    cells = [float(text) for text in re.findall(r'<td class="n">([\d.]+)</td>', plots[2])[:3]]
    expected = [np.interp(float(told_s), *r.series("inv1", "P_gen[MW]")) * 1e3 for r in results]
    assert cells == pytest.approx(expected, abs=0.05)


# --- the command ---


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Folders a and b in the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        saved(ring(), Path(name))
    return tmp_path


def gridloop(*words):
    return CliRunner().invoke(app, words)


def test_report_of_two_runs_is_a_page_in_the_current_folder(two_runs):
    answer = gridloop("report", "a", "b")
    assert (answer.exit_code, answer.stdout.strip()) == (0, "compare-a-b.html")
    assert "2 runs of A ring" in Path("compare-a-b.html").read_text(encoding="utf-8")
    assert not Path("a/report.html").exists()


def test_report_goes_where_it_is_told(two_runs):
    assert gridloop("report", "a", "b", "--out", "c.html").stdout.strip() == "c.html"
    assert gridloop("report", "a", "--out", "one.html").stdout.strip() == "one.html"
    assert "2 runs of" in Path("c.html").read_text(encoding="utf-8")
    assert "Course of the run<" in Path("one.html").read_text(encoding="utf-8")
    assert not Path("a/report.html").exists()


def test_report_of_the_same_run_twice_is_refused(two_runs):
    answer = gridloop("report", "a", "./a")
    assert answer.exit_code == 2
    assert answer.stderr == "error: a: a run is named twice\n"
