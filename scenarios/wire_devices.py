"""Devices in the mosaik world: a row in the adapter and a View of the terminal for each unit that has one.

mosaik's wiring is fixed at the start, so both are there from the beginning, and the adapter tells the View whether
its values count.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gridloop.hil.adapter import ANSWERED, OF_MODEL, Handle, HilSimulator
from gridloop.hil.policy import FAULT, Snapshot
from gridloop.hil.way import HEARD, SEEN, SHOWN, TOLD
from gridloop.scenarios.device_margin import margin_of
from gridloop.scenarios.device_plan import DeviceRow
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.links import Start, link
from gridloop.scenarios.start import Plan
from gridloop.simulators.comms import MESSAGE, RECEIVED
from gridloop.simulators.device import E_USED, EVENTS, VA_USED, Sink
from gridloop.simulators.operation import Log

DEVICES = "Devices"  # name of the simulator
SHOWN_BY_ADAPTER = ("f[Hz]", "E[pu]", "Va_emf[deg]")  # of a controller's unit: what the grid applied
LIMITS = {"P_max[MW]": np.inf, "P_min[MW]": -np.inf}  # of a battery, before it has told them
ANSWERS = (*ANSWERED, E_USED, VA_USED, EVENTS)
CORRECTIONS = ("Omega[rad_per_s]", "dOmega[rad_per_s2]", "v[pu]", "dv[pu_per_s]", "t_tick[s]")


class Nobody:
    """Stands where a device would be in a world that is built and not run."""

    def post(self, values: dict[str, float]) -> None:
        """Nobody hears it."""

    def snapshot(self) -> Snapshot:
        """Nothing."""
        return Snapshot({}, 0.0, 0, FAULT, "there is no device")

    def cycle(self, timeout_s: float) -> Snapshot:
        """Nothing either."""
        del timeout_s
        return self.snapshot()

    def safe(self) -> None:
        """There is nothing to be done."""


class Attached(NamedTuple):
    """The devices of a run: their handles by unit, what every step begins with, and how many values were written."""

    handles: Mapping[str, Handle]
    wait: Callable[[float], None] | None = None
    written: Mapping[str, Mapping[str, int]] = {}

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """What the links of devices behind a wire counted, by unit."""
        counted = {unit: handle.statistics() for unit, handle in self.handles.items() if hasattr(handle, "statistics")}
        return {
            unit: {**counts, **({"values": dict(self.written[unit])} if unit in self.written else {})}
            for unit, counts in counted.items()
        }  # fmt: skip

    def halt(self) -> None:
        """Emergency stop: all devices to their safe states, and there they stay."""
        for handle in self.handles.values():
            if hasattr(handle, "halt"):
                handle.halt()


class Placed(NamedTuple):
    """The entities that devices are connected with."""

    grid: Any  # mosaik's model factory of the grid
    terminals: Mapping[str, Any]  # of groups, in the order of the plan's
    units: Mapping[str, Any]
    frequency: bool  # whether loads or relays of the grid look at frequencies


def add_devices(
    plan: Plan, world: Any, start: Start, placed: Placed, attached: Attached, sinks: Mapping[str, Sink],
    log: Log | None,
) -> dict[str, Any]:  # fmt: skip
    """Start the adapter and connect it.

    Returns:
        The adapter's entities as `NAME.device`, and the Views as `NAME.view`.
    """
    if not plan.devices:
        return {}
    names = {one.unit for one in plan.devices}
    adapter = start(
        DEVICES, HilSimulator(attached.handles, sinks.get(DEVICES), log, attached.wait),
        step_ms=plan.scenario.step_ms, extra_ticks_s=plan.event_times_s, f_nom_hz=plan.case.network.f_nom_hz,
        commands=[command for command in plan.commands if command[1] in names],
        changes=[(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit in names],
        faults=plan.faults, attrs=[one.to_attr for one in plan.signals if one.receiver in names],
    )  # fmt: skip
    found: dict[str, Any] = {}
    for one in plan.devices:
        # a model beside the adapter is never late
        is_late = bool(one.links) or not isinstance(attached.handles.get(one.unit), EmulatedDevice | Nobody)
        critical_ms = margin_of(plan, one.unit).critical_ms if is_late else np.inf
        device = adapter.Device(**one.spec, critical_ms=critical_ms)
        terminal = list(placed.terminals.values())[one.group]
        view = placed.grid.View(of=terminal.eid, row=one.row, role="emf" if one.role == "controller" else "power")
        _connect(plan, world, one, (placed.units[one.unit], device, view), placed.frequency)
        found |= {f"{one.unit}.device": device, f"{one.unit}.view": view}
    return found


def _connect(plan: Plan, world: Any, one: DeviceRow, ends: tuple[Any, Any, Any], frequency: bool) -> None:
    """The grid's answer of the step before to the adapter, the model's row of this one, and the device to the View."""
    unit, device, view = ends
    group = plan.groups[one.group]
    link(world, view, device, *ANSWERS, time_shifted=True, initial_data=_answers(plan, one))
    outputs = {port.attr for port in group.model.outputs} if group.model is not None else {"P_gen[MW]", "Q_gen[MVar]"}
    link(world, unit, device, *((attr, to) for attr, to in OF_MODEL.items() if attr in outputs))
    if "P_set[MW]" in outputs:
        link(world, unit, device, "P_set[MW]")
    given = ["E[pu]", "Va_emf[deg]"] if one.role == "controller" else ["P_gen[MW]", "Q_gen[MVar]"]
    if one.role == "controller" and frequency:
        given.append("f[Hz]")
    link(world, device, view, *given, "active[1]")


def _answers(plan: Plan, one: DeviceRow) -> dict[str, float]:
    """What the View shows at the operating point before the start."""
    group, network = plan.groups[one.group], plan.case.network
    s_mva = complex(group.s_start_pu[one.row]) * network.s_base_mva
    v, emf = plan.case.v_start[network.row_of_bus(group.bus[one.row])], group.emf_start_pu[one.row]
    return dict(zip(ANSWERS, (s_mva.real, s_mva.imag, *_polar(v), *_polar(emf), 0), strict=True))


def at_start(plan: Plan, one: DeviceRow) -> dict[str, float]:
    """What a device is told before the start."""
    told = {attr: value for attr, value in _answers(plan, one).items() if attr in ANSWERED}
    return {**one.spec["set_points"], **told, "f[Hz]": plan.f_start_hz}


def _polar(phasor: complex) -> tuple[float, float]:
    return float(abs(phasor)), float(np.degrees(np.angle(phasor)))


def follow_control(plan: Plan, world: Any, entities: Mapping[str, Any]) -> None:
    """Connect the adapter with agents, sources, signals and links: they see what was applied, devices hear what
    models hear.
    """
    for one in plan.devices:
        device, view = entities[f"{one.unit}.device"], entities[f"{one.unit}.view"]
        for its, sent, arrived in zip(one.links, (TOLD, SHOWN), (HEARD, SEEN), strict=False):
            world.connect(device, entities[its.name], (sent, MESSAGE), time_shifted=True, initial_data={sent: None})
            world.connect(entities[its.name], device, (RECEIVED, arrived))
        for signal in plan.signals:
            if signal.receiver == one.unit:
                shown = (signal.attr, signal.to_attr)
                link(world, entities[signal.name], device, shown, time_shifted=True, initial_data={signal.attr: None})
        agent = entities.get(f"{one.unit}.agent")
        if agent is not None:
            if one.role == "controller":
                link(world, device, agent, "f[Hz]")
            elif one.source == "emf":
                link(world, view, agent, "P_gen[MW]", "Q_gen[MVar]", "Vm[pu]")
            link(world, agent, device, *CORRECTIONS, time_shifted=True, initial_data=dict.fromkeys(CORRECTIONS, 0.0))
        battery, array = (entities.get(f"{one.unit}.{kind}") for kind in ("battery", "pv"))
        if battery is not None:
            link(world, battery, device, *LIMITS, time_shifted=True, initial_data=LIMITS)
        if array is not None:
            link(world, array, device, ("P_avail[MW]", "P_max[MW]"))
