"""The wrapper of the network: terminals, views, children, events, initial data, on case9 without other simulators."""

from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.case import Case
from gridloop.simulators.events import Event
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.grid import META, GridSimulator

STEP = 5000


def case() -> Case:
    s, _ = case_a.power_flow_start()
    loads = case_a.loads()
    s_start = np.zeros(9, complex)
    s_start[:3] = s
    return Case(
        case_a.case9().network, loads, ("load5", "load7", "load9"), {4: 0, 6: 1, 8: 2},
        case_a.case9_voltages(), s_start,
    )  # fmt: skip


def grid(*events: Event, **more: Any) -> GridSimulator:
    simulator = GridSimulator(case(), events, **more)
    simulator.init("Grid", 1e-6, step_ms=5)
    simulator.create(1, "Grid")
    return simulator


def with_group(*events: Event, **more: Any) -> GridSimulator:
    simulator = grid(*events, **more)
    simulator.create(1, "Terminals", units=["inv1", "inv2", "inv3"], bus=["1", "2", "3"])
    return simulator


def group(emf: Any) -> Any:
    return {"Terminals-0": {"EMF[pu]": {"Inverter.Inverters": emf}}}


def emf_start() -> Any:
    return case_a.power_flow_start()[1]


def test_group_gets_the_power_flow_back_as_arrays_of_its_own() -> None:
    simulator = with_group()
    simulator.setup_done()
    assert simulator.step(0, group(emf_start()), 0) == STEP
    shown = simulator.get_data({"Terminals-0": ["S[pu]", "V[pu]", "E_used[pu]", "events[1]"]})["Terminals-0"]
    assert shown["S[pu]"] == pytest.approx(case_a.power_flow_start()[0], abs=1e-9)
    assert shown["V[pu]"] == pytest.approx(emf_start(), abs=1e-12)
    assert shown["E_used[pu]"] == pytest.approx(emf_start()) and shown["events[1]"] == 0
    kept = shown["S[pu]"].copy()
    simulator.step(STEP, group(emf_start() * 1.01), 0)
    assert np.array_equal(shown["S[pu]"], kept)


def test_initial_data_are_those_of_the_power_flow() -> None:
    simulator = with_group()
    first = simulator.initial("Terminals-0")
    simulator.setup_done()
    simulator.step(0, group(first["E_used[pu]"]), 0)
    assert simulator.get_data({"Terminals-0": ["S[pu]"]})["Terminals-0"]["S[pu]"] == pytest.approx(
        first["S[pu]"], abs=1e-9
    )


def test_units_of_their_own_exchange_the_same_in_scalars() -> None:
    simulator = grid()
    for unit, bus in (("inv1", "1"), ("inv2", "2"), ("inv3", "3")):
        simulator.create(1, "Terminal", unit=unit, bus=bus)
    first = [simulator.initial(f"Terminal-{i}") for i in range(3)]
    simulator.setup_done()
    inputs = {
        f"Terminal-{i}": {"E[pu]": {"X.a": one["E_used[pu]"]}, "Va_emf[deg]": {"X.a": one["Va_used[deg]"]}}
        for i, one in enumerate(first)
    }
    simulator.step(0, inputs, 0)
    shown = simulator.get_data({"Terminal-1": ["P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]", "events[1]"]})
    assert shown["Terminal-1"]["P_gen[MW]"] == pytest.approx(163.0, abs=1e-6)
    assert shown["Terminal-1"]["Q_gen[MVar]"] == pytest.approx(14.4601195, abs=1e-6)
    assert shown["Terminal-1"]["Va[deg]"] == pytest.approx(9.66874113, abs=1e-8)
    assert all(isinstance(value, float | int) for value in shown["Terminal-1"].values())


def view(active: float, emf: complex) -> Any:
    given = {"E[pu]": abs(emf), "Va_emf[deg]": float(np.degrees(np.angle(emf))), "active[1]": active}
    return {"View-inv2": {attr: {"Hil.inv2": value} for attr, value in given.items()}}


def with_view() -> GridSimulator:
    simulator = with_group()
    simulator.create(1, "View", of="Terminals-0", row=1)
    simulator.setup_done()
    return simulator


def test_view_that_is_never_active_changes_nothing_to_the_bit() -> None:
    plain, viewed = with_group(), with_view()
    plain.setup_done()
    for k in range(5):
        emf = emf_start() * np.exp(1j * np.array([0.01, -0.02, 0.005]) * k)
        plain.step(k * STEP, group(emf), 0)
        viewed.step(k * STEP, group(emf) | view(0, 0.5 + 0.1j), 0)
        one, other = (g.get_data({"Terminals-0": ["S[pu]", "E_used[pu]"]})["Terminals-0"] for g in (plain, viewed))
        assert np.array_equal(one["S[pu]"], other["S[pu]"])
        assert other["E_used[pu]"] is emf


def test_active_view_replaces_its_row_and_the_group_learns_what_was_applied() -> None:
    simulator, taken_over = with_view(), 1.02 * np.exp(0.2j)
    emf = emf_start()
    simulator.step(0, group(emf) | view(1, taken_over), 0)
    expected = with_group()
    expected.setup_done()
    replaced = np.array([emf[0], taken_over, emf[2]])
    expected.step(0, group(replaced), 0)
    shown = simulator.get_data({"Terminals-0": ["S[pu]", "E_used[pu]"], "View-inv2": ["P_gen[MW]", "E_used[pu]"]})
    assert shown["Terminals-0"]["S[pu]"] == pytest.approx(
        expected.get_data({"Terminals-0": ["S[pu]"]})["Terminals-0"]["S[pu]"], abs=1e-12
    )
    assert shown["Terminals-0"]["E_used[pu]"] == pytest.approx(replaced, abs=1e-14)
    assert shown["View-inv2"]["P_gen[MW]"] == pytest.approx(shown["Terminals-0"]["S[pu]"][1].real * 100)
    assert np.array_equal(emf, emf_start()), "the group's own array is left alone"


def test_children_show_buses_branches_and_loads() -> None:
    simulator = with_group()
    simulator.setup_done()
    simulator.step(0, group(emf_start()), 0)
    wanted = {"5": ["Vm[pu]", "Va[deg]"], "6-7": ["P_from[MW]"], "load9": ["P_load[MW]", "Q_load[MVar]"]}
    shown = simulator.get_data(wanted)
    assert shown["5"]["Vm[pu]"] == pytest.approx(0.975472177, abs=1e-9)
    assert shown["load9"] == {"P_load[MW]": pytest.approx(125.0), "Q_load[MVar]": pytest.approx(50.0)}
    v = case_a.case9_voltages()
    assert shown["5"]["Va[deg]"] == pytest.approx(np.degrees(np.angle(v[4])), abs=1e-7)


def test_event_acts_at_its_own_time_and_counts() -> None:
    log: list[Any] = []
    simulator = with_group(Event(0.0123, "load_step", "5", 30e3, 10e3), log=lambda *entry: log.append(entry))
    simulator.setup_done()
    ticks = [0]
    power = []
    while ticks[-1] <= 15_000:
        ticks.append(simulator.step(ticks[-1], group(emf_start()), 0))
        shown = simulator.get_data({"Terminals-0": ["S[pu]", "events[1]"]})["Terminals-0"]
        power.append((shown["events[1]"], shown["S[pu]"].real.sum()))
    assert ticks[:5] == [0, 5000, 10_000, 12_300, 15_000]
    assert [count for count, _ in power] == [0, 0, 0, 1, 1]
    assert power[3][1] - power[2][1] == pytest.approx(0.3, abs=0.02)  # losses rise with it
    assert log == [(0.0123, "load_step", "5", "now 120000 kW, 40000 kvar")]


def test_island_without_a_source_goes_dead_and_says_so() -> None:
    log: list[Any] = []
    simulator = with_group(
        Event(0.005, "line_open", "9-4"), Event(0.005, "line_open", "8-9"), Event(0.01, "line_close", "9-4"),
        log=lambda *entry: log.append(entry[1:]),
    )  # fmt: skip
    simulator.setup_done()
    voltages = []
    for k in range(3):
        simulator.step(k * STEP, group(emf_start()), 0)
        voltages.append(simulator.get_data({"9": ["Vm[pu]"], "load9": ["P_load[MW]"]}))
    assert voltages[1] == {"9": {"Vm[pu]": 0.0}, "load9": {"P_load[MW]": 0.0}}
    assert voltages[2]["load9"]["P_load[MW]"] == pytest.approx(125.0)
    assert ("de_energised", "9", "no source left in this island") in log
    assert ("energised", "9", "supplied again") in log


def test_tripped_unit_delivers_nothing() -> None:
    simulator = with_group(Event(0.005, "unit_trip", "inv3"))
    simulator.setup_done()
    simulator.step(0, group(emf_start()), 0)
    simulator.step(STEP, group(emf_start()), 0)
    s = simulator.get_data({"Terminals-0": ["S[pu]"]})["Terminals-0"]["S[pu]"]
    assert s[2] == 0 and s[:2].real.sum() > 3.15


def test_meta_names_only_what_get_data_and_step_know() -> None:
    simulator = with_view()
    simulator.step(0, group(emf_start()), 0)
    for eid, model in (("Terminals-0", "Terminals"), ("View-inv2", "View"), ("Grid", "Grid"), ("5", "Bus"),
                       ("6-7", "Branch"), ("load5", "Load")):  # fmt: skip
        attrs = META["models"][model]["attrs"]  # type: ignore[index]
        outputs = [a for a in attrs if a not in ("EMF[pu]", "f[Hz]", "E[pu]", "Va_emf[deg]", "active[1]")]
        assert set(simulator.get_data({eid: outputs})[eid]) == set(outputs)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"Terminals-0": {"EMF[pu]": {"A.x": np.ones(2, complex)}}}, r"EMF\[pu\] has 2 rows, not 3"),
        ({"Terminals-0": {"EMF[pu]": {"A.x": np.ones(3), "A.y": np.ones(3)}}}, r"2 sources \(A\.x, A\.y\)"),
        ({"Terminals-0": {"EMF[pu]": {"A.x": np.array([1, np.nan, 1], complex)}}}, "source 2 is not finite"),
    ],
)
def test_wrong_inputs_fail_by_name(inputs: Any, words: str) -> None:
    simulator = with_group()
    simulator.setup_done()
    with pytest.raises(SimulatorFailure, match=r"Grid\.Grid at t = 0 s: .*" + words):
        simulator.step(0, inputs, 0)


@pytest.mark.parametrize(
    ("model", "params", "words"),
    [
        ("Terminal", {"unit": "x", "bus": "77"}, "there is no bus '77'"),
        ("View", {"of": "Terminals-9", "row": 0}, "there is no row 0"),
    ],
)
def test_wrong_terminals_are_refused(model: str, params: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        grid().create(1, model, **params)
