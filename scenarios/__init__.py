"""Scenario files, runs and their results; `load`, `run` and `open_run` are the way in from Python."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridloop.scenarios.reading import load
    from gridloop.scenarios.replaying import replay
    from gridloop.scenarios.result import Metric, Result, open_run
    from gridloop.scenarios.runner import RunFailed, run
    from gridloop.scenarios.steering import Steering
    from gridloop.scenarios.study_run import StudyResult, open_study, study

__all__ = [
    "Metric", "Result", "RunFailed", "Steering", "StudyResult",
    "load", "open_run", "open_study", "replay", "run", "study",
]  # fmt: skip

_HOME = {
    "Metric": "result",
    "Result": "result",
    "RunFailed": "runner",
    "load": "reading",
    "open_run": "result",
    "replay": "replaying",
    "run": "runner",
    "Steering": "steering",
    "StudyResult": "study_run",
    "open_study": "study_run",
    "study": "study_run",
}


def __getattr__(name: str) -> Any:
    """Import a name on its first use: mosaik and pyarrow take longer to load than `gridloop --help` may."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
