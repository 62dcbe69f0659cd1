"""Current limits and short circuits inside the network solve, against equations of their own written out dense."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models import compiled
from gridloop.simulators.models import solve as solve_module
from gridloop.simulators.models.loads import Demand, Injected, demand, relief, with_injections, with_room
from gridloop.simulators.models.network import admittance_matrix
from gridloop.simulators.models.nodal import Reduction, Sources, observe, reduce
from gridloop.simulators.models.solve import Solution, VoltageCollapse, solve

Z_PU = 0.01 + 0.1j
LOAD_BUS, UNIT_BUS = (4, 6, 8), (5, 7)
MIXED, CONSTANT_Z, CONSTANT_I, CONSTANT_P = (0.2, 0.3, 0.5), (1, 0, 0), (0, 1, 0), (0, 0, 1)


COMPILED = [
    pytest.param(f"{way}, compiled", marks=pytest.mark.peers(packages=["numba"])) for way in ("dense", "sparse")
]  # fmt: skip


@pytest.fixture(autouse=True, params=["dense", "sparse", *COMPILED])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(solve_module, "LARGE", 100 if request.param.startswith("dense") else 0)
    monkeypatch.setattr(compiled, "ENABLED", request.param.endswith("compiled"))
    return str(request.param)


def limited(
    i_max: Any = np.inf, z_pu: Any = Z_PU, fault: dict[int, complex] | None = None, opened: tuple[str, ...] = (),
    units: tuple[int, ...] = (),
) -> Reduction:  # fmt: skip
    """case9 with three sources, shunts of short circuits, lines that are open, units that inject."""
    network = case_a.case9().network
    shunt, closed = network.shunt_pu.copy(), network.closed.copy()
    for bus, y in (fault or {}).items():
        shunt[bus] += y
    closed[[network.row_of_branch(name) for name in opened]] = False
    three = np.ones(3)
    sources = Sources(np.arange(3), z_pu * (three + 0j), three == 1, np.asarray(i_max) * three)
    return reduce(replace(network, shunt_pu=shunt), closed, sources, np.array((*LOAD_BUS, *units)))


def emf_behind(z_pu: Any = Z_PU) -> Any:
    """EMFs that leave the power flow as it is."""
    start = case_a.power_flow_start()
    return start.emf_pu + z_pu * (start.s_pu / start.emf_pu).conj()


def currents(net: Reduction, found: Solution) -> Any:
    return observe(net, found.x).i_source


def missing_current(net: Reduction, found: Solution, loads: Any, unit: Any = None) -> float:
    """Largest current that is unbalanced at any bus, from the laws of loads, units and limits written out here."""
    sources, emf = net.sources, found.x[: len(net.sources.bus)]
    v = observe(net, found.x).v_bus
    current = admittance_matrix(net.network, net.closed) @ v
    for row, bus in enumerate(loads.bus):
        u = abs(v[bus]) / loads.v0_pu[row]
        shape = np.array([u**2, u, relief(np.abs(v[bus])).item()])
        s = loads.p0_pu[row] * (shape @ loads.zip_p[row]) + 1j * loads.q0_pu[row] * (shape @ loads.zip_q[row])
        current[bus] += (s / v[bus]).conjugate()
    for bus, s, most in unit or ():
        allowed = min(1.0, most * abs(v[bus]) / abs(s)) * min(1.0, abs(v[bus]) / 0.1)
        current[bus] -= (s * allowed / v[bus]).conjugate()
    for row in np.flatnonzero(sources.z_pu != 0).tolist():
        wanted = (emf[row] - v[sources.bus[row]]) / sources.z_pu[row]
        current[sources.bus[row]] -= wanted * min(1.0, sources.i_max_pu[row] / abs(wanted))
    current[sources.bus[sources.z_pu == 0]] = 0  # an ideal source gives what it takes
    return float(np.abs(current).max())


# --- sources behind an impedance ---


def test_source_below_its_limit_is_as_without_one() -> None:
    free, wide = limited(), limited(5.0)
    need = demand(case_a.loads())
    one, other = (solve(net, need, emf_behind(), None) for net in (free, wide))
    assert other.s_source == pytest.approx(one.s_source, abs=1e-11)
    assert np.abs(currents(wide, other)).max() < 5


@pytest.mark.parametrize("shares", [CONSTANT_Z, MIXED])
def test_source_beyond_its_limit_gives_the_limit_in_the_same_direction(shares: Any) -> None:
    # inv2 of 1.63 pu may give 1.2 pu of current
    net, loads = limited([np.inf, 1.2, np.inf]), case_a.loads(shares)
    found = solve(net, demand(loads), emf_behind(), None)
    current, v = currents(net, found), observe(net, found.x).v_bus
    wanted = (emf_behind()[1] - v[1]) / Z_PU
    assert abs(wanted) > 1.2
    assert abs(current[1]) == pytest.approx(1.2, rel=1e-9)
    assert np.angle(current[1] / wanted) == pytest.approx(0, abs=1e-9)
    assert missing_current(net, found, loads) < 1e-10
    assert observe(net, found.x).mismatch_pu < 1e-9
    assert found.s_source == pytest.approx(v[:3] * current.conj(), abs=1e-11)


def test_limit_is_continuous_where_it_begins() -> None:
    free = limited()
    need = demand(case_a.loads())
    size = abs(currents(free, solve(free, need, emf_behind(), None))[1])
    below, above = (
        solve(limited([np.inf, size * (1 + side), np.inf]), need, emf_behind(), None) for side in (1e-9, -1e-9)
    )
    assert above.s_source == pytest.approx(below.s_source, abs=1e-7)


def test_chord_goes_through_the_limit_and_back() -> None:
    # the angle of inv2 swings so far that its current passes 1.8 pu twice
    net, need = limited([np.inf, 1.8, np.inf]), demand(case_a.loads(MIXED))
    last, sides = None, []
    for angle in 0.12 * np.sin(np.linspace(0, np.pi, 60)):
        emf = emf_behind() * np.exp(1j * np.array([0, angle, 0]) + 0.3j * angle)
        last, fresh = solve(net, need, emf, last), solve(net, need, emf, None)
        assert last.s_source == pytest.approx(fresh.s_source, abs=1e-9)
        assert (np.abs(currents(net, last)) <= np.array([np.inf, 1.8, np.inf]) * (1 + 1e-9)).all()
        sides.append(abs(currents(net, last)[1]) > 1.8 * (1 - 1e-9))
    assert np.flatnonzero(np.diff(sides)).size == 2


def test_all_sources_at_their_limit_leave_the_loads_less() -> None:
    net, loads = limited(0.6), case_a.loads(CONSTANT_Z)
    found = solve(net, demand(loads), emf_behind(), None)
    assert np.abs(currents(net, found)) == pytest.approx(0.6, rel=1e-9)
    assert missing_current(net, found, loads) < 1e-10
    assert found.s_source.real.sum() < 2 and found.collapsed


@pytest.mark.parametrize("shares", [MIXED, CONSTANT_P, CONSTANT_I])
def test_sources_that_cannot_feed_the_loads_end_in_a_solution_or_by_name(shares: Any) -> None:
    loads = case_a.loads(shares)
    last = solve(limited(10.0), demand(loads), emf_behind(), None)
    for i_max in (1.0, 0.8, 0.5, 0.2, 0.05, 0.001):
        net = limited(i_max)
        try:
            found = solve(net, demand(loads), emf_behind(), last)
        except VoltageCollapse as collapse:
            assert collapse.bus in (4, 6, 8)
        else:
            assert missing_current(net, found, loads) < 1e-9


# --- units that inject ---


def with_units(net: Reduction, shares: Any, s: Any, i_max: Any) -> Demand:
    return with_injections(demand(case_a.loads(shares)), np.array(s, complex), np.array(i_max, float))


def test_unit_at_its_limit_keeps_its_power_factor_inside_the_solve() -> None:
    # a short circuit of 0.05 pu at bus 6 pulls the unit at bus 6 to a low voltage
    net = limited(z_pu=0, fault={5: 1 / 0.05}, units=UNIT_BUS)
    s, i_max = (0.5 + 0.2j, 0.3 - 0.1j), (0.6, 0.4)
    found = solve(net, with_units(net, MIXED, s, i_max), emf_behind(0), None)
    seen = observe(net, found.x)
    given, v = -seen.s_load[3:], np.abs(seen.v_bus[list(UNIT_BUS)])
    assert v[0] * 0.6 < abs(s[0]) < v[1] * 5, "one is at its limit"
    assert abs(given[0]) == pytest.approx(0.6 * v[0], rel=1e-9)
    assert np.angle(given[0] / s[0]) == pytest.approx(0, abs=1e-9)
    assert missing_current(net, found, case_a.loads(MIXED), zip(UNIT_BUS, s, i_max, strict=True)) < 1e-10


@pytest.mark.parametrize("i_max", [(0.6, 0.4), (np.inf, 0.4), (np.inf, np.inf)])
@pytest.mark.parametrize("shares", [MIXED, CONSTANT_P])
def test_units_that_the_solve_adds_itself_are_those_of_the_demand(shares: Any, i_max: Any) -> None:
    # they come to their limits and leave them again
    net, limits, last = limited(z_pu=0, units=UNIT_BUS), np.array(i_max), None
    room, at_limit = with_room(demand(case_a.loads(shares)), limits), []
    for k in range(12):
        s = np.array([0.5 + 0.02j * k, 0.3 - 0.1j]) * (1 + 0.5 * np.sin(0.5 * k))
        emf = emf_behind(0) * np.exp(0.01j * k)
        found = solve(net, Injected(room, s, limits), emf, last)
        expected = solve(net, with_units(net, shares, s, i_max), emf, last)
        # numba rounds the size of a complex number otherwise than numpy
        for name in ("x", "v_load", "s_source", "margin_pu"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=0, abs=1e-14), name
        assert (found.iterations, found.collapsed) == (expected.iterations, expected.collapsed)
        given, last = -observe(net, found.x).s_load[3:], found
        at_limit.append((np.abs(given - s) > 1e-3).any())
    assert set(at_limit) == ({False, True} if np.isfinite(i_max).any() else {False})


@pytest.mark.parametrize("seed", range(25))
def test_random_grids_obey_every_limit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = [CONSTANT_Z, MIXED, CONSTANT_P][seed % 3]
    loads, z_pu = case_a.loads(shares), rng.uniform(0.05, 0.2, 3) * (0.1 + 1j)
    if seed % 2:
        z_pu[0] = 0  # an ideal one beside them
    limits, most = rng.uniform(0.4, 2.5, 3), rng.uniform(0.2, 1.0, 2)
    s = rng.uniform(0.0, 0.8, 2) * np.exp(1j * rng.uniform(-np.pi, np.pi, 2))
    fault = {int(rng.integers(3, 9)): 1 / complex(rng.uniform(0.01, 1), rng.uniform(0, 1))} if seed % 5 == 0 else None
    net = limited(limits, z_pu, fault, ("6-7",) if seed % 4 == 0 else (), UNIT_BUS)
    need = with_units(net, shares, s, most)
    last = None
    for _ in range(6):
        emf = rng.uniform(0.95, 1.05, 3) * np.exp(1j * rng.uniform(-0.25, 0.25, 3))
        try:
            last = solve(net, need, emf, last)
        except VoltageCollapse as collapse:
            assert collapse.bus in (*LOAD_BUS, *UNIT_BUS)
            return
        seen = observe(net, last.x)
        behind = z_pu != 0
        assert (np.abs(seen.i_source)[behind] <= limits[behind] * (1 + 1e-9)).all()
        assert (np.abs(seen.s_load[3:]) <= most * np.abs(seen.v_bus[list(UNIT_BUS)]) * (1 + 1e-9)).all()
        assert missing_current(net, last, loads, zip(UNIT_BUS, s, most, strict=True)) < 1e-9
        assert seen.mismatch_pu < 1e-9


# --- short circuits ---


def newton(net: Reduction, loads: Any, emf: Any) -> Any:
    """Bus voltages with constant-power loads and ideal sources by a dense Newton on the whole matrix, from flat."""
    y = admittance_matrix(net.network, net.closed).toarray()
    held = net.sources.bus
    free = np.setdiff1d(np.arange(len(y)), held)
    v = np.ones(len(y), complex)
    v[held] = emf
    s = np.zeros(len(y), complex)
    s[loads.bus] = loads.p0_pu + 1j * loads.q0_pu
    for _ in range(60):
        low = np.abs(v) < 0.7  # there a constant power is the impedance that it is at 0.7 pu
        drawn = np.where(low, s.conj() * v / 0.49, (s / v).conj())
        miss = (y @ v + drawn)[free]
        direct = (y + np.diag(np.where(low, s.conj() / 0.49, 0)))[np.ix_(free, free)]
        mirror = np.diag(np.where(low, 0, -(s.conj()) / v.conj() ** 2)[free])
        jacobian = np.block([
            [(direct + mirror).real, -(direct - mirror).imag], [(direct + mirror).imag, (direct - mirror).real],
        ])  # fmt: skip
        change = np.linalg.solve(jacobian, np.concatenate((miss.real, miss.imag)))
        v[free] -= change[: len(free)] + 1j * change[len(free) :]
        if np.abs(change).max() < 1e-14:
            return v
    raise ArithmeticError("the reference finds no voltages")


@pytest.mark.parametrize(("bus", "z_fault"), [(4, 0.5), (6, 0.05 + 0.1j), (8, 0.001), (5, 0.02j), (7, 1.0 + 2j)])
def test_fault_is_a_dense_solve_with_its_admittance(bus: int, z_fault: complex) -> None:
    net, loads = limited(z_pu=0, fault={bus: 1 / z_fault}), case_a.loads()
    found = solve(net, demand(loads), emf_behind(0), None)
    assert observe(net, found.x).v_bus == pytest.approx(newton(net, loads, emf_behind(0)), abs=1e-10)


@pytest.mark.parametrize("z_fault", [0.5, 0.05 + 0.1j, 1e-4])
def test_fault_with_constant_impedances_is_one_linear_solve(z_fault: complex) -> None:
    net, loads = limited(fault={6: 1 / z_fault}), case_a.loads(CONSTANT_Z)
    found = solve(net, demand(loads), emf_behind(), None)
    y = admittance_matrix(case_a.case9().network, case_a.case9().network.closed).toarray()
    y[6, 6] += 1 / z_fault
    y[loads.bus, loads.bus] += (loads.p0_pu - 1j * loads.q0_pu) / loads.v0_pu**2
    y[range(3), range(3)] += 1 / Z_PU
    pushed = np.zeros(9, complex)
    pushed[:3] = emf_behind() / Z_PU
    v = np.linalg.solve(y, pushed)
    assert observe(net, found.x).v_bus == pytest.approx(v, abs=1e-10)
    assert found.s_source == pytest.approx(v[:3] * ((emf_behind() - v[:3]) / Z_PU).conj(), abs=1e-10)


def test_both_ways_of_solving_are_tried(way: str) -> None:
    net = limited(1.2)
    found = solve(net, demand(case_a.loads()), emf_behind(), None)
    assert (found.v_free is None) == way.startswith("dense")
