"""One page that lays several runs over each other: plots, metrics, events, and what their scenarios differ in."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gridloop.scenarios.compare import letters, names_of, only_in, scenario_differences, series_differences, worst
from gridloop.scenarios.compare_tables import (
    event_rows,
    events_table,
    key_table,
    metrics_table,
    series_table,
)
from gridloop.scenarios.display import number
from gridloop.scenarios.overlay import Overlay, Overlays, overlay_data
from gridloop.scenarios.report import STATUS_SIGN, embedded, footer, network_words, title_of, web
from gridloop.scenarios.result import Result

MOST_RUNS = 12  # that a page can tell apart
MOST_NAMES = 12  # in a list of entities
MOST_BESIDE = 4  # runs whose values stand beside a plot; of more they stand below it


def compare_path(results: Sequence[Result], folder: Path) -> Path:
    """Where the page goes if nobody says: `compare-<names of the runs>.html`."""
    names = [name.replace("/", "_") for name in names_of(results)]
    whole = "-".join(names)
    return folder / f"compare-{whole if len(whole) <= 120 else f'{names[0]}-and-{len(names) - 1}-more'}.html"


def write_comparison(results: Sequence[Result], path: Path) -> Path:
    """Write the page; the first run is the one that others are compared with.

    Args:
        results: two to twelve runs, whole or cut short, of one scenario or of several.
        path: the HTML file, replaced if it is there.

    Returns:
        `path`.

    Raises:
        ValueError: too few runs, too many, or one of them twice.
    """
    if not 2 <= len(results) <= MOST_RUNS:
        raise ValueError(f"a page compares 2 to {MOST_RUNS} runs, got {len(results)}")
    names, marks = names_of(results), letters(len(results))
    differences = [series_differences(results[0], other) for other in results[1:]]
    overlays = Overlays(results, differences).all()
    keys = scenario_differences([result.record["scenario"] for result in results])
    software = scenario_differences([{"versions": result.record.get("versions", {})} for result in results])
    parts = [
        run_cards(results, names, marks, last_times(overlays, len(results))),
        section("What the scenarios differ in", key_table([*keys, *software], marks)),
        section("Course of the runs", plot_places(overlays, len(results))),
        section("Metrics", metrics_table(results, marks)),
        section(f"Largest differences to {marks[0]}", series_table([worst(found) for found in differences], marks)),
        missing(results, marks),
        section("Events", events_table(results, marks)),
        *(scenario_details(result, mark) for result, mark in zip(results, marks, strict=True)),
    ]
    titles = dict.fromkeys(title_of(result.record) for result in results)
    title = f"{len(results)} runs of {next(iter(titles))}" if len(titles) == 1 else f"{len(results)} runs compared"
    data = {
        "runs": [{"mark": mark, "name": name} for mark, name in zip(marks, names, strict=True)],
        "plots": overlay_data(overlays),
        "events": [{"t": row.t_s, "label": row.label(i, marks)} for i, row in enumerate(event_rows(results), 1)],
    }
    page = Template(web("report.html")).substitute(
        title=escape(title),
        css=web("report.css") + web("compare.css"),
        uplot_css=web("uPlot.min.css"),
        uplot_js=web("uPlot.iife.min.js"),
        uplot_licence=web("uPlot.LICENSE"),
        js=web("plots.js") + web("compare.js"),
        header=f'<div class="lead"><h1>{escape(title)}</h1></div>',
        body="\n".join(parts),
        footer="<br>".join(footers(results, marks)),
        data=embedded(data),
    )
    path.write_text(page, encoding="utf-8")
    return path


def section(heading: str, content: str) -> str:
    """A part of the page; nothing if there is no content."""
    return f"<section><h2>{escape(heading)}</h2>{content}</section>" if content else ""


def last_times(overlays: Sequence[Overlay], count: int) -> list[float]:
    """The last recorded time of each run [s]."""
    ends = [0.0] * count
    for part in (part for overlay in overlays for part in overlay.parts):
        ends[part.run] = max(ends[part.run], float(part.t_s[-1]))
    return ends


def run_cards(results: Sequence[Result], names: Sequence[str], marks: Sequence[str], ends: Sequence[float]) -> str:
    """What each run is, how it ended, and a button that hides its curves."""
    cards = []
    for run, (result, name, mark, end_s) in enumerate(zip(results, names, marks, ends, strict=True)):
        cards.append(run_card(run, result, (name, mark), end_s))
    return f'<section class="runs">{"".join(cards)}</section>'


def run_card(run: int, result: Result, called: tuple[str, str], end_s: float) -> str:
    """One run."""
    record, scenario, status = result.record, result.record["scenario"], result.status
    until_s = scenario.get("until_s")
    short = until_s is not None and end_s < 0.999 * until_s
    facts = [
        f"{number(end_s)} s" + (f" of {number(until_s)} s" if short else ""),
        f"step {number(scenario['step_ms'])} ms" if "step_ms" in scenario else "",
        network_words(record),
        str(record.get("started", "")).replace("T", " "),
    ]
    message = escape(record.get("message", ""))
    name, mark = called
    return (
        f'<div class="run"><button type="button" class="toggle" data-run="{run}" aria-pressed="true"'
        f' title="hide or show the curves of this run"><b>{mark}</b><svg class="sample" width="34" height="10">'
        f'<line x1="1" y1="5" x2="33" y2="5"/></svg></button>'
        f'<div class="what"><b>{escape(name)}</b> <span class="status {status}">{STATUS_SIGN.get(status, "")} '
        f"{status}</span><br>{escape(title_of(record))}<br>"
        f'<span class="soft">{escape(" · ".join(fact for fact in facts if fact))}</span>'
        + (f'<p class="message {status}">{message}</p>' if message else "")
        + "</div></div>"
    )


def plot_places(overlays: Sequence[Overlay], n_run: int) -> str:
    """Headings and places of the plots and their tables, which the page's script fills."""
    if not overlays:
        return '<p class="soft">No series were recorded.</p>'
    tools = (
        '<div class="tools"><span>Colour: what it is. Line: which run. Drag to zoom all plots, double-click to see '
        "everything again, click a name to hide or show its curves.</span>"
        '<button id="reset" type="button" disabled>Whole run</button></div>'
        "<noscript>The plots need JavaScript; everything else on this page does not.</noscript>"
    )
    shape = "pair" if n_run <= MOST_BESIDE else "pair many"
    places = "".join(
        f'<div class="plot"><h3>{escape(overlay.title)}</h3><div class="{shape}"><div class="chart"></div>'
        '<div class="names"></div></div></div>'
        for overlay in overlays
    )
    return f'{tools}<div id="plots" style="--runs: {n_run}">{places}</div>'


def missing(results: Sequence[Result], marks: Sequence[str]) -> str:
    """What not every run has, so is not compared."""
    rows = []
    for runs, names in only_in(results).items():
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        where = ", ".join(marks[run] for run in runs)
        rows.append(f"<li>only in {where}: {escape(', '.join(names[:MOST_NAMES]))}{more}</li>")
    return section("Not in every run", f"<ul>{''.join(rows)}</ul>" if rows else "")


def footers(results: Sequence[Result], marks: Sequence[str]) -> list[str]:
    """Versions and machines, and the runs made with them."""
    runs: dict[str, list[str]] = {}
    for result, mark in zip(results, marks, strict=True):
        runs.setdefault(footer(result.record), []).append(mark)
    return [f"{', '.join(found)}: {words}" for words, found in runs.items()]


def scenario_details(result: Result, mark: str) -> str:
    """The whole scenario of a run."""
    scenario: Mapping[str, Any] = result.record["scenario"]
    text = escape(json.dumps(scenario, indent=2, ensure_ascii=False))
    return f"<details><summary>Scenario of {mark}</summary><pre>{text}</pre></details>"
