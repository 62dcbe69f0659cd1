"""Whether a device's answers come late enough to bring the loop that it closes near its limit. Pure."""

import math

LATE = "device_late"  # in the log of events
SHARE = 0.5  # of the critical delay, beyond which an age is worth a word
MEAN_S = 1.0  # over which an age is averaged: single late answers do not count


class Lateness:
    """Says once when the mean age comes near the critical delay.

    Args:
        critical_ms: delay with which the loop becomes unstable; inf: it is not known, or there is none.
    """

    def __init__(self, critical_ms: float) -> None:
        self._critical_ms = critical_ms
        self._mean_ms = math.nan
        self._seen_s = 0.0
        self._said = False

    def seen(self, age_ms: float, dt_s: float) -> list[tuple[str, str]]:
        """Take an age, `dt_s` after the one before; what is to be logged."""
        if self._said or not math.isfinite(age_ms):
            return []
        share = -math.expm1(-dt_s / MEAN_S)
        self._mean_ms = age_ms if math.isnan(self._mean_ms) else self._mean_ms + share * (age_ms - self._mean_ms)
        self._seen_s += dt_s
        if self._seen_s < MEAN_S - 1e-9 or self._mean_ms <= SHARE * self._critical_ms:
            return []
        self._said = True
        return [(
            LATE,
            f"its values follow what was measured {self._mean_ms:.0f} ms ago, more than half of the "
            f"{self._critical_ms:.0f} ms with which its loop becomes unstable",
        )]  # fmt: skip
