"""Workers of a study in processes of this machine: each runs point after point; one that dies is replaced."""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gridloop.scenarios.study_points import Point
from gridloop.scenarios.study_worker import Order, Outcome

TRIES = 3  # of a point whose process dies
# a run uses one core: threads of linear algebra would only take those of the other runs
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")}


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_locally(
    points: Sequence[Point], order: Callable[[Point], Order], jobs: int, scratch: Path
) -> Iterator[tuple[Point, Outcome]]:  # fmt: skip
    """Points and their outcomes as they finish; closing the iterator ends the workers at once.

    Args:
        points: what to run.
        order: what a worker is told of a point.
        jobs: processes, >= 1.
        scratch: an existing folder for what workers write meanwhile.
    """
    waiting: queue.SimpleQueue[Point] = queue.SimpleQueue()
    found: queue.SimpleQueue[tuple[Point, Outcome]] = queue.SimpleQueue()
    for point in points:
        waiting.put(point)
    workers = [_Worker(scratch / f"worker{number}.txt") for number in range(min(jobs, len(points)))]
    threads = [
        threading.Thread(target=worker.work, args=(waiting, found, order), daemon=True) for worker in workers
    ]  # fmt: skip
    try:
        for thread in threads:
            thread.start()
        for _ in points:
            yield found.get()
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join()


class _Worker:
    """A process for points, and the thread that gives it one after the other.

    The process is a program of its own and no fork: it imports nothing of the user's script, and the script needs
    no guard around its main part.
    """

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def work(
        self, waiting: "queue.SimpleQueue[Point]", found: "queue.SimpleQueue[tuple[Point, Outcome]]",
        order: Callable[[Point], Order],
    ) -> None:  # fmt: skip
        """Run what waits until nothing does."""
        while not self._stopped:
            try:
                point = waiting.get_nowait()
            except queue.Empty:
                break
            outcome = self._outcome(order(point))
            if outcome is not None:
                found.put((point, outcome))
        self.stop()

    def stop(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
                self._close(self._process)

    def _outcome(self, order: Order) -> Outcome | None:
        """The outcome of a point; None if the study was ended meanwhile."""
        why = ""
        for _ in range(TRIES):
            process = self._running()
            if process is None:
                return None
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                pickle.dump(order, process.stdin)
                process.stdin.flush()
                answer: Outcome = pickle.load(process.stdout)
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                if self._stopped:
                    return None
                why = self._buried(process)
                continue
            return answer
        return Outcome("failed", f"the process that ran it died {TRIES} times, the last time {why}")

    def _running(self) -> "subprocess.Popen[bytes] | None":
        """The process; a new one if there is none."""
        with self._lock:
            if self._process is None and not self._stopped:
                places = [path or str(Path.cwd()) for path in sys.path]
                with self._errors.open("wb") as errors:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "gridloop.scenarios.study_worker"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                        env={
                            **os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(places),
                            "TMPDIR": str(self._errors.parent.resolve()),  # what a killed one leaves goes with it
                        },
                        start_new_session=True,  # Ctrl-C in the terminal is for the study alone
                    )  # fmt: skip
            return None if self._stopped else self._process

    def _buried(self, process: "subprocess.Popen[bytes]") -> str:
        """What a dead process died of."""
        process.kill()
        code = process.wait()
        with self._lock:
            self._close(process)
            self._process = None
        last = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return (f"by signal {-code}" if code < 0 else f"with exit code {code}") + "".join(f": {line}" for line in last)

    @staticmethod
    def _close(process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except OSError:  # what was on its way to a dead process
                continue
