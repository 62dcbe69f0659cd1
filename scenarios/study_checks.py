"""Does a study vary what is there, with values that may stand there? Its first point is checked like a file."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from gridloop.scenarios.overrides import set_path
from gridloop.scenarios.problems import Path, Problem, ScenarioError, dotted
from gridloop.scenarios.schema import Scenario

FIXED = ("study", "schema", "extends", "name")


def study_problems(scenario: Scenario) -> Iterator[Problem]:
    """What is wrong with the paths of a study, or with the values of its first point in every case."""
    study = scenario.study
    if study is None:
        return
    places: dict[Path, str] = {("study", "set", path): path for path in study.set}
    places |= {("study", "cases", case, path): path for case, given in study.cases.items() for path in given}
    wrong = [problem for place, path in places.items() for problem in _path_problems(scenario, place, path)]
    yield from wrong
    if wrong:
        return
    first = {path: values[0] for path, values in study.set.items()}
    for case, given in (study.cases or {"": {}}).items():
        own: dict[Path, str] = {("study", "cases", case, path): path for path in given}
        yield from _value_problems(scenario, first | given, {("study", "set", path): path for path in first} | own)


def _path_problems(scenario: Scenario, place: Path, path: str) -> Iterator[Problem]:
    head = path.partition(".")[0]
    if head in FIXED:
        yield Problem(place, f"a study cannot vary {head}")
    for problem in set_path(scenario.to_dict(), path, None):
        yield Problem(place, problem.message.partition(": ")[2])


def _value_problems(scenario: Scenario, overrides: Mapping[str, Any], places: Mapping[Path, str]) -> Iterator[Problem]:
    try:
        scenario.with_overrides({**overrides, "study": None})
    except ScenarioError as error:
        for problem in error.problems:
            starts = [dotted(problem.path[:count]) for count in range(1, len(problem.path) + 1)]
            place = next((place for place, path in places.items() if any(fnmatchcase(s, path) for s in starts)), None)
            told = f"{dotted(problem.path)}: {problem.message}" if place is None else problem.message
            yield Problem(place or ("study",), told)
