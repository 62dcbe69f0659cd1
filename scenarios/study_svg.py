"""A study as a picture: a metric over the swept value, a curve with its band for each case, predicted margins."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from gridloop.scenarios.display import number, spelled
from gridloop.scenarios.study_axes import Direction, along_x, along_y
from gridloop.scenarios.study_table import Curve, text_of

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 860, 430, 66, 18, 52
HEAD, LEGEND_ROW, MARGIN_ROW, NEVER = 34, 19, 14, 26  # heights [pixel]
# the report's colours, told apart by people who confuse red and green; a page may give others
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c98a00", "#b85c93", "#3fa0e0", "#6b7280", "#882255")
INK, MUTED, GRID, PAPER = "var(--ink, #1c2630)", "var(--muted, #5a6672)", "var(--grid, #e8ecf0)", "var(--paper, #fff)"
FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


@dataclass(frozen=True)
class Margin:
    """A swept value above which theory says that the curve with this number is unstable.

    `x` is inf where every value up to `tried` is stable, nan where none is.
    """

    x: float
    tried: float
    curve: int


@dataclass(frozen=True)
class Chart:
    """What a picture shows."""

    title: str
    unit: str
    x_label: str
    x_is_log: bool
    curves: Sequence[Curve]
    margins: Sequence[Margin] = ()


def standalone(svg: str) -> str:
    """The picture as a file of its own, in plain colours that every program reads."""
    plain = re.sub(r"var\(--\w+, (#\w+)\)", r"\1", svg)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{plain}\n'


def picture(chart: Chart) -> str:
    """The chart as an SVG element; what never happened stands on a line of its own above the axis."""
    rows = legend_rows(chart.curves)
    never = any(np.isinf(curve.high).any() or any(curve.failed) for curve in chart.curves)
    above = HEAD + LEGEND_ROW * len(rows) + MARGIN_ROW * len(chart.margins) + 8
    top, height = above + (NEVER if never else 0), HEIGHT + above
    xs = chart.curves[0].x
    x = along_x(xs, chart.x_is_log, [m.x for m in chart.margins if math.isfinite(m.x)], LEFT, WIDTH - LEFT - RIGHT)
    ends = np.concatenate([values for curve in chart.curves for values in (curve.low, curve.high)])
    bottom = height - BOTTOM
    y = along_y(ends[np.isfinite(ends)].tolist(), bottom, top - bottom)
    never_y = above + NEVER / 2 if never else math.nan
    parts = [
        f'<rect width="{WIDTH}" height="{height}" style="fill:{PAPER}"/>',
        text(LEFT, 20, f"{chart.title}{unit_words(chart.unit)}", "font-weight:650;font-size:14px"),
        *legend(rows, HEAD + 4),
        *axes(x, y, (above, bottom), chart.x_label),
        *(never_line(never_y) if never else []),
        *(part for place, margin in enumerate(sorted(chart.margins, key=place_of_margin))
          for part in margin_line(margin, x, above - MARGIN_ROW * place, bottom)),
        *(part for place, curve in enumerate(chart.curves) for part in drawn(curve, place, x, y, never_y, chart.unit)),
    ]  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(chart.title)}" style="{FONT};font-size:12px;max-width:100%;height:auto">'
        + "\n".join(parts)
        + "</svg>"
    )


def unit_words(unit: str) -> str:
    """'[s]' after a title."""
    return f" [{spelled(unit)}]" if spelled(unit) else ""


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """Words at a place."""
    given = style if "fill:" in style else f"fill:{INK};{style}"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{given}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" style="{style}"/>'


def colour(place: int) -> str:
    """Colour of a curve."""
    turn = place % len(COLOURS)
    return f"var(--c{turn}, {COLOURS[turn]})"


def dash(place: int) -> str:
    """Kind of line of a curve, another one when colours repeat."""
    return ("", "6 3", "2 3", "9 3 2 3")[place // len(COLOURS) % 4]


def mark(place: int, x: float, y: float, style: str, told: str = "") -> str:
    """A curve's sign: circle, square, triangle or diamond."""
    corners: tuple[tuple[float, float], ...] = (
        (), ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)), ((0, -4.8), (4.6, 3.6), (-4.6, 3.6)),
        ((0, -5.2), (4.6, 0), (0, 5.2), (-4.6, 0)),
    )[place % 4]  # fmt: skip
    inside = f"<title>{escape(told)}</title>" if told else ""
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="{style}">{inside}</circle>'
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" style="{style}">{inside}</polygon>'


def legend_rows(curves: Sequence[Curve]) -> list[list[tuple[int, str, float]]]:
    """Number, label and place of the curves that have a label, row by row."""
    rows: list[list[tuple[int, str, float]]] = []
    right = math.inf
    for place, curve in enumerate(curves):
        if not curve.label:
            continue
        width = 44 + 6.6 * len(curve.label)  # a letter of the font is narrower than that on average
        if right + width > WIDTH - RIGHT:
            rows.append([])
            right = LEFT
        rows[-1].append((place, curve.label, right))
        right += width
    return rows


def legend(rows: Sequence[Sequence[tuple[int, str, float]]], top: float) -> list[str]:
    """What colours and signs mean."""
    parts = []
    for number_of_row, row in enumerate(rows):
        y = top + LEGEND_ROW * number_of_row + 6
        for place, label, x in row:
            parts += [
                line(x, y, x + 24, y, f"stroke:{colour(place)};stroke-width:2;stroke-dasharray:{dash(place)}"),
                mark(place, x + 12, y, f"fill:{colour(place)}"),
                text(x + 30, y + 4, label),
            ]
    return parts


def axes(x: Direction, y: Direction, span: tuple[float, float], x_label: str) -> list[str]:
    """Grid, values at the axes, and what x is."""
    top, bottom = span
    right = x.start + x.length
    parts = []
    for value, words in y.ticks():
        parts.append(line(x.start, y.place(value), right, y.place(value), f"stroke:{GRID}"))
        parts.append(text(x.start - 7, y.place(value) + 4, words, f"fill:{MUTED}", "end"))
    for value, words in x.ticks():
        parts.append(line(x.place(value), top, x.place(value), bottom, f"stroke:{GRID}"))
        parts.append(text(x.place(value), bottom + 17, words, f"fill:{MUTED}", "middle"))
    parts.append(line(x.start, bottom, right, bottom, f"stroke:{MUTED}"))
    parts.append(text((x.start + right) / 2, bottom + 40, x_label, f"fill:{MUTED}", "middle"))
    return parts


def never_line(y: float) -> list[str]:
    """Where points stand that have no end: never settled, or a run that failed."""
    style = f"stroke:{MUTED};stroke-dasharray:1 4;stroke-linecap:round"
    return [line(LEFT, y, WIDTH - RIGHT, y, style), text(LEFT - 7, y + 4, "never", f"fill:{MUTED}", "end")]


def place_of_margin(margin: Margin) -> float:
    """Smaller margins below larger ones; those that are no line above all."""
    return margin.x if math.isfinite(margin.x) else math.inf


def margin_line(margin: Margin, x: Direction, label_y: float, bottom: float) -> list[str]:
    """A predicted margin as a line in its curve's colour, its words beside the line's upper end."""
    given = f"fill:{colour(margin.curve)}"
    if not math.isfinite(margin.x):
        words = "at no value" if math.isnan(margin.x) else f"up to {number(margin.tried)} and beyond"
        return [text(LEFT, label_y - 3, f"predicted to be stable {words}", given)]
    at = x.place(margin.x)
    style = f"stroke:{colour(margin.curve)};stroke-width:1.4;stroke-dasharray:7 4"
    words = f"predicted to be stable up to {number(margin.x)}"
    left = at < LEFT + 6.6 * len(words)  # to the left, if there is room: that is where no other line goes up higher
    return [
        line(at, label_y - 10, at, bottom, style),
        text(at + (5 if left else -5), label_y - 3, words, given, "start" if left else "end"),
    ]  # fmt: skip


def drawn(curve: Curve, place: int, x: Direction, y: Direction, never_y: float, unit: str) -> list[str]:
    """A curve: its band, its median, a sign at each swept value, a cross where a run failed."""

    def height(value: float) -> float:
        return never_y if math.isinf(value) else y.place(value)

    at = [x.place(float(n) if x.names else value) for n, value in enumerate(curve.x)]
    known = [n for n, value in enumerate(curve.middle) if not math.isnan(value)]
    parts = []
    for run in runs_of(known):
        if curve.count > 1:
            edge = [(at[n], height(curve.low[n])) for n in run] + [(at[n], height(curve.high[n])) for n in run[::-1]]
            corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in edge)
            parts.append(f'<polygon points="{corners}" style="fill:{colour(place)};opacity:0.18"/>')
        middle = " ".join(f"{at[n]:.1f},{height(curve.middle[n]):.1f}" for n in run)
        style = f"fill:none;stroke:{colour(place)};stroke-width:1.8;stroke-dasharray:{dash(place)}"
        parts.append(f'<polyline points="{middle}" style="{style}"/>')
    for n in known:
        told = f"{curve.label or 'value'} at {text_of(curve.x[n])}: {in_words(curve, n, unit)}"
        parts.append(mark(place, at[n], height(curve.middle[n]), f"fill:{colour(place)}", told))
    for n, failed in enumerate(curve.failed):
        if failed:
            told = f"{curve.label or 'value'} at {text_of(curve.x[n])}: {failed} of {curve.count} runs failed"
            parts.append(cross(at[n], never_y, colour(place), told))
    return parts


def runs_of(places: Sequence[int]) -> list[list[int]]:
    """Stretches of places that follow each other."""
    return [[n for _, n in group] for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0])]


def cross(x: float, y: float, stroke: str, told: str) -> str:
    """The sign of a run that failed."""
    path = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    return f'<path d="{path}" style="stroke:{stroke};stroke-width:2.2"><title>{escape(told)}</title></path>'


def in_words(curve: Curve, place: int, unit: str) -> str:
    """A point of a curve: its median, and its band where there are several seeds."""
    low, middle, high = (float(values[place]) for values in (curve.low, curve.middle, curve.high))
    if math.isnan(middle):
        return "failed" if curve.failed[place] else ""
    words: list[Any] = [number(middle, unit)]
    if curve.count > 1 and low != high:
        words.append(f"({number(low, unit)} to {number(high, unit)})")
    if curve.failed[place]:
        words.append(f"+ {curve.failed[place]} failed")
    return " ".join(words)
