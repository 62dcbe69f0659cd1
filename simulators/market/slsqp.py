"""Dispatch by sequential quadratic programming with exact derivatives; for smooth problems of any size.

Controls are scaled to 0..1. Limits of bus voltages and of sources' reactive power are constraints, those of the
controls themselves are bounds.
"""

import numpy as np

from gridloop.simulators.market.limits import Backend
from gridloop.simulators.market.search import Search
from gridloop.simulators.market.slopes import slopes
from gridloop.simulators.models.network import Real

MOST_EVALUATIONS = 200  # power flows and gradients together
FTOL_MW = 1e-9
CLEAN_PU = 1e-8  # violation that the best setting may have: rounding of the constraints
STEP_BACK_MW = 1e3  # what a setting without a power flow counts as worse than the best


class SpentError(Exception):
    """The evaluations are used up."""


class Smooth:
    """Loss and constraints of a problem in scaled controls, each point solved once."""

    def __init__(self, backend: Backend, search: Search, most: int) -> None:
        self.backend, self.search, self.most = backend, search, most
        problem = backend.problem
        low, high = problem.bounds
        self.free = np.flatnonzero(high > low)
        self.low, self.width = low[self.free], (high - low)[self.free]
        held = problem.sources.bus
        self.watched = np.setdiff1d(np.flatnonzero(problem.supplied), held)
        self.gradients, self._at, self._slopes_at = 0, b"", b""
        self._value = np.nan
        self._limits: Real = np.empty(0)

    def setting(self, z: Real) -> Real:
        """The setting (k,) of scaled free controls."""
        x = self.backend.problem.start.copy()
        x[self.free] = self.low + z * self.width
        return x

    def value(self, z: Real) -> float:
        """Loss [MW]."""
        self._solve(z)
        return self._value

    def room(self, z: Real) -> Real:
        """Room left [pu] to each limit, negative where broken."""
        self._solve(z)
        return self._limits

    def slope(self, z: Real) -> Real:
        """Gradient of the loss."""
        self._derive(z)
        return self._loss_slope

    def room_slope(self, z: Real) -> Real:
        """Jacobian of `room`."""
        self._derive(z)
        return self._room_slope

    def is_solved(self, z: Real) -> bool:
        """Whether there is a power flow."""
        self._solve(z)
        return bool(np.isfinite(self._v).all())

    def _solve(self, z: Real) -> None:
        if z.tobytes() == self._at:
            return
        if self.search.evaluations + self.gradients >= self.most:
            raise SpentError
        losses = self.search.look(self.backend, self.setting(z)[None])
        self._at, self._v = z.tobytes(), losses.states.v_pu[0]
        if np.isfinite(losses.loss_mw[0]):
            self._value = float(losses.loss_mw[0])
            self._limits = self._room(np.abs(self._v)[:, None], losses.states.q_source_mvar.T, of_limits=True)
        else:  # the line search comes back
            self._value = self._value + STEP_BACK_MW if np.isfinite(self._value) else STEP_BACK_MW

    def _derive(self, z: Real) -> None:
        if z.tobytes() == self._slopes_at:
            return
        self._solve(z)
        self.gradients += 1
        found = slopes(self.backend.problem, self.setting(z), self._v)
        self._slopes_at = z.tobytes()
        self._loss_slope = found.loss_mw[self.free] * self.width
        self._room_slope = self._room(found.v_pu, found.q_mvar, of_limits=False)[:, self.free] * self.width

    def _room(self, v: Real, q: Real, of_limits: bool) -> Real:
        """Rows of every finite limit: room of columns of values, or how it changes with columns of slopes."""
        problem = self.backend.problem
        base, sources, rows = problem.network.s_base_mva, problem.sources, []
        for limit, value, sign, scale in (
            (problem.v_min_pu[self.watched], v[self.watched], 1, 1.0),
            (problem.v_max_pu[self.watched], v[self.watched], -1, 1.0),
            (sources.q_min_mvar, q, 1, base), (sources.q_max_mvar, q, -1, base),
        ):  # fmt: skip
            known = np.isfinite(limit)
            offset = limit[known, None] if of_limits else 0
            rows.append(sign * (value[known] - offset) / scale)
        result = np.concatenate(rows)
        return result[:, 0] if of_limits else result


def search_slsqp(backend: Backend, most: int = MOST_EVALUATIONS) -> tuple[Search, int]:
    """The least loss from the net's own setting, clipped to its bounds, and if that fails from the middle of them.

    Args:
        backend: power flow of the problem.
        most: power flows and gradients at most.

    Returns:
        The account, and how many gradients it took besides.

    Source: Kraft, DFVLR-FB 88-28 (1988), as in scipy.
    """
    search = Search(CLEAN_PU)
    smooth = Smooth(backend, search, most)
    own = np.clip((backend.problem.start[smooth.free] - smooth.low) / smooth.width, 0, 1)
    try:
        for start in (own, np.full(len(own), 0.5)):
            if smooth.is_solved(start):
                _minimise(smooth, start, most)
            if search.violation_pu == 0:
                break
    except (SpentError, np.linalg.LinAlgError):
        pass  # the best so far stands
    return search, smooth.gradients


def _minimise(smooth: Smooth, start: Real, most: int) -> None:
    from scipy.optimize import minimize  # a tenth of a second, which only a dispatch needs

    minimize(
        smooth.value, start, jac=smooth.slope, method="SLSQP", bounds=[(0.0, 1.0)] * len(start),
        constraints={"type": "ineq", "fun": smooth.room, "jac": smooth.room_slope},
        options={"ftol": FTOL_MW, "maxiter": most},
    )  # fmt: skip
