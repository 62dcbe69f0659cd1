"""Metrics and events of a run as HTML tables."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gridloop.scenarios.display import number, scale
from gridloop.scenarios.result import Event, Metric, Window

GROUPS = {  # first parts of the keys, in the order of the page; the first group that fits takes a key
    "frequency": ("f_", "rocof_"),
    "sharing": ("p_sharing_", "q_sharing_"),
    "voltage": ("v_",),
    "energy": ("energy_", "loss_"),
    "plant": ("fuel", "co2", "diesel_", "cost", "renewable_", "curtailment", "battery_", "soc_"),
    "limits": ("saturation_", "collapse_"),
    "stability": ("stable", "growth_", "delay_margin"),
    "communication": ("messages_", "bytes_", "age_", "consensus_"),
    "hardware": ("device_", "rtt_", "residual_", "step_late_", "overruns"),
    "numerics": ("step", "h_lambda", "order_", "network_", "newton_", "wall_"),
    "market": (
        "balancing_",
        "resilience",
        "recovery_",
        "negotiated_",
        "forecast_",
        "trade",
        "ledger_",
        "slot_",
        "reactive_",
        "requests",
        "sellers_",
    ),
    "other": ("",),
}
CARDS = (
    "f_nadir", "rocof_500ms", "f_settling_time", "v_min", "p_sharing_error_end", "energy_unserved", "fuel",
    "renewable_share", "cost", "age_p95",
)  # fmt: skip
OF_WINDOWS = (
    "f_nadir", "f_zenith", "f_end", "rocof_500ms", "f_settling_time", "p_sharing_error_end", "p_sharing_time",
    "q_sharing_error_end", "v_min", "v_max", "v_pilot_time", "loss_end", "energy_unserved", "fuel", "curtailment",
    "age_p95", "growth_rate",
)  # fmt: skip


def value_cell(metric: Metric, largest: float | None = None) -> tuple[str, str]:
    """A metric's value and unit as HTML, with the prefix that fits it or `largest` [its unit]."""
    by = scale(metric.unit, metric.value if largest is None else largest)
    text = escape(number(metric.value * by.factor, metric.unit))
    if math.isfinite(metric.value):
        return text, escape(by.unit)
    return f'<span class="never">{text}</span>', ""


def metric_cards(metrics: Mapping[str, Metric]) -> str:
    """The figures one looks for first."""
    cards = []
    for key in CARDS:
        if key in metrics:
            value, unit = value_cell(metrics[key])
            words = escape(metrics[key].description)
            cards.append(f'<div class="card"><b>{value} <small>{unit}</small></b><span>{words}</span></div>')
    return f'<section class="cards">{"".join(cards)}</section>' if cards else ""


def metric_tables(metrics: Mapping[str, Metric]) -> str:
    """All metrics, one table a group."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for key, metric in metrics.items():
        group = next(name for name, starts in GROUPS.items() if key.startswith(starts))
        value, unit = value_cell(metric)
        groups[group].append(
            f"<tr><td>{escape(metric.description)}<br><code>{escape(key)}</code></td>"
            f'<td class="n">{value}</td><td class="unit">{unit}</td></tr>'
        )
    tables = [
        f'<table><tbody><tr class="group"><th colspan="3">{group}</th></tr>{"".join(rows)}</tbody></table>'
        for group, rows in groups.items()
        if rows
    ]
    return f'<div class="metrics">{"".join(tables)}</div>'


def window_table(windows: Sequence[Window], events: Sequence[Event]) -> str:
    """One row a window; a column has one unit."""
    keys = [key for key in OF_WINDOWS if any(key in w.metrics for w in windows)]
    columns = {key: [w.metrics[key] for w in windows if key in w.metrics] for key in keys}
    sizes = {key: [abs(m.value) for m in ms if math.isfinite(m.value)] for key, ms in columns.items()}
    largest = {key: max(sizes[key], default=0.0) for key in keys}
    heads = []
    for key in keys:
        unit = scale(columns[key][0].unit, largest[key]).unit
        words = escape(columns[key][0].description)
        name = f"{escape(key.replace('_', ' '))}<br>{escape(unit) or '&nbsp;'}"
        heads.append(f'<th class="n" title="{words}">{name}</th>')
    rows = []
    for window in windows:
        cells = [value_cell(window.metrics[k], largest[k])[0] if k in window.metrics else "" for k in keys]
        since = [event_words(e) for e in events if abs(e.t_s - window.start_s) < 1e-9]
        values = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        rows.append(
            f'<tr><td class="n">{number(window.start_s)}&ndash;{number(window.end_s)}</td>'
            f"<td class='after'>{escape(', '.join(since)) or 'start'}</td>{values}</tr>"
        )
    head = f'<tr><th class="n">from&ndash;to<br>s</th><th>after</th>{"".join(heads)}</tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def event_table(events: Iterable[Event]) -> str:
    """The log, with the numbers that stand in the plots."""
    rows = "".join(
        f'<tr><td class="n">{i}</td><td class="n">{event.t_s:g}</td>'
        f'<td>{escape(event_words(event))}<br><span class="soft">{escape(event.outcome)}</span></td></tr>'
        for i, event in enumerate(events, 1)
    )
    head = '<tr><th class="n">no.</th><th class="n">t / s</th><th>event</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>" if rows else '<p class="soft">none</p>'


def event_words(event: Event, most: int = 60) -> str:
    """Kind and target of an event, e.g. 'load step 5', cut to `most` characters."""
    words = f"{event.kind.replace('_', ' ')} {event.target}".strip()
    return words if len(words) <= most else words[: most - 1] + "…"
