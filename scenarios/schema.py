"""A checked scenario: its parts, where each of its values was written, and what may be asked of it."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from gridloop.scenarios.comms_parts import Comms
from gridloop.scenarios.control_parts import Control
from gridloop.scenarios.event_parts import Event
from gridloop.scenarios.market_parts import Market
from gridloop.scenarios.parts import Grid, Meter, Moment, Part, Pcc, Positive, Profile, Record, Shedding
from gridloop.scenarios.price_parts import PriceList
from gridloop.scenarios.problems import Problem, ScenarioError, Source
from gridloop.scenarios.serve_parts import Served
from gridloop.scenarios.study_parts import Study
from gridloop.scenarios.unit_parts import Unit
from gridloop.scenarios.unit_types import model_of


class Scenario(Part):
    """A checked scenario; `gridloop.scenarios.load` makes it."""

    schema_: Literal[1] = Field(alias="schema")
    """version of this format: 1"""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    """names the folder of results"""
    title: str = ""
    """one line for people"""
    mode: Literal["rms", "steady"] = "rms"
    """rms: phasors in continuous time; steady: one settled state after the other, for long runs"""
    step_ms: Positive = 5.0
    """macro step [ms], a multiple of 0.001"""
    grouping: Literal["kind", "step"] = "kind"
    """kind: one simulator for each kind of units; step: one for all that step together, faster with the same results"""
    until_s: Positive
    """end [s]"""
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    """seed of everything random"""
    clock: Moment | None = None
    """date and time at t = 0 with its offset from UTC; needed with profiles"""
    grid: Grid
    """the network"""
    pcc: Pcc | None = None
    """the utility grid; absent: an island"""
    load_shedding: tuple[Shedding, ...] = ()
    """stages of under-frequency load shedding"""
    start: Literal["power_flow", "droop"] = "power_flow"
    """power_flow: the net's own power flow becomes the units' set-points; droop: settled on given set-points"""
    profiles: dict[str, Profile] = Field(default_factory=dict)
    """tables of series, by a name of your own"""
    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """by type: what each unit of the type has unless it says otherwise"""
    units: Annotated[dict[str, Unit], Field(min_length=1)]
    """the units, by a name of your own without dots"""
    meters: dict[str, Meter] = Field(default_factory=dict)
    """meters, by a name of your own without dots"""
    control: Control | None = None
    """secondary control; absent: droop alone"""
    comms: Comms | None = None
    """communication; absent: at once and without loss"""
    market: Market | None = None
    """forecasts, negotiation and trades, slot by slot; absent: none"""
    study: Study | None = None
    """what `gridloop study` varies"""
    prices: PriceList | None = None
    """what operation costs"""
    record: Record = Record()
    """what goes to disk"""
    serve: dict[str, Served] = Field(default_factory=dict)
    """units, buses and meters, by name, that controllers outside may read and drive over Modbus"""
    events: tuple[Event, ...] = ()
    """what happens; at the same time in the order of the file"""
    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)
    _source: Source = PrivateAttr(default_factory=lambda: Source("scenario"))

    def folder_of(self, *path: str | int) -> FilePath:
        """Where a file that the value at `path` names is looked for: beside the file that the value stands in."""
        return self._source.folder_of(path)

    @property
    def folder(self) -> FilePath:
        """Where the scenario's own file stands."""
        return self._source.folder_of(())

    def model_of(self, unit: str) -> Any:
        """The device model (`ports.Model`) of a unit; None for a unit whose power is given."""
        given = self.units[unit]
        return model_of(given.type, given.control, self.folder_of("units", unit, "type"))

    def error(self, *problems: Problem) -> ScenarioError:
        """An error that names the lines of this scenario."""
        return ScenarioError(self._source, problems)

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Scenario":
        """The scenario with values set by dotted paths, `*` allowed for any key."""
        from gridloop.scenarios.checking import changed  # which makes this class

        return changed(self._raw, self._source, overrides)

    @property
    def for_study(self) -> dict[str, Any]:
        """Overrides for the many runs of a study or a margin: faster, the same results, unless the file says how."""
        return {} if self.mode == "steady" or "grouping" in self._raw else {"grouping": "step"}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it was given and merged with what it extends and the overrides."""
        return deepcopy(self._raw)
