"""Cases of reactive dispatch: the paper's three, and nets of pandapower with their voltages as the only controls."""

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from gridloop.simulators.market.net import DispatchNet, dispatch_net, read_net
from gridloop.simulators.market.orpd9 import orpd9

PAPER: dict[str, dict[str, Any]] = {"C0": {"q9_mvar": 50.0, "svc_mvar": None}, "C1": {"svc_mvar": None}, "C2": {}}


@cache
def paper(name, kinds=("voltages", "taps", "svcs"), misprint=False, **changes) -> DispatchNet:
    """C0: case9 with tap changers; C1: 200 Mvar at bus 9; C2: with an SVC there."""
    return dispatch_net(orpd9(**(PAPER[name] | changes), misprint=misprint), kinds)


@cache
def voltages_of(name) -> DispatchNet:
    """A net of pandapower.networks with the voltages of its generators as controls."""
    return read_net(name, Path(), ("voltages",))


def interior_point_mw(net) -> float:
    """Least loss by pandapower's interior point method, taps and shunts as they are."""
    import pandapower

    net = copy.deepcopy(net)
    net.poly_cost = net.poly_cost.iloc[:0]
    for table in ("gen", "ext_grid"):
        net[table]["controllable"] = True
    net.gen["min_p_mw"] = net.gen["max_p_mw"] = net.gen.p_mw
    net.ext_grid["min_p_mw"], net.ext_grid["max_p_mw"] = -1e4, 1e4
    if len(net.sgen):
        net.sgen["min_p_mw"] = net.sgen["max_p_mw"] = net.sgen.p_mw
    for table in ("line", "trafo"):
        if len(net[table]):
            net[table]["max_loading_percent"] = 1e4
    pandapower.create_poly_cost(net, net.ext_grid.index[0], "ext_grid", cp1_eur_per_mw=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pandapower.runopp(net, delta=1e-10, numba=False)
    return float(net.res_line.pl_mw.sum() + (net.res_trafo.pl_mw.sum() if len(net.trafo) else 0.0))
