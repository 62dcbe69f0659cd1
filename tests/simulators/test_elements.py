"""Every pandapower element that its bus-branch matrix covers, against pandapower's own power flow.

b0 (110 kV, ext_grid) - trafo3w - b1 (20 kV) - b2 (load, shunt)
                           |         \\- b3 (ward); b2 - b3 impedance
                           \\- b4 (10 kV) - b5 (load, storage, sgen, motor, asymmetric load) -- switch -- b6 (load)
"""

import copy
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from gridloop.simulators.net_case import LoadLaw, net_case
from gridloop.simulators.pandapower_net import import_net

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def net() -> Any:
    made = pp.create_empty_network(f_hz=50)
    for i, v_kv in enumerate((110, 20, 20, 20, 10, 10, 10)):
        pp.create_bus(made, v_kv, name=f"b{i}")
    pp.create_ext_grid(made, 0)
    pp.create_transformer3w(made, 0, 1, 4, "63/25/38 MVA 110/20/10 kV")
    for ends in ((1, 2), (1, 3), (4, 5)):
        pp.create_line(made, *ends, 1.0, "NAYY 4x50 SE")
    pp.create_impedance(made, 2, 3, 0.01, 0.02, 10)
    pp.create_switch(made, 5, 6, et="b", closed=True)
    pp.create_load(made, 2, 0.2, 0.05)
    pp.create_load(made, 5, 0.1, 0.05)
    pp.create_load(made, 6, 0.05, 0.01)
    pp.create_ward(made, 3, 0.1, 0.02, 0.05, 0.01)
    pp.create_shunt(made, 2, -0.05)
    pp.create_storage(made, 5, -0.02, 1, q_mvar=0.01)
    pp.create_sgen(made, 5, 0.03, 0.01)
    pp.create_motor(made, 5, pn_mech_mw=0.05, cos_phi=0.9, efficiency_percent=95, loading_percent=80)
    pp.create_asymmetric_load(made, 5, p_a_mw=0.01, p_b_mw=0.01, p_c_mw=0.01, q_a_mvar=0.001)
    return made


def with_switch(bus: int, element: int, kind: str, **of_switch: Any) -> Any:
    made = net()
    pp.create_switch(made, bus, element, et=kind, **of_switch)
    return made


def opened(made: Any) -> Any:
    made.switch["closed"] = False
    return made


CASES = {
    "whole": (net, set()),
    "bus_switch_open": (lambda: opened(net()), {"b6"}),
    "line_open_at_one_end": (lambda: with_switch(1, 0, "l", closed=False), set()),
    "winding_open": (lambda: with_switch(4, 0, "t3", closed=False), {"b4", "b5", "b6"}),
    "switch_with_impedance": (lambda: with_switch(5, 4, "b", closed=True, z_ohm=0.1), set()),
}


@pytest.mark.parametrize("case", CASES)
def test_voltages_are_those_of_pandapower(case: str) -> None:
    make, dead = CASES[case]
    made = make()
    solved = copy.deepcopy(made)
    pp.runpp(solved, calculate_voltage_angles=True, tolerance_mva=1e-10, numba=False)
    theirs = (solved.res_bus.vm_pu * np.exp(1j * np.radians(solved.res_bus.va_degree))).to_numpy()
    found = net_case(import_net(made), LoadLaw())
    ours = found.v_start[found.network.bus_row]
    off = np.isnan(theirs)
    assert {name for name, is_off in zip(found.network.bus_names, off, strict=True) if is_off} == dead
    assert np.abs(ours[~off] - theirs[~off]).max() < 1e-9
    assert not ours[off].any()


def test_windings_are_branches_to_a_bus_of_their_own() -> None:
    imported = import_net(net())
    names = dict(zip(imported.network.branch_names, imported.branch_kinds, strict=True))
    assert [name for name, kind in names.items() if kind == "trafo3w"] == ["b0-aux6", "aux6-b1", "aux6-b4"]


@pytest.mark.parametrize(
    ("table", "create"),
    [
        ("xward", lambda made: pp.create_xward(made, 3, 0.1, 0.02, 0.05, 0.01, 0.1, 0.2, 1.0)),
        ("dcline", lambda made: pp.create_dcline(made, 2, 3, 0.1, 0, 0, 1.0, 1.0)),
    ],
)
def test_element_that_controls_by_itself_is_refused_by_name(table: str, create: Any) -> None:
    made = net()
    create(made)
    with pytest.raises(ValueError, match=f"elements that are not supported: 1 {table}"):
        import_net(made)
