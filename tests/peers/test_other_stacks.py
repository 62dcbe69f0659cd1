"""Modbus of other makers: mbpoll, pyModbusTCP, npm's modbus-serial and libmodbus in C. Where they stand, the value of
each register is its address, so that a wrong answer is seen.
"""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from droop_inverter import in_c, inverter
from gridloop.hil.emulator import Emulator
from gridloop.hil.links import Busy, Link, LinkError, Refused, Timeout, open_link
from gridloop.hil.registers import load_map
from gridloop.hil.urls import parse
from serial_cable import cable

HERE = Path(__file__).parent
MAP = load_map("generic_inverter")
P_SET, Q_SET = "P_set[MW]", "Q_set[MVar]"
SOON_S = 1.0


def follow(t_s: float, written: Any) -> dict[str, float]:
    return {"P_gen[MW]": written[P_SET], "Q_gen[MVar]": written[Q_SET], "Vm[pu]": 1.0, "f[Hz]": 50.0}


def ask(url: str, what: Callable[[Link], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        link = open_link(parse(url))
        try:
            await link.open()
            return await what(link)
        finally:
            await link.close()

    return asyncio.run(body())


@contextmanager
def running(*words: str) -> Iterator[None]:
    """A server in another process, from its first line on."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# --- mbpoll asks our emulator ---


def mbpoll(*words: str) -> subprocess.CompletedProcess[str]:
    """One question; big-endian 32-bit numbers, addresses from 0."""
    command = ["mbpoll", "-0", "-r", "0", "-B", "-1", "-q", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)


def numbers(told: str) -> dict[int, int]:
    return {int(at): int(value) for at, value in re.findall(r"^\[(\d+)\]:\s+(-?\d+)", told, re.MULTILINE)}


@pytest.mark.peers("mbpoll")
@pytest.mark.parametrize("line", ["tcp", "rtu"])
def test_mbpoll_writes_and_reads_our_emulator(line: str) -> None:
    with ExitStack() as stack:
        if line == "tcp":
            served = stack.enter_context(Emulator("modbus+tcp://127.0.0.1:0/3", MAP, follow))
            way, where = ["-m", "tcp", "-p", str(served.url.port)], "127.0.0.1"
        else:
            ports = stack.enter_context(cable())
            served = stack.enter_context(Emulator(f"modbus+rtu://{ports.one}?unit=3&baud=115200", MAP, follow))
            way, where = ["-m", "rtu", "-b", "115200", "-P", "none"], ports.other
        written = mbpoll(*way, "-a", "3", "-t", "4:int", where, "--", "20000", "-3000")
        assert written.returncode == 0, written.stderr
        assert (served.written[P_SET], served.written[Q_SET]) == (0.02, -0.003)
        shown = mbpoll(*way, "-a", "3", "-t", "3:int", "-c", "4", where)
        assert numbers(shown.stdout) == {0: 20000, 2: -3000, 4: 1_000_000, 6: 50_000_000}
        beyond = mbpoll(*way, "-a", "3", "-t", "3:int", "-c", "40", where)
        assert beyond.returncode == 1 and "Illegal data address" in beyond.stderr
        other = mbpoll(*way, "-a", "4", "-o", "0.1", "-t", "3:int", where)
        said = "Target device failed to respond" if line == "tcp" else "Connection timed out"
        assert other.returncode == 1 and said in other.stderr


# --- pyModbusTCP, both ways ---


@pytest.mark.peers(packages=["pyModbusTCP"])
def test_a_client_of_pymodbustcp_drives_our_emulator() -> None:
    from pyModbusTCP.client import ModbusClient
    from pyModbusTCP.utils import get_list_2comp, word_list_to_long

    with Emulator("modbus+tcp://127.0.0.1:0/3", MAP, follow) as served:
        client = ModbusClient("127.0.0.1", served.url.port, unit_id=3, timeout=SOON_S)
        assert client.write_multiple_registers(0, [0, 20_000, 0xFFFF, 0xF448])
        assert (served.written[P_SET], served.written[Q_SET]) == (0.02, -0.003)
        assert get_list_2comp(word_list_to_long(client.read_input_registers(0, 4)), 32) == [20_000, -3_000]
        assert client.read_input_registers(500, 1) is None and client.last_except == 2
        served.fault("wrong_unit", count=1)
        assert client.read_input_registers(0, 4) is None  # it hangs up on what does not fit
        assert client.read_input_registers(0, 4) == [0, 20_000, 0xFFFF, 0xF448]
        client.close()


SERVER = """
import signal, sys
from pyModbusTCP.server import DataBank, ModbusServer

bank = DataBank(h_regs_size=60_000)
bank.set_holding_registers(0, list(range(60_000)))
ModbusServer("127.0.0.1", int(sys.argv[1]), no_block=True, data_bank=bank).start()
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.peers(packages=["pyModbusTCP"])
def test_we_ask_a_server_of_pymodbustcp() -> None:
    async def seen(link: Link) -> Any:
        values = [await link.read(1, "holding", at, 125, SOON_S) for at in (0, 300, 59_000)]
        assert values == [list(range(at, at + 125)) for at in (0, 300, 59_000)]
        assert await link.read(77, "holding", 7, 2, SOON_S) == [7, 8]  # it is any unit
        with pytest.raises(Refused, match=r"illegal address \(2\)"):
            await link.read(1, "holding", 60_000, 2, SOON_S)
        await link.write(1, "holding", 5, [1, 2, 3], SOON_S)
        assert await link.read(1, "holding", 4, 5, SOON_S) == [4, 1, 2, 3, 8]
        return link.statistics

    port = free_port()
    with running(sys.executable, "-c", SERVER, str(port)):
        statistics = ask(f"modbus+tcp://127.0.0.1:{port}/1", seen)
    assert (statistics.requests, statistics.answers, statistics.exceptions[2]) == (7, 6, 1)


# --- npm's modbus-serial: slow, and slower on a serial line ---


@pytest.mark.peers("node", npm=["modbus-serial", "serialport"])
@pytest.mark.parametrize(("line", "deadline_s", "pause_s"), [("tcp", 0.02, 0.005), ("rtu", 0.065, 0.02)])
def test_a_slow_unit_costs_misses_and_never_gives_a_wrong_value(line: str, deadline_s: float, pause_s: float) -> None:
    async def seen(link: Link) -> Any:
        kinds: list[type] = []
        for i in range(60):
            try:
                assert await link.read(1, "holding", 300 + i, 2, deadline_s) == [300 + i, 301 + i]
                kinds.append(list)
            except LinkError as error:
                kinds.append(type(error))
            await asyncio.sleep(pause_s)
        return kinds, link.statistics

    with ExitStack() as stack:
        if line == "tcp":
            url = f"modbus+tcp://127.0.0.1:{(port := free_port())}/1"
            stack.enter_context(running("node", str(HERE / "slow_unit.js"), "tcp", str(port)))
        else:
            ports = stack.enter_context(cable())
            url = f"modbus+rtu://{ports.other}/1?baud=115200&quarantine_ms=500"
            stack.enter_context(running("node", str(HERE / "slow_unit.js"), "rtu", ports.one))
        kinds, statistics = ask(url, seen)
    assert kinds.count(list) >= 5 and kinds.count(Timeout) >= 5
    assert set(kinds) <= {list, Timeout, Busy}
    assert statistics.requests == 60 == statistics.answers + sum(statistics.lost.values())
    assert statistics.answers == kinds.count(list) and statistics.lost["timeout"] == kinds.count(Timeout)
    if line == "tcp":
        assert statistics.skipped["transaction"] + statistics.skipped["unasked"] >= 5  # late answers, told by their ids


# --- libmodbus in C ---


@in_c
def test_libmodbus_over_tcp_answers_any_unit_and_refuses_what_it_lacks() -> None:
    async def seen(link: Link) -> None:
        await link.write(1, "holding", 0, [10, 11, 12, 13], SOON_S)
        assert await link.read(9, "holding", 0, 4, SOON_S) == [10, 11, 12, 13]
        with pytest.raises(Refused, match=r"illegal address \(2\)"):
            await link.read(1, "holding", 10, 20, SOON_S)
        with pytest.raises(Refused, match=r"illegal address \(2\)"):
            await link.write(1, "coil", 3, [1], SOON_S)

    with inverter() as device:
        ask(f"modbus+tcp://127.0.0.1:{device.port}/1", seen)


@in_c
def test_libmodbus_on_a_line_swallows_the_request_after_one_for_another_unit() -> None:
    # its slave takes the next frame on the line for the other unit's answer
    async def seen(link: Link) -> list[Any]:
        kinds: list[Any] = []
        await link.write(1, "holding", 0, list(range(16)), SOON_S)
        for unit in (1, 9, 1, 1, 1, 1):
            start = len(kinds)
            try:
                kinds.append(await link.read(unit, "holding", start, 3, 0.3))
                assert kinds[-1] == [start, start + 1, start + 2]
            except LinkError as error:
                kinds.append(type(error))
            await asyncio.sleep(0.06)  # longer than the quarantine
        return kinds

    with cable() as ports, inverter(f"rtu {ports.one}"):
        kinds = ask(f"modbus+rtu://{ports.other}/1?baud=115200&quarantine_ms=50", seen)
    assert kinds == [[0, 1, 2], Timeout, Timeout, [3, 4, 5], [4, 5, 6], [5, 6, 7]]
