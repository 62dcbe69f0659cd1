"""The I/O thread: devices are polled there in an asyncio loop of its own, and a simulation never waits for a wire.

    with IoThread() as io:
        handle = io.add(Device("inv2", parse("modbus+tcp://127.0.0.1:5020/1"), load_map("generic_inverter")))
        handle.post({"P_set[MW]": 0.1})
        handle.snapshot().values

Leaving the block, by whatever way, writes the safe state of every device that was steered.
"""

import asyncio
import atexit
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from typing import Any, Self

from gridloop.hil import links
from gridloop.hil.agent_exchange import exchange_with_agent
from gridloop.hil.device import Device, Write
from gridloop.hil.exchange import MapExchange
from gridloop.hil.loop_thread import LoopThread
from gridloop.hil.policy import Snapshot
from gridloop.hil.poller import Exchange, OnReading, Poller
from gridloop.hil.sunspec_exchange import SunSpecExchange

__all__ = ["Device", "Handle", "IoThread", "Snapshot", "Write"]

log = logging.getLogger(__name__)

LONGEST_GOODBYE_S = 2.0  # for the safe states when the thread ends
PERCENTILES = (50, 95, 99)


class Handle:
    """A device as the rest of the program has it. Only `cycle` and `stop` wait, up to their time."""

    def __init__(self, poller: Poller, io: "IoThread") -> None:
        self.device = poller.device
        self._poller = poller
        self._io = io
        self._begun: _Begun | None = None
        self._begun_s = 0.0
        self._is_late = False  # the one that was begun took longer than it may

    def post(self, values: dict[str, float]) -> None:
        """Set-points from now on, by attr; those that are not named stay, those that the map lacks are left out."""
        self._poller.post(values)

    def snapshot(self) -> Snapshot:
        """The newest values, with age, quality and sequence."""
        return self._poller.snapshot()

    def begin(self) -> None:
        """Begin the exchange that `cycle` waits for, so that those of several devices run at once.

        One of before that is under way still is not begun a second time.
        """
        if self._begun is not None and not self._is_late:
            return
        self._begun_s, self._is_late = self._io.clock(), False
        if self._begun is None or self._begun.wait(0.0):
            self._begun = self._io.begin_cycle(self._poller)

    def cycle(self, timeout_s: float) -> Snapshot:
        """Exchange now, unless it was begun: write what was posted, read, and give what came.

        Args:
            timeout_s: since it was begun; when it takes longer, what was there before is given.
        """
        self.begin()
        assert self._begun is not None
        if self._begun.wait(max(self._begun_s + timeout_s - self._io.clock(), 0.0)):
            self._begun = None
        else:
            self._is_late = True
        return self._poller.snapshot()

    def safe(self) -> None:
        """Go to the safe state until the next post."""
        self._poller.calm()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Go to the safe state and stay there, whatever is posted; whether the device confirmed it in time."""
        self._poller.held = True
        self._io.stop(self._poller, timeout_s)
        return self._poller.is_safe

    def release(self) -> None:
        """Let posts count again after `stop`."""
        self._poller.held = False

    def round_trips_ms(self) -> list[float]:
        """Of the newest answers on the link."""
        return [took_s * 1e3 for took_s in list(self._poller.exchange.statistics.rtt_s)]

    def trace(self, take: Callable[[bool, bytes], None]) -> None:
        """Let `take` have all that goes over the link from now on: whether it is sent, and the bytes."""
        self._poller.exchange.statistics.on_frame = take

    def statistics(self) -> dict[str, Any]:
        """Counts of the device and of the link that it shares with others on its bus; times in ms."""
        poller, link = self._poller, self._poller.exchange.statistics
        return {
            **{key: poller.counts[key] for key in (
                "cycles", "failed_cycles", "writes", "recoveries", "restarts", "watchdog", "not_as_written",
            )},
            "requests": link.requests, "answers": link.answers, "lost": dict(link.lost),
            "exceptions": {str(code): count for code, count in link.exceptions.items()},
            "rtt_ms": percentiles_ms(list(link.rtt_s)), "age_ms": percentiles_ms(list(poller.ages_s)),
            **link.more(),
        }  # fmt: skip


class _Begun:
    """A cycle that the loop makes meanwhile; a future for other threads takes twice as long to come and go."""

    def __init__(self) -> None:
        self._under_way = threading.Lock()
        self._under_way.acquire()
        self._task: asyncio.Task[None] | None = None

    def run(self, cycle: Coroutine[Any, Any, None]) -> None:
        """Called in the loop."""
        self._task = asyncio.get_running_loop().create_task(cycle)
        self._task.add_done_callback(lambda _: self._under_way.release())

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within the time."""
        ended = self._under_way.acquire(timeout=timeout_s)
        if ended:
            self._under_way.release()
        return ended


class IoThread:
    """Polls devices in a thread of its own, inside a `with` block.

    Args:
        clock: monotonic time [s].
        on_write: is told every write, in the I/O thread.
        on_reading: is told every reading, there too: (device's name, reading).
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, on_write: Callable[[Write], None] | None = None,
        on_reading: OnReading | None = None,
    ) -> None:  # fmt: skip
        self.clock = clock
        self._on_write, self._on_reading = on_write, on_reading
        self._pollers: list[Poller] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self._thread = LoopThread("gridloop devices")

    def __enter__(self) -> Self:
        self._thread.start()
        atexit.register(self.close)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, device: Device) -> Handle:
        """Take a device in; it is polled from now on.

        Raises:
            ValueError: its link cannot be: see `links.open_link`.
        """
        return Handle(self._thread.do(self._add(device)), self)

    def safe(self) -> None:
        """Emergency stop: every device to its safe state, and there it stays."""
        for poller in self._pollers:
            poller.held = True

    def begin_cycle(self, poller: Poller) -> "_Begun":
        """Let the loop make a cycle."""
        begun = _Begun()
        self._thread.loop.call_soon_threadsafe(begun.run, poller.cycle())
        return begun

    def stop(self, poller: Poller, timeout_s: float) -> None:
        """Let a device go to its safe state and wait for it, up to the time."""
        with suppress(LateError):
            self._thread.begin(_settled(poller, timeout_s)).result(timeout_s + poller.device.deadline_s)

    def close(self) -> None:
        """Write the safe states and end; a second time does nothing."""
        atexit.unregister(self.close)
        self._thread.end(self._goodbye)

    async def _add(self, device: Device) -> Poller:
        poller = Poller(device, self._exchange(device), self.clock, self._on_reading)
        self._pollers.append(poller)
        self._tasks.append(self._thread.loop.create_task(self._poll(poller), name=device.name))
        return poller

    def _exchange(self, device: Device) -> Exchange:
        """What speaks with the device, by the kind of its URL."""
        map = device.map
        if device.url.scheme == "serial":
            return exchange_with_agent(device, self.clock, self._on_write)
        if map is None:
            return SunSpecExchange(device, links.open_link(device.url), self.clock, self._on_write)
        link = links.open_link(device.url, min_gap_s=map.min_gap_ms * 1e-3, connect_delay_s=map.connect_delay_ms * 1e-3)
        return MapExchange(device, map, link, self.clock, self._on_write)

    async def _poll(self, poller: Poller) -> None:
        """Free: a cycle each period. Lockstep: only while nobody asks for one, so that the device is never alone."""
        period_s, lockstep = poller.device.period_s, poller.device.mode == "lockstep"
        await poller.exchange.open()
        due_s = self.clock()
        while not self._ending:  # on Python 3.11 an answer that comes at the same moment swallows a cancellation
            if not lockstep or self.clock() - poller.cycled_s > 2 * period_s:
                await poller.cycle()
            due_s = max(due_s + period_s, self.clock())
            await asyncio.sleep(due_s - self.clock())

    async def _goodbye(self) -> None:
        self._ending = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        steered = [poller for poller in self._pollers if poller.steers or poller.held]
        for poller in steered:
            poller.held = True
        await asyncio.gather(*(_settled(poller, LONGEST_GOODBYE_S) for poller in steered), return_exceptions=True)
        for poller in steered:
            if not poller.is_safe:
                log.warning("%s: its safe state could not be written: %s", poller.device.name, poller.trouble)
        closing = [self._thread.loop.create_task(poller.exchange.close()) for poller in self._pollers]
        if closing:
            await asyncio.wait(closing, timeout=LONGEST_GOODBYE_S)


async def _settled(poller: Poller, timeout_s: float) -> None:
    """Cycles until the safe state stands on the device, or the time is over."""
    end_s = poller.clock() + timeout_s
    while True:
        await poller.cycle()
        if poller.is_safe or poller.clock() >= end_s:
            return
        await asyncio.sleep(min(poller.device.period_s, 0.05))


def percentiles_ms(times_s: list[float]) -> dict[str, float]:
    """p50, p95, p99 and max [ms]; empty for no times."""
    if not times_s:
        return {}
    ordered = sorted(times_s)
    found = {f"p{p}": ordered[min(len(ordered) - 1, p * len(ordered) // 100)] * 1e3 for p in PERCENTILES}
    return found | {"max": ordered[-1] * 1e3}
