"""Frames: golden bytes, any split, garbage, and 10^4 corruptions of which none is accepted."""

import math
import random
import struct
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gridloop.hil import agent
from gridloop.hil.frames import (
    CODECS,
    MEASURE,
    MOST_BYTES,
    SYNC,
    Decoder,
    Frame,
    FrameError,
    from_json,
    stuffed,
    to_cobs,
    to_json,
    unstuffed,
)

SINGLE = st.floats(width=32, allow_infinity=False)
NO_ZERO = struct.unpack("<64f", b"\xcd\xcc\xcc\x3d" * 64)  # blocks of COBS that are full
FRAMES = st.builds(
    Frame, st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1),
    st.one_of(st.lists(SINGLE, max_size=8), st.just(NO_ZERO)).map(tuple),
)  # fmt: skip
NAMES = pytest.mark.parametrize("name", CODECS)


def same(one, other) -> bool:
    """nan is nan here."""
    return repr(one) == repr(other)


def sent(frames, name) -> bytes:
    return b"".join(CODECS[name].encode(frame) for frame in frames)


def test_cobs_as_in_the_paper():
    # Cheshire and Baker 1999, section 2: zeros become the distance to the next one
    assert stuffed(b"") == b"\x01"
    assert stuffed(b"\x00") == b"\x01\x01"
    assert stuffed(b"\x11\x22\x00\x33") == b"\x03\x11\x22\x02\x33"
    assert stuffed(b"\x11\x00\x00\x00") == b"\x02\x11\x01\x01\x01"
    run = bytes(range(1, 255))  # 254 bytes without a zero: one full block, and no empty one after it
    assert stuffed(run) == b"\xff" + run
    assert stuffed(b"\x00" + run) == b"\x01\xff" + run
    assert stuffed(run + b"\xff") == b"\xff" + run + b"\x02\xff"
    assert stuffed(run + b"\x00") == b"\xff" + run + b"\x01\x01"
    for data in (run, b"\x00" + run, run + b"\xff", run + b"\x00", run * 3, run + b"\x00" + run):
        assert unstuffed(stuffed(data)) == data


@given(st.binary(max_size=1200))
def test_cobs_goes_and_comes_without_a_zero(data):
    packet = stuffed(data)
    assert 0 not in packet
    assert len(packet) <= len(data) + 1 + len(data) // 254
    assert unstuffed(packet) == data


def test_a_cobs_frame_byte_by_byte():
    # type 3, seq 0x0102, t 50 ms, 50.0 = 0x42480000; the CRC of these 11 bytes, computed by hand as little-endian
    data = b"\x03\x02\x01\x32\x00\x00\x00\x00\x00\x48\x42"
    check = struct.pack("<I", crc32(data))
    assert to_cobs(Frame(MEASURE, 0x0102, 50, (50.0,))) == stuffed(data + check) + b"\0"
    assert len(to_cobs(Frame(MEASURE, 1, 1, (1.0,) * 4))) == 29


def test_a_json_line_can_be_read():
    line = to_json(Frame(MEASURE, 7, 50, (50.25, math.nan)))
    body = b'{"type":"measure","seq":7,"t_ms":50,"values":[50.25,null]}'
    assert line == body + b"*%08x\n" % crc32(body)
    assert same(Decoder("json").feed(line.replace(b"\n", b"\r\n")), [Frame(MEASURE, 7, 50, (50.25, math.nan))])


def test_a_type_without_a_name_is_a_number():
    frame = Frame(77, 1, 2, (3.0,))
    assert b'"type":77' in to_json(frame)
    assert Decoder("json").feed(to_json(frame)) == [frame]


@NAMES
@given(st.lists(FRAMES, max_size=5), st.lists(st.floats(0, 1), max_size=12))
def test_any_split_gives_the_same_frames(name, frames, places):
    line = sent(frames, name)
    cuts = sorted(round(place * len(line)) for place in places)
    decoder, found = Decoder(name), []
    for begin, end in zip([0, *cuts], [*cuts, len(line)], strict=True):
        found += decoder.feed(line[begin:end])
    assert same(found, frames)
    assert decoder.counts == ({"frames": len(frames)} if frames else {})


@NAMES
@given(
    st.lists(st.one_of(st.binary(max_size=60), FRAMES, st.just(b"\x01" * (MOST_BYTES + 1))), max_size=6),
    st.integers(1, 5000),
)
def test_garbage_is_counted_alike_however_it_is_split(name, parts, count):
    line = b"".join(CODECS[name].encode(part) if isinstance(part, Frame) else part for part in parts)
    whole, pieces, found = Decoder(name), Decoder(name), []
    expected = whole.feed(line)
    for begin in range(0, len(line), count):
        found += pieces.feed(line[begin : begin + count])
    assert same(found, expected)
    assert pieces.counts == whole.counts


@NAMES
def test_frames_between_garbage_are_found(name):
    frame, delimiter = Frame(MEASURE, 1, 2, (3.0,)), CODECS[name].delimiter
    good = CODECS[name].encode(frame)
    decoder = Decoder(name)
    assert decoder.feed(b"noise" + delimiter + good + good[:7] + delimiter + good) == [frame, frame]
    assert decoder.counts["frames"] == decoder.garbage == 2


@NAMES
@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_no_flipped_bits_are_accepted(name, bits):
    # 10^4 messages for each codec; what a flip of the delimiter leaves of the one after it is whole again
    chance, wrong = random.Random(bits), 0
    for number in range(2500):
        frame = Frame(MEASURE, number, number, tuple(chance.uniform(-60, 60) for _ in range(chance.randrange(8))))
        line = bytearray(CODECS[name].encode(frame))
        for place in chance.sample(range(8 * len(line)), bits):
            line[place // 8] ^= 1 << place % 8
        after = Frame(SYNC, 65535, 0, ())
        found = Decoder(name).feed(bytes(line) + CODECS[name].delimiter + CODECS[name].encode(after))
        wrong += found != [after]
    assert wrong == 0


@NAMES
def test_what_is_too_long_is_dropped_once(name):
    frame, delimiter = Frame(MEASURE, 1, 2), CODECS[name].delimiter
    decoder = Decoder(name)
    for _ in range(1000):
        assert decoder.feed(b"x" * 100) == []
    assert decoder.feed(delimiter + CODECS[name].encode(frame)) == [frame]
    assert decoder.counts == {"too long": 1, "frames": 1}


@NAMES
def test_the_longest_frame_is_not_too_long(name):
    longest = Frame(255, 65535, 2**32 - 1, (-1.2345678901234567e-300,) * 64)
    assert len(CODECS[name].encode(longest)) < MOST_BYTES


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"7", b"null", b'"x"', b"{}", b'{"type":1}', b"[" * 3000, b"\xff\xfe",
        b'{"type":true,"seq":1,"t_ms":1,"values":[]}', b'{"type":1,"seq":1.0,"t_ms":1,"values":[]}',
        b'{"type":1,"seq":-1,"t_ms":1,"values":[]}', b'{"type":256,"seq":1,"t_ms":1,"values":[]}',
        b'{"type":"no","seq":1,"t_ms":1,"values":[]}', b'{"type":[],"seq":1,"t_ms":1,"values":[]}',
        b'{"type":1,"seq":1,"t_ms":4294967296,"values":[]}', b'{"type":1,"seq":1,"t_ms":1,"values":7}',
        b'{"type":1,"seq":1,"t_ms":1,"values":["1"]}', b'{"type":1,"seq":1,"t_ms":1,"values":[true]}',
        b'{"type":1,"seq":1,"t_ms":1,"values":[NaN]}', b'{"type":1,"seq":1,"t_ms":1,"values":[Infinity]}',
        b'{"type":1,"seq":1,"t_ms":1,"values":[1e999]}', b'{"type":1,"seq":1,"t_ms":1,"values":{"a":1}}',
        b'{"type":1,"seq":1,"t_ms":1,"values":[1' + b"0" * 400 + b"]}",
        b'{"type":1,"seq":1,"t_ms":1,"values":[' + b"0," * 64 + b"0]}",
    ],
)  # fmt: skip
def test_a_json_line_with_a_good_checksum_and_a_bad_form(body):
    line = body + b"*%08x" % crc32(body)
    with pytest.raises(FrameError, match="form"):
        from_json(line)
    for decoder in (Decoder("json"), agent.Decoder("json")):
        assert decoder.feed(line + b"\n") == []
        assert decoder.counts == {"form": 1}


@pytest.mark.parametrize("data", [b"", b"\x01\x02", b"\0" * 9, struct.pack("<BHIf", 1, 1, 1, math.inf), b"\1" * 300])
def test_a_cobs_packet_with_a_good_checksum_and_a_bad_form(data):
    packet = stuffed(data + struct.pack("<I", crc32(data))) + b"\0"
    for decoder in (Decoder("cobs"), agent.Decoder("cobs")):
        assert decoder.feed(packet) == []
        assert decoder.counts == {"form": 1}


def test_a_checksum_in_capitals_is_another_line():
    line = to_json(Frame(MEASURE, 3, 50, (50.25,)))
    assert line[-9:-1] != line[-9:-1].upper()
    assert Decoder("json").feed(line[:-9] + line[-9:].upper()) == []


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame(256, 0, 0), "type = 256"),
        (Frame(1, -1, 0), "seq = -1"),
        (Frame(1, 0, 2**32), "t_ms = 4294967296"),
        (Frame(1, 0, 0, (0.0,) * 65), "65 values"),
        (Frame(1, 0, 0, (math.inf,)), "infinity"),
    ],
)
@NAMES
def test_what_cannot_be_sent_is_refused(name, frame, words):
    with pytest.raises(ValueError, match=words):
        CODECS[name].encode(frame)


def test_what_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="float32"):
        to_cobs(Frame(1, 0, 0, (1e39,)))


def test_an_unknown_codec_names_those_that_there_are():
    with pytest.raises(ValueError, match="cobs, json"):
        Decoder("morse")


@NAMES
@example([b"\0" * 8 + b"\n"])  # as long as a checksum, and none
@given(st.lists(st.one_of(st.binary(max_size=40), FRAMES), max_size=6))
def test_the_agent_has_the_same_frames(name, parts):
    # agent.py is one file with its own copy
    frames = [part for part in parts if isinstance(part, Frame)]
    assert sent(frames, name) == b"".join(agent.CODECS[name].encode(agent.Frame(*frame)) for frame in frames)
    line = b"".join(CODECS[name].encode(part) if isinstance(part, Frame) else part for part in parts)
    here, there = Decoder(name), agent.Decoder(name)
    assert same(here.feed(line), there.feed(line))
    assert here.counts == there.counts
