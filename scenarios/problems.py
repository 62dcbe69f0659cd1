"""What is wrong with a user's file: all of it at once, each with its place and the way out."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path as FilePath
from typing import Any

Path = tuple[str | int, ...]

MOST_NAMES = 30  # in a list of what is known


@dataclass(frozen=True)
class Place:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong at `path` in a scenario, or at `place` of text without paths.

    `key` is the key that is missing at `path`, or that an unknown one was meant to be.
    """

    path: Path
    message: str
    place: Place | None = None
    key: str = ""


@dataclass(frozen=True)
class Source:
    """Where a scenario came from: its own file's name, the lines of all its files and where each value was written.

    `changed` holds the dotted paths whose values came from outside the files; `folders` the folder of each file.
    """

    name: str
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: Mapping[Path, Place] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    folders: Mapping[str, FilePath] = field(default_factory=dict)

    def position(self, path: Path) -> Place | None:
        """Place of the innermost part of `path` that stands in a file."""
        starts = (path[:count] for count in range(len(path), 0, -1))
        return next((self.places[start] for start in starts if start in self.places), None)

    def is_changed(self, path: Path) -> bool:
        """Whether the value at `path`, or one around it, came from outside the file."""
        starts = [dotted(path[:count]) for count in range(1, len(path) + 1)]
        return any(fnmatchcase(start, change) for start in starts for change in self.changed)

    def folder_of(self, path: Path) -> FilePath:
        """Folder of the file that the value at `path` was written in."""
        place = None if self.is_changed(path) else self.position(path)
        return self.folders.get(self.name if place is None else place.file, FilePath())


def dotted(path: Path) -> str:
    """A path as it is written for --set."""
    return ".".join(str(key) for key in path)


class ScenarioError(ValueError):
    """A scenario that cannot run; the text names every problem with its line."""

    def __init__(self, source: Source, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = sorted(problems, key=self._order)
        count = len(self.problems)
        head = f"{source.name} has {count} problem{'s' if count > 1 else ''}"
        super().__init__("\n".join([head, *(self._describe(problem) for problem in self.problems)]))

    def _place(self, problem: Problem) -> Place | None:
        return problem.place or self.source.position(problem.path)

    def _order(self, problem: Problem) -> tuple[int, int, int]:
        """Without a place first, then file by file, the scenario's own before those that it extends."""
        place = self._place(problem)
        files = list(self.source.lines)
        return (0, 0, 0) if place is None else (files.index(place.file), place.line, place.column)

    def _describe(self, problem: Problem) -> str:
        place = self._place(problem)
        text = f"{dotted(problem.path)}: {problem.message}" if problem.path else problem.message
        if self.source.is_changed(problem.path):
            return f"{self.source.name}: {text} (set from outside the file)"
        if place is None:
            return f"{self.source.name}: {text}"
        lines = self.source.lines[place.file]
        snippet = lines[place.line - 1] if place.line <= len(lines) else ""
        margin = f"{place.line:6} | "
        return (
            f"{place.file}:{place.line}:{place.column}: {text}\n{(margin + snippet).rstrip()}\n"
            + " " * (len(margin) - 2) + "| " + " " * (place.column - 1) + "^"
        )  # fmt: skip


# endings of keys, and the units that users put in their place
UNITS = {
    "w": "W", "kw": "kW", "mw": "MW", "var": "var", "kvar": "kvar", "mvar": "Mvar", "va": "VA", "kva": "kVA",
    "mva": "MVA", "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "us": "us", "ms": "ms", "s": "s", "min": "minutes",
    "h": "hours", "hz": "Hz", "khz": "kHz", "mhz": "mHz", "percent": "percent", "pu": "pu", "per_s": "1/s",
    "v": "V", "kv": "kV", "a": "A", "ka": "kA", "deg": "degrees", "rad": "rad", "ohm": "ohm", "mohm": "mOhm",
    "ah": "Ah", "per_h": "1/h",
}  # fmt: skip


def _stem_and_unit(key: str) -> tuple[str, str]:
    """`s_rated_kva` is `s_rated` in kVA."""
    for ending in sorted(UNITS, key=len, reverse=True):
        if key.endswith(f"_{ending}"):
            return key.removesuffix(f"_{ending}"), UNITS[ending]
    return key, ""


def missing_key(path: Path, key: str) -> Problem:
    """A key that the map at `path` needs."""
    return Problem(path, f"{key} is missing", key=key)


def unknown_key(path: Path, known: Sequence[str]) -> Problem:
    """A key that may not stand there; one with a wrong unit is told both units."""
    word = str(path[-1])
    stem, unit = _stem_and_unit(word)
    for key in known:
        if key != word and _stem_and_unit(key)[0] == stem and (right := _stem_and_unit(key)[1]):
            in_unit = f"It is in {right}" + (f", not in {unit}" if unit else "")
            return Problem(path, f"unknown key; did you mean {key}? {in_unit}", key=key)
    hint = did_you_mean(word, known) if known else ""
    return Problem(path, f"unknown key{hint}", key=hint.removeprefix("; did you mean ").removesuffix("?"))


def without_echoes(problems: Sequence[Problem]) -> list[Problem]:
    """Without keys that are missing only because they were misspelt, which is told already."""
    meant = {(problem.path[:-1], problem.key) for problem in problems if problem.message.startswith("unknown key")}
    return [
        problem for problem in problems
        if not (problem.key and problem.message.endswith("is missing") and (problem.path, problem.key) in meant)
    ]  # fmt: skip


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """'; did you mean x?' where a known word is close, else the list of known words."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:  # a capital letter makes no other word
        close = [key for key in known if key.lower() == word.lower()]
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(sorted(known)[:MOST_NAMES])}{', ...' if len(known) > MOST_NAMES else ''}"


WORDS = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text (in quotes, if it looks like a number)",
    "string_pattern_mismatch": "may hold letters, digits, - and _ only",
    "tuple_type": "must be a list",
    "dict_type": "must be a map of keys",
    "model_type": "must be a map of keys",
    "model_attributes_type": "must be a map of keys",
    "too_short": "must not be empty",
    "too_long": "must have {max_length} values",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
}


# by section: the key that chooses among the shapes of a map, what they are, and what it says
TAGS: dict[str | int, tuple[str, str, str]] = {
    "events": ("do", "event", "it says what happens"), "units": ("type", "source", "battery or pv"),
}  # fmt: skip


def _without_tag(loc: Path) -> Path:
    """A discriminated union adds the chosen tag behind the place of its map; no key of a file has its name there."""
    match loc:
        case ("events", index, _, *rest):
            return ("events", index, *rest)
        case ("units", name, "source", _, *rest):
            return ("units", name, "source", *rest)
    return loc


def in_our_words(detail: Any, known_keys: Callable[[Path], Sequence[str]]) -> Problem:
    """A finding of pydantic; `known_keys` gives the keys that may stand in the map at a path."""
    path = _without_tag(detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return unknown_key(path, known_keys(path[:-1]))
        case "missing" if isinstance(path[-1], int):
            return Problem(path[:-1], "has too few values")
        case "missing":
            return missing_key(path[:-1], str(path[-1]))
        case "union_tag_not_found":
            tag, _, meaning = TAGS[path[0]]
            return Problem(path, f"`{tag}` is missing: {meaning}")
        case "union_tag_invalid":
            known = detail["ctx"]["expected_tags"].replace("'", "").split(", ")
            tag, what, _ = TAGS[path[0]]
            return Problem((*path, tag), f"unknown {what}{did_you_mean(detail['ctx']['tag'], known)}")
    if detail["type"] in WORDS:
        told = WORDS[detail["type"]].format(**detail.get("ctx", {}))
    else:
        told = detail["msg"].removeprefix("Value error, ").rstrip(".")
    if detail["type"] == "value_error" and isinstance(detail["input"], dict):  # about several keys of the map
        return Problem(path, told)
    hint = number_hint(detail["input"]) if detail["type"] == "float_type" else ""
    return Problem(path, f"{told}, got {shown(detail['input'])}{hint}")


def shown(value: Any) -> str:
    """A value as a message shows it."""
    return "nothing" if value is None else repr(value)


def number_hint(value: Any) -> str:
    """How to write what was meant to be a number."""
    match = re.fullmatch(r"\s*([-+]?\d+(?:[.,]\d+)?)(?:\s*(\D*))", value) if isinstance(value, str) else None
    if match is None:
        return ""
    number, unit = match[1].replace(",", "."), match[2].strip()
    if unit:
        return f"; write {number} alone, the unit is in the key"
    return f"; write {number}" + ("" if "," in value else " without quotes")
