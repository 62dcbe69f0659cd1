"""The plant of a run: which unit is a diesel set, a battery or a PV array, and what was recorded of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridloop.scenarios.prices import Prices
from gridloop.scenarios.result import Result
from gridloop.scenarios.spans import Real, Stretch, Trace

POWER, FUEL, UNDERLOAD, RUNNING, AVAILABLE = "P_gen[MW]", "fuel[L]", "underload[min]", "running[1]", "P_avail[MW]"
SOC, DRAWN, FED, CONVERTED = "SoC[%]", "E_gen[MWh]", "E_ac[MWh]", "E_conversion_loss[MWh]"
CHEMICAL, TERMINAL, LOST = "E_chemical[MWh]", "E_terminal[MWh]", "E_loss[MWh]"
UNSERVED, POLARISATION = "E_unserved[MWh]", "E_polarisation[MWh]"
MOST, LEAST = "P_max[MW]", "P_min[MW]"  # that a battery lets its inverter draw
RECORDED = (
    POWER, FUEL, UNDERLOAD, RUNNING, AVAILABLE, SOC, DRAWN, FED, CONVERTED, CHEMICAL, TERMINAL, LOST, UNSERVED,
    POLARISATION, MOST, LEAST,
)  # fmt: skip


@dataclass(frozen=True)
class PlantUnit:
    """One unit: what of RECORDED it has, and its keys in the scenario, those of `defaults` among them."""

    id: str
    traces: Mapping[str, Trace]
    rated_mva: float = 0.0
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_diesel(self) -> bool:
        """Whether it burns fuel."""
        return FUEL in self.traces

    @property
    def is_battery(self) -> bool:
        """Whether it stands in front of a battery."""
        return SOC in self.traces

    @property
    def is_pv(self) -> bool:
        """Whether it stands in front of a PV array."""
        return AVAILABLE in self.traces

    @property
    def is_converter(self) -> bool:
        """Whether it has books of what it converts."""
        return FED in self.traces and DRAWN in self.traces

    @property
    def source(self) -> Mapping[str, Any]:
        """Keys of its source in the scenario."""
        source: Mapping[str, Any] = self.keys.get("source") or {}
        return source

    @property
    def e_rated_mwh(self) -> float:
        """Rated energy of its battery."""
        return float(self.source.get("e_rated_kwh", float("nan"))) / 1e3


@dataclass(frozen=True)
class Plant:
    """All units, the public grid's power [MW], and what things cost."""

    units: tuple[PlantUnit, ...]
    p_pcc: Trace | None = None
    prices: Prices = field(default_factory=Prices)
    step_s: float = 0.0  # macro step


def read_plant(result: Result) -> Plant:
    """The plant of a run; units without any row are left out."""
    record = result.record
    scenario = record["scenario"]
    units = []
    for drawn in record["network"]["units"]:
        traces = _traces(result, drawn["id"])
        if traces:
            rated_mva = (drawn.get("s_rated_kva") or 0.0) / 1e3
            units.append(PlantUnit(drawn["id"], traces, rated_mva, _keys(scenario, drawn["id"])))
    public = [_traces(result, drawn["id"]).get(POWER) for drawn in record["network"].get("pcc") or []]
    step_s = float(scenario.get("step_ms") or 0.0) / 1e3
    return Plant(tuple(units), next(iter(public), None), Prices.of(scenario), step_s)


def _keys(scenario: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A unit's keys over those of its type, and so its source's."""
    own = (scenario.get("units") or {}).get(name) or {}
    general = (scenario.get("defaults") or {}).get(own.get("type")) or {}
    return {**general, **own, "source": {**(general.get("source") or {}), **(own.get("source") or {})}}


def _traces(result: Result, name: str) -> dict[str, Trace]:
    traces = {attribute: read_trace(result, name, attribute) for attribute in RECORDED}
    return {attribute: trace for attribute, trace in traces.items() if trace is not None}


def read_trace(result: Result, name: str, attribute: str) -> Trace | None:
    """A recorded series; None if there is none, or no row of it."""
    entity = result.entities.get(name)
    if entity is None or attribute not in entity.attributes:
        return None
    trace = Trace(*result.series(name, attribute))
    return trace if len(trace.t_s) else None


def run_stretch(result: Result) -> Stretch:
    """All of a run that was recorded."""
    t_s = result.series("grid", "P_load[MW]")[0]
    return Stretch(float(t_s[0]), float(t_s[-1]), jump_times(result, t_s))


def jump_times(result: Result, t_s: Real) -> Real:
    """Times up to which the row before holds: those of events, and all (r,) in steady mode, where steps are held."""
    if result.record["scenario"].get("mode") == "steady":
        return t_s
    return np.array([event.t_s for event in result.events], float)
