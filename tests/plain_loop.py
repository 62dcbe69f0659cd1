"""The coupling without mosaik: the product's model functions in a plain loop, the wirings that it is compared
with, and the same plant as differential equations that share no solver with them.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from gridloop.simulators.models import inverter
from gridloop.simulators.models.loads import Demand, Loads, demand
from gridloop.simulators.models.network import Complex, Index, Mask, Network, Real, admittance_matrix
from gridloop.simulators.models.nodal import Reduction, Sources, reduce
from gridloop.simulators.models.solve import Solution, solve

Scheme = Literal["foh", "foh_without_reset", "zoh", "jacobi", "heun"]


class Plant(NamedTuple):
    """Droop sources and loads on a network."""

    network: Network
    closed: Mask
    sources: Sources
    loads: Loads
    params: inverter.Params


Change = Callable[[Plant], Plant]
Event = tuple[int, Change]  # microseconds, and what happens to the plant


class Start(NamedTuple):
    """Operating point at rest; each field (n,)."""

    s_pu: Complex
    emf_pu: Complex


class Trace(NamedTuple):
    """A run, one row a tick (T,); the row of an event is that just after it."""

    t_us: Index
    f_hz: Real  # (T, n) as the grid was told it, together with the EMFs
    emf_pu: Complex  # (T, n) that the grid solved for
    s_pu: Complex  # (T, n)
    s_filtered_pu: Complex  # (T, n)

    def at(self, t_us: int) -> "Trace":
        """The row of one tick."""
        (row,) = np.flatnonzero(self.t_us == t_us)
        return Trace._make(column[row] for column in self)

    def rows(self, t_us: Iterable[int]) -> "Trace":
        """The rows of the given ticks, which must all exist."""
        wanted = np.fromiter(t_us, int)
        rows = np.searchsorted(self.t_us, wanted)
        assert np.array_equal(self.t_us[rows], wanted)
        return Trace._make(column[rows] for column in self)


def step_load(row: int, p_pu: float, q_pu: float) -> Change:
    """Add P + jQ to one load; it is of the load's own kind."""

    def change(plant: Plant) -> Plant:
        here = np.arange(len(plant.loads.bus)) == row
        loads = plant.loads._replace(p0_pu=plant.loads.p0_pu + p_pu * here, q0_pu=plant.loads.q0_pu + q_pu * here)
        return plant._replace(loads=loads)

    return change


def open_line(name: str) -> Change:
    """Open one branch, named by its two ends."""

    def change(plant: Plant) -> Plant:
        closed = plant.closed.copy()
        closed[plant.network.row_of_branch(name)] = False
        return plant._replace(closed=closed)

    return change


class Grid(NamedTuple):
    """A plant and its network as the sources and loads see it."""

    plant: Plant
    net: Reduction


def grid_of(plant: Plant) -> Grid:
    """Fold the network of the closed branches."""
    return Grid(plant, reduce(plant.network, plant.closed, plant.sources, plant.loads.bus))


def demand_at(grid: Grid, f_hz: Any) -> Demand:
    """What the supplied loads want; their frequency is the mean of `f_hz` (n,) weighted with 1/m."""
    weight, f_nom_hz = 1 / grid.plant.params.droop_p_rad_per_s_pu, grid.plant.params.f_nom_hz
    df_pu = float(weight @ (f_hz - f_nom_hz) / weight.sum() / f_nom_hz)
    return demand(Loads._make(column[grid.net.supplied] for column in grid.plant.loads), df_pu)


class Memory(NamedTuple):
    """What is carried from one tick to the next."""

    state: inverter.State
    sent: inverter.Outputs  # what the grid was told at the last tick
    s_pu: Complex  # and what it answered
    s_before_pu: Complex  # and at the tick before
    interval_s: float  # between these two; 0 = there was no tick before
    event: bool  # whether the grid's event counter moved between the two
    solution: Solution | None


def at_rest(plant: Plant, start: Start) -> Memory:
    """Memory before the first tick."""
    state = inverter.initial(plant.params, *start)
    sent = inverter.respond(plant.params, state, inverter.held(plant.params))
    return Memory(state, sent, start.s_pu, start.s_pu, 0.0, False, None)


def tick(grid: Grid, memory: Memory, dt_s: float, scheme: Scheme, due: Sequence[Change] = ()) -> tuple[Grid, Memory]:
    """The devices advance on the grid's last answer; then the grid applies what is due and solves.

    With both directions time-shifted (Jacobi) the grid solves for what the devices sent at the last tick.
    """
    p = grid.plant.params
    state = advance(grid, memory, dt_s, scheme)
    sent = inverter.respond(p, memory.state if scheme == "jacobi" else state, inverter.held(p))
    last = memory.solution
    if due:
        plant = grid.plant
        for change in due:
            plant = change(plant)
        grid, last = grid_of(plant), None
    solution = solve(grid.net, demand_at(grid, sent.f_hz), sent.emf_pu, last)
    return grid, Memory(state, sent, solution.s_source, memory.s_pu, dt_s, bool(due), solution)


def advance(grid: Grid, memory: Memory, dt_s: float, scheme: Scheme) -> inverter.State:
    """The devices' state after the interval that has passed, with the slopes of the scheme."""
    p, held = grid.plant.params, inverter.held(grid.plant.params)._replace(s_pu=memory.s_pu)
    slope = np.zeros_like(memory.s_pu)
    reset = scheme == "foh" and memory.event
    if scheme in ("foh", "foh_without_reset") and memory.interval_s > 0 and not reset:
        slope = (memory.s_pu - memory.s_before_pu) / memory.interval_s
    elif scheme == "heun" and dt_s > 0:
        tried = inverter.advance(p, memory.state, held, inverter.Slopes(slope), dt_s)
        trial = inverter.respond(p, tried, held)
        s_trial = solve(grid.net, demand_at(grid, trial.f_hz), trial.emf_pu, memory.solution).s_source
        slope = (s_trial - memory.s_pu) / dt_s
    return inverter.advance(p, memory.state, held, inverter.Slopes(slope), dt_s)


def run(
    plant: Plant, start: Start, h_us: int, end_us: int, events: Sequence[Event] = (), scheme: Scheme = "foh"
) -> Trace:
    """Macro steps of `h_us`, with an extra tick at every event that lies between two of them."""
    grid, memory = grid_of(plant), at_rest(plant, start)
    rows, before_us = [], 0
    for t_us in sorted({*range(0, end_us + 1, h_us), *(t for t, _ in events)}):
        due = [change for t, change in events if t == t_us]
        grid, memory = tick(grid, memory, (t_us - before_us) * 1e-6, scheme, due)
        rows.append((t_us, memory.sent.f_hz, memory.sent.emf_pu, memory.s_pu, memory.state.s_filtered_pu))
        before_us = t_us
    return Trace._make(np.array(column) for column in zip(*rows, strict=True))


class Equations:
    """The plant as dy/dt = rates(y), y = [delta, P_f, Q_f] (3 n,), the network solved in every call.

    Written from the equations alone, with dense matrices and Newton's method from the open circuit; for ideal
    sources without limits and constant-power loads.
    """

    def __init__(self, plant: Plant) -> None:
        y = admittance_matrix(plant.network, plant.closed).toarray()
        source, free = plant.sources.bus, np.setdiff1d(np.arange(len(y)), plant.sources.bus)
        load = np.searchsorted(free, plant.loads.bus)
        z = np.linalg.inv(y[np.ix_(free, free)])
        self._open_circuit = -(z @ y[np.ix_(free, source)])[load]
        self._z_load = z[np.ix_(load, load)]
        self._y_source = y[np.ix_(source, source)] - y[np.ix_(source, free)] @ z @ y[np.ix_(free, source)]
        self._share = -(y[np.ix_(source, free)] @ z)[:, load]
        self._s_load = plant.loads.p0_pu + 1j * plant.loads.q0_pu
        self._params, self._set, self._n = plant.params, inverter.held(plant.params), len(source)

    def slip(self, y: Real) -> Real:
        """Deviation of the sources' angular frequency [rad/s]."""
        return -self._params.droop_p_rad_per_s_pu * (y[self._n : 2 * self._n] - self._set.p_set_pu)

    def emf(self, y: Real) -> Complex:
        """EMFs of the sources."""
        q_filtered = y[2 * self._n :]
        magnitude = self._set.v_set_pu - self._params.droop_q_pu * (q_filtered - self._set.q_set_pu)
        emf: Complex = magnitude * np.exp(1j * y[: self._n])
        return emf

    def power(self, y: Real) -> Complex:
        """Power out of the sources."""
        emf = self.emf(y)
        drawn = (self._s_load / self._load_voltage(emf)).conj()
        s: Complex = emf * (self._y_source @ emf + self._share @ drawn).conj()
        return s

    def rates(self, _: float, y: Real) -> Real:
        """dy/dt."""
        s, corner = self.power(y), self._params.corner_rad_per_s
        p_filtered, q_filtered = y[self._n : 2 * self._n], y[2 * self._n :]
        return np.concatenate((self.slip(y), corner * (s.real - p_filtered), corner * (s.imag - q_filtered)))

    def _load_voltage(self, emf: Complex) -> Complex:
        # V - V_open + Z conj(S/V) = 0; its change is dV + mirror conj(dV), mirror = -Z conj(S/V^2)
        v_open: Complex = self._open_circuit @ emf
        v, one = v_open, np.eye(len(v_open))
        for _ in range(20):
            miss = v - v_open + self._z_load @ (self._s_load / v).conj()
            mirror = -self._z_load * (self._s_load / v**2).conj()
            jacobian = np.block([[one + mirror.real, mirror.imag], [mirror.imag, one - mirror.real]])
            change = np.linalg.solve(jacobian, np.concatenate((miss.real, miss.imag)))
            v = v - (change[: len(v)] + 1j * change[len(v) :])
            if np.abs(change).max() < 1e-13:
                return v
        raise ArithmeticError("the reference finds no load voltages")


def reference(plant: Plant, start: Start, t_us: Iterable[int], events: Sequence[Event] = ()) -> Trace:
    """The plant at the instants `t_us` and at the events, solved piece by piece by DOP853."""
    instants = np.array(sorted({*t_us, *(t for t, _ in events)}))
    y = np.concatenate((np.angle(start.emf_pu), start.s_pu.real, start.s_pu.imag))
    rows: dict[int, tuple[Any, ...]] = {}
    for begin_us, change in [(0, None), *events]:
        plant = change(plant) if change else plant
        end_us = min((t for t, _ in events if t > begin_us), default=int(instants[-1]))
        piece = instants[(instants >= begin_us) & (instants <= end_us)]
        equations = Equations(plant)
        span_s = (begin_us * 1e-6, end_us * 1e-6)
        solved = solve_ivp(equations.rates, span_s, y, "DOP853", piece * 1e-6, rtol=1e-10, atol=1e-12)
        # the next piece writes the row of the event between them anew
        for t, at in zip(piece.tolist(), solved.y.T, strict=True):
            f_hz = plant.params.f_nom_hz + equations.slip(at) / (2 * np.pi)
            _, p_filtered, q_filtered = np.split(at, 3)
            rows[t] = t, f_hz, equations.emf(at), equations.power(at), p_filtered + 1j * q_filtered
        y = solved.y[:, -1]
    return Trace._make(np.array(column) for column in zip(*rows.values(), strict=True))
