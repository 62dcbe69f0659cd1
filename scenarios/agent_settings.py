"""What a physical agent must be started with to decide as the simulated one, and one in this process to try it."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from gridloop.hil.agent import ALIGN, DECIDE, MEASURE, NEIGHBOUR, Frame, Secondary, Settings
from gridloop.hil.messages import ALIGNED, CORRECTION, MEASURED, T_S, heard_in
from gridloop.hil.policy import GOOD, Snapshot
from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.control_plan import AGENT_PARAMS as DROOP
from gridloop.scenarios.problems import did_you_mean

if TYPE_CHECKING:
    from gridloop.scenarios.start import Plan

OF_FREQUENCY = {key: key for key in ("law", "c2_per_s", "c0_per_s", "limit_hz")}
OF_VOLTAGE = {
    "law": "voltage_law", "c3_per_s": "c3_per_s", "c0_per_s": "c0v_per_s", "beta_per_s": "beta_per_s",
    "v_ref_pu": "v_ref_pu", "limit_pu": "v_limit_pu",
}  # fmt: skip


def agent_settings(plan: "Plan", unit: str) -> Settings:
    """Those of the agent of a unit.

    Raises:
        ValueError: the unit has no agent, or its law is not one of those that a physical agent brings.
    """
    control = plan.control
    agents = [] if control is None else [one for one in control.agents if unit in one.members]
    if control is None or not agents:
        raise ValueError(f"{unit} has no agent in {plan.scenario.name}: it is no member of `control:`")
    of, given = agents[0], control.settings
    row = of.ids.index(unit)
    found: dict[str, Any] = {name: float(of.params[name][row]) for name in (*DROOP, "e_rated_kwh")}
    for section, keys in (("frequency", OF_FREQUENCY), ("voltage", OF_VOLTAGE)):
        found |= {keys[key]: value for key, value in given.get(section, {}).items() if key in keys}
    found |= {"delay_handling": given["delay_handling"], "period_ms": round(given["period_ms"])}
    if "max_age_ms" in given:
        found["max_age_ms"] = given["max_age_ms"]
    pin = float(of.pins.get(unit, 0.0))
    return Settings(**found, pin=pin, f_nom_hz=float(plan.case.network.f_nom_hz))


class EmulatedAgent:
    """The agent of a Raspberry Pi in this process: `emulated:` lets a swap be tried without hardware."""

    def __init__(self, plan: "Plan", unit: str) -> None:
        self._agent = Secondary(agent_settings(plan, unit))
        self._shown: dict[str, float] = {}
        self._sequence = 0

    def post(self, values: dict[str, float]) -> None:
        """A tick."""
        t_ms, ask = round(1e3 * values[T_S]), self._agent.answer
        if values[ALIGNED]:
            ask(Frame(ALIGN, 0, t_ms, tuple(values[attr] for attr in CORRECTION[:2])))
        ask(Frame(MEASURE, 0, t_ms, tuple(values[attr] for attr in MEASURED["secondary"])))
        for number, (stamp_s, shared) in heard_in(values).items():
            ask(Frame(NEIGHBOUR, 0, round(1e3 * stamp_s), (number, *shared)))
        decided = ask(Frame(DECIDE, 0, t_ms)) or ()
        self._shown = dict(zip(CORRECTION, decided, strict=True)) | {T_S: values[T_S]}
        self._sequence += 1

    def snapshot(self) -> Snapshot:
        """What it decided last."""
        return Snapshot(dict(self._shown), 0.0, self._sequence, GOOD, "", 0.0)

    def cycle(self, timeout_s: float) -> Snapshot:
        """The same: it answers at once."""
        return self.snapshot()

    def safe(self) -> None:
        """There is nothing that could be harmed."""


def inverter_settings(plan: "Plan", unit: str) -> Settings:
    """Those of a unit's droop control.

    Raises:
        ValueError: the unit is no droop inverter.
    """
    given = plan.scenario.units.get(unit)
    if given is None or given.type != "inverter" or given.control != "droop":
        raise ValueError(f"{unit} is no droop inverter of {plan.scenario.name}: serial agents of units are")
    group = next(group for group in plan.groups if unit in group.ids)
    row, count = group.ids.index(unit), len(group.ids)
    found: dict[str, Any] = {
        name: float(np.broadcast_to(getattr(group.params, name), count)[row]) for name in (*DROOP, "filter_hz")
    }
    return Settings(**found, f_nom_hz=float(plan.case.network.f_nom_hz))


def options_for(plan: "Plan", name: str) -> list[str]:
    """The command line of `agent.py` for a unit, or for the agent of one: what is not as it is by default.

    Raises:
        ValueError: there is no such unit, or no agent can be like it.
    """
    unit = name.removesuffix(ENDING)
    if unit not in plan.scenario.units:
        raise ValueError(f"{plan.scenario.name} has no unit {unit!r}{did_you_mean(unit, list(plan.scenario.units))}")
    settings = inverter_settings(plan, unit) if unit == name else agent_settings(plan, unit)
    changed = {one.name: getattr(settings, one.name) for one in fields(Settings)
               if getattr(settings, one.name) != one.default}  # fmt: skip
    role = ["--role=inverter"] if unit == name else []
    return [*role, *(f"--{key.replace('_', '-')}={value!s}" for key, value in changed.items())]
