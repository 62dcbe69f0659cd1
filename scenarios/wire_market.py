"""Forecasters, agents, links and traders of a market in the mosaik world, connected with the units."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gridloop.scenarios.links import Start, link
from gridloop.scenarios.market_parts import Trades
from gridloop.scenarios.market_plan import MarketPlan
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_ledger import open_notary
from gridloop.simulators.comms import MESSAGE, CommSimulator
from gridloop.simulators.device import Sink
from gridloop.simulators.grid import LOSS
from gridloop.simulators.market.forecast_simulator import FORECAST, MEASURED, P_GEN, ForecastSimulator
from gridloop.simulators.market.negotiation_simulator import (
    CONTROLLERS,
    P_SET,
    RECEIVED_ALL,
    SOC,
    TICKS_A_STAGE,
    NegotiationSimulator,
    letters,
    window_s,
)
from gridloop.simulators.market.trade_simulator import LOADING, TradeSimulator
from gridloop.simulators.market.trading import Floor
from gridloop.simulators.operation import Log

FORECAST_SIM, NEGOTIATION, TRADE, MARKET_COMMS = "Forecast", "Negotiation", "Trade", "MarketComms"
PER_CT = 10_000  # millionths of the currency


def add_market(
    plan: Plan, world: Any, start: Start, shown_by: Callable[[str, str], Any], sinks: Mapping[str, Sink],
    log: Log | None, folder: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Start a plan's market and connect it with the units.

    Args:
        plan: what runs; its market, if it has one.
        world: the mosaik world.
        start: starts a simulator of this process.
        shown_by: the entity that shows an attribute of what goes by a name.
        sinks: takers of recorded rows, by the simulator's name.
        log: takes (t_s, kind, target, outcome).
        folder: where the ledger's file goes; None keeps it in memory.

    Returns:
        The entities by name: agents as `NAME.bidder`, forecasters as `UNIT.forecast`.
    """
    market = plan.market
    if market is None:
        return {}
    times = {"slot_s": market.market.slot_s, "lead_s": market.market.lead_s}
    forecasting = start(FORECAST_SIM, ForecastSimulator(sinks.get(FORECAST_SIM)), **times, sample_s=market.sample_s)
    found: dict[str, Any] = {}
    for one in market.watched:
        made = found[f"{one.unit}.forecast"] = forecasting.Forecaster(
            name=one.unit, kind=one.kind, history_kw=one.history_kw, more=one.more, first_day=one.first_day
        )
        link(world, shown_by(one.unit, P_GEN), made, P_GEN)
    bidders = _add_bidders(plan, world, start, found, shown_by, sinks, log)
    found |= {f"{name}.bidder": bidder for name, bidder in bidders.items()}
    if market.market.trades is not None:
        _add_traders(plan, world, start, found, shown_by, sinks, folder)
    return found


def _add_bidders(
    plan: Plan, world: Any, start: Start, forecasts: Mapping[str, Any], shown_by: Callable[[str, str], Any],
    sinks: Mapping[str, Sink], log: Log | None,
) -> dict[str, Any]:  # fmt: skip
    """Agents and controllers, what they know, what they tell each other and the units."""
    market = plan.market
    assert market is not None
    given = market.market
    negotiation = start(
        NEGOTIATION, NegotiationSimulator(sinks.get(NEGOTIATION), log), slot_s=given.slot_s, lead_s=given.lead_s,
        patience_s=given.patience_s, organisation=given.organisation, beside=given.beside, events=market.failures,
    )  # fmt: skip
    bidders = {
        agent.name: negotiation.Agent(
            name=agent.name, offer=agent.offer, store=agent.store, p_start_kw=agent.p_start_kw
        )
        for agent in market.agents
    }
    bidders |= {name: negotiation.Controller(name=name) for name in CONTROLLERS[given.organisation]}
    for one in market.watched:
        link(world, forecasts[f"{one.unit}.forecast"], bidders[one.agent], FORECAST)
    for agent in market.agents:
        if agent.store is not None:
            link(world, shown_by(f"{agent.name}.battery", SOC), bidders[agent.name], SOC)
        if agent.offer is not None and agent.units:
            first = {P_SET: agent.p_start_kw / 1e3}
            unit = shown_by(agent.name, P_SET)
            link(world, bidders[agent.name], unit, P_SET, time_shifted=True, initial_data=first)
    tick_ms = 1e3 * given.patience_s / TICKS_A_STAGE
    window_ms = tuple(1e3 * s for s in window_s(given.slot_s, given.lead_s, given.patience_s))
    comms = start(MARKET_COMMS, CommSimulator(), seed=plan.scenario.seed)
    callers = CONTROLLERS[given.organisation]
    for sender in bidders:
        for receiver in bidders:
            if sender == receiver or (callers and not {sender, receiver} & set(callers)):
                continue
            way = comms.Link(
                sender=sender, receiver=receiver, send_ms=tick_ms, receive_ms=tick_ms, window_ms=window_ms,
                **given.comms.given,
            )  # fmt: skip
            link(
                world, bidders[sender], way, MESSAGE, time_shifted=True, initial_data={MESSAGE: None},
                form=letters(receiver),
            )  # fmt: skip
            world.connect(way, bidders[receiver], RECEIVED_ALL)
    return bidders


def _add_traders(
    plan: Plan, world: Any, start: Start, forecasts: Mapping[str, Any], shown_by: Callable[[str, str], Any],
    sinks: Mapping[str, Sink], folder: Path | None,
) -> None:  # fmt: skip
    """Traders with what they expect and had, and the DSO with the network."""
    market = plan.market
    assert market is not None
    trades = market.market.trades
    assert trades is not None
    simulator = TradeSimulator(_floor(plan.scenario.seed, market, trades, folder), sinks.get(TRADE))
    trading = start(TRADE, simulator, slot_s=market.market.slot_s, lead_s=market.market.lead_s)
    traders = {agent.name: trading.Trader(name=agent.name) for agent in market.traders}
    for one in market.watched:
        link(world, forecasts[f"{one.unit}.forecast"], traders[one.agent], FORECAST, MEASURED)
    dso = trading.Dso()
    network = plan.case.network
    for branch, rating in zip(network.branch_names, network.rating_pu, strict=True):
        if rating == rating:
            link(world, shown_by(branch, LOADING), dso, LOADING)
    link(world, shown_by("grid", LOSS), dso, LOSS)


def _floor(seed: int, market: MarketPlan, trades: Trades, folder: Path | None) -> Floor[Any]:
    """A floor on a ledger of its own.

    Raises:
        ValueError: the ledger's package is not installed.
    """
    buses = {agent.name: agent.bus for agent in market.traders}
    notary = open_notary(seed, dict.fromkeys(buses, ("buyer", "seller")), buses, market.market.slot_s, folder)
    sell, buy = (round(PER_CT * price) for price in (trades.sell_ct_per_kwh, trades.buy_ct_per_kwh))
    return Floor(notary, sell, buy, trades.margin)
