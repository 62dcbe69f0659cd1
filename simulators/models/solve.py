"""The network solve of one instant: what the loads draw at the voltages that this leaves them.

A chord Newton iteration: the inverse Jacobian is that of the last event, in a frame that turns with the sources of
each island, so that a step of an undisturbed grid costs a few small matrix-vector products. Large networks take
the same iteration on sparse factors (`sparse_solve`). Non-convergence is an outcome (`VoltageCollapse`), never
hidden by clipping.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models import loads as zip_loads
from gridloop.simulators.models.compiled import kernels
from gridloop.simulators.models.loads import Demand, Injected
from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.nodal import Reduction

TOLERANCE_PU = 1e-11  # estimated error of the load voltages
MOST_EMF_PU = 10.0
MOST_CHORD_STEPS = 12  # then the Jacobian is made anew
MOST_NEWTON_STEPS = 60
SMALL = 24  # nodes that draw current, up to which compiled loops are faster than numpy's products
LARGE = 100  # nodes that draw current, from which on sparse factors are faster (numpy: 140, compiled: 80)
_NOBODY = np.zeros(0, complex), np.zeros(0)  # what units beside the demand inject, and their largest currents


class VoltageCollapse(ArithmeticError):
    """The network equations have no solution that Newton's method reaches; `bus` is the row of the worst load's."""

    def __init__(self, bus: int, v_pu: float) -> None:
        super().__init__(f"no network solution; the worst load stands at {v_pu:.3g} pu")
        self.bus = bus


class Chord(NamedTuple):
    """A frozen Newton step: reference EMFs, whose mean turn defines the frame, and the inverse Jacobian.

    The inverse is a matrix (2k, 2k), or the factors of a large network's sparse Jacobian.
    """

    emf_ref: Complex
    inverse: Any


class Frame(NamedTuple):
    """The frame of a solution: what turns it back to the nominal one, and the chord that it belongs to.

    `turn` is one number, or one an island where there are several.
    """

    turn: Any
    chord: Chord


class Solution(NamedTuple):
    """One instant; its phasors stand in `frame`."""

    x: Complex  # [EMFs (s,), currents drawn (k,)]
    frame: Frame
    v_load: Complex  # (k,) at the nodes that draw current
    v_terminal: Complex  # (s,) voltage at each source's bus
    v_source: Complex  # (s,) the same in the nominal frame
    s_source: Complex  # (s,) power out of each source into its bus, pu
    iterations: int
    margin_pu: float  # at most this far is the lowest supplied node above its highest knee
    collapsed: bool  # a supplied node stands below its lowest knee, loads below V_RELIEF_PU
    v_free: Any = None  # voltages of the free buses, of large networks only
    trend: Any = None  # their change since the last solution of the same chord
    rate: float = 1.0  # largest rate of convergence seen with the chord

    @property
    def turn(self) -> Any:
        """What brings the solution's phasors to the nominal frame; one an island where there are several."""
        return self.frame.turn

    @property
    def chord(self) -> Chord:
        """The frozen Newton step that the solution was found with."""
        return self.frame.chord


def solve(net: Reduction, need: Demand | Injected, emf: Complex, last: Solution | None) -> Solution:
    """Solve the network for the EMFs `emf` (s,), starting from the last solution of the same reduction.

    `need` holds the supplied loads and injections only. `last` is None after every event.

    Raises:
        VoltageCollapse: no solution was found.
        ValueError: an EMF is not finite.
        ArithmeticError: an EMF is beyond MOST_EMF_PU, as in a run that diverges.
    """
    if last is None:
        return restart(net, _whole(need), emf, None)
    compiled = kernels("compiled_solve") if last.v_free is None and len(last.v_load) <= SMALL else None
    if compiled is not None:
        found = _compiled_solve(compiled, net, need, emf, last)
    else:
        found = _turned_solve(net, _whole(need), emf, last)
    return restart(net, _whole(need), emf, last) if found is None else found


def _whole(need: Demand | Injected) -> Demand:
    """All that is drawn, as a demand."""
    return need if isinstance(need, Demand) else need.whole()


def _turned_solve(net: Reduction, need: Demand, emf: Complex, last: Solution) -> Solution | None:
    """Solve in the frame that has turned with the sources; None if the chord iteration does not converge."""
    chord, emf_turned = last.frame.chord, emf
    turn: Any = 1.0
    if net.n_island == 1:
        mean = complex(np.vdot(chord.emf_ref, emf))
        if not abs(mean) < MOST_EMF_PU * len(emf):
            check_size(emf)
        turn = mean / (abs(mean) or 1.0)
        emf_turned = emf * turn.conjugate()
    elif net.n_island:
        turn = turns(net, chord.emf_ref, emf)
        emf_turned = emf * turn.conj()[net.island_of_source]
    if last.v_free is not None:
        from gridloop.simulators.models.sparse_solve import chord_solve

        return chord_solve(net, need, emf_turned, last, turn)
    return _chord_solve(net, need, emf_turned, last, turn)


def turns(net: Reduction, emf_ref: Complex, emf: Complex) -> Complex:
    """Mean turn (islands,) of the sources of each island since the reference; |turn| = 1."""
    check_size(emf)
    by_source = emf_ref.conj() * emf
    turn = np.zeros(net.n_island, complex)
    np.add.at(turn, net.island_of_source, by_source)
    turn[turn == 0] = 1.0  # an island whose sources have no EMF
    turn /= np.abs(turn)
    return turn


def _chord_solve(net: Reduction, need: Demand, emf: Complex, last: Solution, turn: Any) -> Solution | None:
    """Iterate on the frozen inverse from the last voltages; None if that does not converge."""
    # ndarray.dot has half the overhead of the @ operator, which counts for the few loads of a microgrid
    inverse, z = last.frame.chord.inverse, net.load_to_load
    bias = net.emf_to_load.dot(emf)
    v, before, moved = last.v_load, 0.0, 0.0
    margin_last = last.margin_pu if need.fixed else lowest(need, v)
    plain = need.constant_power and margin_last >= 0 and not len(net.limited)
    for iteration in range(1, MOST_CHORD_STEPS + 1):
        current = (need.p / v).conj() if plain else drawn(net, need, v, emf)
        change = inverse.dot((v - bias - z.dot(current)).view(np.float64))
        v = v - change.view(np.complex128)
        size = math.sqrt(change.dot(change))
        moved += size
        # the linear rate of a chord iteration bounds what is still missing after this step
        rate = size / before if before else 1.0
        if size < TOLERANCE_PU or (rate < 0.1 and size * rate < TOLERANCE_PU):
            # no load has moved farther than all of them together: the voltages need no look while that is little
            margin = margin_last - moved
            margin = margin if margin > 0 else lowest(need, v)
            if (need.fixed or plain) and (margin < 0) != (margin_last < 0):
                return None  # the loads have another law on this side of a knee
            current = (need.p / v).conj() if plain else drawn(net, need, v, emf)
            return _solution(net, need, (emf, v, current), Frame(turn, last.frame.chord), iteration, margin)
        if not rate <= 1.0 or size > 0.3:  # leaving the basin, or not a number
            return None
        before = size
    return None


def _compiled_solve(
    compiled: Any, net: Reduction, need: Demand | Injected, emf: Complex, last: Solution
) -> Solution | None:
    """The same as a compiled loop, with the turn of the frame where there is one island."""
    room, s_injected, i_max = (need, *_NOBODY) if isinstance(need, Demand) else need
    plain = room.constant_power and last.margin_pu >= 0 and room.fixed and not len(net.limited)
    chord: Chord = last.frame.chord
    turn: Any = 1.0
    reference = chord.emf_ref
    if net.n_island > 1:
        turn = turns(net, chord.emf_ref, emf)
        reference = turn[net.island_of_source]
    x, v, source = last.x.copy(), last.v_load.copy(), np.empty((3, len(emf)), complex)
    iterations, margin, mean_turn = compiled.chord(
        net.dense_parts, (room.z, room.i, room.p, room.knee_pu, room.fixed, plain, s_injected, i_max), emf,
        (reference, net.n_island == 1, MOST_EMF_PU), (chord.inverse, last.margin_pu), (MOST_CHORD_STEPS, TOLERANCE_PU),
        (x, v, source),
    )  # fmt: skip
    if not iterations:
        return None
    collapsed = margin < 0 and has_collapsed(_whole(need), v)
    frame = Frame(mean_turn if net.n_island == 1 else turn, chord)
    return Solution(x, frame, v, source[0], source[1], source[2], iterations, margin, collapsed)


def check_size(emf: Complex) -> None:
    """Refuse EMFs that no physical source has."""
    if not np.isfinite(emf).all():
        raise ValueError(f"the EMF of source {int(np.flatnonzero(~np.isfinite(emf))[0]) + 1} is not finite")
    largest = int(np.abs(emf).argmax()) if len(emf) else 0
    if len(emf) and abs(emf[largest]) > MOST_EMF_PU:
        raise ArithmeticError(f"the EMF of source {largest + 1} has grown to {abs(emf[largest]):.3g} pu: unstable")


def lowest(need: Demand, v: Complex) -> float:
    """How far the lowest node stands above its highest knee [pu]."""
    above = np.abs(v[: len(need.p)]) - np.maximum(need.knee_pu[0], need.knee_pu[1])
    return float(above[above.argmin()]) if len(above) else math.inf


def has_collapsed(need: Demand, v: Complex) -> bool:
    """Whether a node stands below its lowest knee."""
    return bool((np.abs(v[: len(need.p)]) < need.knee_pu.min(0)).any())


def drawn(net: Reduction, need: Demand, v: Complex, emf: Complex) -> Complex:
    """Current that every node draws (k,) at the voltages `v`: loads, injections, and what limits take off.

    A source behind z whose current (E - V)/z would be above its limit gives the limit in the same direction.
    """
    nodes = len(need.p)
    current: Complex = (zip_loads.power(need, v[:nodes]) / v[:nodes]).conj()
    if not len(net.limited):
        return current
    wanted = (emf[net.limited] - v[nodes:]) / net.sources.z_pu[net.limited]
    over = np.maximum(np.abs(wanted) / _limits(net), 1.0)
    return np.concatenate((current, wanted * (1 - 1 / over)))


def _limits(net: Reduction) -> Real:
    limits: Real = np.broadcast_to(net.sources.i_max_pu, net.sources.bus.shape)[net.limited]
    return limits


def current_derivatives(net: Reduction, need: Demand, v: Complex, emf: Complex) -> tuple[Complex, Complex]:
    """(a, b), each (k,), of d(-drawn) = a dV + b conj(dV)."""
    nodes = len(need.p)
    a, b = zip_loads.current_derivatives(need, v[:nodes])
    if not len(net.limited):
        return a, b
    z, across = net.sources.z_pu[net.limited], emf[net.limited] - v[nodes:]
    limit = _limits(net)
    acts = np.abs(across / z) > limit
    with np.errstate(divide="ignore", invalid="ignore"):
        half = limit * np.abs(z) / z / (2 * np.abs(across))
        a_limit, b_limit = 1 / z - half, half * across / across.conj()
    return np.concatenate((a, np.where(acts, a_limit, 0))), np.concatenate((b, np.where(acts, b_limit, 0)))


def _solution(
    net: Reduction, need: Demand, point: tuple[Complex, Complex, Complex], frame: Frame, iterations: int,
    margin_pu: float,
) -> Solution:  # fmt: skip
    """What the sources feel at the converged `point`: EMFs, voltages and currents of the nodes that draw."""
    emf, v, current = point
    x = np.concatenate((emf, current))
    terminal = net.to_terminal.dot(x)
    v_terminal = terminal[: len(emf)]
    s_source = v_terminal * terminal[len(emf) :].conj()
    collapsed = margin_pu < 0 and has_collapsed(need, v)
    v_source = v_terminal * net.turn_at(frame.turn, net.island_of_source)
    return Solution(x, frame, v, v_terminal, v_source, s_source, iterations, margin_pu, collapsed)


def restart(net: Reduction, need: Demand, emf: Complex, last: Solution | None) -> Solution:
    """Full Newton, from the last voltages and from the open-circuit ones at several levels; freezes a new chord."""
    check_size(emf)
    if len(net.draw_bus) >= LARGE:
        from gridloop.simulators.models import sparse_solve

        return sparse_solve.restart(net, need, emf, last)
    bias = net.emf_to_load @ emf
    starts = [bias, bias * 0.5, bias * 0.2]
    if last is not None and np.isfinite(last.v_load).all():
        starts.insert(0, last.v_load * net.turn_at(last.turn, net.island_of_draw))
    worst = (0, np.nan)
    for start in starts:
        v, iterations = _newton(net, need, emf, start)
        if iterations:
            chord = Chord(np.where(net.sources.connected, emf, 0), _inverse_jacobian(net, need, v, emf))
            point = (emf, v, drawn(net, need, v, emf))
            return _solution(net, need, point, Frame(net.no_turn, chord), iterations, lowest(need, v))
        worst = worst_node(net, v)
    raise VoltageCollapse(*worst)


def worst_node(net: Reduction, v: Complex) -> tuple[int, float]:
    """Bus and voltage of the lowest load or injection, or of the lowest source with a limit where there is none."""
    v_abs = np.abs(v[: len(net.supplied) or None])
    return int(net.draw_bus[v_abs.argmin()]), float(v_abs.min())


def _newton(net: Reduction, need: Demand, emf: Complex, v: Complex) -> tuple[Complex, int]:
    """Load voltages by damped Newton, and the number of iterations, 0 if it did not converge."""
    bias = net.emf_to_load @ emf

    def missing(at: Complex) -> Complex:
        return at - bias - net.load_to_load @ drawn(net, need, at, emf)

    def correction(at: Complex, miss: Complex) -> Complex:
        return (_inverse_jacobian(net, need, at, emf) @ miss.view(np.float64)).view(np.complex128)

    return damped_newton(missing, correction, v, 1e-14)


def damped_newton(
    missing: Callable[[Complex], Complex], correction: Callable[[Complex, Complex], Complex | None], v: Complex,
    rounding_pu: float,
) -> tuple[Complex, int]:  # fmt: skip
    """Voltages at which nothing is missing, and the number of iterations, 0 if it did not converge.

    Args:
        missing: what is missing at voltages.
        correction: full Newton step at voltages for what is missing there; None where the Jacobian is singular.
        v: where to begin.
        rounding_pu: what the norm of the missing may grow by and still count as falling.
    """
    miss = missing(v)
    for iteration in range(1, MOST_NEWTON_STEPS + 1):
        change = correction(v, miss)
        if change is None:
            return v, 0
        step = 1.0
        while step > 1e-4:
            trial = v - step * change
            trial_miss = missing(trial) if np.all(trial != 0) else np.full_like(v, np.nan)
            if np.linalg.norm(trial_miss) <= (1 - step / 4) * np.linalg.norm(miss) + rounding_pu:
                break
            step /= 2
        else:
            return v, 0
        v, miss = trial, trial_miss
        if np.linalg.norm(change) * step < TOLERANCE_PU:
            return v, iteration
    return v, 0


def _inverse_jacobian(net: Reduction, need: Demand, v: Complex, emf: Complex) -> Real:
    """Inverse of d(miss)/d(Re V, Im V) in interleaved order, (2k, 2k)."""
    a, b = current_derivatives(net, need, v, emf)
    direct = np.eye(len(v)) + net.load_to_load * a
    mirrored = net.load_to_load * b
    jacobian = np.empty((2 * len(v), 2 * len(v)))
    jacobian[0::2, 0::2] = (direct + mirrored).real
    jacobian[0::2, 1::2] = -(direct - mirrored).imag
    jacobian[1::2, 0::2] = (direct + mirrored).imag
    jacobian[1::2, 1::2] = (direct - mirrored).real
    try:
        inverse: Real = np.linalg.inv(jacobian)
    except np.linalg.LinAlgError:  # exactly at a nose, where the shortest step is as good as any
        inverse = np.linalg.pinv(jacobian)
    return inverse
