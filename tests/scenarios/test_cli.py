"""The `gridloop` command: what it prints, writes and answers."""

import io
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pandapower.networks
import pytest
from rich.console import Console
from typer.testing import CliRunner
from typer.testing import Result as Answer

from gridloop.scenarios import live, open_run
from gridloop.scenarios.cli import app
from gridloop.scenarios.runner import Progress
from gridloop.simulators.models import inverter

CASE9 = cache(pandapower.networks.case9)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; pandapower takes half a second to read its case, once is enough."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pandapower.networks, "case9", CASE9)
    return tmp_path


def gridloop(*words: str) -> Answer:
    return CliRunner().invoke(app, words)


def flat(text: str) -> str:
    """Without the line breaks and gaps of a layout."""
    return " ".join(text.split())


def assert_refused(answer: Answer, *told: str) -> None:
    """Exit code 2 and a message without a traceback."""
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert "Traceback" not in answer.stderr
    for words in told:
        assert words in answer.stderr


# --- run ---


def test_run_leaves_series_record_and_report_and_says_where(folder: Path) -> None:
    answer = gridloop("run", "ieee9", "--until", "0.2", "--out", "here")
    assert answer.exit_code == 0, answer.stderr
    written = sorted(str(path.relative_to(folder / "here")) for path in (folder / "here").rglob("*.*"))
    assert written == ["report.html", "run.json", "series/Grid-00000.parquet", "series/Inverter-00000.parquet"]
    result = open_run("here")
    assert result.status == "done"
    assert result.series("inv1", "f[Hz]")[0][-1] == 0.2
    said = flat(answer.stdout)
    assert "scenario ieee9: Three droop inverters on the 9-bus network, islanded" in said
    assert "3 inverters · 9 buses · 9 branches · 3 loads · 2 events" in said
    assert "step 5 ms, h·lambda 0.24" in said
    assert " done 0.2 s in " in said
    assert "lowest frequency of any unit 60" in said
    assert "saved here/" in said
    assert "report here/report.html" in said
    assert answer.stderr == ""


def test_run_without_a_folder_goes_to_a_new_one_in_runs(folder: Path) -> None:
    for _ in range(2):
        assert gridloop("run", "ieee9", "--until", "0.01").exit_code == 0
    first, second = sorted(path.name for path in (folder / "runs").iterdir())
    assert "-ieee9" in first and "-ieee9" in second


def test_json_is_one_document_on_stdout_and_the_account_goes_elsewhere() -> None:
    answer = gridloop("run", "ieee9", "--until", "0.2", "--out", "here", "--json")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert (document["path"], document["status"], document["message"]) == ("here", "done", "")
    result = open_run("here")
    assert set(document["metrics"]) == set(result.metrics)
    assert document["metrics"]["f_nadir"] == result.metrics["f_nadir"].to_json()
    # 0.2 s are shorter than the window of half a second, and JSON has no number for it
    assert document["metrics"]["rocof_500ms"]["value"] == "nan"
    assert "ieee9: Three droop inverters" in flat(answer.stderr)


def test_scenario_of_a_file_and_values_from_the_command_line() -> None:
    Path("own.yaml").write_text(
        "schema: 1\nname: own\nuntil_s: 5\ngrid: {net: case9, base: {s_mva: 1}}\nunits:\n"
        "  a: {type: inverter, bus: 1, s_rated_kva: 1000}\n"
        "  b: {type: inverter, bus: 2, s_rated_kva: 2000}\n"
        "  c: {type: inverter, bus: 3, s_rated_kva: 1250}\n"
    )
    answer = gridloop(
        "run", "own.yaml", "--set", "step_ms=2.5", "--set", "units.*.droop_p_percent=1", "--set", "title=no",
        "--set", "units.b.z_pu=[0.01, 0.1]", "--until", "0.01", "--out", "here", "--json",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    result = open_run("here")
    kept = result.record["scenario"]
    assert (kept["step_ms"], kept["until_s"], kept["title"]) == (2.5, 0.01, "no")
    assert [unit["droop_p_percent"] for unit in kept["units"].values()] == [1, 1, 1]
    assert kept["units"]["b"]["z_pu"] == [0.01, 0.1]
    assert result.series("a", "f[Hz]")[0] == pytest.approx([0, 0.0025, 0.005, 0.0075, 0.01])


def test_step_that_is_too_long_is_warned_of() -> None:
    assert "use step_ms <= 11" in flat(gridloop("check", "ieee9", "--set", "step_ms=20").stdout)
    assert "warning" not in gridloop("check", "ieee9").stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_folder_that_holds_a_run_is_refused_and_left_as_it_was(folder: Path) -> None:
    assert gridloop("run", "ieee9", "--until", "0.01", "--out", "here").exit_code == 0
    before = contents(folder / "here")
    answer = gridloop("run", "ieee9", "--until", "0.02", "--out", "here")
    assert answer.exit_code == 2
    assert flat(answer.stderr) == "error: here holds a run already; choose another folder"
    assert contents(folder / "here") == before


# --- a run that fails ---


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inverter whose integration fails in its first step."""

    def advance(*_: Any) -> Any:
        raise ValueError("the store is empty")

    monkeypatch.setattr(inverter, "MODEL", type(inverter.MODEL)(**{**vars(inverter.MODEL), "advance": advance}))


@pytest.mark.usefixtures("failing")
def test_failed_run_is_told_in_one_line_and_keeps_what_there_is(folder: Path) -> None:
    answer = gridloop("run", "ieee9", "--until", "0.2", "--out", "here")
    assert answer.exit_code == 1
    assert "failed Inverter" in flat(answer.stdout)
    assert "at t = 0.005 s: the store is empty" in flat(answer.stdout)
    assert "Traceback" not in answer.output
    result = open_run("here")
    assert result.status == "failed"
    assert result.series("inv1", "f[Hz]")[0].tolist() == [0]
    assert (folder / "here" / "report.html").exists()


@pytest.mark.usefixtures("failing")
def test_failed_run_as_json() -> None:
    answer = gridloop("run", "ieee9", "--until", "0.2", "--out", "here", "--json")
    assert answer.exit_code == 1
    document = json.loads(answer.stdout)
    assert document["status"] == "failed"
    assert document["message"].endswith("at t = 0.005 s: the store is empty")


# --- wrong input ---


@pytest.mark.parametrize("command", ["run", "check"])
def test_scenario_that_does_not_exist(command: str, folder: Path) -> None:
    assert_refused(gridloop(command, "ieee8"), "there is no such file or library scenario; did you mean ieee9?")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "check"])
def test_scenario_with_problems(command: str) -> None:
    Path("wrong.yaml").write_text("schema: 1\nname: wrong\nstep_ms: 0\nuntil_s: 1\ngrid: {net: case9}\nunits: {}\n")
    assert_refused(
        gridloop(command, "wrong.yaml"),
        "wrong.yaml has 2 problems",
        "wrong.yaml:3:1: step_ms: must be greater than 0, got 0\n     3 | step_ms: 0\n       | ^",
        "wrong.yaml:6:1: units: must not be empty",
    )
    assert not Path("runs").exists()


def test_scenario_that_does_not_fit_its_network() -> None:
    answer = gridloop("check", "ieee9", "--set", "units.inv1.bus=11")
    assert answer.exit_code == 2
    assert "units.inv1.bus: case9 has no bus '11'" in answer.stderr


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("step_ms", "error: --set step_ms: write PATH=VALUE, e.g. --set step_ms=2.5"),
        ("=5", "error: --set =5: write PATH=VALUE, e.g. --set step_ms=2.5"),
        ("step_ms=[1", "error: --set step_ms=[1: '[1' is not a YAML value"),
        ("no.such=1", "--set no.such: there is no no"),
        ("units.inv9.bus=1", "--set units.inv9.bus: there is no units.inv9"),
        ("step_ms=fast", "step_ms: must be a number, got 'fast' (set from outside the file)"),
        ("step_ms=", "step_ms: must be a number, got nothing (set from outside the file)"),
        ("stepms=5", "stepms: unknown key; did you mean step_ms? (set from outside the file)"),
    ],
)
def test_value_from_the_command_line_that_is_wrong(word: str, told: str) -> None:
    assert_refused(gridloop("check", "ieee9", "--set", word), told)


@pytest.mark.parametrize("until", ["0", "-1", "nan", "inf"])
def test_end_that_is_no_time(until: str) -> None:
    assert_refused(gridloop("run", "ieee9", "--until", until), "until_s: must be ")


def test_word_that_the_command_does_not_know() -> None:
    assert gridloop("run", "ieee9", "--untl", "1").exit_code == 2
    assert gridloop("rum").exit_code == 2


def test_debug_shows_the_traceback() -> None:
    words = [sys.executable, "-c", "from gridloop.scenarios.cli import main; main()", "check", "ieee8"]
    plain = subprocess.run(words, capture_output=True, text=True, check=False)
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    assert "there is no such file or library scenario" in plain.stderr
    debug = subprocess.run([*words, "--debug"], capture_output=True, text=True, check=False)
    assert debug.returncode == 2
    assert "Traceback (most recent call last)" in debug.stderr
    assert "ScenarioError" in debug.stderr


# --- check ---


def test_check_shows_the_start_and_writes_nothing(folder: Path) -> None:
    answer = gridloop("check", "ieee9")
    assert answer.exit_code == 0, answer.stderr
    said = flat(answer.stdout)
    assert "start power_flow: 60.0000 Hz" in said
    assert "inv1 inverter 1 100,000.0 71,954.7 24,069.0" in said
    assert "ok gridloop run ieee9" in said
    assert list(folder.iterdir()) == []


def test_check_as_json() -> None:
    answer = gridloop("check", "ieee9", "--json", "--set", "step_ms=2.5")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert (document["name"], document["step_ms"], document["f_start_hz"]) == ("ieee9", 2.5, 60)
    assert document["h_lambda"] == pytest.approx(0.0025 * 47.11, rel=2e-4)
    first = document["units"][0]
    assert (first["unit"], first["type"], first["bus"], first["s_rated_kva"]) == ("inv1", "inverter", "1", 100_000)
    assert first["p_start_kw"] == pytest.approx(71_954.7016, abs=1e-3)
    assert first["q_start_kvar"] == pytest.approx(24_068.9578, abs=1e-3)


# --- report ---


@pytest.fixture
def two_runs(folder: Path) -> tuple[Path, Path]:
    """runs/old and runs/new, without their reports."""
    runs = Path("runs/old"), Path("runs/new")
    for age_s, run in zip((1_000, 0), runs, strict=True):
        assert gridloop("run", "ieee9", "--until", "0.05", "--out", str(run)).exit_code == 0
        (run / "report.html").unlink()
        os.utime(run / "run.json", (2e9 - age_s, 2e9 - age_s))
    return runs


def test_report_of_a_run(two_runs: tuple[Path, Path]) -> None:
    old, new = two_runs
    answer = gridloop("report", str(old))
    assert answer.exit_code == 0
    assert answer.stdout.strip() == str(old / "report.html")
    assert "ieee9" in (old / "report.html").read_text(encoding="utf-8")
    assert not (new / "report.html").exists()


def test_report_of_the_newest_run(two_runs: tuple[Path, Path]) -> None:
    old, new = two_runs
    assert gridloop("report").stdout.strip() == str(new / "report.html")
    assert (new / "report.html").exists() and not (old / "report.html").exists()


def test_report_of_no_run(folder: Path) -> None:
    assert_refused(gridloop("report", "nowhere"), "error: nowhere holds no run: there is no run.json")
    assert_refused(gridloop("report"), "error: there is no run in runs/; name a run's folder")
    assert list(folder.iterdir()) == []


# --- demo, doctor, help ---


def test_demo_runs_and_reports(folder: Path) -> None:
    answer = gridloop("demo")
    assert answer.exit_code == 0
    (run,) = (folder / "runs").iterdir()
    assert {path.name for path in run.iterdir()} == {"run.json", "report.html", "series"}
    assert [event.kind for event in open_run(run).events] == ["load_step", "line_open"]


def test_doctor_finds_this_installation_fit() -> None:
    answer = gridloop("doctor")
    assert answer.exit_code == 0, answer.stdout
    assert "FAIL" not in answer.stdout
    findings = json.loads(gridloop("doctor", "--json").stdout)
    assert {"Python", "mosaik", "gridloop", "pandapower", "current folder", "disk"} <= {f["subject"] for f in findings}
    assert {finding["verdict"] for finding in findings} <= {"ok", "warning"}


def test_help_names_every_command() -> None:
    said = gridloop("--help").stdout
    for command in ("demo", "run", "check", "report", "export", "doctor"):
        assert f" {command} " in said


# --- what is shown while a run goes on ---


class Clock:
    """Wall time [s] that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def shown(terminal: bool, looks: list[tuple[float, float]]) -> str:
    """Progress of a run of 10 s, seen at pairs of wall and simulated time."""
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, force_terminal=terminal, width=120, highlight=False)
    with live.display(console, 10, clock) as watch:
        for wall_s, t_s in looks:
            clock.now_s = 100 + wall_s
            watch(Progress(t_s, 59.95))
    return file.getvalue()


def test_progress_without_a_terminal_is_a_few_lines() -> None:
    # 2 s simulated in each second; a fifth of the run in every line
    looks = [(k * 0.05, k * 0.1) for k in range(101)]
    lines = shown(False, looks).splitlines()
    assert len(lines) == 5
    assert flat(lines[0]) == "running 2.00 of 10 s f 59.9500 Hz 2.0 x real time ETA 4 s"
    assert flat(lines[-1]) == "running 10.00 of 10 s f 59.9500 Hz 2.0 x real time ETA 0 s"


def test_speed_is_unknown_at_the_first_look() -> None:
    assert flat(shown(False, [(0, 5)])) == "running 5.00 of 10 s f 59.9500 Hz"


def test_progress_on_a_terminal_is_a_bar_that_vanishes() -> None:
    text = shown(True, [(0, 0), (1, 5)])
    assert "5.00 of 10 s" in text and "\x1b[2K" in text
