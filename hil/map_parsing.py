"""Text of a register map in, with every mistake at once: its line, and what was meant."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

# what the parser raises at version numbers, escapes and nesting that it does not expect
_BEYOND_THE_PARSER = (ValueError, OverflowError, RecursionError, AssertionError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True)
class Problem:
    """What is wrong in a line; `path` is the dotted path of keys."""

    line: int
    path: str
    message: str


class MapError(ValueError):
    """A register map that cannot be used; the text names every problem with its line."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = sorted(problems, key=lambda problem: problem.line)
        count = len(problems)
        told = [f"{file} has {count} problem{'s' if count > 1 else ''}"]
        for problem in self.problems:
            parts = (f"{file}:{problem.line}" if problem.line else file, problem.path, problem.message)
            told.append(": ".join(part for part in parts if part))
        super().__init__("\n".join(told))


@dataclass
class Node:
    """A value of the file with its line; the values of maps and lists are nodes again."""

    value: Any
    line: int
    path: str
    problems: list[Problem] = field(repr=False)

    def wrong(self, message: str, key: str = "") -> None:
        """Note what is wrong here, or at the key below that is missing."""
        self.problems.append(Problem(self.line, ".".join(part for part in (self.path, key) if part), message))


def parse(file: str, text: str) -> Node:
    """The file's content as nodes that share one list of problems.

    Raises:
        MapError: the text is not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    problems: list[Problem] = []
    try:
        document = YAML(typ="rt").compose(text)
        return Node(None, 1, "", problems) if document is None else _node(document, "", problems, set())
    except YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        line = 0 if mark is None else mark.line + 1
        raise MapError(file, [Problem(line, "", f"not YAML: {what}".splitlines()[0])]) from error
    except _BEYOND_THE_PARSER as error:
        raise MapError(file, [Problem(0, "", f"not YAML: {error}".splitlines()[0])]) from error


def _node(yaml: Any, path: str, problems: list[Problem], seen: set[int]) -> Node:
    node = Node(None, yaml.start_mark.line + 1, path, problems)
    if yaml.id == "scalar":
        node.value = _scalar(yaml.tag, yaml.value, node)
    elif id(yaml) in seen:  # may hold itself, or grow without bounds
        node.wrong("an alias of a map or list is not followed: write it out, or use `defaults`")
    elif yaml.id == "sequence":
        seen.add(id(yaml))
        node.value = [_node(part, f"{path}[{i}]", problems, seen) for i, part in enumerate(yaml.value)]
    else:
        seen.add(id(yaml))
        node.value = dict(_entries(yaml, node, seen))
    return node


def _entries(yaml: Any, node: Node, seen: set[int]) -> Iterator[tuple[str, Node]]:
    """Keys and values of a map; of a key that stands twice the first counts."""
    first: dict[str, int] = {}
    for key, value in yaml.value:
        line = key.start_mark.line + 1
        if key.id != "scalar":
            node.problems.append(Problem(line, node.path, "a key must be a word"))
            continue
        path = f"{node.path}.{key.value}" if node.path else key.value
        if key.value in first:
            told = f"stands twice in the same map, first in line {first[key.value]}: rename or delete one"
            node.problems.append(Problem(line, path, told))
            continue
        first[key.value] = line
        entry = _node(value, path, node.problems, seen)
        entry.line = line
        yield key.value, entry


def _scalar(tag: Any, text: str, node: Node) -> Any:
    match str(tag).rpartition(":")[2]:
        case "int" | "float" as kind:
            return _number(text, kind == "int", node)
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "null":
            return None
    return text


def _number(text: str, is_whole: bool, node: Node) -> Any:
    plain = text.replace("_", "").lower()
    try:
        if is_whole:
            found = int(plain, 0 if re.match(r"[-+]?0[xob]", plain) else 10)
            if abs(found) < 1 << 64:
                return found
            raise ValueError("no register is that wide")
        return float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", plain))
    except ValueError:
        node.wrong("is not a number that a register can hold")
        return None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """'; did you mean x?' where a known word is close, else the list of known words."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:
        close = [key for key in known if key.lower() == word.lower()]
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"


def mapping(node: Node, what: str) -> dict[str, Node]:
    """The map that a node is; a problem and an empty one if it is something else."""
    if isinstance(node.value, dict):
        return node.value
    node.wrong(f"must be a map of {what}, got {shown(node.value)}")
    return {}


def shown(value: Any) -> str:
    """A value as a message shows it."""
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case dict():
            return "a map"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


Reader = Callable[[Node], Any]


def read_keys(node: Node, readers: Mapping[str, Reader], needed: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a map by `readers`; keys unknown to them and needed ones that are not there are problems."""
    values: dict[str, Any] = {}
    meant = set()
    for key, entry in mapping(node, "keys").items():
        if key not in readers:
            hint = did_you_mean(key, list(readers))
            meant.add(hint.removeprefix("; did you mean ").removesuffix("?"))
            entry.wrong(f"unknown key{hint}")
            continue
        value = readers[key](entry)
        if value is not None:
            values[key] = value
    if isinstance(node.value, dict):
        for key in needed:
            if key not in node.value and key not in meant:  # what is only misspelt is told already
                node.wrong(f"{key} is missing")
    return values


def words(node: Node) -> str | None:
    """Text that is not empty."""
    if isinstance(node.value, str) and node.value:
        return node.value
    node.wrong(f"must be text, got {shown(node.value)}")
    return None


def number(low: float = -math.inf, high: float = math.inf) -> Reader:
    """A finite number from `low` to `high`."""

    def read(node: Node) -> float | None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            node.wrong(f"must be a number, got {shown(value)}{_number_hint(value)}")
        elif not abs(value) <= 1e300:  # also a whole number that is no float
            node.wrong("must be a finite number")
        elif not low <= value <= high:
            node.wrong(f"must be {_range(low, high)}, got {value}")
        else:
            return float(value)
        return None

    return read


def whole(low: int, high: int) -> Reader:
    """A whole number from `low` to `high`."""

    def read(node: Node) -> int | None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int):
            node.wrong(f"must be a whole number, got {shown(value)}{_number_hint(value)}")
        elif not low <= value <= high:
            node.wrong(f"must be {_range(low, high)}, got {shown(value)}")
        else:
            return value
        return None

    return read


def one_of(known: Sequence[str]) -> Reader:
    """One of the known words."""

    def read(node: Node) -> str | None:
        if node.value in known:
            return str(node.value)
        hint = did_you_mean(node.value, known) if isinstance(node.value, str) else f"; known: {', '.join(known)}"
        node.wrong(f"unknown word {shown(node.value)}{hint}")
        return None

    return read


def _range(low: float, high: float) -> str:
    if high == math.inf:
        return f"at least {low:g}"
    return f"at most {high:g}" if low == -math.inf else f"from {low:.12g} to {high:.12g}"


def _number_hint(value: Any) -> str:
    match = re.fullmatch(r"\s*([-+]?\d+(?:[.,]\d+)?)\s*(\D*)", value) if isinstance(value, str) else None
    if match is None:
        return ""
    figure = match[1].replace(",", ".")
    return f"; write {figure} alone, the unit is in `unit`" if match[2].strip() else f"; write {figure}"
