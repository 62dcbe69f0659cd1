"""An emulated device from its inside: what it shows and takes, without a wire; the time is a number."""

import math
from collections.abc import Mapping

import pytest

from gridloop.hil.bank import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Bank, unknown
from gridloop.hil.behaviour import PowerStage, Rating
from gridloop.hil.points import Point, decode
from gridloop.hil.registers import load_map, read_map

P_SET, P_GEN = "P_set[MW]", "P_gen[MW]"


def follow(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
    """Power is the set-point at once; the frequency shows the time."""
    return {P_GEN: written[P_SET], "Q_gen[MVar]": 0.0, "Vm[pu]": 1.0, "f[Hz]": 50 + t_s}


def bank_of(name: str = "generic_inverter") -> Bank:
    bank = Bank(load_map(name), follow)
    bank.switch_on(100.0)
    return bank


def shown(bank: Bank, now_s: float) -> dict[str, float]:
    values: dict[str, float] = {}
    for block in bank.map.reads():
        words = bank.read(block.function, block.address, block.count, now_s)
        assert isinstance(words, list)
        values |= block.values(words)
    return values


def put(bank: Bank, values: Mapping[str, float], now_s: float) -> int:
    for block in bank.map.writes(list(values)):
        code = bank.write(block.function, block.address, block.registers(values)[0], now_s)
        if code:
            return code
    return 0


def test_it_shows_what_it_does_with_what_was_written() -> None:
    bank = bank_of()
    assert put(bank, {P_SET: 0.02}, 101.0) == 0
    values = shown(bank, 101.5)
    assert values[P_GEN] == pytest.approx(0.02)
    assert values["f[Hz]"] == pytest.approx(51.5)
    assert values["heartbeat[1]"] == 150


def test_it_shows_both_signs_and_orders_of_a_map() -> None:
    bank = bank_of("battery")  # float32 CDAB, charging positive, set-points that read back
    assert put(bank, {P_SET: -0.03}, 100.0) == 0
    values = shown(bank, 100.0)
    assert values[P_SET] == pytest.approx(-0.03)
    assert values[P_GEN] == pytest.approx(-0.03)
    words = bank.read("input", 200, 2, 100.0)
    assert words == [0, 0x41F0]  # +30 kW charging, low word first


def test_a_write_acts_from_its_own_time_on() -> None:
    bank = Bank(load_map("generic_inverter"), PowerStage(Rating(tau_s=0.05, droop_p=0, droop_q=0)))
    bank.switch_on(0.0)
    put(bank, {P_SET: 0.02}, 1.0)  # nobody asked in between
    assert shown(bank, 1.0)[P_GEN] == 0.0
    assert shown(bank, 9.0)[P_GEN] == pytest.approx(0.02)


@pytest.mark.parametrize("function, address, count", [("holding", 200, 1), ("input", 9, 2), ("coil", 0, 1)])
def test_where_nothing_is_it_refuses(function: str, address: int, count: int) -> None:
    assert bank_of().read(function, address, count, 100.0) == ILLEGAL_ADDRESS


def test_a_refused_write_changes_nothing() -> None:
    bank = bank_of()
    put(bank, {P_SET: 0.02}, 100.0)
    assert bank.write("input", 0, [0, 1], 100.0) == ILLEGAL_ADDRESS
    assert bank.write("holding", 8, [1, 2, 3], 100.0) == ILLEGAL_ADDRESS  # one register too many
    assert bank.write("holding", 4, [0xFFFF, 0xFFF0], 100.0) == ILLEGAL_VALUE  # 4295 pu
    assert bank.written[P_SET] == pytest.approx(0.02)
    assert bank.written["Vm[pu]"] == 0.0


def test_half_a_value_is_taken_with_the_other_half_as_it_was() -> None:
    bank = bank_of()
    put(bank, {P_SET: 0.02}, 100.0)  # 20000 W = 0x4E20
    assert bank.write("holding", 1, [7], 100.0) == 0
    assert bank.written[P_SET] == pytest.approx(7e-6)


def test_a_device_that_hears_nothing_goes_back_to_its_default() -> None:
    bank = bank_of()
    put(bank, {P_SET: 0.02, "reversion[s]": 2.0}, 100.0)
    assert shown(bank, 101.9)[P_GEN] == pytest.approx(0.02)
    put(bank, {"reversion[s]": 2.0}, 101.9)
    assert shown(bank, 103.8)[P_GEN] == pytest.approx(0.02)
    assert shown(bank, 104.0)[P_GEN] == 0.0


def test_without_a_reversion_time_it_keeps_its_set_points() -> None:
    bank = bank_of()
    put(bank, {P_SET: 0.02}, 100.0)
    assert shown(bank, 1e4)[P_GEN] == pytest.approx(0.02)


def test_switched_on_anew_it_has_forgotten() -> None:
    bank = bank_of()
    put(bank, {P_SET: 0.02}, 100.0)
    bank.switch_on(200.0)
    assert shown(bank, 200.0)[P_GEN] == 0.0
    assert shown(bank, 200.105)["heartbeat[1]"] == 10


def test_frozen_it_shows_the_same_and_takes_writes() -> None:
    bank = bank_of()
    before = shown(bank, 101.0)
    bank.frozen = True
    assert put(bank, {P_SET: 0.02}, 102.0) == 0
    assert shown(bank, 103.0) == before


def test_without_numbers_it_shows_none() -> None:
    for name in ("generic_inverter", "battery", "diesel", "meter"):
        bank = Bank(load_map(name), lambda t_s, written: {P_GEN: 0.01, "Q_gen[MVar]": 0.0})
        bank.unknown = True
        bank.switch_on(0.0)
        assert math.isnan(shown(bank, 1.0)[P_GEN]), name


@pytest.mark.parametrize("type", ["int16", "uint16", "int32", "uint32", "float32", "int64", "float64", "enum16"])
@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
def test_no_value_in_every_type_and_order(type: str, order: str) -> None:
    point = Point("p", P_GEN, 0, "input", type, order, scale=0.1, offset=3.0, sign=-1, unit="kW")  # type: ignore[arg-type]
    assert math.isnan(decode(point, unknown(point)))


def test_a_set_point_outside_of_the_limits_is_refused_by_the_device() -> None:
    limited = read_map("""
role: power
points:
  P: {attr: "P_gen[MW]", address: 0, unit: kW}
  Q: {attr: "Q_gen[MVar]", address: 1, unit: kvar}
  P_set: {attr: "P_set[MW]", address: 2, unit: kW, low: -10, high: 10, safe: 0, role: write}
""")
    bank = Bank(limited, follow)
    bank.switch_on(0.0)
    assert bank.write("holding", 2, [10], 0.0) == 0
    assert bank.write("holding", 2, [11], 0.0) == ILLEGAL_VALUE
    assert bank.written[P_SET] == pytest.approx(0.01)
