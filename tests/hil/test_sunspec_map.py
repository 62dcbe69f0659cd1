"""SunSpec devices as register maps: set-points and measured values by what a device can do."""

import math

import pytest

from gridloop.hil.bank import Bank
from gridloop.hil.sunspec_capabilities import capabilities
from gridloop.hil.sunspec_emulated import emulated
from gridloop.hil.sunspec_image import image, model_registers, typical_models, with_value
from gridloop.hil.sunspec_map import sunspec_map
from gridloop.hil.sunspec_models import SunSpecError, SunSpecModel
from sunspec_cases import COMMON, NEW, OLD, Registers, read, scanned, write


def test_a_device_of_the_700s_takes_watts_and_vars():
    device = Registers(image(NEW))
    map = sunspec_map(scanned(device), reversion_s=30)
    assert map.role == "power"
    assert map.description == "SunSpec Acme Sun 10 1.2 4711"
    shown = read(device, map)
    expected = {
        "P_gen[MW]": 0.0042, "Q_gen[MVar]": -0.0003, "f[Hz]": 50.012, "Vm[pu]": 1.01, "SoC[%]": 55.5, "connected[1]": 1,
        "alarm[1]": 0, "heartbeat[1]": 3,
    }  # fmt: skip
    assert {attr: shown[attr] for attr in expected} == pytest.approx(expected)
    write(device, map, map.presets | {"P_set[MW]": -0.006, "Q_set[MVar]": 0.002, "heartbeat[1]": 9})
    control = scanned(device).model(704)
    assert [control.value(path) for path in ("WSet", "VarSet", "WSetEna", "WSetMod", "VarSetMod", "WSetRvrtTms")] == [
        -6000, 2000, 1, 1, 4, 30,
    ]  # fmt: skip
    assert scanned(device).model(715).value("ControllerHb") == 9


def test_set_points_stay_within_the_ratings():
    map = sunspec_map(scanned(Registers(image(NEW))))
    limits = {point.attr: point.limits for point in map.written_points}
    assert limits["P_set[MW]"] == pytest.approx((-0.008, 0.010))
    assert limits["Q_set[MVar]"] == pytest.approx((-0.005, 0.005))


@pytest.mark.parametrize("models", [NEW, OLD])
def test_the_enable_is_written_after_the_value_and_the_timer_before(models):
    map = sunspec_map(scanned(Registers(image(models))))
    attrs = [point.attr for point in map.written_points]
    for timer, value, enable in [
        ("reversion[s]", "P_set[MW]", "enable[1]"), ("reversion_Q[s]", "Q_set[MVar]", "enable_Q[1]")
    ]:  # fmt: skip
        assert attrs.index(timer) < attrs.index(value) < attrs.index(enable)
    assert [p.attr for block in map.writes(attrs) for p in block.points] == attrs
    assert {"reversion[s]", "reversion_Q[s]", "enable[1]", "enable_Q[1]"} <= map.presets.keys()


def test_a_device_of_the_100s_takes_percent_of_its_greatest_power():
    device = Registers(image(OLD))
    map = sunspec_map(scanned(device))
    shown = read(device, map)
    expected = {
        "P_gen[MW]": 0.0042,
        "Q_gen[MVar]": -0.0003,
        "f[Hz]": 50.01,
        "Vm[pu]": 1.01,
        "SoC[%]": 61,
        "state[1]": 4,
    }
    assert {attr: shown[attr] for attr in expected} == pytest.approx(expected)
    write(device, map, map.presets | {"P_set[MW]": 0.00255, "Q_set[MVar]": -0.001})
    control = scanned(device).model(123)
    assert control.value("WMaxLimPct") == pytest.approx(25.5)
    assert control.value("VArWMaxPct") == pytest.approx(-10)
    assert (control.value("VArPct_Mod"), control.value("WMaxLim_Ena")) == (1, 1)


def test_a_device_without_controls_is_only_read():
    map = sunspec_map(scanned(Registers(image(COMMON | {103: OLD[103]}))))
    assert (map.role, map.written_points) == ("meter", ())
    assert map.read("Vm[pu]") is None
    assert map.read("V[V]") is not None
    known = sunspec_map(scanned(Registers(image(COMMON | {103: OLD[103]}))), v_nominal_v=404)
    assert read(Registers(image(OLD)), known)["Vm[pu]"] == pytest.approx(1)


def test_a_voltage_between_phase_and_neutral_counts_against_the_nominal_one_of_it():
    phase = {key: value for key, value in OLD[103].items() if key != "PPVphAB"} | {"PhVphA": 230}
    device = Registers(image(OLD | {103: phase}))
    assert read(device, sunspec_map(scanned(device)))["Vm[pu]"] == pytest.approx(230 * 3**0.5 / 400)


def test_a_scale_that_changes_with_the_power_is_read_with_the_value():
    # 4200 W as 420 with 10^1, then 38 W as 3800 with 10^-2, as a real inverter does
    device = Registers(image(OLD))
    found = scanned(device)
    map, model = sunspec_map(found), found.model(103)
    assert read(device, map)["P_gen[MW]"] == pytest.approx(0.0042)
    device[model.address + model.entries["W"].offset] = 3800
    device[model.address + model.entries["W_SF"].offset] = 0x10000 - 2
    assert read(device, map)["P_gen[MW]"] == pytest.approx(38e-6)
    power = map.read("P_gen[MW]")
    for block in map.reads():
        if power in block.points:
            assert block.address <= power.power_at < block.end


@pytest.mark.parametrize("scale", [11, 0x10000 - 11, 0x8000, 0xFFFF - 300])
def test_a_scale_that_is_not_allowed_is_no_value(scale):
    device = Registers(image(OLD))
    found = scanned(device)
    map, model = sunspec_map(found), found.model(103)
    device[model.address + model.entries["W_SF"].offset] = scale
    assert math.isnan(read(device, map)["P_gen[MW]"])
    assert not math.isnan(read(device, map)["f[Hz]"])


def test_values_that_are_not_implemented_at_night_are_no_values():
    device = Registers(image(OLD))
    map = sunspec_map(scanned(device))
    night = model_registers(103, {"St": 2, "W_SF": 1})
    for at, word in enumerate(night, scanned(device).model(103).address):
        device[at] = word
    shown = read(device, map)
    assert all(math.isnan(shown[attr]) for attr in ("P_gen[MW]", "Q_gen[MVar]", "f[Hz]", "Vm[pu]"))
    assert shown["state[1]"] == 2


def test_what_a_device_can_do_is_told_with_the_model_that_it_does_it_by():
    def told(models):
        device = scanned(Registers(image(models)))
        return {one.capability: (one.by, one.finding) for one in capabilities(device, sunspec_map(device))}

    assert told(NEW) == {
        "P_set": ("704 WSet", "-8 to 10 kW"), "Q_set": ("704 VarSet", "-5 to 5 kvar"), "P_max": ("702 WMax", "10 kW"),
        "SoC": ("713 SoC", "55.5"), "droop": ("711 Ena", "enabled, 0.05 pu/pu"), "volt-var": ("705 Ena", "disabled"),
        "state": ("701 InvSt", "running"), "f": ("701 Hz", "50.012"), "reversion": ("704 WSetRvrtTms", "set to 10 s"),
        "heartbeat": ("715 ControllerHb", ""), "P, Q": ("701 W", ""),
    }  # fmt: skip
    old = told(OLD)
    assert old["P_set"] == ("123 WMaxLimPct", "0 to 10 kW")
    assert (old["P_max"], old["SoC"], old["droop"]) == (("121 WMax", "10 kW"), ("124 ChaState", "61"), ("", ""))
    assert told(COMMON | {103: OLD[103]})["P_set"] == ("", "read only")


def test_an_image_is_changed_point_by_point_and_refuses_what_does_not_fit():
    model = SunSpecModel(103, 0, tuple(model_registers(103, OLD[103])))
    assert with_value(model, "W", -1230).value("W") == -1230
    assert math.isnan(with_value(model, "W", math.nan).value("W"))
    with pytest.raises(SunSpecError, match="no point Watt"):
        with_value(model, "Watt", 1)
    with pytest.raises(SunSpecError) as caught:
        image({103: {"W": 1e9, "Watt": 3}, 64110: {}, 701: {"Hz": "fast"}})
    for part in ("W = 1000000000.0 does not fit", "no point Watt", "model 64110 is not defined", "Hz = 'fast'"):
        assert part in str(caught.value)


@pytest.mark.parametrize("p_max_w", [900.0, 30_000.0, 2.5e6])
def test_a_typical_inverter_serves_what_is_read_of_it(p_max_w):
    p_mw = p_max_w * 1e-6
    shown = {"P_gen[MW]": 0.73 * p_mw, "Q_gen[MVar]": -0.4 * p_mw, "f[Hz]": 49.9876, "Vm[pu]": 0.98, "SoC[%]": 71.5}
    _, map, words = emulated(typical_models(p_max_w))
    bank = Bank(map, lambda t_s, written: shown, words)
    bank.switch_on(0.0)
    served = Registers([])
    served.update({at: word for (_, at), word in bank.words.items()})
    ours = sunspec_map(scanned(served))
    seen = read(served, ours)
    assert {attr: seen[attr] for attr in shown} == pytest.approx(shown, rel=1e-3)
    assert sum(block.count for block in ours.reads()) < 40  # static scales are not read again and again
    write(served, ours, ours.presets | {"P_set[MW]": -0.5 * p_mw, "Q_set[MVar]": 0.25 * p_mw})
    control = scanned(served).model(704)
    assert control.value("WSet") == pytest.approx(-0.5 * p_max_w, abs=1)
    assert control.value("VarSet") == pytest.approx(0.25 * p_max_w, abs=1)


def test_a_scale_that_may_change_is_chosen_by_the_emulated_device_and_read_along():
    power_mw = [0.0042]
    _, map, words = emulated(OLD)
    bank = Bank(map, lambda t_s, written: {"P_gen[MW]": power_mw[0], "Q_gen[MVar]": 0.0}, words)
    bank.switch_on(0.0)
    seen = []
    for power_mw[0] in (0.0042, 0.4, 38e-6, 0.0):
        bank.refresh(1.0)
        values = dict[str, float]()
        for block in map.reads():
            registers = bank.read(block.function, block.address, block.count, 1.0)
            assert isinstance(registers, list)
            values |= block.values(registers)
        power = map.read("P_gen[MW]")
        assert power is not None
        scale = bank.words["holding", power.power_at]
        seen.append((values["P_gen[MW]"], scale - 0x10000 * (scale > 0x7FFF)))
    assert seen == [
        (pytest.approx(0.0042), 0), (pytest.approx(0.4), 2), (pytest.approx(38e-6), -2), (0.0, 0)
    ]  # fmt: skip
