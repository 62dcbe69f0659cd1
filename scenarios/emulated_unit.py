"""What `hil emulate` serves: a register map with a simple law, or a unit of a scenario with its own model."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gridloop.hil.bank import Behave
from gridloop.hil.behaviour import PowerStage, Rating, law_for
from gridloop.hil.registers import RegisterMap, load_map, shipped_maps
from gridloop.hil.sunspec import BASES
from gridloop.hil.sunspec_emulated import emulated, running
from gridloop.hil.sunspec_image import typical_models
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.groups import Group
from gridloop.scenarios.problems import did_you_mean
from gridloop.scenarios.start import Plan

MOST_STEPS = 400  # of the model at one request; after a longer pause the steps are longer
MAP_OF_SOURCE = {"emf": "generic_controller", "power": "generic_inverter"}
EMF_INPUTS = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]")


class Served(NamedTuple):
    """What an emulator serves: a register map, what the device does, both in words, and its other registers."""

    map: RegisterMap
    law: Behave
    told: str
    words: Mapping[tuple[str, int], int] = MappingProxyType({})


def served(what: str, url: str, scenario: str) -> Served:
    """What is to be served.

    Args:
        what: a map by name or file, or a unit of the scenario.
        url: where it is served; its `map=` is what a unit is served by, `sunspec+` makes it a SunSpec device.
        scenario: name or file; "" = none.

    Raises:
        ValueError: there is no such map, unit or scenario.
    """
    named = url.partition("map=")[2].partition("&")[0]
    is_sunspec = url.startswith("sunspec+")
    if is_sunspec and named:
        raise ValueError(f"{url}: a SunSpec device has models in place of a map: leave map= out")
    if not scenario:
        map = load_map(named or what)
        if named and what not in (named, map.name):
            raise ValueError(f"{what} is a unit of which scenario? Add --scenario NAME; or give the map {named} itself")
        if is_sunspec and map.role != "power":
            raise ValueError(f"a SunSpec device takes set-points of power, the map {map.name} is of a {map.role}")
        if is_sunspec:
            return _sunspec(url, Rating(), map.name)
        return Served(map, law_for(map), f"{map.name}: {map.description}")
    from gridloop.scenarios.reading import load
    from gridloop.scenarios.start import plan as plan_of

    plan = plan_of(load(scenario))
    group, row = place_of(plan, what)
    if is_sunspec:
        return _sunspec(url, rating_of(plan, group, row), what)
    map = load_map(named or MAP_OF_SOURCE[group.source])
    if map.role == "controller" and group.model is not None and group.source == "emf":
        told = f"{what} of {plan.scenario.name} by its own model {group.model.name}, as {map.name}"
        return Served(map, ModelLaw(plan, group, row), told)
    rating = rating_of(plan, group, row)
    told = f"{what} of {plan.scenario.name} ({rating.s_mva * 1e3:g} kVA), as {map.name}"
    return Served(map, law_for(map, rating), told)


def _sunspec(url: str, rating: Rating, name: str) -> Served:
    """A SunSpec device of a rating, with the models that inverters of today have; its serial number is the name."""
    base = int(dict(parse_qsl(urlsplit(url).query)).get("base", BASES[0]))
    device, map, words = emulated(typical_models(rating.s_mva * 1e6, serial_number=name), base)
    models = ", ".join(str(model) for model, _, _ in device.directory)
    told = f"{name} ({rating.s_mva * 1e3:g} kVA) as a SunSpec device with models {models}"
    return Served(map, running(PowerStage(rating), device), told, words)


def place_of(plan: Plan, unit: str) -> tuple[Group, int]:
    """The group of a unit and its place there.

    Raises:
        ValueError: there is no such unit.
    """
    for group in plan.groups:
        if unit in group.ids:
            return group, group.ids.index(unit)
    units = [name for group in plan.groups for name in group.ids]
    maps = f"; {unit} is a register map: leave --scenario out" if unit in shipped_maps() else ""
    raise ValueError(f"{plan.scenario.name} has no unit {unit!r}{did_you_mean(unit, units)}{maps}")


def rating_of(plan: Plan, group: Group, row: int) -> Rating:
    """What the simple laws need to know of a unit, from its parameters and its start."""
    s_base_mva = plan.case.network.s_base_mva
    start = complex(group.s_start_pu[row]) * s_base_mva
    rated_kva = float(group.rated_kva[row])

    def share(name: str) -> float:
        values = getattr(group.params, name, None)
        return 0.0 if values is None else float(values[row] if getattr(values, "shape", ()) else values) / 100.0

    return Rating(
        s_mva=s_base_mva if math.isnan(rated_kva) else rated_kva * 1e-3, f_hz=plan.case.network.f_nom_hz,
        v_pu=abs(complex(group.emf_start_pu[row])) or 1.0, p_mw=start.real, q_mvar=start.imag,
        droop_p=share("droop_p_percent"), droop_q=share("droop_q_percent"),
    )  # fmt: skip


class ModelLaw:
    """A unit's own model behind registers: it moves on by its step to the time of each request."""

    def __init__(self, plan: Plan, group: Group, row: int) -> None:
        self._device = EmulatedDevice(group, row, plan.case.network.s_base_mva, plan.scenario.step_ms)
        self._step_s = plan.scenario.step_ms * 1e-3
        s_base_mva = plan.case.network.s_base_mva
        start, v_pu = complex(group.s_start_pu[row]) * s_base_mva, abs(complex(group.emf_start_pu[row]))
        self._told = {"P_gen[MW]": start.real, "Q_gen[MVar]": start.imag, "Vm[pu]": v_pu, "Va[deg]": 0.0}
        self._t_s = -1.0

    def __call__(self, t_s: float, written: Mapping[str, float]) -> dict[str, float]:
        """What it shows at `t_s`; nothing counts as told before somebody has written a voltage."""
        if t_s < self._t_s:
            t_s = self._t_s  # switched on anew: the model goes on
        if self._t_s < 0:
            self._device.post({"t[s]": 0.0, **self._told})
            self._t_s = 0.0
        count = min(math.ceil((t_s - self._t_s) / self._step_s - 1e-9), MOST_STEPS)
        for step in range(1, count + 1):
            self._device.post({"t[s]": self._t_s + (t_s - self._t_s) * step / count, **self._told})
        self._t_s = max(self._t_s, t_s)
        if written.get("Vm[pu]", 0.0) > 0:
            self._told |= {attr: written[attr] for attr in EMF_INPUTS}
        return dict(self._device.snapshot().values)
