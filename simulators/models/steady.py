"""The settled state of droop-controlled sources, and how stiff their coupling to the network is."""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.loads import Loads, demand
from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.nodal import MOST_EMF_PU, Reduction, Solution, solve

NO_EQUILIBRIUM = "no droop equilibrium was found: are the set-points and ratings feasible?"


class Droop(NamedTuple):
    """Droop lines of s sources on the system base; each field (s,)."""

    m_rad_per_s_pu: Real  # > 0
    n_pu: Real  # >= 0
    p_set_pu: Real
    q_set_pu: Real
    v_set_pu: Real


class Equilibrium(NamedTuple):
    """A settled state."""

    emf_pu: Complex  # (s,), the first source at angle 0
    slip_rad_per_s: float  # common deviation from nominal angular frequency
    solution: Solution


def droop_equilibrium(
    net: Reduction, loads: Loads, droop: Droop, f_nom_hz: float, tolerance: float = 1e-13
) -> Equilibrium:
    """State in which all sources of one island share one frequency on their droop lines.

    Newton's method on (angles, magnitudes, frequency) with a Jacobian by central differences of the network
    solve. Power limits are not considered.

    Raises:
        VoltageCollapse: the network has no solution on the way.
        ArithmeticError: no equilibrium was found.
    """
    count, omega_nom = len(droop.n_pu), 2 * np.pi * f_nom_hz

    def unpack(x: Real) -> tuple[Complex, float]:
        delta = np.concatenate(([0.0], x[: count - 1]))
        direction: Complex = np.exp(1j * delta)
        return x[count - 1 : -1] * direction, float(x[-1])

    def at(x: Real) -> tuple[Solution, Real]:
        emf, slip = unpack(x)
        if not (np.abs(emf) < MOST_EMF_PU).all():
            raise ArithmeticError(NO_EQUILIBRIUM)
        need = demand(loads.at(net.supplied), slip / omega_nom)
        solution = solve(net, need, emf, None)
        s = solution.s_source
        return solution, np.concatenate((
            (s.real - droop.p_set_pu) * droop.m_rad_per_s_pu + slip,
            np.abs(emf) - droop.v_set_pu + droop.n_pu * (s.imag - droop.q_set_pu),
        ))  # fmt: skip

    x = np.concatenate((np.zeros(count - 1), droop.v_set_pu, [0.0]))
    for _ in range(40):
        _, miss = at(x)
        jacobian = np.empty((2 * count, 2 * count))
        for column in range(2 * count):
            nudge = np.zeros(2 * count)
            nudge[column] = 1e-5
            jacobian[:, column] = (at(x + nudge)[1] - at(x - nudge)[1]) / 2e-5
        try:
            step = np.linalg.solve(jacobian, -miss)
        except np.linalg.LinAlgError as error:
            raise ArithmeticError("the sources share no frequency: are they all in one island?") from error
        x = x + step
        if np.abs(step).max() < tolerance**0.5 * 1e-3 and np.abs(at(x)[1]).max() < tolerance * 1e3:
            emf, slip = unpack(x)
            return Equilibrium(emf, slip, at(x)[0])
    raise ArithmeticError(NO_EQUILIBRIUM)


def stiffness_per_s(net: Reduction, loads: Loads, emf: Complex, m_rad_per_s_pu: Real) -> float:
    """lambda [1/s]: largest eigenvalue of diag(m) dP/d(delta), by central differences of the network solve.

    The coupling of sources and network at a step h is accurate while h * lambda < 0.5.
    """
    need = demand(loads.at(net.supplied))
    slope = np.empty((len(emf), len(emf)))
    for column in range(len(emf)):
        turn = np.ones(len(emf), complex)
        turn[column] = np.exp(1e-5j)
        ahead, behind = (solve(net, need, emf * t, None).s_source.real for t in (turn, turn.conj()))
        slope[:, column] = (ahead - behind) / 2e-5
    return float(np.linalg.eigvals(m_rad_per_s_pu[:, None] * slope).real.max())
