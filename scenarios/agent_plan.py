"""Physical agents of a scenario: whose each is, and by what rules its decisions count."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gridloop.hil.agent_stand_in import AgentStandIn
from gridloop.hil.charge import Spec
from gridloop.hil.device import Device
from gridloop.hil.urls import DeviceUrl, parse
from gridloop.scenarios.agent_parts import ENDING, AgentDevice
from gridloop.scenarios.device_roles import is_writable, mode_of
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.control_settings import settings

LEAST_WATCHDOG_S, PERIODS = 1.0, 4  # of wall time without a tick, after which the agent is stopped


@dataclass(frozen=True)
class AgentRow:
    """A unit whose agent is a device; `spec` holds fields of `charge.Spec`."""

    of: str
    device: AgentDevice
    url: DeviceUrl
    period_ms: float
    spec: Mapping[str, Any]

    @property
    def unit(self) -> str:
        """Its name among those of all devices."""
        return f"{self.of}{ENDING}"

    def described(self) -> Device:
        """What the I/O thread must know of it."""
        period_s, device = self.period_ms * 1e-3, self.device
        return Device(
            self.unit, self.url, None, period_s, self.spec["deadline_ms"] * 1e-3, self.spec["max_age_ms"] * 1e-3,
            device.mode, not self.spec["shadow"], watchdog_s=max(LEAST_WATCHDOG_S, PERIODS * period_s),
            agent="secondary",
        )  # fmt: skip


def agent_rows(scenario: Scenario) -> tuple[AgentRow, ...]:
    """The units whose agents are devices."""
    control, found = scenario.control, []
    for name, unit in scenario.units.items():
        device = None if unit.agent is None else unit.agent.device
        if device is None or control is None:
            continue
        url, period_ms = parse(device.url), control.period_ms
        spec = {
            "role": "controller", "mode": mode_of(scenario, f"{name}{ENDING}", device),
            "deadline_ms": device.answer_ms(period_ms), "max_age_ms": device.oldest_ms(period_ms),
            "hold_ms": device.on_loss.hold_ms, "then": device.on_loss.then,
            "shadow": not is_writable(device, url), "where": f"the agent at {device.url}",
        }  # fmt: skip
        found.append(AgentRow(name, device, url, period_ms, spec))
    return tuple(found)


def agent_commands(commands: Iterable[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Those among the swaps of a scenario that are of agents, by the unit's own name."""
    return [(t_s, name.removesuffix(ENDING), do) for t_s, name, do in commands if name.endswith(ENDING)]


def stand_ins(scenario: Scenario, handles: Mapping[str, Any]) -> dict[str, AgentStandIn]:
    """Physical agents by their units' names, for `SecondarySimulator`; agents are numbered by name."""
    control, rows = scenario.control, agent_rows(scenario)
    if control is None or not rows:
        return {}
    numbers = {name: number for number, name in enumerate(sorted(control.members))}
    given = {key: value for key, value in control.settings().items() if key in ("frequency", "voltage")}
    gains = settings(given, round(1e3 * control.period_ms)).gains
    limits = (gains.omega_limit_rad_per_s, gains.v_limit_pu)
    return {
        row.of: AgentStandIn(handles[row.unit], Spec(**row.spec), row.period_ms * 1e-3, limits, numbers) for row in rows
    }
