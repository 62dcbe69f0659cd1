"""The same scenario under other control: without, centralised, distributed, DAPI; same disturbances, same seeds."""

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridloop.scenarios.control_parts import NEED_PIN
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.report_compare import write_comparison
from gridloop.scenarios.result import Result, open_run
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.study_points import design
from gridloop.scenarios.study_run import Means, StudyProgress, StudyResult, execute, run_name

CONTROLS = {  # frequency law, voltage law
    "droop only": ("none", "none"), "centralised": ("C", "C"), "distributed": ("F", "V"), "DAPI": ("D", "Vprime"),
}  # fmt: skip
OWN = "as it is"  # a scenario whose laws are none of these
SHOWN = (
    "f_nadir", "f_end", "f_settling_time", "p_sharing_error_end", "q_sharing_error_end", "v_source_rms_deviation",
    "v_max", "v_pilot_time", "loss_end", "messages_sent", "age_p95",
)  # fmt: skip
MOST_TABLES = 4


@dataclass(frozen=True)
class Comparison:
    """Runs of one scenario under several controls, by the control's name.

    Args:
        study: the runs as a study: table of metrics, status of each.
        results: the runs that have results.
        page: the HTML page that lays them over each other; None if fewer than two have results.
        left_out: by control what of the scenario it has no use for, such as events of links that it has not.
    """

    study: StudyResult
    results: Mapping[str, Result]
    page: Path | None
    left_out: Mapping[str, list[str]]


def compare_controls(
    scenario: Scenario, *, folder: Path | str | None = None, jobs: int | None = None,
    watch: Callable[[StudyProgress], None] | None = None,
) -> Comparison:  # fmt: skip
    """Run a scenario with droop alone, centralised, distributed and DAPI control, everything else as it is.

    Args:
        scenario: its `control:` and `comms:` give everything but the laws; without `control:` all units that form
            the grid take part, the first one is pinned.
        folder: where everything goes; `studies/<name>-compare` by default. What is there already is not run again.
        jobs: processes; as many as there are cores by default.
        watch: called whenever a run is finished.

    Raises:
        ScenarioError: the scenario cannot run under one of the controls.
        ValueError: the folder holds something else.
    """
    cases, left_out = {}, {}
    for name, changes in variants(scenario).items():
        cases[name], left_out[name] = fitting(scenario, changes)
    path = Path("studies") / f"{scenario.name}-compare" if folder is None else Path(folder)
    study = execute(design(scenario, {}, cases, 1), Means(path, jobs, keep_runs=True), [SHOWN[2]], watch)
    found = {row.point.case: path / "runs" / run_name(row.point) for row in study.rows}
    results = {case: open_run(run) for case, run in found.items() if (run / "run.json").exists()}
    page = write_comparison(list(results.values()), path / "compare.html") if len(results) > 1 else None
    return Comparison(study, results, page, {name: rest for name, rest in left_out.items() if rest})


def variants(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Overrides by the control's name."""
    given = scenario.to_dict().get("control") or {"members": forming(scenario)}
    laws = dict(CONTROLS)
    if scenario.control is not None:
        own = scenario.control.laws["frequency"], scenario.control.laws["voltage"]
        laws |= {} if own in laws.values() else {OWN: own}
    return {name: {"control": under(given, *pair)} for name, pair in laws.items()}


def under(control: Mapping[str, Any], frequency: str, voltage: str) -> dict[str, Any]:
    """A `control:` part with other laws; who is pinned is said where a law needs it."""
    changed = deepcopy(dict(control))
    for what, law in (("frequency", frequency), ("voltage", voltage)):
        changed[what] = {**(changed.get(what) or {}), "law": law}
    if {frequency, voltage} & set(NEED_PIN) and not changed.get("leader") and not changed.get("pins"):
        changed["leader"] = changed["members"][0]
    return changed


def forming(scenario: Scenario) -> list[str]:
    """Units that form the grid and take corrections of frequency and voltage."""
    wanted = {"Omega[rad_per_s]", "v[pu]"}
    models = {name: scenario.model_of(name) for name in scenario.units}
    return [
        name for name, model in models.items()
        if model is not None and wanted <= {port.attr for port in model.inputs}
    ]  # fmt: skip


def fitting(scenario: Scenario, changes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The overrides, and with them the removal of links' settings and events that mean nothing under this control.

    Returns:
        All overrides, and what was left out in words.

    Raises:
        ScenarioError: anything else is wrong.
    """
    raw = scenario.to_dict()
    events, links = list(raw.get("events") or []), dict((raw.get("comms") or {}).get("links") or {})
    left_out: list[str] = []
    while True:
        overrides = dict(changes)
        if left_out:
            overrides |= {"events": events} | ({"comms.links": links} if raw.get("comms") else {})
        try:
            scenario.with_overrides(overrides)
        except ScenarioError as error:
            places = [problem.path for problem in error.problems]
            useless = {int(path[1]) for path in places if path[0] == "events" and len(path) > 1}
            unknown = {str(path[2]) for path in places if path[:2] == ("comms", "links") and len(path) > 2}
            if len(useless) + len(unknown) == 0 or not all(is_of_control(path, events) for path in places):
                raise
            left_out += [f"{events[i]['do']} at {events[i]['t_s']} s" for i in sorted(useless)]
            left_out += [f"link {name}" for name in sorted(unknown)]
            events = [event for i, event in enumerate(events) if i not in useless]
            links = {name: keys for name, keys in links.items() if name not in unknown}
        else:
            return overrides, left_out


def is_of_control(path: tuple[str | int, ...], events: list[Mapping[str, Any]]) -> bool:
    """Whether a problem is about a link or an agent, which another control may not have."""
    match path:
        case ("comms", "links", *_):
            return True
        case ("events", int(index), *_):
            event = events[index]
            about_links = str(event["do"]).startswith(("link_", "agent_"))
            return about_links or str(event.get("path", "")).startswith("comms.")
    return False


def tables(comparison: Comparison) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """For each stretch after an event, and for the whole run: a row for each metric with a column for each control."""
    from gridloop.scenarios.display import quantity

    rows, described = comparison.study.rows, comparison.study.described
    several = next((run.windows for run in comparison.results.values()), [])
    in_windows = {key for row in rows for window in row.outcome.windows for key in window}
    stretches = list(enumerate(several))[1 if len(several) > 1 else 0 :][:MOST_TABLES]
    places = [(f"windows.{n}", f"from {window.start_s:g} to {window.end_s:g} s") for n, window in stretches]
    for place, title in [*places, ("run", "whole run")]:
        found: list[dict[str, Any]] = []
        for key in SHOWN:
            if (key in in_windows) == (place == "run"):
                continue
            figures = {row.point.case: row.figure(f"{place}.{key}") for row in rows}
            if key in described and not all(map(math.isnan, figures.values())):
                unit, text = described[key]
                words = {case: "" if math.isnan(value) else quantity(value, unit) for case, value in figures.items()}
                found.append({"": text, **words})
        if found:
            yield title, found
