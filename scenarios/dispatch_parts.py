"""Dispatch of reactive power by a distribution system operator as a file describes it, with what is bought."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gridloop.scenarios.parts import Finite, Part, Positive

Slot = Annotated[int, Field(ge=1, strict=True)]


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] <= limits[1]:
        raise ValueError(f"the lower limit {limits[0]:g} is above the upper one {limits[1]:g}")
    return limits


Limits = Annotated[tuple[Finite, Finite], AfterValidator(_ascending)]


def _begins_before_it_ends(slots: tuple[int, int]) -> tuple[int, int]:
    if not slots[0] < slots[1]:
        raise ValueError(f"from slot {slots[0]} until before slot {slots[1]} there is none")
    return slots


class Asked(Part):
    """What a buyer asks for; it is served by the seller with the least losses that overloads no line, or not at all."""

    buyer: str
    """a unit that consumes what it buys, by its power set-point"""
    p_kw: Positive
    """how much [kW]"""
    slots: Annotated[tuple[Slot, Slot], AfterValidator(_begins_before_it_ends)]
    """from which slot, and until before which one"""


class Dispatch(Part):
    """Least losses: voltages of generators, tap changers of the net and reactive power of compensators."""

    generators: Annotated[tuple[str, ...], Field(min_length=1)]
    """units that hold the voltage of a generator's bus of the net; each of these buses has one"""
    svcs: dict[str, Limits] = Field(default_factory=dict)
    """by unit: least and most reactive power into the bus of what compensates [kvar]"""
    method: Literal["slsqp", "sbde"] = "slsqp"
    """slsqp: exact derivatives; sbde: evolution"""
    profile: Literal["default", "paper"] = "default"
    """settings of sbde"""
    pricing: Literal["apparent", "capability"] = "apparent"
    """price of a generator's reactive power: the paper's equation, or the active power it leaves no room for"""
    svc_rating: Literal["output", "lines"] = "output"
    """size of a compensator in its price: what it gives, or what it takes off the lines to it"""
    years: Positive = 5.0
    """over which compensators are paid off [years]"""
    flat_slots: tuple[Slot, ...] = ()
    """slots in which the file's own set-points count again, to compare with; slot 0 is always one"""
    requests: tuple[Asked, ...] = ()
    """what buyers ask for, in the order in which they are served; trades go to a ledger in the folder of the run"""
