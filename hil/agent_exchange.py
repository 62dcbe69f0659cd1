"""What goes over the wire between a poller and a serial agent of either role, in requests of `messages`.

An agent is greeted when its line is new, or after it was silent for long: who it is, and that it begins anew. Without
leave to write nothing but stamps of the clocks are exchanged.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from gridloop.hil import links
from gridloop.hil.agent_link import AgentLink, Ask, Identity, Statistics
from gridloop.hil.device import Device, Write
from gridloop.hil.frames import ALIGN, DECIDE, MEASURE, NEIGHBOUR, STOP
from gridloop.hil.messages import ALIGNED, CORRECTION, DROOP, MEASURED, SHARED, T_S, heard_in
from gridloop.hil.policy import NEVER_S, Asked, Reading

log = logging.getLogger(__name__)

SYNC_S = 1.0  # between two exchanges of stamps
MOST = 3e38  # of a float32
SAME = 1e-5  # what a float32 may lose
T_TICK = "t_tick[s]"


class AgentExchange(ABC):
    """What both roles have in common; used in the I/O thread's loop only.

    Args:
        device: with a url of kind serial or serial+socket.
        clock: monotonic time [s].
        on_write: is told what the agent is told.
    """

    role: str

    def __init__(
        self, device: Device, clock: Callable[[], float], on_write: Callable[[Write], None] | None = None
    ) -> None:  # fmt: skip
        self.device, self.clock = device, clock
        self.link = AgentLink(device.url, clock)
        self.counts: Counter[str] = Counter()
        self.reading = Reading()
        self._on_write = on_write
        self._connected = self._jumps = 0
        self._is_greeted = self._is_stopped = False
        self._heard_s = self._synced_s = NEVER_S
        self._told: dict[str, float] = {}  # for the log

    @property
    @abstractmethod
    def needed(self) -> tuple[str, ...]:
        """What the agent must show to be of use."""

    @abstractmethod
    async def tell(self, values: Mapping[str, float]) -> None:
        """Tell the agent what was posted and keep its answer as the reading."""

    def greeted(self, found: Identity) -> None:  # noqa: B027  a role may have nothing to see to
        """The agent begins anew.

        Raises:
            WrongAnswer: it is not one that is of use here.
        """

    @property
    def statistics(self) -> Statistics:
        """Of the line."""
        return self.link.statistics

    @property
    def is_safe(self) -> bool:
        """Whether the agent was stopped, or may not be told anything."""
        return self._is_stopped or not self.device.allow_writes

    async def open(self) -> None:
        """Open the line; returns after the first attempt."""
        await self.link.open()

    async def close(self) -> None:
        """Leave the line."""
        await self.link.close()

    async def write(self, asked: Asked) -> None:
        """Tell the agent what was posted, or to stop."""
        if not self.device.allow_writes:
            self.note(asked.values, "writes are not allowed")
            return
        self._notice_new_connection()
        if asked.is_calm:
            await self._stop()
            return
        await self._greet()
        if asked.values:
            self._is_stopped = False
            try:
                await self.tell(asked.values)
            except links.LinkError as error:
                self.note(asked.values, str(error))
                raise
            self.note(asked.values)
            self.counts["writes"] += 1
            self._heard_s = self.reading.at_s

    async def read(self) -> Reading:
        """What the agent answered; before it was told anything, that somebody is there."""
        return self.reading if self.reading.at_s > NEVER_S else Reading({}, self._heard_s)

    async def check(self) -> None:
        """Exchange stamps now and then, and whenever nothing else is exchanged."""
        now_s = self.clock()
        if now_s - self._synced_s < SYNC_S and self._heard_s > now_s - self.device.period_s:
            return
        self._synced_s = now_s
        await self.link.sync(self.device.deadline_s)
        self._heard_s = now_s
        if self.statistics.jumps != self._jumps:
            self._jumps = self.statistics.jumps
            self.restarted()

    def restarted(self) -> None:
        """The agent has begun anew by itself."""
        log.warning("%s was restarted", self.device.name)
        self.counts["restarts"] += 1
        self._is_greeted = False

    def forget(self) -> None:
        """Something failed: after long silence somebody else may be there."""
        if self.clock() - self._heard_s > self.device.max_age_s:
            self._is_greeted = False

    def note(self, values: Mapping[str, float], trouble: str = "") -> None:
        """Log what the agent was told anew, or would have been."""
        if self._on_write is None:
            return
        for attr, value in values.items():
            if attr in self.logged and self._told.get(attr) != value:
                self._told[attr] = value
                try:
                    self._on_write(
                        Write(self.clock(), self.device.name, attr, value, value, "", not trouble, trouble)
                    )  # fmt: skip
                except Exception:
                    log.exception("%s: the log of writes failed", self.device.name)

    @property
    def logged(self) -> Sequence[str]:
        """Which of the posted values are logged."""
        return MEASURED[self.role]

    def _notice_new_connection(self) -> None:
        connected = self.statistics.connected
        if connected != self._connected:
            self.counts["recoveries"] += self._connected > 0
            self._connected, self._is_greeted, self._is_stopped = connected, False, False

    async def _greet(self) -> None:
        if self._is_greeted:
            return
        found = await self.link.hello(self.device.deadline_s)
        if found.role != self.role:
            words = f"an agent of role {found.role} answers; start it with --role {self.role}"
            raise links.WrongAnswer(f"{self.device.url.bus}: {words}", "wrong")
        self.greeted(found)
        self._is_greeted, self._heard_s = True, self.clock()

    async def _stop(self) -> None:
        if not self._is_stopped:
            await self.link.ask([Ask(STOP)], self.device.deadline_s)
            self._is_stopped, self._is_greeted = True, False


def sendable(values: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """The named values; nan for those that are not known or no number for a frame."""
    found = (values.get(name, math.nan) for name in names)
    return tuple(value if abs(value) <= MOST else math.nan for value in found)


def tick_ms(t_s: float) -> int:
    """A time as frames have it."""
    return round(1e3 * t_s)


class InverterExchange(AgentExchange):
    """A droop inverter: gets P, Q, V, set-points and corrections, gives f and E."""

    role = "inverter"
    needed = DROOP

    async def tell(self, values: Mapping[str, float]) -> None:
        """Powers and voltage of a step, and the droop's answer to them."""
        at_s, t_s = self.clock(), values.get(T_S, 0.0)
        gone_s = t_s - values.get(T_TICK, t_s)  # since the corrections' ramps began
        ramped = {
            "Omega[rad_per_s]": values.get("Omega[rad_per_s]", 0.0) + gone_s * values.get("dOmega[rad_per_s2]", 0.0),
            "v[pu]": values.get("v[pu]", 0.0) + gone_s * values.get("dv[pu_per_s]", 0.0),
        }
        asked = Ask(MEASURE, tick_ms(t_s), sendable({**values, **ramped}, MEASURED[self.role]))
        (answer,) = await self.link.ask([asked], self.device.deadline_s)
        fault = _wrong_count(answer.values, DROOP)
        self.reading = Reading(dict(zip(DROOP, answer.values, strict=not fault)), at_s, fault=fault)


class SecondaryExchange(AgentExchange):
    """A secondary-control agent: gets a tick's measurement and its neighbours' messages, gives its correction.

    Posted are `t[s]` of the tick, the measurement, the correction that is applied there, `align[1]`, and messages as
    `messages.heard_as` names them. The reading holds the correction and, as `t[s]`, the tick that it is of.
    """

    role = "secondary"
    needed = ()  # before its first tick it shows nothing, and is good

    def __init__(
        self, device: Device, clock: Callable[[], float], on_write: Callable[[Write], None] | None = None
    ) -> None:  # fmt: skip
        super().__init__(device, clock, on_write)
        self._period_s = 0.0
        self._tick_ms = -1  # of the reading
        self._at = (0.0, 0.0)  # where the agent's correction is at its next tick, unless it is aligned
        self._is_known = False
        self._sent: dict[int, float] = {}  # stamps of messages by neighbour

    def greeted(self, found: Identity) -> None:
        """The agent begins anew, and must have the period of the scenario's agents."""
        if abs(found.period_ms - 1e3 * self.device.period_s) > 1e-3:
            words = f"its period is {found.period_ms:g} ms; start it with --period-ms {1e3 * self.device.period_s:g}"
            raise links.WrongAnswer(f"{self.device.url.bus}: {words}", "wrong")
        self._period_s, self._tick_ms, self._is_known, self._sent = found.period_ms * 1e-3, -1, False, {}

    async def tell(self, values: Mapping[str, float]) -> None:
        """A tick, unless it was told already."""
        t_ms = tick_ms(values.get(T_S, 0.0))
        if t_ms == self._tick_ms:
            return
        at_s, asked = self.clock(), list[Ask]()
        if values.get(ALIGNED, 0.0) or not self._is_known:
            self._at = values.get(CORRECTION[0], 0.0), values.get(CORRECTION[1], 0.0)
            asked.append(Ask(ALIGN, t_ms, self._at))
        asked.append(Ask(MEASURE, t_ms, sendable(values, MEASURED[self.role])))
        news = {n: one for n, one in heard_in(values).items() if self._sent.get(n) != one[0]}
        asked += [Ask(NEIGHBOUR, tick_ms(stamp), (n, *shared)) for n, (stamp, shared) in news.items()]
        asked.append(Ask(DECIDE, t_ms))
        self._is_greeted = False  # what becomes of a tick that fails is not known
        *_, measured, decided = await self.link.ask(asked, self.device.deadline_s)
        fault = _wrong_count(measured.values, SHARED) or _wrong_count(decided.values, CORRECTION)
        if not fault and not _same((*measured.values[:2], *decided.values[:2]), (*self._at, *self._at)):
            self.restarted()
            raise links.WrongAnswer(f"{self.device.url.bus}: its correction is not the one it had", "wrong")
        self._sent |= {n: stamp for n, (stamp, _) in news.items()}
        self._tick_ms, self._is_known, self._is_greeted = t_ms, not fault, not fault
        omega, v, omega_rate, v_rate = decided.values if not fault else (0.0, 0.0, 0.0, 0.0)
        self._at = omega + omega_rate * self._period_s, v + v_rate * self._period_s
        shown = dict(zip(CORRECTION, decided.values, strict=not fault)) | {T_S: t_ms * 1e-3}
        self.reading = Reading(shown, at_s, fault=fault)


def exchange_with_agent(
    device: Device, clock: Callable[[], float], on_write: Callable[[Write], None] | None = None
) -> AgentExchange:
    """The exchange with a serial agent, by its role."""
    kind = SecondaryExchange if device.agent == "secondary" else InverterExchange
    return kind(device, clock, on_write)


def _wrong_count(values: Sequence[float], names: Sequence[str]) -> str:
    return "" if len(values) == len(names) else f"it answers {len(values)} values instead of {', '.join(names)}"


def _same(some: Sequence[float], others: Sequence[float]) -> bool:
    return all(abs(one - other) <= SAME * (1 + abs(other)) for one, other in zip(some, others, strict=True))
