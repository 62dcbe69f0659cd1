"""What is wrong with a user's file: all of it at once, each with its place and the way out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong at `path` in a scenario."""

    path: Path
    message: str


@dataclass(frozen=True)
class Source:
    """Where a scenario came from: the file's name, its lines and the positions that its parser remembered."""

    name: str
    lines: tuple[str, ...] = ()
    document: Any = None

    def position(self, path: Path) -> tuple[int, int] | None:
        """Line and column, from 1, of the innermost part of `path` that stands in the file."""
        node, place = self.document, None
        for key in path:
            marks = getattr(node, "lc", None)
            if marks is None or not _holds(node, key):
                break
            line, column = marks.key(key) if isinstance(node, dict) else marks.item(key)
            place, node = (line + 1, column + 1), node[key]
        return place


def _holds(node: Any, key: str | int) -> bool:
    if isinstance(node, dict):
        return key in node
    return isinstance(key, int) and isinstance(node, list) and key < len(node)


class ScenarioError(ValueError):
    """A scenario that cannot run; the text names every problem with its line."""

    def __init__(self, source: Source, problems: Iterable[Problem]) -> None:
        self.source, self.problems = source, list(problems)
        count = len(self.problems)
        head = f"{source.name} has {count} problem{'s' if count > 1 else ''}"
        super().__init__("\n".join([head, *(self._describe(problem) for problem in self.problems)]))

    def _describe(self, problem: Problem) -> str:
        dotted = ".".join(str(key) for key in problem.path)
        place = self.source.position(problem.path)
        text = f"{dotted}: {problem.message}" if dotted else problem.message
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
    """' - did you mean x?' where a known word is close, else the list of known words."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"
