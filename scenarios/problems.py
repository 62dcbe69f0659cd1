"""What is wrong with a user's file: all of it at once, each with its place and the way out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

Path = tuple[str | int, ...]

MOST_NAMES = 20  # in a list of what is known


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong at `path` in a scenario, or at `place` (line, column) of text without paths."""

    path: Path
    message: str
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class Source:
    """Where a scenario came from: the file's name, its lines and the positions that its parser remembered.

    `changed` holds the dotted paths whose values came from outside the file.
    """

    name: str
    lines: tuple[str, ...] = ()
    document: Any = None
    changed: tuple[str, ...] = ()

    def position(self, path: Path) -> tuple[int, int] | None:
        """Line and column, from 1, of the innermost part of `path` that stands in the file."""
        node, place = self.document, None
        for wanted in path:
            key = _key_of(node, wanted)
            if key is None:
                break
            line, column = node.lc.data[key][:2]
            place, node = (line + 1, column + 1), node[key]
        return place

    def is_changed(self, path: Path) -> bool:
        """Whether the value at `path`, or one around it, came from outside the file."""
        starts = [dotted(path[:count]) for count in range(1, len(path) + 1)]
        return any(fnmatchcase(start, change) for start in starts for change in self.changed)


def _key_of(node: Any, key: str | int) -> Any:
    """The key as the file has it, which may be a number; None where the file has no such place."""
    marks = getattr(getattr(node, "lc", None), "data", None) or {}
    return next((known for known in marks if known == key or str(known) == key), None)


def dotted(path: Path) -> str:
    """A path as it is written for --set."""
    return ".".join(str(key) for key in path)


class ScenarioError(ValueError):
    """A scenario that cannot run; the text names every problem with its line."""

    def __init__(self, source: Source, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = sorted(problems, key=lambda problem: self._place(problem) or (0, 0))
        count = len(self.problems)
        head = f"{source.name} has {count} problem{'s' if count > 1 else ''}"
        super().__init__("\n".join([head, *(self._describe(problem) for problem in self.problems)]))

    def _place(self, problem: Problem) -> tuple[int, int] | None:
        return problem.place or self.source.position(problem.path)

    def _describe(self, problem: Problem) -> str:
        place = self._place(problem)
        text = f"{dotted(problem.path)}: {problem.message}" if problem.path else problem.message
        if self.source.is_changed(problem.path):
            return f"{self.source.name}: {text} (set from outside the file)"
        if place is None:
            return f"{self.source.name}: {text}"
        line, column = place
        snippet = self.source.lines[line - 1].rstrip() if line <= len(self.source.lines) else ""
        margin = f"{line:6} | "
        return (
            f"{self.source.name}:{line}:{column}: {text}\n{margin}{snippet}\n"
            + " " * (len(margin) - 2) + "| " + " " * (column - 1) + "^"
        )  # fmt: skip


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """'; did you mean x?' where a known word is close, else the list of known words."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(sorted(known)[:MOST_NAMES])}{', ...' if len(known) > MOST_NAMES else ''}"


WORDS = {
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "string_type": "must be text (in quotes, if it looks like a number)",
    "string_pattern_mismatch": "may hold letters, digits, - and _ only",
    "tuple_type": "must be a list",
    "dict_type": "must be a map of keys",
    "model_type": "must be a map of keys",
    "too_short": "must not be empty",
    "too_long": "must have {max_length} values",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "literal_error": "must be {expected}",
}


def in_our_words(detail: Any, known_keys: Callable[[Path], Sequence[str]]) -> Problem:
    """A finding of pydantic; `known_keys` gives the keys that may stand in the map at a path."""
    # a discriminated union adds the chosen tag behind the list's index; no key of a file has its name there
    path = tuple(k for i, k in enumerate(detail["loc"]) if not (i == 2 and detail["loc"][0] == "events"))
    match detail["type"]:
        case "extra_forbidden":
            known = known_keys(path[:-1])
            return Problem(path, f"unknown key{did_you_mean(str(path[-1]), known) if known else ''}")
        case "missing" if isinstance(path[-1], int):
            return Problem(path[:-1], "has too few values")
        case "missing":
            return Problem(path[:-1], f"{path[-1]} is missing")
        case "union_tag_not_found":
            return Problem(path, "`do` is missing: it says what happens")
        case "union_tag_invalid":
            known = detail["ctx"]["expected_tags"].replace("'", "").split(", ")
            return Problem((*path, "do"), f"unknown event{did_you_mean(detail['ctx']['tag'], known)}")
    words = WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, ").rstrip("."))
    given = "nothing" if detail["input"] is None else repr(detail["input"])
    return Problem(path, f"{words.format(**detail.get('ctx', {}))}, got {given}")
