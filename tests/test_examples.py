"""The examples run as they stand, and simulators of the user's own join a scenario of ours."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.scenarios import load, run
from gridloop.scenarios.build import Built
from gridloop.scenarios.links import UnitError, link

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTLED_HZ = 59.91036  # 60 - 0.0896 Hz after 0.3 MW on 4.25 MVA with 2 % droop: case A0 before the line trip


def output_of(example: str, folder: Path) -> str:
    command = [sys.executable, str(EXAMPLES / example)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


def frequencies(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"([0-9.]+) Hz", text)]


def test_plain_mosaik_shows_three_inverters_settle(tmp_path: Path) -> None:
    first, *_, last = output_of("plain_mosaik.py", tmp_path).splitlines()
    assert frequencies(first) == [60.0] * 3 and frequencies(last) == [SETTLED_HZ] * 3
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


def test_own_simulator_drives_the_same_grid_to_the_same_frequency(tmp_path: Path) -> None:
    assert frequencies(output_of("own_simulator.py", tmp_path)) == [SETTLED_HZ] * 3


def test_examples_are_as_short_as_they_say() -> None:
    plain, own = (EXAMPLES / f"{name}.py" for name in ("plain_mosaik", "own_simulator"))
    assert len(plain.read_text().splitlines()) < 60
    of_the_class = own.read_text().partition("class Droop")[2].partition("\n\n\ndef main")[0].splitlines()
    assert len([line for line in of_the_class if line.strip()]) <= 30


class Agent(mosaik_api_v3.Simulator):
    """A user's simulator: sees a frequency and gives a set-point in kW, higher from 0.2 s on."""

    def __init__(self) -> None:
        attrs = ["f[Hz]", "P_set[kW]"]
        models = {"Agent": {"public": True, "params": [], "attrs": attrs}}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})
        self.now, self.seen = 0, list[float]()

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "agent1", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.now = time
        self.seen += inputs["agent1"]["f[Hz]"].values()
        return time + 50_000

    def get_data(self, outputs: Any) -> Any:
        return {"agent1": {"P_set[kW]": 171954.7 if self.now >= 200_000 else 71954.7}}


def test_a_users_simulator_joins_a_built_world_with_units_scaled(tmp_path: Path) -> None:
    agent = Agent()

    def extend(built: Built) -> None:
        entity = built.world.start(PythonStarter(lambda: agent), "Agents").Agent()  # type: ignore[arg-type]
        unit = built.entities["inv1"]
        link(built.world, unit, entity, "f[Hz]")
        link(
            built.world, entity, unit, ("P_set[kW]", "P_set[MW]"), time_shifted=True,
            initial_data={"P_set[kW]": 71954.7},
        )  # fmt: skip
        with pytest.raises(UnitError, match=r"Inverter\.inv1 -> Agents\.agent1: E\[pu\] cannot feed f\[Hz\]"):
            link(built.world, unit, entity, ("E[pu]", "f[Hz]"))

    result = run(load("ieee9"), folder=tmp_path, until_s=0.95, extend=extend)
    t, set_mw = result.series("inv1", "P_set[MW]")
    # given at 0.2 s, in force at the next macro tick
    assert set_mw[t < 0.203] == pytest.approx(71.9547) and set_mw[t > 0.203] == pytest.approx(171.9547)
    # 100 MW more, less what the losses take of it, on 425 MVA: 2 % of 60 Hz in that proportion
    f_hz, loss_mw = result.series("inv1", "f[Hz]")[1], result.series("grid", "P_loss[MW]")[1]
    more_mw = 100 - (loss_mw[-1] - loss_mw[0])
    assert f_hz[-1] == pytest.approx(60 + 0.02 * 60 * more_mw / 425, abs=1e-4)
    assert len(agent.seen) == 20 and np.ptp(agent.seen) > 0.2


def test_a_law_of_ones_own_restores_the_frequency_up_to_its_deadband(tmp_path: Path) -> None:
    result = run(load(EXAMPLES / "own_law.yaml"), folder=tmp_path)
    assert result.metrics["f_end"].value == pytest.approx(60 - 0.02, abs=2e-3)
    assert result.record["control"]["frequency"] == "own_law:with_deadband"


@pytest.mark.peers(packages=["simbench"])
@pytest.mark.timeout(300)
def test_a_feeder_of_simbench_negotiates(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "simbench_feeder.py"), str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path)
    result = run(load(tmp_path / "feeder.yaml"), until_s=4 * 3600, folder=tmp_path / "run")
    assert result.metrics["balancing_accuracy.team"].value > 0.8
    assert result.metrics["forecast_error"].value < result.metrics["forecast_error_naive"].value
