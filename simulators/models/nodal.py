"""The network of one topology as its sources and loads see it, and what follows from a solved instant.

Sources are EMFs, ideal (the bus voltage itself) or behind an impedance (Norton), the latter with a current limit
if they have one. `reduce` finds the islands and who is supplied; its linear maps give everything from
x = [EMFs (s,), currents drawn (k,)].
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import splu

from gridloop.simulators.models.network import (
    Complex,
    Index,
    Mask,
    Network,
    Real,
    admittance_matrix,
    branch_flows,
    islands,
)


class Sources(NamedTuple):
    """EMFs of s sources; each field (s,)."""

    bus: Index
    z_pu: Complex  # system base; 0 = ideal, the EMF is the bus voltage
    connected: Mask
    i_max_pu: Any = np.inf  # current limit of those behind an impedance; a number holds for all


@dataclass(frozen=True)
class Reduction:
    """One topology: who is supplied, and the linear maps of its network.

    Nodes that draw current are the supplied loads and injections in the order of `supplied`, and behind them the
    sources with a current limit: what those draw is what the limit takes off their current.
    """

    network: Network
    closed: Mask
    sources: Sources
    load_bus: Index  # of every load and injection, supplied or not
    supplied: Index  # rows of those that have voltage and are connected
    limited: Index  # sources with a current limit
    island: Index  # (n,) number of the island that a bus belongs to, -1 without a connected source

    @property
    def dead_bus(self) -> Mask:
        """(n,) without a connected source in their island."""
        return self.island < 0

    @cached_property
    def n_island(self) -> int:
        """Number of islands that have a source."""
        return int(self.island.max(initial=-1)) + 1

    @property
    def no_turn(self) -> Any:
        """The turn of a frame that is the nominal one: one number, or one an island where there are several."""
        return 1.0 + 0.0j if self.n_island < 2 else np.ones(self.n_island, complex)

    def turn_at(self, turn: Any, island: Any) -> Any:
        """What of a frame's turn applies in `island`, a number or an array of them."""
        return turn if self.n_island < 2 else turn[island]

    @cached_property
    def draw_bus(self) -> Index:
        """(k,) bus of every node that draws current."""
        return np.concatenate((self.load_bus[self.supplied], self.sources.bus[self.limited]))

    @cached_property
    def island_of_source(self) -> Index:
        """(s,); sources without an island count to the first."""
        return np.maximum(self.island[self.sources.bus], 0)

    @cached_property
    def island_of_draw(self) -> Index:
        """(k,)."""
        return self.island[self.draw_bus]

    @cached_property
    def y(self) -> Any:
        """Nodal admittance matrix (n, n), scipy CSC, without the sources' impedances."""
        return admittance_matrix(self.network, self.closed)

    @cached_property
    def held(self) -> Index:
        """Ideal sources that are connected: they hold the voltage of their bus."""
        return np.flatnonzero(self.sources.connected & (self.sources.z_pu == 0))

    @cached_property
    def norton(self) -> Index:
        """Connected sources behind an impedance."""
        return np.flatnonzero(self.sources.connected & (self.sources.z_pu != 0))

    @cached_property
    def free_bus(self) -> Index:
        """Buses whose voltage the network decides."""
        return np.setdiff1d(np.flatnonzero(~self.dead_bus), self.sources.bus[self.held])

    @cached_property
    def free_matrix(self) -> Any:
        """Admittances among the free buses, the sources' own included, CSC."""
        own = np.zeros(self.network.n_bus, complex)
        np.add.at(own, self.sources.bus[self.norton], 1.0 / self.sources.z_pu[self.norton])
        return (self.y + diags_array(own)).tocsc()[self.free_bus][:, self.free_bus].tocsc()

    @cached_property
    def to_bus(self) -> Complex:
        """Every bus voltage from x, (n, s + k)."""
        sources, n_source, n_draw = self.sources, len(self.sources.bus), len(self.draw_bus)
        to_bus = np.zeros((self.network.n_bus, n_source + n_draw), complex)
        to_bus[sources.bus[self.held], self.held] = 1.0
        if len(self.free_bus):
            lu = splu(self.free_matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
            held_bus = sources.bus[self.held]
            right = self._injected[self.free_bus] - self.y[self.free_bus][:, held_bus] @ to_bus[held_bus]
            to_bus[self.free_bus] = lu.solve(right)
        return to_bus

    @cached_property
    def _injected(self) -> Complex:
        """Current put into every bus by the sources behind impedances, at V = 0, and by what is drawn, from x."""
        n_source, n_draw = len(self.sources.bus), len(self.draw_bus)
        injected = np.zeros((self.network.n_bus, n_source + n_draw), complex)
        np.add.at(injected, (self.sources.bus[self.norton], self.norton), 1.0 / self.sources.z_pu[self.norton])
        injected[self.draw_bus, n_source + np.arange(n_draw)] = -1.0
        return injected

    @cached_property
    def to_terminal(self) -> Complex:
        """Voltage at each source's bus and the current out of each source from x, (2 s, s + k)."""
        sources, to_bus, norton = self.sources, self.to_bus, self.norton
        n_source, n_load = len(sources.bus), len(self.supplied)
        y_norton = 1.0 / sources.z_pu[norton]
        current = np.zeros((n_source, to_bus.shape[1]), complex)
        current[norton, norton] = y_norton
        current[norton] -= y_norton[:, None] * to_bus[sources.bus[norton]]
        node_current = self.y @ to_bus - self._injected
        for source, y in zip(norton, y_norton, strict=True):  # what its impedance draws is not the ideal source's
            node_current[sources.bus[source]] += to_bus[sources.bus[source]] * y
        current[self.held] = node_current[sources.bus[self.held]]
        current[self.limited, n_source + n_load + np.arange(len(self.limited))] -= 1.0
        at_source = np.where(sources.connected[:, None], to_bus[sources.bus], 0)
        return np.concatenate((at_source, current))

    @cached_property
    def dense_parts(self) -> tuple[Any, ...]:
        """What the compiled dense iteration needs of the network: voltages from x of nodes that draw, of terminals."""
        sources, limited = self.sources, self.limited
        i_max = np.broadcast_to(np.asarray(sources.i_max_pu, float), sources.bus.shape)[limited]
        limits = (limited.astype(np.intp), sources.z_pu[limited], i_max)
        return np.ascontiguousarray(self.to_bus[self.draw_bus]), np.ascontiguousarray(self.to_terminal), limits

    @cached_property
    def emf_to_load(self) -> Complex:
        """Voltage at the nodes that draw current from the EMFs, (k, s)."""
        return np.ascontiguousarray(self.to_bus[self.draw_bus, : len(self.sources.bus)])

    @cached_property
    def load_to_load(self) -> Complex:
        """Voltage at the nodes that draw current from what they draw, (k, k)."""
        return np.ascontiguousarray(self.to_bus[self.draw_bus, len(self.sources.bus) :])


def reduce(
    network: Network, closed: Mask, sources: Sources, load_bus: Index, connected: Mask | None = None
) -> Reduction:
    """The topology of the closed branches; buses without a source in their island are dead (V = 0).

    Args:
        network: the network.
        closed: which branches are closed (m,).
        sources: the EMFs.
        load_bus: rows of the buses of loads and injections.
        connected: which of these are connected; all if absent.

    Raises:
        ValueError: two ideal sources at one bus.
    """
    held = sources.bus[sources.connected & (sources.z_pu == 0)]
    if len(set(held.tolist())) < len(held):
        raise ValueError("two ideal sources at one bus; give at least one of them an impedance (z_pu)")
    label = islands(network, closed)
    live = np.unique(label[sources.bus[sources.connected]])
    island = np.where(np.isin(label, live), np.searchsorted(live, label), -1)
    has_voltage = island[load_bus] >= 0
    supplied = np.flatnonzero(has_voltage if connected is None else has_voltage & connected)
    can_limit = sources.connected & (sources.z_pu != 0) & np.isfinite(sources.i_max_pu)
    return Reduction(network, closed, sources, load_bus, supplied, np.flatnonzero(can_limit), island)


class Observation(NamedTuple):
    """Everything that follows from solutions of one reduction; leading dimensions as in `x`."""

    v_bus: Complex  # (..., n)
    s_from: Complex  # (..., m) into each branch at its from end
    s_to: Complex
    loss_pu: Any  # (...) active power lost in branches and shunts
    s_load: Complex  # (..., k) of every load and injection, 0 where it has no voltage
    i_source: Complex  # (..., s) current out of every source
    mismatch_pu: Any  # (...) largest nodal power that the solution leaves unbalanced


def observe(net: Reduction, x: Complex) -> Observation:
    """Bus voltages, flows, losses and loads of recorded `x` (..., s + k); vectorised over many instants."""
    n_source, load_bus = len(net.sources.bus), net.load_bus
    v = x @ net.to_bus.T
    s_from, s_to = branch_flows(net.network, net.closed, v)
    s_shunt = np.abs(v) ** 2 * net.network.shunt_pu.conj()
    s_load = np.zeros((*x.shape[:-1], len(load_bus)), complex)
    drawn = x[..., n_source : n_source + len(net.supplied)]
    s_load[..., net.supplied] = v[..., load_bus[net.supplied]] * drawn.conj()
    terminal = x @ net.to_terminal.T
    i_source = terminal[..., n_source:]
    s_source = terminal[..., :n_source] * i_source.conj()

    balance = -s_shunt
    for at, s in ((net.sources.bus, s_source), (load_bus, -s_load),
                  (net.network.from_bus, -s_from), (net.network.to_bus, -s_to)):  # fmt: skip
        np.add.at(balance, (..., at), s)  # type: ignore[arg-type]  # numpy's stub knows no ellipsis here
    loss = (s_from + s_to).real.sum(-1) + s_shunt.real.sum(-1)
    return Observation(v, s_from, s_to, loss, s_load, i_source, np.abs(balance).max(-1))


def loading_percent(net: Network, seen: Observation) -> Real:
    """Larger of both end currents relative to the rating, percent (..., m); nan where no rating is given."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [np.abs(s / seen.v_bus[..., bus]) for s, bus in ((seen.s_from, net.from_bus), (seen.s_to, net.to_bus))]
    loading: Real = 100 * np.fmax(np.nan_to_num(ends[0]), np.nan_to_num(ends[1])) / net.rating_pu
    return loading
