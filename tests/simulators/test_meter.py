"""Meters: what they sample and when, their noise, and a mosaik world with meters."""

from collections.abc import Mapping
from typing import Any

import mosaik
import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.meter import MeterSimulator, measured, meta

P, Q = "P_gen[MW]", "Q_gen[MVar]"


def simulator(sink: Any = None, resolution: float = 1e-6, **more: Any) -> MeterSimulator:
    meters = MeterSimulator(sink)
    meters.init("Meter", resolution, **more)
    return meters


def meter(meters: MeterSimulator, name: str = "m", **more: Any) -> None:
    meters.create(1, "Meter", **({"name": name, "attr": [P], "period_ms": 100} | more))


def given(**values: Mapping[str, float]) -> Any:
    """Inputs of a step: meter -> attribute -> value."""
    return {name: {attr: {"Grid.x": value} for attr, value in attrs.items()} for name, attrs in values.items()}


def samples(count: int, value: float = 2.0, name: str = "m", **more: Any) -> Any:
    """What a meter shows of a constant."""
    meters = simulator()
    meter(meters, name, **more)
    shown = []
    for k in range(count):
        meters.step(k * 100_000, given(**{name: {P: value}}), 0)
        shown.append(meters.get_data({name: [measured(P)]})[name][measured(P)])
    return np.array(shown)


def test_names_of_what_is_measured() -> None:
    assert measured("P_gen[MW]") == "P_gen_meas[MW]"
    assert measured("Vm[pu]") == "Vm_meas[pu]"
    attrs = meta()["models"]["Meter"]["attrs"]
    assert "f_meas[Hz]" in attrs and "f[Hz]" not in attrs


def test_sample_is_held_until_the_next() -> None:
    meters = simulator()
    meter(meters, "slow", attr=[P, Q], period_ms=250)
    meter(meters, "fast", attr=["Vm[pu]"], period_ms=100)
    shown, times, time = [], [], 0
    while time <= 500_000:
        times.append(time)
        now = time * 1e-6
        ahead = meters.step(time, given(slow={P: now, Q: -now}, fast={"Vm[pu]": 1 + now}), 0)
        data = meters.get_data({"slow": [measured(P), measured(Q)], "fast": [measured("Vm[pu]")]})
        shown.append([*data["slow"].values(), *data["fast"].values()])
        time = ahead
    assert times == [0, 100_000, 200_000, 250_000, 300_000, 400_000, 500_000]
    held = np.array(shown).T
    assert held[0] == pytest.approx([0, 0, 0, 0.25, 0.25, 0.25, 0.5])
    assert held[1] == pytest.approx(-held[0])
    assert held[2] == pytest.approx([1, 1.1, 1.2, 1.2, 1.3, 1.4, 1.5])
    assert all(isinstance(value, float) for value in shown[0])


def test_without_noise_the_value_is_exact() -> None:
    assert samples(3, 0.1 + 0.2).tolist() == [0.1 + 0.2] * 3


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    # 3 % of 2 MW and 0.08 MW, independent: sqrt(0.06^2 + 0.08^2) = 0.1; 4000 samples: +- 1.1 % (one sigma)
    found = samples(4000, -2.0, noise_percent=3, noise=0.08, seed=1)
    assert found.std() == pytest.approx(0.1, rel=0.04)
    assert found.mean() == pytest.approx(-2, abs=0.005)
    assert samples(4000, 0.0, noise_percent=3, seed=1).tolist() == [0.0] * 4000
    assert samples(4000, 2.0, noise_percent=3, seed=1).std() == pytest.approx(0.06, rel=0.04)
    assert samples(4000, 2.0, noise=0.08, seed=1).std() == pytest.approx(0.08, rel=0.04)


def test_same_seed_same_noise_and_every_meter_its_own() -> None:
    one = samples(20, noise=0.1, seed=7)
    assert np.array_equal(one, samples(20, noise=0.1, seed=7))
    assert not np.isclose(one, samples(20, noise=0.1, seed=8)).any()
    assert not np.isclose(one, samples(20, name="other", noise=0.1, seed=7)).any()


def test_noise_is_the_same_in_every_process_and_version() -> None:
    # CRC-32 of "123456789" is its published check value; a change here changes the results of everybody's runs
    normal = np.random.default_rng([7, 0xCBF43926]).standard_normal((2, 1))
    found = samples(1, 2.0, name="123456789", noise_percent=50, noise=0.1, seed=7)
    assert found == pytest.approx(2 + normal[0] + 0.1 * normal[1])


def test_one_meter_more_changes_no_other() -> None:
    meters = simulator()
    for name in ("first", "m"):
        meter(meters, name, noise=0.1, seed=7)
    meters.step(0, given(first={P: 2.0}, m={P: 2.0}), 0)
    assert meters.get_data({"m": [measured(P)]})["m"][measured(P)] == samples(1, noise=0.1, seed=7)[0]


def test_noise_of_each_quantity_may_differ() -> None:
    meters = simulator()
    meter(meters, attr=[P, Q], noise=[0, 0.1])
    meters.step(0, given(m={P: 2.0, Q: 1.0}), 0)
    shown = meters.get_data({"m": [measured(P), measured(Q)]})["m"]
    assert shown[measured(P)] == 2.0 and shown[measured(Q)] != 1.0


def test_stepping_again_at_the_same_time_draws_no_new_noise() -> None:
    meters, once = simulator(), samples(2, noise=0.1, seed=7)
    meter(meters, noise=0.1, seed=7)
    for time in (0, 0, 100_000):
        meters.step(time, given(m={P: 2.0}), 0)
    assert meters.get_data({"m": [measured(P)]})["m"][measured(P)] == once[1]


def test_samples_are_recorded_under_their_names() -> None:
    rows: list[Any] = []
    meters = simulator(lambda time, values: rows.append((time, values)))
    meter(meters, "a", attr=[P, Q])
    meter(meters, "b", period_ms=150)
    assert meters.columns == ("a.P_gen_meas[MW]", "a.Q_gen_meas[MVar]", "b.P_gen_meas[MW]")
    for time in (0, 100_000, 150_000):
        meters.step(time, given(a={P: time, Q: 1}, b={P: -time}), 0)
    assert [(time, values.tolist()) for time, values in rows] == [
        (0, [0, 1, 0]), (100_000, [100_000, 1, 0]), (150_000, [100_000, 1, -150_000]),
    ]  # fmt: skip


def test_simulator_without_meters_steps_once_a_second() -> None:
    rows: list[Any] = []
    assert simulator(lambda *row: rows.append(row)).step(0, {}, 0) == 1_000_000
    assert simulator(resolution=60.0).step(5, {}, 0) == 6


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": "a.b"}, "'a.b': an entity's name has no dot and is used once"),
        ({"name": "old"}, "'old': an entity's name has no dot and is used once"),
        ({"attr": ["P[MW]"]}, "meter m: P[MW] is not known; name it in `attrs` when starting"),
        ({"attr": []}, "meter m: attr = [] must name quantities, each once"),
        ({"attr": [P, P]}, f"meter m: attr = ['{P}', '{P}'] must name quantities, each once"),
        ({"period_ms": 0}, "meter m: period_ms = 0 must be a multiple of 0.001 ms"),
        ({"period_ms": -5}, "meter m: period_ms = -5 must be a multiple of 0.001 ms"),
        ({"period_ms": 0.0025}, "meter m: period_ms = 0.0025 must be a multiple of 0.001 ms"),
        ({"noise_percent": -1}, "meter m: noise_percent = -1 must be >= 0"),
        ({"noise_percent": np.nan}, "meter m: noise_percent = nan must be >= 0"),
        ({"noise": -0.1}, "meter m: noise = [-0.1] must be >= 0"),
        ({"noise": np.inf}, "meter m: noise = [inf] must be >= 0"),
        ({"noise": [1, 2]}, "meter m: noise has 2 values; give one, or one for each of 1"),
    ],
)
def test_wrong_parameters_are_named(more: Any, words: str) -> None:
    meters = simulator()
    meter(meters, "old")
    with pytest.raises(ValueError) as error:
        meter(meters, **more)
    assert str(error.value) == words


def test_more_quantities_are_named_at_the_start() -> None:
    meters = simulator(attrs=["T[degC]"])
    meter(meters, attr=["T[degC]", P])
    meters.step(0, given(m={"T[degC]": 21.5, P: 1.0}), 0)
    assert meters.get_data({"m": ["T_meas[degC]"]}) == {"m": {"T_meas[degC]": 21.5}}
    with pytest.raises(ValueError, match="Meter: unknown parameter atrs"):
        simulator(atrs=[])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, r"nothing is connected to P_gen\[MW\]"),
        (given(m={P: 1.0, Q: 2.0}), r"Q_gen\[MVar\] is connected; this meter measures P_gen\[MW\]"),
        ({"m": {P: {"A.x": 1.0, "B.y": 2.0}}}, r"P_gen\[MW\] has 2 sources \(A\.x, B\.y\); connect one"),
    ],
)
def test_wrong_wires_are_named_at_the_first_sample(inputs: Any, words: str) -> None:
    meters = simulator()
    meter(meters)
    with pytest.raises(SimulatorFailure, match=r"Meter\.m at t = 0 s: " + words):
        meters.step(0, inputs, 0)


class Clock(mosaik_api_v3.Simulator):
    """Shows its time in seconds as P_gen[MW], every 40 ms."""

    def __init__(self) -> None:
        super().__init__({
            "api_version": "3.0", "type": "time-based",
            "models": {"Clock": {"public": True, "params": [], "attrs": [P]}},
        })  # fmt: skip

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        self.time, self.resolution = 0, time_resolution
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "clock", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.time = time
        return time + round(0.04 / self.resolution)

    def get_data(self, outputs: Any) -> Any:
        return {"clock": {P: self.time * self.resolution}}


def metered() -> list[Any]:
    """Rows of a world in which one meter samples what another one shows."""
    rows: list[Any] = []

    def sink(time: int, values: Any) -> None:
        rows.append((time, *values.tolist()))

    with mosaik.World(cache=False, skip_greetings=True, configure_logging=False, time_resolution=1e-6) as world:
        clock = world.start(PythonStarter(Clock), "Clock").Clock()
        sim = world.start(PythonStarter(lambda: MeterSimulator(sink)), "Meter")  # type: ignore[arg-type]
        exact = sim.Meter(name="exact", attr=[P], period_ms=40)
        rare = sim.Meter(name="rare", attr=[P], period_ms=100)
        noisy = sim.Meter(name="noisy", attr=[P], period_ms=200, noise=0.01, noise_percent=1, seed=3)
        last = world.start(PythonStarter(MeterSimulator), "Last", attrs=[measured(P)])
        chained = last.Meter(name="chained", attr=[measured(P)], period_ms=50)
        for entity in (exact, rare, noisy):
            world.connect(clock, entity, P)
        world.connect(exact, chained, (measured(P), measured(P)))
        world.run(until=400_001)
    return rows


def test_in_a_mosaik_world() -> None:
    first, second = metered(), metered()
    assert first == second
    by_time = {row[0]: row[1:] for row in first}
    assert sorted(by_time) == sorted({*range(0, 400_001, 40_000), *range(0, 400_001, 100_000)})
    assert by_time[120_000][0] == pytest.approx(0.12)
    # 100 ms lie between two of the clock's steps: the last value counts
    assert [by_time[k * 100_000][1] for k in range(5)] == pytest.approx([0, 0.08, 0.2, 0.28, 0.4])
    assert abs(by_time[400_000][2] - 0.4) < 0.06 and by_time[400_000][2] != 0.4
