"""Sparse factors and the dense inverse are two ways to one solution; the slopes of both are those of the solution."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models import solve as solve_module
from gridloop.simulators.models.loads import Demand, Loads, demand, with_injections
from gridloop.simulators.models.network import Network, pi_branch
from gridloop.simulators.models.nodal import Reduction, Sources, observe, reduce
from gridloop.simulators.models.sensitivity import Slopes, power_slopes
from gridloop.simulators.models.solve import Solution, solve

Z_PU = 0.01 + 0.1j
CONSTANT_P, MIXED = (0, 0, 1), (0.2, 0.3, 0.5)
S_UNITS, I_MAX_UNITS = np.array([0.4 + 0.1j, -0.2 + 0.05j]), np.array([0.35, np.inf])

# sources' buses, impedances and limits; lines that are open; loads' shares
CASES = {
    "ideal": ((0, 1, 2), (0, 0, 0), np.inf, (), CONSTANT_P),
    "norton": ((0, 1, 2), (Z_PU, Z_PU / 2, Z_PU), np.inf, (), MIXED),
    "mixed": ((0, 1, 1), (0, Z_PU, 0), np.inf, (), MIXED),
    "at the loads' buses": ((4, 6, 4), (0, Z_PU, 2 * Z_PU), np.inf, (), CONSTANT_P),
    "limited": ((0, 1, 2), (Z_PU, Z_PU / 2, Z_PU), (1.5, 1.0, 0.9), (), MIXED),
    "limited beside ideal": ((0, 1, 2), (0, Z_PU, Z_PU), (np.inf, 1.2, 0.5), (), CONSTANT_P),
    "two islands": ((0, 1, 2), (Z_PU, 0, Z_PU), np.inf, ("4-5", "6-7"), MIXED),
    "limit in one of two islands": ((0, 1, 2), (Z_PU, 0, Z_PU), (2, np.inf, 0.7), ("4-5", "6-7"), MIXED),
    "dead island": ((0, 1, 2), (0, Z_PU, Z_PU), np.inf, ("4-5", "5-6"), CONSTANT_P),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@contextmanager
def sparse() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve_module, "LARGE", 0)
        yield


def set_up(case: Any) -> tuple[Reduction, Demand]:
    bus, z_pu, i_max, opened, shares = case
    network, loads = case_a.case9().network, case_a.loads(shares)
    closed = network.closed.copy()
    closed[[network.row_of_branch(name) for name in opened]] = False
    given = Sources(np.array(bus), np.array(z_pu, complex), np.ones(3, bool), np.asarray(i_max) * np.ones(3))
    net = reduce(network, closed, given, np.array([*loads.bus, 5, 7]))
    rows = net.supplied[net.supplied < 3]
    return net, with_injections(demand(loads.at(rows)), S_UNITS, I_MAX_UNITS)


def swinging() -> Any:
    """EMFs of a run: they turn together, drift apart and change their size."""
    t = np.arange(0, 0.3, 0.01)[:, None]
    angle = 8 * t + 0.15 * np.sin(t * np.array([11.0, 17.0, 23.0])) + np.array([0.0, 0.17, 0.08])
    return (1.01 + 0.02 * np.sin(t * np.array([7.0, 29.0, 13.0]))) * np.exp(1j * angle)


def assert_same(one: Solution, other: Solution, net: Reduction) -> None:
    turn, turn_other = (s.turn if net.n_island < 2 else s.turn[net.island_of_draw] for s in (one, other))
    assert one.v_load * turn == pytest.approx(other.v_load * turn_other, abs=1e-9)
    assert one.v_source == pytest.approx(other.v_source, abs=1e-9)
    assert one.s_source == pytest.approx(other.s_source, abs=1e-9)
    assert one.collapsed == other.collapsed


@cases
def test_both_ways_give_one_solution_all_along(case: Any) -> None:
    net, need = set_up(case)
    thin = dense = None
    for emf in swinging():
        dense = solve(net, need, emf, dense)
        with sparse():
            thin = solve(net, need, emf, thin)
        assert thin.v_free is not None and dense.v_free is None
        assert_same(thin, dense, net)
        assert observe(net, thin.x).mismatch_pu < 1e-9


@cases
def test_slopes_of_both_are_central_differences(case: Any) -> None:
    net, need = set_up(case)
    if len(net.limited):
        net = replace_limits(net, 5.0)  # below their limits, which the slopes leave out
    emf = swinging()[0]
    slopes = power_slopes(net, need, solve(net, need, emf, None))
    with sparse():
        thin = power_slopes(net, need, solve(net, need, emf, None))
    for found, other in zip(thin, slopes, strict=True):
        assert found == pytest.approx(other, abs=1e-8)
    assert_central(net, need, emf, slopes)


def replace_limits(net: Reduction, i_max: float) -> Reduction:
    sources = net.sources._replace(i_max_pu=np.full(3, i_max))
    return reduce(net.network, net.closed, sources, net.load_bus)


def assert_central(net: Reduction, need: Demand, emf: Any, slopes: Slopes) -> None:
    step = 1e-5
    for source in range(3):
        for unit, column in ((1, slopes.by_real), (1j, slopes.by_imag)):
            moved = np.zeros(3, complex)
            moved[source] = step * unit
            ahead, behind = (solve(net, need, emf + side * moved, None).s_source for side in (1, -1))
            assert column[:, source] == pytest.approx((ahead - behind) / (2 * step), abs=1e-6)


def test_chord_is_kept_while_the_grid_only_turns() -> None:
    net, need = set_up(CASES["two islands"])
    with sparse():
        first = solve(net, need, swinging()[0], None)
        turned = solve(net, need, swinging()[0] * np.exp(2.0j), first)
    assert turned.chord is first.chord and turned.iterations == 1
    assert turned.v_source == pytest.approx(first.v_source * np.exp(2.0j), abs=1e-12)


# --- a feeder that is large enough ---


def feeder(n_bus: int) -> Network:
    """Buses in a row."""
    one = np.ones(n_bus - 1, complex)
    names = tuple(map(str, range(n_bus)))
    return Network(
        s_base_mva=1.0, f_nom_hz=50.0, bus_names=names, bus_row=np.arange(n_bus), v_base_kv=np.ones(n_bus),
        shunt_pu=np.zeros(n_bus, complex), branch_names=tuple(map("-".join, pairwise(names))),
        from_bus=np.arange(n_bus - 1), to_bus=np.arange(1, n_bus),
        two_ports=pi_branch((1e-4 + 2e-4j) * one, 1e-3j * one, one),
        closed=one.real == 1, rating_pu=np.full(n_bus - 1, np.nan),
    )  # fmt: skip


@pytest.mark.parametrize("count", [99, 100, 101])
def test_size_decides_on_the_way_and_not_on_the_result(count: int) -> None:
    network, rng = feeder(count + 5), np.random.default_rng(1)
    none, share = np.zeros(count), np.tile(MIXED, (count, 1))
    p = rng.uniform(0, 0.02, count)
    loads = Loads(np.arange(1, count + 1), p, p / 3, none + 1, share, share, none, none)
    sources = Sources(np.array([0, count + 4]), np.array([0, 0.01 + 0.05j]), np.ones(2, bool))
    net = reduce(network, network.closed, sources, loads.bus)
    found = solve(net, demand(loads), np.array([1.0, 1.01 * np.exp(0.01j)]), None)
    assert (found.v_free is None) == (count < 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve_module, "LARGE", 1000)
        dense = solve(net, demand(loads), np.array([1.0, 1.01 * np.exp(0.01j)]), None)
    assert_same(found, dense, net)
    assert observe(net, found.x).mismatch_pu < 1e-9
