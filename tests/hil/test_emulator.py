"""The emulator over real sockets and lines, asked through our links: what it serves and how it goes wrong."""

import asyncio
import math
import os
import threading
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gridloop.hil.emulator import Emulator
from gridloop.hil.faults import KINDS, Fault
from gridloop.hil.links import Link, LinkDown, LinkError, Refused, Timeout, open_link
from gridloop.hil.registers import load_map
from gridloop.hil.urls import DeviceUrl, parse
from serial_cable import cable

P_SET, P_GEN = "P_set[MW]", "P_gen[MW]"
MAP = load_map("generic_inverter")
TCP = "modbus+tcp://127.0.0.1:0/1"
SOON_S = 1.0  # a deadline that is not meant to pass


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    return {P_GEN: written[P_SET], "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "f[Hz]": 50.0}


def ask(url: DeviceUrl, what: Callable[[Link], Awaitable[object]]) -> object:
    async def run() -> object:
        link = open_link(url)
        try:
            await link.open()
            return await what(link)
        finally:
            await link.close()

    return asyncio.run(run())


async def shown(link: Link, deadline_s: float = SOON_S, unit: int = 1) -> dict[str, float]:
    (block,) = MAP.reads()
    return block.values(await link.read(unit, block.function, block.address, block.count, deadline_s))


async def put(link: Link, p_mw: float, deadline_s: float = SOON_S, unit: int = 1) -> None:
    (block,) = MAP.writes([P_SET])
    await link.write(unit, block.function, block.address, block.registers({P_SET: p_mw})[0], deadline_s)


async def put_and_see(link: Link, unit: int = 1) -> dict[str, float]:
    await put(link, 0.02, unit=unit)
    return await shown(link, unit=unit)


@pytest.mark.parametrize("transport", ["tcp", "rtutcp"])
def test_what_is_written_is_done_and_shown(transport: str) -> None:
    with Emulator(f"modbus+{transport}://127.0.0.1:0/7", MAP, follow) as emulator:
        values = ask(emulator.url, lambda link: put_and_see(link, 7))
        assert isinstance(values, dict)
        assert values[P_GEN] == pytest.approx(0.02)
        assert emulator.written[P_SET] == pytest.approx(0.02)
        assert emulator.requests == 2


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_it_serves_a_serial_line() -> None:
    with cable() as ports, Emulator(f"modbus+rtu://{ports.one}?unit=3&baud=115200", MAP, follow):
        values = ask(parse(f"modbus+rtu://{ports.other}?unit=3&baud=115200"), lambda link: put_and_see(link, 3))
        assert isinstance(values, dict)
        assert values[P_GEN] == pytest.approx(0.02)


def test_where_others_could_reach_it_it_listens_only_expressly() -> None:
    for host in ("0.0.0.0", "192.0.2.10", "example.org", "[::]"):
        with pytest.raises(ValueError, match="other machines could reach it"):
            Emulator(f"modbus+tcp://{host}:5020/1", MAP, follow)
    Emulator("modbus+tcp://0.0.0.0:5020/1", MAP, follow, anywhere=True).close()


def test_a_port_that_is_taken_is_said_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with Emulator(TCP, MAP, follow) as first:
        other = Emulator(first.url, MAP, follow)
        with pytest.raises(OSError, match="nothing can listen there"):
            other.__enter__()
    assert threading.active_count() == before


def test_other_units_and_holes_are_refused() -> None:
    async def codes(link: Link) -> list[int]:
        found = []
        for unit, function, address in ((2, "input", 0), (1, "holding", 99), (1, "coil", 0)):
            with pytest.raises(Refused) as refused:
                await link.read(unit, function, address, 1, SOON_S)
            found.append(refused.value.code)
        return found

    with Emulator(TCP, MAP, follow) as emulator:
        assert ask(emulator.url, codes) == [11, 2, 2]


@pytest.mark.parametrize(
    "fault, error",
    [
        (Fault("late", delay_s=0.3), Timeout), (Fault("silent"), Timeout), (Fault("wrong_unit"), LinkError),
        (Fault("exception", code=6), Refused), (Fault("drop"), LinkDown), (Fault("slow", delay_s=0.4), Timeout),
    ],
)  # fmt: skip
def test_a_fault_keeps_the_answer_away_and_ends_when_cleared(fault: Fault, error: type[LinkError]) -> None:
    async def see(link: Link) -> None:
        with pytest.raises(error):
            await shown(link, 0.15)
        await asyncio.sleep(0.4)
        emulator.clear()
        assert (await shown(link))[P_GEN] == 0.0

    with Emulator(TCP, MAP, follow, [fault]) as emulator:
        ask(emulator.url, see)


def test_a_slow_answer_that_is_waited_for_is_whole() -> None:
    with Emulator(TCP, MAP, follow, [Fault("slow", delay_s=0.1)]) as emulator:
        assert ask(emulator.url, put_and_see) != {}


def test_a_late_answer_goes_to_the_request_that_it_belongs_to() -> None:
    # two reads of different registers under way at once, on two connections' worth of time: the transaction tells
    async def see(link: Link) -> list[int]:
        with pytest.raises(Timeout):
            await link.read(1, "input", 6, 2, 0.05)  # f: 50.000000 Hz
        return await link.read(1, "input", 4, 2, SOON_S)  # V: 1.000000 pu

    with Emulator(TCP, MAP, follow, [Fault("late", delay_s=0.1)]) as emulator:
        assert ask(emulator.url, see) == [15, 16960]


def test_a_fault_of_writes_leaves_reads_alone_and_may_come_to_an_end() -> None:
    async def see(link: Link) -> None:
        await shown(link)
        for _ in range(2):
            with pytest.raises(Refused):
                await put(link, 0.02)
        await put(link, 0.03)

    with Emulator(TCP, MAP, follow) as emulator:
        emulator.fault("exception", code=4, on="write", count=2)
        ask(emulator.url, see)
        assert emulator.written[P_SET] == pytest.approx(0.03)


def test_a_silent_device_does_what_it_is_told() -> None:
    async def see(link: Link) -> None:
        with pytest.raises(Timeout):
            await put(link, 0.02, 0.05)

    with Emulator(TCP, MAP, follow, [Fault("silent")]) as emulator:
        ask(emulator.url, see)
        assert emulator.written[P_SET] == pytest.approx(0.02)


def test_restarted_it_is_gone_for_a_while_and_has_forgotten() -> None:
    async def see(link: Link) -> dict[str, float]:
        await put(link, 0.02)
        emulator.fault("restart", delay_s=0.2)
        with pytest.raises(LinkDown):
            await shown(link)
        await asyncio.sleep(0.2)
        for _ in range(100):
            if link.is_up:
                return await shown(link)
            await asyncio.sleep(0.02)
        raise AssertionError("not back")

    with Emulator(TCP, MAP, follow) as emulator:
        values = ask(emulator.url, see)
        assert isinstance(values, dict)
        assert values[P_GEN] == 0.0


def test_killed_and_revived_it_is_at_the_same_address() -> None:
    with Emulator(TCP, MAP, follow) as emulator:
        url = emulator.url
        emulator.kill()
        with pytest.raises(LinkDown):
            ask(url, shown)
        emulator.revive()
        assert emulator.url == url
        assert ask(url, shown) != {}


def test_frozen_and_nan_act_on_what_is_shown() -> None:
    async def see(link: Link) -> None:
        emulator.fault("frozen")
        await put(link, 0.02)
        assert (await shown(link))[P_GEN] == 0.0
        emulator.clear()
        emulator.fault("nan")
        assert math.isnan((await shown(link))[P_GEN])

    with Emulator(TCP, MAP, follow) as emulator:
        ask(emulator.url, see)


@pytest.mark.parametrize(
    "text, fault",
    [
        ("silent", Fault("silent")),
        ("late:delay_s=0.2,count=5", Fault("late", delay_s=0.2, count=5)),
        ("exception:code=6,on=write", Fault("exception", code=6, on="write")),
    ],
)
def test_faults_in_words(text: str, fault: Fault) -> None:
    assert Fault.from_text(text) == fault


@pytest.mark.parametrize(
    "text",
    ["sielnt", "late:delay=1", "late:delay_s=x", "late:delay_s=-1", "exception:code=0", "drop:on=both", "nan:count=0"],
)
def test_wrong_faults_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Fault.from_text(text)


def test_every_kind_of_fault_is_known_by_its_name() -> None:
    assert [Fault.from_text(kind).kind for kind in KINDS] == list(KINDS)
