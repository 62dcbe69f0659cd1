"""Events in the grid: state in, state out, on case9 with 30 MW + 10 Mvar at hand."""

from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.events import KINDS, PCC, Event, Names, Switching, check

UNITS, INJECTING = ("inv1", "inv2", "inv3"), ("pv1", "pv2")
AT_5, AT_7, AT_9 = range(3)  # rows of the loads


def names() -> Names:
    return Names(case_a.case9().network, {4: AT_5, 6: AT_7, 8: AT_9}, (*UNITS, PCC), INJECTING)


def state() -> Switching:
    """Everything closed, connected, loads of 90 + 30j, 100 + 35j, 125 + 50j MVA."""
    network = case_a.case9().network
    return Switching(
        network.closed.copy(), case_a.loads(), np.ones(3), np.ones(4, bool), np.ones(2, bool), np.zeros(9, complex)
    )


def apply(kind: str, target: str, at: Switching | None = None, **power: Any) -> tuple[Switching, str]:
    return KINDS[kind](state() if at is None else at, names(), Event(1.0, kind, target, **power))


def row_of(line: str) -> int:
    return case_a.case9().network.row_of_branch(line)


def arrays(s: Switching) -> tuple[Any, ...]:
    return (s.closed, s.connected, s.injecting, s.kept, s.fault_pu, *s.loads)


# --- loads ---


@pytest.mark.parametrize(
    ("kind", "p_pu", "q_pu", "outcome"),
    [
        # 90 MW + 30 MW on 100 MVA; 30 Mvar + 10 Mvar
        ("load_step", 1.2, 0.4, "now 120000 kW, 40000 kvar"),
        ("load_set", 0.3, 0.1, "now 30000 kW, 10000 kvar"),
    ],
)
def test_load_event_changes_the_load_of_its_bus_only(kind: str, p_pu: float, q_pu: float, outcome: str) -> None:
    before = state()
    after, said = apply(kind, "5", p_kw=30_000, q_kvar=10_000)
    assert (after.loads.p0_pu[AT_5], after.loads.q0_pu[AT_5]) == (pytest.approx(p_pu), pytest.approx(q_pu))
    assert np.array_equal(after.loads.p0_pu[AT_7:], before.loads.p0_pu[AT_7:])
    assert np.array_equal(after.loads.q0_pu[AT_7:], before.loads.q0_pu[AT_7:])
    assert said == outcome


def test_load_step_back_restores_the_load() -> None:
    up, _ = apply("load_step", "9", p_kw=30_000, q_kvar=10_000)
    down, said = apply("load_step", "9", up, p_kw=-30_000, q_kvar=-10_000)
    assert down.loads.p0_pu == pytest.approx(state().loads.p0_pu, abs=1e-15)
    assert said == "now 125000 kW, 50000 kvar"


def test_load_event_keeps_everything_else() -> None:
    before = state()
    after, _ = apply("load_set", "7", p_kw=1)
    assert np.array_equal(after.closed, before.closed) and np.array_equal(after.connected, before.connected)
    for field in ("bus", "v0_pu", "zip_p", "zip_q", "k_pf", "k_qf"):
        assert np.array_equal(getattr(after.loads, field), getattr(before.loads, field))


# --- lines ---


@pytest.mark.parametrize("name", ["6-7", "7-6"])
def test_line_opens_by_either_of_its_names_and_closes_again(name: str) -> None:
    opened, said = apply("line_open", name)
    assert said == "opened"
    assert np.flatnonzero(~opened.closed).tolist() == [row_of("6-7")]
    closed, said = apply("line_close", name, opened)
    assert said == "closed"
    assert closed.closed.all()


def test_switching_a_line_to_where_it_is_changes_nothing_and_says_so() -> None:
    opened, _ = apply("line_open", "6-7")
    again, said = apply("line_open", "6-7", opened)
    assert said == "was open already"
    assert np.array_equal(again.closed, opened.closed)
    same, said = apply("line_close", "4-5")
    assert said == "was closed already"
    assert same.closed.all()


# --- units ---


def test_unit_trips_once() -> None:
    tripped, said = apply("unit_trip", "inv2")
    assert said == "disconnected"
    assert tripped.connected.tolist() == [True, False, True, True]
    assert tripped.injecting.all()
    again, said = apply("unit_trip", "inv2", tripped)
    assert said == "was disconnected already"
    assert again.connected.tolist() == [True, False, True, True]


def test_unit_that_injects_trips_and_starts() -> None:
    tripped, said = apply("unit_trip", "pv2")
    assert (said, tripped.injecting.tolist()) == ("disconnected", [True, False])
    assert tripped.connected.all()
    started, said = apply("unit_start", "pv2", tripped)
    assert (said, started.injecting.tolist()) == ("connected", [True, True])
    assert apply("unit_start", "pv2", started)[1] == "was connected already"


def test_switch_to_the_public_grid() -> None:
    opened, said = apply("pcc_open", PCC)
    assert (said, opened.connected.tolist()) == ("disconnected", [True, True, True, False])
    closed, said = apply("pcc_close", PCC, opened)
    assert (said, closed.connected.tolist()) == ("connected", [True] * 4)
    assert apply("pcc_close", PCC, closed)[1] == "was connected already"


# --- short circuits ---


def test_fault_is_an_admittance_at_its_bus_until_it_is_cleared() -> None:
    # 1/(0.03 + 0.04j) = 12 - 16j
    faulted, said = apply("fault", "6", r_pu=0.03, x_pu=0.04)
    assert faulted.fault_pu[5] == pytest.approx(12 - 16j) and np.count_nonzero(faulted.fault_pu) == 1
    assert said == "through 0.03 + j0.04 pu"
    cleared, said = apply("fault_clear", "6", faulted, r_pu=0.03, x_pu=0.04)
    assert said == "cleared"
    assert not cleared.fault_pu.any()


def test_two_faults_at_one_bus_are_cleared_one_by_one() -> None:
    first = apply("fault", "6", r_pu=0.03, x_pu=0.04)[0]
    both = apply("fault", "6", first, r_pu=0.7, x_pu=0.11)[0]
    one_left = apply("fault_clear", "6", both, r_pu=0.03, x_pu=0.04)[0]
    assert one_left.fault_pu[5] == pytest.approx(1 / (0.7 + 0.11j), rel=1e-12)
    assert not apply("fault_clear", "6", one_left, r_pu=0.7, x_pu=0.11)[0].fault_pu.any()


# --- all of them ---

EVENTS = [
    Event(1.0, "load_step", "5", 30_000, 10_000),
    Event(1.0, "load_set", "5", 30_000, 10_000),
    Event(1.0, "line_open", "6-7"),
    Event(1.0, "line_close", "4-9"),
    Event(1.0, "unit_trip", "inv3"),
    Event(1.0, "unit_start", "pv1"),
    Event(1.0, "pcc_open", PCC),
    Event(1.0, "pcc_close", PCC),
    Event(1.0, "fault", "5", r_pu=0.1),
    Event(1.0, "fault_clear", "8", r_pu=0.05),
]
each_kind = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)


def test_every_kind_is_tried_here() -> None:
    assert {event.kind for event in EVENTS} == set(KINDS)


def before(event: Event) -> Switching:
    """A state that the event changes."""
    at = apply("line_open", "4-9")[0]
    at = apply("fault", "8", at, r_pu=0.05)[0]
    opposite = {"unit_start": "unit_trip", "pcc_close": "pcc_open"}.get(event.kind)
    return at if opposite is None else apply(opposite, event.target, at)[0]


@each_kind
def test_given_state_is_not_touched(event: Event) -> None:
    given, copy = (before(event) for _ in range(2))
    for array in arrays(given):
        array.setflags(write=False)
    after, _ = KINDS[event.kind](given, names(), event)
    assert all(np.array_equal(one, other) for one, other in zip(arrays(given), arrays(copy), strict=True))
    changed = [not np.array_equal(one, new) for one, new in zip(arrays(given), arrays(after), strict=True)]
    assert any(changed)


@each_kind
def test_event_with_an_existing_target_passes_the_check(event: Event) -> None:
    check(event, names())


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("load_step", "55", "there is no bus '55'; the network has 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("load_set", "", "there is no bus ''; the network has 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("load_step", "4", "bus '4' has no load that an event could change"),
        ("line_open", "1-2",
         "there is no line '1-2'; the network has 1-4, 4-5, 5-6, 3-6, 6-7, 7-8, 8-2, 8-9, 9-4"),
        ("line_close", "5",
         "there is no line '5'; the network has 1-4, 4-5, 5-6, 3-6, 6-7, 7-8, 8-2, 8-9, 9-4"),
        ("unit_trip", "inv4", "there is no unit 'inv4'; there are inv1, inv2, inv3, pcc, pv1, pv2"),
        ("fault", "55", "there is no bus '55'; the network has 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ],
)  # fmt: skip
def test_unknown_target_is_named_together_with_what_there_is(kind: str, target: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        check(Event(1.0, kind, target), names())
    assert str(error.value) == message


def test_switch_to_the_public_grid_needs_one() -> None:
    alone = names()
    alone = Names(alone.network, alone.load_of_bus, UNITS, INJECTING)
    with pytest.raises(ValueError, match="pcc_open: there is no pcc"):
        check(Event(1.0, "pcc_open", PCC), alone)
