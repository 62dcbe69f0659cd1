"""Requests find their answers, and four stamps tell the clocks apart: host and agent agree, without a line."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.hil import agent as pi
from gridloop.hil.frames import ANSWER, CODECS, DECIDE, MEASURE, NEIGHBOUR, REFUSED, SYNC, Decoder, Frame
from gridloop.hil.messages import Requests
from gridloop.hil.stamps import STAGES, WRAP_US, ClockOffset, Exchange, apart_us


def test_an_answer_belongs_to_the_request_of_its_number():
    requests = Requests()
    first = requests.request(MEASURE, 1_000, 50, (50.0,))
    second = requests.request(DECIDE, 1_100, 50)
    assert (first.seq, second.seq, len(requests)) == (0, 1, 2)
    answer = requests.answered(Frame(DECIDE + ANSWER, 1, 50, (1.0,)), 3_000)
    assert answer is not None
    assert (answer.request, answer.round_trip_us, answer.refusal) == (second, 1_900, "")
    assert requests.answered(Frame(DECIDE + ANSWER, 1, 50), 3_000) is None  # twice
    assert requests.answered(Frame(DECIDE + ANSWER, 0, 50), 3_000) is None  # of another type
    assert requests.answered(Frame(DECIDE + ANSWER, 9, 50), 3_000) is None  # of nothing
    assert (requests.strange, len(requests)) == (3, 1)


def test_an_answer_that_comes_too_late_is_none():
    requests = Requests()
    late = requests.request(MEASURE, 0, 50)
    asked = requests.request(MEASURE, 100, 100)
    assert requests.give_up(100) == [late]
    assert requests.answered(Frame(MEASURE + ANSWER, late.seq, 50), 200) is None
    assert requests.answered(Frame(MEASURE + ANSWER, asked.seq, 100), 200) is not None
    assert (requests.lost, requests.strange) == (1, 1)


def test_numbers_begin_anew_and_never_mean_two_requests():
    requests = Requests()
    for _ in range(65536):
        requests.request(MEASURE, 0, 0)
    assert requests.request(MEASURE, 5, 7).seq == 0
    assert (requests.lost, len(requests)) == (1, 65536)
    answer = requests.answered(Frame(MEASURE + ANSWER, 0, 7), 6)
    assert answer is not None
    assert answer.request.t_ms == 7


def test_a_message_to_a_neighbour_waits_for_no_answer():
    requests = Requests()
    requests.request(NEIGHBOUR, 0, 50, (1.0,) * 8)
    assert len(requests) == 0


@pytest.mark.parametrize(("values", "words"), [((3.0, 5.0), "time went back"), ((77.0,), "code 77"), ((), "code 0")])
def test_a_refusal_says_why(values, words):
    requests = Requests()
    frame = requests.request(MEASURE, 0, 50)
    answer = requests.answered(Frame(REFUSED, frame.seq, 50, values), 1)
    assert answer is not None
    assert words in answer.refusal


def test_four_stamps_by_hand():
    # device 1000 us ahead; 300 us there, 50 us inside, 100 us back: the way's asymmetry is taken for an offset
    seen = ClockOffset().add(0, 1300, 1350, 450)
    assert seen == (450, 1100.0, 200.0, 400, 200.0, 200.0)
    clock = ClockOffset()
    clock.add(0, 1100, 1150, 250)  # 100 us each way
    assert clock.add(0, 1300, 1350, 450) == (450, 1000.0, 100.0, 400, 300.0, 100.0)


def test_old_exchanges_are_forgotten():
    # a drifting clock: the fast exchange counts for the eight last ones
    clock = ClockOffset()
    clock.add(0, 1100, 1100, 200)
    for number in range(STAGES):
        seen = clock.add(0, 1300, 1300, 400)
        assert seen.offset_us == (1000 if number < STAGES - 1 else 1100)


@given(st.integers(0, WRAP_US - 1), st.integers(-(10**9), 10**9))
def test_clocks_may_begin_anew_in_between(start, apart):
    assert apart_us((start + apart) % WRAP_US, start) == apart


@pytest.mark.parametrize("stamps", [(0, 10, 20, 5), (0, 10, 5, 20)])
def test_stamps_of_no_exchange_are_refused(stamps):
    with pytest.raises(ValueError, match="no exchange"):
        ClockOffset().add(*stamps)


@pytest.mark.parametrize("codec", CODECS)
def test_host_and_agent_find_the_same_clocks(codec):
    """40 exchanges over a line with random delays, every fifth answer lost; the agent's clock is 123.456 s ahead."""
    chance, host = random.Random(3), Requests()
    rows: list[tuple] = []
    seen: list[Exchange] = []
    agent = pi.Agent(pi.Secondary(pi.Settings(s_rated_kva=10.0)), record=rows.append)
    ahead_us = 123_456_789
    now_us = 4_000_000_000_123
    for number in range(40):
        now_us += 1_000_000
        request = host.sync(now_us)
        there_us, inside_us, back_us = (chance.randint(*span) for span in ((300, 900), (5, 3000), (300, 2000)))
        (heard,) = pi.Decoder(codec).feed(CODECS[codec].encode(request))
        t2 = now_us + there_us + ahead_us
        answer = agent.answer(heard, t2, t2 + inside_us)
        assert answer is not None
        (found,) = Decoder(codec).feed(pi.CODECS[codec].encode(answer))
        if number % 5 == 4:
            continue
        t4 = now_us + there_us + inside_us + back_us
        answered = host.answered(found, t4)
        assert answered is not None
        exchange = host.exchanged(answered, t4)
        assert exchange is not None
        assert exchange.round_trip_us == there_us + back_us
        assert exchange.to_device_us + exchange.to_host_us == exchange.round_trip_us
        assert abs(exchange.offset_us - ahead_us) <= exchange.error_us
        seen.append(exchange)
    # the agent learns from the next request when its answer came; of the lost ones neither side knows anything
    assert len(rows) == len(seen) == 32
    for row, exchange in zip(rows, seen, strict=True):
        assert row[1:] == pytest.approx(exchange[1:], abs=1e-6)


@pytest.mark.parametrize(
    "values", [(), (1.0,), (1000.0, 5.0), (-1.0, 5.0), (float("nan"), 5.0), (5.0, float("nan")), (5.0, 1e9)]
)
def test_wrong_stamps_are_left_aside(values):
    host = Requests()
    request = host.sync(1_000)
    answered = host.answered(Frame(SYNC + ANSWER, request.seq, 5, values), 2_000)
    assert answered is not None
    assert host.exchanged(answered, 2_000) is None


@given(st.lists(st.floats(width=32, allow_infinity=False), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_no_sync_makes_the_agent_fail(values, t_ms):
    stamps = pi.Stamps()
    for _ in range(3):
        stamps.take(pi.Frame(SYNC, 0, t_ms, tuple(values)), 5, 6)
        stamps.take(pi.Frame(SYNC, 0, t_ms, (5.0, values[1], 0.0)), 5, 6)
