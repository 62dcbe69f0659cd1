"""Both roles of a device over Modbus TCP in a run, with limits and ramps of the file before every write."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.hil.behaviour import Rating, law_for
from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import load_map
from gridloop.scenarios import load, run
from gridloop.simulators.models.growth import growth
from swap_case import emulator

PERIODS = {"period_ms": 10, "deadline_ms": 10, "allow_writes": True}
RATING = Rating(s_mva=125.0, f_hz=60.0, droop_p=0.0, droop_q=0.0)


def following(until_s: float, device: dict[str, Any], *events: Any) -> Any:
    """The 9-bus network, where inverter 3 follows the grid with 40 MW and has a device."""
    scenario = load("ieee9").to_dict()
    scenario["units"]["inv3"] = {
        "type": "inverter", "bus": 3, "control": "following", "s_rated_kva": 125000, "p_set_kw": 40000,
        "device": PERIODS | device,
    }  # fmt: skip
    return load(scenario | {"until_s": until_s, "events": list(events), "step_ms": 10})


def written(result: Any, attribute: str) -> list[dict[str, str]]:
    with (result.path / "writes.csv").open(newline="") as table:
        return [row for row in csv.DictReader(table) if row["attribute"] == attribute]


def test_a_power_device_over_tcp_within_limits_and_ramps(tmp_path: Path) -> None:
    map = load_map("generic_inverter")
    with Emulator("modbus+tcp://127.0.0.1:0/1", map, law_for(map, RATING)) as served:
        device = {
            "url": f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_inverter", "role": "power",
            "limits": {"p_set_kw": [0, 60000], "q_set_kvar": [-5000, 5000], "p_ramp_kw_per_s": 50000},
            "safe": {"p_set_kw": 10000}, "period_ms": 40, "deadline_ms": 40,
        }  # fmt: skip
        step = {"t_s": 1.2, "do": "set", "path": "units.inv3.p_set_kw", "value": 90000}
        result = run(following(2.2, device, step), folder=tmp_path / "run")
        assert served.written["P_set[MW]"] == pytest.approx(10)  # left in its safe state
    assert result.status == "done"
    t, p = result.series("inv3", "P_meas[MW]")
    assert p[np.abs(t - 1.1) < 1e-6] == pytest.approx(40, abs=0.2)
    assert p.max() == pytest.approx(60, abs=0.2)  # the limit, not the 90 MW that were wanted
    rows = [row for row in written(result, "P_set[MW]") if row["done"] == "1"]
    values = np.array([float(row["written"]) for row in rows])
    at_s = np.array([float(row["t_wall_s"]) for row in rows])
    is_ramp = np.array([row["changed_by"] == "ramp" for row in rows])
    for low_mw, high_mw in ((0, 40), (40, 60)):  # at the start from the device's own 0, and after the change
        on = (values > low_mw + 0.5) & (values < high_mw - 0.5) & is_ramp
        rate = (values[on][-1] - values[on][0]) / (at_s[on][-1] - at_s[on][0])
        assert 0 < rate < 50 * 1.25  # a busy machine takes longer, never less
    assert {"ramp", "limit"} <= {row["changed_by"] for row in rows}
    assert values.max() <= 60 + 1e-6
    assert result.metrics["device_writes_limited.inv3"].value > 10
    assert np.nanmax(np.abs(result.series("inv3", "residual_P[MW]")[1])) > 20  # the model went to 90 MW
    assert result.metrics["residual_max.inv3"].value > 20


def test_a_controller_over_tcp_is_as_its_model(tmp_path: Path) -> None:
    with emulator("modbus+tcp://127.0.0.1:0/1?map=generic_controller") as served:
        url = f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_controller"
        case = load("ieee9").with_overrides({
            "units.inv2.device": {"url": url} | PERIODS, "until_s": 1,
            "events": [{"t_s": 0.2, "do": "load_step", "bus": 5, "p_kw": 10000, "q_kvar": 0}],
        })  # fmt: skip
        result = run(case, folder=tmp_path / "run")
    model = run(case.with_overrides({"units.inv2.device": None}), folder=tmp_path / "model")
    assert result.status == "done" and result.series("inv2", "active[1]")[1].all()
    for attr, most in (("f[Hz]", 0.01), ("P_gen[MW]", 1.0)):
        (t, values), (_, others) = result.series("inv2", attr), model.series("inv2", attr)
        assert np.abs(values - others)[t > 0.9].max() < most
    assert result.metrics["residual_rms.inv2"].value < 1.0
    age = result.series("inv2", "age[ms]")[1]
    assert 0 < np.nanmean(age) < 100
    assert result.record["devices"]["inv2"]["critical_delay_ms"] == pytest.approx(105.5, abs=0.5)


@pytest.mark.study
@pytest.mark.parametrize(("late_ms", "grows"), [(20, False), (36, True)])
def test_a_slow_device_on_a_real_wire(late_ms: float, grows: bool, tmp_path: Path) -> None:
    """delay126 in real time: every answer of the droop unit, to a write and to a read, comes late."""
    gain_mw_per_hz, f_nom_hz = 0.010, 50.0

    def law(t_s: float, told: Any) -> dict[str, float]:
        f_hz = told.get("f[Hz]", 0.0) or f_nom_hz
        return {"P_gen[MW]": -gain_mw_per_hz * (f_hz - f_nom_hz), "Q_gen[MVar]": 0.0, "f[Hz]": f_hz, "quality[1]": 0.0}

    with Emulator("modbus+tcp://127.0.0.1:0/1", load_map("generic_inverter"), law) as served:
        served.fault("late", delay_s=late_ms * 1e-3)
        period_ms = max(20.0, 2.2 * late_ms)
        device = {
            "url": f"modbus+tcp://127.0.0.1:{served.url.port}/1?map=generic_inverter", "allow_writes": True,
            "period_ms": period_ms, "deadline_ms": period_ms, "max_age_ms": 1000,
        }  # fmt: skip
        case = load("delay126").with_overrides({
            "step_ms": 5, "units.droop1.device": device, "units.droop1.filter_ms": 5,
            "comms.signals.gen1->droop1.delay_ms": 0, "until_s": 5,
            "events.0.t_s": 0.3, "events.0.p_kw": 0.1,
        })  # fmt: skip
        result = run(case, folder=tmp_path / "run")
    t, f = result.series("gen1", "f[Hz]")
    age_ms = np.nanmean(result.series("droop1", "age[ms]")[1][t > 0.5])
    after = (t > 0.5) & (np.abs(f - 50) < 2)
    rate_per_s = growth(t[after], f[after], 0.5).rate_per_s
    if not (age_ms >= 135 if grows else age_ms <= 114):
        pytest.skip(f"this computer is too busy for the case: a mean age of {age_ms:.0f} ms")
    assert (rate_per_s > 0) == grows, f"mean age {age_ms:.0f} ms, growth {rate_per_s:.2f} 1/s"
    assert any(event.kind == "voltage_collapse" for event in result.events) <= grows
