"""What every command shares: where it prints, its options, and how errors end it."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from gridloop.scenarios.schema import Scenario
    from gridloop.scenarios.start import Plan

EXIT = {"done": 0, "failed": 1, "degraded": 3, "interrupted": 130}
USER_ERROR = 2

out = Console(highlight=False, emoji=False)  # :100: is a range of a user
err = Console(stderr=True, highlight=False, emoji=False)

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


def pairs(words: list[str] | None, option: str, form: str, example: str) -> dict[str, str]:
    """Words of the `form` NAME=TEXT, neither part empty, as they stand."""
    found = {}
    for word in words or []:
        name, equals, text = word.partition("=")
        if not equals or not name or not text:
            raise ValueError(f"{option} {word}: write {form}, e.g. {option} {example}")
        found[name] = text
    return found


def read_scenario(
    name: str, sets: list[str] | None, until_s: float | None = None, serve: list[str] | None = None,
    swaps: list[str] | None = None,
) -> "Scenario":  # fmt: skip
    """Load a scenario with what the command line changes: first where devices are, then values that are set."""
    from gridloop.scenarios.reading import load
    from gridloop.scenarios.swapping import swap_overrides

    overrides = swap_overrides(pairs(swaps, "--swap", "UNIT=URL", "inv2=emulated:"))
    served = pairs(serve, "--serve", "NAME=URL", "inv1=modbus+tcp://127.0.0.1:5021/1?map=generic_inverter")
    overrides |= {f"serve.{entity}.url": url for entity, url in served.items()}
    overrides |= parse_sets(sets) | ({} if until_s is None else {"until_s": until_s})
    return load(name, overrides=overrides)


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
    counts += [(len(plan.case.load_names), "load"), (len(plan.scenario.events), "event")]
    line(console, "", " · ".join(plural(count, word) for count, word in counts))
    if scenario.mode == "steady":
        line(console, "mode", f"steady: the settled state every {scenario.step_ms / 1e3:g} s")
    else:
        line(console, "coupling", f"step {scenario.step_ms:g} ms, h·lambda {plan.h_lambda:.2f} (accurate below 0.5)")
    if plan.devices:
        from gridloop.scenarios.device_margin import margin_of

        for one in plan.devices:
            line(console, "device", margin_of(plan, one.unit).in_words)
    late = sum(event.t_s > scenario.until_s for event in scenario.events)
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


def show_table(rows: list[dict[str, Any]]) -> None:
    """Rows with the same keys as a table."""
    table = Table(box=None, pad_edge=True)
    for key, value in rows[0].items():
        table.add_column(escape(key), justify="right" if isinstance(value, float) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    """A value of a table; what a row has not stays empty."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else str(value)
