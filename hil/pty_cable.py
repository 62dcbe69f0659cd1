"""Two pseudo-terminals with a cable between them: a serial line without hardware, on Linux and macOS."""

import os
import select
import threading
from typing import Self

PIECE = 4096
LOOK_S = 0.05


class PtyCable:
    """`near` and `far` are the paths of the two ports for as long as the block lasts.

    Raises:
        OSError: this system has no pseudo-terminals.
    """

    def __init__(self) -> None:
        try:
            import tty
        except ImportError as error:
            raise OSError("there are no pseudo-terminals on this system; give a serial port") from error
        self._pairs = [os.openpty(), os.openpty()]
        for pair in self._pairs:
            for descriptor in pair:  # both ends stay open, so that a port may be closed and opened again
                tty.setraw(descriptor)
        self.near, self.far = (os.ttyname(end) for _, end in self._pairs)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._carry, name=f"cable {self.far}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        for pair in self._pairs:
            for descriptor in pair:
                os.close(descriptor)

    def _carry(self) -> None:
        (one, _), (other, _) = self._pairs
        while not self._is_over.is_set():
            for end in select.select([one, other], [], [], LOOK_S)[0]:
                os.write(other if end == one else one, os.read(end, PIECE))
