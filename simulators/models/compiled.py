"""Whether compiled kernels serve in place of numpy: they do where numba is installed, the extra `fast`."""

from functools import cache
from importlib import import_module
from typing import Any

ENABLED = True  # False: numpy alone, to compare


@cache
def _kernels(name: str) -> Any:
    try:
        return import_module(f"gridloop.simulators.models.{name}")
    except (ImportError, RuntimeError):  # no numba, or no place where it may keep what it compiled
        return None


def kernels(name: str = "fast") -> Any:
    """A module of compiled loops, imported when it is wanted first, or None."""
    return _kernels(name) if ENABLED else None
