"""Case A: three ideal droop sources on pandapower's case9, at its power flow (case A0) or on their own droop lines."""

from functools import cache
from typing import Any

import numpy as np
import pandapower.networks

from gridloop.simulators.models import inverter
from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import admittance_matrix
from gridloop.simulators.models.nodal import Sources
from gridloop.simulators.models.powerflow import Targets, power_flow
from gridloop.simulators.pandapower_net import ImportedNet, import_net
from plain_loop import Plant, open_line, step_load

RATINGS_PU = np.array([1.0, 2.0, 1.25])
LOAD_STEP = (1_000_000, step_load(0, 0.3, 0.1))
LINE_TRIP = (2_000_000, open_line("6-7"))


@cache
def case9() -> ImportedNet:
    return import_net(pandapower.networks.case9())


@cache
def case9_voltages() -> Any:
    net = case9()
    generators, injected = net.generators, np.zeros(9, complex)
    injected[net.loads.bus] = -net.loads.s_pu
    injected[generators.bus] += generators.p_pu
    start = np.ones(9, complex)
    start[generators.bus] = generators.v_pu
    targets = Targets(injected, start, generators.bus[generators.reference], generators.bus[~generators.reference])
    return power_flow(admittance_matrix(net.network, net.network.closed), targets)


def loads(zip_row: tuple[float, float, float] = (0, 0, 1), k_pf: float = 0, k_qf: float = 0, v0: Any = None) -> Loads:
    given = case9().loads
    shares = np.tile(np.array(zip_row, float), (3, 1))
    v0 = np.abs(case9_voltages()[given.bus]) if v0 is None else np.broadcast_to(v0, 3)
    one = np.ones(3)
    return Loads(given.bus, given.s_pu.real, given.s_pu.imag, v0, shares, shares, k_pf * one, k_qf * one)


def power_flow_start() -> tuple[Any, Any]:
    """(S, EMF) of the three sources at the net's power flow."""
    net, v = case9(), case9_voltages()
    s = v * (admittance_matrix(net.network, net.network.closed) @ v).conj()
    return s[:3], v[:3]


def plant(load: Loads | None = None, droop_p_percent: float = 2.0, filter_hz: float = 5.0, **more: Any) -> Plant:
    """Sources at buses 1 to 3 with the power flow's set-points unless given."""
    s, emf = power_flow_start()
    keys = dict(p_set_kw=s.real * 1e5, q_set_kvar=s.imag * 1e5, v_set_pu=np.abs(emf)) | more
    params = inverter.Params(
        s_rated_kva=RATINGS_PU * 1e5, droop_p_percent=droop_p_percent, filter_hz=filter_hz,
        s_base_mva=100.0, f_nom_hz=60.0, **keys,
    )
    sources = Sources(np.arange(3), np.zeros(3, complex), np.ones(3, bool))
    return Plant(case9().network, sources, loads() if load is None else load, params)
