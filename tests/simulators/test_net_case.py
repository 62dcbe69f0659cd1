"""The case of a net: base, load law and its own power flow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models.network import admittance_matrix
from gridloop.simulators.net_case import LoadLaw, load_power, net_case, net_loads, rebased
from gridloop.simulators.pandapower_net import ImportedNet, import_net, load_net


@pytest.fixture(scope="module")
def case9() -> ImportedNet:
    return import_net(load_net("case9", Path()))


def test_start_is_the_published_power_flow(case9: ImportedNet) -> None:
    # MATPOWER case9 at its own set-points: all generators hold 1.0 pu
    case = net_case(case9, LoadLaw())
    assert case.v_start == pytest.approx(case_a.case9_voltages(), abs=1e-8)
    assert case.s_start[:3] == pytest.approx(case_a.power_flow_start()[0], abs=1e-7)
    assert not case.s_start[3:].any()
    # P0, Q0 are drawn at the start whatever the law: v0 is the start's voltage
    assert case.loads.v0_pu == pytest.approx(np.abs(case.v_start[case.loads.bus]))


@pytest.mark.parametrize("v0_pu", [None, 1.0])
def test_start_balances_every_bus_with_loads_of_voltage(case9: ImportedNet, v0_pu: float | None) -> None:
    law = LoadLaw(zip_p=(0.2, 0.3, 0.5), zip_q=(1, 0, 0), v0_pu=v0_pu)
    case = net_case(case9, law)
    injected = case.v_start * (admittance_matrix(case.network, case.network.closed) @ case.v_start).conj()
    np.add.at(injected, case.loads.bus, load_power(case.loads, case.v_start, 1.0))
    assert injected == pytest.approx(case.s_start, abs=1e-10)
    assert (v0_pu is None) == bool(np.isclose(load_power(case.loads, case.v_start, 1.0).real.sum(), 3.15, atol=1e-6))


def test_base_keeps_the_per_unit_network(case9: ImportedNet) -> None:
    small = rebased(case9, s_mva=1, v_kv=11, f_nom_hz=60).network
    assert (small.s_base_mva, small.f_nom_hz, small.v_base_kv.max()) == (1, 60, 11)
    assert small.two_ports is case9.network.two_ports
    same = rebased(case9).network
    assert (same.s_base_mva, same.f_nom_hz) == (100, case9.network.f_nom_hz)


def test_a_bus_without_a_load_gets_one_that_events_can_change(case9: ImportedNet) -> None:
    loads, names = net_loads(case9, LoadLaw(k_pf=1.5), empty_at=[3, 4])
    assert names == ("load5", "load7", "load9", "load4")
    assert loads.p0_pu.tolist() == [0.9, 1.0, 1.25, 0.0] and loads.k_pf.tolist() == [1.5] * 4
    assert net_case(case9, LoadLaw(), empty_at=[3]).load_of_bus == {4: 0, 6: 1, 8: 2, 3: 3}


def test_an_island_without_a_generator_has_no_voltage() -> None:
    import pandapower

    net = load_net("case9", Path())
    net = pandapower.from_json_string(pandapower.to_json(net))  # nets by name are shared
    net.line.loc[(net.line.from_bus == 8) | (net.line.to_bus == 8), "in_service"] = False
    case = net_case(import_net(net), LoadLaw())
    assert case.v_start[8] == 0 and (np.abs(case.v_start[:8]) > 0.9).all()
    assert (case.loads.v0_pu > 0).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [({"zip_p": (0.5, 0.5)}, "zip_p"), ({"zip_q": (0.5, 0.5, 0.5)}, "must sum to 1"), ({"v0_pu": 0.0}, "must be > 0")],
)
def test_wrong_laws_are_refused(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LoadLaw(**given)
