"""The network solve of one instant for large networks: the chord iteration of `solve` on sparse factors.

The unknowns are all free bus voltages. The frozen Jacobian is the nodal admittance matrix with what the loads add
to its diagonal, without the part of constant power and current that turns a change of voltage into its conjugate:
a feeder's complex factors are hardly fuller than its matrix, and in a network that carries its loads well that part
changes the voltage by some percent of the change, so that each iteration gains more than a digit. Where it does
not, the iteration goes on with the whole Jacobian in real 2 x 2 blocks, whose factors take five times as long.

An undisturbed grid moves evenly. Each solve therefore starts from where the last two solutions lead to, within some
1e-10 pu, and takes one or two iterations; with constant impedances alone it takes one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array, hstack, tril, triu
from scipy.sparse.linalg import splu

from gridloop.simulators.models.compiled import kernels
from gridloop.simulators.models.loads import Demand
from gridloop.simulators.models.network import Complex
from gridloop.simulators.models.nodal import Reduction
from gridloop.simulators.models.solve import (
    MOST_CHORD_STEPS,
    TOLERANCE_PU,
    Chord,
    Frame,
    Solution,
    VoltageCollapse,
    current_derivatives,
    damped_newton,
    drawn,
    has_collapsed,
    lowest,
    worst_node,
)

ENOUGH_PU = TOLERANCE_PU / 10  # all free buses count, not the loads' alone
ROUNDING_PU = 1e-10  # a change as small as this that does not shrink any more is rounding
LEAST_RATE = 0.02  # that is trusted without a second step: a load may have passed a knee of its law
UNKNOWN = 1.0  # rate of an iteration of which nothing is known
LINEAR, POWER, GENERAL = 0, 1, 2  # laws of what is drawn: constant impedances, constant powers, anything
MOST_SIMPLE_STEPS = 8  # of an iteration without the conjugate part; then the whole Jacobian is worth its price


@dataclass(frozen=True)
class Factors:
    """Factorised Jacobian: its complex-linear part, or the whole of it in real 2 x 2 blocks.

    `a` and `b` (k,) are what the loads have added to it, see `current_derivatives`; None where that is nothing.
    """

    lu: Any
    whole: bool
    a: Any
    b: Any
    linear_for: Any = None  # the demand's constant impedances, all that it has: one iteration is exact

    def solve(self, pushed: Complex) -> Complex:
        """The voltages (f,) at which the Jacobian takes up the currents `pushed` (f,)."""
        if not self.whole:
            voltages: Complex = self.lu.solve(pushed)
            return voltages
        real: Complex = self.lu.solve(pushed.view(np.float64)).view(np.complex128)
        return real

    def beside(self, current: Complex, at_draw: Complex) -> Complex:
        """What is drawn beside what the Jacobian stands for."""
        rest = current if self.a is None else current + self.a * at_draw
        return rest if self.b is None else rest + self.b * at_draw.conj()

    @cached_property
    def bends(self) -> tuple[Complex, Complex]:
        """`a` and `b`, empty for None."""
        none = np.zeros(0, complex)
        return none if self.a is None else self.a, none if self.b is None else self.b

    @cached_property
    def triangles(self) -> tuple[Any, ...]:
        """Both triangles by columns without their diagonals, 1 over that of the upper one, places of rows, columns."""
        lower, upper = tril(self.lu.L, -1).tocsc(), triu(self.lu.U, 1).tocsc()
        return (
            lower.indptr, lower.indices, lower.data, upper.indptr, upper.indices, upper.data,
            1 / self.lu.U.diagonal(), self.lu.perm_r, self.lu.perm_c,
        )  # fmt: skip


class Nodal:
    """Sparse matrices of one topology: y V + scatter I = push E for the free buses (f,)."""

    def __init__(self, net: Reduction) -> None:
        self.net = net
        self._buffers: dict[bool, tuple[Any, ...]] = {}
        self.whole = False  # whether the loads need the whole Jacobian; found out on the way
        sources, n_bus = net.sources, net.network.n_bus
        free, held_bus = net.free_bus, sources.bus[net.held]
        place = np.full(n_bus, -1)
        place[free] = np.arange(len(free))
        self.y = net.free_matrix.tocsr()
        push = np.zeros((n_bus, len(sources.bus)), complex)
        np.add.at(push, (sources.bus[net.norton], net.norton), 1 / sources.z_pu[net.norton])
        push[:, net.held] -= net.y[:, held_bus].toarray()
        self.push = csr_array(push[free])
        drawing = np.flatnonzero(place[net.draw_bus] >= 0)
        ones, count = np.ones(len(drawing)), len(net.draw_bus)
        self.scatter = csr_array((ones, (place[net.draw_bus[drawing]], drawing)), shape=(len(free), count))
        # where every wanted voltage stands in [free bus voltages, EMFs]
        from_emf = np.zeros(n_bus, np.intp)
        from_emf[held_bus] = len(free) + net.held
        where = np.where(place >= 0, place, from_emf)
        self.draw_place, self.source_place = where[net.draw_bus], where[sources.bus]

    @cached_property
    def pushed(self) -> Any:
        """Currents into the free buses from [EMFs, currents drawn], (f, s + k)."""
        return csr_array(hstack((self.push, -self.scatter)))

    @cached_property
    def pushed_parts(self) -> tuple[Any, Any, Any]:
        """The same in parts: starts of the rows, columns, values."""
        return self.pushed.indptr, self.pushed.indices, self.pushed.data

    @cached_property
    def limits(self) -> tuple[Any, Any, Any]:
        """Sources with a current limit: row, impedance, limit."""
        sources, rows = self.net.sources, self.net.limited
        return rows, sources.z_pu[rows], np.broadcast_to(sources.i_max_pu, sources.bus.shape)[rows].astype(float)

    def buffers(self, whole: bool) -> tuple[Any, ...]:
        """Room for the compiled iteration, made once: currents, voltages, and both as the factors see them."""
        if whole not in self._buffers:
            pushed, v = np.zeros((2, self.y.shape[0]), complex)
            flat = [part.view(np.float64) if whole else part for part in (pushed, v)]
            self._buffers[whole] = (
                pushed, flat[0], np.empty_like(flat[0]), v, flat[1], np.zeros(len(self.draw_place), complex),
            )  # fmt: skip
        return self._buffers[whole]

    @cached_property
    def unloaded(self) -> Any:
        """Factors without loads."""
        return _factorised(self.net.free_matrix)

    @cached_property
    def norton_y(self) -> Complex:
        """Admittance of every source (s,), 0 for ideal ones and those that are not connected."""
        y = np.zeros(len(self.net.sources.bus), complex)
        y[self.net.norton] = 1 / self.net.sources.z_pu[self.net.norton]
        return y

    @cached_property
    def held_rows(self) -> tuple[Any, Any, Any]:
        """What an ideal source gives: its bus's row of the matrix, what is drawn there, other sources there."""
        net = self.net
        bus = net.sources.bus[net.held]
        rows = net.y.tocsr()[bus]
        at = (bus[:, None] == net.draw_bus[None, :]).astype(float)
        beside = (bus[:, None] == net.sources.bus[None, :]) * (self.norton_y != 0)
        return rows, csr_array(at), csr_array(beside.astype(float))

    def jacobian(self, a: Complex, b: Complex) -> Any:
        """d(miss)/d(Re V, Im V) in interleaved order, (2 f, 2 f), CSC."""
        direct, mirrored = self.y.tocoo(), -(self.scatter @ b)
        own = -(self.scatter @ a)
        diagonal = np.arange(len(own))
        rows = np.concatenate((direct.row, diagonal, diagonal))
        columns = np.concatenate((direct.col, diagonal, diagonal))
        plus = np.concatenate((direct.data, own, mirrored))
        minus = np.concatenate((direct.data, own, -mirrored))
        entries = (plus.real, -minus.imag, plus.imag, minus.real)
        return coo_array(
            (
                np.concatenate(entries),
                (np.concatenate((2 * rows, 2 * rows, 2 * rows + 1, 2 * rows + 1)),
                 np.concatenate((2 * columns, 2 * columns + 1, 2 * columns, 2 * columns + 1))),
            ),
            shape=(2 * len(own), 2 * len(own)),
        ).tocsc()  # fmt: skip

    def factors(self, need: Demand, v: Complex, emf: Complex) -> Any:
        """Factors of the whole Jacobian, in real 2 x 2 blocks, at the free buses' voltages."""
        at = np.concatenate((v, emf))[self.draw_place]
        return _factorised(self.jacobian(*current_derivatives(self.net, need, at, emf)))

    def frozen(self, need: Demand, v: Complex, emf: Complex) -> Factors:
        """What the chord iteration goes on with."""
        a, b = current_derivatives(self.net, need, np.concatenate((v, emf))[self.draw_place], emf)
        if self.whole:
            return Factors(_factorised(self.jacobian(a, b)), True, a, b)
        linear_for = need.z if _is_linear(self.net, need) else None
        if not a.any():
            return Factors(self.unloaded, False, None, None, linear_for)
        matrix = (self.net.free_matrix - diags_array(self.scatter @ a)).tocsc()
        return Factors(_factorised(matrix), False, a, None, linear_for)

    def terminals(self, emf: Complex, v: Complex, drawn: Complex) -> tuple[Complex, Complex]:
        """Voltage at each source's bus and current out of each source (s, ...), for columns of what decides them.

        Args:
            emf: EMFs (s, ...).
            v: voltages of the free buses (f, ...).
            drawn: currents of the nodes that draw (k, ...).
        """
        net, shape = self.net, (-1,) + (1,) * (emf.ndim - 1)
        connected, norton_y = net.sources.connected.reshape(shape), self.norton_y.reshape(shape)
        v_terminal = np.concatenate((v, emf)).take(self.source_place, 0) * connected
        i_source = norton_y * (emf - v_terminal)
        if len(net.limited):
            i_source[net.limited] -= drawn[len(net.supplied) :]
        if len(net.held):
            rows, draws, beside = self.held_rows
            v_bus = np.zeros((net.network.n_bus, *emf.shape[1:]), complex)
            v_bus[net.free_bus], v_bus[net.sources.bus[net.held]] = v, emf[net.held]
            i_source[net.held] = rows @ v_bus + draws @ drawn - beside @ i_source
        return v_terminal, i_source

    def solution(self, point: tuple[Complex, Complex, Complex], frame: Frame, found: "Found") -> Solution:
        """What the sources feel at the converged `point`: voltages of the free buses, x, voltages of who draws."""
        net, (v, x, at_draw) = self.net, point
        emf = x[: len(net.sources.bus)]
        v_terminal, i_source = self.terminals(emf, v, x[len(emf) :])
        turn = net.turn_at(frame.turn, net.island_of_source)
        return Solution(
            x, frame, at_draw, v_terminal, v_terminal * turn, v_terminal * i_source.conj(),
            found.iterations, found.margin_pu, found.collapsed, v, found.trend, found.rate,
        )  # fmt: skip


class Found(NamedTuple):
    """How a solution was found, and what follows for the next."""

    iterations: int
    margin_pu: float
    collapsed: bool
    trend: Complex  # change of the free buses' voltages since the last solution
    rate: float  # the largest of the chord so far


def _factorised(matrix: Any) -> Any:
    # columns one by one: a feeder's supernodes are too small for what BLAS costs to be called
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}, relax=1)


def _is_linear(net: Reduction, need: Demand) -> bool:
    """Whether nothing but constant impedances is drawn."""
    return not (len(net.limited) or need.i.any() or need.p.any())


def nodal(net: Reduction) -> Nodal:
    """The sparse matrices of a topology, made once."""
    known: Nodal | None = net.__dict__.get("_nodal")
    if known is None:
        known = net.__dict__["_nodal"] = Nodal(net)
    return known


def chord_solve(net: Reduction, need: Demand, emf: Complex, last: Solution, turn: Any) -> Solution | None:
    """Iterate on the frozen factors from where the last solutions lead to; None if that does not converge."""
    matrices, factors = nodal(net), last.frame.chord.inverse
    w = np.concatenate((last.v_free + last.trend, emf, last.v_load))  # voltages, EMFs, and room for currents
    law, most = _law(net, need, last.margin_pu, factors), MOST_CHORD_STEPS if factors.whole else MOST_SIMPLE_STEPS
    fast = kernels()
    if fast is None:
        iterations, rate = _iterate(matrices, factors, need, law, w, (most, last.rate))
    else:
        iterations, rate = fast.chord(
            w, (matrices.pushed_parts, matrices.draw_place, matrices.limits), factors.triangles,
            (law == LINEAR, law == POWER), (need.z, need.i, need.p, need.knee_pu, *factors.bends),
            matrices.buffers(factors.whole), (most, ENOUGH_PU, ROUNDING_PU, LEAST_RATE, last.rate),
        )  # fmt: skip
    if iterations:
        return _finished(matrices, need, w, last, Frame(turn, last.frame.chord), iterations, rate)
    if not factors.whole:
        matrices.whole = True
    return None


def _iterate(
    matrices: "Nodal", factors: Factors, need: Demand, law: int, w: Complex, known: tuple[int, float]
) -> tuple[int, float]:
    """The iteration on `w`: the number of steps, 0 if it does not converge, and the largest rate of the chord.

    A rate is by how much a step's change is smaller than that of the step before: it bounds what is still missing.
    Before there are two steps to compare, twice the largest one of the chord so far stands in its place.
    """
    net, n_free, (most, largest) = matrices.net, len(matrices.net.free_bus), known
    n_known = n_free + len(net.sources.bus)
    v, x, emf, current = w[:n_free], w[n_free:], w[n_free:n_known], w[n_known:]
    before = 0.0
    for iteration in range(1, most + 1):
        at_draw = w.take(matrices.draw_place)
        current[:] = 0 if law == LINEAR else factors.beside(_currents(law, net, need, at_draw, emf), at_draw)
        found = factors.solve(matrices.pushed @ x)
        size = float(np.abs((found - v).view(np.float64)).max())
        v[:] = found
        rate = size / before if before else 2 * largest
        if before > ROUNDING_PU:
            largest = max(LEAST_RATE, rate if largest == UNKNOWN else max(largest, rate))
        if law == LINEAR or size < ENOUGH_PU or (rate < 0.2 and size * rate < ENOUGH_PU):
            return iteration, largest
        if before and rate >= 1 and size < ROUNDING_PU:
            return iteration, largest
        if not (before == 0 or rate <= 1.0) or not size < 0.3:  # leaving the basin, or not a number
            return 0, largest
        before = size
    return 0, largest


def _law(net: Reduction, need: Demand, margin_pu: float, factors: Factors) -> int:
    """The simplest law of what is drawn."""
    if factors.linear_for is need.z:
        return LINEAR
    return POWER if need.constant_power and margin_pu >= 0 and need.fixed and not len(net.limited) else GENERAL


def _currents(law: int, net: Reduction, need: Demand, at_draw: Complex, emf: Complex) -> Complex:
    """What is drawn (k,) at given voltages and EMFs."""
    if law == GENERAL:
        return drawn(net, need, at_draw, emf)
    current: Complex = need.z.conj() * at_draw if law == LINEAR else (need.p / at_draw).conj()
    return current


def _finished(
    matrices: Nodal, need: Demand, w: Complex, last: Solution, frame: Frame, iterations: int, rate: float
) -> Solution | None:
    """The solution at converged voltages; None if the loads have another law there than the iteration took."""
    net, n_free, n_emf = matrices.net, len(last.v_free), len(matrices.net.sources.bus)
    at_draw, emf = w.take(matrices.draw_place), w[n_free : n_free + n_emf]
    trend = w[:n_free] - last.v_free
    margin = -1.0
    if need.fixed:  # no voltage has moved farther than the largest change: no look while that is little
        margin = last.margin_pu - 1.5 * float(np.abs(trend.view(np.float64)).max())
    margin = margin if margin > 0 else lowest(need, at_draw)
    if need.fixed and (margin < 0) != (last.margin_pu < 0):
        return None
    w[n_free + n_emf :] = _currents(_law(net, need, margin, last.frame.chord.inverse), net, need, at_draw, emf)
    found = Found(iterations, margin, margin < 0 and has_collapsed(need, at_draw), trend, rate)
    return matrices.solution((w[:n_free], w[n_free:].copy(), at_draw), frame, found)


def restart(net: Reduction, need: Demand, emf: Complex, last: Solution | None) -> Solution:
    """Full Newton, from the last voltages and from the open-circuit ones at several levels; freezes a new chord."""
    matrices = nodal(net)
    unloaded = matrices.unloaded.solve(matrices.push @ emf)
    starts = [unloaded, unloaded * 0.5, unloaded * 0.2]
    if last is not None and np.isfinite(last.v_free).all():
        starts.insert(0, last.v_free * net.turn_at(last.turn, net.island[net.free_bus]))
    worst = (0, np.nan)
    for start in starts:
        v, iterations = _newton(matrices, need, emf, start)
        at_draw = np.concatenate((v, emf))[matrices.draw_place]
        if iterations:
            chord = Chord(np.where(net.sources.connected, emf, 0), matrices.frozen(need, v, emf))
            frame = Frame(net.no_turn, chord)
            margin = lowest(need, at_draw)
            found = Found(iterations, margin, margin < 0 and has_collapsed(need, at_draw), np.zeros_like(v), UNKNOWN)
            x = np.concatenate((emf, drawn(net, need, at_draw, emf)))
            return matrices.solution((v, x, at_draw), frame, found)
        worst = worst_node(net, at_draw)
    raise VoltageCollapse(*worst)


def _newton(matrices: Nodal, need: Demand, emf: Complex, v: Complex) -> tuple[Complex, int]:
    """Voltages of the free buses by damped Newton, and the number of iterations, 0 if it did not converge."""
    net, pushed = matrices.net, matrices.push @ emf

    def missing(at: Complex) -> Complex:
        current = drawn(net, need, np.concatenate((at, emf))[matrices.draw_place], emf)
        miss: Complex = matrices.y @ at + matrices.scatter @ current - pushed
        return miss

    def correction(at: Complex, miss: Complex) -> Complex | None:
        try:
            change: Complex = matrices.factors(need, at, emf).solve(miss.view(np.float64)).view(np.complex128)
        except RuntimeError:  # singular: exactly at a nose
            return None
        return change

    return damped_newton(missing, correction, v, 1e-12)
