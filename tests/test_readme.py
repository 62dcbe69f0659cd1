"""The README tells the truth: its table of units and signs is what simulators show and runs record."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.result import Result
from gridloop.simulators import grid, profiles
from gridloop.simulators.device import meta
from gridloop.simulators.meter import measured
from gridloop.simulators.models import diesel, following, inverter, machine

README = Path(__file__).parents[1] / "README.md"
KINDS = ("droop inverter", "following inverter", "diesel set", "classical machine", "profile unit")
PARENTS = dict.fromkeys(KINDS, ("unit",)) | {  # what they show besides
    "battery": ("unit", "droop inverter", "inverter with a source", "agent"),
    "photovoltaics": ("unit", "following inverter", "inverter with a source"),
    "agent": ("unit", "diesel set"),
    "unit with a device": ("unit", "droop inverter"),
}
SCENARIO = {
    "schema": 1, "name": "all", "until_s": 3,
    "grid": {"net": "create_cigre_network_lv"},
    "start": "droop",
    "pcc": {"bus": "Bus 0", "r_pu": 0.01, "x_pu": 0.1},
    "units": {
        "forming": {"type": "inverter", "bus": "Bus R1", "s_rated_kva": 500, "z_pu": [0, 0.1], "i_max_percent": 200},
        "following": {"type": "inverter", "control": "following", "bus": "Bus R2", "s_rated_kva": 20, "p_set_kw": 5},
        "swapped": {
            "type": "inverter", "bus": "Bus R4", "s_rated_kva": 50, "z_pu": [0, 0.1], "device": {"url": "emulated:"},
        },
        "diesel": {"type": "diesel", "bus": "Bus R1", "s_rated_kva": 200},
        "house": {"type": "profile", "bus": "Bus R3", "p_load": 3},
        "store": {
            "type": "inverter", "bus": "Bus R11", "s_rated_kva": 100, "z_pu": [0, 0.1],
            "source": {"type": "battery", "e_rated_kwh": 100, "soc_init_percent": 50},
        },
        "roof": {
            "type": "inverter", "control": "following", "bus": "Bus R12", "s_rated_kva": 20,
            "source": {"type": "pv", "modules": 30, "ghi": 800, "t_air": 20},
        },
    },
    "control": {"members": ["store", "diesel"], "leader": "store", "frequency": {"law": "C"}, "voltage": {"law": "C"}},
    "comms": {"delay_ms": 10},
    "market": {
        "slot_s": 2, "lead_s": 1, "patience_s": 0.1, "forecast": "persistence", "beside": ["central", "standby"],
        "offers": {"following": {"b_ct_per_kwh": 10, "c_ct_per_kw2h": 1, "p_kw": [0, 20]}}, "trades": {},
    },
    "meters": {"m1": {"of": "forming", "attr": ["P_gen[MW]"], "period_ms": 10}},
}  # fmt: skip
ENTITY = {  # one of each kind
    "droop inverter": "forming", "following inverter": "following",
    "profile unit": "house", "pcc": "pcc",
    "battery": "store", "photovoltaics": "roof", "agent": "diesel", "controller": "mgcc", "link": "store->mgcc",
    "unit with a device": "swapped", "market": "market", "team, central, standby": "central",
    "bus": "Bus R4", "branch": "Bus R1-Bus R2", "load": "loadBus R11", "grid": "grid",
}  # fmt: skip


@cache
def table() -> dict[str, set[str]]:
    """Attributes of each kind of entity, as the README lists them."""
    text = README.read_text(encoding="utf-8").partition("## Names, units, signs")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    kind = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 3 or set(cells[0]) == {"-"} or cells[0] == "entity":
            continue
        kind = cells[0] or kind
        found.setdefault(kind, set()).update(re.findall(r"`([^`]+\[[^`]+\])`", cells[1]))
    return found


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(load(SCENARIO), folder=tmp_path_factory.mktemp("run"))


def told(kind: str) -> set[str]:
    return table()[kind].union(*(table()[parent] for parent in PARENTS.get(kind, ())))


@pytest.mark.parametrize("kind", ENTITY)
def test_table_lists_what_a_run_records(kind: str, result: Result) -> None:
    recorded = set(result.entities[ENTITY[kind]].attributes)
    # who has no current limit, and a branch without a rating, do not show these
    assert told(kind) - {"current_limited[1]"} == recorded - {"current_limited[1]"}
    limiting = ("droop inverter", "following inverter", "photovoltaics")
    assert ("current_limited[1]" in recorded) == (kind in limiting)


def test_meters_name_what_they_measure(result: Result) -> None:
    assert table()["meter"] == {"<quantity>_meas[unit]"}
    assert result.entities["m1"].attributes == (measured("P_gen[MW]"),) == ("P_gen_meas[MW]",)


@pytest.mark.parametrize(
    ("kind", "meta_of", "model"),
    [
        ("droop inverter", meta(inverter.MODEL), "Inverter"),
        ("following inverter", meta(following.MODEL), "Following"),
        ("diesel set", meta(diesel.MODEL), "Diesel"),
        ("classical machine", meta(machine.MODEL), "Machine"),
        ("profile unit", profiles.META, "Profile"),
        ("bus", grid.META, "Bus"),
        ("branch", grid.META, "Branch"),
        ("load", grid.META, "Load"),
    ],
)
def test_simulators_show_what_the_table_lists(kind: str, meta_of: Any, model: str) -> None:
    attributes: Any = meta_of["models"][model]["attrs"]
    assert table()[kind] <= set(attributes)


def test_grid_shows_what_the_table_lists_of_every_unit() -> None:
    models: Any = grid.META["models"]
    of_unit = models["Unit"]["attrs"]
    assert table()["unit"] - {"connected[1]", "current_limited[1]"} <= set(of_unit)


def test_units_of_the_table_are_those_of_links() -> None:
    from gridloop.scenarios.links import QUANTITY

    for attributes in table().values():
        assert {attr[attr.index("[") + 1 : -1] for attr in attributes} - {"unit"} <= set(QUANTITY)
