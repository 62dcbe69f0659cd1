"""Scenarios in `mode: steady`: equal to the dynamics at rest and to pandapower, with sources, limits and control."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandapower as pp
import pytest

import case_a
import case_b
from gridloop.scenarios import Result, load, run
from gridloop.scenarios.problems import ScenarioError

HALF_DIGIT = 5.1e-7
STEP_AND_TRIP = [case_b.load_step(60), case_b.line_trip(120)]
Runner = Callable[[dict[str, Any]], Result]


@pytest.fixture
def runner(tmp_path: Any) -> Runner:
    return lambda given: run(load(given), folder=tmp_path / given["name"])


def droop(bus: int | str, s_rated_kva: float, **more: Any) -> dict[str, Any]:
    return {"type": "inverter", "bus": bus, "s_rated_kva": s_rated_kva, **more}


def case9(events: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Three droop inverters of 1, 2 and 1.25 pu, a step a minute."""
    return {
        "schema": 1, "name": "steady", "mode": "steady", "step_ms": 60000, "until_s": 180,
        "grid": {"net": "case9", "f_nom_hz": 60}, "start": "power_flow",
        "units": {"inv1": droop(1, 100000), "inv2": droop(2, 200000), "inv3": droop(3, 125000)}, "events": events,
    } | more  # fmt: skip


def end(result: Result, *entities: str, attr: str, row: int = -1) -> Any:
    return np.array([result.series(entity, attr)[1][row] for entity in entities])


def pair(net: Any, kw: float, name: str) -> None:
    """Two buses with a short line and a load."""
    one, two = (pp.create_bus(net, 0.4, name=f"{name}{side}") for side in "ab")
    pp.create_line_from_parameters(net, one, two, 0.1, 0.3, 0.1, 0, 1, name=name)
    pp.create_load(net, two, kw * 1e-3, 0, name=f"load{name}")
    pp.create_gen(net, one, 0, slack=name == "x")


# --- the dynamics at rest ---


def test_case_a_after_the_step_and_after_the_trip(runner: Runner):
    result = runner(case9(STEP_AND_TRIP))
    units = ("inv1", "inv2", "inv3")
    assert result.series("inv1", "f[Hz]")[0] == pytest.approx([0, 60, 120, 180])
    assert end(result, *units, attr="f[Hz]", row=0) == pytest.approx(60, abs=1e-9)
    assert end(result, *units, attr="f[Hz]", row=1) == pytest.approx(59.910359, abs=HALF_DIGIT)
    assert end(result, *units, attr="f[Hz]") == pytest.approx(59.908647, abs=HALF_DIGIT)
    assert end(result, *units, attr="P_gen[MW]") / 100 == pytest.approx([0.795675, 1.782256, 0.945160], abs=HALF_DIGIT)
    assert end(result, *units, attr="Q_gen[MVar]") / 100 == pytest.approx(
        [0.404925, 0.470390, 0.027655], abs=HALF_DIGIT
    )
    assert [event.kind for event in result.events] == ["load_step", "line_open"]


def test_case_b_with_a_diesel_set_equals_the_dynamics_at_rest(tmp_path: Any):
    # both reach rest within 20 s of each event
    dynamic = run(load(case_b.scenario(
        [case_b.load_step(1), case_b.line_trip(21)], step_ms=10, until_s=42, record={"every_ms": 1000}
    )), folder=tmp_path / "dynamic")  # fmt: skip
    settled = run(
        load(case_b.scenario(STEP_AND_TRIP, mode="steady", step_ms=60000, until_s=180)), folder=tmp_path / "s"
    )
    for row, t_s in ((1, 20.0), (-1, 42.0)):
        for attr, scale in (("f[Hz]", 1), ("P_gen[MW]", 100), ("Q_gen[MVar]", 100), ("E[pu]", 1), ("limited[1]", 1)):
            for unit in case_b.UNITS:
                times, values = dynamic.series(unit, attr)
                at_rest = values[np.flatnonzero(times == t_s)[-1]]
                assert settled.series(unit, attr)[1][row] / scale == pytest.approx(at_rest / scale, abs=1e-6), attr
        for bus in map(str, range(1, 10)):
            times, values = dynamic.series(bus, "Vm[pu]")
            assert end(settled, bus, attr="Vm[pu]", row=row) == pytest.approx(values[times == t_s], abs=1e-6)
    assert end(settled, "diesel", attr="P_gen[MW]", row=1) / 100 == pytest.approx(1.779943, abs=HALF_DIGIT)
    assert end(settled, "batt", attr="f[Hz]", row=1) == pytest.approx(59.910034, abs=HALF_DIGIT)


def test_an_isochronous_diesel_holds_the_frequency(runner: Runner):
    given = case_b.scenario([case_b.load_step(60)], mode="steady", step_ms=60000, until_s=60)
    given["units"]["diesel"]["droop_p_percent"] = 0
    result = runner(given)
    assert end(result, *case_b.UNITS, attr="f[Hz]") == pytest.approx(60, abs=1e-9)
    more = [np.diff(result.series(unit, "P_gen[MW]")[1])[0] for unit in case_b.UNITS]
    assert more[0] == pytest.approx(0, abs=1e-6) and more[2] == pytest.approx(0, abs=1e-6) and more[1] > 30


def test_fuel_and_minutes_below_the_minimum_load(runner: Runner):
    # 12000 kW: 977.4 L/h and 0.246 L for each kWh; below 30 % it should not run
    given = case9(
        [], until_s=1800, start="droop", grid={"net": "case9", "f_nom_hz": 60, "base": {"s_mva": 1, "v_kv": 11}}
    )
    given["units"] = {
        "diesel": {"type": "diesel", "bus": 1, "s_rated_kva": 12000},
        "inv2": droop(2, 800),
        "inv3": droop(3, 900),
    }
    result = runner(given)
    t_s, fuel = result.series("diesel", "fuel[L]")
    p_kw = result.series("diesel", "P_gen[MW]")[1] * 1e3
    assert fuel == pytest.approx((0.08145 * 12000 + 0.246 * p_kw[0]) * t_s / 3600, rel=1e-12)
    assert p_kw[0] / 12000 < 0.3
    assert result.series("diesel", "underload[min]")[1][-1] == pytest.approx(30)
    assert result.metrics["fuel"].value == pytest.approx(fuel[-1])


# --- pandapower ---


def test_connected_to_the_utility_every_bus_is_pandapowers(tmp_path: Any, runner: Runner):
    net = pp.create_empty_network(f_hz=50, sn_mva=1)
    buses = [pp.create_bus(net, 0.4, name=f"b{k}") for k in range(12)]
    for k in range(11):
        pp.create_line_from_parameters(net, buses[k // 2], buses[k + 1], 0.05, 0.3, 0.1, 100, 1, name=f"l{k}")
        pp.create_load(net, buses[k + 1], 0.004 + 0.001 * k, 0.001, name=f"d{k}")
    pp.create_ext_grid(net, buses[0], 1.0)
    pp.to_json(net, str(tmp_path / "net.json"))
    given = {
        "schema": 1, "name": "utility", "mode": "steady", "step_ms": 3600000, "until_s": 7200,
        "grid": {"net": str(tmp_path / "net.json"), "f_nom_hz": 50}, "start": "power_flow",
        "pcc": {"bus": "b0", "r_pu": 0.2, "x_pu": 0.7, "v_pu": 1.02, "closed": True},
        "units": {
            "pv": {"type": "inverter", "control": "following", "bus": "b7", "s_rated_kva": 30, "p_set_kw": 25,
                   "q_set_kvar": 5},
            "home": {"type": "profile", "bus": "b9", "p_load": 12, "q_load": 3},
        },
        "events": [{"t_s": 3600, "do": "load_step", "bus": "b5", "p_kw": 20, "q_kvar": 6},
                   {"t_s": 7200, "do": "set", "path": "units.pv.p_set_kw", "value": 10}],
    }  # fmt: skip
    result = runner(given)
    behind = pp.create_bus(net, 0.4, name="utility")
    pp.create_impedance(net, behind, buses[0], 0.2, 0.7, 1.0)
    net.ext_grid["bus"], net.ext_grid["vm_pu"] = behind, 1.02
    pp.create_sgen(net, buses[7], 0.025, 0.005)
    pp.create_load(net, buses[9], 0.012, 0.003)
    for row in range(3):
        if row == 1:
            pp.create_load(net, buses[5], 0.020, 0.006)
        if row == 2:
            net.sgen["p_mw"] = 0.010
        pp.runpp(net, tolerance_mva=1e-12, max_iteration=50, numba=False)
        for bus in buses:
            name = net.bus.name[bus]
            assert end(result, name, attr="Vm[pu]", row=row) == pytest.approx(net.res_bus.vm_pu[bus], abs=1e-9)
            assert end(result, name, attr="Va[deg]", row=row) == pytest.approx(net.res_bus.va_degree[bus], abs=1e-7)
    assert end(result, "pcc", attr="P_gen[MW]") == pytest.approx(-net.res_impedance.p_to_mw[0], abs=1e-9)


def test_open_the_switch_and_close_it_again(runner: Runner):
    # C1: an infinite bus behind 0.01 + j0.1 at bus 5; connected the units give their set-points
    s, emf = case_a.power_flow_start()
    given = case9([
        {"t_s": 60, "do": "pcc_open"}, {"t_s": 120, "do": "load_step", "bus": 7, "p_kw": 20000, "q_kvar": 5000},
        {"t_s": 180, "do": "pcc_close"},
    ], until_s=240, start="droop")  # fmt: skip
    given["pcc"] = {"bus": 5, "r_pu": 0.01, "x_pu": 0.1, "sync": {"angle_deg": 2, "df_hz": 0.1, "dv_pu": 0.1}}
    given["grid"]["loads"] = {"v0_pu": 1}
    for unit, s_pu, e_pu in zip(given["units"].values(), s, np.abs(emf), strict=True):
        unit |= {"p_set_kw": float(1e5 * s_pu.real), "q_set_kvar": float(1e5 * s_pu.imag), "v_set_pu": float(e_pu)}
    result = runner(given)
    f, p = result.series("inv1", "f[Hz]")[1], result.series("inv2", "P_gen[MW]")[1] / 100
    assert f[[0, 3, 4]] == pytest.approx(60, abs=1e-9) and f[1] == pytest.approx(60, abs=1e-4)
    assert f[2] == pytest.approx(59.943320, abs=HALF_DIGIT) and p[2] == pytest.approx(1.724467, abs=HALF_DIGIT)
    assert p[[0, 3, 4]] == pytest.approx(1.63, abs=1e-6)
    exchanged = [result.series("pcc", attr)[1] / 100 for attr in ("P_gen[MW]", "Q_gen[MVar]")]
    assert [series[0] for series in exchanged] == pytest.approx([-0.000575, 0.112947], abs=HALF_DIGIT)
    assert [series[-1] for series in exchanged] == pytest.approx([0.192285, 0.085232], abs=HALF_DIGIT)
    assert [event.kind for event in result.events][-2:] == ["pcc_arm", "pcc_close"]


# --- islands, limits, relays ---


def test_two_islands_have_their_own_frequencies(tmp_path: Any, runner: Runner):
    net = pp.create_empty_network(f_hz=50, sn_mva=0.1)
    pair(net, 20, "x")
    pair(net, 40, "y")
    pp.create_line_from_parameters(net, 0, 2, 0.1, 0.3, 0.1, 0, 1, name="tie")
    pp.to_json(net, str(tmp_path / "two.json"))
    given = {
        "schema": 1, "name": "islands", "mode": "steady", "step_ms": 1000, "until_s": 4,
        "grid": {"net": str(tmp_path / "two.json"), "f_nom_hz": 50}, "start": "droop",
        "units": {"one": droop("xa", 100), "two": droop("ya", 100, p_max_kw=45)},
        "events": [{"t_s": 1, "do": "line_open", "line": "xa-ya"},
                   {"t_s": 2, "do": "load_step", "bus": "yb", "p_kw": 10},
                   {"t_s": 3, "do": "load_step", "bus": "yb", "p_kw": -10}],
    }  # fmt: skip
    result = runner(given)
    f = np.stack([result.series(unit, "f[Hz]")[1] for unit in ("one", "two")])
    p = np.stack([result.series(unit, "P_gen[MW]")[1] * 1e3 for unit in ("one", "two")])
    on = f > 0
    assert f[0, 0] == pytest.approx(f[1, 0])  # one island: one frequency, equal shares
    assert p[0, 0] == pytest.approx(p[1, 0])
    assert on.all() and f[:, 1] == pytest.approx(50 - 0.02 * 50 * p[:, 1] / 100)
    # 50 kW are more than the second unit has: its island is dark for a step, and comes back
    assert p[1, 2] == 0 and p[0, 2] == pytest.approx(p[0, 1]) and p[1, 3] == pytest.approx(p[1, 1])
    assert end(result, "yb", attr="Vm[pu]", row=2) == [0] and end(result, "xb", attr="Vm[pu]", row=2) > 0.9
    assert end(result, "grid", attr="P_unserved[MW]", row=2) == pytest.approx(0.050)
    kinds = [(event.t_s, event.kind) for event in result.events]
    assert (2.0, "blackout") in kinds and (2.0, "de_energised") in kinds and (3.0, "energised") in kinds


def test_loads_are_shed_before_an_island_goes_dark(runner: Runner):
    given = case9([{"t_s": 60, "do": "load_step", "bus": 5, "p_kw": 300000, "q_kvar": 0}], until_s=120)
    for unit in given["units"].values():
        unit["p_max_kw"] = 1.1 * unit["s_rated_kva"]
    given["load_shedding"] = [{"below_hz": 58.5, "delay_ms": 200, "share_percent": 30}]
    result = runner(given)
    kinds = [event.kind for event in result.events]
    assert "load_shed" in kinds and "blackout" not in kinds
    assert end(result, "grid", attr="P_unserved[MW]") == pytest.approx(0.3 * 615, abs=1e-6)


def test_a_unit_that_trips_and_starts_again(runner: Runner):
    result = runner(case9([
        {"t_s": 60, "do": "unit_trip", "unit": "inv3"}, {"t_s": 120, "do": "unit_start", "unit": "inv3"},
    ]))  # fmt: skip
    p = result.series("inv3", "P_gen[MW]")[1]
    assert p[1] == 0 and p[[2, 3]] == pytest.approx(p[0], abs=1e-6)
    more = [np.diff(result.series(unit, "P_gen[MW]")[1])[0] for unit in ("inv1", "inv2")]
    assert more[1] / more[0] == pytest.approx(2)


def test_a_set_point_that_changes(runner: Runner):
    result = runner(case9([{"t_s": 60, "do": "set", "path": "units.inv1.p_set_kw", "value": 92000}]))
    p = np.stack([result.series(unit, "P_gen[MW]")[1] for unit in ("inv1", "inv2", "inv3")])
    f = result.series("inv1", "f[Hz]")[1]
    assert f[1] > 60  # f = 60 + 1.2 Hz (P* - P)/S
    assert f[1] - 60 == pytest.approx(1.2 * (92 - p[0, 1]) / 100) and result.events[0].kind == "set"


# --- secondary control ---


def controlled(frequency: str, voltage: str, limit_pu: float = 1.0) -> dict[str, Any]:
    """The comparison of laws: no set-points, load step, line trip."""
    control = {
        "frequency": {"law": frequency}, "voltage": {"law": voltage, "limit_pu": limit_pu},
        "members": ["inv1", "inv2", "inv3"], "leader": "inv1",
    }  # fmt: skip
    return case9(STEP_AND_TRIP, start="droop", control=control)


@pytest.mark.parametrize(("laws", "after_step", "after_trip"), [
    (("C", "C"), (0.1633, 0.0090, 0.06257), (0.1585, 1.016, 0.07233)),
    (("F", "V"), (0.0, 0.0359, 0.06034), (0.0, 1.090, 0.07146)),
    (("F", "paper23"), (0.1633, 0.0090, 0.06257), (0.1585, 1.016, 0.07233)),
    (("F", "V", 0.05), (0.0074, 0.0344, 0.06044), (0.1008, 1.045, 0.07237)),
    (("D", "Vprime"), (0.0755, 0.0147, 0.06419), (0.0987, 1.029, 0.07401)),
], ids=lambda laws: "-".join(map(str, laws)) if isinstance(laws[0], str) else "")  # fmt: skip
def test_where_the_laws_come_to_rest(runner: Runner, laws: Any, after_step: Any, after_trip: Any):
    # e_Q, voltages of the sources and losses of the printed comparison, which simulates the agents
    result = runner(controlled(*laws))
    units, rating = ("inv1", "inv2", "inv3"), np.array([1, 2, 1.25])
    for row, (e_q, voltage, loss) in ((1, after_step), (-1, after_trip)):
        q = end(result, *units, attr="Q_gen[MVar]", row=row) / 100
        p = end(result, *units, attr="P_gen[MW]", row=row) / 100
        e_pu = end(result, *units, attr="E[pu]", row=row)
        assert end(result, *units, attr="f[Hz]", row=row) == pytest.approx(60, abs=1e-9)
        assert np.ptp(p / rating) < 1e-8
        assert np.abs(q / rating - q.sum() / rating.sum()).max() == pytest.approx(e_q, abs=5.1e-5)
        seen = e_pu.max() if row == -1 else np.sqrt(((e_pu - 1) ** 2).mean())
        assert seen == pytest.approx(voltage, abs=5.1e-4 if row == -1 else 5.1e-5)
        assert end(result, "grid", attr="P_loss[MW]", row=row) / 100 == pytest.approx(loss, abs=5.1e-6)
    assert np.ptp(end(result, *units, attr="Omega[Hz]")) < 1e-12
    assert end(result, "inv1", attr="Omega[Hz]") == pytest.approx(0.9945, abs=6e-4)


def test_a_correction_at_its_limit_leaves_a_deviation(runner: Runner):
    given = controlled("F", "none")
    given["control"]["frequency"]["limit_hz"] = 0.5
    result = runner(given)
    assert end(result, "inv1", attr="Omega[Hz]", row=1) == pytest.approx(0.5)
    # the line of droop alone stands at 59.00751 Hz (voltages are the same: no voltage law), 0.5 Hz below this
    assert end(result, "inv1", attr="f[Hz]", row=1) == pytest.approx(59.50751, abs=5.1e-6)


# --- sources ---


def battery(bus: int, soc_percent: float, **more: Any) -> dict[str, Any]:
    """1 MW, 1 MWh; without losses."""
    source = {"type": "battery", "model": "coulomb", "e_rated_kwh": 1000, "soc_init_percent": soc_percent}
    source |= {"coulombic_efficiency_percent": 100}
    return droop(bus, 1000, efficiency_percent=100, source=source) | more


def micro(units: dict[str, Any], **more: Any) -> dict[str, Any]:
    """case9 as a microgrid of 1 MVA and a hundredth of its load in kW."""
    grid = {"net": "case9", "base": {"s_mva": 1, "v_kv": 11}, "f_nom_hz": 60}
    return case9(**({"events": [], "grid": grid, "units": units} | more))


def test_charges_are_balanced(runner: Runner):
    # K1: d(spread)/dt = -k_s S / E spread: 0.2 -> 0.2 e^-1 after 1800 s with k_s = 2, S/E = 1/h
    units = {"one": battery(1, 60), "two": battery(2, 40), "inv3": droop(3, 100000)}
    control = {
        "frequency": {"law": "F", "limit_hz": 3}, "voltage": {"law": "none"}, "members": ["one", "two", "inv3"],
        "leader": "one", "balancing": {"gain": 2},
    }  # fmt: skip
    result = runner(micro(units, start="droop", step_ms=1000, until_s=1800, control=control))
    soc = [result.series(unit, "SoC[%]")[1] / 100 for unit in ("one", "two")]
    assert soc[0][-1] - soc[1][-1] == pytest.approx(0.2 * np.exp(-1), abs=2e-4)


def test_steps_of_an_hour_do_not_overdraw_a_pack(runner: Runner):
    source = {"type": "battery", "e_rated_kwh": 900, "soc_init_percent": 60, "soc_min_percent": 20}
    units = {"batt": droop(1, 1000, source=source),
             "diesel": {"type": "diesel", "bus": 2, "s_rated_kva": 4000}, "inv3": droop(3, 1250)}  # fmt: skip
    result = runner(micro(units, step_ms=3600000, until_s=4 * 3600))
    soc, unserved = result.series("batt", "SoC[%]")[1], result.series("batt", "E_unserved[MWh]")[1]
    assert soc.min() == pytest.approx(20, abs=0.1) and soc.min() >= 20 - 1e-9
    assert np.abs(unserved).max() < 1e-9
    p = result.series("batt", "P_gen[MW]")[1]
    assert result.series("batt", "E_ac[MWh]")[1] == pytest.approx(np.append(0, np.cumsum(p[:-1])), abs=1e-12)
    gen = result.series("batt", "E_gen[MWh]")[1]
    assert gen[1] == pytest.approx(p[0] / 0.97, rel=1e-12)
    assert result.metrics["energy_residual"].value < 1e-6
    assert result.series("batt", "limited[1]")[1][-1] == 1 and p[-1] == pytest.approx(0, abs=1e-3)


def test_a_full_battery_raises_the_frequency_until_the_sun_is_curtailed(tmp_path: Any, runner: Runner):
    net = pp.create_empty_network(f_hz=50, sn_mva=0.1)
    pair(net, 5, "x")
    pp.to_json(net, str(tmp_path / "one.json"))
    source = {"type": "battery", "model": "coulomb", "e_rated_kwh": 20, "soc_init_percent": 85}
    sun = {"type": "pv", "modules": 60, "ghi": 1000, "t_air": 20}
    law = {"frequency_watt_percent_per_hz": 50, "frequency_watt_deadband_hz": 0.2}
    result = runner({
        "schema": 1, "name": "full", "mode": "steady", "step_ms": 60000, "until_s": 7200, "start": "droop",
        "grid": {"net": str(tmp_path / "one.json"), "f_nom_hz": 50},
        "units": {
            "batt": droop("xa", 30, droop_p_percent=1, source=source),
            "pv": {"type": "inverter", "control": "following", "bus": "xb", "s_rated_kva": 20, "source": sun, **law},
        },
    })  # fmt: skip
    soc, f, p = (result.series(*what)[1] for what in (("batt", "SoC[%]"), ("batt", "f[Hz]"), ("pv", "P_gen[MW]")))
    assert soc[-1] == pytest.approx(90, abs=0.01) and soc.max() <= 90 + 1e-9
    available = result.series("pv", "P_avail[MW]")[1]
    # first the battery takes all that is left over, on its droop line; in the end the sun makes what is needed
    assert p[0] == pytest.approx(available[0]) and 50 < f[0] < 50.2
    assert p[-1] == pytest.approx(available[-1] - 0.020 * 0.5 * (f[-1] - 50.2), abs=1e-9) and p[-1] < 0.0053
    assert end(result, "batt", attr="P_gen[MW]") == pytest.approx(0, abs=2e-5)


# --- what there is no settled state of ---


def test_what_has_no_settled_state_is_refused(runner: Runner):
    given = case9([{"t_s": 60, "do": "fault", "bus": 5, "r_pu": 0.01, "for_s": 0.1}])
    given["units"]["inv3"] = {"type": "machine", "bus": 3, "s_rated_kva": 100000, "h_s": 3, "x_pu": 0.2}
    with pytest.raises(ScenarioError) as error:
        runner(given)
    assert "fault" in str(error.value) and "damping_pu" in str(error.value)
