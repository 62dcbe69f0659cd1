"""The recorder for anyone's scenario and the tap on what others show."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.recorder import read_columns
from gridloop.simulators.tap import Recorder, Tap


def recorder(folder: Path) -> Recorder:
    simulator = Recorder()
    simulator.init("Log", 1e-6, folder=str(folder), step_ms=10)
    simulator.create(1, "Recorder")
    return simulator


def test_samples_are_written_under_the_names_of_their_sources(tmp_path: Path) -> None:
    simulator, time = recorder(tmp_path / "new"), 0
    for f_hz in (60.0, 59.5, None):
        inputs = {"recorder": {"f[Hz]": {"A.x": f_hz, "B.y": 50}, "on[1]": {"A.x": True}}}
        time = simulator.step(time, inputs, 0)
    simulator.finalize()
    assert time == 30_000
    columns = read_columns(tmp_path / "new", "Log", ["A.x.f[Hz]", "B.y.f[Hz]", "A.x.on[1]"])
    assert columns["t"].tolist() == [0.0, 0.01, 0.02]
    assert columns["A.x.f[Hz]"] == pytest.approx([60.0, 59.5, np.nan], nan_ok=True)
    assert columns["B.y.f[Hz]"].tolist() == [50] * 3 and columns["A.x.on[1]"].tolist() == [1] * 3


def test_an_array_is_refused_by_the_name_of_its_source(tmp_path: Path) -> None:
    given = {"recorder": {"EMF[pu]": {"Inverter.Inverters": np.ones(3)}}}
    with pytest.raises(SimulatorFailure, match=r"Inverter\.Inverters\.EMF\[pu\] at t = 0 s: .*not one number"):
        recorder(tmp_path).step(0, given, 0)


def test_samples_of_an_earlier_run_are_not_overwritten(tmp_path: Path) -> None:
    first = recorder(tmp_path)
    first.step(0, {"recorder": {"f[Hz]": {"A.x": 1.0}}}, 0)
    first.finalize()
    with pytest.raises(FileExistsError, match="holds samples of Log already"):
        recorder(tmp_path)


def test_tap_hands_on_at_every_tick_with_the_simulators_name() -> None:
    taken: list[Any] = []
    tap = Tap({"Grid": lambda *given: taken.append(("Grid", *given)), "Inv": lambda *given: taken.append(given)})
    tap.init("Tap", 1e-6, step_ms=5, extra_ticks_s=[0.0012])
    tap.create(1, "Tap")
    given = {"tap": {"record[1]": {"Grid.Grid": [1], "Inv.Inverters": [2]}, "log[1]": {"Grid.Grid": []}}}
    assert tap.step(0, given, 0) == 1200
    assert taken == [("Grid", 0, "record[1]", [1]), (0, "record[1]", [2]), ("Grid", 0, "log[1]", [])]


def test_a_taker_that_fails_is_named_with_its_source() -> None:
    def broken(time: int, attr: str, value: Any) -> None:
        raise OSError("disk full")

    tap = Tap({"Grid": broken})
    tap.init("Tap", 1e-6)
    with pytest.raises(SimulatorFailure, match=r"Tap\.Grid\.Grid at t = 0\.005 s: OSError: disk full"):
        tap.step(5000, {"tap": {"record[1]": {"Grid.Grid": [1]}}}, 0)
