"""The settled state of a microgrid, for the equations of `steady_equations`.

Newton's method with a Jacobian that is kept as long as it serves. Where it fails, each island's y is bracketed: the
lower the frequency, the more the units give and the less is asked of them.
"""

import numpy as np

from gridloop.simulators.models.network import Real
from gridloop.simulators.models.solve import VoltageCollapse
from gridloop.simulators.models.steady_equations import (
    Equations,
    Jacobian,
    Memory,
    Plant,
    Point,
    Settled,
    Stuck,
)

TOLERANCE = 1e-10  # of angles [rad], magnitudes [pu] and y [rad/s]
MOST_STEPS = 40
MOST_IN_VAIN = 4  # steps that are no shorter than the one before
LEAVING = 1e6  # a step that long leads nowhere
SERVES = 0.3  # a kept Jacobian shortens each step to this at least
LONGEST_STEP = 0.3  # of angles [rad] and magnitudes [pu]
FIRST_WIDTH = 0.005  # of a bracket, relative to the largest deviation
NEAR_RAD_PER_S = 1e-3  # width of a bracket from which on Newton's method is tried again
MOST_BRACKETS = 70
SHORT, SPARE = "the units cannot give what is asked of them", "the units cannot take what is left over"


class NoEquilibrium(ArithmeticError):
    """Islands without a settled state; `reasons` by the island's number."""

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__("; ".join(dict.fromkeys(reasons.values())))
        self.reasons = reasons


def settle(plant: Plant, memory: Memory) -> Settled:
    """The settled state, beginning at the last one.

    Args:
        plant: what is to settle.
        memory: of the last settled state; its first connected source in an island keeps its angle.

    Raises:
        NoEquilibrium: some islands have none: the units cannot give, or take, what is asked, or the network cannot
            carry it.
    """
    equations = Equations(plant, memory)
    known = memory if memory.net is plant.net else None
    try:
        z, point, jacobian = _newton(equations, equations.start(memory), known)
    except Stuck:
        z, point, jacobian = _bracketed(equations, memory)
    return equations.result(z, point, jacobian, memory)


def _newton(equations: Equations, z: Real, known: Memory | None) -> tuple[Real, Point, Jacobian | None]:
    """A zero of the equations, what they are there, and the Jacobian that led to it."""
    try:
        point = equations.at(z, None if known is None else known.solution)
    except VoltageCollapse as collapse:
        raise equations.stuck(collapse) from collapse
    jacobian = None if known is None else known.jacobian
    before, fresh, in_vain = np.inf, False, 0
    for _ in range(MOST_STEPS):
        if jacobian is None or not np.array_equal(jacobian.branch, point.branch):
            jacobian, fresh = equations.jacobian(z, point), True
        step = jacobian.inverse @ -point.miss
        size = float(np.abs(step).max(initial=0.0))
        if not fresh and size > TOLERANCE and not size <= SERVES * before:
            jacobian, fresh = equations.jacobian(z, point), True
            step = jacobian.inverse @ -point.miss
            size = float(np.abs(step).max(initial=0.0))
        if size < TOLERANCE:
            return z, point, jacobian
        in_vain += not size < before
        if not size < LEAVING or in_vain > MOST_IN_VAIN:
            break
        longest = float(np.abs(step[: 2 * equations.n_live]).max(initial=0.0))
        share = min(1.0, LONGEST_STEP / longest) if longest else 1.0
        z, point = _moved(equations, z, share * step, point)
        before, fresh = size * share, False
    raise equations.stuck(point)


def _moved(equations: Equations, z: Real, step: Real, point: Point) -> tuple[Real, Point]:
    """The equations after a step, or a part of it where the network has no solution at its end."""
    for share in (1.0, 0.5, 0.25, 0.1, 0.02):
        try:
            return z + share * step, equations.at(z + share * step, point.solution)
        except VoltageCollapse as collapse:
            last = collapse
    raise equations.stuck(last) from last


def _bracketed(equations: Equations, memory: Memory) -> tuple[Real, Point, Jacobian | None]:
    """A zero of the equations, found by bracketing the y of every island."""
    given = ~np.isnan(equations.given_slip)
    z = equations.start(memory)
    y = equations.parts(z)[2].copy()
    low, high = np.where(given, y, np.nan), np.where(given, y, np.nan)
    width = FIRST_WIDTH * equations.largest_rad_per_s
    for _ in range(MOST_BRACKETS):
        z, lacking = _lacking(equations, y, z)
        low, high = np.where(lacking > 0, low, y), np.where(lacking > 0, y, high)
        low, high = np.where(given, y, low), np.where(given, y, high)
        enclosed = ~np.isnan(low + high)
        outward = np.where(lacking > 0, y - width, y + width)
        beyond = ~enclosed & (np.abs(outward) > equations.largest_rad_per_s)
        if beyond.any():
            raise NoEquilibrium({int(i): SHORT if lacking[i] > 0 else SPARE for i in np.flatnonzero(beyond)})
        if enclosed.all() and (high - low).max() < NEAR_RAD_PER_S:
            try:
                return _newton(equations, z, None)
            except Stuck:  # nearer, then
                pass
        y, width = np.where(enclosed, (low + high) / 2, outward), 2 * width
    raise NoEquilibrium(dict.fromkeys(range(len(y)), "no settled state was found"))


def _lacking(equations: Equations, y: Real, z: Real) -> tuple[Real, Real]:
    """The state at a given y of every island, and what the units lack there (i,) [pu]."""
    equations.held_y = y
    try:
        z, point, _ = _newton(equations, z, None)
    except Stuck as stuck:
        raise NoEquilibrium(dict.fromkeys(stuck.islands, str(stuck))) from stuck
    finally:
        equations.held_y = None
    lacking = np.zeros(len(y))
    lacking[np.isnan(equations.given_slip)] = equations.at(z, point.solution).miss[equations.slack]
    return z, lacking
