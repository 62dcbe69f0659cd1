"""Devices that misbehave by script. The value of each register is its address, so that a wrong answer is seen.

A script is a list of faults, one for each request; after its end the device is well. A fault is a name in TCP_FAULTS
or RTU_FAULTS: a function from the right answer to what is sent instead, as steps (wait [s], bytes or an action).
"""

import asyncio
import os
import socket
import struct
import tty
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import NamedTuple

import pytest
from pymodbus.framer import FramerRTU

DEADLINE_S = 0.1  # of the requests in the tests
LATE_S = 1.1 * DEADLINE_S
LATER_S = 2.5 * DEADLINE_S  # after the next request has been sent
FIN, RST = "fin", "rst"
Steps = list[tuple[float, bytes | str]]


class Asked(NamedTuple):
    """A request as the device sees it."""

    transaction: int
    unit: int
    body: bytes


def answer(body: bytes, count_off: int = 0) -> bytes:
    """The right answer; with `count_off` more registers or bytes of bits."""
    code, address, second = struct.unpack(">BHH", body[:5])
    if code in (3, 4):
        values = [(address + i) & 0xFFFF for i in range(second + count_off)]
        return struct.pack(f">BB{len(values)}H", code, 2 * len(values), *values)
    if code in (1, 2):
        bits = [(address + i) & 1 for i in range(second + 8 * count_off)]  # their count is told by whole bytes only
        packed = bytes(sum(bit << i for i, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))
        return bytes([code, len(packed)]) + packed
    return body[:5]


def odd(body: bytes) -> bytes:
    """An answer with half a register less."""
    right = answer(body)
    return bytes([right[0], right[1] - 1]) + right[2:-1]


def other_address(asked: Asked) -> bytes:
    """What would be the answer to a request 1001 further on: a wrong value that looks right."""
    code, address = struct.unpack(">BH", asked.body[:3])
    return answer(struct.pack(">BH", code, (address + 1001) & 0xFFFF) + asked.body[3:])


def mbap(asked: Asked, body: bytes, **other: int) -> bytes:
    parts = {"transaction": asked.transaction, "protocol": 0, "length": len(body) + 1, "unit": asked.unit} | other
    return struct.pack(">HHHB", parts["transaction"], parts["protocol"], parts["length"], parts["unit"]) + body


def rtu(unit: int, body: bytes) -> bytes:
    """With pymodbus' checksum, not ours."""
    return FramerRTU.encode(None, body, unit, 0)  # type: ignore[arg-type]


def bytewise(frame: bytes) -> Steps:
    return [(0.001, frame[i : i + 1]) for i in range(len(frame))]


def _tcp(change: Callable[[Asked, bytes], Steps]) -> Callable[[Asked], Steps]:
    return lambda asked: change(asked, mbap(asked, answer(asked.body)))


def _tcp_exception(code: int) -> Callable[[Asked], Steps]:
    return lambda asked: [(0, mbap(asked, bytes([asked.body[0] | 0x80, code])))]


TCP_FAULTS: dict[str, Callable[[Asked], Steps]] = {
    "late": _tcp(lambda a, right: [(LATE_S, right)]),
    "later": _tcp(lambda a, right: [(LATER_S, right)]),
    "late_tid0": lambda a: [(LATE_S, mbap(a, answer(a.body), transaction=0))],
    "later_tid0": lambda a: [(LATER_S, mbap(a, answer(a.body), transaction=0))],
    "unasked_tid0": _tcp(lambda a, right: [(0, mbap(a, other_address(a), transaction=0)), (0.01, right)]),
    "tid0": lambda a: [(0, mbap(a, other_address(a), transaction=0))],
    "silent": lambda a: [],
    "half_then_rest": _tcp(lambda a, right: [(0, right[:9]), (0.05, right[9:])]),
    "half_then_late_rest": _tcp(lambda a, right: [(0, right[:9]), (LATE_S, right[9:])]),
    "half_then_later_rest": _tcp(lambda a, right: [(0, right[:9]), (LATER_S, right[9:])]),
    "half_header_then_rest": _tcp(lambda a, right: [(0, right[:3]), (0.05, right[3:])]),
    "bytewise": _tcp(lambda a, right: bytewise(right)),
    "header_only": _tcp(lambda a, right: [(0, right[:7])]),
    "len_too_big": lambda a: [(0, mbap(a, answer(a.body), length=len(answer(a.body)) + 20))],
    "len_too_small": lambda a: [(0, mbap(a, answer(a.body), length=len(answer(a.body)) - 3))],
    "len_zero": lambda a: [(0, mbap(a, answer(a.body), length=0))],
    "len_huge": lambda a: [(0, mbap(a, answer(a.body), length=65535))],
    "protocol": lambda a: [(0, mbap(a, answer(a.body), protocol=1))],
    "garbage": lambda a: [(0, bytes(range(200, 240)))],
    "wrong_uid": lambda a: [(0, mbap(a, other_address(a), unit=a.unit + 1))],
    "wrong_uid_then_right": _tcp(lambda a, right: [(0, mbap(a, other_address(a), unit=a.unit + 1)), (0, right)]),
    "wrong_tid": lambda a: [(0, mbap(a, other_address(a), transaction=a.transaction + 1))],
    "wrong_tid_then_right": _tcp(
        lambda a, right: [(0, mbap(a, other_address(a), transaction=(a.transaction - 1) & 0xFFFF) + right)]
    ),
    "wrong_fc": lambda a: [(0, mbap(a, bytes([a.body[0] ^ 7]) + other_address(a)[1:]))],
    "unknown_fc": lambda a: [(0, mbap(a, b"\x2b" + other_address(a)[1:]))],
    "short_count": lambda a: [(0, mbap(a, answer(a.body, -1)))],
    "long_count": lambda a: [(0, mbap(a, answer(a.body, 1)))],
    "odd_count": lambda a: [(0, mbap(a, odd(a.body)))],
    "byte_count_lies": lambda a: [(0, mbap(a, bytes([a.body[0], 200]) + answer(a.body)[2:]))],
    "empty": lambda a: [(0, mbap(a, a.body[:1]))],
    "exception_of_other_function": lambda a: [(0, mbap(a, bytes([a.body[0] ^ 7 | 0x80, 2])))],
    "exception_without_code": lambda a: [(0, mbap(a, bytes([a.body[0] | 0x80])))],
    "fin": lambda a: [(0.01, FIN)],
    "rst": lambda a: [(0.01, RST)],
    "fin_partial": _tcp(lambda a, right: [(0, right[:10]), (0.01, FIN)]),
    "rst_partial": _tcp(lambda a, right: [(0, right[:10]), (0.01, RST)]),
    "duplicate": _tcp(lambda a, right: [(0, right + right)]),
    "duplicate_later": _tcp(lambda a, right: [(0, right), (0.05, right)]),
    "duplicate_half": _tcp(lambda a, right: [(0, right + right[:9]), (0.004, right[9:])]),
}
TCP_FAULTS.update({f"exc{code}": _tcp_exception(code) for code in range(1, 12)})


def _rtu(change: Callable[[Asked, bytes], Steps]) -> Callable[[Asked], Steps]:
    return lambda asked: change(asked, rtu(asked.unit, answer(asked.body)))


def _rtu_exception(code: int) -> Callable[[Asked], Steps]:
    return lambda asked: [(0, rtu(asked.unit, bytes([asked.body[0] | 0x80, code])))]


def _bad(frame: bytes) -> bytes:
    return frame[:-3] + bytes([frame[-3] ^ 4]) + frame[-2:]


RTU_FAULTS: dict[str, Callable[[Asked], Steps]] = {
    "late": _rtu(lambda a, right: [(LATE_S, right)]),
    "later": _rtu(lambda a, right: [(LATER_S, right)]),
    "silent": lambda a: [],
    "half_then_rest": _rtu(lambda a, right: [(0, right[:4]), (0.05, right[4:])]),
    "half_then_late_rest": _rtu(lambda a, right: [(0, right[:4]), (LATE_S, right[4:])]),
    "half_only": _rtu(lambda a, right: [(0, right[:4])]),
    "bytewise": _rtu(lambda a, right: bytewise(right)),
    "badcrc": _rtu(lambda a, right: [(0, _bad(right))]),
    "badcrc_header": _rtu(lambda a, right: [(0, bytes([right[0] ^ 16]) + right[1:])]),
    "noise_before": _rtu(lambda a, right: [(0, b"\x00\xff" + right)]),
    "noise_like_us_before": _rtu(lambda a, right: [(0, right[:3] + right)]),
    "noise_long_before": _rtu(lambda a, right: [(0, bytes(range(200, 240)) + right)]),
    "noise_after": _rtu(lambda a, right: [(0, right + b"\x00\xff\x01")]),
    "noise_only": lambda a: [(0, bytes(range(200, 240)))],
    "wrong_uid": lambda a: [(0, rtu(a.unit + 1, other_address(a)))],
    "wrong_uid_then_right": _rtu(lambda a, right: [(0, rtu(a.unit + 1, other_address(a))), (0.01, right)]),
    "wrong_fc": lambda a: [(0, rtu(a.unit, bytes([a.body[0] ^ 7]) + other_address(a)[1:]))],
    "short_count": lambda a: [(0, rtu(a.unit, answer(a.body, -1)))],
    "long_count": lambda a: [(0, rtu(a.unit, answer(a.body, 1)))],
    "odd_count": lambda a: [(0, rtu(a.unit, odd(a.body)))],
    "byte_count_lies": lambda a: [(0, rtu(a.unit, bytes([a.body[0], 200]) + answer(a.body)[2:]))],
    "exception_of_other_function": lambda a: [(0, rtu(a.unit, bytes([a.body[0] ^ 7 | 0x80, 2])))],
    "duplicate": _rtu(lambda a, right: [(0, right + right)]),
    "echo_of_request": _rtu(lambda a, right: [(0, rtu(a.unit, a.body)), (0.01, right)]),
}
RTU_FAULTS.update({f"exc{code}": _rtu_exception(code) for code in range(1, 12)})
both_lines = pytest.mark.parametrize(("transport", "faults"), [("tcp", TCP_FAULTS), ("rtutcp", RTU_FAULTS)])


class Device:
    """One scripted device; `asked` keeps what it was asked, `times_s` when.

    Args:
        faults: TCP_FAULTS or RTU_FAULTS.
        script: names of faults or "", one for each request.
        units: it answers for these; None: for any.
    """

    def __init__(
        self,
        faults: dict[str, Callable[[Asked], Steps]],
        script: Iterable[str] = (),
        units: set[int] | None = None,
    ) -> None:
        self.is_rtu = faults is RTU_FAULTS
        self.faults, self.script, self.units = faults, deque(script), units
        self.asked: list[Asked] = []
        self.times_s: list[float] = []
        self.connections = 0
        self.most_connections = 1_000_000  # further ones are thrown out
        self.one_at_a_time = False  # further connections wait unanswered until the one before has gone
        self.lacks: set[int] = set()  # addresses that it refuses
        self.wedged_by = 0  # function code after which it is silent until somebody connects anew
        self.echoes = False  # as RS-485 adapters do that hear what they send
        self.least_gap_s = 0.0  # requests that come earlier after the last answer are dropped
        self.connect_delay_s = 0.0  # requests that come earlier after connecting are dropped
        self.latency_s = 0.03  # so that what comes late finds the next request under way
        self.port = 0
        self._rest = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected_s = self._answered_s = -1e9
        self._is_wedged = False
        self._turn = asyncio.Lock()

    def feed(self, data: bytes, send: Callable[[bytes | str], None]) -> None:
        """Bytes from the line; answers go out by `send`, at their time."""
        if self.echoes:
            send(data)
        self._rest += data
        while (asked := self._take()) is not None:
            now_s = asyncio.get_running_loop().time()
            self.asked.append(asked)
            self.times_s.append(now_s)
            if self.units is not None and asked.unit not in self.units:
                continue
            self._is_wedged |= asked.body[0] == self.wedged_by
            if self._is_wedged:
                continue
            if now_s < self._answered_s + self.least_gap_s or now_s < self._connected_s + self.connect_delay_s:
                continue
            self._answered_s = now_s
            fault = self.script.popleft() if self.script else ""
            body = answer(asked.body)
            address, count = struct.unpack(">HH", asked.body[1:5])
            if self.lacks.intersection(range(address, address + count)):
                body = bytes([asked.body[0] | 0x80, 2])
            right = rtu(asked.unit, body) if self.is_rtu else mbap(asked, body)
            steps: Steps = self.faults[fault](asked) if fault else [(self.latency_s, right)]
            task = asyncio.get_running_loop().create_task(self._play(steps, send))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _play(self, steps: Steps, send: Callable[[bytes | str], None]) -> None:
        for wait_s, step in steps:
            if wait_s:
                await asyncio.sleep(wait_s)
            send(step)

    def _take(self) -> Asked | None:
        rest = self._rest
        if self.is_rtu:
            size = 8 if len(rest) < 7 or rest[1] not in (15, 16) else 9 + rest[6]
            if len(rest) < size:
                return None
            self._rest = rest[size:]
            assert FramerRTU.compute_CRC(rest[: size - 2]) == int.from_bytes(rest[size - 2 : size]), rest.hex()
            return Asked(0, rest[0], rest[1 : size - 2])
        if len(rest) < 7 or len(rest) < 6 + (size := int.from_bytes(rest[4:6])):
            return None
        self._rest = rest[6 + size :]
        return Asked(int.from_bytes(rest[:2]), rest[6], rest[7 : 6 + size])

    @asynccontextmanager
    async def on_tcp(self, port: int = 0, tls=None):
        """Serve on loopback; `port` is known inside."""
        writers: set[asyncio.StreamWriter] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(writers) >= self.most_connections:
                writer.transport.abort()
                return
            writers.add(writer)
            self.connections += 1
            self._rest, self._is_wedged = b"", False
            self._connected_s = asyncio.get_running_loop().time()

            def send(step: bytes | str) -> None:
                if step == RST:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                elif step == FIN:
                    writer.close()
                elif isinstance(step, bytes) and not writer.is_closing():
                    writer.write(step)

            try:
                async with self._turn if self.one_at_a_time else nullcontext():
                    while data := await reader.read(4096):
                        self.feed(data, send)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writers.discard(writer)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in list(writers):
                writer.transport.abort()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def on_pty(self):
        """Serve at one end of a pseudo-terminal pair; `path` is the other, `unplug` ends it."""
        ours, theirs = os.openpty()
        tty.setraw(ours)
        tty.setraw(theirs)
        self.path = os.ttyname(theirs)
        loop = asyncio.get_running_loop()
        os.set_blocking(ours, False)

        def unplug() -> None:
            nonlocal ours
            if ours >= 0:
                loop.remove_reader(ours)
                os.close(ours)
                ours = -1

        def send(step: bytes | str) -> None:
            if isinstance(step, bytes) and ours >= 0:
                os.write(ours, step)

        def receive() -> None:
            with suppress(BlockingIOError):
                self.feed(os.read(ours, 4096), send)

        self.unplug = unplug
        loop.add_reader(ours, receive)
        try:
            yield self
        finally:
            for task in list(self._tasks):
                task.cancel()
            unplug()
            os.close(theirs)
