"""Real time with a clock of our own: deadlines, lateness, the three policies; and one run against the wall."""

import time
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from gridloop.hil.pacer import LONGEST_SLEEP_S, SPIN_S, DeadlineMissed, Pacer
from gridloop.scenarios import RunFailed, load, run
from gridloop.scenarios.cli import app


class Clock:
    """A wall clock that moves in sleeps, which end late by `late_s`, and a little with every look."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s, self.late_s = 1000.0, late_s
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now_s += 1e-7
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds + self.late_s if seconds else 2e-6

    def pacer(self, *args, **more) -> Pacer:
        return Pacer(*args, clock=self, sleep=self.sleep, **more)


@pytest.mark.parametrize(("speed", "wall_s"), [(1.0, 1.0), (2.0, 0.5), (0.1, 10.0)])
def test_simulated_time_goes_at_its_speed(speed, wall_s):
    clock = Clock()
    pacer = clock.pacer(speed)
    for step in range(101):
        pacer.wait(5 + step * 0.01)
    assert clock.now_s - 1000 == pytest.approx(wall_s, abs=1e-5)
    assert pacer.statistics()["waited_share"] == pytest.approx(1.0, abs=1e-3)


def test_late_sleeps_do_not_add_up():
    # every sleep ends 0.5 ms late, which the spinning takes up
    clock = Clock(late_s=0.0005)
    pacer = clock.pacer()
    for step in range(1001):
        pacer.wait(step * 0.01)
        assert 0 <= clock.now_s - 1000 - step * 0.01 <= 3e-6
    figures = pacer.statistics()
    assert figures["late_most_us"] <= 3
    assert (figures["steps"], figures["overruns"]) == (1001, 0)


def test_it_sleeps_first_and_then_spins():
    clock = Clock()
    pacer = clock.pacer()
    pacer.wait(0)
    pacer.wait(0.01)
    assert clock.slept[0] == pytest.approx(0.01 - SPIN_S, abs=1e-6)
    assert set(clock.slept[1:]) == {0.0}
    assert 100 < len(clock.slept) < SPIN_S / 2e-6
    assert clock.now_s - 1000 == pytest.approx(0.01, abs=1e-6)


def overrun(policy: str) -> tuple[Clock, Pacer, list[float]]:
    """Steps of 10 ms that take 2 ms, the second one 34 ms; when each one begins [ms]."""
    clock, begun = Clock(), []
    pacer = clock.pacer(policy=policy)
    for step in range(8):
        pacer.wait(step * 0.01)
        begun.append(round(1e3 * (clock.now_s - 1000), 1))
        clock.now_s += 0.034 if step == 1 else 0.002
    return clock, pacer, begun


def test_warn_hurries_until_the_clock_is_reached(told):
    _, pacer, begun = overrun("warn")
    assert begun == [0, 10, 44, 46, 48, 50, 60, 70]
    figures = pacer.statistics()
    assert (figures["overruns"], figures["slipped_s"]) == (3, 0)  # 24, 16 and 8 ms
    assert figures["late_most_us"] == pytest.approx(24_000, abs=3)
    (words,) = told()
    assert "t = 0.02 s began 24.0 ms late" in words
    assert not pacer.acted


def test_slip_sets_the_clock_back():
    _, pacer, begun = overrun("slip")
    assert begun == [0, 10, 44, 54, 64, 74, 84, 94]
    figures = pacer.statistics()
    assert figures["overruns"] == 1
    assert figures["slipped_s"] == pytest.approx(0.024, abs=3e-6)
    assert pacer.acted


def test_stop_names_the_step_and_what_to_do():
    with pytest.raises(DeadlineMissed, match=r"t = 0.02 s began 24.0 ms late, the step before .*; use longer steps"):
        overrun("stop")


def test_the_first_step_may_take_its_time():
    clock = Clock()
    pacer = clock.pacer(policy="stop")
    pacer.wait(0)
    clock.now_s += 3
    pacer.wait(0.01)  # 2.99 s late
    pacer.wait(0.02)
    assert clock.now_s - 1000 == pytest.approx(3.01, abs=1e-5)
    clock.now_s += 0.02
    with pytest.raises(DeadlineMissed):
        pacer.wait(0.03)


def test_lateness_within_the_tolerance_is_no_overrun():
    clock = Clock()
    pacer = clock.pacer(policy="stop", tolerance_s=0.005)
    pacer.wait(0)
    clock.now_s += 0.0149
    pacer.wait(0.01)
    assert pacer.statistics()["overruns"] == 0
    clock.now_s += 0.0102
    with pytest.raises(DeadlineMissed):
        pacer.wait(0.02)


def test_waking_up_late_is_an_overrun_too():
    clock = Clock(late_s=0.004)
    pacer = clock.pacer(policy="stop")
    pacer.wait(0)
    with pytest.raises(DeadlineMissed, match=r"began 2.5 ms late, this computer woke up late"):
        pacer.wait(0.01)
    assert pacer.statistics()["overruns"] == 1


def test_percentiles_of_the_lateness():
    # 100 steps, late by 0, 10, 20 ... 990 us
    clock = Clock()
    pacer = clock.pacer()
    for step in range(100):
        clock.now_s = 1000 + step * 0.01 + step * 1e-5
        pacer.wait(step * 0.01)
    figures = pacer.statistics()
    assert figures["late_p50_us"] == pytest.approx(490, abs=1)
    assert figures["late_p99_us"] == pytest.approx(980, abs=1)
    assert figures["late_most_us"] == pytest.approx(990, abs=1)


def test_a_second_call_at_the_same_time_waits_no_more():
    clock = Clock()
    pacer = clock.pacer()
    pacer.wait(0)
    pacer.wait(0.01)
    clock.now_s += 5
    pacer.wait(0.01)
    pacer.wait(0.0)
    assert pacer.statistics()["overruns"] == 0
    assert pacer.statistics()["steps"] == 2


def test_a_long_wait_can_be_ended():
    clock = Clock()
    pacer = clock.pacer(stopped=lambda: len(clock.slept) > 2)
    pacer.wait(0)
    pacer.wait(3600)
    assert clock.slept == [LONGEST_SLEEP_S] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 0.0}, "pace = 0 must be > 0"),
        ({"speed": float("nan")}, "pace = nan"),
        ({"policy": "hope"}, "warn, slip, stop"),
        ({"tolerance_s": -1.0}, "tolerance_s = -1"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        Pacer(**options)


def test_before_the_first_step_there_are_no_figures():
    assert Pacer().statistics() == {"steps": 0, "overruns": 0}


def test_a_run_is_paced_and_the_same(tmp_path):
    """A run at twice the speed of the wall clock, against the same one without a pacer."""
    scenario = load("ieee9")
    plain = run(scenario, until_s=0.3, folder=tmp_path / "plain")
    began = time.perf_counter()
    paced = run(scenario, until_s=0.3, folder=tmp_path / "paced", pace=2)
    assert time.perf_counter() - began >= 0.15
    assert (paced.series("inv1", "f[Hz]")[1] == plain.series("inv1", "f[Hz]")[1]).all()
    figures = paced.record["pacing"]
    assert figures["steps"] == 1 + round(300 / scenario.step_ms)
    assert paced.metrics["step_late_p50"].value == figures["late_p50_us"] / 1e3 <= paced.metrics["step_late_p99"].value
    assert paced.metrics["overruns"].value == figures["overruns"] and paced.status == "done"
    assert "overruns" not in plain.metrics and plain.record["pacing"] == {}
    shares = ["wall_share_models", "wall_share_mosaik", "wall_share_io"]
    wall = paced.record["wall"]
    waited = wall["waited_s"] / wall["total_s"]
    assert waited > 0 and sum(paced.metrics[key].value for key in shares) == pytest.approx(1 - waited)


TOO_FAST = 1e6  # no computer follows


def test_a_clock_that_slipped_degrades_the_run(tmp_path):
    result = run(load("ieee9"), until_s=0.1, folder=tmp_path / "slip", pace=TOO_FAST, late="slip")
    assert result.status == "degraded"
    assert "steps began late: the clock was set back by" in result.record["message"]
    assert run(load("ieee9"), until_s=0.1, folder=tmp_path / "warn", pace=TOO_FAST).status == "done"
    command = ["run", "ieee9", "--until", "0.1", "--pace", "1e6", "--late", "slip", "--out", str(tmp_path / "command")]
    assert CliRunner().invoke(app, command).exit_code == 3


def test_a_run_that_must_not_be_late_fails_by_name_and_keeps_its_results(tmp_path):
    with pytest.raises(RunFailed, match=r"^t = \S+ s began .* ms late, the step before") as failure:
        run(load("ieee9"), until_s=0.1, folder=tmp_path / "stop", pace=TOO_FAST, late="stop")
    assert failure.value.result.metrics["overruns"].value == 1


def test_a_pace_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pace = 0 must be > 0"):
        run(load("ieee9"), folder=tmp_path / "zero", pace=0)
    device = {"url": "modbus+tcp://127.0.0.1:1/1?map=generic_controller"}
    with pytest.raises(ValueError, match="the device of inv2 runs in real time; use pace 1 or mode: lockstep"):
        run(load("ieee9").with_overrides({"units.inv2.device": device}), folder=tmp_path / "free", pace=2)
    with pytest.raises(ValueError, match="warn, slip, stop"):
        run(load("ieee9"), folder=tmp_path / "late", pace=1, late=cast(Any, "hope"))
    assert not list(tmp_path.iterdir())
