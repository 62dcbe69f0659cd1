"""The scenario file: YAML 1.2 in, a checked Scenario out, every error at once with its line."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from importlib.resources import files
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)

from gridloop.scenarios.problems import (
    Problem,
    ScenarioError,
    Source,
    did_you_mean,
    dotted,
    in_our_words,
)

# strict: neither `yes` nor quoted digits are numbers
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Name = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


def _sums_to_one(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares of constant Z, I, P sum to {sum(shares):g}, not 1")
    return shares


Shares = Annotated[tuple[Finite, Finite, Finite], AfterValidator(_sums_to_one)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Part):
    """System base; the net's per-unit data are kept, so that kW scale with it."""

    s_mva: Positive
    v_kv: Positive | None = None


class LoadLaw(_Part):
    """How all loads of the net depend on voltage and frequency; absent shares are the net's own."""

    zip_p: Shares | None = None
    zip_q: Shares | None = None
    k_pf: Finite = 0.0
    k_qf: Finite = 0.0
    v0_pu: Positive | None = None  # absent: the voltages of the power-flow start, 1 for a droop start


class Grid(_Part):
    """The network."""

    net: str
    base: Base | None = None
    f_nom_hz: Positive | None = None
    loads: LoadLaw = LoadLaw()


Signal = Literal["units", "buses", "branches", "loads"]


class Record(_Part):
    """What goes to disk beside the units and the grid's totals, and how often."""

    every_ms: Positive | None = None  # absent: every step
    signals: tuple[Signal, ...] = ("units", "buses", "branches", "loads")


class _Event(_Part):
    t_s: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]


class LoadEvent(_Event):
    """Add to (`load_step`) or replace (`load_set`) the load of a bus."""

    do: Literal["load_step", "load_set"]
    bus: Name
    p_kw: Finite
    q_kvar: Finite = 0.0


class LineEvent(_Event):
    """Open or close a line or transformer, `from-to`."""

    do: Literal["line_open", "line_close"]
    line: Name


class UnitEvent(_Event):
    """Disconnect a unit."""

    do: Literal["unit_trip"]
    unit: Name


Event = Annotated[LoadEvent | LineEvent | UnitEvent, Field(discriminator="do")]


class Unit(_Part):
    """A unit: what all types have; the type's own parameters are checked by its model."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    bus: Name
    control: Literal["droop"] = "droop"
    z_pu: tuple[Finite, Finite] | None = None

    @property
    def parameters(self) -> dict[str, float]:
        """The keys that belong to the unit's model."""
        return dict(self.model_extra or {})


class Scenario(_Part):
    """A checked scenario."""

    schema_: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    title: str = ""
    mode: Literal["rms"] = "rms"
    step_ms: Positive = 5.0
    until_s: Positive
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    grid: Grid
    start: Literal["power_flow", "droop"] = "power_flow"
    defaults: dict[str, dict[str, Any]] = {}
    units: Annotated[dict[str, Unit], Field(min_length=1)]
    record: Record = Record()
    events: tuple[Event, ...] = ()
    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)
    _source: Source = PrivateAttr(default_factory=lambda: Source("scenario"))
    _folder: Path = PrivateAttr(default_factory=Path)

    @property
    def folder(self) -> Path:
        """Where files that the scenario names are looked for."""
        return self._folder

    def error(self, *problems: Problem) -> ScenarioError:
        """An error that names the lines of this scenario."""
        return ScenarioError(self._source, problems)

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Scenario":
        """The scenario with values set by dotted paths, `*` allowed for any key."""
        raw = deepcopy(self._raw)
        problems = [p for path, value in overrides.items() for p in set_path(raw, path, _plain(value))]
        if problems:
            raise ScenarioError(self._source, problems)
        source = replace(self._source, changed=(*self._source.changed, *overrides))
        return _checked(raw, source, self._folder)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it was given and merged with the overrides."""
        return deepcopy(self._raw)


def set_path(raw: Any, path: str, value: Any) -> list[Problem]:
    """Set `a.b.c` in place; a missing last key is added, `*` matches every key that is there."""
    *parents, last = path.split(".")
    nodes = [raw]
    for depth, key in enumerate(parents, 1):
        nodes = [child for node in nodes for child in _children(node, key)]
        if not nodes:
            return [Problem((), f"--set {path}: there is no {'.'.join(parents[:depth])}")]
    places: list[tuple[Any, Any]] = []
    for node in nodes:
        if isinstance(node, dict):
            new = [last] if "*" not in last else []
            places += [(node, key) for key in [k for k in node if fnmatchcase(k, last)] or new]
        elif (index := _index(node, last)) is not None:
            places.append((node, index))
    for node, key in places:
        node[key] = deepcopy(value)
    return [] if places else [Problem((), f"--set {path}: there is no {path}")]


def _children(node: Any, key: str) -> list[Any]:
    if isinstance(node, dict):
        if key not in node and key in ("grid", "defaults", "record", "base", "loads"):
            node[key] = {}
        return [child for name, child in node.items() if fnmatchcase(str(name), key)]
    index = _index(node, key)
    return [] if index is None else [node[index]]


def _index(node: Any, key: str) -> int | None:
    return int(key) if isinstance(node, list) and key.isdigit() and int(key) < len(node) else None


def library() -> dict[str, Any]:
    """Scenarios that ship, by name."""
    folder = files("gridloop.scenarios") / "library"
    return {path.name.removesuffix(".yaml"): path for path in folder.iterdir() if path.name.endswith(".yaml")}


def load(source: str | Path | Mapping[str, Any]) -> Scenario:
    """Read and check a scenario.

    Args:
        source: name of a library scenario, path of a .yaml file, or its content as a mapping.

    Raises:
        ScenarioError: with every problem of the file.
    """
    if isinstance(source, Mapping):
        return _checked(_plain(source), Source("scenario", document=source), Path())
    known = library()
    if str(source) in known:
        name, text, folder = f"{source}.yaml", known[str(source)].read_text(encoding="utf-8"), Path()
    else:
        path = Path(source)
        name, folder = str(source), path.parent
        if not path.is_file():
            hint = did_you_mean(str(source), list(known)) if path.suffix == "" else ""
            problem = Problem((), f"there is no such file or library scenario{hint}")
            raise ScenarioError(Source(name), [problem])
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            problem = Problem((), f"the file is not text in UTF-8: byte {error.start + 1} is wrong")
            raise ScenarioError(Source(name), [problem]) from error
    document = _parse(name, text)
    return _checked(_plain(document), Source(name, tuple(text.splitlines()), document), folder)


def _parse(name: str, text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="rt").load(text)
    except YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        place = None if mark is None else (mark.line + 1, mark.column + 1)
        problem = Problem((), f"not YAML: {what}".splitlines()[0], place)
        raise ScenarioError(Source(name, tuple(text.splitlines())), [problem]) from error


def _plain(node: Any) -> Any:
    """The parser's and numpy's own types as Python's; keys become text."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(item) for item in node]
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, Integral):
        return int(node)
    return float(node) if isinstance(node, Real) else str(node)


def _checked(raw: Any, source: Source, folder: Path) -> Scenario:
    """Merge the defaults, validate everything and collect what is wrong."""
    if not isinstance(raw, dict):
        raise ScenarioError(source, [Problem((), "a scenario is a map of keys, beginning with schema: 1")])
    merged, problems = deepcopy(raw), []
    units = merged.get("units")
    if isinstance(units, dict):
        for unit in units.values():
            if isinstance(unit, dict):
                unit.update({k: v for k, v in _defaults(raw, unit).items() if k not in unit})
        problems += [p for name, unit in units.items() for p in _unit_problems(name, unit)]
    try:
        scenario = TypeAdapter(Scenario).validate_python(merged)
    except ValidationError as error:
        known = partial(_known_keys, merged)
        problems = [in_our_words(detail, known) for detail in error.errors()] + problems
    else:
        problems += _relations(scenario)
    if problems:
        raise ScenarioError(source, dict.fromkeys(_where_written(problem, raw) for problem in problems))
    scenario._raw, scenario._source, scenario._folder = raw, source, folder
    return scenario


def _defaults(raw: Mapping[str, Any], unit: Mapping[str, Any]) -> dict[str, Any]:
    """What `defaults` gives to a unit of its type."""
    given = raw.get("defaults")
    extra = given.get(str(unit.get("type"))) if isinstance(given, dict) else None
    return extra if isinstance(extra, dict) else {}


def _where_written(problem: Problem, raw: Mapping[str, Any]) -> Problem:
    """The problem of a unit at the line of `defaults` that it has the value from."""
    match problem.path:
        case ("units", name, key, *rest):
            unit = raw["units"][name]
            if key not in unit and key in _defaults(raw, unit):
                return Problem(("defaults", str(unit["type"]), key, *rest), problem.message)
    return problem


def _known_keys(merged: Any, path: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand in the map at `path`; those of an event depend on what it does."""
    parts: dict[str, type[BaseModel]] = {
        "grid": Grid, "grid.base": Base, "grid.loads": LoadLaw, "record": Record, "": Scenario,
    }  # fmt: skip
    if path and path[0] == "events":
        does = merged["events"][path[1]]["do"]
        events: tuple[type[BaseModel], ...] = (LoadEvent, LineEvent, UnitEvent)
        part = next((e for e in events if does in get_args(e.model_fields["do"].annotation)), None)
    else:
        part = parts.get(dotted(path))
    return [] if part is None else [field.alias or name for name, field in part.model_fields.items()]


def model_of(kind: str) -> Any:
    """The device model of a unit's type.

    Raises:
        ValueError: there is no such model.
    """
    known = sorted(
        path.name.removesuffix(".py")
        for path in (files("gridloop.simulators") / "models").iterdir()
        if path.name.endswith(".py") and "\nMODEL = " in path.read_text(encoding="utf-8")
    )
    if kind not in known:
        raise ValueError(f"unknown type {kind!r}{did_you_mean(kind, known)}")
    return import_module(f"gridloop.simulators.models.{kind}").MODEL


SYSTEM_FIELDS = ("s_base_mva", "f_nom_hz")  # of every model's Params; the grid's, not the unit's


def _unit_problems(name: str, unit: Any) -> list[Problem]:
    """What is wrong with a unit by its own model."""
    from gridloop.simulators.models.parameters import ParameterError

    path: tuple[str | int, ...] = ("units", name)
    if "." in name:
        return [Problem(path, "a unit's name has no dot")]
    if not isinstance(unit, dict) or not isinstance(unit.get("type"), str):
        return []
    try:
        params = model_of(unit["type"]).params
    except ValueError as error:
        return [Problem((*path, "type"), str(error))]
    known = [field.name for field in fields(params) if field.name not in SYSTEM_FIELDS]
    given = {key: value for key, value in unit.items() if key not in Unit.model_fields}
    problems = [
        Problem((*path, key), f"unknown key{did_you_mean(key, [*known, *Unit.model_fields])}")
        for key in given if key not in known
    ]  # fmt: skip
    numbers = {key: value for key, value in given.items() if key in known}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            problems.append(Problem((*path, key), f"must be a number, got {value!r}"))
        elif not abs(value) < 1e300:  # also the integers that no float holds
            problems.append(Problem((*path, key), f"must be a finite number, got {value!r}"))
    required = [f.name for f in fields(params) if f.default.__class__.__name__ == "_MISSING_TYPE"]
    problems += [Problem(path, f"{key} is missing") for key in required if key not in given]
    if not problems:
        try:
            params(**numbers)
        except ParameterError as error:
            problems = [Problem((*path, field), message) for _, field, message in error.violations]
    return problems


def _relations(scenario: Scenario) -> list[Problem]:
    """What only several keys together can show to be wrong."""
    problems = []
    for key, value_ms in (("step_ms", scenario.step_ms), ("record.every_ms", scenario.record.every_ms)):
        if value_ms is not None and abs(value_ms * 1e3 - round(value_ms * 1e3)) > 1e-6:
            message = f"must be a multiple of 0.001 ms, got {value_ms:g}"
            problems.append(Problem(tuple(key.split(".")), message))
    step_ms, every_ms = scenario.step_ms, scenario.record.every_ms or scenario.step_ms
    shorter, longer = sorted(round(value_ms * 1e3) for value_ms in (step_ms, every_ms))
    if not problems and longer % shorter:
        problems.append(
            Problem(("record", "every_ms"), f"must be a multiple of step_ms = {step_ms:g}, got {every_ms:g}")
        )
    for i, event in enumerate(scenario.events):
        if isinstance(event, UnitEvent) and event.unit not in scenario.units:
            hint = did_you_mean(event.unit, list(scenario.units))
            problems.append(Problem(("events", i, "unit"), f"there is no unit {event.unit!r}{hint}"))
    problems += [
        Problem(("defaults", kind), "no unit has this type")
        for kind in scenario.defaults if kind not in {unit.type for unit in scenario.units.values()}
    ]  # fmt: skip
    return problems
