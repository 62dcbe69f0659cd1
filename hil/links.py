"""Links to devices: one a bus, shared by the devices on it; requests with deadlines, checked answers, reconnection.

A link is made and used inside one event loop. It asks one question at a time, never repeats one, and gives an answer
only where it belongs to the question. A request ends by its deadline, or within milliseconds after the link is lost.
A write that timed out may have been done all the same, or may be done later: the caller writes again and reads back.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from gridloop.hil.guard import EXCEPTIONS, Backoff, Cause, Quarantine, Request, Verdict, read_request, write_request
from gridloop.hil.modbus_client import Connection, tls_context
from gridloop.hil.urls import DeviceUrl

log = logging.getLogger(__name__)

CONNECT_S = 3.0  # for one attempt
CANCEL_AGAIN_S = 0.1
HUNG_UP, OURS = "the other end hung up", "it may want our certificate: add cert=FILE&key=FILE"
QUARANTINE_S = 1.0  # longer than inverters take to answer, 50 to 1000 ms
NEARLY_ALL = 0.9  # of its deadline: a request with more than that left is never too late to be sent
SILENT_MOST = 5  # requests in a row without an answer, after which a network link is opened anew
RTT_KEPT = 10_000
CHARACTER_BITS = 11
TRANSPORTS = ("tcp", "tls", "rtu", "rtutcp")


class LinkError(OSError):
    """A request without an answer; `cause` is the key in the statistics."""

    cause: str = "lost"


class Timeout(LinkError):
    """No answer by the deadline; of a write, it is not known whether it was done."""

    cause = "timeout"


class Busy(Timeout):
    """Not sent: the line, its gap or a quarantine leaves no time before the deadline."""

    cause = "busy"


class LinkDown(LinkError):
    """Not connected, or lost while waiting."""

    cause = "down"


class WrongAnswer(LinkError):
    """The device answered something else, or its answer was damaged on the line."""

    def __init__(self, words: str, cause: Cause) -> None:
        super().__init__(words)
        self.cause = cause


class Refused(LinkError):
    """The device answered with an exception.

    Args:
        code: Modbus exception code.
    """

    cause = "exception"

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


@dataclass
class Statistics:
    """What became of the requests: requests = answers + the sum of lost + the sum of exceptions + those under way."""

    requests: int = 0
    answers: int = 0
    lost: Counter[str] = field(default_factory=Counter)  # by cause: timeout, busy, down, wrong, crc, stream, cancelled
    exceptions: Counter[int] = field(default_factory=Counter)  # by code
    skipped: Counter[str] = field(default_factory=Counter)  # frames of others, by what did not fit
    rtt_s: deque[float] = field(default_factory=lambda: deque(maxlen=RTT_KEPT))  # of answers, the newest
    connected: int = 0  # times
    on_frame: Callable[[bool, bytes], None] | None = None  # takes (whether it is sent, bytes), for diagnosis

    def more(self) -> dict[str, Any]:
        """What a line of another kind counts besides."""
        return {}


class Link:
    """One bus or host:port; see open_link. Times are those of the event loop."""

    def __init__(self, url: DeviceUrl, min_gap_s: float, connect_delay_s: float) -> None:
        if url.transport not in TRANSPORTS or url.scheme not in ("modbus", "sunspec"):
            raise ValueError(
                f"device url: {url.kind} is not a Modbus link; there are modbus+{', modbus+'.join(TRANSPORTS)}"
            )
        if url.transport == "tls":
            tls_context(url)  # what is wrong with its files is wrong now, not at some attempt to connect
        self.url = url
        self.min_gap_s = min_gap_s
        self.connect_delay_s = connect_delay_s
        self.users = 0
        self.statistics = Statistics()
        self.reason = "not opened"  # why it is down
        self._has_ids = url.transport in ("tcp", "tls")
        self._single: Literal[6, 16] = 6 if url.options.get("write_code") == "6" else 16
        # a frame ends with 3.5 characters of silence; a gateway keeps it by itself
        self._silence_s = 3.5 * CHARACTER_BITS / url.number("baud", 9600) if url.transport == "rtu" else 0.0
        self._quarantine = Quarantine(url.number("quarantine_ms", 1e3 * QUARANTINE_S) / 1e3)
        self._backoff = Backoff()
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._down = asyncio.Event()
        self._tried = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._turn: _Turn | None = None
        self._free_s = -1e9  # when the last request ended
        self._heard_s = -1e9  # when the last bytes came
        self._silent = 0  # requests in a row
        self._took_s: dict[int, float] = {}  # by unit: its last answer
        self._lost_s: float | None = None  # since when, until an answer comes

    @property
    def is_up(self) -> bool:
        """Connected, and the delay after it over; says nothing about the device behind it."""
        return self._connection is not None and not self._down.is_set()

    async def open(self) -> None:
        """Connect; returns after the first attempt, whatever came of it. Further ones go on until close."""
        if self._keeper is None:
            self._keeper = self._loop.create_task(self._keep(), name=f"link {self.url.bus}")
        await self._tried.wait()

    async def close(self) -> None:
        """One user less; the last one closes the line."""
        self.users -= 1
        if self.users > 0:
            return
        _LINKS.get(self._loop, {}).pop(self.url.bus, None)
        keeper, self._keeper = self._keeper, None
        while keeper is not None and not keeper.done():
            keeper.cancel()  # on Python 3.11 a connection that is made at the same moment swallows it
            await asyncio.wait([keeper], timeout=CANCEL_AGAIN_S)
        self._tried.set()

    async def read(self, unit: int, function: str, address: int, count: int, deadline_s: float) -> list[int]:
        """Registers as 0 to 65535, or bits as 0 and 1.

        Args:
            unit: Modbus unit.
            function: holding, input, coil or discrete.
            address: of the first, zero-based.
            count: 1 to 125 registers, 1 to 2000 bits.
            deadline_s: for all of it, waiting for the line included.

        Raises:
            ValueError: the request is not one.
            LinkError: one of its kinds.
        """
        return await self._ask(read_request(unit, function, address, count), deadline_s)

    async def write(self, unit: int, function: str, address: int, values: Sequence[int], deadline_s: float) -> None:
        """Write up to 123 holding registers or 1968 coils; arguments and errors as of read."""
        request = write_request(unit, function, address, values, self._single)
        if unit == 0 and not self._has_ids:
            raise ValueError(f"{request}: unit 0 is everybody on this line, and nobody answers; give the unit")
        await self._ask(request, deadline_s)

    async def _ask(self, request: Request, deadline_s: float) -> list[int]:
        turn = _Turn(request, deadline_s, self._loop.time() + deadline_s)
        statistics = self.statistics
        statistics.requests += 1
        try:
            try:
                async with asyncio.timeout_at(turn.end_s) as turn.scope, self._lock:
                    values, code = await self._exchange(turn)
            except TimeoutError as late:
                raise self._why(turn) from late
        except LinkError as wrong:
            statistics.lost[wrong.cause] += 1
            raise
        except asyncio.CancelledError:
            statistics.lost["cancelled"] += 1
            raise
        if code:
            statistics.exceptions[code] += 1
            raise Refused(f"{request}: refused: {EXCEPTIONS.get(code, 'exception')} ({code})", code)
        statistics.answers += 1
        return values

    async def _exchange(self, turn: "_Turn") -> tuple[list[int], int]:
        """One request with its answer; the line is ours."""
        await self._wait_for_line(turn)
        connection, request = self._connection, turn.request
        if connection is None or self._down.is_set():
            raise LinkDown(f"{request}: {self.url.bus} is not connected: {self.reason}")
        self._turn = turn
        turn.sent_s = self._loop.time()
        is_answered = False
        try:
            values, code = await connection.ask(request)
            is_answered = True
        except ConnectionError as wrong:
            self._lose(str(wrong))
            raise LinkDown(f"{request}: {self.url.bus}: {wrong}") from wrong
        finally:
            self._turn = None
            self._free_s = self._loop.time()
            if not (is_answered or self._has_ids):
                if self._free_s >= turn.end_s and connection.is_damaged(request):
                    turn.verdict = Verdict(fault="a wrong checksum", cause="crc")
                else:
                    self._quarantine.start(request.unit, self._free_s)
        took_s = self._took_s[request.unit] = self._free_s - turn.sent_s
        self.statistics.rtt_s.append(took_s)
        self._silent = 0
        self._backoff.reset()
        if self._lost_s is not None:
            log.warning("%s is back after %.1f s", self.url.bus, self._free_s - self._lost_s)
            self._lost_s = None
        return values, code

    async def _wait_for_line(self, turn: "_Turn") -> None:
        """The gaps between requests and the silence before one; raises where the deadline does not leave the time."""
        quiet_s = self._quarantine.left_s(turn.request.unit, self._loop.time())
        if quiet_s:
            raise Busy(f"{turn.request}: left alone for {1e3 * quiet_s:.0f} ms, an earlier answer may still come")
        while True:
            now_s = self._loop.time()
            wait_s = max(self._free_s + self.min_gap_s, self._heard_s + self._silence_s) - now_s
            if wait_s <= 0:
                break
            if now_s + wait_s >= turn.end_s:
                raise Busy(f"{turn.request}: the gap between requests leaves no time before the deadline")
            await asyncio.sleep(wait_s)
        # Sent with less time left than an answer takes, it would be one lost answer more, and for nothing
        unit, left_s = turn.request.unit, turn.end_s - now_s
        if left_s < min(NEARLY_ALL * turn.deadline_s, self._took_s.get(unit, 0.0)):
            self._took_s[unit] /= 2  # it may have been slow but once
            raise Busy(f"{turn.request}: {1e3 * left_s:.1f} ms were left of {1e3 * turn.deadline_s:g} ms: too few")

    def _why(self, turn: "_Turn") -> LinkError:
        """What ended the wait: an answer that was none, the line, or the deadline."""
        request, within = turn.request, f"within {1e3 * turn.deadline_s:g} ms"
        if turn.verdict.fault:
            return WrongAnswer(f"{request}: the device answered with {turn.verdict.fault}", turn.verdict.cause)
        if turn.lost:
            return LinkDown(f"{request}: {self.url.bus} was lost: {turn.lost}")
        if turn.sent_s is None:
            return Busy(f"{request}: the line was not free {within}")
        self._silent += 1
        if self._silent >= SILENT_MOST and self.url.transport != "rtu":
            self._lose(f"{self._silent} requests in a row without an answer")
        return Timeout(f"{request}: no answer {within}")

    @property
    def _hung_up(self) -> str:
        """Why the other end may have done so: over TLS it says only after the handshake that ours was not enough."""
        if self.url.transport != "tls" or self._heard_s >= 0:
            return HUNG_UP
        missing = "cert" not in self.url.options
        return f"{HUNG_UP}: {OURS if missing else 'it may not accept our certificate'}"

    def _lose(self, reason: str) -> None:
        """The connection is of no use any more; the keeper makes another."""
        if not self._down.is_set():
            self.reason = reason
            self._down.set()
            if self._turn is not None:
                self._turn.lost = reason
                self._turn.end(self._loop.time())

    def _fail(self, verdict: Verdict) -> None:
        if self._turn is not None:
            self._turn.verdict = verdict
            self._turn.end(self._loop.time())
        if verdict.cause == "stream":
            self._lose(verdict.fault)

    def _trace(self, sent: bool, frame: bytes) -> None:
        if self.statistics.on_frame is not None:
            self.statistics.on_frame(sent, frame)

    def _hear(self) -> None:
        self._heard_s = self._loop.time()
        self._silent = 0  # late or not for us, but the line lives
        if self._connection is not None:
            for unit in self._connection.strays():
                self._quarantine.release(unit)

    async def _keep(self) -> None:
        """Connect, wait for the loss, connect again."""
        while True:
            await asyncio.sleep(self._backoff.wait_s())
            self._down = down = asyncio.Event()
            connection = Connection(self.url, lambda: self._lose(self._hung_up), self._hear, self._fail)
            connection.guard.skipped = self.statistics.skipped
            connection.trace(self._trace)
            try:
                if await connection.connect(CONNECT_S):
                    self.reason = f"connected, and left alone for {self.connect_delay_s:g} s"
                    await asyncio.sleep(self.connect_delay_s)
                    self._connection = connection
                    self.statistics.connected += 1
                    self._silent = 0
                    self._tried.set()
                    await down.wait()
                else:
                    self.reason = connection.reason
                    self._tried.set()
                if self._lost_s is None:
                    self._lost_s = self._loop.time()
                    log.warning("%s is lost: %s", self.url.bus, self.reason)
            except asyncio.CancelledError:
                self._lose("closed")
                raise
            finally:
                self._connection = None
                connection.close()


@dataclass
class _Turn:
    """A request from the call to its end."""

    request: Request
    deadline_s: float
    end_s: float
    scope: asyncio.Timeout | None = None
    sent_s: float | None = None
    verdict: Verdict = Verdict()  # noqa: RUF009  immutable
    lost: str = ""  # why the link was

    def end(self, now_s: float) -> None:
        """Wake the one who waits, before the deadline."""
        if self.scope is not None and not self.scope.expired():
            self.scope.reschedule(now_s)


_LINKS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Link]] = WeakKeyDictionary()


def open_link(url: DeviceUrl, *, min_gap_s: float = 0.0, connect_delay_s: float = 0.0) -> Link:
    """The link of the url's bus in the running loop: the one that is there, or a new one. Each user closes it once.

    Args:
        url: of a device on the bus.
        min_gap_s: from the end of one request to the next; the longest of the users' holds.
        connect_delay_s: from connecting to the first request; the longest holds.

    Raises:
        ValueError: not a Modbus URL, or other settings of the line than those of the user before.
    """
    links = _LINKS.setdefault(asyncio.get_running_loop(), {})
    link = links.get(url.bus)
    if link is None:
        link = links[url.bus] = Link(url, min_gap_s, connect_delay_s)
    shared = {"unit", "map", "base"}
    here, there = ({k: v for k, v in one.options.items() if k not in shared} for one in (url, link.url))
    if here != there:
        raise ValueError(
            f"device url: {url.bus} is open with {there or 'no options'} and cannot have {here or 'none'} too"
        )
    link.min_gap_s = max(link.min_gap_s, min_gap_s)
    link.connect_delay_s = max(link.connect_delay_s, connect_delay_s)
    link.users += 1
    return link
