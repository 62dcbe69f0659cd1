"""The JSON Schema of scenario files agrees with the checks that a run makes, as far as a schema can."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gridloop.scenarios.checking import plain
from gridloop.scenarios.event_parts import SHAPES
from gridloop.scenarios.json_schema import scenario_schema
from gridloop.scenarios.reading import library
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.template import TEXT
from gridloop.simulators.models import coulomb_battery, following, inverter

SCHEMA = scenario_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def findings(document: Any) -> list[str]:
    """Paths of what does not fit."""
    return sorted({".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(document)})


def parsed(text: str) -> Any:
    return plain(YAML(typ="safe").load(text))


def right() -> Any:
    return parsed("""\
schema: 1
name: right
until_s: 2
grid: {net: case9, base: {s_mva: 1}, loads: {zip_p: [0, 0, 1], frequency: bus}}
pcc: {bus: 4, r_pu: 0.01, x_pu: 0.1, sync: {angle_deg: 10, df_hz: 0.1, dv_pu: 0.03}}
units:
  inv1: {type: inverter, bus: 1, s_rated_kva: 1000, z_pu: [0.01, 0.1]}
  pv1: {type: inverter, control: following, bus: b, s_rated_kva: 1000, time_constant_ms: 5}
  home: {type: profile, bus: 5, p_load: day.p, q_load: 3}
  mine: {type: "my.module:MODEL", bus: 7, anything: 3}
  batt1: {type: inverter, bus: 4, s_rated_kva: 100, source: {type: battery, e_rated_kwh: 50, cell_ocv_v: [3, 4]}}
  batt2: {type: inverter, bus: 5, s_rated_kva: 100, source: {type: battery, model: coulomb, soc_init_percent: 50}}
  sun1: {type: inverter, control: following, bus: 6, source: {type: pv, modules: 10, ghi: sky.ghi, t_air: 20}}
  own: {type: inverter, bus: 8, s_rated_kva: 100, source: null}
profiles: {sky: {typical_year: sand_point}, day: {file: day.csv, columns: {p: "P[kW]"}}}
control:
  frequency: {law: "laws:mine", c2_per_s: 1}
  voltage: {law: Vprime, beta_per_s: 1}
  members: [inv1, batt1, 7]
  pins: {inv1: 0.5}
comms:
  graph: [[inv1, batt1], [batt1, 7]]
  delay_ms: 5
  burst: {good_to_bad_percent: 1, bad_to_good_percent: 10}
  links: {"inv1->batt1": {jitter: {kind: trace, trace: [1, 2]}, fifo: true}}
  signals: {"inv1->sun1": {attr: "f[Hz]", to_attr: "f_meas[Hz]", loss_percent: 1}}
study: {set: {comms.delay_ms: "0.1:10:5:log", seed: [1, 2]}, cases: {a: {comms.graph: ring}}, repeats: 2}
prices: {fuel_eur_per_l: 1}
events:
  - {t_s: 1, do: load_step, bus: 5, p_kw: 300}
  - {t_s: 2, do: fault, bus: 5, r_pu: 0.1}
  - {t_s: 3, do: pcc_close}
  - {t_s: 4, do: link_down, link: "inv1->batt1", for_s: 1}
  - {t_s: 5, do: agent_kick, agent: inv1, omega_rad_per_s: 0.1}
  - {t_s: 6, do: set, path: comms.links.inv1->batt1.delay_ms, value: 3}
""")


def test_schema_is_one_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("name", sorted(library()))
def test_scenarios_that_ship_fit(name: str) -> None:
    assert findings(parsed(library()[name].read_text(encoding="utf-8"))) == []


def test_template_fits_with_everything_switched_on() -> None:
    text = TEXT.format(name="all")
    assert findings(parsed(text)) == []
    assert findings(parsed(re.sub(r"(?m)^#(?=\S|  )", "", text))) == []


def test_file_that_is_right() -> None:
    assert findings(right()) == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"until_s": 0}, "until_s"),
    ({"until_s": "2"}, "until_s"),
    ({"step": 5}, ""),
    ({"schema": 2}, "schema"),
    ({"units": {}}, "units"),
    ({"units": {"a": {"type": "inverter"}}}, "units.a"),
    ({"units": {"a": {"type": "inverter", "bus": 1, "s_rated_kw": 3}}}, "units.a"),
    ({"units": {"a": {"type": "inverter", "bus": 1, "s_rated_kva": "big"}}}, "units.a.s_rated_kva"),
    ({"units": {"a": {"type": "inverter", "bus": 1, "control": "grid"}}}, "units.a.control"),
    ({"units": {"a": {"type": "inverter", "control": "following", "bus": 1, "droop_p_percent": 2}}}, "units.a"),
    ({"units": {"a": {"type": "inverter", "bus": 1, "time_constant_ms": 5}}}, "units.a"),
    ({"units": {"a": {"type": "battery", "bus": 1}}}, "units.a.type"),
    ({"units": {"a": {"type": "profile", "bus": 1, "q_load": 1}}}, "units.a"),
    ({"defaults": {"inverter": {"droop_p": 2}}}, "defaults.inverter"),
    ({"grid": {}}, "grid"),
    ({"events": [{"t_s": 1, "do": "load_stop"}]}, "events.0"),
    ({"events": [{"t_s": -1, "do": "pcc_open"}]}, "events.0"),
    ({"pcc": {"bus": 4, "r_pu": -1, "x_pu": 0}}, "pcc"),
    ({"clock": 5}, "clock"),
    ({"load_shedding": [{"below_hz": 49, "share_percent": 120}]}, "load_shedding.0.share_percent"),
    ({"mode": "static"}, "mode"),
    ({"units": {"a": {"type": "inverter", "bus": 1, "source": {"type": "batery"}}}}, "units.a.source.type"),
    (
        {"units": {"a": {"type": "inverter", "bus": 1, "source": {"type": "battery", "e_rated_mwh": 1}}}},
        "units.a.source",
    ),
    (
        {
            "units": {
                "a": {
                    "type": "inverter",
                    "bus": 1,
                    "source": {"type": "battery", "model": "coulomb", "cell_ocv_v": [3, 4]},
                }
            }
        },
        "units.a.source",
    ),
    (
        {"units": {"a": {"type": "inverter", "bus": 1, "source": {"type": "pv", "modules": 0}}}},
        "units.a.source.modules",
    ),
    ({"units": {"a": {"type": "diesel", "bus": 1, "source": {"type": "pv"}}}}, "units.a"),
    ({"defaults": {"inverter": {"source": {"type": "pv", "module_count": 3}}}}, "defaults.inverter.source"),
    ({"control": {"members": []}}, "control"),
    ({"control": {"members": ["a"], "frequency": {"law": "Q"}}}, "control"),
    ({"control": {"members": ["a"], "perid_ms": 5}}, "control"),
    ({"comms": {"delay_s": 1}}, "comms"),
    ({"comms": {"graph": "rng"}}, "comms"),
    ({"comms": {"jitter": {"percent": 5}}}, "comms"),
    ({"comms": {"links": {"a->b": {"loss_percent": 101}}}}, "comms"),
    ({"comms": {"signals": {"a->b": {"attr": "f[Hz]"}}}}, "comms"),
    ({"study": {"set": {"seed": "1:2"}}}, "study"),
    ({"prices": {"fuel": 2}}, "prices"),
    ({"events": [{"t_s": 1, "do": "link_down", "link": "a->b", "for_s": 0}]}, "events.0"),
    ({"extends": "base.yaml", "stpe_ms": 2}, ""),
]


@pytest.mark.parametrize(("change", "place"), WRONG, ids=[str(change) for change, _ in WRONG])
def test_wrong_file_does_not_fit(change: dict[str, Any], place: str) -> None:
    found = findings(right() | change)
    assert found and all(path.startswith(place) for path in found), found
    if place:
        assert place in found or any(path.startswith(f"{place}.") for path in found)


def test_missing_key_is_found() -> None:
    given = right()
    del given["name"]
    assert findings(given) == [""]


def test_file_that_extends_another_may_leave_out_and_delete_anything() -> None:
    assert findings({"extends": "ieee9", "units": {"inv1": None, "inv2": {"s_rated_kva": 3}}, "events": None}) == []


def test_every_key_is_described() -> None:
    parts = SCHEMA["$defs"]
    for name in (
        "Scenario", "Grid", "LoadLaw", "Pcc", "Sync", "Shedding", "Profile", "Meter", "Record", "Base", "Control",
        "FrequencyControl", "VoltageControl", "ChargeBalancing", "Comms", "LinkKeys", "SignalLink", "LinkJitter",
        "LinkBurst", "Study", "PriceList", "SourcePv", "SourceBatteryCircuit", "SourceBatteryCoulomb",
    ):  # fmt: skip
        for key, value in parts[name]["properties"].items():
            assert value.get("description"), f"{name}.{key}"
    assert {"extends", *(field.alias or key for key, field in Scenario.model_fields.items())} == set(
        parts["Scenario"]["properties"]
    )
    assert {shape.__name__ for shape in SHAPES} <= set(parts)


def test_parameters_of_units_come_from_their_models() -> None:
    forming, other = (SCHEMA["$defs"][f"UnitInverter{kind}"]["properties"] for kind in ("Droop", "Following"))
    assert forming["filter_hz"] == {
        "type": "number", "default": inverter.Params(1).filter_hz[0],
        "description": "corner of the first-order power filters [Hz]",
    }  # fmt: skip
    assert other["time_constant_ms"]["default"] == following.Params(1).time_constant_ms[0]
    assert "default" not in forming["p_max_kw"]  # infinite
    assert "z_pu" in forming and "z_pu" not in other
    assert not {"s_base_mva", "f_nom_hz"} & (forming.keys() | other.keys())


def test_keys_of_a_battery_come_from_its_model() -> None:
    circuit, coulomb = (SCHEMA["$defs"][f"SourceBattery{kind}"]["properties"] for kind in ("Circuit", "Coulomb"))
    assert coulomb.keys() == {"type", "model", *(field.name for field in fields(coulomb_battery.Params))}
    assert circuit["cell_ocv_v"]["type"] == "array"
    assert circuit["c_rate_per_h"] == {
        "type": "number", "default": 1.0, "description": "current limit in both directions, in multiples of the "
        "capacity [1/h]",
    }  # fmt: skip
