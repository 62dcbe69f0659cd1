"""The parts of a scenario file and the kinds of values in them; what stands under a field describes it to users."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

# strict: neither `yes` nor quoted digits are numbers
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Switch = Annotated[bool, Field(strict=True)]
Name = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    WithJsonSchema({"type": ["string", "integer"]}),
]


def _sums_to_one(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares of constant Z, I, P sum to {sum(shares):g}, not 1")
    return shares


def _moment(value: Any) -> Any:
    """ISO text as a moment; a clock without its offset means another moment on every computer."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError("must be a date and time such as 2026-06-21T12:00:00+02:00")
    if moment.tzinfo is None:
        raise ValueError("must end in the offset from UTC, such as +02:00 or Z")
    return moment


def _attribute(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]\w*\[[\w%]+\]", text):
        raise ValueError("must be Quantity[unit], such as P_gen[MW]")
    return text


Shares = Annotated[tuple[Finite, Finite, Finite], AfterValidator(_sums_to_one)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Attribute = Annotated[str, AfterValidator(_attribute)]
Signal = Literal["units", "buses", "branches", "loads", "links"]


class Part(BaseModel):
    """A map of the file: no other keys than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Base(Part):
    """System base; the net's per-unit data are kept, so that kW scale with it."""

    s_mva: Positive
    """power [MVA]"""
    v_kv: Positive | None = None
    """highest voltage [kV], line to line; absent: the net's own"""


class LoadLaw(Part):
    """How all loads of the net depend on voltage and frequency."""

    zip_p: Shares | None = None
    """shares of constant impedance, current, power in the active power [1]; absent: the net's own"""
    zip_q: Shares | None = None
    """shares of constant impedance, current, power in the reactive power [1]; absent: the net's own"""
    k_pf: Finite = 0.0
    """change of active power with frequency [pu/pu]"""
    k_qf: Finite = 0.0
    """change of reactive power with frequency [pu/pu]"""
    v0_pu: Positive | None = None
    """voltage at which loads draw their nominal power [pu]; absent: that of a power-flow start, 1 for a droop start"""
    frequency: Literal["sources", "bus"] = "sources"
    """which frequency loads feel: the mean of their island's sources, or that of their own bus"""
    bus_filter_ms: Positive = 50.0
    """time constant of the bus frequency [ms]"""


class Grid(Part):
    """The network."""

    net: str
    """a network of pandapower.networks, or a .json file beside this one"""
    base: Base | None = None
    """system base; absent: the net's own"""
    f_nom_hz: Positive | None = None
    """nominal frequency [Hz]; absent: the net's own"""
    loads: LoadLaw = LoadLaw()
    """how the loads depend on voltage and frequency"""


class Record(Part):
    """What goes to disk beside the units and the grid's totals, and how often."""

    every_ms: Positive | None = None
    """time between two rows [ms]; absent: every step"""
    signals: tuple[Signal, ...] = ("units", "buses", "branches", "loads", "links")
    """kinds of entities to record"""


class Sync(Part):
    """Largest differences across the open switch at which it may close."""

    angle_deg: Positive
    """angle [deg]"""
    df_hz: Positive
    """frequency [Hz]"""
    dv_pu: Positive
    """voltage magnitude [pu]"""


class Impedance(Part):
    """A series impedance that is not 0."""

    r_pu: NotNegative
    """resistance, system base [pu]"""
    x_pu: Finite
    """reactance, system base [pu]"""

    @model_validator(mode="after")
    def _is_not_zero(self) -> Self:
        if self.r_pu == self.x_pu == 0:
            raise ValueError("r_pu and x_pu are both 0: give one of them a value, 0.001 is next to nothing")
        return self


class Pcc(Impedance):
    """Point of common coupling: the utility grid as a voltage behind its short-circuit impedance."""

    bus: Name
    """bus at which the switch stands"""
    v_pu: Positive = 1.0
    """voltage of the utility grid [pu]"""
    angle_deg: Finite = 0.0
    """its angle at t = 0 [deg]"""
    f_hz: Positive | None = None
    """its frequency [Hz]; absent: nominal"""
    closed: Switch = True
    """whether the switch is closed at t = 0"""
    sync: Sync | None = None
    """when an armed switch may close; absent: the class of IEEE 1547 for the units' total rating"""


class Shedding(Part):
    """One stage of under-frequency load shedding."""

    below_hz: Positive
    """acts when the frequency stays below [Hz]"""
    delay_ms: NotNegative = 100.0
    """for this long [ms]"""
    share_percent: Annotated[Positive, Field(le=100)]
    """and disconnects this share of the loads' power [percent]"""
    buses: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """buses whose loads it acts on; absent: all"""


class Profile(Part):
    """A table of measured or forecast series, one row a time; or the weather of a typical year."""

    file: str | None = None
    """.csv or .parquet file beside this one"""
    time: str | None = None
    """column that holds the time; absent: the first"""
    time_zone: str | None = None
    """IANA zone of times without offset, such as Europe/Berlin; absent: every time carries its offset"""
    columns: Annotated[dict[str, Attribute], Field(min_length=1)] | None = None
    """own name of a column: its name in the file, such as P[kW]"""
    typical_year: Literal["greensboro", "sand_point"] | None = None
    """instead of file and columns: a typical weather year, with the columns ghi [W_per_m2] and t_air [degC]"""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.typical_year is None:
            missing = [key for key in ("file", "columns") if getattr(self, key) is None]
            if missing:
                raise ValueError(f"{' and '.join(missing)} missing; or give typical_year: greensboro or sand_point")
            return self
        strange = [key for key in ("file", "columns", "time", "time_zone") if getattr(self, key) is not None]
        if strange:
            raise ValueError(f"a typical year has no {', '.join(strange)}: it gives the columns ghi and t_air")
        return self

    @property
    def units(self) -> dict[str, str]:
        """Unit of every column by its own name."""
        if self.columns is None:
            return {"ghi": "W_per_m2", "t_air": "degC"}
        return {key: column.partition("[")[2].removesuffix("]") for key, column in self.columns.items()}


class Meter(Part):
    """A meter: samples quantities of one entity with a period and noise."""

    of: Name
    """the unit, bus, branch or load that it measures"""
    attr: Annotated[tuple[Attribute, ...], Field(min_length=1)]
    """what it measures, such as P_gen[MW]"""
    period_ms: Positive
    """time between two samples [ms]"""
    noise_percent: NotNegative = 0.0
    """standard deviation, percent of the value"""
    noise: NotNegative = 0.0
    """standard deviation, in the unit of the quantity"""
