"""What may happen during a run: one class for each shape of event."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from gridloop.hil.faults import KINDS as FAULTS
from gridloop.scenarios.parts import Finite, Impedance, Name, NotNegative, Part, Positive, Switch


class _Event(Part):
    t_s: NotNegative
    """when [s]"""


class LoadEvent(_Event):
    """Add to (`load_step`) or replace (`load_set`) the load of a bus."""

    do: Literal["load_step", "load_set"]
    bus: Name
    """bus of the load"""
    p_kw: Finite
    """active power, consumed [kW]"""
    q_kvar: Finite = 0.0
    """reactive power, inductive [kvar]"""


class LineEvent(_Event):
    """Open or close a line or transformer."""

    do: Literal["line_open", "line_close"]
    line: Name
    """`from-to`; the second of parallel ones is `from-to/2`"""


class UnitEvent(_Event):
    """Disconnect a unit (`unit_trip`) or connect it again (`unit_start`)."""

    do: Literal["unit_trip", "unit_start"]
    unit: Name
    """the unit"""


class FaultEvent(_Event, Impedance):
    """Short-circuit a bus, all three phases to earth, through an impedance."""

    do: Literal["fault"]
    bus: Name
    """the bus"""
    x_pu: Finite = 0.0
    """reactance, system base [pu]"""
    for_s: Positive | None = None
    """cleared after [s]; absent: it stays"""


class PccOpenEvent(_Event):
    """Open the switch to the utility grid: islanding."""

    do: Literal["pcc_open"]


class PccCloseEvent(_Event):
    """Close the switch to the utility grid."""

    do: Literal["pcc_close"]
    sync: Switch = True
    """true: armed now, closes once both sides are in step; false: closes at once, whatever that does"""


class SetEvent(_Event):
    """Change a unit's set-point or what links are like."""

    do: Literal["set"]
    path: str
    """units.UNIT.p_set_kw, .q_set_kvar or .v_set_pu, `*` for every unit that has it; comms.KEY of all links,
    comms.links.SENDER->RECEIVER.KEY or comms.signals.SENDER->RECEIVER.KEY of one, units.UNIT.device.comms.KEY of a
    device's"""
    value: Finite
    """the new value, in the unit of the key"""


class LinkDownEvent(_Event):
    """A link fails: nothing that is sent gets through."""

    do: Literal["link_down"]
    link: str
    """SENDER->RECEIVER; `*` for any part of it"""
    for_s: Positive | None = None
    """up again after [s]; absent: it stays down"""


class LinkUpEvent(_Event):
    """A link that has failed works again."""

    do: Literal["link_up"]
    link: str
    """SENDER->RECEIVER; `*` for any part of it"""


class AgentEvent(_Event):
    """An agent or central controller stops working (`agent_fail`) or works again (`agent_recover`)."""

    do: Literal["agent_fail", "agent_recover"]
    agent: Name
    """a member of the control, or a central controller"""


class KickEvent(_Event):
    """Disturb an agent's correction: agents at rest show no instability."""

    do: Literal["agent_kick"]
    agent: Name
    """a member of the control, or a central controller"""
    omega_rad_per_s: Finite = 0.0
    """added to its frequency correction [rad/s]"""
    v_pu: Finite = 0.0
    """added to its voltage correction [pu]"""


class SwapEvent(_Event):
    """Let a unit's device stand in for it (`swap`), or its model again (`unswap`)."""

    do: Literal["swap", "unswap"]
    unit: Name
    """the unit, which has a `device:`"""


class DeviceFaultEvent(_Event):
    """Something goes wrong with an emulated device."""

    do: Literal["device_fault"]
    unit: Name
    """the unit, whose `device:` is `emulated:`"""
    kind: Literal[FAULTS]  # type: ignore[valid-type]
    """late, silent, frozen, exception, wrong_unit, nan, drop, slow or restart"""
    for_s: Positive | None = None
    """well again after [s]; of restart: gone for so long; absent: it stays"""
    delay_ms: NotNegative | None = None
    """late, slow: how much later answers come [ms]; absent: 300"""
    code: Annotated[int, Field(ge=1, le=255)] | None = None
    """exception: its code; absent: 4"""
    on: Literal["all", "read", "write"] | None = None
    """behind a wire: the requests that meet it; absent: all"""
    count: Annotated[int, Field(ge=1)] | None = None
    """how many requests meet it; absent: all of them"""

    @property
    def options(self) -> dict[str, Any]:
        """What a device's `fault` takes besides the kind."""
        delay_s = None if self.delay_ms is None else self.delay_ms * 1e-3
        if self.kind == "restart":
            delay_s = self.for_s if self.for_s is not None else delay_s
        given = {"delay_s": delay_s, "code": self.code, "on": self.on, "count": self.count}
        return {key: value for key, value in given.items() if value is not None}


SHAPES: tuple[type[_Event], ...] = (
    LoadEvent, LineEvent, UnitEvent, FaultEvent, PccOpenEvent, PccCloseEvent, SetEvent,
    LinkDownEvent, LinkUpEvent, AgentEvent, KickEvent, SwapEvent, DeviceFaultEvent,
)  # fmt: skip
Event = Annotated[
    LoadEvent | LineEvent | UnitEvent | FaultEvent | PccOpenEvent | PccCloseEvent | SetEvent
    | LinkDownEvent | LinkUpEvent | AgentEvent | KickEvent | SwapEvent | DeviceFaultEvent,
    Field(discriminator="do"),
]  # fmt: skip


def shape_of(does: Any) -> type[_Event] | None:
    """The class of the events that do `does`."""
    return next((shape for shape in SHAPES if does in get_args(shape.model_fields["do"].annotation)), None)
