"""Power flows behind the dispatch: they agree, and one that does not is refused with a word."""

import numpy as np
import pandapower
import pytest

from gridloop.simulators.market import backends
from gridloop.simulators.market.backends import DisagreementError, backend
from gridloop.simulators.market.dispatch import dispatch
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.net import dispatch_net
from gridloop.simulators.market.orpd9 import orpd9
from reactive_cases import paper, voltages_of


def spread(given, count=3):
    low, high = given.problem.bounds
    start = given.problem.start
    shares = np.random.default_rng(1).random((count, 1)) * 0.1
    return start + shares * (0.5 * (low + high) - start)


@pytest.mark.peers(packages=["lightsim2grid"])
@pytest.mark.parametrize("name", ["C2", "case30", "case118", "case300"])
def test_lightsim2grid_agrees(name):
    given = paper(name) if name == "C2" else voltages_of(name)
    x = spread(given)
    own, other = newton(given.problem).losses(x), backend(given, "lightsim2grid").losses(x)
    assert other.states.v_pu == pytest.approx(own.states.v_pu, abs=1e-9)
    assert other.loss_mw == pytest.approx(own.loss_mw, abs=1e-7)


@pytest.mark.peers(packages=["lightsim2grid"])
def test_lightsim2grid_takes_notice_of_the_smallest_change():
    given = voltages_of("case118")
    flow = backend(given, "lightsim2grid")
    x = given.problem.start
    apart = flow.losses(np.array([x, x + 1e-8])).loss_mw
    again = newton(given.problem).losses(np.array([x, x + 1e-8])).loss_mw
    assert np.diff(apart) == pytest.approx(np.diff(again), rel=1e-3)


@pytest.mark.peers(packages=["lightsim2grid"])
def test_dispatch_by_lightsim2grid():
    given = voltages_of("case118")
    chosen = backend(given)
    assert chosen.name == "lightsim2grid"
    assert dispatch(chosen).loss_mw == pytest.approx(116.9713, rel=1e-5)


@pytest.mark.peers(packages=["lightsim2grid"])
def test_one_that_disagrees_is_refused_and_replaced(monkeypatch):
    given = voltages_of("case118")
    made = backends._lightsim_voltages
    monkeypatch.setattr(backends, "_lightsim_voltages", lambda net: lambda x: made(net)(x) * 1.00001)
    with pytest.raises(DisagreementError, match="pu away from pandapower"):
        backend(given, "lightsim2grid")
    chosen = backend(given)
    assert chosen.name == "newton"
    assert "away from pandapower" in chosen.remark


@pytest.mark.peers(packages=["lightsim2grid"])
def test_nets_that_it_cannot_read_are_refused():
    net = orpd9()
    pandapower.create_switch(net, 4, net.line.index[net.line.to_bus == 5][0], et="l", closed=False)
    with pytest.raises(DisagreementError, match="no place for inner buses"):
        backend(dispatch_net(net), "lightsim2grid")
    net = orpd9()
    net.trafo["tap_neutral"] = 1.0
    with pytest.raises(DisagreementError, match=r"does not read this net: .*tap_neutral"):
        backend(dispatch_net(net), "lightsim2grid")


def test_without_lightsim2grid_the_own_one_is_taken(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    given = voltages_of("case118")
    assert backend(given).name == "newton"
    with pytest.raises(DisagreementError, match=r"pip install 'gridloop\[dso\]'"):
        backend(given, "lightsim2grid")


def test_small_nets_take_a_generation_at_once():
    assert backend(paper("C2")).name == "newton"


def test_pandapower_as_backend():
    given = paper("C2")
    x = spread(given, 2)
    assert backend(given, "pandapower").losses(x).loss_mw == pytest.approx(newton(given.problem).losses(x).loss_mw)
    x[1, -1] = -900.0
    assert np.isinf(backend(given, "pandapower").losses(x).loss_mw).tolist() == [False, True]


def test_unknown_backend():
    with pytest.raises(ValueError, match="backend 'gpu': there are auto, newton"):
        backend(paper("C2"), "gpu")
