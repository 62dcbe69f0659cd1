"""What a run took from its devices at every step, so that it can be played again, and what they answered meanwhile.

    FOLDER/taken/UNIT-00000.parquet     a row a step: what the adapter was given at `t`, with age, quality and cause
    FOLDER/answers/UNIT-00000.parquet   a row an answer: `t` is wall time since the recording began

Segments are closed every few seconds: a killed run keeps what it had then.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from gridloop.hil.policy import FAULT, Reading, Snapshot
from gridloop.simulators.recorder import Columns, Sampling, Stream

TAKEN, ANSWERS = "taken", "answers"
RESOLUTION_S = 1e-6
OF_SNAPSHOT, OF_READING = ([one.name for one in fields(kind) if one.name != "values"] for kind in (Snapshot, Reading))
EVERY = Sampling(RESOLUTION_S, 1)
HALTED = "stopped by hand"


class Recorded:
    """A device's handle that keeps every snapshot which it gives; what else the handle can do, it can do too."""

    def __init__(self, handle: Any, keep: Callable[[Snapshot], None]) -> None:
        self._handle, self._keep = handle, keep
        self._is_halted = False

    def post(self, values: dict[str, float]) -> None:
        """Tell the device."""
        if not self._is_halted:
            self._handle.post(values)

    def snapshot(self) -> Snapshot:
        """What it showed last."""
        return self._kept(self._handle.snapshot())

    def cycle(self, timeout_s: float) -> Snapshot:
        """What it shows after it was told what was posted."""
        return self._kept(self._handle.cycle(timeout_s))

    def halt(self) -> None:
        """Emergency stop, from any thread: its safe state at once, and nobody steers it any more."""
        self._is_halted = True
        self._handle.safe()

    def _kept(self, seen: Snapshot) -> Snapshot:
        if self._is_halted:
            seen = replace(seen, quality=FAULT, cause=HALTED)
        self._keep(seen)
        return seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


class Recorder:
    """Keeps what devices showed, for as long as a run lasts.

    Args:
        folder: where the two folders go.
        clock: monotonic seconds of wall time, the same that the answers are stamped with.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder, self._clock, self._began_s = folder, clock, clock()
        self._streams: dict[tuple[str, str], Stream] = {}
        self._heard: deque[tuple[str, Reading]] = deque()  # from the I/O thread, which must not wait for a disk
        self._time = 0

    def recorded(self, unit: str, handle: Any) -> Recorded:
        """A handle in place of the unit's own."""
        stream = self._stream(TAKEN, unit, _taken)
        return Recorded(handle, lambda seen: stream.append(self._time, seen))

    def hear(self, unit: str, reading: Reading) -> None:
        """Take an answer; may be called from any thread."""
        self._heard.append((unit, reading))

    def at(self, t_s: float) -> None:
        """A step begins at the simulated time `t_s`."""
        self._time = round(t_s / RESOLUTION_S)
        while self._heard:
            unit, reading = self._heard.popleft()
            after_s = reading.at_s - self._began_s
            self._stream(ANSWERS, unit, _answers).append(round(after_s / RESOLUTION_S), reading)

    def close(self) -> None:
        """Write what waits."""
        self.at(self._time * RESOLUTION_S)
        for stream in self._streams.values():
            stream.close()

    def _stream(self, kind: str, unit: str, decode: Callable[[list[Any]], Columns]) -> Stream:
        if (kind, unit) not in self._streams:
            folder = self._folder / kind
            folder.mkdir(parents=True, exist_ok=True)
            self._streams[kind, unit] = Stream(folder, unit, decode, EVERY, self._clock)
        return self._streams[kind, unit]


def _taken(rows: list[Snapshot]) -> Columns:
    return _fields(rows, OF_SNAPSHOT) | _values(rows)


def _answers(rows: list[Reading]) -> Columns:
    return _fields(rows, OF_READING) | _values(rows)


def _fields(rows: Sequence[Snapshot | Reading], names: Sequence[str]) -> Columns:
    import pyarrow

    types = {"sequence": pyarrow.int64(), "quality": pyarrow.int64(), "cause": pyarrow.string(),
             "fault": pyarrow.string()}  # fmt: skip
    return {
        name: pyarrow.array([getattr(row, name) for row in rows], types.get(name, pyarrow.float64())) for name in names
    }  # fmt: skip


def _values(rows: Sequence[Snapshot | Reading]) -> Columns:
    """By attribute; null is what a row does not have, nan what the device does not know."""
    import pyarrow

    attrs = dict.fromkeys(attr for row in rows for attr in row.values)
    return {attr: pyarrow.array([row.values.get(attr) for row in rows], pyarrow.float64()) for attr in attrs}
