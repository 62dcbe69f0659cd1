"""Serial agents behind the I/O thread's handle: what they are told, loss and return, restarts, leave to write."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gridloop.hil.agent import Inverter, Secondary, Settings
from gridloop.hil.agent_emulator import AgentEmulator
from gridloop.hil.device import Write
from gridloop.hil.io import Device, Handle, IoThread
from gridloop.hil.messages import ALIGNED, CORRECTION, T_S, heard_as
from gridloop.hil.policy import FAULT, GOOD, STALE
from gridloop.hil.urls import parse

UNIT = Settings(s_rated_kva=10.0, pin=1.0)
PATIENCE_S = 10.0


def served(role: Any = Inverter, stopped: Callable[[], None] | None = None) -> AgentEmulator:
    class Role(role):  # type: ignore[misc]
        def begin(self):
            super().begin()
            if stopped is not None:
                stopped()

    url = parse("serial+socket://127.0.0.1:1?codec=json")
    return AgentEmulator(type(url)(**{**vars(url), "port": 0}), lambda: Role(UNIT), period_ms=UNIT.period_ms)


@contextmanager
def attached(agent: AgentEmulator, kind: Any = "inverter", **more: Any) -> Iterator[Handle]:
    writes: list[Write] = more.pop("writes", [])
    keys: dict[str, Any] = {
        "period_s": 0.05,
        "deadline_s": 0.25,
        "max_age_s": 0.5,
        "mode": "lockstep",
        "allow_writes": True,
    } | more
    with agent, IoThread(on_write=writes.append) as io:
        handle = io.add(Device("unit", agent.url, None, agent=kind, **keys))
        until(lambda: handle.statistics()["answers"] > 0)
        yield handle


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def droop(handle: Handle, t_s: float, **values: float):
    handle.post({T_S: t_s, "P_gen[MW]": 0.0, "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, **values})
    return handle.cycle(PATIENCE_S)


def test_an_inverter_is_told_powers_and_ramped_corrections_and_gives_f_and_e():
    with attached(served()) as handle:
        # the ramp of 2 rad/s2 began 0.5 s ago: 1 rad/s above nominal
        seen = droop(
            handle, 0.5, **{"Omega[rad_per_s]": 0.0, "dOmega[rad_per_s2]": 2.0, "t_tick[s]": 0.0, "v[pu]": 0.01}
        )
        assert seen.quality == GOOD and seen.values == pytest.approx({"f[Hz]": 50 + 1 / 6.283185307, "E[pu]": 1.01})
        counted = handle.statistics()
    assert counted["requests"] == counted["answers"] and counted["clock_error_ms"] > 0


def test_silence_makes_its_values_old_and_it_comes_back():
    agent = served()
    with attached(agent) as handle:
        assert droop(handle, 0.0).quality == GOOD
        agent.fault("silent")
        until(lambda: droop(handle, 0.1).quality == STALE)
        assert "answer" in droop(handle, 0.1).cause
        agent.clear()
        until(lambda: droop(handle, 0.2).quality == GOOD)


def test_numbers_that_are_none_are_a_fault():
    agent = served()
    with attached(agent) as handle:
        agent.fault("nan")
        seen = droop(handle, 0.0)
        assert (seen.quality, seen.cause) == (FAULT, "no number for f[Hz], E[pu]")


def test_an_agent_of_another_role_is_said():
    with attached(served(Secondary)) as handle:
        until(lambda: "of role secondary" in droop(handle, 0.0).cause)
        assert "--role inverter" in handle.snapshot().cause


def test_without_leave_it_is_told_nothing_but_stamps():
    agent, writes = served(), list[Write]()
    with attached(agent, allow_writes=False, mode="free", writes=writes) as handle:
        handle.post({T_S: 0.0, "P_gen[MW]": 0.5})
        until(lambda: handle.statistics()["answers"] > 3)
        assert handle.snapshot().quality != GOOD
    assert not agent.written
    assert [(one.attr, one.value, one.done) for one in writes] == [("P_gen[MW]", 0.5, False)]


def test_when_all_ends_it_is_stopped():
    begun = []
    agent = served(stopped=lambda: begun.append(1))
    with agent, IoThread() as io:
        handle = io.add(Device("unit", agent.url, None, mode="lockstep", allow_writes=True, deadline_s=0.25))
        until(lambda: droop(handle, 0.0).quality == GOOD)
        before = len(begun)
        io.close()
        assert len(begun) == before + 1  # of the stop


def told(handle: Handle, k: int, aligned: float = 0.0, **values: float):
    """Tick k: 0.1 Hz below nominal at the pinned agent, 2 pi 0.1 c0 = 2.513 rad/s2."""
    at = dict.fromkeys(CORRECTION[:2], 0.0)
    handle.post({T_S: 0.05 * k, "f[Hz]": 49.9, "P_gen[MW]": 0.0, "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "P_set[MW]": 0.0,
                 "SoC[%]": 50.0, ALIGNED: aligned, **at, **values})  # fmt: skip
    return handle.cycle(PATIENCE_S)


def test_a_secondary_agent_decides_a_tick_from_measurement_and_messages():
    with attached(served(Secondary), "secondary", period_s=0.05) as handle:
        assert handle.snapshot().quality == GOOD  # there, before the first tick
        seen = told(handle, 0, 1.0, **heard_as(3, 0.0, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)))
        # the neighbour is 1 rad/s ahead: c2 = 4 more
        assert seen.values[CORRECTION[2]] == pytest.approx(4 * 0.2 * 3.14159265 + 4.0) and seen.values[T_S] == 0
        seen = told(handle, 1)
        assert seen.values[CORRECTION[0]] == pytest.approx((4 * 0.2 * 3.14159265 + 4.0) * 0.05)


def test_a_secondary_agent_that_was_restarted_goes_on_where_it_is_told():
    agent = served(Secondary)
    with attached(agent, "secondary", period_s=0.05) as handle:
        told(handle, 0, 1.0)
        assert told(handle, 1).values[CORRECTION[0]] > 0.1
        agent.fault("restart", delay_s=0.0)
        until(lambda: handle.statistics()["recoveries"] > 0 or handle.statistics()["restarts"] > 0)
        until(lambda: told(handle, 2, 1.0, **{CORRECTION[0]: 0.25}).values[T_S] == 0.1)
        assert handle.snapshot().values[CORRECTION[0]] == 0.25


def test_a_secondary_agent_of_another_period_is_said():
    with attached(served(Secondary), "secondary", period_s=0.1) as handle:
        until(lambda: "--period-ms 100" in handle.snapshot().cause)


def test_a_secondary_agent_that_began_anew_in_silence_is_noticed_at_its_next_tick():
    roles: list[Secondary] = []

    class Role(Secondary):
        def __init__(self, settings):
            super().__init__(settings)
            roles.append(self)

    agent = served(Role)
    with attached(agent, "secondary", period_s=0.05) as handle:
        told(handle, 0, 1.0)
        assert told(handle, 1).values[CORRECTION[0]] > 0.1
        roles[-1].begin()  # its line stays as it is
        seen = told(handle, 2)
        assert seen.values[T_S] == 0.05 and handle.statistics()["restarts"] == 1  # what it decided then is not taken
        seen = told(handle, 3, 1.0, **{CORRECTION[0]: 0.25})
        assert (seen.values[T_S], seen.values[CORRECTION[0]]) == (pytest.approx(0.15), 0.25)


def test_before_it_is_told_anything_every_reading_has_a_time():
    readings = []
    agent = served()
    with agent, IoThread(on_reading=lambda name, reading: readings.append((reading.at_s, reading.values))) as io:
        io.add(Device("unit", agent.url, None, period_s=0.02, deadline_s=0.25, allow_writes=True))
        until(lambda: len(readings) > 3)
    assert all(at_s >= 0 and not values for at_s, values in readings)
