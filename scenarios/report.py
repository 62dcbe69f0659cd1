"""The report of one run: a single HTML file with picture, plots and tables that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from gridloop.scenarios.diagram import Marks, network_svg
from gridloop.scenarios.diagram_layout import SMALL_NET
from gridloop.scenarios.display import number
from gridloop.scenarios.measure import ledger
from gridloop.scenarios.plots import Plot, Ranges, extremes, plot_data, time_plots, unit_colours
from gridloop.scenarios.report_control import control_section, link_section
from gridloop.scenarios.report_devices import device_section
from gridloop.scenarios.report_dispatch import dispatch_section
from gridloop.scenarios.report_market import market_section
from gridloop.scenarios.report_plant import ledger_section, plant_section
from gridloop.scenarios.report_tables import (
    event_table,
    event_words,
    metric_cards,
    metric_tables,
    window_table,
)
from gridloop.scenarios.result import Event, Result
from gridloop.scenarios.thinning import MOST_POINTS

MOST_BYTES, LEAST_DATA = 300 * 1024, 60 * 1024  # of the page, of the data in it
LEAST_POINTS = 200  # of a curve
LABEL_LENGTH = 26  # of an event in a plot
STATUS_SIGN = {"done": "✓", "degraded": "!", "failed": "✕", "interrupted": "‖"}


def write_report(result: Result, path: Path) -> Path:
    """Write the report of a run, whole or cut short.

    Args:
        result: the run; whatever it lacks (series, metrics, network) is left out.
        path: the HTML file, replaced if it is there.

    Returns:
        `path`.
    """
    ranges = extremes(result)
    colours = unit_colours(result, ranges)
    plots = time_plots(result, colours, ranges)
    record = result.record
    page, parts = (
        Template(web("report.html")),
        {
            "title": escape(title_of(record)),
            "css": web("report.css"),
            "uplot_css": web("uPlot.min.css"),
            "uplot_js": web("uPlot.iife.min.js"),
            "uplot_licence": web("uPlot.LICENSE"),
            "js": web("plots.js") + web("report.js"),
            "header": header(result, plots),
            "body": "\n".join(sections(result, plots, ranges, colours)),
            "footer": footer(record),
        },
    )
    room = max(MOST_BYTES - sum(len(part.encode()) for part in (page.template, *parts.values())), LEAST_DATA)
    data, limit = plots_and_events(result, plots), MOST_POINTS
    while len(data) > room and limit > LEAST_POINTS:  # long runs with many curves get fewer samples of each
        limit = max(int(0.95 * limit * room / len(data)), LEAST_POINTS)
        data = plots_and_events(result, time_plots(result, colours, ranges, limit))
    path.write_text(page.substitute(parts, data=data), encoding="utf-8")
    return path


def plots_and_events(result: Result, plots: Sequence[Plot]) -> str:
    """The data of the page's script."""
    return embedded({"plots": plot_data(plots), "events": event_marks(result.events)})


def web(name: str) -> str:
    """A file of the page."""
    return files("gridloop.scenarios").joinpath("web", name).read_text(encoding="utf-8")


def embedded(data: Any) -> str:
    """JSON that no text in it can end early: `</script>` and `<!--` lose their bracket."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def event_marks(events: Sequence[Event]) -> list[dict[str, Any]]:
    """What the plots write at the events."""
    return [{"t": e.t_s, "label": f"{i} {event_words(e, LABEL_LENGTH)}"} for i, e in enumerate(events, 1)]


def title_of(record: Mapping[str, Any]) -> str:
    """The scenario's title, or its name."""
    return str(record["scenario"].get("title") or record["scenario"]["name"])


def header(result: Result, plots: Sequence[Plot]) -> str:
    """What ran, how it ended, and the main facts."""
    record, scenario, status = result.record, result.record["scenario"], result.status
    until_s, wall_s = scenario.get("until_s"), record.get("wall", {}).get("total_s")
    last_s = max((float(plot.t_s[-1]) for plot in plots), default=0.0)
    short = until_s is not None and last_s < 0.999 * until_s
    facts = {
        "scenario": f"<code>{escape(scenario['name'])}</code>",
        "simulated": f"{number(last_s)} s" + (f" of {number(until_s)} s" if short else ""),
        "step": f"{number(scenario['step_ms'])} ms" if "step_ms" in scenario else "",
        "mode": escape(str(scenario.get("mode", ""))),
        "network": escape(network_words(record)),
        "wall time": f"{wall_s:.3g} s" if wall_s else "",
        "speed": f"{last_s / wall_s:.3g} &times; real time" if wall_s and last_s else "",
        "started": escape(str(record.get("started", "")).replace("T", " ")),
    }
    shown = "".join(f"<div><dt>{key}</dt><dd>{text}</dd></div>" for key, text in facts.items() if text)
    message = escape(record.get("message", ""))
    return (
        f'<div class="lead"><h1>{escape(title_of(record))}</h1>'
        f'<span class="status {status}">{STATUS_SIGN.get(status, "")} {status}</span></div>'
        f'<dl class="facts">{shown}</dl>'
        + (f'<p class="message {status}" role="alert">{message}</p>' if message else "")
    )


def network_words(record: Mapping[str, Any]) -> str:
    """Name and size of the network."""
    network, grid = record.get("network", {}), record["scenario"].get("grid") or {}
    counts = [
        f"{len(network[kind])} {kind if len(network[kind]) > 1 else one}"
        for kind, one in (("buses", "bus"), ("units", "unit"), ("loads", "load"))
        if network.get(kind)
    ]
    return ", ".join([*([str(grid["net"])] if "net" in grid else []), *counts])


def sections(
    result: Result, plots: Sequence[Plot], ranges: Mapping[str, Ranges], colours: Mapping[str, int]
) -> list[str]:
    """The body of the page, from the overview to the details."""
    parts = [metric_cards(result.metrics)]
    log = f'<section><h2>Events</h2><div class="log">{event_table(result.events)}</div></section>'
    network = result.record.get("network", {})
    if network.get("buses"):
        picture = network_svg(network, marks(result, ranges, colours))
        shape = "beside" if len(network["buses"]) <= SMALL_NET else "above"
        log = f'<div class="{shape}"><section><h2>Network</h2>{picture}</section>{log}</div>'
    parts += [log, control_section(result.record)]
    parts.append(f"<section><h2>Course of the run</h2>{plot_places(plots)}</section>")
    if result.windows:
        table = window_table(result.windows, result.events)
        parts.append(f"<section><h2>From event to event</h2>{table}</section>")
    parts += [device_section(result), market_section(result), dispatch_section(result), plant_section(result)]
    parts.append(ledger_section(ledger(result)))
    parts.append(link_section(result.record))
    if result.metrics:
        parts.append(f"<section><h2>Metrics of the whole run</h2>{metric_tables(result.metrics)}</section>")
    scenario = escape(json.dumps(result.record["scenario"], indent=2, ensure_ascii=False))
    parts.append(f"<details><summary>Scenario, with all defaults</summary><pre>{scenario}</pre></details>")
    return [part for part in parts if part]


def plot_places(plots: Sequence[Plot]) -> str:
    """Headings and places of the plots, which the page's script fills."""
    if not plots:
        return '<p class="soft">No series were recorded.</p>'
    tools = (
        '<div class="tools"><span>Drag to zoom all plots, double-click to see everything again, '
        "click a name to hide its curve.</span>"
        '<button id="reset" type="button" disabled>Whole run</button></div>'
        "<noscript>The plots need JavaScript; everything else on this page does not.</noscript>"
    )
    places = "".join(f'<div class="plot"><h3>{escape(plot.title)}</h3></div>' for plot in plots)
    return f'{tools}<div id="plots">{places}</div>'


def marks(result: Result, ranges: Mapping[str, Ranges], colours: Mapping[str, int]) -> Marks:
    """What the picture of the network shows of the run."""
    branches = result.record["network"]["branches"]
    branch = {f"{b['to']}-{b['from']}": b["id"] for b in branches}
    opened = {b["id"]: 0.0 for b in branches if not b.get("closed", True)}
    stopped: dict[str, float] = {}
    for event in result.events:
        line = branch.get(event.target, event.target)  # an event may name a line from its other end
        if event.kind == "line_open":
            opened.setdefault(line, event.t_s)
        elif event.kind == "line_close":
            opened.pop(line, None)
        elif event.kind in ("unit_trip", "pcc_open"):
            stopped.setdefault(event.target, event.t_s)
        elif event.kind in ("unit_start", "pcc_close"):
            stopped.pop(event.target, None)
    flows = {name: max(map(abs, span)) for name, span in ranges.get("P_from[MW]", {}).items()}
    return Marks(
        loading_percent={name: span[1] for name, span in ranges.get("loading[%]", {}).items()},
        flow_mw=flows,
        v_pu=ranges.get("Vm[pu]", {}),
        p_gen_mw=ranges.get("P_gen[MW]", {}),
        p_load_mw=ranges.get("P_load[MW]", {}),
        opened_s=opened,
        stopped_s=stopped,
        colours=colours,
    )


def footer(record: Mapping[str, Any]) -> str:
    """Versions and machine, so that a result can be had again."""
    words = [f"{name} {version}" for name, version in record.get("versions", {}).items()]
    git, machine = record.get("git") or {}, record.get("machine") or {}
    if "commit" in git:
        words.append(f"commit {git['commit'][:10]}{' with changes' if git.get('changed') else ''}")
    words += [str(machine[key]) for key in ("system", "processor") if key in machine]
    return escape(" · ".join(words))
