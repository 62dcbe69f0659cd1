"""Batteries and photovoltaics in the mosaik world, connected with the inverters that they feed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gridloop.scenarios.links import Form, Start, link
from gridloop.scenarios.sources import PV, Arrays, Packs, Row, source_step_ms
from gridloop.scenarios.start import Plan
from gridloop.simulators.device import DeviceSimulator, Sink, group_name
from gridloop.simulators.profiles import ProfileSimulator
from gridloop.simulators.wire import to_array, to_lists

LIMITS = ("P_max[MW]", "P_min[MW]")  # on the DC side; what a battery lets its inverter draw
ENERGY = "E_gen[MWh]"


class Inverters(NamedTuple):
    """The entities that sources are connected with."""

    groups: Mapping[str, Any]  # by name
    units: Mapping[str, Any]
    remotes: Collection[str]  # groups in other processes, whose values are lists


def add_sources(
    plan: Plan, world: Any, start: Start, inverters: "Inverters", sinks: Mapping[str, Sink]
) -> dict[str, Any]:
    """Start the simulators of batteries and arrays and connect them.

    An array of values goes between two groups where one source group feeds it alone; else each unit has its own
    connection.

    Args:
        plan: the scenario.
        world: mosaik's.
        start: starts a simulator of this process.
        inverters: what they feed.
        sinks: takers of recorded rows by the simulator's name.

    Returns:
        The sources' own entities, `NAME.battery` and `NAME.pv` by the unit's name.
    """
    found: dict[str, Any] = {}
    feeds = [*(packs.feeds for packs in plan.packs), *(arrays.feeds for arrays in plan.arrays)]
    sizes = {group.name: len(group.ids) for group in plan.groups}
    times = {"extra_ticks_s": plan.event_times_s}
    for packs in plan.packs:
        simulator = DeviceSimulator(packs.model, sinks.get(packs.name))
        step_ms = source_step_ms(plan.scenario.step_ms)
        factory = start(packs.name, simulator, step_ms=step_ms, s_base_mva=plan.case.network.s_base_mva, **times)
        zero = np.zeros(len(packs.ids))
        whole = getattr(factory, group_name(packs.model))(
            ids=list(packs.ids), params=packs.params, s_start_pu=zero, emf_start_pu=zero
        )
        _connect_packs(world, packs, whole, inverters, _alone(packs.feeds, feeds, sizes))
        found |= {f"{child.eid}.battery": child for child in whole.children}
    if plan.arrays:
        simulators = start(
            PV, ProfileSimulator(sinks.get(PV)), step_ms=source_step_ms(plan.scenario.step_ms),
            s_base_mva=plan.case.network.s_base_mva, **times,
        )  # fmt: skip
        for arrays in plan.arrays:
            whole = simulators.Profiles(ids=list(arrays.ids), times_s=arrays.times_s, p_gen_mw=arrays.p_mw)
            _connect_arrays(world, arrays, whole, inverters, _alone(arrays.feeds, feeds, sizes))
            found |= {f"{child.eid}.pv": child for child in whole.children}
    return found


def _alone(mine: Sequence[Row], all_feeds: Sequence[Sequence[Row]], sizes: Mapping[str, int]) -> "_Spread | None":
    """How arrays of these sources fill those of the one group that they alone feed; None where that is not so."""
    named = {row.group for row in mine}
    if len(named) > 1 or sum(any(row.group in named for row in feed) for feed in all_feeds) > 1:
        return None
    (name,) = named
    return _Spread(name, np.array([row.row for row in mine]), sizes[name])


class _Spread:
    """Values of sources among those of a group of inverters."""

    def __init__(self, group: str, rows: Any, size: int) -> None:
        self.group, self._rows, self._size = group, rows, size

    def picked(self) -> Form:
        """From the group's array, or its list, to the sources'."""
        return lambda values: to_array(values)[self._rows] if isinstance(values, list) else values[self._rows]

    def filled(self, otherwise: float, as_list: bool) -> Form:
        """From the sources' array to the group's."""

        def fill(values: Any) -> Any:
            whole = np.full(self._size, otherwise)
            whole[self._rows] = values
            return to_lists(whole) if as_list else whole

        return fill


def _connect_packs(world: Any, packs: Packs, whole: Any, inverters: Inverters, alone: _Spread | None) -> None:
    """Energy drawn to the packs, their limits back one unit of time later."""
    groups, units, remotes = inverters
    model, params = packs.model, packs.params
    zero = np.zeros(len(packs.ids))
    first = model.respond(params, model.initial(params, zero, zero), model.held(params))
    limits = {"P_max[MW]": first.p_max_mw, "P_min[MW]": first.p_min_mw}
    if alone is not None:
        group, far = groups[alone.group], alone.group in remotes
        link(world, group, whole, ENERGY, form=alone.picked())
        for attr, otherwise in zip(LIMITS, (np.inf, -np.inf), strict=True):
            link(
                world, whole, group, attr, time_shifted=True, initial_data=limits, form=alone.filled(otherwise, far)
            )  # fmt: skip
        return
    for row, child in enumerate(whole.children):
        link(world, units[child.eid], child, ENERGY)
        own = {attr: float(values[row]) for attr, values in limits.items()}
        link(world, child, units[child.eid], *LIMITS, time_shifted=True, initial_data=own)


def _connect_arrays(world: Any, arrays: Arrays, whole: Any, inverters: Inverters, alone: _Spread | None) -> None:
    """What an array can give, at once."""
    groups, units, remotes = inverters
    if alone is not None:
        group = groups[alone.group]
        link(world, whole, group, ("P_avail[MW]", LIMITS[0]), form=alone.filled(np.inf, alone.group in remotes))
        return
    for child in whole.children:
        link(world, child, units[child.eid], ("P_avail[MW]", LIMITS[0]))
