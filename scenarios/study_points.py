"""The points of a study: named cases times swept values times seeds, each with a key that knows it again."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gridloop.scenarios.checking import plain
from gridloop.scenarios.problems import Path
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.study_parts import values_of

LIKE_RANGE = re.compile(r"\s*[-+.\d][-+.\deE]*:")
MOST_POINTS = 100_000
WIDE = 30  # ratio of listed values from which they are drawn on a log axis
NOT_SIMULATED = ("study", "title", "grouping")  # keys of a scenario that no result depends on


@dataclass(frozen=True)
class Axis:
    """A path of the scenario and the values that it takes; `is_log` if they belong on a log axis."""

    path: str
    values: tuple[Any, ...]
    is_log: bool = False


@dataclass(frozen=True)
class Point:
    """One run of a study: its `case`, its value on each axis, its seed, and the overrides that they amount to."""

    case: str
    values: tuple[Any, ...]
    seed: int
    overrides: Mapping[str, Any]
    key: str


@dataclass(frozen=True)
class Design:
    """What is to be run: every case at every combination of the axes' values, with every seed."""

    scenario: Scenario
    axes: tuple[Axis, ...]
    cases: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]

    @cached_property
    def points(self) -> list[Point]:
        """All points, the whole picture with the first seed before the next."""
        known = fingerprint(self.scenario)
        return [
            self._point(case, values, seed, known)
            for seed in self.seeds
            for values in itertools.product(*(axis.values for axis in self.axes))
            for case in self.cases
        ]

    def _point(self, case: str, values: tuple[Any, ...], seed: int, known: Mapping[str, Any]) -> Point:
        swept = {axis.path: value for axis, value in zip(self.axes, values, strict=True)}
        overrides = {**self.cases[case], **swept, "seed": seed}
        return Point(case, values, seed, overrides, digest([known, overrides])[:20])

    def check(self) -> None:
        """Refuse a study whose points are not all scenarios.

        Raises:
            ScenarioError: of the first point that is none.
        """
        for point in self.points:
            if point.seed == self.seeds[0]:
                self.scenario.with_overrides(point.overrides)


def design(
    scenario: Scenario, sets: Mapping[str, Any], cases: Mapping[str, Mapping[str, Any]], repeats: int
) -> Design:  # fmt: skip
    """The study of a scenario.

    Args:
        scenario: what every point is made of.
        sets: by path: a list of values, or a text as in `axis_values`.
        cases: overrides by the name of the case; none is one case without a name.
        repeats: runs of each point, with the scenario's seed, the next one, and so on; >= 1.

    Raises:
        ValueError: a text is no range, a value stands twice, or nothing is left to run.
        ScenarioError: a point is no scenario that could run.
    """
    if repeats < 1:
        raise ValueError(f"repeats = {repeats} must be at least 1")
    axes = tuple(axis_of(path, spec) for path, spec in sets.items())
    named = {str(name): plain(changes) for name, changes in cases.items()} or {"": {}}
    for name, changes in named.items():
        both = sorted({*changes} & {"seed", *sets})
        if both:
            raise ValueError(f"case {name} sets {both[0]}, which the study sets itself; name it in one place only")
    if "seed" in sets:
        raise ValueError("the seed is not swept: --repeats N runs every point with N seeds")
    count = len(named) * repeats * int(np.prod([len(axis.values) for axis in axes], dtype=float))
    if count > MOST_POINTS:
        raise ValueError(f"a study of {count} points is more than the {MOST_POINTS} that one study may have")
    bare = scenario if scenario.study is None else scenario.with_overrides({"study": None})  # each point checks it anew
    found = Design(bare, axes, named, tuple(scenario.seed + i for i in range(repeats)))
    found.check()
    return found


def axis_of(path: str, spec: Any) -> Axis:
    """The axis that a list or a text describes; see `axis_values`."""
    if isinstance(spec, Axis):
        return Axis(path, spec.values, spec.is_log)
    values, is_log = axis_values(path, spec)
    texts = [json.dumps(value, sort_keys=True) for value in values]
    twice = [text for place, text in enumerate(texts) if text in texts[:place]]
    if twice or not values:
        raise ValueError(f"{path}: {f'the value {twice[0]} stands twice' if twice else 'there is no value'}")
    return Axis(path, tuple(values), is_log)


def axis_values(path: str, spec: Any) -> tuple[list[Any], bool]:
    """Values of an axis, and whether they belong on a log axis.

    Args:
        path: for messages.
        spec: a list; or a text: `1,2,5`, or `FIRST:LAST:COUNT` with even steps, or `FIRST:LAST:COUNT:log`.

    Raises:
        ValueError: the text is neither.
    """
    if not isinstance(spec, str):
        given = spec if isinstance(spec, Sequence | np.ndarray) else [spec]
        return _spaced([_whole(value) for value in plain(list(given))])
    if not LIKE_RANGE.match(spec):
        return _spaced([_whole(value) for value in listed(path, spec)])
    try:
        return [_whole(value) for value in values_of(spec.strip())], spec.strip().endswith(":log")
    except ValueError as error:
        raise ValueError(f"{path}={spec}: {error}") from error


def _spaced(values: list[Any]) -> tuple[list[Any], bool]:
    """Listed values, and whether they span so much that only ratios show them apart."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    all_positive = len(numbers) == len(values) and min(numbers, default=0) > 0
    return values, all_positive and max(numbers) / min(numbers) >= WIDE


def _whole(value: Any) -> Any:
    """A whole number as one, however it was written: 20.0 is the same point as 20."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def listed(path: str, text: str) -> list[Any]:
    """Values between commas, each read as YAML.

    Raises:
        ValueError: one of them is no YAML value.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values: list[Any] = plain(YAML(typ="safe").load(f"[{text}]"))
    except YAMLError as error:
        raise ValueError(f"{path}={text}: not values between commas: a,b,c or FIRST:LAST:COUNT") from error
    return values


def fingerprint(scenario: Scenario) -> dict[str, Any]:
    """Everything that a run of the scenario depends on: its keys, and the content of files that it names."""
    raw = {key: value for key, value in scenario.to_dict().items() if key not in NOT_SIMULATED}
    return {"scenario": raw, "files": dict(sorted(_files(scenario, raw, ())))}


def _files(scenario: Scenario, node: Any, path: Path) -> Iterator[tuple[str, str]]:
    """Names and digests of the files that texts in the scenario name, `module:NAME` included."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _files(scenario, value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _files(scenario, value, (*path, index))
    elif isinstance(node, str) and 0 < len(node) < 200 and "\0" not in node:
        module, colon, _ = node.partition(":")
        name = module.replace(".", "/") + ".py" if colon else node
        file = scenario.folder_of(*path) / name
        if file.is_file():
            yield node, hashlib.sha256(file.read_bytes()).hexdigest()


def digest(content: Any) -> str:
    """A fixed text for plain data, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def settings_of(scenario: Scenario) -> dict[str, Any]:
    """The scenario's own `study:` part; empty if it has none."""
    given = scenario.to_dict().get("study")
    return dict(given) if isinstance(given, Mapping) else {}
