"""The simple laws of emulated devices, by hand."""

import math

import pytest

from gridloop.hil.behaviour import DroopController, PowerStage, Rating, law_for
from gridloop.hil.registers import load_map, shipped_maps


def test_power_follows_its_set_point_with_a_lag() -> None:
    # 1 - exp(-1) of 20 kW after one time constant
    stage = PowerStage(Rating(s_mva=0.1, tau_s=0.05, droop_p=0, droop_q=0))
    assert stage(0.0, {"P_set[MW]": 0.02})["P_gen[MW]"] == 0.0
    assert stage(0.05, {"P_set[MW]": 0.02})["P_gen[MW]"] == pytest.approx(0.02 * (1 - math.exp(-1)))
    assert stage(9.0, {"P_set[MW]": 0.02, "Q_set[MVar]": -0.01})["Q_gen[MVar]"] == pytest.approx(-0.01)


def test_two_steps_are_as_good_as_one() -> None:
    one, two = PowerStage(Rating(tau_s=0.1)), PowerStage(Rating(tau_s=0.1))
    two(0.03, {"P_set[MW]": 0.02})
    assert one(0.08, {"P_set[MW]": 0.02})["P_gen[MW]"] == pytest.approx(two(0.08, {"P_set[MW]": 0.02})["P_gen[MW]"])


def test_power_supports_a_frequency_and_voltage_that_fall() -> None:
    # 0.1 Hz of 0.5 Hz (1 % of 50 Hz) is 20 % of 100 kVA; 0.01 pu of 0.05 pu as well
    stage = PowerStage(Rating(s_mva=0.1, tau_s=0.0, droop_p=0.01, droop_q=0.05))
    shown = stage(1.0, {"P_set[MW]": 0.0, "f[Hz]": 49.9, "Vm[pu]": 0.99})
    assert shown["P_gen[MW]"] == pytest.approx(0.02)
    assert shown["Q_gen[MVar]"] == pytest.approx(0.02)


def test_power_stays_within_the_rating_and_is_none_when_not_enabled() -> None:
    stage = PowerStage(Rating(s_mva=0.1, tau_s=0.0, droop_p=0, droop_q=0))
    shown = stage(1.0, {"P_set[MW]": 3.0, "Q_set[MVar]": 4.0})
    assert (shown["P_gen[MW]"], shown["Q_gen[MVar]"]) == pytest.approx((0.06, 0.08))
    assert stage(2.0, {"P_set[MW]": 0.05, "enable[1]": 0.0})["P_gen[MW]"] == 0.0


def test_the_controllers_frequency_and_voltage_fall_with_its_power() -> None:
    controller = DroopController(Rating(s_mva=0.1, tau_s=0.0, p_mw=0.02, droop_p=0.01, droop_q=0.05))
    shown = controller(1.0, {"P_gen[MW]": 0.07, "Q_gen[MVar]": 0.02})
    assert shown["f[Hz]"] == pytest.approx(50 - 0.25)  # half the rating more: half of 0.5 Hz
    assert shown["E[pu]"] == pytest.approx(1 - 0.01)
    assert controller(2.0, {"P_gen[MW]": 0.02, "Q_gen[MVar]": 0.0})["f[Hz]"] == pytest.approx(50.0)


@pytest.mark.parametrize("name", sorted(shipped_maps()))
def test_the_law_of_every_map_that_ships_shows_what_its_role_needs(name: str) -> None:
    from gridloop.hil.registers import SHOWN

    map = load_map(name)
    assert set(SHOWN[map.role]) <= set(law_for(map)(1.0, {}))


def test_a_rating_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        Rating(s_mva=0)
