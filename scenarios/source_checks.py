"""What is wrong with the battery or the array behind an inverter, by its own model."""

from dataclasses import fields
from typing import Any

from gridloop.scenarios.parameter_checks import parameter_problems
from gridloop.scenarios.problems import Path, Problem
from gridloop.scenarios.source_parts import PACKS, BatterySource, PvSource

DEFAULT_MODULE = PvSource.model_fields["module"].default  # which needs no look into the table


def source_problems(path: Path, source: Any, unit_type: str) -> list[Problem]:
    """What is wrong with the `source` at `path` of a unit; its form is for the schema."""
    if source is None:
        return []
    if unit_type != "inverter":
        return [Problem(path, f"a unit of type {unit_type} has no source: only inverters have a DC side")]
    kind = source.get("type") if isinstance(source, dict) else None
    if kind == "battery":
        return _battery_problems(path, source)
    return _module_problems(path, source) if kind == "pv" else []


def _battery_problems(path: Path, source: dict[str, Any]) -> list[Problem]:
    model = source.get("model", "circuit")
    if not isinstance(model, str) or model not in PACKS:
        return []
    params, own = PACKS[model].params, BatterySource.model_fields
    given = {key: value for key, value in source.items() if key not in own}
    return parameter_problems(path, given, params, [field.name for field in fields(params)], list(own))


def _module_problems(path: Path, source: dict[str, Any]) -> list[Problem]:
    module = source.get("module", DEFAULT_MODULE)
    if not isinstance(module, str) or module == DEFAULT_MODULE:
        return []
    from gridloop.simulators.pv_modules import pv_module  # which takes a while to load its table

    try:
        pv_module(module)
    except ValueError as error:
        return [Problem((*path, "module"), str(error))]
    return []
