"""The network solve of one instant for large networks: the chord iteration of `solve` on sparse factors.

The unknowns are all free bus voltages, the Jacobian is the nodal admittance matrix with what the loads add to its
diagonal, in real 2 x 2 blocks; a feeder's factors are hardly fuller than its matrix.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import splu

from gridloop.simulators.models.loads import Demand
from gridloop.simulators.models.network import Complex
from gridloop.simulators.models.nodal import Reduction
from gridloop.simulators.models.solve import (
    MOST_CHORD_STEPS,
    MOST_NEWTON_STEPS,
    TOLERANCE_PU,
    Chord,
    Frame,
    Solution,
    VoltageCollapse,
    current_derivatives,
    drawn,
    has_collapsed,
    lowest,
)

ENOUGH_PU = TOLERANCE_PU / 10  # all free buses count, not the loads' alone


class Nodal:
    """Sparse matrices of one topology: y V + scatter I = push E for the free buses (f,)."""

    def __init__(self, net: Reduction) -> None:
        self.net = net
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
        """Factorised Jacobian at the free buses' voltages."""
        at = np.concatenate((v, emf))[self.draw_place]
        jacobian = self.jacobian(*current_derivatives(self.net, need, at, emf))
        return splu(jacobian, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})

    def terminals(self, emf: Complex, v: Complex, drawn: Complex) -> tuple[Complex, Complex]:
        """Voltage at each source's bus and current out of each source (s, ...), for columns of what decides them.

        Args:
            emf: EMFs (s, ...).
            v: voltages of the free buses (f, ...).
            drawn: currents of the nodes that draw (k, ...).
        """
        net, shape = self.net, (-1,) + (1,) * (emf.ndim - 1)
        connected, norton_y = net.sources.connected.reshape(shape), self.norton_y.reshape(shape)
        v_terminal = np.concatenate((v, emf))[self.source_place] * connected
        i_source = norton_y * (emf - v_terminal)
        i_source[net.limited] -= drawn[len(net.supplied) :]
        if len(net.held):
            rows, draws, beside = self.held_rows
            v_bus = np.zeros((net.network.n_bus, *emf.shape[1:]), complex)
            v_bus[net.free_bus], v_bus[net.sources.bus[net.held]] = v, emf[net.held]
            i_source[net.held] = rows @ v_bus + draws @ drawn - beside @ i_source
        return v_terminal, i_source

    def solution(self, need: Demand, point: tuple[Complex, Complex], frame: Frame, iterations: int) -> Solution:
        """What the sources feel at the converged `point`: EMFs and voltages of the free buses."""
        net, (emf, v) = self.net, point
        at_draw = np.concatenate((v, emf))[self.draw_place]
        current = drawn(net, need, at_draw, emf)
        v_terminal, i_source = self.terminals(emf, v, current)
        turn = frame.turn if net.n_island < 2 else frame.turn[net.island_of_source]
        margin = lowest(need, at_draw)
        return Solution(
            np.concatenate((emf, current)), frame, at_draw, v_terminal, v_terminal * turn,
            v_terminal * i_source.conj(), iterations, margin, margin < 0 and has_collapsed(need, at_draw), v,
        )  # fmt: skip


def nodal(net: Reduction) -> Nodal:
    """The sparse matrices of a topology, made once."""
    known: Nodal | None = net.__dict__.get("_nodal")
    if known is None:
        known = net.__dict__["_nodal"] = Nodal(net)
    return known


def chord_solve(net: Reduction, need: Demand, emf: Complex, last: Solution, turn: Any) -> Solution | None:
    """Iterate on the frozen factors from the last voltages; None if that does not converge."""
    matrices, chord = nodal(net), last.frame.chord
    pushed = matrices.push @ emf
    v, before = last.v_free, 0.0
    for iteration in range(1, MOST_CHORD_STEPS + 1):
        current = drawn(net, need, np.concatenate((v, emf))[matrices.draw_place], emf)
        miss = matrices.y @ v + matrices.scatter @ current - pushed
        change = chord.inverse.solve(miss.view(np.float64))
        v = v - change.view(np.complex128)
        size = math.sqrt(change.dot(change))
        rate = size / before if before else 1.0
        if size < ENOUGH_PU or (rate < 0.1 and size * rate < ENOUGH_PU):
            return matrices.solution(need, (emf, v), Frame(turn, chord), iteration)
        if not rate <= 1.0 or not size < 0.3 * math.sqrt(len(v)):  # leaving the basin, or not a number
            return None
        before = size
    return None


def restart(net: Reduction, need: Demand, emf: Complex, last: Solution | None) -> Solution:
    """Full Newton, from the last voltages and from the open-circuit ones at several levels; freezes a new chord."""
    matrices = nodal(net)
    unloaded = splu(net.free_matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(
        matrices.push @ emf
    )
    starts = [unloaded, unloaded * 0.5, unloaded * 0.2]
    if last is not None and np.isfinite(last.v_free).all():
        turn = last.turn if net.n_island < 2 else last.turn[net.island[net.free_bus]]
        starts.insert(0, last.v_free * turn)
    worst: tuple[float, int] = (np.nan, 0)
    for start in starts:
        v, iterations = _newton(matrices, need, emf, start)
        if iterations:
            chord = Chord(np.where(net.sources.connected, emf, 0), matrices.factors(need, v, emf))
            frame = Frame(1.0 + 0.0j if net.n_island < 2 else np.ones(net.n_island, complex), chord)
            return matrices.solution(need, (emf, v), frame, iterations)
        at_loads = np.abs(np.concatenate((v, emf))[matrices.draw_place[: len(net.supplied)]])
        worst = (float(at_loads.min()), int(at_loads.argmin()))
    raise VoltageCollapse(int(net.supplied[worst[1]]), worst[0])


def _newton(matrices: Nodal, need: Demand, emf: Complex, v: Complex) -> tuple[Complex, int]:
    """Damped Newton; returns the voltages and the number of iterations, 0 if it did not converge."""
    net, pushed = matrices.net, matrices.push @ emf

    def missing(at: Complex) -> Complex:
        current = drawn(net, need, np.concatenate((at, emf))[matrices.draw_place], emf)
        miss: Complex = matrices.y @ at + matrices.scatter @ current - pushed
        return miss

    miss = missing(v)
    for iteration in range(1, MOST_NEWTON_STEPS + 1):
        try:
            change = matrices.factors(need, v, emf).solve(miss.view(np.float64)).view(np.complex128)
        except RuntimeError:  # singular: exactly at a nose
            return v, 0
        step = 1.0
        while step > 1e-4:
            trial = v - step * change
            trial_miss = missing(trial) if np.all(trial != 0) else np.full_like(v, np.nan)
            if np.linalg.norm(trial_miss) <= (1 - step / 4) * np.linalg.norm(miss) + 1e-12:
                break
            step /= 2
        else:
            return v, 0
        v, miss = trial, trial_miss
        if np.linalg.norm(change) * step < TOLERANCE_PU:
            return v, iteration
    return v, 0
