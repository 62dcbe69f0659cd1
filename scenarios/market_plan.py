"""What a scenario's market needs to be built: its agents, their forecasters with a history, and what fails when."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np

from gridloop.scenarios.courses import Reference
from gridloop.scenarios.event_parts import AgentEvent
from gridloop.scenarios.groups import Group, parameter
from gridloop.scenarios.market_checks import market_names, spoken_for
from gridloop.scenarios.market_parts import TIE, Market, Offer
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.profile_files import sources
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import BatterySource
from gridloop.scenarios.wire_ledger import DSO
from gridloop.simulators.market.slots import first_day
from gridloop.simulators.models.network import Real
from gridloop.simulators.profile_table import Profile, ProfileError, read_profile

STORE_EFFICIENCY = 0.93  # one way, converter included, that an agent reckons with
SAMPLES_A_SLOT = 15  # looks of a forecaster at its unit, where the macro step allows it


@dataclass(frozen=True)
class Agent:
    """One that bids: for units that consume or feed in as they do, or for one whose power is agreed on."""

    name: str
    units: tuple[str, ...]
    bus: str
    offer: dict[str, float] | None = None
    store: dict[str, float] | None = None
    p_start_kw: float = 0.0


@dataclass(frozen=True)
class Watched:
    """A unit whose power is forecast."""

    unit: str
    agent: str
    kind: str
    history_kw: Real
    more: Real | None
    first_day: int


@dataclass(frozen=True)
class MarketPlan:
    """A market ready to be built."""

    market: Market
    agents: tuple[Agent, ...]
    watched: tuple[Watched, ...]
    sample_s: float
    failures: tuple[tuple[float, str, str], ...]  # when, agent_fail or agent_recover, whose

    @property
    def traders(self) -> tuple[Agent, ...]:
        """Agents of what consumes or feeds in as it does."""
        return tuple(agent for agent in self.agents if agent.offer is None)


def market_plan(scenario: Scenario, groups: tuple[Group, ...]) -> MarketPlan | None:
    """Negotiation of a scenario; None if it has none.

    Raises:
        ScenarioError: a profile does not go back far enough for the forecasts.
    """
    market = scenario.market
    if market is None or not market.offers:
        return None
    spoken = spoken_for(scenario, market)
    agents = [Agent(name, tuple(units), scenario.units[units[0]].bus) for name, units in spoken.items()]
    of_units = [(unit, name) for name, units in spoken.items() for unit in units]
    if market.forecast == "persistence":
        watched = [Watched(unit, name, "persistence", np.zeros(0), None, 0) for unit, name in of_units]
    else:
        history = _History(scenario, market)
        watched = [history.watched(unit, name) for unit, name in of_units]
    agents += [_dispatchable(scenario, groups, name, offer) for name, offer in market.offers.items()]
    names = [name for name in market_names(scenario) if name != DSO]
    sample_s = _sample_s(market, scenario.step_ms * 1e-3)
    return MarketPlan(market, tuple(agents), tuple(watched), sample_s, failures(scenario, names))


def failures(scenario: Scenario, names: Collection[str]) -> tuple[tuple[float, str, str], ...]:
    """When somebody of `names` fails or recovers: (t_s, agent_fail or agent_recover, whose)."""
    return tuple(
        (event.t_s, event.do, event.agent) for event in scenario.events
        if isinstance(event, AgentEvent) and event.agent in names
    )  # fmt: skip


def _sample_s(market: Market, step_s: float) -> float:
    """Between two looks at a unit: a divisor of slot and lead that is no shorter than the macro step if it can be."""
    both_s = math.gcd(round(1e6 * market.slot_s), round(1e6 * market.lead_s)) / 1e6
    shorter = (both_s / count for count in range(SAMPLES_A_SLOT, 1, -1))
    return next((s for s in shorter if s >= step_s and abs(1e6 * s - round(1e6 * s)) < 1e-6), both_s)


def _dispatchable(scenario: Scenario, groups: tuple[Group, ...], name: str, offer: Offer) -> Agent:
    given = {"b": offer.b_ct_per_kwh, "c": offer.c_ct_per_kw2h, "least_kw": offer.p_kw[0], "most_kw": offer.p_kw[1]}
    if name == TIE and name not in scenario.units:
        assert scenario.pcc is not None
        return Agent(name, (), scenario.pcc.bus, given)
    unit = scenario.units[name]
    store = None
    if isinstance(unit.source, BatterySource):
        pack = unit.source.parameters
        least, most = (pack.get(f"soc_{end}_percent", default) for end, default in (("min", 10.0), ("max", 90.0)))
        store = {
            "e_rated_kwh": float(pack["e_rated_kwh"]), "least": least / 100, "most": most / 100,
            "efficiency": STORE_EFFICIENCY,
        }  # fmt: skip
    return Agent(name, (name,), unit.bus, given, store, parameter(groups, name, "p_set_kw"))


class _History:
    """What lies before a run, from a midnight on; each profile is read once."""

    def __init__(self, scenario: Scenario, market: Market) -> None:
        assert scenario.clock is not None
        midnight = scenario.clock.replace(hour=0, minute=0, second=0, microsecond=0)
        self._scenario, self._market = scenario, market
        self._midnight = midnight - timedelta(days=market.history_days)
        self._slots = round((scenario.clock - self._midnight).total_seconds() / market.slot_s)
        self._read: dict[str, Profile] = {}

    def watched(self, unit: str, agent: str) -> Watched:
        """A unit with its history; where it feeds in, with the clear sky until the end of the run."""
        history_kw = self._power_kw(unit)
        more = self._clear_sky if self._market.location is not None and history_kw.sum() < 0 else None
        return Watched(unit, agent, "ridge", history_kw, more, first_day(self._midnight.isoformat()))

    def _power_kw(self, unit: str) -> Real:
        """Net consumption of a unit whose power is given, in each slot before the run; (slots,)."""
        given, factor = self._scenario.units[unit].given_power.p
        if not isinstance(given, Reference):
            return np.full(self._slots, -given * factor)
        profile = self._profile(given.profile)
        times_s = np.arange(self._slots) * self._market.slot_s
        return np.asarray(-factor * 1e3 * np.interp(times_s, profile.times_s, profile.values[given.column]))

    def _profile(self, name: str) -> Profile:
        if name not in self._read:
            source, until_s = sources(self._scenario)[name], self._slots * self._market.slot_s
            try:
                self._read[name] = read_profile(source, self._midnight, until_s)
            except ProfileError as error:
                days = f"market.history_days: {self._market.history_days}"
                raise self._scenario.error(*(
                    Problem(("profiles", name, "file"), f"{problem} ({days} of history are needed)")
                    for problem in error.problems
                )) from error  # fmt: skip
        return self._read[name]

    @cached_property
    def _clear_sky(self) -> Real:
        from gridloop.simulators.market.households import clear_sky

        at, slot_s = self._market.location, self._market.slot_s
        assert at is not None
        slots = self._slots + round(self._scenario.until_s / slot_s) + 2
        return clear_sky(self._midnight.isoformat(), slots, at.latitude_deg, at.longitude_deg, slot_s)
