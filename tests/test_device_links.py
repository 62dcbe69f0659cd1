"""Devices behind simulated links, late devices and the delay that their loops stand.

delay126: a machine alone forms the grid, a droop of 10 kW/Hz hears of its frequency; stable up to 126 ms of delay.
Here the droop unit is an emulated device, and the delay is on its links or in the device.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.device_margin import margin_of
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import plan
from gridloop.simulators.models.growth import growth

STEP_MS = 2.0
KICK: dict[str, Any] = {"t_s": 0.5, "do": "load_step", "bus": 2, "p_kw": 0.5, "q_kvar": 0}
THERE, BACK = "droop1->droop1_device", "droop1_device->droop1"
SWING_S = 0.5


def delay126(device: dict[str, Any], *events: Any, until_s: float = 2.3, **more: Any) -> Any:
    """The case with a device for its droop unit, which measures the frequency without any delay of its own."""
    return load("delay126").with_overrides({
        "step_ms": STEP_MS, "until_s": until_s, "events": [*events, KICK], "record.signals": ["units", "links"],
        "comms.signals.gen1->droop1.delay_ms": 0, "units.droop1.device": {"url": "emulated:"} | device, **more,
    })  # fmt: skip


def linked(delay_ms: float, *events: Any, **more: Any) -> Any:
    return delay126({"comms": {"delay_ms": delay_ms}}, *events, **more)


def late(delay_ms: float, **more: Any) -> Any:
    fault = {"t_s": 0, "do": "device_fault", "unit": "droop1", "kind": "late", "delay_ms": delay_ms}
    return delay126({}, fault, **more)


def judged(result: Any) -> tuple[float, float]:
    """Mean age of the device's values [ms], and the growth rate of the frequency's swing after the kick [1/s]."""
    t, f = result.series("gen1", "f[Hz]")
    age = result.series("droop1", "age[ms]")[1]
    after = t > KICK["t_s"] + 0.2
    return float(age[after].mean()), growth(t[after], f[after], SWING_S).rate_per_s


# --- how late a device may be ---


@pytest.mark.parametrize("made", [lambda: linked(56), lambda: late(114)], ids=["on the links", "in the device"])
def test_at_114_ms_the_swing_dies_away(made: Any, tmp_path: Path) -> None:
    age_ms, rate_per_s = judged(run(made(), folder=tmp_path / "run"))
    assert 110 < age_ms <= 114 + 1e-9
    assert rate_per_s < -0.3


@pytest.mark.parametrize("made", [lambda: linked(68), lambda: late(136)], ids=["on the links", "in the device"])
def test_at_136_ms_it_grows(made: Any, tmp_path: Path) -> None:
    result = run(made(), folder=tmp_path / "run")
    age_ms, rate_per_s = judged(result)
    assert 135 <= age_ms < 140
    assert rate_per_s > 0.3
    (told,) = (event for event in result.events if event.kind == "device_late")
    assert told.target == "droop1"
    assert "more than half of the 123 ms with which its loop becomes unstable" in told.outcome
    assert result.record["devices"]["droop1"]["critical_delay_ms"] == pytest.approx(123.1, abs=0.1)


def test_the_critical_delay_is_the_formulas_less_own_lags() -> None:
    # pi / (2 a) = 125.7 ms; one step of the signal, half a step held, 0.5 ms of time constant; losses give 1 % more
    found = margin_of(plan(delay126({}, step_ms=1)), "droop1")
    assert found.critical_ms == pytest.approx(125.7 * 1.01 - 2.0, abs=0.5)
    assert found.f_hz == pytest.approx(12.5 / (2 * np.pi), rel=0.02)
    assert 1e-3 < found.gain < 12.5e-3  # about a h of the integrator
    assert "; loop gain 0.00" in found.in_words


@pytest.mark.parametrize(("delay_ms", "grows"), [(50, False), (55, True)])
def test_the_critical_delay_of_a_controller_is_met_by_runs(delay_ms: float, grows: bool, tmp_path: Path) -> None:
    """Inverter 2 of the 9-bus network: 105.5 ms by eigenvalues, 100 and 110 ms there and back in the run."""
    scenario = load("ieee9").with_overrides({
        "units.inv2.device": {"url": "emulated:", "comms": {"delay_ms": delay_ms}}, "until_s": 4,
        "events": [{"t_s": 0.3, "do": "load_step", "bus": 5, "p_kw": 3000, "q_kvar": 0}],
    })  # fmt: skip
    assert margin_of(plan(scenario), "inv2").critical_ms == pytest.approx(105.5, abs=0.5)
    t, f = run(scenario, folder=tmp_path / "run").series("inv2", "f[Hz]")
    rate_per_s = growth(t[t > 1], f[t > 1], 1 / 2.8).rate_per_s
    assert (rate_per_s > 0) == grows


def test_what_is_not_known_says_why() -> None:
    scenario = load("ieee9").with_overrides({
        "units.inv2.device": {"url": "modbus+tcp://127.0.0.1:5020/1?map=generic_inverter"},
    })  # fmt: skip
    assert "gives something else" in margin_of(plan(scenario), "inv2").in_words


# --- links as others are ---


def test_without_delay_there_are_no_links_and_nothing_changes(tmp_path: Path) -> None:
    direct, ideal = (run(delay126(device, until_s=0.7), folder=tmp_path / name)
                     for name, device in (("direct", {}), ("ideal", {"comms": {"delay_ms": 0}})))  # fmt: skip
    assert plan(linked(0)).links == plan(delay126({})).links
    later = {"t_s": 1, "do": "set", "path": f"comms.links.{THERE}.delay_ms", "value": 5}
    assert [link.name for link in plan(linked(0, later)).devices[0].links] == [THERE, BACK]
    assert np.array_equal(direct.series("gen1", "f[Hz]")[1], ideal.series("gen1", "f[Hz]")[1])


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    comms = {"delay_ms": 20, "jitter": {"kind": "uniform", "percent": 50}, "loss_percent": 10}
    one, same, other = (
        run(delay126({"comms": comms}, until_s=0.4, seed=seed), folder=tmp_path / str(k))
        for k, seed in enumerate((1, 1, 2))
    )
    ages = [result.series("droop1", "age[ms]")[1] for result in (one, same, other)]
    assert np.array_equal(ages[0], ages[1])
    assert not np.array_equal(ages[0], ages[2])
    counts = one.record["link_statistics"]
    assert counts[THERE]["lost"] > 8 and counts[BACK]["lost"] > 8
    assert counts[THERE]["sent"] == pytest.approx(200, abs=2)


def test_either_link_can_be_set_fail_and_recover(tmp_path: Path) -> None:
    events = [
        {"t_s": 0.1, "do": "set", "path": "units.droop1.device.comms.delay_ms", "value": 20},
        {"t_s": 0.3, "do": "set", "path": f"comms.links.{THERE}.delay_ms", "value": 40},
        {"t_s": 0.6, "do": "link_down", "link": BACK, "for_s": 0.9},
    ]
    result = run(linked(10, *events, until_s=2.2), folder=tmp_path / "run")
    t, age = result.series("droop1", "age[ms]")
    at = [float(np.interp(t_s, t, age)) for t_s in (0.09, 0.25, 0.5)]
    assert at == pytest.approx([20, 40, 60])
    lost = next(event for event in result.events if event.kind == "device_lost")
    assert lost.t_s == pytest.approx(0.6 + 0.24 + 0.5 - 0.02, abs=0.01)  # max_age and links, hold, first message lost
    assert next(event for event in result.events if event.kind == "device_back").t_s == pytest.approx(2.02, abs=0.01)
    assert np.nanmax(result.series(BACK, "age[ms]")[1]) > 800


def test_settings_of_all_links_hold_unless_the_device_says_otherwise() -> None:
    comms: dict[str, Any] = {"comms.delay_ms": 30, "comms.links": {BACK: {"delay_ms": 70}}}
    links = plan(delay126({"comms": {"loss_percent": 1}}, **comms)).devices[0].links
    assert [link.name for link in links] == [THERE, BACK]
    assert [(link.settings["delay_ms"], link.settings["loss_percent"]) for link in links] == [(30, 1), (70, 1)]


# --- faults from the file ---


def test_a_silent_device_is_lost_and_comes_back(tmp_path: Path) -> None:
    fault = {"t_s": 0.1, "do": "device_fault", "unit": "droop1", "kind": "silent", "for_s": 0.9}
    result = run(delay126({}, fault, until_s=1.6), folder=tmp_path / "run")
    told = [(event.t_s, event.kind, event.outcome) for event in result.events if event.target == "droop1"]
    assert told == [
        (0.0, "swap", "the device at emulated: drives"),
        (0.1, "device_fault", "silent"),
        (0.8, "device_lost", "its values are 702 ms old: no answer; the model drives"),
        (1.0, "device_fault", "no longer silent"),
        (1.5, "device_back", "the device at emulated: drives again"),
    ]
    assert result.status == "degraded"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units.droop1.device.comms": {"delay": 3}}, "comms.delay: unknown key; did you mean delay_ms"),
        ({"units.droop1.device.comms": {"jitter": {"kind": "uniform", "percents": 3}}}, "did you mean percent"),
        (
            {"units.droop1.device.comms": {"delay_ms": 10, "jitter": {"kind": "uniform", "percent": 120}}},
            "units.droop1.device.comms.jitter: jitter of +- 12 ms must be within delay_ms = 10",
        ),
        (
            {"events": [{"t_s": 1, "do": "link_down", "link": "droop1->droop1_devise"}]},
            f"there is no link 'droop1->droop1_devise'; did you mean {THERE}",
        ),
        (
            {"events": [{"t_s": 1, "do": "set", "path": "units.gen1.device.comms.delay_ms", "value": 3}]},
            "no unit 'gen1' has a device with `comms:`",
        ),
        (
            {"events": [{"t_s": 1, "do": "device_fault", "unit": "gen1", "kind": "late"}]},
            "gen1 has no device that could stand in for it",
        ),
        (
            {"events": [{"t_s": 1, "do": "device_fault", "unit": "droop1", "kind": "nan", "delay_ms": 3}]},
            "nan has no delay_ms: it is of late and slow and restart",
        ),
        (
            {"units.droop1.device.url": "modbus+tcp://192.0.2.1/1?map=generic_inverter",
             "events": [{"t_s": 1, "do": "device_fault", "unit": "droop1", "kind": "nan"}]},
            "a fault can be made in a device of ours only",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        linked(10).with_overrides(changes)
    assert words in str(error.value)
