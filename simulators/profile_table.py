"""Profiles on disk: series of time from a CSV or Parquet file, in seconds of a scenario's clock and in base units.

A column is named `Quantity[unit]`. Times are ISO 8601, with an offset or in a named time zone; across a change
of daylight saving time they are exact, because they are turned into UTC first. Whatever is wrong with a file is
found in one reading and named with the row and the column.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from gridloop.simulators.models.network import Real

# unit -> (base unit, divisor that leads to it); other units stay as they are
BASE_UNITS = {
    "W": ("MW", 1e6), "kW": ("MW", 1e3), "MW": ("MW", 1.0),
    "var": ("MVar", 1e6), "kvar": ("MVar", 1e3), "Mvar": ("MVar", 1.0), "MVar": ("MVar", 1.0),
    "VA": ("MVA", 1e6), "kVA": ("MVA", 1e3), "MVA": ("MVA", 1.0),
    "Wh": ("MWh", 1e6), "kWh": ("MWh", 1e3), "MWh": ("MWh", 1.0),
}  # fmt: skip


class ProfileError(ValueError):
    """A profile that cannot be used; `problems` names everything that is wrong with it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Source:
    """Where a profile comes from.

    Args:
        file: a .csv or .parquet file.
        columns: own name -> column `Quantity[unit]` of the file.
        time: column that holds the time; None is the first.
        time_zone: IANA name for times without offset; None: every time carries its offset.
    """

    file: Path
    columns: Mapping[str, str]
    time: str | None = None
    time_zone: str | None = None


@dataclass(frozen=True)
class Profile:
    """The rows of a profile that a run needs."""

    times_s: Real  # (m,) since the scenario's clock; the first is <= 0, the last >= the run's end
    values: Mapping[str, Real]  # own name -> (m,) in its base unit
    units: Mapping[str, str]  # own name -> base unit


def read_profile(source: Source, start: datetime, until_s: float) -> Profile:
    """Read the rows that a run from `start` to `until_s` seconds later needs.

    Args:
        source: file, columns and time zone.
        start: the scenario's clock, with an offset.
        until_s: end of the run [s].

    Raises:
        ProfileError: no such file, column or time zone; a cell that is no number or no time; times that do not
            increase or do not cover the run.
        ValueError: `start` has no offset.
    """
    if start.utcoffset() is None:
        raise ValueError(f"start = {start.isoformat()} must have an offset")
    table = _Table(source)
    zone = _zone(source, table.name)
    microseconds = table.times(zone, start)
    if microseconds is not None:
        table.check_times(microseconds, start, until_s)
    values = {key: table.numbers(name) for key, name in source.columns.items()}
    if table.problems or microseconds is None:
        raise ProfileError(*table.problems)
    times_s = microseconds / 1e6
    first = max(int(np.searchsorted(times_s, 0.0, "right")) - 1, 0)
    last = max(int(np.searchsorted(times_s, until_s, "left")), first + 1)
    bases = {key: base_unit(name[name.index("[") + 1 : -1]) for key, name in source.columns.items()}
    return Profile(
        times_s[first : last + 1],
        {key: array[first : last + 1] / bases[key][1] for key, array in values.items()},
        {key: base for key, (base, _) in bases.items()},
    )


def base_unit(unit: str) -> tuple[str, float]:
    """The unit in which gridloop keeps a quantity, and the divisor that leads to it."""
    return BASE_UNITS.get(unit, (unit, 1.0))


def _did_you_mean(word: str, known: Sequence[str], what: str) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    listed = ", ".join(sorted(known)[:20]) + (", ..." if len(known) > 20 else "")
    return f"; {what}: {listed or 'none'}"


def _zone(source: Source, name: str) -> tzinfo | None:
    if source.time_zone is None:
        return None
    known = available_timezones()
    if source.time_zone not in known:
        hint = _did_you_mean(source.time_zone, sorted(known), "known")
        raise ProfileError(f"{name}: there is no time zone {source.time_zone!r}{hint}")
    return ZoneInfo(source.time_zone)


class _Table:
    """The columns of one file and what is found wrong with them."""

    def __init__(self, source: Source) -> None:
        self.path, self.name, self.problems = source.file, source.file.name, list[str]()
        if not self.path.is_file():
            near = [p.name for p in self.path.parent.glob("*") if p.suffix in (".csv", ".parquet")]
            hint = _did_you_mean(self.name, near, f"files in {self.path.parent}")
            raise ProfileError(f"there is no file {self.path}{hint}")
        readers: dict[str, Callable[[Path], tuple[list[str], Callable[[list[str]], Any]]]]
        readers = {".csv": _open_csv, ".parquet": _open_parquet}
        if self.path.suffix not in readers:
            raise ProfileError(f"{self.name} must end in .csv or .parquet")
        names, read = readers[self.path.suffix](self.path)
        if not names:
            raise ProfileError(f"{self.name} is empty; its first line must name the columns")
        self._time = source.time if source.time is not None else names[0]
        wanted = list(dict.fromkeys((self._time, *source.columns.values())))
        self._check_names(names, wanted)
        try:
            self._table = read(wanted)
        except ValueError as error:  # pyarrow's own
            raise ProfileError(f"{self.name} cannot be read: {error}") from error
        if len(self._table) < 2:
            raise ProfileError(f"{self.name} has {len(self._table)} row(s) of data; give at least 2")

    def _check_names(self, names: list[str], wanted: list[str]) -> None:
        problems = []
        for name in wanted:
            if name not in names:
                hint = _did_you_mean(name, names, "columns")
                if len(names) == 1 and ";" in names[0]:
                    hint = "; the file separates its columns by ';': separate them by ',' and write 0.5, not 0,5"
                problems.append(f"{self.name} has no column {name!r}{hint}")
            elif names.count(name) > 1:
                problems.append(f"{self.name} has {names.count(name)} columns {name!r}; rename all but one")
            elif name != self._time and not (name.endswith("]") and "[" in name[1:-2]):
                problems.append(f"{self.name}: column {name!r} has no unit; name it like P[kW]")
        if problems:
            raise ProfileError(*problems)

    def _place(self, row: int, column: str) -> str:
        """A cell in words; rows of a CSV file are counted as an editor does."""
        if self.path.suffix == ".csv":
            with self.path.open(encoding="utf-8-sig") as file:
                lines = [number for number, line in enumerate(file, 1) if line.strip("\r\n")]
            return f"{self.name}, line {lines[row + 1]}, column {column}"
        return f"{self.name}, row {row + 1}, column {column}"

    def numbers(self, name: str) -> Real:
        """A column as float64; what is no number is reported once, with how many more there are."""
        import pyarrow
        import pyarrow.compute

        column = self._table[name]
        try:
            values: Real = pyarrow.compute.cast(column, pyarrow.float64()).to_numpy()
        except ValueError:  # text that is no number
            values = np.array([_number(cell) for cell in column.to_pylist()])
        except NotImplementedError:  # pyarrow cannot make numbers of this type
            self.problems.append(f"{self.name}: column {name} holds {column.type}; it must hold numbers")
            return np.zeros(len(column))
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            cell, more = column[int(wrong[0])].as_py(), len(wrong) - 1
            shown = "the cell is empty" if cell in (None, "") else f"{cell!r} is not a finite number"
            hint = "; write 0.5, not 0,5" if isinstance(cell, str) and "," in cell else ""
            others = f" ({more} more in this column)" if more else ""
            self.problems.append(f"{self._place(int(wrong[0]), name)}: {shown}{hint}{others}; fill in a number")
        return values

    def times(self, zone: tzinfo | None, start: datetime) -> Any:
        """Microseconds since `start` (m,), exact; None if a time cannot be read."""
        import pyarrow

        column = self._table[self._time]
        kind = column.type
        stamped = pyarrow.types.is_timestamp(kind)
        if not (stamped or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            self.problems.append(f"{self.name}: column {self._time} holds {kind}; it must hold times, ISO 8601")
            return None
        if stamped:
            column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
        try:
            return np.fromiter(self._microseconds(column.to_pylist(), zone, start), np.int64, len(column))
        except _WrongTime as wrong:
            self.problems.append(f"{self._place(wrong.row, self._time)}: {wrong}")
            return None

    def _microseconds(self, cells: list[Any], zone: tzinfo | None, start: datetime) -> Iterator[int]:
        origin, unit = start.astimezone(UTC), timedelta(microseconds=1)
        for row, cell in enumerate(cells):
            if cell in (None, ""):
                raise _WrongTime(row, "the cell is empty; fill in a time")
            try:
                instant = datetime.fromisoformat(cell) if isinstance(cell, str) else cell
            except ValueError:
                raise _WrongTime(row, f"{cell!r} is not a time; write it like 2026-06-21T12:00:00+02:00") from None
            if instant.tzinfo is None:
                instant = _in_zone(row, instant, zone)
            yield (instant.astimezone(UTC) - origin) // unit

    def check_times(self, microseconds: Any, start: datetime, until_s: float) -> None:
        """Report times that do not increase, or that leave a part of the run without values."""
        back = np.flatnonzero(np.diff(microseconds) <= 0)
        if len(back):
            row = int(back[0]) + 1
            cell, before = (self._table[self._time][place].as_py() for place in (row, row - 1))
            self.problems.append(
                f"{self._place(row, self._time)}: {cell} is not after {before} of the row before; sort the rows by "
                "time and keep each time once"
            )
            return
        first, last = (_instant(start, microseconds[place] / 1e6) for place in (0, -1))
        if microseconds[0] > 0:
            self.problems.append(
                f"{self.name} begins at {first}, after the clock's {start.isoformat()}; add rows or set a later clock"
            )
        if microseconds[-1] / 1e6 < until_s:
            self.problems.append(
                f"{self.name} ends at {last}, before the run's end {_instant(start, until_s)}; "
                "add rows or end the run earlier"
            )


def _instant(start: datetime, t_s: float) -> str:
    """A time of the run as ISO 8601 in the clock's own offset."""
    return (start.astimezone(UTC) + timedelta(seconds=t_s)).astimezone(start.tzinfo).isoformat()


class _WrongTime(Exception):
    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def _in_zone(row: int, local: datetime, zone: tzinfo | None) -> datetime:
    """A time without offset in its zone; times that happen twice or never are refused."""
    if zone is None:
        raise _WrongTime(row, f"{local.isoformat()} has no offset; add one, or give the time_zone")
    early, late = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        # in a gap the offset before the change is the smaller one, in a repeated hour the larger one
        never = (early.utcoffset() or timedelta()) < (late.utcoffset() or timedelta())
        happens = "does not exist" if never else "happens twice"
        raise _WrongTime(
            row, f"{local.isoformat()} {happens} in {zone}, where daylight saving time changes; write times with offset"
        )
    return early


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return np.nan


def _open_csv(path: Path) -> tuple[list[str], Callable[[list[str]], Any]]:
    """Names of the columns, and a function that reads some of them as text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names = next((line for line in csv.reader(file) if line), [])
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path.name} is not UTF-8 text: {error}") from error

    def read(wanted: list[str]) -> Any:
        import pyarrow
        import pyarrow.csv

        options = pyarrow.csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pyarrow.string())
        )
        return pyarrow.csv.read_csv(path, convert_options=options)

    return names, read


def _open_parquet(path: Path) -> tuple[list[str], Callable[[list[str]], Any]]:
    """Names of the columns, and a function that reads some of them."""
    import pyarrow.parquet

    try:
        names = list(pyarrow.parquet.read_schema(path).names)
    except ValueError as error:  # pyarrow's own
        raise ProfileError(f"{path.name} is no Parquet file: {error}") from error

    def read(wanted: list[str]) -> Any:
        return pyarrow.parquet.read_table(path, columns=wanted)

    return names, read
