"""What stands behind an inverter's DC side: a battery or photovoltaics."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from gridloop.scenarios.courses import Course, Reference
from gridloop.scenarios.parts import Part, Positive
from gridloop.simulators.models import battery, coulomb_battery
from gridloop.simulators.ports import Model

PACKS: dict[str, Model] = {"circuit": battery.MODEL, "coulomb": coulomb_battery.MODEL}


class BatterySource(Part):
    """A battery; its own keys are checked by its model."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    type: Literal["battery"]
    """battery or pv"""
    model: Literal["circuit", "coulomb"] = "circuit"
    """circuit: open-circuit voltage behind resistances; coulomb: counts charge at constant voltage"""

    @property
    def parameters(self) -> dict[str, Any]:
        """The keys that belong to the pack's model."""
        return dict(self.model_extra or {})

    @property
    def device(self) -> Model:
        """The pack's model."""
        return PACKS[self.model]


class PvSource(Part):
    """A photovoltaic array."""

    type: Literal["pv"]
    """battery or pv"""
    modules: Positive
    """number of modules"""
    module: str = "SunPower_SPR_305E_WHT_D"
    """name of the module in the CEC table"""
    ghi: Course
    """irradiance in the modules' plane: PROFILE.COLUMN, or a number [W/m2]"""
    t_air: Course
    """air temperature: PROFILE.COLUMN, or a number [degC]"""

    @property
    def references(self) -> dict[str, Reference]:
        """The columns that it reads, by key."""
        return {key: value for key, value in self if isinstance(value, Reference)}


Source = Annotated[BatterySource | PvSource, Field(discriminator="type")]
PARTS: dict[str, type[Part]] = {"battery": BatterySource, "pv": PvSource}
