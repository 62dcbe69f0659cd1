"""What may be written to a device and when, and what its answers are worth. Pure: the time is passed in.

Three decisions that must never depend on a wire: how far a set-point may go (`SetPoints`), when nobody steers any
more (`Watchdog`) or the device's own timer must be rewritten (`Reversion`), and whether a value is still a
measurement (`judged`, `Pulse`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

GOOD, STALE, FAULT = 0, 1, 2
COUNTER_SIZE = 65536  # a heartbeat is one register
NEVER_S = -math.inf
UNLIMITED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Snapshot:
    """The newest that is known of a device.

    Args:
        values: what it showed, by mosaik attribute, in the attribute's unit; nan for what it does not know.
        at_s: monotonic time at which the oldest of the values was asked for [s]; -inf before the first answer.
        sequence: counts complete answers; the same number means the same values.
        quality: 0 good, 1 stale (older than the device's `max_age_s`), 2 fault.
        cause: why it is not good, in words; empty when it is.
        age_s: age of the values when the snapshot was taken [s].
        told_age_s: time since what they follow from was posted [s]; nan where that is not known.
    """

    values: Mapping[str, float]
    at_s: float
    sequence: int
    quality: int
    cause: str
    age_s: float = math.inf
    told_age_s: float = math.nan

    @property
    def loop_s(self) -> float:
        """Time since what the values follow from was posted, as far as it is known [s]."""
        return self.age_s if math.isnan(self.told_age_s) else self.told_age_s


@dataclass(frozen=True)
class Reading:
    """One complete answer of a device, before it is judged; `fault` says what the device itself got wrong.

    `told_s`: when what it had been told by then was posted; nan where that is not known.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    at_s: float = NEVER_S
    sequence: int = 0
    fault: str = ""
    told_s: float = math.nan


@dataclass(frozen=True)
class Asked:
    """What a device should do: the set-points that were posted, or (`is_calm`) go to its safe state; none = nothing."""

    values: Mapping[str, float]
    is_calm: bool = False


def judged(reading: Reading, trouble: str, now_s: float, max_age_s: float, needed: Iterable[str]) -> Snapshot:
    """What a reading is worth at `now_s`; `trouble` is what keeps newer ones from coming, empty if nothing does.

    A link that fails leaves the last values good until they are too old: one lost answer is not a lost device.
    """
    age_s = now_s - reading.at_s
    unknown = [attr for attr in needed if math.isnan(reading.values.get(attr, math.nan))]
    if reading.fault:
        quality, cause = FAULT, reading.fault
    elif age_s > max_age_s:
        quality, cause = STALE, trouble or ("no answer for too long" if reading.sequence else "no answer yet")
    elif unknown:
        quality, cause = FAULT, f"no number for {', '.join(unknown)}"
    else:
        quality, cause = GOOD, ""
    return Snapshot(reading.values, reading.at_s, reading.sequence, quality, cause, age_s, now_s - reading.told_s)


class Allowed(NamedTuple):
    """A value that may be written; `cause` says what it was changed for: limit, ramp, nan or nothing."""

    value: float
    cause: str


class SetPoints:
    """How far each set-point may go now. Every write passes here.

    Args:
        limits: lowest and highest value, by attribute, in the attribute's unit.
        ramps: largest rate, by attribute, in the attribute's unit per second.
        longest_s: the time that one step of a ramp may stand for [s]: after a pause a set-point does not jump by
            what the ramp would have allowed meanwhile.
    """

    def __init__(
        self, limits: Mapping[str, tuple[float, float]], ramps: Mapping[str, float], longest_s: float
    ) -> None:  # fmt: skip
        wrong = [f"{attr}: the lower limit {a:g} is above {b:g}" for attr, (a, b) in limits.items() if a > b]
        wrong += [f"{attr}: a ramp must be > 0, not {rate:g}" for attr, rate in ramps.items() if not rate > 0]
        if wrong:
            raise ValueError("; ".join(wrong))
        self.limits = limits
        self.ramps = ramps
        self.longest_s = longest_s
        self._on_device: dict[str, float] = {}
        self._asked_s = NEVER_S

    def found(self, attr: str, value: float) -> None:
        """Take note of what the device has now: written, or read back."""
        self._on_device[attr] = value

    def within(self, attr: str, wanted: float) -> Allowed:
        """`wanted` inside the limits."""
        low, high = self.limits.get(attr, UNLIMITED)
        if low <= wanted <= high:
            return Allowed(wanted, "")
        return Allowed(min(max(wanted, low), high), "limit")

    def allowed(self, wanted: Mapping[str, float], now_s: float) -> dict[str, Allowed]:
        """What may be written now on the way to `wanted`; what is not a number is left out.

        A ramp starts from what is on the device; the first value of all, before anything is known of the device,
        is only limited.
        """
        elapsed_s = min(max(now_s - self._asked_s, 0.0), self.longest_s)
        self._asked_s = now_s
        result = {}
        for attr, value in wanted.items():
            if math.isnan(value):
                continue
            limited = self.within(attr, value)
            result[attr] = self._on_ramp(attr, limited, elapsed_s) if attr in self.ramps else limited
        return result

    def _on_ramp(self, attr: str, limited: Allowed, elapsed_s: float) -> Allowed:
        if attr not in self._on_device:
            return limited
        before, reach = self._on_device[attr], self.ramps[attr] * elapsed_s
        if abs(limited.value - before) <= reach:
            return limited
        return Allowed(before + math.copysign(reach, limited.value - before), "ramp")


class Watchdog:
    """Barks when nobody posted set-points for `timeout_s`; sleeps until the first post."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._posted_s = math.inf

    def posted(self, now_s: float) -> None:
        """Somebody steers."""
        self._posted_s = now_s

    def barks(self, now_s: float) -> bool:
        """Whether the safe state is due."""
        return now_s - self._posted_s > self.timeout_s


class Reversion:
    """The device's own timer, after which it goes back to its default; rewritten at half its time."""

    def __init__(self, time_s: float) -> None:
        self.time_s = time_s
        self._written_s = NEVER_S

    def written(self, now_s: float) -> None:
        """The timer starts anew."""
        self._written_s = now_s

    def lost(self) -> None:
        """The device may have forgotten it."""
        self._written_s = NEVER_S

    def due(self, now_s: float) -> bool:
        """Whether it must be written now."""
        return now_s - self._written_s >= self.time_s / 2


class Pulse:
    """Judges a heartbeat that is read from a device: it must change, and must not go back."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._value = math.nan
        self._changed_s = NEVER_S

    def seen(self, value: float, now_s: float) -> Literal["alive", "frozen", "restarted"]:
        """What a reading of the heartbeat tells.

        Going back counts as a restart unless the counter wrapped; one that only toggles (0, 1) cannot tell.
        """
        before, changed_s = self._value, self._changed_s
        if math.isnan(value) or value == before:
            return "frozen" if now_s - changed_s > self.timeout_s and not math.isnan(before) else "alive"
        self._value, self._changed_s = value, now_s
        back = before - value
        return "restarted" if 1 < back < COUNTER_SIZE / 2 else "alive"
