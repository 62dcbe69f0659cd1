"""From plain data to a checked scenario: defaults go under the units, and everything that is wrong is collected."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from gridloop.scenarios.event_parts import shape_of
from gridloop.scenarios.overrides import set_path
from gridloop.scenarios.parts import Base, Grid, LoadLaw, Meter, Pcc, Profile, Record, Shedding, Sync
from gridloop.scenarios.problems import Path, Problem, ScenarioError, Source, dotted, in_our_words, without_echoes
from gridloop.scenarios.relations import relations
from gridloop.scenarios.schema import Scenario
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
        broken = {problem.path[:2] for problem in found}
        found += [problem for problem in relations(whole, broken) if problem.path[:2] not in broken]
    if found or whole is None:
        told = [_where_written(problem, raw) for problem in without_echoes(found)]
        raise ScenarioError(source, dict.fromkeys(told))
    return whole


def changed(raw: Mapping[str, Any], source: Source, overrides: Mapping[str, Any]) -> Scenario:
    """The scenario with values set by dotted paths."""
    merged = deepcopy(dict(raw))
    problems = [p for path, value in overrides.items() for p in set_path(merged, path, plain(value))]
    if problems:
        raise ScenarioError(source, problems)
    return checked(merged, replace(source, changed=(*source.changed, *overrides)))


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
    """What a unit takes from `defaults`: keys that it has not, and that are not those of another control."""
    given = _defaults(raw, unit)
    control = unit.get("control", given.get("control"))
    return {
        key: value for key, value in given.items()
        if key not in unit and not belongs_to_another_control(key, unit.get("type"), control)
    }  # fmt: skip


def _where_written(problem: Problem, raw: Mapping[str, Any]) -> Problem:
    """The problem of a unit at the line of `defaults` that it has the value from."""
    match problem.path:
        case ("units", name, key, *rest):
            unit = raw["units"][name]
            if problem.place is None and key not in unit and key in _defaults(raw, unit):
                return replace(problem, path=("defaults", str(unit["type"]), key, *rest))
    return problem


PARTS: dict[str, type[BaseModel]] = {
    "": Scenario, "grid": Grid, "grid.base": Base, "grid.loads": LoadLaw, "record": Record, "pcc": Pcc,
    "pcc.sync": Sync,
}  # fmt: skip
MEMBERS: dict[str | int, type[BaseModel]] = {"profiles": Profile, "meters": Meter, "load_shedding": Shedding}


def _known_keys(merged: Any, path: Path) -> list[str]:
    """The keys that may stand in the map at `path`; those of an event depend on what it does."""
    if path and path[0] == "events":
        part: type[BaseModel] | None = shape_of(merged["events"][path[1]]["do"])
    elif len(path) == 2:
        part = MEMBERS.get(path[0]) or PARTS.get(dotted(path))
    else:
        part = PARTS.get(dotted(path))
    known = [] if part is None else [field.alias or name for name, field in part.model_fields.items()]
    return [*known, "extends"] if part is Scenario else known


STAND_INS = {"schema": 1, "name": "x", "until_s": 1e9, "grid": {"net": ""}}  # of keys that a scenario needs
NO_PROFILE = {"file": "", "columns": {"none": "none[1]"}}
NO_EVENT = {"t_s": 0, "do": "line_open", "line": ""}


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
            case (str(key), *_):
                rest.pop(key, None)
    try:
        return TypeAdapter(Scenario).validate_python({**STAND_INS, **rest})
    except ValidationError:
        return None
