"""Time on a market: quarters of an hour, counted from the first one of a series."""

import numpy as np
import numpy.typing as npt

Slots = npt.NDArray[np.int64]
DAY = 96  # slots
SLOT_S = 900
SLOT_H = SLOT_S / 3600


def first_day(start: str) -> int:
    """Day of an ISO 8601 time as its own clock says it, counted from 1970-01-01."""
    return int(np.datetime64(start[:10], "D").astype(int))


def is_weekend(slots: Slots, first_day: int) -> npt.NDArray[np.bool_]:
    """Which slots belong to a Saturday or Sunday; `first_day` is slot 0's, counted from 1970-01-01, a Thursday."""
    return np.asarray((first_day + slots // DAY + 3) % 7 >= 5)
