"""Energy through a converter between a DC side and a bus: what was drawn, what arrived and what was lost on the way.

The source behind the DC side takes the energy since the start, not a sampled power, so that nothing is lost between
its steps and the converter's.
"""

import numpy as np

from gridloop.simulators.models.network import Real
from gridloop.simulators.ports import Port

# drawn from the DC side (discharge > 0), into the bus, and lost on the way (>= 0); dc = ac + loss
Energies = tuple[Real, Real, Real]

ENERGY_PORTS = (
    Port("E_gen[MWh]", "e_dc_pu_h", "energy drawn from the DC side since the start", base="s"),
    Port("E_ac[MWh]", "e_ac_pu_h", "energy into the bus since the start", base="s"),
    Port("E_conversion_loss[MWh]", "e_loss_pu_h", "energy lost between the two since the start", base="s"),
)


def added(energies_pu_h: Energies, efficiency: Real, ac_pu_s: Real) -> Energies:
    """Energies of n converters after an interval, the loss summed by itself so that a ledger can find an error.

    Args:
        energies_pu_h: since the start, at the begin of the interval.
        efficiency: from the DC side to the bus and back, (0, 1].
        ac_pu_s: what flowed into the bus over the interval [pu s]; its sign says which way the converter worked.
    """
    dc, into_bus, loss = energies_pu_h
    ac = ac_pu_s / 3600
    if np.count_nonzero(ac > 0) == len(ac):  # the same with nothing charged
        drawn = ac / efficiency
        return dc + drawn, into_bus + ac, loss + drawn * (1 - efficiency)
    discharged = np.maximum(ac, 0.0)
    charged, drawn = ac - discharged, discharged / efficiency
    lost = (drawn - charged) * (1 - efficiency)
    return dc + drawn + charged * efficiency, into_bus + ac, loss + lost
