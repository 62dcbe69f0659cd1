"""A study on disk: study.json tells what it is, points.jsonl keeps each finished point the moment it is finished."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gridloop.scenarios.compare import scenario_differences
from gridloop.scenarios.study_worker import Outcome

SCHEMA = 1
RECORD, JOURNAL, SCRATCH, LOCK = "study.json", "points.jsonl", ".running", ".lock"
MOST_DIFFERENCES = 4  # that a message names


class Journal:
    """Finished points, one line each: a line is there whole and for good, or its point was not finished.

    `outcomes` holds them by the point's key; `described` unit and description of every metric seen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.outcomes: dict[str, Outcome] = {}
        self.described: dict[str, tuple[str, str]] = {}
        self._file: IO[bytes] | None = None
        self._read()

    def _read(self) -> None:
        """Take what is there; a last line without its end is a point that was not finished.

        Raises:
            ValueError: a line is damaged.
        """
        if not self._path.exists():
            return
        whole = self._path.read_bytes()
        lines = whole[: whole.rfind(b"\n") + 1]
        for number, line in enumerate(lines.splitlines(), 1):
            try:
                entry = json.loads(line)
                self.described |= {key: (unit, text) for key, (unit, text) in entry["described"].items()}
                self.outcomes[entry["key"]] = Outcome(
                    entry["status"], entry["message"], entry["wall_s"], _numbers(entry["metrics"]),
                    tuple(_numbers(window) for window in entry["windows"]),
                )  # fmt: skip
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{self._path}:{number} is damaged: {error}; delete the line") from error
        if len(lines) < len(whole):
            with self._path.open("r+b") as file:
                file.truncate(len(lines))

    def add(self, key: str, outcome: Outcome) -> None:
        """Keep a finished point; once this returns, no power cut takes it away."""
        new = {name: words for name, words in outcome.described.items() if name not in self.described}
        entry = {
            "key": key, "status": outcome.status, "message": outcome.message, "wall_s": outcome.wall_s,
            "metrics": _texts(outcome.metrics), "windows": [_texts(window) for window in outcome.windows],
            "described": new,
        }  # fmt: skip
        if self._file is None:
            self._file = self._path.open("ab")
        self._file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.outcomes[key] = outcome
        self.described |= new

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _texts(figures: Mapping[str, float]) -> dict[str, float | str]:
    """inf and nan as text, because JSON has no such numbers."""
    return {key: value if math.isfinite(value) else str(value) for key, value in figures.items()}


def _numbers(figures: Mapping[str, float | str]) -> dict[str, float]:
    return {key: float(value) for key, value in figures.items()}


@contextmanager
def opened(folder: Path, known: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal of a study in its folder, for one process at a time.

    Args:
        folder: made if it is not there.
        known: the scenario's fingerprint.

    Raises:
        ValueError: the folder holds a study of another scenario, something else, or one that is running.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a study needs a folder")
    _check_same(folder, known)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        scratch = folder / SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed study left
        scratch.mkdir()
        journal = Journal(folder / JOURNAL)
        try:
            yield journal
        finally:
            journal.close()
            shutil.rmtree(scratch, ignore_errors=True)


def _check_same(folder: Path, known: Mapping[str, Any]) -> None:
    if not (folder / RECORD).exists():
        if (folder / "run.json").exists() or (folder / JOURNAL).exists():
            raise ValueError(f"{folder} holds something that is no study; choose another folder with --out")
        return
    before = read_record(folder)["fingerprint"]
    if before == json.loads(json.dumps(known)):
        return
    keys = [difference.path for difference in scenario_differences([before["scenario"], known["scenario"]])]
    keys += [name for name in {**before["files"], **known["files"]}
             if before["files"].get(name) != known["files"].get(name)]  # fmt: skip
    more = f" and {len(keys) - MOST_DIFFERENCES} more" if len(keys) > MOST_DIFFERENCES else ""
    raise ValueError(
        f"{folder} holds a study of another scenario: {', '.join(keys[:MOST_DIFFERENCES])}{more} changed since; "
        f"choose another folder with --out, or delete {folder}"
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other studies out; the system takes the lock back when a process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # on Windows two studies in one folder are not noticed
        yield
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{folder}: a study is running in this folder; wait for it, or use --out") from None
        yield


def read_record(folder: Path) -> dict[str, Any]:
    """The content of study.json.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no study: there is no {RECORD}") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; choose another folder with --out, or delete {folder}") from error
    return record


def write_record(folder: Path, content: Mapping[str, Any]) -> None:
    """Write study.json whole or not at all."""
    write_whole(folder / RECORD, json.dumps({"schema": SCHEMA, **content}, indent=1, allow_nan=False))


def write_whole(path: Path, text: str) -> None:
    """Replace a file by another, never by half of it."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
