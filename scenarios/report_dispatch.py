"""The section of a report about dispatch: convergence, voltages before and after, who pays, who was matched."""

from collections.abc import Sequence
from html import escape
from typing import Any

from gridloop.scenarios.dispatch_pictures import convergence, voltages
from gridloop.scenarios.metrics_dispatch import read_decisions, reductions, slot_losses
from gridloop.scenarios.result import Result

PAPER_NET = "orpd9-net.json"
MOST_SLOTS = 12  # rows of the table of slots
NOTE = (
    "Losses before and after are the operator's own figures, from what it saw a lead before the slot; those of the "
    "network are its own record. A generator behind an ideal tap changer of ratio T acts on the network as a source of "
    "V / T: that is what its unit is told, and what the record has as the voltage of its bus. The pictures show V."
)


def dispatch_section(result: Result) -> str:
    """Pictures and tables; nothing without a dispatch."""
    decided = read_decisions(result)
    if not decided:
        return ""
    by_slot = {one["slot"]: one for one in decided}
    pairs = [(by_slot[flat], by_slot[dispatched]) for flat, dispatched in reductions(result)]
    parts = [_slots(result, decided), f'<p class="soft">{NOTE}</p>']
    searched = [one for _, one in pairs if one["history"]]
    if searched:
        parts += ["<h3>Convergence</h3>", convergence(searched), "<h3>Voltages before and after</h3>"]
        parts += [voltages(one) for one in searched]
    shown = [one for pair in pairs for one in pair if one["prices"] is not None]
    if shown:
        parts += ["<h3>Who pays for reactive power</h3>", *(_allocation(one) for one in shown)]
    matches = [(decision["slot"], one) for decision in decided for one in decision["matches"]]
    if matches:
        parts += ["<h3>Buyers and sellers</h3>", _matches(matches), _ledger(result)]
    if result.record["dispatch"]["net"] == PAPER_NET:
        parts += ["<h3>The paper's figures beside ours</h3>", _paper()]
    return f"<section><h2>Reactive power dispatch</h2>{''.join(parts)}</section>"


def _slots(result: Result, decided: Sequence[dict[str, Any]]) -> str:
    loss = slot_losses(result)
    head = ("slot", "set-points", "before [MW]", "after [MW]", "network [MW]", "price [$/h]", "traded [MW]", "limits")
    rows = []
    for one in decided[:MOST_SLOTS]:
        price = None if one["prices"] is None else sum(one["prices"]["cost_per_h"].values())
        rows.append((
            str(one["slot"]), "of the file" if one["is_flat"] else "dispatched", _n(one["loss_before_mw"], 6),
            _n(one["loss_mw"], 6), _n(loss.get(one["slot"]), 6), _n(price), _n(sum(d["p_mw"] for d in one["deals"]), 0),
            "kept" if one["feasible"] else "INFEASIBLE: " + "; ".join(one["broken"]),
        ))  # fmt: skip
    more = len(decided) - len(rows)
    return _table(head, rows, left=(1, 7)) + (f'<p class="soft">and {more} more slots</p>' if more > 0 else "")


def _allocation(one: dict[str, Any]) -> str:
    """Loads by sources [$/h]."""
    prices = one["prices"]
    names = list(prices["cost_per_h"])
    what = "set-points of the file" if one["is_flat"] else "dispatched"
    rows = [
        (load, *(_n(share[name]) for name in names), _n(sum(share.values())))
        for load, share in prices["share_per_h"].items()
    ]
    costs = prices["cost_per_h"]
    rows.append(("all", *(_n(costs[name]) for name in names), _n(sum(costs.values()))))
    return _table((f"slot {one['slot']}, {what} [$/h]", *names, "all"), rows)


def _matches(matches: Sequence[tuple[int, dict[str, Any]]]) -> str:
    head = ("slot", "buyer", "asks for", "seller", "offers")
    rows = []
    for slot, one in matches:
        offers = "; ".join(
            f"{o['seller']}: losses {_n(o['loss_change_percent'], 2, sign=True)} %, "
            + (f"REFUSED: {', '.join(o['refused'])}" if o["refused"]
               else f"{o['line']} loaded {100 * o['loading']:.1f} %")
            for o in one["offers"]
        )  # fmt: skip
        rows.append((
            str(slot), one["buyer"], f"{one['p_mw']:g} MW at bus {one['bus']}", one["seller"] or "none", offers
        ))  # fmt: skip
    return _table(head, rows, left=(1, 2, 3, 4))


def _ledger(result: Result) -> str:
    verified, count = (result.metrics.get(key) for key in ("ledger_verified", "ledger_transactions"))
    if verified is None:
        return ""
    told = "every byte verified" if verified.value == 1 else "NOT IN ORDER: see the log"
    held = "" if count is None else f"{count.value:.0f} signed transactions, "
    return f"<p>The ledger, checked at the end of the run: {held}{told}.</p>"


def _paper() -> str:
    """What of the paper reproduces."""
    from gridloop.scenarios.market_paper import as_rows, loss_figures, match_figures, price_figures

    rows = as_rows([*loss_figures(), *price_figures(), *match_figures()])
    source = (
        "Danalakshmi et al., Energies 13 (2020) 6179. The misprint: line 5-6 with the charging of line 4-5, from which "
        "the paper's prices follow; they were taken at the set-points of the file, not at an optimum."
    )
    table = _table(tuple(rows[0]), [tuple(row.values()) for row in rows], left=(1, 5))
    return f'<details><summary>{len(rows)} figures with their verdicts</summary>{table}</details>' \
        f'<p class="soft">{escape(source)}</p>'  # fmt: skip


def _n(value: float | None, digits: int = 3, sign: bool = False) -> str:
    return "" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """A table; the first column heads its rows, columns `left` hold words."""
    kinds = ["" if place in left or place == 0 else ' class="n"' for place in range(len(head))]
    top = "".join(f"<th{kind}>{escape(words)}</th>" for kind, words in zip(kinds, head, strict=True))
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], row[1:], strict=True)) + "</tr>"
        for row in rows
    )  # fmt: skip
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
