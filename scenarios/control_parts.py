"""Secondary control as a file describes it: laws, members, pins, central controllers, balancing."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from gridloop.scenarios.own_code import OWN, own
from gridloop.scenarios.parts import Name, NotNegative, Part, Positive
from gridloop.simulators.models.secondary import FREQUENCY_LAWS, VOLTAGE_LAWS

CENTRAL = "C"  # the law of central controllers
NO_NEIGHBOURS = (CENTRAL, "none")  # laws for which agents need not talk to each other
NEED_PIN = ("F", "V", "paper23", CENTRAL)  # laws that restore what the pinned unit measures


def _law(known: Sequence[str]) -> Any:
    def check(name: str) -> str:
        if name not in known and not re.match(OWN, name):
            raise ValueError(f"must be {', '.join(known)}, or MODULE:FUNCTION for a law of your own")
        return name

    schema = {"type": "string", "anyOf": [{"enum": list(known)}, {"pattern": OWN}]}
    return Annotated[str, AfterValidator(check), WithJsonSchema(schema)]


class FrequencyControl(Part):
    """How the frequency is restored and active power shared; a gain that is absent is the law's own default."""

    law: _law(list(FREQUENCY_LAWS)) = "F"  # type: ignore[valid-type]
    """F: the pinned unit restores it; D: every unit does (DAPI); C: a central controller; none; or MODULE:FUNCTION"""
    c2_per_s: NotNegative | None = None
    """consensus of the corrections, F and D [1/s]; absent: 4"""
    c0_per_s: NotNegative | None = None
    """restoration of the frequency, F and D [1/s]; absent: 4"""
    k_i_per_s: NotNegative | None = None
    """integral gain of the central controller, C [1/s]; absent: 2"""
    limit_hz: NotNegative | None = None
    """largest correction [Hz]; absent: 1"""


class VoltageControl(Part):
    """How voltages are restored and reactive power shared; a gain that is absent is the law's own default."""

    law: _law(list(VOLTAGE_LAWS)) = "V"  # type: ignore[valid-type]
    """V: shares Q, the pinned bus is restored; Vprime: a compromise at every bus; C: a central controller;
    paper23: equal set-points; none; or MODULE:FUNCTION"""
    c3_per_s: NotNegative | None = None
    """sharing of reactive power, V, Vprime and paper23 [1/s]; absent: 10"""
    c0_per_s: NotNegative | None = None
    """restoration of the pinned bus, V and paper23 [1/s]; absent: 10"""
    beta_per_s: NotNegative | None = None
    """pull to the reference at every bus, Vprime [1/s]; absent: 2"""
    k_v_per_s: NotNegative | None = None
    """integral gain of the central controller, C [1/s]; absent: 2"""
    v_ref_pu: Positive | None = None
    """voltage to restore [pu]; absent: 1"""
    limit_pu: NotNegative | None = None
    """largest correction [pu]; absent: 0.05"""


class ChargeBalancing(Part):
    """Balancing of states of charge: who has more than the average delivers more."""

    gain: NotNegative
    """share of the rating for each unit of charge (0..1) beyond the average [1]"""
    estimate_per_s: NotNegative | None = None
    """how fast agents agree on the average [1/s]; absent: 4"""
    limit_percent: NotNegative | None = None
    """set-points move by at most this share of the rating [percent]; absent: 100"""


class Control(Part):
    """Secondary control: an agent for each member, or central controllers."""

    frequency: FrequencyControl = FrequencyControl()
    """law of the frequency"""
    voltage: VoltageControl = VoltageControl()
    """law of the voltage"""
    members: Annotated[tuple[Name, ...], Field(min_length=1)]
    """grid-forming units that take part, in the order of the communication graph"""
    leader: Name | None = None
    """the member that is pinned to the references; law C measures there"""
    pins: dict[str, NotNegative] | None = None
    """instead of a leader: members and the weights of their pins [1]"""
    pilot_bus: Name | None = None
    """bus whose voltage the central controller restores; absent: the leader's"""
    period_ms: Positive = 50.0
    """time between two decisions [ms]"""
    delay_handling: Literal["matched", "neighbour_only"] = "matched"
    """a neighbour's value is compared with the own one of the same time, or with the present one"""
    max_age_ms: Positive | None = None
    """messages that are older count no more [ms]; absent: the last one counts for ever"""
    central: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """names of the central controllers of law C, the first leads; absent: mgcc"""
    takeover_ms: Positive = 500.0
    """a standby controller takes over after so long without a broadcast [ms]"""
    on_fail: Literal["hold", "drop"] = "hold"
    """an agent that fails leaves its unit at the last correction, or at none"""
    balancing: ChargeBalancing | None = None
    """balancing of the batteries' states of charge; absent: none"""
    more: dict[str, Any] = Field(default_factory=dict)
    """whatever a law of your own needs"""
    _folder_of: Callable[..., Path] = PrivateAttr(default_factory=lambda: lambda *path: Path())

    @model_validator(mode="after")
    def _has_one_kind_of_pin(self) -> Self:
        if self.leader is not None and self.pins is not None:
            raise ValueError("give leader or pins, not both; a leader is a pin of 1")
        return self

    @property
    def laws(self) -> dict[str, str]:
        """The laws by what they control."""
        return {"frequency": self.frequency.law, "voltage": self.voltage.law}

    @property
    def central_names(self) -> tuple[str, ...]:
        """Central controllers by rank; none without law C."""
        return (self.central or ("mgcc",)) if CENTRAL in self.laws.values() else ()

    @property
    def agent_names(self) -> tuple[str, ...]:
        """Everybody that an event may name: members and central controllers."""
        return (*self.members, *self.central_names)

    @property
    def needs_neighbours(self) -> bool:
        """Whether agents talk to each other."""
        return self.balancing is not None or not set(self.laws.values()) <= set(NO_NEIGHBOURS)

    @property
    def pin_gains(self) -> dict[str, float]:
        """Weight of the pin of every member that has one."""
        return dict(self.pins or {}) if self.leader is None else {self.leader: 1.0}

    @property
    def leader_name(self) -> str:
        """The leader, or the pinned member of the greatest weight, or the first member."""
        gains = self.pin_gains
        return self.leader or max(gains, key=lambda name: gains[name], default=self.members[0])

    def settings(self) -> dict[str, Any]:
        """What `SecondarySimulator.init` takes of a scenario; graph, exchange, events and the grid's are not in it.

        A law of one's own is imported on the way, so that the simulator finds it.
        """
        for what in self.laws:
            self.own_law(what)
        left_out = {"members", "leader", "pins", "pilot_bus", "central"}
        given = self.model_dump(exclude=left_out, exclude_none=True)
        return given | ({"central": list(self.central_names)} if self.central_names else {})

    def own_law(self, what: str) -> Any:
        """The function of a law of one's own for `what`, frequency or voltage; None for one of ours.

        Raises:
            ValueError: there is no such function.
        """
        law = self.laws[what]
        if ":" not in law:
            return None
        function = own(law, self._folder_of("control", what, "law"), FunctionType)
        if not callable(function):
            raise ValueError(f"{law!r} is of type {type(function).__name__}, not a function")
        return function
