"""Whether loops over units serve in place of numpy.

They do where numba compiles them, the extra `fast`. As plain Python they are faster than numpy's calls for a few
units only.
"""

from functools import cache
from importlib import import_module
from typing import Any

ENABLED = True  # False: numpy alone, to compare
FEW = 4  # units up to which a plain loop is faster than numpy


@cache
def _kernels(name: str) -> Any:
    try:
        return import_module(f"gridloop.simulators.models.{name}")
    except (ImportError, RuntimeError):  # numba does not fit, or has no place where it may keep what it compiled
        return None


@cache
def _compiles() -> bool:
    return bool(import_module("gridloop.simulators.models.jit").COMPILES)


def kernels(name: str = "fast", count: int | None = None) -> Any:
    """A module of loops, imported when it is wanted first, or None where numpy is better.

    Args:
        name: the module.
        count: number of units, where the loops may run as plain Python; without it they must be compiled.
    """
    is_few = count is not None and count <= FEW
    return _kernels(name) if ENABLED and (is_few or _compiles()) else None
