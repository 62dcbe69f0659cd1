"""The commands `hil` as they are typed, against emulated devices on loopback."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from typer.testing import CliRunner

from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import load_map
from gridloop.scenarios.cli import app

MAP = load_map("generic_inverter")


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    return {"P_gen[MW]": written["P_set[MW]"], "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "f[Hz]": 50.0}


def hil(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["hil", *words], env={"COLUMNS": "200"})
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout) if "--json" in words and exit_code != 2 else result.output


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator("modbus+tcp://127.0.0.1:0/1", MAP, follow) as served:
        yield served


def url(emulator: Emulator) -> str:
    return f"modbus+tcp://127.0.0.1:{emulator.url.port}/1?map=generic_inverter"


def test_scan_finds_the_unit_its_map_and_its_latency(emulator: Emulator) -> None:
    found = hil("scan", f"127.0.0.1:{emulator.url.port}", "--count", "20", "--json")
    assert found["asked"] == list(range(1, 11))
    (unit,) = found["units"]
    assert unit["unit"] == 1
    assert unit["maps"][0] in ({"map": name, "points": n, "answered": n, "plausible": n}
                               for name, n in (("generic_inverter", 6), ("generic_controller", 4)))  # fmt: skip
    latency = unit["latency"]
    assert (latency["requests"], latency["lost"]) == (20, 0)
    assert sum(count for _, count in latency["histogram_ms"]) == 20
    assert latency["rtt_ms"]["p50"] <= latency["rtt_ms"]["p95"] <= latency["rtt_ms"]["p99"]
    assert emulator.written["P_set[MW]"] == 0.0


def test_scan_says_it_in_words(emulator: Emulator) -> None:
    said = hil("scan", url(emulator), "--count", "5")
    assert re.search(r"unit 1 +answers", said)
    assert re.search(r"generic_inverter +6 +6 +6 +fits", said)
    assert "p99" in said
    assert "#" in said


def test_scan_tells_silent_units_from_those_that_are_there() -> None:
    # on a line others do not answer; after five silent requests the link is opened anew
    with Emulator("modbus+rtutcp://127.0.0.1:0/9", MAP, follow) as served:
        where = f"modbus+rtutcp://127.0.0.1:{served.url.port}"
        found = hil("scan", where, "--units", "4-9", "--count", "3", "--deadline-ms", "80", "--json")
        assert [unit["unit"] for unit in found["units"]] == [9]
        assert "nobody" in hil("scan", where, "--units", "3", "--deadline-ms", "50", exit_code=1)


def test_read_shows_points_by_name_and_brackets_as_they_are(emulator: Emulator) -> None:
    said = hil("read", url(emulator), "f", "P_gen[MW]")
    assert re.search(r"f +f\[Hz\] +50 ", said)
    assert re.search(r"P_gen +P_gen\[MW\] +0 ", said)
    assert "Q_gen" not in said
    values = {row["name"]: row["value"] for row in hil("read", url(emulator), "--json")}
    assert values["V"] == 1.0
    assert len(values) == len(MAP.points)


def test_read_of_what_is_not_there_fails_and_says_so(emulator: Emulator) -> None:
    emulator.fault("exception", code=4)
    said = hil("read", url(emulator), "f", exit_code=1)
    assert "device failure" in " ".join(said.split())  # wherever the table breaks its lines


def test_without_permission_nothing_is_written(emulator: Emulator) -> None:
    said = hil("write", url(emulator), "P_set=0.02")
    assert "nothing was written" in said
    assert "0000 4E20" in said
    assert emulator.requests == 0


def test_write_reads_back_what_it_wrote(emulator: Emulator) -> None:
    (row,) = hil("write", url(emulator), "P_set[MW]=0.02", "--allow-writes", "--json")
    assert (row["verdict"], row["read_back"], row["registers"]) == ("written", 0.02, [0, 20000])
    assert emulator.written["P_set[MW]"] == pytest.approx(0.02)


def test_a_write_that_does_not_stay_fails(emulator: Emulator) -> None:
    emulator.fault("exception", code=4, on="write")
    (row,) = hil("write", url(emulator), "P_set=0.02", "--allow-writes", "--json", exit_code=1)
    assert row["verdict"] == "FAILED"
    assert "device failure" in row["note"]


def test_a_value_beyond_the_maps_limits_is_cut_and_said(emulator: Emulator) -> None:
    (row,) = hil("write", url(emulator), "V_grid=9", "--json")
    assert (row["value"], row["cut"]) == (4.0, True)


def test_stop_writes_the_safe_values(emulator: Emulator) -> None:
    hil("write", url(emulator), "P_set=0.02", "Q_set=0.01", "--allow-writes")
    rows = hil("stop", url(emulator), "--json")
    assert [(row["name"], row["read_back"]) for row in rows] == [("P_set", 0.0), ("Q_set", 0.0), ("reversion", 2.0)]
    assert emulator.written["P_set[MW]"] == 0.0
    emulator.fault("silent")
    hil("stop", url(emulator), "--deadline-ms", "50", exit_code=1)


def test_nobody_there_is_one_line_and_exit_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = hil("read", f"modbus+tcp://127.0.0.1:{port}/1?map=meter", exit_code=1)
    assert "cannot be reached" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words, message",
    [
        (("read", "modbus+tcp://127.0.0.1/1"), "Add ?map=NAME"),
        (("read", "modbsu+tcp://127.0.0.1/1"), "did you mean modbus+tcp"),
        (("read", "replay://runs"), "only Modbus devices can be asked by hand"),
        (("read", "modbus+tcp://127.0.0.1/1?map=generic_invertre"), "did you mean generic_inverter"),
        (("read", "modbus+tcp://127.0.0.1/1?map=meter", "P_gne"), "did you mean P_gen"),
        (("write", "modbus+tcp://127.0.0.1/1?map=generic_inverter", "P_gen=1"), "P_gen is only read"),
        (("write", "modbus+tcp://127.0.0.1/1?map=generic_inverter", "P_set=much"), "write NAME=NUMBER"),
        (("write", "modbus+tcp://127.0.0.1/1?map=generic_inverter", "P_set=nan"), "write NAME=NUMBER"),
        (("stop", "modbus+tcp://127.0.0.1/1?map=meter"), "names no safe value"),
        (("scan", "127.0.0.1", "--units", "1-300"), "units are 0 to 255"),
        (("emulate", "generic_inverter", "--as", "modbus+tcp://0.0.0.0:5020/1"), "other machines could reach it"),
        (("emulate", "generic_inverter", "--fault", "sielnt"), "one of late"),
        (("emulate", "inv2", "--as", "modbus+tcp://127.0.0.1:0/1?map=generic_inverter"), "Add --scenario NAME"),
        (("emulate", "inv9", "--scenario", "ieee9", "--as", "modbus+tcp://127.0.0.1:0/1"), "has no unit 'inv9'"),
    ],
)
def test_what_the_user_can_mend_is_exit_2(words: tuple[str, ...], message: str) -> None:
    assert message in hil(*words, exit_code=2)


def test_emulate_serves_a_map_for_a_time() -> None:
    said = hil("emulate", "battery", "--as", "modbus+tcp://127.0.0.1:0/4", "--for", "0.1")
    assert re.search(r"serves +modbus\+tcp://127\.0\.0\.1:\d+/4\?map=battery", said)
    assert "ended" in said


def test_emulate_serves_a_unit_of_a_scenario_by_its_own_model() -> None:
    said = hil("emulate", "inv2", "--scenario", "ieee9", "--as", "modbus+tcp://127.0.0.1:0/1", "--for", "0.05")
    assert "inv2 of ieee9 by its own model Inverter, as generic_controller" in said


def test_selftest_passes_and_lists_its_checks() -> None:
    rows = hil("selftest", "--json")
    assert {row["verdict"] for row in rows} == {"pass"}
    assert len(rows) >= 10
