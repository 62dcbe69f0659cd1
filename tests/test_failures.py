"""What is left of a run that did not end well, and what it says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter
from pyarrow.parquet import read_metadata

from gridloop.scenarios import RunFailed, load, open_run, run
from gridloop.scenarios.build import Built
from gridloop.simulators.models import inverter

LONG = """
import sys
from pathlib import Path
import gridloop.simulators.recorder as recorder
from gridloop.scenarios import load, run
recorder.CHECKPOINT_S = 0.3
recorder.VALUES_PER_SEGMENT = 60_000
run(load("ieee9"), until_s=100_000.0, folder=Path(sys.argv[1]))
"""


class Clockwork(mosaik_api_v3.Simulator):
    """A user's simulator that reads a frequency and raises `error` at 0.5 s."""

    def __init__(self, error: Exception) -> None:
        attributes = {"public": True, "params": [], "attrs": ["f[Hz]"]}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {"Watch": attributes}})
        self.error = error

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "watch1", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        if time >= 500_000:
            raise self.error
        return time + 100_000

    def get_data(self, outputs: Any) -> Any:
        return {}


def add(error: Exception) -> Any:
    def extend(built: Built) -> None:
        watch = built.world.start(PythonStarter(Clockwork, args=(error,)), "Clockwork").Watch()
        built.world.connect(built.entities["inv1"], watch, "f[Hz]")

    return extend


@pytest.mark.parametrize("error", [RuntimeError("spring broke"), TypeError("spring broke"), KeyError("spring broke")])
def test_a_users_simulator_that_raises_is_named_with_entity_and_time(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"Clockwork\.watch1 at t = 0\.5 s: .*spring broke") as caught:
        run(load("ieee9"), folder=tmp_path, extend=add(error))
    result = caught.value.result
    assert result.status == open_run(tmp_path).status == "failed"
    assert "Clockwork.watch1" in result.record["message"]
    t, _ = result.series("inv1", "f[Hz]")
    # the others may be a few steps ahead of the slow one when it fails
    assert 0.45 < t[-1] <= 0.6 and "f_nadir" in result.metrics


def test_a_users_connections_in_a_circle_are_told_in_mosaiks_words(tmp_path: Path) -> None:
    def extend(built: Built) -> None:
        first, second = (
            built.world.start(PythonStarter(Clockwork, args=(None,)), name).Watch() for name in ("First", "Second")
        )
        built.world.connect(first, second, "f[Hz]")
        built.world.connect(second, first, "f[Hz]")

    with pytest.raises(RunFailed, match=r"cycle[^F]*First"):
        run(load("ieee9"), until_s=0.1, folder=tmp_path, extend=extend)


@pytest.mark.parametrize("kind", [ValueError, TypeError, ZeroDivisionError])
def test_a_model_that_raises_is_named_with_entity_and_time(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = {"s": 0.0}

    def breaks(p: Any, s: Any, u: Any, slopes: Any, dt_s: float) -> Any:
        passed["s"] += dt_s
        if passed["s"] > 0.3001:
            raise kind("capacitor missing")
        return inverter.advance(p, s, u, slopes, dt_s)

    model = inverter.MODEL
    monkeypatch.setattr(inverter, "MODEL", type(model)(**{**vars(model), "advance": breaks}))
    with pytest.raises(
        RunFailed, match=r"Inverter\.Inverters \(inv1, inv2, inv3\) at t = 0\.305 s: .*capacitor"
    ) as caught:
        run(load("ieee9"), folder=tmp_path)
    assert caught.value.result.series("inv1", "f[Hz]")[0][-1] == pytest.approx(0.3)


def test_not_a_number_is_never_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(p: Any, s: Any, u: Any, slopes: Any, dt_s: float) -> Any:
        return inverter.advance(p, s, u, slopes, dt_s)._replace(delta_rad=np.full(3, np.nan))

    model = inverter.MODEL
    monkeypatch.setattr(inverter, "MODEL", type(model)(**{**vars(model), "advance": lost}))
    with pytest.raises(RunFailed, match=r"at t = 0\.005 s: .*EMF of source 1 is not finite"):
        run(load("ieee9"), folder=tmp_path)


def test_collapse_ends_or_marks_the_run_with_time_and_bus(tmp_path: Path) -> None:
    # four times the load of bus 5 lies beyond the nose: the network has a low-voltage solution or none
    overrides = {"events": [{"t_s": 0.5, "do": "load_step", "bus": 5, "p_kw": 400000, "q_kvar": 300000}]}
    try:
        result = run(load("ieee9"), folder=tmp_path, until_s=1.0, overrides=overrides)
    except RunFailed as failure:
        result = failure.result
        assert "no network solution" in str(failure) and "0.5" in str(failure)
    (collapse,) = [event for event in result.events if event.kind == "voltage_collapse"][:1]
    assert collapse.target == "5" and collapse.t_s == pytest.approx(0.5)
    assert result.metrics["collapse_count"].value >= 1
    assert all(np.isfinite(result.series("5", "Vm[pu]")[1]))


@pytest.fixture
def long_run(tmp_path: Path) -> Any:
    """A process with a long run, past its first closed segments."""
    process = subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("series/Grid-*.parquet"))) < 6 and process.poll() is None:
            assert time.monotonic() < deadline, "the run writes no segments"
            time.sleep(0.05)
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()


def test_killed_run_leaves_its_closed_segments_readable(long_run: Any, tmp_path: Path) -> None:
    closed = {path for path in tmp_path.glob("series/Grid-*.parquet") if ".part" not in path.name}
    os.kill(long_run.pid, signal.SIGKILL)
    long_run.wait()
    result = open_run(tmp_path)
    assert result.status == "interrupted"
    t, p_load = result.series("grid", "P_load[MW]")
    assert len(t) >= sum(read_metadata(path).num_rows for path in closed) >= 2000
    assert np.allclose(np.diff(t), 0.005) and p_load[0] == pytest.approx(315)
    assert set(result.entities) >= {"inv1", "5", "6-7", "load9"}
    assert result.metrics["f_end"].value == pytest.approx(59.9086, abs=1e-3)


def test_interrupt_keeps_everything_up_to_there(long_run: Any, tmp_path: Path) -> None:
    long_run.send_signal(signal.SIGINT)
    long_run.wait(timeout=60)
    result = open_run(tmp_path)
    assert result.status == "interrupted" and result.record["status"] == "interrupted"
    t, _ = result.series("inv1", "f[Hz]")
    assert t[-1] > 5 and result.metrics["f_end"].value == pytest.approx(59.9086, abs=1e-3)
    assert not list(tmp_path.glob("series/*.part*"))
