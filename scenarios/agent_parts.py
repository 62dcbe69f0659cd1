"""The physical agent that may decide in place of a unit's simulated one, as a file describes it.

    units:
      batt1: {type: inverter, ...}
      batt1.agent:
        device: {url: serial+socket://10.0.0.5:7000?codec=json}

In a checked scenario it stands under its unit, as the key `agent`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gridloop.scenarios.parts import NotNegative, Part, Positive, Switch
from gridloop.scenarios.problems import Path, Place

ENDING = ".agent"  # of the name of a unit's agent
LEAST_AGE_MS, PERIODS = 200.0, 4  # of max_age_ms, where it is not given


class AgentLoss(Part):
    """What happens when an agent that decides is silent, or decides nothing that is of use."""

    hold_ms: NotNegative = 500.0
    """the correction rests for [ms]"""
    then: Literal["model", "stop"] = "model"
    """model: the simulated agent takes over; stop: the run ends"""


class AgentDevice(Part):
    """The physical agent; without this section the simulated one decides."""

    url: Annotated[str, Field(min_length=1)]
    """where it is: serial:///dev/ttyACM0?codec=cobs, serial+socket://HOST:PORT?codec=json"""
    mode: Literal["free", "lockstep"] = "free"
    """free: a tick takes its newest decision, in real time; lockstep: every tick waits for its decision"""
    deadline_ms: Positive | None = None
    """an answer may take [ms]; absent: half the agents' period"""
    max_age_ms: Positive | None = None
    """older decisions are no data [ms]; absent: 200 or, if that is more, four periods of the agents"""
    on_loss: AgentLoss = AgentLoss()
    """what happens when it is lost"""
    allow_writes: Switch = False
    """false: it is told nothing and the simulated agent decides, unless it is on this machine"""

    def answer_ms(self, period_ms: float) -> float:
        """How long an answer may take [ms]."""
        return period_ms / 2 if self.deadline_ms is None else self.deadline_ms

    def oldest_ms(self, period_ms: float) -> float:
        """Older decisions are no data [ms]."""
        return max(LEAST_AGE_MS, PERIODS * period_ms) if self.max_age_ms is None else self.max_age_ms


class UnitAgent(Part):
    """A unit's agent of secondary control."""

    device: AgentDevice | None = None
    """the physical agent that decides in its place; absent: the simulated one alone"""


def under_units(raw: Any, places: Mapping[Path, Place] | None = None) -> dict[Path, Place]:
    """Put `units: {"NAME.agent": ...}` under the units as their key `agent`, in place; the places are returned so."""
    found = raw.get("units") if isinstance(raw, dict) else None
    units, moved = found if isinstance(found, dict) else {}, []
    for name in list(units):
        unit = name.removesuffix(ENDING)
        if unit != name and isinstance(units.setdefault(unit, {}), dict) and "agent" not in units[unit]:
            units[unit]["agent"] = units.pop(name)
            moved.append(name)
    at: dict[Path, Place] = {}
    for path, place in (places or {}).items():
        if path[:1] == ("units",) and len(path) > 1 and path[1] in moved:
            unit = str(path[1]).removesuffix(ENDING)
            at["units", unit, "agent", *path[2:]] = place
            at.setdefault(("units", unit), place)
        else:
            at[path] = place
    return at
