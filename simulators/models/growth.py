"""Whether what is left of a disturbance grows or dies away, from the late part of recorded signals."""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.network import Real

LATE = 0.5  # share of the time that counts as late
WINDOW = 0.125  # share of the time over which peak to peak is taken: oscillations that are slower look uneven
LONGEST_WINDOW = 0.4  # share of it, too
PLACES = 48  # where the window stands, at most
STILL = 1e-10  # peak to peak below this share of the largest value is rounding


class Growth(NamedTuple):
    """How fast the envelope grows, and its size at the end."""

    rate_per_s: float  # > 0: it grows; -inf: nothing moves any more; nan: too few samples to say
    swing: float  # peak to peak at the end, of the signals' unit

    def is_stable(self, negligible: float) -> bool:
        """Whether it dies away, or is smaller than `negligible` in the signals' unit."""
        return not (self.rate_per_s > 0 and self.swing > negligible)


def growth(t_s: Real, values: Real, swing_s: float = 0.0) -> Growth:
    """Growth of the envelope of signals after a disturbance, in the later half of what is given.

    Args:
        t_s: times (m,), ascending; begin them after the disturbance.
        values: signals of one unit (m,) or (m, k); a constant, and what they settle at, does not count.
        swing_s: period of the oscillation in question, if it is known.

    The envelope is the signals' peak to peak over a window that slides along, an eighth of the time given or a whole
    swing; the rate is the slope of its logarithm by least squares.
    """
    t = np.asarray(t_s, float)
    x = np.asarray(values, float).reshape(len(t), -1)
    if len(t) < 4 or not np.isfinite(x).all():
        return Growth(np.nan, np.nan)
    span = t[-1] - t[0]
    window = min(max(WINDOW * span, swing_s), LONGEST_WINDOW * span)
    begins = np.linspace(t[0] + LATE * (span - window), t[-1] - window, PLACES)
    first = np.unique(np.searchsorted(t, begins - 1e-12 * span))
    last = np.searchsorted(t, t[first] + window * (1 + 1e-9), "right")
    envelope = np.array([np.linalg.norm(np.ptp(x[a:b], axis=0)) for a, b in zip(first, last, strict=True)])
    moving = envelope > STILL * np.abs(x).max(initial=0.0)
    if moving.sum() < 3 or not moving[-1]:
        return Growth(-np.inf, float(envelope[-1]))
    rate = np.polyfit(t[first][moving], np.log(envelope[moving]), 1)[0]
    return Growth(float(rate), float(envelope[-1]))
