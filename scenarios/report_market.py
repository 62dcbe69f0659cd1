"""The section of a report about the market: a picture of a fault, balance and trades in numbers."""

from html import escape

import numpy as np

from gridloop.scenarios.display import number
from gridloop.scenarios.metrics_market import Balance, organisations, outages, read_balance
from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.spans import HOUR_S, Real
from gridloop.scenarios.study_axes import Direction, along_y
from gridloop.scenarios.study_svg import FONT, GRID, MUTED, colour, line, text

WORDS = {
    "team": "agents in turn", "central": "central controller", "standby": "controller with a standby",
}  # fmt: skip
BEFORE_H, AFTER_H = 3.0, 6.0  # around the first fault
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 860, 300, 56, 44, 34
FIGURES = (
    ("balancing_accuracy", "load balancing accuracy"), ("balancing_accuracy_fault", "while somebody was down"),
    ("resilience", "resilience"), ("recovery_time", "recovery"), ("balancing_rms", "rms not balanced"),
    ("negotiated_cost", "cost by the offers"),
)  # fmt: skip
TRADES = (
    "trades", "energy_traded", "energy_settled", "trade_price", "trade_share", "trade_share_first_day", "ledger_blocks",
    "ledger_transactions",
)  # fmt: skip
NOTE = (
    "Load balancing accuracy is 1 less the power that was agreed on too much or too little, to the load, over all "
    "slots; resilience is the accuracy while somebody was down to that of the same time without the fault. The "
    "first organisation is the one whose agents talk over links; others are played beside it on the same bids, with "
    "messages that take no time. With the same forecasts all are equally good as long as nobody fails."
)


def market_section(result: Result) -> str:
    """Picture and tables; nothing without a market."""
    balance = read_balance(result)
    if balance is None:
        return ""
    names = organisations(result.record)
    forecast = _words(result.metrics, "forecast_error", "forecast_error_naive")
    parts = [_picture(result, balance), _table(names, result.metrics), f'<p class="soft">{NOTE}</p>']
    parts += [forecast, _given(result)]
    if "trades" in result.metrics:
        traded = [result.metrics[key] for key in TRADES if key in result.metrics]
        rows = "".join(f'<tr><th>{escape(m.description)}</th><td class="n">{_value(m)}</td></tr>' for m in traded)
        verified = result.metrics.get("ledger_verified")
        if verified is not None:
            told = "every byte verified" if verified.value == 1 else "NOT IN ORDER: see the log"
            rows += f'<tr><th>the ledger, checked at the end of the run</th><td class="n">{told}</td></tr>'
        parts.append(f"<h3>Trades</h3><table><tbody>{rows}</tbody></table>")
    return f"<section><h2>Market</h2>{''.join(parts)}</section>"


def _given(result: Result) -> str:
    """What the figures hang on: who was down when, seed and data."""
    market, seed = result.record["market"], result.record["scenario"].get("seed", 0)
    times = [(who, first / HOUR_S, last / HOUR_S) for who, first, last in outages(market["failures"])]
    down = [f"{who} from {first:.2f} to {last:.2f} h" for who, first, last in times]
    words = [f"Down: {', '.join(down)}."] if down else []
    words += [f"Seed {seed}."] + [f"Data {name}: SHA-256 {digest[:16]}." for name, digest in market["data"].items()]
    return f'<p class="soft">{escape(" ".join(words))}</p>'


def _value(metric: Metric) -> str:
    if metric.unit == "1" and 0 < abs(metric.value) <= 1.5 and metric.value != 1:
        return f"{100 * metric.value:.2f} %"
    if metric.unit == "MW":
        return f"{number(1e3 * metric.value)} kW"
    unit = "" if metric.unit == "1" else f" {metric.unit.replace('_per_', '/')}"
    return f"{'never' if np.isinf(metric.value) else number(metric.value)}{unit}"


def _words(metrics: dict[str, Metric], *keys: str) -> str:
    found = [f"{metrics[key].description}: {_value(metrics[key])}" for key in keys if key in metrics]
    return f"<p>{escape('; '.join(found))}.</p>" if found else ""


def _table(names: list[str], metrics: dict[str, Metric]) -> str:
    """A row for each organisation."""
    known = [(key, told) for key, told in FIGURES if f"{key}.{names[0]}" in metrics]
    head = "".join(f'<th class="n">{escape(told)}</th>' for _, told in known)
    rows = "".join(
        f"<tr><th>{escape(WORDS.get(name, name))}</th>"
        + "".join(f'<td class="n">{_value(metrics[f"{key}.{name}"])}</td>' for key, _ in known) + "</tr>"
        for name in names
    )  # fmt: skip
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _picture(result: Result, balance: Balance) -> str:
    """What was needed, and what each organisation had agreed on, around the first fault."""
    slot_h = result.record["market"]["slot_s"] / HOUR_S
    faulty, hours = np.flatnonzero(balance.in_fault), balance.slot * slot_h
    first, last = 0, min(len(hours), round(48 / slot_h))
    if len(faulty):
        of_first = faulty[: int(np.argmax(np.append(np.diff(faulty), 99) > 1)) + 1]
        first = max(0, of_first[0] - round(BEFORE_H / slot_h))
        last = min(len(hours), of_first[-1] + 1 + round(AFTER_H / slot_h))
    shown = slice(int(first), int(last))
    curves = {"what was needed": balance.demand_mw[shown]}
    curves |= {WORDS.get(name, name): agreed[shown] for name, agreed in balance.agreed_mw.items()}
    hour = hours[shown].tolist()
    x = Direction(hour[0], hour[-1] + slot_h, LEFT, WIDTH - LEFT - 12)
    kw = [1e3 * float(value) for curve in curves.values() for value in curve]
    y = along_y(kw, HEIGHT - BOTTOM, TOP - (HEIGHT - BOTTOM))
    parts = [text(LEFT, 16, "Agreed power and what was needed [kW]", "font-weight:650;font-size:14px")]
    if len(faulty):
        left, right = x.place(hours[of_first[0]]), x.place(hours[of_first[-1]] + slot_h)
        parts.append(
            f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - BOTTOM - TOP}" '
            f'style="fill:{GRID}"><title>somebody is down</title></rect>'
        )
    for value, words in y.ticks():
        parts += [line(LEFT, y.place(value), WIDTH - 12, y.place(value), f"stroke:{GRID}")]
        parts += [text(LEFT - 6, y.place(value) + 4, words, f"fill:{MUTED}", "end")]
    for value, words in x.ticks():
        parts += [text(x.place(value), HEIGHT - 14, f"{words} h", f"fill:{MUTED}", "middle")]
    at, first_curve = LEFT, len(parts)
    for place, (name, values) in reversed(list(enumerate(curves.items()))):  # the one that counts lies on top
        style = f"fill:none;stroke:{colour(6 if place == 0 else place - 1)};stroke-width:{3 if place == 0 else 1.7}"
        drawn = f'<polyline points="{_stairs(x, y, hours[shown], 1e3 * values, slot_h)}" style="{style}"/>'
        parts = [*parts, drawn] if place else [*parts[:first_curve], drawn, *parts[first_curve:]]
        parts += [line(at, 30, at + 18, 30, style), text(at + 23, 34, name)]
        at += 40 + 7 * len(name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="agreed power and need" style="{FONT};font-size:12px;max-width:100%;height:auto">'
        + "".join(parts) + "</svg>"
    )  # fmt: skip


def _stairs(x: Direction, y: Direction, hours: Real, values: Real, slot_h: float) -> str:
    """Points of a line that holds each value for its slot."""
    return " ".join(
        f"{x.place(hour):.1f},{y.place(value):.1f} {x.place(hour + slot_h):.1f},{y.place(value):.1f}"
        for hour, value in zip(hours.tolist(), values.tolist(), strict=True)
    )
