"""The scenario file: what it may hold, how parts of it merge, and what a user is told about a wrong one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import load
from gridloop.scenarios.event_parts import LineEvent, LoadEvent, UnitEvent
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.reading import library
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.unit_types import known_types

RIGHT = """\
schema: 1
name: two
step_ms: 5
until_s: 2
grid:
  net: case9
  base: {s_mva: 100}
  loads: {zip_p: [0, 0, 1]}
defaults:
  inverter: {droop_p_percent: 2, filter_hz: 5}
units:
  inv1: {type: inverter, bus: 1, s_rated_kva: 100000}
  inv2: {type: inverter, bus: 2, s_rated_kva: 200000, filter_hz: 7}
events:
  - {t_s: 1, do: load_step, bus: 5, p_kw: 30000}
  - {t_s: 1.5, do: unit_trip, unit: inv2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, so that messages name `case.yaml` without its path."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str) -> Scenario:
    Path("case.yaml").write_text(text, encoding="utf-8")
    return load("case.yaml")


def changed(*changes: tuple[str, str]) -> str:
    text = RIGHT
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def complaint(text: str) -> str:
    with pytest.raises(ScenarioError) as error:
        read(text)
    return str(error.value)


def right() -> dict[str, Any]:
    """The same scenario as a mapping."""
    return {
        "schema": 1, "name": "two", "until_s": 2,
        "grid": {"net": "case9"},
        "units": {
            "inv1": {"type": "inverter", "bus": 1, "s_rated_kva": 1000},
            "inv2": {"type": "inverter", "bus": 2, "s_rated_kva": 2000},
        },
        "events": [
            {"t_s": 1, "do": "load_step", "bus": 5, "p_kw": 300},
            {"t_s": 1.5, "do": "unit_trip", "unit": "inv2"},
        ],
    }  # fmt: skip


# --- what is right ---


def test_library_scenario_loads() -> None:
    ieee9 = load("ieee9")
    assert (ieee9.name, ieee9.mode, ieee9.start) == ("ieee9", "rms", "power_flow")
    assert (ieee9.step_ms, ieee9.until_s, ieee9.seed) == (5, 6, 1)
    assert (ieee9.grid.net, ieee9.grid.f_nom_hz) == ("case9", 60)
    assert ieee9.grid.base is not None and ieee9.grid.base.s_mva == 100
    assert ieee9.grid.loads.zip_p == (0, 0, 1)
    assert [(name, unit.bus) for name, unit in ieee9.units.items()] == [
        ("inv1", "1"), ("inv2", "2"), ("inv3", "3"),
    ]  # fmt: skip
    assert [unit.parameters["s_rated_kva"] for unit in ieee9.units.values()] == [100_000, 200_000, 125_000]
    load_step, line_open = ieee9.events
    assert load_step == LoadEvent(t_s=1, do="load_step", bus="5", p_kw=30_000, q_kvar=10_000)
    assert line_open == LineEvent(t_s=2, do="line_open", line="6-7")


@pytest.mark.parametrize("name", sorted(library()))
def test_every_library_scenario_loads(name: str) -> None:
    assert load(name).name == name


@pytest.mark.usefixtures("folder")
def test_what_is_absent_has_its_default() -> None:
    scenario = read(
        "schema: 1\nname: least\nuntil_s: 1\ngrid: {net: case9}\n"
        "units: {inv1: {type: inverter, bus: 1, s_rated_kva: 1}}\n"
    )
    assert (scenario.step_ms, scenario.seed, scenario.mode, scenario.start) == (5, 0, "rms", "power_flow")
    assert (scenario.title, scenario.events, scenario.grid.base, scenario.grid.f_nom_hz) == ("", (), None, None)
    assert scenario.record.every_ms is None
    assert scenario.record.signals == ("units", "buses", "branches", "loads", "links")
    loads = scenario.grid.loads
    assert (loads.zip_p, loads.zip_q, loads.k_pf, loads.k_qf, loads.v0_pu) == (None, None, 0, 0, None)
    assert scenario.units["inv1"].z_pu is None


@pytest.mark.usefixtures("folder")
def test_yaml_is_of_version_1_2() -> None:
    # in YAML 1.1 `1e-3` is text, `no` and `off` are false, `012` is ten and `1:30` ninety
    scenario = read(changed(("step_ms: 5", "step_ms: 1e-3"), ("name: two", "name: no\ntitle: off")))
    assert (scenario.step_ms, scenario.name, scenario.title) == (0.001, "no", "off")
    assert read(changed(("until_s: 2", "until_s: 012"))).until_s == 12
    assert read(changed(("name: two", "name: two\ntitle: 1:30"))).title == "1:30"


@pytest.mark.usefixtures("folder")
def test_byte_order_mark_is_no_part_of_the_file() -> None:
    assert read("\ufeff" + RIGHT).name == "two"
    wrong = changed(("schema: 1", "schema: 2"))
    assert complaint("\ufeff" + wrong) == complaint(wrong)


@pytest.mark.usefixtures("folder")
def test_anchors_and_merge_keys_are_read() -> None:
    scenario = read(
        changed(("inv1: {", "inv1: &one {"), ("inv2: {type: inverter, bus: 2,", "inv2: {<<: *one, bus: 2,"))
    )
    assert scenario.units["inv2"].type == "inverter"
    assert scenario.units["inv2"].bus == "2"


@pytest.mark.usefixtures("folder")
def test_bus_and_line_are_text_also_where_the_file_has_numbers() -> None:
    scenario = read(
        changed(("bus: 5", "bus: '5'"), ("t_s: 1.5, do: unit_trip, unit: inv2", "t_s: 0, do: line_open, line: 7"))
    )
    assert scenario.units["inv1"].bus == "1"
    load_event, line_event = scenario.events
    assert isinstance(load_event, LoadEvent) and load_event.bus == "5"
    assert isinstance(line_event, LineEvent) and line_event.line == "7"


def test_mapping_is_loaded_like_a_file() -> None:
    given = right()
    scenario = load(given)
    assert scenario.units["inv1"].bus == "1"
    assert isinstance(scenario.events[1], UnitEvent)
    given["units"]["inv1"]["bus"] = 9
    assert scenario.to_dict()["units"]["inv1"]["bus"] == 1


def test_numbers_of_numpy_and_tuples_are_taken() -> None:
    given = right() | {"step_ms": np.float32(2.5), "seed": np.int64(7)}
    given["units"]["inv1"] |= {"z_pu": (np.float64(0.01), 0.1), "bus": np.int64(1)}
    scenario = load(given)
    assert (scenario.step_ms, scenario.seed) == (2.5, 7)
    assert (scenario.units["inv1"].z_pu, scenario.units["inv1"].bus) == ((0.01, 0.1), "1")
    assert scenario.to_dict()["step_ms"] == 2.5 and type(scenario.to_dict()["seed"]) is int


# --- defaults ---


@pytest.mark.usefixtures("folder")
def test_defaults_go_under_every_unit_of_the_type_and_its_own_value_wins() -> None:
    units = read(RIGHT).units
    assert units["inv1"].parameters == {"s_rated_kva": 100_000, "droop_p_percent": 2, "filter_hz": 5}
    assert units["inv2"].parameters == {"s_rated_kva": 200_000, "droop_p_percent": 2, "filter_hz": 7}


@pytest.mark.usefixtures("folder")
def test_key_that_a_unit_needs_may_come_from_the_defaults() -> None:
    text = changed((", s_rated_kva: 100000", ""), ("{droop_p_percent: 2,", "{droop_p_percent: 2, s_rated_kva: 50,"))
    assert read(text).units["inv1"].parameters["s_rated_kva"] == 50
    assert read(text).units["inv2"].parameters["s_rated_kva"] == 200_000


@pytest.mark.usefixtures("folder")
def test_mistake_in_the_defaults_is_told_once_and_where_it_stands() -> None:
    assert complaint(changed(("filter_hz: 5", "filter_khz: 5"), (", filter_hz: 7", ""))) == (
        "case.yaml has 1 problem\n"
        "case.yaml:10:34: defaults.inverter.filter_khz: unknown key; did you mean filter_hz? It is in Hz, not in kHz\n"
        "    10 |   inverter: {droop_p_percent: 2, filter_khz: 5}\n"
        "       |                                  ^"
    )


# --- what is wrong: the whole message ---

KEYS_OF_A_UNIT = (
    "agent, bus, control, device, droop_p_percent, droop_q_percent, e_max_pu, e_min_pu, efficiency_percent, filter_hz, "
    "i_max_percent, limiter_gain, limiter_rate_per_s, p_max_kw, p_min_kw, p_set_kw, q_set_kvar, s_rated_kva, "
    "source, type, v_correction_limit_pu, v_set_pu, z_pu"
)
WRONG = {
    "unknown key": (
        "step_ms: 5", "step_mss: 5",
        """\
case.yaml:3:1: step_mss: unknown key; did you mean step_ms?
     3 | step_mss: 5
       | ^""",
    ),
    "unknown key that resembles none": (
        "until_s: 2", "until_s: 2\nxyz: 3",
        """\
case.yaml:5:1: xyz: unknown key; known: clock, comms, control, defaults, events, extends, grid, grouping, \
load_shedding, market, meters, mode, name, pcc, prices, profiles, record, schema, seed, serve, start, step_ms, \
study, title, units, until_s
     5 | xyz: 3
       | ^""",
    ),
    "unknown key in the grid": (
        "net: case9", "net: case9\n  fnom_hz: 50",
        """\
case.yaml:7:3: grid.fnom_hz: unknown key; did you mean f_nom_hz?
     7 |   fnom_hz: 50
       |   ^""",
    ),
    "unknown key of a unit": (
        "bus: 1, s_rated_kva: 100000", "bus: 1, s_rated_kva: 100000, droop: 2",
        """\
case.yaml:12:55: units.inv1.droop: unknown key; known: """ + KEYS_OF_A_UNIT + """
    12 |   inv1: {type: inverter, bus: 1, s_rated_kva: 100000, droop: 2}
       |                                                       ^""",
    ),
    "key of the system at a unit": (
        "bus: 1, s_rated_kva: 100000", "bus: 1, s_rated_kva: 100000, f_nom_hz: 50",
        """\
case.yaml:12:55: units.inv1.f_nom_hz: unknown key; known: """ + KEYS_OF_A_UNIT + """
    12 |   inv1: {type: inverter, bus: 1, s_rated_kva: 100000, f_nom_hz: 50}
       |                                                       ^""",
    ),
    "missing key": ("until_s: 2\n", "", "case.yaml: until_s is missing"),
    "missing key of a unit": (
        "{type: inverter, bus: 1, s_rated_kva: 100000}", "{type: inverter, s_rated_kva: 100000}",
        """\
case.yaml:12:3: units.inv1: bus is missing
    12 |   inv1: {type: inverter, s_rated_kva: 100000}
       |   ^""",
    ),
    "missing parameter of a unit": (
        ", s_rated_kva: 100000", "",
        """\
case.yaml:12:3: units.inv1: s_rated_kva is missing
    12 |   inv1: {type: inverter, bus: 1}
       |   ^""",
    ),
    "text for a number": (
        "step_ms: 5", "step_ms: five",
        """\
case.yaml:3:1: step_ms: must be a number, got 'five'
     3 | step_ms: five
       | ^""",
    ),
    "digits in quotes": (
        "step_ms: 5", "step_ms: '5'",
        """\
case.yaml:3:1: step_ms: must be a number, got '5'; write 5 without quotes
     3 | step_ms: '5'
       | ^""",
    ),
    "truth value for a number": (
        "step_ms: 5", "step_ms: true",
        """\
case.yaml:3:1: step_ms: must be a number, got True
     3 | step_ms: true
       | ^""",
    ),
    "text for a unit's number": (
        "s_rated_kva: 100000", "s_rated_kva: big",
        """\
case.yaml:12:34: units.inv1.s_rated_kva: must be a number, got 'big'
    12 |   inv1: {type: inverter, bus: 1, s_rated_kva: big}
       |                                  ^""",
    ),
    "fraction for a whole number": (
        "until_s: 2", "until_s: 2\nseed: 1.5",
        """\
case.yaml:5:1: seed: must be a whole number, got 1.5
     5 | seed: 1.5
       | ^""",
    ),
    "number for text": (
        "name: two", "name: 2",
        """\
case.yaml:2:1: name: must be text (in quotes, if it looks like a number), got 2
     2 | name: 2
       | ^""",
    ),
    "name that is no file's name": (
        "name: two", "name: a/b",
        """\
case.yaml:2:1: name: may hold letters, digits, - and _ only, got 'a/b'
     2 | name: a/b
       | ^""",
    ),
    "map for text": (
        "bus: 5", "bus: {5: 6}",
        """\
case.yaml:15:29: events.0.bus: must be text (in quotes, if it looks like a number), got {'5': 6}
    15 |   - {t_s: 1, do: load_step, bus: {5: 6}, p_kw: 30000}
       |                             ^""",
    ),
    "text for a map": (
        "base: {s_mva: 100}", "base: 100",
        """\
case.yaml:7:3: grid.base: must be a map of keys, got 100
     7 |   base: 100
       |   ^""",
    ),
    "number for a list": (
        "zip_p: [0, 0, 1]", "zip_p: 1",
        """\
case.yaml:8:11: grid.loads.zip_p: must be a list, got 1
     8 |   loads: {zip_p: 1}
       |           ^""",
    ),
    "not a number": (
        "step_ms: 5", "step_ms: .nan",
        """\
case.yaml:3:1: step_ms: must be a finite number, got nan
     3 | step_ms: .nan
       | ^""",
    ),
    "infinite end": (
        "until_s: 2", "until_s: .inf",
        """\
case.yaml:4:1: until_s: must be a finite number, got inf
     4 | until_s: .inf
       | ^""",
    ),
    "rating that is not a number": (
        "s_rated_kva: 100000", "s_rated_kva: .nan",
        """\
case.yaml:12:34: units.inv1.s_rated_kva: must be a finite number, got nan
    12 |   inv1: {type: inverter, bus: 1, s_rated_kva: .nan}
       |                                  ^""",
    ),
    "limit that is none": (
        "bus: 1, s_rated_kva", "bus: 1, p_max_kw: .inf, s_rated_kva",
        """\
case.yaml:12:34: units.inv1.p_max_kw: must be a finite number, got inf
    12 |   inv1: {type: inverter, bus: 1, p_max_kw: .inf, s_rated_kva: 100000}
       |                                  ^""",
    ),
    "negative rating": (
        "s_rated_kva: 100000", "s_rated_kva: -1",
        """\
case.yaml:12:34: units.inv1.s_rated_kva: s_rated_kva = -1 must be > 0
    12 |   inv1: {type: inverter, bus: 1, s_rated_kva: -1}
       |                                  ^""",
    ),
    "step 0": (
        "step_ms: 5", "step_ms: 0",
        """\
case.yaml:3:1: step_ms: must be greater than 0, got 0
     3 | step_ms: 0
       | ^""",
    ),
    "step of less than a microsecond": (
        "step_ms: 5", "step_ms: 2.50025",
        """\
case.yaml:3:1: step_ms: must be a multiple of 0.001 ms, got 2.50025
     3 | step_ms: 2.50025
       | ^""",
    ),
    "recording that no step meets": (
        "until_s: 2", "until_s: 2\nrecord: {every_ms: 7}",
        """\
case.yaml:5:10: record.every_ms: must be a multiple of step_ms = 5, got 7
     5 | record: {every_ms: 7}
       |          ^""",
    ),
    "unknown signal": (
        "until_s: 2", "until_s: 2\nrecord: {signals: [units, bus]}",
        """\
case.yaml:5:27: record.signals.1: must be 'units', 'buses', 'branches', 'loads' or 'links', got 'bus'
     5 | record: {signals: [units, bus]}
       |                           ^""",
    ),
    "shares that do not sum to 1": (
        "zip_p: [0, 0, 1]", "zip_p: [0, 0.5, 1]",
        """\
case.yaml:8:11: grid.loads.zip_p: shares of constant Z, I, P sum to 1.5, not 1, got [0, 0.5, 1]
     8 |   loads: {zip_p: [0, 0.5, 1]}
       |           ^""",
    ),
    "two shares": (
        "zip_p: [0, 0, 1]", "zip_p: [0, 1]",
        """\
case.yaml:8:11: grid.loads.zip_p: has too few values
     8 |   loads: {zip_p: [0, 1]}
       |           ^""",
    ),
    "four shares": (
        "zip_p: [0, 0, 1]", "zip_p: [0, 0, 1, 0]",
        """\
case.yaml:8:11: grid.loads.zip_p: must have 3 values, got [0, 0, 1, 0]
     8 |   loads: {zip_p: [0, 0, 1, 0]}
       |           ^""",
    ),
    "impedance of one number": (
        "bus: 1, s_rated_kva", "bus: 1, z_pu: 0.1, s_rated_kva",
        """\
case.yaml:12:34: units.inv1.z_pu: must be a list, got 0.1
    12 |   inv1: {type: inverter, bus: 1, z_pu: 0.1, s_rated_kva: 100000}
       |                                  ^""",
    ),
    "unknown event": (
        "do: load_step", "do: load_stop",
        """\
case.yaml:15:14: events.0.do: unknown event; did you mean load_step?
    15 |   - {t_s: 1, do: load_stop, bus: 5, p_kw: 30000}
       |              ^""",
    ),
    "event that does nothing": (
        "do: load_step, ", "",
        """\
case.yaml:15:5: events.0: `do` is missing: it says what happens
    15 |   - {t_s: 1, bus: 5, p_kw: 30000}
       |     ^""",
    ),
    "key of another event": (
        "do: unit_trip, unit: inv2", "do: unit_trip, unit: inv2, bus: 2",
        """\
case.yaml:16:43: events.1.bus: unknown key; known: do, t_s, unit
    16 |   - {t_s: 1.5, do: unit_trip, unit: inv2, bus: 2}
       |                                           ^""",
    ),
    "event before the start": (
        "t_s: 1,", "t_s: -1,",
        """\
case.yaml:15:6: events.0.t_s: must be at least 0, got -1
    15 |   - {t_s: -1, do: load_step, bus: 5, p_kw: 30000}
       |      ^""",
    ),
    "unknown unit in an event": (
        "unit: inv2", "unit: inv3",
        """\
case.yaml:16:31: events.1.unit: there is no unit 'inv3'; did you mean inv2?
    16 |   - {t_s: 1.5, do: unit_trip, unit: inv3}
       |                               ^""",
    ),
    "unknown type of unit": (
        "inv1: {type: inverter", "inv1: {type: invertor",
        """\
case.yaml:12:10: units.inv1.type: unknown type 'invertor'; did you mean inverter?
    12 |   inv1: {type: invertor, bus: 1, s_rated_kva: 100000}
       |          ^""",
    ),
    "dot in a unit's name": (
        "inv1:", "inv.1:",
        """\
case.yaml:12:3: units.inv.1: a unit's name has no dot
    12 |   inv.1: {type: inverter, bus: 1, s_rated_kva: 100000}
       |   ^""",
    ),
    "unit without content": (
        "inv1: {type: inverter, bus: 1, s_rated_kva: 100000}", "inv1:",
        """\
case.yaml:12:3: units.inv1: must be a map of keys, got nothing
    12 |   inv1:
       |   ^""",
    ),
    "number as a unit's name": (
        "inv1: {type: inverter, bus: 1, s_rated_kva: 100000}", "1: {type: inverter, bus: 1, s_rated_kva: 0}",
        """\
case.yaml:12:31: units.1.s_rated_kva: s_rated_kva = 0 must be > 0
    12 |   1: {type: inverter, bus: 1, s_rated_kva: 0}
       |                               ^""",
    ),
    "defaults of a type that no unit has": (
        "  inverter: {droop_p_percent", "  diesel: {}\n  inverter: {droop_p_percent",
        """\
case.yaml:10:3: defaults.diesel: no unit has this type
    10 |   diesel: {}
       |   ^""",
    ),
    "defaults that are a list": (
        "defaults:\n  inverter: {droop_p_percent: 2, filter_hz: 5}", "defaults: [inverter]",
        """\
case.yaml:9:1: defaults: must be a map of keys, got ['inverter']
     9 | defaults: [inverter]
       | ^""",
    ),
    "defaults without content": (
        "defaults:\n  inverter: {droop_p_percent: 2, filter_hz: 5}", "defaults:",
        """\
case.yaml:9:1: defaults: must be a map of keys, got nothing
     9 | defaults:
       | ^""",
    ),
    "another schema": (
        "schema: 1", "schema: 2",
        """\
case.yaml:1:1: schema: must be 1, got 2
     1 | schema: 2
       | ^""",
    ),
    "unknown start": (
        "until_s: 2", "until_s: 2\nstart: flat",
        """\
case.yaml:5:1: start: must be 'power_flow' or 'droop', got 'flat'
     5 | start: flat
       | ^""",
    ),
    "unknown grouping": (
        "until_s: 2", "until_s: 2\ngrouping: steps",
        """\
case.yaml:5:1: grouping: must be 'kind' or 'step', got 'steps'
     5 | grouping: steps
       | ^""",
    ),
    "base of no size": (
        "s_mva: 100", "s_mva: 0",
        """\
case.yaml:7:10: grid.base.s_mva: must be greater than 0, got 0
     7 |   base: {s_mva: 0}
       |          ^""",
    ),
    "key given twice": (
        "step_ms: 5", "step_ms: 5\nstep_ms: 6",
        """\
case.yaml:4:1: step_ms: stands twice in the same map, first in line 3: rename or delete one
     4 | step_ms: 6
       | ^""",
    ),
    "bracket that is not closed": (
        "zip_p: [0, 0, 1]", "zip_p: [0, 0, 1",
        """\
case.yaml:8:26: not YAML: expected ',' or ']', but got '}'
     8 |   loads: {zip_p: [0, 0, 1}
       |                          ^""",
    ),
    "tab for spaces": (
        "  net: case9", "\tnet: case9",
        """\
case.yaml:6:1: not YAML: found character '\\t' that cannot start any token
     6 | \tnet: case9
       | ^""",
    ),
    "control character": (
        "name: two", "name: \x01",
        "case.yaml: not YAML: unacceptable character #x0001: special characters are not allowed",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file_is_told_with_its_place(old: str, new: str, message: str) -> None:
    assert complaint(changed((old, new))) == f"case.yaml has 1 problem\n{message}"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "just words\n", "# nothing but a comment\n"])
def test_file_that_is_no_map(text: str) -> None:
    assert complaint(text) == (
        "case.yaml has 1 problem\ncase.yaml: a scenario is a map of keys, beginning with schema: 1"
    )


@pytest.mark.usefixtures("folder")
def test_scenario_without_units() -> None:
    text = RIGHT[: RIGHT.index("defaults:")] + "units: {}\n"
    assert complaint(text).splitlines()[1] == "case.yaml:9:1: units: must not be empty, got {}"


@pytest.mark.usefixtures("folder")
def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = changed(
        ("schema: 1\n", ""), ("step_ms: 5", "step_ms: 0"), ("filter_hz: 5", "filter_hz: -5"), ("bus: 5, ", ""),
        ("filter_hz: 7", "filter_hz: seven"), ("inv1: {type: inverter", "inv1: {type: wheel"),
    )  # fmt: skip
    known = f"known: {', '.join(known_types())}, MODULE:MODEL"
    assert (
        complaint(text)
        == f"""\
case.yaml has 5 problems
case.yaml: schema is missing
case.yaml:2:1: step_ms: must be greater than 0, got 0
     2 | step_ms: 0
       | ^
case.yaml:11:10: units.inv1.type: unknown type 'wheel'; {known}
    11 |   inv1: {{type: wheel, bus: 1, s_rated_kva: 100000}}
       |          ^
case.yaml:12:55: units.inv2.filter_hz: must be a number, got 'seven'
    12 |   inv2: {{type: inverter, bus: 2, s_rated_kva: 200000, filter_hz: seven}}
       |                                                       ^
case.yaml:14:5: events.0: bus is missing
    14 |   - {{t_s: 1, do: load_step, p_kw: 30000}}
       |     ^"""
    )


@pytest.mark.usefixtures("folder")
def test_problems_are_there_for_programs_too() -> None:
    with pytest.raises(ScenarioError) as error:
        read(changed(("step_ms: 5", "step_ms: 0"), ("bus: 5, ", "")))
    assert [(problem.path, problem.message) for problem in error.value.problems] == [
        (("step_ms",), "must be greater than 0, got 0"),
        (("events", 0), "bus is missing"),
    ]


@pytest.mark.usefixtures("folder")
def test_value_of_a_merge_key_is_reported_at_the_map_that_takes_it() -> None:
    text = changed(
        ("inv1: {type: inverter, bus: 1, s_rated_kva: 100000}", "inv1: &one {type: inverter, bus: 1, s_rated_kva: 0}"),
        ("inv2: {type: inverter, bus: 2, s_rated_kva: 200000, ", "inv2: {<<: *one, bus: 2, "),
    )  # fmt: skip
    first, second = (line for line in complaint(text).splitlines() if "case.yaml:" in line)
    assert first == "case.yaml:12:39: units.inv1.s_rated_kva: s_rated_kva = 0 must be > 0"
    assert second == "case.yaml:13:3: units.inv2.s_rated_kva: s_rated_kva = 0 must be > 0"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other.yaml", "other.yaml: there is no such file or library scenario"),
        ("ieee8", "ieee8: there is no such file or library scenario; did you mean ieee9?"),
        ("sub/other.yaml", "sub/other.yaml: there is no such file or library scenario"),
    ],
)
def test_no_such_file(name: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load(name)
    assert str(error.value) == f"{name} has 1 problem\n{message}"


@pytest.mark.usefixtures("folder")
def test_file_that_is_no_text() -> None:
    Path("case.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(ScenarioError) as error:
        load("case.yaml")
    assert str(error.value) == ("case.yaml has 1 problem\ncase.yaml: the file is not text in UTF-8: byte 7 is wrong")


def test_wrong_mapping_is_told_without_lines() -> None:
    with pytest.raises(ScenarioError) as error:
        load(right() | {"until_s": 0, "sed": 1})
    assert str(error.value) == (
        "scenario has 2 problems\n"
        "scenario: until_s: must be greater than 0, got 0\n"
        "scenario: sed: unknown key; did you mean seed?"
    )


@pytest.mark.parametrize("every_ms", [2.5, 5, 10, 0.5])
def test_recording_may_be_a_multiple_or_a_whole_part_of_the_step(every_ms: float) -> None:
    assert load(right() | {"record": {"every_ms": every_ms}}).record.every_ms == every_ms


def test_rounding_makes_no_wrong_multiple() -> None:
    # 0.3 / 0.1 is 2.9999999999999996 in binary numbers
    given = right() | {"step_ms": 0.1, "record": {"every_ms": 0.3}}
    assert load(given).record.every_ms == 0.3


# --- values from outside the file ---


def test_override_by_a_dotted_path() -> None:
    scenario = load(right()).with_overrides({"step_ms": 2.5, "units.inv2.droop_p_percent": 1})
    assert scenario.step_ms == 2.5
    assert scenario.units["inv2"].parameters["droop_p_percent"] == 1
    assert "droop_p_percent" not in scenario.units["inv1"].parameters


def test_override_of_every_unit() -> None:
    scenario = load(right()).with_overrides({"units.*.droop_p_percent": 1, "units.inv2.droop_p_percent": 3})
    assert [unit.parameters["droop_p_percent"] for unit in scenario.units.values()] == [1, 3]


def test_override_of_some_units() -> None:
    scenario = load(right()).with_overrides({"units.*2.filter_hz": 1})
    assert [unit.parameters.get("filter_hz") for unit in scenario.units.values()] == [None, 1]


def test_list_that_goes_to_every_unit_is_a_list_of_each() -> None:
    scenario = load(right()).with_overrides({"units.*.z_pu": [0.01, 0.1], "units.inv2.z_pu.1": 0.2})
    assert [unit.z_pu for unit in scenario.units.values()] == [(0.01, 0.1), (0.01, 0.2)]


def test_override_by_the_index_of_a_list() -> None:
    scenario = load(right()).with_overrides({"events.0.p_kw": 500, "events.1.t_s": 1.75})
    assert isinstance(scenario.events[0], LoadEvent) and scenario.events[0].p_kw == 500
    assert scenario.events[1].t_s == 1.75


def test_override_of_every_item_of_a_list() -> None:
    assert [event.t_s for event in load(right()).with_overrides({"events.*.t_s": 1.75}).events] == [1.75, 1.75]


def test_override_of_a_whole_list() -> None:
    assert load(right()).with_overrides({"events": []}).events == ()


def test_override_makes_the_optional_map_that_it_needs() -> None:
    scenario = load(right()).with_overrides(
        {"grid.base.s_mva": 1, "record.every_ms": 10, "grid.loads.k_pf": 1.5, "defaults.inverter": {"filter_hz": 9}}
    )  # fmt: skip
    assert scenario.grid.base is not None and scenario.grid.base.s_mva == 1
    assert (scenario.record.every_ms, scenario.grid.loads.k_pf) == (10, 1.5)
    assert scenario.units["inv1"].parameters["filter_hz"] == 9


def test_override_beats_the_defaults_where_it_names_a_unit() -> None:
    scenario = load(right() | {"defaults": {"inverter": {"filter_hz": 9}}})
    changed_units = scenario.with_overrides({"units.inv1.filter_hz": 3, "defaults.inverter.filter_hz": 4}).units
    assert [unit.parameters["filter_hz"] for unit in changed_units.values()] == [3, 4]


def test_overrides_leave_the_scenario_and_the_given_values_as_they_were() -> None:
    scenario, z_pu = load(right()), [0.01, 0.1]
    before = scenario.to_dict()
    other = scenario.with_overrides({"units.*.z_pu": z_pu, "events.0.p_kw": 500, "grid.base.s_mva": 1})
    z_pu[0] = 9
    assert scenario.to_dict() == before == right()
    assert scenario.grid.base is None
    assert other.units["inv1"].z_pu == (0.01, 0.1)
    assert other.to_dict()["units"]["inv1"]["z_pu"] == [0.01, 0.1]


def test_overrides_add_up() -> None:
    scenario = load(right()).with_overrides({"step_ms": 2.5}).with_overrides({"until_s": 9})
    assert (scenario.step_ms, scenario.until_s) == (2.5, 9)


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (
            "control.period_ms",
            "control; known: comms, defaults, events, grid, name, prices, record, schema, serve, study, units, until_s",
        ),
        ("recrod.every_ms", "recrod; did you mean record?"),
        ("units.inv7.filter_hz", "units.inv7; did you mean inv2?"),
        ("units.battery*.filter_hz", "units.battery*; known: inv1, inv2"),
        ("units.battery*", "units.battery*; known: inv1, inv2"),
        ("events.2.t_s", "events.2; events has the indices 0 to 1"),
        ("events.2", "events.2; events has the indices 0 to 1"),
        ("events.first.t_s", "events.first; events has the indices 0 to 1"),
        ("name.x", "name.x"),
        ("name.x.y", "name.x"),
    ],
)
def test_override_of_a_path_that_is_not_there(path: str, missing: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load(right()).with_overrides({path: 1})
    assert str(error.value) == f"scenario has 1 problem\nscenario: --set {path}: there is no {missing}"


def test_all_missing_paths_come_at_once() -> None:
    with pytest.raises(ScenarioError, match="scenario has 2 problems"):
        load(right()).with_overrides({"a.b": 1, "c.d": 2, "step_ms": 2.5})


@pytest.mark.usefixtures("folder")
def test_wrong_override_is_not_blamed_on_a_line_of_the_file() -> None:
    with pytest.raises(ScenarioError) as error:
        read(RIGHT).with_overrides({"step_ms": -1, "units.*.filter_hz": 0, "sed": 3})
    assert (
        str(error.value)
        == """\
case.yaml has 4 problems
case.yaml: sed: unknown key; did you mean seed? (set from outside the file)
case.yaml: step_ms: must be greater than 0, got -1 (set from outside the file)
case.yaml: units.inv1.filter_hz: filter_hz = 0 must be > 0 (set from outside the file)
case.yaml: units.inv2.filter_hz: filter_hz = 0 must be > 0 (set from outside the file)"""
    )


@pytest.mark.usefixtures("folder")
def test_what_stays_wrong_in_the_file_keeps_its_line_beside_an_override() -> None:
    with pytest.raises(ScenarioError) as error:
        read(RIGHT).with_overrides({"units": {"inv1": {"type": "inverter", "bus": 1, "s_rated_kva": 1}}})
    assert str(error.value).splitlines()[1].startswith("case.yaml:16:31: events.1.unit: there is no unit 'inv2'")
