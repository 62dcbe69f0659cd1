"""Segments, checkpoints and how they are read back, with a clock that the test moves."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.simulators import recorder
from gridloop.simulators.recorder import CHECKPOINT_S, LOOK_EVERY, Sampling, Stream, read_columns, read_layout

MS = 1000  # microseconds


class Clock:
    """Wall time [s] that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def squares(rows: list[float]) -> recorder.Columns:
    """Two columns beside the time."""
    values = np.array(rows, float)
    return {"unit.value[1]": values, "unit.square[1]": values**2}


def one_column(name: str, rows: list[float]) -> recorder.Columns:
    return {name: np.array(rows)}


def stream(folder: Path, clock: Callable[[], float] | None = None, **more: Any) -> Stream:
    given: dict[str, Any] = {"sampling": Sampling(1e-6, 1), "decode": squares} | more
    return Stream(folder, "Unit", clock=clock or Clock(), **given)


def fill(s: Stream, count: int, first: int = 0) -> None:
    """Rows first, first + 1, ... at as many milliseconds."""
    for k in range(first, first + count):
        s.append(k * MS, float(k))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows_in(path: Path) -> int:
    from pyarrow.parquet import read_metadata

    return int(read_metadata(path).num_rows)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three columns (time, value, square) make segments of 900 / 3 = 300 rows."""
    monkeypatch.setattr(recorder, "VALUES_PER_SEGMENT", 900)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    s = stream(tmp_path)
    fill(s, 5)
    s.close()
    assert files(tmp_path) == ["Unit-00000.parquet"]
    read = read_columns(tmp_path, "Unit", ["unit.square[1]", "unit.value[1]"])
    assert read["t"] == pytest.approx([0, 0.001, 0.002, 0.003, 0.004], abs=1e-15)
    assert read["unit.value[1]"].tolist() == [0, 1, 2, 3, 4]
    assert read["unit.square[1]"].tolist() == [0, 1, 4, 9, 16]
    assert read_layout(tmp_path) == {"unit.value[1]": "Unit", "unit.square[1]": "Unit"}


def test_nothing_is_written_where_nothing_was_taken(tmp_path: Path) -> None:
    stream(tmp_path).close()
    assert files(tmp_path) == []
    assert read_layout(tmp_path) == {}


# --- segments ---


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("width", "rows_per_segment"),
    [
        # 900 values / (width + time), in whole hundreds of rows, but 200 at least
        (2, 300),
        (1, 400),
        (20, 200),
    ],
)
def test_length_of_a_segment_depends_on_the_width_only(width: int, rows_per_segment: int, tmp_path: Path) -> None:
    def decode(rows: list[float]) -> recorder.Columns:
        return {f"unit.x{i}[1]": np.array(rows) for i in range(width)}

    s = stream(tmp_path, decode=decode)
    fill(s, 2 * rows_per_segment + 50)
    s.close()
    lengths = [rows_in(tmp_path / name) for name in files(tmp_path)]
    assert lengths == [rows_per_segment, rows_per_segment, 50]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("jumps", [(), (40,), (100, 200, 310, 650), range(0, 700, LOOK_EVERY)])
def test_same_rows_give_the_same_bytes_whatever_the_clock_does(jumps: Iterable[int], tmp_path: Path) -> None:
    for name, when in (("still", ()), ("jumping", jumps)):
        (tmp_path / name).mkdir()
        clock = Clock()
        s = stream(tmp_path / name, clock)
        for k in range(700):
            clock.now_s += CHECKPOINT_S * (k in when)
            fill(s, 1, first=k)
        s.close()
    still, jumping = tmp_path / "still", tmp_path / "jumping"
    assert files(still) == files(jumping) == [f"Unit-0000{i}.parquet" for i in range(3)]
    for name in files(still):
        assert (still / name).read_bytes() == (jumping / name).read_bytes()


# --- checkpoints ---


@pytest.mark.usefixtures("small")
def test_checkpoint_saves_what_came_since_the_last_in_a_part(tmp_path: Path) -> None:
    clock = Clock()
    s = stream(tmp_path, clock)
    fill(s, LOOK_EVERY)
    assert files(tmp_path) == []  # the clock stood still
    for part in range(2):
        clock.now_s += CHECKPOINT_S
        fill(s, LOOK_EVERY, first=(part + 1) * LOOK_EVERY)
    assert files(tmp_path) == ["Unit-00000.part0.parquet", "Unit-00000.part1.parquet"]
    assert [rows_in(tmp_path / name) for name in files(tmp_path)] == [2 * LOOK_EVERY, LOOK_EVERY]
    # a process that is killed here leaves all three blocks
    assert read_columns(tmp_path, "Unit", ["unit.value[1]"])["unit.value[1]"].tolist() == [*range(3 * LOOK_EVERY)]


@pytest.mark.usefixtures("small")
def test_clock_is_looked_at_every_few_rows_and_not_before_its_time(tmp_path: Path) -> None:
    clock = Clock()
    s = stream(tmp_path, clock)
    clock.now_s = CHECKPOINT_S
    fill(s, LOOK_EVERY - 1)
    assert files(tmp_path) == []
    fill(s, 1, first=LOOK_EVERY - 1)
    assert files(tmp_path) == ["Unit-00000.part0.parquet"]
    clock.now_s += 0.99 * CHECKPOINT_S
    fill(s, LOOK_EVERY, first=LOOK_EVERY)
    assert files(tmp_path) == ["Unit-00000.part0.parquet"]


@pytest.mark.usefixtures("small")
def test_parts_vanish_when_their_segment_is_whole(tmp_path: Path) -> None:
    clock = Clock()
    s = stream(tmp_path, clock)
    fill(s, 150)
    clock.now_s += CHECKPOINT_S
    fill(s, 100, first=150)
    assert files(tmp_path) == ["Unit-00000.part0.parquet"]
    fill(s, 51, first=250)  # row 300 begins the next segment
    assert files(tmp_path) == ["Unit-00000.parquet"]
    s.checkpoint()
    assert files(tmp_path) == ["Unit-00000.parquet", "Unit-00001.part0.parquet"]
    s.close()
    assert files(tmp_path) == ["Unit-00000.parquet", "Unit-00001.parquet"]


def test_checkpoint_without_new_rows_writes_nothing(tmp_path: Path) -> None:
    s = stream(tmp_path)
    s.checkpoint()
    fill(s, 3)
    s.checkpoint()
    s.checkpoint()
    assert files(tmp_path) == ["Unit-00000.part0.parquet"]


@pytest.mark.usefixtures("small")
def test_writing_time_is_counted(tmp_path: Path) -> None:
    clock = Clock()

    def slow(rows: list[float]) -> recorder.Columns:
        clock.now_s += 0.25
        return squares(rows)

    s = stream(tmp_path, clock, decode=slow)
    fill(s, 10)
    s.checkpoint()
    assert s.wall_s == 0.25
    s.checkpoint()
    assert s.wall_s == 0.25


# --- reading ---


@pytest.mark.usefixtures("small")
def test_segments_and_parts_join_in_numeric_order(tmp_path: Path) -> None:
    # 300 rows in a segment, then 24 parts of 5 rows: part10 comes after part9, not after part1
    s = stream(tmp_path)
    fill(s, 300)
    s.checkpoint()
    for k in range(24):
        fill(s, 5, first=300 + 5 * k)
        s.checkpoint()
    assert set(files(tmp_path)) == {"Unit-00000.parquet", *(f"Unit-00001.part{k}.parquet" for k in range(24))}
    read = read_columns(tmp_path, "Unit", ["unit.value[1]"])
    assert read["unit.value[1]"].tolist() == [*range(420)]
    assert read["t"] == pytest.approx(np.arange(420) * 1e-3, abs=1e-12)


def test_parts_beside_their_whole_segment_are_leftovers(tmp_path: Path) -> None:
    # what a process leaves that is killed between the segment's last byte and the removal of its parts
    s = stream(tmp_path)
    fill(s, 10)
    s.checkpoint()
    part = tmp_path / "Unit-00000.part0.parquet"
    kept = part.read_bytes()
    s.close()
    part.write_bytes(kept)
    assert read_columns(tmp_path, "Unit", ["unit.value[1]"])["unit.value[1]"].tolist() == [*range(10)]


def test_half_written_files_are_not_read(tmp_path: Path) -> None:
    s = stream(tmp_path)
    fill(s, 10)
    s.close()
    (tmp_path / ".Unit-00001.tmp").write_bytes(b"PAR1 half a file")
    (tmp_path / ".Other-00000.part0.tmp").write_bytes(b"")
    assert set(read_layout(tmp_path).values()) == {"Unit"}
    assert len(read_columns(tmp_path, "Unit", [])["t"]) == 10


def test_streams_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    # a name with a dash and digits is no segment number
    for name, count in (("Grid", 3), ("Grid-2", 4)):
        column = f"{name}.x[1]"
        s = Stream(tmp_path, name, partial(one_column, column), Sampling(1e-6, 1), Clock())
        fill(s, count)
        s.close()
    assert read_layout(tmp_path) == {"Grid.x[1]": "Grid", "Grid-2.x[1]": "Grid-2"}
    assert len(read_columns(tmp_path, "Grid", ["Grid.x[1]"])["t"]) == 3
    assert len(read_columns(tmp_path, "Grid-2", ["Grid-2.x[1]"])["t"]) == 4


# --- what is kept ---


@pytest.mark.parametrize(
    ("every", "always", "kept_ms"),
    [
        (1 * MS, (), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (4 * MS, (), [0, 4, 8]),
        (4 * MS, (3 * MS, 8 * MS), [0, 3, 4, 8]),
        (100 * MS, (7 * MS,), [0, 7]),
    ],
)
def test_rows_kept_are_multiples_of_every_and_those_in_always(
    every: int, always: tuple[int, ...], kept_ms: list[int], tmp_path: Path
) -> None:
    s = stream(tmp_path, sampling=Sampling(1e-6, every, frozenset(always)))
    fill(s, 10)
    s.close()
    assert np.round(read_columns(tmp_path, "Unit", [])["t"] * 1e3).tolist() == kept_ms


def test_row_of_a_time_that_comes_again_replaces_the_first(tmp_path: Path) -> None:
    s = stream(tmp_path)
    for time, value in ((0, 1.0), (MS, 2.0), (MS, 3.0), (2 * MS, 4.0), (2 * MS, 5.0)):
        s.append(time, value)
    s.close()
    read = read_columns(tmp_path, "Unit", ["unit.value[1]"])
    assert read["unit.value[1]"].tolist() == [1, 3, 5]
    assert read["t"] == pytest.approx([0, 0.001, 0.002], abs=1e-15)


@pytest.mark.usefixtures("small")
def test_last_row_of_a_segment_can_be_replaced_too(tmp_path: Path) -> None:
    clock = Clock()
    s = stream(tmp_path, clock)
    fill(s, 100)
    s.checkpoint()  # from here on the stream knows that a segment has 300 rows
    fill(s, 200, first=100)
    s.append(299 * MS, -1.0)
    fill(s, 1, first=300)
    s.close()
    assert read_columns(tmp_path, "Unit", ["unit.value[1]"])["unit.value[1]"].tolist() == [*range(299), -1, 300]


def test_watch_sees_simulated_seconds_and_the_row_at_every_look_at_the_clock(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    s = stream(tmp_path, sampling=Sampling(1e-6, 50 * MS), watch=lambda t_s, row: seen.append((t_s, row)))
    fill(s, 2 * LOOK_EVERY + 5)
    assert [row for _, row in seen] == [LOOK_EVERY - 1, 2 * LOOK_EVERY - 1]
    assert [t_s for t_s, _ in seen] == pytest.approx([(LOOK_EVERY - 1) * 1e-3, (2 * LOOK_EVERY - 1) * 1e-3])
