"""Scenario files, runs and their results; `load`, `run` and `open_run` are the way in from Python."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridloop.scenarios.reading import load
    from gridloop.scenarios.result import Metric, Result, open_run
    from gridloop.scenarios.runner import RunFailed, run

__all__ = ["Metric", "Result", "RunFailed", "load", "open_run", "run"]

_HOME = {
    "Metric": "result",
    "Result": "result",
    "RunFailed": "runner",
    "load": "reading",
    "open_run": "result",
    "run": "runner",
}


def __getattr__(name: str) -> Any:
    """Import a name on its first use: mosaik and pyarrow take longer to load than `gridloop --help` may."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
