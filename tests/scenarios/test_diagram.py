"""The single-line diagram: everything is drawn once, says what it is, and comes out the same every time."""

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from gridloop.scenarios.diagram import Marks, network_svg
from gridloop.scenarios.diagram_layout import fitted, separated, sheet

SVG = "{http://www.w3.org/2000/svg}"


def bus(name, x=None, y=None):
    return {"id": name, "x": x, "y": y, "v_kv": 11.0}


def branch(a, b, kind="line", suffix=""):
    return {"id": f"{a}-{b}{suffix}", "from": a, "to": b, "kind": kind}


def ring(x_known=True):
    """Four buses in a square, a transformer to the fifth, one unit, one load."""
    places = {"1": (0, 0), "2": (1, 0), "3": (1, 1), "4": (0, 1), "5": (2, 1)}
    return {
        "buses": [bus(name, *(place if x_known else ())) for name, place in places.items()],
        "branches": [
            *(branch(a, b) for a, b in (("1", "2"), ("2", "3"), ("3", "4"), ("4", "1"))),
            branch("3", "5", "trafo"),
        ],
        "units": [{"id": "inv1", "type": "inverter", "bus": "1", "s_rated_kva": 250.0}],
        "loads": [{"id": "load4", "bus": "4"}],
    }


def tooltips(svg):
    """Every group that has a tooltip, by its text."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    return {title.text: group for group in groups if (title := group.find(f"{SVG}title")) is not None}


def group(svg, start):
    """The group whose tooltip begins so."""
    (found,) = [g for text, g in tooltips(svg).items() if text.startswith(start)]
    return found


def classes(element):
    return {name for part in element.iter() for name in part.get("class", "").split()}


@pytest.mark.parametrize("x_known", [True, False])
def test_every_part_of_the_network_is_drawn_once_with_its_tooltip(x_known):
    texts = sorted(tooltips(network_svg(ring(x_known))))
    assert texts == sorted([
        *(f"bus {name}, 11 kV" for name in "12345"),
        "inverter inv1 at bus 1, 250 kVA",
        "line 1-2: 1 to 2", "line 2-3: 2 to 3", "line 3-4: 3 to 4", "line 4-1: 4 to 1",
        "load load4 at bus 4", "trafo 3-5: 3 to 5",
    ])  # fmt: skip


@pytest.mark.parametrize("x_known", [True, False])
def test_the_same_network_gives_the_same_text(x_known):
    assert network_svg(ring(x_known)) == network_svg(ring(x_known))


def test_a_missing_coordinate_brings_the_computed_layout():
    partly = ring()
    partly["buses"][2]["x"] = None
    assert network_svg(partly) == network_svg(ring(x_known=False))


def test_only_an_open_branch_is_dashed_and_crossed_and_says_since_when():
    svg = network_svg(ring(), Marks(opened_s={"2-3": 2.5}))
    assert {"open", "cross"} <= classes(group(svg, "line 2-3"))
    assert "open" not in classes(group(svg, "line 1-2"))
    assert "open since 2.5 s" in re.findall(r">([^<]*)</text>", svg)
    assert re.search(r"\.network \.open\{[^}]*stroke-dasharray", svg)


def test_colours_follow_the_highest_loading():
    svg = network_svg(ring(), Marks(loading_percent={"1-2": 49, "2-3": 79, "3-4": 99, "4-1": 130}))
    levels = [classes(group(svg, f"line {name}")) & {"level0", "level1", "level2", "level3", "over"}
              for name in ("1-2", "2-3", "3-4", "4-1")]  # fmt: skip
    assert levels == [{"level0"}, {"level1"}, {"level2"}, {"level3", "over"}]


def test_without_ratings_colours_follow_the_flow():
    svg = network_svg(ring(), Marks(flow_mw={"1-2": 0.1, "2-3": 0.4}))
    assert "level0" in classes(group(svg, "line 1-2"))
    assert "level3" in classes(group(svg, "line 2-3"))
    assert "greatest flow 400 kW" in next(text for text in tooltips(svg) if text.startswith("line 2-3"))


def test_a_transformer_is_two_rings_a_unit_one_circle_a_load_an_arrow():
    svg = network_svg(ring())
    assert len(group(svg, "trafo").findall(f"{SVG}circle")) == 2
    assert len(group(svg, "inverter").findall(f"{SVG}circle")) == 1
    assert "solid" in classes(group(svg, "load"))


def test_a_unit_has_the_colour_of_its_curves_and_a_cross_when_off():
    svg = network_svg(ring(), Marks(colours={"inv1": 3}, stopped_s={"inv1": 4}))
    unit = group(svg, "inverter inv1")
    assert unit.get("class") == "c3"
    assert "cross" in classes(unit)


def test_names_cannot_break_out():
    network = ring()
    network["units"][0]["id"] = '<b>&"'
    assert ElementTree.fromstring(network_svg(network)) is not None
    assert "<b>" not in network_svg(network)


def test_parallel_lines_do_not_cover_each_other():
    network = ring()
    network["branches"].append(branch("2", "1", suffix="/2"))  # entered from the other end
    svg = network_svg(network)
    paths = [group(svg, f"line {name}").find(f"{SVG}path").get("d") for name in ("1-2:", "2-1/2:")]
    ends = [np.array(re.findall(r"-?[\d.]+", path), float).reshape(2, 2) for path in paths]
    gap = ends[0] - ends[1][::-1]
    assert np.abs(gap).max() == pytest.approx(10, abs=0.2)  # px, the same at both ends
    assert gap[0] == pytest.approx(gap[1], abs=0.2)


def test_a_branch_to_an_unnamed_bus_is_left_out():
    network = ring()
    network["branches"].append(branch("1", ""))
    assert network_svg(network) == network_svg(ring())


def test_separate_networks_without_coordinates_do_not_cover_each_other():
    network = ring(x_known=False)
    network["buses"] += [bus("8"), bus("9")]
    network["branches"].append(branch("8", "9"))
    placed = sheet(network["buses"], network["branches"], {}).buses
    assert min(abs(placed[a].at - placed[b].at) for a, b in combinations(placed, 2)) > 40  # px


def test_fitting_keeps_the_aspect():
    points, height = fitted(np.array([0, 10 + 5j]), width=728, height=1000)  # 2 * 64 px are margin
    assert abs(points[1] - points[0]) == pytest.approx(abs(600 + 300j))
    assert height == pytest.approx(300 + 128)


def test_both_sides_of_a_transformer_at_one_place_are_pulled_apart():
    points = separated(np.array([5 + 5j, 5 + 5j, 500 + 0j]), least=10, wide=[(0, 1)], least_wide=50)
    assert abs(points[0] - points[1]) == pytest.approx(50, rel=1e-3)
    assert points[2] == 500


def test_in_a_large_net_labels_stay_apart():
    grid = {(i, j): f"Bus {10 * i + j}" for i in range(15) for j in range(10)}
    network = {
        "buses": [bus(name, i, j) for (i, j), name in grid.items()],
        "branches": [branch(grid[i, j], grid[i + 1, j]) for i, j in grid if i < 14],
        "units": [], "loads": [{"id": f"load{k}", "bus": name} for k, name in enumerate(grid.values())],
    }  # fmt: skip
    labels = re.findall(r'<text class="name" x="([\d.]+)" y="([\d.]+)"[^>]*>(\d+)<', network_svg(network))
    assert len(labels) > 50
    boxes = [(float(x), float(y), 3.0 * len(text)) for x, y, text in labels]  # centre and half width
    for (x, y, w), (x2, y2, w2) in combinations(boxes, 2):
        assert abs(x - x2) >= w + w2 or abs(y - y2) >= 10
