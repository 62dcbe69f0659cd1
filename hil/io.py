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
from typing import Any, Self, TypeVar

from gridloop.hil import links
from gridloop.hil.device import Device, Write
from gridloop.hil.policy import Snapshot
from gridloop.hil.poller import Poller

__all__ = ["Device", "Handle", "IoThread", "Snapshot", "Write"]

log = logging.getLogger(__name__)

LONGEST_GOODBYE_S = 2.0  # for the safe states when the thread ends
LONGEST_CALL_S = 10.0
PERCENTILES = (50, 95, 99)
T = TypeVar("T")


class Handle:
    """A device as the rest of the program has it. Only `cycle`, `stop` and `statistics` wait, up to their time."""

    def __init__(self, poller: Poller, io: "IoThread") -> None:
        self.device = poller.device
        self._poller = poller
        self._io = io

    def post(self, values: dict[str, float]) -> None:
        """Set-points from now on, by attr; those that are not named stay, those that the map lacks are left out."""
        self._poller.post(values)

    def snapshot(self) -> Snapshot:
        """The newest values, with age, quality and sequence."""
        return self._poller.snapshot()

    def cycle(self, timeout_s: float) -> Snapshot:
        """Exchange now: write what was posted, read, and give what came; when it takes longer, what was there."""
        self._io.wait(self._poller.cycle(), timeout_s)
        return self._poller.snapshot()

    def safe(self) -> None:
        """Go to the safe state until the next post."""
        self._poller.calm()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Go to the safe state and stay there, whatever is posted; whether the device confirmed it in time."""
        self._poller.held = True
        self._io.wait(_settled(self._poller, timeout_s), timeout_s + self.device.deadline_s)
        return self._poller.is_safe

    def release(self) -> None:
        """Let posts count again after `stop`."""
        self._poller.held = False

    def statistics(self) -> dict[str, Any]:
        """Counts of the device and of the link that it shares with others on its bus; times in ms."""
        poller, link = self._poller, self._poller.link.statistics
        return {
            **{key: poller.counts[key] for key in (
                "cycles", "failed_cycles", "writes", "recoveries", "restarts", "watchdog", "not_as_written",
            )},
            "requests": link.requests, "answers": link.answers, "lost": dict(link.lost),
            "exceptions": {str(code): count for code, count in link.exceptions.items()},
            "rtt_ms": percentiles_ms(list(link.rtt_s)), "age_ms": percentiles_ms(list(poller.ages_s)),
        }  # fmt: skip


class IoThread:
    """Polls devices in a thread of its own, inside a `with` block.

    Args:
        clock: monotonic time [s].
        on_write: is told every write, in the I/O thread.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, on_write: Callable[[Write], None] | None = None
    ) -> None:  # fmt: skip
        self.clock = clock
        self._on_write = on_write
        self._pollers: list[Poller] = []
        self._links: list[links.Link] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="gridloop devices", daemon=True)

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
        return Handle(self._do(self._add(device)), self)

    def safe(self) -> None:
        """Emergency stop: every device to its safe state, and there it stays."""
        for poller in self._pollers:
            poller.held = True

    def wait(self, what: Coroutine[Any, Any, Any], timeout_s: float) -> bool:
        """Let the loop do something; False when it takes longer, and then it goes on."""
        try:
            asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout_s)
        except LateError:
            return False
        return True

    def close(self) -> None:
        """Write the safe states and end; a second time does nothing."""
        if self._loop.is_closed():
            return
        atexit.unregister(self.close)
        if self._thread.is_alive():
            try:
                self._do(self._goodbye())
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(LONGEST_CALL_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))

    async def _add(self, device: Device) -> Poller:
        map = device.map
        link = links.open_link(device.url, min_gap_s=map.min_gap_ms * 1e-3, connect_delay_s=map.connect_delay_ms * 1e-3)
        poller = Poller(device, link, self.clock, self._on_write)
        self._pollers.append(poller)
        self._links.append(link)
        self._tasks.append(self._loop.create_task(self._poll(poller, link), name=device.name))
        return poller

    async def _poll(self, poller: Poller, link: links.Link) -> None:
        """Free: a cycle each period. Lockstep: only while nobody asks for one, so that the device is never alone."""
        period_s, lockstep = poller.device.period_s, poller.device.mode == "lockstep"
        await link.open()
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
        closing = [self._loop.create_task(link.close()) for link in self._links]
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
