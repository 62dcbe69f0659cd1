"""Frames of serial agents, as bytes: COBS frames for microcontrollers, JSON lines for people.

Both carry the same `Frame`, both end in a CRC-32 (zlib's), and an answer echoes the number of its request, so that an
answer that comes late is never taken for another one.

    cobs   COBS(u8 type, u16 seq, u32 t_ms, float32[n], u32 crc) 0x00, little-endian; the CRC is of all before it
    json   {"type":"measure","seq":7,"t_ms":50,"values":[50.02,null]}*1c291ca3 LF; the CRC is of all before the `*`

COBS: Cheshire, Baker, IEEE/ACM Trans. Networking 7 (1999) 159. A float32 has 24 bits: 50 Hz to 4 uHz. JSON lines carry
float64; `null` is nan. No infinities.
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

HELLO, ALIGN, MEASURE, NEIGHBOUR, DECIDE, SYNC, STOP = range(1, 8)
ANSWER = 0x80  # added to the type of the request
REFUSED = 0xFF
TYPE_NAMES = {
    HELLO: "hello", ALIGN: "align", MEASURE: "measure", NEIGHBOUR: "neighbour", DECIDE: "decide", SYNC: "sync",
    STOP: "stop",
}  # fmt: skip
TYPE_NAMES |= {ANSWER + number: f"{name}_answer" for number, name in TYPE_NAMES.items()} | {REFUSED: "refused"}
TYPE_NUMBERS = {name: number for number, name in TYPE_NAMES.items()}

MOST_VALUES = 64
MOST_BYTES = 4096  # of a frame on its way; whatever is longer is none
T_MS_WRAP = 1 << 32

HEAD = struct.Struct("<BHI")
CHECKSUM = struct.Struct("<I")


class Frame(NamedTuple):
    """One message."""

    type: int  # u8
    seq: int  # u16; an answer has that of its request
    t_ms: int  # u32; what it is the time of depends on the type
    values: tuple[float, ...] = ()


class FrameError(ValueError):
    """Bytes that are no frame; `cause` is what the decoder counts them as."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def stuffed(data: bytes) -> bytes:
    """COBS: the same data without any zero."""
    out = bytearray()
    pieces = data.split(b"\0")
    for number, piece in enumerate(pieces):
        rest, full = piece, False
        while len(rest) >= 254:
            out += b"\xff" + rest[:254]
            rest, full = rest[254:], True
        if rest or not full or number < len(pieces) - 1:
            out.append(len(rest) + 1)
            out += rest
    return bytes(out)


def unstuffed(data: bytes) -> bytes:
    """What COBS made `data` of.

    Raises:
        FrameError: COBS makes no such bytes.
    """
    out, place = bytearray(), 0
    while place < len(data):
        code = data[place]
        block = data[place + 1 : place + code]
        if code == 0 or len(block) < code - 1 or 0 in block:
            raise FrameError("stuffing")
        out += block
        place += code
        if code < 255 and place < len(data):
            out.append(0)
    return bytes(out)


def _checked(frame: Frame) -> Frame:
    for name, value, bits in (("type", frame.type, 8), ("seq", frame.seq, 16), ("t_ms", frame.t_ms, 32)):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"frame: {name} = {value} is not within {bits} bits")
    if len(frame.values) > MOST_VALUES:
        raise ValueError(f"frame: {len(frame.values)} values; there may be {MOST_VALUES}")
    if any(map(math.isinf, frame.values)):
        raise ValueError(f"frame: {frame.values} has an infinity; send nan for a value that is not there")
    return frame


def to_cobs(frame: Frame) -> bytes:
    """A frame as it travels, delimiter included.

    Raises:
        ValueError: a field is out of its range.
    """
    kind, seq, t_ms, values = _checked(frame)
    try:
        data = HEAD.pack(kind, seq, t_ms) + struct.pack(f"<{len(values)}f", *values)
    except OverflowError as error:
        raise ValueError(f"frame: {values} has a value beyond float32") from error
    return stuffed(data + CHECKSUM.pack(crc32(data))) + b"\0"


def from_cobs(packet: bytes) -> Frame:
    """The frame between two delimiters.

    Raises:
        FrameError: it is none.
    """
    data = unstuffed(packet)
    count, rest = divmod(len(data) - HEAD.size - CHECKSUM.size, 4)
    if count < 0 or rest or count > MOST_VALUES:
        raise FrameError("form")
    body, check = data[: -CHECKSUM.size], data[-CHECKSUM.size :]
    if CHECKSUM.pack(crc32(body)) != check:
        raise FrameError("checksum")
    values = struct.unpack_from(f"<{count}f", body, HEAD.size)
    if any(map(math.isinf, values)):
        raise FrameError("form")
    kind, seq, t_ms = HEAD.unpack_from(body)
    return Frame(kind, seq, t_ms, values)


def to_json(frame: Frame) -> bytes:
    """A frame as a line.

    Raises:
        ValueError: a field is out of its range.
    """
    kind, seq, t_ms, values = _checked(frame)
    fields = {
        "type": TYPE_NAMES.get(kind, kind), "seq": seq, "t_ms": t_ms,
        "values": [None if math.isnan(value) else value for value in values],
    }  # fmt: skip
    body = json.dumps(fields, separators=(",", ":")).encode()
    return body + b"*%08x\n" % crc32(body)


def from_json(line: bytes) -> Frame:
    """The frame of a line without its end.

    Raises:
        FrameError: it has none.
    """
    body, star, check = line.removesuffix(b"\r").rpartition(b"*")
    if not star or len(check) != 8:
        raise FrameError("form")
    if b"%08x" % crc32(body) != check:
        raise FrameError("checksum")
    try:
        fields = json.loads(body, parse_constant=_no_constant)
        kind = fields["type"]
        kind = TYPE_NUMBERS[kind] if isinstance(kind, str) else kind
        frame = Frame(kind, fields["seq"], fields["t_ms"], tuple(map(_number, fields["values"])))
        if not all(type(number) is int for number in frame[:3]):
            raise FrameError("form")
        return _checked(frame)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise FrameError("form") from error


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float):
        raise FrameError("form")
    return float(value)


def _no_constant(word: str) -> float:
    raise FrameError("form")


class Codec(NamedTuple):
    """How frames travel."""

    encode: Callable[[Frame], bytes]
    decode: Callable[[bytes], Frame]
    delimiter: bytes


CODECS = {"cobs": Codec(to_cobs, from_cobs, b"\0"), "json": Codec(to_json, from_json, b"\n")}


def codec(name: str) -> Codec:
    """A codec by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in CODECS:
        raise ValueError(f"codec = {name!r}: there are {', '.join(CODECS)}")
    return CODECS[name]


class Decoder:
    """Bytes in, frames out, however the bytes are split; what is no frame is counted, never raised.

    Attributes:
        counts: of `frames`, and of what was none by cause: `checksum`, `stuffing`, `form`, `too long`.
    """

    def __init__(self, name: str = "cobs") -> None:
        self._codec = codec(name)
        self._left = bytearray()
        self._is_lost = False  # the beginning of this one was thrown away
        self.counts: Counter[str] = Counter()

    @property
    def garbage(self) -> int:
        """How many times bytes were no frame."""
        return self.counts.total() - self.counts["frames"]

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        *ended, begun = data.split(self._codec.delimiter)
        frames = []
        for part in ended:
            self._keep(part)
            packet = bytes(self._left)
            self._left.clear()
            self._is_lost = False
            if packet in (b"", b"\r"):  # a delimiter alone, or the end of what was thrown away
                continue
            try:
                frames.append(self._codec.decode(packet))
                self.counts["frames"] += 1
            except FrameError as error:
                self.counts[error.cause] += 1
        self._keep(begun)
        return frames

    def _keep(self, part: bytes) -> None:
        if not self._is_lost:
            self._left += part
            if len(self._left) > MOST_BYTES:
                self._left.clear()
                self._is_lost = True
                self.counts["too long"] += 1
