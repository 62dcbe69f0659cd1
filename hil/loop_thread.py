"""An asyncio loop in a thread of its own, for what talks to wires while the rest of the program goes on."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

LONGEST_CALL_S = 10.0
CANCELLATIONS, CANCEL_AGAIN_S = 20, 0.1
T = TypeVar("T")


class LoopThread:
    """See the module. What is still under way at the end is cancelled, as often as it needs.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """From now on what is begun is done."""
        self._thread.start()

    def begin(self, what: Coroutine[Any, Any, T]) -> Future[T]:
        """Let the loop do something."""
        return asyncio.run_coroutine_threadsafe(what, self.loop)

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        """Wait until it is done."""
        return self.begin(what).result(LONGEST_CALL_S)

    def end(self, goodbye: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do `goodbye` if the thread ever began, and end; a second time does nothing."""
        if self.loop.is_closed():
            return
        try:
            if self._thread.is_alive():
                self.do(goodbye())
        finally:
            if self._thread.is_alive():
                self.loop.call_soon_threadsafe(self.loop.stop)
                self._thread.join()
            self.loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for _ in range(CANCELLATIONS):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()  # on Python 3.11 an answer that comes at the same moment swallows it
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=CANCEL_AGAIN_S))
