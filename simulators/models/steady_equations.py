"""The equations of a settled microgrid: droop lines, limits, secondary control and network at once.

Unknown are the EMFs of the sources, y of every island (its slip, or what the droop lines of the members of a secondary
control see) and the voltage corrections; see `steady_control`. A unit is on its droop line or at a limit of its
power, whichever of the three conditions is in the middle; the network with its loads is solved inside (`solve`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.loads import Demand
from gridloop.simulators.models.network import Complex, Index, Mask, Real
from gridloop.simulators.models.nodal import Reduction
from gridloop.simulators.models.solve import Solution, VoltageCollapse, solve
from gridloop.simulators.models.steady_control import Measured, SteadyControl
from gridloop.simulators.models.steady_lines import Line, Settings, Terminal

NUDGE = 1e-6  # of each unknown, for the Jacobian
MISSING_PU = 1e-6  # in the equations of islands that are told to have no settled state
LARGEST_DEVIATION = 0.2  # of the frequency, relative
NO_UNITS = Settings(*(np.zeros(0),) * 7)


class Stuck(ArithmeticError):
    """Newton's method does not get on, because of some islands."""

    def __init__(self, islands: Sequence[int], words: str) -> None:
        super().__init__(words)
        self.islands = islands


@dataclass(frozen=True)
class Plant:
    """What is to settle; the network's first d sources are those of `lines`, in their order.

    `demand` gives what the network's nodes draw at the slips (i,) of the islands.
    """

    net: Reduction
    f_nom_hz: float
    lines: Sequence[Line]
    demand: Callable[[Real], Demand]
    emf_given_pu: Complex  # of the network's other sources
    slip_given_rad_per_s: float  # of these
    control: SteadyControl | None = None


class Memory(NamedTuple):
    """What a settled state leaves for the next one; of the same network if it is `net`."""

    emf_pu: Complex  # (d,)
    y_rad_per_s: Real
    correction_pu: Real  # (d,) of the voltage
    net: Reduction | None = None
    solution: Solution | None = None
    jacobian: "Jacobian | None" = None


class Jacobian(NamedTuple):
    """The inverse of a Jacobian, and the branch of the equations that it is of."""

    inverse: Real
    branch: Index


class Settled(NamedTuple):
    """A settled state of d sources and i islands."""

    emf_pu: Complex  # (s,) of all sources
    slip_rad_per_s: Real  # (i,)
    omega_rad_per_s: Real  # (d,) frequency correction of the secondary control
    correction_pu: Real  # (d,) its voltage correction
    at_limit: Mask  # (d,) of its active power
    solution: Solution
    memory: Memory


class Point(NamedTuple):
    """The equations at one set of unknowns."""

    miss: Real
    branch: Index
    solution: Solution


def _rows_of(lines: Sequence[Line]) -> list[slice]:
    """Where the units of each line stand among the sources."""
    ends = np.cumsum([0, *(len(line.settings.n_pu) for line in lines)]).tolist()
    return [slice(first, last) for first, last in pairwise(ends)]


class Equations:
    """miss(z) = 0 with z = [angles (l,), magnitudes (l,), y (i,), voltage corrections (k,)], l connected sources."""

    def __init__(self, plant: Plant, memory: Memory) -> None:
        self._plant, self._net = plant, plant.net
        net = plant.net
        settings = [line.settings for line in plant.lines] or [NO_UNITS]
        self._droop = Settings(*(np.concatenate(column) for column in zip(*settings, strict=True)))
        self._rows = _rows_of(plant.lines)
        self._count = len(self._droop.n_pu)
        self._live = np.flatnonzero(net.sources.connected[: self._count])
        self.n_live = len(self._live)
        self._island = net.island_of_source[: self._count] if net.n_island else np.full(self._count, -1)
        m = self._droop.m_rad_per_s_pu
        # what makes power of a slip; of isochronous units any will do
        self._per_slip = 1 / np.where(m > 0, m, 1.0)
        control = plant.control
        self._control = None if control is None else control.among(net.sources.connected[: self._count])
        self._n_voltage = 0 if self._control is None else self._control.n_voltage
        self._emf = memory.emf_pu
        self.given_slip = np.full(net.n_island, np.nan)
        on = net.sources.connected[self._count :]
        self.given_slip[net.island_of_source[self._count :][on]] = plant.slip_given_rad_per_s
        self._own = np.isnan(self.given_slip)  # islands whose frequency is not given; each has a source of ours
        first = [int(np.argmax(self._island[self._live] == i)) for i in np.flatnonzero(self._own)]
        self._first = np.array(first, np.intp)  # source of each of these, among the connected ones
        self.slack = np.array([self._strongest(i) for i in np.flatnonzero(self._own).tolist()], np.intp)
        self.held_y: Real | None = None  # in place of the slack units' conditions

    def _strongest(self, island: int) -> int:
        """The source, among the connected ones, whose power changes most with the frequency."""
        here = self._island[self._live] == island
        m = self._droop.m_rad_per_s_pu[self._live]
        return int(np.where(here, m, np.inf).argmin())

    @property
    def largest_rad_per_s(self) -> float:
        """Beyond this deviation no state is looked for."""
        return LARGEST_DEVIATION * 2 * np.pi * self._plant.f_nom_hz

    def start(self, memory: Memory) -> Real:
        """Where the last settled state stood."""
        emf = memory.emf_pu[self._live]
        y = memory.y_rad_per_s
        y = y if len(y) == self._net.n_island else np.zeros(self._net.n_island)
        y = np.where(self._own, y, np.nan_to_num(self.given_slip))
        return np.concatenate((np.angle(emf), np.abs(emf), y, self._voltage_of(memory.correction_pu)))

    def _voltage_of(self, correction: Real) -> Real:
        return correction[self._control.members] if self._control is not None and self._n_voltage else np.zeros(0)

    def parts(self, z: Real) -> tuple[Real, Real, Real, Real]:
        """Angles, magnitudes, y and voltage corrections."""
        live, island = self.n_live, self._net.n_island
        return z[:live], z[live : 2 * live], z[2 * live : 2 * live + island], z[2 * live + island :]

    def _emf_of(self, z: Real) -> Complex:
        angle, size, _, _ = self.parts(z)
        emf = self._emf.copy()
        emf[self._live] = size * np.exp(1j * angle)
        whole: Complex = np.concatenate((emf, self._plant.emf_given_pu))
        return whole

    def _frequencies(self, y: Real) -> tuple[Real, Real]:
        """Slip of every island, and Omega of every source's secondary control."""
        omega, control = np.zeros(self._count), self._control
        if control is None:
            return y, omega
        of_island = control.omega_rad_per_s(y, self._island[control.members], self.given_slip)
        omega[control.members] = of_island[self._island[control.members]]
        return y + of_island, omega

    def _correction(self, v: Real) -> Real:
        correction = np.zeros(self._count)
        if self._n_voltage and self._control is not None:
            correction[self._control.members] = v
        return correction

    def at(self, z: Real, last: Solution | None) -> Point:
        """What is missing in every equation."""
        net, droop, live = self._net, self._droop, self._live
        angle, _, y, v = self.parts(z)
        slip, omega = self._frequencies(y)
        emf = self._emf_of(z)
        solution = solve(net, self._plant.demand(slip), emf, last)
        s, slip_here = solution.s_source[: self._count], np.append(slip, 0.0)[self._island]
        felt = Terminal(
            emf[: self._count], solution.v_source[: self._count], s, slip_here / (2 * np.pi * self._plant.f_nom_hz)
        )
        low, high, voltage = self._limits_and_voltages(felt, droop.v_correction_pu + self._correction(v))
        along = slip_here - omega - droop.omega_rad_per_s + droop.m_rad_per_s_pu * (s.real - droop.p_set_pu)
        conditions = np.stack((s.real - high, along * self._per_slip, s.real - low))[:, live]
        branch = conditions.argsort(axis=0, kind="stable")[1]
        power = conditions[branch, np.arange(len(live))]
        frame = slip - self.given_slip
        frame[self._own] = angle[self._first] - np.angle(self._emf[live[self._first]])
        if self.held_y is not None:
            power[self.slack] = (y - self.held_y)[self._own]
        pieces = [power, voltage[live], frame]
        if self._n_voltage:
            pieces.append(self._voltage_rest(v, felt, solution))
        return Point(np.concatenate(pieces), branch, solution)

    def _limits_and_voltages(self, felt: Terminal, correction: Real) -> tuple[Real, Real, Real]:
        if not self._plant.lines:
            return NO_UNITS[:3]
        low, high, voltage = [], [], []
        for line, rows in zip(self._plant.lines, self._rows, strict=True):
            here = felt.at(rows)
            limits = line.power_limits_pu(here)
            low.append(limits[0])
            high.append(limits[1])
            voltage.append(line.voltage_miss_pu(here, correction[rows]))
        return np.concatenate(low), np.concatenate(high), np.concatenate(voltage)

    def _voltage_rest(self, v: Real, felt: Terminal, solution: Solution) -> Real:
        control, droop = self._control, self._droop
        assert control is not None
        members = control.members
        share = droop.n_pu[members] * (felt.s_pu.imag[members] - droop.q_set_pu[members])
        pilot = np.nan if control.pilot_bus is None else abs(self._net.to_bus[control.pilot_bus] @ solution.x)
        return control.voltage_miss_pu(v, Measured(np.abs(felt.v_pu[members]), share, droop.v_set_pu[members], pilot))

    def jacobian(self, z: Real, point: Point) -> Jacobian:
        """d(miss)/dz by differences."""
        columns = np.empty((len(z), len(z)))
        for k in range(len(z)):
            moved = z.copy()
            moved[k] += NUDGE
            columns[:, k] = (self.at(moved, point.solution).miss - point.miss) / NUDGE
        if not np.isfinite(columns).all():
            raise self.stuck(point)
        try:
            return Jacobian(np.linalg.inv(columns), point.branch)
        except np.linalg.LinAlgError as error:
            raise self.stuck(point) from error

    def stuck(self, cause: Point | VoltageCollapse) -> Stuck:
        """Why there is no way on."""
        if isinstance(cause, VoltageCollapse):
            island = int(self._net.island[cause.bus])
            return Stuck([max(island, 0)], f"voltage collapse: {cause}")
        missing = np.abs(np.nan_to_num(cause.miss[: 2 * self.n_live], nan=np.inf)).reshape(2, -1).max(0)
        islands = np.unique(self._island[self._live[missing > MISSING_PU]])
        return Stuck(islands.tolist() or list(range(self._net.n_island)), "no settled state was found")

    def result(self, z: Real, point: Point, jacobian: Jacobian | None, memory: Memory) -> Settled:
        """The settled state at a solution."""
        _, _, y, v = self.parts(z)
        slip, omega = self._frequencies(y)
        emf, correction = self._emf_of(z), self._correction(v)
        at_limit = np.zeros(self._count, bool)
        at_limit[self._live] = point.branch != 1
        kept = Memory(emf[: self._count], y, correction, self._net, point.solution, jacobian)
        return Settled(emf, slip, omega, correction, at_limit, point.solution, kept)
