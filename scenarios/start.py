"""From a scenario to numbers: the network, the units' groups and the operating point at which nothing moves."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gridloop.scenarios.problems import Path, Problem, did_you_mean
from gridloop.scenarios.schema import LoadEvent, Scenario, Unit, model_of
from gridloop.simulators.case import Case
from gridloop.simulators.events import Event
from gridloop.simulators.models.loads import Loads, power
from gridloop.simulators.models.loads import demand as demand_of
from gridloop.simulators.models.network import Complex, Mask, Network, Real, admittance_matrix, islands
from gridloop.simulators.models.nodal import Sources, VoltageCollapse, reduce
from gridloop.simulators.models.powerflow import PowerFlowError, Targets, power_flow
from gridloop.simulators.models.steady import Droop, droop_equilibrium, stiffness_per_s
from gridloop.simulators.pandapower_net import ImportedNet, import_net, load_net
from gridloop.simulators.ports import Model

LONGEST_H_LAMBDA = 0.5  # macro step times stiffness up to which the coupling is accurate


@dataclass(frozen=True)
class Group:
    """All units of one model: rows of the same arrays."""

    model: Model
    ids: tuple[str, ...]
    bus: tuple[str, ...]
    z_pu: Complex  # system base
    params: Any
    s_start_pu: Complex
    emf_start_pu: Complex


@dataclass(frozen=True)
class Plan:
    """A scenario ready to be built. `h_lambda` is the macro step times the stiffness of the coupling [1]."""

    scenario: Scenario
    case: Case
    groups: tuple[Group, ...]
    events: tuple[Event, ...]
    f_start_hz: float
    h_lambda: float
    position: Real  # (bus names, 2) for drawings
    branch_kinds: tuple[str, ...]


def plan(scenario: Scenario) -> Plan:
    """Import the network, place the units and solve the start.

    Raises:
        ScenarioError: the network, a bus or a line does not exist, a generator bus has no unit, the start has
            no solution.
    """
    net = _import(scenario)
    units = list(scenario.units.items())
    rows = _place(scenario, net, units)
    loads, load_names, load_of_bus = _loads(scenario, net)
    try:
        start = (_power_flow_start if scenario.start == "power_flow" else _droop_start)(scenario, net, loads, rows)
    except (PowerFlowError, VoltageCollapse, ArithmeticError) as error:
        raise scenario.error(Problem(("start",), f"{scenario.start}: {_explain(error, net.network)}")) from error
    v0 = scenario.grid.loads.v0_pu
    if v0 is None and scenario.start == "power_flow":
        loads = loads._replace(v0_pu=np.abs(start.v_bus[loads.bus]))
    case = Case(net.network, loads, load_names, load_of_bus, start.v_bus, start.s_bus)
    groups = _groups(scenario, net.network, units, start)
    emf = np.concatenate([group.emf_start_pu for group in groups])
    stiffness = _stiffness(net.network, loads, groups, emf)
    events = tuple(_event(event) for event in scenario.events)
    return Plan(
        scenario, case, groups, events, start.f_hz, stiffness * scenario.step_ms * 1e-3,
        net.position, net.branch_kinds,
    )  # fmt: skip


@dataclass(frozen=True)
class _Start:
    """Operating point: per unit in the scenario's order, per bus, and the frequency."""

    s_pu: Complex
    emf_pu: Complex
    v_bus: Complex
    s_bus: Complex
    f_hz: float


def _import(scenario: Scenario) -> ImportedNet:
    grid = scenario.grid
    try:
        raw = load_net(grid.net, scenario.folder)
        net = import_net(raw, next(iter(scenario.units.values())).bus)
    except ValueError as error:
        raise scenario.error(Problem(("grid", "net"), str(error))) from error
    network = net.network
    if grid.base is not None:
        ratio = 1.0 if grid.base.v_kv is None else grid.base.v_kv / network.v_base_kv.max()
        network = replace(network, s_base_mva=grid.base.s_mva, v_base_kv=network.v_base_kv * ratio)
    if grid.f_nom_hz is not None:
        network = replace(network, f_nom_hz=grid.f_nom_hz)
    return replace(net, network=network)


def _explain(error: Exception, network: Network) -> str:
    if isinstance(error, PowerFlowError):
        named = [n for n, row in zip(network.bus_names, network.bus_row, strict=True) if row == error.bus]
        return f"{error}; the largest mismatch is at bus {named[0] if named else error.bus}"
    return str(error)


def _place(scenario: Scenario, net: ImportedNet, units: list[tuple[str, Unit]]) -> list[int]:
    """Row of every unit's bus; collects everything that does not fit between file and network."""
    network, problems, rows = net.network, list[Problem](), list[int]()

    def find(path: Path, look: Any, name: str, known: tuple[str, ...]) -> int:
        try:
            return int(look(name))
        except ValueError:
            what = "line" if look == network.row_of_branch else "bus"
            problems.append(Problem(path, f"{scenario.grid.net} has no {what} {name!r}{did_you_mean(name, known)}"))
            return -1

    taken = {"grid", *network.bus_names, *network.branch_names}
    taken |= {f"{kind}{bus}" for bus in network.bus_names for kind in ("load", "fixed")}
    for name, unit in units:
        rows.append(find(("units", name, "bus"), network.row_of_bus, unit.bus, network.bus_names))
        if name in taken:
            problems.append(Problem(("units", name), f"{name!r} is the name of a bus, line or load already"))
    for i, event in enumerate(scenario.events):
        if isinstance(event, LoadEvent):
            find(("events", i, "bus"), network.row_of_bus, event.bus, network.bus_names)
        elif not hasattr(event, "unit"):
            find(("events", i, "line"), network.row_of_branch, event.line, network.branch_names)
    for row, kind in zip(net.generators.bus, net.generators.kind, strict=True):
        if row not in rows:
            name, article = _bus_name(network, int(row)), "an" if kind == "ext_grid" else "a"
            problems.append(Problem(
                ("units",), f"bus {name!r} has {article} {kind} in {scenario.grid.net} but no unit; "
                "add a unit there or take the generator out of the net",
            ))  # fmt: skip
    ideal = [row for row, (_, unit) in zip(rows, units, strict=True) if unit.z_pu in (None, (0.0, 0.0))]
    for (name, unit), row in zip(units, rows, strict=True):
        if row >= 0 and ideal.count(row) > 1 and unit.z_pu in (None, (0.0, 0.0)):
            problems.append(Problem(("units", name), f"two ideal sources at bus {unit.bus}: give this one a z_pu"))
    if problems:
        raise scenario.error(*problems)
    return rows


def _bus_name(network: Network, row: int) -> str:
    return network.bus_names[int(np.flatnonzero(network.bus_row == row)[0])]


def _loads(scenario: Scenario, net: ImportedNet) -> tuple[Loads, tuple[str, ...], dict[int, int]]:
    """Loads of the net, an empty one at each bus that an event loads, and the net's static generators."""
    given, law, network = net.loads, scenario.grid.loads, net.network
    touched = [network.row_of_bus(e.bus) for e in scenario.events if isinstance(e, LoadEvent)]
    empty = sorted(set(touched) - set(given.bus.tolist()))
    count, fixed = len(given.bus) + len(empty), len(given.fixed_bus)
    constant_power = (0.0, 0.0, 1.0)

    def shares(own: Real, wanted: tuple[float, float, float] | None) -> Real:
        rows = own if wanted is None else np.tile(wanted, (len(own), 1))
        rest = [wanted or constant_power] * len(empty) + [constant_power] * fixed
        return np.concatenate((rows.reshape(-1, 3), np.array(rest, float).reshape(-1, 3)))

    bus = np.concatenate((given.bus, np.array(empty, np.intp), given.fixed_bus))
    s = np.concatenate((given.s_pu, np.zeros(len(empty)), given.fixed_pu))
    varies = np.arange(count + fixed) < count
    loads = Loads(
        bus, s.real.copy(), s.imag.copy(), np.full(len(bus), law.v0_pu or 1.0),
        shares(given.zip_p, law.zip_p), shares(given.zip_q, law.zip_q),
        np.where(varies, law.k_pf, 0.0), np.where(varies, law.k_qf, 0.0),
    )  # fmt: skip
    names = [f"load{_bus_name(network, row)}" for row in bus[:count]]
    names += [f"fixed{_bus_name(network, row)}" for row in bus[count:]]
    return loads, tuple(names), {int(row): place for place, row in enumerate(bus[:count])}


def _power_flow_start(scenario: Scenario, net: ImportedNet, loads: Loads, rows: list[int]) -> _Start:
    """The net's own power flow with the units in its generators' place."""
    network, generators, units = net.network, net.generators, list(scenario.units.values())
    p, v = np.zeros(network.n_bus), np.ones(network.n_bus, complex)
    reference = np.zeros(network.n_bus, bool)
    p[generators.bus], v[generators.bus] = generators.p_pu, generators.v_pu
    reference[generators.bus] = generators.reference
    for row, unit in zip(rows, units, strict=True):
        given = unit.parameters
        if "p_set_kw" in given:
            p[row] = sum(
                other.parameters.get("p_set_kw", 0.0)
                for other_row, other in zip(rows, units, strict=True) if other_row == row
            ) * 1e-3 / network.s_base_mva  # fmt: skip
        if "v_set_pu" in given:
            v[row] *= given["v_set_pu"] / abs(v[row])
    rating = np.zeros(network.n_bus)
    np.add.at(rating, rows, [unit.parameters["s_rated_kva"] for unit in units])
    dispatch = _Dispatch(p, v, reference, rating)
    v_bus = _solve_power_flow(network, loads, rows, dispatch, scenario.grid.loads.v0_pu)
    s_bus = v_bus * (admittance_matrix(network, network.closed) @ v_bus).conj()
    np.add.at(s_bus, loads.bus, _load_power(loads, v_bus, scenario.grid.loads.v0_pu))
    weight = np.array([unit.parameters["s_rated_kva"] for unit in units]) / rating[rows]
    s_unit = s_bus[rows] * weight
    emf = v_bus[rows] + _impedances(network, units) * (s_unit / v_bus[rows]).conj()
    s_bus[np.setdiff1d(np.arange(network.n_bus), rows)] = 0
    return _Start(s_unit, emf, v_bus, s_bus, network.f_nom_hz)


def _load_power(loads: Loads, v_bus: Complex, v0: float | None) -> Complex:
    """Power of every load; without a nominal voltage of their own they draw P0, Q0 at the start's voltages."""
    return power(demand_of(loads), v_bus[loads.bus]) if v0 is not None else loads.p0_pu + 1j * loads.q0_pu


@dataclass(frozen=True)
class _Dispatch:
    """What the units at each bus are to do: power, voltage, who is the reference, and what they are rated."""

    p_pu: Real
    v_pu: Complex
    reference: Mask
    rated_kva: Real


def _solve_power_flow(
    network: Network, loads: Loads, rows: list[int], dispatch: _Dispatch, v0: float | None
) -> Complex:
    """Bus voltages, 0 in islands without a unit; the largest unit is the reference where the net names none."""
    label = islands(network, network.closed)
    result = np.zeros(network.n_bus, complex)
    p, v, reference = dispatch.p_pu, dispatch.v_pu, dispatch.reference.copy()
    for island in sorted(set(label[rows].tolist())):
        inside = np.flatnonzero(label == island)
        if not reference[inside].any():
            reference[inside[dispatch.rated_kva[inside].argmax()]] = True
        y = admittance_matrix(network, network.closed)[inside][:, inside]
        place = {bus: i for i, bus in enumerate(inside.tolist())}
        mine = [i for i, bus in enumerate(loads.bus.tolist()) if bus in place]
        at = [place[loads.bus[i]] for i in mine]
        own = loads.at(np.array(mine, np.intp))._replace(bus=np.array(at, np.intp))
        held = [place[row] for row in sorted(set(rows)) if row in place and not reference[row]]
        voltage, change = v[inside], 1.0
        for _ in range(60):  # loads with a voltage law of their own draw what the last pass's voltages ask for
            s = p[inside].astype(complex)
            np.subtract.at(s, at, _load_power(own, voltage, v0))
            targets = Targets(s, v[inside], np.flatnonzero(reference[inside]), np.array(held, np.intp))
            try:
                before, voltage = voltage, power_flow(y, targets)
            except PowerFlowError as error:
                raise PowerFlowError(int(inside[error.bus]), error.mismatch_pu) from error
            change = float(np.abs(voltage - before).max())
            if v0 is None or change < 1e-13:
                break
        result[inside] = voltage
    return result


def _impedances(network: Network, units: list[Unit]) -> Complex:
    """Source impedances on the system base from those on the units' own ratings."""
    own = np.array([complex(*(unit.z_pu or (0.0, 0.0))) for unit in units])
    ratings = np.array([unit.parameters["s_rated_kva"] for unit in units])
    z: Complex = own * network.s_base_mva * 1e3 / ratings
    return z


def _droop_start(scenario: Scenario, net: ImportedNet, loads: Loads, rows: list[int]) -> _Start:
    """The settled state on the droop lines of the units' own set-points."""
    network, units = net.network, list(scenario.units.values())
    sources = Sources(np.array(rows, np.intp), _impedances(network, units), np.ones(len(units), bool))
    reduction = reduce(network, network.closed, sources, loads.bus)
    params = _params(network, units)
    droop = Droop(
        params.droop_p_rad_per_s_pu, params.droop_q_pu, params.p_set_kw * params.kw_to_pu,
        params.q_set_kvar * params.kw_to_pu, params.v_set_pu,
    )  # fmt: skip
    settled = droop_equilibrium(reduction, loads, droop, network.f_nom_hz)
    if settled.solution.collapsed:
        raise ArithmeticError("the settled state is a voltage collapse: too much load for these units and lines")
    x = settled.solution.x
    v_bus = reduction.to_bus @ x
    s_bus = np.zeros(network.n_bus, complex)
    np.add.at(s_bus, rows, settled.solution.s_source)
    f_hz = network.f_nom_hz + settled.slip_rad_per_s / (2 * np.pi)
    return _Start(settled.solution.s_source, settled.emf_pu, v_bus, s_bus, f_hz)


def _params(network: Network, units: list[Unit]) -> Any:
    """Parameters of units of one type as columns."""
    params = model_of(units[0].type).params
    optional = {field.name: field.default for field in fields(params)}
    names = list(dict.fromkeys(key for unit in units for key in unit.parameters))
    columns = {name: [unit.parameters.get(name, optional[name]) for unit in units] for name in names}
    return params(**columns, s_base_mva=network.s_base_mva, f_nom_hz=network.f_nom_hz)


def _groups(scenario: Scenario, network: Network, units: list[tuple[str, Unit]], start: _Start) -> tuple[Group, ...]:
    """Units by type, in the order of the file; at a power-flow start its result becomes their set-points."""
    groups = []
    for kind in dict.fromkeys(unit.type for _, unit in units):
        places = [i for i, (_, unit) in enumerate(units) if unit.type == kind]
        members = [units[i][1] for i in places]
        s, emf = start.s_pu[places], start.emf_pu[places]
        params = _params(network, members)
        if scenario.start == "power_flow":
            kw = 1 / params.kw_to_pu
            params = replace(params, p_set_kw=s.real * kw, q_set_kvar=s.imag * kw, v_set_pu=np.abs(emf))
        groups.append(Group(
            model_of(kind), tuple(units[i][0] for i in places), tuple(unit.bus for unit in members),
            _impedances(network, members), params, s, emf,
        ))  # fmt: skip
    return tuple(groups)


def _stiffness(network: Network, loads: Loads, groups: tuple[Group, ...], emf: Complex) -> float:
    rows = np.array([network.row_of_bus(bus) for group in groups for bus in group.bus], np.intp)
    z = np.concatenate([group.z_pu for group in groups])
    reduction = reduce(network, network.closed, Sources(rows, z, np.ones(len(rows), bool)), loads.bus)
    m = np.concatenate([group.params.droop_p_rad_per_s_pu for group in groups])
    return stiffness_per_s(reduction, loads, emf, m)


def _event(event: Any) -> Event:
    if isinstance(event, LoadEvent):
        return Event(event.t_s, event.do, event.bus, event.p_kw, event.q_kvar)
    return Event(event.t_s, event.do, getattr(event, "line", None) or event.unit)
