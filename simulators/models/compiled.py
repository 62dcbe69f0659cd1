"""Whether compiled kernels serve the network solve: they do where numba is installed, the extra `fast`."""

from functools import cache
from typing import Any

ENABLED = True  # False: numpy alone, to compare


@cache
def _kernels() -> Any:
    try:
        from gridloop.simulators.models import fast
    except (ImportError, RuntimeError):  # no numba, or no place where it may keep what it compiled
        return None
    return fast


def kernels() -> Any:
    """The module `fast`, imported when it is wanted first, or None."""
    return _kernels() if ENABLED else None
