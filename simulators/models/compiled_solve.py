"""The dense chord iteration of a small network as a compiled loop: the steps of `solve`, without numpy's calls.

Needs numba. What is compiled is kept in a cache, so that only the first run on a machine waits for it.
"""

from typing import Any

import numpy as np
from numba import njit

from gridloop.simulators.models.fast import drawn_at


@njit(cache=True)
def product(matrix: Any, vector: Any, total: Any) -> None:
    """matrix @ vector, into `total`."""
    for row in range(len(matrix)):
        total[row] = 0
        for column in range(len(vector)):
            total[row] += matrix[row, column] * vector[column]


@njit(cache=True)
def lowest(v: Any, knee: Any) -> float:
    """How far the lowest node stands above its highest knee [pu]."""
    least = np.inf
    for n in range(knee.shape[1]):
        least = min(least, abs(v[n]) - max(knee[0, n], knee[1, n]))
    return least


@njit(cache=True)
def chord(network: Any, need: Any, emf: Any, last: Any, known: Any, found: Any) -> tuple[int, float]:
    """Iterate from the last voltages; see `solve._chord_solve`.

    `found` takes EMFs and currents drawn, voltages of the nodes that draw, and voltages and currents at the sources'
    terminals.

    Returns:
        Iterations (0: it does not converge), and how far the lowest node stands above its knee.
    """
    x, v, terminal = found
    emf_to_load, load_to_load, to_terminal, limits = network
    z, i, p, knee, fixed, plain = need
    v_last, inverse, margin_last = last
    most, enough = known
    nodes, sources = len(v_last), len(emf)
    none = np.empty(0, np.complex128)
    v[:], x[:sources] = v_last, emf
    current, bias, drop = x[sources:], np.empty(nodes, np.complex128), np.empty(nodes, np.complex128)
    change, missing = np.empty(2 * nodes), drop.view(np.float64)
    law, all_need = (False, plain), (z, i, p, knee, none, none)
    product(emf_to_load, emf, bias)
    before, moved = 0.0, 0.0
    for iteration in range(1, most + 1):
        drawn_at(v, emf, law, all_need, limits, current)
        product(load_to_load, current, drop)
        for n in range(nodes):
            drop[n] = v[n] - bias[n] - drop[n]
        product(inverse, missing, change)
        size = 0.0
        for n in range(nodes):
            v[n] -= complex(change[2 * n], change[2 * n + 1])
            size += change[2 * n] ** 2 + change[2 * n + 1] ** 2
        size = np.sqrt(size)
        moved += size
        rate = size / before if before != 0 else 1.0
        if size < enough or (rate < 0.1 and size * rate < enough):
            margin = margin_last - moved if fixed else -1.0
            if not margin > 0:
                margin = lowest(v, knee)
            if fixed and (margin < 0) != (margin_last < 0):
                break
            drawn_at(v, emf, law, all_need, limits, current)
            product(to_terminal, x, terminal)
            return iteration, margin
        if not rate <= 1.0 or size > 0.3:
            break
        before = size
    return 0, 0.0
