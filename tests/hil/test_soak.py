"""Three emulated devices, polled every 10 ms, of which every now and then one goes wrong in one of all ways.

Nothing may leak, no request may get lost in the books, and no device may ever show what another was told.
"""

import gc
import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, cast

import pytest

from gridloop.hil.emulator import Emulator
from gridloop.hil.faults import KINDS, Kind
from gridloop.hil.io import Device, Handle, IoThread
from gridloop.hil.registers import load_map

log = logging.getLogger(__name__)  # figures: --log-cli-level=INFO

MAP = load_map("generic_inverter")
P_SET, P_GEN = "P_set[MW]", "P_gen[MW]"
COUNT, PERIOD_S = 3, 0.01
WELL_S = 5.0  # within which all is well again after the last fault


class Used(NamedTuple):
    """What a process holds."""

    threads: int
    descriptors: int
    memory_mb: float


def used() -> Used:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Used(threading.active_count(), descriptors, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    return {P_GEN: written[P_SET], "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "f[Hz]": 50.0}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts what a process holds as Linux tells it")
@pytest.mark.parametrize(
    ("soak_s", "fault_every_s", "most_mb"),
    [
        pytest.param(4.0, 0.15, 12.0, id="short"),
        pytest.param(600.0, 3.0, 12.0, id="ten-minutes", marks=[pytest.mark.study, pytest.mark.timeout(900)]),
    ],
)
def test_nothing_leaks_and_every_request_is_accounted_for(soak_s: float, fault_every_s: float, most_mb: float) -> None:
    chance, before = random.Random(1), used()
    with ExitStack() as stack:
        emulators = [stack.enter_context(Emulator("modbus+tcp://127.0.0.1:0/1", MAP, follow)) for _ in range(COUNT)]
        io = stack.enter_context(IoThread())
        handles = [io.add(described(f"device{i}", emulator)) for i, emulator in enumerate(emulators)]
        met = soaked(handles, emulators, chance, soak_s, fault_every_s)
        assert set(met) == set(KINDS) or soak_s < 60
        settled(handles)
        held = used()
    after = used()
    told = [handle.statistics() for handle in handles]  # with nothing under way any more
    assert (after.threads, after.descriptors) == (before.threads, before.descriptors)
    assert held.threads == before.threads + 1 + COUNT
    assert held.memory_mb - before.memory_mb < most_mb
    for one in told:
        assert one["requests"] == one["answers"] + sum(one["lost"].values()) + sum(one["exceptions"].values())
        assert one["cycles"] > 0.05 * soak_s / PERIOD_S  # on a busy machine
        assert sum(one["lost"].values()) > 0
        log.info("%s", one)
    log.info("before %s, held %s, after %s", before, held, after)


def described(name: str, emulator: Emulator) -> Device:
    return Device(
        name, emulator.url, MAP, period_s=PERIOD_S, deadline_s=PERIOD_S, max_age_s=0.1, allow_writes=True,
        readback_s=0.5, frozen_s=0.5,
    )  # fmt: skip


def soaked(
    handles: list[Handle], emulators: list[Emulator], chance: random.Random, soak_s: float, fault_every_s: float
) -> list[Kind]:
    """Post, look and let go wrong for so long; the faults that were met."""
    met: list[Kind] = []
    posted: list[set[float]] = [{0.0} for _ in handles]
    end_s = time.monotonic() + soak_s
    fault_s, clear_s, step = time.monotonic() + fault_every_s, end_s, 0
    while (now_s := time.monotonic()) < end_s:
        for i, handle in enumerate(handles):
            set_point = round(1.0 + i + step % 900 * 1e-3, 6)  # MW; of which the whole part says whose it is
            posted[i].add(set_point)
            handle.post({P_SET: set_point, "Q_set[MVar]": 0.0, "Vm[pu]": 1.0, "f[Hz]": 50.0})
            shown = handle.snapshot().values.get(P_GEN, 0.0)
            assert shown != shown or round(shown, 6) in posted[i], f"{handle.device.name} shows {shown}"
        if now_s >= fault_s:
            met.append(cast(Kind, chance.choice(KINDS)))
            chance.choice(emulators).fault(met[-1], delay_s=chance.uniform(0.005, 0.3))
            fault_s, clear_s = fault_s + fault_every_s, now_s + chance.uniform(0.1, 0.9) * fault_every_s
        if now_s >= clear_s:
            clear_s = end_s
            for emulator in emulators:
                emulator.clear()
        step += 1
        time.sleep(PERIOD_S)
    for emulator in emulators:
        emulator.clear()
    return met


def settled(handles: list[Handle]) -> None:
    """All devices are good again and show what they were told last."""
    for handle in handles:
        handle.post({P_SET: 0.5})
    end_s = time.monotonic() + WELL_S
    while not all(h.snapshot().quality == 0 and h.snapshot().values[P_GEN] == 0.5 for h in handles):
        assert time.monotonic() < end_s, [handle.snapshot() for handle in handles]
        time.sleep(0.02)
