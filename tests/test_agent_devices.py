"""Serial agents in place of inv2 of the swap case, and of an agent of the microgrid: `python agent.py` as a process.

What happens to a process is triggered by simulated time; devices in mode free hold the run to real time.
"""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent_process import logged, port_of, started
from gridloop.scenarios import load, run
from gridloop.scenarios.agent_settings import options_for
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import plan
from in_course import at, was_lost_and_drives_again
from serial_cable import cable
from swap_case import SETTLED_S, UNIT, droop, judge, p_quantum_mw, scenario, simulated

Run = Callable[..., Any]
F_QUANTUM_HZ, P_QUANTUM_MW = 4e-6, 2e-5  # of a float32
LOST_S = 0.5
LOCKSTEP_INV2: dict[str, Any] = {f"units.{UNIT}.device.mode": "lockstep"}


@pytest.fixture
def runs(tmp_path: Path) -> Run:
    """Run a scenario into a folder of its own."""
    count = iter(range(100))
    return lambda what, **options: run(what, folder=tmp_path / str(next(count)), **options)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(simulated(), folder=tmp_path_factory.mktemp("reference") / "run")


@pytest.fixture(scope="module")
def inv2() -> list[str]:
    """The command line of an agent that is as inv2."""
    return options_for(plan(simulated()), UNIT)


# --- the swap row ---


def test_inv2_as_an_agent_behind_a_socket(runs: Run, reference: Any, inv2: list[str]) -> None:
    with started("--listen", "0", *inv2) as process:
        url = f"serial+socket://127.0.0.1:{port_of(process)}?codec=cobs"
        result = runs(scenario(**LOCKSTEP_INV2), swap={UNIT: url})
    judge(result, reference, p_quantum_mw(F_QUANTUM_HZ, P_QUANTUM_MW))
    counted = result.record["device_statistics"][UNIT]
    assert counted["requests"] - counted["answers"] in (0, 1)  # the one that was under way
    assert not counted["lost"] and not counted["skipped"]
    assert result.metrics[f"rtt_p50.{UNIT}"].value > 0 and counted["clock_error_ms"] < 100


def test_inv2_as_an_agent_on_a_serial_line(runs: Run, reference: Any, inv2: list[str]) -> None:
    with cable() as ports, started("--serial", ports.one, *inv2) as process:
        logged(process, "connected")
        result = runs(scenario(**LOCKSTEP_INV2), swap={UNIT: f"serial://{ports.other}?codec=cobs"})
    judge(result, reference, p_quantum_mw(F_QUANTUM_HZ, P_QUANTUM_MW))


# --- what real agents do ---


def free(until_s: float = 2.4, **more: Any) -> Any:
    """In real time, with 0.15 s of holding."""
    on_loss = {"hold_ms": 150, "then": "model"}
    return scenario(
        until_s, **{f"units.{UNIT}.device.on_loss": on_loss, f"units.{UNIT}.device.max_age_ms": 200, **more}
    )


def shows_only_what_the_droop_gives(result: Any) -> bool:
    """Whether inv2's frequency was never another than the droop of a power that it had."""
    line = droop()
    p, f = (result.series(UNIT, attr)[1] for attr in ("P_gen[MW]", "f[Hz]"))
    low, high = (line.f_hz - line.hz_per_mw * (most - line.p_set_mw) for most in (p.max(), p.min()))
    return bool((low - 1e-4 <= f).all() and (f <= high + 1e-4).all())


def test_killed_the_model_takes_over_and_a_new_one_drives_again(runs: Run, reference: Any, inv2: list[str]) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(started("--listen", "0", *inv2))
        port = port_of(first)

        def begin_again() -> None:
            port_of(stack.enter_context(started("--listen", str(port), *inv2)))

        watch = at((LOST_S, first.kill), (1.0, begin_again))
        result = runs(free(until_s=2.6), swap={UNIT: f"serial+socket://127.0.0.1:{port}"}, watch=watch)
    assert was_lost_and_drives_again(result, UNIT) and shows_only_what_the_droop_gives(result)
    t, active = result.series(UNIT, "active[1]")
    lost = next(event.t_s for event in result.events if event.kind == "device_lost")
    assert LOST_S < lost < 1.2 and not active[t == lost].any() and active[-1] == 1
    assert result.record["device_statistics"][UNIT]["lost"].keys() <= {"down", "timeout"}
    f, f_simulated = (one.series("inv1", "f[Hz]")[1] for one in (result, reference))
    count = min(len(f), len(f_simulated))
    assert np.abs(f[:count] - f_simulated[:count]).max() < 0.1


def test_frozen_and_resumed_its_late_answers_are_never_taken(runs: Run, inv2: list[str]) -> None:
    with cable() as ports, started("--serial", ports.one, *inv2) as process:
        logged(process, "connected")
        watch = at(
            (LOST_S, lambda: process.send_signal(signal.SIGSTOP)), (1.0, lambda: process.send_signal(signal.SIGCONT))
        )
        result = runs(free(), swap={UNIT: f"serial://{ports.other}"}, watch=watch)
    assert was_lost_and_drives_again(result, UNIT)
    counted = result.record["device_statistics"][UNIT]
    assert counted["skipped"]["stray"] > 3 and counted["lost"]["timeout"] >= counted["skipped"]["stray"]
    assert shows_only_what_the_droop_gives(result)


def test_unplugged_the_policy_acts_and_plugged_in_again_it_drives(runs: Run, inv2: list[str]) -> None:
    with cable() as ports, started("--serial", ports.one, *inv2) as process:
        logged(process, "connected")
        watch = at((LOST_S, ports.unplug), (1.0, ports.plug))
        result = runs(free(), swap={UNIT: f"serial://{ports.other}"}, watch=watch)
    assert was_lost_and_drives_again(result, UNIT)
    counted = result.record["device_statistics"][UNIT]
    assert counted["lost"]["down"] > 0 and counted["recoveries"] >= 1
    assert shows_only_what_the_droop_gives(result)


# --- an agent of secondary control ---

AGENT = "batt1.agent"
LOCKSTEP = {"mode": "lockstep", "url": "emulated:"}


@pytest.fixture(scope="module")
def microgrid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Battery, diesel set, photovoltaics, agents and links for 3 s, and their run without devices."""
    case = load("microgrid9").with_overrides({"until_s": 3, "events.0.t_s": 1, "events.1.t_s": 2})
    return case, run(case, folder=tmp_path_factory.mktemp("microgrid") / "plain")


def largest(one: Any, other: Any) -> float:
    """Largest difference of all series of the first run; 0: the same to the bit."""
    most = 0.0
    for name, entity in one.entities.items():
        for attr in entity.attributes:
            mine, theirs = (run.series(name, attr)[1] for run in (one, other))
            if not np.array_equal(mine, theirs, equal_nan=True):
                most = max(most, float(np.nanmax(np.abs(mine - theirs))))
    return most


def test_wired_and_never_in_charge_it_changes_nothing_to_the_bit(runs: Run, microgrid: tuple[Any, Any]) -> None:
    case, plain = microgrid
    out = [{"t_s": 0, "do": "unswap", "unit": AGENT}, *case.to_dict()["events"]]
    wired = runs(case.with_overrides({"units.batt1.agent.device": LOCKSTEP, "events": out}))
    assert largest(plain, wired) == 0 and wired.status == "done"
    assert not wired.series("batt1", "agent_active[1]")[1].any()


def test_the_agent_of_a_pi_decides_as_the_simulated_one(runs: Run, microgrid: tuple[Any, Any]) -> None:
    case, plain = microgrid
    with started("--listen", "0", "--codec", "json", *options_for(plan(case), AGENT)) as process:
        url = f"serial+socket://127.0.0.1:{port_of(process)}?codec=json"
        result = runs(case.with_overrides({"units.batt1.agent.device": LOCKSTEP | {"deadline_ms": 50}}),
                      swap={AGENT: url})  # fmt: skip
    assert result.status == "done" and result.series("batt1", "agent_active[1]")[1].all()
    assert largest(plain, result) < 1e-9
    assert np.abs(plain.series("batt1", "Omega[Hz]")[1]).max() > 0.01  # it had something to do


def test_two_agents_swap_in_and_out_and_leave_no_trace(runs: Run, microgrid: tuple[Any, Any]) -> None:
    case, plain = microgrid
    swaps = [{"t_s": t_s, "do": do, "unit": f"{name}.agent"} for t_s, do, name in (
        (0, "unswap", "diesel1"), (1.1, "unswap", "batt1"), (1.2, "swap", "diesel1"), (2.1, "swap", "batt1"),
    )]  # fmt: skip
    devices = {f"units.{name}.agent.device": LOCKSTEP for name in ("batt1", "diesel1")}
    result = runs(case.with_overrides({**devices, "events": [*swaps, *case.to_dict()["events"]]}))
    assert largest(plain, result) < 1e-12
    t, active = result.series("diesel1", "agent_active[1]")
    assert not active[t < 1.2].any() and active[t >= 1.2].all()


def test_a_law_of_ones_own_on_the_pi_decides(runs: Run, microgrid: tuple[Any, Any], tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text("def control(measurement, neighbours):\n    return 0.25, 0.0\n")
    case, _ = microgrid
    with started("--listen", "0", "--control", own, *options_for(plan(case), AGENT)) as process:
        result = runs(case.with_overrides({"until_s": 0.5, "units.batt1.agent.device": LOCKSTEP}),
                      swap={AGENT: f"serial+socket://127.0.0.1:{port_of(process)}"})  # fmt: skip
    t, omega = result.series("batt1", "Omega[Hz]")
    assert omega == pytest.approx(0.25 * t / (2 * np.pi), abs=1e-6)


def test_killed_the_correction_rests_then_the_simulated_agent_decides(runs: Run, microgrid: tuple[Any, Any]) -> None:
    case, plain = microgrid
    with started("--listen", "0", *options_for(plan(case), AGENT)) as process:
        keys = LOCKSTEP | {"on_loss": {"hold_ms": 200, "then": "model"}}
        result = runs(
            case.with_overrides({"until_s": 2.0, "units.batt1.agent.device": keys}), watch=at((1.2, process.kill)),
            swap={AGENT: f"serial+socket://127.0.0.1:{port_of(process)}"},
        )  # fmt: skip
    assert result.status == "degraded" and result.record["message"].startswith(f"{AGENT}: ")
    lost = next(event for event in result.events if event.kind == "device_lost")
    assert lost.target == AGENT and lost.outcome.endswith("the model drives")
    t, omega = result.series("batt1", "Omega[Hz]")
    rests = (t > lost.t_s - 0.15) & (t < lost.t_s)
    assert np.ptp(omega[rests]) == 0
    assert np.abs(np.diff(omega)).max() < 0.02  # at every tick: no bump
    assert np.abs(omega - plain.series("batt1", "Omega[Hz]")[1][: len(omega)]).max() < 0.1
    assert result.series("batt1", "agent_quality[1]")[1][-1] > 0


# --- files ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units.batt1.agent.device": {}}, "units.batt1.agent.device: url is missing"),
        ({"units.pv1.agent.device": LOCKSTEP}, "units.pv1.agent: pv1 has no agent: it is no member of `control:`"),
        ({"units.batt1.agent.device.url": "modbus+tcp://h:502/1?map=m"}, "a modbus device is no agent"),
        ({"units.batt1.agent.device": LOCKSTEP | {"deadline_ms": 60}}, "60 ms is longer than the agents' period"),
        ({"units.batt1.agent.device": LOCKSTEP | {"max_age_ms": 50}}, "50 ms is not longer than the agents' period"),
        ({"units.batt1.agent.device": LOCKSTEP, "control.period_ms": 2.5}, "counts whole milliseconds"),
        ({"units.batt1.agent.device": LOCKSTEP, "control.frequency.law": "C"}, "the central controller decides"),
        ({"units.batt1.agent.device": LOCKSTEP, "control.balancing": {"gain": 1}}, "balances no charge"),
        ({"units.batt1.agent.device": LOCKSTEP, "mode": "steady"}, "mode: steady has no devices"),
        ({"units.batt1.agent.device": LOCKSTEP | {"role": "power"}}, "role: unknown key"),
        ({"events.0": {"t_s": 1, "do": "swap", "unit": "batt1.agent"}}, "the agent of batt1 is no device: add"),
        ({"events.0": {"t_s": 1, "do": "swap", "unit": "batt7.agent"}}, "there is no unit 'batt7'; did you mean"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load("microgrid9").with_overrides(changes)
    assert words in str(error.value)


def test_in_a_file_it_stands_beside_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "extends: microgrid9\nunits:\n  batt1.agent:\n    device: {url: serial:///dev/ttyACM0, on_los: {}}\n"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"mine.yaml:4:\d+: units.batt1.agent.device.on_los: unknown key; did you"):
        load(path)
    path.write_text(text.replace(", on_los: {}", ""))
    case = load(path)
    agent = case.units["batt1"].agent
    assert agent is not None and agent.device is not None and agent.device.url == "serial:///dev/ttyACM0"
    again = case.with_overrides({"until_s": 1})
    assert again.units["batt1"].agent == agent and "batt1.agent" not in again.to_dict()["units"]


def test_serial_agents_give_f_and_e() -> None:
    with pytest.raises(ScenarioError, match="a serial agent is a droop inverter"):
        load("microgrid9").with_overrides({"units.pv1.device": {"url": "serial:///dev/ttyACM0"}})


def test_settled_means_settled(reference: Any) -> None:
    # the judge of the swap row looks at a time at which the simulated run moves no more
    t, f = reference.series(UNIT, "f[Hz]")
    assert np.ptp(f[t >= SETTLED_S]) < 1e-4
