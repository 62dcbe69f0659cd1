"""The command `replay`."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from gridloop.scenarios.console import EXIT, AsJson, Debug, err, line, out, plural, show_table, user_errors

MOST_SHOWN = 10


def replay(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a run with devices; the newest in runs/.", show_default=False)
    ] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder of results; runs/TIME-NAME if absent.")] = None,
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Run a recorded run again without its devices: their recordings stand in. Says whether the result is the same."""
    with user_errors(debug):
        from gridloop.scenarios.cli_results import newest
        from gridloop.scenarios.replaying import replay as replay_run

        where = run or newest()
        found = replay_run(where, folder)
        different = [vars(one) for one in found.differences]
        if as_json:
            rows = [{key: _number(value) for key, value in one.items()} for one in different]
            print(json.dumps({"path": str(found.result.path), "equal": found.is_equal, "compared": found.compared,
                              "differences": rows, "events": list(found.events)}))  # fmt: skip
        elif found.is_equal:
            line(out, "equal", f"all {found.compared} series of {where} are the same to the bit", "green")
        else:
            count = f"{len(different)} of {found.compared} series"
            line(err, "different", f"{count} and {plural(len(found.events), 'event')} of {where} are others", "red")
            if different:
                show_table([{**one, **{key: f"{one[key]!r}" for key in ("recorded", "replayed")}}
                            for one in different[:MOST_SHOWN]])  # fmt: skip
            for words in found.events[:MOST_SHOWN]:
                line(out, "event", words)
        if not as_json:
            line(out, "saved", str(found.result.path))
        raise typer.Exit(0 if found.is_equal else EXIT["failed"])


def _number(value: object) -> object:
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
