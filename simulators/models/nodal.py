"""The network seen from its sources and loads, and the solve of one instant.

Sources are EMFs, ideal (the bus voltage itself) or behind an impedance (Norton). `reduce` folds the network
of one topology into two small linear maps from (EMFs, load currents); `solve` then finds the load voltages by
a chord Newton iteration: the inverse Jacobian is that of the last event, in a frame that turns with the
sources, so that a step of an undisturbed grid costs a few small matrix-vector products.

Non-convergence is an outcome (`VoltageCollapse`), never hidden by clipping.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import splu

from gridloop.simulators.models import loads as zip_loads
from gridloop.simulators.models.loads import V_RELIEF_PU, Demand
from gridloop.simulators.models.network import (
    Complex,
    Index,
    Mask,
    Network,
    Real,
    admittance_matrix,
    branch_flows,
    islands,
)

TOLERANCE_PU = 1e-11  # estimated error of the load voltages
MOST_EMF_PU = 10.0
MOST_CHORD_STEPS = 12  # then the Jacobian is made anew
MOST_NEWTON_STEPS = 60


class VoltageCollapse(ArithmeticError):
    """The network equations have no solution that Newton's method reaches; `load` is the worst load's row."""

    def __init__(self, load: int, v_pu: float) -> None:
        super().__init__(f"no network solution; the worst load stands at {v_pu:.3g} pu")
        self.load = load


class Sources(NamedTuple):
    """EMFs of s sources; each field (s,)."""

    bus: Index
    z_pu: Complex  # system base; 0 = ideal, the EMF is the bus voltage
    connected: Mask


@dataclass(frozen=True)
class Reduction:
    """Linear maps of one topology from x = [EMFs (s,), currents that loads draw (k,)], k loads that are supplied.

    `to_bus` (n, s + k) gives every bus voltage, `to_terminal` (2 s, s + k) the voltage at each source's bus and
    the current out of each source, `emf_to_load` (k, s) and `load_to_load` (k, k) the voltage at the loads.
    """

    network: Network
    closed: Mask
    sources: Sources
    supplied: Index  # rows of the loads that have voltage
    dead_bus: Mask  # (n,) without a connected source in their island
    to_bus: Complex
    to_terminal: Complex
    emf_to_load: Complex
    load_to_load: Complex


def reduce(network: Network, closed: Mask, sources: Sources, load_bus: Index) -> Reduction:
    """Fold the closed branches into maps from EMFs and load currents; buses without a source are dead (V = 0).

    Raises:
        ValueError: two ideal sources at one bus.
    """
    ideal = sources.connected & (sources.z_pu == 0)
    held = sources.bus[ideal]
    if len(set(held.tolist())) < len(held):
        raise ValueError("two ideal sources at one bus; give at least one of them an impedance (z_pu)")
    label = islands(network, closed)
    dead = ~np.isin(label, label[sources.bus[sources.connected]])
    supplied = np.flatnonzero(~dead[load_bus])
    n_source, n_load = len(sources.bus), len(supplied)

    norton = np.flatnonzero(sources.connected & ~ideal)
    norton_y = 1.0 / sources.z_pu[norton]
    y = admittance_matrix(network, closed)
    to_bus = np.zeros((network.n_bus, n_source + n_load), complex)
    to_bus[held, np.flatnonzero(ideal)] = 1.0
    injected = np.zeros_like(to_bus)
    np.add.at(injected, (sources.bus[norton], norton), norton_y)
    injected[load_bus[supplied], n_source + np.arange(n_load)] = -1.0
    free = np.setdiff1d(np.flatnonzero(~dead), held)
    if len(free):
        own = np.zeros(network.n_bus, complex)
        np.add.at(own, sources.bus[norton], norton_y)
        matrix = (y + diags_array(own)).tocsc()[free][:, free].tocsc()
        right = injected[free] - y[free][:, held] @ to_bus[held]
        to_bus[free] = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(right)

    current = np.zeros((n_source, n_source + n_load), complex)
    current[norton, norton] = norton_y
    current[norton] -= norton_y[:, None] * to_bus[sources.bus[norton]]
    node_current = y @ to_bus - injected
    for source in norton:  # what the impedance draws at its own bus is the bus's, not the ideal source's
        node_current[sources.bus[source]] += to_bus[sources.bus[source]] / sources.z_pu[source]
    current[ideal] = node_current[held]
    at_source = np.where(sources.connected[:, None], to_bus[sources.bus], 0)
    at_load = to_bus[load_bus[supplied]]
    return Reduction(
        network, closed, sources, supplied, dead, to_bus, np.concatenate((at_source, current)),
        np.ascontiguousarray(at_load[:, :n_source]), np.ascontiguousarray(at_load[:, n_source:]),
    )  # fmt: skip


class Chord(NamedTuple):
    """A frozen Newton step: reference EMFs, whose mean turn defines the frame, and the inverse Jacobian (2k, 2k)."""

    emf_ref: Complex
    inverse: Real


class Frame(NamedTuple):
    """The frame of a solution: what turns it back to the nominal one, and the chord that it belongs to."""

    turn: complex
    chord: Chord


class Solution(NamedTuple):
    """One instant; its phasors stand in `frame`."""

    x: Complex  # [EMFs (s,), currents that the supplied loads draw (k,)]
    frame: Frame
    v_load: Complex  # (k,)
    v_terminal: Complex  # (s,) voltage at each source's bus
    s_source: Complex  # (s,) power out of each source into its bus, pu
    iterations: int
    margin_pu: float  # at most this far is the lowest supplied load above V_RELIEF_PU; below 0 it has collapsed

    @property
    def turn(self) -> complex:
        """What brings the solution's phasors to the nominal frame."""
        return self.frame.turn

    @property
    def chord(self) -> Chord:
        """The frozen Newton step that the solution was found with."""
        return self.frame.chord

    @property
    def collapsed(self) -> bool:
        """Whether a supplied load stands below V_RELIEF_PU."""
        return self.margin_pu < 0

    @property
    def v_source(self) -> Complex:
        """Voltage at each source's bus (s,) in the nominal frame, pu."""
        return self.v_terminal * self.frame.turn


def solve(net: Reduction, need: Demand, emf: Complex, last: Solution | None) -> Solution:
    """Solve the network for the EMFs `emf` (s,), starting from the last solution of the same reduction.

    `need` holds the supplied loads only. `last` is None after every event.

    Raises:
        VoltageCollapse: no solution was found.
        ValueError: an EMF is not finite.
        ArithmeticError: an EMF is beyond MOST_EMF_PU, as in a run that diverges.
    """
    if last is None:
        return _restart(net, need, emf, None)
    chord, z = last.frame.chord, net.load_to_load
    turn = complex(np.vdot(chord.emf_ref, emf))
    if not abs(turn) < MOST_EMF_PU * len(emf):
        _check_size(emf)
    turn /= abs(turn) or 1.0
    emf_turned = emf * turn.conjugate()
    # ndarray.dot has half the overhead of the @ operator, which counts for the few loads of a microgrid
    bias = net.emf_to_load.dot(emf_turned)
    v, before, moved = last.v_load, 0.0, 0.0
    constant_power = need.constant_power and last.margin_pu >= 0
    for iteration in range(1, MOST_CHORD_STEPS + 1):
        s = need.p if constant_power else zip_loads.power(need, v)
        change = chord.inverse.dot((v - bias - z.dot((s / v).conj())).view(np.float64))
        v = v - change.view(np.complex128)
        size = math.sqrt(change.dot(change))
        moved += size
        # the linear rate of a chord iteration bounds what is still missing after this step
        rate = size / before if before else 1.0
        if size < TOLERANCE_PU or (rate < 0.1 and size * rate < TOLERANCE_PU):
            # no load has moved farther than all of them together: the voltages need no look while that is little
            margin = last.margin_pu - moved
            margin = margin if margin > 0 else _margin(v)
            if (margin < 0) != (last.margin_pu < 0):
                break  # the loads have another law on this side of V_RELIEF_PU
            s = need.p if constant_power else zip_loads.power(need, v)
            return _solution(net, emf_turned, (v, s), Frame(turn, chord), iteration, margin)
        if not rate <= 1.0 or size > 0.3:  # leaving the basin, or not a number
            break
        before = size
    return _restart(net, need, emf, v * turn)


def _check_size(emf: Complex) -> None:
    """Refuse EMFs that no physical source has."""
    if not np.isfinite(emf).all():
        raise ValueError(f"the EMF of source {int(np.flatnonzero(~np.isfinite(emf))[0]) + 1} is not finite")
    largest = int(np.abs(emf).argmax())
    if abs(emf[largest]) > MOST_EMF_PU:
        raise ArithmeticError(f"the EMF of source {largest + 1} has grown to {abs(emf[largest]):.3g} pu: unstable")


def _margin(v: Complex) -> float:
    return float(np.minimum.reduce(np.abs(v), initial=np.inf)) - V_RELIEF_PU


def _solution(
    net: Reduction, emf: Complex, load: tuple[Complex, Complex], frame: Frame, iterations: int, margin_pu: float
) -> Solution:
    """What the sources feel at converged load voltages and powers `load`."""
    v, s = load
    x = np.concatenate((emf, (s / v).conj()))
    terminal = net.to_terminal.dot(x)
    v_terminal = terminal[: len(emf)]
    s_source = v_terminal * terminal[len(emf) :].conj()
    return Solution(x, frame, v, v_terminal, s_source, iterations, margin_pu)


def _restart(net: Reduction, need: Demand, emf: Complex, guess: Complex | None) -> Solution:
    """Full Newton, from the guess and from the open-circuit voltages at several levels; freezes a new chord."""
    _check_size(emf)
    bias = net.emf_to_load @ emf
    starts = [bias, bias * 0.5, bias * 0.2]
    worst: tuple[float, int] = (np.nan, 0)
    for start in starts if guess is None or not np.isfinite(guess).all() else [guess, *starts]:
        v, iterations = _newton(net, need, bias, start)
        if iterations:
            chord = Chord(np.where(net.sources.connected, emf, 0), _inverse_jacobian(net, need, v))
            s = zip_loads.power(need, v)
            return _solution(net, emf, (v, s), Frame(1.0 + 0.0j, chord), iterations, _margin(v))
        worst = (float(np.abs(v).min()), int(np.abs(v).argmin()))
    raise VoltageCollapse(int(net.supplied[worst[1]]), worst[0])


def _newton(net: Reduction, need: Demand, bias: Complex, v: Complex) -> tuple[Complex, int]:
    """Damped Newton; returns the voltages and the number of iterations, 0 if it did not converge."""

    def missing(at: Complex) -> Complex:
        return at - bias - net.load_to_load @ (zip_loads.power(need, at) / at).conj()

    miss = missing(v)
    for iteration in range(1, MOST_NEWTON_STEPS + 1):
        change = (_inverse_jacobian(net, need, v) @ miss.view(np.float64)).view(np.complex128)
        step = 1.0
        while step > 1e-4:
            trial = v - step * change
            trial_miss = missing(trial) if np.all(trial != 0) else np.full_like(v, np.nan)
            if np.linalg.norm(trial_miss) <= (1 - step / 4) * np.linalg.norm(miss) + 1e-14:
                break
            step /= 2
        else:
            return v, 0
        v, miss = trial, trial_miss
        if np.linalg.norm(change) * step < TOLERANCE_PU:
            return v, iteration
    return v, 0


def _inverse_jacobian(net: Reduction, need: Demand, v: Complex) -> Real:
    """Inverse of d(miss)/d(Re V, Im V) in interleaved order, (2k, 2k)."""
    a, b = zip_loads.current_derivatives(need, v)
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


class Observation(NamedTuple):
    """Everything that follows from solutions of one reduction; leading dimensions as in `x`."""

    v_bus: Complex  # (..., n)
    s_from: Complex  # (..., m) into each branch at its from end
    s_to: Complex
    loss_pu: Any  # (...) active power lost in branches and shunts
    s_load: Complex  # (..., k) of every load, 0 where it has no voltage
    mismatch_pu: Any  # (...) largest nodal power that the solution leaves unbalanced


def observe(net: Reduction, load_bus: Index, x: Complex) -> Observation:
    """Bus voltages, flows, losses and loads of recorded `x` (..., s + k); vectorised over many instants."""
    n_source = len(net.sources.bus)
    v = x @ net.to_bus.T
    s_from, s_to = branch_flows(net.network, net.closed, v)
    s_shunt = np.abs(v) ** 2 * net.network.shunt_pu.conj()
    s_load = np.zeros((*x.shape[:-1], len(load_bus)), complex)
    s_load[..., net.supplied] = v[..., load_bus[net.supplied]] * x[..., n_source:].conj()
    terminal = x @ net.to_terminal.T
    s_source = terminal[..., :n_source] * terminal[..., n_source:].conj()

    balance = -s_shunt
    for at, s in ((net.sources.bus, s_source), (load_bus, -s_load),
                  (net.network.from_bus, -s_from), (net.network.to_bus, -s_to)):  # fmt: skip
        np.add.at(balance, (..., at), s)  # type: ignore[arg-type]  # numpy's stub knows no ellipsis here
    return Observation(
        v, s_from, s_to, (s_from + s_to).real.sum(-1) + s_shunt.real.sum(-1), s_load, np.abs(balance).max(-1)
    )


def loading_percent(net: Network, seen: Observation) -> Real:
    """Larger of both end currents relative to the rating, percent (..., m); nan where no rating is given."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [np.abs(s / seen.v_bus[..., bus]) for s, bus in ((seen.s_from, net.from_bus), (seen.s_to, net.to_bus))]
    loading: Real = 100 * np.fmax(np.nan_to_num(ends[0]), np.nan_to_num(ends[1])) / net.rating_pu
    return loading
