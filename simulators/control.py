"""The mosaik wrapper of secondary control: an agent for each unit, central controllers, their exchange.

A group entity (`Agents`) belongs to a group of units: it takes their arrays and gives arrays of the same length, 0 for
units without an agent. Each unit that has one has a child entity of its own name, with scalars and messages. The
exchange is inside, without delay, along `graph`; or over links: connect every child's `message[1]` to a
`CommSimulator` link (time-shifted) and the link's `received[1]` to the receiver's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.control_settings import KICK, refuse_event, refuse_other, settings
from gridloop.simulators.device import Sink, check_names, only_value, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models import graph
from gridloop.simulators.models.agents import Agent, AgentParams, Control, Controller, Measured
from gridloop.simulators.models.secondary import TWO_PI, Correction
from gridloop.simulators.stand_in import STAND_IN_RECORDS, StandIn
from gridloop.simulators.ticks import Ticks
from gridloop.simulators.wire import as_arrays, to_lists

RECEIVED, MESSAGE = "received[1]", "message[1]"
SEEN = {
    "f[Hz]": "f_hz", "P_gen[MW]": "p_gen_mw", "Q_gen[MVar]": "q_gen_mvar", "Vm[pu]": "v_pu", "P_set[MW]": "p_set_mw",
    "SoC[%]": "soc_percent",
}  # fmt: skip
SHOWN: dict[str, Callable[[Correction], float]] = {
    "Omega[rad_per_s]": lambda c: c.omega_rad_per_s,
    "dOmega[rad_per_s2]": lambda c: c.omega_rate_rad_per_s2,
    "v[pu]": lambda c: c.v_pu,
    "dv[pu_per_s]": lambda c: c.v_rate_pu_per_s,
    "Omega[Hz]": lambda c: c.omega_rad_per_s / TWO_PI,
}
OF_GROUP = ("f[Hz]", "P_set[MW]", "SoC[%]")  # real arrays of a group
TICK = "t_tick[s]"  # when the ramps began
RECORDS = ("Omega[Hz]", "v[pu]")
META: Any = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Agents": {
            "public": True, "any_inputs": False, "params": ["ids", "members", "params", "pins"],
            "attrs": ["f[Hz]", "S[pu]", "V[pu]", "P_set[MW]", "SoC[%]", *SHOWN, TICK],
        },
        "Agent": {
            "public": False, "any_inputs": False, "params": [],
            "attrs": [*SEEN, RECEIVED, MESSAGE, *SHOWN, TICK, "alive[1]"],
        },
        "Central": {
            "public": True, "any_inputs": False, "params": ["name"],
            "attrs": ["f[Hz]", "Vm[pu]", RECEIVED, MESSAGE, *SHOWN, "leads[1]", "alive[1]"],
        },
    },
}  # fmt: skip


class SecondarySimulator(mosaik_api_v3.Simulator):
    """All agents and central controllers.

    Args:
        sink: takes (time, values (k,)) of every tick; `columns` names the values.
        json: whether groups exchange lists, as they must in another process than mosaik's.
        log: takes (t_s, kind, target, outcome) of agents that fail and recover.
        stand_ins: physical agents by their units' names.
        wait: called with simulated seconds at the start of every tick; a pacer's.
    """

    def __init__(
        self, sink: Sink | None = None, json: bool = False,
        log: Callable[[float, str, str, str], None] | None = None, stand_ins: Mapping[str, StandIn] | None = None,
        wait: Callable[[float], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._stand_ins, self._wait = stand_ins or {}, wait
        self._commands: list[tuple[int, str, str]] = []
        self._sink, self._json, self._log = sink, json, log or (lambda *_: None)
        self._groups: dict[str, _Group] = {}
        self._agents: dict[str, Agent] = {}
        self._controllers: dict[str, Controller] = {}
        self._everyone: dict[str, Agent | Controller] = {}
        self._sid, self._resolution, self._unit_us, self._time = "", 1.0, 1, 0
        self._is_first = True
        self._ticks: Ticks
        self._control: Control

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the control.

        Parameters:
            period_ms: of agents and controllers (50).
            f_nom_hz: nominal frequency (50).
            s_base_mva: system base of S[pu] at groups (1).
            frequency: {law: F | D | C | none | MODULE:FUNCTION, c2_per_s: 4, c0_per_s: 4, k_i_per_s: 2, limit_hz: 1}.
            voltage: {law: V | Vprime | paper23 | C | none | MODULE:FUNCTION, c3_per_s: 10, c0_per_s: 10, beta_per_s: 2,
                k_v_per_s: 2, v_ref_pu: 1, limit_pu: 0.05}.
            more: whatever a law of your own needs (none).
            graph: line, ring, star, full or a list of pairs: who talks to whom (absent: nobody).
            exchange: inside, without delay, or over links; before their first messages arrive the neighbours then
                know each other's values at the start, as if these had stood since ever (inside).
            delay_handling: matched or neighbour_only (matched).
            max_age_ms: messages that are older count no more (absent: the last one counts for ever).
            central: names of the central controllers in order of rank (mgcc, if a law is C).
            takeover_ms: a standby takes over after so long without a broadcast (500).
            balancing: {gain, estimate_per_s: 4, limit_percent: 100}: P_set balances the charge (absent: none).
            on_fail: hold or drop the correction of an agent that fails (hold).
            events: list of {t_s, do: agent_fail | agent_recover, agent} and {t_s, do: agent_kick, agent,
                omega_rad_per_s, v_pu}, which adds to its correction; they act at the first tick from then on.
            commands: (t_s, unit, 'swap' | 'unswap') of physical agents, which act then too (none).

        Raises:
            ValueError: a parameter that is not known or out of its range.
        """
        self._sid, self._resolution = sid, time_resolution
        self._unit_us = max(round(time_resolution * 1e6), 1)
        self._s_base_mva = sim_params.pop("s_base_mva", 1.0)
        self._ticks = Ticks(sim_params.pop("period_ms", 50.0), (), time_resolution)
        self._graph, self._exchange = sim_params.pop("graph", []), sim_params.pop("exchange", "inside")
        refuse_other("exchange", self._exchange, ("inside", "links"))
        self._events = sorted((dict(event) for event in sim_params.pop("events", ())), key=lambda one: one["t_s"])
        for event in self._events:
            refuse_event(event)
        commands = sorted(sim_params.pop("commands", ()), key=lambda one: one[0])
        self._commands = [(round(t_s / time_resolution), unit, do) for t_s, unit, do in commands]
        self._control = settings(sim_params, self._ticks.step * self._unit_us)
        refuse_unknown("Secondary", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create the agents of one group of units, or one central controller.

        Model parameters:
            ids: of Agents: the group's units, in the order of its arrays.
            members: those that have an agent (all).
            params: {field of AgentParams: a number or one for each unit}; s_rated_kva is obligatory.
            pins: {unit: g}, or the name of the one unit that is pinned (none).
            name: of Central: one of `central`.

        Raises:
            ValueError: more than one at a time, a name with a dot or used twice, a parameter out of its range.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time; a group holds any number of units")
        if model == "Central":
            name = model_params["name"]
            if name not in self._control.controllers or name in self._controllers:
                raise ValueError(f"{name!r}: name every central controller in `central` and create it once")
            self._controllers[name] = Controller(name, self._control)
            self._everyone = {**self._agents, **self._controllers}
            return [{"eid": name, "type": model, "rel": []}]
        ids = list(model_params["ids"])
        members = list(model_params.get("members", ids))
        pins = model_params.get("pins", {})
        pins = {pins: 1.0} if isinstance(pins, str) else dict(pins)
        strange = [name for name in (*members, *pins) if name not in ids]
        if strange:
            raise ValueError(f"{model}: {', '.join(strange)} is not one of {', '.join(ids)}")
        check_names(members, self._agents, self._control.controllers)
        columns = _columns(model_params["params"], len(ids))
        group = _Group(ids, members)
        for name in members:
            row = {field: float(column[group.rows[name]]) for field, column in columns.items()}
            self._agents[name] = Agent(AgentParams(name, **row, pin=pins.get(name, 0.0)), self._control)
        self._everyone = {**self._agents, **self._controllers}
        eid = model if not self._groups else f"{model}-{len(self._groups)}"
        self._groups[eid] = group
        group.idle_mw = (columns.get("p_set_kw", np.zeros(len(ids))) / 1e3).tolist()
        children = [{"eid": name, "type": "Agent", "rel": [eid]} for name in members]
        return [{"eid": eid, "type": model, "rel": [], "children": children}]

    def setup_done(self) -> None:
        """Find who exchanges with whom inside; refuse events and controllers of which there are none."""
        names = list(self._agents)
        self._pairs = graph.links(graph.edges(self._graph, names))
        missing = [name for name in self._control.controllers if name not in self._controllers]
        without = sorted(self._stand_ins.keys() - self._agents.keys())
        if without:
            raise ValueError(f"Secondary: {', '.join(without)} has a physical agent and none that it stands in for")
        if missing:
            raise ValueError(f"Secondary: the central controller {', '.join(missing)} is not created")
        strange = {event["agent"] for event in self._events} - set(self._everyone)
        if strange:
            raise ValueError(f"Secondary: an event names the agent {', '.join(sorted(strange))}, which is not there")

    @property
    def columns(self) -> tuple[str, ...]:
        """`unit.attribute` of every value that the sink gets."""
        return (
            *(f"{name}.{attr}" for name in self._everyone for attr in RECORDS),
            *(f"{name}.{attr}" for name in self._stand_ins for attr in STAND_IN_RECORDS),
        )

    @property
    def lost(self) -> dict[str, str]:
        """Physical agents that were lost while they decided, by unit, and of what."""
        return {name: one.lost_of for name, one in self._stand_ins.items() if one.lost_of}

    def command(self, unit: str, do: str) -> None:
        """Swap or unswap a unit's physical agent at the next tick.

        Raises:
            ValueError: it has none.
        """
        if unit not in self._stand_ins:
            raise ValueError(f"{do} {unit}: there are physical agents of {', '.join(self._stand_ins) or 'no unit'}")
        self._commands.insert(0, (self._time, unit, do))

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """One tick of everybody who works."""
        t_us = time * self._unit_us
        self._time = time
        if self._wait is not None:
            self._wait(t_us * 1e-6)
        self._happen(time)
        seen = self._measured(inputs)
        working = {name: agent for name, agent in self._agents.items() if agent.alive}
        for name, agent in working.items():
            agent.measure(t_us, seen[name])
        self._deliver(inputs)
        inside = self._exchange == "inside"
        for name, controller in self._controllers.items():  # in order of creation; a standby hears the one before it
            if not controller.alive:
                continue
            one = inputs.get(name, {})
            values = {SEEN[attr]: only_value(attr, one[attr], name) for attr in ("f[Hz]", "Vm[pu]") if attr in one}
            self._try(name, time, controller.decide, t_us, Measured(**values))
            broadcast = controller.message(time)
            if inside and broadcast is not None:
                for other in self._everyone.values():
                    if other is not controller and other.alive:
                        other.hear(t_us, name, broadcast[1][1])
        for sender, receiver in self._pairs if inside or self._is_first else ():
            if sender in working and receiver in working:
                self._hear(receiver, working[receiver], t_us, sender, working[sender].own.shared)
        self._is_first = False
        for name, agent in working.items():
            self._try(name, time, agent.decide, t_us)
        standing_in = {name: one for name, one in self._stand_ins.items() if name in working}
        for name, one in standing_in.items():  # all are told before any is waited for
            one.begin(t_us * 1e-6, seen[name], working[name].correction)
        for name in standing_in:
            self._try(name, time, self._stand_in, name, t_us * 1e-6)
        if self._sink is not None:
            told = [SHOWN[attr](one.correction) for one in self._everyone.values() for attr in RECORDS]
            self._sink(time, np.array([*told, *(value for one in self._stand_ins.values() for value in one.shown)]))
        return self._ticks.after(time)

    def _hear(
        self, name: str, one: Agent | Controller, stamp_us: int, sender: str, values: Sequence[float]
    ) -> None:  # fmt: skip
        one.hear(stamp_us, sender, values)
        if name in self._stand_ins:
            self._stand_ins[name].hear(stamp_us * 1e-6, sender, values)

    def _stand_in(self, name: str, t_s: float) -> None:
        """Let a physical agent decide, if it is in charge."""
        decided, entries = self._stand_ins[name].end(t_s)
        if decided is not None:
            self._agents[name].correction = Correction(*decided)
        self._tell(t_s, name, entries)

    def _tell(self, t_s: float, name: str, entries: Sequence[tuple[str, str]]) -> None:
        for kind, outcome in entries:
            self._log(round(t_s, 9), kind, f"{name}.agent", outcome)

    def _try(self, name: str, time: int, decide: Callable[..., None], *given: Any) -> None:
        try:
            decide(*given)
        except Exception as error:
            raise SimulatorFailure(self._sid, name, time * self._resolution, error) from error

    def _happen(self, time: int) -> None:
        """Failures and recoveries that are due."""
        while self._events and round(self._events[0]["t_s"] / self._resolution) <= time:
            event = self._events.pop(0)
            name, kind = event["agent"], event["do"]
            one = self._everyone[name]
            if kind == "agent_kick":
                kick = [float(event.get(key, 0.0)) for key in KICK]
                one.kick(*kick)
                outcome = f"{kick[0]:+g} rad/s, {kick[1]:+g} pu"
            elif one.alive == (kind == "agent_recover"):
                outcome = "nothing to do"
            elif kind == "agent_fail":
                one.fail()
                outcome = "failed"
            else:
                one.recover(time * self._unit_us) if isinstance(one, Controller) else one.recover()
                outcome = "works"
            self._log(round(time * self._resolution, 9), kind, name, outcome)
        while self._commands and self._commands[0][0] <= time:
            _, name, do = self._commands.pop(0)
            self._tell(time * self._resolution, name, self._stand_ins[name].command(time * self._resolution, do))

    def _measured(self, inputs: Any) -> dict[str, Measured]:
        """What every agent sees, from its group's arrays and from its own entity."""
        found: dict[str, Measured] = {}
        for eid, group in self._groups.items():
            given = as_arrays(inputs.get(eid, {})) if self._json else inputs.get(eid, {})
            arrays = {attr: only_value(attr, sources, eid) for attr, sources in given.items()}
            for name in group.members:
                own = {
                    SEEN[attr]: only_value(attr, sources, name)
                    for attr, sources in inputs.get(name, {}).items() if attr in SEEN
                }  # fmt: skip
                seen = _row(arrays, group.rows[name], self._s_base_mva)
                found[name] = seen._replace(**own) if own else seen
        return found

    def _deliver(self, inputs: Any) -> None:
        """Messages that links have brought."""
        for name, one in self._everyone.items():
            if one.alive:
                for arrived in inputs.get(name, {}).get(RECEIVED, {}).values():
                    if arrived is not None:
                        stamp, (sender, values) = arrived
                        self._hear(name, one, stamp * self._unit_us, sender, values)

    def get_data(self, outputs: Any) -> Any:
        """Corrections, set-points and messages as of the last tick."""
        data: dict[str, dict[str, Any]] = {}
        for eid, attrs in outputs.items():
            group = self._groups.get(eid)
            if group is None:
                data[eid] = {attr: self._shown(eid, attr) for attr in attrs}
            else:
                shown = {attr: self._column(group, attr) for attr in attrs}
                data[eid] = {attr: to_lists(value) for attr, value in shown.items()} if self._json else shown
        return data

    def _column(self, group: "_Group", attr: str) -> Any:
        """One attribute of a group's units, a fresh array."""
        if attr == TICK:
            return round(self._time * self._resolution, 9)
        column = list(group.idle_mw) if attr == "P_set[MW]" else [0.0] * len(group.ids)
        show = SHOWN.get(attr)
        for name in group.members:
            one = self._agents[name]
            column[group.rows[name]] = one.p_set_kw / 1e3 if show is None else show(one.correction)
        return np.array(column)

    def _shown(self, name: str, attr: str) -> Any:
        one = self._everyone[name]
        if attr in SHOWN:
            return SHOWN[attr](one.correction)
        if attr == MESSAGE:
            return one.message(self._time) if one.alive else None
        if attr == TICK:
            return round(self._time * self._resolution, 9)
        if attr == "alive[1]":
            return float(one.alive)
        if isinstance(one, Controller):
            return float(one.state.leads and one.alive)
        return one.p_set_kw / 1e3


class _Group:
    """The units behind one group entity, and which of them have an agent."""

    def __init__(self, ids: list[str], members: list[str]) -> None:
        self.ids, self.members = ids, members
        self.rows = {unit: row for row, unit in enumerate(ids)}
        self.idle_mw: list[float] = []  # set-points of those that have none


def _columns(given: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Parameters of `count` units, one array a field."""
    known = [field.name for field in fields(AgentParams) if field.name not in ("name", "pin")]
    unknown = sorted(set(given) - set(known))
    if unknown or "s_rated_kva" not in given:
        words = f"unknown {', '.join(unknown)}" if unknown else "s_rated_kva is missing"
        raise ValueError(f"Agents: params: {words}; there are {', '.join(known)}")
    wrong = [f"{name} has {np.size(value)} values" for name, value in given.items() if np.size(value) not in (1, count)]
    if wrong:
        raise ValueError(f"Agents: params: {', '.join(wrong)} for {count} units")
    return {name: np.broadcast_to(np.asarray(value, float), count) for name, value in given.items()}


def _row(arrays: Mapping[str, Any], row: int, s_base_mva: float) -> Measured:
    """What a group's arrays say of one unit."""
    f_hz, p_set_mw, soc_percent = [float(arrays[attr][row]) if attr in arrays else math.nan for attr in OF_GROUP]
    p_gen_mw = q_gen_mvar = v_pu = math.nan
    if "S[pu]" in arrays:
        s = complex(arrays["S[pu]"][row]) * s_base_mva
        p_gen_mw, q_gen_mvar = s.real, s.imag
    if "V[pu]" in arrays:
        v_pu = abs(complex(arrays["V[pu]"][row]))
    return Measured(f_hz, p_gen_mw, q_gen_mvar, v_pu, p_set_mw, soc_percent)
