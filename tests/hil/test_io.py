"""The I/O thread against emulated devices on loopback: free and lock-step, loss and return, how it ends."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from gridloop.hil.emulator import Emulator
from gridloop.hil.io import Device, Handle, IoThread, Write, percentiles_ms
from gridloop.hil.links import Statistics
from gridloop.hil.policy import GOOD, STALE, Asked, Reading
from gridloop.hil.registers import load_map
from gridloop.hil.urls import parse

P_SET, P_GEN = "P_set[MW]", "P_gen[MW]"
MAP = load_map("generic_inverter")
PATIENCE_S = 5.0


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    return {P_GEN: written[P_SET], "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "f[Hz]": 50.0}


def device(emulator: Emulator, **options: Any) -> Device:
    settings = {"period_s": 0.02, "deadline_s": 0.2, "max_age_s": 0.3, "watchdog_s": 30.0, "allow_writes": True}
    return Device("inv2", emulator.url, MAP, **(settings | options))


def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.005)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator("modbus+tcp://127.0.0.1:0/1", MAP, follow) as served:
        yield served


def test_free_running_it_follows_and_leaves_the_device_safe(emulator: Emulator) -> None:
    log: list[Write] = []
    with IoThread(on_write=log.append) as io:
        handle = io.add(device(emulator))
        until(lambda: handle.snapshot().quality == GOOD)
        handle.post({P_SET: 0.02})
        until(lambda: abs(handle.snapshot().values[P_GEN] - 0.02) < 1e-6)
        before = handle.snapshot()
        until(lambda: handle.snapshot().sequence > before.sequence)
        assert handle.snapshot().at_s > before.at_s
    assert emulator.written[P_SET] == 0.0
    assert [w.cause for w in log if w.attr == P_SET] == ["", "safe"]


def test_an_exception_leaves_the_device_safe_too(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError, match="of the scenario"), IoThread() as io:
        handle = io.add(device(emulator))
        handle.post({P_SET: 0.02})
        until(lambda: emulator.written[P_SET] > 0)
        raise RuntimeError("of the scenario")
    assert emulator.written[P_SET] == 0.0


def test_a_device_that_was_only_read_is_not_written_to_at_the_end(emulator: Emulator) -> None:
    log: list[Write] = []
    with IoThread(on_write=log.append) as io:
        handle = io.add(device(emulator))
        until(lambda: handle.snapshot().quality == GOOD)
    assert log == []


def test_in_lockstep_a_cycle_brings_the_answer_to_what_was_posted(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator, mode="lockstep", period_s=10.0))
        until(lambda: handle.cycle(1.0).quality == GOOD)
        for step in range(1, 20):
            before = handle.snapshot().sequence
            handle.post({P_SET: step * 1e-3})
            seen = handle.cycle(1.0)
            assert seen.values[P_GEN] == pytest.approx(step * 1e-3)
            assert seen.sequence == before + 1


def test_a_cycle_does_not_wait_longer_than_it_may(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator, mode="lockstep", deadline_s=2.0, max_age_s=0.05))
        until(lambda: handle.cycle(1.0).quality == GOOD)
        sequence = handle.snapshot().sequence
        emulator.fault("late", delay_s=0.6)
        before_s = time.monotonic()
        seen = handle.cycle(0.1)
        assert time.monotonic() - before_s < 0.5
        assert (seen.quality, seen.sequence) == (STALE, sequence)
        emulator.clear()
        until(lambda: handle.cycle(1.0).quality == GOOD)


def test_in_lockstep_without_steps_the_watchdog_still_acts(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator, mode="lockstep", watchdog_s=0.3))
        until(lambda: handle.cycle(1.0).quality == GOOD)
        handle.post({P_SET: 0.02})
        handle.cycle(1.0)
        assert emulator.written[P_SET] == pytest.approx(0.02)
        until(lambda: emulator.written[P_SET] == 0.0)
        assert handle.statistics()["watchdog"] == 1


def test_lost_it_goes_stale_and_back_its_set_point_is_written_again(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator, watchdog_s=60.0))
        handle.post({P_SET: 0.02})
        until(lambda: emulator.written[P_SET] > 0)
        emulator.kill()
        until(lambda: handle.snapshot().quality == STALE)
        seen = handle.snapshot()
        assert seen.age_s > 0.3
        until(lambda: "not connected" in handle.snapshot().cause)
        emulator.revive()
        until(lambda: handle.snapshot().quality == GOOD)
        until(lambda: abs(emulator.written[P_SET] - 0.02) < 1e-6)
        assert handle.statistics()["recoveries"] >= 1


def test_stopped_it_stays_stopped_until_released(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator))
        handle.post({P_SET: 0.02})
        until(lambda: emulator.written[P_SET] > 0)
        assert handle.stop(2.0)
        assert emulator.written[P_SET] == 0.0
        handle.post({P_SET: 0.03})
        sequence = handle.snapshot().sequence
        until(lambda: handle.snapshot().sequence > sequence + 2)
        assert emulator.written[P_SET] == 0.0
        handle.release()
        until(lambda: abs(emulator.written[P_SET] - 0.03) < 1e-6)


def test_the_emergency_stop_reaches_every_device() -> None:
    urls = ["modbus+tcp://127.0.0.1:0/1"] * 2
    with Emulator(urls[0], MAP, follow) as one, Emulator(urls[1], MAP, follow) as two, IoThread() as io:
        handles = [io.add(device(emulator)) for emulator in (one, two)]
        for handle in handles:
            handle.post({P_SET: 0.02})
        until(lambda: one.written[P_SET] > 0 and two.written[P_SET] > 0)
        io.safe()
        until(lambda: one.written[P_SET] == 0 and two.written[P_SET] == 0)


def test_a_stop_that_the_device_does_not_hear_is_not_confirmed(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator, deadline_s=0.05))
        handle.post({P_SET: 0.02})
        until(lambda: emulator.written[P_SET] > 0)
        emulator.fault("silent", on="write")
        assert not handle.stop(0.3)
        emulator.clear()
        assert handle.stop(2.0)


def test_the_end_waits_for_a_dead_device_no_longer_than_its_goodbye(emulator: Emulator, caplog: Any) -> None:
    before = threading.active_count()
    with IoThread() as io:
        handle = io.add(device(emulator))
        handle.post({P_SET: 0.02})
        until(lambda: emulator.written[P_SET] > 0)
        emulator.kill()
        before_s = time.monotonic()
    assert time.monotonic() - before_s < 4.0
    assert threading.active_count() == before
    assert "inv2: its safe state could not be written" in caplog.text


def test_a_device_that_is_not_there_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with IoThread() as io:
        handle = io.add(Device("inv2", parse(f"modbus+tcp://127.0.0.1:{port}/1"), MAP, period_s=0.02))
        until(lambda: "not connected" in handle.snapshot().cause)
        with Emulator(f"modbus+tcp://127.0.0.1:{port}/1", MAP, follow):
            until(lambda: handle.snapshot().quality == GOOD)


def test_every_request_is_accounted_for(emulator: Emulator) -> None:
    with IoThread() as io:
        handle = io.add(device(emulator, deadline_s=0.05))
        handle.post({P_SET: 0.02})
        for kind in ("silent", "exception", "drop", "wrong_unit"):
            emulator.fault(kind, count=2)  # type: ignore[arg-type]
            until(lambda: not emulator.device.faults)
            until(lambda: handle.snapshot().quality == GOOD)
        found = handle.statistics()
        accounted = found["answers"] + sum(found["lost"].values()) + sum(found["exceptions"].values())
        assert 0 <= found["requests"] - accounted <= 1
        assert found["exceptions"]["4"] == 2
        assert found["lost"]["timeout"] >= 2
        assert set(found["rtt_ms"]) == {"p50", "p95", "p99", "max"}


def test_slow_devices_are_asked_side_by_side() -> None:
    # eight devices of 100 ms each: one after the other would be 800 ms a cycle
    emulators = [Emulator("modbus+tcp://127.0.0.1:0/1", MAP, follow) for _ in range(8)]
    try:
        for emulator in emulators:
            emulator.__enter__()
        with IoThread() as io:
            handles: list[Handle] = [io.add(device(emulator, deadline_s=1.0)) for emulator in emulators]
            until(lambda: all(handle.snapshot().quality == GOOD for handle in handles))
            for emulator in emulators:
                emulator.fault("late", delay_s=0.1)
            start, before_s = [handle.snapshot().sequence for handle in handles], time.monotonic()
            until(lambda: all(h.snapshot().sequence >= s + 3 for h, s in zip(handles, start, strict=True)))
            assert time.monotonic() - before_s < 1.6
    finally:
        for emulator in emulators:
            emulator.close()


def test_percentiles_by_hand() -> None:
    assert percentiles_ms([]) == {}
    found = percentiles_ms([i * 1e-3 for i in range(100)])
    assert found == pytest.approx({"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 99.0})


class Together(IoThread):
    """Devices that answer only when all of them were asked."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.asked = count, 0

    def _exchange(self, device: Device) -> Any:
        return Waiting(self)


class Waiting:
    """The exchange with one of them."""

    needed = ()
    is_safe = True

    def __init__(self, io: Together) -> None:
        self.io = io
        self.counts: Counter[str] = Counter()
        self.statistics = Statistics()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def write(self, asked: Asked) -> None: ...

    async def check(self) -> None: ...

    def forget(self) -> None: ...

    async def read(self) -> Reading:
        self.io.asked += 1
        while self.io.asked % self.io.count:
            await asyncio.sleep(0)
        return Reading({}, self.io.clock())


def test_lockstep_cycles_of_several_devices_run_at_once() -> None:
    with Together(16) as io:
        handles = [
            io.add(Device(f"d{i}", parse("modbus+tcp://127.0.0.1:1/1"), MAP, period_s=100.0, mode="lockstep"))
            for i in range(16)
        ]
        until(lambda: all(handle.snapshot().sequence for handle in handles))  # the first cycles, nobody's
        before = [handle.snapshot().sequence for handle in handles]
        for handle in handles:
            handle.begin()
            handle.begin()  # once is enough
        assert [handle.cycle(PATIENCE_S).sequence for handle in handles] == [count + 1 for count in before]


def test_a_cycle_that_is_late_is_not_begun_a_second_time() -> None:
    with Together(2) as io:
        (handle,) = [io.add(Device("d", parse("modbus+tcp://127.0.0.1:1/1"), MAP, period_s=100.0, mode="lockstep"))]
        for _ in range(5):
            assert handle.cycle(0.01).sequence == 0
        assert handle.statistics()["cycles"] <= 2  # the poller's own and this one
        io.count = 1
        until(lambda: handle.cycle(0.1).sequence > 1)
