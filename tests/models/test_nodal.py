"""The network solve of one instant: known operating points, dense solves of the whole matrix, balances."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models import compiled
from gridloop.simulators.models import solve as solve_module
from gridloop.simulators.models.loads import V_RELIEF_PU, Demand, Loads, demand, power
from gridloop.simulators.models.network import Network, admittance_matrix, pi_branch
from gridloop.simulators.models.nodal import Observation, Reduction, Sources, observe, reduce
from gridloop.simulators.models.solve import Solution, VoltageCollapse, solve

CONSTANT_Z, CONSTANT_I, CONSTANT_P, MIXED = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 0.3, 0.5)
kinds = pytest.mark.parametrize("zip_shares", [CONSTANT_Z, CONSTANT_I, CONSTANT_P, MIXED])


@pytest.fixture(
    autouse=True, params=["dense", "sparse", pytest.param("compiled", marks=pytest.mark.peers(packages=["numba"]))]
)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small networks are solved by a dense inverse, large ones by sparse factors: everything holds for all ways."""
    monkeypatch.setattr(solve_module, "LARGE", 100 if request.param == "dense" else 0)
    monkeypatch.setattr(compiled, "ENABLED", request.param == "compiled")
    return str(request.param)


def sources(bus=(0, 1, 2), z_pu: Any = 0, connected: Any = True) -> Sources:
    one = np.ones(len(bus))
    return Sources(np.array(bus), z_pu * (one + 0j), np.array(connected) & (one == 1))


def reduced(given: Sources, opened=(), load_bus: Any = (4, 6, 8)) -> Reduction:
    network = case_a.case9().network
    closed = network.closed.copy()
    closed[[network.row_of_branch(name) for name in opened]] = False
    return reduce(network, closed, given, np.array(load_bus))


def supplied(net: Reduction, loads: Loads) -> Demand:
    return demand(Loads._make(column[net.supplied] for column in loads))


def scaled(loads: Loads, factor: float) -> Loads:
    return loads._replace(p0_pu=loads.p0_pu * factor, q0_pu=loads.q0_pu * factor)


@cache
def case9_emf() -> Any:
    return case_a.power_flow_start().emf_pu


def seen(net: Reduction, solution: Solution, load_bus: Any = (4, 6, 8)) -> Observation:
    return observe(net, solution.x)


# --- operating points ---


def in_nominal_frame(net: Reduction, found: Solution) -> Any:
    return found.v_load * (found.turn if net.n_island < 2 else found.turn[net.island_of_draw])


def test_case9_power_flow():
    # pandapower's runpp, nine digits
    start = case_a.power_flow_start()
    net = reduced(sources())
    found = solve(net, supplied(net, case_a.loads()), start.emf_pu, None)
    half_digit = 6e-10
    assert np.angle(start.emf_pu) == pytest.approx([0, 0.168751367, 0.083270937], abs=half_digit)
    assert found.s_source.real == pytest.approx([0.719547016, 1.63, 0.85], abs=half_digit)
    assert found.s_source.imag == pytest.approx([0.240689578, 0.144601195, -0.036490255], abs=half_digit)
    assert np.abs(seen(net, found).v_bus[3:]) == pytest.approx(
        [0.987006852, 0.975472177, 1.003375436, 0.985644882, 0.996185246, 0.957621040], abs=half_digit
    )
    assert seen(net, found).loss_pu == pytest.approx(0.049547016, abs=half_digit)
    assert seen(net, found).v_bus == pytest.approx(case_a.case9_voltages(), abs=1e-9)


def test_case9_with_constant_impedances():
    # the same EMFs, y = conj(S0) at the loads; six digits of an independent simulator
    loads = case_a.loads(CONSTANT_Z)._replace(v0_pu=np.ones(3))
    net = reduced(sources())
    found = solve(net, supplied(net, loads), case9_emf(), None)
    assert np.abs(seen(net, found).v_bus[3:]) == pytest.approx(
        [0.989671, 0.979210, 1.004655, 0.987901, 0.998143, 0.963606], abs=1e-6
    )


# --- sources behind impedances ---


def dense(given: Sources, loads: Loads, emf: Any) -> tuple[Any, Any]:
    """Bus voltages and the sources' powers with constant-impedance loads, by one solve of the whole matrix.

    Every source behind an impedance gets a node of its own behind its bus; ideal ones hold theirs.
    """
    network = case_a.case9().network
    behind = np.flatnonzero(given.z_pu != 0)
    n, size = network.n_bus, network.n_bus + len(behind)
    y = np.zeros((size, size), complex)
    y[:n, :n] = admittance_matrix(network, network.closed).toarray()
    y[loads.bus, loads.bus] += (loads.p0_pu - 1j * loads.q0_pu) / loads.v0_pu**2
    for node, source in enumerate(behind, start=n):
        bus, admittance = given.bus[source], 1 / given.z_pu[source]
        y[bus, bus] += admittance
        y[node, node] += admittance
        y[bus, node] -= admittance
        y[node, bus] -= admittance
    nodes = given.bus.copy()
    nodes[behind] = np.arange(n, size)
    free = np.setdiff1d(np.arange(size), nodes)
    v = np.zeros(size, complex)
    v[nodes] = emf
    v[free] = np.linalg.solve(y[np.ix_(free, free)], -y[np.ix_(free, nodes)] @ emf)
    return v[:n], v[given.bus] * (y @ v)[nodes].conj()


@pytest.mark.parametrize(
    ("bus", "z_pu"),
    [
        ((0, 1, 2), (0.01 + 0.1j, 0.005 + 0.05j, 0.008 + 0.08j)),
        ((0, 1, 2), (0, 0.005 + 0.05j, 0.008 + 0.08j)),
        ((0, 1, 1), (0, 0.005 + 0.05j, 0.02 + 0.1j)),  # two behind impedances at one bus
        ((0, 1, 1), (0.01 + 0.1j, 0, 0.02 + 0.1j)),  # an ideal one and one behind an impedance
        ((4, 6, 8), (0.01 + 0.1j, 0, 0.008 + 0.08j)),  # at the loads' buses
        ((3, 3, 3), (0.01 + 0.1j, 0, 0.008 + 0.08j)),
        ((0,), (0.01 + 0.1j,)),
    ],
)
def test_sources_against_one_dense_solve(bus, z_pu):
    given = sources(bus, np.array(z_pu))
    emf = np.array([1.04, 1.025 * np.exp(0.17j), 1.01 * np.exp(0.08j)])[: len(bus)]
    net = reduced(given)
    found = solve(net, supplied(net, case_a.loads(CONSTANT_Z)), emf, None)
    v, s = dense(given, case_a.loads(CONSTANT_Z), emf)
    assert found.s_source == pytest.approx(s, abs=1e-11)
    assert found.v_source == pytest.approx(v[given.bus], abs=1e-11)
    assert seen(net, found).v_bus == pytest.approx(v, abs=1e-11)
    assert seen(net, found).mismatch_pu < 1e-11


def test_two_ideal_sources_at_one_bus_are_refused():
    with pytest.raises(ValueError, match="two ideal sources at one bus"):
        reduced(sources((0, 1, 1)))
    reduced(sources((0, 1, 1), connected=(True, True, False)))


def test_disconnected_source_changes_nothing():
    emf = case9_emf()
    alone = reduced(sources((0, 1), 0.05j))
    beside = reduced(sources((0, 1, 2), 0.05j, connected=(True, True, False)))
    found = [solve(net, supplied(net, case_a.loads()), emf[: len(net.sources.bus)], None) for net in (alone, beside)]
    assert found[1].s_source == pytest.approx([*found[0].s_source, 0], abs=1e-11)
    assert found[1].v_source[2] == 0


# --- conservation ---


@kinds
@pytest.mark.parametrize("z_pu", [0, 0.01 + 0.1j])
@pytest.mark.parametrize("opened", [(), ("6-7",), ("4-5", "8-9")])
def test_what_sources_give_is_what_loads_and_losses_take(zip_shares, z_pu, opened):
    net = reduced(sources(z_pu=z_pu), opened)
    found = solve(net, supplied(net, case_a.loads(zip_shares)), case9_emf(), None)
    view = seen(net, found)
    assert view.mismatch_pu < 1e-9
    assert found.s_source.real.sum() == pytest.approx(view.s_load.real.sum() + view.loss_pu, abs=1e-10)
    assert view.s_load == pytest.approx(power(supplied(net, case_a.loads(zip_shares)), found.v_load), abs=1e-10)


def test_losses_are_those_of_the_resistances():
    # sum r |I|^2 of the current inside each line, behind the half of the charging at its from end
    lines = {  # r, b
        "4-5": (0.017, 0.158),
        "5-6": (0.039, 0.358),
        "6-7": (0.0119, 0.209),
        "7-8": (0.0085, 0.149),
        "8-9": (0.032, 0.306),
        "9-4": (0.01, 0.176),
    }
    net = reduced(sources())
    view = seen(net, solve(net, supplied(net, case_a.loads()), case9_emf(), None))
    loss = 0.0
    for name, (r, b) in lines.items():
        row = net.network.row_of_branch(name)
        v = view.v_bus[net.network.from_bus[row]]
        loss += r * abs((view.s_from[row] / v).conj() - 0.5j * b * v) ** 2
    assert view.loss_pu == pytest.approx(loss, abs=1e-10)


def test_mismatch_shows_voltages_that_do_not_fit():
    # a bus voltage that is off by 1e-6 unbalances its bus by about 1e-6 times the admittances that meet there
    net = reduced(sources())
    x = solve(net, supplied(net, case_a.loads()), case9_emf(), None).x
    net.to_bus[4] *= 1 + 1e-6
    assert observe(net, x).mismatch_pu > 1e-6


def test_shunt_losses_are_losses():
    network = case_a.case9().network
    shunt = np.zeros(9, complex)
    shunt[5] = 0.02 - 0.1j
    net = reduce(replace(network, shunt_pu=shunt), network.closed, sources(), np.array([4, 6, 8]))
    found = solve(net, supplied(net, case_a.loads()), case9_emf(), None)
    view = seen(net, found)
    in_branches = (view.s_from + view.s_to).real.sum()
    assert view.loss_pu - in_branches == pytest.approx(0.02 * abs(view.v_bus[5]) ** 2, abs=1e-12)
    assert view.mismatch_pu < 1e-9


def test_many_instants_at_once_are_each_of_them():
    net = reduced(sources(z_pu=0.05j), ("6-7",))
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 5, 6)) + 1j * rng.normal(size=(2, 5, 6))
    together = observe(net, x)
    for place in np.ndindex(2, 5):
        for whole, single in zip(together, observe(net, x[place]), strict=True):
            assert whole[place] == pytest.approx(single, rel=1e-12, abs=1e-13)


# --- islands ---


def test_island_without_a_source_is_dead():
    net = reduced(sources(), ("4-5", "5-6"))
    found = solve(net, supplied(net, case_a.loads()), case9_emf(), None)
    view = seen(net, found)
    assert net.supplied.tolist() == [1, 2]
    assert np.flatnonzero(net.dead_bus).tolist() == [4]
    assert view.v_bus[4] == 0
    assert view.s_load[0] == 0
    assert view.s_load[1:] == pytest.approx([1.0 + 0.35j, 1.25 + 0.5j], abs=1e-10)
    assert not found.collapsed
    assert view.mismatch_pu < 1e-9


def test_two_islands_with_sources_live_on():
    # 1, 4, 9, 8, 2 and 7 on one side; 3, 6 and 5 on the other
    net = reduced(sources(), ("4-5", "6-7"))
    found = solve(net, supplied(net, case_a.loads()), case9_emf(), None)
    view = seen(net, found)
    assert not net.dead_bus.any()
    assert found.s_source[2] == pytest.approx(
        view.s_load[0] + sum(view.s_from[r] + view.s_to[r] for r in map(net.network.row_of_branch, ("3-6", "5-6"))),
        abs=1e-10,
    )


def test_no_loads_and_no_voltage_are_ordinary():
    without = reduced(sources(), load_bus=np.array([], int))
    none = Loads(np.array([], int), *np.zeros((3, 0)), *np.zeros((2, 0, 3)), *np.zeros((2, 0)))
    found = solve(without, supplied(without, none), case9_emf(), None)
    again = solve(without, supplied(without, none), case9_emf() * 1j, found)
    assert again.s_source == pytest.approx(found.s_source, abs=1e-12)
    dark = reduced(sources(connected=False))
    found = solve(dark, supplied(dark, case_a.loads()), case9_emf(), None)
    assert dark.dead_bus.all()
    assert (seen(dark, found).v_bus == 0).all()
    assert (found.s_source == 0).all()


# --- collapse ---


def two_buses(x_pu: float) -> Reduction:
    """An ideal source at bus a, a reactance, a load at bus b."""
    one = np.ones(1, complex)
    network = Network(
        s_base_mva=1.0, f_nom_hz=50.0, bus_names=("a", "b"), bus_row=np.array([0, 1]), v_base_kv=np.ones(2),
        shunt_pu=np.zeros(2, complex), branch_names=("a-b",), from_bus=np.array([0]), to_bus=np.array([1]),
        two_ports=pi_branch(1j * x_pu * one, 0 * one, one), closed=np.array([True]), rating_pu=np.ones(1),
    )  # fmt: skip
    return reduce(network, network.closed, sources((0,)), np.array([1]))


@pytest.mark.parametrize("xp", [0.1, 0.3, 0.45, 0.499, 0.501, 0.6, 1.0, 3.0])
def test_both_sides_of_the_nose_by_hand(xp):
    # E = 1, unity power factor: V^4 - V^2 + (X P)^2 = 0, so V^2 = 1/2 + sqrt(1/4 - (X P)^2), down to
    # V = 0.7071 at X P = 1/2; beyond it the load is the conductance P / 0.49, and V = 1 / |1 + j X P / 0.49|
    x, v = 0.2, np.sqrt(0.5 + np.sqrt(0.25 - xp**2)) if xp < 0.5 else 1 / np.hypot(1, xp / 0.49)
    share, none = np.array([CONSTANT_P], float), np.zeros(1)
    loads = Loads(np.array([1]), np.array([xp / x]), none, np.ones(1), share, share, none, none)
    found = solve(two_buses(x), demand(loads), np.array([1 + 0j]), None)
    assert np.abs(found.v_load) == pytest.approx([v], abs=1e-9)
    assert found.collapsed == (xp > 0.5)


@pytest.mark.parametrize("factor", [2.7, 3, 5, 20, 200])
@pytest.mark.parametrize("z_pu", [0, 0.01 + 0.1j])
def test_overload_is_a_collapse_that_can_be_seen(factor, z_pu):
    # constant power ends at 2.62 times the loads for ideal sources; relieved loads always have a solution
    net = reduced(sources(z_pu=z_pu))
    before = solve(net, supplied(net, case_a.loads()), case9_emf(), None)
    assert not before.collapsed
    for last in (None, before):
        overloaded = solve(net, supplied(net, scaled(case_a.loads(), factor)), case9_emf(), last)
        assert overloaded.collapsed
        assert np.abs(overloaded.v_load).min() < V_RELIEF_PU
        assert seen(net, overloaded).mismatch_pu < 1e-9 * factor


@kinds
@pytest.mark.parametrize("factor", np.geomspace(1, 300, 30).round(3))
def test_overload_ends_in_a_solution_or_by_name(zip_shares, factor):
    net = reduced(sources(z_pu=0.01 + 0.1j))
    last = solve(net, supplied(net, case_a.loads(zip_shares)), case9_emf(), None)
    try:
        found = solve(net, supplied(net, scaled(case_a.loads(zip_shares), factor)), case9_emf(), last)
    except VoltageCollapse as collapse:
        assert zip_shares in (CONSTANT_I, MIXED)  # a constant current may exceed what a short circuit draws
        assert collapse.bus in (4, 6, 8)
    else:
        assert found.collapsed == (np.abs(found.v_load).min() < V_RELIEF_PU)
        assert seen(net, found).mismatch_pu < 1e-9


def test_ramp_through_the_nose_and_back_ends_where_it_began():
    net = reduced(sources())
    first = last = solve(net, supplied(net, case_a.loads()), case9_emf(), None)
    factors = np.linspace(1, 4, 150)
    for factor in (*factors, *factors[::-1]):
        last = solve(net, supplied(net, scaled(case_a.loads(), factor)), case9_emf(), last)
        assert seen(net, last).mismatch_pu < 1e-9
    assert last.s_source == pytest.approx(first.s_source, abs=1e-10)


def test_network_without_any_solution_is_named():
    # constant currents of 60 times the loads' are more than the sources drive through a short circuit
    net = reduced(sources(z_pu=0.1j))
    with pytest.raises(VoltageCollapse, match="no network solution") as raised:
        solve(net, supplied(net, scaled(case_a.loads(CONSTANT_I), 60)), case9_emf(), None)
    assert raised.value.bus in (4, 6, 8)


# --- the chord iteration ---


@kinds
@pytest.mark.parametrize("opened", [(), ("6-7",), ("4-5", "6-7")], ids=["whole", "tripped", "two_islands"])
@pytest.mark.parametrize("z_pu", [0, 0.01 + 0.1j])
def test_chord_equals_a_fresh_solve_all_along(zip_shares, opened, z_pu):
    # EMFs that turn by 10 Hz and more, drift apart and swing; two islands even turn against each other
    net = reduced(sources(z_pu=z_pu), opened)
    need = supplied(net, case_a.loads(zip_shares))
    t = np.arange(0, 0.5, 0.005)
    turn = 60 * t[:, None] + (np.array([0, 0, 3.0]) * t[:, None] if len(opened) == 2 else 0)
    swing = 0.3 * np.sin(t[:, None] * np.array([11.0, 17.0, 23.0]))
    level = 1 + 0.03 * np.sin(t[:, None] * np.array([7.0, 29.0, 13.0]))
    last = None
    for emf in case9_emf() * level * np.exp(1j * (turn + swing)):
        last = solve(net, need, emf, last)
        fresh = solve(net, need, emf, None)
        assert last.s_source == pytest.approx(fresh.s_source, abs=1e-10)
        assert last.v_source == pytest.approx(fresh.v_source, abs=1e-10)
        assert in_nominal_frame(net, last) == pytest.approx(in_nominal_frame(net, fresh), abs=1e-10)


@kinds
def test_chord_sees_a_voltage_sink_below_0_7_pu_and_rise_again(zip_shares):
    # a tenth of the loads, so that the voltage follows the EMFs; steps so small that the chord goes on
    net = reduced(sources())
    need = supplied(net, scaled(case_a.loads(zip_shares), 0.1))
    last, sides = None, []
    level = np.linspace(0.8, 0.6, 41)
    for factor in (*level, *level[::-1]):
        last = solve(net, need, factor * np.ones(3, complex), last)
        fresh = solve(net, need, factor * np.ones(3, complex), None)
        assert last.collapsed == fresh.collapsed == (np.abs(fresh.v_load).min() < V_RELIEF_PU)
        assert last.s_source == pytest.approx(fresh.s_source, abs=1e-10)
        sides.append(last.collapsed)
    assert np.flatnonzero(np.diff(sides)).size == 2


def test_chord_survives_jumps():
    net = reduced(sources())
    need = supplied(net, case_a.loads())
    rng = np.random.default_rng(5)
    last = None
    for _ in range(50):
        emf = rng.uniform(0.9, 1.1, 3) * np.exp(1j * (rng.uniform(-np.pi, np.pi) + rng.uniform(-0.4, 0.4, 3)))
        last, fresh = solve(net, need, emf, last), solve(net, need, emf, None)
        assert last.s_source == pytest.approx(fresh.s_source, abs=1e-10)


def test_chord_is_kept_while_the_grid_only_turns():
    net = reduced(sources())
    need = supplied(net, case_a.loads())
    first = solve(net, need, case9_emf(), None)
    turned = solve(net, need, case9_emf() * np.exp(2.0j), first)
    assert turned.chord is first.chord
    assert turned.iterations == 1
    assert turned.v_source == pytest.approx(first.v_source * np.exp(2.0j), abs=1e-12)


@pytest.mark.parametrize("source", [0, 2])
def test_emf_that_is_not_a_number_is_refused(source):
    net = reduced(sources())
    need, emf = supplied(net, case_a.loads()), case9_emf().copy()
    last = solve(net, need, emf, None)
    emf[source] = np.nan
    for before in (None, last):
        with pytest.raises(ValueError, match=f"EMF of source {source + 1} is not finite"):
            solve(net, need, emf, before)


def test_solve_leaves_what_it_is_given():
    net = reduced(sources())
    emf, need = case9_emf().copy(), supplied(net, case_a.loads())
    first = solve(net, need, emf, None)
    inverse = () if first.v_free is not None else (first.chord.inverse,)  # SuperLU's factors cannot change
    given = (first.x, first.v_load, *inverse, need.z, need.i, need.p)
    kept = [field.copy() for field in given]
    solve(net, need, emf * np.exp(0.1j), first)
    assert np.array_equal(emf, case9_emf())
    for before, field in zip(kept, given, strict=True):
        assert np.array_equal(before, field)


@pytest.mark.parametrize("after_a_solution", [False, True])
def test_source_that_has_run_away_is_refused_by_its_size(after_a_solution):
    net, run_away = reduced(sources()), case9_emf() * np.array([1, 40.0, 1])
    need = supplied(net, case_a.loads())
    last = solve(net, need, case9_emf(), None) if after_a_solution else None
    with pytest.raises(ArithmeticError, match="source 2 has grown to 40 pu: unstable"):
        solve(net, need, run_away, last)
