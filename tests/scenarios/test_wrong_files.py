"""Wrong scenario files, each with the whole answer that its user gets: what, where, what to do."""

from pathlib import Path

import pandapower
import pytest

from gridloop.scenarios import load
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import plan
from wrong_text import Change, answer, changed

INV1 = "  inv1: {type: inverter, bus: 1, s_rated_kva: 1000, z_pu: [0.01, 0.1]}\n"
INV2 = "  inv2: {type: inverter, bus: 2, s_rated_kva: 2000}\n"
TRIP = "  - {t_s: 1.5, do: unit_trip, unit: inv2}\n"
RIGHT = f"""\
schema: 1
name: wrong
step_ms: 5
until_s: 2
grid:
  net: case9
  base: {{s_mva: 1, v_kv: 11}}
  f_nom_hz: 50
units:
{INV1}{INV2}  inv3: {{type: inverter, bus: 3, s_rated_kva: 1250}}
events:
  - {{t_s: 1, do: load_step, bus: 5, p_kw: 300}}
{TRIP}"""
CLOCK = "clock: 2026-06-21T12:00:00+02:00\n"
DAY = CLOCK + 'profiles:\n  day: {file: day.csv, columns: {p: "P[kW]", q: "Q[kvar]"}}\n'


def another_unit(*lines: str) -> Change:
    return INV2, INV2 + "".join(f"  {line}\n" for line in lines)


def another_event(line: str) -> Change:
    return TRIP, f"{TRIP}  - {line}\n"


def above_units(*lines: str) -> Change:
    return "units:\n", "".join(line if line.endswith("\n") else f"{line}\n" for line in lines) + "units:\n"


@pytest.fixture(scope="module")
def islands() -> str:
    """A net of two lines, A-B and C-D, that nothing connects."""
    net = pandapower.create_empty_network()
    buses = [pandapower.create_bus(net, 0.4, name=name) for name in "ABCD"]
    for first in (0, 2):
        pandapower.create_line_from_parameters(net, buses[first], buses[first + 1], 1, 0.1, 0.1, 0, 1)
        pandapower.create_load(net, buses[first + 1], 0.01)
    return str(pandapower.to_json(net, None))


@pytest.fixture
def folder(islands: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with what the wrong files name, or almost name."""
    monkeypatch.chdir(tmp_path)
    rows = ["2026-06-21T12:00:00+02:00,1,0", "2026-06-22T12:00:00+02:00,2,0"]
    Path("day.csv").write_text("\n".join(["time,P[kW],Q[kvar]", *rows]))
    Path("own.py").write_text("from gridloop.simulators.models.inverter import MODEL\nNUMBER = 1\n")
    Path("broken.py").write_text("import no_such_module\n")
    for name, change in {"like_ours": "slopes=tuple", "unrated": "params=tuple"}.items():
        Path(f"{name}.py").write_text(
            "from dataclasses import replace\nfrom gridloop.simulators.models import inverter\n"
            f"MODEL = replace(inverter.MODEL, {change})\n"
        )
    for name, text in {"village.json": "{}", "other.json": "{}", "day.xlsx": "", "islands.json": islands}.items():
        Path(name).write_text(text)
    return tmp_path


def with_head(message: str) -> str:
    """Most have one problem and are written here without saying so."""
    return message if " has " in message.splitlines()[0].split(":")[0] else f"wrong.yaml has 1 problem\n{message}"


WRONG: dict[str, tuple[list[Change], str]] = {
    "misspelt section": (
        [("units:\n", "unts:\n")],
        """\
wrong.yaml:9:1: unts: unknown key; did you mean units?
     9 | unts:
       | ^""",
    ),
    "wrong unit of a rating": (
        [("s_rated_kva: 2000", "s_rated_kw: 2000")],
        """\
wrong.yaml:11:34: units.inv2.s_rated_kw: unknown key; did you mean s_rated_kva? It is in kVA, not in kW
    11 |   inv2: {type: inverter, bus: 2, s_rated_kw: 2000}
       |                                  ^""",
    ),
    "wrong unit of the step": (
        [("step_ms: 5", "step_s: 0.005")],
        """\
wrong.yaml:3:1: step_s: unknown key; did you mean step_ms? It is in ms, not in s
     3 | step_s: 0.005
       | ^""",
    ),
    "wrong unit in an event": (
        [("p_kw: 300", "p_mw: 0.3")],
        """\
wrong.yaml:14:37: events.0.p_mw: unknown key; did you mean p_kw? It is in kW, not in MW
    14 |   - {t_s: 1, do: load_step, bus: 5, p_mw: 0.3}
       |                                     ^""",
    ),
    "unit left out of a key": (
        [("until_s: 2", "until: 2")],
        """\
wrong.yaml:4:1: until: unknown key; did you mean until_s? It is in s
     4 | until: 2
       | ^""",
    ),
    "wrong case": (
        [("z_pu", "Z_pu")],
        """\
wrong.yaml:10:53: units.inv1.Z_pu: unknown key; did you mean z_pu?
    10 |   inv1: {type: inverter, bus: 1, s_rated_kva: 1000, Z_pu: [0.01, 0.1]}
       |                                                     ^""",
    ),
    "step that is no time": (
        [("step_ms: 5", "step_ms: 0")],
        """\
wrong.yaml:3:1: step_ms: must be greater than 0, got 0
     3 | step_ms: 0
       | ^""",
    ),
    "step between microseconds": (
        [("step_ms: 5", "step_ms: 0.0005")],
        """\
wrong.yaml:3:1: step_ms: must be a multiple of 0.001 ms, got 0.0005
     3 | step_ms: 0.0005
       | ^""",
    ),
    "negative end": (
        [("until_s: 2", "until_s: -2")],
        """\
wrong.yaml:4:1: until_s: must be greater than 0, got -2
     4 | until_s: -2
       | ^""",
    ),
    "NaN": (
        [("p_kw: 300", "p_kw: .nan")],
        """\
wrong.yaml:14:37: events.0.p_kw: must be a finite number, got nan
    14 |   - {t_s: 1, do: load_step, bus: 5, p_kw: .nan}
       |                                     ^""",
    ),
    "infinity": (
        [("s_rated_kva: 2000", "s_rated_kva: .inf")],
        """\
wrong.yaml:11:34: units.inv2.s_rated_kva: must be a finite number, got inf
    11 |   inv2: {type: inverter, bus: 2, s_rated_kva: .inf}
       |                                  ^""",
    ),
    "negative rating": (
        [("s_rated_kva: 2000", "s_rated_kva: -2000")],
        """\
wrong.yaml:11:34: units.inv2.s_rated_kva: s_rated_kva = -2000 must be > 0
    11 |   inv2: {type: inverter, bus: 2, s_rated_kva: -2000}
       |                                  ^""",
    ),
    "decimal comma": (
        [("s_rated_kva: 2000", "s_rated_kva: '2,5'")],
        """\
wrong.yaml:11:34: units.inv2.s_rated_kva: must be a number, got '2,5'; write 2.5
    11 |   inv2: {type: inverter, bus: 2, s_rated_kva: '2,5'}
       |                                  ^""",
    ),
    "value with its unit": (
        [("step_ms: 5", "step_ms: 5 ms")],
        """\
wrong.yaml:3:1: step_ms: must be a number, got '5 ms'; write 5 alone, the unit is in the key
     3 | step_ms: 5 ms
       | ^""",
    ),
    "negative resistance": (
        [("z_pu: [0.01, 0.1]", "z_pu: [-0.01, 0.1]")],
        """\
wrong.yaml:10:53: units.inv1.z_pu: the first is the resistance, which must be at least 0, got [-0.01, 0.1]
    10 |   inv1: {type: inverter, bus: 1, s_rated_kva: 1000, z_pu: [-0.01, 0.1]}
       |                                                     ^""",
    ),
    "unit given twice": (
        [another_unit("inv1: {type: inverter, bus: 2, s_rated_kva: 2000}")],
        """\
wrong.yaml:12:3: units.inv1: stands twice in the same map, first in line 10: rename or delete one
    12 |   inv1: {type: inverter, bus: 2, s_rated_kva: 2000}
       |   ^""",
    ),
    "key given twice, once as a number": (
        [another_unit("7: {type: inverter, bus: 7, s_rated_kva: 1}", "'7': {type: inverter, bus: 8, s_rated_kva: 1}")],
        """\
wrong.yaml:13:3: units.7: stands twice in the same map, first in line 12: rename or delete one
    13 |   '7': {type: inverter, bus: 8, s_rated_kva: 1}
       |   ^""",
    ),
    "units as a list": (
        [
            (INV1, "  - {type: inverter, bus: 1, s_rated_kva: 1000}\n"),
            (INV2, ""),
            ("  inv3: {type: inverter, bus: 3, s_rated_kva: 1250}\n", ""),
            (TRIP, ""),
        ],
        """\
wrong.yaml:9:1: units: must be a map of keys, got [{'type': 'inverter', 'bus': 1, 's_rated_kva': 1000}]
     9 | units:
       | ^""",
    ),
    "unknown type": (
        [("inv2: {type: inverter", "inv2: {type: inverer")],
        """\
wrong.yaml:11:10: units.inv2.type: unknown type 'inverer'; did you mean inverter?
    11 |   inv2: {type: inverer, bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "unknown control": (
        [("bus: 2, s_rated_kva: 2000", "bus: 2, control: folowing, s_rated_kva: 2000")],
        """\
wrong.yaml:11:34: units.inv2.control: must be 'droop' or 'following', got 'folowing'
    11 |   inv2: {type: inverter, bus: 2, control: folowing, s_rated_kva: 2000}
       |                                  ^""",
    ),
    "control of a unit without one": (
        [another_unit("home: {type: profile, control: droop, bus: 5, p_load: 3}")],
        """\
wrong.yaml:12:25: units.home.control: a unit of type profile has no choice of control: delete this key
    12 |   home: {type: profile, control: droop, bus: 5, p_load: 3}
       |                         ^""",
    ),
    "impedance of a following unit": (
        [("bus: 2, s_rated_kva: 2000", "bus: 2, control: following, z_pu: [0, 0.1], s_rated_kva: 2000")],
        """\
wrong.yaml:11:54: units.inv2.z_pu: a unit with control: following has no z_pu: delete this key
    11 |   inv2: {type: inverter, bus: 2, control: following, z_pu: [0, 0.1], s_rated_kva: 2000}
       |                                                      ^""",
    ),
    "key of the other control": (
        [("bus: 2, s_rated_kva: 2000", "bus: 2, control: following, droop_p_percent: 2, s_rated_kva: 2000")],
        """\
wrong.yaml:11:54: units.inv2.droop_p_percent: a unit with control: following has no droop_p_percent: delete this key
    11 |   inv2: {type: inverter, bus: 2, control: following, droop_p_percent: 2, s_rated_kva: 2000}
       |                                                      ^""",
    ),
    "current limit of an ideal source": (
        [("s_rated_kva: 2000", "s_rated_kva: 2000, i_max_percent: 120")],
        """\
wrong.yaml:11:53: units.inv2.i_max_percent: an ideal voltage source cannot limit its current: give the unit a z_pu, \
e.g. z_pu: [0.01, 0.1], or take i_max_percent away
    11 |   inv2: {type: inverter, bus: 2, s_rated_kva: 2000, i_max_percent: 120}
       |                                                     ^""",
    ),
    "power given twice": (
        [another_unit("home: {type: profile, bus: 5, p_gen: 3, p_load: 3}")],
        """\
wrong.yaml:12:3: units.home: give p_gen or p_load, not both
    12 |   home: {type: profile, bus: 5, p_gen: 3, p_load: 3}
       |   ^""",
    ),
    "no power given": (
        [another_unit("home: {type: profile, bus: 5, q_load: 3}")],
        """\
wrong.yaml:12:3: units.home: give p_gen or p_load: PROFILE.COLUMN, or a number [kW]
    12 |   home: {type: profile, bus: 5, q_load: 3}
       |   ^""",
    ),
    "power with a unit": (
        [another_unit("home: {type: profile, bus: 5, p_load_kw: 3}")],
        """\
wrong.yaml:12:33: units.home.p_load_kw: unknown key; did you mean p_load?
    12 |   home: {type: profile, bus: 5, p_load_kw: 3}
       |                                 ^""",
    ),
    "power that is no column": (
        [another_unit("home: {type: profile, bus: 5, p_load: day}")],
        """\
wrong.yaml:12:33: units.home.p_load: must be PROFILE.COLUMN or a number, got 'day'
    12 |   home: {type: profile, bus: 5, p_load: day}
       |                                 ^""",
    ),
    "unknown profile": (
        [another_unit("home: {type: profile, bus: 5, p_load: days.p}"), above_units(DAY)],
        """\
wrong.yaml:15:33: units.home.p_load: there is no profile 'days'; did you mean day?
    15 |   home: {type: profile, bus: 5, p_load: days.p}
       |                                 ^""",
    ),
    "no profiles at all": (
        [another_unit("home: {type: profile, bus: 5, p_load: day.p}")],
        """\
wrong.yaml:12:33: units.home.p_load: there is no profile 'day'; add `profiles:` to the scenario
    12 |   home: {type: profile, bus: 5, p_load: day.p}
       |                                 ^""",
    ),
    "unknown column of a profile": (
        [another_unit("home: {type: profile, bus: 5, p_load: day.pp}"), above_units(DAY)],
        """\
wrong.yaml:15:33: units.home.p_load: profile day has no column 'pp'; did you mean p?
    15 |   home: {type: profile, bus: 5, p_load: day.pp}
       |                                 ^""",
    ),
    "reactive power as active": (
        [another_unit("home: {type: profile, bus: 5, p_load: day.q}"), above_units(DAY)],
        """\
wrong.yaml:15:33: units.home.p_load: needs a column in W, kW or MW; q is in kvar
    15 |   home: {type: profile, bus: 5, p_load: day.q}
       |                                 ^""",
    ),
    "profile without a clock": (
        [above_units(DAY.replace(CLOCK, ""))],
        """\
wrong.yaml:9:1: profiles: needs `clock:`, the date and time at t = 0, such as clock: 2026-06-21T12:00:00+02:00
     9 | profiles:
       | ^""",
    ),
    "clock without an offset": (
        [above_units("clock: 2026-06-21T12:00:00")],
        """\
wrong.yaml:9:1: clock: must end in the offset from UTC, such as +02:00 or Z, got '2026-06-21T12:00:00'
     9 | clock: 2026-06-21T12:00:00
       | ^""",
    ),
    "clock that is no time": (
        [above_units("clock: noon")],
        """\
wrong.yaml:9:1: clock: must be a date and time such as 2026-06-21T12:00:00+02:00, got 'noon'
     9 | clock: noon
       | ^""",
    ),
    "unknown time zone": (
        [above_units(DAY.replace("file:", "time_zone: Europe/Berlinn, file:"))],
        """\
wrong.yaml:11:9: profiles.day.time_zone: there is no time zone 'Europe/Berlinn'; did you mean Europe/Berlin?
    11 |   day: {time_zone: Europe/Berlinn, file: day.csv, columns: {p: "P[kW]", q: "Q[kvar]"}}
       |         ^""",
    ),
    "profile file that is missing": (
        [above_units(DAY.replace("day.csv", "dya.csv"))],
        """\
wrong.yaml:11:9: profiles.day.file: there is no file dya.csv; did you mean day.csv?
    11 |   day: {file: dya.csv, columns: {p: "P[kW]", q: "Q[kvar]"}}
       |         ^""",
    ),
    "profile of another format": (
        [above_units(DAY.replace("day.csv", "day.xlsx"))],
        """\
wrong.yaml:11:9: profiles.day.file: must end in .csv or .parquet, got 'day.xlsx'
    11 |   day: {file: day.xlsx, columns: {p: "P[kW]", q: "Q[kvar]"}}
       |         ^""",
    ),
    "column without a unit": (
        [above_units(DAY.replace("P[kW]", "P"))],
        """\
wrong.yaml:11:34: profiles.day.columns.p: must be Quantity[unit], such as P_gen[MW], got 'P'
    11 |   day: {file: day.csv, columns: {p: "P", q: "Q[kvar]"}}
       |                                  ^""",
    ),
    "unknown event": (
        [("do: unit_trip", "do: unit_stop")],
        """\
wrong.yaml:15:16: events.1.do: unknown event; did you mean unit_trip?
    15 |   - {t_s: 1.5, do: unit_stop, unit: inv2}
       |                ^""",
    ),
    "event of an unknown unit": (
        [("unit: inv2", "unit: inv9")],
        """\
wrong.yaml:15:31: events.1.unit: there is no unit 'inv9'; did you mean inv3?
    15 |   - {t_s: 1.5, do: unit_trip, unit: inv9}
       |                               ^""",
    ),
    "opening a pcc that is not there": (
        [another_event("{t_s: 1.6, do: pcc_open}")],
        """\
wrong.yaml:16:16: events.2.do: pcc_open needs a utility grid: add `pcc:` to the scenario
    16 |   - {t_s: 1.6, do: pcc_open}
       |                ^""",
    ),
    "set of no set-point": (
        [another_event("{t_s: 1.6, do: set, path: units.inv1.p_set, value: 3}")],
        """\
wrong.yaml:16:25: events.2.path: 'p_set' cannot change during a run; did you mean p_set_kw?
    16 |   - {t_s: 1.6, do: set, path: units.inv1.p_set, value: 3}
       |                         ^""",
    ),
    "set of an unknown unit": (
        [another_event("{t_s: 1.6, do: set, path: units.inv9.p_set_kw, value: 3}")],
        """\
wrong.yaml:16:25: events.2.path: there is no unit 'inv9'; did you mean inv3?
    16 |   - {t_s: 1.6, do: set, path: units.inv9.p_set_kw, value: 3}
       |                         ^""",
    ),
    "set of something else": (
        [another_event("{t_s: 1.6, do: set, path: step_ms, value: 3}")],
        """\
wrong.yaml:16:25: events.2.path: must be units.UNIT.KEY or comms.KEY, such as units.inv1.p_set_kw, \
units.*.v_set_pu or comms.delay_ms
    16 |   - {t_s: 1.6, do: set, path: step_ms, value: 3}
       |                         ^""",
    ),
    "set of what the unit has not": (
        [
            ("bus: 2, s_rated_kva: 2000", "bus: 2, control: following, s_rated_kva: 2000"),
            another_event("{t_s: 1.6, do: set, path: units.inv2.v_set_pu, value: 1}"),
        ],
        """\
wrong.yaml:16:25: events.2.path: inv2 is of type inverter with control following, which has no v_set_pu
    16 |   - {t_s: 1.6, do: set, path: units.inv2.v_set_pu, value: 1}
       |                         ^""",
    ),
    "fault of no impedance": (
        [another_event("{t_s: 1.6, do: fault, bus: 5, r_pu: 0}")],
        """\
wrong.yaml:16:5: events.2: r_pu and x_pu are both 0: give one of them a value, 0.001 is next to nothing
    16 |   - {t_s: 1.6, do: fault, bus: 5, r_pu: 0}
       |     ^""",
    ),
    "text for a truth value": (
        [another_event("{t_s: 1.6, do: pcc_close, sync: maybe}"), above_units("pcc: {bus: 4, r_pu: 0.01, x_pu: 0.1}")],
        """\
wrong.yaml:17:31: events.2.sync: must be true or false, got 'maybe'
    17 |   - {t_s: 1.6, do: pcc_close, sync: maybe}
       |                               ^""",
    ),
    "shares of a load": (
        [("  f_nom_hz: 50", "  f_nom_hz: 50\n  loads: {zip_p: [0.5, 0.5, 0.5]}")],
        """\
wrong.yaml:9:11: grid.loads.zip_p: shares of constant Z, I, P sum to 1.5, not 1, got [0.5, 0.5, 0.5]
     9 |   loads: {zip_p: [0.5, 0.5, 0.5]}
       |           ^""",
    ),
    "share above all": (
        [above_units("load_shedding: [{below_hz: 49, share_percent: 120}]")],
        """\
wrong.yaml:9:32: load_shedding.0.share_percent: must be at most 100, got 120
     9 | load_shedding: [{below_hz: 49, share_percent: 120}]
       |                                ^""",
    ),
    "shares above all": (
        [
            above_units(
                "load_shedding: [{below_hz: 49, share_percent: 60}, {below_hz: 48.8, share_percent: 50, buses: [5]}]"
            ),
        ],
        """\
wrong.yaml:9:1: load_shedding: all stages for bus 5 add up to 110 percent, more than 100
     9 | load_shedding: [{below_hz: 49, share_percent: 60}, {below_hz: 48.8, share_percent: 50, buses: [5]}]
       | ^""",
    ),
    "shedding at nominal frequency": (
        [above_units("load_shedding: [{below_hz: 50, share_percent: 20}]")],
        """\
wrong.yaml:9:18: load_shedding.0.below_hz: must be below the nominal frequency 50 Hz, got 50
     9 | load_shedding: [{below_hz: 50, share_percent: 20}]
       |                  ^""",
    ),
    "pcc without an impedance": (
        [above_units("pcc: {bus: 4}")],
        """\
wrong.yaml has 2 problems
wrong.yaml:9:1: pcc: r_pu is missing
     9 | pcc: {bus: 4}
       | ^
wrong.yaml:9:1: pcc: x_pu is missing
     9 | pcc: {bus: 4}
       | ^""",
    ),
    "meter of a meter": (
        [
            above_units(
                "meters:",
                '  m1: {of: inv1, attr: ["f[Hz]"], period_ms: 100}',
                '  m2: {of: m1, attr: ["f[Hz]"], period_ms: 100}',
            ),
        ],
        """\
wrong.yaml:11:8: meters.m2.of: 'm1' is a meter: name the entity that it measures
    11 |   m2: {of: m1, attr: ["f[Hz]"], period_ms: 100}
       |        ^""",
    ),
    "meter with a unit's name": (
        [above_units("meters:", "  inv1: {of: inv2, attr: [f], period_ms: 100}")],
        """\
wrong.yaml:10:27: meters.inv1.attr.0: must be Quantity[unit], such as P_gen[MW], got 'f'
    10 |   inv1: {of: inv2, attr: [f], period_ms: 100}
       |                           ^""",
    ),
    "module that is not there": (
        [("inv2: {type: inverter", 'inv2: {type: "my_modle:MODEL"')],
        """\
wrong.yaml:11:10: units.inv2.type: 'my_modle' cannot be imported from the current folder: ModuleNotFoundError: No \
module named 'my_modle'
    11 |   inv2: {type: "my_modle:MODEL", bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "module without the model": (
        [("inv2: {type: inverter", 'inv2: {type: "own:MODLE"')],
        """\
wrong.yaml:11:10: units.inv2.type: 'own' has no 'MODLE'; did you mean MODEL?
    11 |   inv2: {type: "own:MODLE", bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "model with the name of another": (
        [("inv2: {type: inverter", 'inv2: {type: "like_ours:MODEL"')],
        """\
wrong.yaml:11:10: units.inv2.type: the name 'Inverter' of this model is taken: give it another one, Model(name=...)
    11 |   inv2: {type: "like_ours:MODEL", bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "model without a rating": (
        [("inv2: {type: inverter", 'inv2: {type: "unrated:MODEL"')],
        """\
wrong.yaml:11:10: units.inv2.type: the parameters of 'unrated:MODEL' must be a dataclass with s_rated_kva, s_base_mva, \
f_nom_hz
    11 |   inv2: {type: "unrated:MODEL", bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "model that is none": (
        [("inv2: {type: inverter", 'inv2: {type: "own:NUMBER"')],
        """\
wrong.yaml:11:10: units.inv2.type: 'own:NUMBER' is of type int, not a gridloop.simulators.ports.Model
    11 |   inv2: {type: "own:NUMBER", bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "module that fails": (
        [("inv2: {type: inverter", 'inv2: {type: "broken:MODEL"')],
        """\
wrong.yaml:11:10: units.inv2.type: 'broken' cannot be imported from the current folder: ModuleNotFoundError: No \
module named 'no_such_module'
    11 |   inv2: {type: "broken:MODEL", bus: 2, s_rated_kva: 2000}
       |          ^""",
    ),
    "name of gridloop's own": (
        [("inv2:", "grid:"), ("unit: inv2", "unit: grid")],
        """\
wrong.yaml:11:3: units.grid: 'grid' is the name of an entity of gridloop's own: choose another
    11 |   grid: {type: inverter, bus: 2, s_rated_kva: 2000}
       |   ^""",
    ),
    "unknown net": (
        [("net: case9", "net: case99")],
        """\
wrong.yaml:6:3: grid.net: pandapower.networks has no network 'case99'; did you mean case9?
     6 |   net: case99
       |   ^""",
    ),
    "file of a net that is missing": (
        [("net: case9", "net: villag.json")],
        """\
wrong.yaml:6:3: grid.net: there is no file villag.json; did you mean village.json?
     6 |   net: villag.json
       |   ^""",
    ),
    "file of a net that is none": (
        [("net: case9", "net: other.json")],
        """\
wrong.yaml:6:3: grid.net: other.json is not a pandapower net: 'dict' object has no attribute 'version'
     6 |   net: other.json
       |   ^""",
    ),
    "unknown bus of a unit": (
        [("bus: 2,", "bus: 22,")],
        """\
wrong.yaml has 2 problems
wrong.yaml:9:1: units: bus '2' has a gen in case9 but no unit; add a unit there or take the generator out of the net
     9 | units:
       | ^
wrong.yaml:11:26: units.inv2.bus: case9 has no bus '22'; did you mean 2?
    11 |   inv2: {type: inverter, bus: 22, s_rated_kva: 2000}
       |                          ^""",
    ),
    "unknown bus of an event": (
        [("bus: 5", "bus: B5")],
        """\
wrong.yaml:14:29: events.0.bus: case9 has no bus 'B5'; did you mean 5?
    14 |   - {t_s: 1, do: load_step, bus: B5, p_kw: 300}
       |                             ^""",
    ),
    "unknown line": (
        [(TRIP, "  - {t_s: 1.5, do: line_open, line: 5-7}\n")],
        """\
wrong.yaml:15:31: events.1.line: case9 has no line '5-7'; did you mean 6-7?
    15 |   - {t_s: 1.5, do: line_open, line: 5-7}
       |                               ^""",
    ),
    "pcc at an unknown bus": (
        [above_units("pcc: {bus: 14, r_pu: 0.01, x_pu: 0.1}")],
        """\
wrong.yaml:9:7: pcc.bus: case9 has no bus '14'; did you mean 4?
     9 | pcc: {bus: 14, r_pu: 0.01, x_pu: 0.1}
       |       ^""",
    ),
    "shedding at an unknown bus": (
        [above_units("load_shedding: [{below_hz: 49, share_percent: 20, buses: [5, 77]}]")],
        """\
wrong.yaml:9:62: load_shedding.0.buses.1: case9 has no bus '77'; did you mean 7?
     9 | load_shedding: [{below_hz: 49, share_percent: 20, buses: [5, 77]}]
       |                                                              ^""",
    ),
    "meter of an unknown entity": (
        [above_units("meters:", '  m1: {of: inv7, attr: ["f[Hz]"], period_ms: 100}')],
        """\
wrong.yaml:10:8: meters.m1.of: there is no unit, bus, line or load 'inv7'; did you mean inv3?
    10 |   m1: {of: inv7, attr: ["f[Hz]"], period_ms: 100}
       |        ^""",
    ),
    "meter of what is not shown": (
        [above_units("meters:", '  m1: {of: inv1, attr: ["P_ge[MW]"], period_ms: 100}')],
        """\
wrong.yaml:10:25: meters.m1.attr.0: inv1 does not show P_ge[MW]; did you mean P_gen[MW]?
    10 |   m1: {of: inv1, attr: ["P_ge[MW]"], period_ms: 100}
       |                         ^""",
    ),
    "unit with a bus's name": (
        [("inv2:", "'5':"), ("unit: inv2", "unit: '5'")],
        """\
wrong.yaml:11:3: units.5: '5' is the name of a bus, line or load already
    11 |   '5': {type: inverter, bus: 2, s_rated_kva: 2000}
       |   ^""",
    ),
    "generator without a unit": (
        [(INV2, ""), (TRIP, "")],
        """\
wrong.yaml:9:1: units: bus '2' has a gen in case9 but no unit; add a unit there or take the generator out of the net
     9 | units:
       | ^""",
    ),
    "two ideal sources at a bus": (
        [another_unit("inv4: {type: inverter, bus: 2, s_rated_kva: 10}")],
        """\
wrong.yaml has 2 problems
wrong.yaml:11:3: units.inv2: two ideal sources at bus 2: give this one a z_pu
    11 |   inv2: {type: inverter, bus: 2, s_rated_kva: 2000}
       |   ^
wrong.yaml:12:3: units.inv4: two ideal sources at bus 2: give this one a z_pu
    12 |   inv4: {type: inverter, bus: 2, s_rated_kva: 10}
       |   ^""",
    ),
    "island that nothing feeds": (
        [
            ("net: case9", "net: islands.json"),
            ("  base: {s_mva: 1, v_kv: 11}\n", ""),
            ("bus: 1,", "bus: A,"),
            (INV2, ""),
            (
                "  inv3: {type: inverter, bus: 3, s_rated_kva: 1250}\n",
                "  pv: {type: inverter, control: following, bus: C, s_rated_kva: 50}\n",
            ),
            ("bus: 5", "bus: B"),
            (TRIP, ""),
        ],
        """\
wrong.yaml:10:3: units.pv: no grid-forming unit and no closed pcc reaches bus C: pv cannot feed a dead grid; give a \
unit of this island control: droop, or close a line to it
    10 |   pv: {type: inverter, control: following, bus: C, s_rated_kva: 50}
       |   ^""",
    ),
    "column that is missing in the file": (
        [above_units(DAY.replace("P[kW]", "PP[kW]"))],
        """\
wrong.yaml:11:34: profiles.day.columns.p: day.csv has no column 'PP[kW]'; did you mean P[kW]?
    11 |   day: {file: day.csv, columns: {p: "PP[kW]", q: "Q[kvar]"}}
       |                                  ^""",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file(changes: list[Change], message: str) -> None:
    assert answer(changed(RIGHT, changes)) == with_head(message)


@pytest.mark.usefixtures("folder")
def test_file_that_is_right() -> None:
    Path("right.yaml").write_text(
        changed(RIGHT, [above_units(DAY), another_unit("v: {type: profile, bus: 6, p_load: day.p}")])
    )
    plan(load("right.yaml"))


# --- files that extend others ---

TOP = "name: top\nextends: base.yaml\n"
CHAINS: dict[str, tuple[dict[str, str], str]] = {
    "base that is missing": (
        {"wrong.yaml": "extends: bsae.yaml\n", "base.yaml": RIGHT},
        """\
wrong.yaml:1:1: extends: bsae.yaml: there is no such file or library scenario; did you mean base.yaml?
     1 | extends: bsae.yaml
       | ^""",
    ),
    "base that is no name": (
        {"wrong.yaml": "extends: [base.yaml]\n"},
        """\
wrong.yaml:1:1: extends: must be the name of a file, got ['base.yaml']
     1 | extends: [base.yaml]
       | ^""",
    ),
    "file that extends itself": (
        {"wrong.yaml": "extends: wrong.yaml\n"},
        """\
wrong.yaml:1:1: extends: the files extend each other in a circle: wrong.yaml -> wrong.yaml
     1 | extends: wrong.yaml
       | ^""",
    ),
    "files that extend each other": (
        {"wrong.yaml": "extends: sub/a.yaml\n", "sub/a.yaml": "extends: b.yaml\n", "sub/b.yaml": "extends: a.yaml\n"},
        """\
sub/b.yaml:1:1: extends: the files extend each other in a circle: sub/a.yaml -> sub/b.yaml -> sub/a.yaml
     1 | extends: a.yaml
       | ^""",
    ),
    "mistake in the base": (
        {"wrong.yaml": TOP, "base.yaml": RIGHT.replace("step_ms: 5", "step_ms: 0")},
        """\
base.yaml:3:1: step_ms: must be greater than 0, got 0
     3 | step_ms: 0
       | ^""",
    ),
    "mistakes in both": (
        {
            "wrong.yaml": TOP + "#\n" * 20 + "until_s: 0\n",
            "base.yaml": RIGHT.replace("s_rated_kva: 1250", "s_rated_kva: -1"),
        },
        """\
wrong.yaml has 2 problems
wrong.yaml:23:1: until_s: must be greater than 0, got 0
    23 | until_s: 0
       | ^
base.yaml:12:34: units.inv3.s_rated_kva: s_rated_kva = -1 must be > 0
    12 |   inv3: {type: inverter, bus: 3, s_rated_kva: -1}
       |                                  ^""",
    ),
    "mistake in what is added to a unit of the base": (
        {"wrong.yaml": f"{TOP}units:\n  inv3: {{droop_p_percent: -2}}\n", "base.yaml": RIGHT},
        """\
wrong.yaml:4:10: units.inv3.droop_p_percent: droop_p_percent = -2 must be > 0 and < 100
     4 |   inv3: {droop_p_percent: -2}
       |          ^""",
    ),
    "key of a unit of the base that is deleted": (
        {"wrong.yaml": f"{TOP}units:\n  inv3: {{bus: null}}\n", "base.yaml": RIGHT},
        """\
wrong.yaml:4:3: units.inv3: bus is missing
     4 |   inv3: {bus: null}
       |   ^""",
    ),
    "value that a merge key brings into a list of its own": (
        {
            "wrong.yaml": TOP + "events:\n  - &e {t_s: 1, do: load_step, bus: 5, p_kw: big}\n"
            "  - {<<: *e, p_kw: 1}\n  - {<<: *e, t_s: 2}\n",
            "base.yaml": RIGHT + "  - {t_s: 1, do: load_step, bus: 5, p_kw: 1}\n",
        },
        """\
wrong.yaml has 2 problems
wrong.yaml:4:40: events.0.p_kw: must be a number, got 'big'
     4 |   - &e {t_s: 1, do: load_step, bus: 5, p_kw: big}
       |                                        ^
wrong.yaml:6:5: events.2.p_kw: must be a number, got 'big'
     6 |   - {<<: *e, t_s: 2}
       |     ^""",
    ),
    "base of a base that is no YAML": (
        {"wrong.yaml": TOP, "base.yaml": "extends: far.yaml\n", "far.yaml": "a: [\n"},
        """\
far.yaml has 1 problem
far.yaml:2:1: not YAML: expected the node content, but found '<stream end>'
     2 |
       | ^""",
    ),
    "base that is a list": (
        {"wrong.yaml": TOP, "base.yaml": "- 1\n"},
        """\
wrong.yaml:2:1: extends: base.yaml is no map of keys
     2 | extends: base.yaml
       | ^""",
    ),
    "deleting what is not there": (
        {"wrong.yaml": f"{TOP}units:\n  inv4: null\n", "base.yaml": RIGHT},
        """\
wrong.yaml:4:3: units.inv4: null deletes, but what this extends has no such key; did you mean inv3?
     4 |   inv4: null
       |   ^""",
    ),
    "deleting what is needed": (
        {"wrong.yaml": f"{TOP}grid: null\n", "base.yaml": RIGHT},
        "wrong.yaml: grid is missing",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("texts", "message"), CHAINS.values(), ids=CHAINS)
def test_wrong_chain_of_files(texts: dict[str, str], message: str) -> None:
    for name, text in texts.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    with pytest.raises(ScenarioError) as error:
        load("wrong.yaml")
    head = (
        ""
        if " has " in message.splitlines()[0] and "problem" in message.splitlines()[0]
        else "wrong.yaml has 1 problem\n"
    )
    assert str(error.value) == head + message


# --- files that are no scenario at all ---

NO_MAP = "wrong.yaml: a scenario is a map of keys, beginning with schema: 1"
NO_SCENARIO = {
    "empty": (b"", NO_MAP),
    "list": (b"- schema: 1\n", NO_MAP),
    "words": (b"a scenario of mine\n", NO_MAP),
    "not UTF-8": (b"name: Gr\xf6\xdfe\n", "wrong.yaml: the file is not text in UTF-8: byte 9 is wrong"),
    "two documents": (
        b"schema: 1\n---\nschema: 1\n",
        "wrong.yaml:2:1: not YAML: but found another document\n     2 | ---\n       | ^",
    ),
    "tab": (
        b"grid:\n\tnet: case9\n",
        "wrong.yaml:2:1: not YAML: found character '\\t' that cannot start any token\n"
        "     2 | \tnet: case9\n       | ^",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("content", "message"), NO_SCENARIO.values(), ids=NO_SCENARIO)
def test_no_scenario(content: bytes, message: str) -> None:
    Path("wrong.yaml").write_bytes(content)
    with pytest.raises(ScenarioError) as error:
        load("wrong.yaml")
    assert str(error.value) == f"wrong.yaml has 1 problem\n{message}"


# --- everything at once ---


@pytest.mark.usefixtures("folder")
def test_mistakes_of_every_kind_are_told_in_one_answer() -> None:
    text = changed(RIGHT, [
        ("step_ms: 5", "step_s: 5"), another_unit(
            "inv2: {type: inverter, bus: 4, s_rated_kva: 1}", "home: {type: profile, bus: 5, p_load: day.p}"
        ),
        ("s_rated_kva: 1250", "s_rated_kva: 0"), ("do: load_step", "do: load_stop"), ("unit: inv2", "unit: inv9"),
        above_units("meters:", "  m1: {of: inv1, attr: [f], period_ms: 0}", "profiles:", "  day: {file: day.csv}"),
    ])  # fmt: skip
    places = [line.split(": ", 1) for line in answer(text).splitlines()[1:] if line.startswith("wrong.yaml")]
    assert [(place.removeprefix("wrong.yaml:"), told.split(":")[0]) for place, told in places] == [
        ("3:1", "step_s"),
        ("10:25", "meters.m1.attr.0"),
        ("10:29", "meters.m1.period_ms"),
        ("11:1", "profiles"),
        ("12:3", "profiles.day"),
        ("16:3", "units.inv2"),
        ("18:34", "units.inv3.s_rated_kva"),
        ("20:14", "events.0.do"),
        ("21:31", "events.1.unit"),
    ]
