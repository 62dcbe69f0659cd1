"""Profiles from files: units, times across daylight saving, and what a user is told of a wrong file."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from gridloop.simulators.profile_table import ProfileError, Source, base_unit, read_profile

NOON = datetime(2026, 6, 21, 12, tzinfo=timezone(timedelta(hours=2)))
GOOD = """time,P[kW],Q[kvar],GHI[W_per_m2]
2026-06-21T12:00:00+02:00,10,1,900
2026-06-21T12:15:00+02:00,20.5,-2,850.5
2026-06-21T12:30:00+02:00,-5e-1,0,800
"""


def source(folder: Path, text: str = GOOD, name: str = "sky.csv", **more: Any) -> Source:
    (folder / name).write_text(text, encoding="utf-8")
    return Source(folder / name, **({"columns": {"p": "P[kW]"}} | more))


def parquet(folder: Path, columns: dict[str, Any], **more: Any) -> Source:
    pyarrow.parquet.write_table(pa.table(columns), folder / "sky.parquet")
    return Source(folder / "sky.parquet", **({"columns": {"p": "P[kW]"}} | more))


def complaint(given: Source, start: datetime = NOON, until_s: float = 1800) -> str:
    with pytest.raises(ProfileError) as error:
        read_profile(given, start, until_s)
    assert error.value.problems == tuple(str(error.value).split("\n"))
    return str(error.value)


# --- values and units ---


def test_columns_arrive_in_base_units_and_seconds_of_the_clock(tmp_path: Path) -> None:
    columns = {"p": "P[kW]", "q": "Q[kvar]", "sun": "GHI[W_per_m2]"}
    profile = read_profile(source(tmp_path, columns=columns), NOON, 1800)
    assert profile.times_s.tolist() == [0, 900, 1800]
    assert profile.values["p"].tolist() == [0.01, 0.0205, -0.0005]
    assert profile.values["q"].tolist() == [0.001, -0.002, 0]
    assert profile.values["sun"].tolist() == [900, 850.5, 800]
    assert profile.units == {"p": "MW", "q": "MVar", "sun": "W_per_m2"}


@pytest.mark.parametrize(
    ("unit", "base", "value"),
    [
        ("W", "MW", 3e-6), ("kW", "MW", 3e-3), ("MW", "MW", 3), ("var", "MVar", 3e-6), ("kvar", "MVar", 3e-3),
        ("Mvar", "MVar", 3), ("MVar", "MVar", 3), ("VA", "MVA", 3e-6), ("kVA", "MVA", 3e-3), ("MVA", "MVA", 3),
        ("Wh", "MWh", 3e-6), ("kWh", "MWh", 3e-3), ("MWh", "MWh", 3), ("degC", "degC", 3), ("percent", "percent", 3),
        ("knots", "knots", 3),
    ],
)  # fmt: skip
def test_units(unit: str, base: str, value: float) -> None:
    found, divisor = base_unit(unit)
    assert found == base
    assert 3 / divisor == pytest.approx(value, rel=1e-15)


def test_only_the_rows_that_the_run_needs_are_kept(tmp_path: Path) -> None:
    rows = "".join(f"2026-06-21T{hour:02}:00:00+02:00,{hour}\n" for hour in range(24))
    given = source(tmp_path, "time,P[MW]\n" + rows, columns={"p": "P[MW]"})
    profile = read_profile(given, NOON + timedelta(minutes=30), 3600)
    assert profile.times_s.tolist() == [-1800, 1800, 5400]
    assert profile.values["p"].tolist() == [12, 13, 14]
    within = read_profile(given, NOON, 3600)
    assert (within.times_s.tolist(), within.values["p"].tolist()) == ([0, 3600], [12, 13])
    assert read_profile(given, NOON, 1).times_s.tolist() == [0, 3600]


def test_time_column_may_stand_anywhere(tmp_path: Path) -> None:
    text = "P[kW],when\n1,2026-06-21T10:00:00Z\n2,2026-06-21 10:30:00+00:00\n"
    assert read_profile(source(tmp_path, text, time="when"), NOON, 1800).times_s.tolist() == [0, 1800]


def test_parts_of_a_second_are_exact(tmp_path: Path) -> None:
    text = "time,P[kW]\n2026-06-21T11:59:59.9+02:00,1\n2026-06-21T12:00:00.300001+02:00,2\n"
    assert read_profile(source(tmp_path, text), NOON, 0.3).times_s.tolist() == [-0.1, 0.300001]


def test_two_names_may_share_a_column(tmp_path: Path) -> None:
    profile = read_profile(source(tmp_path, columns={"a": "P[kW]", "b": "P[kW]"}), NOON, 1800)
    assert np.array_equal(profile.values["a"], profile.values["b"])


def test_byte_order_mark_and_windows_lines_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "sky.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    profile = read_profile(Source(tmp_path / "sky.csv", {"p": "P[kW]"}, time="time"), NOON, 1800)
    assert profile.values["p"].tolist() == [0.01, 0.0205, -0.0005]


# --- Parquet ---

UTC_NOON = datetime(2026, 6, 21, 10, tzinfo=UTC)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+05:30"])
def test_parquet_time_stamps_are_instants_whatever_their_zone(tmp_path: Path, unit: str, zone: str) -> None:
    stamps = pa.array([UTC_NOON, UTC_NOON + timedelta(hours=1)], pa.timestamp(unit, zone))
    profile = read_profile(parquet(tmp_path, {"t": stamps, "P[kW]": [1, 2]}), NOON, 3600)
    assert profile.times_s.tolist() == [0, 3600]
    assert profile.values["p"].tolist() == [0.001, 0.002]


def test_parquet_times_as_text_or_without_zone_are_as_in_csv(tmp_path: Path) -> None:
    local = ["2026-06-21T12:00", "2026-06-21T13:00"]
    naive = pa.array([datetime.fromisoformat(t) for t in local], pa.timestamp("us"))
    for times in (local, naive):
        given = parquet(tmp_path, {"t": times, "P[kW]": [1.0, 2.0]}, time_zone="Europe/Berlin")
        assert read_profile(given, NOON, 3600).times_s.tolist() == [0, 3600]
        without = Source(given.file, given.columns)
        assert complaint(without).startswith("sky.parquet, row 1, column t: 2026-06-21T12:00:00 has no offset; ")


# --- daylight saving ---


def test_spring_day_in_local_time_is_exact(tmp_path: Path) -> None:
    # 29 March 2026 in Berlin: 01:00 CET, then 03:00 CEST is one hour later
    text = "time,P[kW]\n2026-03-29T01:00,1\n2026-03-29T03:00,2\n2026-03-29T04:00,3\n"
    start = datetime(2026, 3, 29, 1, tzinfo=timezone(timedelta(hours=1)))
    profile = read_profile(source(tmp_path, text, time_zone="Europe/Berlin"), start, 7200)
    assert profile.times_s.tolist() == [0, 3600, 7200]


def test_autumn_day_in_local_time_is_exact(tmp_path: Path) -> None:
    # 25 October 2026: 01:00 CEST to 03:00 CET are three hours
    text = "time,P[kW]\n2026-10-25T01:00,1\n2026-10-25T03:00,2\n"
    start = datetime(2026, 10, 25, 1, tzinfo=timezone(timedelta(hours=2)))
    assert read_profile(source(tmp_path, text, time_zone="Europe/Berlin"), start, 0).times_s.tolist() == [0, 10800]


@pytest.mark.parametrize(
    ("local", "happens"), [("2026-03-29T02:30", "does not exist"), ("2026-10-25T02:30", "happens twice")]
)
def test_local_times_at_the_change_are_refused(tmp_path: Path, local: str, happens: str) -> None:
    day = local[:10]
    given = source(tmp_path, f"time,P[kW]\n{day}T00:00,1\n{local},2\n", time_zone="Europe/Berlin")
    assert complaint(given) == (
        f"sky.csv, line 3, column time: {local}:00 {happens} in Europe/Berlin, where daylight saving time changes; "
        "write times with offset"
    )


def test_times_with_offset_pass_the_change_in_any_zone(tmp_path: Path) -> None:
    text = "time,P[kW]\n2026-10-25T02:30+02:00,1\n2026-10-25T02:30+01:00,2\n"
    start = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert read_profile(source(tmp_path, text, time_zone="Europe/Berlin"), start, 0).times_s.tolist() == [0, 3600]


# --- what a user is told ---


def replaced(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (replaced("20.5", "abc"), "sky.csv, line 3, column P[kW]: 'abc' is not a finite number; fill in a number"),
        (replaced("20.5", ""), "sky.csv, line 3, column P[kW]: the cell is empty; fill in a number"),
        (replaced("20.5", "NaN"), "sky.csv, line 3, column P[kW]: 'NaN' is not a finite number; fill in a number"),
        (replaced("20.5", "inf"), "sky.csv, line 3, column P[kW]: 'inf' is not a finite number; fill in a number"),
        (
            replaced("20.5", '"20,5"'),
            "sky.csv, line 3, column P[kW]: '20,5' is not a finite number; write 0.5, not 0,5; fill in a number",
        ),
        (
            replaced("20.5", "-").replace("-5e-1", "x"),
            "sky.csv, line 3, column P[kW]: '-' is not a finite number (1 more in this column); fill in a number",
        ),
        ("", "sky.csv is empty; its first line must name the columns"),
        (
            replaced("2026-06-21T12:15:00+02:00", "21.6.2026 12:15"),
            "sky.csv, line 3, column time: '21.6.2026 12:15' is not a time; write it like 2026-06-21T12:00:00+02:00",
        ),
        (
            replaced("2026-06-21T12:15:00+02:00", "2026-06-21T12:15:00"),
            "sky.csv, line 3, column time: 2026-06-21T12:15:00 has no offset; add one, or give the time_zone",
        ),
        (
            replaced("2026-06-21T12:15:00+02:00", ""),
            "sky.csv, line 3, column time: the cell is empty; fill in a time",
        ),
        (
            replaced("2026-06-21T12:15:00+02:00", "2026-06-21T12:00:00+02:00"),
            "sky.csv, line 3, column time: 2026-06-21T12:00:00+02:00 is not after 2026-06-21T12:00:00+02:00 of the row "
            "before; sort the rows by time and keep each time once",
        ),
        (
            replaced("2026-06-21T12:30:00+02:00", "2026-06-21T12:30:00+03:00"),
            "sky.csv, line 4, column time: 2026-06-21T12:30:00+03:00 is not after 2026-06-21T12:15:00+02:00 of the row "
            "before; sort the rows by time and keep each time once",
        ),
        (replaced(",20.5,-2,850.5", ",20.5"), "sky.csv cannot be read: CSV parse error: Expected 4 columns, got 2"),
        (GOOD.splitlines()[0] + "\n", "sky.csv has 0 row(s) of data; give at least 2"),
        ("\n".join(GOOD.splitlines()[:2]), "sky.csv has 1 row(s) of data; give at least 2"),
        (replaced("P[kW]", "P[kw]"), "sky.csv has no column 'P[kW]'; did you mean P[kw]?"),
        (
            replaced("P[kW]", "power"),
            "sky.csv has no column 'P[kW]'; columns: GHI[W_per_m2], Q[kvar], power, time",
        ),
        (replaced("Q[kvar]", "P[kW]"), "sky.csv has 2 columns 'P[kW]'; rename all but one"),
        (
            GOOD.replace(",", ";"),
            "sky.csv has no column 'P[kW]'; the file separates its columns by ';': separate them by ',' and write 0.5, "
            "not 0,5",
        ),
    ],
)  # fmt: skip
def test_wrong_cells_are_named(tmp_path: Path, text: str, words: str) -> None:
    told = complaint(source(tmp_path, text))
    assert told == words or told.startswith(words + ":")  # a colon: then come the reader's own words


def test_empty_lines_do_not_shift_the_count(tmp_path: Path) -> None:
    text = "\n" + replaced("2026-06-21T12:15", "\n\n2026-06-21T12:15").replace("20.5", "x")
    assert complaint(source(tmp_path, text)).startswith("sky.csv, line 6, column P[kW]: 'x'")


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = replaced("20.5,-2", "x,y").replace("12:30:00+02:00", "soon")
    told = complaint(source(tmp_path, text, columns={"p": "P[kW]", "q": "Q[kvar]"})).splitlines()
    assert [line.partition(": ")[0] for line in told] == [
        "sky.csv, line 4, column time", "sky.csv, line 3, column P[kW]", "sky.csv, line 3, column Q[kvar]",
    ]  # fmt: skip


def test_every_missing_column_is_told(tmp_path: Path) -> None:
    told = complaint(source(tmp_path, time="tim", columns={"p": "P[W]", "x": "power", "t": "time"}))
    assert told.splitlines() == [
        "sky.csv has no column 'tim'; did you mean time?",
        "sky.csv has no column 'P[W]'; did you mean P[kW]?",
        "sky.csv has no column 'power'; columns: GHI[W_per_m2], P[kW], Q[kvar], time",
        "sky.csv: column 'time' has no unit; name it like P[kW]",
    ]


@pytest.mark.parametrize(
    ("start", "until_s", "words"),
    [
        (
            NOON - timedelta(seconds=1), 1800,
            "sky.csv begins at 2026-06-21T12:00:00+02:00, after the clock's 2026-06-21T11:59:59+02:00; add rows or set "
            "a later clock",
        ),
        (
            NOON, 1801,
            "sky.csv ends at 2026-06-21T12:30:00+02:00, before the run's end 2026-06-21T12:30:01+02:00; add rows or "
            "end the run earlier",
        ),
        (
            NOON.astimezone(UTC) + timedelta(days=1), 60,
            "sky.csv ends at 2026-06-21T10:30:00+00:00, before the run's end 2026-06-22T10:01:00+00:00; add rows or "
            "end the run earlier",
        ),
    ],
)  # fmt: skip
def test_run_that_is_not_covered(tmp_path: Path, start: datetime, until_s: float, words: str) -> None:
    assert complaint(source(tmp_path), start, until_s) == words


def test_missing_files_are_named_with_what_is_there(tmp_path: Path) -> None:
    source(tmp_path)
    assert complaint(Source(tmp_path / "skye.csv", {})) == (
        f"there is no file {tmp_path / 'skye.csv'}; did you mean sky.csv?"
    )
    assert complaint(Source(tmp_path / "wind.csv", {})) == (
        f"there is no file {tmp_path / 'wind.csv'}; files in {tmp_path}: sky.csv"
    )
    assert complaint(Source(tmp_path / "none" / "wind.csv", {})).endswith(f"files in {tmp_path / 'none'}: none")


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("Europe/berlin", "did you mean Europe/Berlin?"),
        ("", "known: "),
    ],
)
def test_bad_time_zone(tmp_path: Path, zone: str, hint: str) -> None:
    assert complaint(source(tmp_path, time_zone=zone)).startswith(f"sky.csv: there is no time zone {zone!r}; {hint}")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    assert complaint(source(tmp_path, name="sky.txt")) == "sky.txt must end in .csv or .parquet"
    assert complaint(source(tmp_path, name="sky.parquet")).startswith("sky.parquet is no Parquet file: ")
    (tmp_path / "sky.csv").write_bytes("time,P[kW],Zähler\n".encode("latin-1"))
    assert complaint(Source(tmp_path / "sky.csv", {"p": "P[kW]"})).startswith("sky.csv is not UTF-8 text: ")


STAMPS = pa.array([UTC_NOON, UTC_NOON + timedelta(hours=1)], pa.timestamp("us", "UTC"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"t": STAMPS, "P[kW]": [1.0, None]}, "sky.parquet, row 2, column P[kW]: the cell is empty; fill in a number"),
        (
            {"t": STAMPS, "P[kW]": [float("nan"), 2.0]},
            "sky.parquet, row 1, column P[kW]: nan is not a finite number; fill in a number",
        ),
        (
            {"t": STAMPS, "P[kW]": ["1", "two"]},
            "sky.parquet, row 2, column P[kW]: 'two' is not a finite number; fill in a number",
        ),
        ({"t": STAMPS, "P[kW]": STAMPS}, "sky.parquet: column P[kW] holds timestamp[us, tz=UTC]; it must hold numbers"),
        ({"t": [0, 60], "P[kW]": [1, 2]}, "sky.parquet: column t holds int64; it must hold times, ISO 8601"),
        (
            {"t": pa.array([UTC_NOON, None], pa.timestamp("us", "UTC")), "P[kW]": [1, 2]},
            "sky.parquet, row 2, column t: the cell is empty; fill in a time",
        ),
    ],
)  # fmt: skip
def test_wrong_cells_of_parquet_are_named(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    assert complaint(parquet(tmp_path, columns), until_s=60) == words


def test_clock_needs_an_offset(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="start = 2026-06-21T12:00:00 must have an offset"):
        read_profile(source(tmp_path), NOON.replace(tzinfo=None), 60)
