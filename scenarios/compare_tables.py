"""Differences of runs as HTML tables: one column for each run."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from gridloop.scenarios.compare import KeyDifference, SeriesDifference, metric_rows
from gridloop.scenarios.display import Scale, number, quantity, scale
from gridloop.scenarios.report import LABEL_LENGTH
from gridloop.scenarios.report_tables import GROUPS, event_words, value_cell
from gridloop.scenarios.result import Event, Kind, Metric, Result

NONE = '<span class="soft">&ndash;</span>'
SAME = 1e-12  # of the larger value or of 1; what is closer is the same but for rounding
ORDER: tuple[Kind, ...] = ("unit", "pcc", "bus", "branch", "load", "meter", "link", "controller", "grid")
MOST_TEXT = 400  # characters of a value


def run_heads(marks: Sequence[str]) -> str:
    """Headings of the runs' columns."""
    return "".join(f'<th class="n">{mark}</th>' for mark in marks)


def key_table(differences: Sequence[KeyDifference], marks: Sequence[str]) -> str:
    """Paths and their values in each run."""
    if not differences:
        return '<p class="soft">Nothing: the scenarios are the same.</p>'
    rows = []
    for difference in differences:
        cells = "".join(
            f"<td>{written(difference.values[run]) if run in difference.values else NONE}</td>"
            for run in range(len(marks))
        )
        rows.append(f"<tr><td><code>{escape(difference.path)}</code></td>{cells}</tr>")
    heads = "".join(f"<th>{mark}</th>" for mark in marks)
    head = f"<tr><th>key</th>{heads}</tr>"
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def written(value: Any) -> str:
    """A value of a scenario; a list of maps line by line."""
    if value is None:
        return NONE
    items = value if isinstance(value, list) and any(isinstance(item, Mapping) for item in value) else [value]
    texts = [value_text(item) for item in items]
    return "<br>".join(escape(text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…") for text in texts)


def value_text(value: Any) -> str:
    """A value as one would write it in a scenario file."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def metrics_table(results: Sequence[Result], marks: Sequence[str]) -> str:
    """All metrics, a column for each run, with the difference to the first and its share."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for key, values in metric_rows(results).items():
        group = next(name for name, starts in GROUPS.items() if key.startswith(starts))
        groups[group].append(metric_row(key, values))
    bodies = [
        f'<tbody><tr class="group"><th colspan="{len(marks) + 2}">{group}</th></tr>{"".join(rows)}</tbody>'
        for group, rows in groups.items()
        if rows
    ]
    if not bodies:
        return ""
    head = f"<tr><th></th>{run_heads(marks)}<th></th></tr>"
    return f'<div class="scroll"><table class="side"><thead>{head}</thead>{"".join(bodies)}</table></div>'


def metric_row(key: str, values: Sequence[Metric | None]) -> str:
    """One metric of all runs, in the unit that fits the largest."""
    known = [metric for metric in values if metric is not None]
    largest = max((abs(m.value) for m in known if math.isfinite(m.value)), default=0.0)
    by = scale(known[0].unit, largest)
    cells = []
    for place, metric in enumerate(values):
        if metric is None:
            cells.append(f'<td class="n">{NONE}</td>')
            continue
        change = metric_change(values[0], metric, by) if place else ""
        cells.append(f'<td class="n">{value_cell(metric, largest)[0]}{change}</td>')
    return (
        f"<tr><td>{escape(known[0].description)}<br><code>{escape(key)}</code></td>{''.join(cells)}"
        f'<td class="unit">{escape(by.unit)}</td></tr>'
    )


def metric_change(first: Metric | None, metric: Metric, by: Scale) -> str:
    """Difference to the first run and its share of that, where both are numbers."""
    if first is None or first.unit != metric.unit or not math.isfinite(first.value) or not math.isfinite(metric.value):
        return ""
    delta = metric.value - first.value
    if abs(delta) <= SAME * max(abs(first.value), abs(metric.value), 1.0):
        return f'<br><span class="soft">{"≈ " if delta else ""}same</span>'
    percent = 100 * delta / abs(first.value) if first.value else math.inf
    share = f" ({signed(percent, '%')} %)" if 1e-3 <= abs(percent) < 1e4 else ""
    return f'<br><span class="soft">{signed(delta * by.factor, metric.unit)}{share}</span>'


def signed(value: float, unit: str) -> str:
    """A difference, with its sign."""
    return ("+" if value > 0 else "") + number(value, unit).replace("-", "−", 1)


def series_table(found: Sequence[Mapping[tuple[Kind, str], SeriesDifference]], marks: Sequence[str]) -> str:
    """The largest difference of each quantity between each other run and the first, and where it is."""
    keys = sorted({key: None for worst in found for key in worst}, key=lambda key: place_of(key[0]))
    if not keys:
        return '<p class="soft">Nothing: the runs have no series in common.</p>'
    rows, interpolated = [], [False] * len(found)
    for kind, attribute in keys:
        cells = []
        for place, worst in enumerate(found):
            difference = worst.get((kind, attribute))
            cells.append(f"<td>{difference_words(difference)}</td>")
            interpolated[place] |= difference is not None and difference.interpolated
        rows.append(f"<tr><td>{kind} <code>{escape(attribute)}</code></td>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{mark} − {marks[0]}</th>" for mark in marks[1:])
    table = f"<table><thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    between = [mark for mark, yes in zip(marks[1:], interpolated, strict=True) if yes]
    note = (
        f'<p class="soft">{", ".join(between)} was recorded at other times than {marks[0]} and interpolated to them; '
        "at a jump that alone makes a difference.</p>"
        if between
        else ""
    )
    return f'<div class="scroll">{table}</div>{note}'


def place_of(kind: Kind) -> int:
    """Where a kind of entity stands in a table; unknown ones at the end."""
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def difference_words(difference: SeriesDifference | None) -> str:
    """Size, entity and time of a difference."""
    if difference is None:
        return NONE
    if difference.delta == 0:
        return '<span class="soft">same</span>'
    size = quantity(difference.delta, difference.attribute.partition("[")[2].rstrip("]"))
    sign = "+" if difference.delta > 0 else ""
    return (
        f"{sign}{escape(size.replace('-', '−', 1))} "
        f'<span class="soft">{escape(difference.entity)} at {difference.t_s:g} s</span>'
    )


@dataclass(frozen=True)
class EventRow:
    """An event and its outcomes by the number of the run."""

    t_s: float
    event: Event
    outcomes: Mapping[int, str]
    n_run: int

    def label(self, place: int, marks: Sequence[str]) -> str:
        """What the plots write; the runs are named where not all have it."""
        runs = "" if len(self.outcomes) == self.n_run else f" ({', '.join(marks[run] for run in self.outcomes)})"
        return f"{place} {event_words(self.event, LABEL_LENGTH)}{runs}"


def event_rows(results: Sequence[Result]) -> list[EventRow]:
    """The logs of all runs in one: what happened at the same time to the same thing is one event."""
    found: dict[tuple[float, str, str, int], dict[int, Event]] = {}
    for run, result in enumerate(results):
        seen: dict[tuple[float, str, str], int] = {}
        for event in result.events:
            name = round(event.t_s, 6), event.kind, event.target
            seen[name] = seen.get(name, 0) + 1
            found.setdefault((*name, seen[name]), {})[run] = event
    rows = [
        EventRow(key[0], next(iter(runs.values())), {run: e.outcome for run, e in runs.items()}, len(results))
        for key, runs in found.items()
    ]
    return sorted(rows, key=lambda row: row.t_s)


def events_table(results: Sequence[Result], marks: Sequence[str]) -> str:
    """The logs side by side."""
    rows = []
    for place, row in enumerate(event_rows(results), 1):
        texts = [escape(row.outcomes[run]) if run in row.outcomes else NONE for run in range(len(marks))]
        alike = len(set(texts)) == 1
        cells = f'<td colspan="{len(marks)}">{texts[0]}</td>' if alike else "".join(f"<td>{t}</td>" for t in texts)
        rows.append(
            f'<tr><td class="n">{place}</td><td class="n">{row.t_s:g}</td>'
            f"<td>{escape(event_words(row.event))}</td>{cells}</tr>"
        )
    if not rows:
        return '<p class="soft">none</p>'
    heads = "".join(f"<th>{mark}</th>" for mark in marks)
    head = f'<tr><th class="n">no.</th><th class="n">t / s</th><th>event</th>{heads}</tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
