"""Files that extend others: maps merge, lists replace, null deletes, and every file name counts from its own file."""

from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.unit_types import known_types

BASE = """\
schema: 1
name: base
until_s: 2
grid: {net: case9, base: {s_mva: 1, v_kv: 11}}
defaults:
  inverter: {droop_p_percent: 2}
units:
  inv1: {type: inverter, bus: 1, s_rated_kva: 1000, z_pu: [0.01, 0.1]}
  inv2: {type: inverter, bus: 2, s_rated_kva: 2000, filter_hz: 7}
events:
  - {t_s: 1, do: load_step, bus: 5, p_kw: 300}
  - {t_s: 1.5, do: unit_trip, unit: inv2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(top: str, **files: str) -> Any:
    """`top` as top.yaml over the files given by their stems, `base` among them."""
    for stem, text in ({"base": BASE} | files | {"top": top}).items():
        Path(f"{stem}.yaml").write_text(text)
    return load("top.yaml")


def test_maps_merge_by_key() -> None:
    scenario = read("extends: base.yaml\nname: top\nunits: {inv2: {filter_hz: 9}}\ngrid: {base: {s_mva: 2}}\n")
    assert (scenario.name, scenario.until_s) == ("top", 2)
    assert scenario.units["inv2"].parameters == {"s_rated_kva": 2000, "filter_hz": 9, "droop_p_percent": 2}
    assert (scenario.grid.base.s_mva, scenario.grid.base.v_kv) == (2, 11)


def test_lists_replace() -> None:
    scenario = read("extends: base.yaml\nevents: []\nunits: {inv1: {z_pu: [0, 0.2]}}\n")
    assert scenario.events == ()
    assert scenario.units["inv1"].z_pu == (0, 0.2)


def test_null_deletes() -> None:
    scenario = read("extends: base.yaml\nevents: null\nunits: {inv1: {z_pu: null}, inv2: null}\ngrid: {base: null}\n")
    assert list(scenario.units) == ["inv1"]
    assert (scenario.units["inv1"].z_pu, scenario.grid.base, scenario.events) == (None, None, ())


def test_map_takes_the_place_of_a_value_and_a_value_that_of_a_map() -> None:
    middle = "extends: base.yaml\ngrid: {base: 3}\n"
    assert read("extends: middle.yaml\ngrid: {base: {s_mva: 4}}\n", middle=middle).grid.base.s_mva == 4
    with pytest.raises(ScenarioError, match=r"middle\.yaml:2:8: grid\.base: must be a map of keys, got 3"):
        read("extends: middle.yaml\n", middle=middle)


def test_chain_of_three_files() -> None:
    scenario = read("extends: middle.yaml\nseed: 3\n", middle="extends: base.yaml\nseed: 2\nuntil_s: 9\n")
    assert (scenario.seed, scenario.until_s, scenario.grid.net) == (3, 9, "case9")


def test_scenario_that_ships_can_be_extended() -> None:
    scenario = read("extends: ieee9\nname: mine\nuntil_s: 1\n")
    assert (scenario.name, scenario.until_s, list(scenario.units)) == ("mine", 1, ["inv1", "inv2", "inv3"])


def test_mapping_can_extend_a_file() -> None:
    Path("base.yaml").write_text(BASE)
    assert load({"extends": "base.yaml", "until_s": 5}).until_s == 5


def test_what_was_merged_is_what_the_run_keeps() -> None:
    scenario = read("extends: base.yaml\nunits: {inv2: {filter_hz: 9}}\n")
    kept = scenario.to_dict()
    assert "extends" not in kept and kept["units"]["inv2"]["filter_hz"] == 9
    assert load(kept).units == scenario.units


def test_defaults_of_the_base_go_under_units_of_the_top() -> None:
    scenario = read("extends: base.yaml\nunits: {inv4: {type: inverter, bus: 4, s_rated_kva: 1}}\n")
    assert scenario.units["inv4"].parameters["droop_p_percent"] == 2


def test_override_comes_after_merging() -> None:
    scenario = read("extends: base.yaml\nunits: {inv2: {filter_hz: 9}}\n")
    changed = scenario.with_overrides({"units.*.filter_hz": 3, "events.0.p_kw": 5})
    assert [unit.parameters["filter_hz"] for unit in changed.units.values()] == [3, 3]
    assert changed.events[0].p_kw == 5
    with pytest.raises(ScenarioError, match="--set extends: what a file extends can be changed in the file only"):
        scenario.with_overrides({"extends": "other.yaml"})


def test_override_that_is_wrong_is_not_blamed_on_any_file_and_the_rest_keeps_its_lines() -> None:
    scenario = read("extends: base.yaml\nuntil_s: 5\n")
    with pytest.raises(ScenarioError) as error:
        scenario.with_overrides({"until_s": 0, "units.*.type": "x"})
    told = str(error.value).splitlines()[1:]
    known = f"known: {', '.join(known_types())}, MODULE:MODEL"
    assert sorted(told[:1] + told[4:]) == [
        "top.yaml: units.inv1.type: unknown type 'x'; " + known + " (set from outside the file)",
        "top.yaml: units.inv2.type: unknown type 'x'; " + known + " (set from outside the file)",
        "top.yaml: until_s: must be greater than 0, got 0 (set from outside the file)",
    ]
    assert told[1:4] == [
        "base.yaml:6:3: defaults.inverter: no unit has this type",
        "     6 |   inverter: {droop_p_percent: 2}",
        "       |   ^",
    ]


def test_files_are_looked_for_beside_the_file_that_names_them(folder: Path) -> None:
    (folder / "common").mkdir()
    profiles = "clock: 2026-06-21T12:00:00Z\nprofiles:\n  day: {file: day.csv, columns: {p: 'P[kW]'}}\n"
    (folder / "common" / "base.yaml").write_text(BASE.replace("net: case9", "net: net.json") + profiles)
    (folder / "common" / "day.csv").write_text("")
    (folder / "night.csv").write_text("")
    Path("top.yaml").write_text(
        "extends: common/base.yaml\nprofiles:\n  night: {file: night.csv, columns: {p: 'P[kW]'}}\n"
    )
    scenario = load("top.yaml")
    assert scenario.folder_of("grid", "net") == Path("common")
    assert scenario.folder_of("profiles", "day", "file") == Path("common")
    assert scenario.folder_of("profiles", "night", "file") == scenario.folder == Path()
    assert scenario.with_overrides({"grid.net": "x.json"}).folder_of("grid", "net") == Path()


def test_mistake_in_the_defaults_of_the_base_has_its_place_there() -> None:
    with pytest.raises(ScenarioError) as error:
        read("extends: base.yaml\n", base=BASE.replace("droop_p_percent: 2", "droop_p_percent: 0"))
    assert str(error.value).splitlines()[1].startswith("base.yaml:6:14: defaults.inverter.droop_p_percent: ")
