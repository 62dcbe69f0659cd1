"""A SunSpec device in place of inv2, one of three droop inverters on the 9-bus network, with a load step.

It takes set-points of power, so that in a steady state it is what a following unit with the same set-points is.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certificates import make
from gridloop.hil.behaviour import PowerStage, Rating, law_for
from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import load_map
from gridloop.hil.sunspec_emulated import emulated, running
from gridloop.hil.sunspec_image import typical_models
from gridloop.scenarios import run
from gridloop.scenarios.problems import ScenarioError
from swap_case import SETTLED_S, UNIT, p_quantum_mw, scenario

STEP_MW = 0.01  # of the power that a device of 200 MVA shows in 16 bits
STEP_HZ = 1e-4
SLOW = {f"units.{UNIT}.device.{key}": value for key, value in (("period_ms", 50), ("deadline_ms", 50))}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    device, map, words = emulated(typical_models(200e6))
    law = running(PowerStage(Rating(s_mva=200.0, f_hz=60.0)), device)
    with Emulator("sunspec+tcp://127.0.0.1:0/1", map, law, words=words) as served:
        yield served


def at(emulator: Emulator) -> str:
    return f"sunspec+tcp://127.0.0.1:{emulator.url.port}/1"


def following(**overrides: Any) -> Any:
    """The same scenario with inv2 as a simulated following unit."""
    return scenario(**{f"units.{UNIT}.device": None, f"units.{UNIT}.control": "following"} | overrides)


def test_in_a_steady_state_it_is_a_following_unit_with_its_set_points(emulator: Emulator, tmp_path: Path) -> None:
    result = run(scenario(**SLOW), folder=tmp_path / "device", swap={UNIT: at(emulator)})
    assert result.status == "done", result.record["message"]
    reference = run(following(), folder=tmp_path / "model")
    t, active = result.series(UNIT, "active[1]")
    assert active.all()
    settled = t >= SETTLED_S
    for unit in ("inv1", "inv2", "inv3"):
        off_mw = np.abs(result.series(unit, "P_gen[MW]")[1] - reference.series(unit, "P_gen[MW]")[1])[settled]
        assert off_mw.max() <= p_quantum_mw(STEP_HZ, STEP_MW), unit
    f, expected = (one.series("inv1", "f[Hz]")[1][settled] for one in (result, reference))
    assert np.abs(f - expected).max() <= 1e-3
    with (tmp_path / "device" / "writes.csv").open(encoding="utf-8") as file:
        written = [row["attribute"] for row in csv.DictReader(file)]
    assert written.index("reversion[s]") < written.index("P_set[MW]") < written.index("enable[1]")
    assert emulator.written["P_set[MW]"] == 0.0  # left in its safe state


def test_killed_and_started_again_in_mid_run_it_is_steered_anew(emulator: Emulator, tmp_path: Path) -> None:
    turns: list[tuple[float, Any]] = [(0.5, emulator.kill), (1.2, emulator.revive)]
    found: list[float] = []

    def watch(progress: Any) -> None:
        if turns and progress.t_s >= turns[0][0]:
            turns.pop(0)[1]()
        if progress.t_s >= 3.3 and not found:
            found.append(emulator.written["P_set[MW]"])

    hold = {f"units.{UNIT}.device.on_loss": {"hold_ms": 100, "then": "model"}}
    result = run(scenario(3.5, **SLOW, **hold), folder=tmp_path / "run", swap={UNIT: at(emulator)}, watch=watch)
    assert result.status == "degraded"
    assert [event.kind for event in result.events if event.target == UNIT] == ["swap", "device_lost", "device_back"]
    t, active = result.series(UNIT, "active[1]")
    assert active[t < 0.5].all()
    assert not active[(t > 1.05) & (t < 1.2)].any()
    assert active[-1] == 1
    assert found == [pytest.approx(163.0)]
    statistics = result.record["device_statistics"][UNIT]
    assert statistics["recoveries"] == 1
    under_way = statistics["requests"] - statistics["answers"] - sum(statistics["lost"].values())
    assert 0 <= under_way <= 1


def test_a_sunspec_device_takes_the_role_of_power_only() -> None:
    device: Any = {"url": "sunspec+tcp://192.0.2.1:502/1", "role": "controller"}
    with pytest.raises(ScenarioError, match="takes set-points of power: write role: power"):
        scenario(**{f"units.{UNIT}.device": device})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.peers("openssl")
def test_a_device_behind_tls_drives_with_certificates_of_both(certificates: Path, tmp_path: Path) -> None:
    map = load_map("generic_inverter")
    own = f"cert={certificates / 'device.crt'}&key={certificates / 'device.key'}&ca={certificates / 'ca.crt'}"
    ours = f"cert={certificates / 'us.crt'}&key={certificates / 'us.key'}&ca={certificates / 'ca.crt'}"
    with Emulator(f"modbus+tls://127.0.0.1:0/1?{own}", map, law_for(map)) as device:
        url = f"modbus+tls://127.0.0.1:{device.url.port}/1?map=generic_inverter"
        short = scenario(0.3, events=[], **SLOW)
        good = run(short, folder=tmp_path / "good", swap={UNIT: f"{url}&{ours}"})
        refused = run(short, folder=tmp_path / "refused", swap={UNIT: f"{url}&ca={certificates / 'ca.crt'}"})
    assert good.status == "done"
    assert good.series(UNIT, "active[1]")[1].all()
    assert not refused.series(UNIT, "active[1]")[1].any()  # the model drives
    assert refused.record["device_statistics"][UNIT]["answers"] == 0
