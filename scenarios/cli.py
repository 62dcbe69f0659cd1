"""The `gridloop` command.

Exit codes: 0 done, 1 the run failed, 2 the user's input is wrong, 3 done but degraded, 130 interrupted with results
kept. No traceback without --debug. What is slow to import is imported where it is used.
"""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from gridloop.scenarios.result import Result
    from gridloop.scenarios.schema import Scenario
    from gridloop.scenarios.start import Plan

EXIT = {"done": 0, "failed": 1, "degraded": 3, "interrupted": 130}
USER_ERROR = 2
MOST_ISLANDS = 10  # that `check` lists
HEADLINES = (
    "f_nadir", "f_end", "rocof_500ms", "f_settling_time", "p_sharing_error_end", "v_min", "v_max", "loss_end",
    "collapse_count", "order_change_f", "order_change_p",
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Microgrid co-simulation on mosaik. Start with: gridloop demo",
)  # fmt: skip
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ScenarioName = Annotated[str, typer.Argument(help="A scenario's .yaml file, or the name of one that ships (ieee9).")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value: --set step_ms=2.5, --set units.*.filter_hz=10"),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@contextmanager
def user_errors(debug: bool) -> Iterator[None]:
    """Turn what the user can mend into a message and exit code 2, anything else into one line and 1."""
    from gridloop.scenarios.problems import ScenarioError

    try:
        yield
    except typer.Exit:
        raise
    except (ScenarioError, FileExistsError, PermissionError, ValueError) as error:
        if debug:
            traceback.print_exc()
        err.print(f"error: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(USER_ERROR) from error
    except KeyboardInterrupt:
        err.print("interrupted before the run began")
        raise typer.Exit(EXIT["interrupted"]) from None
    except Exception as error:
        if debug:
            raise
        err.print(f"error: {type(error).__name__}: {error}  (--debug shows where)", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT["failed"]) from error


def parse_sets(sets: list[str] | None) -> dict[str, Any]:
    """`PATH=VALUE` words as overrides; the value is read as YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    overrides = {}
    for word in sets or []:
        path, equals, text = word.partition("=")
        if not equals or not path:
            raise ValueError(f"--set {word}: write PATH=VALUE, e.g. --set step_ms=2.5")
        try:
            overrides[path] = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise ValueError(f"--set {word}: {text!r} is not a YAML value") from error
    return overrides


def read_scenario(name: str, sets: list[str] | None, until_s: float | None = None) -> "Scenario":
    """Load a scenario and apply what the command line changes."""
    from gridloop.scenarios.reading import load

    overrides = parse_sets(sets) | ({} if until_s is None else {"until_s": until_s})
    scenario = load(name)
    return scenario.with_overrides(overrides) if overrides else scenario


@app.command()
def demo(debug: Debug = False) -> None:
    """Run the scenario ieee9 and write its report: three droop inverters, a load step, a line trip."""
    execute("ieee9", None, None, None, False, debug)


@app.command()
def run(  # noqa: PLR0913 - the options of a command
    scenario: ScenarioName, sets: Sets = None,
    until_s: Annotated[float | None, typer.Option("--until", metavar="SECONDS", help="Another end.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder of results; runs/TIME-NAME if absent.")] = None,
    check_order: Annotated[
        bool, typer.Option("--check-order", help="Run again at half the step and report what changes.")
    ] = False,
    remote: Annotated[
        str, typer.Option("--remote", metavar="NAMES", show_default=False,
                          help="Simulators in processes of their own: Grid,Inverter; or that listen: Grid=HOST:PORT."),
    ] = "",
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Run a scenario, keep its results and write a report."""
    execute(scenario, sets, until_s, folder, as_json, debug, check_order=check_order, remote=remote)


def execute(
    name: str, sets: list[str] | None, until_s: float | None, folder: Path | None, as_json: bool, debug: bool,
    **options: Any,
) -> None:  # fmt: skip
    """What `run` and `demo` do; ends with the run's exit code."""
    with user_errors(debug):
        from gridloop.scenarios import live
        from gridloop.scenarios.report import write_report
        from gridloop.scenarios.runner import RunFailed
        from gridloop.scenarios.runner import run as run_scenario

        scenario = read_scenario(name, sets, until_s)
        console = err if as_json else out
        show_header(console, scenario)
        try:
            with live.display(console, scenario.until_s) as watch:
                result = run_scenario(
                    scenario, folder=folder, watch=watch, planned=lambda p: show_plan(console, p),
                    **options,
                )  # fmt: skip
        except RunFailed as failure:
            if debug:
                raise
            result = failure.result
        report_path = write_report(result, result.path / "report.html")
        if as_json:
            print(json.dumps({"path": str(result.path), "status": result.status, "message": result.record["message"],
                              "metrics": {k: m.to_json() for k, m in result.metrics.items()}}))  # fmt: skip
        else:
            show_result(result, report_path)
        raise typer.Exit(EXIT[result.status])


def show_header(console: Console, scenario: "Scenario") -> None:
    """Who runs what."""
    from gridloop.scenarios.provenance import versions

    found = versions()
    line(console, "gridloop", f"{found['gridloop']}   mosaik {found['mosaik']}   Python {found['python']}")
    line(console, "scenario", f"{scenario.name}: {scenario.title}" if scenario.title else scenario.name)


def show_plan(console: Console, plan: "Plan") -> None:
    """What will run, and whether the step suits it."""
    from gridloop.scenarios.start import LONGEST_H_LAMBDA

    network, scenario = plan.case.network, plan.scenario
    counts = [(len(group.ids), group.name.lower()) for group in plan.groups]
    counts += [(len(network.bus_names), "bus"), (len(network.branch_names), "branch")]
    counts += [(len(plan.case.load_names), "load"), (len(plan.events), "event")]
    line(console, "", " · ".join(plural(count, word) for count, word in counts))
    line(console, "coupling", f"step {scenario.step_ms:g} ms, h·lambda {plan.h_lambda:.2f} (accurate below 0.5)")
    late = sum(event.t_s > scenario.until_s for event in plan.events)
    if late:
        console.print(
            f"note: {plural(late, 'event')} after until_s = {scenario.until_s:g} will not happen", style="yellow"
        )
    if plan.h_lambda > LONGEST_H_LAMBDA:
        step_ms = LONGEST_H_LAMBDA / plan.h_lambda * scenario.step_ms
        console.print(
            f"warning: the step is too long for this stiff a grid; use step_ms <= {step_ms:.2g}", style="yellow"
        )  # fmt: skip


def plural(count: int, word: str) -> str:
    """'1 bus', '2 buses'."""
    ending = "" if count == 1 else "es" if word.endswith(("s", "ch")) else "s"
    return f"{count} {word}{ending}"


def line(console: Console, label: str, text: str, style: str = "") -> None:
    """One line of the run's account."""
    console.print(f" {label:<12} {text}", markup=False, style=style, soft_wrap=True)


def show_result(result: "Result", report_path: Path) -> None:
    """How it ended, the main figures, and where everything is."""
    from gridloop.scenarios.display import quantity

    wall_s, last_s = result.record["wall"]["total_s"], end_of(result)
    speed = f"{last_s:g} s in {wall_s:.2g} s ({last_s / wall_s:.0f} x real time)" if wall_s else ""
    style = {"done": "green", "interrupted": "yellow"}.get(result.status, "red")
    if result.status == "interrupted":
        line(out, "interrupted", f"at t = {last_s:g} s; everything up to there is kept", style)
    elif result.status == "failed":
        line(out, "failed", result.record["message"], style)
    else:
        line(out, result.status, speed, style)
    for event in result.events:
        if event.kind in ("voltage_collapse", "de_energised"):
            text = f"t = {event.t_s:g} s, bus {event.target}: {event.outcome}"
            line(out, event.kind.replace("_", " "), text, "yellow")
    for key in HEADLINES:
        if key in result.metrics and not (key == "collapse_count" and result.metrics[key].value == 0):
            metric = result.metrics[key]
            line(out, "", f"{metric.description:<62} {quantity(metric.value, metric.unit)}")
    line(out, "saved", f"{result.path}/  run.json  series/*.parquet")
    line(out, "report", str(report_path))


def end_of(result: "Result") -> float:
    """The last recorded time [s]."""
    if "grid" not in result.entities:
        return 0.0
    times = result.series("grid", "P_load[MW]")[0]
    return float(times[-1]) if len(times) else 0.0


@app.command()
def check(scenario: ScenarioName, sets: Sets = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Check a scenario without running it: what it holds, its start, its islands and ratings, its step."""
    with user_errors(debug):
        from gridloop.scenarios import summary
        from gridloop.scenarios.start import plan

        loaded = read_scenario(scenario, sets)
        planned = plan(loaded)
        pairs, islands = summary.connections(planned), summary.island_rows(planned)
        units, warnings = summary.units(planned), summary.warnings(planned)
        if as_json:
            print(json.dumps({"name": loaded.name, "step_ms": loaded.step_ms, "h_lambda": planned.h_lambda,
                              "f_start_hz": planned.f_start_hz, "units": units, "islands": islands,
                              "connections": pairs, "warnings": warnings}))  # fmt: skip
            return
        show_header(out, loaded)
        show_plan(out, planned)
        line(out, "start", f"{loaded.start}: {planned.f_start_hz:.4f} Hz")
        line(out, "connections", summary.in_words(pairs))
        for row in islands[:MOST_ISLANDS]:
            line(out, f"island {row['island']}", summary.island_in_words(row))
        if len(islands) > MOST_ISLANDS:
            line(out, "", f"and {len(islands) - MOST_ISLANDS} islands more; --json lists them")
        show_table(units)
        for text in warnings:
            out.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)
        line(out, "ok", f"gridloop run {scenario}", "green")


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The file to write; it must not exist.")],
    like: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="Copy a scenario that ships (ieee9).")
    ] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Write a scenario to begin with, with comments that explain every part."""
    with user_errors(debug):
        from gridloop.scenarios.template import write_new

        write_new(file, like)
        line(out, "written", str(file), "green")
        line(out, "next", f"gridloop check {file}, then gridloop run {file}")


@app.command()
def schema(
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it to a file instead of printing it.")
    ] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Print the JSON Schema of a scenario file, for editors that complete and check while you type."""
    with user_errors(debug):
        from gridloop.scenarios.json_schema import scenario_schema

        text = json.dumps(scenario_schema(), indent=2) + "\n"
        if out_file is None:
            sys.stdout.write(text)
        else:
            out_file.write_text(text, encoding="utf-8")
            line(out, "written", str(out_file), "green")


@app.command()
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


@app.command()
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


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Examine the installation."""
    from gridloop.scenarios.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps(findings))
    else:
        show_table(findings)
    raise typer.Exit(EXIT["failed"] if any(finding["verdict"] == "FAIL" for finding in findings) else 0)


def show_table(rows: list[dict[str, Any]]) -> None:
    """Rows with the same keys as a table."""
    table = Table(box=None, pad_edge=True)
    for key, value in rows[0].items():
        table.add_column(key, justify="right" if isinstance(value, float) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    """A value of a table; what a row has not stays empty."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Entry point of the `gridloop` command."""
    sys.exit(app(standalone_mode=True))
