"""A system operator's decisions on the reactive-power paper's network: what it holds, tells, matches and prices."""

from dataclasses import replace

import numpy as np
import pytest

from gridloop.simulators.market.dso import Dso, Seen, Terms, is_whole, terminal_pu
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.matching import Request, loadings
from reactive_cases import paper


def seen(problem, **changes):
    """The network as the problem has it."""
    nothing = np.zeros(problem.network.n_bus, complex)
    closed = problem.network.closed
    on = np.ones(len(problem.svcs.bus), bool)
    return Seen(problem.demands.s_mva, problem.sources.p_mw, nothing, on, closed)._replace(**changes)


def test_a_source_of_v_over_t_stands_for_a_generator_behind_its_tap_changer():
    problem = paper("C2").problem
    # taps that do not begin at 1: T = .95 in the net, and units that are told V T0 / T
    begun = problem.at(np.array([1.0, 1.0, 1.0, 0.95, 1.02, 1.0, 100.0]))
    x = np.array([1.02, 1.0, 1.03, 0.97, 0.99, 1.03, 120.0])
    told = x.copy()
    told[:3], told[3:6] = terminal_pu(begun, x), begun.taps.ratio
    wanted, found = (newton(begun).losses(one[None]) for one in (x, told))
    at_network = np.setdiff1d(np.arange(begun.network.n_bus), begun.sources.bus)
    assert found.loss_mw[0] == pytest.approx(wanted.loss_mw[0], abs=1e-9)
    assert found.states.v_pu[0, at_network] == pytest.approx(wanted.states.v_pu[0, at_network], abs=1e-10)
    assert told[0] == pytest.approx(1.02 * 0.95 / 0.97)


def test_the_setting_is_held_where_none_keeps_the_limits():
    problem = paper("C1").problem
    dso = Dso(problem, Terms())
    flat, good = dso.decide(0, seen(problem)), dso.decide(1, seen(problem))
    heavy = problem.demands.s_mva + np.array([0, 0, 160j])  # 360 Mvar at bus 9
    held = dso.decide(2, seen(problem, load_mva=heavy))
    assert not flat.feasible and flat.broken == ("V at bus 9 = 0.7798 pu < 0.9",)
    assert good.feasible and good.after.loss_mw[0] == pytest.approx(6.765755, abs=1e-4)
    assert not held.feasible and any("bus 9" in words for words in held.broken)
    assert held.x.tolist() == good.x.tolist()
    assert held.after.loss_mw[0] == held.before.loss_mw[0]


def test_nothing_is_priced_or_matched_without_a_power_flow():
    problem = paper("C1").problem
    dso = Dso(problem, Terms(), [Request("b", "7", 5.0, 0, 1)])
    none = dso.decide(0, seen(problem, load_mva=problem.demands.s_mva * 4))
    assert none.prices is None and not none.feasible and none.deals == ()
    assert [one.seller for one in none.matches] == [None]


def test_a_compensator_that_is_not_connected_gives_nothing():
    problem = paper("C2").problem
    found = Dso(problem, Terms()).decide(1, seen(problem, in_service=np.array([False])))
    assert found.x[-1] == 0
    assert found.after.loss_mw[0] == pytest.approx(6.765755, abs=1e-4)  # the optimum of case 1


def test_what_else_stands_in_the_network_counts():
    problem = paper("C1").problem
    others = np.zeros(problem.network.n_bus, complex)
    others[problem.network.row_of_bus("9")] = 100j
    found = Dso(problem, Terms()).decide(0, seen(problem, others_mva=others))
    assert found.after.loss_mw[0] == pytest.approx(5.820531, abs=1e-4)


def test_a_line_that_is_open_carries_nothing():
    problem = paper("C0").problem
    closed = problem.network.closed.copy()
    closed[problem.network.row_of_branch("6-7")] = False
    found = Dso(problem, Terms()).decide(0, seen(problem, closed=closed))
    assert abs(found.after.states.s_from_pu[0, ~closed]) == pytest.approx(0)
    assert found.after.loss_mw[0] > 4.9547 + 0.5  # that of all lines
    assert is_whole(problem, closed)
    closed[problem.network.row_of_branch("5-6")] = False
    assert not is_whole(problem, closed)  # bus 6 and its generator stand alone


def test_what_exceeds_a_rating_is_not_priced_and_says_why():
    problem = paper("C1").problem
    small = replace(problem, sources=replace(problem.sources, s_max_mva=np.array([100.0, 300.0, 270.0])))
    found = Dso(small, Terms(pricing="capability")).decide(0, seen(small))
    assert found.prices is None and "exceeds s_max_mva = 100" in found.unpriced


def test_deals_last_for_their_slots_and_the_network_has_them():
    problem = paper("C2").problem
    dso = Dso(problem, Terms(), [Request("b7", "7", 5.0, 1, 3), Request("also", "7", 5.0, 2, 3)], flat_slots=[1, 2])
    slots = [dso.decide(slot, seen(problem)) for slot in range(4)]
    assert [[deal.request.name for deal in one.deals] for one in slots] == [[], ["b7"], ["b7", "also"], []]
    drawn = [one.problem.fixed_mva[one.problem.network.row_of_bus("7")].real for one in slots]
    assert drawn == [0, -5, -10, 0]
    # g1 sells the second on top of the first: (C(P+T) - C(P)) / T = b + c (2 P + T), C of the paper's equation 9
    given = slots[1].problem
    p_mw = newton(given).losses(given.start[None]).states.p_source_mw[0, 0]
    assert slots[2].deals[1].seller == "g1"
    assert slots[2].deals[1].price_per_mwh == pytest.approx(5 + 0.11 * (2 * p_mw + 5), rel=1e-3)


def test_a_seller_is_refused_for_voltages_only_where_no_setting_holds_them():
    problem = paper("C2").problem
    dso = Dso(problem, Terms(), [Request("b7", "7", 100.0, 1, 2), Request("b5", "5", 125.0, 2, 3)])
    before, after = dso.decide(1, seen(problem)), dso.decide(2, seen(problem))
    assert before.feasible and after.feasible
    one = after.matches[0]
    assert one.seller == "g1" and one.offers[0].refused == ()
    assert [offer.refused[0].split(" loaded")[0] for offer in one.offers[1:]] == ["line 8-2", "line 5-6"]
    assert loadings(after.problem, after.after.states).max() == pytest.approx(after.deals[0].loading, abs=1e-3)
    # the setting so far would not have held them with it
    moved = replace(before.problem, fixed_mva=after.problem.fixed_mva, sources=after.problem.sources)
    assert newton(moved).losses(before.x[None]).violation_pu[0] > 1e-4
