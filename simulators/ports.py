"""What a device model shows to the outside: its ports and the model table that all wrappers are derived from.

A mosaik attribute is named `Quantity[unit]`; the sign is in the quantity's name (`P_gen` flows into the bus,
`P_load` is consumed). A group entity holds all units of a model and exchanges arrays, one row a unit; a
scalar child entity of the unit's own name shows one row.
"""

import cmath
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# the two real attributes that stand for a complex one where a single unit is connected by itself
HALVES = {"S[pu]": ("P_gen[MW]", "Q_gen[MVar]"), "V[pu]": ("Vm[pu]", "Va[deg]")}


@dataclass(frozen=True)
class Port:
    """One quantity that a model takes or gives.

    Args:
        attr: mosaik attribute, `Quantity[unit]`.
        field: field of the model's Inputs or Outputs that carries it.
        base: 's' when the field is per unit on the system base and the attribute in MW, MVar or MVA.
        hold: 'linear' for an input that is extrapolated with its slope between two steps (first-order hold).
        convert: for outputs, maps the field's array to the attribute's, elementwise; None leaves it as it is.
        rate: for inputs, attribute that tells the rate of change since the time `t_tick[s]`; the wrapper makes the
            ramp, the model knows values only.
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
    rate: str = ""

    @property
    def unit(self) -> str:
        """The unit between the brackets of `attr`."""
        return self.attr[self.attr.index("[") + 1 : -1]

    @property
    def halves(self) -> tuple[str, ...]:
        """The real attributes that stand for a complex quantity on a unit's own entity; none for a real one."""
        return HALVES.get(self.attr, ())

    def joined(self, values: Mapping[str, float], last: Any, s_base_mva: float) -> Any:
        """The field's value from what arrived at a unit's own entity; a half that did not arrive is as in `last`."""
        if not self.halves:
            return values[self.attr] / s_base_mva if self.base == "s" else values[self.attr]
        first, second = self.halves
        if second.endswith("[deg]"):
            magnitude = values.get(first, abs(last))
            return cmath.rect(magnitude, math.radians(values[second]) if second in values else cmath.phase(last))
        real, imaginary = (values[half] / s_base_mva if half in values else None for half in (first, second))
        return complex(last.real if real is None else real, last.imag if imaginary is None else imaginary)


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
    source: Literal["emf", "power", "none"] = "emf"  # what the grid takes from it: EMF phasors, power or nothing
