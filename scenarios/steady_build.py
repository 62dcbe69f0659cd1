"""A planned scenario of `mode: steady` in a mosaik world: one grid that settles, and the sources of its units."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gridloop.scenarios.links import Start, link
from gridloop.scenarios.sources import PV
from gridloop.scenarios.start import Plan
from gridloop.simulators.control_settings import law_named, settings
from gridloop.simulators.device import DeviceSimulator, Sink, group_name
from gridloop.simulators.models.secondary import VOLTAGE_LAWS
from gridloop.simulators.models.steady_storage import within_steps
from gridloop.simulators.operation import Log
from gridloop.simulators.profiles import ProfileSimulator
from gridloop.simulators.settled import SettledSimulator
from gridloop.simulators.settled_control import NamedControl, Store
from gridloop.simulators.settled_units import AHEAD, SOC

TUNED = ("frequency", "voltage", "balancing", "more")  # settings of the agents that matter at rest


class SteadyParts(NamedTuple):
    """What was built, as `build.Built` has it."""

    grid: Any  # the Grid entity
    entities: Mapping[str, Any]
    groups: Mapping[str, Any]  # units by the simulator's name in mode: rms
    terminals: Mapping[str, Any]


def build_steady(
    plan: Plan, world: Any, start: Start, sinks: Mapping[str, Sink], log: Log | None = None
) -> SteadyParts:  # fmt: skip
    """Start and connect the grid and the sources.

    Args:
        plan: the scenario with its start.
        world: mosaik's.
        start: starts a simulator of this process.
        sinks: takers of recorded rows by the simulator's name.
        log: takes (t_s, kind, target, outcome) of what happens.
    """
    models = list(dict.fromkeys(group.model for group in plan.groups if group.model is not None))
    changes = [(c.t_s, c.unit, c.key, c.value) for c in plan.changes]
    simulator = SettledSimulator(plan.case, models, plan.events, changes, named_control(plan), sinks=sinks, log=log)
    grid = start("Grid", simulator, step_ms=plan.scenario.step_ms)
    whole = grid.Grid()
    entities: dict[str, Any] = {"grid": whole} | {child.eid: child for child in whole.children}
    groups, terminals = dict[str, Any](), dict[str, Any]()
    given: Any = None
    for group in plan.groups:
        key = group.name if group.name not in groups else f"{group.name}-{len(groups)}"
        place = {
            "units": list(group.ids), "bus": list(group.bus), "z": group.z_pu, "weight": group.weight,
            "i_max": [float(i) if np.isfinite(i) else None for i in group.i_max_pu],
        }  # fmt: skip
        if group.model is not None:
            groups[key] = terminals[key] = grid.Units(
                device=group.model, params=group.params, s_start_pu=group.s_start_pu,
                emf_start_pu=group.emf_start_pu, **place,
            )  # fmt: skip
            entities |= {child.eid: child for child in groups[key].children}
            continue
        given = given or _start_given(plan, "Profile", start, sinks)
        groups[key] = given.Profiles(ids=list(group.ids), **vars(group.course))
        terminals[key] = grid.Terminals(source="power", **(place | {"z": 0}))
        link(world, groups[key], terminals[key], "P_gen[pu]", "Q_gen[pu]")
        entities |= {child.eid: child for child in terminals[key].children}
    entities |= _add_sources(plan, world, start, entities, sinks)
    return SteadyParts(whole, entities, groups, terminals)


def _start_given(plan: Plan, name: str, start: Start, sinks: Mapping[str, Sink]) -> Any:
    """A simulator of given powers."""
    return start(
        name, ProfileSimulator(sinks.get(name)), step_ms=plan.scenario.step_ms, extra_ticks_s=plan.event_times_s,
        s_base_mva=plan.case.network.s_base_mva,
    )  # fmt: skip


def _add_sources(
    plan: Plan, world: Any, start: Start, units: Mapping[str, Any], sinks: Mapping[str, Sink]
) -> dict[str, Any]:
    """Batteries and arrays: `NAME.battery` and `NAME.pv` by the unit's name."""
    found: dict[str, Any] = {}
    step_ms = plan.scenario.step_ms
    for packs in plan.packs:
        model = within_steps(packs.model, step_ms * 1e-3)
        factory = start(
            packs.name, DeviceSimulator(model, sinks.get(packs.name)), step_ms=step_ms,
            extra_ticks_s=plan.event_times_s, s_base_mva=plan.case.network.s_base_mva,
        )  # fmt: skip
        zero = np.zeros(len(packs.ids), complex)
        whole = getattr(factory, group_name(model))(
            ids=list(packs.ids), params=packs.params, s_start_pu=zero, emf_start_pu=zero
        )
        for pack in whole.children:
            # the battery steps first: it knows at t what will have been drawn by then
            link(
                world, units[pack.eid], pack, (AHEAD, "E_gen[MWh]"), time_shifted=True, initial_data={AHEAD: 0.0}
            )  # fmt: skip
            link(world, pack, units[pack.eid], "P_max[MW]", "P_min[MW]", SOC)
            found[f"{pack.eid}.battery"] = pack
    if plan.arrays:
        simulator = _start_given(plan, PV, start, sinks)
        for arrays in plan.arrays:
            whole = simulator.Profiles(ids=list(arrays.ids), times_s=arrays.times_s, p_gen_mw=arrays.p_mw)
            for array in whole.children:
                link(world, array, units[array.eid], ("P_avail[MW]", "P_max[MW]"))
                found[f"{array.eid}.pv"] = array
    return found


def named_control(plan: Plan) -> NamedControl | None:
    """The secondary control of a plan; None if it has none."""
    control = plan.control
    if control is None:
        return None
    given = dict(control.settings)
    frequency, voltage = given.get("frequency", {}).get("law", "F"), given.get("voltage", {}).get("law", "V")
    known: dict[str, Any] = {key: given[key] for key in TUNED if key in given}
    common = settings(known, 1)
    law = None if voltage == "none" else "C" if voltage == "C" else law_named(voltage, VOLTAGE_LAWS)
    pins = {unit: pin for agents in control.agents for unit, pin in agents.pins.items()}
    stores = {
        unit: Store(float(agents.params["e_rated_kwh"][row]), float(agents.params["s_rated_kva"][row]))
        for agents in control.agents for row, unit in enumerate(agents.ids)
        if unit in agents.members and agents.params["e_rated_kwh"][row] > 0
    }  # fmt: skip
    return NamedControl(
        control.members, {control.leader: 1.0} if frequency == "C" or not pins else pins, given.get("graph", "line"),
        frequency, law, common.gains, control.pilot_bus, control.central, common.balancing, stores,
    )  # fmt: skip
