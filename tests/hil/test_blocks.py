"""Merged reads: every point once, within what one request may ask for, and split around holes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.hil.blocks import Block, blocks, split_around, write_blocks
from gridloop.hil.points import Point


def at(address, kind="uint16", function="holding", **fields):
    return Point(f"p{address}", f"p{address}[1]", address, function=function, type=kind, **fields)


def spans(found):
    return [(block.address, block.count) for block in found]


POINTS = st.lists(
    st.builds(
        at, st.integers(0, 400), st.sampled_from(["uint16", "int32", "float64"]),
        st.sampled_from(["holding", "input"]),
    ), max_size=60,
)  # fmt: skip


def test_neighbours_are_one_request_and_gaps_part_them_unless_allowed():
    points = [at(10), at(0, "int32"), at(2), at(3, function="input")]
    assert spans(blocks(points)) == [(0, 3), (10, 1), (3, 1)]
    assert spans(blocks(points, gap=7)) == [(0, 11), (3, 1)]
    assert spans(blocks(points, gap=6)) == [(0, 3), (10, 1), (3, 1)]


def test_a_request_never_asks_for_more_than_125():
    assert spans(blocks([at(address) for address in range(130)])) == [(0, 125), (125, 5)]
    assert spans(blocks([at(address, "int32") for address in range(0, 130, 2)])) == [(0, 124), (124, 6)]
    with pytest.raises(ValueError, match="p0 takes 4 registers, one request 3"):
        blocks([at(0, "float64")], most=3)


def test_points_in_the_same_register_are_read_once():
    bits = [Point(f"b{bit}", f"b{bit}[1]", 5, type="bool", bit=bit) for bit in range(3)]
    (block,) = blocks(bits)
    assert (block.address, block.count) == (5, 1)
    assert block.values([0b101]) == {"b0[1]": 1, "b1[1]": 0, "b2[1]": 1}


@given(POINTS, st.integers(4, 125), st.integers(0, 20))
def test_every_point_stands_in_exactly_one_request(points, most, gap):
    found = blocks(points, most, gap)
    assert sorted(map(id, (p for block in found for p in block.points))) == sorted(map(id, points))
    for block in found:
        assert block.count <= most
        assert all(block.address <= p.address and p.end <= block.end for p in block.points)
        assert all(p.function == block.function for p in block.points)


@given(POINTS, st.integers(0, 400))
def test_around_a_known_hole_all_other_points_are_still_read(points, hole):
    for block in blocks(points, gap=20):
        parts = split_around(block, hole)
        left = [p for part in parts for p in part.points]
        assert sorted(map(id, left)) == sorted(id(p) for p in block.points if not p.address <= hole < p.end)
        assert all(not part.address <= hole < part.end for part in parts)


@given(POINTS, st.sets(st.integers(0, 400), max_size=5))
def test_unknown_holes_are_found_by_asking(points, holes):
    """A device that refuses each request with a hole in it: what has none is read in the end."""
    waiting, read, requests = blocks(points, gap=20), list[Point](), 0
    while waiting:
        block = waiting.pop()
        requests += 1
        if any(block.address <= hole < block.end for hole in holes):
            parts = split_around(block)
            assert all(len(part.points) < len(block.points) for part in parts)
            waiting += parts
        else:
            read += block.points
    assert requests <= 3 * len(points) + 1
    good = [p for p in points if not any(p.address <= hole < p.end for hole in holes)]
    # points that share registers with a refused one may be given up with it
    shared = [p for p in good if any(p.address < q.end and q.address < p.end for q in points if q not in good)]
    assert {id(p) for p in good} - {id(p) for p in shared} <= {id(p) for p in read} <= {id(p) for p in good}


def test_writes_keep_the_order_of_the_map_and_merge_only_without_a_gap():
    points = [at(10, "int32"), at(12), at(5), at(6), at(8)]
    assert spans(write_blocks(points)) == [(10, 3), (5, 2), (8, 1)]
    assert spans(write_blocks([at(address) for address in range(130)])) == [(0, 123), (123, 7)]


def test_a_block_packs_and_unpacks_its_values():
    power = Point("P_set", "P_set[MW]", 4, type="int32", unit="W", high=5000, role="write")
    (block,) = write_blocks([power, at(6, role="write")])
    assert block.registers({"P_set[MW]": 0.002, "p6[1]": 7}) == ([0, 2000, 7], ())
    assert block.registers({"P_set[MW]": 0.009, "p6[1]": 7}) == ([0, 5000, 7], ("P_set[MW]",))
    assert block.values([0, 2000, 7]) == {"P_set[MW]": pytest.approx(0.002), "p6[1]": 7}


def test_an_answer_of_another_length_is_not_taken():
    with pytest.raises(ValueError, match="3 registers were asked for, got 2"):
        blocks([at(4, "int32"), at(6)])[0].values([0, 1])


def test_a_write_never_touches_what_no_point_owns():
    with pytest.raises(ValueError, match="overwrite"):
        Block("holding", 0, 3, (at(0), at(2))).registers({"p0[1]": 1, "p2[1]": 1})
