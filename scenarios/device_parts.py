"""The device that may stand in for a unit, as a file describes it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gridloop.scenarios.comms_parts import LinkKeys
from gridloop.scenarios.parts import Finite, NotNegative, Part, Positive, Switch


def _in_order(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the first is the lowest: {limits[0]:g} is above {limits[1]:g}")
    return limits


Range = Annotated[tuple[Finite, Finite], AfterValidator(_in_order)]


LEAST_AGE_MS, PERIODS = 200.0, 4  # of max_age_ms, where it is not given


class OnLoss(Part):
    """What happens when a device that drives its unit is silent, or shows nothing that is of use."""

    hold_ms: NotNegative = 500.0
    """its last values hold for [ms]"""
    then: Literal["model", "safe", "stop"] = "model"
    """model: the model takes over; safe: the safe set-point is fed in; stop: the run ends"""


class SafeState(Part):
    """Set-points that are written when nobody steers the device any more."""

    p_set_kw: Finite = 0.0
    """active power into the bus [kW]"""
    q_set_kvar: Finite = 0.0
    """reactive power into the bus [kvar]"""


class Limits(Part):
    """How far and how fast set-points may go; they are checked before every write."""

    p_set_kw: Range | None = None
    """lowest and highest active power [kW]; absent: those of the register map"""
    q_set_kvar: Range | None = None
    """lowest and highest reactive power [kvar]; absent: those of the register map"""
    p_ramp_kw_per_s: Positive | None = None
    """largest rate of the active power [kW/s]; absent: any"""


class Device(Part):
    """The device that stands in for a unit; without this section its model is back."""

    url: Annotated[str, Field(min_length=1)]
    """where it is: modbus+tcp://HOST:502/1?map=generic_inverter, emulated: and others"""
    role: Literal["power", "controller"] | None = None
    """power: gets set-points, V, f and gives P, Q; controller: gets P, Q, V and gives f, E; absent: as the map says"""
    mode: Literal["free", "lockstep"] = "free"
    """free: its newest values count, in real time; lockstep: every step waits for its answer"""
    period_ms: Positive = 50.0
    """time between two questions [ms]"""
    deadline_ms: Positive | None = None
    """an answer may take [ms]; absent: half the period"""
    max_age_ms: Positive | None = None
    """older values are no data [ms]; absent: 200 or, if that is more, four periods; besides what its links delay"""
    on_loss: OnLoss = OnLoss()
    """what happens when it is lost"""
    safe: SafeState = SafeState()
    """its safe state"""
    limits: Limits = Limits()
    """limits of what is written"""
    comms: LinkKeys | None = None
    """a simulated link to it and one back: what both are like, where it differs from all; absent: none"""
    allow_writes: Switch = False
    """false: nothing is written and the model drives, unless the device is an emulator on this machine"""

    @property
    def oldest_ms(self) -> float:
        """Older values of the device itself are no data [ms]."""
        return max(LEAST_AGE_MS, PERIODS * self.period_ms) if self.max_age_ms is None else self.max_age_ms

    @property
    def answer_ms(self) -> float:
        """How long an answer may take [ms]."""
        return self.period_ms / 2 if self.deadline_ms is None else self.deadline_ms

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.answer_ms > self.period_ms:
            raise ValueError(f"deadline_ms = {self.answer_ms:g} is longer than period_ms = {self.period_ms:g}")
        if self.oldest_ms < self.period_ms:
            raise ValueError(
                f"max_age_ms = {self.max_age_ms:g} is shorter than period_ms = {self.period_ms:g}: "
                "its values would be too old before the next question"
            )
        return self
