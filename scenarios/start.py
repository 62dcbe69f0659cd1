"""From a scenario to numbers: the network, the units' groups and the operating point at which nothing moves."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gridloop.scenarios.event_parts import LoadEvent
from gridloop.scenarios.operating_point import OperatingPoint, Placed, droop_start, power_flow_start, stiffness
from gridloop.scenarios.placement import meter_problems, placement_problems
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.profile_files import read_profiles
from gridloop.scenarios.schedule import Change, grid_events, set_point_changes
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.unit_parts import Reference, Unit
from gridloop.simulators.case import Case, Pcc, Stage, Synchrocheck
from gridloop.simulators.events import PCC, Event
from gridloop.simulators.models.network import Complex, Mask, Network, Real
from gridloop.simulators.models.powerflow import PowerFlowError
from gridloop.simulators.models.solve import VoltageCollapse
from gridloop.simulators.net_case import LoadLaw, net_loads, rebased
from gridloop.simulators.pandapower_net import ImportedNet, import_net, load_net
from gridloop.simulators.ports import Model
from gridloop.simulators.profile_table import Profile
from gridloop.simulators.protection import synchrocheck_for

STIFF = 1e-3  # share of a machine's impedance that stays where its terminal voltage is held
LONGEST_H_LAMBDA = 0.5  # macro step times stiffness up to which the coupling is accurate


@dataclass(frozen=True)
class Course:
    """Given power of n units: rows (m,) of time and (m, n) of power into the bus."""

    times_s: Real
    p_gen_mw: Real
    q_gen_mvar: Real


@dataclass(frozen=True)
class Group:
    """Units that are rows of the same arrays: all of one model, or those that share the times of a profile."""

    name: str  # of the simulator
    model: Model | None  # None: the power is given by `course`
    ids: tuple[str, ...]
    bus: tuple[str, ...]
    z_pu: Complex  # system base
    i_max_pu: Real
    weight: Real  # in the frequency of the island
    rated_kva: Real  # nan = none
    params: Any
    course: Course | None
    s_start_pu: Complex
    emf_start_pu: Complex  # the bus voltage of units that inject power

    @property
    def source(self) -> str:
        """'emf' or 'power'."""
        return "power" if self.model is None else self.model.source


@dataclass(frozen=True)
class Plan:
    """A scenario ready to be built. `h_lambda` is the macro step times the stiffness of the coupling [1]."""

    scenario: Scenario
    case: Case
    groups: tuple[Group, ...]
    events: tuple[Event, ...]
    changes: tuple[Change, ...]
    f_start_hz: float
    h_lambda: float
    position: Real  # (bus names, 2) for drawings
    branch_kinds: tuple[str, ...]

    @property
    def event_times_s(self) -> list[float]:
        """When something happens."""
        return sorted({event.t_s for event in self.events} | {change.t_s for change in self.changes})

    @property
    def feeders(self) -> tuple[str, ...]:
        """Everything that feeds the network, in the grid's order: EMFs, the pcc, injections."""
        emf, power = ([i for g in self.groups if g.source == kind for i in g.ids] for kind in ("emf", "power"))
        return (*emf, *([] if self.case.pcc is None else [PCC]), *power)


def plan(scenario: Scenario) -> Plan:
    """Import the network, place the units and solve the start.

    Raises:
        ScenarioError: the network, a bus or a line does not exist, a generator bus has no unit, a profile cannot be
            read, the start has no solution.
    """
    net = _import(scenario)
    problems = placement_problems(scenario, net)
    if problems:
        raise scenario.error(*problems)
    network, law = net.network, scenario.grid.loads
    touched = [network.row_of_bus(e.bus) for e in scenario.events if isinstance(e, LoadEvent)]
    loads, load_names = net_loads(net, LoadLaw(law.zip_p, law.zip_q, law.k_pf, law.k_qf, law.v0_pu), touched)
    problems = meter_problems(scenario, network, load_names)
    if problems:
        raise scenario.error(*problems)
    units = _Units(scenario, network, read_profiles(scenario), net.generators.bus.tolist())
    if scenario.start == "droop" and units.without_droop:
        raise scenario.error(*(
            Problem(("units", name), "start: droop needs a droop law, which this type has none of: start: power_flow")
            for name in units.without_droop
        ))  # fmt: skip
    placed, pcc = units.placed(), _pcc(scenario, network)
    try:
        if scenario.start == "power_flow":
            start = power_flow_start(network, loads, net.generators, placed, pcc, law.v0_pu)
        else:
            start = units.behind_impedances(droop_start(network, loads, units.at_terminals(placed), pcc))
    except (PowerFlowError, VoltageCollapse, ArithmeticError) as error:
        raise scenario.error(Problem(("start",), f"{scenario.start}: {_explain(error, network)}")) from error
    problems = _beyond_limits(scenario, placed, start)
    if problems:
        raise scenario.error(*problems)
    if law.v0_pu is None and scenario.start == "power_flow":
        level = np.abs(start.v_bus[loads.bus])
        loads = loads._replace(v0_pu=np.where(level > 0, level, 1.0))
    changeable = {int(row): i for i, row in enumerate(loads.bus) if load_names[i].startswith("load")}
    case = Case(
        network, loads, load_names, changeable, start.v_bus, start.s_bus, pcc, _stages(scenario, network, changeable),
        law.bus_filter_ms * 1e-3 if law.frequency == "bus" else None,
    )  # fmt: skip
    h_lambda = stiffness(network, loads, placed, pcc, start) * scenario.step_ms * 1e-3
    return Plan(
        scenario, case, units.groups(start), grid_events(scenario), set_point_changes(scenario), start.f_hz, h_lambda,
        net.position, net.branch_kinds,
    )  # fmt: skip


def _import(scenario: Scenario) -> ImportedNet:
    grid, base = scenario.grid, scenario.grid.base
    try:
        raw = load_net(grid.net, scenario.folder_of("grid", "net"))
        net = import_net(raw, next(iter(scenario.units.values())).bus)
    except ValueError as error:
        raise scenario.error(Problem(("grid", "net"), str(error))) from error
    s_mva, v_kv = (None, None) if base is None else (base.s_mva, base.v_kv)
    return rebased(net, s_mva, v_kv, grid.f_nom_hz)


def _beyond_limits(scenario: Scenario, placed: Placed, start: OperatingPoint) -> list[Problem]:
    """Units that the start asks for more than their largest current: their limit would act at once."""
    v = start.v_bus[placed.row]
    current = np.abs(np.divide(start.s_pu, v, out=np.zeros_like(start.s_pu), where=v != 0))
    return [
        Problem(
            ("units", name),
            f"start: {scenario.start}: {name} would carry {100 * i / most:.0f} % of its largest current; "
            "give it a higher i_max_percent, or less to do",
        )
        for name, i, most in zip(scenario.units, current, placed.i_max_pu, strict=True) if i > most * (1 + 1e-9)
    ]  # fmt: skip


def _explain(error: Exception, network: Network) -> str:
    if isinstance(error, PowerFlowError):
        named = [n for n, row in zip(network.bus_names, network.bus_row, strict=True) if row == error.bus]
        return f"{error}; the largest mismatch is at bus {named[0] if named else error.bus}"
    return str(error)


def _pcc(scenario: Scenario, network: Network) -> Pcc | None:
    given = scenario.pcc
    if given is None:
        return None
    total_kva = sum(unit.parameters.get("s_rated_kva", 0.0) for unit in scenario.units.values())
    sync = synchrocheck_for(total_kva) if given.sync is None else Synchrocheck(**dict(given.sync))
    f_hz = network.f_nom_hz if given.f_hz is None else given.f_hz
    z = complex(given.r_pu, given.x_pu)
    return Pcc(given.bus, z, given.v_pu, float(np.radians(given.angle_deg)), f_hz, given.closed, sync)


def _stages(scenario: Scenario, network: Network, load_of_bus: dict[int, int]) -> tuple[Stage, ...]:
    stages = []
    for stage in scenario.load_shedding:
        rows = list(load_of_bus) if stage.buses is None else [network.row_of_bus(bus) for bus in stage.buses]
        loads = tuple(load_of_bus[row] for row in dict.fromkeys(rows) if row in load_of_bus)
        stages.append(Stage(stage.below_hz, stage.delay_ms * 1e-3, stage.share_percent / 100, loads))
    return tuple(stages)


class _Units:
    """The units of a scenario with their models, in the order of the file."""

    def __init__(
        self, scenario: Scenario, network: Network, profiles: dict[str, Profile], generator_rows: Iterable[int]
    ) -> None:
        self._scenario, self._network, self._profiles = scenario, network, profiles
        self._names, self._units = list(scenario.units), list(scenario.units.values())
        self._models = [scenario.model_of(name) for name in self._names]
        self._rows = np.array([network.row_of_bus(unit.bus) for unit in self._units], np.intp)
        self._kw = 1e-3 / network.s_base_mva
        self._courses = {
            name: self._course(unit)
            for name, unit, model in zip(self._names, self._units, self._models, strict=True) if model is None
        }  # fmt: skip
        self._at_generator = np.isin(self._rows, list(generator_rows))

    def _course(self, unit: Unit) -> Course:
        """Given power of one unit at the times of its profile; (m, 1)."""
        given = unit.given_power
        used = [what.profile for what, _ in (given.p, given.q) if isinstance(what, Reference)]
        times_s = self._profiles[used[0]].times_s if used else np.zeros(1)
        if len(used) == 2 and used[0] != used[1]:
            times_s = np.union1d(times_s, self._profiles[used[1]].times_s)

        def values(what: float | Reference, factor: float) -> Real:
            if not isinstance(what, Reference):
                return np.full((len(times_s), 1), what * 1e-3 * factor)
            profile = self._profiles[what.profile]
            return factor * np.interp(times_s, profile.times_s, profile.values[what.column])[:, None]

        return Course(times_s, values(*given.p), values(*given.q))

    def placed(self) -> Placed:
        """Where the units stand and what they are to do."""
        units, network = self._units, self._network
        is_given = np.array([model is None for model in self._models])
        is_emf = np.array([model is not None and model.source == "emf" for model in self._models])

        def column(key: str, factor: float) -> Real:
            return np.array([unit.parameters.get(key, np.nan) for unit in units], float) * factor

        p, q = column("p_set_kw", self._kw), column("q_set_kvar", self._kw)
        for places, params in self._by_model():
            possible = getattr(params, "s_settled_pu", None)  # a source may have less than is asked of it
            if possible is not None:
                p[places] = np.where(np.isnan(p[places]), np.nan, possible.real)
                q[places] = np.where(np.isnan(q[places]), np.nan, possible.imag)
        for place in np.flatnonzero(is_given):
            course = self._courses[self._names[place]]
            p[place], q[place] = (
                np.interp(0.0, course.times_s, power[:, 0]) / network.s_base_mva
                for power in (course.p_gen_mw, course.q_gen_mvar)
            )
        # a following unit takes a generator's dispatch and voltage as long as the file gives it no reactive power
        is_fixed = ~is_emf & (~np.isnan(q) | ~self._at_generator)
        droop_m, droop_n = self._per_unit("droop_p_rad_per_s_pu"), self._per_unit("droop_q_pu")
        return Placed(
            self._rows, is_emf, is_given, is_fixed, self._impedances(), self._current_limits(),
            np.nan_to_num(self._ratings()), p, q, column("v_set_pu", 1.0), droop_m, droop_n,
        )  # fmt: skip

    def _ratings(self) -> Real:
        return np.array([unit.parameters.get("s_rated_kva", np.nan) for unit in self._units], float)

    def _impedances(self) -> Complex:
        """Source impedances on the system base: the models' own, or from the file's on the units' own ratings."""
        own: Complex = np.array([complex(*(unit.z_pu or (0.0, 0.0))) for unit in self._units], complex)
        z: Complex = own * self._network.s_base_mva * 1e3 / np.nan_to_num(self._ratings(), nan=1.0)
        for places, params in self._by_model():
            z[places] = getattr(params, "impedance_pu", z[places])
        return z

    @property
    def _machines(self) -> list[tuple[list[int], Any]]:
        """Places and parameters of units that bring an impedance of their own."""
        return [(places, params) for places, params in self._by_model() if hasattr(params, "impedance_pu")]

    @property
    def without_droop(self) -> list[str]:
        """Machines whose power is the same at every frequency."""
        return [
            self._names[place] for places, params in self._machines for place in places
            if not hasattr(params, "droop_p_rad_per_s_pu")
        ]  # fmt: skip

    def at_terminals(self, placed: Placed) -> Placed:
        """Machines as nearly ideal sources at their terminals, whose voltage their droop lines are of."""
        z = placed.z_pu.copy()
        for places, _ in self._machines:
            z[places] *= STIFF
        return replace(placed, z_pu=z)

    def behind_impedances(self, start: OperatingPoint) -> OperatingPoint:
        """The same start with the machines' EMFs behind the whole of their impedances."""
        emf, z = start.emf_pu.copy(), self._impedances()
        for places, _ in self._machines:
            s, v = start.s_pu[places], start.v_bus[self._rows[places]]
            emf[places] = v + z[places] * np.divide(s, v, out=np.zeros_like(s), where=v != 0).conj()
        return replace(start, emf_pu=emf)

    def _current_limits(self) -> Real:
        """Largest currents on the system base, inf = no limit."""
        percent = np.array([
            np.inf if model is None else unit.parameters.get("i_max_percent", _default(model, "i_max_percent"))
            for unit, model in zip(self._units, self._models, strict=True)
        ])  # fmt: skip
        limits: Real = np.where(np.isfinite(percent), percent / 100 * self._ratings() * self._kw, np.inf)
        return limits

    def _per_unit(self, name: str) -> Real:
        """A figure of the models that know it, 0 of the others."""
        values = np.zeros(len(self._units))
        for places, params in self._by_model():
            values[places] = getattr(params, name, 0.0)
        return values

    def _by_model(self) -> list[tuple[list[int], Any]]:
        """Places of the units of each model, and their parameters."""
        found = []
        for model in dict.fromkeys(known for known in self._models if known is not None):
            places = [i for i, other in enumerate(self._models) if other is model]
            found.append((places, self._params(model, places)))
        return found

    def _params(self, model: Model, places: list[int]) -> Any:
        """Parameters of units of one model as columns."""
        optional = {field.name: field.default for field in fields(model.params)}
        given = [self._units[i].parameters for i in places]
        names = list(dict.fromkeys(key for each in given for key in each))
        columns = {name: [each.get(name, optional[name]) for each in given] for name in names}
        return model.params(**columns, s_base_mva=self._network.s_base_mva, f_nom_hz=self._network.f_nom_hz)

    def groups(self, start: OperatingPoint) -> tuple[Group, ...]:
        """The units in groups; at a power-flow start its result becomes the set-points of those with a model."""
        found = []
        for places, params in self._by_model():
            model = self._models[places[0]]
            if self._scenario.start == "power_flow":
                own = self.placed().is_fixed[places]
                # a machine holds the voltage of its terminal, not the EMF behind its impedance
                holds = start.v_bus[self._rows] if hasattr(params, "impedance_pu") else start.emf_pu
                settled = _settled(params, start.s_pu[places], holds[places], self._kw, own)
            else:
                settled = params
            droop = getattr(settled, "droop_p_rad_per_s_pu", None)
            weight = self._ratings()[places]
            if droop is not None:  # an isochronous unit counts by its rating, before those with droop
                weight = np.divide(1.0, droop, out=weight, where=droop > 0)
            found.append(self._group(places, model.name, model, settled, None, weight, start))
        alike: dict[tuple[float, ...], list[int]] = {}
        for place, name in enumerate(self._names):
            if name in self._courses:
                alike.setdefault(tuple(self._courses[name].times_s), []).append(place)
        for places in alike.values():
            courses = [self._courses[self._names[place]] for place in places]
            course = Course(
                courses[0].times_s, np.hstack([c.p_gen_mw for c in courses]), np.hstack([c.q_gen_mvar for c in courses])
            )
            found.append(self._group(places, "Profile", None, None, course, np.zeros(len(places)), start))
        return tuple(found)

    def _group(
        self, places: list[int], name: str, model: Model | None, params: Any, course: Course | None, weight: Real,
        start: OperatingPoint,
    ) -> Group:  # fmt: skip
        return Group(
            name, model, tuple(self._names[i] for i in places), tuple(self._units[i].bus for i in places),
            self._impedances()[places], self._current_limits()[places], weight, self._ratings()[places], params,
            course, start.s_pu[places], start.emf_pu[places],
        )  # fmt: skip


def _default(model: Model, name: str) -> Any:
    """Default of a model's parameter; inf where it has none of that name."""
    return next((field.default for field in fields(model.params) if field.name == name), np.inf)


def _settled(params: Any, s_pu: Complex, phasor_pu: Complex, kw: float, keeps_own: Mask) -> Any:
    """Parameters whose set-points are those of the start, but for units that keep the file's."""
    values = {"p_set_kw": s_pu.real / kw, "q_set_kvar": s_pu.imag / kw, "v_set_pu": np.abs(phasor_pu)}
    known = {field.name for field in fields(params)}
    return replace(params, **{
        name: np.where(keeps_own, getattr(params, name), value) for name, value in values.items() if name in known
    })  # fmt: skip
