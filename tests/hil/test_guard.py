"""The pure part of the links: frames, checks, quarantine, back-off. Times are given, no clock runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from gridloop.hil.guard import Backoff, Quarantine, RtuLine, TcpStream, Verdict, crc16, read_request, write_request

READ = read_request(1, "holding", 107, 3)
# the example of the specification, V1.1b3, 6.3: registers 108 to 110 hold 555, 0, 100
BODY = bytes.fromhex("0306022b00000064")
TCP_FRAME = bytes.fromhex("0007 0000 0009 01") + BODY
RTU_FRAME = bytes.fromhex("01") + BODY + bytes.fromhex("057a")


def fed(guard, pieces, request=READ, transaction=7):
    """The first verdict that says something."""
    for piece in pieces:
        verdict = guard.feed(piece, request, transaction)
        if verdict.body or verdict.fault:
            return verdict
    return Verdict()


def pieces_of(frame, cuts):
    ends = [*sorted({cut % len(frame) for cut in cuts} - {0}), len(frame)]
    return [frame[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def test_golden_frames():
    assert TcpStream().feed(TCP_FRAME, READ, 7) == Verdict(BODY)
    assert RtuLine().feed(RTU_FRAME, READ) == Verdict(BODY)


def test_golden_checksum():
    assert crc16(bytes.fromhex("01030000000a")) == 0xCDC5  # sent low byte first: c5 cd
    assert crc16(bytes.fromhex("01030000000ac5cd")) == 0


@given(st.binary(max_size=300))
def test_checksum_is_that_of_pymodbus(frame):
    assert crc16(frame).to_bytes(2, "little") == FramerRTU.compute_CRC(frame).to_bytes(2)


@given(st.lists(st.integers(0, 100)))
def test_any_split_gives_the_same(cuts):
    # before and behind it, answers that are not ours
    other = bytes.fromhex("0006 0000 0009 01 0306 111122223333")
    assert fed(TcpStream(), pieces_of(other + TCP_FRAME + other, cuts)) == Verdict(BODY)
    assert fed(RtuLine(), pieces_of(RTU_FRAME, cuts)) == Verdict(BODY)
    foreign = bytes.fromhex("020302aabb")
    foreign += crc16(foreign).to_bytes(2, "little")
    assert fed(RtuLine(), pieces_of(foreign + RTU_FRAME, cuts)) == Verdict(BODY)


@given(st.lists(st.binary(max_size=40), max_size=20), st.booleans(), st.booleans())
def test_garbage_never_raises_nor_answers(pieces, is_rtu, is_asked):
    guard = RtuLine() if is_rtu else TcpStream()
    for piece in pieces:
        assert guard.feed(piece, READ if is_asked else None, 7).body in (b"", BODY)
    assert len(guard.rest) <= 600


@given(st.integers(0, len(RTU_FRAME) * 8 - 1), st.integers(0, len(RTU_FRAME) * 8 - 1))
def test_flipped_bits_are_never_data(first, second):
    frame = bytearray(RTU_FRAME)
    for bit in {first, second}:
        frame[bit // 8] ^= 1 << bit % 8
    assert RtuLine().feed(bytes(frame), READ).body == b""


def test_stream_stays_in_step_through_an_answer_that_nobody_waits_for():
    stream = TcpStream()
    assert stream.feed(TCP_FRAME[:10], READ, 7) == Verdict()
    assert not stream.begin()  # in the middle of a frame: a request now could not tell its answer
    assert stream.feed(TCP_FRAME[10:], None, 7) == Verdict()
    assert stream.begin()
    assert stream.skipped == {"unasked": 1}


def test_stream_that_goes_wrong_behind_an_answer_is_not_used_again():
    stream = TcpStream()
    assert stream.feed(TCP_FRAME + b"\xff" * 9, READ, 7) == Verdict(BODY)
    assert not stream.begin()


@pytest.mark.parametrize(
    ("request_", "body", "fault"),
    [
        (READ, "8302", ""),
        (READ, "8300", "an exception of 2 bytes"),
        (READ, "0404022b0000", "function 4, not 3"),
        (READ, "0304022b0000", "6 bytes, not 8"),
        (READ, "0305022b00000064", "a byte count of 5 before 6 bytes"),
        (READ, "", "function 0, not 3"),
        (read_request(1, "coil", 0, 19), "0103cd6b05", ""),
        (read_request(1, "coil", 0, 19), "0102cd6b", "4 bytes, not 5"),
        (write_request(1, "holding", 1, [10, 258]), "1000010002", ""),
        (write_request(1, "holding", 1, [10, 258]), "1000010001", "an echo of 1, 1 to 1, 2"),
        (write_request(1, "holding", 1, [3], 6), "0600010003", ""),
        (write_request(1, "holding", 1, [3], 6), "0600010004", "an echo of 1, 4 to 1, 3"),
        (write_request(1, "holding", 1, [3], 6), "0600020003", "an echo of 2, 3 to 1, 3"),
        (write_request(1, "coil", 172, [1]), "0500acff00", ""),
        (write_request(1, "coil", 172, [0]), "0500acff00", "an echo of 172, 65280 to 172, 0"),
        (write_request(1, "coil", 19, [1, 0] * 5), "0f0013000a", ""),
    ],
)
def test_what_answers_a_request(request_, body, fault):
    assert request_.fault(bytes.fromhex(body)) == fault


def test_noise_before_an_answer_hides_it_only_when_long():
    assert RtuLine().feed(bytes(8) + RTU_FRAME, READ) == Verdict(BODY)
    assert RtuLine().feed(bytes(9) + RTU_FRAME, READ) == Verdict()


def test_a_damaged_answer_is_told_from_an_echo_and_from_half_an_answer():
    line = RtuLine()
    assert line.feed(RTU_FRAME[:5], READ) == Verdict()
    assert not line.is_damaged(READ)
    assert line.feed(b"\x01" + RTU_FRAME[6:], READ) == Verdict()
    assert line.is_damaged(READ)


def test_an_echo_is_not_an_answer():
    # 24 coils at 0x0300: the request itself is an answer by its length, byte count and checksum
    coils = read_request(1, "coil", 0x0300, 24)
    echo, right = (_with_checksum(text) for text in ("010103000018", "010103aa55aa"))
    for piece in ([echo, right], [echo + right], [echo[:7], echo[7:] + right]):
        line = RtuLine()
        assert fed(line, piece, coils) == Verdict(bytes.fromhex("0103aa55aa"))
        assert line.skipped == {"echo": 1}
    line = RtuLine()
    line.feed(echo[:7] + b"\0", coils)
    assert not line.is_damaged(coils)  # of a damaged echo, the answer is still to come


def _with_checksum(text):
    frame = bytes.fromhex(text)
    return frame + crc16(frame).to_bytes(2, "little")


def test_units_whose_answers_came_unasked_are_named():
    line = RtuLine()
    line.feed(RTU_FRAME[:4], None)
    line.feed(RTU_FRAME[4:], None)
    assert line.strays == [1]


def test_quarantine():
    quarantine = Quarantine(hold_s=1.0)
    assert quarantine.left_s(1, now_s=10.0) == 0
    quarantine.start(1, now_s=10.0)
    assert quarantine.left_s(1, now_s=10.4) == pytest.approx(0.6)
    assert quarantine.left_s(2, now_s=10.4) == 0
    assert quarantine.left_s(1, now_s=11.0) == 0
    quarantine.start(1, now_s=20.0)
    quarantine.release(1)
    assert quarantine.left_s(1, now_s=20.0) == 0


def test_back_off():
    backoff = Backoff(least_s=0.05, most_s=1.0)
    assert [backoff.wait_s() for _ in range(8)] == [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.wait_s() == 0
