"""How well what was agreed met what came: load balancing accuracy, resilience, recovery."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
NEAR = 0.95  # of the accuracy before a fault: from then on it counts as recovered
ROLLING = 4  # slots


def balancing_accuracy(agreed_kw: Array, net_demand_kw: Array, load_kw: Array) -> float:
    """LBA = 1 - sum |P - D| / sum L: of the load, the share that was not balanced by the tie unscheduled [1].

    Args:
        agreed_kw: agreed power of all dispatchable units in each slot (m,).
        net_demand_kw: what loads less renewables really took (m,).
        load_kw: gross load (m,).

    Returns:
        At most 1; < 0 where more was wrong than was consumed; nan without load.
    """
    total = float(np.sum(load_kw))
    return 1 - float(np.sum(np.abs(agreed_kw - net_demand_kw))) / total if total > 0 else float("nan")


def resilience(in_fault: float, without: float) -> float:
    """R: the accuracy in a fault's window over that of the same window without the fault; nan if that is <= 0."""
    return in_fault / without if without > 0 else float("nan")


def recovery_slots(agreed_kw: Array, net_demand_kw: Array, load_kw: Array, fault: int) -> float:
    """Slots from a fault's start until the rolling accuracy is back at NEAR of that of the day before; inf = never."""
    before = slice(max(0, fault - 96), fault)
    reach = NEAR * balancing_accuracy(agreed_kw[before], net_demand_kw[before], load_kw[before])
    for slot in range(fault + ROLLING, len(load_kw) + 1):
        window = slice(slot - ROLLING, slot)
        if balancing_accuracy(agreed_kw[window], net_demand_kw[window], load_kw[window]) >= reach:
            return float(slot - fault)
    return float("inf")


def rms_kw(agreed_kw: Array, net_demand_kw: Array) -> float:
    """Root of the mean square of what was not balanced [kW]."""
    return float(np.sqrt(np.mean((agreed_kw - net_demand_kw) ** 2)))


def within(windows: Sequence[tuple[int, int]], count: int) -> npt.NDArray[np.bool_]:
    """Which of `count` slots lie in any of the windows (first, last), both included."""
    found = np.zeros(count, bool)
    for first, last in windows:
        found[first : last + 1] = True
    return found
