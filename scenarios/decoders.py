"""Functions that turn the rows of a run's simulators into columns `entity.attribute`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridloop.hil.adapter import columns as hil_columns
from gridloop.scenarios.groups import Group
from gridloop.scenarios.sources import AVAILABLE, COUNTED
from gridloop.scenarios.start import Plan
from gridloop.simulators import profiles
from gridloop.simulators.comms import RECORDS as LINK_RECORDS
from gridloop.simulators.control import RECORDS as AGENT_RECORDS
from gridloop.simulators.device import show
from gridloop.simulators.grid_series import grid_columns
from gridloop.simulators.meter import measured
from gridloop.simulators.ports import Port
from gridloop.simulators.recorder import Columns
from gridloop.simulators.stand_in import STAND_IN_RECORDS


def group_decoder(plan: Plan, group: Group) -> Callable[[list[Any]], Columns]:
    """A function that turns rows of a group of units with a model into columns; energies of those with a source."""
    model, s_base_mva = group.model, plan.case.network.s_base_mva
    assert model is not None
    whole = unit_decoder(model.outputs, model.records, group.ids, s_base_mva)
    fed = {unit for packs in plan.packs for unit in packs.ids} | {unit for arrays in plan.arrays for unit in arrays.ids}
    kept = {f"{unit}.{attr}" for unit in group.ids if unit in fed for attr in COUNTED}
    if not kept:
        return whole
    energies = unit_decoder(model.outputs, COUNTED, group.ids, s_base_mva)
    return lambda rows: whole(rows) | {name: column for name, column in energies(rows).items() if name in kept}


def applied_elsewhere(plan: Plan, decode: Callable[[list[Any]], Columns]) -> Callable[[list[Any]], Columns]:
    """A group's decoder without what the adapter records of units for which a device may stand in."""
    others = set(device_columns(plan))
    return lambda rows: {name: column for name, column in decode(rows).items() if name not in others}


def device_columns(plan: Plan) -> tuple[str, ...]:
    """Columns of units for which a device may stand in."""
    return hil_columns({one.unit: one.role for one in plan.devices})


def grid_decoder(plan: Plan) -> Callable[[list[Any]], Columns]:
    """A function that turns the grid's rows into columns; power in place of a unit's EMF counts as the unit's."""
    signals = plan.scenario.record.signals
    in_place = [one.unit for one in plan.devices if one.role == "power" and one.source == "emf"]
    feeders = (*plan.feeders, *(f"{unit} as power" for unit in in_place))

    def decode(rows: list[Any]) -> Columns:
        columns = grid_columns(plan.case, feeders, rows, signals)
        for unit in in_place:
            for attr in ("P_gen[MW]", "Q_gen[MVar]", "connected[1]"):
                columns[f"{unit}.{attr}"] = columns[f"{unit}.{attr}"] + columns.pop(f"{unit} as power.{attr}")
        return columns

    return decode


def column_decoder(names: Sequence[str]) -> Callable[[list[Any]], Columns]:
    """A function that turns rows of values into the named columns."""
    return lambda rows: dict(zip(names, np.stack(rows, axis=1), strict=True))


def agent_columns(plan: Plan) -> tuple[str, ...]:
    """Columns of agents, under their units' names, and of central controllers."""
    control = plan.control
    everyone = (*control.members, *control.central) if control is not None else ()
    physical = control.devices if control is not None else ()
    return (
        *(f"{name}.{attr}" for name in everyone for attr in AGENT_RECORDS),
        *(f"{one.of}.{attr}" for one in physical for attr in STAND_IN_RECORDS),
    )


def link_columns(plan: Plan) -> tuple[str, ...]:
    """Columns of communication links."""
    return tuple(f"{link.name}.{attr}" for link in plan.links for attr in LINK_RECORDS)


def pv_decoder(plan: Plan) -> Callable[[list[Any]], Columns]:
    """A function that turns what arrays can give into columns, behind their inverters."""
    (attr,) = AVAILABLE
    ids = tuple(unit for arrays in plan.arrays for unit in arrays.ids)
    by_unit = {unit: group for group in plan.groups for unit in group.ids}
    efficiency = {unit: by_unit[unit].params.efficiency_percent[by_unit[unit].ids.index(unit)] / 100 for unit in ids}
    whole = unit_decoder(profiles.OUTPUTS, AVAILABLE, ids, plan.case.network.s_base_mva)
    return lambda rows: {
        f"{unit}.{attr}": column * efficiency[unit] for unit, column in zip(ids, whole(rows).values(), strict=True)
    }


def meter_decoder(plan: Plan) -> Callable[[list[Any]], Columns]:
    """A function that turns the meters' samples into columns `meter.attribute`."""
    return column_decoder([
        f"{name}.{measured(attr)}" for name, meter in plan.scenario.meters.items() for attr in meter.attr
    ])  # fmt: skip


def unit_decoder(
    outputs: tuple[Port, ...], records: tuple[str, ...], ids: tuple[str, ...], s_base_mva: float
) -> Callable[[list[Any]], Columns]:
    """A function that turns recorded outputs of a group into columns `unit.attribute`."""
    ports = {port.attr: port for port in outputs}

    def decode(rows: list[Any]) -> Columns:
        stacked = type(rows[0])(*(np.stack(field) for field in zip(*rows, strict=True)))
        columns: Columns = {}
        for attribute in records:
            values = show(ports[attribute], stacked, s_base_mva)
            columns |= {f"{unit}.{attribute}": values[:, place] for place, unit in enumerate(ids)}
        return columns

    return decode
