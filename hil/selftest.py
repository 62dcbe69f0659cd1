"""The chain from set-point to register and back, proven on loopback against an emulated device, without a lab."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gridloop.hil.behaviour import law_for
from gridloop.hil.device import Device
from gridloop.hil.emulator import Emulator
from gridloop.hil.io import Handle, IoThread
from gridloop.hil.policy import GOOD
from gridloop.hil.registers import load_map

P_SET, P_GEN = "P_set[MW]", "P_gen[MW]"
MAX_AGE_S, WATCHDOG_S = 0.15, 0.5
PATIENCE_S = 3.0  # of each check, on a busy machine
SAME_MW = 2e-6  # a register's step is 1 W


@dataclass(frozen=True)
class Check:
    """What was checked, whether it holds, and what was seen."""

    check: str
    passed: bool
    finding: str


def run_checks(url: str = "modbus+tcp://127.0.0.1:0/1") -> Iterator[Check]:
    """Each check as it is done; the later ones build on the earlier."""
    map = load_map("generic_inverter")
    with Emulator(url, map, law_for(map)) as emulator:
        yield Check("an emulated device listens", True, emulator.url.bus)
        device = Device(
            "device", emulator.url, map, period_s=0.02, deadline_s=0.1, max_age_s=MAX_AGE_S, allow_writes=True,
            limits={P_SET: (-0.05, 0.05)}, watchdog_s=WATCHDOG_S, readback_s=0.1,
        )  # fmt: skip
        with IoThread() as io:
            handle = io.add(device)
            yield from _answers(handle)
            yield from _steers(handle, emulator)
            yield from _loses(handle, emulator)
            yield from _comes_back(handle, emulator)
            yield from _is_left_alone(handle, emulator)
            _steered_until(lambda: emulator.written[P_SET] > 0, handle, 0.04)
        left = emulator.written[P_SET]
        yield Check("at the end the device is in its safe state", left == 0, f"P_set = {left * 1e3:g} kW")


def _answers(handle: Handle) -> Iterator[Check]:
    good = _until(lambda: handle.snapshot().quality == GOOD)
    seen = handle.snapshot()
    yield Check("its values are read", good, seen.cause or f"{len(seen.values)} values, age {seen.age_s * 1e3:.0f} ms")


def _steers(handle: Handle, emulator: Emulator) -> Iterator[Check]:
    follows = _steered_until(lambda: abs(handle.snapshot().values.get(P_GEN, 0) - 0.02) < 1e-4, handle, 0.02)
    seen = handle.snapshot().values.get(P_GEN, 0.0)
    yield Check("power follows a set-point of 20 kW", follows, f"P_gen = {seen * 1e3:.3g} kW")
    limited = _steered_until(lambda: abs(emulator.written[P_SET] - 0.05) < SAME_MW, handle, 9.0)
    written = emulator.written[P_SET]
    yield Check("a set-point beyond the limit of 50 kW is cut", limited, f"asked 9000 kW, written {written * 1e3:g} kW")


def _loses(handle: Handle, emulator: Emulator) -> Iterator[Check]:
    emulator.fault("frozen")
    emulator.fault("silent")
    lost = _steered_until(lambda: handle.snapshot().quality != GOOD, handle, 0.03)
    seen = handle.snapshot()
    yield Check(
        "a silent device is noticed", lost and seen.age_s > MAX_AGE_S, f"age {seen.age_s * 1e3:.0f} ms: {seen.cause}"
    )
    emulator.clear()
    back = _steered_until(lambda: handle.snapshot().quality == GOOD, handle, 0.03)
    yield Check("it is good again when it answers", back, handle.snapshot().cause or "good")
    emulator.kill()
    gone = _steered_until(lambda: handle.snapshot().quality != GOOD, handle, 0.03)
    seen = handle.snapshot()
    yield Check("a device that is gone is noticed, its old values are not good", gone, seen.cause)


def _comes_back(handle: Handle, emulator: Emulator) -> Iterator[Check]:
    emulator.revive()
    back = _steered_until(lambda: handle.snapshot().quality == GOOD, handle, 0.03)
    yield Check("it is found again after a restart", back, handle.snapshot().cause or "good")
    again = _steered_until(lambda: abs(emulator.written[P_SET] - 0.03) < SAME_MW, handle, 0.03)
    yield Check("its set-point is written anew", again, f"P_set = {emulator.written[P_SET] * 1e3:g} kW, was reset to 0")


def _is_left_alone(handle: Handle, emulator: Emulator) -> Iterator[Check]:
    before_s = time.monotonic()
    safe = _until(lambda: emulator.written[P_SET] == 0)
    after_s = time.monotonic() - before_s
    yield Check(
        f"without a step for {WATCHDOG_S:g} s the watchdog writes the safe state",
        safe and handle.statistics()["watchdog"] == 1, f"after {after_s:.2f} s",
    )  # fmt: skip
    statistics = handle.statistics()
    accounted = statistics["answers"] + sum(statistics["lost"].values()) + sum(statistics["exceptions"].values())
    under_way = statistics["requests"] - accounted
    rtt_ms = statistics["rtt_ms"]
    yield Check(
        "every request is accounted for", 0 <= under_way <= 1,
        f"{statistics['requests']} requests, {statistics['lost']} lost, "
        f"round trip p50 {rtt_ms['p50']:.2f} ms, p99 {rtt_ms['p99']:.2f} ms",
    )  # fmt: skip


def _until(holds: Callable[[], bool], each: Callable[[], None] = lambda: None) -> bool:
    """Wait until it holds, or for as long as the patience lasts."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        each()
        if holds():
            return True
        time.sleep(0.005)
    return False


def _steered_until(holds: Callable[[], bool], handle: Handle, p_set_mw: float) -> bool:
    return _until(holds, lambda: handle.post({P_SET: p_set_mw}))
