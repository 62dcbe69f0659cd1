"""How the controlled system answers: whether what is left of a disturbance grows, and when the pilot bus is back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gridloop.scenarios.plant import read_trace
from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.spans import Real, Span, Stretch, Trace
from gridloop.simulators.models.growth import growth

NEGLIGIBLE_HZ = 1e-3  # a swing that grows below this is none
PILOT_SHARE = 0.005


def growth_metrics(t_s: Real, f_hz: Real) -> dict[str, Metric]:
    """Growth of the frequencies' late envelope.

    Args:
        t_s: times (r,) of a stretch in which nothing happens but at its start.
        f_hz: frequencies (r, u) [Hz]; units that have none all the time do not count.
    """
    known = f_hz[:, np.isfinite(f_hz).all(axis=0)]
    if not known.shape[1]:
        return {}
    found = growth(t_s, known)
    is_known = not np.isnan(found.rate_per_s)
    stable = float(found.is_stable(NEGLIGIBLE_HZ)) if is_known else float("nan")
    return {
        "stable": Metric(stable, "1", "1 if the frequencies' late swing does not grow, 0 if it does"),
        "growth_rate": Metric(
            found.rate_per_s, "1_per_s", "growth of the frequencies' late envelope; below 0 it dies away"
        ),
    }  # fmt: skip


def is_undisturbed(record: Mapping[str, Any]) -> bool:
    """Whether nothing moves a run between its events, so that growth has a meaning."""
    scenario = record["scenario"]
    return scenario.get("mode", "rms") == "rms" and not scenario.get("profiles")


def pilot(result: Result) -> tuple[Trace, float] | None:
    """Voltage of the bus that the secondary control restores, and its reference [pu]; None without such control."""
    record = result.record
    control = record["scenario"].get("control") or {}
    law = control.get("voltage") or {}
    if law.get("law", "none") == "none":
        return None
    trace = read_trace(result, str(pilot_bus(record)), "Vm[pu]")
    return (trace, float(law.get("v_ref_pu") or 1.0)) if trace is not None else None


def pilot_bus(record: Mapping[str, Any]) -> str | None:
    """The bus whose voltage is restored: the one named, else that of the leader, the first pin or the first member."""
    control = record["scenario"].get("control") or {}
    if control.get("pilot_bus") is not None:
        return str(control["pilot_bus"])
    leaders = [control.get("leader"), *(control.get("pins") or {}), *(control.get("members") or ())]
    of_unit = {unit["id"]: unit["bus"] for unit in record["network"]["units"]}
    return next((of_unit[unit] for unit in leaders if unit in of_unit), None)


def pilot_metrics(restored: tuple[Trace, float] | None, stretch: Stretch) -> dict[str, Metric]:
    """Time to the pilot bus's reference."""
    if restored is None:
        return {}
    trace, v_ref_pu = restored
    rows = trace.states(stretch)
    inside = np.abs(rows.values - v_ref_pu) < PILOT_SHARE * v_ref_pu
    settled_s = Span(rows.t_s, stretch.event_s).settles(rows.t_s, inside)
    return {"v_pilot_time": Metric(settled_s, "s", "time until the pilot bus stays within 0.5 % of its reference")}
