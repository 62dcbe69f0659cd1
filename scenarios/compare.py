"""What differs between runs: keys of their scenarios, metrics, series, and what one has and another lacks."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridloop.scenarios.result import Kind, Metric, Real, Result

TIME_RESOLUTION_S = 1e-6  # simulated time has whole microseconds


@dataclass(frozen=True)
class KeyDifference:
    """A dotted path in scenario files and its value in each run, by the run's number; absent where it has none."""

    path: str
    values: Mapping[int, Any]


@dataclass(frozen=True)
class SeriesDifference:
    """Where a series of another run is farthest from the first run's.

    Args:
        delta: value there minus the first run's [unit of the attribute].
        t_s: when [s].
        interpolated: whether the runs have too few times in common to compare values as they were recorded.
    """

    entity: str
    kind: Kind
    attribute: str
    delta: float
    t_s: float
    interpolated: bool


def letters(count: int) -> list[str]:
    """A, B, ... Z, AA, AB, ..."""
    alphabet = [chr(ord("A") + i) for i in range(26)]
    words = itertools.chain.from_iterable(itertools.product(alphabet, repeat=n) for n in itertools.count(1))
    return ["".join(word) for word in itertools.islice(words, count)]


def names_of(results: Sequence[Result]) -> list[str]:
    """Folders of runs, as short as tells them apart."""
    parts = [PurePath(result.path.resolve()).parts for result in results]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"{results[0].path}: a run is named twice")


def scenario_differences(scenarios: Sequence[Mapping[str, Any]]) -> list[KeyDifference]:
    """Keys that are not the same in all scenarios, with `defaults` merged into the units.

    What all units have in common is one row, `units.*.KEY`.
    """
    merged = [with_defaults(scenario) for scenario in scenarios]
    units = {unit for scenario in merged for unit in scenario.get("units") or {}}
    return together(list(differing("", dict(enumerate(merged)), len(merged))), units)


def with_defaults(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario whose units hold what `defaults` gives their type."""
    defaults = scenario.get("defaults") or {}
    units = scenario.get("units") or {}
    full = {name: {**(defaults.get(unit.get("type")) or {}), **unit} for name, unit in units.items()}
    return {key: value for key, value in scenario.items() if key != "defaults"} | {"units": full}


def differing(path: str, values: Mapping[int, Any], count: int) -> Iterator[KeyDifference]:
    """Differences at and below a path; `values` by the number of the run, of `count` runs."""
    present = list(values.values())
    everywhere = len(present) == count
    if everywhere and all(value == present[0] for value in present):
        return
    if everywhere and all(isinstance(value, Mapping) for value in present):
        for key in dict.fromkeys(key for value in present for key in value):
            below = {run: value[key] for run, value in values.items() if key in value}
            yield from differing(f"{path}.{key}" if path else str(key), below, count)
    elif everywhere and all(is_table(value) for value in present):
        yield from differing_rows(path, values, count)
    else:
        yield KeyDifference(path, dict(values))


def is_table(value: Any) -> bool:
    """Whether it is a list of maps, as events are."""
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def differing_rows(path: str, values: Mapping[int, Any], count: int) -> Iterator[KeyDifference]:
    """Lists of equal length entry by entry; of others what is not in all of them."""
    if len({len(value) for value in values.values()}) == 1:
        for place, entries in enumerate(zip(*values.values(), strict=True)):
            yield from differing(f"{path}.{place}", dict(zip(values, entries, strict=True)), count)
    else:
        shared = [item for item in next(iter(values.values())) if all(item in value for value in values.values())]
        own = {run: [item for item in value if item not in shared] for run, value in values.items()}
        yield KeyDifference(path, {run: rest or None for run, rest in own.items()})


def together(found: Sequence[KeyDifference], units: Iterable[str]) -> list[KeyDifference]:
    """The same difference in every unit as one with `*`."""
    wanted, groups = set(units), dict[str, dict[str, KeyDifference]]()
    for difference in found:
        first, _, rest = difference.path.partition(".")
        unit, _, key = rest.partition(".")
        if first == "units" and key:
            groups.setdefault(key, {})[unit] = difference
    alike = {
        key for key, group in groups.items()
        if len(group) > 1 and set(group) == wanted and len({repr(d.values) for d in group.values()}) == 1
    }  # fmt: skip
    result: dict[str, KeyDifference] = {}
    for difference in found:
        first, _, rest = difference.path.partition(".")
        key = rest.partition(".")[2]
        path = f"units.*.{key}" if first == "units" and key in alike else difference.path
        result.setdefault(path, KeyDifference(path, difference.values))
    return list(result.values())


def metric_rows(results: Sequence[Result]) -> dict[str, list[Metric | None]]:
    """Every metric that a run has, and its value in each run."""
    keys = dict.fromkeys(key for result in results for key in result.metrics)
    return {key: [result.metrics.get(key) for result in results] for key in keys}


def only_in(results: Sequence[Result]) -> dict[tuple[int, ...], list[str]]:
    """Entities that not every run has, by the numbers of the runs that do."""
    names = dict.fromkeys(name for result in results for name in result.entities)
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        runs = tuple(i for i, result in enumerate(results) if name in result.entities)
        if len(runs) < len(results):
            groups.setdefault(runs, []).append(name)
    return groups


def series_differences(first: Result, other: Result) -> list[SeriesDifference]:
    """The largest difference of every series that both runs have, while both go on."""
    times: dict[tuple[str, str], _Times] = {}
    found = []
    for entity, what in first.entities.items():
        shared = set(other.entities[entity].attributes) if entity in other.entities else set()
        for attribute in what.attributes:
            if attribute not in shared:
                continue
            a_s, a = first.series(entity, attribute)
            b_s, b = other.series(entity, attribute)
            key = first.stream(entity, attribute), other.stream(entity, attribute)
            if key not in times:
                times[key] = _Times(a_s, b_s)
            both = times[key]
            delta = both.difference(a, b)
            if attribute.endswith("[deg]"):
                delta = (delta + 180) % 360 - 180
            if np.isfinite(delta).any():
                at = int(np.nanargmax(np.abs(delta)))
                t_s = float(both.t_s[at])
                found.append(SeriesDifference(entity, what.kind, attribute, float(delta[at]), t_s, both.interpolated))
    return found


class _Times:
    """At which times series of two runs are compared.

    Those that both have, if that is at least half of the coarser run's; else those of the first run, to which the
    other is interpolated. At an event that makes a difference: a jump has no width, a line between two rows has.
    """

    def __init__(self, a_s: Real, b_s: Real) -> None:
        a_us, b_us = (np.round(t_s / TIME_RESOLUTION_S).astype(np.int64) for t_s in (a_s, b_s))
        _, in_a, in_b = np.intersect1d(a_us, b_us, return_indices=True)
        start, end = (max(a_us[0], b_us[0]), min(a_us[-1], b_us[-1])) if len(a_us) and len(b_us) else (0, -1)
        inside = (a_us >= start) & (a_us <= end)
        fewer = min(int(inside.sum()), int(((b_us >= start) & (b_us <= end)).sum()))
        self.interpolated = len(in_a) < fewer / 2
        self._a: NDArray[np.intp] = np.flatnonzero(inside) if self.interpolated else in_a
        self._b, self._b_s = in_b, b_s
        self.t_s: Real = a_s[self._a]

    def difference(self, a: Real, b: Real) -> Real:
        """Values of the second run minus those of the first, at `t_s`."""
        there: Real = np.interp(self.t_s, self._b_s, b) if self.interpolated else b[self._b]
        return there - a[self._a]


def worst(found: Iterable[SeriesDifference]) -> dict[tuple[Kind, str], SeriesDifference]:
    """Of each attribute of each kind the entity that differs most."""
    result: dict[tuple[Kind, str], SeriesDifference] = {}
    for difference in found:
        key = difference.kind, difference.attribute
        if key not in result or abs(difference.delta) > abs(result[key].delta):
            result[key] = difference
    return result
