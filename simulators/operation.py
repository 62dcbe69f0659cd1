"""The network in operation: events and relays change its topology and its loads, each step solves it.

An epoch is the stretch between two changes of topology; within one, a step costs a solve on the last one's chord.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gridloop.simulators import events as grid_events
from gridloop.simulators.case import Case
from gridloop.simulators.events import PCC, Event, Switching
from gridloop.simulators.frequency import Frequencies
from gridloop.simulators.grid_series import Epoch, Topology, current_limited, epoch_of, touches_limit
from gridloop.simulators.models.loads import V_RELIEF_PU, Demand, Injected, demand, with_room
from gridloop.simulators.models.network import Complex, Index, Mask
from gridloop.simulators.models.nodal import Sources
from gridloop.simulators.models.solve import Solution, VoltageCollapse, solve
from gridloop.simulators.protection import in_synchronism, relays, watch
from gridloop.simulators.terminals import Board

Log = Callable[[float, str, str, str], None]


class Operation:
    """State of the network and of everything that switches it.

    Args:
        case: network, loads, relays and their start.
        events: what happens, and when.
        board: the terminals of the units.
        log: takes (t_s, kind, target, outcome) of everything that happened.
    """

    def __init__(self, case: Case, events: tuple[Event, ...], board: Board, log: Log) -> None:
        self._case, self._board, self._log = case, board, log
        self._pending = sorted(events, key=lambda event: event.t_s)
        self._load_rows = {name: row for row, name in enumerate(case.load_names)}
        self._t_s, self._half_unit_s = 0.0, 0.0
        self.state: Switching
        self.topology: Topology
        self.epoch: Epoch
        self.solution: Solution | None = None
        self.count = 0  # of events
        self.emf: Complex
        self.power: Complex = np.zeros(0, complex)
        self.injected: Index  # injections that have voltage and are connected
        self.unserved_pu = 0.0
        self._i_max_injected: Any
        self._demand: Demand  # of the supplied loads
        self._room_for: Demand | None = None  # the demand that there is room for injections behind, in
        self._room: Demand
        self._supplied_loads: Any  # the same as parameters
        self._armed = False
        self._limited: Mask = np.zeros(0, bool)  # who stands at its current limit
        self._is_limited = False  # anybody
        self._dead: Mask = np.zeros(case.network.n_bus, bool)
        self._is_low = False  # whether a load stood below V_RELIEF_PU at the last step
        loads = case.loads
        self._frequencies = Frequencies(case, bool(loads.k_pf.any() or loads.k_qf.any()))
        self._relays = relays(case.shedding, len(loads.bus))

    def begin(self, resolution_s: float) -> None:
        """Reduce the network to the terminals that were created.

        Args:
            resolution_s: of time; an event is due at the tick nearest to it.

        Raises:
            ValueError: an event's target does not exist, two ideal sources at one bus.
        """
        self._half_unit_s = resolution_s / 2
        case, emf, power = self._case, self._board.emf, self._board.power
        pcc = [] if case.pcc is None else [case.pcc]
        self._sources = Sources(
            np.array([*emf.bus, *(case.network.row_of_bus(p.bus) for p in pcc)], np.intp),
            np.array([*emf.z, *(p.z_pu for p in pcc)], complex),
            np.ones(len(emf.bus) + len(pcc), bool),
            np.array([*emf.i_max, *(np.inf for _ in pcc)]),
        )
        self._names = grid_events.Names(
            case.network, case.load_of_bus, (*emf.units, *(PCC for _ in pcc)), tuple(power.units)
        )
        for event in self._pending:
            grid_events.check(event, self._names)
        is_view = np.zeros(len(power.units), bool)
        is_view[[view.row for view in self._board.views.values() if view.has_own_row]] = True
        self._frequencies.begin(np.array(emf.weight, float))
        connected = self._sources.connected.copy()
        connected[len(emf.bus) :] = [p.closed for p in pcc]
        self.state = Switching(
            case.network.closed, case.loads, np.ones(len(case.loads.bus)), connected, ~is_view,
            np.zeros(case.network.n_bus, complex),
        )  # fmt: skip
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Reduce anew after an event; report buses that lost their supply."""
        state, power = self.state, self._board.power
        self.topology = Topology(
            state.closed, self._sources._replace(connected=state.connected), np.array(power.bus, np.intp),
            np.array(power.i_max, float), state.injecting, state.fault_pu,
        )  # fmt: skip
        self.epoch, self.solution = epoch_of(self._case, self.topology), None
        net = self.epoch.net
        self.injected = net.supplied[net.supplied >= len(state.loads.bus)] - len(state.loads.bus)
        self._i_max_injected = self.topology.i_max_injected[self.injected]
        self._frequencies.follow(net)
        self._take_loads()
        before, self._dead = self._dead, net.dead_bus
        for rows, kind, outcome in (
            (net.dead_bus & ~before, "de_energised", "no source left in this island"),
            (before & ~net.dead_bus, "energised", "supplied again"),
        ):
            named = [n for n, r in zip(net.network.bus_names, net.network.bus_row, strict=True) if rows[r]]
            if named:
                self._log(self._t_s, kind, ", ".join(named), outcome)

    def _take_loads(self) -> None:
        """The supplied loads and their demand anew, after a change of power or of who is supplied."""
        loads, kept, supplied = self.state.loads, self.state.kept, self.epoch.supplied_loads
        served = loads._replace(p0_pu=loads.p0_pu * kept, q0_pu=loads.q0_pu * kept)
        self._supplied_loads = served.at(supplied)
        frequencies = self._frequencies
        self._demand = demand(
            self._supplied_loads, frequencies.deviation_pu() if frequencies.frequency_dependent else 0.0
        )
        unserved = np.maximum(loads.p0_pu, 0).sum() - np.maximum(self._supplied_loads.p0_pu, 0).sum()
        self.unserved_pu = max(float(unserved), 0.0) if self.epoch.has_dead_loads or (kept < 1).any() else 0.0

    def advance(self, t_s: float, inputs: Any) -> Solution:
        """Take what came in, apply the events of `t_s`, solve.

        Raises:
            VoltageCollapse: the network has no solution; it is logged too.
        """
        self._t_s = t_s
        emf, self.power, moved = self._board.collect(inputs)
        self.emf = emf if self._case.pcc is None else self._with_pcc(emf)
        before = self.count
        if moved:
            self.count += 1
            self._move_views()
        if self._pending and self._pending[0].t_s <= t_s + self._half_unit_s:
            self._apply_events()
        if self._board.tripped:
            self._trip_units()
        if not self._load_rows.keys().isdisjoint(inputs):
            self._control_loads(inputs)
        if self._frequencies.wanted:
            self._use_frequencies(inputs)
        try:
            solution = self._solve()
            if self._armed and self._closes(solution):
                solution = self._solve()
        except VoltageCollapse as collapse:
            self._log(t_s, "voltage_collapse", self.name_of_bus(collapse.bus), str(collapse))
            raise
        if self._case.bus_filter_s is not None:
            self._frequencies.measure(solution, t_s, self.count != before)
        if solution.collapsed != self._is_low:
            self._report_low_voltage(solution)
            self._is_low = solution.collapsed
        if self.epoch.can_limit:
            self._report_limits(solution)
        self.solution = solution
        return solution

    def _solve(self) -> Solution:
        loads = self._demand
        need: Demand | Injected = loads
        if len(self.injected):
            if self._room_for is not loads:
                self._room_for, self._room = loads, with_room(loads, self._i_max_injected)
            everyone = len(self.injected) == len(self.power)
            need = Injected(self._room, self.power if everyone else self.power[self.injected], self._i_max_injected)
        return solve(self.epoch.net, need, self.emf, self.solution)

    def _with_pcc(self, emf: Complex) -> Complex:
        """The EMFs with that of the public grid behind them."""
        pcc = self._case.pcc
        assert pcc is not None
        turned = 2 * np.pi * (pcc.f_hz - self._case.network.f_nom_hz) * self._t_s
        return np.append(emf, pcc.v_pu * np.exp(1j * (pcc.angle_rad + turned)))

    def _move_views(self) -> None:
        """Put injections of Views in their rows' place, or take them out again."""
        connected, injecting = self.state.connected.copy(), self.state.injecting.copy()
        for view in self._board.views.values():
            if view.has_own_row and injecting[view.row] != view.active:
                connected[self._board.slots[view.of].rows.start + view.offset] = not view.active
                injecting[view.row] = view.active
        self.state = replace(self.state, connected=connected, injecting=injecting)
        self._begin_epoch()

    def _closes(self, solution: Solution) -> bool:
        """Close the switch to the public grid if both sides agree; whether it did."""
        pcc, net = self._case.pcc, self.epoch.net
        assert pcc is not None
        bus = net.network.row_of_bus(pcc.bus)
        v_bus = complex(self.bus_voltages(solution, np.array([bus]))[0])
        f_hz = self._frequencies.of_bus(bus)
        if not in_synchronism(pcc.sync, complex(self.emf[-1]), v_bus, f_hz - pcc.f_hz):
            return False
        t_s = self._t_s
        self.state, _ = grid_events.pcc_close(self.state, self._names, Event(t_s, "pcc_close", PCC))
        self._armed = False
        self.count += 1
        self._log(t_s, "pcc_close", PCC, "closed in synchronism")
        self._begin_epoch()
        return True

    def bus_voltages(self, solution: Solution, rows: Index) -> Complex:
        """Voltages at buses (rows,) in the nominal frame."""
        net = self.epoch.net
        turn = net.turn_at(solution.turn, np.maximum(net.island[rows], 0))
        v: Complex = (net.to_bus[rows] @ solution.x) * turn
        return v

    def _apply_events(self) -> None:
        while self._pending and self._pending[0].t_s <= self._t_s + self._half_unit_s:
            event = self._pending.pop(0)
            if event.kind == "pcc_close" and event.sync and not self.state.connected[-1]:
                self._armed = True
                self._log(event.t_s, "pcc_arm", PCC, "closes when both sides agree")
                continue
            if event.kind == "pcc_open":
                self._armed = False
            self.state, outcome = grid_events.KINDS[event.kind](self.state, self._names, event)
            self._log(event.t_s, event.kind, event.target, outcome)
            self.count += 1
        self._begin_epoch()

    def _trip_units(self) -> None:
        """Open the breakers of units whose own relays have tripped."""
        for name in self._board.tripped:
            trip = Event(self._t_s, "unit_trip", name)
            self.state, outcome = grid_events.unit_trip(self.state, self._names, trip)
            self._log(trip.t_s, trip.kind, name, f"{outcome} by its reverse-power relay")
            self.count += 1
        self._begin_epoch()

    def _control_loads(self, inputs: Any) -> None:
        """Take the power of loads that other simulators control."""
        changed: dict[int, list[Any]] = {}
        for eid, given in inputs.items():
            if eid in self._load_rows and ("P_load[MW]" in given or "Q_load[MVar]" in given):
                changed[self._load_rows[eid]] = [
                    sum(given[attr].values()) if attr in given else None for attr in ("P_load[MW]", "Q_load[MVar]")
                ]
        if not changed:
            return
        loads, s_base = self.state.loads, self._case.network.s_base_mva
        p, q = loads.p0_pu.copy(), loads.q0_pu.copy()
        for row, (p_mw, q_mvar) in changed.items():
            p[row] = p[row] if p_mw is None else p_mw / s_base
            q[row] = q[row] if q_mvar is None else q_mvar / s_base
            if not (np.isfinite(p[row]) and np.isfinite(q[row])):
                raise ValueError(f"the power of {self._case.load_names[row]} is not finite")
        self.state = replace(self.state, loads=loads._replace(p0_pu=p, q0_pu=q))
        self._take_loads()

    def _use_frequencies(self, inputs: Any) -> None:
        """Shed what the relays trip, and give the loads their frequency."""
        frequencies, case = self._frequencies, self._case
        frequencies.take(self._board, inputs)
        if case.shedding:
            t_s = self._t_s
            self._relays, trips = watch(case.shedding, self._relays, t_s, frequencies.at_loads_hz())
            for stage, trip in zip(case.shedding, trips, strict=True):
                if trip.any():
                    self._shed(t_s, stage.share * trip)
        if frequencies.frequency_dependent:
            self._demand = demand(self._supplied_loads, frequencies.deviation_pu())

    def _shed(self, t_s: float, share: Any) -> None:
        loads, s_base = self.state.loads, self._case.network.s_base_mva
        kept = np.maximum(self.state.kept - share, 0.0)
        shed_kw = float((loads.p0_pu * (self.state.kept - kept)).sum()) * s_base * 1e3
        named = [self._case.load_names[row] for row in np.flatnonzero(share)]
        self.state = replace(self.state, kept=kept)
        self._log(t_s, "load_shed", ", ".join(named), f"{shed_kw:g} kW at low frequency")
        self.count += 1
        self._begin_epoch()

    def name_of_bus(self, row: int) -> str:
        """The first name of a bus by its row."""
        net = self.epoch.net.network
        return net.bus_names[int(np.flatnonzero(net.bus_row == row)[0])]

    def _report_low_voltage(self, solution: Solution) -> None:
        voltage = np.abs(solution.v_load[: len(self.epoch.net.supplied)])
        if not len(voltage):  # nothing is left that could be low
            return
        worst = int(voltage.argmin())
        kind = "voltage_collapse" if solution.collapsed else "voltage_recovery"
        words = "below" if solution.collapsed else "all loads above"
        self._log(
            self._t_s, kind, self.name_of_bus(int(self.epoch.net.draw_bus[worst])),
            f"{voltage[worst]:.3f} pu, {words} {V_RELIEF_PU:g} pu",
        )  # fmt: skip

    def _report_limits(self, solution: Solution) -> None:
        """Log who has come to its current limit, and who has left it."""
        if not self._is_limited and not touches_limit(self.epoch, solution):
            return
        limited = current_limited(self.epoch, solution.x)
        before = self._limited if len(self._limited) == len(limited) else np.zeros_like(limited)
        self._limited, changed = limited, limited != before
        self._is_limited = bool(limited.any())
        if not np.count_nonzero(changed):
            return
        units = (*self._names.sources, *self._names.injections)
        for row in np.flatnonzero(changed):
            kind = "current_limit" if limited[row] else "current_limit_end"
            words = "the current is limited" if limited[row] else "the current is within its limit"
            self._log(self._t_s, kind, units[row], words)
