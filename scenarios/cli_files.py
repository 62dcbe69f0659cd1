"""Commands for scenario files: check, new, schema."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gridloop.scenarios.console import (
    AsJson,
    Debug,
    ScenarioName,
    Sets,
    line,
    out,
    read_scenario,
    show_header,
    show_plan,
    show_table,
    user_errors,
)

MOST_ISLANDS = 10  # that `check` lists


def check(scenario: ScenarioName, sets: Sets = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Check a scenario without running it: what it holds, its start, its islands and ratings, its step."""
    with user_errors(debug):
        from gridloop.scenarios import control_summary, summary
        from gridloop.scenarios.start import plan

        loaded = read_scenario(scenario, sets)
        planned = plan(loaded)
        pairs, islands = summary.connections(planned), summary.island_rows(planned)
        units, warnings = summary.units(planned), summary.warnings(planned)
        if as_json:
            print(json.dumps({"name": loaded.name, "step_ms": loaded.step_ms, "h_lambda": planned.h_lambda,
                              "f_start_hz": planned.f_start_hz, "units": units, "islands": islands,
                              "control": control_summary.secondary(loaded), "links": control_summary.links(loaded),
                              "connections": pairs, "warnings": warnings}))  # fmt: skip
            return
        show_header(out, loaded)
        show_plan(out, planned)
        line(out, "start", f"{loaded.start}: {planned.f_start_hz:.4f} Hz")
        line(out, "connections", summary.in_words(pairs))
        for label, text in control_summary.in_words(loaded):
            line(out, label, text)
        for row in islands[:MOST_ISLANDS]:
            line(out, f"island {row['island']}", summary.island_in_words(row))
        if len(islands) > MOST_ISLANDS:
            line(out, "", f"and {len(islands) - MOST_ISLANDS} islands more; --json lists them")
        show_table(units)
        for text in warnings:
            out.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)
        line(out, "ok", f"gridloop run {scenario}", "green")


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
