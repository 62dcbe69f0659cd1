"""Devices and network in a plain loop, step by step as the co-simulation couples them: what linearisation starts from.

At tick n the devices show what their states are, the network is solved; then they advance on that, with the slopes of
the step before, to tick n + 1. What acts on them from outside (corrections, meters elsewhere) comes as `Driven`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models import flat_state
from gridloop.simulators.models.loads import Demand, Loads, demand, with_injections
from gridloop.simulators.models.network import Complex, Index, Mask, Network, Real
from gridloop.simulators.models.nodal import Reduction, Sources, reduce
from gridloop.simulators.models.solve import Solution, solve
from gridloop.simulators.ports import Model

Driven = Mapping[str, Any]  # field of a group's Inputs -> values (n,)


@dataclass(frozen=True)
class Units:
    """Units that are rows of the same arrays, and where they start."""

    ids: tuple[str, ...]
    model: Model | None  # None: their power is given and stays
    params: Any
    bus: Index
    z_pu: Complex
    i_max_pu: Real
    weight: Real  # in the frequency of the loads
    s_pu: Complex
    phasor_pu: Complex  # EMF, or bus voltage of those that inject power
    given: Mapping[str, Any] = field(default_factory=dict)  # inputs that others hold, by their fields

    @property
    def gives_emf(self) -> bool:
        """Whether the units are EMFs rather than injections."""
        return self.model is not None and self.model.source == "emf"


class Public(NamedTuple):
    """A closed connection to the public grid."""

    bus: int
    z_pu: complex
    emf_pu: complex
    f_hz: float


@dataclass(frozen=True)
class Plant:
    """Network, loads and units between two events; all units are connected."""

    network: Network
    closed: Mask
    loads: Loads
    units: tuple[Units, ...]
    step_s: float
    public: Public | None = None


class Past(NamedTuple):
    """What is carried from tick to tick; each field one entry a group of units."""

    states: tuple[Any, ...]
    s_pu: tuple[Complex, ...]  # what the network answered at the tick before
    v_pu: tuple[Complex, ...]
    public_rad: float  # angle of the public grid's EMF


class Now(NamedTuple):
    """A solved tick."""

    shown: tuple[Any, ...]  # Outputs of each group, None of given power
    s_pu: tuple[Complex, ...]
    v_pu: tuple[Complex, ...]
    solution: Solution


class PlantLoop:
    """A plant at work."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self._emf = [g for g, units in enumerate(plant.units) if units.gives_emf]
        self._power = [g for g, units in enumerate(plant.units) if not units.gives_emf]
        self.held: list[Any] = [
            None if u.model is None else u.model.held(u.params)._replace(**u.given) for u in plant.units
        ]
        self._turning = [
            {} if u.model is None else flat_state.turning(u.model, u.params, u.s_pu, u.phasor_pu) for u in plant.units
        ]
        self._near: Solution | None = None  # where every solve begins, so that equal EMFs have equal answers

    @cached_property
    def net(self) -> Reduction:
        """The network as sources, loads and injections see it."""
        plant, public = self.plant, self.plant.public
        emf, more = [plant.units[g] for g in self._emf], [] if public is None else [public]
        sources = Sources(
            np.array([*self._joined("bus", emf), *(p.bus for p in more)], np.intp),
            np.array([*self._joined("z_pu", emf), *(p.z_pu for p in more)], complex),
            np.ones(sum(len(u.ids) for u in emf) + len(more), bool),
            np.array([*self._joined("i_max_pu", emf), *(np.inf for _ in more)]),
        )
        injected = self._joined("bus", [plant.units[g] for g in self._power])
        return reduce(plant.network, plant.closed, sources, np.array([*plant.loads.bus, *injected], np.intp))

    @staticmethod
    def _joined(field: str, units: Sequence[Units]) -> list[Any]:
        return [value for u in units for value in np.broadcast_to(getattr(u, field), len(u.ids))]

    @cached_property
    def _rows(self) -> dict[int, slice]:
        """Of every group, among the sources or among the injections."""
        rows = {}
        for groups in (self._emf, self._power):
            begin = 0
            for g in groups:
                rows[g] = slice(begin, begin + len(self.plant.units[g].ids))
                begin = rows[g].stop
        return rows

    def start(self) -> Past:
        """The units at rest where they start."""
        units = self.plant.units
        states = tuple(None if u.model is None else u.model.initial(u.params, u.s_pu, u.phasor_pu) for u in units)
        v = tuple(u.phasor_pu if not u.gives_emf else self._terminal(u) for u in units)
        public = self.plant.public
        return Past(states, tuple(u.s_pu for u in units), v, 0.0 if public is None else float(np.angle(public.emf_pu)))

    @staticmethod
    def _terminal(units: Units) -> Complex:
        """Bus voltage E - z conj(S/V) of EMFs, by iteration from V = E."""
        v = units.phasor_pu
        for _ in range(50):
            v = units.phasor_pu - units.z_pu * (units.s_pu / v).conj()
        return v

    def now(
        self, past: Past, driven: Sequence[Driven], injected: Mapping[tuple[int, int], complex] | None = None
    ) -> Now:
        """What the units show and the network answers at a tick.

        Args:
            past: of the tick before.
            driven: inputs of every group from outside.
            injected: power of units (group, row) that is not what they show.

        Raises:
            VoltageCollapse: the network has no solution.
        """
        shown: tuple[Any, ...] = tuple(
            None if u.model is None else u.model.respond(u.params, past.states[g], self._inputs(g, past, driven[g]))
            for g, u in enumerate(self.plant.units)
        )
        emf = [shown[g].emf_pu for g in self._emf]
        if self.plant.public is not None:
            emf.append(np.array([abs(self.plant.public.emf_pu) * np.exp(1j * past.public_rad)]))
        power = [self._injected(g, shown[g]) for g in self._power]
        for (group, row), s_pu in (injected or {}).items():
            power[self._power.index(group)] = _with(power[self._power.index(group)], row, s_pu)
        none = np.zeros(0, complex)
        solution = solve(
            self.net, self._need(shown, np.concatenate((none, *power))), np.concatenate((none, *emf)), self._near
        )
        self._near = solution if self._near is None else self._near
        return Now(shown, *self._answers(solution), solution)

    def _inputs(self, g: int, past: Past | Now, driven: Driven) -> Any:
        """Inputs of a group with the network's answers of `past`."""
        model = self.plant.units[g].model
        assert model is not None
        answers = {"S[pu]": past.s_pu[g], "V[pu]": past.v_pu[g]}
        fields = {port.field: answers[port.attr] for port in model.inputs if port.attr in answers}
        return self.held[g]._replace(**{**fields, **driven})

    def _injected(self, g: int, shown: Any) -> Complex:
        units = self.plant.units[g]
        if units.model is None:
            return units.s_pu
        p: Complex = shown.p_gen_pu + 1j * shown.q_gen_pu
        return p

    def _need(self, shown: Sequence[Any], power: Complex) -> Demand:
        net, loads = self.net, self.plant.loads
        supplied = net.supplied[net.supplied < len(loads.bus)]
        served = loads.at(supplied)
        need = demand(served, self._deviation_pu(shown) if served.k_pf.any() or served.k_qf.any() else 0.0)
        injected = net.supplied[net.supplied >= len(loads.bus)] - len(loads.bus)
        if not len(injected):
            return need
        i_max = np.array(self._joined("i_max_pu", [self.plant.units[g] for g in self._power]), float)
        return with_injections(need, power[injected], i_max[injected])

    def _deviation_pu(self, shown: Sequence[Any]) -> Any:
        """(f - f0)/f0 at the supplied loads: the weighted mean of their island's sources, or the public grid's."""
        net, plant = self.net, self.plant
        f_nom, island = plant.network.f_nom_hz, net.island_of_source
        deviation = np.zeros(max(net.n_island, 1))
        weight = np.array(self._joined("weight", [plant.units[g] for g in self._emf]), float)
        f_hz = np.concatenate([shown[g].f_hz for g in self._emf]) if self._emf else np.zeros(0)
        for number in range(net.n_island):
            mine = island[: len(weight)] == number
            if mine.any():
                deviation[number] = weight[mine] @ (f_hz[mine] - f_nom) / weight[mine].sum()
        if plant.public is not None:
            deviation[island[-1]] = plant.public.f_hz - f_nom
        loads = int(np.searchsorted(net.supplied, len(plant.loads.bus)))
        return deviation[net.island_of_draw[:loads]] / f_nom

    def _answers(self, solution: Solution) -> tuple[tuple[Complex, ...], tuple[Complex, ...]]:
        """Power into the bus and bus voltage of every group."""
        net, plant, s, v = self.net, self.plant, dict[int, Complex](), dict[int, Complex]()
        for g in self._emf:
            s[g], v[g] = solution.s_source[self._rows[g]], solution.v_source[self._rows[g]]
        n_source, n_load = len(net.sources.bus), len(plant.loads.bus)
        alive = np.flatnonzero(net.supplied >= n_load)  # among the nodes that draw
        at = net.supplied[alive] - n_load
        count = sum(len(plant.units[g].ids) for g in self._power)
        taken, at_bus = np.zeros(count, complex), np.zeros(count, complex)
        v_draw = solution.v_load[alive]
        taken[at] = -v_draw * solution.x[n_source + alive].conj()
        at_bus[at] = v_draw * net.turn_at(solution.turn, net.island_of_draw[alive])
        for g in self._power:
            s[g], v[g] = taken[self._rows[g]], at_bus[self._rows[g]]
        order = range(len(plant.units))
        return tuple(s[g] for g in order), tuple(v[g] for g in order)

    def bus_voltage(self, now: Now, bus: int) -> complex:
        """Voltage of any bus in the nominal frame."""
        turn = self.net.turn_at(now.solution.turn, max(int(self.net.island[bus]), 0))
        return complex(self.net.to_bus[bus] @ now.solution.x * turn)

    def later(self, past: Past, now: Now, driven: Sequence[Driven], held: tuple[int, int] | None = None) -> Past:
        """The next tick's past; `driven` are the values in the middle of the step, all there is of the unit `held`."""
        h, states = self.plant.step_s, list[Any]()
        for g, units in enumerate(self.plant.units):
            if units.model is None:
                states.append(None)
                continue
            slopes = []
            for port in units.model.inputs:
                if port.hold == "linear":
                    new, old = (now.s_pu[g], past.s_pu[g]) if port.attr == "S[pu]" else (now.v_pu[g], past.v_pu[g])
                    slope = (new - old) / h
                    slopes.append(slope if held is None or held[0] != g else _with(slope, held[1], 0))
            inputs = self._inputs(g, now, driven[g])
            states.append(units.model.advance(units.params, past.states[g], inputs, units.model.slopes(*slopes), h))
        public = self.plant.public
        moved = 0.0 if public is None else 2 * np.pi * (public.f_hz - self.plant.network.f_nom_hz) * h
        return Past(tuple(states), now.s_pu, now.v_pu, past.public_rad + moved)

    @cached_property
    def _references(self) -> dict[int, Callable[[Past], float]]:
        """Of every island the angle that the others are counted from: the public grid's, or a unit's."""
        found: dict[int, Callable[[Past], float]] = {}
        public, island = self.plant.public, self.net.island
        if public is not None:
            found[int(island[public.bus])] = lambda past: past.public_rad
        for g, units in enumerate(self.plant.units):
            for path, (mask, is_phasor) in self._turning[g].items():
                for place in zip(*np.nonzero(mask), strict=True):
                    number = int(island[units.bus[place[0]]])
                    found.setdefault(number, _angle(g, path, place, is_phasor))
        return found

    def in_own_frame(self, past: Past) -> Past:
        """The same past with the angles of every island counted from its reference: they have no common turn left."""
        back = np.zeros(max(self.net.n_island, 1) + 1)  # the last one for what has no island
        for number, angle in self._references.items():
            back[number] = -angle(past)
        public, states, v = self.plant.public, [], []
        for g, units in enumerate(self.plant.units):
            by = back[self.net.island[units.bus]]
            states.append(flat_state.turned(past.states[g], self._turning[g], by))
            v.append(past.v_pu[g] * np.exp(1j * by))
        rad = past.public_rad if public is None else past.public_rad + back[self.net.island[public.bus]]
        return Past(tuple(states), past.s_pu, tuple(v), float(rad))


def _with(values: Complex, row: int, value: complex) -> Complex:
    changed = np.array(values, complex)
    changed[row] = value
    return changed


def _angle(g: int, path: tuple[str, ...], place: tuple[Any, ...], is_phasor: bool) -> Callable[[Past], float]:
    def angle(past: Past) -> float:
        part: Any = past.states[g]
        for name in path:
            part = getattr(part, name)
        value = part[place]
        return float(np.angle(value) if is_phasor else value)

    return angle
