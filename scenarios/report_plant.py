"""Sections of a report about the plant: what each unit did, and the energy ledger."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape

from gridloop.scenarios.display import number, quantity, scale
from gridloop.scenarios.ledger import Account
from gridloop.scenarios.metrics_plant import starts_of
from gridloop.scenarios.plant import (
    AVAILABLE,
    FUEL,
    POWER,
    SOC,
    TERMINAL,
    UNDERLOAD,
    Plant,
    PlantUnit,
    read_plant,
    run_stretch,
)
from gridloop.scenarios.result import Result
from gridloop.scenarios.spans import Stretch

CLOSED = 1e-6  # a residual below it is rounding and integration
NEGLIGIBLE = 1e-9  # of what a device moved; less was not refused
PRICE_WORDS = {
    "fuel_eur_per_l": "EUR/L of fuel", "start_eur": "EUR a start", "battery_eur_per_mwh": "EUR/MWh through batteries",
    "unserved_eur_per_mwh": "EUR/MWh not served", "pcc_eur_per_mwh": "EUR/MWh from the public grid",
}  # fmt: skip


def plant_section(result: Result) -> str:
    """What diesel sets, batteries and arrays did, and the prices behind the cost; nothing if there are none."""
    network = result.record.get("network") or {}
    if not network.get("units") or "grid" not in result.entities:
        return ""
    plant, stretch = read_plant(result), run_stretch(result)
    rows = [
        f"<tr><td>{escape(unit.id)}</td><td>{kind}</td><td>{escape(words)}</td></tr>"
        for unit in plant.units
        for kind, words in told(unit, stretch)
    ]
    if not rows:
        return ""
    cost = f'<p class="soft">{price_words(plant)}</p>' if "cost" in result.metrics else ""
    return f"<section><h2>Plant</h2><table><tbody>{''.join(rows)}</tbody></table>{cost}</section>"


def told(unit: PlantUnit, stretch: Stretch) -> list[tuple[str, str]]:
    """What kind of plant a unit is and what it did, in words."""
    found, traces = [], unit.traces
    fed_mwh = traces[POWER].energy_mwh(stretch) if POWER in traces else float("nan")
    if unit.is_diesel:
        fuel_l = traces[FUEL].change(stretch)
        each = f", {number(fuel_l / fed_mwh / 1e3)} L/kWh" if fed_mwh > 0 else ""
        starts = starts_of(unit, stretch)
        under = (
            f", {number(traces[UNDERLOAD].change(stretch))} min below its minimum load" if UNDERLOAD in traces else ""
        )
        found.append((
            "diesel set",
            f"{quantity(fed_mwh, 'MWh')} from {number(fuel_l)} L{each}, {starts} start{'s' * (starts != 1)}{under}",
        ))  # fmt: skip
    if unit.is_battery:
        start, end = (traces[SOC].at(t_s) for t_s in (stretch.start_s, stretch.end_s))
        flow = ""
        if TERMINAL in traces:
            moved, net = traces[TERMINAL].moved(stretch), traces[TERMINAL].change(stretch)
            flow = f", {quantity((moved + net) / 2, 'MWh')} discharged, {quantity((moved - net) / 2, 'MWh')} charged"
        found.append(("battery", f"{number(start)} % to {number(end)} %{flow}"))
    if unit.is_pv:
        available = traces[AVAILABLE].energy_mwh(stretch)
        lost = max(available - fed_mwh, 0.0)
        share = f" ({number(100 * lost / available)} %)" if available > 0 and lost > NEGLIGIBLE * available else ""
        left = quantity(lost if share else 0.0, "MWh")
        found.append((
            "PV", f"{quantity(fed_mwh, 'MWh')} used of {quantity(available, 'MWh')} available, {left} curtailed{share}",
        ))  # fmt: skip
    return found


def price_words(plant: Plant) -> str:
    """The prices behind the cost."""
    parts = [f"{number(value)} {PRICE_WORDS[key]}" for key, value in asdict(plant.prices).items()]
    return f"Cost at {', '.join(parts)}; <code>prices</code> in the scenario changes them."


def ledger_section(accounts: Sequence[Account]) -> str:
    """Who got energy from where, who gave it to whom, and what the books do not explain."""
    if not accounts:
        return ""
    largest = max((abs(value) for account in accounts for value in account.entries.values()), default=0.0)
    by = scale("MWh", largest)

    def side(account: Account, sign: int) -> str:
        parts = [
            f"{number(abs(value) * by.factor)} {escape(name)}"
            for name, value in account.entries.items()
            if value * sign > 0
        ]
        return "<br>".join(parts)

    rows = []
    for account in accounts:
        unserved = account.unserved_mwh if abs(account.unserved_mwh) > NEGLIGIBLE * account.moved_mwh else 0.0
        word = "" if account.residual <= CLOSED else " &ndash; does not close"
        rows.append(
            f"<tr><td>{escape(account.device)}</td><td>{account.kind}</td><td>{side(account, 1)}</td>"
            f'<td>{side(account, -1)}</td><td class="n">{number(unserved * by.factor)}</td>'
            f'<td class="n">{number(account.residual)}{word}</td></tr>'
        )
    head = (
        f"<tr><th>device</th><th></th><th>got from<br>{by.unit}</th><th>gave to, lost, kept<br>{by.unit}</th>"
        f'<th class="n">asked in vain<br>{by.unit}</th><th class="n">unexplained<br>of what it moved</th></tr>'
    )
    note = (
        '<p class="soft">Each account holds books of different origin against each other: the device&rsquo;s own, its '
        "neighbour&rsquo;s in another simulator, and the power that the network solved.</p>"
    )
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    return f"<section><h2>Energy ledger</h2>{table}{note}</section>"
