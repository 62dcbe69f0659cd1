"""The dense chord iteration of a small network as a compiled loop: the steps of `solve`, without numpy's calls.

Needs numba: beside plain Python numpy is faster.
"""

from typing import Any

import numpy as np

from gridloop.simulators.models.fast import drawn_at
from gridloop.simulators.models.jit import loop


@loop
def product(matrix: Any, vector: Any, total: Any) -> None:
    """matrix @ vector, into `total`."""
    for row in range(len(matrix)):
        total[row] = 0
        for column in range(len(vector)):
            total[row] += matrix[row, column] * vector[column]


@loop
def lowest(v: Any, knee: Any) -> float:
    """How far the lowest node stands above its highest knee [pu]."""
    least = np.inf
    for n in range(knee.shape[1]):
        least = min(least, abs(v[n]) - max(knee[0, n], knee[1, n]))
    return least


@loop
def with_units(p: Any, knee: Any, fixed: bool, s_injected: Any, i_max: Any) -> tuple[Any, Any]:
    """`loads.Injected.whole`: power and knees of the nodes with the units that inject in the last of them."""
    p, knee = p.copy(), knee.copy()
    first = len(p) - len(s_injected)
    for n in range(len(s_injected)):
        p[first + n] = -s_injected[n]
        if not fixed:
            knee[0, first + n] = max(knee[0, first + n], abs(s_injected[n]) / i_max[n])
    return p, knee


@loop
def turned(reference: Any, emf: Any) -> complex:
    """Sum over the sources of conj(reference) times EMF: its angle is the frame's turn, its size that of the EMFs."""
    total = 0j
    for n in range(len(emf)):
        total += reference[n].conjugate() * emf[n]
    return total


@loop
def chord(
    network: Any, need: Any, emf: Any, frame: Any, last: Any, known: Any, found: Any
) -> tuple[int, float, complex]:
    """Iterate from the last voltages; see `solve.solve` and `solve._chord_solve`.

    `frame` has the EMFs of the reference, if there is one island, else the turn of every source. `found` takes EMFs
    and currents drawn, voltages of the nodes that draw, which hold the last ones, and of the sources (3, s) the
    terminal voltage in the frame and in the nominal one, and the power.

    Returns:
        Iterations (0: it does not converge), how far the lowest node stands above its knee, and the frame's turn.
    """
    x, v, source = found
    reference, is_one, most_emf = frame
    to_node, to_terminal, limits = network
    turn = 1.0 + 0j
    if is_one:
        turn = turned(reference, emf)
        size = abs(turn)
        if not size < most_emf * len(emf):
            return 0, 0.0, turn
        turn /= size if size != 0 else 1.0
    z, i, p, knee, fixed, plain, s_injected, i_max = need
    p, knee = with_units(p, knee, fixed, s_injected, i_max)
    inverse, margin_last = last
    most, enough = known
    nodes, sources = len(v), len(emf)
    none = np.empty(0, np.complex128)
    for n in range(sources):
        x[n] = emf[n] * (turn if is_one else reference[n]).conjugate()
    emf = x[:sources]
    current, bias, drop = x[sources:], np.empty(nodes, np.complex128), np.empty(nodes, np.complex128)
    change, missing = np.empty(2 * nodes), drop.view(np.float64)
    law, all_need = (False, plain), (z, i, p, knee, none, none)
    product(to_node[:, :sources], emf, bias)
    before, moved = 0.0, 0.0
    for iteration in range(1, most + 1):
        drawn_at(v, emf, law, all_need, limits, current)
        product(to_node[:, sources:], current, drop)
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
            terminal = np.empty(2 * sources, np.complex128)
            product(to_terminal, x, terminal)
            for n in range(sources):
                source[0, n], source[1, n] = terminal[n], terminal[n] * (turn if is_one else reference[n])
                source[2, n] = terminal[n] * terminal[sources + n].conjugate()
            return iteration, margin, turn
        if not rate <= 1.0 or size > 0.3:
            break
        before = size
    return 0, 0.0, turn
