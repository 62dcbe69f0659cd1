"""The settled state against printed figures, hand calculations and its own limits."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models import inverter
from gridloop.simulators.models.loads import Demand, Loads, demand, with_injections
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.nodal import Reduction, reduce
from gridloop.simulators.models.steady_equations import Memory, Plant, Settled
from gridloop.simulators.models.steady_lines import InverterLine
from gridloop.simulators.models.steady_state import SHORT, SPARE, NoEquilibrium, settle
from plain_loop import grid_of

PLANT, START = case_a.plant(), case_a.power_flow_start()
HALF_DIGIT = 5.1e-7


def stepped(loads: Loads, p_pu: float = 0.3, q_pu: float = 0.1) -> Loads:
    """More load at bus 5."""
    more = np.array([1.0, 0, 0])
    return loads._replace(p0_pu=loads.p0_pu + p_pu * more, q0_pu=loads.q0_pu + q_pu * more)


def network(opened: str | None = None, injected_bus: tuple[int, ...] = ()) -> Reduction:
    whole = case_a.case9().network
    closed = whole.closed.copy()
    if opened:
        closed[whole.row_of_branch(opened)] = False
    return reduce(whole, closed, grid_of(PLANT).net.sources, np.append(PLANT.loads.bus, injected_bus).astype(int))


def settled(
    loads: Loads, net: Reduction | None = None, memory: Memory | None = None,
    need: Callable[[Real], Demand] | None = None, **limits_kw: Any,
) -> Settled:  # fmt: skip
    params = replace(PLANT.params, **limits_kw)
    net = network() if net is None else net
    omega_nom = 2 * np.pi * case_a.F_NOM_HZ

    def of_loads(slip: Real) -> Demand:
        return demand(loads, slip[0] / omega_nom)

    lines = [InverterLine(params, inverter.held(params))]
    plant = Plant(net, case_a.F_NOM_HZ, lines, need or of_loads, np.zeros(0, complex), 0.0)
    return settle(plant, memory or Memory(START.emf_pu, np.zeros(1), np.zeros(3)))


def f_hz(found: Settled) -> float:
    return 60 + float(found.slip_rad_per_s[0]) / (2 * np.pi)


def test_nothing_moves_at_the_power_flow():
    found = settled(PLANT.loads)
    assert found.slip_rad_per_s == pytest.approx([0], abs=1e-10)
    assert found.emf_pu == pytest.approx(START.emf_pu, abs=1e-10)


def test_a0_after_the_step_and_after_the_trip():
    first = settled(stepped(PLANT.loads))
    assert f_hz(first) == pytest.approx(59.910359, abs=HALF_DIGIT)
    assert first.solution.s_source.real == pytest.approx([0.794248, 1.779402, 0.943377], abs=HALF_DIGIT)
    assert first.solution.s_source.imag == pytest.approx([0.349936, 0.222202, 0.044763], abs=HALF_DIGIT)
    second = settled(stepped(PLANT.loads), network("6-7"), first.memory)
    assert f_hz(second) == pytest.approx(59.908647, abs=HALF_DIGIT)
    assert second.solution.s_source.real == pytest.approx([0.795675, 1.782256, 0.945160], abs=HALF_DIGIT)
    assert second.solution.s_source.imag == pytest.approx([0.404925, 0.470390, 0.027655], abs=HALF_DIGIT)


def test_loads_that_follow_the_frequency():
    # only the load that is there already answers with 1.5 pu per pu, and so does its reactive power
    found = settled(stepped(case_a.loads(k_pf=1.5, k_qf=1.5)))
    assert f_hz(found) == pytest.approx(59.912584, abs=HALF_DIGIT)


def test_a_unit_at_its_limit_leaves_the_sharing_to_the_others():
    found = settled(stepped(PLANT.loads), p_max_kw=np.array([np.inf, np.inf, 90000.0]))
    assert found.at_limit.tolist() == [False, False, True]
    assert found.solution.s_source.real == pytest.approx([0.808597, 1.808100, 0.9], abs=HALF_DIGIT)
    assert f_hz(found) == pytest.approx(59.893140, abs=HALF_DIGIT)
    more = (found.solution.s_source - START.s_pu).real
    assert more[1] / more[0] == pytest.approx(2.0, abs=1e-8)


def test_a_unit_comes_back_from_its_limit():
    limits: Any = {"p_max_kw": np.array([np.inf, np.inf, 90000.0])}
    at_limit = settled(stepped(PLANT.loads), **limits)
    found = settled(PLANT.loads, memory=at_limit.memory, **limits)
    assert not found.at_limit.any() and f_hz(found) == pytest.approx(60, abs=1e-10)


def test_units_that_cannot_give_or_take_enough_have_no_settled_state():
    with pytest.raises(NoEquilibrium) as short:
        settled(PLANT.loads, p_max_kw=np.array([60000.0, 150000, 80000]))
    assert short.value.reasons == {0: SHORT}
    with pytest.raises(NoEquilibrium) as spare:
        settled(PLANT.loads, p_min_kw=np.array([90000.0, 190000, 100000]))
    assert spare.value.reasons == {0: SPARE}


def test_where_all_units_are_full_the_frequency_makes_another_one_back_off():
    # 1 pu is fed in at bus 8 up to 60.2 Hz and 2 pu less for each Hz above; the others take nothing back
    net, loads = network(injected_bus=(7,)), PLANT.loads
    loads = loads._replace(p0_pu=loads.p0_pu * 0.2, q0_pu=loads.q0_pu * 0.2)

    def need(slip: Real) -> Demand:
        power = 1.0 - 2 * max(0.0, slip[0] / (2 * np.pi) - 0.2)
        return with_injections(demand(loads), np.array([power + 0j]), np.array([np.inf]))

    found = settled(loads, net, need=need, p_min_kw=0.0, p_set_kw=0.0)
    assert found.at_limit.all()
    assert found.solution.s_source.real == pytest.approx(0, abs=1e-9)
    losses = 1.0 - 2 * (f_hz(found) - 60.2) - loads.p0_pu.sum()
    assert 0 < losses < 0.03 and f_hz(found) == pytest.approx(60.2 + (1 - 0.63) / 2, abs=0.02)


def test_from_afar_and_from_nearby_the_same_state_is_found():
    far = settled(stepped(PLANT.loads, 0.8, 0.2))
    near = settled(stepped(PLANT.loads, 0.8, 0.2), memory=settled(stepped(PLANT.loads, 0.79, 0.2)).memory)
    assert near.emf_pu == pytest.approx(far.emf_pu, abs=1e-9)
    assert f_hz(near) == pytest.approx(f_hz(far), abs=1e-10)


def test_a_kept_jacobian_does_not_bias_what_is_found():
    net = network()
    memory = settled(PLANT.loads, net).memory
    for share in np.linspace(1, 1.25, 6):
        loads = PLANT.loads._replace(p0_pu=PLANT.loads.p0_pu * share)
        found = settled(loads, net, memory)
        memory = found.memory
        assert found.emf_pu == pytest.approx(settled(loads).emf_pu, abs=1e-9)
