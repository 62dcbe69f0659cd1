"""A study as a file describes it: what is varied, and what is compared."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from gridloop.scenarios.parts import Part

RANGE = r"^[^:]+:[^:]+:\d+(:log)?$"
MOST_VALUES = 10_000


def values_of(given: Any) -> tuple[Any, ...]:
    """The values of a list, or of FIRST:LAST:COUNT with :log for equal ratios."""
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError("must not be empty")
        return tuple(given)
    if not isinstance(given, str) or not re.match(RANGE, given):
        raise ValueError("must be a list of values, FIRST:LAST:COUNT or FIRST:LAST:COUNT:log")
    first_text, last_text, count_text, *log = given.split(":")
    try:
        first, last, count = float(first_text), float(last_text), int(count_text)
    except ValueError:
        raise ValueError("FIRST and LAST must be numbers") from None
    if not math.isfinite(first) or not math.isfinite(last) or not 2 <= count <= MOST_VALUES:
        raise ValueError(f"FIRST and LAST must be finite and COUNT between 2 and {MOST_VALUES}")
    if log and not (first > 0 and last > 0):
        raise ValueError("with :log both ends must be greater than 0")
    shares = [k / (count - 1) for k in range(count)]
    inner = [first * (last / first) ** s if log else first + (last - first) * s for s in shares[1:-1]]
    return (first, *(float(f"{value:.12g}") for value in inner), last)


Values = Annotated[
    tuple[Any, ...], BeforeValidator(values_of),
    WithJsonSchema({"anyOf": [{"type": "array", "minItems": 1}, {"type": "string", "pattern": RANGE}]}),
]  # fmt: skip


class Study(Part):
    """A sweep: the scenario again and again with other values."""

    metric: Annotated[str, Field(min_length=1)] = "f_settling_time"
    """key of the metric that is compared; of one unit: KEY.UNIT"""
    set: dict[str, Values] = Field(default_factory=dict)
    """by dotted path: a list of values, FIRST:LAST:COUNT or FIRST:LAST:COUNT:log; every combination is run"""
    cases: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """by a name of your own: dotted paths and their values, one curve each"""
    repeats: Annotated[int, Field(ge=1, strict=True)] = 1
    """runs of every point, with the seeds seed, seed + 1, ..."""
