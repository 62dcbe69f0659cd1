"""Runs in real time: who waits for the clock, and what became of it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gridloop.scenarios.result import Metric
from gridloop.scenarios.start import Plan

if TYPE_CHECKING:
    from gridloop.hil.pacer import Pacer

REAL_TIME = 1.0


def pacer_of(plan: Plan, pace: float | None, late: str, stopped: Callable[[], bool]) -> "Pacer | None":
    """The pacer of a run; None for one that goes as fast as it can.

    Args:
        plan: what runs.
        pace: simulated seconds a second; None: real time if a device or a controller outside needs it.
        late: what a step that begins too late leads to, see `gridloop.hil.pacer`.
        stopped: whether the wait is to end.

    Raises:
        ValueError: the pace is none, or not that of devices which run freely.
    """
    wired = [one for one in plan.stand_ins if is_wired(one.url.scheme)]
    free = [one.unit for one in wired if one.spec["mode"] == "free"]
    if pace is None and not free and not plan.scenario.serve:
        return None
    if free and pace not in (None, REAL_TIME):
        raise ValueError(f"pace = {pace:g}: the device of {free[0]} runs in real time; use pace 1 or mode: lockstep")
    import pyarrow.parquet  # noqa: F401 - what series are written with: now, not in the middle of a step

    from gridloop.hil.pacer import Pacer

    return Pacer(REAL_TIME if pace is None else pace, policy=late, stopped=stopped)  # type: ignore[arg-type]


def is_wired(scheme: str) -> bool:
    """Whether there is a device apart from this process."""
    return scheme not in ("emulated", "replay")


def paced_simulator(simulators: Mapping[str, Any]) -> Any:
    """The simulator whose steps wait for the clock where no device does: it steps at every macro step.

    Raises:
        ValueError: it is in another process.
    """
    if "Grid" in simulators:
        return simulators["Grid"]
    raise ValueError("pace: a run is paced by its grid, which must be in this process: leave it out of remote")


def pacing_facts(pacer: "Pacer | None") -> dict[str, Any]:
    """For run.json."""
    return {} if pacer is None else pacer.statistics()


def pacing_metrics(figures: Mapping[str, Any]) -> dict[str, Metric]:
    """Lateness of the steps and overruns, of a pacer's statistics."""
    found = {}
    for p in (50, 99):
        if f"late_p{p}_us" in figures:
            text = f"{p} % of the steps began less late than that"
            found[f"step_late_p{p}"] = Metric(figures[f"late_p{p}_us"] / 1e3, "ms", text)
    return found | {"overruns": Metric(figures["overruns"], "1", "steps that began too late")}


def acted(pacer: "Pacer | None") -> str:
    """What the policy did to the run, in words; '' if nothing."""
    if pacer is None or not pacer.acted:
        return ""
    return f"{pacer.overruns} steps began late: the clock was set back by {pacer.slipped_s:.3g} s"
