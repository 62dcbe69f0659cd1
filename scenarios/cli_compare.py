"""The command `compare`: one scenario under droop alone, centralised, distributed and DAPI control."""

import json
from typing import Annotated

import typer

from gridloop.scenarios.cli_study import Folder, Jobs, exit_code, progress
from gridloop.scenarios.console import (
    AsJson,
    Debug,
    ScenarioName,
    Sets,
    err,
    line,
    out,
    read_scenario,
    show_header,
    show_table,
    user_errors,
)


def compare(
    scenario: ScenarioName, sets: Sets = None,
    until_s: Annotated[float | None, typer.Option("--until", metavar="SECONDS", help="Another end.")] = None,
    folder: Folder = None, jobs: Jobs = None, as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Run a scenario with droop alone, centralised, distributed and DAPI control, on the same disturbances and seeds.

    Its control: and comms: parts give everything but the laws. Results: study.parquet with all metrics, compare.html
    with the runs over each other, and the runs in runs/ of the folder (studies/NAME-compare if absent).
    """
    with user_errors(debug):
        from gridloop.scenarios.variants import compare_controls, tables

        loaded = read_scenario(scenario, sets, until_s)
        console = err if as_json else out
        show_header(console, loaded)
        with progress(console) as watch:
            found = compare_controls(loaded, folder=folder, jobs=jobs, watch=watch)
        study = found.study
        if as_json:
            metrics = {case: {k: m.to_json() for k, m in run.metrics.items()} for case, run in found.results.items()}
            windows = {case: [w.to_json() for w in run.windows] for case, run in found.results.items()}
            print(json.dumps({
                "path": str(study.path), "status": study.status, "page": found.page and str(found.page),
                "runs": {row.point.case: row.outcome.status for row in study.rows}, "metrics": metrics,
                "windows": windows, "left_out": dict(found.left_out),
            }))  # fmt: skip
            raise typer.Exit(exit_code(study))
        for title, rows in tables(found):
            line(out, "", title)
            show_table(rows)
        for case, what in found.left_out.items():
            line(out, "left out", f"{case}: {', '.join(what)}", "yellow")
        for row in study.rows:
            if row.failed:
                line(out, "failed", f"{row.point.case}: {row.outcome.message}", "red")
        if study.status != "done":
            line(out, "interrupted", "what is finished is kept; the same command goes on", "yellow")
        line(out, "saved", f"{study.path}/  {'study.parquet  ' if study.rows else ''}runs/")
        if found.page is not None:
            line(out, "report", str(found.page))
        raise typer.Exit(exit_code(study))
