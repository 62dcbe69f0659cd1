"""The commands `hil` with a device behind TLS: certificates of both, and what is said where one is missing or wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from certificates import make
from gridloop.hil.behaviour import law_for
from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import load_map
from gridloop.scenarios.cli import app

pytestmark = pytest.mark.peers("openssl")
MAP = load_map("generic_inverter")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def port(made: Path) -> Iterator[int]:
    own = f"?cert={made / 'device.crt'}&key={made / 'device.key'}&ca={made / 'ca.crt'}"
    with Emulator(f"modbus+tls://127.0.0.1:0/1{own}", MAP, law_for(MAP)) as emulator:
        yield emulator.url.port


def hil(*words: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["hil", *words])
    assert result.exit_code == exit_code, result.output
    return json.loads(result.output) if "--json" in words else result.output


def url(port: int, made: Path, *, host: str = "127.0.0.1", ca: str = "ca", us: str = "us", more: str = "") -> str:
    ours = f"&cert={made / f'{us}.crt'}&key={made / f'{us}.key'}" if us else ""
    return f"modbus+tls://{host}:{port}/1?map=generic_inverter&ca={made / f'{ca}.crt'}{ours}{more}"


def test_with_certificates_of_both_it_is_scanned_steered_and_stopped(port: int, made: Path) -> None:
    (unit,) = hil("scan", url(port, made), "--count", "3", "--json")["units"]
    assert (unit["unit"], unit["maps"][0]["plausible"]) == (1, 6)
    (row,) = hil("write", url(port, made), "P_set=0.02", "--allow-writes", "--json")
    assert row["read_back"] == pytest.approx(0.02)
    hil("stop", url(port, made))
    (row,) = hil("read", url(port, made), "P_set", "--json")
    assert row["value"] == 0.0


@pytest.mark.parametrize(
    "options, told",
    [
        ({"us": ""}, "the other end hung up: it may want our certificate: add cert=FILE&key=FILE"),
        ({"us": "stranger"}, "the other end hung up: it may not accept our certificate"),
        ({"ca": "stranger"}, "its certificate is refused: self-signed certificate in certificate chain; ca= is the"),
        ({"host": "localhost"}, "certificate is not valid for 'localhost'"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(port: int, made: Path, options: dict[str, str], told: str) -> None:
    assert told in hil("read", url(port, made, **options), exit_code=1)


def test_a_device_whose_name_is_another_may_be_taken_expressly(port: int, made: Path) -> None:
    hil("read", url(port, made, host="localhost", more="&hostname=any"))


def test_a_server_without_a_certificate_is_refused() -> None:
    told = hil("emulate", "meter", "--as", "modbus+tls://127.0.0.1:0/1", "--for", "0.1", exit_code=2)
    assert "a TLS server needs its certificate: add ?cert=FILE&key=FILE" in told


def test_the_command_serves_over_tls_and_says_how_it_is_found(made: Path) -> None:
    own = f"cert={made / 'device.crt'}&key={made / 'device.key'}&ca={made / 'ca.crt'}"
    told = hil("emulate", "meter", "--as", f"modbus+tls://127.0.0.1:0/1?{own}", "--for", "0.1", "--json")["url"]
    assert told.startswith("modbus+tls://127.0.0.1:")
    assert told.endswith(f"/1?map=meter&ca={made / 'ca.crt'}")
