"""Newton's power flow of many settings at once, and how its solution moves with the controls."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from gridloop.simulators.market.problem import Problem
from gridloop.simulators.models.network import Complex, Index, Real
from gridloop.simulators.models.powerflow import PowerFlowError, Targets, power_flow

TOLERANCE_PU = 1e-11
ROUNDING = 2e-14  # of the largest admittance: what double precision leaves of a balance
MOST_ITERATIONS = 25
MOST_DENSE = 250  # buses up to which dense matrices of all settings at once are the faster way


class Unknowns(NamedTuple):
    """Rows of the buses with unknown angle and with unknown magnitude."""

    angle: Index
    magnitude: Index

    def pick(self, by_angle: Complex, by_magnitude: Complex) -> Real:
        """The real Jacobian of the power balance (..., u, u) from complex ones (..., n, n)."""
        rows = (self.angle[:, None], self.magnitude[:, None])
        blocks = [
            [getattr(matrix, part)[..., row, columns]
             for matrix, columns in ((by_angle, self.angle), (by_magnitude, self.magnitude))]
            for row, part in zip(rows, ("real", "imag"), strict=True)
        ]  # fmt: skip
        return np.concatenate([np.concatenate(row, axis=-1) for row in blocks], axis=-2)

    def stack(self, s: Complex) -> Real:
        """What of complex powers (..., n) belongs to the power balance (..., u)."""
        return np.concatenate((s.real[..., self.angle], s.imag[..., self.magnitude]), axis=-1)


def unknowns(problem: Problem) -> Unknowns:
    """What the power flow of a problem solves for."""
    held, reference = problem.sources.bus, problem.sources.bus[problem.sources.reference]
    supplied = np.flatnonzero(problem.supplied)
    return Unknowns(np.setdiff1d(supplied, reference), np.setdiff1d(supplied, held))


def admittances(problem: Problem, x: Real) -> Complex:
    """Nodal admittance matrices (N, n, n) at settings (N, k); (1, n, n) where no ratio differs."""
    network = problem.network
    if not len(problem.taps.branch):
        x = x[:1]
    ports, closed = problem.two_ports(x), network.closed
    f, t, buses = network.from_bus[closed], network.to_bus[closed], np.arange(network.n_bus)
    y = np.zeros((len(x), network.n_bus, network.n_bus), complex)
    for rows, columns, values in ((f, f, ports.ff), (f, t, ports.ft), (t, f, ports.tf), (t, t, ports.tt)):
        np.add.at(y.transpose(1, 2, 0), (rows, columns), values[:, closed].T)
    y[:, buses, buses] += network.shunt_pu
    return y


def injections(problem: Problem, x: Real) -> Complex:
    """Power into the buses (N, n) [pu] at settings (N, k), without what sources give beyond their dispatch."""
    q = problem.parts(x)[2] / problem.network.s_base_mva
    s = np.tile(problem.injected_pu, (len(x), 1))
    np.add.at(s.T, problem.svcs.bus, 1j * q.T)
    return s


def voltages(problem: Problem, x: Real) -> Complex:
    """Bus voltages (N, n) [pu] at settings (N, k); nan in rows that do not converge, 0 where nothing supplies.

    Source: Tinney, Hart, IEEE Trans. PAS-86 (1967).
    """
    if problem.network.n_bus > MOST_DENSE:
        return np.array([_one(problem, row[None]) for row in x])
    y, wanted = admittances(problem, x), injections(problem, x)
    y = np.broadcast_to(y, (len(x), *y.shape[1:]))
    v, find = _start(problem, x), unknowns(problem)
    with np.errstate(over="ignore", invalid="ignore"):  # what runs away ends as nan
        return _newton(y, wanted, v, find)


def _newton(y: Complex, wanted: Complex, v: Complex, find: Unknowns) -> Complex:
    left = np.arange(len(v))
    tolerance = max(TOLERANCE_PU, ROUNDING * float(np.abs(y).max(initial=0.0)))
    for _ in range(MOST_ITERATIONS):
        now, y_now = v[left], y[left]
        current = (y_now @ now[..., None])[..., 0]
        miss = find.stack(now * current.conj() - wanted[left])
        worst = np.abs(miss).max(axis=1, initial=0.0)
        keep = worst > tolerance
        v[left[~np.isfinite(worst)]] = np.nan
        left, now, y_now, current, miss = left[keep], now[keep], y_now[keep], current[keep], miss[keep]
        if not len(left):
            return v
        step = _steps(find.pick(*derivatives(y_now, now, current)), miss)
        angle, magnitude = np.angle(now), np.abs(now)
        angle[:, find.angle] += step[:, : len(find.angle)]
        magnitude[:, find.magnitude] += step[:, len(find.angle) :]
        v[left] = magnitude * np.exp(1j * angle)
    v[left] = np.nan
    return v


def _steps(jacobian: Real, miss: Real) -> Real:
    """Newton's steps (N, u); nan where a Jacobian is exactly singular."""
    try:
        return np.linalg.solve(jacobian, -miss[..., None])[..., 0]
    except np.linalg.LinAlgError:
        if len(jacobian) == 1:
            return np.full_like(miss, np.nan)
        return np.concatenate([_steps(jacobian[i : i + 1], miss[i : i + 1]) for i in range(len(miss))])


def derivatives(y: Complex, v: Complex, current: Complex) -> tuple[Complex, Complex]:
    """Derivatives (..., n, n) of the power into the network by angles [rad] and by magnitudes [pu].

    Source: Zimmerman, MATPOWER Technical Note 2 (2010), eq. 48 and 54.
    """
    buses = np.arange(v.shape[-1])
    magnitude = np.abs(v)
    unit = np.divide(v, magnitude, out=np.zeros_like(v), where=magnitude > 0)
    by_angle = -1j * v[..., None] * (y * v[..., None, :]).conj()
    by_angle[..., buses, buses] += 1j * v * current.conj()
    by_magnitude = v[..., None] * (y * unit[..., None, :]).conj()
    by_magnitude[..., buses, buses] += current.conj() * unit
    return by_angle, by_magnitude


def _start(problem: Problem, x: Real) -> Complex:
    """Held magnitudes, 1 elsewhere, at the angles that the problem gives."""
    v = np.tile(problem.flat_pu, (len(x), 1))
    v[:, problem.sources.bus] *= problem.parts(x)[0]
    return v


def _reduced(problem: Problem, x: Real) -> tuple[csr_array, Targets, Index]:
    """Admittances and targets of the supplied buses at one setting (1, k), and their rows."""
    network = problem.network
    ports, closed = problem.two_ports(x), network.closed
    f, t, buses = network.from_bus[closed], network.to_bus[closed], np.arange(network.n_bus)
    values = [port[0, closed] for port in (ports.ff, ports.ft, ports.tf, ports.tt)]
    places = (np.concatenate((f, f, t, t, buses)), np.concatenate((f, t, f, t, buses)))
    y = csr_array((np.concatenate((*values, network.shunt_pu)), places), shape=(len(buses), len(buses)))
    inside = np.flatnonzero(problem.supplied)
    held = problem.sources
    v = np.ones(len(buses), complex)
    v[held.bus] = problem.parts(x)[0][0] * np.exp(1j * np.angle(held.v_pu))
    place = np.searchsorted(inside, held.bus)
    return (
        y[inside][:, inside],
        Targets(injections(problem, x)[0, inside], v[inside], place[held.reference], place[~held.reference]),
        inside,
    )


def _one(problem: Problem, x: Real) -> Complex:
    """Bus voltages (n,) at one setting (1, k) by sparse matrices, nan without convergence."""
    y, targets, inside = _reduced(problem, x)
    v = np.zeros(problem.network.n_bus, complex)
    try:
        v[inside] = power_flow(y, targets, TOLERANCE_PU, MOST_ITERATIONS, _start(problem, x)[0, inside])
    except PowerFlowError:
        v[:] = np.nan
    return v
