"""Optimal reactive power dispatch: its optima, against an interior point method, and what it says of the infeasible."""

import numpy as np
import pytest

from gridloop.simulators.market.dispatch import dispatch
from gridloop.simulators.market.evolution import PROFILES, Profile
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.net import dispatch_net
from gridloop.simulators.market.orpd9 import orpd9
from reactive_cases import interior_point_mw, paper, voltages_of

LEAST_MW = {"C0": 4.009894, "C1": 6.765755, "C2": 3.935809}
ALL = ("voltages", "taps", "svcs")


@pytest.mark.parametrize("case", LEAST_MW)
def test_slsqp_finds_the_optimum(case):
    found = dispatch(newton(paper(case).problem))
    assert found.feasible
    assert found.loss_mw == pytest.approx(LEAST_MW[case], abs=1e-4)
    assert found.evaluations + found.gradients <= 200
    assert found.after.violation_pu[0] < 1e-8


@pytest.mark.parametrize(
    ("case", "kinds", "changes", "loss_mw"),
    [
        ("C0", ("voltages",), {}, 4.009894),
        ("C0", ("taps",), {}, 4.009894),
        ("C1", ("voltages",), {}, 7.807189),
        ("C1", ("taps",), {}, 7.5547),
        ("C2", ("voltages", "svcs"), {}, 3.935809),
        ("C2", ("taps", "svcs"), {}, 3.935809),
        ("C2", ("voltages", "taps"), {}, 4.440827),
        ("C2", ("svcs",), {}, 4.732598),
        ("C2", ALL, {"q9_mvar": 50.0}, 3.935809),
    ],
)
def test_optima_with_some_of_the_controls(case, kinds, changes, loss_mw):
    found = dispatch(newton(paper(case, kinds, **changes).problem))
    assert found.feasible
    assert found.loss_mw == pytest.approx(loss_mw, abs=1e-4)


def test_the_state_at_the_optimum():
    # voltages of generators and ratios of their lossless transformers act together: only what is behind them is unique
    problem = paper("C2").problem
    found = dispatch(newton(problem))
    assert found.x[-1] == pytest.approx(182.166, abs=5e-3)
    assert abs(found.after.states.v_pu[0, 3:]) == pytest.approx([1.0885, 1.0803, 1.1, 1.0894, 1.1, 1.0838], abs=1e-4)


@pytest.mark.parametrize(("case", "kinds"), [("C0", ("voltages",)), ("C2", ("voltages", "svcs"))])
def test_an_interior_point_method_finds_the_same(case, kinds):
    given = paper(case, kinds)
    assert dispatch(newton(given.problem)).loss_mw == pytest.approx(interior_point_mw(given.net), abs=1e-4)


@pytest.mark.parametrize(("name", "flat_mw", "loss_mw"), [
    ("case30", 2.443803, 2.04457), ("case118", 133.169694, 116.9713),
])  # fmt: skip
def test_larger_nets(name, flat_mw, loss_mw):
    given = voltages_of(name)
    found = dispatch(newton(given.problem))
    assert found.before.loss_mw[0] == pytest.approx(flat_mw, abs=1e-6)
    assert found.feasible
    assert found.after.violation_pu[0] < 1e-6
    assert found.loss_mw == pytest.approx(loss_mw, rel=1e-4)
    assert found.loss_mw == pytest.approx(interior_point_mw(given.net), rel=1e-4)
    assert found.evaluations + found.gradients <= 200


def test_no_setting_keeps_the_limits_and_that_is_said():
    flat = dispatch(newton(paper("C1", kinds=()).problem))
    assert not flat.feasible
    assert flat.broken == ("V at bus 9 = 0.7798 pu < 0.9",)
    found = dispatch(newton(paper("C1", q9_mvar=800.0).problem))
    assert not found.feasible
    assert found.broken


def test_limits_that_contradict_each_other_end_where_the_excess_is_least():
    net = orpd9(svc_mvar=None)
    net.bus.loc[net.bus.index >= 3, ["min_vm_pu", "max_vm_pu"]] = (1.0, 1.0)  # five lines cannot all be flat
    found = dispatch(newton(dispatch_net(net).problem))
    assert not found.feasible
    assert found.after.violation_pu[0] < 0.4 * found.before.violation_pu[0]


def test_where_the_start_has_no_power_flow():
    found = dispatch(newton(paper("C1", q9_mvar=2000.0).problem))
    assert not found.feasible
    assert np.isinf(found.loss_mw)
    assert found.broken == ("the power flow does not converge",)


def test_history_tells_of_the_best_after_each_power_flow():
    found = dispatch(newton(paper("C1").problem), "sbde", profile="paper")
    count, loss, violation = found.history.T
    assert count[-1] == found.evaluations == 2323
    kept = violation == 0
    assert (np.diff(violation) <= 0).all()
    assert (np.diff(loss[kept]) <= 0).all()
    assert loss[-1] == found.loss_mw


@pytest.mark.parametrize("case", LEAST_MW)
def test_evolution_reaches_the_optimum(case):
    flow = newton(paper(case).problem)
    gaps = []
    for profile, evaluations in (("paper", 2323), ("default", 3473)):
        found = dispatch(flow, "sbde", 3, profile)
        assert found.evaluations == evaluations
        assert found.after.violation_pu[0] <= 1e-9
        gaps.append(100 * (found.loss_mw / LEAST_MW[case] - 1))
    assert gaps[0] < 1.0
    assert gaps[1] < 0.1


@pytest.mark.study
@pytest.mark.parametrize("case", LEAST_MW)
def test_evolution_over_ten_seeds(case):
    flow = newton(paper(case).problem)
    gaps = {
        profile: [100 * (dispatch(flow, "sbde", seed, profile).loss_mw / LEAST_MW[case] - 1) for seed in range(10)]
        for profile in PROFILES
    }
    assert max(gaps["paper"]) < 1.0
    assert np.median(gaps["paper"]) < 0.5
    assert max(gaps["default"]) < 0.1


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not():
    flow = newton(paper("C2").problem)
    first, second, other = (dispatch(flow, "sbde", seed, "paper") for seed in (7, 7, 8))
    assert first.x.tobytes() == second.x.tobytes()
    assert first.history.tobytes() == second.history.tobytes()
    assert first.x.tobytes() != other.x.tobytes()


def test_wrong_words():
    flow = newton(paper("C2").problem)
    with pytest.raises(ValueError, match="method 'newton': there are slsqp, sbde"):
        dispatch(flow, "newton")
    with pytest.raises(ValueError, match="profile 'fast': there are paper, default"):
        dispatch(flow, "sbde", profile="fast")
    with pytest.raises(ValueError, match="population = 3 must be >= 4"):
        Profile(generations=1, crossover=0.5, population=3)
