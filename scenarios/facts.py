"""What a record tells of the network, its units and their control, for drawings and figures."""

from typing import Any

import numpy as np

from gridloop.scenarios.communication import graph_of
from gridloop.scenarios.market_facts import market_entities
from gridloop.scenarios.recorded import public
from gridloop.scenarios.source_parts import BatterySource
from gridloop.scenarios.start import Plan
from gridloop.scenarios.unit_parts import Unit
from gridloop.simulators.events import PCC


def drawing(plan: Plan) -> dict[str, Any]:
    """The network as a drawing needs it: who is connected to what, and where it stands."""
    network = plan.case.network
    named = list(zip(network.bus_names, network.bus_row.tolist(), strict=True))
    first_name = {row: name for name, row in reversed(named)}
    kw = 1e3 * network.s_base_mva
    return {
        "buses": [
            {"id": name, "x": _number(place[0]), "y": _number(place[1]), "v_kv": float(network.v_base_kv[row])}
            for name, row, place in zip(network.bus_names, network.bus_row, plan.position, strict=True)
        ],
        "branches": [
            {"id": name, "from": first_name.get(f, ""), "to": first_name.get(t, ""), "kind": kind, "closed": closed}
            for name, f, t, kind, closed in zip(
                network.branch_names, network.from_bus.tolist(), network.to_bus.tolist(), plan.branch_kinds,
                network.closed.tolist(), strict=True,
            )
        ],
        "units": [
            {"id": unit, "type": group.name.lower(), "source": group.source, "bus": bus, "s_rated_kva": _number(rated),
             "q_set_kvar": float(q), **source_of(plan.scenario.units[unit])}
            for group in plan.groups
            for unit, bus, rated, q in zip(
                group.ids, group.bus, group.rated_kva,
                np.broadcast_to(getattr(group.params, "q_set_kvar", 0.0), len(group.ids)), strict=True,
            )
        ],
        "pcc": [] if plan.case.pcc is None else [{"id": PCC, "type": PCC, "bus": plan.case.pcc.bus}],
        "loads": [
            {"id": name, "bus": first_name[row], "p_kw": float(p * kw)}
            for name, row, p in zip(
                plan.case.load_names, plan.case.loads.bus.tolist(), plan.case.loads.p0_pu, strict=True
            )
        ],
    }  # fmt: skip


def control_facts(plan: Plan) -> dict[str, Any] | None:
    """What every reader of a result must know of the secondary control."""
    control, settings = plan.scenario.control, plan.control
    if control is None or settings is None:
        return None
    return {
        "frequency": control.frequency.law, "voltage": control.voltage.law, "members": list(settings.members),
        "central": list(settings.central), "leader": settings.leader, "pilot_bus": settings.pilot_bus,
        "period_ms": control.period_ms, "delay_handling": control.delay_handling,
        "exchange": settings.settings["exchange"], "graph": graph_of(plan.scenario),
    }  # fmt: skip


def device_facts(plan: Plan) -> dict[str, Any]:
    """What stands in for units and agents: where it is, how it is used, and whether it may be written to."""
    return {
        one.unit: {
            "url": public(one.device.url), "role": getattr(one, "role", "agent"), "mode": one.spec["mode"],
            "shadow": one.spec["shadow"], "then": one.spec["then"],
            **(plan.margins[one.unit].to_json() if one.unit in plan.margins else {}),
        }
        for one in plan.stand_ins
    }  # fmt: skip


def source_of(unit: Unit) -> dict[str, Any]:
    """What stands behind a unit."""
    source = unit.source
    if source is None:
        return {"source_type": None}
    if isinstance(source, BatterySource):
        return {"source_type": source.type, "e_rated_kwh": source.parameters["e_rated_kwh"]}
    return {"source_type": source.type}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def kinds(plan: Plan) -> dict[str, str]:
    """What every entity is."""
    network = plan.case.network
    named = [(network.bus_names, "bus"), (network.branch_names, "branch"), (plan.case.load_names, "load")]
    named += [(group.ids, "unit") for group in plan.groups]
    named += [(tuple(plan.scenario.meters), "meter"), (() if plan.case.pcc is None else (PCC,), "pcc")]
    named += [(tuple(link.name for link in plan.links), "link")]
    named += [(() if plan.control is None else plan.control.central, "controller")]
    named += [(market_entities(plan), "market")]
    return {"grid": "grid"} | {name: kind for names, kind in named for name in names}
