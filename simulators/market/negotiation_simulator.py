"""The mosaik wrapper of negotiation: agents agree on the power of the coming slot before it begins.

An `Agent` speaks for units that consume or feed in as they do, or for one whose power can be chosen; a `Controller`
calls for bids where a central organisation wants one. Agents and controllers talk over links of the communication
simulator: `message[1]` shows what each of them last told each other, as {receiver: [stamp, messages]}; `letters` takes
what is for one receiver out of it. The agreed power of a unit is `P_set[MW]`, held until the next award; it is shown
one unit of time before its slot, so that a unit connected with `time_shifted=True` has it when the slot begins.

Beside the organisation that counts others may be played on the same bids, with messages that take no time, and each
of them once more as if nothing had failed: that is what a fault is judged by.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import Sink, check_names, only_value, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.market.contract_net import STAGES, Bid, Message, Party, negotiate, rotating
from gridloop.simulators.market.economic import Offer, cost_eur
from gridloop.simulators.market.forecast_simulator import FORECAST
from gridloop.simulators.ticks import Windows

MESSAGE, RECEIVED_ALL, P_SET, SOC = "message[1]", "received_all[1]", "P_set[MW]", "SoC[%]"
TEAM, CENTRAL, STANDBY = "team", "central", "standby"
CONTROLLERS: dict[str, tuple[str, ...]] = {
    TEAM: (), CENTRAL: ("controller",), STANDBY: ("controller", "standby"),
}  # fmt: skip
TICKS_A_STAGE = 2  # a call and its answer
OF_ORGANISATION = ("P_agreed[MW]", "P_agreed_faultless[MW]", "price[ct_per_kWh]", "cost[EUR]", "cost_faultless[EUR]")

META: Any = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Agent": {
            "public": True, "any_inputs": False, "params": ["name", "offer", "store", "p_start_kw"],
            "attrs": [FORECAST, SOC, RECEIVED_ALL, MESSAGE, P_SET],
        },
        "Controller": {"public": True, "any_inputs": False, "params": ["name"], "attrs": [RECEIVED_ALL, MESSAGE]},
    },
}  # fmt: skip


def letters(receiver: str) -> Callable[[Any], Any]:
    """A transform of `message[1]`: what is for one receiver, as the communication simulator takes it."""
    return lambda told: None if told is None else told.get(receiver)


def window_s(slot_s: float, lead_s: float, patience_s: float) -> tuple[float, float, float]:
    """Period, begin and length of the time in which a slot is negotiated [s]."""
    return slot_s, slot_s - lead_s, STAGES * patience_s


class NegotiationSimulator(mosaik_api_v3.Simulator):
    """All agents and controllers.

    Args:
        sink: takes (time, values) once a slot, when it is agreed on; `columns` names the values.
        log: takes (t_s, kind, target, outcome) of agents that fail and recover.
    """

    def __init__(self, sink: Sink | None = None, log: Callable[[float, str, str, str], None] | None = None) -> None:
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._sink, self._log = sink, log or (lambda *_: None)
        self._agents: dict[str, _Agent] = {}
        self._controllers: list[str] = []
        self._sid, self._resolution, self._slot_h = "", 1.0, 1.0
        self._organisation, self._beside = TEAM, ()
        self._events: list[tuple[int, str, str]] = []
        self._down: set[str] = set()
        self._told: dict[str, dict[str, list[Any]]] = {}
        self._organisations: dict[str, _Organisation] = {}
        self._windows: Windows
        self._is_recorded = True

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            slot_s: length of a slot.
            lead_s: how long before a slot its negotiation begins.
            patience_s: of one stage; all of them must fit into lead_s.
            organisation: team, central or standby (team).
            beside: others that are played on the same bids, without effect (none).
            events: (t_s, 'agent_fail' | 'agent_recover', name) (none).

        Raises:
            ValueError: an organisation that is not known, or stages that do not fit.
        """
        self._sid, self._resolution = sid, time_resolution
        slot_s, lead_s, patience_s = (sim_params.pop(key) for key in ("slot_s", "lead_s", "patience_s"))
        if not STAGES * patience_s <= lead_s < slot_s:
            raise ValueError(
                f"Negotiation: lead_s = {lead_s:g} must hold {STAGES} stages of patience_s = {patience_s:g} "
                f"and be shorter than slot_s = {slot_s:g}"
            )
        self._slot_h = slot_s / 3600
        window_ms = tuple(1e3 * s for s in window_s(slot_s, lead_s, patience_s))
        self._windows = Windows(1e3 * patience_s / TICKS_A_STAGE, window_ms, time_resolution)  # type: ignore[arg-type]
        self._organisation = sim_params.pop("organisation", TEAM)
        self._beside = tuple(name for name in sim_params.pop("beside", ()) if name != self._organisation)
        for name in (self._organisation, *self._beside):
            if name not in CONTROLLERS:
                raise ValueError(f"Negotiation: organisation {name!r} must be one of {', '.join(CONTROLLERS)}")
        self._events = sorted(
            (round(t_s / time_resolution), do, name) for t_s, do, name in sim_params.pop("events", ())
        )
        refuse_unknown("Negotiation", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create an agent or a controller.

        Model parameters:
            name: its name.
            offer: of an agent whose unit can be told its power: {b, c, least_kw, most_kw} (none).
            store: of one with a battery: {e_rated_kwh, least, most, efficiency}, shares of charge that it keeps
                within and its efficiency one way (none).
            p_start_kw: power of the unit until its first award (0).

        Raises:
            ValueError: more than one at a time, or a name twice.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time; each has its own name")
        name = model_params.pop("name")
        check_names([name], {**self._agents, **dict.fromkeys(self._controllers)})
        if model == "Controller":
            self._controllers.append(name)
        else:
            self._agents[name] = _Agent(name, **model_params)
        return [{"eid": name, "type": model, "rel": []}]

    def setup_done(self) -> None:
        """Let the organisations know who is there.

        Raises:
            ValueError: nobody offers power, or an event names somebody who is not there.
        """
        if not any(agent.offer is not None for agent in self._agents.values()):
            raise ValueError("Negotiation: no agent has an offer: there is nothing to agree on")
        for name in (self._organisation, *self._beside):
            self._organisations[name] = _Organisation(name, self._agents, self._slot_h)
        known = {*self._agents, *(name for one in self._organisations for name in CONTROLLERS[one])}
        strange = sorted({name for _, _, name in self._events} - known)
        if strange:
            raise ValueError(f"Negotiation: an event names {', '.join(strange)}; there are {', '.join(sorted(known))}")

    @property
    def columns(self) -> tuple[str, ...]:
        """`organisation.attribute` of every value that the sink gets."""
        return columns((self._organisation, *self._beside))

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Take what has arrived, let stages end, and show what is told."""
        while self._events and self._events[0][0] <= time:
            at, do, name = self._events.pop(0)
            (self._down.add if do == "agent_fail" else self._down.discard)(name)
            self._log(
                at * self._resolution, do, name, "silent; its unit holds its power" if name in self._down else "back"
            )
        slot, phase = divmod(time, self._windows.period)
        tick, between = divmod(phase - self._windows.begin, self._windows.step)
        if phase == self._windows.period - 1:
            self._adopt()
        if tick < 0 or between:  # time 0, or just before a slot
            return self._windows.after(time)
        try:
            if tick == 0:
                self._begin(slot + 1, inputs)
            self._exchange(time, tick, inputs)
        except ValueError as error:
            raise SimulatorFailure(self._sid, "Agents", time * self._resolution, error) from error
        following = self._windows.after(time)
        if self._is_recorded or (following - time == self._windows.step and not self._is_settled):
            return following
        self._record(time)
        return time - phase + self._windows.period - 1

    def _begin(self, slot: int, inputs: Any) -> None:
        """Everybody knows what it will bid; what is played beside is played."""
        self._is_recorded = False
        for name, agent in self._agents.items():
            agent.prepare(inputs.get(name, {}), self._slot_h)
        for name, organisation in self._organisations.items():
            organisation.play(slot, self._down, all_of_it=name != self._organisation)
        self._slot = slot

    def _exchange(self, time: int, tick: int, inputs: Any) -> None:
        parties = self._organisations[self._organisation].parties
        said: list[Message] = []
        for name, party in parties.items():
            if name in self._down:
                continue
            for source in inputs.get(name, {}).get(RECEIVED_ALL, {}).values():
                for _, messages in source or ():
                    for message in messages:
                        said += party.take(Message(*message))
            if tick == 0:
                said += party.begin(self._slot)
            elif tick % TICKS_A_STAGE == 0:
                said += party.deadline(tick // TICKS_A_STAGE)
        self._is_settled = not said and all(
            party.is_settled for name, party in parties.items() if name not in self._down
        )  # fmt: skip
        for message in said:
            box = self._told.setdefault(message.sender, {})
            if message.receiver not in box or box[message.receiver][0] != time:
                box[message.receiver] = [time, []]
            box[message.receiver][1].append(list(message))

    def _adopt(self) -> None:
        """From now on the units do what was agreed on."""
        for name, power_kw in self._organisations[self._organisation].powers().items():
            self._agents[name].power_kw = power_kw

    def _record(self, time: int) -> None:
        self._is_recorded = True
        if self._sink is not None:
            self._sink(time, np.array([value for one in self._organisations.values() for value in one.figures()]))

    def get_data(self, outputs: Any) -> Any:
        """What was told, and the power that was agreed on."""
        found: dict[str, dict[str, Any]] = {}
        for eid, attrs in outputs.items():
            told = self._told.get(eid)
            known: dict[str, Any] = {MESSAGE: None if told is None else dict(told)}
            if eid in self._agents:
                known[P_SET] = self._agents[eid].power_kw / 1e3
            found[eid] = {attr: known[attr] for attr in attrs}
        return found


def columns(organisations: Sequence[str]) -> tuple[str, ...]:
    """`organisation.attribute` of every value that is recorded."""
    return tuple(f"{name}.{attr}" for name in organisations for attr in OF_ORGANISATION)


class _Agent:
    """One that bids."""

    def __init__(
        self, name: str, offer: Mapping[str, float] | None = None, store: Mapping[str, float] | None = None,
        p_start_kw: float = 0.0,
    ) -> None:  # fmt: skip
        self.name, self.p_start_kw = name, float(p_start_kw)
        self.offer = None if offer is None else Offer(**offer)
        self._store = store
        self.bid = Bid(0.0, self.offer)
        self.power_kw = self.p_start_kw  # of its unit in this slot

    def bid_in(self, slot: int) -> Bid:
        """What it bids in the slot that it is prepared for."""
        del slot
        return self.bid

    def prepare(self, given: Mapping[str, Any], slot_h: float) -> None:
        """Make the bid of the coming slot."""
        demand_kw = sum(given.get(FORECAST, {}).values())
        offer = self.offer
        if offer is not None and self._store is not None:
            soc = only_value(SOC, given[SOC], self.name) / 100
            offer = within_charge(offer, self._store, soc, self.power_kw, slot_h)
        self.bid = Bid(float(demand_kw), offer)


def within_charge(offer: Offer, store: Mapping[str, float], soc: float, now_kw: float, slot_h: float) -> Offer:
    """An offer inside what a battery can give and take in the coming slot.

    Args:
        offer: what its converter could.
        store: e_rated_kwh, least and most share of charge, efficiency one way.
        soc: share of charge at the begin of this slot.
        now_kw: its power in this slot.
        slot_h: length of a slot [h].
    """
    eta, kwh = store["efficiency"], store["e_rated_kwh"]
    then = soc - (now_kw / eta if now_kw > 0 else now_kw * eta) * slot_h / kwh
    most_kw = max(0.0, then - store["least"]) * kwh * eta / slot_h
    least_kw = -max(0.0, store["most"] - then) * kwh / eta / slot_h
    return offer._replace(least_kw=max(offer.least_kw, least_kw), most_kw=min(offer.most_kw, most_kw))


class _Organisation:
    """Who calls for bids, with the parties of the run and those to whom nothing ever happens."""

    def __init__(self, name: str, agents: Mapping[str, _Agent], slot_h: float) -> None:
        self._agents, self._slot_h = agents, slot_h
        everyone = list(agents)
        line = (lambda slot: CONTROLLERS[name]) if CONTROLLERS[name] else rotating(everyone)

        def team() -> dict[str, Party]:
            bidding = {name: Party(name, agent.bid_in, line, everyone) for name, agent in agents.items()}
            calling = {one: Party(one, lambda slot: Bid(), line, everyone) for one in CONTROLLERS[name]}
            return bidding | calling

        self.parties, self._faultless = team(), team()
        self._price = float("nan")

    def play(self, slot: int, down: set[str], all_of_it: bool) -> None:
        """Negotiate a slot at once as if nothing had failed, and `all_of_it` as things are."""
        negotiate(self._faultless, slot)
        if all_of_it:
            negotiate(self.parties, slot, down=down)

    def figures(self) -> list[float]:
        """Values of OF_ORGANISATION."""
        powers = [self.powers(), self._powers(self._faultless)]
        offers = {name: agent.offer for name, agent in self._agents.items() if agent.offer is not None}
        costs = [cost_eur(offers, of, self._slot_h) for of in powers]
        prices = [party.award.price for party in self.parties.values() if party.award is not None and party.has_called]
        self._price = prices[0] if prices else self._price
        return [sum(powers[0].values()) / 1e3, sum(powers[1].values()) / 1e3, self._price, *costs]

    def powers(self) -> dict[str, float]:
        """What was agreed on for each unit [kW]."""
        return self._powers(self.parties)

    def _powers(self, parties: Mapping[str, Party]) -> dict[str, float]:
        agreed = {name: parties[name].power_kw for name, agent in self._agents.items() if agent.offer is not None}
        return {name: self._agents[name].p_start_kw if kw is None else kw for name, kw in agreed.items()}
