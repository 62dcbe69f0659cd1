"""A law of secondary control of your own: one function, named in a scenario as `law: "own_law:with_deadband"`.

    gridloop run examples/own_law.yaml

It restores the frequency as law D does, but rests while the frequency is within `control.more.deadband_hz`.
"""

import math
from collections.abc import Sequence

from gridloop.simulators.models.secondary import Gains, Neighbour, Own, Rates


def with_deadband(own: Own, neighbours: Sequence[Neighbour], gains: Gains) -> Rates:
    """Rate of the frequency correction from what the agent measures and what its neighbours have told."""
    band = 2 * math.pi * gains.more["deadband_hz"]
    beyond = own.d_omega_rad_per_s - max(-band, min(own.d_omega_rad_per_s, band))
    apart = sum(n.own.omega_rad_per_s - n.theirs.omega_rad_per_s for n in neighbours)
    return Rates(omega_rad_per_s2=-gains.c2_per_s * apart - gains.c0_per_s * beyond)
