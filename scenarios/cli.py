"""The `gridloop` command.

Exit codes: 0 done, 1 the run failed, 2 the user's input is wrong, 3 done but degraded, 130 interrupted with results
kept. No traceback without --debug. What is slow to import is imported where it is used.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridloop.scenarios.cli_agent import AS_THEY_COME, agent
from gridloop.scenarios.cli_compare import compare
from gridloop.scenarios.cli_files import check, new, schema
from gridloop.scenarios.cli_hil import hil
from gridloop.scenarios.cli_margin import margin
from gridloop.scenarios.cli_market import market
from gridloop.scenarios.cli_replay import replay
from gridloop.scenarios.cli_results import export, report
from gridloop.scenarios.cli_study import study
from gridloop.scenarios.console import (
    EXIT,
    AsJson,
    Debug,
    ScenarioName,
    Sets,
    err,
    line,
    out,
    read_scenario,
    show_header,
    show_plan,
    show_table,
    user_errors,
)

if TYPE_CHECKING:
    from gridloop.scenarios.result import Result

HEADLINES = (
    "f_nadir", "f_end", "rocof_500ms", "f_settling_time", "p_sharing_error_end", "v_min", "v_max", "loss_end",
    "collapse_count", "order_change_f", "order_change_p",
)  # fmt: skip
OF_MARKET = (  # such keys begin so
    "balancing_accuracy", "resilience.", "trades", "slot_loss.", "slot_price.", "requests", "sellers_refused",
    "ledger_verified",
)  # fmt: skip

STOP_KEY = "s"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Microgrid co-simulation on mosaik. Start with: gridloop demo",
)  # fmt: skip


@app.command()
def demo(debug: Debug = False) -> None:
    """Run the scenario microgrid9 and write its report: battery, diesel set, PV, secondary control over links."""
    execute("microgrid9", None, None, None, False, debug)


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
    swap: Annotated[
        list[str] | None,
        typer.Option("--swap", metavar="UNIT=URL", show_default=False,
                     help="A device in place of a unit: inv2=emulated:, inv2=modbus+tcp://HOST:502/1?map=NAME."),
    ] = None,
    serve: Annotated[
        list[str] | None,
        typer.Option("--serve", metavar="NAME=URL", show_default=False,
                     help="Let controllers outside read and drive a unit, bus or meter: "
                          "inv1=modbus+tcp://127.0.0.1:5021/1?map=generic_inverter."),
    ] = None,
    allow_writes: Annotated[bool, typer.Option("--allow-writes", help="Let this run write to its devices.")] = False,
    raw_frames: Annotated[bool, typer.Option("--raw-frames", help="Keep all that goes over wires, too.")] = False,
    pace: Annotated[
        float | None,
        typer.Option("--pace", metavar="FACTOR", show_default=False,
                     help="1: in real time, as a run with devices in mode free is; 2: twice as fast."),
    ] = None,
    late: Annotated[
        str, typer.Option("--late", metavar="warn|slip|stop",
                          help="Of a paced run's step that begins too late: count it, set the clock back, or fail."),
    ] = "warn",
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Run a scenario, keep its results and write a report. With devices the key s stops them all."""
    execute(
        scenario, sets, until_s, folder, as_json, debug, (swap, serve), check_order=check_order, remote=remote,
        allow_writes=allow_writes, raw_frames=raw_frames, pace=pace, late=late,
    )  # fmt: skip


def execute(
    name: str, sets: list[str] | None, until_s: float | None, folder: Path | None, as_json: bool, debug: bool,
    wires: tuple[list[str] | None, list[str] | None] = (None, None), **options: Any,
) -> None:  # fmt: skip
    """What `run` and `demo` do; ends with the run's exit code. `wires` are the words of --swap and --serve."""
    with user_errors(debug):
        from gridloop.scenarios import keys, live
        from gridloop.scenarios.report import write_report
        from gridloop.scenarios.runner import RunFailed
        from gridloop.scenarios.runner import run as run_scenario
        from gridloop.scenarios.steering import Steering

        swaps, serve = wires
        scenario = read_scenario(name, sets, until_s, serve, swaps)
        console, steering = err if as_json else out, Steering()
        show_header(console, scenario)
        try:
            has_devices = any(unit.device or unit.agent for unit in scenario.units.values())
            listening = keys.on_key(STOP_KEY, steering.stop) if has_devices else nullcontext(False)
            with listening as heard, live.display(console, scenario.until_s) as watch:
                if heard:
                    line(console, "key", f"{STOP_KEY} stops all devices")
                result = run_scenario(
                    scenario, folder=folder, watch=watch, planned=lambda p: show_plan(console, p),
                    steering=steering, **options,
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


def show_result(result: "Result", report_path: Path) -> None:
    """How it ended, the main figures, and where everything is."""
    from gridloop.scenarios.device_results import device_lines
    from gridloop.scenarios.display import quantity

    wall_s, last_s = result.record["wall"]["total_s"], end_of(result)
    speed = f"{last_s:g} s in {wall_s:.2g} s ({last_s / wall_s:.0f} x real time)" if wall_s else ""
    style = {"done": "green", "degraded": "yellow", "interrupted": "yellow"}.get(result.status, "red")
    if result.status == "interrupted":
        line(out, "interrupted", f"at t = {last_s:g} s; everything up to there is kept", style)
    elif result.status == "failed":
        line(out, "failed", result.record["message"], style)
    else:
        line(out, result.status, speed, style)
        if result.record["message"]:
            line(out, "", result.record["message"], style)
    for event in result.events:
        if event.kind in ("voltage_collapse", "de_energised"):
            text = f"t = {event.t_s:g} s, bus {event.target}: {event.outcome}"
            line(out, event.kind.replace("_", " "), text, "yellow")
        elif event.kind in ("device_lost", "device_back", "emergency_stop"):
            text = f"t = {event.t_s:g} s, {event.target or 'all devices'}: {event.outcome}"
            line(out, event.kind.replace("_", " "), text, "yellow")
    for label, text in device_lines(result):
        line(out, label, text)
    for key in (*HEADLINES, *(key for key in result.metrics if key.startswith(OF_MARKET))):
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


for command in (check, new, schema, report, replay, export, study, compare, margin):
    app.command()(command)
app.add_typer(hil)
app.command(context_settings=AS_THEY_COME, add_help_option=False)(agent)
app.add_typer(market)


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


def main() -> None:
    """Entry point of the `gridloop` command."""
    sys.exit(app(standalone_mode=True))
