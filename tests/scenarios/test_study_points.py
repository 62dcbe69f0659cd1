"""What a study consists of, how its points are kept, and how they are drawn."""

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import load
from gridloop.scenarios.cli_study import between_commas, in_words, split_cases, split_sets
from gridloop.scenarios.console import show_table
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.study_axes import along_x, along_y, even_ticks, log_ticks
from gridloop.scenarios.study_folder import Journal, opened
from gridloop.scenarios.study_points import Axis, Point, axis_of, design, fingerprint
from gridloop.scenarios.study_run import StudyProgress, run_name
from gridloop.scenarios.study_svg import Chart, Margin, picture, runs_of, standalone
from gridloop.scenarios.study_table import Curve, Row, check_metrics, curves
from gridloop.scenarios.study_worker import Outcome
from gridloop.scenarios.variants import Comparison, fitting, forming, tables, variants

INF, NAN = math.inf, math.nan


@pytest.fixture(scope="module")
def ieee9():
    return load("ieee9")


def keys_of(found):
    return [point.key for point in found.points]


# --- axes and points ---


@pytest.mark.parametrize(("spec", "values", "is_log"), [
    ("1,2,5", (1, 2, 5), False),
    ([0.5, 2.0], (0.5, 2), False),
    (7, (7,), False),
    ("0:1:5", (0, 0.25, 0.5, 0.75, 1), False),
    ("1:1000:4:log", (1, 10, 100, 1000), True),
    ("20,50,2500", (20, 50, 2500), True),
    ("0,50,2500", (0, 50, 2500), False),
    ("F,D,none", ("F", "D", "none"), False),
    ("[0, 0, 1],[1, 0, 0]", ([0, 0, 1], [1, 0, 0]), False),
    ("true,false", (True, False), False),
])  # fmt: skip
def test_values_of_an_axis(spec, values, is_log):
    assert axis_of("a.b", spec) == Axis("a.b", values, is_log)


@pytest.mark.parametrize(("spec", "told"), [
    ("0:1", "a.b=0:1: must be a list of values, FIRST:LAST:COUNT or"),
    ("0:1:1", "COUNT between 2"),
    ("0:1:5:log", "greater than 0"),
    ("1,2,1", "a.b: the value 1 stands twice"),
    ("[1,2", "not values between commas"),
    ([], "there is no value"),
])  # fmt: skip
def test_texts_that_are_no_values_are_refused(spec, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        axis_of("a.b", spec)


def test_points_are_cases_times_values_times_seeds_with_the_first_seed_first(ieee9):
    cases = {"slow": {"units.*.filter_hz": 5}, "fast": {"units.*.filter_hz": 20}}
    found = design(ieee9, {"step_ms": "5,10", "until_s": [1]}, cases, 2)
    assert [(p.seed, p.values, p.case) for p in found.points] == [
        (seed, (step, 1), case) for seed in (1, 2) for step in (5, 10) for case in ("slow", "fast")
    ]
    assert found.points[1].overrides == {"units.*.filter_hz": 20, "step_ms": 5, "until_s": 1, "seed": 1}
    assert len(set(keys_of(found))) == 8


def test_a_point_is_known_again_by_what_it_runs_and_not_by_its_name(ieee9):
    one = design(ieee9, {"step_ms": "5,10"}, {"a": {"units.*.filter_hz": 6}}, 1)
    named = design(ieee9, {"step_ms": [10.0, 5.0]}, {"b": {"units.*.filter_hz": 6}}, 1)
    assert sorted(keys_of(one)) == sorted(keys_of(named))
    other = design(ieee9.with_overrides({"until_s": 5}), {"step_ms": "5,10"}, {"a": {"units.*.filter_hz": 6}}, 1)
    assert not set(keys_of(one)) & set(keys_of(other))
    retitled = design(ieee9.with_overrides({"title": "x"}), {"step_ms": "5,10"}, {"a": {"units.*.filter_hz": 6}}, 1)
    assert keys_of(one) == keys_of(retitled)
    regrouped = design(ieee9.with_overrides({"grouping": "kind"}), {"step_ms": "5,10"},
                       {"a": {"units.*.filter_hz": 6}}, 1)  # fmt: skip
    assert keys_of(one) == keys_of(regrouped)


def test_files_that_a_scenario_names_belong_to_it(tmp_path):
    def known(text):
        (tmp_path / "sun.csv").write_text(f"t,P[kW]\n2026-06-21T12:00:00+02:00,{text}\n", encoding="utf-8")
        (tmp_path / "s.yaml").write_text(
            "extends: ieee9\nclock: 2026-06-21T12:00:00+02:00\n"
            "profiles: {sun: {file: sun.csv, columns: {p: 'P[kW]'}}}\n", encoding="utf-8",
        )  # fmt: skip
        return fingerprint(load(tmp_path / "s.yaml"))

    assert list(known(1)["files"]) == ["sun.csv"]
    assert known(1) == known(1) != known(2)


@pytest.mark.parametrize(("sets", "cases", "told"), [
    ({"step_ms": "5,0"}, {}, "step_ms: must be greater than 0"),
    ({"units.inv9.filter_hz": "5,6"}, {}, "there is no units.inv9"),
    ({"step_ms": "5,10"}, {"a": {"step_ms": 5}}, "case a sets step_ms, which the study sets itself"),
    ({"seed": "1,2"}, {}, "--repeats"),
    ({"step_ms": "1:5:400", "until_s": "1:9:400"}, {}, "160000 points"),
])  # fmt: skip
def test_a_study_that_cannot_run_is_refused_before_it_begins(ieee9, sets, cases, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        design(ieee9, sets, cases, 1)


def test_words_of_the_command_line():
    assert split_sets(["comms.delay_ms=1,2"]) == {"comms.delay_ms": "1,2"}
    assert split_cases(["a b:x.y=1,z=[1, 2],w={p: 1, q: 2}", "c:"]) == {
        "a b": {"x.y": 1, "z": [1, 2], "w": {"p": 1, "q": 2}}, "c": {},
    }  # fmt: skip
    assert between_commas("a=[1, [2, 3]], b=4") == ["a=[1, [2, 3]]", "b=4"]
    for words in (["nothing"], ["a:x=1", "a:x=2"], ["a:x"]):
        with pytest.raises(ValueError, match="--case"):
            split_cases(words)
    with pytest.raises(ValueError, match="write PATH=VALUES"):
        split_sets(["step_ms="])


def test_progress_tells_the_time_that_is_left():
    assert in_words(StudyProgress(6, 10, 2, 1, 8.0)) == "6 of 10 points · 2 were there · 1 failed · ETA 8 s"
    assert in_words(StudyProgress(0, 10, 0, 0, 1.0)) == "0 of 10 points"


# --- the folder ---


def outcome(value=1.0, status="done", windows=(0.5, 2.0)):
    return Outcome(status, "" if status == "done" else "it broke", 1.0, {"f_end": value, "cost": 3.0},
                   tuple({"f_end": w} for w in windows), {"f_end": ("Hz", "end")})  # fmt: skip


def test_kept_points_come_back_without_what_was_cut_off(tmp_path):
    path = tmp_path / "points.jsonl"
    journal = Journal(path)
    journal.add("a", outcome(INF))
    journal.add("b", outcome(NAN, "failed"))
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"key": "c", "sta')
    again = Journal(path)
    assert list(again.outcomes) == ["a", "b"] and again.described == {"f_end": ("Hz", "end")}
    assert again.outcomes["a"].metrics["f_end"] == INF and math.isnan(again.outcomes["b"].metrics["f_end"])
    again.add("c", outcome())
    again.close()
    assert list(Journal(path).outcomes) == ["a", "b", "c"]
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(ValueError, match=r"points\.jsonl:1 is damaged"):
        Journal(path)


def test_a_folder_is_for_one_study_at_a_time_and_not_for_runs(tmp_path, ieee9):
    known = fingerprint(ieee9)
    twice = pytest.raises(ValueError, match="is running in this folder")
    with opened(tmp_path / "study", known), twice, opened(tmp_path / "study", known):
        pass
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="no study"), opened(tmp_path / "run", known):
        pass


def test_folders_of_kept_runs_are_named_for_their_case():
    assert run_name(Point("droop only", (), 1, {}, "0123456789")) == "droop-only"
    assert run_name(Point("a", (5,), 1, {}, "0123456789")) == "a-01234567"
    assert run_name(Point("", (), 1, {}, "0123456789")) == "01234567"


# --- table and curves ---


def row(case, x, seed=1, **changes):
    return Row(Point(case, (x,), seed, {"x": x}, f"{case}{x}{seed}"), outcome(**changes))


def test_a_figure_is_of_the_last_window_unless_it_says_otherwise():
    done, failed = row("a", 1), row("a", 1, status="failed")
    assert (done.figure("f_end"), done.figure("run.f_end"), done.figure("windows.0.f_end")) == (2.0, 1.0, 0.5)
    assert done.figure("cost") == 3.0  # windows have no cost
    assert math.isnan(done.figure("windows.2.f_end")) and math.isnan(done.figure("nothing"))
    assert math.isnan(failed.figure("f_end")) and failed.figure("run.f_end") == 1.0


def test_a_curve_has_the_median_and_the_band_of_its_seeds():
    values = {1: (3.0, 1.0, 2.0), 2: (1.0, INF, 2.0), 3: (INF, INF, 1.0)}
    rows = [row("a", x, seed, windows=(0.0, v)) for x, several in values.items() for seed, v in enumerate(several)]
    rows += [row("b", x, windows=(0.0, 7.0)) for x in (1, 2)] + [row("b", 3, status="failed")]
    a, b = curves(rows, (Axis("x", (1, 2, 3)),), "f_end")
    np.testing.assert_array_equal(a.low, [1, 1, 1])
    np.testing.assert_array_equal(a.middle, [2, 2, INF])
    np.testing.assert_array_equal(a.high, [3, INF, INF])
    assert (a.label, a.count, a.failed) == ("a", 3, (0, 0, 0))
    assert math.isnan(b.middle[2]) and b.failed == (0, 0, 1)


def test_of_many_seeds_the_band_leaves_out_the_outer_tenths():
    rows = [row("", 1, seed, windows=(float(seed),)) for seed in range(21)]
    (curve,) = curves(rows, (Axis("x", (1,)),), "f_end")
    assert (curve.low[0], curve.middle[0], curve.high[0]) == (2, 10, 18)


def test_each_value_of_a_further_axis_is_a_curve_of_its_own():
    rows = [Row(Point("", (x, y), 1, {}, f"{x}{y}"), outcome()) for x in (1, 2) for y in (0.5, 10)]
    found = curves(rows, (Axis("x", (1, 2)), Axis("y", (10, 0.5))), "f_end")
    assert [curve.label for curve in found] == ["y = 10", "y = 0.5"]


def test_a_metric_that_no_point_has_is_refused():
    with pytest.raises(ValueError, match=r"--metric f_nd: no run has it; did you mean f_end\?"):
        check_metrics([row("a", 1)], ["f_nd"])
    check_metrics([row("a", 1, status="failed")], ["f_nd"])  # nothing ran, so nothing is known


# --- picture ---


def curve(middle, label="a", failed=None, x=(10, 100, 1000)):
    values = np.array(middle)
    return Curve(label, label, x, values, values, values, failed or (0,) * len(x), 1)


def heights(svg):
    """Height of the signs in the plot; those of the legend stand above."""
    return [float(y) for y in re.findall(r'<circle [^>]*cy="([\d.]+)"[^>]*><title>', svg)]


def test_what_never_happens_stands_on_a_line_above_the_axis():
    svg = picture(Chart("t", "s", "delay", True, [curve([1.0, 2.0, INF])]))
    one, two, never = heights(svg)
    assert never < two < one
    assert ">never<" in svg
    assert ">never<" not in picture(Chart("t", "s", "delay", True, [curve([1.0, 2.0, 3.0])]))


def test_a_failed_run_is_a_cross():
    svg = picture(Chart("t", "s", "delay", True, [curve([1.0, 2.0, NAN], failed=(0, 0, 1))]))
    assert "a at 1000: 1 of 1 runs failed" in svg and len(heights(svg)) == 2


def test_predicted_margins_are_lines_where_they_are_and_words_where_there_is_none():
    margins = [Margin(450.0, 6000.0, 0), Margin(INF, 6000.0, 1)]
    svg = picture(Chart("t", "s", "delay", True, [curve([1.0, 2.0, 3.0]), curve([1.0, 2.0, 3.0], "b")], margins))
    assert "predicted to be stable up to 450<" in svg
    assert "predicted to be stable up to 6000 and beyond" in svg
    (at,) = re.findall(r'<line x1="([\d.]+)"[^>]*stroke-dasharray:7 4', svg)
    x = along_x((10, 100, 1000), True, [450.0], 66, 776)
    assert float(at) == pytest.approx(x.place(450), abs=0.06)


def test_a_picture_of_its_own_has_plain_colours_and_escaped_words():
    svg = standalone(picture(Chart("a < b", "s", "x", False, [curve([1.0, 2.0, 3.0], "p & q")])))
    assert "var(" not in svg and "a &lt; b [s]" in svg and "p &amp; q" in svg
    import xml.etree.ElementTree

    xml.etree.ElementTree.fromstring(svg)


def test_ticks_are_round():
    assert even_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert log_ticks(20, 2500) == [20, 50, 100, 200, 500, 1000, 2000]
    assert log_ticks(1e-3, 1e6) == [10.0**n for n in range(-3, 7)]
    words = along_x(("F", "D"), False, [], 0, 100)
    assert words.ticks() == [(0, "F"), (1, "D")] and words.place(0) == 25
    assert along_y([1.0, 100.0], 400, -300).is_log and not along_y([1.0, 3.0], 400, -300).is_log
    assert runs_of([0, 1, 3, 4, 7]) == [[0, 1], [3, 4], [7]]


# --- controls ---


def test_controls_differ_in_their_laws_alone(ieee9):
    control = {
        "members": ["inv2", "inv3"],
        "frequency": {"law": "D", "c2_per_s": 3},
        "voltage": {"law": "none"},
        "period_ms": 20,
    }
    found = variants(ieee9.with_overrides({"control": control}))
    assert list(found) == ["droop only", "centralised", "distributed", "DAPI", "as it is"]
    assert found["DAPI"]["control"] == {
        "members": ["inv2", "inv3"], "frequency": {"law": "D", "c2_per_s": 3}, "voltage": {"law": "Vprime"},
        "period_ms": 20,
    }  # fmt: skip
    assert found["distributed"]["control"]["leader"] == "inv2"
    assert forming(ieee9) == ["inv1", "inv2", "inv3"]
    assert variants(ieee9)["centralised"]["control"]["members"] == ["inv1", "inv2", "inv3"]


def test_events_of_links_that_a_control_has_not_are_left_out_and_told(ieee9):
    link = "inv1->inv2"
    scenario = ieee9.with_overrides({
        "control": {"members": ["inv1", "inv2", "inv3"], "leader": "inv1"},
        "comms": {"delay_ms": 50, "links": {link: {"delay_ms": 80}}},
        "events": [{"t_s": 1, "do": "link_down", "link": link}, {"t_s": 2, "do": "line_open", "line": "6-7"}],
    })  # fmt: skip
    overrides, left_out = fitting(scenario, variants(scenario)["centralised"])
    assert set(left_out) == {"link_down at 1 s", f"link {link}"}
    assert [event["do"] for event in overrides["events"]] == ["line_open"] and overrides["comms.links"] == {}
    assert fitting(scenario, variants(scenario)["DAPI"])[1] == []
    with pytest.raises(ScenarioError, match="step_ms"):
        fitting(scenario, {"step_ms": 0})


def test_a_figure_of_the_whole_run_is_not_shown_as_one_of_a_stretch():
    rows = [
        Row(Point(case, (), 1, {}, case), Outcome(
            "done", "", 1.0, {"f_nadir": 59.0, "messages_sent": 9.0}, ({"f_nadir": 60.0}, {"f_nadir": 59.5})
        ))
        for case in ("[a]", "b")
    ]  # fmt: skip
    described = {"f_nadir": ("Hz", "lowest frequency"), "messages_sent": ("1", "messages sent")}
    windows = [SimpleNamespace(start_s=0.0, end_s=1.0), SimpleNamespace(start_s=1.0, end_s=2.0)]
    study: Any = SimpleNamespace(rows=rows, described=described)
    runs: Any = {"b": SimpleNamespace(windows=windows)}
    found = list(tables(Comparison(study, runs, None, {})))
    assert found == [
        ("from 1 to 2 s", [{"": "lowest frequency", "[a]": "59.5000 Hz", "b": "59.5000 Hz"}]),
        ("whole run", [{"": "messages sent", "[a]": "9", "b": "9"}]),
    ]


def test_brackets_of_a_name_stay_in_a_table(capsys):
    show_table([{"[a]": "[bold]", "b": ":100:"}])
    assert "[a]" in (shown := capsys.readouterr().out) and "[bold]" in shown and ":100:" in shown
