"""Every way in which a device or a line goes wrong: never a wrong value, never beyond the deadline, then well again.

The value of each register is its address. Time skips (skipping_loop), so that deadlines are checked to the ms.
"""

import asyncio
import random

import pytest

from gridloop.hil.links import Busy, Link, LinkDown, LinkError, Refused, Timeout, WrongAnswer, open_link
from gridloop.hil.urls import parse
from scripted_modbus import DEADLINE_S, RTU_FAULTS, TCP_FAULTS, Device, answer, both_lines, mbap
from skipping_loop import run

GOOD = None
TCP_OUTCOMES = {
    GOOD: """half_then_rest half_header_then_rest bytewise wrong_uid_then_right wrong_tid_then_right unasked_tid0
        duplicate duplicate_later duplicate_half""",
    Timeout: """late later late_tid0 later_tid0 tid0 silent half_then_late_rest half_then_later_rest header_only
        len_too_big wrong_uid wrong_tid""",
    WrongAnswer: """wrong_fc unknown_fc short_count long_count odd_count exception_of_other_function len_too_small
        len_zero len_huge protocol garbage byte_count_lies empty exception_without_code""",
    LinkDown: "fin rst fin_partial rst_partial",
    Refused: " ".join(f"exc{code}" for code in range(1, 12)),
}
TCP_OUT_OF_STEP = ["len_zero", "len_huge", "protocol", "garbage", "header_only", "len_too_big", "len_too_small"]
RTU_OUTCOMES = {
    GOOD: """half_then_rest bytewise noise_before noise_like_us_before noise_after wrong_uid_then_right duplicate
        echo_of_request""",
    Timeout: """late later silent half_then_late_rest half_only badcrc_header noise_long_before noise_only wrong_uid
        byte_count_lies""",
    WrongAnswer: "badcrc wrong_fc short_count long_count odd_count exception_of_other_function",
    Refused: " ".join(f"exc{code}" for code in range(1, 12)),
}


def cases(outcomes):
    return [(fault, expected) for expected, names in outcomes.items() for fault in names.split()]


async def outcome(link: Link, address: int, count: int = 3, function: str = "holding") -> type | None:
    """What a read came to: the kind of error, or None for the right values; in its time, whatever it was."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    try:
        values = await link.read(1, function, address, count, DEADLINE_S)
    except LinkError as wrong:
        kind: type | None = type(wrong)
        assert str(wrong)
    else:
        bits = function in ("coil", "discrete")
        assert values == [(address + i) & (1 if bits else 0xFFFF) for i in range(count)]
        kind = None
    assert loop.time() - start_s <= DEADLINE_S + 1e-6
    if kind in (LinkDown, Busy):  # at once; without a pause the tries would be over before anything changes
        await asyncio.sleep(0.03)
    return kind


def balanced(link: Link) -> bool:
    statistics = link.statistics
    ended = statistics.answers + sum(statistics.lost.values()) + sum(statistics.exceptions.values())
    return statistics.requests == ended


def test_each_fault_has_its_outcome():
    assert {fault for fault, _ in cases(TCP_OUTCOMES)} == set(TCP_FAULTS)
    assert {fault for fault, _ in cases(RTU_OUTCOMES)} == set(RTU_FAULTS)


@pytest.mark.parametrize("function", ["holding", "discrete"])
@pytest.mark.parametrize(("fault", "expected"), cases(TCP_OUTCOMES))
def test_tcp_fault(fault, expected, function):
    async def body():
        async with Device(TCP_FAULTS, ["", fault]).on_tcp() as device:
            link = open_link(parse(f"modbus+tcp://127.0.0.1:{device.port}/1"))
            await link.open()
            count = 24 if function == "discrete" else 3
            seen = [await outcome(link, 300 + 100 * i, count, function) for i in range(6)]
            await link.close()
            return seen, link, device.connections

    seen, link, connections = run(body())
    assert seen[0] is GOOD
    assert seen[1] is expected
    if fault in TCP_OUT_OF_STEP:
        assert connections == 2
    # one more may be lost to opening the link anew; after that it is well
    assert [kind for kind in seen[2:4] if kind not in (GOOD, LinkDown)] == []
    assert seen[4:] == [GOOD] * 2
    assert balanced(link)


@pytest.mark.parametrize(("fault", "expected"), cases(RTU_OUTCOMES))
def test_rtu_fault(fault, expected):
    async def body():
        async with Device(RTU_FAULTS, ["", fault]).on_tcp() as device:
            link = open_link(parse(f"modbus+rtutcp://127.0.0.1:{device.port}/1?quarantine_ms=300"))
            await link.open()
            seen = []
            for i in range(16):
                seen.append(await outcome(link, 300 + 100 * i))
            await link.close()
            return seen, link

    seen, link = run(body())
    assert seen[0] is GOOD
    assert seen[1] is expected
    # quiet until the late answer has come, or for 300 ms; a damaged or whole answer costs its own cycle only
    lost = [kind for kind in seen[2:] if kind is not GOOD]
    assert set(lost) <= {Busy}
    assert seen[-3:] == [GOOD] * 3
    if expected in (GOOD, Refused) or fault == "badcrc":
        assert lost == []
    if fault in ("late", "half_then_late_rest"):
        assert len(lost) <= 2
    assert balanced(link)


@pytest.mark.parametrize("seed", range(2))
@both_lines
def test_any_sequence_of_faults(transport, faults, seed):
    chance = random.Random(seed)
    names = list(faults)
    script = [chance.choice(names) if chance.random() < 0.4 else "" for _ in range(150)]

    async def body():
        async with Device(faults, script).on_tcp() as device:
            link = open_link(parse(f"modbus+{transport}://127.0.0.1:{device.port}/1"))
            await link.open()
            good = 0
            for _ in range(100):
                function = chance.choice(["holding", "holding", "input", "coil"])
                count = 24 if function == "coil" else chance.choice([1, 3, 3, 3, 60])
                good += await outcome(link, chance.randrange(256, 20_000), count, function) is GOOD
                await asyncio.sleep(chance.choice([0.0, 0.0, 0.02, 0.3]))
            await link.close()
            return good, link

    good, link = run(body())
    assert good > (30 if transport == "tcp" else 10)
    assert balanced(link)


@both_lines
def test_device_that_is_always_a_little_late(transport, faults):
    # pymodbus alone returns another register's value on about every second read of such a line
    async def body():
        async with Device(faults, ["late"] * 1000).on_tcp() as device:
            link = open_link(parse(f"modbus+{transport}://127.0.0.1:{device.port}/1"))
            await link.open()
            seen = []
            for i in range(40):
                seen.append(await outcome(link, 300 + i))
            await link.close()
            return seen

    seen = run(body())
    assert GOOD not in seen
    assert seen.count(Timeout) >= 8  # it is asked again each time its answer has come at last, or by connecting anew


@pytest.mark.parametrize(
    ("transport", "faults", "fault"),
    [("tcp", TCP_FAULTS, "late"), ("tcp", TCP_FAULTS, "wrong_fc"), ("rtutcp", RTU_FAULTS, "wrong_fc")],
)
def test_a_write_is_believed_only_by_its_echo(transport, faults, fault):
    async def body():
        async with Device(faults, ["", fault]).on_tcp() as device:
            link = open_link(parse(f"modbus+{transport}://127.0.0.1:{device.port}/1"))
            await link.open()
            await link.write(1, "holding", 300, [1, 2], DEADLINE_S)
            with pytest.raises((Timeout, WrongAnswer)):
                await link.write(1, "holding", 300, [3, 4], DEADLINE_S)
            await link.close()
            return [asked.body.hex() for asked in device.asked]

    # asked once each: nothing is repeated by itself
    assert run(body()) == ["10012c00020400010002", "10012c00020400030004"]


def test_an_echo_of_another_value_is_no_confirmation():
    async def body():
        device = Device(TCP_FAULTS)
        async with device.on_tcp():
            link = open_link(parse(f"modbus+tcp://127.0.0.1:{device.port}/1?write_code=6"))
            await link.open()
            await link.write(1, "holding", 300, [7], DEADLINE_S)
            device.faults = {"other": lambda a: [(0, mbap(a, answer(a.body)[:-1] + b"\x09"))]}
            device.script.append("other")
            with pytest.raises(WrongAnswer, match="echo of 300, 9 to 300, 8"):
                await link.write(1, "holding", 300, [8], DEADLINE_S)
            await link.close()

    run(body())
