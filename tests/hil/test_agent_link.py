"""The host's end of a serial agent's line, against an agent in a thread with faults: nothing wrong is ever taken."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridloop.hil.agent import Agent, Inverter, Secondary, Settings
from gridloop.hil.agent_emulator import AgentEmulator
from gridloop.hil.agent_link import AgentLink, Ask
from gridloop.hil.faults import Fault
from gridloop.hil.frames import ANSWER, CODECS, MEASURE, Decoder
from gridloop.hil.links import LinkDown, LinkError, Refused, Timeout, WrongAnswer
from gridloop.hil.urls import parse

ANY_PORT = "serial+socket://127.0.0.1:1?codec={}"
P_MW = 0.0625  # a float32 holds it
PATIENCE_S = 20.0


def agent(*faults: Fault, codec: str = "cobs") -> AgentEmulator:
    """A droop inverter of 10 kVA."""
    url = parse(ANY_PORT.format(codec))
    return AgentEmulator(_any_port(url), lambda: Inverter(Settings(s_rated_kva=10.0)), faults)


def _any_port(url: Any) -> Any:
    return type(url)(**{**vars(url), "port": 0})


def asked(served: AgentEmulator, asks, deadline_s: float = PATIENCE_S) -> list:
    """What each of the coroutines made by `asks` gives or raises, and the statistics at the end."""

    async def ask() -> list:
        link, found = AgentLink(served.url), []
        await link.open()
        for one in asks:
            try:
                found.append(await one(link, deadline_s))
            except LinkError as error:
                found.append(error)
        await link.close()
        return [*found, link.statistics]

    return asyncio.run(ask())


async def hello(link: AgentLink, deadline_s: float):
    return await link.hello(deadline_s)


def measure(t_ms: int, p_mw: float = P_MW):
    async def one(link: AgentLink, deadline_s: float) -> Sequence[float]:
        (answer,) = await link.ask([Ask(MEASURE, t_ms, (p_mw, 0.0))], deadline_s)
        assert (answer.type, answer.t_ms) == (MEASURE + ANSWER, t_ms)
        return answer.values

    return one


def adds_up(counted):
    return counted.requests == counted.answers + counted.lost.total() + counted.exceptions.total()


@pytest.mark.parametrize("codec", CODECS)
def test_it_asks_who_is_there_and_takes_the_answers(codec):
    with agent(codec=codec) as served:
        who, first, second, counted = asked(served, [hello, measure(0), measure(10, 2 * P_MW)])
    assert (who.version, who.role) == (1, "inverter")
    # 2 % droop of 50 Hz at 10 kVA: 0.0625 MW are 6.25 Hz below nominal
    assert first == pytest.approx((50 - 6.25, 1.0), abs=1e-5) and second[0] < first[0]
    assert counted.requests == counted.answers == 3 and adds_up(counted)


def test_requests_that_follow_one_another_are_answered_in_their_order():
    async def three(link: AgentLink, deadline_s: float):
        return await link.ask([Ask(MEASURE, t_ms, (P_MW, 0.0)) for t_ms in (0, 5, 10)], deadline_s)

    with agent() as served:
        answers, counted = asked(served, [three])
    assert [answer.t_ms for answer in answers] == [0, 5, 10] and counted.answers == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("silent", count=1), Timeout),
        (Fault("late", delay_s=0.4, count=1), Timeout),
        (Fault("wrong_unit", count=1), Timeout),
        (Fault("exception", code=4, count=1), Refused),
        (Fault("drop", count=1), LinkDown),
    ],
)
def test_a_fault_is_an_error_by_its_deadline_and_the_next_answer_is_right(fault, error):
    async def meet(link: AgentLink, deadline_s: float):
        return await measure(0)(link, 0.2)

    async def pause(link: AgentLink, deadline_s: float):
        await asyncio.sleep(0.3)  # the late answer comes meanwhile, a new connection is made
        return await measure(10, 2 * P_MW)(link, deadline_s)

    with agent(fault) as served:
        met, then, counted = asked(served, [meet, pause])
    assert isinstance(met, error), met
    assert 50 - 12.5 < then[0] < 50 - 6.25  # its filter is on the way from the first measurement to the second
    assert counted.answers == 1 and adds_up(counted)
    assert counted.skipped["stray"] == (fault.kind in ("late", "wrong_unit"))


def test_a_frame_that_comes_byte_by_byte_is_an_answer():
    with agent(Fault("slow", delay_s=0.05)) as served:
        (values, counted) = asked(served, [measure(0)])
    assert values[0] == pytest.approx(50 - 6.25, abs=1e-5) and counted.skipped.total() == 0


def test_who_speaks_another_codec_is_silent():
    with agent(codec="json") as served:
        other = type(served.url)(**{**vars(served.url), "options": {"codec": "cobs"}})

        async def ask():
            link = AgentLink(other)
            await link.open()
            with pytest.raises(Timeout):
                await link.hello(0.2)
            await link.close()

        asyncio.run(ask())


def test_nobody_there_is_said_at_once_and_looked_for_again():
    with agent() as served:
        url = served.url

    async def ask():
        link = AgentLink(url)
        await link.open()
        with pytest.raises(LinkDown, match="not connected"):
            await link.hello(PATIENCE_S)
        with AgentEmulator(url, lambda: Secondary(Settings(s_rated_kva=1.0)), period_ms=50):
            for _ in range(200):
                await asyncio.sleep(0.02)
                if link.statistics.connected:
                    break
            who = await link.hello(PATIENCE_S)
        await link.close()
        return who

    assert asyncio.run(ask()) == (1, "secondary", 50.0)


def test_stamps_tell_the_clocks_apart_and_a_restart():
    async def sync(link: AgentLink, deadline_s: float):
        return await link.sync(deadline_s)

    with agent() as served:

        async def restart(link: AgentLink, deadline_s: float):
            served.fault("restart", delay_s=0.1)
            await asyncio.sleep(0.2)
            return await link.sync(deadline_s)

        one, other, error, after, counted = asked(served, [sync, sync, restart, sync])
    del error  # the connection was lost, or there again
    assert other.error_us <= one.error_us and 0 <= other.to_device_us + other.to_host_us == other.round_trip_us
    assert isinstance(after, type(one)) and counted.jumps == 1
    assert after.offset_us < other.offset_us - 2000  # its clock began anew


def test_an_agent_that_is_none_of_ours_is_refused():
    class Other(Inverter):
        number = 9

    url = _any_port(parse(ANY_PORT.format("cobs")))
    with AgentEmulator(url, lambda: Other(Settings(s_rated_kva=1.0))) as served:
        error, _ = asked(served, [hello])
    assert isinstance(error, WrongAnswer) and "role 9" in str(error)


# --- garbage ---

PIECES = st.lists(st.binary(max_size=60), max_size=4)
CUTS = st.lists(st.integers(0, 60), max_size=4)


@pytest.mark.parametrize("codec", CODECS)
@given(before=PIECES, cuts=CUTS, seq=st.integers(1, 65535), t_ms=st.integers(1, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_garbage_and_answers_to_something_else_are_never_taken(codec, before, cuts, seq, t_ms):
    """A device that sends noise, answers with other numbers, then the answer in pieces."""
    role: Any = Agent(Inverter(Settings(s_rated_kva=10.0)))  # of its own Frame

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder, encode = Decoder(codec), CODECS[codec].encode
        while data := await reader.read(4096):
            for request in decoder.feed(data):
                answer = role.answer(request, 0, 0)
                assert answer is not None
                wrong = [
                    answer._replace(seq=(answer.seq + seq) % 65536), answer._replace(t_ms=(answer.t_ms + t_ms) % 2**32),
                    answer._replace(type=MEASURE), answer._replace(type=0x90),
                ]  # fmt: skip
                for noise in (*before, CODECS[codec].delimiter, *map(encode, wrong)):
                    writer.write(noise)
                whole, at = encode(answer), [0, *sorted(min(cut, 60) for cut in cuts), 10**6]
                for start, end in pairwise(at):
                    writer.write(whole[start:end])
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    async def ask():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = AgentLink(parse(f"serial+socket://127.0.0.1:{port}?codec={codec}"))
        await link.open()
        values = [await measure(t, p)(link, PATIENCE_S) for t, p in ((0, P_MW), (1, P_MW), (2, P_MW))]
        counted = link.statistics
        await link.close()
        server.close()
        return values, counted

    values, counted = asyncio.run(ask())
    assert all(one == pytest.approx((50 - 6.25, 1.0), abs=1e-5) for one in values)
    assert counted.answers == counted.requests == 3 and counted.skipped["stray"] >= 3 * 4


def test_a_connection_of_which_nobody_told_that_it_is_gone_is_made_anew():
    role: Any = Agent(Inverter(Settings(s_rated_kva=10.0)))  # of its own Frame
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        decoder, is_half_open = Decoder("cobs"), len(connections) == 1
        while data := await reader.read(4096):
            for request in decoder.feed(data):
                answer = role.answer(request, 0, 0)
                if answer is not None and not is_half_open:
                    writer.write(CODECS["cobs"].encode(answer))
        writer.close()

    async def ask():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        link = AgentLink(parse(f"serial+socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await link.open()
        for _ in range(200):
            try:
                who = await link.hello(0.02)
                break
            except LinkError:
                await asyncio.sleep(0.01)
        await link.close()
        server.close()
        return who.role, len(connections)

    role_name, count = asyncio.run(ask())
    assert role_name == "inverter" and count >= 2
