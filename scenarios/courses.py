"""A value over time: a number, or a column of a profile."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema


@dataclass(frozen=True)
class Reference:
    """A column of a profile, `profile.column`."""

    profile: str
    column: str


def _course(value: Any) -> Any:
    """A number stays, `NAME.KEY` becomes a reference."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < 1e300:
            raise ValueError("must be a finite number")
        return float(value)
    if isinstance(value, Reference):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[^.\s]+\.[^.\s]+", value):
        raise ValueError("must be PROFILE.COLUMN or a number")
    return Reference(*value.split("."))


Course = Annotated[
    float | Reference, BeforeValidator(_course), WithJsonSchema({"type": ["string", "number"]}),
]  # fmt: skip
