"""Delay margins that theory predicts for the cases of a study, where a delay is what is swept."""

import logging
import math
from typing import Any

from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.study_points import Axis, Design

log = logging.getLogger(__name__)

DELAY = "comms.delay_ms"  # of all links, which is what a scenario's margin is about
BEYOND = 2.0  # margins are looked for up to so many times the longest delay that is swept


def is_delay(axis: Axis) -> bool:
    """Whether an axis is the delay that margins are about."""
    return axis.path == DELAY


def predicted(planned: Design) -> list[dict[str, Any]]:
    """Of every case the longest stable delay [s], by the eigenvalues of its linearised loop.

    `delay_s` is inf if every delay up to `tried_s` is stable, nan if none is; both as text, as JSON wants it. A case
    without a margin (nothing has a delay, the loop does not come to rest) is left out.
    """
    swept = [axis for axis in planned.axes if is_delay(axis)]
    if not swept:
        return []
    from gridloop.scenarios.margin import delay_margin

    longest_s = BEYOND * max(float(value) for value in swept[0].values) * 1e-3
    found = []
    for name, changes in planned.cases.items():
        try:
            margin = delay_margin(planned.scenario.with_overrides(changes), longest_s).linearised
        except (ScenarioError, ValueError, ArithmeticError) as error:
            log.warning("%s: no margin can be predicted: %s", name or "the scenario", error)
            continue
        delay_s = margin.margin_s if math.isfinite(margin.margin_s) else str(margin.margin_s)
        found.append({"case": name, "delay_s": delay_s, "tried_s": margin.tried_s})
    return found
