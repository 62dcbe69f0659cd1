"""Arrays in the form that JSON can carry, for simulators in other processes. Numbers survive to the bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def to_lists(values: Any) -> Any:
    """An array as nested lists, complex numbers as [real, imaginary]; anything else stays as it is."""
    if not isinstance(values, np.ndarray):
        return values
    if np.iscomplexobj(values):
        return np.stack((values.real, values.imag), axis=-1).tolist()
    return values.tolist()


def to_array(values: Any) -> Any:
    """The array that `to_lists` was given: pairs become complex (n,), numbers stay real; an array passes as it is."""
    array = np.asarray(values)
    if array.ndim < 2:
        return array
    return np.ascontiguousarray(array, float).view(complex)[..., 0]


def as_arrays(attrs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What arrived at a group, {attribute: {source: value}}, with its lists as arrays."""
    return {
        attr: {source: to_array(value) if isinstance(value, list) else value for source, value in sources.items()}
        for attr, sources in attrs.items()
    }
