"""Diesel sets and classical machines in scenario files: what is refused, and sets that leave the grid and come back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from case_b import line_trip, load_step, scenario
from gridloop.scenarios import load, run
from gridloop.scenarios.json_schema import scenario_schema
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.schedule import grid_events
from gridloop.scenarios.start import plan

LIGHTER = {"t_s": 0.5, "do": "load_set", "bus": 7, "p_kw": 20000, "q_kvar": 5000}


def complaint(given: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as error:
        plan(load(given))
    return str(error.value)


def with_diesel(**keys: Any) -> dict[str, Any]:
    given = scenario([])
    given["units"]["diesel"] |= keys
    return given


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"z_pu": [0, 0.1]}, "units.diesel.z_pu: a unit of type diesel has an impedance of its own"),
        ({"i_max_percent": 150}, "units.diesel.i_max_percent: unknown key"),
        ({"dead_time_ms": 200}, "the isochronous speed loop is unstable with a gain margin of 0.868"),
        ({"control": "droop"}, "a unit of type diesel has no choice of control"),
    ],
)
def test_what_a_diesel_is_not_given(keys: dict[str, Any], message: str) -> None:
    assert message in complaint(with_diesel(**keys))


def test_machine_needs_the_power_flow_to_start_from() -> None:
    given = with_diesel() | {"start": "droop"}
    given["units"]["gas"] = {"type": "machine", "bus": 4, "s_rated_kva": 1000, "h_s": 3, "x_pu": 0.2}
    assert "units.gas: start: droop needs a droop law" in complaint(given)


def test_two_sets_share_a_bus() -> None:
    given = with_diesel(s_rated_kva=100000)
    given["units"]["other"] = dict(given["units"]["diesel"])
    (group,) = [group for group in plan(load(given)).groups if group.name == "Diesel"]
    assert group.s_start_pu == pytest.approx([0.815 + 0.0723005975j] * 2)
    given["start"] = "droop"
    (group,) = [group for group in plan(load(given)).groups if group.name == "Diesel"]
    assert group.s_start_pu[0] == pytest.approx(group.s_start_pu[1])


def test_schema_knows_the_machines() -> None:
    parts = scenario_schema()["$defs"]
    assert {"h_s", "x_pu", "damping_pu", "p_set_kw"} <= parts["UnitMachine"]["properties"].keys()
    diesel = parts["UnitDiesel"]["properties"]
    assert "z_pu" not in diesel and diesel["dead_time_ms"]["default"] == 24
    assert all(value["description"] != key for key, value in diesel.items() if key.startswith("governor_t1"))


def test_set_leaves_the_grid_follows_it_and_comes_back(tmp_path: Path) -> None:
    leaves, returns = ({"t_s": t, "do": do, "unit": "diesel"} for t, do in ((1, "unit_trip"), (3, "unit_start")))
    given = scenario([LIGHTER, leaves, returns], until_s=5)
    given["units"]["diesel"]["start_s"] = 1  # it runs up and closes its breaker at 4 s
    result = run(load(given), folder=tmp_path)
    assert [event.t_s for event in result.events if event.kind == "unit_start"] == [4]
    t_s, f_hz = result.series("diesel", "f[Hz]")
    p_mw, fuel = (result.series("diesel", attr)[1] for attr in ("P_gen[MW]", "fuel[L]"))
    bus_hz = result.series("batt", "f[Hz]")[1]
    off = (t_s > 1) & (t_s <= 4)
    assert np.abs(p_mw[off]).max() < 1e-9
    assert f_hz[t_s == 4] == pytest.approx(bus_hz[t_s == 4], abs=1e-3) and bus_hz[t_s == 4] < 59.6
    assert fuel[t_s == 4] == pytest.approx(fuel[t_s == 1.005], abs=0.1)
    assert result.series("diesel", "running[1]")[1][[100, 500, -1]].tolist() == [1, 0, 1]
    # it closes without a blow (rated 200 MW), and then takes its share step by step
    assert np.abs(p_mw[(t_s > 4) & (t_s < 4.05)]).max() < 2
    assert p_mw[-1] > 40 and np.abs(np.diff(p_mw[t_s > 4.01])).max() < 2
    assert fuel[-1] > fuel[t_s == 4] + 1


def test_engine_runs_up_before_its_breaker_closes() -> None:
    def order(t_s: float, do: str, unit: str = "diesel") -> dict[str, Any]:
        return {"t_s": t_s, "do": do, "unit": unit}

    # 15 s: while it runs up it is tripped; an inverter needs no time
    orders = [order(1, "unit_trip"), order(12.5, "unit_start"), order(15, "unit_trip"), order(20, "unit_start")]
    orders += [order(3, "unit_trip", "batt"), order(4, "unit_start", "batt")]
    found = grid_events(load(scenario(orders, until_s=60)))
    assert [(event.t_s, event.kind) for event in found if event.target == "diesel"] == [
        (1, "unit_trip"), (15, "unit_trip"), (30, "unit_start"),
    ]  # fmt: skip
    assert [event.t_s for event in found if event.target == "batt"] == [3, 4]
    steady = scenario(orders, until_s=60, mode="steady", step_ms=60000)
    assert 30 in plan(load(steady)).event_times_s


def test_nothing_changes_for_a_set_in_charge_because_the_grid_tells_it_what_it_applied(tmp_path: Path) -> None:
    events = [load_step(0.1), line_trip(0.3)]
    never = {"t_s": 0.9, "do": "unit_start", "unit": "diesel"}  # it is on: this only wires E_used
    plain, told = (
        run(load(scenario(given, until_s=0.8)), folder=tmp_path / name)
        for name, given in (("plain", events), ("told", [*events, never]))
    )
    for attr in ("f[Hz]", "P_gen[MW]"):
        assert plain.series("diesel", attr)[1] == pytest.approx(told.series("diesel", attr)[1], abs=1e-9)


def test_set_rides_through_a_fault(tmp_path: Path) -> None:
    fault = {"t_s": 0.5, "do": "fault", "bus": 5, "r_pu": 0.01, "for_s": 0.15}
    result = run(load(scenario([fault], until_s=6, step_ms=10)), folder=tmp_path)
    assert result.series("diesel", "f[Hz]")[1][-1] == pytest.approx(60, abs=1e-3)
    assert result.series("diesel", "P_gen[MW]")[1][-1] == pytest.approx(163, abs=0.1)
    assert result.series("diesel", "limited[1]")[1].max() == 1  # the regulator came to its ceiling


def test_motored_set_trips_stands_still_and_starts_again(tmp_path: Path) -> None:
    # its governor shuts the fuel rack and the others drag 0.1 pu through the engine, for longer than 2 s
    back, start = {"t_s": 4, "do": "set", "path": "units.diesel.p_set_kw", "value": 100000}, "unit_start"
    down = back | {"t_s": 0.5, "value": -400000}
    given = scenario([down, back, {"t_s": 5, "do": start, "unit": "diesel"}], until_s=6)
    given["units"]["diesel"] |= {"torque_min_pu": -0.1, "start_s": 0}
    result = run(load(given), folder=tmp_path)
    (trip,) = [event for event in result.events if event.kind == "unit_trip"]
    assert trip.target == "diesel" and "reverse-power" in trip.outcome and 2.5 < trip.t_s < 3.2
    t_s, power = result.series("diesel", "P_gen[MW]")
    assert (power[(t_s > trip.t_s - 2) & (t_s < trip.t_s)] < -10).all()
    off = (t_s >= trip.t_s) & (t_s < 5)
    assert (power[off] == 0).all() and (result.series("diesel", "connected[1]")[1][off] == 0).all()
    fuel, running, tripped = (result.series("diesel", attr)[1] for attr in ("fuel[L]", "running[1]", "reverse_trip[1]"))
    later = off & (t_s > trip.t_s)
    assert np.ptp(fuel[later]) == 0 and (running[later] == 0).all() and (tripped[later] == 1).all()
    assert fuel[-1] > fuel[later][-1] + 1 and running[-1] == 1 and tripped[-1] == 0 and power[-1] > 30
