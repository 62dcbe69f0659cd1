"""A device in a process of its own that is killed, frozen, restarted or unplugged while a run goes on.

The run goes on by the policy of its device, says so everywhere and ends with exit code 3; what a device was told
before it froze or forgot is made good.
"""

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from droop_inverter import MAP, Inverter, as_inv2, in_c, inverter
from gridloop.hil.io import Device, Handle, IoThread
from gridloop.hil.links import open_link
from gridloop.hil.registers import load_map
from gridloop.hil.urls import parse
from gridloop.scenarios import RunFailed, run
from gridloop.scenarios.cli import app
from in_course import CHANGES, at, was_lost_and_drives_again
from serial_cable import cable
from swap_case import UNIT, scenario

POWER = MAP.with_name("power_stage.yaml")
P_SET, Q_SET, P_GEN = "P_set[MW]", "Q_set[MVar]", "P_gen[MW]"
SETTLED_MW = 177.94  # of inv2 after the load step
LONG_S = 10.0  # what takes longer has failed

pytestmark = in_c


def case(then: str = "model", until_s: float = 1.2, **overrides: Any) -> Any:
    on_loss = {"hold_ms": 150, "then": then}
    patient = {"on_loss": on_loss, "period_ms": 20, "deadline_ms": 20, "max_age_ms": 300}  # for busy machines
    return scenario(until_s, **{f"units.{UNIT}.device.{key}": value for key, value in patient.items()} | overrides)


def told(result: Any) -> list[str]:
    """Who came and went, in the order of time."""
    return [event.kind for event in result.events if event.target == UNIT and event.kind in CHANGES]


def first_event(result: Any, kind: str) -> Any:
    return next(event for event in result.events if event.kind == kind)


def last_event(result: Any, kind: str) -> Any:
    return [event for event in result.events if event.kind == kind][-1]


def as_power(device: Inverter) -> str:
    """Its address with the map of a power stage."""
    return device.url.replace(str(MAP), str(POWER))


# --- the run goes on ---


def test_a_killed_device_is_told_everywhere(tmp_path: Path) -> None:
    def kill_in_mid_run() -> None:
        wait_for((tmp_path / "r" / "writes.csv").exists, "the first write")
        time.sleep(0.8)  # the run begins after 0.5 s
        device.process.kill()

    with inverter(**as_inv2()) as device:
        killer = threading.Thread(target=kill_in_mid_run)
        killer.start()
        words = ["run", "ieee9", "--until", "1.5", "--out", str(tmp_path / "r"), "--swap", f"{UNIT}={device.url}"]
        done = CliRunner().invoke(app, words)
        killer.join()
    assert done.exit_code == 3, done.output
    assert "degraded" in done.output and "device lost" in done.output
    record = json.loads((tmp_path / "r" / "run.json").read_text(encoding="utf-8"))
    (lost,) = [event for event in record["events"] if event["kind"] == "device_lost"]
    assert lost["target"] == UNIT and lost["outcome"].endswith("the model drives")
    assert record["status"] == "degraded" and record["message"].startswith(f"{UNIT}: ")
    report = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert f"device lost {UNIT}" in report and "the model drives" in report


def test_a_frozen_device_is_replaced_and_drives_again_when_it_answers(tmp_path: Path) -> None:
    with inverter(**as_inv2()) as device:
        watch = at((0.3, device.freeze), (1.0, device.thaw))
        result = run(case(until_s=2.1), folder=tmp_path / "run", swap={UNIT: device.url}, watch=watch)
    assert was_lost_and_drives_again(result, UNIT)
    assert 0.3 < first_event(result, "device_lost").t_s < 1.0 < last_event(result, "device_back").t_s
    assert result.metrics[f"device_fallback_time.{UNIT}"].value > 0.1
    assert result.series(UNIT, P_GEN)[1][-1] == pytest.approx(SETTLED_MW, abs=1.5)  # the same line, whoever draws it


def test_stop_ends_the_run_at_the_loss(tmp_path: Path) -> None:
    words = r"Devices\.inv2 at t = .* DeviceLost: .*on_loss: \{then: stop\}"
    with inverter(**as_inv2()) as device, pytest.raises(RunFailed, match=words) as failure:
        run(case("stop"), folder=tmp_path / "run", swap={UNIT: device.url}, watch=at((0.3, device.process.kill)))
    result = failure.value.result
    assert result.status == "failed" and told(result) == ["swap", "device_lost"]
    assert 0.3 < result.series(UNIT, "f[Hz]")[0][-1] < 1.2


def test_safe_feeds_in_the_safe_set_point(tmp_path: Path) -> None:
    safe = {f"units.{UNIT}.device.safe": {"p_set_kw": 150_000, "q_set_kvar": 20_000}}
    roles = {f"units.{UNIT}.device.role": "power"}
    with inverter(p_set=163, q_set=14.46) as device:
        swap, watch = {UNIT: as_power(device)}, at((0.4, device.process.kill))
        result = run(case("safe", 1.2, **safe, **roles), folder=tmp_path / "run", swap=swap, watch=watch)
    lost = last_event(result, "device_lost")
    assert lost.outcome.endswith("the safe set-point holds") and result.status == "degraded"
    t, p = result.series(UNIT, P_GEN)
    assert p[t > lost.t_s] == pytest.approx(150) and p[t < 0.4] == pytest.approx(163, abs=0.1)


def test_an_unplugged_line_is_noticed_at_once_and_plugged_in_it_drives_again(tmp_path: Path) -> None:
    with cable() as line, inverter(f"rtu {line.one}", **as_inv2()):
        url = f"modbus+rtu://{line.other}/1?map={MAP}&baud=115200&quarantine_ms=50"
        watch = at((0.3, line.unplug), (1.0, line.plug))
        result = run(case(until_s=2.6), folder=tmp_path / "run", swap={UNIT: url}, watch=watch)
    assert was_lost_and_drives_again(result, UNIT)
    assert 0.3 < first_event(result, "device_lost").t_s < 1.0


def test_a_restarted_device_is_told_all_anew(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(inverter(**as_inv2()))

        def restart() -> None:
            first.process.kill()
            first.process.wait()
            stack.enter_context(inverter(f"tcp {first.port}", **as_inv2()))

        result = run(case(until_s=1.8), folder=tmp_path / "run", swap={UNIT: first.url}, watch=at((0.5, restart)))
    # shorter than the hold time it leaves no event; longer, it is lost and back
    assert told(result) == ["swap"] or was_lost_and_drives_again(result, UNIT)
    assert result.series(UNIT, "active[1]")[1][-1] == 1
    assert result.series(UNIT, P_GEN)[1][-1] == pytest.approx(SETTLED_MW, abs=3)  # not 163 MW: it knows its power again


# --- set-points ---


@contextmanager
def steered(device: Inverter, **more: Any) -> Iterator[Handle]:
    """The device as a source of power, polled every 10 ms."""
    url = parse(as_power(device))
    settings = {"period_s": 0.01, "deadline_s": 0.02, "max_age_s": 0.1, "allow_writes": True, "watchdog_s": 60.0}
    with IoThread() as io:
        yield io.add(Device(UNIT, url, load_map(POWER), **(settings | more)))


def wait_for(holds: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + LONG_S
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)


def shows(handle: Handle, p_mw: float) -> Callable[[], bool]:
    def holds() -> bool:
        seen = handle.snapshot()
        return seen.quality == 0 and math.isclose(seen.values[P_GEN], p_mw, abs_tol=0.01)

    return holds


def test_of_set_points_sent_while_it_was_frozen_the_newest_holds() -> None:
    with inverter(filter=50) as device, steered(device) as handle:
        handle.post({P_SET: 100.0, Q_SET: 0.0})
        wait_for(shows(handle, 100), "the first set-point")
        device.freeze()
        for p_mw in (200.0, 250.0):
            handle.post({P_SET: p_mw})
            time.sleep(0.15)  # sent, and waited for in vain
        assert handle.snapshot().quality != 0
        device.thaw()
        wait_for(shows(handle, 250), "the newest set-point")
        read_back = handle.statistics()["cycles"]
        wait_for(lambda: handle.statistics()["cycles"] > read_back + 20, "more cycles")
        assert shows(handle, 250)()  # nothing older came after it
        assert handle.statistics()["not_as_written"] == 0
        assert handle.statistics()["lost"]


def test_a_device_that_restarted_gets_its_set_points_again() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(inverter(filter=50))
        handle = stack.enter_context(steered(first))
        handle.post({P_SET: 100.0, Q_SET: 0.0})
        wait_for(shows(handle, 100), "the set-point")
        first.process.kill()
        first.process.wait()
        wait_for(lambda: handle.snapshot().quality != 0, "the loss")
        stack.enter_context(inverter(f"tcp {first.port}", filter=50))  # with registers of zero
        wait_for(shows(handle, 100), "the set-point again")
        assert handle.statistics()["recoveries"] >= 1


def test_values_that_stand_still_while_it_answers_are_noticed_by_its_heartbeat() -> None:
    with inverter(stuck_after=0.3) as device, steered(device, frozen_s=0.2) as handle:
        handle.post({P_SET: 100.0, Q_SET: 0.0})
        wait_for(lambda: handle.snapshot().quality == 0, "an answer")
        wait_for(lambda: handle.snapshot().quality == 2, "the fault")
        assert handle.snapshot().cause == "its heartbeat stands still for 0.2 s"
        assert handle.statistics()["lost"] == {}  # the link is fine


def test_when_we_are_gone_its_own_timer_ends_what_it_was_told() -> None:
    async def tell_and_vanish(url: str) -> None:
        link = open_link(parse(url))
        await link.open()
        (block,) = load_map(POWER).writes([P_SET, Q_SET])
        await link.write(1, block.function, block.address, block.registers({P_SET: 100.0, Q_SET: 0.0})[0], 1.0)
        await link.close()

    with inverter(watchdog=0.3, filter=50) as device:
        asyncio.run(tell_and_vanish(device.url))
        with steered(device, allow_writes=False) as watcher:
            wait_for(shows(watcher, 100), "the power")
            wait_for(lambda: watcher.snapshot().quality == 2, "the watchdog")
            wait_for(lambda: abs(watcher.snapshot().values[P_GEN]) < 0.01, "no power")
