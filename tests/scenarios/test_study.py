"""Studies that are killed, and whose workers are killed: no finished point is lost, none is run twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from gridloop.scenarios import load, open_run, open_study, study
from gridloop.scenarios.cli import app
from gridloop.scenarios.variants import compare_controls

QUICK = {
    "until_s": 0.3, "record.every_ms": 50,
    "events": [{"t_s": 0.1, "do": "load_step", "bus": 5, "p_kw": 30000, "q_kvar": 10000}],
}  # fmt: skip
YAML = """
extends: ieee9
until_s: 0.3
record: {every_ms: 50}
events: [{t_s: 0.1, do: load_step, bus: 5, p_kw: 30000, q_kvar: 10000}]
study:
  metric: f_nadir
  set: {units.*.droop_p_percent: "0.5:8:5:log"}
  cases:
    slow: {units.*.filter_hz: 5}
    fast: {units.*.filter_hz: 20}
    dark: {start: droop, units.*.v_set_pu: 0.3}
"""
pytestmark = pytest.mark.timeout(300)  # several processes start, each of which imports everything
POINTS = 15  # 5 droops in 3 cases, of which the last finds no state to begin with


def keys(folder: Path) -> list[str]:
    """Keys of the finished points in the order in which they were kept."""
    path = folder / "points.jsonl"
    whole = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)["key"] for line in whole if line.endswith(b"\n")]


def workers_of(parent: int) -> list[int]:
    """Worker processes of a process."""
    words = ["pgrep", "-P", str(parent), "-f", "study_worker"]
    return [int(word) for word in subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()]


def is_there(process: int) -> bool:
    """Whether a process is alive; one that nobody has waited for is not."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=120.0):
    """Wait until a condition holds; what another process does has no better sign."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory):
    """A study that is killed after some points and goes on, one of whose workers is killed then."""
    folder = tmp_path_factory.mktemp("resumed")
    (folder / "quick.yaml").write_text(YAML, encoding="utf-8")
    command = [sys.executable, "-c", "from gridloop.scenarios.cli import main; main()", "study", "quick.yaml"]
    with subprocess.Popen([*command, "--out", "study", "--jobs", "2"], cwd=folder) as process:
        wait_for(lambda: len(keys(folder / "study")) >= 3 or process.poll() is not None)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGKILL)
    before = keys(folder / "study")
    with (folder / "study" / "points.jsonl").open("ab") as file:
        file.write(b'{"key": "half a li')  # what a kill in the middle of a write leaves
    killed: list[int] = []

    def kill_a_worker(now):
        if now.done == len(before) + 2 and not killed:
            killed.append(workers_of(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    result = study(load(folder / "quick.yaml"), folder=folder / "study", jobs=2, watch=kill_a_worker)
    return folder, workers, before, killed, result


def test_a_killed_study_goes_on_and_neither_loses_nor_repeats_a_finished_point(resumed):
    folder, _, before, _, result = resumed
    after = keys(folder / "study")
    assert 3 <= len(before) < POINTS
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == POINTS == len(result.rows)
    assert result.status == "done"


def test_workers_end_with_a_study_that_is_killed(resumed):
    _, workers, _, _, _ = resumed
    assert len(workers) == 2
    wait_for(lambda: not any(is_there(worker) for worker in workers), 10.0)


def test_the_point_of_a_killed_worker_is_run_by_another(resumed):
    _, _, _, killed, result = resumed
    assert len(killed) == 1
    assert not [row.outcome.message for row in result.rows if "died" in row.outcome.message]


def test_a_run_that_fails_is_a_point_that_failed(resumed):
    _, _, _, _, result = resumed
    failed = [row for row in result.rows if row.failed]
    assert [row.point.case for row in failed] == ["dark"] * 5
    assert all("voltage collapse" in row.outcome.message for row in failed)


def test_the_table_has_a_row_a_point_with_its_overrides_and_metrics(resumed):
    folder, _, _, _, result = resumed
    table = pyarrow.parquet.read_table(folder / "study" / "study.parquet").to_pydict()
    assert set(table["case"]) == {"slow", "fast", "dark"} and set(table["seed"]) == {1}
    assert sorted(set(table["units.*.droop_p_percent"])) == [0.5, 1, 2, 4, 8]
    assert table["status"].count("done") == 10
    row = result.rows[0]
    place = [*zip(table["case"], table["units.*.droop_p_percent"], strict=True)].index(("slow", 0.5))
    assert table["f_nadir"][place] == row.figure("f_nadir") == row.figure("windows.1.f_nadir")
    assert table["windows.1.f_nadir"][place] < table["windows.0.f_nadir"][place] == pytest.approx(60)
    assert table["run.f_nadir"][place] == table["windows.1.f_nadir"][place]
    # the greater the droop the deeper the frequency falls, as A0 has it: 2 % makes about 0.1 Hz of 0.3 pu
    nadirs = [row.figure("f_nadir") for row in result.rows if row.point.case == "slow"]
    assert nadirs == sorted(nadirs, reverse=True)
    assert nadirs[2] == pytest.approx(59.88, abs=0.02)


def test_the_same_run_alone_has_the_same_figures(resumed, tmp_path):
    from gridloop.scenarios import run

    folder, _, _, _, result = resumed
    row = next(row for row in reversed(result.rows) if not row.failed)
    alone = run(load(folder / "quick.yaml").with_overrides(row.point.overrides), folder=tmp_path / "alone")
    assert row.outcome.metrics["f_nadir"] == alone.metrics["f_nadir"].value


def test_page_and_picture_are_there_and_small(resumed):
    folder, _, _, _, _ = resumed
    page = (folder / "study" / "study.html").read_text(encoding="utf-8")
    assert len(page) < 300_000
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page
    assert "var(" not in (folder / "study" / "study.svg").read_text(encoding="utf-8")
    assert "Runs that failed" in page and "dark, start = droop" in page
    assert not (folder / "study" / ".running").exists()


def test_the_command_shows_a_finished_study_without_running_it_again(resumed, monkeypatch):
    folder, _, _, _, result = resumed
    monkeypatch.chdir(folder)
    stamp = (folder / "study" / "points.jsonl").stat().st_mtime_ns
    answer = CliRunner().invoke(app, ["study", "quick.yaml", "--out", "study", "--json"])
    assert answer.exit_code == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert (told["points"], told["finished"], told["failed"], told["status"]) == (15, 15, 5, "done")
    curve = told["metrics"]["f_nadir"][0]
    assert curve["x"] == [0.5, 1, 2, 4, 8] and curve["case"] == "slow"
    shown = CliRunner().invoke(app, ["study", "quick.yaml", "--out", "study", "--metric", "windows.1.f_settling_time"])
    assert shown.exit_code == 0 and "never" in shown.stdout and "15 were there" in shown.stdout
    assert (folder / "study" / "points.jsonl").stat().st_mtime_ns == stamp
    assert str(open_study(folder / "study").rows[3]) == str(result.rows[3])  # nan is not equal to nan


def test_another_scenario_in_the_same_folder_is_refused(resumed, monkeypatch):
    folder, _, _, _, _ = resumed
    monkeypatch.chdir(folder)
    (folder / "other.yaml").write_text(YAML.replace("0.3", "0.4"), encoding="utf-8")
    answer = CliRunner().invoke(app, ["study", "other.yaml", "--out", "study"])
    assert answer.exit_code == 2
    assert "study holds a study of another scenario: until_s changed since" in answer.stderr


def test_a_metric_that_no_run_has_is_refused_with_the_one_that_was_meant(resumed, monkeypatch):
    folder, _, _, _, _ = resumed
    monkeypatch.chdir(folder)
    answer = CliRunner().invoke(app, ["study", "quick.yaml", "--out", "study", "--metric", "f_nadr"])
    assert answer.exit_code == 2
    assert "--metric f_nadr: no run has it; did you mean f_nadir?" in answer.stderr


def test_a_killed_dask_worker_does_not_end_a_study_and_ctrl_c_keeps_what_there_is(tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")
    scenario = load("ieee9").with_overrides(QUICK)
    sets = {"units.*.droop_p_percent": "1:8:8"}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:

        def stop(now):
            if now.done == 2:
                raise KeyboardInterrupt

        address = cluster.scheduler_address
        cut = study(scenario, sets=sets, folder=tmp_path / "study", scheduler=address, watch=stop)
        before = keys(tmp_path / "study")
        assert cut.status == "interrupted" and len(cut.rows) == len(before) == 2
        killed: list[int] = []

        def kill_a_worker(now):
            if now.done == 3 and not killed:
                killed.append(next(worker.pid for worker in cluster.workers.values()))
                os.kill(killed[0], signal.SIGKILL)

        result = study(scenario, sets=sets, folder=tmp_path / "study", scheduler=address, watch=kill_a_worker)
    after = keys(tmp_path / "study")
    assert killed and result.status == "done"
    assert after[:2] == before and len(after) == len(set(after)) == 8
    assert [row.outcome.status for row in result.rows] == ["done"] * 8


def test_nobody_at_the_address_of_a_scheduler_is_told(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    from gridloop.scenarios import study_cluster

    monkeypatch.setattr(study_cluster, "PATIENCE_S", 0.2)
    with pytest.raises(ValueError, match="no Dask scheduler answers at tcp://"):
        study(load("ieee9"), sets={"step_ms": [5]}, folder=tmp_path, scheduler="tcp://127.0.0.1:9")


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="repeats = 0 must be at least 1"):
        study(load("ieee9"), repeats=0)


def test_a_range_is_printed_as_it_was_given_and_a_file_is_no_folder(tmp_path):
    wrong = CliRunner().invoke(app, ["study", "ieee9", "--set", "step_ms=0:100:5:log"])
    assert wrong.exit_code == 2 and "step_ms=0:100:5:log: with :log" in wrong.stderr
    (tmp_path / "a.yaml").touch()
    with pytest.raises(ValueError, match=r"a\.yaml is a file; a study needs a folder"):
        study(load("ieee9"), sets={"step_ms": [5]}, folder=tmp_path / "a.yaml")


def test_controls_are_compared_on_the_same_disturbances(tmp_path):
    scenario = load("ieee9").with_overrides({**QUICK, "until_s": 4})
    found = compare_controls(scenario, folder=tmp_path, jobs=2)
    assert found.study.status == "done" and not found.left_out
    f_end = {case: run.metrics["f_end"].value for case, run in found.results.items()}
    assert list(f_end) == ["droop only", "centralised", "distributed", "DAPI"]
    # A1: droop alone leaves the frequency at -0.0896 Hz, secondary control brings it back
    assert f_end["droop only"] == pytest.approx(59.9104, abs=2e-4)
    assert all(value > 59.97 for case, value in f_end.items() if case != "droop only")
    assert found.page is not None and found.page.stat().st_size < 300_000
    assert open_run(tmp_path / "runs" / "DAPI").status == "done"
