"""Runs with devices are recorded, and come out the same when the recordings stand in.

Three droop inverters on the 9-bus network; inv2 is a device in this process that is silent for a while, or its own
model behind registers over Modbus TCP, in real time.
"""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from agent_process import port_of, started
from gridloop.hil.policy import FAULT
from gridloop.scenarios import RunFailed, load, open_run, run
from gridloop.scenarios.agent_settings import options_for
from gridloop.scenarios.cli import app
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.replaying import replay
from gridloop.scenarios.report import write_report
from gridloop.scenarios.start import plan
from gridloop.scenarios.steering import Steering
from gridloop.simulators.models.channel import Channel, Jitter, LinkParams
from in_course import at
from swap_case import UNIT, emulator, scenario

ON_LOSS = {"hold_ms": 50, "then": "model"}


class Silent(EmulatedDevice):
    """inv2 with another droop, which does not answer from 0.4 s to 0.6 s and sees the age of its values grow."""

    def __init__(self, case: Any) -> None:
        what = plan(case)
        super().__init__(
            what.groups[0], 1, what.case.network.s_base_mva, what.scenario.step_ms, parameters={"droop_p_percent": 4}
        )  # fmt: skip
        self._t_s = 0.0

    def post(self, values: dict[str, float]) -> None:
        self._t_s = values["t[s]"]
        self.fault = "no answer, it is said" if 0.4 <= self._t_s < 0.6 else ""
        super().post(values)

    def snapshot(self) -> Any:
        seen = super().snapshot()
        return seen if not self.fault else seen.__class__(seen.values, 0.0, 5, FAULT, self.fault, self._t_s / 3)


def case(until_s: float = 1.3, **more: Any) -> Any:
    return scenario(until_s, **{f"units.{UNIT}.device.on_loss": ON_LOSS} | more)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with a loss and two commands from a callback; it is taken nowhere but read."""
    steering, what = Steering(), case()
    watch = at((0.15, lambda: steering.unswap(UNIT)), (0.25, lambda: steering.swap(UNIT)))
    folder = tmp_path_factory.mktemp("recorded") / "first"
    return run(what, folder=folder, swap={UNIT: Silent(what)}, watch=watch, steering=steering)


def test_a_recorded_run_comes_out_the_same_to_the_bit(recorded: Any, tmp_path: Path) -> None:
    kinds = [event.kind for event in recorded.events]
    assert kinds == ["swap", "unswap", "load_step", "swap", "device_lost", "device_back"]
    again = replay(recorded.path, tmp_path / "again")
    assert again.is_equal and again.compared > 60, (again.differences, again.events)
    assert again.result.status == recorded.status == "degraded"
    assert again.result.record["commands"] == recorded.record["commands"] != []
    once_more = replay(recorded.path, tmp_path / "once_more")
    assert once_more.is_equal


def test_the_command_tells_where_a_run_came_out_different(recorded: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(recorded.path, tmp_path / "changed")
    record = json.loads((folder / "run.json").read_text())
    assert record["scenario"]["events"][0]["do"] == "load_step"
    record["scenario"]["events"][0]["t_s"] = 0.5
    (folder / "run.json").write_text(json.dumps(record))
    ended = CliRunner().invoke(app, ["replay", str(folder), "--out", str(tmp_path / "other"), "--json"])
    told = json.loads(ended.stdout)
    assert ended.exit_code == 1 and not told["equal"]
    assert told["events"] == [
        "only recorded: load step 5 at t = 0.3 s", "only replayed: load step 5 at t = 0.5 s",
    ]  # fmt: skip
    first = told["differences"][0]
    assert first["t_s"] == pytest.approx(0.3) and first["recorded"] != first["replayed"]
    same = CliRunner().invoke(app, ["replay", str(recorded.path), "--out", str(tmp_path / "same")])
    assert same.exit_code == 0 and "are the same to the bit" in same.stdout


def test_a_recording_stands_in_where_nothing_else_is_known_of_the_device(recorded: Any, tmp_path: Path) -> None:
    longer = case(1.5).with_overrides({f"units.{UNIT}.device.url": f"replay://{recorded.path}"})
    result = run(longer, folder=tmp_path / "longer", steering=Steering(recorded.record["commands"]))
    t, f = result.series(UNIT, "f[Hz]")
    assert np.array_equal(f[t <= 1.3], recorded.series(UNIT, "f[Hz]")[1])
    assert [event.outcome for event in result.events][-1] == "the recording ends at t = 1.3 s; the model drives"


def test_a_run_that_failed_and_one_that_was_interrupted_are_replayed_as_far_as_they_went(tmp_path: Path) -> None:
    stops = case(0.6, **{f"units.{UNIT}.device.on_loss.then": "stop"})
    with pytest.raises(RunFailed):
        run(stops, folder=tmp_path / "failed", swap={UNIT: Silent(stops)})
    assert replay(tmp_path / "failed", tmp_path / "failed_again").is_equal

    def interrupt(progress: Any) -> None:
        if progress.t_s > 0.4:
            raise KeyboardInterrupt

    what = case(1.0)
    cut = run(what, folder=tmp_path / "cut", swap={UNIT: Silent(what)}, watch=interrupt)
    assert cut.status == "interrupted"
    again = replay(tmp_path / "cut", tmp_path / "cut_again")
    assert again.is_equal and len(again.result.series(UNIT, "f[Hz]")[0]) > 80


def test_a_killed_run_is_replayed_as_far_as_its_recording_goes(recorded: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(recorded.path, tmp_path / "killed")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "running", "events": [], "metrics": {}}))
    (segment,) = (folder / "devices" / "taken").iterdir()
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(segment).slice(0, 201), segment)
    again = replay(folder, tmp_path / "again")
    assert again.is_equal and again.result.series(UNIT, "f[Hz]")[0][-1] == 1.0


def test_an_emergency_stop_is_replayed_too(tmp_path: Path) -> None:
    steering, what = Steering(), case(0.8)
    moments = at((0.15, steering.stop))
    stopped = run(what, folder=tmp_path / "one", swap={UNIT: Silent(what)}, watch=moments, steering=steering)
    assert stopped.status == "degraded" and stopped.record["message"].startswith("all devices were stopped at t = 0.1")
    assert [event.kind for event in stopped.events] == ["swap", "emergency_stop", "unswap", "load_step"]
    t, active = stopped.series(UNIT, "active[1]")
    assert active[t < 0.15].all() and not active[t > 0.2].any()
    assert replay(tmp_path / "one", tmp_path / "two").is_equal


def test_a_run_without_devices_has_nothing_to_replay(tmp_path: Path) -> None:
    run(load("ieee9"), until_s=0.05, folder=tmp_path / "plain")
    with pytest.raises(ValueError, match="there is nothing to replay"):
        replay(tmp_path / "plain")


def test_commands_for_units_without_a_device_are_refused(tmp_path: Path) -> None:
    steering, told = Steering(), list[str]()

    def ask(progress: Any) -> None:
        try:
            steering.swap("inv7")
        except ValueError as error:
            told.append(str(error))

    run(case(0.3), folder=tmp_path / "one", watch=ask, steering=steering)
    assert set(told) == {"inv7 has no device in this run; there are inv2"}


# --- over a wire, in real time ---


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Any:
    steering, what = Steering(), scenario(1.0)
    watch = at((0.5, lambda: threading.Thread(target=steering.unswap, args=[UNIT]).start()))
    with emulator("modbus+tcp://127.0.0.1:0/1?map=generic_controller") as served:
        url = f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_controller"
        folder = tmp_path_factory.mktemp("wired") / "first"
        return run(what, folder=folder, swap={UNIT: url}, raw_frames=True, watch=watch, steering=steering)


def test_a_run_over_a_wire_comes_out_the_same_to_the_bit_without_it(wired: Any, tmp_path: Path) -> None:
    kinds = [event.kind for event in wired.events if event.kind != "device_late"]
    assert kinds == ["swap", "load_step", "unswap"]
    again = replay(wired.path, tmp_path / "again")
    assert again.is_equal and again.compared > 60, (again.differences, again.events)


def test_every_figure_of_hardware_is_there(wired: Any) -> None:
    keys = (
        "device_requests", "device_answers", "device_age_p95", "rtt_p50", "rtt_p95", "rtt_p99", "device_fallback_time",
        "residual_rms", "residual_max", "residual_bias", "device_writes", "device_writes_limited",
    )  # fmt: skip
    assert {f"{key}.{UNIT}" for key in keys} | {"step_late_p50", "step_late_p99", "overruns"} <= set(wired.metrics)
    figures = {key: wired.metrics[f"{key}.{UNIT}"].value for key in keys}
    lost = sum(metric.value for key, metric in wired.metrics.items() if key.startswith("device_lost."))
    assert figures["device_requests"] >= figures["device_answers"] + lost > 50
    assert 0 < figures["rtt_p50"] <= figures["rtt_p95"] <= figures["rtt_p99"]
    rows = (wired.path / "writes.csv").read_text().splitlines()[1:]
    assert figures["device_writes"] <= len(rows)  # the safe state at the end is written after the count
    assert figures["residual_max"] >= figures["residual_rms"] >= abs(figures["residual_bias"])
    assert wired.devices[UNIT]["role"] == "controller" and wired.devices[UNIT]["answers"] == figures["device_answers"]
    wall = open_run(wired.path).record["wall"]
    parts = [wall[f"{part}_s"] for part in ("models", "mosaik", "io", "waited")]
    assert sum(parts) == pytest.approx(wall["total_s"]) and min(parts) >= 0


def test_the_frames_of_a_wire_are_kept_when_asked_for(wired: Any) -> None:
    (file,) = (wired.path / "devices" / "frames").iterdir()
    lines = [line.split() for line in file.read_text().splitlines()]
    assert {way for _, way, _ in lines} == {"<", ">"} and len(lines) > 100
    times = [float(t_s) for t_s, _, _ in lines]
    assert times == sorted(times)
    first = next(frame for _, way, frame in lines if way == ">")
    assert bytes.fromhex(first)[2:4] == b"\0\0"  # Modbus TCP


def test_round_trips_of_a_run_are_the_delays_of_a_link(wired: Any, tmp_path: Path) -> None:
    file = wired.path / "devices" / "round_trips" / f"{UNIT}.csv"
    measured_ms = np.loadtxt(file)
    assert len(measured_ms) == wired.devices[UNIT]["answers"] > 50
    # a link in a study: one message each 50 ms, with the measured delays in their order
    links = {"comms.jitter": {"kind": "trace", "trace": str(file)}, "comms.delay_ms": 0, "comms.loss_percent": 0}
    agents = load("microgrid9").with_overrides({"until_s": 20, "step_ms": 50, "record.every_ms": 50} | links)
    assert plan(agents).links[0].settings["jitter"]["trace"] == str(file)
    link = Channel(LinkParams(jitter=Jitter("trace", trace=tuple(measured_ms))), np.random.default_rng(1))
    count = len(measured_ms)
    delays = [(link.send(50_000 * i, i, 1) or 0) - 50_000 * i for i in range(count)]
    assert sorted(delays) == [round(1e3 * one) for one in sorted(measured_ms)]
    p50 = float(np.median(delays)) / 1e3
    assert p50 == pytest.approx(wired.metrics[f"rtt_p50.{UNIT}"].value, rel=0.05)


def test_the_report_has_a_section_about_hardware(wired: Any, recorded: Any, tmp_path: Path) -> None:
    page = write_report(wired, tmp_path / "wired.html").read_text()
    section = page[page.index("<h2>Hardware</h2>") :]
    for words in ("requests answered", "round trips", "99 %:", "values were younger", "the device drives",
                  "the model drives", "values written", "root mean square"):  # fmt: skip
        assert words in section
    assert "it is lost" in write_report(recorded, tmp_path / "recorded.html").read_text()
    plain = run(load("ieee9"), until_s=0.05, folder=tmp_path / "plain")
    assert "Hardware" not in write_report(plain, tmp_path / "plain.html").read_text()


def test_a_physical_agent_is_recorded_and_replayed_too(tmp_path: Path) -> None:
    load_step = {"t_s": 0.3, "do": "load_step", "bus": "5", "p_kw": 300, "q_kvar": 100}
    out = {"t_s": 0.7, "do": "unswap", "unit": "batt1.agent"}
    device = {"url": "emulated:", "allow_writes": True}
    what = load("microgrid9").with_overrides(
        {"until_s": 0.9, "units.batt1.agent.device": device, "events": [load_step, out]}
    )
    with started("--listen", "0", *options_for(plan(what), "batt1.agent")) as process:
        url = f"serial+socket://127.0.0.1:{port_of(process)}?codec=cobs"
        first = run(what, folder=tmp_path / "first", swap={"batt1.agent": url})
    assert first.series("batt1", "agent_active[1]")[1].any()
    again = replay(first.path, tmp_path / "again")
    assert again.is_equal and again.compared > 80, (again.differences, again.events)


def test_a_shadow_run_is_replayed_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridloop.scenarios.device_roles.LOOPBACK", ())  # as if it were elsewhere
    with emulator("modbus+tcp://127.0.0.1:0/1?map=generic_controller") as served:
        url = f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_controller"
        without = scenario(0.3, **{f"units.{UNIT}.device.allow_writes": False})
        shadow = run(without, folder=tmp_path / "shadow", swap={UNIT: url})
        leave = run(without, folder=tmp_path / "leave", swap={UNIT: url}, allow_writes=True)
    rows = (tmp_path / "shadow" / "writes.csv").read_text().splitlines()[1:]
    assert shadow.devices[UNIT]["shadow"] and rows and all(row.endswith(",0,writes are not allowed") for row in rows)
    assert not shadow.series(UNIT, "active[1]")[1].any() and leave.series(UNIT, "active[1]")[1].all()
    assert replay(tmp_path / "shadow", tmp_path / "again").is_equal
