"""One directed communication link: delay, jitter, loss, bandwidth and queue, reordering, retransmission.

A message sent at t starts when the line is free, takes its bytes / bandwidth and then the delay with its jitter.
Times are whole microseconds, so that results are exact. All chance comes from the generator that is passed in;
every attempt to send takes three numbers of it whatever the link is like, so that runs with other parameters
meet the same luck.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

KINDS = ("none", "uniform", "normal", "lognormal", "trace")
WIDEST_NORMAL = 3.0  # truncation of the normal jitter, in standard deviations
DRAWS = 256  # numbers are drawn in blocks: one at a time costs more than the rest of a message


class LinkError(ValueError):
    """Parameters out of their range, all of them."""


def _check(*rules: tuple[bool, str]) -> None:
    wrong = [words for holds, words in rules if not holds]
    if wrong:
        raise LinkError("; ".join(wrong))


@dataclass(frozen=True)
class Jitter:
    """How the delay scatters around its mean.

    Args:
        kind: 'uniform' within +- the spread; 'normal' with the spread as standard deviation, truncated at three of
            them and at the delay, both sides alike so that the mean stays; 'lognormal' delays with the link's delay
            as mean and the spread as standard deviation; 'trace': measured values, which are added to the delay in
            their order, cyclically from a random one.
        percent: the spread, percent of the delay.
        ms: or the spread itself [ms].
        trace: of kind 'trace', [ms].
    """

    kind: Literal["none", "uniform", "normal", "lognormal", "trace"] = "none"
    percent: float | None = None
    ms: float | None = None
    trace: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "trace", tuple(float(value) for value in self.trace))
        scatters = self.kind in ("uniform", "normal", "lognormal")
        given = [value for value in (self.percent, self.ms) if value is not None]
        _check(
            (self.kind in KINDS, f"jitter kind {self.kind!r}: there are {', '.join(KINDS)}"),
            (not scatters or len(given) == 1, f"jitter {self.kind} needs either percent or ms"),
            (scatters or not given, f"jitter {self.kind} takes neither percent nor ms"),
            (all(0 <= value < math.inf for value in given), "jitter percent, ms must be >= 0"),
            ((self.kind == "trace") == bool(self.trace), "jitter trace and its values belong together"),
            (all(0 <= value < math.inf for value in self.trace), "jitter trace: every value must be >= 0"),
        )

    def spread_us(self, delay_us: float) -> float:
        """The spread of a link with this delay."""
        return delay_us * self.percent / 100 if self.percent is not None else 1e3 * (self.ms or 0.0)

    def delay_us(self, delay_us: float, chance: float) -> float:
        """The delay of one message whose luck is `chance`, in [0, 1), by the inverse of the distribution."""
        spread = self.spread_us(delay_us)
        if spread == 0.0 or delay_us == 0.0:
            return delay_us
        if self.kind == "uniform":
            return delay_us + spread * (2 * chance - 1)
        if self.kind == "normal":
            tail = float(ndtr(-min(WIDEST_NORMAL, delay_us / spread)))
            return delay_us + spread * float(ndtri(tail + (1 - 2 * tail) * chance))
        variance = math.log1p((spread / delay_us) ** 2)  # of the logarithm
        # a chance of 0 is a delay of 0
        normal = float(ndtri(chance))
        return delay_us * math.exp(math.sqrt(variance) * normal - variance / 2)


@dataclass(frozen=True)
class Burst:
    """Gilbert-Elliott loss: a good and a bad state, with chances to change at every message.

    In the good state `loss_percent` of the link holds. The link starts in either state by its long-run share.
    Source: Gilbert, Bell System Technical Journal 39 (1960); Elliott, ibid. 42 (1963).
    """

    good_to_bad_percent: float
    bad_to_good_percent: float
    loss_bad_percent: float = 100.0

    def __post_init__(self) -> None:
        _check(
            *(
                (0 <= value <= 100, f"burst {name} = {value:g} must be within 0 and 100")
                for name, value in vars(self).items()
            ),
            (self.good_to_bad_percent + self.bad_to_good_percent > 0, "burst: the link must be able to change"),
        )

    @property
    def share_bad(self) -> float:
        """Long-run share of messages that meet the bad state."""
        return self.good_to_bad_percent / (self.good_to_bad_percent + self.bad_to_good_percent)


@dataclass(frozen=True)
class LinkParams:
    """What a link is like.

    Args:
        delay_ms: mean time between the end of sending and the arrival.
        jitter: how it scatters.
        loss_percent: messages that are lost, each by itself.
        burst: losses that come together.
        bandwidth_bit_per_s: of the line; a message waits until those before it are out.
        queue_bytes: a message is dropped when more than this is waiting before it.
        rto_ms: lost messages are sent again after this time, until one arrives; absent: they are lost. A message
            that is sent again takes its time but no place on the line.
        fifo: messages arrive in the order of sending; otherwise one may overtake another.
    """

    delay_ms: float = 0.0
    jitter: Jitter = Jitter()
    loss_percent: float = 0.0
    burst: Burst | None = None
    bandwidth_bit_per_s: float = math.inf
    queue_bytes: float = math.inf
    rto_ms: float | None = None
    fifo: bool = False

    def __post_init__(self) -> None:
        spread_ms = self.jitter.spread_us(1e3 * self.delay_ms) / 1e3
        endless = self.loss_percent == 100 and (self.burst is None or self.burst.loss_bad_percent == 100)
        stuck = self.burst is not None and self.burst.bad_to_good_percent == 0 and self.burst.loss_bad_percent == 100
        _check(
            (0 <= self.delay_ms < math.inf, f"delay_ms = {self.delay_ms:g} must be >= 0"),
            (
                self.jitter.kind != "uniform" or spread_ms <= self.delay_ms,
                f"jitter of +- {spread_ms:g} ms must be within delay_ms = {self.delay_ms:g}",
            ),
            (
                self.jitter.ms is None or self.jitter.ms == 0 or self.delay_ms > 0,
                "jitter in ms scatters around delay_ms, which must be > 0",
            ),
            (0 <= self.loss_percent <= 100, f"loss_percent = {self.loss_percent:g} must be within 0 and 100"),
            (self.bandwidth_bit_per_s > 0, f"bandwidth_bit_per_s = {self.bandwidth_bit_per_s:g} must be > 0"),
            (self.queue_bytes >= 0, f"queue_bytes = {self.queue_bytes:g} must be >= 0"),
            (self.rto_ms is None or self.rto_ms >= 1e-3, f"rto_ms = {self.rto_ms} must be >= 0.001"),
            (self.rto_ms is None or not (endless or stuck), "rto_ms: a link that loses everything would send for ever"),
        )

    @property
    def is_ideal(self) -> bool:
        """Whether every message arrives at once."""
        safe = self.loss_percent == 0 and self.burst is None and self.bandwidth_bit_per_s == math.inf
        return safe and self.delay_ms == 0 and self.jitter.kind != "trace"


class Message(NamedTuple):
    """A message on its way, in the order of arrival."""

    arrival_us: int
    number: int  # of the link, so that messages that arrive together keep their order
    stamp_us: int
    payload: Any


class Channel:
    """A link at work: what is on its way, what has arrived, and the count of both.

    Args:
        params: what the link is like from the beginning.
        random: generator of this link alone.
        changes: (time [us], LinkParams) from then on, in order of time.
        outages: (from, until [us] or None for ever) when the link is down: what is sent then is lost, or sent
            again with `rto_ms`; what is on its way arrives.
    """

    def __init__(
        self, params: LinkParams, random: np.random.Generator,
        changes: Sequence[tuple[int, LinkParams]] = (), outages: Sequence[tuple[int, int | None]] = (),
    ) -> None:  # fmt: skip
        self.params = params
        self._random, self._changes, self._outages = random, list(changes), sorted(outages, key=lambda one: one[0])
        self._draws: list[list[float]] = []
        first = self._draw()
        self._bad = params.burst is not None and first[0] < params.burst.share_bad
        self._played = first[2]  # where a trace begins, as a share of it
        self._on_trace = 0
        self._busy_us = 0  # the line is free from here on
        self._last_stamp_us: int | None = None
        self._last_arrival_us = 0
        self._flying: list[Message] = []
        self.newest: Message | None = None
        self.sent = self.delivered = self.lost = self.bytes_sent = 0

    @property
    def next_arrival_us(self) -> int | None:
        """When the next message arrives; None: nothing is on its way."""
        return self._flying[0].arrival_us if self._flying else None

    def is_up(self, t_us: int) -> bool:
        """Whether the link is not down."""
        return not self._outages or self._end_of_outage(t_us) == t_us

    def send(self, t_us: int, payload: Any, size_bytes: float) -> int | None:
        """Send a message stamped `t_us`.

        Returns:
            Its time of arrival [us], not before `t_us`; None: it is lost.

        Raises:
            ValueError: messages must be sent in the order of time.
        """
        if self._last_stamp_us is not None and t_us < self._last_stamp_us:
            raise ValueError(f"a message of {t_us} us is sent after one of {self._last_stamp_us} us")
        self._last_stamp_us = t_us
        while self._changes and self._changes[0][0] <= t_us:
            self.params = self._changes.pop(0)[1]
        self.sent += 1
        out = self._transmit(t_us, size_bytes)
        if out is None:
            self.lost += 1
            return None
        ready_us, chance = out
        arrival = max(ready_us + self._delay_us(chance), t_us)
        if self.params.fifo:
            arrival = max(arrival, self._last_arrival_us)
        self._last_arrival_us = arrival
        heapq.heappush(self._flying, Message(arrival, self.sent, t_us, payload))
        return arrival

    def receive(self, t_us: int) -> list[Message]:
        """Take what has arrived by `t_us`, in the order of arrival; `newest` is that of the newest stamp so far."""
        arrived = []
        while self._flying and self._flying[0].arrival_us <= t_us:
            message = heapq.heappop(self._flying)
            arrived.append(message)
            if self.newest is None or message.stamp_us >= self.newest.stamp_us:
                self.newest = message
        self.delivered += len(arrived)
        return arrived

    def _transmit(self, t_us: int, size_bytes: float) -> tuple[int, float] | None:
        """When a message that gets through has left the line, and its luck with the delay; None: it is lost."""
        p = self.params
        # 8 L / B up to the next microsecond; 1e-6 less, so that a whole number stays one
        duration = max(0, math.ceil(8e6 * size_bytes / p.bandwidth_bit_per_s - 1e-6))
        waiting_bytes = (self._busy_us - t_us) * p.bandwidth_bit_per_s / 8e6 if self._busy_us > t_us else 0.0
        attempt, accepted = t_us, self.is_up(t_us) and waiting_bytes <= p.queue_bytes
        if accepted:
            attempt = max(t_us, self._busy_us)
            self._busy_us = attempt + duration
        while True:
            if accepted:
                self.bytes_sent += math.ceil(size_bytes)
                draw = self._draw()
                if not self._is_lost(draw):
                    return attempt + duration, draw[2]
            if p.rto_ms is None:
                return None
            again = self._next_attempt(attempt, round(1e3 * p.rto_ms))
            if again is None:
                return None
            attempt, accepted = again, True

    def _next_attempt(self, attempt: int, rto_us: int) -> int | None:
        """The first attempt after this one at which the link is up; None: it stays down."""
        again = attempt + rto_us
        while (end := self._end_of_outage(again)) != again:
            if end is None:
                return None
            again += -(-(end - again) // rto_us) * rto_us
        return again

    def _end_of_outage(self, t_us: int) -> int | None:
        """`t_us` itself if the link is up, otherwise when it is up again; None: never."""
        for start, end in self._outages:
            if start > t_us:
                break
            if end is None:
                return None
            t_us = max(t_us, end)
        return t_us

    def _is_lost(self, draw: Sequence[float]) -> bool:
        p = self.params
        if p.burst is not None:
            change = p.burst.bad_to_good_percent if self._bad else p.burst.good_to_bad_percent
            if 100 * draw[0] < change:
                self._bad = not self._bad
            if self._bad:
                return 100 * draw[1] < p.burst.loss_bad_percent
        return 100 * draw[1] < p.loss_percent

    def _delay_us(self, chance: float) -> int:
        jitter, delay_us = self.params.jitter, 1e3 * self.params.delay_ms
        if jitter.kind == "trace":
            place = int(self._played * len(jitter.trace)) + self._on_trace
            self._on_trace += 1
            return round(delay_us + 1e3 * jitter.trace[place % len(jitter.trace)])
        return round(delay_us if jitter.kind == "none" else jitter.delay_us(delay_us, chance))

    def _draw(self) -> list[float]:
        """Three numbers in [0, 1): change of state, loss, delay."""
        if not self._draws:
            self._draws = self._random.random((DRAWS, 3))[::-1].tolist()
        return self._draws.pop()
