"""The network of the reactive-power paper: IEEE 9-bus with three tap changers, a heavy load and an SVC at bus 9.

Source: Danalakshmi et al., Energies 13 (2020) 6179. It stands on MATPOWER's case9, which has no transformers: the
three branches without resistance become some, with the tap at the generator's end.
"""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.simulators.pandapower_net import load_net

GENERATOR_BRANCHES = ((0, 3), (1, 7), (2, 5))  # generator bus, network bus
Q9_MVAR = 200.0  # of the modified network
Q_SVC_MVAR = 100.0  # the paper's
MISPRINTED_B_PU = 0.158  # charging of line 5-6: that of line 4-5, where case9 has 0.358


def orpd9(q9_mvar: float = Q9_MVAR, svc_mvar: float | None = Q_SVC_MVAR, misprint: bool = False) -> Any:
    """The net, every generator at 1 pu, taps at 1.

    Args:
        q9_mvar: reactive load at bus 9; 50 is case9's.
        svc_mvar: what the compensator at bus 9 gives, range -100 to 300; None leaves it out.
        misprint: line 5-6 as it must have been in the paper's data, from which its prices follow.
    """
    import pandapower

    net = copy.deepcopy(_with_transformers())
    net.load.loc[net.load.bus == 8, "q_mvar"] = q9_mvar
    if misprint:
        farads = (net.line.from_bus == 4) & (net.line.to_bus == 5)
        net.line.loc[farads, "c_nf_per_km"] *= MISPRINTED_B_PU / 0.358
    if svc_mvar is not None:
        pandapower.create_sgen(
            net, 8, 0.0, svc_mvar, name="svc9", controllable=True, min_q_mvar=-100.0, max_q_mvar=300.0
        )
    return net


@cache
def _with_transformers() -> Any:
    """case9 with its tap changers; made once."""
    net = copy.deepcopy(load_net("case9", Path()))
    for generator, network in GENERATOR_BRANCHES:
        _as_transformer(net, generator, network)
    return net


def _as_transformer(net: Any, generator: int, network: int) -> None:
    """Replace the line between two buses by a transformer of the same reactance and rating."""
    import pandapower

    ends = {generator, network}
    line = next(row for row in net.line.itertuples() if {row.from_bus, row.to_bus} == ends)
    kv = float(net.bus.vn_kv[network])
    rating_mva = float(np.sqrt(3) * kv * line.max_i_ka)
    pandapower.create_transformer_from_parameters(
        net, hv_bus=network, lv_bus=generator, sn_mva=100.0, vn_hv_kv=kv, vn_lv_kv=kv, vkr_percent=0.0,
        vk_percent=line.x_ohm_per_km * line.length_km / kv**2 * 1e4, pfe_kw=0.0, i0_percent=0.0,
        tap_side="lv", tap_neutral=0.0, tap_min=-10.0, tap_max=10.0, tap_step_percent=1.0, tap_step_degree=0.0,
        tap_pos=0.0, tap_changer_type="Ratio", df=rating_mva / 100.0,
    )  # fmt: skip
    net.line = net.line.drop(line.Index)
