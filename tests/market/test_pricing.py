"""What reactive power costs: the design's tables, the paper's with its misprint, and who pays."""

import numpy as np
import pandapower
import pytest

from gridloop.simulators.market.dispatch import dispatch
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.net import dispatch_net
from gridloop.simulators.market.orpd9 import orpd9
from gridloop.simulators.market.pricing import active_cost, apparent_cost, capability_cost, price, svc_cost
from reactive_cases import paper

LOADS = ("load5", "load7", "load9")


def priced(case, misprint=False, optimal=False, **options):
    problem = paper(case, misprint=misprint).problem
    return price(problem, dispatch(newton(problem)).x if optimal else problem.start, **options)


def test_both_readings_by_hand():
    # a + b P + c P^2 with (100, 2, 0.1): P = 30 costs 250, S = 50 costs 450; S_max = 60 with Q = 36 leaves P = 48
    cost = np.array([[100.0, 2.0, 0.1]])
    assert active_cost(np.array([30.0]), cost) == pytest.approx([250])
    assert apparent_cost(np.array([30.0]), np.array([-40.0]), cost) == pytest.approx([20])
    assert capability_cost(np.array([60.0]), np.array([36.0]), cost) == pytest.approx([0.1 * (580 - 426.4)])


def test_an_svc_costs_by_its_size_up_to_where_the_formula_holds():
    sizes = np.array([0.0, 100.0, 138.34, 182.166, 508.0, 900.0])
    cost = svc_cost(sizes)
    assert cost[:4] == pytest.approx([0, 228.01, 287.15, 340.03], abs=0.02)
    assert cost[5] == cost[4]
    assert svc_cost(sizes, 10.0) == pytest.approx(cost / 2)


@pytest.mark.parametrize(("case", "optimal", "costs"), [
    ("C0", False, (8.332, 1.854, 0.171)), ("C1", False, (258.354, 65.117, 12.296)),
    ("C2", False, (45.496, 10.622, 0.482, 228.01)), ("C1", True, (267.101, 33.022, 8.010)),
    ("C2", True, (1.778, 0.297, 5.219, 340.03)),
])  # fmt: skip
def test_costs_on_true_case9(case, optimal, costs):
    assert priced(case, optimal=optimal).cost_per_h == pytest.approx(costs, abs=0.01)


@pytest.mark.parametrize(("case", "optimal", "source", "fed"), [
    ("C0", False, "g1", (0, 0, 20.753)), ("C1", False, "g1", (0, 0, 115.561)), ("C1", False, "g2", (0, 0, 61.046)),
    ("C1", False, "g3", (6.361, 18.171, 1.544)), ("C2", False, "g1", (0, 0, 52.032)),
    ("C2", False, "g2", (0, 0, 17.262)), ("C2", False, "g3", (0, 1.871, 0)), ("C2", False, "svc9", (0, 0, 100)),
    ("C1", True, "g1", (0, 0, 131.754)), ("C1", True, "g2", (0, 0, 46.235)), ("C2", True, "svc9", (0, 0, 182.166)),
])  # fmt: skip
def test_who_feeds_the_loads(case, optimal, source, fed):
    traced = priced(case, optimal=optimal).trace
    column = traced.sources.names.index(source)
    assert traced.to(LOADS)[:, column] == pytest.approx(fed, abs=5e-3)


@pytest.mark.parametrize(("case", "from_lines"), [
    ("C0", (30, 35, 29.247)), ("C1", (23.639, 16.829, 21.849)), ("C2", (30, 33.129, 30.706)),
])  # fmt: skip
def test_what_the_lines_charging_feeds(case, from_lines):
    traced = priced(case).trace
    lines = [name.startswith("line") for name in traced.sources.names]
    assert traced.to(LOADS)[:, lines].sum(axis=1) == pytest.approx(from_lines, abs=5e-3)


@pytest.mark.parametrize(("case", "table_3", "total"), [
    ("C1", (285.9, 71.2, 22.2), 379.0), ("C2", (57.45, 12.94, 3.63, 287.0), 361.0),
])  # fmt: skip
def test_the_papers_prices_follow_with_the_misprint(case, table_3, total):
    found = priced(case, misprint=True, svc_rating="lines")
    assert found.cost_per_h[:3] == pytest.approx(table_3[:3], rel=2e-3)
    assert found.cost_per_h == pytest.approx(table_3, rel=4e-3)
    assert found.cost_per_h.sum() == pytest.approx(total, rel=3e-3)
    assert priced(case).cost_per_h[0] != pytest.approx(table_3[0], rel=0.05)


def test_an_svc_rated_by_what_it_takes_off_the_lines():
    assert priced("C2", svc_rating="lines").cost_per_h[3] == pytest.approx(287.15, abs=0.01)


@pytest.mark.parametrize(("case", "costs"), [("C1", (238.6, 64.1, 11.9)), ("C2", (39.0, 10.4, 0.47))])
def test_the_cost_of_lost_capacity(case, costs):
    assert priced(case, reading="capability").cost_per_h[:3] == pytest.approx(costs, abs=0.05)


@pytest.mark.parametrize("optimal", [False, True])
@pytest.mark.parametrize("case", ["C0", "C1", "C2"])
def test_loads_pay_exactly_what_it_costs(case, optimal):
    found = priced(case, optimal=optimal)
    assert found.share_per_h.sum(axis=0) == pytest.approx(found.cost_per_h, abs=1e-9)
    assert (found.share_per_h >= 0).all()


def test_case_1_generators_1_and_2_are_paid_by_load_9_alone():
    found = priced("C1")
    assert found.share_per_h[:, :2] == pytest.approx(np.array([[0, 0], [0, 0], [258.354, 65.117]]), abs=0.01)
    assert found.share_per_h[:, 2] == pytest.approx([3.00, 8.57, 0.73], abs=0.01)


def test_who_feeds_no_load_or_absorbs_is_paid_by_reactive_load():
    found = priced("C0")
    by_size = np.array([30, 35, 50]) / 115
    assert found.q_mvar[2] < 0
    assert found.share_per_h[:, 2] == pytest.approx(found.cost_per_h[2] * by_size)  # absorbs
    assert found.share_per_h[:, 1] == pytest.approx(found.cost_per_h[1] * by_size)  # only lines take its power


def test_refusals():
    problem = paper("C1").problem
    with pytest.raises(ValueError, match="pricing 'real': there are apparent, capability"):
        price(problem, problem.start, "real")
    with pytest.raises(ValueError, match="years = 0 must be > 0"):
        price(problem, problem.start, years=0.0)
    with pytest.raises(ValueError, match=r"row 0: \|Q\| = 140.46 Mvar exceeds s_max_mva = 100"):
        net = orpd9(svc_mvar=None)
        net.ext_grid["max_p_mw"] = 100.0
        given = dispatch_net(net).problem
        price(given, given.start, "capability")
    net = orpd9()
    net.poly_cost = net.poly_cost.iloc[:1]
    given = dispatch_net(net).problem
    with pytest.raises(ValueError, match=r"no cost polynomial \(poly_cost\) for the one generator of g2, g3"):
        price(given, given.start)
    dead = paper("C1", q9_mvar=2000.0).problem
    with pytest.raises(ValueError, match="does not converge"):
        price(dead, dead.start)


def test_loads_of_one_bus_share_and_one_that_feeds_in_pays_nothing():
    net = orpd9()
    net.load.loc[net.load.bus == 8, "q_mvar"] = 150.0
    pandapower.create_load(net, 8, 0.0, 50.0, name="mill")
    pandapower.create_load(net, 6, 0.0, -10.0, name="cables")
    problem = dispatch_net(net).problem
    found = price(problem, problem.start)
    rows = {name: row for row, name in enumerate(found.load_names)}
    fed = found.trace.to(found.load_names)
    assert fed[rows["mill"]] == pytest.approx(fed[rows["load9"]] / 3)
    assert "cables" in found.trace.sources.names
    assert found.share_per_h[rows["mill"], 0] == pytest.approx(found.share_per_h[rows["load9"], 0] / 3)
