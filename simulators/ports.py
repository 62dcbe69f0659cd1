"""What a device model shows to the outside: its ports and the model table that all wrappers are derived from.

A mosaik attribute is named `Quantity[unit]`; the sign is in the quantity's name (`P_gen` flows into the bus,
`P_load` is consumed). A group entity holds all units of a model and exchanges arrays, one row a unit; a
scalar child entity of the unit's own name shows one row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Port:
    """One quantity that a model takes or gives.

    Args:
        attr: mosaik attribute, `Quantity[unit]`.
        field: field of the model's Inputs or Outputs that carries it.
        base: 's' when the field is per unit on the system base and the attribute in MW, MVar or MVA.
        hold: 'linear' for an input that is extrapolated with its slope between two steps (first-order hold).
        convert: for outputs, maps the field's array to the attribute's, elementwise; None leaves it as it is.
        scalar: False for complex quantities, which exist on group entities only.
        description: one line for tables.
    """

    attr: str
    field: str
    description: str
    base: Literal["", "s"] = ""
    hold: Literal["constant", "linear"] = "constant"
    convert: Callable[[Any], Any] | None = None
    scalar: bool = True

    @property
    def unit(self) -> str:
        """The unit between the brackets of `attr`."""
        return self.attr[self.attr.index("[") + 1 : -1]


@dataclass(frozen=True)
class Model:
    """A device model: its parameters, ports and pure functions.

    Functions, all without memory of their own and without changing their arguments (n units in one call):
        initial(params, start) -> state: at rest at the operating point `start` (Start).
        held(params) -> inputs: the set-points that the parameters give, for inputs that nothing is connected to.
        advance(params, state, inputs, slopes, dt_s) -> state: integrates the interval that has passed;
            `inputs` are those at its start, `slopes` the rates [1/s] of the linearly held ones; dt 0 is the identity.
        respond(params, state, inputs) -> outputs: what the unit shows now.
        align(params, state, inputs, applied) -> state: makes a unit that is not in charge follow `applied`.
    """

    name: str
    params: type
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    records: tuple[str, ...]  # attributes of `outputs` that a run records
    slopes: type  # NamedTuple of the rates of the linearly held inputs, in the order of `inputs`
    initial: Callable[..., Any]
    held: Callable[..., Any]
    advance: Callable[..., Any]
    respond: Callable[..., Any]
    align: Callable[..., Any]
