"""The network in operation where everything is settled: events and relays as ever, between them no time passes.

Units that cannot supply their island leave it dark for a step; at the next it is tried again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gridloop.simulators import events as grid_events
from gridloop.simulators.case import Case
from gridloop.simulators.events import PCC, Event
from gridloop.simulators.grid_series import Epoch, Topology, epoch_of
from gridloop.simulators.models.loads import Demand, demand, with_injections
from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.models.solve import Solution
from gridloop.simulators.models.steady_control import SteadyControl
from gridloop.simulators.models.steady_equations import Memory, Plant, Settled
from gridloop.simulators.models.steady_lines import Line
from gridloop.simulators.models.steady_state import SHORT, NoEquilibrium, settle
from gridloop.simulators.operation import Log, Operation
from gridloop.simulators.protection import watch
from gridloop.simulators.settled_units import SettledUnits
from gridloop.simulators.terminals import Board

MOST_EPOCHS = 64  # remembered topologies


class SettledOperation(Operation):
    """State of a network whose units are settled.

    Args:
        case: network, loads, relays and their start.
        events: what happens, and when.
        board: the terminals of the units.
        log: takes (t_s, kind, target, outcome) of everything that happened.
    """

    def __init__(self, case: Case, events: tuple[Event, ...], board: Board, log: Log) -> None:
        super().__init__(replace(case, bus_filter_s=None), events, board, self._report)
        self._tell = log
        self.groups: Sequence[SettledUnits] = ()
        self.control: SteadyControl | None = None
        self.lines: Callable[[], Sequence[Line]] = tuple
        self.settled: Settled
        self.hold_s = 0.0  # how long the state will last
        self._memory: Memory
        self._dark: Mask = np.zeros(0, bool)  # sources that cannot supply their island
        self._told_dead: Mask = np.zeros(case.network.n_bus, bool)
        self._told_dark: dict[str, str] = {}
        self._epochs: dict[Any, tuple[Topology, Epoch]] = {}

    def _report(self, t_s: float, kind: str, target: str, outcome: str) -> None:
        """Log what happens; who has a supply is told once a step, when it is known."""
        if kind not in ("energised", "de_energised"):
            self._tell(t_s, kind, target, outcome)

    def begin(self, resolution_s: float) -> None:
        """Reduce the network to the terminals that were created."""
        self._dark = np.zeros(len(self._board.emf.bus) + (self._case.pcc is not None), bool)
        super().begin(resolution_s)
        emf = [np.asarray(slot.value) for slot in self._board.slots.values() if slot.source == "emf"]
        start: Complex = np.concatenate([*emf, np.zeros(0)]).astype(complex)
        self._memory = Memory(start, np.zeros(self.epoch.net.n_island), np.zeros(len(start)))

    def _begin_epoch(self) -> None:
        """Reduce anew, with what is dark taken out; a topology that was there is taken up again."""
        state, power = self.state, self._board.power
        connected = state.connected & ~self._dark
        key = (state.closed.tobytes(), connected.tobytes(), state.injecting.tobytes(), state.fault_pu.tobytes())
        if key not in self._epochs:
            topology = Topology(
                state.closed, self._sources._replace(connected=connected), np.array(power.bus, np.intp),
                np.array(power.i_max, float), state.injecting, state.fault_pu,
            )  # fmt: skip
            if len(self._epochs) >= MOST_EPOCHS:
                self._epochs.clear()
            self._epochs[key] = topology, epoch_of(self._case, topology)
        (self.topology, self.epoch), self.solution = self._epochs[key], None
        net = self.epoch.net
        self.injected = net.supplied[net.supplied >= len(state.loads.bus)] - len(state.loads.bus)
        self._i_max_injected = self.topology.i_max_injected[self.injected]
        self._frequencies.follow(net)
        self._take_loads()

    def trip(self, t_s: float, unit: str, why: str) -> None:
        """Disconnect a unit."""
        self.state, _ = grid_events.unit_trip(self.state, self._names, Event(t_s, "unit_trip", unit))
        self._log(t_s, "unit_trip", unit, why)
        self.count += 1
        self._begin_epoch()

    def advance(self, t_s: float, inputs: Any) -> Solution:
        """Take what came in, apply the events of `t_s`, settle."""
        self._t_s = t_s
        if self._dark.any():
            self._dark = np.zeros_like(self._dark)
            self._begin_epoch()
        solution = super().advance(t_s, inputs)
        self._tell_supply()
        return solution

    def _use_frequencies(self, inputs: Any) -> None:
        """The settled state has the frequencies."""

    def _solve(self) -> Solution:
        blackouts: dict[str, str] = {}
        while True:
            try:
                settled = settle(self._plant(), self._memory)
            except NoEquilibrium as failure:
                if not self._shed_for_want(failure):
                    blackouts |= self._darken(failure)
                continue
            if self._shed_at(self._f_hz(settled.slip_rad_per_s)):
                continue
            break
        for sources in blackouts.keys() - self._told_dark.keys():
            self._log(self._t_s, "blackout", sources, blackouts[sources])
        self._told_dark = blackouts
        self.settled, self._memory, self.emf = settled, settled.memory, settled.emf_pu
        for slot in self._board.slots.values():
            slot.value = settled.emf_pu[slot.rows] if slot.source == "emf" else self.power[slot.rows]
        return settled.solution

    def _plant(self) -> Plant:
        pcc, net = self._case.pcc, self.epoch.net
        given, slip = np.zeros(0, complex), 0.0
        if pcc is not None:
            given = np.array([pcc.v_pu * np.exp(1j * pcc.angle_rad)])
            slip = 2 * np.pi * (pcc.f_hz - self._case.network.f_nom_hz)
        return Plant(
            net, self._case.network.f_nom_hz, self.lines(), self._demand_at, given, slip, self.control
        )  # fmt: skip

    def _demand_at(self, slip_rad_per_s: Real) -> Demand:
        """What loads and injections draw at the slips of the islands."""
        net, need = self.epoch.net, self._demand
        if self._frequencies.frequency_dependent:
            at = net.island_of_draw[: len(self.epoch.supplied_loads)]
            omega_nom = 2 * np.pi * self._case.network.f_nom_hz
            need = demand(self._supplied_loads, slip_rad_per_s[at] / omega_nom)
        if not len(self.injected):
            return need
        self._inject(slip_rad_per_s)
        return with_injections(need, self.power[self.injected], self._i_max_injected)

    def _inject(self, slip_rad_per_s: Real) -> None:
        """Ask the following units what they inject."""
        island = np.maximum(self.epoch.net.island[np.array(self._board.power.bus, np.intp)], 0)
        slip = slip_rad_per_s[island] if len(slip_rad_per_s) else np.zeros(len(island))
        power = np.array(self.power)
        for group in self.groups:
            if not group.is_emf:
                power[group.slot.rows] = group.injected_pu(slip[group.slot.rows])
        self.power = power

    def _f_hz(self, slip_rad_per_s: Real) -> Real:
        """Frequency (k,) at every load; nominal where there is no voltage."""
        f_nom = self._case.network.f_nom_hz
        deviation = np.append(slip_rad_per_s, 0.0)[self.epoch.net.island[self._case.loads.bus]]
        f_hz: Real = f_nom + deviation / (2 * np.pi)
        return f_hz

    def _shed_at(self, f_hz: Real) -> bool:
        """Shed what the relays trip as long as the frequency holds; whether anything was shed."""
        stages = self._case.shedding
        if not stages:
            return False
        begun, _ = watch(stages, self._relays, self._t_s, f_hz)
        ended, trips = watch(stages, begun, self._t_s + self.hold_s, f_hz)
        share = np.zeros(len(f_hz))
        for stage, trip in zip(stages, trips, strict=True):
            share = share + stage.share * trip
        self._relays = ended if share.any() else begun
        if share.any():
            self._shed(self._t_s, share)
        return bool(share.any())

    def _shed_for_want(self, failure: NoEquilibrium) -> bool:
        """Shed the next stage where the frequency falls without end; whether there was one."""
        short = [island for island, why in failure.reasons.items() if why == SHORT]
        falls = np.isin(self.epoch.net.island[self._case.loads.bus], short)
        if not falls.any():
            return False
        f_nom = self._case.network.f_nom_hz
        return any(
            self._shed_at(np.where(falls, below - 1e-6, f_nom))
            for below in sorted({stage.below_hz for stage in self._case.shedding}, reverse=True)
        )  # fmt: skip

    def _darken(self, failure: NoEquilibrium) -> dict[str, str]:
        """Take the sources of islands without a settled state out; their names and why.

        Raises:
            ArithmeticError: one of them is connected to the utility grid.
        """
        net, told = self.epoch.net, dict[str, str]()
        connected = self.topology.sources.connected
        for island, why in failure.reasons.items():
            here = connected & (net.island_of_source == island)
            names = [self._names.sources[row] for row in np.flatnonzero(here)]
            if PCC in names or not names:
                raise ArithmeticError(f"the network connected to the utility grid has no settled state: {why}")
            self._dark = self._dark | here
            told[", ".join(names)] = why
        self._begin_epoch()
        return told

    def _closes(self, solution: Solution) -> bool:
        """Close the switch to the utility grid if frequencies and voltages agree; within a step the angle does too."""
        pcc, net = self._case.pcc, self.epoch.net
        assert pcc is not None
        bus = net.network.row_of_bus(pcc.bus)
        v = abs(complex(self.bus_voltages(solution, np.array([bus]))[0]))
        slips = np.append(self.settled.slip_rad_per_s, 0.0)
        df_hz = float(slips[net.island[bus]]) / (2 * np.pi) + self._case.network.f_nom_hz - pcc.f_hz
        if v and not (abs(df_hz) < pcc.sync.df_hz and abs(v - pcc.v_pu) < pcc.sync.dv_pu):
            return False
        self.state, _ = grid_events.pcc_close(self.state, self._names, Event(self._t_s, "pcc_close", PCC))
        self._armed = False
        self.count += 1
        self._log(self._t_s, "pcc_close", PCC, "closed in synchronism")
        self._begin_epoch()
        return True

    def _tell_supply(self) -> None:
        """Log buses that lost their supply or have it again."""
        net = self.epoch.net
        before, self._told_dead = self._told_dead, net.dead_bus
        for rows, kind, outcome in (
            (net.dead_bus & ~before, "de_energised", "no source left in this island"),
            (before & ~net.dead_bus, "energised", "supplied again"),
        ):
            named = [n for n, r in zip(net.network.bus_names, net.network.bus_row, strict=True) if rows[r]]
            if named:
                self._tell(self._t_s, kind, ", ".join(named), outcome)

    def connected(self, rows: slice, source: str) -> Mask:
        """Which units are connected and not dark."""
        of_kind = self.topology.sources.connected if source == "emf" else self.topology.injecting
        return of_kind[rows]

    def slip_at(self, buses: Any) -> Real:
        """Slip [rad/s] at buses (n,); 0 where there is no voltage."""
        slip: Real = np.append(self.settled.slip_rad_per_s, 0.0)[self.epoch.net.island[buses]]
        return slip
