"""The JSON Schema of a scenario file, for editors: keys, units, defaults, and what every type of unit takes."""

import inspect
import re
from dataclasses import MISSING, Field, fields
from typing import Any

from gridloop.scenarios.own_code import OWN
from gridloop.scenarios.parameter_checks import is_list
from gridloop.scenarios.problems import UNITS
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import PACKS
from gridloop.scenarios.unit_checks import forming_keys, known_keys
from gridloop.scenarios.unit_parts import GivenPower
from gridloop.scenarios.unit_types import CONTROLS, known_types, model_of
from gridloop.simulators.ports import Model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a scenario file.

    It is a little wider than `gridloop check`: what only several keys together show to be wrong, and keys that a
    unit may have from `defaults`, are left to the latter.
    """
    whole = _without_titles(Scenario.model_json_schema())
    parts = whole.pop("$defs")
    parts |= _unit_parts(parts.pop("Unit")) | _source_parts(parts.pop("BatterySource"), parts.pop("PvSource"))
    whole["properties"]["units"]["patternProperties"] = {r"\.agent$": {"$ref": "#/$defs/UnitAgent"}}
    whole["properties"]["defaults"] = _defaults(whole["properties"]["defaults"], parts)
    extends = {"type": "string", "description": "a scenario file beside this one, or one that ships: it goes below"}
    whole["properties"]["extends"] = extends
    whole |= {"additionalProperties": False, "not": {"required": ["extends"]}}
    keys = {key: {"description": value.get("description", "")} for key, value in whole["properties"].items()}
    parts["Extension"] = {
        "description": "a file that changes parts of another: maps merge, lists replace, null deletes",
        "type": "object", "properties": keys | {"extends": extends}, "additionalProperties": False,
    }  # fmt: skip
    parts["Scenario"] = whole
    return {
        "$schema": DIALECT,
        "title": "gridloop scenario",
        "if": {"type": "object", "required": ["extends"]},
        "then": {"$ref": "#/$defs/Extension"},
        "else": {"$ref": "#/$defs/Scenario"},
        "$defs": parts,
    }


def _without_titles(node: Any) -> Any:
    """Titles that repeat the key in other words."""
    if isinstance(node, dict):
        return {
            key: _without_titles(value) for key, value in node.items()
            if not (key == "title" and isinstance(value, str))
        }  # fmt: skip
    return [_without_titles(item) for item in node] if isinstance(node, list) else node


def _unit_parts(unit: dict[str, Any]) -> dict[str, Any]:
    """`Unit` chooses by type and control among parts that list every key."""
    common = unit["properties"]
    common["type"]["anyOf"] = [{"enum": list(known_types())}, {"pattern": OWN}]
    common["source"] = {"$ref": "#/$defs/Source", "description": common["source"]["description"]}
    cases, parts = [], {}
    for kind in known_types():
        for control in CONTROLS.get(kind, {"": ""}):
            model = model_of(kind, control)
            name = _part_name(kind, control)
            parts[name] = _given_power(common) if model is None else _of_model(common, model, kind in CONTROLS)
            cases.append({"if": _is(kind, control), "then": {"$ref": f"#/$defs/{name}"}})
    parts["Unit"] = {
        "description": unit["description"], "type": "object", "required": ["type", "bus"],
        "properties": {key: common[key] for key in ("type", "bus", "control")}, "allOf": cases,
    }  # fmt: skip
    return parts


def _part_name(kind: str, control: str) -> str:
    return f"Unit{kind.title()}{control.title()}".replace("_", "")


def _is(kind: str, control: str) -> dict[str, Any]:
    """The condition of a type and a control; the first control is the one of a unit that names none."""
    wanted: dict[str, Any] = {"properties": {"type": {"const": kind}}, "required": ["type"]}
    if control:
        wanted["properties"]["control"] = {"const": control}
        wanted["required"] += [] if control == next(iter(CONTROLS[kind])) else ["control"]
    return wanted


def _of_model(common: dict[str, Any], model: Model, has_controls: bool) -> dict[str, Any]:
    own = {"type", "bus", "device"} | ({"control", "source"} if has_controls else set())
    own |= {"agent"} if model.source == "emf" else set()
    own |= set(forming_keys(model))
    listed = {key: value for key, value in common.items() if key in own}
    return {
        "description": (inspect.getdoc(inspect.getmodule(model.params)) or model.name).splitlines()[0],
        "type": "object", "properties": listed | _parameters(model), "additionalProperties": False,
    }  # fmt: skip


def _source_parts(battery: dict[str, Any], pv: dict[str, Any]) -> dict[str, Any]:
    """`Source` chooses by type, and for a battery by model, among parts that list every key."""
    # a unit's own source may leave out what `defaults` has for it, so that only the type is asked for
    kinds, common = {"pv": pv | {"required": ["type"]}}, battery["properties"]
    for name, model in PACKS.items():
        kinds[f"battery {name}"] = {
            "description": battery["description"], "type": "object", "required": ["type"],
            "properties": common | _parameters(model), "additionalProperties": False,
        }  # fmt: skip
    cases = []
    for kind in kinds:
        name = kind.partition(" ")[0]
        wanted: dict[str, Any] = {"type": "object", "properties": {"type": {"const": name}}, "required": ["type"]}
        if " " in kind:
            wanted["properties"]["model"] = {"const": kind.partition(" ")[2]}
            wanted["required"] += [] if kind.endswith(common["model"]["default"]) else ["model"]
        cases.append({"if": wanted, "then": {"$ref": f"#/$defs/{_source_name(kind)}"}})
    whole = {
        "type": ["object", "null"], "allOf": cases,  # null: not the source of `defaults`
        "properties": {"type": {"enum": ["battery", "pv"]}, "model": common["model"]},
    }  # fmt: skip
    return {"Source": whole} | {_source_name(kind): part for kind, part in kinds.items()}


def _source_name(kind: str) -> str:
    return f"Source{kind.title()}".replace(" ", "")


def _given_power(common: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = _without_titles(GivenPower.model_json_schema())
    part["properties"] = {key: common[key] for key in ("type", "bus", "device")} | part["properties"]
    return part | {"anyOf": [{"required": ["p_gen"]}, {"required": ["p_load"]}]}


def _parameters(model: Model) -> dict[str, Any]:
    """The parameters of a model, described by the comments behind its fields."""
    comments = dict(re.findall(r"^    (\w+): [^#\n]*?(?:  # (.*))?$", inspect.getsource(model.params), re.M))
    known = known_keys(model)
    return {
        field.name: _parameter(field, comments.get(field.name, ""))
        for field in fields(model.params) if field.name in known
    }  # fmt: skip


def _parameter(field: Field[Any], comment: str) -> dict[str, Any]:
    endings = [ending for ending in UNITS if field.name.endswith(f"_{ending}")]
    unit = f"[{UNITS[max(endings, key=len)]}]" if endings else ""
    given: dict[str, Any] = {"type": "number", "description": f"{comment} {unit}".strip() or field.name}
    if is_list(field):
        given |= {"type": "array", "items": {"type": "number"}}
    if field.default is not MISSING and abs(field.default) != float("inf"):
        given["default"] = field.default
    return given


def _defaults(given: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Keys that a unit of each type may have, of all its controls together."""
    kinds: dict[str, Any] = {}
    for kind in known_types():
        names = [_part_name(kind, control) for control in CONTROLS.get(kind, {"": ""})]
        keys = {key: value for name in reversed(names) for key, value in parts[name]["properties"].items()}
        keys.pop("type")
        kinds[kind] = {"type": "object", "properties": keys, "additionalProperties": False}
    return given | {"properties": kinds, "additionalProperties": {"type": "object"}}
