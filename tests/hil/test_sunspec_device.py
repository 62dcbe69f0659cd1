"""SunSpec devices on real links: emulated; read, steered, lost and found again by the I/O thread and the commands."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from gridloop.hil.emulator import Emulator
from gridloop.hil.io import Device, Handle, IoThread, Write
from gridloop.hil.policy import FAULT, GOOD
from gridloop.hil.urls import DeviceUrl
from gridloop.scenarios.cli import app
from gridloop.scenarios.emulated_unit import served

P_SET, P_GEN = "P_set[MW]", "P_gen[MW]"
PATIENCE_S = 8.0


def emulated(url: str, **options: Any) -> Emulator:
    """A SunSpec device of 100 kW."""
    map, law, _, words = served("generic_inverter", url, "")
    return Emulator(url, map, law, words=words, **options)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with emulated("sunspec+tcp://127.0.0.1:0/1") as device:
        yield device


def device(url: DeviceUrl, **options: Any) -> Device:
    settings = {"period_s": 0.02, "deadline_s": 0.2, "max_age_s": 0.4, "watchdog_s": 30.0, "allow_writes": True}
    return Device("inv2", url, None, **(settings | options))


def until(holds: Callable[[], bool], each: Callable[[], None] = lambda: None) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it did not come about"
        each()
        time.sleep(0.005)


def shows(handle: Handle, p_mw: float) -> bool:
    seen = handle.snapshot()
    return seen.quality == GOOD and abs(seen.values[P_GEN] - p_mw) < 1e-4


def hil(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["hil", *words])
    assert result.exit_code == exit_code, result.output
    return json.loads(result.output) if "--json" in words else result.output


def at(emulator: Emulator) -> str:
    url = emulator.url
    return f"{url.kind}://{url.path or f'{url.host}:{url.port}'}/{url.unit}"


@pytest.mark.parametrize("url", [
    "sunspec+tcp://127.0.0.1:0/1", "sunspec+rtutcp://127.0.0.1:0/7", "sunspec+rtu://pty/3?baud=115200", "sunspec+tcp://127.0.0.1:0/1?base=0"
])  # fmt: skip
def test_over_every_transport_it_follows_and_is_left_safe(url: str) -> None:
    log: list[Write] = []
    with emulated(url) as emulator:
        with IoThread(on_write=log.append) as io:
            handle = io.add(device(emulator.url, deadline_s=1.0, max_age_s=3.0))
            handle.post({P_SET: 0.02})
            until(lambda: shows(handle, 0.02))
            assert emulator.written["enable[1]"] == 1.0
        assert emulator.written[P_SET] == 0.0
    first, *others = [w.cause for w in log if w.attr == P_SET]
    assert first == "" and set(others) == {"safe"}  # on a busy machine the watchdog may have been first


def test_a_device_that_takes_one_connection_only_is_scanned_and_steered_over_the_same(emulator: Emulator) -> None:
    with IoThread() as io:
        one, other = io.add(device(emulator.url)), io.add(device(emulator.url))
        one.post({P_SET: 0.02})
        until(lambda: shows(one, 0.02) and shows(other, 0.02))
        assert one.statistics()["recoveries"] == 0
        server: Any = emulator._server
        assert len(server.active_connections) == 1


def test_killed_and_started_again_its_set_points_are_asserted_anew(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator.url))
        handle.post({P_SET: 0.02})
        until(lambda: shows(handle, 0.02))
        emulator.kill()
        until(lambda: handle.snapshot().quality != GOOD)
        emulator.revive()
        assert emulator.written[P_SET] == 0.0
        until(lambda: shows(handle, 0.02))
        assert handle.statistics()["recoveries"] == 1


def test_a_device_that_is_not_there_at_the_start_is_found_when_it_comes(emulator: Emulator) -> None:
    emulator.kill()
    with IoThread() as io:
        handle = io.add(device(emulator.url))
        handle.post({P_SET: 0.02})
        until(lambda: "not connected" in handle.snapshot().cause)
        emulator.revive()
        until(lambda: shows(handle, 0.02))


@pytest.mark.parametrize("kind, options", [
    ("late", {"delay_s": 0.3}), ("silent", {}), ("frozen", {}), ("exception", {"code": 4}), ("wrong_unit", {}),
    ("nan", {}), ("drop", {}), ("slow", {"delay_s": 0.5}), ("restart", {"delay_s": 0.7}),
])  # fmt: skip
def test_every_fault_is_noticed_and_got_over(emulator: Emulator, kind: Any, options: dict[str, Any]) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator.url, deadline_s=0.1, max_age_s=0.25, frozen_s=0.3))
        handle.post({P_SET: 0.02})
        until(lambda: shows(handle, 0.02))
        emulator.fault(kind, **options)
        until(lambda: handle.snapshot().quality != GOOD)
        assert handle.snapshot().cause
        emulator.clear()
        until(lambda: shows(handle, 0.02))


def test_without_numbers_it_is_no_data(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator.url))
        until(lambda: handle.snapshot().quality == GOOD)
        emulator.fault("nan")
        until(lambda: handle.snapshot().quality == FAULT)
        assert "no number for P_gen[MW], Q_gen[MVar]" in handle.snapshot().cause


def test_scan_tells_models_and_what_they_are_good_for(emulator: Emulator) -> None:
    (unit,) = hil("scan", at(emulator), "--count", "5", "--json")["units"]
    found = unit["sunspec"]
    assert [model["model"] for model in found["models"]] == [1, 701, 702, 704, 705, 711, 713, 715]
    assert (found["base"], found["manufacturer"], found["serial_number"]) == (40000, "gridloop", "generic_inverter")
    by = {one["capability"]: one["by"] for one in found["capabilities"]}
    assert (by["P_set"], by["Q_set"], by["P_max"]) == ("704 WSet", "704 VarSet", "702 WMax")
    assert (by["droop"], by["SoC"], by["reversion"]) == ("711 Ena", "713 SoC", "704 WSetRvrtTms")
    assert unit["latency"]["requests"] == 5
    told = hil("scan", at(emulator), "--count", "5")
    assert "704 WSet" in told
    assert "-100 to 100 kW" in told


def test_scan_of_an_address_finds_sunspec_too(emulator: Emulator) -> None:
    url = f"modbus+tcp://127.0.0.1:{emulator.url.port}/1"
    (unit,) = hil("scan", url, "--count", "2", "--json")["units"]
    assert unit["sunspec"]["serial_number"] == "generic_inverter"


def test_scan_gets_past_units_that_say_nothing(emulator: Emulator) -> None:
    emulator.fault("silent", count=5)  # after which the link is opened anew
    url = f"sunspec+tcp://127.0.0.1:{emulator.url.port}"
    found = hil("scan", url, "--units", "1,2", "--count", "2", "--deadline-ms", "50", "--json", exit_code=1)
    assert found["units"] == []
    found = hil("scan", url, "--units", "1-3", "--count", "2", "--deadline-ms", "50", "--json")
    assert [unit["unit"] for unit in found["units"]] == [1]
    emulator.fault("silent")
    told = hil("scan", url, "--units", "1", "--deadline-ms", "50", exit_code=1)
    assert "of units 1 shows SunSpec models" in told


def test_read_write_and_stop_know_the_devices_own_registers(emulator: Emulator) -> None:
    url = at(emulator)
    hil("write", url, "m704_WSet=0.02")
    assert emulator.written[P_SET] == 0.0  # without leave
    rows = hil("write", url, "P_set[MW]=0.02", "--allow-writes", "--json")
    assert [row["name"] for row in rows][-2:] == ["m704_WSet", "m704_WSetEna"]
    assert {row["verdict"] for row in rows} == {"written"}
    assert [emulator.written[attr] for attr in (P_SET, "enable[1]", "reversion[s]")] == pytest.approx([0.02, 1, 10])
    assert emulator.written["enable_Q[1]"] == 0.0  # nobody asked for it
    (row,) = hil("read", url, "f[Hz]", "--json")
    assert (row["name"], row["value"]) == ("m701_Hz", 50.0)
    hil("stop", url)
    assert emulator.written[P_SET] == 0.0
    assert "did you mean" in hil("write", url, "m704_WSte=1", exit_code=2)


def test_the_command_serves_a_device_and_says_how_it_is_found() -> None:
    told = hil(
        "emulate", "inv2", "--scenario", "ieee9", "--as", "sunspec+tcp://127.0.0.1:0/1", "--for", "0.1", "--json"
    )
    assert told["url"].startswith("sunspec+tcp://127.0.0.1:")
    assert told["role"] == "power"
    on_a_line = hil("emulate", "generic_inverter", "--as", "sunspec+rtu://pty/1", "--for", "0.1", "--json")
    assert on_a_line["url"].startswith("sunspec+rtu:///dev/")
    refused = hil("emulate", "meter", "--as", "sunspec+tcp://127.0.0.1:0/1", "--for", "0.1", exit_code=2)
    assert "the map meter is of a meter" in refused


def test_where_no_models_are_read_says_so() -> None:
    with Emulator("modbus+tcp://127.0.0.1:0/1", served("battery", "", "").map, lambda t_s, written: {}) as other:
        told = hil("read", f"sunspec+tcp://127.0.0.1:{other.url.port}/1", exit_code=2)
    assert "no SunSpec mark at register 40000, 0, 50000" in told
