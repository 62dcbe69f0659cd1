"""What may happen during a run: one class for each shape of event."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

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
    """Change a unit's set-point."""

    do: Literal["set"]
    path: str
    """units.UNIT.p_set_kw, .q_set_kvar or .v_set_pu; `*` for every unit that has it"""
    value: Finite
    """the new value, in the unit of the key"""


SHAPES: tuple[type[_Event], ...] = (
    LoadEvent, LineEvent, UnitEvent, FaultEvent, PccOpenEvent, PccCloseEvent, SetEvent,
)  # fmt: skip
Event = Annotated[
    LoadEvent | LineEvent | UnitEvent | FaultEvent | PccOpenEvent | PccCloseEvent | SetEvent,
    Field(discriminator="do"),
]  # fmt: skip


def shape_of(does: Any) -> type[_Event] | None:
    """The class of the events that do `does`."""
    return next((shape for shape in SHAPES if does in get_args(shape.model_fields["do"].annotation)), None)
