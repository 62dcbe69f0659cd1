"""Case A: three ideal droop sources (1, 2 and 1.25 pu at buses 1 to 3) on pandapower's case9.

Its set-points are P* = 0.67, 1.63, 0.85, Q* = 0, V* = 1; case A0 takes them from the power flow and starts
there.
"""

from functools import cache
from typing import Any

import numpy as np
import pandapower.networks

from gridloop.simulators.models import inverter
from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Complex, admittance_matrix
from gridloop.simulators.models.nodal import Sources
from gridloop.simulators.models.powerflow import Targets, power_flow
from gridloop.simulators.models.steady import Droop, Equilibrium, droop_equilibrium
from gridloop.simulators.pandapower_net import ImportedNet, import_net
from plain_loop import Plant, Start, grid_of, open_line, step_load

S_BASE_MVA, F_NOM_HZ = 100.0, 60.0
KW_PER_PU = S_BASE_MVA * 1e3
RATINGS_PU = np.array([1.0, 2.0, 1.25])
LOAD_STEP = (1_000_000, step_load(0, 0.3, 0.1))  # at bus 5
LINE_TRIP = (2_000_000, open_line("6-7"))


@cache
def case9() -> ImportedNet:
    """The network, rows 0 to 8 for buses 1 to 9; loads at buses 5, 7, 9."""
    return import_net(pandapower.networks.case9())


@cache
def case9_voltages() -> Complex:
    """Bus voltages of the power flow."""
    net = case9()
    generators, injected = net.generators, np.zeros(9, complex)
    injected[net.loads.bus] = -net.loads.s_pu
    injected[generators.bus] += generators.p_pu
    start = np.ones(9, complex)
    start[generators.bus] = generators.v_pu
    reference, held = generators.bus[generators.reference], generators.bus[~generators.reference]
    y = admittance_matrix(net.network, net.network.closed)
    return power_flow(y, Targets(injected, start, reference, held))


def loads(zip_shares: tuple[float, float, float] = (0, 0, 1), k_pf: float = 0, k_qf: float = 0) -> Loads:
    """The net's loads with shares of constant impedance, current, power; V0 is the power flow's voltage."""
    given, one = case9().loads, np.ones(3)
    shares = np.tile(np.array(zip_shares, float), (3, 1))
    v0 = np.abs(case9_voltages()[given.bus])
    return Loads(given.bus, given.s_pu.real, given.s_pu.imag, v0, shares, shares, k_pf * one, k_qf * one)


def power_flow_start() -> Start:
    """The three sources at the power flow."""
    network, v = case9().network, case9_voltages()
    s = v * (admittance_matrix(network, network.closed) @ v).conj()
    return Start(s[:3], v[:3])


def plant(load: Loads | None = None, droop_p_percent: float = 2.0, filter_hz: float = 5.0, **more: Any) -> Plant:
    """Case A0: set-points of the power flow, unless `more` says otherwise."""
    start = power_flow_start()
    set_points = {
        "p_set_kw": start.s_pu.real * KW_PER_PU,
        "q_set_kvar": start.s_pu.imag * KW_PER_PU,
        "v_set_pu": np.abs(start.emf_pu),
    }
    params = inverter.Params(
        s_rated_kva=RATINGS_PU * KW_PER_PU, droop_p_percent=droop_p_percent, filter_hz=filter_hz,
        s_base_mva=S_BASE_MVA, f_nom_hz=F_NOM_HZ, **(set_points | more),
    )  # fmt: skip
    sources = Sources(np.arange(3), np.zeros(3, complex), np.ones(3, bool))
    network = case9().network
    return Plant(network, network.closed, sources, loads() if load is None else load, params)


def droop_plant(droop_p_percent: float = 2.0, filter_hz: float = 5.0) -> Plant:
    """Case A: P* = 0.67, 1.63, 0.85, Q* = 0, V* = 1."""
    p_set_kw = np.array([0.67, 1.63, 0.85]) * KW_PER_PU
    return plant(None, droop_p_percent, filter_hz, p_set_kw=p_set_kw, q_set_kvar=0.0, v_set_pu=1.0)


def droop_lines(plant: Plant) -> Droop:
    """The plant's droop lines."""
    p, held = plant.params, inverter.held(plant.params)
    return Droop(p.droop_p_rad_per_s_pu, p.droop_q_pu, held.p_set_pu, held.q_set_pu, held.v_set_pu)


def settled(plant: Plant) -> Equilibrium:
    """The plant at rest on its droop lines."""
    return droop_equilibrium(grid_of(plant).net, plant.loads, droop_lines(plant), F_NOM_HZ)
