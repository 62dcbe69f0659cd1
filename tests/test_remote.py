"""Simulators in other processes: the same files to the bit, and every way to lose one ends the run by name."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mosaik_api_v3
import pytest
from mosaik.starters import PythonStarter

from gridloop.scenarios import Result, RunFailed, load, open_run, run
from gridloop.scenarios.build import Built

WITHIN_S = 5.0
MODEL = """
import sys
from dataclasses import replace
from gridloop.simulators.models import inverter

passed_s = 0.0

def breaks(p, s, u, slopes, dt_s):
    global passed_s
    passed_s += dt_s
    if passed_s > 0.1001:
        raise KeyError("capacitor missing")
    return inverter.advance(p, s, u, slopes, dt_s)

def never_begins(p, s, emf):
    if sys.argv[0].endswith("__main__.py"):
        raise ZeroDivisionError("no capacitor here")
    return inverter.initial(p, s, emf)

BREAKS = replace(inverter.MODEL, name="Weak", advance=breaks)
NEVER = replace(inverter.MODEL, name="Weak", initial=never_begins)
"""
# pcc with an event, sources of all kinds, loads that see the frequency, shedding, set-points, a meter
FULL: dict[str, Any] = {
    "schema": 1, "name": "full", "until_s": 0.6, "step_ms": 2, "seed": 3,
    "grid": {
        "net": "case9", "base": {"s_mva": 1, "v_kv": 11},
        "loads": {"zip_p": [0.2, 0.3, 0.5], "zip_q": [0.2, 0.3, 0.5], "k_pf": 1.5, "k_qf": -1},
    },
    "pcc": {"bus": 4, "r_pu": 0.01, "x_pu": 0.1},
    "load_shedding": [{"below_hz": 59.9, "delay_ms": 20, "share_percent": 30}],
    "units": {
        "inv1": {"type": "inverter", "bus": 1, "s_rated_kva": 1000, "z_pu": [0.01, 0.1], "i_max_percent": 110},
        "inv2": {"type": "inverter", "bus": 2, "s_rated_kva": 2000},
        "inv3": {"type": "inverter", "bus": 3, "s_rated_kva": 1250},
        "pv": {"type": "inverter", "control": "following", "bus": 5, "s_rated_kva": 300, "p_set_kw": 120,
               "q_set_kvar": 10},
        "ev": {"type": "profile", "bus": 7, "p_load": 50, "q_load": 5},
    },
    "meters": {"m1": {"of": "pv", "attr": ["P_gen[MW]", "Vm[pu]"], "period_ms": 20, "noise_percent": 1}},
    "events": [
        {"t_s": 0.1, "do": "set", "path": "units.pv.p_set_kw", "value": 200},
        {"t_s": 0.1003, "do": "set", "path": "units.inv1.p_set_kw", "value": 300},  # no tick of the grid
        {"t_s": 0.2, "do": "pcc_open"},
        {"t_s": 0.2, "do": "load_step", "bus": 5, "p_kw": 900, "q_kvar": 100},
        {"t_s": 0.3011, "do": "unit_trip", "unit": "inv2"},
        {"t_s": 0.4, "do": "unit_start", "unit": "inv2"},
        {"t_s": 0.5, "do": "line_open", "line": "6-7"},
    ],
}  # fmt: skip


def children() -> set[int]:
    """Processes that this one started, and those of its threads."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() == before


def events_and_metrics(result: Result) -> Any:
    """What a run found, without what depends on the machine."""
    kept = {key: metric for key, metric in result.metrics.items() if not key.startswith("wall_")}
    return result.events, str(kept)  # in words nan equals nan


def assert_same(one: Result, other: Result) -> None:
    names = [sorted(path.name for path in (result.path / "series").iterdir()) for result in (one, other)]
    assert names[0] == names[1]
    for name in names[0]:
        assert (one.path / "series" / name).read_bytes() == (other.path / "series" / name).read_bytes(), name
    assert events_and_metrics(one) == events_and_metrics(other)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(load(FULL), folder=tmp_path_factory.mktemp("full"))


def test_ieee9_with_grid_and_inverters_in_processes_of_their_own_is_the_same_to_the_bit(tmp_path: Path) -> None:
    expected = run(load("ieee9"), until_s=1.2, folder=tmp_path / "here")
    found = run(load("ieee9"), until_s=1.2, folder=tmp_path / "there", remote=("Grid", "Inverter"))
    assert len(expected.events) == 1 and len(expected.series("inv1", "f[Hz]")[0]) == 241
    assert_same(expected, found)


def test_the_scenario_for_the_next_test_has_everything(full: Result) -> None:
    kinds = {event.kind for event in full.events}
    assert kinds >= {"set", "pcc_open", "load_step", "unit_trip", "unit_start", "line_open", "load_shed"}
    assert {what.kind for what in full.entities.values()} >= {"unit", "meter", "pcc"}


@pytest.mark.parametrize("remote", ["Grid,Inverter,Following,Profile", "Grid", "inverter,following"])
def test_everything_a_scenario_may_hold_is_the_same_to_the_bit(remote: str, full: Result, tmp_path: Path) -> None:
    assert_same(full, run(load(FULL), folder=tmp_path, remote=remote))


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("grid", r"Grid\.Grid"),
        ("gridloop.simulators.models.inverter:MODEL", r"Inverter\.Inverters \(inv1, inv2, inv3\)"),
    ],
)
def test_a_killed_process_fails_the_run_by_name(
    program: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed_s: list[float] = []

    def kill(progress: Any) -> None:
        if not killed_s and progress.t_s > 0.3:
            (pid,) = [pid for pid in children() if program in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
            os.kill(pid, signal.SIGKILL)
            killed_s.append(time.monotonic())

    with pytest.raises(RunFailed, match=name + r" at t = 0\.[0-9]+ s: its process was killed \(signal 9\)") as caught:
        run(load("ieee9"), until_s=1e5, folder=tmp_path, remote="Grid,Inverter", watch=kill)
    assert time.monotonic() - killed_s[0] < WITHIN_S
    result = caught.value.result
    assert result.status == open_run(tmp_path).status == "failed"
    assert len(result.series("inv1", "f[Hz]")[0]) > 10 and result.metrics["f_nadir"].value > 59
    assert capfd.readouterr() == ("", "")


def weak(model: str, folder: Path) -> Any:
    """The three inverters, one of them of the user's own model, whose module stands beside the file."""
    (folder / "weak_model.py").write_text(MODEL)
    file = folder / "weak.yaml"
    file.write_text(f"extends: ieee9\nname: weak\nunits:\n  inv1: {{type: 'weak_model:{model}'}}\n", encoding="utf-8")
    return load(file)


def test_an_own_model_that_raises_is_named_with_entity_and_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    began_s = time.monotonic()
    with pytest.raises(
        RunFailed, match=r"^Weak\.Weaks \(inv1\) at t = 0\.105 s: KeyError: 'capacitor missing'$"
    ) as caught:
        run(weak("BREAKS", tmp_path), folder=tmp_path / "run", remote=["Weak", "Grid"])
    assert time.monotonic() - began_s < 3 * WITHIN_S
    t, _ = caught.value.result.series("inv1", "f[Hz]")
    assert caught.value.result.status == "failed" and 0.09 < t[-1] <= 0.1
    assert capfd.readouterr() == ("", "")


def test_a_simulator_that_cannot_begin_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunFailed, match=r"^Weak did not start: ZeroDivisionError: no capacitor here$"):
        run(weak("NEVER", tmp_path), folder=tmp_path / "run", remote="Weak")
    assert open_run(tmp_path / "run").status == "failed"
    assert capfd.readouterr() == ("", "")


def test_what_happened_in_the_step_that_failed_is_told_too(tmp_path: Path) -> None:
    # a voltage that the network's solver refuses, in the step that adds a load
    overrides = {"events": [
        {"t_s": 0.1, "do": "load_step", "bus": 5, "p_kw": 1e3},
        {"t_s": 0.1, "do": "set", "path": "units.inv1.v_set_pu", "value": 1e9},
    ]}  # fmt: skip
    results = []
    for folder, remote in (("here", ""), ("there", "Grid")):
        with pytest.raises(RunFailed, match=r"^Grid\.Grid at t = 0\.1 s: the EMF of source 1 has grown") as caught:
            run(load("ieee9"), until_s=0.2, folder=tmp_path / folder, overrides=overrides, remote=remote)
        results.append(caught.value.result)
    here, there = results
    assert [event.kind for event in there.events] == ["set", "load_step"]
    assert here.events == there.events and here.record["message"] == there.record["message"]


class Agent(mosaik_api_v3.Simulator):
    """A user's simulator: reads a frequency, sets a power, raises at 0.3 s if it is told to."""

    def __init__(self, raises: bool) -> None:
        models = {"Agent": {"public": True, "params": [], "attrs": ["f[Hz]", "P_set[MW]"]}}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})
        self.raises, self.seen = raises, list[float]()

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "agent1", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.seen += inputs["agent1"]["f[Hz]"].values()
        if self.raises and time >= 300_000:
            raise RuntimeError("spring broke")
        return time + 50_000

    def get_data(self, outputs: Any) -> Any:
        return {"agent1": {"P_set[MW]": 100.0 + len(self.seen)}}


def joined_by(agent: Agent) -> Callable[[Built], None]:
    def extend(built: Built) -> None:
        entity = built.world.start(PythonStarter(lambda: agent), "Agents").Agent()  # type: ignore[arg-type]
        unit = built.entities["inv1"]
        built.world.connect(unit, entity, "f[Hz]")
        built.world.connect(entity, unit, "P_set[MW]", time_shifted=True, initial_data={"P_set[MW]": 71.95})

    return extend


def test_a_users_simulator_joins_those_in_other_processes(tmp_path: Path) -> None:
    agents = [Agent(False), Agent(False)]
    here, there = (
        run(load("ieee9"), until_s=0.5, folder=tmp_path / folder, extend=joined_by(agent), remote=remote)
        for agent, folder, remote in zip(agents, ("here", "there"), ("", "Grid,Inverter"), strict=True)
    )
    assert_same(here, there)
    assert agents[0].seen == agents[1].seen and len(set(agents[0].seen)) > 5
    with pytest.raises(RunFailed, match=r"^Agents\.agent1 at t = 0\.3 s: RuntimeError: spring broke"):
        run(load("ieee9"), until_s=5, folder=tmp_path / "raises", extend=joined_by(Agent(True)), remote="Grid,Inverter")


@pytest.mark.parametrize(
    ("remote", "complaint"),
    [
        ("Gird", r"remote: there is no simulator 'Gird'; did you mean Grid\?"),
        (("Recorder",), "remote: there is no simulator 'Recorder'; known: Grid, Inverter"),
        ("Grid=5678", "remote: Grid=5678: write Grid=HOST:PORT"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_written(remote: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=complaint):
        run(load("ieee9"), folder=tmp_path / "run", remote=remote)
    assert not (tmp_path / "run").exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def command(*words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", *words], stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_a_simulator_that_listens_already_takes_part(tmp_path: Path) -> None:
    expected = run(load("ieee9"), until_s=0.2, folder=tmp_path / "here")
    port = free_port()
    with command("gridloop.simulators", "inverter", f"127.0.0.1:{port}", "--listen", "-l", "info") as listener:
        assert listener.stderr is not None and "waiting for mosaik" in listener.stderr.readline()
        found = run(load("ieee9"), until_s=0.2, folder=tmp_path / "there", remote=f"Inverter=127.0.0.1:{port}")
        assert listener.wait(timeout=10) == 0
    assert_same(expected, found)
    with pytest.raises(RunFailed, match=rf"^Inverter did not start: 127\.0\.0\.1:{port} does not answer$"):
        run(load("ieee9"), until_s=0.2, folder=tmp_path / "nobody", remote=f"Inverter=127.0.0.1:{port}")


LONG = """
import sys
import gridloop.simulators.recorder as recorder
from gridloop.scenarios.cli import main
recorder.CHECKPOINT_S = 0.3
sys.argv = ["gridloop", "run", "ieee9", "--until", "100000", "--out", sys.argv[1], "--remote", "grid,inverter"]
main()
"""


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """The command at work, and the processes that it started."""
    pipe = subprocess.PIPE
    arguments = [sys.executable, "-c", LONG, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob("series/Grid-*.parquet")):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            yield process, [int(pid) for pid in listed.split()]
        finally:
            process.kill()


def assert_end(pids: list[int]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        assert time.monotonic() < deadline, "a simulator's process outlives its run"
        time.sleep(0.05)


def test_ctrl_c_at_a_terminal_keeps_the_results(
    long_run: tuple["subprocess.Popen[str]", list[int]], tmp_path: Path
) -> None:
    process, pids = long_run
    assert len(pids) == 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err == "" and "interrupted" in out
    assert open_run(tmp_path).status == "interrupted"
    assert_end(pids)


def test_processes_end_with_a_killed_run(long_run: tuple["subprocess.Popen[str]", list[int]]) -> None:
    process, pids = long_run
    assert len(pids) == 2
    process.kill()
    _, err = process.communicate(timeout=30)
    assert_end(pids)
    assert "Traceback" not in err
