"""The power flow of many settings at once, against the design's reference table, pandapower, and differences."""

import numpy as np
import pandapower
import pytest

from gridloop.simulators.market import power_flow
from gridloop.simulators.market.backends import referee
from gridloop.simulators.market.limits import broken, newton
from gridloop.simulators.market.matching import Request, traded
from gridloop.simulators.market.net import dispatch_net
from gridloop.simulators.market.orpd9 import orpd9
from gridloop.simulators.market.slopes import slopes
from reactive_cases import paper, voltages_of


@pytest.mark.parametrize(
    ("case", "changes", "loss_mw", "q_mvar"),
    [
        ("C0", {}, 4.954702, (24.069, 14.460, -3.649)),
        ("C1", {}, 10.947052, (140.457, 85.799, 30.970)),
        ("C2", {}, 5.820531, (56.955, 34.616, 6.127)),
        ("C2", {"svc_mvar": 150.0}, 4.954702, (24.069, 14.460, -3.649)),
        ("C2", {"svc_mvar": 200.0}, 4.734392, (-5.452, -3.631, -12.420)),
    ],
)
def test_flat_losses_are_those_of_the_reference_table(case, changes, loss_mw, q_mvar):
    problem = paper(case, **changes).problem
    found = newton(problem).losses(problem.start[None])
    assert found.loss_mw[0] == pytest.approx(loss_mw, abs=1e-6)
    assert found.states.q_source_mvar[0] == pytest.approx(q_mvar, abs=6e-4)


def test_losses_at_other_voltages_and_taps():
    problem = paper("C0").problem
    settings = np.array([[1.04, 1.025, 1.025, 1, 1, 1], [1.02, 1.0, 1.03, 0.95, 0.97, 1.03]])
    assert newton(problem).losses(settings).loss_mw == pytest.approx([4.641021, 4.788183584], abs=1e-6)


def test_case_1_flat_breaks_the_voltage_limit():
    problem = paper("C1").problem
    found = newton(problem).losses(problem.start[None])
    assert found.violation_pu[0] == pytest.approx(0.9 - 0.7798, abs=1e-4)
    assert broken(problem, found.states) == ("V at bus 9 = 0.7798 pu < 0.9",)


def test_reactive_power_beyond_a_generators_limits_is_a_violation():
    net = orpd9()
    net.gen["min_q_mvar"], net.gen["max_q_mvar"] = 10.0, 30.0  # they give 34.616 and 6.127
    problem = dispatch_net(net).problem
    found = newton(problem).losses(problem.start[None])
    assert found.violation_pu[0] == pytest.approx((4.61625 + 3.87310) / 100, abs=1e-6)
    assert broken(problem, found.states) == ("Q of g2 = 34.6162 Mvar > 30", "Q of g3 = 6.1269 Mvar < 10")


@pytest.mark.parametrize("name", ["C2", "case30", "case118", "case145"])
def test_voltages_and_losses_are_pandapowers(name):
    given = paper(name) if name == "C2" else voltages_of(name)
    problem = given.problem
    low, high = problem.bounds
    middle = problem.start + 0.03 * (0.5 * (low + high) - problem.start)
    for x in (problem.start, middle):
        found = newton(problem).losses(x[None])
        loss_mw, v = referee(given, x)
        assert found.loss_mw[0] == pytest.approx(loss_mw, abs=1e-6)
        assert np.abs(found.states.v_pu[0] - v).max() < 1e-8


def test_sparse_matrices_give_what_dense_ones_give(monkeypatch):
    problem = paper("C2").problem
    settings = problem.start * np.linspace(0.99, 1.01, 3)[:, None]
    dense = newton(problem).losses(settings)
    monkeypatch.setattr(power_flow, "MOST_DENSE", 0)
    sparse = newton(problem).losses(settings)
    assert sparse.states.v_pu == pytest.approx(dense.states.v_pu, abs=1e-10)


def test_a_setting_without_a_power_flow_leaves_the_others_alone():
    problem = paper("C2").problem
    settings = np.tile(problem.start, (3, 1))
    settings[1, -1] = -900.0  # no voltage at bus 9 lets that much through
    found = newton(problem).losses(settings)
    assert np.isinf(found.loss_mw).tolist() == [False, True, False]
    assert np.isinf(found.violation_pu).tolist() == [False, True, False]
    assert found.loss_mw[0] == found.loss_mw[2] == pytest.approx(5.820531, abs=1e-6)
    assert broken(problem, newton(problem).losses(settings[1:2]).states) == ("the power flow does not converge",)


def test_active_and_reactive_power_balance():
    problem = paper("C2").problem
    found = newton(problem).losses(problem.start[None])
    loads, state = problem.demands.s_mva.sum(), found.states
    assert state.p_source_mw.sum() == pytest.approx(loads.real + found.loss_mw[0], abs=1e-8)
    q_lines = 100 * (state.s_from_pu + state.s_to_pu).imag.sum()
    assert state.q_source_mvar.sum() + 100.0 == pytest.approx(loads.imag + q_lines, abs=1e-8)


def lossy_shunt():
    net = orpd9()
    pandapower.create_shunt(net, 6, q_mvar=-15.0, p_mw=8.0)
    net.trafo.loc[net.trafo.index[0], "tap_side"] = "hv"
    return dispatch_net(net)


@pytest.mark.parametrize("name", ["shunt", "case118"])
def test_slopes_are_differences(name):
    problem = (lossy_shunt() if name == "shunt" else voltages_of(name)).problem
    x = problem.start * 1.003
    flow, step = newton(problem), 1e-5
    exact = slopes(problem, x, flow.losses(x[None]).states.v_pu[0])
    for column in range(0, len(x), 1 if name == "shunt" else 13):
        ends = np.tile(x, (2, 1))
        ends[:, column] += (step, -step)
        found = flow.losses(ends)
        v, q = np.abs(found.states.v_pu), found.states.q_source_mvar
        assert exact.loss_mw[column] == pytest.approx(np.diff(-found.loss_mw)[0] / (2 * step), abs=1e-4)
        assert exact.v_pu[:, column] == pytest.approx((v[0] - v[1]) / (2 * step), abs=1e-6)
        assert exact.q_mvar[:, column] == pytest.approx((q[0] - q[1]) / (2 * step), rel=1e-5, abs=1e-3)


def test_a_problem_at_a_setting_starts_there():
    problem = paper("C2").problem
    x = np.array([1.02, 1.0, 1.03, 0.95, 0.97, 1.03, 120.0])
    moved = problem.at(x)
    there = newton(moved).losses(moved.start[None])
    assert moved.start == pytest.approx(x)
    assert there.states.v_pu == pytest.approx(newton(problem).losses(x[None]).states.v_pu, abs=1e-10)
    back = newton(moved).losses(problem.start[None])
    assert back.loss_mw == pytest.approx(newton(problem).losses(problem.start[None]).loss_mw, abs=1e-9)
    assert traded(moved, [(Request("t", "7", 5.0), "g1")]).start == pytest.approx(x)
