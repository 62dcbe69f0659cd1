"""The page of a study: its pictures, its tables and what it was made of, in one file; and the picture beside it."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gridloop.scenarios.problems import UNITS
from gridloop.scenarios.report import footer, web
from gridloop.scenarios.study_folder import write_whole
from gridloop.scenarios.study_margins import is_delay
from gridloop.scenarios.study_run import StudyResult
from gridloop.scenarios.study_svg import Chart, Margin, in_words, picture, standalone, unit_words
from gridloop.scenarios.study_table import FEW, Row, curves, swept, text_of, words

MOST_FAILED = 20  # that the page lists
MOST_CURVES = 24  # that a picture can tell apart
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$css
figure { margin: 12px 0 4px; }
.scroll table { width: auto; }
th.n, td.n { padding-left: 18px; }</style>
</head>
<body>
<header>$header</header>
<main>
$body
</main>
<footer>$footer</footer>
</body>
</html>
""")


def write_page(result: StudyResult) -> Path:
    """Write study.html, and the first picture as study.svg; returns the page's path."""
    drawn = [(name, picture(chart(result, name))) for name in result.metrics if any_value(result, name)]
    if drawn:
        write_whole(result.path / "study.svg", standalone(drawn[0][1]))
    parts = [
        f"<section><h2><code>{escape(name)}</code></h2><figure>{svg}</figure>"
        f"{band_words(result)}{margin_note(result)}{value_table(result, name)}</section>"
        for name, svg in drawn
    ]
    record = result.record
    title = f"Study of {record['title'] or record['name']}"
    details = json.dumps(record["fingerprint"]["scenario"], indent=2, ensure_ascii=False)
    page = PAGE.substitute(
        title=escape(title),
        css=web("report.css"),
        header=header(result, title),
        body="\n".join([
            *parts, case_table(record), failed_table([row for row in result.rows if row.failed]),
            f"<details><summary>Scenario</summary><pre>{escape(details)}</pre></details>",
        ]),
        footer=footer(record),
    )  # fmt: skip
    path = result.path / "study.html"
    write_whole(path, page)
    return path


def any_value(result: StudyResult, name: str) -> bool:
    """Whether there is anything to draw."""
    return any(row.failed or row.figure(name) == row.figure(name) for row in result.rows)


def chart(result: StudyResult, name: str) -> Chart:
    """The picture of a metric."""
    found = curves(result.rows, result.axes, name)[:MOST_CURVES]
    title, unit = words(result.rows, name, result.described)
    number = swept(result.axes)
    axis = None if number is None else result.axes[number]
    margins = [
        Margin(float(margin["delay_s"]) * 1e3, float(margin["tried_s"]) * 1e3, place)
        for margin in result.record["margins"]
        for place, curve in enumerate(found)
        if curve.case == margin["case"] and axis is not None and is_delay(axis)
    ]  # fmt: skip
    return Chart(
        title, unit, "" if axis is None else path_words(axis.path), axis is not None and axis.is_log, found, margins
    )  # fmt: skip


def path_words(path: str) -> str:
    """A path and its unit, `comms.delay_ms [ms]`."""
    endings = [ending for ending in UNITS if path.endswith(f"_{ending}")]
    return f"{path} [{UNITS[max(endings, key=len)]}]" if endings else path


def header(result: StudyResult, title: str) -> str:
    """What was studied, and how far it is."""
    record = result.record
    total, done = len(record["points"]), len(result.rows)
    failed = sum(row.failed for row in result.rows)
    facts = {
        "points": f"{done}" if done == total else f"{done} of {total}",
        "failed": str(failed) if failed else "",
        "seeds": str(len(record["seeds"])) if len(record["seeds"]) > 1 else "",
        "started": str(record.get("started", "")).replace("T", " "),
    }
    shown = "".join(f"<div><dt>{key}</dt><dd>{escape(text)}</dd></div>" for key, text in facts.items() if text)
    return (
        f'<div class="lead"><h1>{escape(title)}</h1><span class="status {result.status}">{result.status}</span></div>'
        f'<dl class="facts">{shown}</dl>'
    )


def band_words(result: StudyResult) -> str:
    """What the shaded bands are."""
    count = len(result.record["seeds"])
    if count == 1:
        return ""
    span = "lowest to highest" if count <= FEW else "10 to 90 %"
    return f'<p class="soft">Lines are the median of {count} seeds, bands {span}.</p>'


def margin_note(result: StudyResult) -> str:
    """What the predicted margins are of."""
    told = "Predicted margins are those without jitter and loss; a delay counts up to the next tick."
    return f'<p class="soft">{told}</p>' if result.record["margins"] else ""


def value_table(result: StudyResult, name: str) -> str:
    """The picture's numbers: a row for each swept value, a column for each curve."""
    found = curves(result.rows, result.axes, name)
    unit = words(result.rows, name, result.described)[1]
    number = swept(result.axes)
    heads = "".join(f'<th class="n">{escape(curve.label or name)}{escape(unit_words(unit))}</th>' for curve in found)
    label = "" if number is None else path_words(result.axes[number].path)
    rows = []
    for place, value in enumerate(found[0].x):
        cells = "".join(f'<td class="n">{escape(in_words(curve, place, unit))}</td>' for curve in found)
        rows.append(f'<tr><td class="n">{"" if number is None else escape(text_of(value))}</td>{cells}</tr>')
    head = f'<tr><th class="n">{escape(label)}</th>{heads}</tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def case_table(record: Mapping[str, Any]) -> str:
    """What each case sets."""
    rows = [
        f"<tr><td>{escape(case)}</td><td><code>{escape(path)}</code></td><td>{escape(text_of(value))}</td></tr>"
        for case, changes in record["cases"].items()
        for path, value in changes.items()
    ]
    head = "<tr><th>case</th><th>sets</th><th>to</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<section><h2>Cases</h2>{table}</section>" if rows else ""


def failed_table(failed: list[Row]) -> str:
    """Which points failed, and why."""
    if not failed:
        return ""
    rows = "".join(
        f"<tr><td>{escape(place_words(row))}</td><td>{escape(row.outcome.message)}</td></tr>"
        for row in failed[:MOST_FAILED]
    )
    more = f'<p class="soft">and {len(failed) - MOST_FAILED} more</p>' if len(failed) > MOST_FAILED else ""
    table = f"<table><thead><tr><th>point</th><th>why</th></tr></thead><tbody>{rows}</tbody></table>{more}"
    return f"<section><h2>Runs that failed</h2>{table}</section>"


def place_words(row: Row) -> str:
    """A point by its overrides."""
    own = [row.point.case] if row.point.case else []
    return ", ".join([*own, *(f"{path} = {text_of(value)}" for path, value in row.point.overrides.items())])
