"""Communication graphs: who talks to whom, their Laplacian and its eigenvalues."""

from collections.abc import Sequence

import numpy as np

from gridloop.simulators.models.network import Real

GRAPHS = ("line", "ring", "star", "full")
Edge = tuple[str, str]


def edges(graph: str | Sequence[Sequence[str]], names: Sequence[str]) -> tuple[Edge, ...]:
    """The undirected edges of a named graph over `names`, or of an edge list.

    Args:
        graph: 'line' and 'ring' in the order of `names`, 'star' around the first, 'full', or pairs of names.
        names: the agents.

    Raises:
        ValueError: an unknown graph, a name that is not there, an edge from a name to itself or given twice.
    """
    if not isinstance(graph, str):
        return _listed(graph, names)
    count = len(names)
    if graph == "line":
        pairs = [(k, k + 1) for k in range(count - 1)]
    elif graph == "ring":
        pairs = [(k, k + 1) for k in range(count - 1)] + [(count - 1, 0)] * (count > 2)
    elif graph == "star":
        pairs = [(0, k) for k in range(1, count)]
    elif graph == "full":
        pairs = [(k, other) for k in range(count) for other in range(k + 1, count)]
    else:
        raise ValueError(f"graph = {graph!r}: there are {', '.join(GRAPHS)} and lists of pairs")
    return tuple((names[one], names[other]) for one, other in pairs)


def _listed(given: Sequence[Sequence[str]], names: Sequence[str]) -> tuple[Edge, ...]:
    found: dict[frozenset[str], Edge] = {}
    for pair in given:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(f"graph: {list(pair)} must be two different names")
        strange = [name for name in pair if name not in names]
        if strange:
            raise ValueError(f"graph: there is no {', '.join(strange)}; there are {', '.join(names)}")
        if frozenset(pair) in found:
            raise ValueError(f"graph: {list(pair)} is there twice")
        found[frozenset(pair)] = (pair[0], pair[1])
    return tuple(found.values())


def links(undirected: Sequence[Edge]) -> tuple[Edge, ...]:
    """Both directions (sender, receiver) of every edge."""
    return tuple(link for one, other in undirected for link in ((one, other), (other, one)))


def adjacency(undirected: Sequence[Edge], names: Sequence[str]) -> Real:
    """a_ij = 1 where i and j are neighbours, (n, n)."""
    weights = np.zeros((len(names), len(names)))
    for one, other in undirected:
        row, column = names.index(one), names.index(other)
        weights[row, column] = weights[column, row] = 1.0
    return weights


def laplacian(weights: Real) -> Real:
    """L = D - A of a symmetric adjacency matrix."""
    matrix: Real = np.diag(weights.sum(axis=1)) - weights
    return matrix


def laplacian_eigenvalues(weights: Real) -> Real:
    """Eigenvalues of the Laplacian in increasing order; the second is 0 where the graph falls apart."""
    values: Real = np.linalg.eigvalsh(laplacian(weights))
    return values
