"""What is wrong with a unit by its own model, or by the rules of units whose power is given."""

from dataclasses import fields
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from gridloop.scenarios.parameter_checks import parameter_problems
from gridloop.scenarios.problems import Path, Problem, in_our_words
from gridloop.scenarios.source_checks import source_problems
from gridloop.scenarios.unit_parts import PROFILE, GivenPower, Unit
from gridloop.scenarios.unit_types import CONTROLS, model_of
from gridloop.simulators.ports import Model

SYSTEM_FIELDS = ("s_base_mva", "f_nom_hz", "counts_energy")  # of models' Params; the system's, not the unit's
FORMING_ONLY = ("z_pu",)  # a source of power has no EMF that could stand behind an impedance


def unit_problems(name: str, unit: Any, folder: FilePath) -> list[Problem]:
    """What is wrong with a unit that stands in a file with its defaults merged."""
    path: Path = ("units", name)
    if "." in name:
        return [Problem(path, "a unit's name has no dot")]
    if not isinstance(unit, dict) or not isinstance(unit.get("type"), str):
        return []
    kind, control = unit["type"], unit.get("control", "droop")
    if "control" in unit and kind not in CONTROLS:
        return [Problem((*path, "control"), f"a unit of type {kind} has no choice of control: delete this key")]
    if kind in CONTROLS and control not in CONTROLS[kind]:
        return []  # the schema says which there are
    try:
        model = model_of(kind, control, folder)
    except ValueError as error:
        return [Problem((*path, "type"), str(error))]
    given = {key: value for key, value in unit.items() if key not in Unit.model_fields}
    problems = source_problems((*path, "source"), unit.get("source"), kind)
    if model is None:
        return [*problems, *_given_power_problems(path, unit, given)]
    problems += [
        Problem((*path, key), f"a unit with control: {control} has no {key}: delete this key")
        for key in unit if belongs_to_another_control(key, kind, control)
    ]  # fmt: skip
    problems += _impedance_problems(path, unit, model)
    told = {problem.path[-1] for problem in problems}
    rest = {key: value for key, value in given.items() if key not in told}
    return [*problems, *parameter_problems(path, rest, model.params, known_keys(model), list(Unit.model_fields))]


def known_keys(model: Model) -> list[str]:
    """The keys of a unit that belong to its model."""
    return [field.name for field in fields(model.params) if field.name not in SYSTEM_FIELDS]


def forming_keys(model: Model) -> tuple[str, ...]:
    """The keys of units with an EMF that this model's units may have; a machine brings an impedance of its own."""
    return FORMING_ONLY if model.source == "emf" and not hasattr(model.params, "impedance_pu") else ()


def belongs_to_another_control(key: str, kind: Any, control: Any) -> bool:
    """Whether a key is of use only to units of the same type with another control."""
    controls = CONTROLS.get(kind, {}) if isinstance(kind, str) else {}
    mine = "droop" if control is None else control
    if not isinstance(mine, str) or mine not in controls:
        return False
    keys = {other: _all_keys(kind, other) for other in controls}
    return key not in keys[mine] and any(key in others for others in keys.values())


@cache
def _all_keys(kind: str, control: str) -> frozenset[str]:
    """What may stand under a unit."""
    model = model_of(kind, control)
    own = set() if model is None else {*known_keys(model), *forming_keys(model)}
    return frozenset(own | Unit.model_fields.keys() - set(FORMING_ONLY))


def _impedance_problems(path: Path, unit: dict[str, Any], model: Model) -> list[Problem]:
    """An ideal source that is to limit its current, and a source of power that is to stand behind an impedance."""
    if model.source == "power":
        return [
            Problem((*path, key), f"a unit of type {unit['type']} injects power: it has no {key}")
            for key in FORMING_ONLY if unit.get(key) is not None and unit["type"] not in CONTROLS
        ]  # fmt: skip
    if hasattr(model.params, "impedance_pu"):
        message = f"a unit of type {unit['type']} has an impedance of its own, from its data: delete this key"
        return [Problem((*path, "z_pu"), message)] if unit.get("z_pu") is not None else []
    if "i_max_percent" in unit and unit.get("z_pu") in (None, [0, 0]):
        message = (
            "an ideal voltage source cannot limit its current: give the unit a z_pu, e.g. z_pu: [0.01, 0.1], "
            "or take i_max_percent away"
        )
        return [Problem((*path, "i_max_percent"), message)]
    return []


def _given_power_problems(path: Path, unit: dict[str, Any], given: dict[str, Any]) -> list[Problem]:
    problems = [
        Problem((*path, key), f"a unit of type {PROFILE} has no {key}: delete this key")
        for key in FORMING_ONLY if unit.get(key) is not None
    ]  # fmt: skip
    try:
        GivenPower.model_validate(given)
    except ValidationError as error:
        known = [*GivenPower.model_fields, "type", "bus"]
        for detail in error.errors():
            found = in_our_words(detail, lambda _: known)
            problems.append(Problem((*path, *found.path), found.message))
    return problems
