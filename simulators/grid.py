"""The mosaik wrapper of the network: terminals for units, events, one solve a step.

Entities:
    Grid        the network itself, with a Bus, Branch or Load child for everything that has a name.
    Terminals   one for each group of units: arrays, EMF in, power, voltage and the applied EMF out.
    Terminal    one unit of its own, in scalars that survive JSON.
    View        a Terminal that replaces one row of a group while its `active` is not 0.

`step(t)` takes the EMFs of time t, applies the events of t, solves, and shows the state just after them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators import events as grid_events
from gridloop.simulators.case import Case
from gridloop.simulators.device import E_USED, EVENTS, Sink, only_value, refuse_unknown
from gridloop.simulators.events import Event, Switching
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.grid_series import Epoch, Row
from gridloop.simulators.models.loads import V_RELIEF_PU, Demand, demand
from gridloop.simulators.models.network import Complex
from gridloop.simulators.models.nodal import (
    Observation,
    Solution,
    Sources,
    VoltageCollapse,
    loading_percent,
    observe,
    reduce,
    solve,
)
from gridloop.simulators.ticks import Ticks

SCALAR_OUT = ["P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]", E_USED, "Va_used[deg]", EVENTS]
META = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Grid": {"public": True, "any_inputs": False, "params": [], "attrs": [EVENTS]},
        "Terminals": {
            "public": True, "any_inputs": False, "params": ["units", "bus", "z", "weight"],
            "attrs": ["EMF[pu]", "f[Hz]", "S[pu]", "V[pu]", E_USED, EVENTS],
        },
        "Terminal": {
            "public": True, "any_inputs": False, "params": ["unit", "bus", "z", "weight"],
            "attrs": ["E[pu]", "Va_emf[deg]", "f[Hz]", *SCALAR_OUT],
        },
        "View": {
            "public": True, "any_inputs": False, "params": ["of", "row"],
            "attrs": ["E[pu]", "Va_emf[deg]", "active[1]", *SCALAR_OUT],
        },
        "Bus": {"public": False, "any_inputs": False, "params": [], "attrs": ["Vm[pu]", "Va[deg]"]},
        "Branch": {
            "public": False, "any_inputs": False, "params": [], "attrs": ["P_from[MW]", "Q_from[MVar]", "loading[%]"],
        },
        "Load": {"public": False, "any_inputs": False, "params": [], "attrs": ["P_load[MW]", "Q_load[MVar]"]},
    },
    "extra_methods": ["initial"],
}  # fmt: skip


@dataclass
class _Slot:
    """Rows of one Terminals or Terminal entity, or the row that a View may replace."""

    kind: str
    units: tuple[str, ...]
    rows: slice
    emf: Any  # what came last


class GridSimulator(mosaik_api_v3.Simulator):
    """The network with its loads; what stands at its terminals comes from other simulators.

    Args:
        case: network, loads and their start.
        events: what happens, and when.
        sink: takes (time, Row) of every step, to record them.
        log: takes (t_s, kind, target, outcome) of everything that happened.
    """

    def __init__(
        self, case: Case, events: tuple[Event, ...] = (), sink: Sink | None = None,
        log: Callable[[float, str, str, str], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._case, self._sink, self._log = case, sink, log or (lambda *_: None)
        self._pending = sorted(events, key=lambda event: event.t_s)
        self._slots: dict[str, _Slot] = {}
        self._views: dict[str, tuple[str, int]] = {}  # eid -> (group, row)
        self._bus: list[int] = []
        self._z: list[complex] = []
        self._weight: list[float] = []
        self._units: list[str] = []
        self._sid, self._resolution, self._time = "", 1.0, 0
        self._ticks: Ticks
        self._state: Switching
        self._epoch: Epoch
        self._demand: Demand
        self._solution: Solution | None = None
        self._count = 0
        self._emf: Complex
        self._frequency_dependent = bool(case.loads.k_pf.any() or case.loads.k_qf.any())

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set the macro step by `step_ms` (5); extra ticks come from the grid's own events."""
        self._sid, self._resolution = sid, time_resolution
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), (event.t_s for event in self._pending), time_resolution)
        refuse_unknown("Grid", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create terminals, or the Grid with its children.

        Model parameters:
            unit, units: name(s) under which power is recorded and events find the unit.
            bus: bus name (Terminal) or one for each unit (Terminals).
            z: source impedance on the system base [pu], complex or [r, x]; 0 is an ideal source.
            weight: share of the unit in the frequency that the loads see (1/droop, or the rating).
            of, row: the Terminals entity and the row that a View may replace.

        Raises:
            ValueError: unknown bus, more than one entity at a time.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time")
        if model == "Grid":
            return [{"eid": "Grid", "type": "Grid", "rel": [], "children": self._children()}]
        if model == "View":
            of, row = model_params["of"], int(model_params["row"])
            if of not in self._slots or not 0 <= row < len(self._slots[of].units):
                raise ValueError(f"View: there is no row {row} of {of!r}")
            eid = f"View-{self._slots[of].units[row]}"
            self._views[eid] = (of, row)
            return [{"eid": eid, "type": "View", "rel": [of]}]
        return [self._create_terminals(model, model_params)]

    def _create_terminals(self, model: str, params: dict[str, Any]) -> dict[str, Any]:
        many = model == "Terminals"
        units = list(params["units"]) if many else [params["unit"]]
        buses = params["bus"] if many else [params["bus"]]
        z = params.get("z", [0] * len(units) if many else 0)
        weights = params.get("weight", [1.0] * len(units) if many else 1.0)
        first = len(self._units)
        eid = f"{model}-{sum(slot.kind == model for slot in self._slots.values())}"
        self._bus += [self._case.network.row_of_bus(str(bus)) for bus in buses]
        self._z += [complex(*v) if isinstance(v, list | tuple) else complex(v) for v in (z if many else [z])]
        self._weight += list(weights) if many else [weights]
        self._units += units
        slot = self._slots[eid] = _Slot(model, tuple(units), slice(first, len(self._units)), None)
        _, _, emf = self._start(slot)
        slot.emf = emf if many else complex(emf[0])
        return {"eid": eid, "type": model, "rel": []}

    def _children(self) -> list[dict[str, Any]]:
        net = self._case.network
        named = [(name, "Bus") for name in net.bus_names]
        named += [(name, "Branch") for name in net.branch_names]
        named += [(name, "Load") for name in self._case.load_names]
        return [{"eid": name, "type": kind, "rel": ["Grid"]} for name, kind in named]

    def initial(self, eid: str) -> dict[str, Any]:
        """What a terminal shows at the net's own power flow, as `initial_data` of its time-shifted connections.

        A bus's generation is divided equally among the units that stand there.
        """
        slot = self._slots[eid]
        s, v, emf = self._start(slot)
        if slot.kind == "Terminals":
            return {"S[pu]": s, "V[pu]": v, E_USED: emf, EVENTS: 0}
        return _scalars(s[0] * self._case.network.s_base_mva, v[0], emf[0], 0)

    def _start(self, slot: _Slot) -> tuple[Complex, Complex, Complex]:
        """Power, bus voltage and EMF of a terminal's rows at the net's power flow."""
        buses = np.array(self._bus[slot.rows])
        share = np.array([self._bus.count(bus) for bus in buses])
        v, s = self._case.v_start[buses], self._case.s_start[buses] / share
        return s, v, v + np.array(self._z[slot.rows]) * (s / v).conj()

    def setup_done(self) -> None:
        """Reduce the network to the terminals that were created."""
        names = grid_events.Names(self._case.network, self._case.load_of_bus, tuple(self._units))
        for event in self._pending:
            grid_events.check(event, names)
        self._names = names
        self._sources = Sources(
            np.array(self._bus, np.intp), np.array(self._z, complex), np.ones(len(self._units), bool)
        )
        self._weights = np.array(self._weight, float)
        self._state = Switching(self._case.network.closed, self._case.loads, self._sources.connected)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Reduce anew after an event; report buses that lost their supply."""
        state = self._state
        before = self._epoch.net.dead_bus if self._solution is not None else None
        net = reduce(
            self._case.network, state.closed, self._sources._replace(connected=state.connected), state.loads.bus
        )
        self._epoch, self._solution = Epoch(net, state.loads), None
        self._supplied = state.loads.at(net.supplied)
        self._demand = demand(self._supplied)
        if before is None:
            before = np.zeros_like(net.dead_bus)
        for rows, kind, outcome in (
            (net.dead_bus & ~before, "de_energised", "no source left in this island"),
            (before & ~net.dead_bus, "energised", "supplied again"),
        ):
            named = [n for n, r in zip(net.network.bus_names, net.network.bus_row, strict=True) if rows[r]]
            if named:
                self._log(self._seconds(self._time), kind, ", ".join(named), outcome)

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Apply the events of `time`, solve, and return the next tick."""
        self._time = time
        try:
            emf = self._collect(inputs)
            if self._pending and round(self._pending[0].t_s / self._resolution) <= time:
                self._apply_events(time)
            if self._frequency_dependent:
                self._demand = demand(self._supplied, self._frequency_deviation(inputs))
            was_low = self._solution is not None and self._solution.collapsed
            solution = solve(self._epoch.net, self._demand, emf, self._solution)
        except VoltageCollapse as collapse:
            bus = self._name_of_load(collapse.load)
            self._log(self._seconds(time), "voltage_collapse", bus, str(collapse))
            raise SimulatorFailure(self._sid, bus, self._seconds(time), collapse) from collapse
        except Exception as error:
            raise SimulatorFailure(self._sid, "Grid", self._seconds(time), error) from error
        if solution.collapsed != was_low:
            self._report_low_voltage(time, solution)
        self._solution, self._emf = solution, emf
        if self._sink is not None:
            row = Row(self._epoch, solution.x, solution.turn, solution.s_source, solution.iterations)
            self._sink(time, row)
        return self._ticks.after(time)

    def _collect(self, inputs: Any) -> Complex:
        """EMFs of all rows, in the order of creation; a single untouched group passes as it is."""
        for eid, slot in self._slots.items():
            given = inputs.get(eid)
            if not given:
                continue
            if slot.kind == "Terminals":
                if "EMF[pu]" in given:
                    slot.emf = _one(eid, "EMF[pu]", given)
                    if len(slot.emf) != len(slot.units):
                        raise ValueError(f"{eid}: EMF[pu] has {len(slot.emf)} rows, not {len(slot.units)}")
            else:
                slot.emf = _phasor(eid, given, slot.emf)
        for eid, (of, row) in self._views.items():
            given = inputs.get(eid)
            if given and "active[1]" in given and _one(eid, "active[1]", given):
                slot = self._slots[of]
                slot.emf = np.array(slot.emf)
                slot.emf[row] = _phasor(eid, given, slot.emf[row])
        if len(self._slots) == 1:
            (slot,) = self._slots.values()
            return slot.emf if slot.kind == "Terminals" else np.array([slot.emf])
        return np.concatenate([np.atleast_1d(slot.emf) for slot in self._slots.values()])

    def _seconds(self, time: int) -> float:
        """Simulated time in seconds, as a scenario would write it: 0.3, not 0.30000000000000004."""
        return round(time * self._resolution, 9)

    def _apply_events(self, time: int) -> None:
        while self._pending and round(self._pending[0].t_s / self._resolution) <= time:
            event = self._pending.pop(0)
            self._state, outcome = grid_events.KINDS[event.kind](self._state, self._names, event)
            self._log(event.t_s, event.kind, event.target, outcome)
            self._count += 1
        self._begin_epoch()

    def _frequency_deviation(self, inputs: Any) -> float:
        """Weighted mean deviation [pu] of the connected sources whose frequency is known."""
        total = weight = 0.0
        f_nom = self._case.network.f_nom_hz
        for eid, slot in self._slots.items():
            given = inputs.get(eid, {})
            if "f[Hz]" in given:
                share = self._weights[slot.rows] * self._state.connected[slot.rows]
                total += float(share @ np.atleast_1d(_one(eid, "f[Hz]", given) - f_nom))
                weight += float(share.sum())
        return total / weight / f_nom if weight else 0.0

    def _name_of_load(self, row: int) -> str:
        net = self._case.network
        return net.bus_names[int(np.flatnonzero(net.bus_row == self._state.loads.bus[row])[0])]

    def _report_low_voltage(self, time: int, solution: Solution) -> None:
        voltage = np.abs(solution.v_load)
        worst = int(voltage.argmin()) if len(voltage) else 0
        kind = "voltage_collapse" if solution.collapsed else "voltage_recovery"
        words = "below" if solution.collapsed else "all loads above"
        self._log(
            self._seconds(time), kind, self._name_of_load(int(self._epoch.net.supplied[worst])),
            f"{voltage[worst]:.3f} pu, {words} {V_RELIEF_PU:g} pu",
        )  # fmt: skip

    def get_data(self, outputs: Any) -> Any:
        """State as of the last step: arrays of Terminals, scalars of everything else."""
        solution = self._solution
        assert solution is not None
        data: dict[str, dict[str, Any]] = {}
        seen: Observation | None = None
        for eid, attrs in outputs.items():
            slot = self._slots.get(eid)
            if slot is not None and slot.kind == "Terminals":
                data[eid] = {attr: self._show_rows(slot, attr, solution) for attr in attrs}
                continue
            if slot is not None or eid in self._views:
                shown = self._show_scalars(eid, solution)
            else:
                seen = seen or observe(self._epoch.net, self._state.loads.bus, solution.x)
                shown = self._show_child(eid, seen, solution.turn)
            data[eid] = {attr: shown[attr] for attr in attrs}
        return data

    def _show_rows(self, slot: _Slot, attr: str, solution: Solution) -> Any:
        """One attribute of a Terminals entity; a single group gets the solution's own arrays."""
        if attr == EVENTS:
            return self._count
        if attr == E_USED:
            return slot.emf
        values = solution.s_source if attr == "S[pu]" else solution.v_source
        return values if len(self._slots) == 1 else values[slot.rows]

    def _show_scalars(self, eid: str, solution: Solution) -> dict[str, Any]:
        if eid in self._views:
            of, offset = self._views[eid]
            row = self._slots[of].rows.start + offset
        else:
            row = self._slots[eid].rows.start
        return _scalars(
            solution.s_source[row] * self._case.network.s_base_mva, solution.v_source[row], self._emf[row],
            self._count,
        )  # fmt: skip

    def _show_child(self, eid: str, seen: Observation, turn: complex) -> dict[str, Any]:
        net, s_base = self._case.network, self._case.network.s_base_mva
        if eid == "Grid":
            return {EVENTS: self._count}
        if eid in net.bus_names:
            v = complex(seen.v_bus[net.row_of_bus(eid)]) * turn
            return {"Vm[pu]": abs(v), "Va[deg]": float(np.degrees(np.angle(v)))}
        if eid in net.branch_names:
            row = net.branch_names.index(eid)
            s = complex(seen.s_from[row]) * s_base
            return {"P_from[MW]": s.real, "Q_from[MVar]": s.imag,
                    "loading[%]": float(loading_percent(net, seen)[row])}  # fmt: skip
        s = complex(seen.s_load[self._case.load_names.index(eid)]) * s_base
        return {"P_load[MW]": s.real, "Q_load[MVar]": s.imag}


def _one(eid: str, attr: str, given: Any) -> Any:
    return only_value(f"{eid}.{attr}", given[attr])


def _phasor(eid: str, given: Any, last: complex) -> complex:
    """EMF from magnitude and angle; what is not given stays."""
    magnitude = _one(eid, "E[pu]", given) if "E[pu]" in given else abs(last)
    angle = np.radians(_one(eid, "Va_emf[deg]", given)) if "Va_emf[deg]" in given else np.angle(last)
    return complex(magnitude * np.exp(1j * angle))


def _scalars(s_mva: Any, v: Any, emf: Any, count: int) -> dict[str, Any]:
    return {
        "P_gen[MW]": float(s_mva.real), "Q_gen[MVar]": float(s_mva.imag),
        "Vm[pu]": float(abs(v)), "Va[deg]": float(np.degrees(np.angle(v))),
        E_USED: float(abs(emf)), "Va_used[deg]": float(np.degrees(np.angle(emf))), EVENTS: count,
    }  # fmt: skip
