"""The command `study`: a scenario at every combination of swept values, cases and seeds."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gridloop.scenarios.console import (
    EXIT,
    AsJson,
    Debug,
    ScenarioName,
    err,
    line,
    out,
    pairs,
    parse_sets,
    plural,
    show_header,
    show_table,
    user_errors,
)

if TYPE_CHECKING:
    from gridloop.scenarios.study_run import StudyProgress, StudyResult

EVERY_S = 5.0  # between two lines of progress where there is no terminal

Folder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Folder of the study; studies/NAME if absent.",
                              show_default=False),
]  # fmt: skip
Jobs = Annotated[
    int | None, typer.Option("--jobs", metavar="N", help="Processes; one for each core if absent.", show_default=False)
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="tcp://HOST:PORT", show_default=False,
                 help="Run on the workers of a Dask scheduler instead (extra `cluster`)."),
]  # fmt: skip


def study(  # noqa: PLR0913 - the options of a command
    scenario: ScenarioName,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUES", show_default=False,
                     help="What varies: PATH=1,2,5 or PATH=FIRST:LAST:COUNT or PATH=FIRST:LAST:COUNT:log."),
    ] = None,
    cases: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="NAME:PATH=VALUE,...", show_default=False,
                     help="A named set of changes, one curve; several are compared."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option("--repeats", metavar="N", help="Seeds of every point.", show_default=False)
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="KEY", show_default=False,
                     help="What is drawn: KEY of the last window, windows.N.KEY or run.KEY."),
    ] = None,
    folder: Folder = None, jobs: Jobs = None, scheduler: Scheduler = None,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep whole runs, not their figures only.")] = False,
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Run a scenario at every combination of values, cases and seeds; the same command goes on where it ended.

    What the options leave out is taken from the scenario's `study:` part. Results: study.parquet, study.html,
    study.svg and study.json in the folder.
    """
    with user_errors(debug):
        from gridloop.scenarios.reading import load
        from gridloop.scenarios.study_run import study as run_study

        loaded = load(scenario)
        console = err if as_json else out
        show_header(console, loaded)
        with progress(console) as watch:
            result = run_study(
                loaded, sets=split_sets(sets), cases=split_cases(cases), repeats=repeats, metrics=metrics or [],
                folder=folder, jobs=jobs, scheduler=scheduler, keep_runs=keep_runs, watch=watch,
            )  # fmt: skip
        if as_json:
            print(json.dumps(account(result), allow_nan=False))
        else:
            show_study(result)
        raise typer.Exit(exit_code(result))


def split_sets(sets: list[str] | None) -> dict[str, str]:
    """`PATH=VALUES` words; the values are read later."""
    return pairs(sets, "--set", "PATH=VALUES", "comms.delay_ms=0,50,100")


def split_cases(words: list[str] | None) -> dict[str, dict[str, Any]] | None:
    """`NAME:PATH=VALUE,PATH=VALUE` words; a comma within brackets belongs to a value."""
    if not words:
        return None
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        name, colon, text = word.partition(":")
        if not colon or not name or name in found:
            told = "stands twice" if name in found else "write NAME:PATH=VALUE,PATH=VALUE (NAME: alone changes nothing)"
            raise ValueError(f"--case {word}: {told}")
        try:
            found[name] = parse_sets(between_commas(text))
        except ValueError as error:
            raise ValueError(f"--case {word}: {error}") from error
    return found


def between_commas(text: str) -> list[str]:
    """Parts between commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def exit_code(result: "StudyResult") -> int:
    """0 done, also with runs that failed; 1 if all of them did; 130 if points are missing."""
    if result.status != "done":
        return EXIT["interrupted"]
    return EXIT["failed"] if all(row.failed for row in result.rows) else EXIT["done"]


@contextmanager
def progress(
    console: Console, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[["StudyProgress"], None]]:  # fmt: skip
    """Yield a taker of progress: a bar on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn

        with Progress(BarColumn(30), TextColumn("{task.description}"), console=console, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda p: bar.update(task, completed=p.done, total=p.total, description=in_words(p))
        return
    last_s = clock() - EVERY_S

    def print_some(now: "StudyProgress") -> None:
        nonlocal last_s
        if clock() - last_s >= EVERY_S or now.done == now.total:
            last_s = clock()
            line(console, "running", in_words(now))

    yield print_some


def in_words(now: "StudyProgress") -> str:
    """How far a study is."""
    parts = [f"{now.done} of {now.total} points"]
    if now.before:
        parts.append(f"{now.before} were there")
    if now.failed:
        parts.append(f"{now.failed} failed")
    if now.left_s is not None and now.done < now.total:
        parts.append(f"ETA {now.left_s:.0f} s")
    return " · ".join(parts)


def table(result: "StudyResult", metric: str) -> list[dict[str, Any]]:
    """Rows of a metric: the swept value, then every curve."""
    from gridloop.scenarios.study_svg import in_words as value_words
    from gridloop.scenarios.study_table import swept, text_of, words

    curves = result.curves(metric)
    unit = words(result.rows, metric, result.described)[1]
    number = swept(result.axes)
    path = "" if number is None else result.axes[number].path
    return [
        ({path: text_of(value)} if path else {})
        | {curve.label or metric: value_words(curve, place, unit) for curve in curves}
        for place, value in enumerate(curves[0].x)
    ]


def show_study(result: "StudyResult") -> None:
    """How it ended, the figures, and where everything is."""
    from gridloop.scenarios.study_page import any_value
    from gridloop.scenarios.study_svg import unit_words
    from gridloop.scenarios.study_table import words

    total, done = len(result.record["points"]), len(result.rows)
    if result.status == "done":
        line(out, "done", f"{plural(total, 'point')}; this command took {result.record['wall_s']:.3g} s", "green")
    else:
        line(out, "interrupted", f"{done} of {total} points are kept; the same command goes on", "yellow")
    for metric in result.metrics:
        if result.rows and any_value(result, metric):
            text, unit = words(result.rows, metric, result.described)
            line(out, metric, f"{text}{unit_words(unit)}")
            show_table(table(result, metric))
    for margin in result.record["margins"]:
        line(out, "predicted", f"{margin['case']}: {margin_words(margin)}".removeprefix(": "))
    failed = [row for row in result.rows if row.failed]
    if failed:
        line(out, "failed", f"{plural(len(failed), 'run')}, the first: {failed[0].outcome.message}", "yellow")
    if result.rows:
        line(out, "saved", f"{result.path}/  study.parquet  study.html  study.svg  study.json")


def margin_words(margin: Mapping[str, Any]) -> str:
    """Up to which delay a case is stable, by theory, which knows neither jitter nor loss."""
    delay_s = float(margin["delay_s"])
    if math.isnan(delay_s):
        return "stable at no delay"
    beyond = " and beyond" if math.isinf(delay_s) else ""
    return f"stable up to {min(delay_s, margin['tried_s']) * 1e3:.4g} ms{beyond}, without jitter and loss"


def account(result: "StudyResult") -> dict[str, Any]:
    """What --json prints."""

    def number(value: float) -> float | str:
        return float(value) if math.isfinite(value) else str(float(value))

    return {
        "path": str(result.path), "status": result.status, "points": len(result.record["points"]),
        "finished": len(result.rows), "failed": sum(row.failed for row in result.rows),
        "margins": result.record["margins"],
        "metrics": {
            metric: [
                {"case": curve.case, "label": curve.label, "x": list(curve.x), "failed": list(curve.failed),
                 "low": [number(v) for v in curve.low], "middle": [number(v) for v in curve.middle],
                 "high": [number(v) for v in curve.high]}
                for curve in result.curves(metric)
            ]
            for metric in result.metrics if result.rows
        },
    }  # fmt: skip
