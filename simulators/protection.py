"""What the grid's own relays decide: closing a switch in synchronism, shedding load at low frequency."""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.case import Stage, Synchrocheck
from gridloop.simulators.models.network import Mask, Real


def in_synchronism(limits: Synchrocheck, v_grid: complex, v_island: complex, df_hz: float) -> bool:
    """Whether both sides of an open switch are close enough to close it.

    Args:
        limits: largest differences.
        v_grid, v_island: voltages of both sides [pu] in one frame.
        df_hz: difference of their frequencies [Hz].

    The limits of IEEE 1547-2018 (table 5) are those of `synchrocheck_for`.
    """
    if not v_island:
        return True  # a dead island is picked up by the grid
    angle = abs(np.degrees(np.angle(v_island * v_grid.conjugate())))
    return bool(
        angle < limits.angle_deg and abs(df_hz) < limits.df_hz and abs(abs(v_grid) - abs(v_island)) < limits.dv_pu
    )


def synchrocheck_for(s_rated_kva: float) -> Synchrocheck:
    """Limits for an aggregate rating: IEEE 1547-2018, table 5 (synchronization parameter limits)."""
    if s_rated_kva <= 500:
        return Synchrocheck(20, 0.3, 0.10)
    return Synchrocheck(15, 0.2, 0.05) if s_rated_kva <= 1500 else Synchrocheck(10, 0.1, 0.03)


class Relays(NamedTuple):
    """Under-frequency relays; since when each load has been below each stage [s], inf = shed, nan = it is not."""

    since_s: Real  # (stages, k)


def relays(stages: tuple[Stage, ...], loads: int) -> Relays:
    """Relays at rest."""
    return Relays(np.full((len(stages), loads), np.nan))


def watch(stages: tuple[Stage, ...], last: Relays, t_s: float, f_hz: Real) -> tuple[Relays, list[Mask]]:
    """Relays at `t_s`, with the frequency (k,) at every load, and what each stage sheds now (k,).

    A stage trips a load once, after its delay below its frequency without a break.
    """
    since = last.since_s.copy()
    trips = []
    for row, stage in enumerate(stages):
        mine = np.zeros(since.shape[1], bool)
        mine[list(stage.loads)] = True
        below = f_hz < stage.below_hz
        shed = np.isinf(since[row])
        since[row] = np.where(
            shed, np.inf, np.where(below & mine, np.where(np.isnan(since[row]), t_s, since[row]), np.nan)
        )
        trip = ~shed & (t_s - since[row] >= stage.delay_s - 1e-9)
        since[row, trip] = np.inf
        trips.append(trip)
    return Relays(since), trips
