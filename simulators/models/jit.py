"""The decorator of loops over units: compiled where numba is installed, the extra `fast`, else plain Python."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

COMPILES = find_spec("numba") is not None


def loop(function: Any) -> Any:
    """Compile `function` when it is called first; what is compiled is kept for later runs on the machine."""
    return import_module("numba").njit(cache=True)(function) if COMPILES else function


def as_lists(fields: Any) -> Any:
    """Arrays as a loop takes them fastest where Python runs it."""
    return [field.tolist() for field in fields]


columns: Any = tuple if COMPILES else as_lists  # what makes of fields what a loop takes


def rows(*parameters: Any) -> Any:
    """Parameters, each a number or (n,), as one row a unit."""
    table = np.stack(np.broadcast_arrays(*parameters), axis=1).astype(float)
    return table if COMPILES else table.tolist()
