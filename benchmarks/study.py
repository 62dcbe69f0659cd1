"""Points per second of a study on several processes, relative to those of one: `python benchmarks/study.py`."""

import argparse
import statistics
import sys
import time
from tempfile import TemporaryDirectory

from gridloop.scenarios import load, study
from gridloop.scenarios.study_pool import cores
from gridloop.scenarios.study_run import StudyProgress

REACH = 0.85  # of the rate of one process times the number of processes
POINTS_EACH = 12  # of every process, the first of which includes its imports and does not count


def rate(jobs: int, simulated_s: float = 6.0) -> float:
    """Points per second of a study of ieee9 once all processes are at work and until the first one runs out of points.

    Args:
        jobs: processes.
        simulated_s: length of a run [s].
    """
    stamps: list[float] = []

    def stamp(now: StudyProgress) -> None:
        if now.done:
            stamps.append(time.perf_counter())

    scenario = load("ieee9").with_overrides({"until_s": simulated_s})
    with TemporaryDirectory() as folder:
        sets = {"units.*.droop_p_percent": f"1:3:{POINTS_EACH * jobs}"}
        study(scenario, sets=sets, folder=folder, jobs=jobs, watch=stamp)
    # processes do not start at the same time: the last one has ended its first point after two rounds
    between = stamps[2 * jobs : len(stamps) - jobs + 1]
    return (len(between) - 1) / (between[-1] - between[0])


def efficiency(jobs: int, repeats: int = 3) -> float:
    """Rate of `jobs` processes over `jobs` times the rate of one, median of pairs taken one after the other."""
    pairs = [(rate(jobs), rate(1)) for _ in range(repeats)]
    return statistics.median(together / (jobs * alone) for together, alone in pairs)


def main() -> int:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--jobs", type=int, default=cores(), help="processes; one for each core if absent")
    arguments.add_argument("--repeats", type=int, default=3, help="pairs of measurements")
    given = arguments.parse_args()
    found = efficiency(given.jobs, given.repeats)
    name = f"study on {given.jobs} processes / {given.jobs} x one process"
    print(f"{name:<48} {found:6.3f}   at least {REACH:g}   {'ok' if found >= REACH else 'MISSED'}")
    return 0 if found >= REACH else 1


if __name__ == "__main__":
    sys.exit(main())
