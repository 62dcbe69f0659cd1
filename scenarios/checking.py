"""From plain data to a checked scenario: defaults go under the units, and everything that is wrong is collected."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from gridloop.scenarios.agent_parts import AgentDevice, AgentLoss, UnitAgent
from gridloop.scenarios.comms_parts import Comms, LinkBurst, LinkJitter, LinkKeys, SignalLink
from gridloop.scenarios.control_parts import ChargeBalancing, Control, FrequencyControl, VoltageControl
from gridloop.scenarios.device_parts import Device, Limits, OnLoss, SafeState
from gridloop.scenarios.event_parts import shape_of
from gridloop.scenarios.overrides import set_path
from gridloop.scenarios.parts import Base, Grid, LoadLaw, Meter, Pcc, Profile, Record, Shedding, Sync
from gridloop.scenarios.price_parts import PriceList
from gridloop.scenarios.problems import Path, Problem, ScenarioError, Source, dotted, in_our_words, without_echoes
from gridloop.scenarios.relations import relations
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.serve_parts import Served
from gridloop.scenarios.source_parts import PARTS as SOURCES
from gridloop.scenarios.study_checks import study_problems
from gridloop.scenarios.study_parts import Study
from gridloop.scenarios.unit_checks import belongs_to_another_control, unit_problems


def plain(node: Any) -> Any:
    """The parser's and numpy's own types as Python's; keys become text."""
    if isinstance(node, Mapping):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(item) for item in node]
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, Integral):
        return int(node)
    return float(node) if isinstance(node, Real) else str(node)


def checked(raw: Any, source: Source, problems: Sequence[Problem] = ()) -> Scenario:
    """The scenario that plain data describe.

    Raises:
        ScenarioError: with everything that is wrong, `problems` among it.
    """
    if not isinstance(raw, dict):
        problem = Problem((), "a scenario is a map of keys, beginning with schema: 1")
        raise ScenarioError(source, [*problems, problem])
    merged, found = deepcopy(raw), list(problems)
    units = merged.get("units")
    if isinstance(units, dict):
        for unit in units.values():
            if isinstance(unit, dict):
                unit.update(_from_defaults(raw, unit))
        for name, unit in units.items():
            found += unit_problems(name, unit, source.folder_of(("units", name, "type")))
    try:
        whole: Scenario | None = TypeAdapter(Scenario).validate_python(merged)
    except ValidationError as error:
        wrong = [in_our_words(detail, partial(_known_keys, merged)) for detail in _without_echoes(error.errors())]
        found = wrong + found
        whole = _without(merged, [problem.path for problem in wrong])
    if whole is not None:
        whole._raw, whole._source = raw, source
        for part in (whole.control, whole.comms):
            if part is not None:
                part._folder_of = whole.folder_of
        broken = {_part(problem.path) for problem in found}
        found += [problem for problem in relations(whole, broken) if _part(problem.path) not in broken]
        found += study_problems(whole) if not found else ()
    if found or whole is None:
        told = [_where_written(problem, raw) for problem in without_echoes(found)]
        raise ScenarioError(source, dict.fromkeys(told))
    return whole


def changed(raw: Any, source: Source, overrides: Mapping[str, Any], problems: Sequence[Problem] = ()) -> Scenario:
    """The scenario with values set by dotted paths, one after the other; arguments and errors as of `checked`."""
    if not isinstance(raw, dict):
        return checked(raw, source, problems)
    merged = deepcopy(raw)
    wrong = [p for path, value in overrides.items() for p in set_path(merged, path, plain(value))]
    if wrong:
        raise ScenarioError(source, wrong)
    return checked(merged, replace(source, changed=(*source.changed, *overrides)), problems)


def _without_echoes(details: Sequence[Any]) -> list[Any]:
    """Without lists that are too short only because an item of theirs is wrong."""
    return [
        detail for detail in details
        if detail["type"] != "too_short"
        or not any(other["loc"][:-1] == detail["loc"] for other in details if other is not detail)
    ]  # fmt: skip


def _defaults(raw: Mapping[str, Any], unit: Mapping[str, Any]) -> dict[str, Any]:
    """What `defaults` holds for a unit of its type."""
    given = raw.get("defaults")
    extra = given.get(str(unit.get("type"))) if isinstance(given, dict) else None
    return extra if isinstance(extra, dict) else {}


def _from_defaults(raw: Mapping[str, Any], unit: Mapping[str, Any]) -> dict[str, Any]:
    """What a unit takes from `defaults`: keys that it has not, and that are not those of another control.

    Of a `source` of the same type also the keys that its own has not.
    """
    given = _defaults(raw, unit)
    control = unit.get("control", given.get("control"))
    taken = {
        key: value for key, value in given.items()
        if key not in unit and not belongs_to_another_control(key, unit.get("type"), control)
    }  # fmt: skip
    source, other = unit.get("source"), given.get("source")
    if isinstance(source, dict) and isinstance(other, dict) and source.get("type") in (None, other.get("type")):
        taken["source"] = {**other, **source}
    return deepcopy(taken)


def _where_written(problem: Problem, raw: Mapping[str, Any]) -> Problem:
    """The problem of a unit at the line of `defaults` that it has the value from."""
    match problem.path:
        case ("units", name, key, *rest):
            unit = raw["units"][name]
            given = _defaults(raw, unit)
            if problem.place is None and key not in unit and key in given:
                return replace(problem, path=("defaults", str(unit["type"]), key, *rest))
            if key == "source" and rest and rest[0] not in unit[key] and rest[0] in (given.get(key) or {}):
                return replace(problem, path=("defaults", str(unit["type"]), key, *rest))
    return problem


# a path with `*` for names and indices of the file -> what stands there
PARTS: dict[str, type[BaseModel]] = {
    "": Scenario, "grid": Grid, "grid.base": Base, "grid.loads": LoadLaw, "record": Record, "pcc": Pcc,
    "pcc.sync": Sync, "profiles.*": Profile, "meters.*": Meter, "load_shedding.*": Shedding, "control": Control,
    "control.frequency": FrequencyControl, "control.voltage": VoltageControl, "control.balancing": ChargeBalancing,
    "comms": Comms, "comms.links.*": LinkKeys, "comms.signals.*": SignalLink, "study": Study, "prices": PriceList,
    "serve.*": Served,
}  # fmt: skip
OF_DEVICES: dict[str | int, type[BaseModel]] = {
    "on_loss": OnLoss, "safe": SafeState, "limits": Limits, "comms": LinkKeys,
}  # fmt: skip
OF_AGENTS: dict[Path, type[BaseModel]] = {
    (): UnitAgent, ("device",): AgentDevice, ("device", "on_loss"): AgentLoss,
}  # fmt: skip
OF_LINKS: dict[str | int, type[BaseModel]] = {"jitter": LinkJitter, "burst": LinkBurst}


def _known_keys(merged: Any, path: Path) -> list[str]:
    """The keys that may stand in the map at `path`; those of an event depend on what it does."""
    part: type[BaseModel] | None
    match path:
        case ("events", int(index), *_):
            part = shape_of(merged["events"][index]["do"])
        case ("units", name, "source"):
            part = SOURCES.get(merged["units"][name]["source"]["type"])
        case ("units", _, "agent", *rest):
            part = OF_AGENTS.get(tuple(rest))
        case ("units", _, "device"):
            part = Device
        case ("units", _, "device", "comms", last) if last in OF_LINKS:
            part = OF_LINKS[last]
        case ("units", _, "device", last):
            part = OF_DEVICES.get(last)
        case ("comms", *_, last) if last in OF_LINKS:
            part = OF_LINKS[last]
        case _:
            patterns = (dotted(path), dotted((*path[:-1], "*")))
            part = next((PARTS[pattern] for pattern in patterns if pattern in PARTS), None)
    known = [] if part is None else [field.alias or name for name, field in part.model_fields.items()]
    return [*known, "extends"] if part is Scenario else known


STAND_INS = {"schema": 1, "name": "x", "until_s": 1e9, "grid": {"net": ""}}  # of keys that a scenario needs
NO_PROFILE = {"file": "", "columns": {"none": "none[1]"}}
NO_EVENT = {"t_s": 0, "do": "line_open", "line": ""}


def _part(path: Path) -> Path:
    """The part of a scenario that is reported as one: a unit, an event, a link, a key of a section."""
    return path[:3] if path[:2] in (("comms", "links"), ("comms", "signals")) else path[:2]


def _without(merged: dict[str, Any], wrong: Sequence[Path]) -> Scenario | None:
    """What is left without the parts at the `wrong` paths, so that one look tells what is wrong with the rest too."""
    rest = deepcopy(merged)
    for path in wrong:
        match path:
            case ("events", int(index), *_):
                rest["events"][index] = NO_EVENT
            case ("units", name, *_):
                rest["units"][name] = {"type": "", "bus": ""}
            case ("profiles", str(name), *_):
                rest["profiles"][name] = NO_PROFILE
            case ("meters", str(name), *_):
                rest["meters"].pop(name, None)
            case ("comms", ("links" | "signals") as section, str(name), *_):
                rest["comms"][section].pop(name, None)
            case ("control", "members", *_):
                rest["control"]["members"] = list(rest.get("units") or ["x"])
            case (("comms" | "control" | "study") as section, str(key), *_):
                rest[section].pop(key, None)
            case ("control",) if isinstance(rest["control"], dict):
                rest["control"] = {"members": list(rest.get("units") or ["x"])} | rest["control"]
                rest["control"].pop("pins", None)
            case (str(key), *_):
                rest.pop(key, None)
    try:
        return TypeAdapter(Scenario).validate_python({**STAND_INS, **rest})
    except ValidationError:
        return None
