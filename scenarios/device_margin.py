"""How late the device of a unit may be: the delay with which the loop that it closes becomes unstable."""

import math
from dataclasses import dataclass
from typing import Any

from gridloop.scenarios.margin_loop import place_of, plant_of, signals_of
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import Plan
from gridloop.simulators.models import flat_state
from gridloop.simulators.models.closed_loop_device import DeviceLoop
from gridloop.simulators.models.linear_delay import NotSettled, largest_stable_delay, settled
from gridloop.simulators.models.solve import VoltageCollapse

LONGEST_S = 0.5  # delay up to which the critical one is looked for
LARGEST_PLANT = 300  # numbers in its state; a larger one takes minutes
METHOD = "eigenvalues of the linearised step at the start, without secondary control and events, this delay alone"


@dataclass(frozen=True)
class DeviceMargin:
    """How late a device may be.

    Args:
        unit: it stands in for this one.
        critical_ms: delay there, in the device and back together with which a swing no longer dies away; inf: with
            none up to `tried_ms`, or it is not known.
        tried_ms: the longest delay that was looked at; 0: it is not known.
        f_hz: of the swing that grows first; nan if none does.
        gain: of the open loop from step to step; beyond 1 it is unstable, however short the delay is [1].
        why: why it is not known; '' where it is.
    """

    unit: str
    critical_ms: float = math.inf
    tried_ms: float = 0.0
    f_hz: float = math.nan
    gain: float = math.nan
    why: str = ""

    @property
    def in_words(self) -> str:
        """One line."""
        if self.why:
            return f"{self.unit}: the critical delay is not known: {self.why}"
        gain = f"loop gain {self.gain:.2g} from step to step"
        if math.isinf(self.critical_ms):
            told = f"stable with every delay of its device up to {self.tried_ms:g} ms, by eigenvalues"
        elif self.critical_ms <= 0:
            told = "unstable with every delay of its device, by eigenvalues"
        else:
            swing = f"a swing of {self.f_hz:.2g} Hz grows beyond"
            told = f"critical delay of its device {self.critical_ms:.0f} ms by eigenvalues, {swing}"
        return f"{self.unit}: {told}; {gain}"

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is endless or not known is None."""
        known = {"critical_delay_ms": self.critical_ms, "swing_hz": self.f_hz, "loop_gain": self.gain}
        plain = {key: value if math.isfinite(value) else None for key, value in known.items()}
        return {**plain, "tried_ms": self.tried_ms, "method": METHOD if not self.why else self.why}


def margin_of(plan: Plan, unit: str) -> DeviceMargin:
    """The margin of one unit's device; it is computed once for each plan."""
    found: DeviceMargin = plan.margins.get(unit) or _computed(plan, unit)
    plan.margins[unit] = found
    return found


def _computed(plan: Plan, unit: str) -> DeviceMargin:
    one = next(one for one in plan.devices if one.unit == unit)
    group = plan.groups[one.group]
    if group.model is None or (one.role == "power") != (group.source == "power"):
        return DeviceMargin(unit, why="the model says nothing of a device that gives something else than it does")
    try:
        loop = DeviceLoop(plant_of(plan), 1, None, signals_of(plan), device=place_of(plan)[unit])
        whole = loop.start()
        size = len(flat_state.flat(whole))
        if size > LARGEST_PLANT:
            return DeviceMargin(unit, why=f"a plant with {size} states takes too long, more than {LARGEST_PLANT}")
        _, found = settled(loop, whole)
        margin = largest_stable_delay(found, max(round(LONGEST_S / loop.period_s), 1))
    except (NotSettled, VoltageCollapse, ScenarioError, ValueError) as error:
        return DeviceMargin(unit, why=str(error))
    step_ms = 1e3 * loop.period_s
    critical_ms = 0.0 if margin.ticks == -1 else margin.crossing_ticks * step_ms
    return DeviceMargin(unit, critical_ms, margin.tried_ticks * step_ms, margin.f_hz, found.gain)
