"""Wrong sources, weather, studies and prices: files, each with the whole answer that its user gets."""

from pathlib import Path

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.start import plan
from wrong_text import Change, answer, changed, write_neighbours

UNITS = "units:\n"
BATTERY = "source: {type: battery, e_rated_kwh: 2000, soc_init_percent: 60}"
DIESEL = "  diesel1: {type: diesel, bus: 2, s_rated_kva: 2000}\n"
RIGHT = f"""\
schema: 1
name: wrong
until_s: 2
clock: 2026-06-21T12:00:00+02:00
grid: {{net: case9, base: {{s_mva: 1, v_kv: 11}}, f_nom_hz: 50}}
profiles:
  sky: {{file: sky.csv, columns: {{ghi: "GHI[W_per_m2]", t_air: "T[degC]"}}}}
{UNITS}  batt1: {{type: inverter, bus: 1, s_rated_kva: 1000, {BATTERY}}}
{DIESEL}  pv1: {{type: inverter, control: following, bus: 3, s_rated_kva: 1250,
    source: {{type: pv, modules: 3600, ghi: sky.ghi, t_air: sky.t_air}}}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder with what the wrong files name, or almost name."""
    monkeypatch.chdir(tmp_path)
    write_neighbours()


def test_file_without_changes_is_right() -> None:
    Path("right.yaml").write_text(RIGHT, encoding="utf-8")
    plan(load("right.yaml"))


WRONG: dict[str, tuple[list[Change], str]] = {
    "source of no type": (
        [("type: battery, ", "")],
        """\
wrong.yaml:9:54: units.batt1.source: `type` is missing: battery or pv
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {e_rated_kwh: 2000, soc_init_percent: 60}}
       |                                                      ^""",
    ),
    "source of an unknown type": (
        [("type: battery, ", "type: batery, ")],
        """\
wrong.yaml:9:63: units.batt1.source.type: unknown source; did you mean battery?
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: batery, e_rated_kwh: 2000, \
soc_init_percent: 60}}
       |                                                               ^""",
    ),
    "source that is text": (
        [(BATTERY, "source: battery")],
        """\
wrong.yaml:9:54: units.batt1.source: must be a map of keys, got 'battery'
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: battery}
       |                                                      ^""",
    ),
    "source of a diesel set": (
        [("type: diesel, ", "type: diesel, source: {type: pv}, ")],
        """\
wrong.yaml has 4 problems
wrong.yaml:10:27: units.diesel1.source: modules is missing
    10 |   diesel1: {type: diesel, source: {type: pv}, bus: 2, s_rated_kva: 2000}
       |                           ^
wrong.yaml:10:27: units.diesel1.source: ghi is missing
    10 |   diesel1: {type: diesel, source: {type: pv}, bus: 2, s_rated_kva: 2000}
       |                           ^
wrong.yaml:10:27: units.diesel1.source: t_air is missing
    10 |   diesel1: {type: diesel, source: {type: pv}, bus: 2, s_rated_kva: 2000}
       |                           ^
wrong.yaml:10:27: units.diesel1.source: a unit of type diesel has no source: only inverters have a DC side
    10 |   diesel1: {type: diesel, source: {type: pv}, bus: 2, s_rated_kva: 2000}
       |                           ^""",
    ),
    "source of a profile": (
        [(DIESEL, DIESEL + "  home: {type: profile, bus: 5, p_load: 3, source: {type: pv}}\n")],
        """\
wrong.yaml has 4 problems
wrong.yaml:11:44: units.home.source: modules is missing
    11 |   home: {type: profile, bus: 5, p_load: 3, source: {type: pv}}
       |                                            ^
wrong.yaml:11:44: units.home.source: ghi is missing
    11 |   home: {type: profile, bus: 5, p_load: 3, source: {type: pv}}
       |                                            ^
wrong.yaml:11:44: units.home.source: t_air is missing
    11 |   home: {type: profile, bus: 5, p_load: 3, source: {type: pv}}
       |                                            ^
wrong.yaml:11:44: units.home.source: a unit of type profile has no source: only inverters have a DC side
    11 |   home: {type: profile, bus: 5, p_load: 3, source: {type: pv}}
       |                                            ^""",
    ),
    "unknown model of a battery": (
        [("type: battery, ", "type: battery, model: columb, ")],
        """\
wrong.yaml:9:78: units.batt1.source.model: must be 'circuit' or 'coulomb', got 'columb'
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, model: columb, e_rated_kwh: \
2000, soc_init_percent: 60}}
       |                                                                              ^""",
    ),
    "misspelt key of a battery": (
        [("e_rated_kwh", "e_rated_mwh")],
        """\
wrong.yaml:9:78: units.batt1.source.e_rated_mwh: unknown key; did you mean e_rated_kwh? It is in kWh, not in MWh
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_mwh: 2000, \
soc_init_percent: 60}}
       |                                                                              ^""",
    ),
    "key of the other model": (
        [("type: battery, ", "type: battery, model: coulomb, cell_v_min_v: 3, ")],
        """\
wrong.yaml:9:94: units.batt1.source.cell_v_min_v: unknown key; known: c_rate_per_h, coulombic_efficiency_percent, \
e_rated_kwh, model, soc_init_percent, soc_max_percent, soc_min_percent, type
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, model: coulomb, cell_v_min_v: \
3, e_rated_kwh: 2000, soc_init_percent: 60}}
       |                                                                                              ^""",
    ),
    "battery without its charge": (
        [(", soc_init_percent: 60", "")],
        """\
wrong.yaml:9:54: units.batt1.source: soc_init_percent is missing
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_kwh: 2000}}
       |                                                      ^""",
    ),
    "battery beyond its window": (
        [("soc_init_percent: 60", "soc_init_percent: 95")],
        """\
wrong.yaml:9:97: units.batt1.source.soc_init_percent: soc_init_percent = 95 must be between soc_min_percent and \
soc_max_percent
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_kwh: 2000, \
soc_init_percent: 95}}
       |                                                                                                 ^""",
    ),
    "battery of text": (
        [("e_rated_kwh: 2000", "e_rated_kwh: 2000 kWh")],
        """\
wrong.yaml:9:78: units.batt1.source.e_rated_kwh: must be a number, got '2000 kWh'; write 2000 alone, the unit is in \
the key
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_kwh: 2000 kWh, \
soc_init_percent: 60}}
       |                                                                              ^""",
    ),
    "open-circuit voltage of one value": (
        [("soc_init_percent: 60", "soc_init_percent: 60, cell_ocv_v: [3.6]")],
        """\
wrong.yaml:9:119: units.batt1.source.cell_ocv_v: cell_ocv_v must hold the voltages at SOC 0 and 100 % at least
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_kwh: 2000, \
soc_init_percent: 60, cell_ocv_v: [3.6]}}
       |                                                                                                            \
           ^""",
    ),
    "open-circuit voltage that is a number": (
        [("soc_init_percent: 60", "soc_init_percent: 60, cell_ocv_v: 3.6")],
        """\
wrong.yaml:9:119: units.batt1.source.cell_ocv_v: must be a list of numbers, got 3.6
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_kwh: 2000, \
soc_init_percent: 60, cell_ocv_v: 3.6}}
       |                                                                                                            \
           ^""",
    ),
    "misspelt key of an array": (
        [("modules: 3600", "module_count: 3600")],
        """\
wrong.yaml has 2 problems
wrong.yaml:12:5: units.pv1.source: modules is missing
    12 |     source: {type: pv, module_count: 3600, ghi: sky.ghi, t_air: sky.t_air}}
       |     ^
wrong.yaml:12:24: units.pv1.source.module_count: unknown key; did you mean module?
    12 |     source: {type: pv, module_count: 3600, ghi: sky.ghi, t_air: sky.t_air}}
       |                        ^""",
    ),
    "array without its modules": (
        [("modules: 3600, ", "")],
        """\
wrong.yaml:12:5: units.pv1.source: modules is missing
    12 |     source: {type: pv, ghi: sky.ghi, t_air: sky.t_air}}
       |     ^""",
    ),
    "array of less than none": (
        [("modules: 3600", "modules: -1")],
        """\
wrong.yaml:12:24: units.pv1.source.modules: must be greater than 0, got -1
    12 |     source: {type: pv, modules: -1, ghi: sky.ghi, t_air: sky.t_air}}
       |                        ^""",
    ),
    "unknown module": (
        [("modules: 3600", "modules: 3600, module: SunPower_SPR_305E_WHTD")],
        """\
wrong.yaml:12:39: units.pv1.source.module: there is no module 'SunPower_SPR_305E_WHTD'; did you mean \
SunPower_SPR_305E_WHT_D?
    12 |     source: {type: pv, modules: 3600, module: SunPower_SPR_305E_WHTD, ghi: sky.ghi, t_air: sky.t_air}}
       |                                       ^""",
    ),
    "irradiance of no column": (
        [("ghi: sky.ghi", "ghi: sky.gih")],
        """\
wrong.yaml:12:39: units.pv1.source.ghi: profile sky has no column 'gih'; did you mean ghi?
    12 |     source: {type: pv, modules: 3600, ghi: sky.gih, t_air: sky.t_air}}
       |                                       ^""",
    ),
    "irradiance that is a temperature": (
        [("ghi: sky.ghi", "ghi: sky.t_air")],
        """\
wrong.yaml:12:39: units.pv1.source.ghi: needs a column in W_per_m2; t_air is in degC
    12 |     source: {type: pv, modules: 3600, ghi: sky.t_air, t_air: sky.t_air}}
       |                                       ^""",
    ),
    "typical year of nowhere": (
        [('file: sky.csv, columns: {ghi: "GHI[W_per_m2]", t_air: "T[degC]"}', "typical_year: greensborough")],
        """\
wrong.yaml:7:9: profiles.sky.typical_year: must be 'greensboro' or 'sand_point', got 'greensborough'
     7 |   sky: {typical_year: greensborough}
       |         ^""",
    ),
    "typical year and a file": (
        [
            (
                'file: sky.csv, columns: {ghi: "GHI[W_per_m2]", t_air: "T[degC]"}',
                "typical_year: greensboro, file: sky.csv",
            ),
        ],
        """\
wrong.yaml:7:3: profiles.sky: a typical year has no file: it gives the columns ghi and t_air
     7 |   sky: {typical_year: greensboro, file: sky.csv}
       |   ^""",
    ),
    "profile of nothing": (
        [('file: sky.csv, columns: {ghi: "GHI[W_per_m2]", t_air: "T[degC]"}', "time: t")],
        """\
wrong.yaml:7:3: profiles.sky: file and columns missing; or give typical_year: greensboro or sand_point
     7 |   sky: {time: t}
       |   ^""",
    ),
    "unknown mode": (
        [("until_s: 2\n", "until_s: 2\nmode: static\n")],
        """\
wrong.yaml:4:1: mode: must be 'rms' or 'steady', got 'static'
     4 | mode: static
       | ^""",
    ),
    "study of an unknown path": (
        [(UNITS, "study: {set: {comms.dealy.x: [1, 2]}}\n" + UNITS)],
        """\
wrong.yaml:8:15: study.set.comms.dealy.x: there is no comms.dealy
     8 | study: {set: {comms.dealy.x: [1, 2]}}
       |               ^""",
    ),
    "study of itself": (
        [(UNITS, "study: {set: {study.repeats: [1, 2]}}\n" + UNITS)],
        """\
wrong.yaml:8:15: study.set.study.repeats: a study cannot vary study
     8 | study: {set: {study.repeats: [1, 2]}}
       |               ^""",
    ),
    "study of half a range": (
        [(UNITS, "study: {set: {comms.delay_ms: 0:1}}\n" + UNITS)],
        """\
wrong.yaml:8:15: study.set.comms.delay_ms: must be a list of values, FIRST:LAST:COUNT or FIRST:LAST:COUNT:log, got \
'0:1'
     8 | study: {set: {comms.delay_ms: 0:1}}
       |               ^""",
    ),
    "study from zero in equal ratios": (
        [(UNITS, "study: {set: {comms.delay_ms: '0:1:5:log'}}\n" + UNITS)],
        """\
wrong.yaml:8:15: study.set.comms.delay_ms: with :log both ends must be greater than 0, got '0:1:5:log'
     8 | study: {set: {comms.delay_ms: '0:1:5:log'}}
       |               ^""",
    ),
    "study with no repeats": (
        [(UNITS, "study: {repeats: 0}\n" + UNITS)],
        """\
wrong.yaml:8:9: study.repeats: must be at least 1, got 0
     8 | study: {repeats: 0}
       |         ^""",
    ),
    "price below zero": (
        [(UNITS, "prices: {fuel_eur_per_l: -1}\n" + UNITS)],
        """\
wrong.yaml:8:10: prices.fuel_eur_per_l: must be at least 0, got -1
     8 | prices: {fuel_eur_per_l: -1}
       |          ^""",
    ),
    "price in another unit": (
        [(UNITS, "prices: {battery_eur_per_kwh: 1}\n" + UNITS)],
        """\
wrong.yaml:8:10: prices.battery_eur_per_kwh: unknown key; did you mean battery_eur_per_mwh? It is in MWh, not in kWh
     8 | prices: {battery_eur_per_kwh: 1}
       |          ^""",
    ),
    "source from defaults": (
        [
            (UNITS, "defaults: {inverter: {source: {type: battery, e_rated_kwh: 0}}}\n" + UNITS),
            (", source: {type: battery, e_rated_kwh: 2000, soc_init_percent: 60}", ", source: {soc_init_percent: 60}"),
        ],
        """\
wrong.yaml:8:47: defaults.inverter.source.e_rated_kwh: e_rated_kwh = 0 must be > 0
     8 | defaults: {inverter: {source: {type: battery, e_rated_kwh: 0}}}
       |                                               ^""",
    ),
    "misspelt key in defaults of a source": (
        [
            (UNITS, "defaults: {inverter: {source: {type: battery, e_rated_kwh: 10, soc_init_percnt: 60}}}\n" + UNITS),
            (", source: {type: battery, e_rated_kwh: 2000, soc_init_percent: 60}", ""),
        ],
        """\
wrong.yaml:8:64: defaults.inverter.source.soc_init_percnt: unknown key; did you mean soc_init_percent?
     8 | defaults: {inverter: {source: {type: battery, e_rated_kwh: 10, soc_init_percnt: 60}}}
       |                                                                ^""",
    ),
    "study of values that cannot be": (
        [(UNITS, "study: {set: {step_ms: [0, 1]}, cases: {a: {start: flow}}}\n" + UNITS)],
        """\
wrong.yaml has 2 problems
wrong.yaml:8:15: study.set.step_ms: must be greater than 0, got 0
     8 | study: {set: {step_ms: [0, 1]}, cases: {a: {start: flow}}}
       |               ^
wrong.yaml:8:45: study.cases.a.start: must be 'power_flow' or 'droop', got 'flow'
     8 | study: {set: {step_ms: [0, 1]}, cases: {a: {start: flow}}}
       |                                             ^""",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file(changes: list[Change], message: str) -> None:
    expected = message if message.startswith("wrong.yaml has ") else f"wrong.yaml has 1 problem\n{message}"
    assert answer(changed(RIGHT, changes)) == expected
