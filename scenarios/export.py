"""A run's series for other programs: CSV, one Parquet file, HDF5 as mosaik-hdf5 lays it out, pandas."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridloop.scenarios.aligned import Stretch, chosen, stretches
from gridloop.scenarios.result import Result

if TYPE_CHECKING:
    import pandas

TIME = "t[s]"
SUFFIXES = (".csv", ".parquet", ".h5")
Names = Sequence[tuple[str, str]]


def export(result: Result, path: Path, signals: Iterable[str] = (), every_s: float | None = None) -> Path:
    """Write series of a run to one file; what it is follows from the suffix.

    Args:
        result: the run.
        path: `.csv` or `.parquet` (a column `t[s]` and one of each series, `entity.attribute`, empty where it has no
            row at a time), or `.h5` (each series with its own times); replaced if it is there.
        signals: patterns as in `aligned.chosen`; everything if absent.
        every_s: keep at most one row in every such interval [s].

    Returns:
        `path`.

    Raises:
        ValueError: unknown suffix, a pattern that fits nothing, a run without series, h5py missing.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the file's name must end in {', '.join(SUFFIXES)}")
    names = chosen(result, signals)
    if not names:
        raise ValueError(f"{result.path} holds no series")
    with replacing(path) as aside:
        if path.suffix == ".h5":
            from gridloop.scenarios.export_hdf5 import write_hdf5

            write_hdf5(result, aside, names, every_s)
        else:
            write = write_csv if path.suffix == ".csv" else write_parquet
            write(aside, names, stretches(result, names, every_s))
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; it becomes `path` when all went well and vanishes otherwise."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def titles(names: Names) -> list[str]:
    """Headings of the columns."""
    return [TIME, *(f"{entity}.{attribute}" for entity, attribute in names)]


def table(names: Names, stretch: Stretch) -> Any:
    """A stretch as a table of pyarrow; null where there is no value."""
    import pyarrow

    columns = [stretch.t_s, *stretch.values.T]
    arrays = [pyarrow.array(np.ascontiguousarray(column), from_pandas=True) for column in columns]
    return pyarrow.table(arrays, names=titles(names))


def write_csv(path: Path, names: Names, parts: Iterable[Stretch]) -> None:
    """Comma-separated, full precision, UTF-8."""
    import pyarrow.csv

    bare = pyarrow.csv.WriteOptions(include_header=False)
    with path.open("w", encoding="utf-8", newline="") as head:
        csv.writer(head, lineterminator="\n").writerow(titles(names))
    with path.open("ab") as file:
        for part in parts:
            pyarrow.csv.write_csv(table(names, part), file, bare)


def write_parquet(path: Path, names: Names, parts: Iterable[Stretch]) -> None:
    """One file, compressed like the segments of a run."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(title, pyarrow.float64()) for title in titles(names)])
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False,
        column_encoding=dict.fromkeys(schema.names, "BYTE_STREAM_SPLIT"),
    ) as file:  # fmt: skip
        for part in parts:
            file.write_table(table(names, part))


def data_frame(result: Result, signals: Iterable[str] = ()) -> "pandas.DataFrame":
    """What `Result.to_pandas` returns."""
    import pandas

    names = chosen(result, signals)
    parts = list(stretches(result, names))
    columns = pandas.MultiIndex.from_tuples(names, names=("entity", "attribute"))
    index = pandas.Index(np.concatenate([np.empty(0), *(part.t_s for part in parts)]), name=TIME)
    values = np.concatenate([np.empty((0, len(names))), *(part.values for part in parts)])
    return pandas.DataFrame(values, index=index, columns=columns)
