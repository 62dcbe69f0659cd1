"""Scenario files in: YAML 1.2 with the place of every value, and files that extend other files."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from gridloop.scenarios.agent_parts import under_units
from gridloop.scenarios.checking import changed, checked, plain
from gridloop.scenarios.problems import Path, Place, Problem, ScenarioError, Source, did_you_mean
from gridloop.scenarios.schema import Scenario


@dataclass(frozen=True)
class _Text:
    """One file as it was found; `key` tells whether two are the same."""

    name: str
    key: str
    text: str
    folder: FilePath


@dataclass
class _Layer:
    """Content as plain data, where each value of it stands, and what was wrong with its form."""

    raw: Any
    source: Source
    problems: list[Problem] = field(default_factory=list)


def library_files() -> list[Any]:
    """Every file of the library: scenarios, and tables and nets of these, which begin with the scenario's name."""
    return list((files("gridloop.scenarios") / "library").iterdir())


def library() -> dict[str, Any]:
    """Scenarios that ship, by name."""
    return {path.name.removesuffix(".yaml"): path for path in library_files() if path.name.endswith(".yaml")}


def load(
    source: str | FilePath | Mapping[str, Any], folder: FilePath = FilePath(),
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> Scenario:  # fmt: skip
    """Read and check a scenario.

    Args:
        source: name of a library scenario, path of a .yaml file, or its content as a mapping.
        folder: where files that a mapping names are looked for.
        overrides: values by dotted path, set before anything is checked.

    Raises:
        ScenarioError: with every problem of the file.
    """
    if isinstance(source, Mapping):
        layer, seen = _Layer(plain(source), Source("scenario", folders={"scenario": folder})), {"": "scenario"}
        under_units(layer.raw)
    else:
        try:
            found = _find(str(source), FilePath())
        except ValueError as error:
            raise ScenarioError(Source(str(source)), [Problem((), str(error))]) from error
        layer, seen = _parse(found), {found.key: found.name}
    layer = _extended(layer, seen)
    if overrides:
        return changed(layer.raw, layer.source, overrides, layer.problems)
    return checked(layer.raw, layer.source, layer.problems)


def _find(name: str, folder: FilePath) -> _Text:
    known = library()
    if name in known:
        folder = FilePath(str(known[name])).parent  # tables and nets of the library stand beside it
        return _Text(f"{name}.yaml", f"library {name}", known[name].read_text(encoding="utf-8"), folder)
    path = folder / name
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*.yaml")]
        close = get_close_matches(path.name, near, n=1)
        hint = f"; did you mean {close[0]}?" if close else did_you_mean(name, list(known)) if not path.suffix else ""
        raise ValueError(f"there is no such file or library scenario{hint}")
    try:
        return _Text(str(path), str(path.resolve()), path.read_text(encoding="utf-8-sig"), path.parent)
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not text in UTF-8: byte {error.start + 1} is wrong") from error


def _parse(found: _Text) -> _Layer:
    """Content and places; a key that stands twice is a problem, the first one counts.

    Raises:
        ScenarioError: the text is not YAML.
    """
    document, problems = _document(found)
    places, twice = dict[Path, Place](), set[Path]()
    for path, place in _places(document, (), found.name):
        if path in places and path[:-1] not in twice:  # 7 and '7' are two keys to YAML and one to us
            problems.append(_twice(path, places[path].line, place))
        if path in places:
            twice.add(path)
        places.setdefault(path, place)
    raw = plain(document)
    source = Source(found.name, _lines(found), under_units(raw, places), folders={found.name: found.folder})
    return _Layer(raw, source, problems)


def _document(found: _Text) -> tuple[Any, list[Problem]]:
    """The parser's document with its marks, and the keys that stand twice."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError, RoundTripConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(RoundTripConstructor):
        """Leaves dates and times as they were written."""

    Constructor.add_constructor("tag:yaml.org,2002:timestamp", Constructor.construct_scalar)
    yaml = YAML(typ="rt")
    yaml.Constructor = Constructor
    try:
        try:
            return yaml.load(found.text), []
        except DuplicateKeyError:
            yaml = YAML(typ="rt")
            yaml.Constructor, yaml.allow_duplicate_keys = Constructor, True
            document = yaml.load(found.text)
            return document, list(_duplicates(YAML(typ="rt").compose(found.text), (), found.name))
    except YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        place = None if mark is None else Place(found.name, mark.line + 1, mark.column + 1)
        problem = Problem((), f"not YAML: {what}".splitlines()[0], place)
        raise ScenarioError(Source(found.name, _lines(found)), [problem]) from error


def _lines(found: _Text) -> dict[str, tuple[str, ...]]:
    return {found.name: tuple(found.text.splitlines())}


def _twice(path: Path, first_line: int, place: Place) -> Problem:
    return Problem(path, f"stands twice in the same map, first in line {first_line}: rename or delete one", place)


def _duplicates(node: Any, path: Path, file: str) -> Iterator[Problem]:
    """Keys that stand twice in a map of the parser's tree, as the file writes them."""
    first: dict[str, int] = {}
    for index, item in enumerate(node.value if isinstance(node.value, list) else []):
        key_node, value = item if isinstance(item, tuple) else (None, item)
        key = index if key_node is None else str(key_node.value)
        if key_node is not None:
            mark = key_node.start_mark
            if key in first and key != "<<":
                yield _twice((*path, key), first[key], Place(file, mark.line + 1, mark.column + 1))
            first.setdefault(str(key), mark.line + 1)
        yield from _duplicates(value, (*path, key), file)


def _places(node: Any, path: Path, file: str) -> Iterator[tuple[Path, Place]]:
    """Where each value of a parsed document stands; what a merge key brings stands where the merge does."""
    for key, (line, column, *_) in (getattr(getattr(node, "lc", None), "data", None) or {}).items():
        here = (*path, key if isinstance(node, list) else str(key))
        yield here, Place(file, line + 1, column + 1)
        if key in node if isinstance(node, Mapping) else True:
            yield from _places(node[key], here, file)


def _extended(layer: _Layer, seen: Mapping[str, str]) -> _Layer:
    """The layer over what it extends, and that over what it extends in turn; `seen` are keys and names of files.

    Raises:
        ScenarioError: a file is missing, is no scenario or extends itself.
    """
    if not isinstance(layer.raw, dict) or "extends" not in layer.raw:
        return layer
    source, name = layer.source, layer.raw.pop("extends")

    def trouble(message: str) -> ScenarioError:
        return ScenarioError(source, [*layer.problems, Problem(("extends",), message)])

    if not isinstance(name, str):
        raise trouble(f"must be the name of a file, got {'nothing' if name is None else repr(name)}")
    try:
        found = _find(name, source.folder_of(("extends",)))
    except ValueError as error:
        raise trouble(f"{name}: {error}") from error
    if found.key in seen:
        names = [*list(seen.values())[list(seen).index(found.key) :], found.name]
        raise trouble(f"the files extend each other in a circle: {' -> '.join(names)}")
    base = _parse(found)
    lines = {**source.lines, **base.source.lines}
    folders = {**source.folders, **base.source.folders}
    below = _extended(
        _Layer(base.raw, Source(source.name, lines, base.source.places, folders=folders), base.problems),
        {**seen, found.key: found.name},
    )  # fmt: skip
    if not isinstance(below.raw, dict):
        raise trouble(f"{name} is no map of keys")
    places, problems = dict(below.source.places), [*layer.problems, *below.problems]
    problems += _merge(below.raw, layer.raw, (), places, source)
    return _Layer(
        below.raw, Source(source.name, below.source.lines, places, folders=below.source.folders), problems
    )  # fmt: skip


def _merge(
    base: dict[str, Any], over: dict[str, Any], path: Path, places: dict[Path, Place], source: Source
) -> Iterator[Problem]:
    """Put `over` into `base` and its places into `places`: maps merge, lists replace, null deletes."""
    for key, value in over.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            yield from _merge(base[key], value, here, places, source)
        else:
            for old in [known for known in places if known[: len(here)] == here]:
                del places[old]
            if value is not None:
                base[key] = deepcopy(value)
                places |= {new: place for new, place in source.places.items() if new[: len(here)] == here}
            elif key in base:
                del base[key]
                continue
            else:
                hint = did_you_mean(key, list(base)) if base else ""
                yield Problem(here, f"null deletes, but what this extends has no such key{hint}", source.position(here))
        place = source.position(here)
        if place is not None:
            places[here] = place
