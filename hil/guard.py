"""What makes an answer ours: checks of Modbus frames against the request, and how long a line is kept quiet.

Bytes and times come in, verdicts go out: nothing here has a socket or a clock. pymodbus takes transaction 0, a wrong
function code and too few or too many registers for good answers, and on RTU, which has no transaction ids, it hands
an answer that comes late to the next request.

Source: MODBUS Application Protocol Specification V1.1b3, sections 4 to 7; MODBUS over Serial Line V1.02, 2.5.1.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

READ_CODES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
FUNCTIONS = {code: name for name, code in READ_CODES.items()} | {5: "coil", 6: "holding", 15: "coil", 16: "holding"}
MOST = {1: 2000, 2: 2000, 3: 125, 4: 125, 5: 1, 6: 1, 15: 1968, 16: 123}  # items in one request
EXCEPTION_BIT = 0x80
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge, the device needs long",
    6: "device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}
HEADER = struct.Struct(">HHHB")  # transaction, protocol, length, unit
MOST_BODY = 253  # bytes, function code included
MOST_KEPT = 512  # bytes of a line, twice the longest frame
MOST_NOISE = 8  # bytes before a frame that are taken for a driver that switches on


@dataclass(frozen=True)
class Request:
    """One request; checked when made.

    Args:
        unit: 0 to 255.
        code: function code.
        address: of the first item, zero-based.
        count: of items.
        values: of writes.
    """

    unit: int
    code: int
    address: int
    count: int
    values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        most, largest = MOST[self.code], 1 if self.code in (5, 15) else 0xFFFF
        holds = (
            0 <= self.unit <= 255,
            1 <= self.count <= most,
            self.address >= 0 and self.address + self.count <= 0x10000,
            not self.values or (min(self.values) >= 0 and max(self.values) <= largest),
        )
        if not all(holds):
            rules = (
                "a unit is 0 to 255",
                f"one request has 1 to {most} of them: split it",
                "addresses are 0 to 65535",
                f"values are 0 to {largest}",
            )
            raise ValueError(f"{self}: {'; '.join(rule for rule, fits in zip(rules, holds, strict=True) if not fits)}")

    def __str__(self) -> str:
        verb = "write" if self.is_write else "read"
        return f"unit {self.unit}: {verb} {self.count} {FUNCTIONS[self.code]} at {self.address}"

    @property
    def is_write(self) -> bool:
        return self.code >= 5

    @property
    def body(self) -> bytes:
        """Function code and data, as sent."""
        if self.code == 5:
            return struct.pack(">BHH", self.code, self.address, self.values[0] * 0xFF00)
        if self.code == 6:
            return struct.pack(">BHH", self.code, self.address, self.values[0])
        head = struct.pack(">BHH", self.code, self.address, self.count)
        if self.code == 15:
            size = (self.count + 7) // 8
            return head + bytes([size]) + sum(bit << i for i, bit in enumerate(self.values)).to_bytes(size, "little")
        if self.code == 16:
            return head + struct.pack(f">B{self.count}H", 2 * self.count, *self.values)
        return head

    def items(self, body: bytes) -> list[int]:
        """Registers, or bits as 0 and 1, of a body that answers the request; none of a write's."""
        if self.is_write:
            return []
        if self.code in (1, 2):
            return [body[2 + i // 8] >> i % 8 & 1 for i in range(self.count)]
        return list(struct.unpack(f">{self.count}H", body[2:]))

    @property
    def answer_bytes(self) -> int:
        """Length of the answer's body: function code and data."""
        if self.is_write:
            return 5
        return 2 + (2 * self.count if self.code >= 3 else (self.count + 7) // 8)

    @property
    def echo(self) -> bytes:
        """How a line that echoes gives a read back: of 17 to 24 bits it may look like an answer. b"" for a write."""
        return b"" if self.is_write else struct.pack(">BBHH", self.unit, self.code, self.address, self.count)

    def fault(self, body: bytes) -> str:
        """Why these bytes (function code and data) do not answer the request; "" where they do."""
        code = body[0] if body else 0
        if code == self.code | EXCEPTION_BIT:
            return "" if len(body) == 2 and body[1] else f"an exception of {len(body)} bytes"
        if code != self.code:
            return f"function {code}, not {self.code}"
        if len(body) != self.answer_bytes:
            return f"{len(body)} bytes, not {self.answer_bytes}"
        if not self.is_write:
            return "" if body[1] == len(body) - 2 else f"a byte count of {body[1]} before {len(body) - 2} bytes"
        echo = struct.unpack(">HH", body[1:])
        second = self.count if self.code in (15, 16) else self.values[0] * (0xFF00 if self.code == 5 else 1)
        return "" if echo == (self.address, second) else f"an echo of {echo[0]}, {echo[1]} to {self.address}, {second}"


@lru_cache(maxsize=1024)  # the same ones are made every few milliseconds
def read_request(unit: int, function: str, address: int, count: int) -> Request:
    """A read of holding, input, coil or discrete."""
    if function not in READ_CODES:
        raise ValueError(f"function {function!r}: there are {', '.join(READ_CODES)}")
    return Request(unit, READ_CODES[function], address, count)


def write_request(
    unit: int, function: str, address: int, values: Sequence[int], single: Literal[6, 16] = 16
) -> Request:
    """A write of holding or coil; `single` is the code that one register is written with."""
    if function not in ("holding", "coil"):
        raise ValueError(f"function {function!r} cannot be written: there are holding, coil")
    alone = len(values) == 1
    code = (5 if alone else 15) if function == "coil" else (single if alone else 16)
    return Request(unit, code, address, len(values), tuple(map(int, values)))


Cause = Literal["wrong", "crc", "stream"]  # of WrongAnswer


class Verdict(NamedTuple):
    """What the bytes so far amount to: an answer, a reason why no answer can come of them, or neither yet."""

    body: bytes = b""
    fault: str = ""
    cause: Cause = "wrong"  # of the fault; after "stream" nothing that follows can be read


@dataclass
class TcpStream:
    """The frames of a TCP or TLS stream, whatever the pieces it comes in.

    The stream is cut at its frames for as long as it lasts, also through answers that nobody waits for any more, so
    that a half answer whose rest comes during the next request does not put it out of step.
    """

    skipped: Counter[str] = field(default_factory=Counter)  # frames that were not for us, by cause
    rest: bytes = b""

    def feed(self, data: bytes, request: Request | None, transaction: int) -> Verdict:
        """Take bytes; `request` is what is waited for, None between requests.

        Frames of other transactions or units are skipped and counted. A frame of ours that does not answer the
        request, or a stream without frames, is a fault.
        """
        self.rest += data
        verdict = Verdict()
        while len(self.rest) >= HEADER.size:
            found, protocol, length, unit = HEADER.unpack_from(self.rest)
            if protocol or not 2 <= length <= 1 + MOST_BODY:
                # after an answer the next request finds the stream at no frame's end, see begin
                fault = f"no Modbus header: protocol {protocol}, length {length}"
                return verdict if verdict.body else Verdict(fault=fault, cause="stream")
            if len(self.rest) < 6 + length:
                break
            body, self.rest = self.rest[7 : 6 + length], self.rest[6 + length :]
            if request is None or verdict.body:
                self.skipped["unasked"] += 1
            elif found != transaction:
                self.skipped["transaction"] += 1
            elif unit != request.unit:
                self.skipped["unit"] += 1
            else:
                fault = request.fault(body)
                if fault:
                    return Verdict(fault=fault)
                verdict = Verdict(body)
        return verdict

    def begin(self) -> bool:
        """Before a request: whether the stream is at the end of a frame. After half an answer it is of no use."""
        return not self.rest

    def frame(self, request: Request, transaction: int) -> bytes:
        """A request as it goes over the line."""
        body = request.body
        return HEADER.pack(transaction, 0, 1 + len(body), request.unit) + body


@dataclass
class RtuLine:
    """The frames of a line without transaction ids (RTU, or RTU over TCP), one answer to a request."""

    skipped: Counter[str] = field(default_factory=Counter)
    strays: list[int] = field(default_factory=list)  # units whose answers came unasked, for the quarantine
    rest: bytes = b""

    def feed(self, data: bytes, request: Request | None, transaction: int = 0) -> Verdict:
        """Take bytes; whole answers of others, and all that come between requests, are skipped and counted."""
        del transaction  # there is none on such a line
        self.rest = (self.rest + data)[-MOST_KEPT:]
        while self.rest and (request is None or self.rest[0] != request.unit):
            size = _whole_size(self.rest)
            if not size:
                break
            self.strays.append(self.rest[0])
            self.skipped["unasked" if request is None else "unit"] += 1
            self.rest = self.rest[size:]
        if request is None:
            return Verdict()
        if self.rest[:6] == request.echo and len(self.rest) >= 8 and not crc16(self.rest[:8]):
            self.skipped["echo"] += 1
            self.rest = self.rest[8:]
        for start in range(min(MOST_NOISE, max(0, len(self.rest) - 5)) + 1):
            frame = self.rest[start:]
            size = _whole_size(frame) if frame[:1] == bytes([request.unit]) else 0
            if not size:
                continue
            body = frame[1 : size - 2]
            fault = request.fault(body)
            if fault and start:  # behind noise only what answers the request counts
                continue
            if start:
                self.skipped["noise"] += 1
            self.rest = b""
            return Verdict(fault=fault) if fault else Verdict(body)
        return Verdict()

    def is_damaged(self, request: Request) -> bool:
        """Whether all that came is one answer of the right length and beginning, whose checksum is wrong.

        Then nothing is to come any more. A damaged echo of the request, of 8 bytes, could be meant to be one.
        """
        size, begin = request.answer_bytes + 3, bytes([request.unit, request.code])
        if len(self.rest) != size or not self.rest.startswith(begin):
            return False
        return request.is_write or (self.rest[2] == size - 5 and size != 8)

    def begin(self) -> bool:
        """Before a request: nothing that came earlier belongs to its answer."""
        self.rest = b""
        return True

    def frame(self, request: Request, transaction: int = 0) -> bytes:
        """A request as it goes over the line."""
        del transaction
        frame = bytes([request.unit]) + request.body
        return frame + crc16(frame).to_bytes(2, "little")


def _whole_size(frame: bytes) -> int:
    """Length of the answer that begins here, 0 where none does or where it is not whole."""
    if len(frame) < 5:
        return 0
    code = frame[1]
    if code & EXCEPTION_BIT:
        size = 5
    elif code in (5, 6, 15, 16):
        size = 8
    elif code in FUNCTIONS:
        size = 5 + frame[2]
    else:
        return 0
    return 0 if len(frame) < size or crc16(frame[:size]) else size


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


CRC_TABLE = _crc_table()


def crc16(frame: bytes) -> int:
    """CRC of an RTU frame (reflected polynomial 0xA001, start 0xFFFF), 0 over a frame with its own CRC behind it."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


@dataclass
class Quarantine:
    """Units that are not asked, because an old answer of theirs may still come and would pass for a new one.

    Only on lines without transaction ids. A unit is free when its late answer has come, or after `hold_s`.

    Args:
        hold_s: longer than the slowest answer of any device on the line [s].
    """

    hold_s: float
    until_s: dict[int, float] = field(default_factory=dict)

    def start(self, unit: int, now_s: float) -> None:
        """A request to the unit was given up."""
        self.until_s[unit] = now_s + self.hold_s

    def release(self, unit: int) -> None:
        """Its late answer has come."""
        self.until_s.pop(unit, None)

    def left_s(self, unit: int, now_s: float) -> float:
        """How long the unit is not to be asked yet [s]; 0 where it is free."""
        left = self.until_s.get(unit, 0.0) - now_s
        if left <= 0:
            self.until_s.pop(unit, None)
        return max(0.0, left)


@dataclass
class Backoff:
    """Waiting times between attempts to connect: doubling from `least_s` to `most_s`, from the start after success."""

    least_s: float = 0.05
    most_s: float = 1.0
    next_s: float = 0.0

    def wait_s(self) -> float:
        """The next waiting time; the first is 0."""
        wait = self.next_s
        self.next_s = min(self.most_s, max(self.least_s, 2 * wait))
        return wait

    def reset(self) -> None:
        """The device has answered: connecting alone proves nothing, some accept and then hang up."""
        self.next_s = 0.0
