"""Units as a file describes them: what all have in common, and those whose power comes from a profile."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, model_validator

from gridloop.scenarios.agent_parts import UnitAgent
from gridloop.scenarios.courses import Course, Reference
from gridloop.scenarios.device_parts import Device
from gridloop.scenarios.parts import Finite, Name, Part
from gridloop.scenarios.source_parts import Source

PROFILE = "profile"  # the type of units without a model: their power is given


def _impedance(z_pu: tuple[float, float]) -> tuple[float, float]:
    if z_pu[0] < 0:
        raise ValueError("the first is the resistance, which must be at least 0")
    return z_pu


Series = Annotated[tuple[Finite, Finite], AfterValidator(_impedance)]


class Unit(Part):
    """A unit: what all types have; the type's own parameters are checked by its model."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    type: str
    """inverter, profile, or MODULE:MODEL for a model of your own"""
    bus: Name
    """bus that it feeds"""
    control: Literal["droop", "following"] = "droop"
    """inverter only: grid-forming with droop, or grid-following"""
    z_pu: Series | None = None
    """resistance and reactance between source and bus, own rating [pu]; absent: ideal source"""
    source: Source | None = None
    """inverter only: the battery or the photovoltaic array on its DC side; absent: a source without limits"""
    device: Device | None = None
    """the physical device that stands in for it; absent: the model alone"""
    agent: UnitAgent | None = None
    """its agent of secondary control, written as `NAME.agent` beside the unit; absent: the simulated one alone"""

    @property
    def parameters(self) -> dict[str, float]:
        """The keys that belong to the unit's model."""
        return dict(self.model_extra or {})

    @property
    def given_power(self) -> "GivenPower":
        """What a unit of type `profile` feeds in."""
        return GivenPower.model_validate(self.model_extra or {})


class GivenPower(Part):
    """The power of a unit of type `profile`: for P and for Q a column of a profile or a constant."""

    p_gen: Course | None = None
    """active power into the bus: PROFILE.COLUMN, or a number [kW]"""
    p_load: Course | None = None
    """active power consumed: PROFILE.COLUMN, or a number [kW]"""
    q_gen: Course | None = None
    """reactive power into the bus: PROFILE.COLUMN, or a number [kvar]"""
    q_load: Course | None = None
    """reactive power consumed: PROFILE.COLUMN, or a number [kvar]"""
    scale: Finite = 1.0
    """factor on both [1]"""

    @model_validator(mode="after")
    def _has_one_of_each(self) -> Self:
        if self.p_gen is None and self.p_load is None:
            raise ValueError("give p_gen or p_load: PROFILE.COLUMN, or a number [kW]")
        for gen, load in (("p_gen", "p_load"), ("q_gen", "q_load")):
            if getattr(self, gen) is not None and getattr(self, load) is not None:
                raise ValueError(f"give {gen} or {load}, not both")
        return self

    @property
    def p(self) -> tuple[float | Reference, float]:
        """Active power [kW] or its column, and the factor that makes it generated power (sign and scale)."""
        return self._generated(self.p_gen, self.p_load)

    @property
    def q(self) -> tuple[float | Reference, float]:
        """Reactive power [kvar] or its column, and the factor that makes it generated power."""
        return self._generated(self.q_gen, self.q_load)

    @property
    def references(self) -> dict[str, Reference]:
        """The columns that it reads, by key."""
        return {key: value for key, value in self if isinstance(value, Reference)}

    def _generated(
        self, gen: float | Reference | None, load: float | Reference | None
    ) -> tuple[float | Reference, float]:
        return (load or 0.0, -self.scale) if gen is None else (gen, self.scale)
