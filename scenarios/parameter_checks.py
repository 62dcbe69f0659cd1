"""What is wrong with keys that become the parameters of a model: the model itself says which values they may have."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from gridloop.scenarios.problems import Path, Problem, missing_key, number_hint, shown, unknown_key
from gridloop.simulators.models.parameters import ParameterError

RATING = "s_rated_kva"  # every unit is weighed by it, whatever its model takes for granted


def parameter_problems(
    path: Path, given: Mapping[str, Any], params: type, known: Sequence[str], beside: Sequence[str]
) -> list[Problem]:
    """Problems of the map at `path`.

    Args:
        path: where it stands.
        given: its keys that are to become parameters.
        params: dataclass of the model's parameters.
        known: fields of it that may be given.
        beside: other keys that may stand in the same map, for hints.
    """
    problems = [unknown_key((*path, key), [*known, *beside]) for key in given if key not in known]
    by_name = {field.name: field for field in fields(params)}
    values = {key: value for key, value in given.items() if key in known}
    for key, value in values.items():
        message = _no_numbers(value) if is_list(by_name[key]) else _no_number(value)
        problems += [Problem((*path, key), message)] if message else []
    required = [field.name for field in fields(params) if field.default is MISSING and field.default_factory is MISSING]
    required = [key for key in dict.fromkeys([RATING, *required]) if key in known]
    problems += [missing_key(path, key) for key in required if key not in given]
    if not problems:
        try:
            params(**values)
        except ParameterError as error:
            problems = [Problem((*path, field), message) for _, field, message in error.violations]
        except (ValueError, TypeError) as error:  # about several keys, or a user's own checks
            about = str(error).partition(" ")[0]
            problems = [Problem((*path, about) if about in values else path, str(error))]
    return problems


def is_list(field: Field[Any]) -> bool:
    """Whether a parameter is a table of numbers that all entities share."""
    return field.metadata.get("scalar") is not None and str(field.type).startswith("tuple")


def _no_number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, got {shown(value)}{number_hint(value)}"
    return "" if abs(value) < 1e300 else f"must be a finite number, got {value!r}"  # also integers that no float holds


def _no_numbers(value: Any) -> str:
    if not isinstance(value, list | tuple) or any(_no_number(one) for one in value):
        return f"must be a list of numbers, got {shown(value)}"
    return ""
