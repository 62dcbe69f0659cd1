"""Scenarios with batteries, photovoltaics, secondary control and links: what is wired is what the file says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.result import Result

BATTERY = {"type": "battery", "e_rated_kwh": 2000, "soc_init_percent": 60}
SUN = {"type": "pv", "modules": 6000, "ghi": 900, "t_air": 25}
FORMING = {"type": "inverter", "droop_p_percent": 2, "z_pu": [0.01, 0.1]}


def scenario(**more: Any) -> dict[str, Any]:
    """Three droop inverters on the 9-bus network with a load step at 0.5 s; `more` is merged over it."""
    whole: dict[str, Any] = {
        "schema": 1, "name": "wired", "until_s": 2.0, "grid": {"net": "case9", "base": {"s_mva": 1, "v_kv": 11}},
        "units": {
            "a": {**FORMING, "bus": 1, "s_rated_kva": 1000},
            "b": {**FORMING, "bus": 2, "s_rated_kva": 2000},
            "c": {**FORMING, "bus": 3, "s_rated_kva": 1250},
        },
        "events": [{"t_s": 0.5, "do": "load_step", "bus": 5, "p_kw": 300, "q_kvar": 100}],
    }  # fmt: skip
    for unit, own in more.pop("units", {}).items():
        whole["units"][unit] = {**whole["units"].get(unit, {}), **own}
    return whole | more


def at_end(result: Result, entity: str, attr: str) -> float:
    return float(result.series(entity, attr)[1][-1])


def control(**more: Any) -> dict[str, Any]:
    return {"members": ["a", "b", "c"], "leader": "a", **more}


CENTRAL = {"frequency": {"law": "C"}, "voltage": {"law": "C"}}


def test_sources_of_several_kinds_in_one_group(tmp_path: Path) -> None:
    units = {"a": {"source": BATTERY}, "b": {"source": {**BATTERY, "model": "coulomb"}}, "c": {"source": SUN}}
    result = run(load(scenario(units=units)), folder=tmp_path)
    for unit in ("a", "b"):
        drawn = 1 - at_end(result, unit, "SoC[%]") / 60
        assert 0 < drawn < 0.01, "a battery that delivers loses charge"
        t, v = result.series(unit, "P_gen[MW]")
        dc = at_end(result, unit, "E_gen[MWh]")
        # the series has the power behind the converter; at the event its row is the one after it
        assert dc == pytest.approx(np.trapezoid(v, t) / 3600 / 0.97, rel=2e-3)
    assert at_end(result, "c", "P_avail[MW]") > at_end(result, "c", "P_gen[MW]")
    assert result.metrics["energy_residual"].value < 1e-9


def test_forming_array_is_limited_to_what_it_has(tmp_path: Path) -> None:
    units = {"c": {"source": {**SUN, "modules": 3700}}}
    result = run(load(scenario(units=units, until_s=4.0)), folder=tmp_path)
    assert at_end(result, "c", "P_gen[MW]") == pytest.approx(at_end(result, "c", "P_avail[MW]"), rel=2e-3)
    assert at_end(result, "c", "limited[1]") == 1


@pytest.mark.parametrize("modules", [3600, 360])
def test_following_array_feeds_in_what_it_has(tmp_path: Path, modules: int) -> None:
    unit = {"type": "inverter", "control": "following", "bus": 3, "s_rated_kva": 1250}
    base = scenario(until_s=0.2)
    base["units"]["c"] = {**unit, "source": {**SUN, "modules": modules}}
    result = run(load(base), folder=tmp_path)
    available = at_end(result, "c", "P_avail[MW]")
    assert available == pytest.approx(modules * 235e-6, rel=0.05)
    assert at_end(result, "c", "P_gen[MW]") == pytest.approx(available, abs=1e-9)


def test_following_battery_charges_and_discharges_within_its_limits(tmp_path: Path) -> None:
    unit = {"type": "inverter", "control": "following", "bus": 3, "s_rated_kva": 1250, "p_set_kw": 500}
    small = {**BATTERY, "e_rated_kwh": 200}
    base = scenario(start="droop")
    base["units"]["c"] = {**unit, "source": small}
    base["events"] = [{"t_s": 1, "do": "set", "path": "units.c.p_set_kw", "value": -500}]
    result = run(load(base), folder=tmp_path)
    t, power = result.series("c", "P_gen[MW]")
    assert 0.17 < power[t == 0.9][0] < 0.2, "one C, less the losses"
    assert -0.22 < power[-1] < -0.2
    assert result.metrics["energy_residual"].value < 1e-9


def test_start_beyond_a_source_is_refused() -> None:
    wrong = scenario(units={"a": {"source": {**BATTERY, "e_rated_kwh": 500}}, "c": {"source": {**SUN, "modules": 100}}})
    with pytest.raises(ScenarioError) as caught:
        run(load(wrong))
    text = str(caught.value)
    assert "a would begin with 719.5 kW, its source has -524.4 to 480.3 kW to give" in text
    assert "c would begin with 850 kW, its source has 0 to" in text


@pytest.mark.parametrize("comms", [None, {"delay_ms": 100}])
def test_central_control_restores_frequency_and_pilot_bus(tmp_path: Path, comms: Any) -> None:
    more = {"control": control(**CENTRAL, pilot_bus="5"), "until_s": 6.0} | ({"comms": comms} if comms else {})
    result = run(load(scenario(**more)), folder=tmp_path)
    assert result.metrics["f_end"].value == pytest.approx(60, abs=2e-3)
    assert at_end(result, "5", "Vm[pu]") == pytest.approx(1.0, abs=2e-3)
    assert {"mgcc": "controller"}.items() <= {n: e.kind for n, e in result.entities.items()}.items()
    if comms:
        assert at_end(result, "a->mgcc", "age[ms]") == 100
    else:
        assert not result.record["link_statistics"]


def test_spare_controller_takes_over(tmp_path: Path) -> None:
    more = {
        "control": control(**CENTRAL, central=["mgcc", "spare"], takeover_ms=200), "until_s": 6.0,
        "events": [
            {"t_s": 0.4, "do": "agent_fail", "agent": "mgcc"},
            {"t_s": 0.5, "do": "load_step", "bus": 5, "p_kw": 300},
        ],
    }  # fmt: skip
    result = run(load(scenario(**more)), folder=tmp_path)
    assert result.metrics["f_end"].value == pytest.approx(60, abs=2e-3)
    assert [e.outcome for e in result.events if e.kind == "agent_fail"] == ["failed"]


def test_a_central_law_beside_one_of_neighbours_is_broadcast_over_links(tmp_path: Path) -> None:
    laws = {"frequency": {"law": "C"}, "voltage": {"law": "V"}}
    result = run(load(scenario(control=control(**laws), comms={"delay_ms": 50}, until_s=6.0)), folder=tmp_path)
    assert result.metrics["f_end"].value == pytest.approx(60, abs=2e-3)
    assert {"mgcc->a", "a->b"} <= result.record["link_statistics"].keys()


def test_links_follow_events(tmp_path: Path) -> None:
    events = [
        {"t_s": 0.5, "do": "set", "path": "comms.delay_ms", "value": 200},
        {"t_s": 1.0, "do": "link_down", "link": "a->b", "for_s": 0.5},
    ]
    result = run(load(scenario(control=control(), comms={"delay_ms": 50}, events=events)), folder=tmp_path)
    t, age = result.series("a->b", "age[ms]")
    assert age[t == 0.4] == 50 and age[t == 0.95] == 200
    assert age[t == 1.5] == 550, "the last message left before the link went down"
    # up to 1.2 s arrives what left before; what is sent while it is down is lost
    assert at_end(result, "a->b", "lost[1]") == result.record["link_statistics"]["a->b"]["lost"] == 10
    assert result.record["link_statistics"]["b->a"]["lost"] == 0
    assert [(e.t_s, e.kind) for e in result.events if e.target == "a->b"][-2:] == [(1.0, "link_down"), (1.5, "link_up")]


def test_signal_delays_one_connection(tmp_path: Path) -> None:
    unit = {"type": "inverter", "control": "following", "bus": 3, "s_rated_kva": 1250, "p_set_kw": 0, "q_set_kvar": 0}
    base = scenario(start="droop", comms={"signals": {"a->c": {
        "attr": "f[Hz]", "to_attr": "f_meas[Hz]", "delay_ms": 300
    }}})  # fmt: skip
    base["units"]["c"] = {**unit, "droop_kw_per_hz": 100}
    result = run(load(base), folder=tmp_path)
    t, f = result.series("a", "f[Hz]")
    p = result.series("c", "P_gen[MW]")[1]
    # behind the link comes the inverter's time constant, and what arrives is held for a step
    wanted = -0.1 * (np.interp(t - (0.3 + 0.01 + 0.0025), t, f) - 60)
    assert np.abs(p - wanted)[t > 0.9].max() < 1e-4
    assert np.ptp(p) > 0.01


def test_balancing_moves_power_to_the_fuller_battery(tmp_path: Path) -> None:
    units = {
        "a": {"source": {**BATTERY, "soc_init_percent": 80}}, "b": {"source": {**BATTERY, "e_rated_kwh": 4000}},
    }  # fmt: skip
    balanced = {"control": control(balancing={"gain": 0.5}), "comms": {"delay_ms": 50}}
    result = run(load(scenario(units=units, until_s=8.0, **balanced)), folder=tmp_path)
    more = at_end(result, "a", "P_set[MW]") - result.series("a", "P_set[MW]")[1][0]
    # the mean is 66.7 %: 80 % is 13.3 points above it, b 6.7 below
    assert more == pytest.approx(0.5 * 1.0 * 0.1333, rel=0.02)
    assert at_end(result, "b", "P_set[MW]") - result.series("b", "P_set[MW]")[1][0] == pytest.approx(-0.0667, rel=0.02)


def test_microgrid9_is_the_same_in_other_processes(tmp_path: Path) -> None:
    whole = load("microgrid9")
    one, other = (
        run(whole, until_s=1.0, folder=tmp_path / name, remote=remote)
        for name, remote in (("one", ()), ("other", ("Grid", "Inverter", "Diesel", "Following")))
    )
    names = sorted(path.name for path in (one.path / "series").iterdir())
    assert names == sorted(path.name for path in (other.path / "series").iterdir())
    for name in names:
        assert (one.path / "series" / name).read_bytes() == (other.path / "series" / name).read_bytes()
