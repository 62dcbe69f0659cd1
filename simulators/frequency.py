"""The frequency that the loads and relays of each island see."""

from typing import Any

import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.models import bus_frequency
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.nodal import Reduction
from gridloop.simulators.models.solve import Solution
from gridloop.simulators.terminals import Board


class Frequencies:
    """Mean frequency of the synchronised sources of each island, weighted; on request measured at the buses.

    An island that is connected to the public grid has the grid's frequency.
    """

    def __init__(self, case: Case, frequency_dependent: bool) -> None:
        self._case = case
        self.frequency_dependent = frequency_dependent
        self.wanted = frequency_dependent or bool(case.shedding) or case.pcc is not None
        self._weight: Real
        self._f_hz: Real  # (s,) without the pcc, nan = never told
        self._net: Reduction
        self._deviation_hz: Real  # (islands,)
        self._measured: bus_frequency.State | None = None
        self._measured_s = 0.0

    def begin(self, weight: Real) -> None:
        """Know the sources' weights."""
        self._weight, self._f_hz = weight, np.full(len(weight), np.nan)

    def follow(self, net: Reduction) -> None:
        """Know a new topology."""
        self._net = net
        self._deviation_hz = self._of_islands()
        self._measured = None if self._measured is None else self._spread(self._measured)

    def take(self, board: Board, inputs: Any) -> None:
        """Take the sources' frequencies."""
        board.frequencies(inputs, self._f_hz)
        self._deviation_hz = self._of_islands()

    def _of_islands(self) -> Real:
        net, f_nom, pcc = self._net, self._case.network.f_nom_hz, self._case.pcc
        count = len(self._weight)
        known = net.sources.connected[:count] & ~np.isnan(self._f_hz)
        deviation = np.zeros(net.n_island)
        for island in range(net.n_island):
            mine = known & (net.island_of_source[:count] == island)
            if mine.any():
                weight = self._weight[mine]
                deviation[island] = float(weight @ (self._f_hz[mine] - f_nom) / weight.sum())
        if pcc is not None and net.sources.connected[-1]:
            deviation[net.island_of_source[-1]] = pcc.f_hz - f_nom
        return deviation

    def of_bus(self, row: int) -> float:
        """Frequency [Hz] at a bus; nominal where there is no voltage."""
        island = int(self._net.island[row])
        return self._case.network.f_nom_hz + (float(self._deviation_hz[island]) if island >= 0 else 0.0)

    def deviation_pu(self) -> Any:
        """(f - f0)/f0 at the supplied loads: a number, or (k,) where islands or buses differ."""
        f_nom, net = self._case.network.f_nom_hz, self._net
        if self._case.bus_filter_s is not None:
            loads = np.searchsorted(net.supplied, len(self._case.loads.bus))
            return self._ahead()[net.supplied[:loads]] / f_nom
        if net.n_island == 1:
            return float(self._deviation_hz[0]) / f_nom
        loads = np.searchsorted(net.supplied, len(self._case.loads.bus))
        return self._deviation_hz[net.island_of_draw[:loads]] / f_nom

    def at_loads_hz(self) -> Real:
        """Frequency (k,) at every load; nominal where there is no voltage."""
        deviation = self._ahead() if self._case.bus_filter_s is not None else self._mean_at_loads()
        f_hz: Real = self._case.network.f_nom_hz + deviation
        return f_hz

    def _mean_at_loads(self) -> Real:
        """Deviation (k,) of each load's island."""
        deviation = np.append(self._deviation_hz, 0.0)  # what has no island finds the last one
        at_loads: Real = deviation[self._net.island[self._case.loads.bus]]
        return at_loads

    def _ahead(self) -> Real:
        """Deviation (k,) of the loads' buses; before anything is measured that of their island."""
        return self._mean_at_loads() if self._measured is None else bus_frequency.ahead(self._measured)

    def _spread(self, state: bus_frequency.State) -> bus_frequency.State:
        """After an event nothing is known of the trend."""
        return state._replace(before_hz=state.df_hz)

    def measure(self, solution: Solution, t_s: float, jumped: bool) -> None:
        """Follow the voltages of the loads' buses, in the nominal frame."""
        net = self._net
        loads = int(np.searchsorted(net.supplied, len(self._case.loads.bus)))
        turn = net.turn_at(solution.turn, net.island_of_draw[:loads])
        v = np.zeros(len(self._case.loads.bus), complex)
        v[net.supplied[:loads]] = solution.v_load[:loads] * turn
        filter_s = self._case.bus_filter_s
        assert filter_s is not None
        if self._measured is None:
            self._measured = bus_frequency.initial(v, self._mean_at_loads(), filter_s)
        else:
            self._measured = bus_frequency.advance(self._measured, v, t_s - self._measured_s, filter_s, jumped)
        self._measured_s = t_s
