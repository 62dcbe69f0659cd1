"""Batteries, arrays, weather, studies and prices in scenario files: what becomes of them."""

from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.control_summary import in_words
from gridloop.scenarios.courses import Reference
from gridloop.scenarios.profile_files import read_profiles, sources
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.source_parts import BatterySource, PvSource
from gridloop.scenarios.study_parts import values_of
from gridloop.simulators.models import battery, coulomb_battery
from gridloop.simulators.weather import typical_year

PACK = {"type": "battery", "e_rated_kwh": 500, "soc_init_percent": 60}


def scenario(unit: dict[str, Any], **changes: Any) -> Scenario:
    return load({
        "schema": 1, "name": "one", "until_s": 7200, "grid": {"net": "case9"},
        "units": {"a": {"type": "inverter", "bus": 1, "s_rated_kva": 1e5, **unit}}, **changes,
    })  # fmt: skip


# --- sources ---


def test_keys_of_a_battery_are_its_models_parameters() -> None:
    source = scenario({"source": {**PACK, "cell_ocv_v": [3.0, 4.1]}}).units["a"].source
    assert isinstance(source, BatterySource)
    assert source.device is battery.MODEL
    assert source.parameters == {"e_rated_kwh": 500, "soc_init_percent": 60, "cell_ocv_v": [3.0, 4.1]}
    assert list(battery.Params(**source.parameters).cell_ocv_v) == [3.0, 4.1]


def test_battery_that_counts_charge() -> None:
    source = scenario({"source": {**PACK, "model": "coulomb"}}).units["a"].source
    assert isinstance(source, BatterySource)
    assert source.device is coulomb_battery.MODEL


def test_array_takes_numbers_and_columns() -> None:
    whole = scenario(
        {"control": "following", "source": {"type": "pv", "modules": 10, "ghi": "sky.ghi", "t_air": 20}},
        profiles={"sky": {"typical_year": "greensboro"}}, clock="2026-06-21T12:00:00Z",
    )  # fmt: skip
    source = whole.units["a"].source
    assert isinstance(source, PvSource)
    assert (source.ghi, source.t_air) == (Reference("sky", "ghi"), 20)
    assert source.references == {"ghi": Reference("sky", "ghi")}
    assert in_words(whole) == [("sources", "a pv 10 modules")]


def test_source_merges_with_that_of_its_type() -> None:
    other = {"type": "pv", "modules": 1, "ghi": 0, "t_air": 0}
    whole = load({
        "schema": 1, "name": "four", "until_s": 1, "grid": {"net": "case9"},
        "defaults": {"inverter": {"s_rated_kva": 1e5, "source": PACK}},
        "units": {
            "plain": {"type": "inverter", "bus": 1},
            "fuller": {"type": "inverter", "bus": 2, "source": {"soc_init_percent": 80}},
            "sun": {"type": "inverter", "bus": 3, "source": other},
            "ideal": {"type": "inverter", "bus": 5, "source": None},
        },
    })  # fmt: skip
    found = {name: unit.source for name, unit in whole.units.items()}
    charges = {name: found[name].parameters["soc_init_percent"] for name in ("plain", "fuller")}  # type: ignore[union-attr]
    assert charges == {"plain": 60, "fuller": 80}
    assert found["fuller"].parameters["e_rated_kwh"] == 500  # type: ignore[union-attr]
    assert isinstance(found["sun"], PvSource) and found["ideal"] is None


def test_override_reaches_into_a_source() -> None:
    source = scenario({"source": PACK}).with_overrides({"units.*.source.soc_init_percent": 20}).units["a"].source
    assert isinstance(source, BatterySource)
    assert source.parameters["soc_init_percent"] == 20


# --- weather ---


def test_typical_year_needs_no_file() -> None:
    whole = scenario({}, profiles={"sky": {"typical_year": "sand_point"}}, clock="2026-06-21T12:00:00+02:00")
    assert whole.profiles["sky"].units == {"ghi": "W_per_m2", "t_air": "degC"}
    assert sources(whole) == {}
    assert whole.clock is not None
    read, expected = read_profiles(whole)["sky"], typical_year("sand_point", whole.clock, 7200)
    assert read.values["ghi"].tolist() == expected.values["ghi"].tolist()
    assert read.values["ghi"].max() > 0


def test_file_and_typical_year_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("day.csv").write_text("time,P[kW]\n2026-06-21T12:00Z,10\n2026-06-21T15:00Z,20\n")
    profiles = {"day": {"file": "day.csv", "columns": {"p": "P[kW]"}}, "sky": {"typical_year": "greensboro"}}
    whole = scenario({}, profiles=profiles, clock="2026-06-21T12:00:00Z")
    assert whole.profiles["day"].units == {"p": "kW"}
    assert read_profiles(whole).keys() == {"day", "sky"}


# --- studies and prices ---


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, "ring"], (1, "ring")), ("0:1:5", (0, 0.25, 0.5, 0.75, 1)), ("2:-2:3", (2, 0, -2)),
        ("0.01:10:4:log", (0.01, 0.1, 1, 10)), ("0:0.3:4", (0, 0.1, 0.2, 0.3)),
    ],
)  # fmt: skip
def test_values_of_a_study(given: Any, expected: tuple[Any, ...]) -> None:
    assert values_of(given) == expected


@pytest.mark.parametrize("given", [[], "1:2", "a:2:3", "1:2:1", "0:1:3:log", "1:inf:3", "1:2:3:lin", 5, "1:2:20000"])
def test_values_that_a_study_cannot_have(given: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        values_of(given)


def test_study_names_points_and_cases() -> None:
    study = {"set": {"step_ms": "1:5:3"}, "cases": {"a": {"seed": 1}, "b": {"seed": 2}}, "metric": "f_nadir"}
    found = scenario({}, study=study).study
    assert found is not None
    assert (found.metric, found.repeats, found.set) == ("f_nadir", 1, {"step_ms": (1, 3, 5)})
    assert found.cases == {"a": {"seed": 1}, "b": {"seed": 2}}


def test_prices_that_are_absent_stay_absent() -> None:
    whole = scenario({}, prices={"fuel_eur_per_l": 2})
    assert whole.to_dict()["prices"] == {"fuel_eur_per_l": 2}
    assert whole.prices is not None and whole.prices.start_eur is None
