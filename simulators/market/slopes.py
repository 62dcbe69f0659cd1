"""First derivatives of a solved power flow by every control, exact: one linear system for all of them."""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.market.power_flow import admittances, derivatives, unknowns
from gridloop.simulators.market.problem import Problem
from gridloop.simulators.models.network import Complex, Real


class Slopes(NamedTuple):
    """Change with each control, in its unit."""

    loss_mw: Real  # (k,)
    v_pu: Real  # (n, k) magnitudes
    q_mvar: Real  # (s, k) of the sources


def slopes(problem: Problem, x: Real, v: Complex) -> Slopes:
    """Derivatives at setting `x` (k,) whose solution is `v` (n,).

    Raises:
        numpy.linalg.LinAlgError: exactly at a point of voltage collapse.

    Source: implicit differentiation of the power balance; Dommel, Tinney, IEEE Trans. PAS-87 (1968), eq. 17.
    """
    network, base, find = problem.network, problem.network.s_base_mva, unknowns(problem)
    y = admittances(problem, x[None])[0]
    by_angle, by_magnitude = derivatives(y, v, y @ v)
    s, t = len(problem.sources.bus), len(problem.taps.branch)
    direct = np.zeros((network.n_bus, len(x)), complex)  # change of the power into the network, voltages held
    direct[:, s : s + t] = _by_ratio(problem, x, v)
    given = np.zeros_like(direct)
    given[problem.svcs.bus, np.arange(s + t, len(x))] = 1j / base
    magnitude, angle = np.zeros(direct.shape), np.zeros(direct.shape)
    magnitude[problem.sources.bus, np.arange(s)] = 1
    miss = direct + by_magnitude @ magnitude - given
    moved = np.linalg.solve(find.pick(by_angle, by_magnitude), -find.stack(miss.T).T)
    angle[find.angle], magnitude[find.magnitude] = moved[: len(find.angle)], moved[len(find.angle) :]
    power = direct + by_angle @ angle + by_magnitude @ magnitude
    shunts = 2 * (network.shunt_pu.real * np.abs(v)) @ magnitude
    return Slopes(
        base * (power.real.sum(axis=0) - shunts),
        magnitude,
        base * (power - given).imag[problem.sources.bus],
    )


def _by_ratio(problem: Problem, x: Real, v: Complex) -> Complex:
    """Change (n, t) of the power into the network with each tap changer's ratio, voltages held."""
    taps, network, ports = problem.taps, problem.network, problem.two_ports(x[None])
    ratio = problem.parts(x)[1]
    ff, ft, tf, tt = (getattr(ports, name)[0, taps.branch] for name in ("ff", "ft", "tf", "tt"))
    f, t = network.from_bus[taps.branch], network.to_bus[taps.branch]
    d_from = -np.where(taps.at_from, 2 * ff, 0) / ratio * v[f] - ft / ratio * v[t]
    d_to = -np.where(taps.at_from, 0, 2 * tt) / ratio * v[t] - tf / ratio * v[f]
    closed, columns = network.closed[taps.branch], np.arange(len(ratio))
    change = np.zeros((network.n_bus, len(ratio)), complex)
    np.add.at(change, (f, columns), np.where(closed, v[f] * d_from.conj(), 0))
    np.add.at(change, (t, columns), np.where(closed, v[t] * d_to.conj(), 0))
    return change
