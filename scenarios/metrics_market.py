"""Figures of a market: how well what was agreed met what came, what a fault did to it, and what was traded."""

from typing import Any, NamedTuple

import numpy as np

from gridloop.scenarios.metrics_ledger import ledger_metrics
from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.spans import Real
from gridloop.simulators.market.accuracy import balancing_accuracy, recovery_slots, resilience, rms_kw
from gridloop.simulators.market.forecast import normalised_error

WHOLE = "market"


class Balance(NamedTuple):
    """Slots that were agreed on and are over, by number (m,); powers [MW] of each (m,)."""

    slot: Any
    demand_mw: Real
    load_mw: Real
    agreed_mw: dict[str, Real]  # by organisation
    faultless_mw: dict[str, Real]
    cost_eur: dict[str, Real]
    in_fault: Any  # whether anybody was down when it was negotiated

    def of(self, agreed_mw: Real, which: Any = slice(None)) -> float:
        """Balancing accuracy of some slots."""
        return balancing_accuracy(agreed_mw[which], self.demand_mw[which], self.load_mw[which])


def organisations(record: Any) -> list[str]:
    """Of a run, that which counted first."""
    market = record["market"]
    return [market["organisation"], *market["beside"]]


def read_balance(result: Result) -> Balance | None:
    """The slots of a run; None without a market, or before the first slot was over."""
    market = result.record.get("market")
    if not market or WHOLE not in result.entities:
        return None
    slot_s, names = market["slot_s"], organisations(result.record)
    over_s, demand = result.series(WHOLE, "P_demand[MW]")
    agreed_s, _ = result.series(names[0], "P_agreed[MW]")
    over, agreed = np.round(over_s / slot_s).astype(int) - 1, (agreed_s // slot_s).astype(int) + 1
    slot, of_over, of_agreed = np.intersect1d(over, agreed, return_indices=True)
    if not len(slot):
        return None

    def column(name: str, attr: str, rows: Any) -> Real:
        return np.asarray(result.series(name, attr)[1][rows])

    begun_s = slot * slot_s - market["lead_s"]
    return Balance(
        slot, demand[of_over], column(WHOLE, "P_load[MW]", of_over),
        {name: column(name, "P_agreed[MW]", of_agreed) for name in names},
        {name: column(name, "P_agreed_faultless[MW]", of_agreed) for name in names},
        {name: column(name, "cost[EUR]", of_agreed) for name in names},
        np.any([(begun_s >= first) & (begun_s < last) for _, first, last in outages(market["failures"])], axis=0)
        if market["failures"] else np.zeros(len(slot), bool),
    )  # fmt: skip


def outages(failures: list[Any]) -> list[tuple[str, float, float]]:
    """Who was down from when to when [s]; inf = until the end."""
    down: dict[str, float] = {}
    found = []
    for t_s, do, name in sorted(failures):
        if do == "agent_fail":
            down.setdefault(name, t_s)
        elif name in down:
            found.append((name, down.pop(name), t_s))
    return [*found, *((name, begin, float("inf")) for name, begin in down.items())]


def market_metrics(result: Result) -> dict[str, Metric]:
    """All figures of the market of a run."""
    balance = read_balance(result)
    if balance is None:
        return {}
    found: dict[str, Metric] = {}
    for name, agreed in balance.agreed_mw.items():
        found |= _of_organisation(balance, name, agreed, result.record["market"]["slot_s"])
    return found | _forecasts(result) | _trades(result) | ledger_metrics(result)


def _of_organisation(balance: Balance, name: str, agreed: Real, slot_s: float) -> dict[str, Metric]:
    found = {
        f"balancing_accuracy.{name}": (balance.of(agreed), "1", "load balancing accuracy"),
        f"balancing_rms.{name}": (rms_kw(agreed, balance.demand_mw), "MW", "rms of the power that was not balanced"),
        f"negotiated_cost.{name}": (
            float(balance.cost_eur[name].sum()), "EUR", "cost of what was agreed, by the offers",
        ),
    }  # fmt: skip
    which = balance.in_fault
    if which.any():
        in_fault, without = balance.of(agreed, which), balance.of(balance.faultless_mw[name], which)
        begin = int(np.flatnonzero(which)[0])
        recovered = recovery_slots(agreed, balance.demand_mw, balance.load_mw, begin) * slot_s
        found |= {
            f"balancing_accuracy_fault.{name}": (in_fault, "1", "load balancing accuracy while somebody was down"),
            f"resilience.{name}": (
                resilience(in_fault, without), "1", "accuracy while somebody was down to that of the same time without",
            ),
            f"recovery_time.{name}": (
                recovered, "s", "from the first fault until the accuracy of an hour is back at 95 % of the day before",
            ),
        }  # fmt: skip
    return {key: Metric(value, unit, f"{name}: {text}") for key, (value, unit, text) in found.items()}


def _forecasts(result: Result) -> dict[str, Metric]:
    demand, forecast, naive = (
        result.series(WHOLE, f"P_{what}[MW]")[1][1:] for what in ("demand", "forecast", "naive")
    )  # of the first slot nothing was forecast
    found = {"forecast_error": Metric(normalised_error(forecast, demand), "1", "nMAE of the forecasts of all units")}
    if len(naive) and not np.isnan(naive).any():
        words = "nMAE of taking the value of the day before instead"
        found["forecast_error_naive"] = Metric(normalised_error(naive, demand), "1", words)
    return found


def _trades(result: Result) -> dict[str, Metric]:
    if "trades[1]" not in result.entities[WHOLE].attributes:
        return {}
    hours = result.record["market"]["slot_s"] / 3600
    count, traded, possible, settled, price = (
        result.series(WHOLE, attr)[1]
        for attr in ("trades[1]", "P_traded[MW]", "P_possible[MW]", "P_settled[MW]", "price[EUR_per_MWh]")
    )
    paid = float(np.nansum(price * traded))
    total, could = float(traded.sum()), float(possible.sum())
    first = slice(0, max(1, round(24 / hours)))
    return {
        "trades": Metric(float(count.sum()), "1", "trades between neighbours"),
        "energy_traded": Metric(total * hours, "MWh", "energy traded between neighbours"),
        "energy_settled": Metric(float(settled.sum()) * hours, "MWh", "of that, what was delivered and settled"),
        "trade_price": Metric(paid / total if total else float("nan"), "EUR_per_MWh", "mean price of the trades"),
        "trade_share": Metric(total / could if could else float("nan"), "1", "traded to what would be worth trading"),
        "trade_share_first_day": Metric(
            float(traded[first].sum() / possible[first].sum()) if possible[first].sum() else float("nan"), "1",
            "the same in the first day, before anybody had learnt from its orders",
        ),
    }  # fmt: skip
