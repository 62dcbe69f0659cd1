"""The wrapper of the network: terminals, views, children, events, initial data, on case9 without other simulators."""

from dataclasses import replace
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


# --- units that inject power ---

FED = {"P_gen[MW]": {"Pv.pv": 30.0}, "Q_gen[MVar]": {"Pv.pv": -5.0}}


def with_injection(*events: Event, **more: Any) -> GridSimulator:
    """The group, and a unit of its own that feeds bus 6."""
    simulator = with_group(*events, **more)
    simulator.create(1, "Terminal", unit="pv", bus="6", source="power")
    simulator.setup_done()
    return simulator


def shown(simulator: GridSimulator, eid: str, *attrs: str) -> Any:
    values = [simulator.get_data({eid: [attr]})[eid][attr] for attr in attrs]
    return values if len(values) > 1 else values[0]


def test_injected_power_is_taken_off_the_sources() -> None:
    plain, fed = with_group(), with_injection()
    plain.setup_done()
    plain.step(0, group(emf_start()), 0)
    fed.step(0, group(emf_start()) | {"Terminal-0": FED}, 0)
    assert shown(fed, "Terminal-0", "P_gen[MW]", "Q_gen[MVar]") == pytest.approx([30, -5], abs=1e-9)
    assert shown(fed, "Terminal-0", "Vm[pu]", "Va[deg]") == pytest.approx(shown(fed, "6", "Vm[pu]", "Va[deg]"))
    less = shown(plain, "Terminals-0", "S[pu]").sum().real - shown(fed, "Terminals-0", "S[pu]").sum().real
    assert less == pytest.approx(0.3, abs=0.02)


def test_sources_of_one_terminal_add_up() -> None:
    simulator = with_injection()
    simulator.step(0, group(emf_start()) | {"Terminal-0": {"P_gen[MW]": {"Csv.house": -4.0, "Csv.pv": 10.0}}}, 0)
    assert shown(simulator, "Terminal-0", "P_gen[MW]") == pytest.approx(6, abs=1e-9)


def test_tripped_injection_gives_nothing_and_starts_again() -> None:
    simulator = with_injection(Event(0.005, "unit_trip", "pv"), Event(0.01, "unit_start", "pv"))
    power = []
    for k in range(3):
        simulator.step(k * STEP, group(emf_start()) | {"Terminal-0": FED}, 0)
        power.append(shown(simulator, "Terminal-0", "P_gen[MW]"))
    assert power == pytest.approx([30, 0, 30], abs=1e-9)


def test_group_of_injections_learns_what_is_asked_of_units_that_are_on() -> None:
    simulator = with_group(Event(0.005, "unit_trip", "w"))
    simulator.create(1, "Terminals", units=["v", "w"], bus=["6", "7"], source="power")
    simulator.setup_done()
    asked = {"Terminals-1": {"P_gen[pu]": {"F.f": np.array([0.3, 0.2])}, "Q_gen[pu]": {"F.f": np.array([0.1, 0.0])}}}
    used = []
    for k in range(2):
        simulator.step(k * STEP, group(emf_start()) | asked, 0)
        used.append(shown(simulator, "Terminals-1", "E_used[pu]").tolist())
    assert used == [[0.3 + 0.1j, 0.2], [0.3 + 0.1j, 0]]
    assert shown(simulator, "Terminals-1", "S[pu]") == pytest.approx([0.3 + 0.1j, 0])


def test_view_of_power_takes_the_source_out_and_injects_in_its_place() -> None:
    simulator = with_group(log=lambda *_: None)
    simulator.create(1, "View", of="Terminals-0", row=1, role="power")
    simulator.setup_done()
    given = {"P_gen[MW]": {"Hil.x": 150.0}, "Q_gen[MVar]": {"Hil.x": 10.0}}
    seen = []
    for k, active in enumerate((0, 1, 1, 0)):
        simulator.step(k * STEP, group(emf_start()) | {"View-inv2": given | {"active[1]": {"Hil.x": active}}}, 0)
        s, used = shown(simulator, "Terminals-0", "S[pu]", "E_used[pu]")
        seen.append((shown(simulator, "Grid", "events[1]"), round(shown(simulator, "View-inv2", "P_gen[MW]"), 6), s[1]))
        if active:
            v = shown(simulator, "2", "Vm[pu]")
            assert abs(used[1]) == pytest.approx(v, abs=1e-12), "the source that is out follows its bus"
    assert [count for count, _, _ in seen] == [0, 1, 1, 2], "coming and going are events"
    assert [p for _, p, _ in seen] == pytest.approx([163, 150, 150, 163], abs=1e-5)
    assert [s for _, _, s in seen] == [pytest.approx(1.63 + 0.1446012j, abs=1e-6), 0, 0,
                                       pytest.approx(1.63 + 0.1446012j, abs=1e-6)]  # fmt: skip


# --- controllable loads ---


def test_controlled_load_draws_what_it_is_told_until_it_is_told_otherwise() -> None:
    simulator = with_group()
    simulator.setup_done()
    drawn = []
    for k, told in enumerate(({}, {"P_load[MW]": {"Ev.a": 40.0, "Ev.b": 10.0}}, {"Q_load[MVar]": {"Ev.a": 5.0}}, {})):
        simulator.step(k * STEP, group(emf_start()) | {"load7": told}, 0)
        drawn.append(shown(simulator, "load7", "P_load[MW]", "Q_load[MVar]"))
    assert drawn == [pytest.approx(pair, abs=1e-8) for pair in ([100, 35], [50, 35], [50, 5], [50, 5])]
    assert shown(simulator, "Grid", "events[1]") == 0, "a power that changes by itself is no event"


def test_load_that_is_told_no_number_is_named() -> None:
    simulator = with_group()
    simulator.setup_done()
    with pytest.raises(SimulatorFailure, match="the power of load7 is not finite"):
        simulator.step(0, group(emf_start()) | {"load7": {"P_load[MW]": {"Ev.a": float("nan")}}}, 0)


# --- what is reported ---


def logged(simulator: GridSimulator, log: list[Any], steps: int) -> list[tuple[float, str, str]]:
    simulator.setup_done()
    for k in range(steps):
        simulator.step(k * STEP, group(emf_start()), 0)
    return [(t_s, kind, target) for t_s, kind, target, _ in log]


def test_low_voltage_is_reported_once_and_its_end_too() -> None:
    log: list[Any] = []
    fault, clear = (Event(t_s, kind, "7", r_pu=0.02) for t_s, kind in ((0.005, "fault"), (0.015, "fault_clear")))
    step = Event(0.01, "load_step", "5", 1000)
    found = logged(with_group(fault, step, clear, log=lambda *entry: log.append(entry)), log, 5)
    assert [entry for entry in found if entry[1].startswith("voltage")] == [
        (0.005, "voltage_collapse", "7"), (0.015, "voltage_recovery", "9"),
    ]  # fmt: skip


def test_grid_that_goes_dark_reports_no_voltage() -> None:
    log: list[Any] = []
    trips = [Event(0.005, "fault", "7", r_pu=0.02), *(Event(0.01, "unit_trip", f"inv{k}") for k in (1, 2, 3))]
    found = logged(with_group(*trips, log=lambda *entry: log.append(entry)), log, 4)
    assert (0.01, "de_energised", "1, 2, 3, 4, 5, 6, 7, 8, 9") in found
    assert not [entry for entry in found if entry[1] == "voltage_recovery"]


@pytest.mark.parametrize(("resolution", "expected"), [(1e-6, [0, 12_300]), (1e-3, [0, 12])])
def test_event_comes_at_the_tick_nearest_to_it(resolution: float, expected: list[int]) -> None:
    simulator = GridSimulator(case(), (Event(0.0123, "load_step", "5", 30e3),))
    simulator.init("Grid", resolution, step_ms=20)
    simulator.create(1, "Terminals", units=["inv1", "inv2", "inv3"], bus=["1", "2", "3"])
    simulator.setup_done()
    ticks = [0, simulator.step(0, group(emf_start()), 0)]
    simulator.step(ticks[1], group(emf_start()), 0)
    assert ticks == expected
    assert simulator.get_data({"Terminals-0": ["events[1]"]})["Terminals-0"]["events[1]"] == 1


def test_network_without_any_emf_is_dead() -> None:
    simulator = grid()
    simulator.create(1, "Terminal", unit="pv", bus="6", source="power")
    simulator.setup_done()
    for k in range(2):
        simulator.step(k * STEP, {"Terminal-0": FED}, 0)
        assert shown(simulator, "Terminal-0", "P_gen[MW]", "Vm[pu]") == [0, 0]
        assert shown(simulator, "load9", "P_load[MW]") == 0


def test_jump_of_a_bus_angle_at_an_event_is_what_its_loads_feel_at_the_next_step() -> None:
    # f - f0 = jump/(2 pi T) with T = 50 ms, whatever the length of the step in which it happens
    felt = replace(case(), loads=case_a.loads(k_pf=1.5), bus_filter_s=0.05)
    simulator = GridSimulator(felt, (Event(0.005, "load_step", "5", 30e3),))
    simulator.init("Grid", 1e-6, step_ms=5)
    simulator.create(1, "Grid")
    simulator.create(1, "Terminals", units=["inv1", "inv2", "inv3"], bus=["1", "2", "3"])
    simulator.setup_done()
    angle, power = [], []
    for k in range(3):
        simulator.step(k * STEP, group(emf_start()), 0)
        angle.append(np.radians(shown(simulator, "7", "Va[deg]")))
        power.append(shown(simulator, "load7", "P_load[MW]"))
    df_hz = (angle[1] - angle[0]) / (2 * np.pi * 0.05)
    assert abs(df_hz) > 0.01
    assert power == pytest.approx([100, 100, 100 * (1 + 1.5 * df_hz / 60)], abs=1e-8)


def test_relay_of_a_units_own_opens_its_breaker_once() -> None:
    log: list[Any] = []
    simulator = with_group(Event(0.015, "unit_start", "inv3"), log=lambda *entry: log.append(entry))
    simulator.setup_done()
    power, counted = [], []
    for k, trip in enumerate(([0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1])):
        given = group(emf_start())
        given["Terminals-0"]["trip[1]"] = {"Diesel.Diesels": np.array(trip, float)}
        simulator.step(k * STEP, given, 0)
        found = simulator.get_data({"Terminals-0": ["S[pu]", "events[1]"]})["Terminals-0"]
        power.append(bool(found["S[pu]"][2] != 0))
        counted.append(found["events[1]"])
    assert power == [True, False, False, True], "unit_start overrides a relay that still stands"
    assert counted == [0, 1, 1, 2]
    assert log[0] == (0.005, "unit_trip", "inv3", "disconnected by its reverse-power relay") and len(log) == 2
