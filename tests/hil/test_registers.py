"""Register maps from files: those that ship, and every mistake at once with its line."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridloop.hil.registers import MapError, Point, load_map, read_map, shipped_maps

GOOD = """\
role: power
min_gap_ms: 50
defaults: {type: int32, order: CDAB}
points:
  P_set: {attr: "P_set[MW]", address: 0x10, unit: kW, low: -5, high: 5, safe: 0, role: write}
  P_gen:
    attr: "P_gen[MW]"
    address: 20
    type: int16
    sentinel: 0x8000
    unit: kW
    sign: -1
  Q_gen: {attr: "Q_gen[MVar]", address: 22, sentinel: none}
"""


def problems(text):
    with pytest.raises(MapError) as caught:
        read_map(text, "my.yaml")
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


def power(points):
    """A map with what a device of this role must show, and `points`; these begin in line 5."""
    return (
        'role: power\npoints:\n  P_gen: {attr: "P_gen[MW]", address: 0}\n  Q_gen: {attr: "Q_gen[MVar]", address: 1}\n'
        + "".join(f"  {line}\n" for line in points)
    )


def test_a_file_becomes_points():
    found = read_map(GOOD, "folder/my_inverter.yaml")
    assert (found.name, found.role, found.min_gap_ms) == ("my_inverter", "power", 50)
    p_set, p_gen, q_gen = found.points
    assert p_set == Point(
        "P_set", "P_set[MW]", 16, type="int32", order="CDAB", unit="kW", low=-5, high=5, safe=0, role="write"
    ) or math.isnan(p_set.preset)
    assert (p_set.order, p_set.type, p_set.limits, p_set.safe_value) == ("CDAB", "int32", (-0.005, 0.005), 0)
    assert (p_gen.type, p_gen.sign, p_gen.missing) == ("int16", -1, -32768)
    assert q_gen.missing is None
    assert found.safe_values == {"P_set[MW]": 0}
    assert found.read("P_gen[MW]") is p_gen
    assert found.written("P_gen[MW]") is None


@pytest.mark.parametrize("name", sorted(shipped_maps()))
def test_every_map_that_ships_is_good_and_has_a_line_for_tables(name):
    found = load_map(name)
    assert found.name == name
    assert found.description
    assert all(block.count <= 125 for block in found.reads())
    for block in found.writes([point.attr for point in found.written_points]):
        block.registers({point.attr: 0.0 for point in block.points})  # no register between that no point owns


def test_generic_maps_take_one_request_a_direction_and_start_the_device_timer():
    for name in ("generic_inverter", "generic_controller"):
        found = load_map(name)
        assert len(found.reads()) == 1
        assert [(block.address, block.count) for block in found.writes([p.attr for p in found.written_points])] == [
            (0, 10)
        ]
        assert found.reversion_s == 2
        assert [p.missing for p in found.points if p.attr == "heartbeat[1]"] == [None, None]
    shown = {p.attr for p in load_map("generic_inverter").read_points}
    assert {"P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "f[Hz]", "quality[1]", "heartbeat[1]"} <= shown
    assert {"f[Hz]", "E[pu]"} <= {p.attr for p in load_map("generic_controller").read_points}


def test_reads_take_small_gaps_along_where_the_map_allows_it():
    assert [(block.address, block.count) for block in load_map("meter").reads()] == [(0, 20), (70, 6)]
    assert [(block.address, block.count) for block in read_map(GOOD).reads()] == [(20, 1), (22, 2)]


def test_shipped_maps_turn_signs_here_and_nowhere_else():
    battery = load_map("battery").read("P_gen[MW]")
    assert battery is not None
    (block,) = [block for block in load_map("battery").reads() if battery in block.points]
    registers = [0] * block.count
    registers[battery.address - block.address + 1] = 0x41A0  # 20.0, less significant word first: charging
    assert block.values(registers)["P_gen[MW]"] == pytest.approx(-0.020)


def test_every_mistake_is_told_at_once_with_its_line():
    text = """\
rol: power
min_gap_ms: -1
points:
  P_gen: {attr: P_gen, adress: 3, type: int17}
  Q_gen: {attr: "Q_gen[MVar]", address: 70000, unit: kvar}
  Q_gen: 3
  f: {attr: "f[Hz]", address: 5, scale: "0,1"}
  V:
    attr: "Vm[pu]"
    address: "12"
    sign: 2
"""
    told = problems(text)
    assert [line for line, _, _ in told] == [1, 2, 4, 4, 4, 5, 6, 7, 10, 11]
    messages = " | ".join(f"{path}: {message}" for _, path, message in told)
    for part in (
        "rol: unknown key; did you mean role?", "min_gap_ms: must be from 0 to 60000, got -1",
        "points.P_gen.adress: unknown key; did you mean address?", "points.P_gen.attr: must be a mosaik attribute",
        "int17'; did you mean int16?", "points.Q_gen.address: must be from 0 to 65535, got 70000",
        "stands twice in the same map, first in line 5", "must be a number, got '0,1'; write 0.1",
        "must be a whole number, got '12'; write 12", "sign: must be 1 or -1, got 2",
    ):  # fmt: skip
        assert part in messages
    assert "is missing" not in messages  # misspelt keys are told once


def test_what_is_missing_is_told_at_the_line_of_its_point():
    assert problems(power(["x:", "  type: int16", '  attr: "x[1]"'])) == [(5, "points.x", "address is missing")]


def test_the_text_of_the_error_names_file_and_line():
    with pytest.raises(MapError, match=re.escape("my.yaml:1: role: unknown word 'pwer'; did you mean power?")):
        read_map("role: pwer\npoints: {}\n", "my.yaml")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ('x: {attr: "x[1]"}', "address is missing"),
        ('x: {attr: "x[1]", address: 2, function: coil}', "its type is bool"),
        ('x: {attr: "x[1]", address: 2, function: input, role: write}', "cannot be written"),
        ('x: {attr: "x[1]", address: 65535, type: int32}', "end beyond 65535"),
        ('x: {attr: "x[1]", address: 2, bit: 3}', "only a bool"),
        ('x: {attr: "x[1]", address: 2, type: bool, bit: 3, role: both}', "only a bool that is read"),
        ('x: {attr: "x[1]", address: 2, type: enum16, scale: 2}', "no scale"),
        ('x: {attr: "x[1]", address: 2, names: {1: on}}', "only an enum16"),
        ('x: {attr: "x[1]", address: 2, type: enum16, names: {one: a}}', "the number that the name stands for"),
        ('x: {attr: "x[1]", address: 2, sentinel: 65536}', "no number of type int16"),
        ('x: {attr: "x[1]", address: 2, sentinel: maybe}', "none, or type"),
        ('x: {attr: "x[1]", address: 2, scale: 0}', "greater than 0"),
        ('x: {attr: "x[1]", address: 2, scale: .inf}', "finite"),
        ('x: {attr: "x[1]", address: 2, low: 3, high: 2}', "low 3 is above high 2"),
        ('x: {attr: "x[1]", address: 2, low: .2, high: .8, role: write}', "no register's number"),
        ('x: {attr: "x[1]", address: 2, high: 2, safe: 3, role: write}', "3 is not between"),
        ('x: {attr: "x[1]", address: 2, safe: 3}', "is never written"),
        ('x: {attr: "x[1]", address: 2, preset: 3}', "is never written"),
        ('x: {attr: "P_set[MW]", address: 2, role: write}', "`safe` is missing"),
        ('x: {attr: "Vm[pu]", address: 2, unit: V}', "give `base`"),
        ('x: {attr: "x[MW]", address: 2, unit: kvar}', "kvar does not convert to MW"),
        ('x: {attr: "x[MW]", address: 2, unit: kw}', "did you mean kW?"),
        ('x: {attr: "x[1]", address: 2, role: heartbeat, sentinel: 3}', "runs through all numbers"),
        ('x: {attr: "P_gen[MW]", address: 2}', "P_gen and x both show P_gen[MW]"),
        ('x-1: {attr: "x[1]", address: 2}', "letters, digits and _"),
        ("x: 7", "must be a map of keys, got 7"),
        ("[a, b]: 7", "a key must be a word"),
        ("x: {attr: &a {b: 1}, address: *a}", "an alias of a map or list is not followed"),
    ],
)
def test_what_does_not_fit_is_told_with_the_way_out(point, message):
    told = problems(power([point]))
    assert any(message in text for _, _, text in told), told
    assert {line for line, _, _ in told} == {5}


def test_two_writes_of_one_register_are_refused():
    text = power(
        ['a: {attr: "a[1]", address: 4, type: int32, role: write}', 'b: {attr: "b[1]", address: 5, role: write}']
    )
    assert problems(text) == [(6, "points.b", "overlaps a, which stands at 4 to 5")]


def test_a_device_of_a_role_must_show_what_it_gives():
    assert [text for _, _, text in problems("role: controller\npoints: {}\n")] == [
        "no point shows f[Hz], which a device of role controller gives",
        "no point shows E[pu], which a device of role controller gives",
        "must not be empty",
    ]
    meter = problems('role: meter\npoints: {x: {attr: "x[1]", address: 0, role: write}}\n')
    assert [text for _, _, text in meter] == ["a meter is only read; its role is read"]


NO_MAPS = [
    "", "7", "- a", "role: [", "role: power\n\trole: x", "&a [*a]", "a: &b {c: *b}", "[" * 1000, "%YAML 1.3\n--- a",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_MAPS)
def test_what_is_no_map_is_told(text):
    assert problems(text)


def test_a_map_of_ones_own_stands_relative_to_its_folder(tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.yaml").write_text(GOOD)
    assert load_map("maps/mine.yaml", tmp_path).name == "mine"
    with pytest.raises(MapError, match="did you mean generic_inverter"):
        load_map("generic_invertr", tmp_path)
    for name in ("maps/other.yaml", "maps", "a\0b"):
        with pytest.raises(MapError, match="no such file"):
            load_map(name, tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"role: \xff")
    with pytest.raises(MapError, match="byte 7 is wrong"):
        load_map("binary.yaml", tmp_path)


POINT_KEYS = ["attr", "address", "type", "order", "scale", "sentinel", "low", "high", "safe", "unit", "bit", "names"]
LINES = st.lists(
    st.one_of(
        st.sampled_from([*GOOD.splitlines(), "points:", "  x: &a {attr: *a}", "  <<: {a: 1}", "%YAML 1.3", "--- a"]),
        st.text(alphabet="abP_:{}[]\"'&*!|>-?#%@, \n\\xuU0123456789.~", max_size=20),
    ), max_size=12,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")
@settings(max_examples=60)
@given(LINES)
def test_garbage_raises_only_map_errors(lines):
    try:
        read_map("\n".join(lines))
    except MapError as error:
        assert error.problems


@given(st.text(max_size=60))
def test_any_text_raises_only_map_errors(text):
    with pytest.raises(MapError):
        read_map(text)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(POINT_KEYS),
        st.sampled_from(
            ["1", "-1", "1e400", "0x8000", "none", "kW", "V", "'P_set[MW]'", "int16", "float64", "[1]", "{a: 1}", "~",
             "true", "1_0", "0o17", ".nan", "-.inf", "CDAB", "9" * 5000, "0x" + "F" * 9000, "2020-01-01", "!!int x",
             "!!float ''"]
        ),
    )
)  # fmt: skip
def test_any_values_of_known_keys_raise_only_map_errors(keys):
    line = "x: {" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"
    try:
        read_map(power([line]))
    except MapError as error:
        assert error.problems
