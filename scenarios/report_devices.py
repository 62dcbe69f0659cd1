"""The section of a report about hardware: every device, its link, its losses, and how far it is from its model."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from gridloop.hil.replay import FOLDER
from gridloop.scenarios.device_log import ROUND_TRIPS
from gridloop.scenarios.device_results import metric, requests
from gridloop.scenarios.display import number, quantity
from gridloop.scenarios.metrics_devices import lost_times
from gridloop.scenarios.result import Real, Result

BINS = 24  # of a histogram
WIDTH, HEIGHT = 300, 56  # of a histogram
STRIP = 16  # height of a time line
MOST_STRETCHES = 400  # of a time line
MODEL, DEVICE, HELD, LOST = range(4)
COLOURS = {MODEL: "var(--rule)", DEVICE: "var(--good)", HELD: "var(--warn)", LOST: "var(--bad)"}
WORDS = {DEVICE: "the device drives", HELD: "its last values hold", LOST: "it is lost", MODEL: "the model drives"}


def device_section(result: Result) -> str:
    """A table of all devices, their histograms and time lines; nothing if the run had none."""
    if not result.devices:
        return ""
    cards = "".join(_device(result, unit) for unit in result.devices)
    return f"<section><h2>Hardware</h2>{_pacing(result)}{cards}</section>"


def _pacing(result: Result) -> str:
    figures = result.record.get("pacing") or {}
    if "late_p50_us" not in figures:
        return ""
    return (
        f'<p class="soft">The run was held at the pace of the clock: half of the steps began within '
        f"{figures['late_p50_us'] / 1e3:.2g} ms, 99 % within {figures['late_p99_us'] / 1e3:.2g} ms; "
        f"{figures['overruns']:g} of {figures['steps']:g} began too late.</p>"
    )


def _device(result: Result, unit: str) -> str:
    device = result.devices[unit]
    use = f"{device['role']}, mode {device['mode']}"
    values = device.get("values", {})
    facts = {
        "device": f"<code>{escape(device['url'])}</code>",
        "used as": escape(use) + (", shadow only: nothing was written" if device["shadow"] else ""),
        "requests": escape(requests(result, unit)),
        "round trip": _times(result, unit, ("rtt_p50", "rtt_p95", "rtt_p99")),
        "age": _age(result, unit),
        "lost for": _seconds(metric(result, "device_fallback_time", unit)),
        "values written": f"{values.get('written', 0)}, of which {values.get('limited', 0)} limited" if values else "",
        "against its model": _residual(result, unit),
    }
    rows = "".join(f"<tr><th>{key}</th><td>{text}</td></tr>" for key, text in facts.items() if text)
    figures = _histogram(result.path, unit)
    table = f"<table class='facts-table'><tbody>{rows}</tbody></table>"
    beside = f'<div class="beside"><div>{table}</div><div>{figures}</div></div>' if figures else table
    return f"<h3>{escape(unit)}</h3>{beside}{_time_line(result, unit)}"


def _times(result: Result, unit: str, keys: Sequence[str]) -> str:
    found = [(key.rpartition("_p")[2], metric(result, key, unit)) for key in keys]
    return ", ".join(f"{p} %: {number(value)} ms" for p, value in found if value == value)


def _age(result: Result, unit: str) -> str:
    age_ms = metric(result, "device_age_p95", unit)
    return f"95 % of the values were younger than {number(age_ms)} ms" if age_ms == age_ms else ""


def _seconds(value_s: float) -> str:
    return f"{number(value_s)} s" if value_s == value_s else ""


def _residual(result: Result, unit: str) -> str:
    rms, most, bias = (metric(result, f"residual_{key}", unit) for key in ("rms", "max", "bias"))
    if rms != rms:
        return ""
    return (
        f"active power: root mean square {quantity(rms, 'MW')}, at most {quantity(most, 'MW')}, "
        f"mean {quantity(bias, 'MW')}"
    )


def _histogram(path: Path, unit: str) -> str:
    """Round trips on a logarithmic axis."""
    file = path / FOLDER / ROUND_TRIPS / f"{unit}.csv"
    if not file.is_file():
        return ""
    times_ms = np.loadtxt(file, ndmin=1)
    low, high = max(float(times_ms.min()), 1e-3), float(times_ms.max())
    counts, _ = np.histogram(times_ms, np.geomspace(low, max(high, 1.01 * low) * (1 + 1e-9), BINS + 1))
    width, tallest = WIDTH / BINS, max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{i * width:.1f}" y="{HEIGHT * (1 - count / tallest):.1f}" width="{width - 1:.1f}" '
        f'height="{HEIGHT * count / tallest:.1f}" fill="var(--c0)"/>'
        for i, count in enumerate(counts.tolist())
        if count
    )
    style = 'font-size="11" fill="var(--muted)"'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 16}" width="{WIDTH}" role="img" aria-label="round trips of '
        f'{escape(unit)}">{bars}<line x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}" stroke="var(--rule)"/>'
        f'<text x="0" y="{HEIGHT + 13}" {style}>{number(low)} ms</text>'
        f'<text x="{WIDTH / 2}" y="{HEIGHT + 13}" {style} text-anchor="middle">{len(times_ms)} round trips</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 13}" {style} text-anchor="end">{number(high)} ms</text></svg>'
    )


def _time_line(result: Result, unit: str) -> str:
    """Who drove when."""
    if unit not in result.entities or "active[1]" not in result.entities[unit].attributes:
        return ""
    t, active = result.series(unit, "active[1]")
    quality = result.series(unit, "quality[1]")[1]
    if len(t) < 2:
        return ""
    state = np.where(active > 0, np.where(quality > 0, HELD, DEVICE), MODEL)
    for start_s, end_s in lost_times(result, unit, float(t[-1])):
        state[(t >= start_s) & (t < end_s)] = LOST
    shown, parts = set[int](), []
    for first, last in _stretches(state):
        x, end = ((t[row] - t[0]) / (t[-1] - t[0]) * 100 for row in (first, last))
        kind = int(state[first])
        shown.add(kind)
        title = f"{number(float(t[first]))} to {number(float(t[last]))} s: {WORDS[kind]}"
        parts.append(
            f'<rect x="{x:.3f}%" width="{end - x:.3f}%" height="{STRIP}" fill="{COLOURS[kind]}">'
            f"<title>{title}</title></rect>"
        )
    key = " ".join(
        f'<span style="white-space:nowrap"><span style="display:inline-block;width:11px;height:11px;'
        f'background:{COLOURS[kind]}"></span> {WORDS[kind]}</span>&ensp;'
        for kind in WORDS
        if kind in shown
    )
    return (
        f'<svg width="100%" height="{STRIP}" style="margin-top:12px" role="img" aria-label="who drove '
        f'{escape(unit)}">{"".join(parts)}</svg>'
        f'<p class="soft">{number(float(t[0]))} to {number(float(t[-1]))} s: {key}</p>'
    )


def _stretches(state: Real) -> list[tuple[int, int]]:
    """First row of every stretch, and the first of the next; a device that flickers shows its first ones."""
    starts = [0, *(np.flatnonzero(np.diff(state)) + 1).tolist()][:MOST_STRETCHES]
    return list(zip(starts, [*starts[1:], len(state) - 1], strict=True))
