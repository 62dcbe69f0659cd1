"""A generated feeder: a 20 kV trunk with a transformer and a low-voltage cable tree in each of its areas.

An area has 25 buses: one on the trunk, a busbar behind a 400 kVA transformer, and three cables with the houses.
Five houses have a grid-forming inverter of 10 kVA, 15 draw power. Forty areas are 1000 buses, 200 inverters, 600
loads. The public grid is absent: the inverters share the load by their droop. Everything follows from the seed.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandapower

BUSES_PER_AREA = 25
CABLES_PER_AREA = 3
INVERTERS_PER_AREA = 5
HOUSES_PER_AREA = 15
TRUNK_KM, HOUSE_KM = 0.2, 0.03
CLOCK = datetime.fromisoformat("2026-06-21T18:00:00+02:00")

Loads = Literal["power", "impedance"]


def write_feeder(folder: Path, loads: Loads, areas: int = 40, until_s: float = 10.0, seed: int = 1) -> Path:
    """Write the scenario with its net and profiles, and return the scenario's file.

    Args:
        folder: an empty one.
        loads: 'power': each house is a unit with a profile of its own that moves at every step;
            'impedance': the houses are constant-impedance loads of the net.
        areas: how many, 25 buses each.
        until_s: end of the run.
        seed: of everything that differs from house to house.
    """
    random = np.random.default_rng(seed)
    net, houses = _net(areas, random, loads == "impedance")
    pandapower.to_json(net, str(folder / "feeder.json"))
    scenario: dict[str, Any] = {
        "schema": 1, "name": f"feeder{BUSES_PER_AREA * areas}", "mode": "rms", "step_ms": 5, "until_s": until_s,
        "grid": {"net": "feeder.json", "f_nom_hz": 50, "loads": {"zip_p": [1, 0, 0], "zip_q": [1, 0, 0], "v0_pu": 1}},
        "start": "droop",
        "defaults": {"inverter": {
            "control": "droop", "s_rated_kva": 10, "droop_p_percent": 2, "droop_q_percent": 5, "z_pu": [0.02, 0.1],
            "p_set_kw": 5,
        }},
        "record": {"every_ms": 100},
        "units": {f"inv{i}": {"type": "inverter", "bus": bus} for i, bus in enumerate(houses["inverter"])},
    }  # fmt: skip
    if loads == "power":
        _write_profiles(folder / "houses.csv", len(houses["load"]), until_s, random)
        keys = [f"{quantity}{i}" for i in range(len(houses["load"])) for quantity in "pq"]
        units = {"p": "kW", "q": "kvar"}
        columns = {key: f"{key.upper()}[{units[key[0]]}]" for key in keys}
        scenario["clock"] = CLOCK.isoformat()
        scenario["profiles"] = {"houses": {"file": "houses.csv", "columns": columns}}
        scenario["units"] |= {
            f"house{i}": {"type": "profile", "bus": bus, "p_load": f"houses.p{i}", "q_load": f"houses.q{i}"}
            for i, bus in enumerate(houses["load"])
        }
    path = folder / "feeder.yaml"
    path.write_text(json.dumps(scenario, indent=1), encoding="utf-8")  # JSON is YAML too
    return path


def _net(areas: int, random: np.random.Generator, with_loads: bool) -> tuple[Any, dict[str, list[str]]]:
    """The pandapower net, and the names of the buses that have an inverter or draw power."""
    net = pandapower.create_empty_network(f_hz=50, sn_mva=1)
    houses: dict[str, list[str]] = {"inverter": [], "load": []}
    before = None
    for area in range(areas):
        trunk = pandapower.create_bus(net, 20, name=f"mv{area}")
        if before is not None:
            pandapower.create_line(net, before, trunk, TRUNK_KM, "NA2XS2Y 1x150 RM/25 12/20 kV")
        before = trunk
        busbar = pandapower.create_bus(net, 0.4, name=f"lv{area}")
        pandapower.create_transformer(net, trunk, busbar, "0.4 MVA 20/0.4 kV")
        ends, names = [busbar] * CABLES_PER_AREA, []
        for house in range(BUSES_PER_AREA - 2):
            names.append(f"h{area}-{house}")
            bus = pandapower.create_bus(net, 0.4, name=names[-1])
            cable = house % CABLES_PER_AREA
            pandapower.create_line(net, ends[cable], bus, HOUSE_KM * random.uniform(0.7, 1.3), "NAYY 4x150 SE")
            ends[cable] = bus
        chosen = random.permutation(names)[: INVERTERS_PER_AREA + HOUSES_PER_AREA].tolist()
        houses["inverter"] += chosen[:INVERTERS_PER_AREA]
        houses["load"] += chosen[INVERTERS_PER_AREA:]
    if with_loads:
        index = {name: i for i, name in net.bus.name.items()}
        for bus in houses["load"]:
            p_mw = random.uniform(0.5e-3, 3e-3)
            pandapower.create_load(net, index[bus], p_mw, p_mw * 0.3)
    return net, houses


def _write_profiles(path: Path, houses: int, until_s: float, random: np.random.Generator) -> None:
    """A row a second; P of each house wanders between 0.2 and 4 kW, Q is a share of it."""
    rows = int(until_s) + 2
    p_kw = np.clip(random.uniform(0.5, 3, houses) + random.normal(0, 0.05, (rows, houses)).cumsum(0), 0.2, 4)
    table = np.stack((p_kw, p_kw * random.uniform(0.1, 0.4, houses)), axis=2).reshape(rows, -1)
    header = ",".join(["time", *(f"{quantity}{i}[{unit}]" for i in range(houses)
                                 for quantity, unit in (("P", "kW"), ("Q", "kvar")))])  # fmt: skip
    lines = [
        ",".join([(CLOCK + timedelta(seconds=second)).isoformat(), *(f"{value:.6f}" for value in row)])
        for second, row in enumerate(table.tolist())
    ]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
