"""The settled state of droop-controlled sources, and how stiff their coupling to the network is."""

from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.loads import Demand, Loads, demand, with_injections
from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.nodal import Reduction
from gridloop.simulators.models.sensitivity import power_slopes
from gridloop.simulators.models.solve import MOST_EMF_PU, Solution, solve

NO_EQUILIBRIUM = "no droop equilibrium was found: are the set-points and ratings feasible?"
MOST_STEPS = 40
NUDGE_RAD_PER_S = 1e-4


class Droop(NamedTuple):
    """Droop lines of d sources on the system base; each field (d,)."""

    m_rad_per_s_pu: Real  # > 0
    n_pu: Real  # >= 0
    p_set_pu: Real
    q_set_pu: Real
    v_set_pu: Real


class Given(NamedTuple):
    """What stands beside the droop sources."""

    emf_pu: Complex = np.zeros(0, complex)  # (g,) of the network's last g sources, which set their islands' frequency
    slip_rad_per_s: float = 0.0  # of these
    injected_pu: Complex = np.zeros(0, complex)  # (u,) of the network's last u nodes
    i_max_pu: Real = np.zeros(0)  # (u,)


NOTHING = Given()


class Equilibrium(NamedTuple):
    """A settled state."""

    emf_pu: Complex  # (s,); the first droop source of an island without a given EMF stands at angle 0
    island_slip_rad_per_s: Real  # (islands,) common deviation from nominal angular frequency
    solution: Solution

    @property
    def slip_rad_per_s(self) -> float:
        """Deviation of the first island; 0 where there is none."""
        return float(self.island_slip_rad_per_s[0]) if len(self.island_slip_rad_per_s) else 0.0


def droop_equilibrium(
    net: Reduction, loads: Loads, droop: Droop, f_nom_hz: float, given: Given = NOTHING, tolerance: float = 1e-13
) -> Equilibrium:
    """State in which the sources of each island share one frequency on their droop lines.

    Newton's method on (angles, magnitudes, frequencies) of the droop sources. Power limits are not considered.

    Args:
        net: the topology; its sources are the d droop sources and behind them those of `given`.
        loads: all loads, k of them; the network's nodes are these and the injections of `given`.
        droop: the droop lines.
        f_nom_hz: nominal frequency.
        given: EMFs and injections that stay as they are.
        tolerance: of the angles [rad] and magnitudes [pu].

    Raises:
        VoltageCollapse: the network has no solution on the way.
        ArithmeticError: no equilibrium was found.
    """
    equations = _Equations(net, loads, droop, f_nom_hz, given)
    x = equations.start()
    for _ in range(MOST_STEPS):
        solution, miss = equations.at(x)
        try:
            step = np.linalg.solve(equations.jacobian(x, solution), -miss)
        except np.linalg.LinAlgError as error:
            raise ArithmeticError(NO_EQUILIBRIUM) from error
        x = x + step
        if np.abs(step).max(initial=0.0) < tolerance**0.5 * 1e-3:
            solution, miss = equations.at(x)
            if np.abs(miss).max(initial=0.0) < tolerance * 1e3:
                return Equilibrium(equations.emf(x), equations.slips(x), solution)
    raise ArithmeticError(NO_EQUILIBRIUM)


class _Equations:
    """The settled state as miss(x) = 0, x = [angles (d,), magnitudes (d,), slips of the islands (i,)]."""

    def __init__(self, net: Reduction, loads: Loads, droop: Droop, f_nom_hz: float, given: Given) -> None:
        self._net, self._loads, self._droop, self._given = net, loads, droop, given
        self._omega_nom, self._count = 2 * np.pi * f_nom_hz, len(droop.n_pu)
        self._n_load = int(np.searchsorted(net.supplied, len(loads.bus)))
        self._injected = net.supplied[self._n_load :] - len(loads.bus)
        island = net.island_of_source
        self._island = island[: self._count]
        anchored = set(island[self._count :][net.sources.connected[self._count :]].tolist())
        # the equation of an island's frequency: it is given, or the angle of its first source is 0
        self._first = [None if i in anchored else int(np.argmax(self._island == i)) for i in range(net.n_island)]

    def start(self) -> Real:
        """Flat: everything at nominal frequency, at the angle of a given EMF of the island."""
        angle = np.zeros(self._count)
        for emf, island in zip(self._given.emf_pu, self._net.island_of_source[self._count :], strict=True):
            angle[self._island == island] = np.angle(emf)
        return np.concatenate((angle, self._droop.v_set_pu, np.zeros(self._net.n_island)))

    def emf(self, x: Real) -> Complex:
        """EMFs of all sources (s,)."""
        emf: Complex = np.concatenate(
            (x[self._count : 2 * self._count] * np.exp(1j * x[: self._count]), self._given.emf_pu)
        )
        return emf

    def slips(self, x: Real) -> Real:
        """Slip of every island (i,) [rad/s]."""
        return x[2 * self._count :]

    def _demand(self, slips: Real) -> Demand:
        supplied, at = self._net.supplied[: self._n_load], self._net.island_of_draw[: self._n_load]
        need = demand(self._loads.at(supplied), slips[at] / self._omega_nom)
        if len(self._injected):
            given = self._given
            need = with_injections(need, given.injected_pu[self._injected], given.i_max_pu[self._injected])
        return need

    def at(self, x: Real) -> tuple[Solution, Real]:
        """The network's solution and what is missing in every equation."""
        emf, slips, count, droop = self.emf(x), self.slips(x), self._count, self._droop
        if not (np.abs(emf) < MOST_EMF_PU).all():
            raise ArithmeticError(NO_EQUILIBRIUM)
        solution = solve(self._net, self._demand(slips), emf, None)
        s = solution.s_source[:count]
        frame = [
            slips[i] - self._given.slip_rad_per_s if first is None else x[first]
            for i, first in enumerate(self._first)
        ]  # fmt: skip
        return solution, np.concatenate((
            (s.real - droop.p_set_pu) * droop.m_rad_per_s_pu + slips[self._island],
            np.abs(emf[:count]) - droop.v_set_pu + droop.n_pu * (s.imag - droop.q_set_pu),
            frame,
        ))  # fmt: skip

    def jacobian(self, x: Real, solution: Solution) -> Real:
        """d(miss)/dx."""
        count, droop, emf = self._count, self._droop, self.emf(x)[: self._count]
        slopes = power_slopes(self._net, self._demand(self.slips(x)), solution)
        by_angle, by_size = slopes.along(1j * emf)[:count], slopes.along(emf / np.abs(emf))[:count]
        jacobian = np.zeros((len(x), len(x)))
        m, n = droop.m_rad_per_s_pu[:, None], droop.n_pu[:, None]
        for columns, change in ((slice(0, count), by_angle), (slice(count, 2 * count), by_size)):
            jacobian[:count, columns] = m * change.real
            jacobian[count : 2 * count, columns] = n * change.imag
        jacobian[count : 2 * count, count : 2 * count] += np.eye(count)
        jacobian[np.arange(count), 2 * count + self._island] = 1.0
        for island, first in enumerate(self._first):
            jacobian[2 * count + island, 2 * count + island if first is None else first] = 1.0
            if self._loads.k_pf.any() or self._loads.k_qf.any():
                nudge = np.zeros(len(x))
                nudge[2 * count + island] = NUDGE_RAD_PER_S
                rate = (self.at(x + nudge)[1] - self.at(x - nudge)[1]) / (2 * NUDGE_RAD_PER_S)
                jacobian[: 2 * count, 2 * count + island] = rate[: 2 * count]
        return jacobian


def stiffness_per_s(net: Reduction, need: Demand, emf: Complex, m_rad_per_s_pu: Any) -> float:
    """lambda [1/s]: largest eigenvalue of diag(m) dP/d(delta).

    The coupling of sources and network at a step h is accurate while h * lambda < 0.5. `m_rad_per_s_pu` (s,) is 0
    for sources without droop.
    """
    solution = solve(net, need, emf, None)
    slope = power_slopes(net, need, solution).along(1j * emf).real
    return float(np.linalg.eigvals(m_rad_per_s_pu[:, None] * slope).real.max(initial=0.0))
