"""Engineering value <-> registers: every type and order, missing values, limits."""

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.hil.points import ORDERS, TYPES, Order, Point, decode, encode, unit_factor

WHOLE = [name for name in TYPES if name.startswith(("int", "uint"))]


def p_gen(**fields):
    return Point("P_gen", "P_gen[MW]", 0, **fields)


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        ("ABCD", [0x4248, 0x1234]), ("CDAB", [0x1234, 0x4248]), ("BADC", [0x4842, 0x3412]), ("DCBA", [0x3412, 0x4842]),
    ],
)  # fmt: skip
def test_the_four_orders_of_one_float(order, registers):
    value = struct.unpack(">f", bytes.fromhex("42481234"))[0]
    point = Point("f", "f[Hz]", 0, type="float32", order=order)
    assert decode(point, registers) == value
    assert encode(point, value) == (registers, False)


def test_the_words_of_64_bits_go_on_in_the_same_way():
    number = 0x0011223344556677
    point = Point("E", "E[1]", 0, type="int64")
    words: dict[Order, list[int]] = {
        "ABCD": [0x0011, 0x2233, 0x4455, 0x6677], "CDAB": [0x6677, 0x4455, 0x2233, 0x0011],
        "BADC": [0x1100, 0x3322, 0x5544, 0x7766], "DCBA": [0x7766, 0x5544, 0x3322, 0x1100],
    }  # fmt: skip
    for order, registers in words.items():
        assert decode(replace(point, order=order), registers) == float(number)


def test_one_register_knows_only_the_order_of_its_bytes():
    registers: dict[Order, int] = {"ABCD": 0x0102, "CDAB": 0x0102, "BADC": 0x0201, "DCBA": 0x0201}
    for order, register in registers.items():
        assert decode(replace(Point("n", "n[1]", 0, type="uint16"), order=order), [register]) == 0x0102


def test_a_manual_in_tenths_of_a_kilowatt_that_counts_consumption_positive():
    # 12.5 kW flow out of the bus: 125 in the register, P_gen = -0.0125 MW
    point = p_gen(scale=0.1, unit="kW", sign=-1)
    assert decode(point, [125]) == pytest.approx(-0.0125, rel=1e-15)
    assert encode(point, -0.0125) == ([125], False)


def test_the_offset_is_in_the_unit_of_the_file():
    point = Point("T", "T[degC]", 0, type="uint16", scale=0.1, offset=-40)
    assert decode(point, [650]) == pytest.approx(25)
    assert encode(point, 25.0) == ([650], False)


def test_volts_become_per_unit_with_a_base():
    assert decode(Point("V", "Vm[pu]", 0, type="uint16", scale=0.1, unit="V", base=400), [4100]) == pytest.approx(1.025)
    assert unit_factor("W", "%", 2000) == pytest.approx(0.05)  # 100 W of 2000 W are 5 %


@pytest.mark.parametrize(("unit", "attr"), [("kW", "Q_gen[MVar]"), ("V", "Vm[pu]"), ("furlong", "d[s]")])
def test_units_that_measure_something_else_are_refused(unit, attr):
    with pytest.raises(ValueError, match=r"does not convert|unknown unit"):
        unit_factor(unit, attr[attr.index("[") + 1 : -1])


@pytest.mark.parametrize(
    ("kind", "registers"),
    [
        ("int16", [0x8000]), ("uint16", [0xFFFF]), ("enum16", [0xFFFF]), ("bitfield16", [0xFFFF]),
        ("int32", [0x8000, 0]), ("uint32", [0xFFFF, 0xFFFF]), ("int64", [0x8000, 0, 0, 0]), ("uint64", [0xFFFF] * 4),
        ("float32", [0x7FC0, 0]), ("float32", [0x7F80, 0]), ("float64", [0xFFF0, 0, 0, 0]),
    ],
)  # fmt: skip
def test_what_says_no_value_is_nan(kind, registers):
    assert math.isnan(decode(Point("x", "x[1]", 0, type=kind), registers))


def test_a_sentinel_of_a_manual_is_a_pattern_or_a_number():
    for sentinel in (0x8001, -32767):
        assert math.isnan(decode(Point("x", "x[1]", 0, sentinel=sentinel), [0x8001]))
    assert decode(Point("x", "x[1]", 0, sentinel=0), [0x8000]) == -32768


def test_a_counter_runs_through_all_numbers():
    ours = Point("beat", "heartbeat[1]", 0, type="uint16", role="heartbeat")
    assert encode(ours, 65535) == ([65535], False)
    assert decode(Point("beat", "heartbeat[1]", 0, type="uint16", sentinel=None), [65535]) == 65535


def test_what_is_written_is_never_the_number_for_no_value():
    assert encode(p_gen(role="write"), -32768.0) == ([0x8001], True)
    assert encode(Point("x", "x[1]", 0, type="uint16", role="write"), 65535) == ([65534], True)
    assert encode(Point("x", "x[1]", 0, sentinel=-5, role="write"), -5) == ([0xFFFC], False)
    assert encode(Point("x", "x[1]", 0, sentinel=0, low=0, role="write"), 0) == ([1], False)


def test_400_kw_at_10_w_a_step_do_not_fit_and_are_cut():
    point = p_gen(scale=10, unit="W", role="write")
    assert encode(point, 0.4) == ([32767], True)
    assert encode(point, -0.4) == ([0x10000 - 32767], True)
    assert encode(point, 0.3) == ([30000], False)


@pytest.mark.parametrize("kind", ["int16", "int64", "uint32", "float32", "float64"])
def test_infinite_set_points_become_the_limit(kind):
    point = p_gen(type=kind, unit="kW", low=0, high=20, role="write")
    registers, saturated = encode(point, math.inf)
    assert saturated
    assert decode(point, registers) == pytest.approx(0.020)
    free = p_gen(type=kind, role="write")
    registers, saturated = encode(free, math.inf)
    assert saturated
    assert decode(free, registers) > 1e4


def test_nan_is_not_written():
    with pytest.raises(ValueError, match=r"P_gen\[MW\] = nan"):
        encode(p_gen(), math.nan)


def test_limits_hold_after_rounding_and_are_no_saturation_themselves():
    point = p_gen(scale=0.3, unit="kW", low=-10, high=10, role="write")
    assert encode(point, 0.010) == ([33], False)  # 34 steps would be 10.2 kW
    assert encode(point, 0.0101) == ([33], True)
    assert encode(p_gen(scale=0.1, unit="kW", high=1250, role="write"), 1.25) == ([12500], False)


def test_reading_outside_of_the_limits_is_no_value():
    soc = Point("SoC", "SoC[%]", 0, type="uint16", scale=0.1, low=0, high=100)
    assert decode(soc, [1000]) == 100
    assert math.isnan(decode(soc, [32768]))
    # what was written may be read back whatever it is
    assert decode(Point("P", "P_set[MW]", 0, high=5, role="both"), [6]) == 6


def test_bits_coils_and_names():
    assert [decode(Point("run", "running[1]", 0, type="bool", bit=bit), [0b100]) for bit in (1, 2)] == [0, 1]
    coil = Point("run", "running[1]", 0, function="coil", type="bool", role="both")
    assert (encode(coil, 1.0), encode(coil, 0.0)) == (([1], False), ([0], False))
    assert decode(coil, [1]) == 1
    alarms = Point("alarm", "alarm[1]", 0, type="bitfield16", names=((0, "overspeed"), (3, "hot")))
    assert alarms.text(0b1001) == "overspeed, hot"
    assert alarms.text(0b10) == "bit 1"
    assert alarms.text(0) == "none"
    assert alarms.text(math.nan) == "no value"
    assert Point("s", "state[1]", 0, type="enum16", names=((2, "running"),)).text(2.0) == "running"


def test_a_wrong_count_of_registers_is_refused():
    with pytest.raises(ValueError, match="2 registers hold it, got 1"):
        decode(p_gen(type="int32"), [1])


@given(
    kind=st.sampled_from(WHOLE), order=st.sampled_from(ORDERS), sign=st.sampled_from([1, -1]),
    scale=st.sampled_from([1e-6, 0.01, 0.3, 1.0, 10.0]), offset=st.sampled_from([0.0, -40.0, 1000.0]),
    unit=st.sampled_from(["W", "kW", "MW"]), data=st.data(),
)  # fmt: skip
def test_what_is_written_is_read_back_within_half_a_step(kind, order, sign, scale, offset, unit, data):
    point = p_gen(type=kind, order=order, sign=sign, scale=scale, offset=offset, unit=unit, role="both")
    bits = min(16 * point.width, 50)  # beyond, a float has no half steps
    number = data.draw(st.floats(-(2.0**bits) / 2 + 2, 2.0**bits / 2 - 2), label="number")
    if kind.startswith("uint"):
        number = abs(number)
    value = sign * (number * scale + offset) * point.factor
    registers, saturated = encode(point, value)
    assert len(registers) == point.width
    assert all(0 <= register <= 0xFFFF for register in registers)
    assert not saturated
    assert decode(point, registers) == pytest.approx(value, abs=0.5001 * point.resolution, rel=1e-9)


@given(kind=st.sampled_from(WHOLE), order=st.sampled_from(ORDERS), data=st.data())
def test_every_pattern_is_no_value_or_is_written_back_as_it_was(kind, order, data):
    point = Point("x", "x[1]", 0, type=kind, order=order, role="both")
    registers = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=point.width, max_size=point.width))
    value = decode(point, registers)
    if math.isfinite(value) and abs(value) < 2**53:
        assert encode(point, value) == (registers, False)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(ORDERS))
def test_floats_are_read_back_as_they_were(value, order):
    for kind in ("float32", "float64"):
        point = Point("x", "x[1]", 0, type=kind, order=order, role="both")
        registers, saturated = encode(point, value)
        assert not saturated
        assert decode(point, registers) == value


@given(
    kind=st.sampled_from([*WHOLE, "float32", "float64"]), sign=st.sampled_from([1, -1]),
    value=st.floats(allow_nan=False), limits=st.tuples(st.floats(-1e6, -1), st.floats(1, 1e6)),
)  # fmt: skip
def test_nothing_beyond_the_limits_is_ever_written(kind, sign, value, limits):
    low, high = limits
    point = Point("x", "x[1]", 0, type=kind, sign=sign, low=low, high=high, role="both")
    registers, saturated = encode(point, value)
    written = decode(point, registers)
    assert low * (1 + 1e-7) <= written <= high * (1 + 1e-7)
    if not 1.000001 * low <= value <= 1.000001 * high:
        assert saturated
