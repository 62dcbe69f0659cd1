"""What goes on between a run and its devices, in files that a person can read."""

import csv
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TextIO

WRITES = "writes.csv"
FRAMES, ROUND_TRIPS = "frames", "round_trips"
LIMITED = ("limit", "ramp", "map")  # causes of values that are not as they were wanted


class WriteLog:
    """A table of every value that was written, line by line, so that a killed process leaves it whole.

    `counts` has by unit how many values were `written`, of these `limited`, and how many were `not written`.
    """

    def __init__(self) -> None:
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._began_s = time.monotonic()
        self._row: Callable[[Any], Any] = lambda row: None

    @contextmanager
    def into(self, folder: Path) -> Iterator[None]:
        """Keep the table in a folder."""
        with (folder / WRITES).open("w", encoding="utf-8", newline="", buffering=1) as file:
            self._row = csv.writer(file).writerow
            self._row(("t_wall_s", "unit", "attribute", "wanted", "written", "changed_by", "done", "trouble"))
            yield

    def take(self, write: Any) -> None:
        """Take a `gridloop.hil.device.Write`."""
        self._row((
            f"{write.at_s - self._began_s:.6f}", write.device, write.attr, repr(write.wanted), repr(write.value),
            write.cause, int(write.done), write.trouble,
        ))  # fmt: skip
        counts = self.counts[write.device]
        counts["written" if write.done else "not written"] += 1
        counts["limited"] += write.done and write.cause in LIMITED


class FrameLog:
    """Everything that went over each bus, in hexadecimal: `0.123456 > 0001...` was sent, `<` was received."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FRAMES
        self._began_s = time.monotonic()
        self._files: dict[str, TextIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, bus: str) -> Callable[[bool, bytes], None]:
        """Takes the frames of a bus: (whether it was sent, bytes)."""
        name = "".join(sign if sign.isalnum() or sign in ".-" else "_" for sign in bus)
        if name not in self._files:
            path = self._folder / f"{name}.txt"
            self._files[name] = self._stack.enter_context(path.open("w", encoding="ascii", buffering=1))
        file = self._files[name]

        def take(sent: bool, frame: bytes) -> None:
            file.write(f"{time.monotonic() - self._began_s:.6f} {'>' if sent else '<'} {frame.hex()}\n")

        return take


def round_trips(folder: Path, handles: Mapping[str, Any]) -> None:
    """One file a device: its round trips [ms], one a line; as `comms.jitter.trace` a link takes them as its delays."""
    for unit, handle in handles.items():
        times_ms = handle.round_trips_ms()
        if times_ms:
            (folder / ROUND_TRIPS).mkdir(parents=True, exist_ok=True)
            text = "".join(f"{one:.6g}\n" for one in times_ms)
            (folder / ROUND_TRIPS / f"{unit}.csv").write_text(text, encoding="ascii")
