"""What is told of a device before it is spoken to, and what is told of each write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gridloop.hil.registers import RegisterMap
from gridloop.hil.urls import DeviceUrl


@dataclass(frozen=True)
class Device:
    """A device and how it is to be treated. Values are by mosaik attribute, in the attribute's unit.

    Args:
        name: for messages.
        url: where it is.
        map: its registers; None = they are found at the device itself.
        period_s: of reading in free mode; in lockstep, how soon it is tended when no cycle is asked for.
        deadline_s: for one answer.
        max_age_s: older values are not good.
        mode: free (polled all the time, the newest counts) or lockstep (exchanges when asked).
        allow_writes: False = nothing is written, what would have been is told to the log of writes.
        limits: lowest and highest value to write, inside those of the map.
        ramps: largest rate of a set-point, per second.
        safe: written in the safe state; the map's safe values hold for what is not named.
        watchdog_s: the safe state is written when nothing was posted for so long.
        readback_s: between two comparisons of the device's set-points with those written; 0 = only after trouble.
        frozen_s: a heartbeat of the device that stands still for so long is a fault.
        agent: role of a serial agent.
    """

    name: str
    url: DeviceUrl
    map: RegisterMap | None
    period_s: float = 0.05
    deadline_s: float = 0.025
    max_age_s: float = 0.2
    mode: Literal["free", "lockstep"] = "free"
    allow_writes: bool = False
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ramps: Mapping[str, float] = field(default_factory=dict)
    safe: Mapping[str, float] = field(default_factory=dict)
    watchdog_s: float = 1.0
    readback_s: float = 1.0
    frozen_s: float = 2.0
    agent: Literal["inverter", "secondary"] = "inverter"

    def __post_init__(self) -> None:
        times = {"period_s": self.period_s, "deadline_s": self.deadline_s, "max_age_s": self.max_age_s,
                 "watchdog_s": self.watchdog_s, "frozen_s": self.frozen_s}  # fmt: skip
        wrong = [f"{key} = {value:g} must be > 0" for key, value in times.items() if not value > 0]
        if self.map is not None:
            taken = {point.attr for point in self.map.written_points}
            for key, values in (("limits", self.limits), ("ramps", self.ramps), ("safe", self.safe)):
                wrong += [f"{key}: the map {self.map.name} takes no {attr}" for attr in values if attr not in taken]
        if self.mode not in ("free", "lockstep"):
            wrong.append(f"mode {self.mode!r}: free or lockstep")
        if wrong:
            raise ValueError(f"{self.name}: {'; '.join(wrong)}")


@dataclass(frozen=True)
class Write:
    """One value that was written, or would have been.

    Args:
        at_s: monotonic time [s].
        device: name.
        attr: mosaik attribute.
        wanted: value asked for, in the attribute's unit.
        value: value written.
        cause: why `value` is not `wanted`: limit, ramp, map; why it was written otherwise: safe, again; or "".
        done: False when it was not written; `trouble` says why.
        trouble: of a write that failed.
    """

    at_s: float
    device: str
    attr: str
    wanted: float
    value: float
    cause: str
    done: bool
    trouble: str = ""
