"""Commands for what runs leave behind: report, export."""

from pathlib import Path
from typing import Annotated

import typer

from gridloop.scenarios.console import Debug, user_errors


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN ...]", help="Folders of runs; the newest in runs/ if absent.", show_default=False),
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Another place for the page.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Write the HTML report of a run, also of one that was killed; of several runs a page that overlays them.

    The report of one run goes into its folder, a comparison into the current folder as compare-NAMES.html.
    """
    with user_errors(debug):
        from gridloop.scenarios.report import write_report
        from gridloop.scenarios.report_compare import compare_path, write_comparison
        from gridloop.scenarios.result import open_run

        folders = runs or [newest()]
        results = [open_run(folder) for folder in folders]
        if len(results) == 1:
            print(write_report(results[0], out_file or folders[0] / "report.html"))
        else:
            print(write_comparison(results, out_file or compare_path(results, Path())))


def export(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a run; the newest in runs/ if absent.", show_default=False)
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A .csv, .parquet or .h5 file; RUN/series.csv if absent.",
                     show_default=False),
    ] = None,
    every_s: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", help="At most one row in that time.", show_default=False),
    ] = None,
    signals: Annotated[
        list[str] | None,
        typer.Option("--signals", metavar="PATTERNS", help="Which series: inv1.*,*.f[Hz]; all if absent.",
                     show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Write the series of a run to one file for other programs."""
    with user_errors(debug):
        from gridloop.scenarios.export import export as write_export
        from gridloop.scenarios.result import open_run

        folder = run or newest()
        patterns = [pattern.strip() for words in signals or [] for pattern in words.split(",") if pattern.strip()]
        print(write_export(open_run(folder), out_file or folder / "series.csv", patterns, every_s))


def newest() -> Path:
    """The newest run in runs/."""
    folders = sorted(Path("runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not folders:
        raise ValueError("there is no run in runs/; name a run's folder")
    return folders[-1].parent
