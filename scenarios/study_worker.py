"""One point of a study: run it, keep its figures. As a program it does so for a study in another process.

`python -m gridloop.scenarios.study_worker` reads pickled orders from its standard input and answers on its standard
output; it ends when the input does, also in the middle of a run, so that no worker outlives its study.
"""

import contextlib
import os
import pickle
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from gridloop.scenarios.schema import Scenario

ONE_AT_A_TIME = threading.Lock()  # a Dask worker may have several threads; a run needs the process for itself


@dataclass(frozen=True)
class Order:
    """What a worker is to run, and where the run goes if it is kept."""

    scenario: Scenario
    overrides: Mapping[str, Any]
    keep: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What is kept of a point.

    Args:
        status: done, degraded or failed.
        message: why it failed.
        wall_s: time that it took [s].
        metrics: of the whole run, inf is 'never'.
        windows: the same between events.
        described: unit and description of each metric.
    """

    status: str
    message: str
    wall_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    windows: tuple[Mapping[str, float], ...] = ()
    described: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def run_point(order: Order) -> Outcome:
    """Run one point; whatever goes wrong in it is its outcome, not an error."""
    with ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        began = time.monotonic()
        if order.keep is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="gridloop-point-")))
        else:
            folder = order.keep.with_name(f".{order.keep.name}")
            shutil.rmtree(folder, ignore_errors=True)  # what a killed worker left
        try:
            outcome = _run(order, folder, began)
        except Exception as error:  # noqa: BLE001 - a study goes on with the next point
            return Outcome("failed", f"{type(error).__name__}: {error}", time.monotonic() - began)
        if order.keep is not None:
            shutil.rmtree(order.keep, ignore_errors=True)
            folder.rename(order.keep)
        return outcome


def _run(order: Order, folder: Path, began: float) -> Outcome:
    from gridloop.scenarios.runner import RunFailed, run

    try:
        result = run(order.scenario.with_overrides({**order.scenario.for_study, **order.overrides}), folder=folder)
    except RunFailed as failure:
        result = failure.result
    described = {
        key: (metric.unit, metric.description)
        for metrics in (result.metrics, *(window.metrics for window in result.windows))
        for key, metric in metrics.items()
    }
    return Outcome(
        status=result.status,
        message=result.record["message"],
        wall_s=time.monotonic() - began,
        metrics={key: metric.value for key, metric in result.metrics.items()},
        windows=tuple({key: metric.value for key, metric in window.metrics.items()} for window in result.windows),
        described=described,
    )


def main() -> None:
    """Answer orders until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the study, and the study its workers
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, orders), daemon=True).start()
    while True:
        pickle.dump(run_point(orders.get()), answers)
        answers.flush()


def _listen(stream: IO[bytes], orders: "queue.SimpleQueue[Order]") -> None:
    while True:
        try:
            orders.put(pickle.load(stream))
        except EOFError:
            os._exit(0)  # the study is over, or was killed


if __name__ == "__main__":
    # under its own name, so that what it pickles is of the same classes as the study's
    from gridloop.scenarios import study_worker

    study_worker.main()
