"""Series of a recorded stretch of the network: what every unit, bus, branch and load did."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.models.network import Complex, Index, Mask, Real
from gridloop.simulators.models.nodal import Reduction, Sources, loading_percent, observe, reduce
from gridloop.simulators.models.solve import Solution

SIGNALS = ("buses", "branches", "loads")
CLEAR_PU = 1e-6  # of voltage above the knees; the current is then farther below the limit than its tolerance


class Topology(NamedTuple):
    """All that an epoch of a case depends on: where the units stand, and what is switched."""

    closed: Mask  # (m,) branches
    sources: Sources
    injected_bus: Index  # (u,) of the units that inject power
    i_max_injected: Real  # (u,) their current limits [pu], inf = none
    injecting: Mask  # (u,) whether they are connected
    fault_pu: Complex  # (n,) admittance to ground


@dataclass(frozen=True)
class Epoch:
    """What stays the same between two events: the topology, and the units' current limits.

    The network's nodes are the loads, `n_load` of them, and the units that inject power; `i_max_injected` [pu] has
    one value for each of the latter.
    """

    net: Reduction
    n_load: int
    i_max_injected: Real

    @cached_property
    def supplied_loads(self) -> Index:
        """Rows of the loads that have voltage."""
        supplied = self.net.supplied
        return supplied[supplied < self.n_load]

    @cached_property
    def has_dead_loads(self) -> bool:
        """Whether a load has no voltage."""
        return len(self.supplied_loads) < self.n_load

    @cached_property
    def i_max(self) -> Real:
        """Current limit (s + u) of every unit [pu], inf = none."""
        of_sources = np.broadcast_to(self.net.sources.i_max_pu, len(self.net.sources.bus))
        return np.concatenate((of_sources, self.i_max_injected))

    @cached_property
    def can_limit(self) -> bool:
        """Whether any unit has a current limit."""
        return bool(np.isfinite(self.i_max).any())

    @cached_property
    def n_unit(self) -> int:
        """Number of sources and injections."""
        return len(self.net.sources.bus) + len(self.net.load_bus) - self.n_load

    @cached_property
    def injected_limits(self) -> tuple[Index, Real]:
        """Rows (of all units) of the injections that have voltage, and the currents from which on they are limited."""
        supplied = self.net.supplied[len(self.supplied_loads) :] - self.n_load
        return len(self.net.sources.bus) + supplied, self.i_max_injected[supplied] * (1 - 1e-9)

    @cached_property
    def injected_nodes(self) -> slice:
        """Where a solution's v_load holds the voltages of these injections."""
        return slice(len(self.supplied_loads), len(self.net.supplied))

    @cached_property
    def injected_islands(self) -> Index:
        """The islands of these injections."""
        return self.net.island_of_draw[self.injected_nodes]

    @cached_property
    def injected_currents(self) -> slice:
        """Where a solution's x holds what these injections draw."""
        n_source = len(self.net.sources.bus)
        return slice(n_source + len(self.supplied_loads), n_source + len(self.net.supplied))


def epoch_of(case: Case, topology: Topology) -> Epoch:
    """The epoch of a topology.

    Raises:
        ValueError: two ideal sources at one bus.
    """
    network, load_bus = case.network, case.loads.bus
    if topology.fault_pu.any():
        network = replace(network, shunt_pu=network.shunt_pu + topology.fault_pu)
    net = reduce(
        network, topology.closed, topology.sources, np.concatenate((load_bus, topology.injected_bus)),
        np.concatenate((np.ones(len(load_bus), bool), topology.injecting)),
    )  # fmt: skip
    return Epoch(net, len(load_bus), topology.i_max_injected)


class Row(NamedTuple):
    """One recorded instant: `x` of the solution and the power of the sources, in one epoch."""

    epoch: Epoch
    x: Complex
    turn: Any
    s_source: Complex
    iterations: int
    unserved_pu: float = 0.0


def touches_limit(epoch: Epoch, solution: Solution) -> bool:
    """Whether any source or injection may stand at its current limit; False: none does.

    The limit of an injection begins at one of its knees, so that above all knees nobody's is reached.
    """
    if len(epoch.net.limited):
        return True
    if solution.margin_pu > CLEAR_PU:
        return False
    least = epoch.injected_limits[1]
    return bool(np.count_nonzero(np.abs(solution.x[epoch.injected_currents]) >= least))


def current_limited(epoch: Epoch, x: Complex) -> Any:
    """Whether each source and each injection (..., s + u) stands at its current limit."""
    net, n_source = epoch.net, len(epoch.net.sources.bus)
    limited = np.zeros((*x.shape[:-1], epoch.n_unit), bool)
    if len(net.limited):
        current = np.abs((x @ net.to_terminal.T)[..., n_source:][..., net.limited])
        i_max = np.broadcast_to(net.sources.i_max_pu, n_source)[net.limited]
        limited[..., net.limited] = current >= i_max * (1 - 1e-9)
    rows, least = epoch.injected_limits
    limited[..., rows] = np.abs(x[..., epoch.injected_currents]) >= least
    return limited


def grid_columns(
    case: Case, units: tuple[str, ...], rows: list[Row], signals: Collection[str] = SIGNALS
) -> dict[str, Real]:
    """Series `entity.attribute` -> values (rows,), computed epoch by epoch; `units` and `grid` are always there.

    `grid` holds the totals: generation, load served, losses, load without supply, the largest nodal power that
    the solution leaves unbalanced [MW] and the solver's iterations.
    """
    parts = [
        _epoch_columns(case, units, list(stretch), signals)
        for _, stretch in groupby(rows, key=lambda row: id(row.epoch))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _epoch_columns(case: Case, units: tuple[str, ...], rows: list[Row], signals: Collection[str]) -> dict[str, Real]:
    epoch, net, s_base = rows[0].epoch, case.network, case.network.s_base_mva
    seen = observe(epoch.net, np.stack([row.x for row in rows]))
    turn = np.stack([np.atleast_1d(row.turn) for row in rows])
    s_load, n_load = seen.s_load[:, : epoch.n_load] * s_base, epoch.n_load
    s_unit = np.concatenate((np.stack([row.s_source for row in rows]), -seen.s_load[:, n_load:]), axis=1) * s_base
    columns: dict[str, Real] = {
        "grid.P_gen[MW]": s_unit.real.sum(1),
        "grid.P_load[MW]": s_load.real.sum(1),
        "grid.P_loss[MW]": seen.loss_pu * s_base,
        "grid.P_unserved[MW]": np.array([row.unserved_pu for row in rows]) * s_base,
        "grid.mismatch[MW]": seen.mismatch_pu * s_base,
        "grid.iterations[1]": np.array([row.iterations for row in rows], float),
    }

    def add(names: Collection[str], **series: Real) -> None:
        for place, name in enumerate(names):
            for attribute, values in series.items():
                columns[f"{name}.{attribute}"] = values[:, place]

    injecting = np.isin(np.arange(n_load, len(epoch.net.load_bus)), epoch.net.supplied)
    connected = np.broadcast_to(np.concatenate((epoch.net.sources.connected, injecting)).astype(float), s_unit.shape)
    add(units, **{"P_gen[MW]": s_unit.real, "Q_gen[MVar]": s_unit.imag, "connected[1]": connected})
    if epoch.can_limit:
        limited = current_limited(epoch, np.stack([row.x for row in rows])).astype(float)
        for place in np.flatnonzero(np.isfinite(epoch.i_max)):
            columns[f"{units[place]}.current_limited[1]"] = limited[:, place]
    if "buses" in signals:
        v = seen.v_bus[:, net.bus_row]
        of_bus = np.maximum(epoch.net.island[net.bus_row], 0) if turn.shape[1] > 1 else [0] * len(net.bus_row)
        add(net.bus_names, **{"Vm[pu]": np.abs(v), "Va[deg]": np.degrees(np.angle(v * turn[:, of_bus]))})
    if "branches" in signals:
        add(net.branch_names, **{"P_from[MW]": seen.s_from.real * s_base, "Q_from[MVar]": seen.s_from.imag * s_base})
        loading = loading_percent(net, seen)
        for place in np.flatnonzero(~np.isnan(net.rating_pu)):
            columns[f"{net.branch_names[place]}.loading[%]"] = loading[:, place]
    if "loads" in signals:
        add(case.load_names, **{"P_load[MW]": s_load.real, "Q_load[MVar]": s_load.imag})
    return columns
