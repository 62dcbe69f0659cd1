"""Units of a scenario served as devices: by their own model, or by a simple law with their rating."""

import pytest

from gridloop.hil.behaviour import PowerStage
from gridloop.scenarios.emulated_unit import rating_of, served
from gridloop.scenarios.reading import load
from gridloop.scenarios.start import plan

URL = "modbus+tcp://127.0.0.1:0/1"
INV2 = 1


@pytest.fixture(scope="module")
def planned():
    return plan(load("ieee9"))


def test_a_forming_unit_is_served_by_its_own_model_with_its_own_droop(planned) -> None:
    law = served("inv2", URL, "ieee9").law
    (group,) = planned.groups
    rating = rating_of(planned, group, INV2)
    start = {"P_gen[MW]": rating.p_mw, "Q_gen[MVar]": rating.q_mvar, "Vm[pu]": 1.0}
    assert law(0.0, {})["f[Hz]"] == pytest.approx(rating.f_hz, abs=1e-6)
    assert law(1.0, {"Vm[pu]": 0.0})["f[Hz]"] == pytest.approx(rating.f_hz, abs=1e-6)  # nobody told it anything
    law(1.0, start | {"P_gen[MW]": rating.p_mw + 0.1 * rating.s_mva})
    # a tenth of the rating more, after the power filter has settled: a tenth of the droop's range
    settled = law(9.0, start | {"P_gen[MW]": rating.p_mw + 0.1 * rating.s_mva})
    assert rating.droop_p > 0
    assert settled["f[Hz]"] == pytest.approx(rating.f_hz * (1 - 0.1 * rating.droop_p), abs=1e-5)


def test_on_a_power_map_it_is_a_power_stage_with_the_units_rating() -> None:
    map, law, told, _ = served("inv2", URL + "?map=generic_inverter", "ieee9")
    assert map.name == "generic_inverter"
    assert isinstance(law, PowerStage)
    assert "kVA" in told
    shown = law(9.0, {"P_set[MW]": 0.2 * law.rating.s_mva, "f[Hz]": law.rating.f_hz, "Vm[pu]": law.rating.v_pu})
    assert shown["P_gen[MW]"] == pytest.approx(0.2 * law.rating.s_mva)


def test_as_a_sunspec_device_it_has_the_units_rating_and_its_name_for_a_serial_number() -> None:
    map, law, told, words = served("inv2", "sunspec+tcp://127.0.0.1:0/1?base=0", "ieee9")
    assert told == "inv2 (200000 kVA) as a SunSpec device with models 1, 701, 702, 704, 705, 711, 713, 715"
    point = map.written("P_set[MW]")
    assert point is not None
    assert point.limits == pytest.approx((-200, 200))
    assert words["holding", 0] == 0x5375
    enabled = {"P_set[MW]": 30.0, "enable[1]": 1.0, "Q_set[MVar]": 9.0, "enable_Q[1]": 0.0}
    assert law(0.0, {})["P_gen[MW]"] == 0.0
    shown = law(9.0, enabled)
    assert [shown["P_gen[MW]"], shown["Q_gen[MVar]"]] == pytest.approx([30.0, 0.0])


def test_a_sunspec_device_has_no_map() -> None:
    with pytest.raises(ValueError, match="leave map= out"):
        served("generic_inverter", "sunspec+tcp://127.0.0.1:0/1?map=battery", "")


def test_a_map_by_its_name() -> None:
    map, _, told, _ = served("battery", URL, "")
    assert map.name == "battery"
    assert told.startswith("battery: ")
