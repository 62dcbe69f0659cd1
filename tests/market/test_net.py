"""A pandapower net as a dispatch problem: which controls and limits it gives, and what is refused."""

import numpy as np
import pandapower
import pytest

from gridloop.simulators.market.backends import referee
from gridloop.simulators.market.dispatch import dispatch
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.net import dispatch_net, with_setting
from gridloop.simulators.market.orpd9 import orpd9


def test_controls_and_their_bounds():
    problem = dispatch_net(orpd9()).problem
    low, high = problem.bounds
    assert problem.control_names == ("V g1", "V g2", "V g3", "T 4-1", "T 8-2", "T 6-3", "Q svc9")
    assert problem.start.tolist() == [1, 1, 1, 1, 1, 1, 100]
    assert low == pytest.approx([0.9] * 6 + [-100])
    assert high == pytest.approx([1.1] * 6 + [300])
    assert problem.sources.cost.tolist() == [[150, 5, 0.11], [600, 1.2, 0.085], [335, 1, 0.1225]]
    assert problem.sources.p_max_mw.tolist() == problem.sources.s_max_mva.tolist() == [250, 300, 270]
    ratings = dict(zip(problem.network.branch_names, 100 * problem.network.rating_pu, strict=True))
    assert {name: round(mva) for name, mva in ratings.items()} == {
        "4-5": 250, "5-6": 150, "6-7": 150, "7-8": 250, "8-9": 250, "9-4": 250, "4-1": 250, "8-2": 250, "6-3": 300,
    }  # fmt: skip


def test_what_may_not_be_moved_keeps_its_value():
    problem = dispatch_net(orpd9(), ("taps",)).problem
    low, high = problem.bounds
    assert (low == high).tolist() == [True] * 3 + [False] * 3 + [True]
    with pytest.raises(ValueError, match="controls tap: there are voltages, taps, svcs"):
        dispatch_net(orpd9(), ("tap",))


@pytest.mark.parametrize("side", ["hv", "lv"])
def test_taps_on_either_side_with_losses_neutral_and_shift_are_pandapowers(side):
    net = orpd9()
    net.trafo["tap_side"], net.trafo["tap_neutral"], net.trafo["tap_pos"] = side, 2.0, 3.0
    net.trafo["vkr_percent"], net.trafo["i0_percent"], net.trafo["pfe_kw"] = 0.4, 0.3, 50.0
    net.trafo["shift_degree"] = 150.0
    given = dispatch_net(net)
    assert given.problem.start[3:6] == pytest.approx(1.01)
    for x in (given.problem.start, given.problem.start * [1, 1.01, 1.02, 0.97, 0.99, 1.03, 1]):
        found = newton(given.problem).losses(x[None])
        loss_mw, v = referee(given, x)
        assert found.loss_mw[0] == pytest.approx(loss_mw, abs=1e-6)
        assert found.states.v_pu[0] == pytest.approx(v, abs=1e-8)


def test_the_best_setting_is_written_into_a_copy_of_the_net():
    net = orpd9()
    given = dispatch_net(net)
    x = dispatch(newton(given.problem)).x
    best = with_setting(given, x)
    again = dispatch_net(best).problem
    assert again.start == pytest.approx(x)
    assert newton(again).losses(again.start[None]).loss_mw[0] == pytest.approx(3.935809, abs=1e-5)
    assert net.trafo.tap_pos.tolist() == [0, 0, 0]
    assert given.net.gen.vm_pu.tolist() == [1, 1]


def test_generators_at_one_bus_are_one_source():
    net = orpd9()
    net.gen.loc[0, ["p_mw", "max_q_mvar"]] = (100.0, 200.0)
    pandapower.create_gen(net, 1, 63.0, vm_pu=1.0, min_q_mvar=-50.0, max_q_mvar=60.0)
    given = dispatch_net(net)
    sources = given.problem.sources
    assert given.holders[1] == (("gen", 0), ("gen", 2))
    assert sources.p_mw[1] == 163
    assert (sources.q_min_mvar[1], sources.q_max_mvar[1]) == (-350, 260)
    assert np.isnan(sources.cost[1]).all()
    assert np.isinf(sources.p_max_mw[1])
    assert newton(given.problem).losses(given.problem.start[None]).loss_mw[0] == pytest.approx(5.820531, abs=1e-6)


def test_an_svc_of_pandapower_counts_by_its_range_at_1_pu():
    # 345 kV: x_l = 400 ohm and x_cvar = -1000 ohm give 119 Mvar with the coil blocked (180 degrees) and
    # 119 - 297.6 Mvar with it fully on (90 degrees)
    net = orpd9(svc_mvar=None)
    pandapower.create_svc(net, 8, x_l_ohm=400.0, x_cvar_ohm=-1000.0, set_vm_pu=1.0, thyristor_firing_angle_degree=180.0,
                          min_angle_degree=90.0, max_angle_degree=180.0, name="svc")  # fmt: skip
    problem = dispatch_net(net).problem
    assert problem.svcs.q_mvar == pytest.approx([345**2 / 1000])
    assert problem.svcs.high_mvar == pytest.approx([345**2 / 1000])
    assert problem.svcs.low_mvar == pytest.approx([345**2 / 1000 - 345**2 / 400])
    assert dispatch(newton(problem)).feasible


def test_other_injections_shunts_and_what_is_switched_off():
    net = orpd9()
    pandapower.create_sgen(net, 4, 20.0, 5.0)
    pandapower.create_sgen(net, 5, 10.0, 0.0, controllable=True, min_q_mvar=-5.0, max_q_mvar=5.0, in_service=False)
    pandapower.create_shunt(net, 6, q_mvar=-15.0, p_mw=0.5)
    pandapower.create_load(net, 4, 7.0, 3.0, scaling=2.0)
    pandapower.create_load(net, 4, 500.0, 3.0, in_service=False)
    lone = pandapower.create_bus(net, 345.0)
    pandapower.create_load(net, lone, 5.0, 1.0)
    given = dispatch_net(net)
    found = newton(given.problem).losses(given.problem.start[None])
    loss_mw, v = referee(given, given.problem.start)
    assert given.problem.svcs.names == ("svc9",)
    assert not given.problem.supplied[-1]
    assert found.loss_mw[0] == pytest.approx(loss_mw, abs=1e-6)
    assert np.abs(found.states.v_pu[0] - v).max() < 1e-8


def test_refusals():
    net = orpd9()
    net.load["const_z_p_percent"] = 50.0
    with pytest.raises(ValueError, match="const_z_p_percent != 0: dispatch is for loads of constant power"):
        dispatch_net(net)
    net = orpd9()
    net.ext_grid["in_service"] = False
    net.gen["in_service"] = False
    with pytest.raises(ValueError, match="no ext_grid or slack generator"):
        dispatch_net(net)
