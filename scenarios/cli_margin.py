"""The command `margin`: how much delay a scenario's control stands."""

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridloop.scenarios.console import (
    AsJson,
    Debug,
    ScenarioName,
    Sets,
    err,
    line,
    out,
    plural,
    read_scenario,
    show_header,
    user_errors,
)

if TYPE_CHECKING:
    from gridloop.scenarios.margin import DelayMargin, Formula
    from gridloop.scenarios.margin_runs import Measured

HANDLINGS = {
    "matched": "matched: a neighbour's value is compared with the own one of the same time",
    "neighbour_only": "neighbour_only: a neighbour's value is compared with the own present one",
}


def margin(
    scenario: ScenarioName, sets: Sets = None,
    measure: Annotated[bool, typer.Option("--measure", help="Find it by runs of the co-simulation too.")] = False,
    longest_s: Annotated[
        float, typer.Option("--longest", metavar="SECONDS", help="Delay up to which it is looked for.")
    ] = 20.0,
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Say how much delay of its links a scenario stands: by formula, by eigenvalues, and on request by runs."""
    with user_errors(debug):
        from gridloop.scenarios.margin import delay_margin

        loaded = read_scenario(scenario, sets)
        if not as_json:
            show_header(out, loaded)
        found = delay_margin(loaded, longest_s)
        if not as_json:
            show(found)
        measured = _measure(loaded, found, as_json) if measure else None
        if as_json:
            print(json.dumps(found.to_json() | ({} if measured is None else {"measured": _measured_json(measured)})))
        elif measured is not None:
            line(out, "measured", in_words(measured), "green")


def _measure(loaded: Any, found: "DelayMargin", as_json: bool) -> "Measured":
    from gridloop.scenarios.margin_runs import measured_margin

    return measured_margin(
        loaded, found,
        lambda trial: line(
            err if as_json else out, "",
            f"delay {milliseconds(trial.delay_s)}: {'dies away' if trial.stable else 'grows'}, "
            f"{trial.growth_per_s:+.3g} 1/s",
        ),
    )  # fmt: skip


def show(found: "DelayMargin") -> None:
    """The margin by formulas and eigenvalues."""
    handling = found.delay_handling
    what = "all links of secondary control" if found.of == "links" else "all signals"
    line(out, "delay", f"of {what}, without jitter and loss; the scenario has {found.delay_ms:g} ms")
    if handling is not None:
        line(out, "handling", HANDLINGS[handling])
    line(out, "tick", f"{found.period_ms:g} ms; a delay counts up to the next tick")
    for formula in found.formulas:
        line(out, "formula", f"{formula.what}: {_formula(formula, found)}")
        line(out, "", formula.formula)
    own = found.linearised
    if own.ticks is None:
        text = f"stable with every delay up to {milliseconds(own.tried_s)}, the longest that was tried"
    elif own.ticks < 0:
        text = f"unstable with every delay; the first growth is a swing of {own.f_hz:.3g} Hz"
    else:
        text = f"stable up to {plural(own.ticks, 'tick')} = {milliseconds(own.margin_s)}"
        text += f", a swing of {own.f_hz:.3g} Hz grows beyond (rate 0 at {milliseconds(own.crossing_s)})"
    line(out, "eigenvalues", text, "green" if own.growth_per_s <= 0 else "red")
    line(out, "", f"of the linearised co-simulation; with {plural(found.ticks, 'tick')} its slowest mode goes "
                  f"with {own.growth_per_s:+.3g} 1/s")  # fmt: skip


def _formula(formula: "Formula", found: "DelayMargin") -> str:
    if formula.ticks is None:
        return "every delay is stable" if math.isinf(formula.margin_s) else milliseconds(formula.margin_s)
    sampled = "no delay at all" if formula.ticks < 0 else f"{plural(formula.ticks, 'tick')} = "
    sampled += "" if formula.ticks < 0 else milliseconds(formula.ticks * found.period_ms * 1e-3)
    return f"{milliseconds(formula.margin_s)} without a period, {sampled} with ticks of {found.period_ms:g} ms"


def milliseconds(time_s: float) -> str:
    """A time for people."""
    return f"{1e3 * time_s:.4g} ms"


def in_words(measured: "Measured") -> str:
    """What the runs have shown."""
    stable, unstable = measured.last_stable_s, measured.first_unstable_s
    if unstable is None:
        return f"runs are stable with {milliseconds(stable or 0.0)}; none that grows was found"
    if stable is None:
        return f"runs grow with {milliseconds(unstable)} already"
    return f"runs die away with {milliseconds(stable)} and grow with {milliseconds(unstable)}"


def _measured_json(measured: "Measured") -> dict[str, Any]:
    return {
        "last_stable_s": measured.last_stable_s, "first_unstable_s": measured.first_unstable_s,
        "trials": [vars(trial) for trial in measured.trials],
    }  # fmt: skip
