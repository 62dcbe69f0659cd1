"""Figures of devices in the loop, from their recorded series and what their links counted."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gridloop.scenarios.result import Metric, Result

COUNTS = {"requests": ("device_requests", "requests sent"), "answers": ("device_answers", "requests answered")}
RESIDUAL = {
    "residual_rms": "root mean square", "residual_max": "largest difference", "residual_bias": "mean difference",
}  # fmt: skip
VALUES = {
    "written": ("device_writes", "values written to the device of"),
    "limited": ("device_writes_limited", "values that were limited before they were written to the device of"),
}
PERCENTILES = ("p50", "p95", "p99")


def device_metrics(result: Result, statistics: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """Metrics by unit, `KEY.UNIT`.

    Args:
        result: the run.
        statistics: of links, by the unit; units whose devices are in the process have none.
    """
    found: dict[str, Metric] = {}
    wired = [name for name, entity in result.entities.items() if "residual_P[MW]" in entity.attributes]
    for unit in wired:
        t, age = result.series(unit, "age[ms]")
        if not len(t):
            continue
        residual, quality = (result.series(unit, attr)[1] for attr in ("residual_P[MW]", "quality[1]"))
        known, fresh = residual[np.isfinite(residual) & (quality == 0)], age[np.isfinite(age)]
        figures = (np.sqrt(np.mean(known**2)), np.abs(known).max(), np.mean(known)) if len(known) else (np.nan,) * 3
        for (key, text), value in zip(RESIDUAL.items(), figures, strict=True):
            found[f"{key}.{unit}"] = Metric(float(value), "MW", f"{text} of the device against the model of {unit}")
        p95 = float(np.percentile(fresh, 95)) if len(fresh) else np.nan
        found[f"device_age_p95.{unit}"] = Metric(p95, "ms", f"95 % of the values of the device of {unit} were younger")
        fallback_s = sum((end_s - start_s for start_s, end_s in lost_times(result, unit, float(t[-1]))), 0.0)
        text = f"time in which {unit} went on without its device, which was lost"
        found[f"device_fallback_time.{unit}"] = Metric(fallback_s, "s", text)
    for unit, counted in statistics.items():
        if not COUNTS.keys() <= counted.keys():
            continue  # a device of the caller's own, which counts something else
        for name, (key, text) in COUNTS.items():
            found[f"{key}.{unit}"] = Metric(float(counted[name]), "1", f"{text} on the link of {unit}")
        for cause, count in counted["lost"].items():
            text = f"requests on the link of {unit} that were lost by: {cause}"
            found[f"device_lost.{cause}.{unit}"] = Metric(float(count), "1", text)
        for name, (key, text) in VALUES.items():
            found[f"{key}.{unit}"] = Metric(float(counted.get("values", {}).get(name, 0)), "1", f"{text} {unit}")
        for name in PERCENTILES:
            if name in counted["rtt_ms"]:
                value = float(counted["rtt_ms"][name])
                found[f"rtt_{name}.{unit}"] = Metric(value, "ms", f"round trips to {unit}, {name}")
    return found


def lost_times(result: Result, unit: str, end_s: float) -> list[tuple[float, float]]:
    """From each loss of a device to its return, its command to leave, or the end [s]."""
    found, lost_s = [], None
    for event in result.events:
        if event.target != unit:
            continue
        if event.kind == "device_lost":
            lost_s = event.t_s
        elif event.kind in ("device_back", "unswap") and lost_s is not None:
            found.append((lost_s, event.t_s))
            lost_s = None
    return found if lost_s is None else [*found, (lost_s, end_s)]
