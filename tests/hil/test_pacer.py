"""Real time with a clock of our own: deadlines, lateness, the three policies; and one run against the wall."""

import time

import pytest

from gridloop.hil.pacer import LONGEST_SLEEP_S, SPIN_S, DeadlineMissed, Pacer
from gridloop.scenarios import load, run
from gridloop.scenarios.build import TIME_RESOLUTION


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
    pacer = Pacer(speed=2.0)

    def pace(built) -> None:
        grid = built.simulators["Grid"]
        grid.step = pacer.paced(grid.step, TIME_RESOLUTION)

    plain = run(scenario, until_s=0.3, folder=tmp_path / "plain")
    began = time.perf_counter()
    paced = run(scenario, until_s=0.3, folder=tmp_path / "paced", extend=pace)
    assert time.perf_counter() - began >= 0.15
    assert (paced.series("inv1", "f[Hz]")[1] == plain.series("inv1", "f[Hz]")[1]).all()
    assert pacer.statistics()["steps"] == 1 + round(300 / scenario.step_ms)
