"""The wrapper of device models: META from ports, time, slopes, scalars."""

from typing import Any

import numpy as np
import pytest

from gridloop.simulators.device import DeviceSimulator, meta
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models import inverter

STEP = 5000
EMF = np.array([1.0, 1.0 * np.exp(0.1j)])
S: Any = np.array([0.5 + 0.1j, 0.8 - 0.2j])


def simulator(**more: Any) -> DeviceSimulator:
    device = DeviceSimulator(inverter.MODEL, **more)
    device.init("Inverter", 1e-6, step_ms=5, s_base_mva=10.0, extra_ticks_s=[0.0123])
    device.create(
        1, "Inverters", ids=["a", "b"], s_start_pu=S, emf_start_pu=EMF,
        params={"s_rated_kva": [10e3, 20e3], "p_set_kw": [5e3, 8e3], "s_base_mva": 10.0, "f_nom_hz": 60.0},
    )  # fmt: skip
    return device


def answer(s: Any = S, events: int = 0, used: Any = None) -> Any:
    shown = {"S[pu]": s, "events[1]": events} | ({} if used is None else {"E_used[pu]": used})
    return {"Inverters": {attr: {"Grid.T": value} for attr, value in shown.items()}}


def state(device: DeviceSimulator) -> Any:
    return device._groups["Inverters"]._state


def test_meta_shows_every_port_and_scalars_only_where_json_can_carry_them() -> None:
    models = meta(inverter.MODEL)["models"]
    ports = {port.attr for port in (*inverter.MODEL.inputs, *inverter.MODEL.outputs)}
    assert set(models["Inverters"]["attrs"]) == ports | {"events[1]", "E_used[pu]"}
    assert set(models["Inverter"]["attrs"]) == ports - {"S[pu]", "EMF[pu]"}
    assert models["Inverters"]["public"] and not models["Inverter"]["public"]
    for model in models.values():
        assert all("/" not in attr and attr.endswith("]") for attr in model["attrs"])


def test_step_returns_the_macro_grid_and_the_extra_tick_between() -> None:
    device = simulator()
    ticks = [0]
    while ticks[-1] < 3 * STEP:
        ticks.append(device.step(ticks[-1], answer(), 0))
    assert ticks == [0, 5000, 10_000, 12_300, 15_000]


def test_stepping_again_at_the_same_time_changes_no_state() -> None:
    device = simulator()
    device.step(0, answer(), 0)
    device.step(STEP, answer(S + 0.1), 0)
    before = state(device)
    device.step(STEP, answer(S + 0.1), 0)
    assert all(np.array_equal(one, other) for one, other in zip(before, state(device), strict=True))


def reach(device: DeviceSimulator, *answers: Any) -> Any:
    for place, given in enumerate(answers):
        device.step(place * STEP, given, 0)
    return state(device)


def test_power_is_extrapolated_with_its_slope_over_the_previous_interval() -> None:
    # answers of 0, 0, 5 ms reach the device at 0, 5, 10 ms; the last two span one step
    found = reach(simulator(), answer(S), answer(S), answer(S + 0.1))
    params = simulator()._groups["Inverters"]._params
    held = inverter.held(params)
    start = inverter.initial(params, S, EMF)
    first = inverter.advance(params, start, held._replace(s_pu=S), inverter.Slopes(0 * S), 0.005)
    slope = inverter.Slopes((S + 0.1 - S) / 0.005)
    expected = inverter.advance(params, first, held._replace(s_pu=S + 0.1), slope, 0.005)
    assert np.array_equal(found.s_filtered_pu, expected.s_filtered_pu)
    assert np.array_equal(found.delta_rad, expected.delta_rad)


def test_slope_is_zero_after_an_event() -> None:
    trend = reach(simulator(), answer(S), answer(S), answer(S + 0.1))
    jump = reach(simulator(), answer(S), answer(S), answer(S + 0.1, events=1))
    flat = inverter.advance(
        (params := simulator()._groups["Inverters"]._params),
        reach(simulator(), answer(S), answer(S)),
        inverter.held(params)._replace(s_pu=S + 0.1), inverter.Slopes(0 * S), 0.005,
    )  # fmt: skip
    assert np.array_equal(jump.s_filtered_pu, flat.s_filtered_pu)
    assert not np.array_equal(jump.s_filtered_pu, trend.s_filtered_pu)


def test_scalar_set_point_reaches_its_own_row_in_mw() -> None:
    device = simulator()
    device.step(0, answer() | {"b": {"P_set[MW]": {"Agent.x": 9.0}}}, 0)
    shown = device.get_data({"a": ["P_set[MW]"], "b": ["P_set[MW]", "f[Hz]"], "Inverters": ["P_set[MW]"]})
    assert shown["a"]["P_set[MW]"] == pytest.approx(5.0) and shown["b"]["P_set[MW]"] == pytest.approx(9.0)
    assert isinstance(shown["b"]["f[Hz]"], float)
    # unit b delivers 8 MW with a set-point of 9: 2 % of 60 Hz on 20 MVA are 0.06 Hz per MW
    assert shown["b"]["f[Hz]"] == pytest.approx(60 + 0.06 * 1.0)


def test_outputs_are_fresh_in_every_step() -> None:
    device = simulator()
    device.step(0, answer(), 0)
    first = device.get_data({"Inverters": ["EMF[pu]"]})["Inverters"]["EMF[pu]"]
    kept = first.copy()
    device.step(STEP, answer(S + 0.1), 0)
    assert np.array_equal(first, kept)


def test_units_that_are_not_in_charge_follow_what_the_grid_applied() -> None:
    device = simulator()
    device.step(0, answer(), 0)
    own = device.get_data({"Inverters": ["EMF[pu]"]})["Inverters"]["EMF[pu]"]
    applied = own * np.array([1.0, 1.01 * np.exp(0.02j)])
    device.step(0, answer(used=applied), 0)
    assert device.get_data({"Inverters": ["EMF[pu]"]})["Inverters"]["EMF[pu]"] == pytest.approx(applied, abs=1e-14)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Inverters": {"S[pu]": {"Grid.T": S, "Grid.U": S}}}, r"S\[pu\] has 2 sources \(Grid\.T, Grid\.U\)"),
        ({"a": {"P_set[MW]": {"A.x": 1.0, "A.y": 2.0}}}, r"a\.P_set\[MW\] has 2 sources"),
    ],
)
def test_two_sources_of_one_input_are_refused_by_name(given: Any, words: str) -> None:
    with pytest.raises(SimulatorFailure, match=r"Inverter\.Inverters \(a, b\) at t = 0 s: " + words):
        simulator().step(0, given, 0)


@pytest.mark.parametrize(("ids", "words"), [(["a.b"], "has no dot"), (["c", "c"], "used once"), (["a"], "used once")])
def test_names_of_units_are_checked(ids: list[str], words: str) -> None:
    device = simulator()
    with pytest.raises(ValueError, match=words):
        device.create(
            1, "Inverters", ids=ids, params={"s_rated_kva": [1.0] * len(ids)},
            s_start_pu=[[0, 0]] * len(ids), emf_start_pu=[[1, 0]] * len(ids),
        )  # fmt: skip


def test_every_step_is_recorded() -> None:
    rows: list[Any] = []
    device = simulator(sink=lambda time, outputs: rows.append((time, outputs.f_hz.copy())))
    device.step(0, answer(), 0)
    device.step(STEP, answer(), 0)
    assert [time for time, _ in rows] == [0, STEP]
