"""The chord iteration on sparse factors as compiled loops: the same steps as in `sparse_solve`, without numpy's calls.

Needs numba: beside plain Python numpy is faster.
"""

from typing import Any

from gridloop.simulators.models.jit import loop


@loop
def drawn_at(v: Any, emf: Any, law: Any, need: Any, limits: Any, current: Any) -> None:
    """What every node draws at its voltage (k,) beside what the Jacobian stands for, into `current`."""
    linear, constant_power = law
    z, i, p, knee, a, b = need
    rows, impedance, i_max = limits
    for n in range(len(p)):
        if linear:
            current[n] = 0
        elif constant_power:
            current[n] = (p[n] / v[n]).conjugate()
        else:
            size = abs(v[n])
            relief = min(1.0, size / knee[0, n]) * min(1.0, size / knee[1, n])
            current[n] = ((z[n] * size**2 + i[n] * size + p[n] * relief) / v[n]).conjugate()
    for n in range(len(rows)):
        wanted = (emf[rows[n]] - v[len(p) + n]) / impedance[n]
        over = max(abs(wanted) / i_max[n], 1.0)
        current[len(p) + n] = wanted * (1 - 1 / over)
    if not linear:
        for n in range(len(a)):
            current[n] += a[n] * v[n]
        for n in range(len(b)):
            current[n] += b[n] * v[n].conjugate()


@loop
def voltages(factors: Any, pushed: Any, work: Any, v: Any) -> None:
    """Solve with the factors L U of the Jacobian with its rows and columns in other places, into `v`."""
    l_start, l_row, l_value, u_start, u_row, u_value, inverse_diagonal, row_place, column_place = factors
    for n in range(len(pushed)):
        work[row_place[n]] = pushed[n]
    for n in range(len(pushed)):
        value = work[n]
        for at in range(l_start[n], l_start[n + 1]):
            work[l_row[at]] -= l_value[at] * value
    for n in range(len(pushed) - 1, -1, -1):
        value = work[n] * inverse_diagonal[n]
        work[n] = value
        for at in range(u_start[n], u_start[n + 1]):
            work[u_row[at]] -= u_value[at] * value
    for n in range(len(pushed)):
        v[n] = work[column_place[n]]


@loop
def chord(w: Any, network: Any, factors: Any, law: Any, need: Any, buffers: Any, known: Any) -> tuple[int, float]:
    """Iterate on `w`, [free voltages, EMFs, room for the currents drawn]; see `sparse_solve`.

    Returns:
        Iterations, 0 where they do not converge, and the largest rate known of the chord.
    """
    (start, column, value), draw_place, limits = network
    pushed, pushed_flat, work, v, v_flat, at_draw = buffers
    most, enough, rounding, least, largest = known
    n_free, n_known = len(v), len(w) - len(at_draw)
    x, emf, current = w[n_free:], w[n_free:n_known], w[n_known:]
    before = 0.0
    for iteration in range(1, most + 1):
        for n in range(len(at_draw)):
            at_draw[n] = w[draw_place[n]]
        drawn_at(at_draw, emf, law, need, limits, current)
        for n in range(n_free):
            total = 0j
            for at in range(start[n], start[n + 1]):
                total += value[at] * x[column[at]]
            pushed[n] = total
        voltages(factors, pushed_flat, work, v_flat)
        size = 0.0
        for n in range(n_free):
            change = v[n] - w[n]
            w[n] = v[n]
            size = max(size, abs(change.real), abs(change.imag))
            if size != size:
                return 0, largest
        rate = size / before if before > 0 else 2 * largest
        if before > rounding:
            largest = max(least, rate if largest == 1.0 else max(largest, rate))
        if law[0] or size < enough or (rate < 0.2 and size * rate < enough):
            return iteration, largest
        if before > 0 and rate >= 1 and size < rounding:
            return iteration, largest
        if not (before == 0 or rate <= 1.0) or not size < 0.3:
            return 0, largest
        before = size
    return 0, largest
