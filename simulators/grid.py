"""The mosaik wrapper of the network: terminals for units, events, relays, one solve a step.

Entities:
    Grid        the network itself, with a Bus, Branch or Load child for everything that has a name.
    Terminals   one for each group of units: arrays; EMF, or injected P and Q, in; power, voltage and the applied
                EMF out. Each unit has a Unit child of its own name, which shows its power and bus voltage.
    Terminal    one unit of its own, in scalars that survive JSON.
    View        a Terminal that replaces one row of a group while its `active` is not 0.

`step(t)` takes what the units give at t, applies the events of t, solves, and shows the state just after them.
"""

from collections.abc import Callable, Collection
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.device import E_USED, EVENTS, RECORD, Sink, refuse_unknown
from gridloop.simulators.events import Event
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.grid_series import Row
from gridloop.simulators.models.network import Complex, Mask
from gridloop.simulators.models.nodal import Observation, loading_percent, observe
from gridloop.simulators.models.solve import Solution, VoltageCollapse
from gridloop.simulators.operation import Operation
from gridloop.simulators.records import GridAccount
from gridloop.simulators.terminals import TRIP, Board, Slot
from gridloop.simulators.ticks import Ticks
from gridloop.simulators.wire import as_arrays, to_lists

LOSS = "P_loss[MW]"  # of lines, transformers and shunts
SCALAR_OUT = ["P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]", E_USED, "Va_used[deg]", EVENTS]
META = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Grid": {"public": True, "any_inputs": False, "params": [], "attrs": [EVENTS, LOSS, RECORD]},
        "Terminals": {
            "public": True, "any_inputs": False, "params": ["units", "bus", "source", "z", "i_max", "weight"],
            "attrs": ["EMF[pu]", "P_gen[pu]", "Q_gen[pu]", "f[Hz]", TRIP, "S[pu]", "V[pu]", E_USED, EVENTS],
        },
        "Terminal": {
            "public": True, "any_inputs": False, "params": ["unit", "bus", "source", "z", "i_max", "weight"],
            "attrs": ["E[pu]", "Va_emf[deg]", "f[Hz]", TRIP, *SCALAR_OUT],
        },
        "View": {
            "public": True, "any_inputs": False, "params": ["of", "row", "role"],
            "attrs": ["E[pu]", "Va_emf[deg]", "f[Hz]", "active[1]", *SCALAR_OUT],
        },
        "Unit": {"public": False, "any_inputs": False, "params": [], "attrs": SCALAR_OUT[:4]},
        "Bus": {"public": False, "any_inputs": False, "params": [], "attrs": ["Vm[pu]", "Va[deg]"]},
        "Branch": {
            "public": False, "any_inputs": False, "params": [], "attrs": ["P_from[MW]", "Q_from[MVar]", "loading[%]"],
        },
        "Load": {"public": False, "any_inputs": False, "params": [], "attrs": ["P_load[MW]", "Q_load[MVar]"]},
    },
    "extra_methods": ["initial"],
}  # fmt: skip


class GridSimulator(mosaik_api_v3.Simulator):
    """The network with its loads; what stands at its terminals comes from other simulators.

    Args:
        case: network, loads, relays and their start.
        events: what happens, and when.
        sink: takes (time, Row) of every step, to record them.
        log: takes (t_s, kind, target, outcome) of everything that happened.
        json: whether groups exchange lists, as they must in another process than mosaik's.
    """

    def __init__(
        self, case: Case, events: tuple[Event, ...] = (), sink: Sink | None = None,
        log: Callable[[float, str, str, str], None] | None = None, json: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._case, self._sink = case, sink
        self._board = Board(case.network.row_of_bus, case.network.s_base_mva)
        log = log or (lambda *_: None)
        self._account = GridAccount(log) if json else None
        self._operation = Operation(case, events, self._board, log if self._account is None else self._account.log)
        self._event_times_s = [event.t_s for event in events]
        self._unit: dict[str, tuple[Slot, int]] = {}  # name -> its terminal and offset there
        self._sid, self._resolution = "", 1.0
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set the macro step by `step_ms` (5); extra ticks come from the grid's own events."""
        self._sid, self._resolution = sid, time_resolution
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), self._event_times_s, time_resolution)
        refuse_unknown("Grid", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create terminals, or the Grid with its children.

        Model parameters:
            unit, units: name(s) under which power is recorded and events find the unit.
            bus: bus name (Terminal) or one for each unit (Terminals).
            source: 'emf' for units that give an EMF, 'power' for those that give P and Q.
            z: source impedance on the system base [pu], complex or [r, x]; 0 is an ideal source.
            i_max: largest current on the system base [pu]; absent or None: no limit.
            weight: share of the unit in the frequency of its island (1/droop, or the rating).
            of, row, role: the Terminals entity, the row that a View may replace, and by what ('emf', 'power').

        Raises:
            ValueError: unknown bus, more than one entity at a time.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time")
        if model == "Grid":
            return [{"eid": "Grid", "type": "Grid", "rel": [], "children": self._children()}]
        if model == "View":
            return [{"eid": self._board.create_view(model_params), "type": "View", "rel": [model_params["of"]]}]
        eid = self._board.create(model, model_params)
        slot = self._board.slots[eid]
        s, _, emf = self._start(slot)
        start = emf if slot.source == "emf" else s
        slot.value = start if slot.many else complex(start[0])
        if not slot.many:
            return [{"eid": eid, "type": model, "rel": []}]
        self._unit |= {unit: (slot, offset) for offset, unit in enumerate(slot.units)}
        children = [{"eid": unit, "type": "Unit", "rel": [eid]} for unit in slot.units]
        return [{"eid": eid, "type": model, "rel": [], "children": children}]

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
        slot = self._board.slots[eid]
        s, v, emf = self._start(slot)
        if slot.many:
            return self._sent({"S[pu]": s, "V[pu]": v, E_USED: emf, EVENTS: 0})
        return _scalars(s[0] * self._case.network.s_base_mva, v[0], emf[0], 0)

    def _start(self, slot: Slot) -> tuple[Complex, Complex, Complex]:
        """Power, bus voltage and EMF of a terminal's rows at the net's power flow."""
        board = self._board
        buses, everywhere = board.buses(slot), [*board.emf.bus, *board.power.bus]
        share = np.array([everywhere.count(bus) for bus in buses])
        v, s = self._case.v_start[buses], self._case.s_start[buses] / share
        z = np.array(board.emf.z[slot.rows]) if slot.source == "emf" else 0
        return s, v, v + z * np.divide(s, v, out=np.zeros_like(s), where=v != 0).conj()

    def setup_done(self) -> None:
        """Reduce the network to the terminals that were created."""
        self._operation.begin(self._resolution)

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Apply the events of `time`, solve, and return the next tick."""
        operation = self._operation
        t_s = round(time * self._resolution, 9)  # as a scenario would write it: 0.3, not 0.30000000000000004
        if self._account is not None:
            slots = self._board.slots
            many = [eid for eid in inputs if eid in slots and slots[eid].many]
            inputs = {**inputs, **{eid: as_arrays(inputs[eid]) for eid in many}}
        try:
            solution = operation.advance(t_s, inputs)
        except VoltageCollapse as collapse:
            raise self._failure(operation.name_of_bus(collapse.bus), t_s, collapse) from collapse
        except Exception as error:
            raise self._failure("Grid", t_s, error) from error
        if self._account is not None:
            self._account.close_step(time, operation.epoch)
        if self._sink is not None:
            row = Row(
                operation.epoch, solution.x, solution.turn, solution.s_source, solution.iterations,
                operation.unserved_pu,
            )  # fmt: skip
            self._sink(time, row)
        return self._ticks.after(time)

    def _failure(self, entity: str, t_s: float, cause: Exception) -> Exception:
        failure = SimulatorFailure(self._sid, entity, t_s, cause)
        return failure if self._account is None else self._account.sign(failure)

    def _sent(self, shown: dict[str, Any]) -> dict[str, Any]:
        """What a group shows in the form in which it is exchanged."""
        return shown if self._account is None else {attr: to_lists(value) for attr, value in shown.items()}

    def get_data(self, outputs: Any) -> Any:
        """State as of the last step: arrays of Terminals, scalars of everything else."""
        solution = self._operation.solution
        assert solution is not None
        data: dict[str, dict[str, Any]] = {}
        seen: Observation | None = None
        slots = self._board.slots
        for eid, attrs in outputs.items():
            slot = slots.get(eid)
            if slot is not None and slot.many:
                data[eid] = self._sent(self._show_group(slot, attrs, solution))
                continue
            if eid == "Grid":
                data[eid] = {attr: self._show_whole(attr) for attr in attrs if attr != LOSS}
                if LOSS in attrs:
                    seen = seen or observe(self._operation.epoch.net, solution.x)
                    data[eid][LOSS] = float(seen.loss_pu * self._case.network.s_base_mva)
                continue
            if slot is not None or eid in self._board.views or eid in self._unit:
                shown = self._show_scalars(eid, solution)
            else:
                seen = seen or observe(self._operation.epoch.net, solution.x)
                shown = self._show_child(eid, seen, solution.turn)
            data[eid] = {attr: shown[attr] for attr in attrs}
        return data

    def _show_whole(self, attr: str) -> Any:
        if attr == EVENTS:
            return self._operation.count
        return None if self._account is None else self._account.record(self._operation)

    def _show_group(self, slot: Slot, attrs: Collection[str], solution: Solution) -> dict[str, Any]:
        """Attributes of a Terminals entity; mosaik asks once for each connection, so for some of them repeatedly."""
        shown: dict[str, Any] = {}
        for attr in attrs:
            if attr not in shown:
                shown[attr] = self._operation.count if attr == EVENTS else self._show_rows(slot, attr, solution)
        return shown

    def _show_rows(self, slot: Slot, attr: str, solution: Solution) -> Any:
        """Power, voltage or EMF in use of a terminal's units."""
        if slot.source == "power":
            if attr == E_USED:  # what is asked of units that are on; the others give nothing
                return np.where(self._operation.state.injecting[slot.rows], slot.value, 0)
            return self._show_injected(slot, attr, solution)
        if attr == E_USED:
            on = self._operation.state.connected[slot.rows]
            return slot.value if on.all() else self._tracked(slot, solution, on)
        return (solution.s_source if attr == "S[pu]" else solution.v_source)[slot.rows]

    def _tracked(self, slot: Slot, solution: Solution, on: Mask) -> Complex:
        """The EMFs in use, and the bus voltage, where there is one, for units that are off: they follow it."""
        at_bus = self._operation.bus_voltages(solution, self._board.buses(slot))
        e_used: Complex = np.where(on | (at_bus == 0), slot.value, at_bus)
        return e_used

    def _show_injected(self, slot: Slot, attr: str, solution: Solution) -> Complex:
        """Power (what the network took) or bus voltage of units that inject."""
        operation, epoch = self._operation, self._operation.epoch
        v, count = solution.v_load[epoch.injected_nodes], len(operation.power)
        if attr == "V[pu]":
            if len(v) < count:  # units that do not inject have a voltage all the same
                return operation.bus_voltages(solution, self._board.buses(slot))
            values: Complex = v * epoch.net.turn_at(solution.frame.turn, epoch.injected_islands)
            return values if count == len(slot.units) else values[slot.rows]
        s = -v * solution.x[epoch.injected_currents].conj()
        if len(s) < count:
            s, taken = np.zeros(count, complex), s
            s[operation.injected] = taken
        return s if len(s) == len(slot.units) else s[slot.rows]

    def _show_scalars(self, eid: str, solution: Solution) -> dict[str, Any]:
        board, s_base = self._board, self._case.network.s_base_mva
        if eid in board.views:
            view = board.views[eid]
            slot, offset = board.slots[view.of], view.offset
            if view.source == "power" and view.active:
                one = Slot(True, "power", ("",), slice(view.row, view.row + 1), None)
                s, v = (self._show_injected(one, attr, solution) for attr in ("S[pu]", "V[pu]"))
                return _scalars(
                    np.atleast_1d(s)[0] * s_base, np.atleast_1d(v)[0], np.atleast_1d(v)[0], self._operation.count
                )
        else:
            slot, offset = self._unit.get(eid) or (board.slots[eid], 0)
        s, v = (self._show_rows(slot, attr, solution) for attr in ("S[pu]", "V[pu]"))
        used = np.atleast_1d(self._show_rows(slot, E_USED, solution)) if slot.source == "emf" else v
        return _scalars(s[offset] * s_base, v[offset], used[offset], self._operation.count)

    def _show_child(self, eid: str, seen: Observation, turn: Any) -> dict[str, Any]:
        net, s_base = self._operation.epoch.net.network, self._case.network.s_base_mva
        if eid in net.bus_names:
            row = net.row_of_bus(eid)
            topology = self._operation.epoch.net
            v = complex(seen.v_bus[row]) * topology.turn_at(turn, max(topology.island[row], 0))
            return {"Vm[pu]": abs(v), "Va[deg]": float(np.degrees(np.angle(v)))}
        if eid in net.branch_names:
            row = net.branch_names.index(eid)
            s = complex(seen.s_from[row]) * s_base
            return {"P_from[MW]": s.real, "Q_from[MVar]": s.imag,
                    "loading[%]": float(loading_percent(net, seen)[row])}  # fmt: skip
        s = complex(seen.s_load[self._case.load_names.index(eid)]) * s_base
        return {"P_load[MW]": s.real, "Q_load[MVar]": s.imag}


def _scalars(s_mva: Any, v: Any, emf: Any, count: int) -> dict[str, Any]:
    return {
        "P_gen[MW]": float(s_mva.real), "Q_gen[MVar]": float(s_mva.imag),
        "Vm[pu]": float(abs(v)), "Va[deg]": float(np.degrees(np.angle(v))),
        E_USED: float(abs(emf)), "Va_used[deg]": float(np.degrees(np.angle(emf))), EVENTS: count,
    }  # fmt: skip
