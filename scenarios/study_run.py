"""Studies: run every point of a design that is not finished yet, keep each, draw what came out."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloop.scenarios.provenance import provenance
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.study_folder import JOURNAL, SCRATCH, Journal, opened, read_record, write_record
from gridloop.scenarios.study_margins import predicted
from gridloop.scenarios.study_points import Axis, Design, Point, design, fingerprint, settings_of
from gridloop.scenarios.study_pool import cores, run_locally
from gridloop.scenarios.study_table import Curve, Row, check_metrics, curves, write_table
from gridloop.scenarios.study_worker import Order, Outcome

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

METRIC = "f_settling_time"


@dataclass(frozen=True)
class StudyProgress:
    """How far a study is: points finished of all, those that were there before it began, wall time since then [s]."""

    done: int
    total: int
    before: int
    failed: int
    wall_s: float

    @property
    def left_s(self) -> float | None:
        """Time that the rest will take at the rate so far [s]; None before the first point."""
        new = self.done - self.before
        return self.wall_s / new * (self.total - self.done) if new else None


@dataclass(frozen=True)
class StudyResult:
    """A study, finished or not. `record` is the content of study.json."""

    path: Path
    record: Mapping[str, Any]

    @property
    def status(self) -> str:
        """done, or interrupted if points are missing."""
        status = str(self.record["status"])
        return "interrupted" if status == "running" else status

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What was swept."""
        return tuple(Axis(a["path"], tuple(a["values"]), a["is_log"]) for a in self.record["axes"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is drawn."""
        return tuple(self.record["metrics"])

    @property
    def described(self) -> dict[str, tuple[str, str]]:
        """Unit and description of every metric."""
        return self._journal.described

    @cached_property
    def rows(self) -> list[Row]:
        """Finished points with their outcomes, in the order of the design."""
        outcomes, cases = self._journal.outcomes, self.record["cases"]
        rows = []
        for known in self.record["points"]:
            if known["key"] in outcomes:
                swept = dict(zip((axis.path for axis in self.axes), known["values"], strict=True))
                overrides = {**cases[known["case"]], **swept, "seed": known["seed"]}
                point = Point(known["case"], tuple(known["values"]), known["seed"], overrides, known["key"])
                rows.append(Row(point, outcomes[known["key"]]))
        return rows

    def curves(self, metric: str = "") -> list[Curve]:
        """A metric (the study's first if absent) over the first swept value: one curve for each case."""
        name = metric or self.metrics[0]
        check_metrics(self.rows, [name])
        return curves(self.rows, self.axes, name)

    def to_pandas(self) -> "pandas.DataFrame":
        """The table, one row a point."""
        import pandas

        return pandas.read_parquet(self.path / "study.parquet")

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self.path / JOURNAL)


def open_study(folder: Path | str) -> StudyResult:
    """Open a study's folder, also that of one that was killed.

    Raises:
        ValueError: the folder holds no study.
    """
    return StudyResult(Path(folder), read_record(Path(folder)))


def study(  # noqa: PLR0913 - the public entry; all but the scenario are options with a name
    scenario: Scenario, *, sets: Mapping[str, Any] | None = None,
    cases: Mapping[str, Mapping[str, Any]] | None = None, repeats: int | None = None,
    metrics: Sequence[str] = (), folder: Path | str | None = None, jobs: int | None = None,
    scheduler: str | None = None, keep_runs: bool = False,
    watch: Callable[[StudyProgress], None] | None = None,
) -> StudyResult:  # fmt: skip
    """Run a scenario at every combination of swept values, cases and seeds, each run in a worker process.

    A point is kept when it is finished: the same call later, in the same folder, goes on where this one ended. A run
    that fails is a point with the status `failed`; one whose process dies is tried again. Ctrl-C keeps what there is.

    Args:
        scenario: from `load`. Its `study:` part gives what the following four leave out.
        sets: by dotted path the values: a list, "1,2,5", "0:1:11" (first, last, count) or "1:1000:7:log".
        cases: overrides by name, one curve each.
        repeats: seeds of every point, from the scenario's on.
        metrics: what is drawn: `KEY` of the last window, `windows.N.KEY`, or `run.KEY` of the whole run.
        folder: where everything goes; `studies/<name>` by default.
        jobs: processes; as many as there are cores by default.
        scheduler: address of a Dask scheduler whose workers run the points instead (extra `cluster`).
        keep_runs: keep the whole runs in `runs/` of the folder.
        watch: called whenever a point is finished.

    Raises:
        ScenarioError: a point is no scenario that could run.
        ValueError: the folder holds another study, a range is none, no run has a metric, no scheduler answers.
    """
    own = settings_of(scenario)
    # a path that is given takes the place of the scenario's, which keeps its other ones
    swept = {**(own.get("set") or {}), **(sets or {})}
    planned = design(scenario, swept, own.get("cases") or {} if cases is None else cases,
                     int(own.get("repeats") or 1) if repeats is None else repeats)  # fmt: skip
    drawn = list(metrics) or [str(own.get("metric") or METRIC)]
    return execute(planned, Means(folder, jobs, scheduler, keep_runs), drawn, watch)


@dataclass(frozen=True)
class Means:
    """Where a study is kept and what runs it; see `study`."""

    folder: Path | str | None = None
    jobs: int | None = None
    scheduler: str | None = None
    keep_runs: bool = False


def execute(
    planned: Design, means: Means, metrics: Sequence[str], watch: Callable[[StudyProgress], None] | None = None
) -> StudyResult:  # fmt: skip
    """Run what is left of a design and write everything that comes of it; see `study`."""
    if means.jobs is not None and means.jobs < 1:
        raise ValueError(f"jobs = {means.jobs} must be at least 1")
    path = Path("studies") / planned.scenario.name if means.folder is None else Path(means.folder)
    known = fingerprint(planned.scenario)
    with opened(path, known) as journal:
        record = _record(planned, metrics, known)
        if journal.outcomes:
            _warn_of_versions(path, record)
        write_record(path, record)
        running = _Running(planned, journal, watch)
        complete = running.run(lambda points: _outcomes(points, planned, means, path))
        record |= {"status": "done" if complete else "interrupted", "wall_s": running.wall_s}
        write_record(path, record)
        result = open_study(path)
        if result.rows:
            result = _shown(result, planned if complete else None)
    return result


def _shown(result: StudyResult, planned: Design | None) -> StudyResult:
    """The study with its table and page written; margins of a `planned` one are predicted.

    Raises:
        ValueError: no run has a metric that is to be drawn.
    """
    from gridloop.scenarios.study_page import write_page

    write_table(result.rows, result.axes, result.path / "study.parquet")
    check_metrics(result.rows, result.metrics)
    if planned is not None:
        result = replace(result, record={**result.record, "margins": predicted(planned)})
        write_record(result.path, result.record)
    write_page(result)
    return result


def _record(planned: Design, metrics: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": "running",
        "name": planned.scenario.name,
        "title": planned.scenario.title,
        "metrics": list(metrics),
        "axes": [{"path": axis.path, "values": list(axis.values), "is_log": axis.is_log} for axis in planned.axes],
        "cases": {name: dict(changes) for name, changes in planned.cases.items()},
        "seeds": list(planned.seeds),
        "margins": [],
        "fingerprint": known,
        **provenance(),
        "points": [
            {"case": point.case, "values": list(point.values), "seed": point.seed, "key": point.key}
            for point in planned.points
        ],
    }


def _warn_of_versions(path: Path, record: Mapping[str, Any]) -> None:
    before = read_record(path).get("versions", {})
    changed = [f"{name} {before.get(name)}" for name, now in record["versions"].items() if before.get(name) != now]
    if changed:
        log.warning("%s: points there were run with %s; what is added is run with other versions", path,
                    ", ".join(changed))  # fmt: skip


def run_name(point: Point) -> str:
    """Folder of a kept run: its case where there is nothing else to tell, else with the beginning of its key."""
    case = "".join(letter if letter.isalnum() or letter in "-_+" else "-" for letter in point.case)
    return "-".join(part for part in (case, point.key[:8] if point.values or not case else "") if part)


def _outcomes(points: Sequence[Point], planned: Design, means: Means, path: Path) -> Iterator[tuple[Point, Outcome]]:
    """Outcomes of points as they come, from processes of this machine or from a cluster."""
    kept = (path / "runs").resolve() if means.keep_runs else None
    if kept is not None:
        kept.mkdir(exist_ok=True)

    def order(point: Point) -> Order:
        return Order(planned.scenario, point.overrides, None if kept is None else kept / run_name(point))

    if means.scheduler is None:
        return run_locally(points, order, means.jobs or cores(), path / SCRATCH)
    from gridloop.scenarios.study_cluster import run_on_cluster

    return run_on_cluster(points, order, means.scheduler)


class _Running:
    """A study while it runs: takes outcomes into the journal and tells how far it is."""

    def __init__(self, planned: Design, journal: Journal, watch: Callable[[StudyProgress], None] | None) -> None:
        self._journal, self._watch = journal, watch
        points = {point.key: point for point in planned.points}  # cases that amount to the same are run once
        self._keys = set(points)
        self._left = [point for key, point in points.items() if key not in journal.outcomes]
        self._began = time.monotonic()

    @property
    def wall_s(self) -> float:
        """Wall time since the study began or went on."""
        return time.monotonic() - self._began

    def run(self, outcomes: Callable[[Sequence[Point]], Iterator[tuple[Point, Outcome]]]) -> bool:
        """Run what is left; False if the user ended it."""
        self._tell()
        if not self._left:
            return True
        try:
            with closing(outcomes(self._left)) as found:  # type: ignore[type-var]
                for point, outcome in found:
                    if outcome.status == "interrupted":  # somebody stopped a worker: that is no outcome
                        continue
                    self._journal.add(point.key, outcome)
                    self._tell()
        except KeyboardInterrupt:
            return False
        return self._keys <= set(self._journal.outcomes)

    def _tell(self) -> None:
        if self._watch is None:
            return
        done = [key for key in self._keys if key in self._journal.outcomes]
        failed = sum(self._journal.outcomes[key].status == "failed" for key in done)
        before = len(self._keys) - len(self._left)
        self._watch(StudyProgress(len(done), len(self._keys), before, failed, self.wall_s))
