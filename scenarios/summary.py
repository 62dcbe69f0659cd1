"""What a planned scenario holds: units, islands with their ratings, and how mosaik will connect it."""

from collections import Counter
from typing import Any

import numpy as np

from gridloop.scenarios import control_summary
from gridloop.scenarios.build import build, open_world
from gridloop.scenarios.placement import unreached
from gridloop.scenarios.start import Plan
from gridloop.scenarios.unit_parts import PROFILE
from gridloop.scenarios.wire_devices import Attached, Nobody
from gridloop.simulators.models.network import islands

Rows = list[dict[str, Any]]
MOST_NAMED = 6  # in one line


def units(plan: Plan) -> Rows:
    """One row a unit in the order of the file; what a unit has not is None."""
    kw = 1e3 * plan.case.network.s_base_mva
    start = {
        name: s * kw for group in plan.groups for name, s in zip(group.ids, group.s_start_pu.tolist(), strict=True)
    }
    rows = []
    has_sources = any(unit.source is not None for unit in plan.scenario.units.values())
    for name, unit in plan.scenario.units.items():
        following = unit.type == "inverter" and unit.control == "following"
        s_kva = start.get(name)
        rows.append({
            "unit": name, "type": f"{unit.type} {unit.control}" if following else unit.type, "bus": unit.bus,
            **({"source": None if unit.source is None else unit.source.type} if has_sources else {}),
            "s_rated_kva": _number(unit.parameters.get("s_rated_kva")),
            "p_start_kw": None if s_kva is None else s_kva.real, "q_start_kvar": None if s_kva is None else s_kva.imag,
        })  # fmt: skip
    return rows


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def island_rows(plan: Plan) -> Rows:
    """One row an island at t = 0: its buses and units, their rating and its load; `fed` tells whether it has voltage.

    Static generators of the net count as generation of their own, not as negative load.
    """
    network, loads = plan.case.network, plan.case.loads
    label = islands(network, network.closed)
    p_kw = loads.p0_pu * 1e3 * network.s_base_mva
    dark = {bus for island in unreached(plan.scenario, network) for bus in island}
    of_bus = dict(zip(network.bus_names, label[network.bus_row].tolist(), strict=True))
    pcc = plan.scenario.pcc
    rows = []
    for number, which in enumerate(dict.fromkeys(of_bus.values()), 1):
        buses = [bus for bus, island in of_bus.items() if island == which]
        members = {name: unit for name, unit in plan.scenario.units.items() if of_bus[unit.bus] == which}
        inside = label[loads.bus] == which
        rows.append({
            "island": number, "buses": buses, "units": list(members),
            "pcc": pcc is not None and pcc.closed and of_bus[pcc.bus] == which,
            "s_rated_kva": float(sum(u.parameters["s_rated_kva"] for u in members.values() if u.type != PROFILE)),
            "p_load_kw": float(np.maximum(p_kw[inside], 0).sum()),
            "p_static_kw": float(np.maximum(-p_kw[inside], 0).sum()), "fed": buses[0] not in dark,
        })  # fmt: skip
    return rows


def island_in_words(row: dict[str, Any]) -> str:
    """One line for a row of `island_rows`."""
    buses, units = row["buses"], row["units"]
    parts = [_buses(buses), f"load {row['p_load_kw']:,.0f} kW"]
    if units:
        named = ", ".join(units) if len(units) <= MOST_NAMED else f"{len(units)} units"
        parts.insert(1, f"{named} rated {row['s_rated_kva']:,.0f} kVA")
    if row["p_static_kw"]:
        parts.append(f"static generation {row['p_static_kw']:,.0f} kW")
    if row["pcc"]:
        parts.append("utility grid connected")
    return " · ".join(parts if row["fed"] else [*parts, "no voltage"])


def _buses(names: list[str]) -> str:
    listed = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    return f"bus {names[0]}" if len(names) == 1 else f"{len(names)} buses ({listed})"


def warnings(plan: Plan) -> list[str]:
    """What is allowed and yet seldom meant."""
    texts = control_summary.warnings(plan.scenario)
    for row in island_rows(plan):
        place = _buses(row["buses"])
        if not row["fed"]:
            lost = f", a load of {row['p_load_kw']:,.0f} kW" if row["p_load_kw"] else ""
            texts.append(f"no grid-forming unit reaches {place}{lost}: there is no voltage until a switch closes")
        elif row["p_load_kw"] - row["p_static_kw"] > row["s_rated_kva"] and not row["pcc"]:
            texts.append(
                f"the units of {place} are rated {row['s_rated_kva']:,.0f} kVA, less than the load of "
                f"{row['p_load_kw']:,.0f} kW"
            )  # fmt: skip
    return texts


def in_words(pairs: list[tuple[str, str]]) -> str:
    """How many entities of which simulators are connected."""
    counts = Counter(" - ".join(sorted(entity.partition(".")[0] for entity in pair)) for pair in pairs)
    return " · ".join(f"{simulators}: {count}" for simulators, count in sorted(counts.items()))


def connections(plan: Plan) -> list[tuple[str, str]]:
    """Pairs of entities that mosaik will connect, `simulator.entity`; the world is built for this and not run."""
    with open_world() as world:
        build(plan, world, attached=Attached({one.unit: Nobody() for one in plan.devices}))
        pairs = [(str(a), str(b)) for a, b in world.entity_graph.edges]
    # the graph also holds what belongs together inside a simulator
    return sorted((a, b) for a, b in pairs if a.partition(".")[0] != b.partition(".")[0])
