"""Who feeds whom: power tracing by proportional sharing, exact to rounding with losses and charging.

At every node all outflows carry the mix of its inflows. Each branch is a node of its own, because of a reactive flow
less arrives than was sent (I^2 X), or more (charging): what it takes is a sink, what it adds is a source.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import splu

from gridloop.simulators.market.limits import States
from gridloop.simulators.market.problem import Problem
from gridloop.simulators.models.network import Index, Real

EXACT = 1e-9  # of a node's throughput, at least of 1 unit: balance that flows must have


class Terminals(NamedTuple):
    """Power that enters or leaves at nodes: a name, a row and an amount >= 0 each."""

    names: tuple[str, ...]
    node: Index
    amount: Real


@dataclass(frozen=True)
class Trace:
    """How much of each source reaches each sink; rows sum to the sinks, columns to the sources."""

    sources: Terminals
    sinks: Terminals
    share: Real  # (sinks, sources), unit of the flows

    def to(self, names: tuple[str, ...]) -> Real:
        """Rows (len(names), sources) of sinks by name; 0 for a name that is none."""
        rows = {name: row for row, name in enumerate(self.sinks.names)}
        none = np.zeros(self.share.shape[1])
        return np.array([self.share[rows[name]] if name in rows else none for name in names]).reshape(len(names), -1)


class Flows(NamedTuple):
    """Power into each branch (m,) at its from and to end, > 0 leaves the bus."""

    from_bus: Index
    to_bus: Index
    from_end: Real
    to_end: Real
    names: tuple[str, ...]


def trace(n_bus: int, flows: Flows, sources: Terminals, sinks: Terminals) -> Trace:
    """Trace one kind of power through a network.

    Args:
        n_bus: number of buses.
        flows: of every branch; open ones carry 0.
        sources: what enters at buses.
        sinks: what leaves at buses.

    Returns:
        Shares of the given sources and of branches that add power, at the given sinks and branches that take power.

    Raises:
        ValueError: the flows do not balance at a node.

    Source: Bialek, IEE Proc. Gener. Transm. Distrib. 143 (1996) 313, upstream algorithm.
    """
    edges, size = _edges(n_bus, flows)
    net = flows.from_end + flows.to_end
    sources, sinks = _with(sources, flows, n_bus, -net), _with(sinks, flows, n_bus, net)
    f = csr_array((edges[2], (edges[0], edges[1])), shape=(size, size))
    own, taken = (np.bincount(given.node, given.amount, size) for given in (sources, sinks))
    through = own + f.sum(axis=0)
    apart = np.abs(through - taken - f.sum(axis=1)) / np.maximum(1.0, through)
    if size and apart.max() > EXACT:
        raise ValueError(f"flows do not balance at node {int(apart.argmax())}: {apart.max():.1e} of its throughput")
    part = np.divide(1.0, through, out=np.zeros(size), where=through > 0)
    upstream = splu((eye_array(size) - (f.multiply(part[:, None])).T).tocsc())
    entering = np.zeros((size, len(sources.node)))
    entering[sources.node, np.arange(len(sources.node))] = sources.amount
    mix = upstream.solve(entering)
    share = (sinks.amount * part[sinks.node])[:, None] * mix[sinks.node]
    return Trace(sources, sinks, share)


def _edges(n_bus: int, flows: Flows) -> tuple[tuple[Index, Index, Real], int]:
    """Directed edges (tail, head, power) between buses and branches, and the number of nodes."""
    branch = n_bus + np.arange(len(flows.from_bus))
    bus, line = np.concatenate((flows.from_bus, flows.to_bus)), np.concatenate((branch, branch))
    power = np.concatenate((flows.from_end, flows.to_end))
    out = power >= 0
    return (np.where(out, bus, line), np.where(out, line, bus), np.abs(power)), n_bus + len(branch)


def _with(own: Terminals, flows: Flows, n_bus: int, amount: Real) -> Terminals:
    """Terminals with the branches whose amount is > 0 appended."""
    rows = np.flatnonzero(amount > 0)
    return Terminals(
        own.names + tuple(f"line {flows.names[row]}" for row in rows),
        np.concatenate((own.node, n_bus + rows)).astype(np.intp), np.concatenate((own.amount, amount[rows])),
    )  # fmt: skip


def trace_reactive(problem: Problem, x: Real, state: States) -> Trace:
    """Trace the reactive power [Mvar] of one solved setting `x` (k,), `state` (1, ...).

    Loads, sources and compensators keep their names; other injections are `fixed` and `shunt` with their bus.
    """
    network, base = problem.network, problem.network.s_base_mva
    rows = np.arange(network.n_bus)
    of_row = {int(row): name for name, row in zip(reversed(network.bus_names), network.bus_row[::-1], strict=True)}
    text = [of_row.get(int(row), f"aux{row}") for row in rows]
    shunt = base * np.abs(state.v_pu[0]) ** 2 * network.shunt_pu.imag
    groups = (
        (problem.sources.names, problem.sources.bus, state.q_source_mvar[0]),
        (problem.svcs.names, problem.svcs.bus, problem.parts(x)[2]),
        (problem.demands.names, problem.demands.bus, -problem.demands.s_mva.imag),
        (tuple(f"fixed{name}" for name in text), rows, np.where(problem.supplied, problem.fixed_mva.imag, 0)),
        (tuple(f"shunt{name}" for name in text), rows, shunt),
    )
    names = np.array([name for group in groups for name in group[0]], object)
    bus, given = (np.concatenate([group[part] for group in groups]) for part in (1, 2))
    given = np.where(problem.supplied[bus], given, 0)
    enters, leaves = given > 0, given < 0
    flows = Flows(
        network.from_bus, network.to_bus, base * state.s_from_pu[0].imag, base * state.s_to_pu[0].imag,
        network.branch_names,
    )  # fmt: skip
    return trace(
        network.n_bus, flows, Terminals(tuple(names[enters]), bus[enters], given[enters]),
        Terminals(tuple(names[leaves]), bus[leaves], -given[leaves]),
    )  # fmt: skip
