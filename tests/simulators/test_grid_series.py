"""Series of recorded rows: case9 with three ideal sources at its power flow, and a net with a closed switch."""

from typing import Any

import numpy as np
import pandapower
import pytest

import case_a
from gridloop.simulators.case import Case
from gridloop.simulators.events import Event
from gridloop.simulators.grid import GridSimulator
from gridloop.simulators.grid_series import Row, Topology, current_limited, epoch_of, grid_columns, touches_limit
from gridloop.simulators.models.loads import Loads, demand, with_injections
from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.nodal import Sources
from gridloop.simulators.models.solve import solve
from gridloop.simulators.pandapower_net import ImportedNet, import_net

UNITS = ("inv1", "inv2", "inv3")
STEP = 5_000  # microseconds
Columns = dict[str, Real]


def case9() -> Case:
    s_start = np.zeros(9, complex)
    s_start[:3] = case_a.power_flow_start().s_pu
    return Case(
        case_a.case9().network, case_a.loads(), ("load5", "load7", "load9"), {4: 0, 6: 1, 8: 2},
        case_a.case9_voltages(), s_start,
    )  # fmt: skip


def swinging(count: int) -> list[Complex]:
    """EMFs of the sources, which move against each other and together."""
    start = case_a.power_flow_start().emf_pu
    turn = np.array([0.02, -0.01, 0.03])
    return [start * np.exp(1j * k * turn) * (1 + 0.002 * k * turn) for k in range(count)]


def rows_of(case: Case, emfs: list[Complex], events: tuple[Event, ...] = (), **terminals: Any) -> list[Row]:
    """What the grid records when its sources show these EMFs, one every 5 ms."""
    rows: list[Row] = []
    grid = GridSimulator(case, events, lambda _, row: rows.append(row))
    grid.init("Grid", 1e-6, step_ms=5)
    grid.create(1, "Terminals", **({"units": UNITS, "bus": ["1", "2", "3"]} | terminals))
    grid.setup_done()
    for k, emf in enumerate(emfs):
        grid.step(k * STEP, {"Terminals-0": {"EMF[pu]": {"Inverter.Inverters": emf}}}, 0)
    return rows


def columns_of(emfs: list[Complex], *events: Event) -> Columns:
    return grid_columns(case9(), UNITS, rows_of(case9(), emfs, events))


def total(columns: Columns, names: Any, attribute: str) -> Real:
    result: Real = np.sum([columns[f"{name}.{attribute}"] for name in names], axis=0)
    return result


def test_power_flow_comes_back_in_every_series() -> None:
    c = columns_of(swinging(1))
    assert [c[f"{unit}.P_gen[MW]"][0] for unit in UNITS] == pytest.approx([71.9547016, 163, 85], abs=1e-6)
    assert [c[f"{unit}.Q_gen[MVar]"][0] for unit in UNITS] == pytest.approx(
        [24.0689578, 14.4601195, -3.6490255], abs=1e-6
    )
    assert [c[f"{bus}.Vm[pu]"][0] for bus in "456789"] == pytest.approx(
        [0.987006852, 0.975472177, 1.003375436, 0.985644882, 0.996185246, 0.957621040], abs=1e-9
    )
    assert [c[f"{bus}.Va[deg]"][0] for bus in "123"] == pytest.approx(
        np.degrees([0, 0.168751367, 0.083270937]), abs=1e-7
    )
    assert [c[f"load{bus}.P_load[MW]"][0] for bus in "579"] == pytest.approx([90, 100, 125])
    assert [c[f"load{bus}.Q_load[MVar]"][0] for bus in "579"] == pytest.approx([30, 35, 50])
    assert c["grid.P_gen[MW]"] == pytest.approx(319.9547016, abs=1e-6)
    assert c["grid.P_load[MW]"] == pytest.approx(315)
    assert c["grid.P_loss[MW]"] == pytest.approx(4.9547016, abs=1e-6)
    assert c["grid.P_unserved[MW]"] == 0
    # the generators' transformers have no resistance and stand alone at their bus
    for unit, branch, sign in (("inv1", "1-4", 1), ("inv2", "8-2", -1), ("inv3", "3-6", 1)):
        assert sign * c[f"{branch}.P_from[MW]"] == pytest.approx(c[f"{unit}.P_gen[MW]"], abs=1e-9)


def test_every_row_is_balanced() -> None:
    c = columns_of(swinging(30), Event(0.05, "load_step", "5", 30_000, 10_000), Event(0.1, "line_open", "6-7"))
    assert np.ptp(c["grid.P_loss[MW]"]) > 0.1
    assert c["grid.P_gen[MW]"] - c["grid.P_load[MW]"] - c["grid.P_loss[MW]"] == pytest.approx(0, abs=1e-9)
    assert c["grid.P_gen[MW]"] == pytest.approx(total(c, UNITS, "P_gen[MW]"), abs=1e-9)
    assert c["grid.P_load[MW]"] == pytest.approx(total(c, ("load5", "load7", "load9"), "P_load[MW]"), abs=1e-9)
    assert c["grid.mismatch[MW]"].max() < 1e-9
    assert c["grid.iterations[1]"].min() >= 1


def test_epochs_join_in_order_of_time() -> None:
    c = columns_of(swinging(1) * 6, Event(0.01, "load_step", "5", 30_000), Event(0.02, "load_set", "5", 50_000))
    assert c["load5.P_load[MW]"] == pytest.approx([90, 90, 120, 120, 50, 50])
    assert c["load7.P_load[MW]"] == pytest.approx(100)


@pytest.mark.parametrize("size", [1, 7])
def test_blocks_of_any_size_give_the_same_series(size: int) -> None:
    events = (Event(0.03, "line_open", "6-7"), Event(0.06, "line_close", "6-7"))
    rows = rows_of(case9(), swinging(20), events)
    whole = grid_columns(case9(), UNITS, rows)
    blocks = [grid_columns(case9(), UNITS, rows[k : k + size]) for k in range(0, 20, size)]
    for name, values in whole.items():
        joined = np.concatenate([block[name] for block in blocks])
        assert joined == pytest.approx(values, abs=1e-10), name


def test_angles_are_those_of_the_nominal_frame_although_the_solution_turns_with_the_sources() -> None:
    start, turns = case_a.power_flow_start().emf_pu, np.arange(8) * 0.4
    c = columns_of([start * np.exp(1j * turn) for turn in turns])
    slack = c["1.Va[deg]"]
    assert slack == pytest.approx((np.degrees(turns) + 180) % 360 - 180, abs=1e-9)
    assert np.ptp(c["5.Vm[pu]"]) < 1e-12


def test_bus_without_supply_has_no_voltage_and_its_load_is_unserved() -> None:
    c = columns_of(
        swinging(1) * 6,
        Event(0.005, "line_open", "4-5"), Event(0.01, "line_open", "5-6"), Event(0.02, "line_close", "4-5"),
    )  # fmt: skip
    dead = np.array([False, False, True, True, False, False])
    assert (c["5.Vm[pu]"] == 0).tolist() == dead.tolist()
    assert c["5.Va[deg]"][dead] == pytest.approx(0)
    assert c["grid.P_unserved[MW]"] == pytest.approx(90 * dead)
    assert c["load5.P_load[MW]"] == pytest.approx(90 * ~dead)
    assert c["4-5.P_from[MW]"][dead] == pytest.approx(0)
    assert c["grid.P_gen[MW]"] - c["grid.P_load[MW]"] - c["grid.P_loss[MW]"] == pytest.approx(0, abs=1e-9)
    assert all(np.isfinite(values).all() for values in c.values())


def test_tripped_unit_delivers_nothing_and_is_marked() -> None:
    c = columns_of(swinging(1) * 4, Event(0.01, "unit_trip", "inv3"))
    assert c["inv3.connected[1]"].tolist() == [1, 1, 0, 0]
    assert c["inv3.P_gen[MW]"] == pytest.approx([85, 85, 0, 0], abs=1e-6)
    assert c["inv3.Q_gen[MVar]"][2:] == pytest.approx(0)
    assert c["inv1.connected[1]"].tolist() == [1, 1, 1, 1]
    assert c["grid.P_gen[MW]"] == pytest.approx(total(c, UNITS, "P_gen[MW]"), abs=1e-9)


ALWAYS = {"grid", *UNITS}
OF_SIGNAL = {
    "buses": set("123456789"),
    "branches": {"1-4", "4-5", "5-6", "3-6", "6-7", "7-8", "8-2", "8-9", "9-4"},
    "loads": {"load5", "load7", "load9"},
}


@pytest.mark.parametrize("signals", [(), ("buses",), ("branches",), ("loads",), ("buses", "loads")])
def test_signals_choose_the_entities(signals: tuple[str, ...]) -> None:
    rows = rows_of(case9(), swinging(2))
    found = {name.partition(".")[0] for name in grid_columns(case9(), UNITS, rows, signals)}
    assert found == ALWAYS.union(*(OF_SIGNAL[signal] for signal in signals))


# --- a net whose buses A and B are one, and a line with a rating ---


def fused(max_i_ka: float = 0.1) -> tuple[Case, ImportedNet]:
    """A source at A; A and B joined by a closed switch; B - C a line of 100 A at 20 kV; 1 MW + 0.2 Mvar at C."""
    net = pandapower.create_empty_network(f_hz=50, sn_mva=1)
    a, b, c = (pandapower.create_bus(net, 20, name=name) for name in "ABC")
    pandapower.create_switch(net, a, b, et="b")
    pandapower.create_line_from_parameters(net, b, c, 5, 0.5, 0.4, 0, max_i_ka=max_i_ka)
    pandapower.create_ext_grid(net, a)
    pandapower.create_load(net, c, 1, 0.2)
    imported = import_net(net)
    given, one = imported.loads, np.ones(1)
    loads = Loads(given.bus, given.s_pu.real, given.s_pu.imag, one, given.zip_p, given.zip_q, 0 * one, 0 * one)
    count = imported.network.n_bus
    v, s = np.ones(count, complex), np.zeros(count, complex)
    return Case(imported.network, loads, ("loadC",), {int(given.bus[0]): 0}, v, s), imported


def test_buses_of_a_closed_switch_show_the_same_series() -> None:
    case, imported = fused()
    assert imported.network.row_of_bus("A") == imported.network.row_of_bus("B")
    c = grid_columns(case, ("pv",), rows_of(case, [np.array([1.02 + 0j])] * 2, units=("pv",), bus=["A"]))
    assert np.array_equal(c["A.Vm[pu]"], c["B.Vm[pu]"])
    assert c["A.Vm[pu]"] == pytest.approx(1.02)
    assert c["C.Vm[pu]"].max() < 1.02
    assert c["grid.P_gen[MW]"] == pytest.approx(1 + c["grid.P_loss[MW]"], abs=1e-9)


def test_loading_is_that_of_the_rated_current() -> None:
    case, _ = fused()
    c = grid_columns(case, ("pv",), rows_of(case, [np.array([1.0 + 0j])], units=("pv",), bus=["A"]))
    # the line has no charging: one current |S|/(sqrt(3) V) at both ends, of 100 A
    s_mva = np.hypot(c["B-C.P_from[MW]"], c["B-C.Q_from[MVar]"])
    assert c["B-C.loading[%]"] == pytest.approx(100 * s_mva / (np.sqrt(3) * 20 * 0.1), rel=1e-9)
    assert 25 < c["B-C.loading[%]"][0] < 35


def test_branch_without_a_rating_has_no_loading() -> None:
    case, _ = fused(max_i_ka=9999)
    c = grid_columns(case, ("pv",), rows_of(case, [np.array([1.0 + 0j])], units=("pv",), bus=["A"]))
    assert "B-C.P_from[MW]" in c
    assert "B-C.loading[%]" not in c


# --- units that inject, limits, islands ---


def recorded(*events: Event, **terminals: Any) -> tuple[Case, list[Row]]:
    """case9 with the three sources and two units that inject, 0.4 + 0.1j pu at bus 6 and 0.2 pu at bus 5."""
    rows: list[Row] = []
    grid = GridSimulator(case9(), events, lambda _, row: rows.append(row))
    grid.init("Grid", 1e-6, step_ms=5)
    grid.create(1, "Terminals", **({"units": UNITS, "bus": ["1", "2", "3"]} | terminals))
    grid.create(1, "Terminals", units=["pv", "wind"], bus=["6", "5"], source="power", i_max=[0.5, None])
    grid.setup_done()
    power = {"P_gen[pu]": {"F.f": np.array([0.4, 0.2])}, "Q_gen[pu]": {"F.f": np.array([0.1, 0.0])}}
    for k, emf in enumerate(swinging(8)):
        grid.step(k * STEP, {"Terminals-0": {"EMF[pu]": {"Inverter.Inverters": emf}}, "Terminals-1": power}, 0)
    return case9(), rows


FEEDERS = (*UNITS, "pv", "wind")


def test_units_that_inject_stand_behind_the_sources() -> None:
    case, rows = recorded(Event(0.02, "unit_trip", "wind"))
    c = grid_columns(case, FEEDERS, rows)
    assert c["pv.P_gen[MW]"] == pytest.approx(40, abs=1e-8) and c["pv.Q_gen[MVar]"] == pytest.approx(10, abs=1e-8)
    assert c["wind.P_gen[MW]"] == pytest.approx([20] * 4 + [0] * 4, abs=1e-8)
    assert c["wind.connected[1]"].tolist() == [1] * 4 + [0] * 4
    assert c["grid.P_gen[MW]"] == pytest.approx(total(c, FEEDERS, "P_gen[MW]"), abs=1e-9)
    assert c["grid.P_gen[MW]"] - c["grid.P_load[MW]"] - c["grid.P_loss[MW]"] == pytest.approx(0, abs=1e-9)
    assert c["grid.mismatch[MW]"].max() < 1e-9


def test_units_with_a_limit_show_whether_they_stand_at_it() -> None:
    case, rows = recorded(Event(0.02, "fault", "6", r_pu=0.02), z=[0.1j] * 3, i_max=[None, 1.2, 9.0])
    c = grid_columns(case, FEEDERS, rows)
    assert {name for name in c if name.endswith("current_limited[1]")} == {
        "inv2.current_limited[1]", "inv3.current_limited[1]", "pv.current_limited[1]",
    }  # fmt: skip
    assert c["inv3.current_limited[1]"].tolist() == [0] * 8
    assert c["pv.current_limited[1]"].tolist() == [0] * 4 + [1] * 4
    current = np.hypot(c["inv2.P_gen[MW]"], c["inv2.Q_gen[MVar]"]) / c["2.Vm[pu]"]
    assert c["inv2.current_limited[1]"].tolist() == (current > 120 * (1 - 1e-8)).tolist()
    assert current.max() == pytest.approx(120, rel=1e-9) and current.min() < 119


@pytest.mark.parametrize("i_max", [0.39, 0.42, 0.6])
def test_only_who_stands_above_all_knees_is_surely_below_its_limit(i_max: float) -> None:
    # bus 6 stands near 1.0 pu: 0.4 + 0.1j = 0.412 pu of power is beyond 0.39, close to 0.42, and far below 0.6
    net = case9()
    topology = Topology(
        net.network.closed, Sources(np.arange(3), np.full(3, 0.1j), np.ones(3, bool)),
        np.array([net.network.row_of_bus("6")]), np.array([i_max]), np.ones(1, bool),
        np.zeros(net.network.n_bus, complex),
    )  # fmt: skip
    epoch = epoch_of(net, topology)
    loads = demand(net.loads.at(epoch.supplied_loads))
    solution = solve(epoch.net, with_injections(loads, np.array([0.4 + 0.1j]), np.array([i_max])), swinging(1)[0], None)
    assert touches_limit(epoch, solution) == current_limited(epoch, solution.x).any() == (i_max < 0.4)
    assert touches_limit(epoch, solution._replace(margin_pu=0.0)) == (i_max < 0.4)


def test_islands_show_the_angles_of_the_nominal_frame_each_by_its_own_turn() -> None:
    events = (Event(0.01, "line_open", "4-5"), Event(0.01, "line_open", "6-7"))
    c = columns_of(swinging(6), *events)
    for row, emf in enumerate(swinging(6)):
        for place, bus in enumerate("123"):
            assert c[f"{bus}.Va[deg]"][row] == pytest.approx(np.degrees(np.angle(emf[place])), abs=1e-9)
    assert c["grid.mismatch[MW]"].max() < 1e-9
