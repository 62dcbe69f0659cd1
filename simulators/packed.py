"""Whole cases as JSON, for a grid in another process: arrays, dataclasses and named tuples, exact to the bit."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from gridloop.simulators.case import Case, Pcc, Stage, Synchrocheck
from gridloop.simulators.events import Event
from gridloop.simulators.grid_series import Topology
from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Network, TwoPorts
from gridloop.simulators.models.nodal import Sources
from gridloop.simulators.wire import to_array, to_lists

# nothing else is made from what another process sends
TYPES = {
    kind.__name__: kind for kind in (Case, Event, Loads, Network, Pcc, Sources, Stage, Synchrocheck, Topology, TwoPorts)
}


def pack(value: Any) -> Any:
    """A value in the form that JSON can carry.

    Raises:
        TypeError: a type that `unpack` would not know.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, np.ndarray):
        return {"array": to_lists(value.ravel()), "dtype": value.dtype.str, "shape": value.shape}
    if type(value).__name__ in TYPES:
        names = getattr(value, "_fields", None) or [field.name for field in fields(value)]
        return {"type": type(value).__name__, "fields": {name: pack(getattr(value, name)) for name in names}}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return [pack(item) for item in value]
    if isinstance(value, Mapping):
        return {"map": [[pack(key), pack(item)] for key, item in value.items()]}
    raise TypeError(f"{type(value).__name__} cannot be packed")


def unpack(packed: Any) -> Any:
    """What `pack` was given; lists come back as tuples.

    Raises:
        ValueError: it was not made by `pack`.
    """
    if isinstance(packed, list):
        return tuple(unpack(item) for item in packed)
    if not isinstance(packed, dict):
        return packed
    match packed:
        case {"complex": [real, imaginary]}:
            return complex(real, imaginary)
        case {"array": values, "dtype": dtype, "shape": shape}:
            return to_array(values).astype(dtype, copy=False).reshape(shape)
        case {"type": name, "fields": given} if name in TYPES:
            return TYPES[name](**{key: unpack(item) for key, item in given.items()})
        case {"map": pairs}:
            return {unpack(key): unpack(item) for key, item in pairs}
    raise ValueError(f"not a packed value: {str(packed)[:60]}")
