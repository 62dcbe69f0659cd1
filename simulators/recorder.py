"""Series on disk: Parquet segments that survive a killed process and are the same to the bit in every run.

A stream collects the rows of one simulator. A number of rows that depends on their width only makes one
segment `NAME-00000.parquet`. Rows that wait for their segment are saved every `CHECKPOINT_S` seconds of wall
time, of wide streams less often, in part files `NAME-00000.part0.parquet`, which the finished segment replaces.
Every file is written aside and renamed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECKPOINT_S = 2.0
SPENT_SHARE = 20  # checkpoints of very wide streams are so rare that they take a 20th of the time
VALUES_PER_SEGMENT = 4_000_000
LOOK_EVERY = 32  # rows between two looks at the clock

Columns = dict[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Sampling:
    """Which rows are kept: those at multiples of `every` units of time, and those in `always`."""

    resolution: float  # seconds of one unit of time
    every: int
    always: frozenset[int] = frozenset()


class Stream:
    """Rows of one simulator on their way to disk.

    Args:
        folder: where the segments go.
        name: their prefix.
        decode: turns collected rows into columns `entity.attribute`.
        sampling: which rows are kept.
        clock: monotonic seconds of wall time.
        watch: called with every look at the clock, with simulated seconds and the last row.
    """

    def __init__(
        self, folder: Path, name: str, decode: Callable[[list[Any]], Columns], sampling: Sampling,
        clock: Callable[[], float], watch: Callable[[float, Any], None] | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._name, self._decode, self._resolution = folder, name, decode, sampling.resolution
        self._every, self._always, self._clock, self._watch = sampling.every, sampling.always, clock, watch
        self._times: list[int] = []
        self._rows: list[Any] = []
        self._calls = 0
        self._segment = self._part = self._saved = 0
        self._rows_per_segment = VALUES_PER_SEGMENT  # until the first block tells how wide it is
        self._next_checkpoint = clock() + CHECKPOINT_S
        self.wall_s = 0.0  # spent in writing

    def append(self, time: int, row: Any) -> None:
        """Take one row; `row` must not change afterwards."""
        if time % self._every == 0 or time in self._always:
            if self._times and self._times[-1] == time:
                self._times.pop(), self._rows.pop()
            elif len(self._rows) >= self._rows_per_segment:
                self._close_segment()
            self._times.append(time)
            self._rows.append(row)
        self._calls += 1
        if self._calls % LOOK_EVERY == 0:
            now = self._clock()
            if self._watch is not None:
                self._watch(time * self._resolution, row)
            if now >= self._next_checkpoint:
                spent = self.checkpoint()
                self._next_checkpoint = self._clock() + max(CHECKPOINT_S, SPENT_SHARE * spent)

    def checkpoint(self) -> float:
        """Save what waits for its segment; returns the wall time that this took."""
        began = self.wall_s
        if self._saved < len(self._rows):
            columns = self._write(f"{self._name}-{self._segment:05}.part{self._part}", self._saved)
            self._part, self._saved = self._part + 1, len(self._rows)
            self._rows_per_segment = max(200, VALUES_PER_SEGMENT // columns // 100 * 100)
        return self.wall_s - began

    def close(self) -> None:
        """Write the last segment."""
        while self._rows:
            self._close_segment()

    def _close_segment(self) -> None:
        """Write a whole segment in place of its parts; rows beyond it begin the next."""
        if self._rows_per_segment == VALUES_PER_SEGMENT:
            width = len(self._decode(self._rows[:1])) + 1
            self._rows_per_segment = max(200, VALUES_PER_SEGMENT // width // 100 * 100)
        count = min(self._rows_per_segment, len(self._rows))
        self._write(f"{self._name}-{self._segment:05}", 0, count)
        for part in range(self._part):
            (self._folder / f"{self._name}-{self._segment:05}.part{part}.parquet").unlink()
        del self._times[:count], self._rows[:count]
        self._segment, self._part, self._saved = self._segment + 1, 0, 0

    def _write(self, stem: str, start: int, end: int | None = None) -> int:
        """Write rows to one file and return its number of columns."""
        import pyarrow
        import pyarrow.parquet

        began = self._clock()
        # divided, 800000 us are 0.8 s; times 1e-6 they are not
        columns: Columns = {"t": np.array(self._times[start:end], np.float64) / (1 / self._resolution)}
        table = pyarrow.table(columns | self._decode(self._rows[start:end]))
        numbers = [field.name for field in table.schema if pyarrow.types.is_floating(field.type)]
        aside = self._folder / f".{stem}.tmp"
        pyarrow.parquet.write_table(
            table, aside, compression="zstd", use_dictionary=False,
            column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
        )  # fmt: skip
        aside.rename(self._folder / f"{stem}.parquet")
        self.wall_s += self._clock() - began
        return int(table.num_columns)


def _files(folder: Path) -> dict[str, list[Path]]:
    """Readable files of each stream in order of time; parts only where their segment is missing."""
    whole = {path.stem: path for path in folder.glob("*.parquet") if ".part" not in path.stem}
    parts = [path for path in folder.glob("*.parquet") if ".part" in path.stem]
    kept = list(whole.values()) + [path for path in parts if path.stem.partition(".")[0] not in whole]

    def order(path: Path) -> tuple[str, int, int]:
        segment, _, part = path.stem.partition(".part")
        name, _, number = segment.rpartition("-")
        return name, int(number), int(part or -1)

    streams: dict[str, list[Path]] = {}
    for path in sorted(kept, key=order):
        streams.setdefault(order(path)[0], []).append(path)
    return streams


def read_layout(folder: Path) -> dict[str, str]:
    """Every series `entity.attribute` in a folder of segments, and the stream that holds it."""
    import pyarrow.parquet

    return {
        column: stream
        for stream, files in _files(folder).items()
        for column in pyarrow.parquet.read_schema(files[0]).names
        if column != "t"
    }


def read_columns(folder: Path, stream: str, columns: list[str]) -> Columns:
    """Times `t` [s] and the named series of one stream."""
    return Reader(folder, stream).columns(columns)


def read_table(folder: Path, stream: str) -> Any:
    """All of one stream as a pyarrow table; what a file of it has no column for is null.

    Raises:
        KeyError: there is no such stream.
    """
    import pyarrow
    import pyarrow.parquet

    tables = [pyarrow.parquet.read_table(path) for path in _files(folder)[stream]]
    return pyarrow.concat_tables(tables, promote_options="default")


def streams(folder: Path) -> list[str]:
    """Names of the streams in a folder."""
    return list(_files(folder))


class Reader:
    """Series of one stream, each file opened once: of wide files the opening takes longer than what is read."""

    def __init__(self, folder: Path, stream: str) -> None:
        import pyarrow.parquet

        self._files = [pyarrow.parquet.ParquetFile(path) for path in _files(folder)[stream]]

    def columns(self, names: list[str]) -> Columns:
        """Times `t` [s] and the named series."""
        tables = [file.read(columns=["t", *names]) for file in self._files]
        return {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in ("t", *names)}

    def batches(self, names: list[str], rows: int) -> Iterator[Columns]:
        """The same, at most `rows` rows at a time."""
        for file in self._files:
            for batch in file.iter_batches(rows, columns=["t", *names]):
                yield {name: batch[name].to_numpy(zero_copy_only=False) for name in ("t", *names)}
