"""What the way to a device costs beside the bare exchange, and how real the real time is.

The device is a process of its own on loopback that answers at once, or after 5 ms; it shows what it was told. Both
sides of a ratio are taken in turns against the same one. Of times that must be reached the quickest round counts:
whatever else the machine does only adds to them.
"""

import asyncio
import logging
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pymodbus.client import AsyncModbusTcpClient

from gridloop.hil.adapter import HilSimulator
from gridloop.hil.io import Device, Handle, IoThread
from gridloop.hil.pacer import Pacer
from gridloop.hil.registers import RegisterMap, load_map
from gridloop.hil.urls import parse
from gridloop.simulators.device import E_USED, VA_USED

MAP = load_map("generic_controller")
COUNT, SLOW_S, PACED_S, STEP_S = 16, 0.005, 1.0, 0.01
CYCLES, ROUNDS = 50, 6  # short rounds: a slow spell of the machine meets all that take turns in one
RESOLUTION_S = 1e-6
SERVER, CLIENT = (Path(__file__).with_name(name) for name in ("loopback_device.py", "libmodbus_client.c"))
T = TypeVar("T")


@contextmanager
def devices(after_s: float = 0.0, count: int = 1) -> Iterator[list[int]]:
    """Ports of devices that answer readings after a time, in a process of their own."""
    words = [sys.executable, str(SERVER), str(after_s), str(count)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Row:
    """The adapter with one unit for each port, stepped as mosaik would."""

    def __init__(
        self, io: IoThread, ports: list[int], mode: str, wait: Any = None, period_s: float = 0.05,
        map: RegisterMap = MAP,
    ) -> None:  # fmt: skip
        self.handles = {f"inv{port}": _added(io, port, mode, period_s, map) for port in ports}
        self.adapter = HilSimulator(self.handles, wait=wait)
        self.adapter.init("Devices", RESOLUTION_S, step_ms=STEP_S * 1e3)
        for unit in self.handles:
            self.adapter.create(1, "Device", unit=unit, role="controller", mode=mode, deadline_ms=50.0)
        told = {"P_gen[MW]": 0.05, "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "Va[deg]": 0.0, E_USED: 1.0, VA_USED: 0.0,
                "f_model[Hz]": 50.0, "E_model[pu]": 1.0, "Va_model[deg]": 0.0}  # fmt: skip
        self._told, self._time = told, 0

    def step(self) -> None:
        self._told["P_gen[MW]"] = 0.05 + 1e-6 * (self._time % 1000)  # something new each time
        inputs = {unit: {attr: {"grid": value} for attr, value in self._told.items()} for unit in self.handles}
        self._time = self.adapter.step(self._time, inputs, self._time)

    def steps(self, count: int) -> float:
        """Seconds a step."""
        began_s = time.perf_counter()
        for _ in range(count):
            self.step()
        return (time.perf_counter() - began_s) / count

    @property
    def is_good(self) -> bool:
        return all(row.shown["quality[1]"] == 0 for row in self.adapter._rows.values())


def _added(io: IoThread, port: int, mode: Any, period_s: float, map: RegisterMap = MAP) -> Handle:
    url = parse(f"modbus+tcp://127.0.0.1:{port}/1?map=generic_controller")
    return io.add(Device(f"inv{port}", url, map, period_s=period_s, mode=mode, allow_writes=True, readback_s=0.0))


class Bare:
    """pymodbus' own client, with what the adapter writes and reads in a cycle.

    Its loop runs in a thread, as it must where a connection is to live on between the steps of a simulation.
    """

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = self._do(self._connected(port))

    async def _connected(self, port: int) -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0)
        await client.connect()
        return client

    async def _cycles(self, count: int) -> None:
        for i in range(count):
            await self._client.write_registers(0, [0] * 9 + [i], device_id=1)
            await self._client.read_input_registers(4, count=6, device_id=1)

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10.0)

    def steps(self, count: int) -> float:
        """Seconds an exchange that is asked for from a step."""
        began_s = time.perf_counter()
        for _ in range(count):
            self._do(self._cycles(1))
        return (time.perf_counter() - began_s) / count

    def inside(self, count: int) -> float:
        """Seconds an exchange that its own loop asks for, with nobody to hand it to."""
        began_s = time.perf_counter()
        self._do(self._cycles(count))
        return (time.perf_counter() - began_s) / count

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._client.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Costs(NamedTuple):
    """Of a cycle through the adapter, relative to others that write and read the same."""

    to_bare: float  # pymodbus asked from a step, too
    to_inside: float  # pymodbus in its own loop
    to_c: float  # libmodbus in C; nan without it
    own_s: float


def cycles(repeats: int) -> Costs:
    """Medians over rounds in which all take turns."""
    found = []
    with TemporaryDirectory() as folder, devices() as ports, IoThread() as io:
        client, row, bare = _compiled(Path(folder)), Row(io, ports, "lockstep"), Bare(ports[0])
        row.steps(CYCLES)
        assert row.is_good
        for _ in range(ROUNDS * repeats):
            found.append((row.steps(CYCLES), bare.steps(CYCLES), bare.inside(CYCLES), _by_c(client, ports[0])))
        bare.close()
    own, *others = np.array(found).T
    to_bare, to_inside, to_c = (float(np.median(own / other)) for other in others)
    return Costs(to_bare, to_inside, to_c, float(np.median(own)))


def parallel(repeats: int) -> float:
    """A step in which 16 devices are read that take 5 ms each [s]."""
    reading = replace(MAP, points=MAP.read_points)
    with devices(SLOW_S, COUNT) as ports, IoThread() as io:
        row = Row(io, ports, "lockstep", map=reading)
        row.steps(5)
        found = [row.steps(20) for _ in range(ROUNDS * repeats)]
        assert row.is_good
    return float(min(found))


def lateness(repeats: int) -> float:
    """Median lateness of paced steps of 10 ms with a device that is polled every 10 ms [s]."""
    found = []
    for _ in range(repeats):
        pacer = Pacer()
        with devices() as ports, IoThread() as io:
            row = Row(io, ports, "free", pacer.wait, STEP_S)
            row.steps(round(PACED_S / STEP_S))
            assert row.is_good
        found.append(pacer.statistics()["late_p50_us"] * 1e-6)
    return float(min(found))


def rows(repeats: int = 5) -> list[tuple[str, float, str, float]]:
    """(name, figure, 'at most', limit) of what must be reached, and a line for what is only reported."""
    logging.getLogger("gridloop.hil").setLevel(logging.ERROR)
    cost = cycles(repeats)
    print(f"{'HIL cycle / pymodbus in its own loop':<48} {cost.to_inside:6.3f}")
    print(f"{'HIL cycle / libmodbus in C':<48} {cost.to_c:6.3f}")
    print(f"a HIL cycle here and now: {1e6 * cost.own_s:.0f} us")
    return [
        ("HIL cycle / pymodbus' exchange asked from a step", cost.to_bare, "at most", 1.5),
        ("16 devices of 5 ms in parallel, ms", 1e3 * parallel(repeats), "at most", 8.0),
        ("paced steps of 10 ms: median lateness, ms", 1e3 * lateness(repeats), "at most", 0.2),
    ]


def _compiled(folder: Path) -> Path | None:
    """The client in C; None without gcc and libmodbus."""
    if not all(map(shutil.which, ("gcc", "pkg-config"))):
        return None
    told = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libmodbus"], check=False, capture_output=True, text=True
    )  # fmt: skip
    if told.returncode:
        return None
    program = folder / CLIENT.stem
    subprocess.run(["gcc", "-O2", "-o", program, CLIENT, *shlex.split(told.stdout)], check=True)
    return program


def _by_c(program: Path | None, port: int) -> float:
    if program is None:
        return float("nan")
    told = subprocess.run([program, str(port), str(CYCLES)], check=True, capture_output=True, text=True)
    return float(told.stdout)


if __name__ == "__main__":
    for name, figure, bound, limit in rows():
        print(f"{name:<48} {figure:6.3f}   {bound} {limit:g}   {'ok' if figure <= limit else 'MISSED'}")
