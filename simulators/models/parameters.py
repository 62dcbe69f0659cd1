"""Checks of model parameters: every violation is reported at once, with field, row of the unit and value."""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class ParameterError(ValueError):
    """Wrong parameters; `violations` holds (row, field, message) for each of them."""

    def __init__(self, violations: list[tuple[int, str, str]]) -> None:
        super().__init__("; ".join(f"row {row}: {message}" for row, _, message in violations))
        self.violations = violations


def as_columns(params: Any) -> None:
    """Turn every array field of a frozen dataclass of parameters into a float array, all of one length (n,).

    Raises:
        ValueError: two fields have different numbers of values, neither of which is one.
    """
    names = [f.name for f in fields(params) if f.metadata.get("scalar") is None]
    columns = {name: np.atleast_1d(np.asarray(getattr(params, name), float)) for name in names}
    first = next((name for name, column in columns.items() if len(column) != 1), names[0])
    for name, column in columns.items():
        if len(column) not in (1, len(columns[first])):
            raise ValueError(f"{name} has {len(column)} values, {first} has {len(columns[first])}")
        object.__setattr__(params, name, np.array(np.broadcast_to(column, columns[first].shape)))


def check(params: Any, *rules: tuple[str, ArrayLike, str]) -> None:
    """Raise ParameterError for every row in which a rule (field, condition (n,), what must hold) fails.

    A value that is not a number fails every rule of its field.
    """
    violations = []
    for field, holds, must in rules:
        values = np.atleast_1d(getattr(params, field))
        for row in np.flatnonzero(~(np.broadcast_to(np.asarray(holds), values.shape) & ~np.isnan(values))):
            violations.append((int(row), field, f"{field} = {values[row]:g} must be {must}"))
    if violations:
        raise ParameterError(violations)
