"""What stands behind inverters: batteries and photovoltaics, by the groups of inverters that they feed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gridloop.scenarios.courses import Reference
from gridloop.scenarios.groups import Group
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import BatterySource, PvSource
from gridloop.scenarios.unit_parts import Unit
from gridloop.simulators.models import pv
from gridloop.simulators.models.network import Real
from gridloop.simulators.ports import Model
from gridloop.simulators.profile_table import Profile
from gridloop.simulators.pv_modules import pv_module

SOURCE_STEP_MS = 100.0
PV = "PV"  # name of the simulator of all arrays
COUNTED = ("E_gen[MWh]", "E_ac[MWh]", "E_conversion_loss[MWh]")  # energies of an inverter that has a source
SAME_KW = 1e-6
AVAILABLE = ("P_avail[MW]",)  # what a run records of arrays


@dataclass(frozen=True)
class Row:
    """The place of an inverter."""

    group: str
    row: int


@dataclass(frozen=True)
class Packs:
    """All batteries of one model; they go by the names of the units that they feed."""

    model: Model
    ids: tuple[str, ...]
    feeds: tuple[Row, ...]
    params: Any

    @property
    def name(self) -> str:
        """Of the simulator."""
        return self.model.name


@dataclass(frozen=True)
class Arrays:
    """Photovoltaic arrays whose series have the same times."""

    ids: tuple[str, ...]
    feeds: tuple[Row, ...]
    times_s: Real  # (m,)
    p_mw: Real  # (m, n) power on the DC side


@dataclass(frozen=True)
class Available:
    """Power that one unit's array can give: (m,) of time and of power on the DC side."""

    times_s: Real
    p_mw: Real

    def at_start_kw(self, efficiency_percent: float) -> float:
        """Behind the inverter, at t = 0."""
        return float(np.interp(0.0, self.times_s, self.p_mw)) * 1e3 * efficiency_percent / 100


def available(scenario: Scenario, profiles: Mapping[str, Profile]) -> dict[str, Available]:
    """What the array of every unit that has one can give, at the times of its weather.

    The series are computed once for the whole run: a call of pvlib costs as much for a thousand values as for one.

    Raises:
        ValueError: an unknown module, or a temperature or irradiance that is no number.
    """
    return {
        name: _series(unit.source, profiles) for name, unit in scenario.units.items()
        if isinstance(unit.source, PvSource)
    }  # fmt: skip


def _series(source: PvSource, profiles: Mapping[str, Profile]) -> Available:
    weather = (source.ghi, source.t_air)
    used = [profiles[what.profile] for what in weather if isinstance(what, Reference)]
    times_s = np.unique(np.concatenate([profile.times_s for profile in used])) if used else np.zeros(1)

    def values(what: float | Reference) -> Real:
        if not isinstance(what, Reference):
            return np.full(len(times_s), what)
        profile = profiles[what.profile]
        return np.interp(times_s, profile.times_s, profile.values[what.column])

    params = pv.Params(modules=[source.modules], efficiency_percent=[100.0], module=pv_module(source.module))
    ghi, t_air = map(values, weather)
    return Available(times_s, pv.available_power_mw(params, ghi, t_air)[:, 0])


def own_defaults(unit: Unit) -> dict[str, float]:
    """Parameters that a unit has because of its source, where the file gives none.

    An array is used up to what it can give, and does not take power back.
    """
    if not isinstance(unit.source, PvSource):
        return {}
    return {"p_set_kw": unit.parameters["s_rated_kva"]} if unit.control == "following" else {"p_min_kw": 0.0}


def packs(scenario: Scenario, groups: Sequence[Group]) -> tuple[Packs, ...]:
    """The batteries of a scenario."""
    by_model: dict[str, tuple[Model, list[str]]] = {}
    for name, unit in scenario.units.items():
        if isinstance(unit.source, BatterySource):
            model = unit.source.device
            by_model.setdefault(model.name, (model, []))[1].append(name)
    places = _places(groups)
    return tuple(
        Packs(model, tuple(ids), tuple(places[name] for name in ids), _columns(scenario, model, ids))
        for model, ids in by_model.values()
    )  # fmt: skip


def _columns(scenario: Scenario, model: Model, ids: Sequence[str]) -> Any:
    """Parameters of packs as columns; what one of them leaves out is the model's default."""
    given = [scenario.units[name].source.parameters for name in ids]  # type: ignore[union-attr]
    known = {field.name: field for field in fields(model.params)}
    columns: dict[str, Any] = {}
    for key in dict.fromkeys(key for each in given for key in each):
        if known[key].metadata.get("scalar"):  # the cells' table, one for all packs
            columns[key] = next(each[key] for each in given if key in each)
        else:
            columns[key] = [each.get(key, known[key].default) for each in given]
    return model.params(**columns)


def arrays(series: Mapping[str, Available], groups: Sequence[Group]) -> tuple[Arrays, ...]:
    """The arrays of a scenario, those that share the times of their weather and their inverters' group together."""
    places = _places(groups)
    alike: dict[tuple[str, tuple[float, ...]], list[str]] = {}
    for name, given in series.items():
        alike.setdefault((places[name].group, tuple(given.times_s)), []).append(name)
    return tuple(
        Arrays(
            tuple(ids), tuple(places[name] for name in ids), series[ids[0]].times_s,
            np.stack([series[name].p_mw for name in ids], axis=1),
        )
        for ids in alike.values()
    )  # fmt: skip


def _places(groups: Sequence[Group]) -> dict[str, Row]:
    return {name: Row(group.name, row) for group in groups for row, name in enumerate(group.ids)}


def beyond_sources(
    groups: Sequence[Group], batteries: Sequence[Packs], series: Mapping[str, Available]
) -> dict[str, str]:
    """Grid-forming units that the start asks for more than their source has, with what is wrong, by name."""
    found: dict[str, str] = {}
    by_name = {group.name: group for group in groups if group.source == "emf"}
    limits_kw: dict[str, tuple[float, float]] = {
        name: (0.0, given.at_start_kw(100.0)) for name, given in series.items()
    }
    for packs in batteries:
        zero = np.zeros(len(packs.ids))
        rest = packs.model.respond(
            packs.params, packs.model.initial(packs.params, zero, zero), packs.model.held(packs.params)
        )
        limits_kw |= dict(zip(packs.ids, zip(rest.p_min_mw * 1e3, rest.p_max_mw * 1e3, strict=True), strict=True))
    for group in by_name.values():
        for row, name in enumerate(group.ids):
            if name not in limits_kw:
                continue
            efficiency = group.params.efficiency_percent[row] / 100
            low, high = limits_kw[name][0] / efficiency, limits_kw[name][1] * efficiency
            p_kw = float(group.s_start_pu[row].real) / group.params.kw_to_pu
            if not low - SAME_KW <= p_kw <= high + SAME_KW:
                found[name] = f"would begin with {p_kw:.4g} kW, its source has {low:.4g} to {high:.4g} kW to give"
    return found


def source_step_ms(step_ms: float) -> float:
    """The step of batteries and arrays, which change slowly: 100 ms, rounded up to whole macro steps."""
    return round(-(-SOURCE_STEP_MS // step_ms) * step_ms, 6)
