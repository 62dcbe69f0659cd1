"""Two serial ports with a cable between them, made of pseudo-terminals; our end can be pulled out and put back."""

import os
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

LOOK_S = 0.02


class Cable:
    """`one` and `other` are the ports' paths; `unplug` makes the other vanish as a USB adapter does."""

    def __init__(self, folder: Path) -> None:
        self._far, self._far_end = _pseudo_terminal()
        self._near = self._near_end = -1
        self._lock = threading.Lock()
        self.one, self.other = os.ttyname(self._far_end), str(folder / "ttyUSB0")
        self._ended = threading.Event()
        self._carrier = threading.Thread(target=self._carry, name="cable", daemon=True)
        self.plug()
        self._carrier.start()

    def plug(self) -> None:
        """Put our end back."""
        with self._lock:
            self._near, self._near_end = _pseudo_terminal()
            Path(self.other).symlink_to(os.ttyname(self._near_end))

    def unplug(self) -> None:
        """Hang up for whoever has our end open, and let its path vanish."""
        with self._lock:
            Path(self.other).unlink()
            os.close(self._near)
            os.close(self._near_end)
            self._near = self._near_end = -1

    def close(self) -> None:
        """Both ends."""
        self._ended.set()
        self._carrier.join()
        if self._near >= 0:
            self.unplug()
        os.close(self._far)
        os.close(self._far_end)

    def _carry(self) -> None:
        while not self._ended.is_set():
            ends = [end for end in (self._far, self._near) if end >= 0]
            ready: list[int] = []
            with suppress(OSError):  # just pulled out
                ready = select.select(ends, [], [], LOOK_S)[0]
            with self._lock:
                for end in ready:
                    if end == self._far and self._near < 0:
                        os.read(end, 4096)
                    elif end in (self._far, self._near):
                        os.write(self._near if end == self._far else self._far, os.read(end, 4096))


@contextmanager
def cable() -> Iterator[Cable]:
    """Carry bytes between two ports for as long as the block lasts."""
    with TemporaryDirectory() as folder:
        made = Cable(Path(folder))
        try:
            yield made
        finally:
            made.close()


def _pseudo_terminal() -> tuple[int, int]:
    pair = os.openpty()
    for descriptor in pair:
        tty.setraw(descriptor)
    return pair
