"""What may happen in a run, on mosaik: faults, limits, dead islands, units that come and go, shedding, set-points."""

from pathlib import Path
from typing import Any

import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.scenarios import Result, load, run

PV = {"type": "inverter", "control": "following", "bus": 6, "s_rated_kva": 30000, "p_set_kw": 20000, "q_set_kvar": 0}
BEHIND = {"units.*.z_pu": [0.01, 0.1]}


def ieee9(folder: Path, *events: dict[str, Any], until_s: float = 0.3, **more: Any) -> Result:
    given = load("ieee9").to_dict() | {"until_s": until_s, "events": list(events)}
    units = given["units"] | more.pop("units", {})
    overrides = more.pop("overrides", {})
    return run(load(given | {"units": units} | more).with_overrides(overrides), folder=folder)


def series(result: Result, entity: str, attribute: str) -> tuple[Any, Any]:
    return result.series(entity, attribute)


def at(result: Result, entity: str, attribute: str, t_s: float) -> float:
    t, values = result.series(entity, attribute)
    (row,) = np.flatnonzero(np.abs(t - t_s) < 1e-9)
    return float(values[row])


def log(result: Result, *kinds: str) -> list[tuple[float, str, str]]:
    return [(e.t_s, e.kind, e.target) for e in result.events if not kinds or e.kind in kinds]


# --- faults ---


def test_fault_lasts_as_long_as_it_is_to_and_its_clearing_restores(tmp_path: Path) -> None:
    # cleared at 0.1537 s, off the macro grid
    fault = {"t_s": 0.1, "do": "fault", "bus": "7", "r_pu": 0.05, "x_pu": 0.05, "for_s": 0.0537}
    result = ieee9(tmp_path, fault, until_s=6, overrides=BEHIND)
    t, v = series(result, "7", "Vm[pu]")
    assert 0.1537 in t
    low = (t >= 0.1) & (t < 0.1537)
    assert v[low].max() < 0.6 and v[~low].min() > 0.85
    assert log(result, "fault", "fault_clear") == [(0.1, "fault", "7"), (0.1537, "fault_clear", "7")]
    assert log(result, "voltage_collapse", "voltage_recovery")[0] == (0.1, "voltage_collapse", "7")
    assert log(result, "voltage_recovery") == [(0.1537, "voltage_recovery", "9")]
    for unit in ("inv1", "inv2", "inv3"):
        _, p = series(result, unit, "P_gen[MW]")
        assert p[-1] == pytest.approx(p[0], abs=1e-4)
    assert series(result, "grid", "mismatch[MW]")[1].max() < 1e-6


# --- current limits ---


def test_current_limit_holds_from_the_step_on_in_which_it_is_exceeded(tmp_path: Path) -> None:
    fault = {"t_s": 0.1, "do": "fault", "bus": "7", "r_pu": 0.05, "for_s": 0.05}
    limits = BEHIND | {"units.*.i_max_percent": 120}
    result = ieee9(tmp_path, fault, until_s=0.5, overrides=limits)
    rating = {"inv1": 100, "inv2": 200, "inv3": 125}
    for unit, bus in zip(rating, "123", strict=True):
        s = np.hypot(*(series(result, unit, a)[1] for a in ("P_gen[MW]", "Q_gen[MVar]")))
        t, v = series(result, bus, "Vm[pu]")
        current = s / v / rating[unit]
        assert current.max() <= 1.2 * (1 + 1e-9)
        marked = series(result, unit, "current_limited[1]")[1] == 1
        assert np.array_equal(marked, current > 1.2 * (1 - 1e-8))
        if marked.any():
            starts, ends = (log(result, kind) for kind in ("current_limit", "current_limit_end"))
            edges = np.flatnonzero(np.diff(marked.astype(int), prepend=0))
            told = sorted(e[0] for e in (*starts, *ends) if e[2] == unit)
            assert told == pytest.approx(t[edges]), "each change is logged once"
    assert any(e[0] == 0.1 for e in log(result, "current_limit"))


def test_following_unit_gives_its_largest_current_during_a_fault(tmp_path: Path) -> None:
    fault = {"t_s": 0.1, "do": "fault", "bus": "6", "r_pu": 0.02, "for_s": 0.05}
    pv = PV | {"q_set_kvar": 10000, "i_max_percent": 110}
    result = ieee9(tmp_path, fault, units={"pv": pv})
    t, p = series(result, "pv", "P_gen[MW]")
    q, v = series(result, "pv", "Q_gen[MVar]")[1], series(result, "6", "Vm[pu]")[1]
    low = (t >= 0.1) & (t < 0.15)
    assert np.hypot(p, q)[low] == pytest.approx(33 * v[low], rel=1e-9)
    assert q[low] == pytest.approx(p[low] / 2, rel=1e-9)
    assert np.hypot(p, q)[t >= 0.15] == pytest.approx(np.hypot(20, 10), rel=1e-9)
    assert log(result, "current_limit", "current_limit_end") == [
        (0.1, "current_limit", "pv"), (0.15, "current_limit_end", "pv"),
    ]  # fmt: skip


# --- dead islands ---


def test_dead_island_reads_0_says_so_and_comes_back(tmp_path: Path) -> None:
    # bus 9 with its load, and a following unit there
    pv = PV | {"bus": 9}
    lines = ("9-4", "8-9")
    events = [{"t_s": 0.1, "do": "line_open", "line": line} for line in lines]
    events += [{"t_s": 0.2, "do": "line_close", "line": line} for line in lines]
    result = ieee9(tmp_path, *events, units={"pv": pv}, until_s=0.5)
    t, _ = series(result, "9", "Vm[pu]")
    dead = (t >= 0.1) & (t < 0.2)
    for entity, attribute in (
        ("9", "Vm[pu]"), ("load9", "P_load[MW]"), ("load9", "Q_load[MVar]"), ("9-4", "P_from[MW]"),
        ("8-9", "Q_from[MVar]"), ("pv", "P_gen[MW]"), ("pv", "Q_gen[MVar]"), ("pv", "connected[1]"),
    ):  # fmt: skip
        values = series(result, entity, attribute)[1]
        assert (values[dead] == 0).all() and ((values[t < 0.1] != 0).all() or attribute == "Q_gen[MVar]"), entity
    assert log(result, "de_energised", "energised") == [(0.1, "de_energised", "9"), (0.2, "energised", "9")]
    unserved = series(result, "grid", "P_unserved[MW]")[1]
    assert unserved[dead] == pytest.approx(125) and (unserved[~dead] == 0).all()
    assert result.metrics["energy_unserved"].value == pytest.approx(12.5 / 3600, rel=0.06)
    p = series(result, "pv", "P_gen[MW]")[1]
    assert 0 <= p[t == 0.2][0] < 1 and p[-1] == pytest.approx(20, abs=1e-3), "it ramps up from nothing"


def test_dead_buses_are_named_once_even_if_load_is_shed_at_the_same_instant(tmp_path: Path) -> None:
    events = [{"t_s": 0.1, "do": "line_open", "line": line} for line in ("9-4", "8-9")]
    events.append({"t_s": 0.15, "do": "load_step", "bus": "5", "p_kw": 200000})
    result = ieee9(tmp_path, *events, until_s=1, load_shedding=[{"below_hz": 59.9, "delay_ms": 0, "share_percent": 50}])
    assert len(log(result, "load_shed")) == 1
    assert log(result, "de_energised") == [(0.1, "de_energised", "9")]


# --- units that come and go ---


def test_forming_unit_starts_without_a_jump_because_it_followed_its_bus(tmp_path: Path) -> None:
    trip, start = {"t_s": 0.1, "do": "unit_trip", "unit": "inv3"}, {"t_s": 1, "do": "unit_start", "unit": "inv3"}
    result = ieee9(tmp_path, trip, start, until_s=8)
    t, p = series(result, "inv3", "P_gen[MW]")
    off = (t >= 0.1) & (t < 1)
    assert (p[off] == 0).all() and (series(result, "inv3", "connected[1]")[1][off] == 0).all()
    # it turns with its bus, whose frequency has sunk since
    f_hz, bus_hz = (at(result, unit, "f[Hz]", 0.995) for unit in ("inv3", "inv1"))
    assert f_hz == pytest.approx(bus_hz, abs=1e-4) and bus_hz < 59.7
    assert abs(at(result, "inv3", "P_gen[MW]", 1)) < 0.1
    emf, v = (at(result, *of, 0.995) for of in (("inv3", "E[pu]"), ("3", "Vm[pu]")))
    assert emf == pytest.approx(v, abs=5e-3)
    assert p[-1] == pytest.approx(85, abs=1e-3)
    assert series(result, "inv3", "f[Hz]")[1][-1] == pytest.approx(60, abs=1e-6)


def test_following_unit_starts_from_nothing(tmp_path: Path) -> None:
    # 10 ms time constant: 39 % of its power one step later
    trip, start = {"t_s": 0.1, "do": "unit_trip", "unit": "pv"}, {"t_s": 0.2, "do": "unit_start", "unit": "pv"}
    result = ieee9(tmp_path, trip, start, units={"pv": PV})
    t, p = series(result, "pv", "P_gen[MW]")
    assert p[t < 0.1] == pytest.approx(20, abs=1e-9) and (p[(t >= 0.1) & (t < 0.2)] == 0).all()
    assert at(result, "pv", "P_gen[MW]", 0.2) == pytest.approx(20 * (1 - np.exp(-0.5)), abs=1e-6)
    assert at(result, "pv", "P_gen[MW]", 0.205) == pytest.approx(20 * (1 - np.exp(-1.0)), abs=1e-6)


# --- shedding and controllable loads ---


def test_stages_shed_their_share_of_their_loads_once(tmp_path: Path) -> None:
    stages = [
        {"below_hz": 59.8, "delay_ms": 100, "share_percent": 20},
        {"below_hz": 59.75, "delay_ms": 0, "share_percent": 50, "buses": ["9"]},
    ]
    step = {"t_s": 0.1, "do": "load_step", "bus": "5", "p_kw": 160000}
    result = ieee9(tmp_path, step, until_s=2, load_shedding=stages)
    f_hz = [series(result, unit, "f[Hz]") for unit in ("inv1", "inv2", "inv3")]
    t, weight = f_hz[0][0], np.array([1, 2, 1.25]) / 4.25
    mean = weight @ np.stack([f for _, f in f_hz])
    below = {level: t[np.flatnonzero(mean < level)[0]] for level in (59.8, 59.75)}
    sheds = log(result, "load_shed")
    assert [(round(when, 6), target) for when, _, target in sheds] == sorted([
        (round(below[59.75], 6), "load9"), (round(below[59.8] + 0.1, 6), "load5, load7, load9"),
    ])  # fmt: skip
    assert at(result, "load9", "P_load[MW]", 2) == pytest.approx(125 * 0.3)
    assert at(result, "load5", "P_load[MW]", 2) == pytest.approx(250 * 0.8)
    assert at(result, "load7", "Q_load[MVar]", 2) == pytest.approx(35 * 0.8)
    assert at(result, "grid", "P_unserved[MW]", 2) == pytest.approx(125 * 0.7 + 250 * 0.2 + 100 * 0.2)
    assert f_hz[0][1][-1] > 59.8


class Heater(mosaik_api_v3.Simulator):
    """A load of 50 MW and 5 Mvar from 0.1 s on."""

    def __init__(self) -> None:
        models = {"Heater": {"public": True, "params": [], "attrs": ["P_load[MW]", "Q_load[MVar]"]}}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})

    def init(self, sid: str, time_resolution: float = 1.0, **_: Any) -> Any:
        return self.meta

    def create(self, num: int, model: str, **_: Any) -> Any:
        return [{"eid": "heater", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.on = time >= 100_000
        return time + 50_000

    def get_data(self, outputs: Any) -> Any:
        return {"heater": {"P_load[MW]": 50.0 if self.on else 100.0, "Q_load[MVar]": 5.0 if self.on else 35.0}}


def test_load_may_be_controlled_by_another_simulator(tmp_path: Path) -> None:
    def extend(built: Any) -> None:
        heater = built.world.start(PythonStarter(Heater), "Heater").Heater()
        built.world.connect(heater, built.entities["load7"], "P_load[MW]", "Q_load[MVar]")

    scenario = load("ieee9").with_overrides({"events": [], "until_s": 0.3})
    result = run(scenario, folder=tmp_path, extend=extend)
    t, p = series(result, "load7", "P_load[MW]")
    assert p == pytest.approx(np.where(t < 0.1, 100, 50), abs=1e-9)
    assert series(result, "load7", "Q_load[MVar]")[1] == pytest.approx(np.where(t < 0.1, 35, 5), abs=1e-9)
    assert series(result, "inv1", "P_gen[MW]")[1][-1] < 71 and (series(result, "grid", "P_unserved[MW]")[1] == 0).all()


# --- set-points, profiles, meters ---


def test_set_point_changes_at_its_time_and_not_before(tmp_path: Path) -> None:
    event = {"t_s": 0.1023, "do": "set", "path": "units.pv.p_set_kw", "value": 5000}
    result = ieee9(tmp_path, event, units={"pv": PV})
    t, p = series(result, "pv", "P_gen[MW]")
    assert p[t <= 0.1023] == pytest.approx(20, abs=1e-9), "at its instant the current is still the old one"
    later = t > 0.1023
    assert p[later] == pytest.approx(5 + 15 * np.exp(-(t[later] - 0.1023) / 0.01), abs=1e-9)
    assert at(result, "pv", "P_set[MW]", 0.1023) == pytest.approx(5)
    assert log(result) == [(0.1023, "set", "pv.p_set_kw")]


def test_set_point_of_every_forming_unit(tmp_path: Path) -> None:
    # 1 % more voltage everywhere: the loads are constant powers, so that the currents fall
    event = {"t_s": 0.1, "do": "set", "path": "units.*.v_set_pu", "value": 1.04}
    result = ieee9(tmp_path, event, until_s=3)
    assert series(result, "1", "Vm[pu]")[1][-1] > series(result, "1", "Vm[pu]")[1][0] + 0.005
    t, v = series(result, "1", "Vm[pu]")
    assert np.ptp(v[t < 0.1]) < 1e-9 and abs(at(result, "1", "Vm[pu]", 0.1) - v[0]) > 0.01
    assert [e[2] for e in log(result)] == ["inv1.v_set_pu", "inv2.v_set_pu", "inv3.v_set_pu"]


def test_unit_of_a_profile_gives_what_its_rows_say(tmp_path: Path) -> None:
    file = tmp_path / "wind.csv"
    file.write_text(
        "time,P[MW],Q[kvar]\n2026-06-21T12:00:00+02:00,10,0\n2026-06-21T12:00:00.1+02:00,30,2000\n"
        "2026-06-21T12:00:00.2+02:00,20,0\n2026-06-21T12:00:00.3+02:00,20,0\n", encoding="utf-8",
    )  # fmt: skip
    wind = {"type": "profile", "bus": 6, "p_gen": "w.p", "q_load": "w.q"}
    result = ieee9(
        tmp_path / "run", units={"wind": wind}, clock="2026-06-21T12:00:00+02:00",
        profiles={"w": {"file": str(file), "columns": {"p": "P[MW]", "q": "Q[kvar]"}}},
        meters={"m": {"of": "wind", "attr": ["P_gen[MW]", "Vm[pu]"], "period_ms": 50}},
    )  # fmt: skip
    t, p = series(result, "wind", "P_gen[MW]")
    assert p == pytest.approx(np.interp(t, [0, 0.1, 0.2], [10, 30, 20]), abs=1e-9)
    assert series(result, "wind", "Q_gen[MVar]")[1] == pytest.approx(-np.interp(t, [0, 0.1, 0.2], [0, 2, 0]), abs=1e-9)
    t_meter, metered = series(result, "m", "P_gen_meas[MW]")
    assert t_meter == pytest.approx(np.arange(0, 0.31, 0.05))
    assert metered == pytest.approx(np.interp(t_meter, [0, 0.1, 0.2], [10, 30, 20]), abs=1e-9)
    expected = np.interp(t_meter, *series(result, "6", "Vm[pu]"))
    assert series(result, "m", "Vm_meas[pu]")[1] == pytest.approx(expected, abs=1e-9)


# --- the frequency that loads feel ---


@pytest.mark.parametrize("start", ["power_flow", "droop"])
def test_loads_settle_at_the_same_frequency_by_their_bus_as_by_the_sources(tmp_path: Path, start: str) -> None:
    found, nadir = {}, {}
    for which in ("sources", "bus"):
        step = {"t_s": 0.5, "do": "load_step", "bus": "5", "p_kw": 30000}
        overrides = {"grid.loads.k_pf": 1.5, "grid.loads.frequency": which, "start": start}
        result = ieee9(tmp_path / which, step, until_s=5, overrides=overrides)
        t, f_hz = series(result, "inv1", "f[Hz]")
        assert np.ptp(f_hz[t < 0.5]) < 1e-9, "nothing moves before"
        found[which], nadir[which] = f_hz[-1], f_hz.min()
    assert found["bus"] == pytest.approx(found["sources"], abs=1e-6)
    assert 1e-6 < abs(nadir["bus"] - nadir["sources"]) < 5e-3
