"""Where units meet the grid: rows, what came in last, Views, and every way to get them wrong."""

from typing import Any

import numpy as np
import pytest

from gridloop.simulators.terminals import Board, phasor

S_BASE_MVA = 10.0


def row_of_bus(name: str) -> int:
    if name not in "ABC":
        raise ValueError(f"there is no bus {name!r}")
    return "ABC".index(name)


def board() -> Board:
    return Board(row_of_bus, S_BASE_MVA)


def with_group(**more: Any) -> Board:
    """Three EMFs, at A, B and C."""
    made = board()
    made.create("Terminals", {"units": ["a", "b", "c"], "bus": ["A", "B", "C"]} | more)
    made.slots["Terminals-0"].value = np.array([1.0, 1.0j, 0.9])
    return made


def from_(**given: Any) -> Any:
    """Inputs of one entity: one source each."""
    return {attr: {"Sim.one": value} for attr, value in given.items()}


EMF, P_PU, Q_PU, P, Q, E, VA, ACTIVE = (
    "EMF[pu]", "P_gen[pu]", "Q_gen[pu]", "P_gen[MW]", "Q_gen[MVar]", "E[pu]", "Va_emf[deg]", "active[1]",
)  # fmt: skip


# --- rows ---


def test_rows_stand_in_the_order_of_creation_each_kind_by_itself() -> None:
    made = board()
    eids = [
        made.create("Terminals", {"units": ["a", "b"], "bus": ["A", "B"]}),
        made.create("Terminal", {"unit": "pv", "bus": "C", "source": "power", "i_max": 0.3}),
        made.create("Terminal", {"unit": "c", "bus": "C", "z": [0.01, 0.1], "weight": 2.0}),
        made.create("Terminals", {"units": ["w"], "bus": ["A"], "source": "power"}),
    ]
    assert eids == ["Terminals-0", "Terminal-0", "Terminal-1", "Terminals-1"]
    assert (made.emf.units, made.emf.bus) == (["a", "b", "c"], [0, 1, 2])
    assert (made.power.units, made.power.bus) == (["pv", "w"], [2, 0])
    assert made.emf.z == [0, 0, 0.01 + 0.1j] and made.emf.weight == [1, 1, 2]
    assert made.emf.i_max == [np.inf] * 3 and made.power.i_max == [0.3, np.inf]


def test_lists_hold_one_value_for_each_unit_and_a_number_holds_for_all() -> None:
    made = board()
    z = [0.1j, [0.02, 0.2], 0]
    made.create("Terminals", {"units": "abc", "bus": "ABC", "z": z, "i_max": [1, 2, None], "weight": 3})
    assert made.emf.z == [0.1j, 0.02 + 0.2j, 0]
    assert made.emf.i_max == [1, 2, np.inf]
    assert made.emf.weight == [3, 3, 3]


@pytest.mark.parametrize(
    ("model", "params", "words"),
    [
        ("Terminal", {"unit": "x", "bus": "D"}, "there is no bus 'D'"),
        ("Terminal", {"unit": "x", "bus": "A", "source": "current"},
         "Terminal: source must be 'emf' or 'power', got 'current'"),
        ("Terminals", {"units": ["x", "y"], "bus": ["A"]}, "Terminals: 2 units at 1 buses"),
        ("Terminal", {"unit": "x", "bus": "A", "source": "power", "z": [0, 0.1]},
         "Terminal: an impedance z belongs to an EMF, not to injected power"),
        ("Terminals", {"units": ["x", "y"], "bus": ["A", "B"], "z": [0.1j, 0.1j, 0.1j]},
         "Terminals: z has 3 values for 2 units"),
        ("Terminals", {"units": ["x", "y"], "bus": ["A", "B"], "i_max": [1.0]},
         "Terminals: i_max has 1 values for 2 units"),
        ("Terminals", {"units": ["x", "y"], "bus": ["A", "B"], "weight": [1.0] * 3},
         "Terminals: weight has 3 values for 2 units"),
        ("Terminal", {"unit": "x", "bus": "A", "z": 0.1j, "i_max": 0.0}, "Terminal: i_max = 0 must be > 0"),
        ("Terminal", {"unit": "x", "bus": "A", "z": 0.1j, "i_max": float("nan")}, "Terminal: i_max = nan must be > 0"),
        ("Terminal", {"unit": "x", "bus": "A", "i_max": 1.0},
         "Terminal: an ideal source cannot limit its current: give it an impedance z"),
        ("Terminal", {"unit": "x", "bus": "A", "z": float("nan")}, "Terminal: z = nan+0j must be finite"),
    ],
)  # fmt: skip
def test_wrong_terminals_are_refused(model: str, params: Any, words: str) -> None:
    with pytest.raises(ValueError) as error:
        board().create(model, params)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"of": "Terminals-9", "row": 0}, "View: there is no row 0 of a group 'Terminals-9'"),
        ({"of": "Terminals-0", "row": 3}, "View: there is no row 3 of a group 'Terminals-0'"),
        ({"of": "Terminals-0", "row": -1}, "View: there is no row -1 of a group 'Terminals-0'"),
        ({"of": "Terminals-1", "row": 0}, "View: row 0 of Terminals-1 injects power: give the View role 'power'"),
        ({"of": "Terminal-0", "row": 0}, "View: there is no row 0 of a group 'Terminal-0'"),
        ({"of": "Terminals-0", "row": 0, "role": "speed"}, "View: role must be 'emf' or 'power', got 'speed'"),
    ],
)
def test_wrong_views_are_refused(params: Any, words: str) -> None:
    made = with_group()
    made.create("Terminals", {"units": ["w"], "bus": ["A"], "source": "power"})
    made.create("Terminal", {"unit": "d", "bus": "C", "z": 0.1j})
    with pytest.raises(ValueError) as error:
        made.create_view(params)
    assert str(error.value) == words


# --- what comes in ---


def test_single_group_passes_as_it_is() -> None:
    emf = np.array([1, 1j, -1])
    got, power, moved = with_group().collect({"Terminals-0": from_(**{EMF: emf})})
    assert got is emf
    assert len(power) == 0 and not moved


def test_group_that_sends_nothing_keeps_its_last() -> None:
    made = with_group()
    made.collect({"Terminals-0": from_(**{EMF: np.array([1, 1j, -1])})})
    assert made.collect({})[0].tolist() == [1, 1j, -1]


def test_terminals_of_all_kinds_are_joined_in_their_rows() -> None:
    made = with_group()
    made.create("Terminal", {"unit": "d", "bus": "C", "z": 0.1j})
    made.create("Terminals", {"units": ["w", "x"], "bus": ["A", "B"], "source": "power"})
    made.create("Terminal", {"unit": "pv", "bus": "C", "source": "power"})
    made.slots["Terminal-0"].value, made.slots["Terminal-1"].value = 1 + 0j, 0j
    made.slots["Terminals-1"].value = np.zeros(2, complex)
    emf, power, _ = made.collect({
        "Terminals-0": from_(**{EMF: np.array([1, 1j, -1])}),
        "Terminal-0": from_(**{E: 1.1, VA: 90.0}),
        "Terminals-1": from_(**{P_PU: np.array([0.1, 0.2]), Q_PU: np.array([0.0, -0.1])}),
        "Terminal-1": from_(**{P: 5.0, Q: 1.0}),
    })  # fmt: skip
    assert emf == pytest.approx([1, 1j, -1, 1.1j])
    assert power == pytest.approx([0.1, 0.2 - 0.1j, 0.5 + 0.1j])


def test_powers_of_several_sources_add_up_at_one_terminal() -> None:
    made = board()
    made.create("Terminal", {"unit": "houses", "bus": "C", "source": "power"})
    made.slots["Terminal-0"].value = 0j
    _, power, _ = made.collect({"Terminal-0": {P: {"Csv.one": 5.0, "Csv.two": -2.0}, Q: {"Csv.one": 1.0}}})
    assert power == pytest.approx([0.3 + 0.1j])
    _, power, _ = made.collect({"Terminal-0": from_(**{P: 1.0})})
    assert power == pytest.approx([0.1 + 0.1j]), "what is not given stays"


def test_frequencies_go_into_the_rows_of_the_emfs() -> None:
    made = with_group()
    made.create("Terminal", {"unit": "d", "bus": "C", "z": 0.1j})
    f_hz = np.full(4, np.nan)
    made.frequencies({"Terminal-0": from_(**{"f[Hz]": 49.9})}, f_hz)
    assert np.isnan(f_hz[:3]).all() and f_hz[3] == 49.9
    made.frequencies({"Terminals-0": from_(**{"f[Hz]": np.array([50, 50.1, 50.2])})}, f_hz)
    assert f_hz.tolist() == [50, 50.1, 50.2, 49.9]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({EMF: {"A.x": np.ones(2)}}, "Terminals-0: EMF[pu] has 2 rows, not 3"),
        ({EMF: {"A.x": np.ones(3), "A.y": np.ones(3)}}, "Terminals-0.EMF[pu] has 2 sources (A.x, A.y); connect one"),
    ],
)
def test_wrong_inputs_are_named(inputs: Any, words: str) -> None:
    with pytest.raises(ValueError) as error:
        with_group().collect({"Terminals-0": inputs})
    assert str(error.value) == words


def power_group() -> Board:
    made = board()
    made.create("Terminals", {"units": ["w", "x"], "bus": ["A", "B"], "source": "power"})
    made.slots["Terminals-0"].value = np.array([0.1 + 0.1j, 0.2 + 0.2j])
    return made


def test_group_of_power_may_send_one_half_only() -> None:
    for given, expected in ((P_PU, [0.5 + 0.1j, 0.6 + 0.2j]), (Q_PU, [0.1 + 0.5j, 0.2 + 0.6j])):
        _, power, _ = power_group().collect({"Terminals-0": from_(**{given: np.array([0.5, 0.6])})})
        assert power == pytest.approx(expected)


def test_phasor_keeps_what_is_not_given() -> None:
    assert phasor("x", from_(**{E: 1.1}), 0.5j) == pytest.approx(1.1j)
    assert phasor("x", from_(**{VA: 180.0}), 0.5j) == pytest.approx(-0.5)
    assert phasor("x", {}, 0.5j) == pytest.approx(0.5j)


# --- Views ---


def test_view_of_an_emf_replaces_its_row_while_it_is_active() -> None:
    made, sent = with_group(), np.array([1, 1j, -1])
    assert made.create_view({"of": "Terminals-0", "row": 1}) == "View-b"
    view = from_(**{E: 1.2, VA: 0.0, ACTIVE: 1})
    emf, _, moved = made.collect({"Terminals-0": from_(**{EMF: sent}), "View-b": view})
    assert emf.tolist() == [1, 1.2, -1] and not moved
    assert sent.tolist() == [1, 1j, -1], "the group's own array is left alone"
    emf, _, _ = made.collect({"Terminals-0": from_(**{EMF: sent}), "View-b": from_(**{ACTIVE: 0})})
    assert emf is sent


def test_view_of_power_has_a_row_of_its_own_and_tells_when_it_comes_and_goes() -> None:
    made = with_group()
    made.create_view({"of": "Terminals-0", "row": 1, "role": "power"})
    assert (made.power.units, made.power.bus) == (["b as power"], [1])
    moves, powers = [], []
    for given in ({}, {ACTIVE: 1, P: 5.0}, {P: 6.0, Q: 1.0}, {ACTIVE: 0}, {P: 9.0}):
        _, power, moved = made.collect({"View-b": from_(**given)})
        moves.append(moved)
        powers += power.tolist()
    assert moves == [False, True, False, True, False]
    assert powers == pytest.approx([0, 0.5, 0.6 + 0.1j, 0, 0])


@pytest.mark.parametrize("given", [{P: float("nan")}, {Q: float("inf")}])
def test_power_that_is_no_number_is_refused_by_its_unit(given: Any) -> None:
    made = board()
    made.create("Terminal", {"unit": "pv", "bus": "C", "source": "power"})
    made.slots["Terminal-0"].value = 0j
    with pytest.raises(ValueError, match="the power of pv is not finite"):
        made.collect({"Terminal-0": from_(**given)})


# --- relays of the units' own ---


def test_only_a_rising_trip_names_its_unit() -> None:
    made = with_group()
    made.create("Terminal", {"unit": "d", "bus": "A"})
    made.slots["Terminal-0"].value = 1.0 + 0j
    seen = []
    for many, one in (([0, 0, 0], 0.0), ([0, 1, 0], 0.0), ([0, 1, 0], 1.0), ([1, 0, 0], 1.0), ([1, 1, 0], 0.0)):
        given = {"Terminals-0": from_(**{"trip[1]": np.array(many, float)}), "Terminal-0": from_(**{"trip[1]": one})}
        made.collect(given)
        seen.append(made.tripped)
    assert seen == [[], ["b"], ["d"], ["a"], ["b"]]
    for given in ({}, {"Terminals-0": from_(**{EMF: np.ones(3)})}):
        made.collect(given)
        assert made.tripped == []
