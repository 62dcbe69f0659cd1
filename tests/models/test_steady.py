"""Droop sources at rest, and how stiffly they hang on the network."""

import numpy as np
import pytest

import case_a
from case_a import LOAD_STEP, RATINGS_PU, droop_lines, power_flow_start, settled
from gridloop.simulators.models.loads import demand
from gridloop.simulators.models.nodal import Sources, observe, reduce
from gridloop.simulators.models.solve import solve
from gridloop.simulators.models.steady import Equilibrium, Given, droop_equilibrium, stiffness_per_s
from plain_loop import Plant, demand_at, grid_of, open_line

NOMINAL_HZ = np.full(3, 60.0)


def at_rest(plant: Plant) -> Equilibrium:
    return droop_equilibrium(grid_of(plant).net, plant.loads, droop_lines(plant), 60.0)


def behind(plant: Plant, z_pu: complex) -> Plant:
    return plant._replace(sources=Sources(np.arange(3), np.full(3, z_pu), np.ones(3, bool)))


@pytest.mark.parametrize("droop_p_percent", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("z_pu", [0, 0.01 + 0.1j])
def test_sources_at_rest_stand_on_their_droop_lines(droop_p_percent, z_pu):
    plant = behind(case_a.droop_plant(droop_p_percent), z_pu)
    rest, lines = at_rest(plant), droop_lines(plant)
    s = rest.solution.s_source
    slip = np.full(3, rest.slip_rad_per_s)
    assert slip == pytest.approx(-lines.m_rad_per_s_pu * (s.real - lines.p_set_pu), abs=1e-10)
    assert np.abs(rest.emf_pu) == pytest.approx(lines.v_set_pu - lines.n_pu * (s.imag - lines.q_set_pu), abs=1e-10)
    assert np.angle(rest.emf_pu[0]) == pytest.approx(0.0, abs=1e-15)


def test_solution_is_the_networks_own():
    plant = case_a.droop_plant()
    rest, grid = at_rest(plant), grid_of(plant)
    again = solve(grid.net, demand_at(grid, NOMINAL_HZ), rest.emf_pu, None)
    assert rest.solution.s_source == pytest.approx(again.s_source, abs=1e-10)
    view = observe(grid.net, rest.solution.x)
    assert view.mismatch_pu < 1e-9
    assert again.s_source.real.sum() == pytest.approx(3.15 + view.loss_pu, abs=1e-10)


def test_frequency_by_the_droop_law_and_shares_by_the_ratings():
    # set-points 0.67 + 1.63 + 0.85 = 3.15 are the loads: only the losses make the frequency fall,
    # by loss / sum 1/m with sum 1/m = 4.25 / (0.02 * 2 pi 60) = 0.563676 s; each unit takes S / 4.25 of them
    plant = case_a.droop_plant()
    rest = at_rest(plant)
    loss = observe(grid_of(plant).net, rest.solution.x).loss_pu
    assert loss == pytest.approx(0.052, abs=5e-4)
    assert rest.slip_rad_per_s == pytest.approx(-loss / (4.25 / (0.02 * 2 * np.pi * 60)), abs=1e-9)
    more = rest.solution.s_source.real - [0.67, 1.63, 0.85]
    assert more == pytest.approx(loss * RATINGS_PU / 4.25, abs=1e-10)


def test_power_flow_is_the_rest_of_its_own_set_points():
    start, rest = power_flow_start(), at_rest(case_a.plant())
    assert rest.slip_rad_per_s == pytest.approx(0.0, abs=1e-10)
    assert rest.emf_pu == pytest.approx(start.emf_pu, abs=1e-10)
    assert rest.solution.s_source == pytest.approx(start.s_pu, abs=1e-10)


@pytest.mark.parametrize("trip", [False, True])
def test_rest_is_where_a_run_ends(trip):
    # f, P, Q of the run's last row, six digits, found by integration
    plant = LOAD_STEP[1](case_a.plant())
    rest = at_rest(open_line("6-7")(plant) if trip else plant)
    f_hz, p_pu, q_pu = (
        (59.908647, (0.795675, 1.782256, 0.945160), (0.404925, 0.470390, 0.027655))
        if trip
        else (59.910359, (0.794248, 1.779402, 0.943377), (0.349936, 0.222202, 0.044763))
    )
    assert 60 + rest.slip_rad_per_s / (2 * np.pi) == pytest.approx(f_hz, abs=6e-7)
    assert rest.solution.s_source.real == pytest.approx(p_pu, abs=6e-7)
    assert rest.solution.s_source.imag == pytest.approx(q_pu, abs=6e-7)


def test_loads_that_depend_on_the_frequency():
    # k_pf = 1.5 on 3.45 pu: -slip (sum 1/m + 1.5 * 3.45 / w0) = 0.3 + more losses; published 59.912584 Hz
    plant = LOAD_STEP[1](case_a.plant(case_a.loads(k_pf=1.5, k_qf=1.5)))
    assert 60 + at_rest(plant).slip_rad_per_s / (2 * np.pi) == pytest.approx(59.912584, abs=6e-7)


@pytest.mark.parametrize("factor", [1e-4, 0.7])
def test_one_source_alone(factor):
    plant = case_a.droop_plant()
    p0, q0 = (factor * column for column in (plant.loads.p0_pu, plant.loads.q0_pu))
    one = plant._replace(
        sources=Sources(np.array([0]), np.zeros(1, complex), np.ones(1, bool)),
        loads=plant.loads._replace(p0_pu=p0, q0_pu=q0),
    )
    lines = type(droop_lines(plant))(*(column[:1] for column in droop_lines(plant)))
    rest = droop_equilibrium(grid_of(one).net, one.loads, lines, 60.0)
    p = rest.solution.s_source.real
    assert [rest.slip_rad_per_s] == pytest.approx(-lines.m_rad_per_s_pu * (p - lines.p_set_pu), abs=1e-10)


def test_infeasible_set_points_are_said_to_be():
    lines = droop_lines(case_a.droop_plant())
    far = lines._replace(p_set_pu=np.array([15.0, -30.0, 1.0]))
    plant = case_a.droop_plant()
    with pytest.raises(ArithmeticError, match="set-points and ratings feasible"):
        droop_equilibrium(grid_of(plant).net, plant.loads, far, 60.0)


def test_two_islands_settle_each_by_itself():
    # 4-5 and 6-7 leave inv3 with the load at 5, and inv1 and inv2 with those at 7 and 9
    plant = case_a.droop_plant()
    for name in ("4-5", "6-7"):
        plant = open_line(name)(plant)
    rest, net, lines = at_rest(plant), grid_of(plant).net, droop_lines(plant)
    slip = -lines.m_rad_per_s_pu * (rest.solution.s_source.real - lines.p_set_pu)
    assert rest.island_slip_rad_per_s[net.island_of_source] == pytest.approx(slip, abs=1e-10)
    assert slip[0] == pytest.approx(slip[1], abs=1e-10)
    assert abs(slip[2] - slip[0]) > 0.1


# --- stiffness ---


@pytest.mark.parametrize(
    ("case", "droop_p_percent", "expected"),
    [("A", 1, 23.3), ("A", 2, 46.5), ("A", 5, 116.3), ("A0", 2, 47.11), ("A0", 5, 117.78)],
)
def test_stiffness_of_the_case(case, droop_p_percent, expected):
    plant = case_a.plant(None, droop_p_percent) if case == "A0" else case_a.droop_plant(droop_p_percent)
    emf = power_flow_start().emf_pu if case == "A0" else settled(plant).emf_pu
    found = stiffness_per_s(grid_of(plant).net, demand(plant.loads), emf, plant.params.droop_p_rad_per_s_pu)
    assert found == pytest.approx(expected, abs=0.06 if case == "A" else 0.006)


def test_stiffness_of_two_sources_by_hand():
    # without load between E1 = E2 = 1 over X: P = sin(d)/X each way, so dP/d(delta) = 1/X [[1, -1], [-1, 1]]
    # and diag(m) times that has the eigenvalues 0 and (m1 + m2)/X; here X = 0.0576 + 0.085 + 0.161 + 0.0625
    plant = case_a.droop_plant()
    for name in ("4-5", "7-8"):
        plant = open_line(name)(plant)
    quiet = plant.loads._replace(p0_pu=np.zeros(3), q0_pu=np.zeros(3))
    plant = plant._replace(loads=quiet, sources=Sources(np.array([0, 1]), np.zeros(2, complex), np.ones(2, bool)))
    m = np.array([6.0, 2.0])
    net = grid_of(plant).net
    found = stiffness_per_s(net, demand(quiet.at(net.supplied)), np.ones(2, complex), m)
    # the lines' charging raises the transfer by some percent; their resistance lowers it
    assert found == pytest.approx(8.0 / 0.3661, rel=0.05)


def test_stiffness_is_proportional_to_the_droop():
    plant = case_a.droop_plant()
    emf, net = settled(plant).emf_pu, grid_of(plant).net
    m = plant.params.droop_p_rad_per_s_pu
    once, thrice = (stiffness_per_s(net, demand(plant.loads), emf, k * m) for k in (1, 3))
    assert thrice == pytest.approx(3 * once, rel=1e-9)


# --- beside a public grid, beside units that inject ---


def beside_a_grid(slip_rad_per_s: float, emf: complex = 1 + 0j, closed: bool = True) -> tuple[Equilibrium, Plant]:
    """Case A with a given EMF behind 0.01 + j0.1 at bus 5, and 0.3 + 0.1j pu injected at bus 6."""
    plant = case_a.droop_plant()
    sources = Sources(np.array([0, 1, 2, 4]), np.array([0, 0, 0, 0.01 + 0.1j]), np.array([True] * 3 + [closed]))
    given = Given(np.array([emf]), slip_rad_per_s, np.array([0.3 + 0.1j]), np.array([np.inf]))
    net = reduce(plant.network, plant.closed, sources, np.append(plant.loads.bus, 5))
    return droop_equilibrium(net, plant.loads, droop_lines(plant), 60.0, given), plant


@pytest.mark.parametrize("slip", [0.0, -0.3, 0.5])
def test_public_grid_sets_the_frequency_and_every_source_answers_by_its_droop(slip):
    rest, plant = beside_a_grid(slip, np.exp(0.2j))
    lines, p = droop_lines(plant), rest.solution.s_source[:3].real
    assert rest.slip_rad_per_s == pytest.approx(slip, abs=1e-12)
    assert p == pytest.approx(lines.p_set_pu - slip / lines.m_rad_per_s_pu, abs=1e-10)
    # 3.45 pu of load and losses: the public grid gives the rest
    total = rest.solution.s_source.real.sum() + 0.3
    assert 3.15 < total < 3.25


def test_angle_of_the_public_grid_turns_the_whole_island():
    straight, turned = (beside_a_grid(0.0, emf)[0] for emf in (1 + 0j, np.exp(0.4j)))
    assert turned.emf_pu == pytest.approx(straight.emf_pu * np.exp(0.4j), abs=1e-10)
    assert turned.solution.s_source == pytest.approx(straight.solution.s_source, abs=1e-10)


def test_open_switch_leaves_the_frequency_to_the_droop():
    # set-points of 3.15 and 0.3 injected for 3.15 of load and some 0.05 of losses: the frequency rises
    rest, plant = beside_a_grid(0.5, closed=False)
    lines, p = droop_lines(plant), rest.solution.s_source[:3].real
    assert rest.slip_rad_per_s > 0.3
    assert np.full(3, rest.slip_rad_per_s) == pytest.approx(-lines.m_rad_per_s_pu * (p - lines.p_set_pu), abs=1e-10)
    assert rest.solution.s_source[3] == 0


def test_network_without_sources_is_at_rest_and_dead():
    plant = case_a.droop_plant()
    net = reduce(plant.network, plant.closed, Sources(*np.zeros((3, 0), int)), plant.loads.bus)
    none = type(droop_lines(plant))(*np.zeros((5, 0)))
    rest = droop_equilibrium(net, plant.loads, none, 60.0)
    assert rest.slip_rad_per_s == 0 and len(rest.solution.s_source) == 0
