"""Figures of a dispatch: losses before and after as the network had them, prices, who pays, and what was matched."""

import json
from itertools import pairwise
from typing import Any

import numpy as np

from gridloop.scenarios.metrics_ledger import ledger_metrics
from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.spans import HOUR_S
from gridloop.scenarios.wire_dispatch import DECISIONS

LOSS = "P_loss[MW]"


def read_decisions(result: Result) -> list[dict[str, Any]]:
    """What was decided for every slot that began, in their order; empty without a dispatch."""
    path = result.path / DECISIONS
    facts = result.record.get("dispatch")
    if not facts or not path.exists() or "grid" not in result.entities:
        return []
    decided = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
    end_s = float(result.series("grid", LOSS)[0][-1])
    return [one for one in decided if one["slot"] * facts["slot_s"] < end_s]


def slot_losses(result: Result) -> dict[int, float]:
    """Losses [MW] that the network had at the end of each slot, by the grid's own record."""
    slot_s = result.record["dispatch"]["slot_s"]
    t_s, loss = result.series("grid", LOSS)
    slots = np.floor(t_s / slot_s + 1e-9).astype(int)
    return {int(slot): float(loss[slots == slot][-1]) for slot in np.unique(slots[t_s < t_s[-1]])}


def reductions(result: Result) -> list[tuple[int, int]]:
    """(flat slot, the dispatched one after it)."""
    decided = read_decisions(result)
    return [
        (one["slot"], other["slot"]) for one, other in pairwise(decided)
        if one["is_flat"] and not other["is_flat"]
    ]  # fmt: skip


def dispatch_metrics(result: Result) -> dict[str, Metric]:
    """All figures of the dispatch of a run."""
    decided = read_decisions(result)
    if not decided:
        return {}
    loss, found = slot_losses(result), dict[str, Metric]()
    prices = {one["slot"]: one["prices"] for one in decided}
    for flat, dispatched in reductions(result):
        for slot, words in ((flat, "set-points of the file"), (dispatched, "dispatched")):
            found[f"slot_loss.slot{slot}"] = Metric(loss[slot], "MW", f"losses in slot {slot}, {words}")
            if prices[slot] is not None:
                total = sum(prices[slot]["cost_per_h"].values())
                told = f"price of reactive power in slot {slot}, {words}"
                found[f"slot_price.slot{slot}"] = Metric(total, "USD_per_h", told)
        share = 1 - loss[dispatched] / loss[flat]
        found[f"loss_reduction.slot{dispatched}"] = Metric(share, "1", f"less losses than in slot {flat}")
    hours = result.record["dispatch"]["slot_s"] / HOUR_S
    matches = [one for decision in decided for one in decision["matches"]]
    sold_mw = sum(deal["p_mw"] for decision in decided for deal in decision["deals"])
    figures = {
        "infeasible_slots": (sum(not one["feasible"] for one in decided), "1", "slots whose setting breaks limits"),
        "requests": (len(matches), "1", "requests of buyers"),
        "requests_matched": (
            sum(one["seller"] is not None for one in matches), "1", "requests of buyers that have a seller",
        ),
        "sellers_refused": (
            sum(bool(offer["refused"]) for one in matches for offer in one["offers"]), "1",
            "offers that would break a limit",
        ),
        "energy_traded": (sold_mw * hours, "MWh", "energy traded between buyers and sellers"),
    }  # fmt: skip
    found |= {key: Metric(float(value), unit, words) for key, (value, unit, words) in figures.items()}
    return found | _prices(decided) | ledger_metrics(result)


def _prices(decided: list[dict[str, Any]]) -> dict[str, Metric]:
    """Means over the slots that could be priced."""
    priced = [one["prices"] for one in decided if one["prices"] is not None]
    if not priced:
        return {}
    found = {}
    for name in priced[0]["cost_per_h"]:
        mean = float(np.mean([prices["cost_per_h"][name] for prices in priced]))
        found[f"reactive_cost.{name}"] = Metric(mean, "USD_per_h", f"mean price of the reactive power of {name}")
    for load in priced[0]["share_per_h"]:
        mean = float(np.mean([sum(prices["share_per_h"][load].values()) for prices in priced]))
        found[f"reactive_share.{load}"] = Metric(mean, "USD_per_h", f"what {load} pays for reactive power, on average")
    return found
