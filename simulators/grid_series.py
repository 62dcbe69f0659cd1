"""Series of a recorded stretch of the network: what every unit, bus, branch and load did."""

from collections.abc import Collection
from itertools import groupby
from typing import NamedTuple

import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.nodal import Reduction, loading_percent, observe

SIGNALS = ("buses", "branches", "loads")


class Epoch(NamedTuple):
    """What stays the same between two events."""

    net: Reduction
    loads: Loads


class Row(NamedTuple):
    """One recorded instant: `x` of the solution and the power of the sources, in one epoch."""

    epoch: Epoch
    x: Complex
    turn: complex
    s_source: Complex
    iterations: int


def grid_columns(
    case: Case, units: tuple[str, ...], rows: list[Row], signals: Collection[str] = SIGNALS
) -> dict[str, Real]:
    """Series `entity.attribute` -> values (rows,), computed epoch by epoch; `units` and `grid` are always there.

    `grid` holds the totals: generation, load served, losses, load without supply, the largest nodal power that
    the solution leaves unbalanced [MW] and the solver's iterations.
    """
    parts = [
        _epoch_columns(case, units, list(stretch), signals)
        for _, stretch in groupby(rows, key=lambda row: id(row.epoch))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _epoch_columns(case: Case, units: tuple[str, ...], rows: list[Row], signals: Collection[str]) -> dict[str, Real]:
    epoch, net, s_base = rows[0].epoch, case.network, case.network.s_base_mva
    seen = observe(epoch.net, epoch.loads.bus, np.stack([row.x for row in rows]))
    turn = np.array([row.turn for row in rows])
    s_source = np.stack([row.s_source for row in rows]) * s_base
    unsupplied = np.delete(epoch.loads.p0_pu, epoch.net.supplied)
    columns: dict[str, Real] = {
        "grid.P_gen[MW]": s_source.real.sum(1),
        "grid.P_load[MW]": seen.s_load.real.sum(1) * s_base,
        "grid.P_loss[MW]": seen.loss_pu * s_base,
        "grid.P_unserved[MW]": np.full(len(rows), np.maximum(unsupplied, 0).sum() * s_base),
        "grid.mismatch[MW]": seen.mismatch_pu * s_base,
        "grid.iterations[1]": np.array([row.iterations for row in rows], float),
    }

    def add(names: Collection[str], **series: Real) -> None:
        for place, name in enumerate(names):
            for attribute, values in series.items():
                columns[f"{name}.{attribute}"] = values[:, place]

    connected = np.broadcast_to(epoch.net.sources.connected.astype(float), s_source.shape)
    add(units, **{"P_gen[MW]": s_source.real, "Q_gen[MVar]": s_source.imag, "connected[1]": connected})
    if "buses" in signals:
        v = seen.v_bus[:, net.bus_row]
        add(net.bus_names, **{"Vm[pu]": np.abs(v), "Va[deg]": np.degrees(np.angle(v * turn[:, None]))})
    if "branches" in signals:
        add(net.branch_names, **{"P_from[MW]": seen.s_from.real * s_base, "Q_from[MVar]": seen.s_from.imag * s_base})
        loading = loading_percent(net, seen)
        for place in np.flatnonzero(~np.isnan(net.rating_pu)):
            columns[f"{net.branch_names[place]}.loading[%]"] = loading[:, place]
    if "loads" in signals:
        s_load = seen.s_load * s_base
        add(case.load_names, **{"P_load[MW]": s_load.real, "Q_load[MVar]": s_load.imag})
    return columns
