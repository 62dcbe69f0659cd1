"""Requests to one serial agent and their answers, each by its deadline; nothing else is ever taken for an answer.

Over a network requests follow one another without waiting; on a serial line, which may be half-duplex, one waits for
the answer to the one before.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from gridloop.hil import links
from gridloop.hil.frames import HELLO, NEIGHBOUR, Decoder, Frame, codec
from gridloop.hil.messages import ROLES, VERSION, Requests
from gridloop.hil.serial_line import SerialLine
from gridloop.hil.stamps import Exchange
from gridloop.hil.urls import DeviceUrl

log = logging.getLogger(__name__)

STAMPS_KEPT = 10_000


class Ask(NamedTuple):
    """A request."""

    kind: int
    t_ms: int = 0
    values: tuple[float, ...] = ()


class Identity(NamedTuple):
    """Who answers a hello."""

    version: int
    role: str
    period_ms: float


@dataclass
class Statistics(links.Statistics):
    """Also what the exchanges of stamps showed, and how often the agent's clock was set anew."""

    jumps: int = 0

    stamps: deque[Exchange] = field(default_factory=lambda: deque(maxlen=STAMPS_KEPT))

    def more(self) -> dict[str, Any]:
        """Offset of the agent's clock to ours, its largest error, one-way delays, and frames that were none."""
        shown = list(self.stamps)
        if not shown:
            return {"skipped": dict(self.skipped)}
        return {
            "skipped": dict(self.skipped), "clock_offset_ms": shown[-1].offset_us / 1e3,
            "clock_error_ms": shown[-1].error_us / 1e3, "clock_jumps": self.jumps,
            "to_device_ms": median(one.to_device_us / 1e3 for one in shown),
            "to_host_ms": median(one.to_host_us / 1e3 for one in shown),
        }  # fmt: skip


class AgentLink:
    """One agent; made and used in a running loop, by one caller at a time.

    Args:
        url: of kind serial or serial+socket.
        clock: monotonic time [s].

    Raises:
        ValueError: the url is of no serial agent.
    """

    def __init__(self, url: DeviceUrl, clock: Callable[[], float] = time.monotonic) -> None:
        if url.scheme != "serial":
            raise ValueError(f"device url: {url.kind} is no serial agent; there are serial and serial+socket")
        name = url.options.get("codec", "cobs")
        self.url, self._clock, self._codec = url, clock, codec(name)
        self._decoder, self._requests = Decoder(name), Requests()
        self._statistics = Statistics()
        self._line = SerialLine(url, self._heard, self._lost)
        self._waiting: dict[int, asyncio.Future[Frame]] = {}  # by the request's number
        self._silent = 0  # requests in a row
        self._lost_s: float | None = None  # since when, until an answer comes

    @property
    def statistics(self) -> Statistics:
        """What became of the requests; skipped are frames that were none, and answers to nothing."""
        counted = self._statistics
        counted.connected = self._line.connected
        counted.skipped = Counter(stray=self._requests.strange) + self._decoder.counts
        counted.skipped.pop("frames", None)
        counted.jumps = self._requests.clock.jumps
        return counted

    async def open(self) -> None:
        """Connect; returns after the first attempt. Further ones go on until close."""
        await self._line.open()
        if not self._line.is_up:
            self._note_loss(self._line.reason)

    async def close(self) -> None:
        """Hang up."""
        await self._line.close()

    async def ask(self, asked: Sequence[Ask], deadline_s: float) -> list[Frame]:
        """The answers to these requests, in their order; a `neighbour` has none.

        Raises:
            LinkError: one of its kinds.
        """
        end_s = self._clock() + deadline_s
        if self.url.transport == "socket":
            return await self._answers(asked, end_s)
        answers = []
        for one in asked:
            answers += await self._answers([one], end_s)
        return answers

    async def hello(self, deadline_s: float) -> Identity:
        """Who is there; the agent begins anew.

        Raises:
            LinkError: one of its kinds.
        """
        (answer,) = await self.ask([Ask(HELLO)], deadline_s)
        version, role, period_ms = (*answer.values, 0.0, 0.0, 0.0)[:3]
        if version != VERSION or role not in ROLES:
            words = f"{self.url.bus}: no agent of ours: version {version:g} and role {role:g}"
            raise links.WrongAnswer(words, "wrong")
        return Identity(int(version), ROLES[int(role)], period_ms)

    async def sync(self, deadline_s: float) -> Exchange | None:
        """Exchange stamps: clock offset and one-way delays; None where the agent's make no sense.

        Raises:
            LinkError: one of its kinds.
        """
        shown = len(self._statistics.stamps)
        await self._settle([self._requests.sync(self._now_us())], self._clock() + deadline_s)
        stamps = self._statistics.stamps
        return stamps[-1] if len(stamps) > shown or shown == STAMPS_KEPT else None

    async def _answers(self, asked: Sequence[Ask], end_s: float) -> list[Frame]:
        frames = [self._requests.request(one.kind, self._now_us(), one.t_ms, one.values) for one in asked]
        return await self._settle(frames, end_s)

    async def _settle(self, frames: Sequence[Frame], end_s: float) -> list[Frame]:
        """Send requests and wait until each is answered, lost or late."""
        loop = asyncio.get_running_loop()
        due = {frame.seq: loop.create_future() for frame in frames if frame.type != NEIGHBOUR}
        self._statistics.requests += len(due)
        self._waiting = due
        cause = "cancelled"
        try:
            # a delimiter first ends whatever of a frame the agent has of before
            data = self._codec.delimiter + b"".join(map(self._codec.encode, frames))
            self._trace(True, data)
            self._line.send(data)
            if due:
                await asyncio.wait(due.values(), timeout=max(end_s - self._clock(), 0.0))
            cause = "timeout"
        except links.LinkError as error:
            cause = error.cause
            raise
        finally:
            self._waiting = {}
            late = [future for future in due.values() if not future.done()]
            if late:
                self._statistics.lost[cause] += len(late)
            self._requests.give_up(self._now_us() + 1)
            wrong = [found for future in due.values() if future.done() and (found := future.exception())]
        if wrong:
            raise wrong[0]
        if late:
            raise self._late(len(late))
        return [future.result() for future in due.values()]

    def _late(self, count: int) -> links.Timeout:
        self._silent += count
        if self._silent >= links.SILENT_MOST:
            reason = f"{self._silent} requests in a row without an answer"
            self._note_loss(reason)
            if self.url.transport == "socket":
                self._line.lose(reason)
        return links.Timeout(f"{self.url.bus}: no answer in time")

    def _heard(self, data: bytes) -> None:
        now_us = self._now_us()
        self._trace(False, data)
        for frame in self._decoder.feed(data):
            answer = self._requests.answered(frame, now_us)
            if answer is None:
                continue
            self._found()
            counted, future = self._statistics, self._waiting.get(frame.seq)
            counted.rtt_s.append(answer.round_trip_us * 1e-6)
            if answer.code is not None:
                counted.exceptions[answer.code] += 1
                words = f"{self.url.bus}: the agent refuses: {answer.refusal}"
                if future is not None:
                    future.set_exception(links.Refused(words, answer.code))
                continue
            counted.answers += 1
            exchange = self._requests.exchanged(answer, now_us)
            if exchange is not None:
                counted.stamps.append(exchange)
            if future is not None:
                future.set_result(frame)

    def _trace(self, sent: bool, data: bytes) -> None:
        if self._statistics.on_frame is not None:
            self._statistics.on_frame(sent, data)

    def _found(self) -> None:
        self._silent = 0
        self._line.proven()
        if self._lost_s is not None:
            log.warning("%s is back after %.1f s", self.url.bus, self._clock() - self._lost_s)
            self._lost_s = None

    def _lost(self, reason: str) -> None:
        """The line is: what waits for it has no hope."""
        self._note_loss(reason)
        for future in self._waiting.values():
            if not future.done():
                self._statistics.lost[links.LinkDown.cause] += 1
                future.set_exception(links.LinkDown(f"{self.url.bus} was lost: {reason}"))

    def _note_loss(self, reason: str) -> None:
        if self._lost_s is None:
            self._lost_s = self._clock()
            log.warning("%s is lost: %s", self.url.bus, reason)

    def _now_us(self) -> int:
        return round(self._clock() * 1e6)
