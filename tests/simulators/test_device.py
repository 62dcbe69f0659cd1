"""The wrapper of device models: META from ports, time, slopes, scalars."""

import json
from typing import Any

import numpy as np
import pytest

from gridloop.simulators.device import DeviceSimulator, meta
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models import following, inverter
from gridloop.simulators.wire import to_array, to_lists

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
    ports |= {"dOmega[rad_per_s2]", "dv[pu_per_s]", "t_tick[s]"}  # of the ramps
    assert set(models["Inverters"]["attrs"]) == ports | {"events[1]", "E_used[pu]", "record[1]"}
    halves = {"P_gen[MW]", "Q_gen[MVar]", "events[1]", "E_used[pu]", "Va_used[deg]"}
    assert set(models["Inverter"]["attrs"]) == ports - {"S[pu]", "EMF[pu]"} | halves
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


def test_one_number_holds_for_all_units_of_a_group() -> None:
    device = simulator()
    device.step(0, answer() | {"Inverters": answer()["Inverters"] | {"P_set[MW]": {"Agent.x": 7.0}}}, 0)
    assert device.get_data({"Inverters": ["P_set[MW]"]})["Inverters"]["P_set[MW]"].tolist() == [7.0, 7.0]


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
        ({"Inverters": {"P_set[MW]": {"A.x": np.ones(3)}}}, r"P_set\[MW\] has 3 values for 2 units"),
        ({"Inverters": {"S[pu]": {"Grid.T": S[:1]}}}, r"S\[pu\] has 1 values for 2 units"),
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


def as_scalars(s: Any, events: int = 0) -> Any:
    """What the terminals of units a and b show of a group's power on 10 MVA."""
    return {
        unit: {"P_gen[MW]": {f"Grid.{unit}": 10 * one.real}, "Q_gen[MVar]": {f"Grid.{unit}": 10 * one.imag},
               "events[1]": {f"Grid.{unit}": events}}
        for unit, one in zip("ab", s, strict=True)
    }  # fmt: skip


@pytest.mark.parametrize("events", [(0, 0, 0), (0, 0, 1), (0, 1, 1)])
def test_units_connected_one_by_one_move_as_in_a_group(events: tuple[int, ...]) -> None:
    powers = (S, S + 0.05, S + np.array([0.1 - 0.02j, 0.3]))
    together = reach(simulator(), *map(answer, powers, events))
    apart = reach(simulator(), *map(as_scalars, powers, events))
    for one, other in zip(together, apart, strict=True):
        assert one == pytest.approx(other, abs=1e-15)


def test_an_event_at_one_units_terminal_drops_the_trend() -> None:
    trend = reach(simulator(), *map(as_scalars, (S, S, S + 0.1)))
    last = as_scalars(S + 0.1)
    last["b"]["events[1]"] = {"Grid.b": 1}
    assert not np.allclose(
        reach(simulator(), as_scalars(S), as_scalars(S), last).delta_rad, trend.delta_rad, atol=1e-9, rtol=0
    )


def test_a_unit_connected_by_itself_follows_what_the_grid_applied_to_it() -> None:
    device = simulator()
    device.step(0, as_scalars(S), 0)
    wanted = {"a": ["E[pu]", "Va_emf[deg]"], "b": ["E[pu]", "Va_emf[deg]"]}
    before = device.get_data(wanted)
    one = as_scalars(S)["b"] | {"E_used[pu]": {"Grid.b": 0.97}, "Va_used[deg]": {"Grid.b": 7.0}}
    device.step(0, {"b": one}, 0)
    emf = device.get_data(wanted)
    assert emf["b"] == {"E[pu]": pytest.approx(0.97), "Va_emf[deg]": pytest.approx(7.0)}
    assert emf["a"] == before["a"]


def test_an_emf_that_lost_its_last_digits_on_the_way_is_still_the_units_own() -> None:
    device = simulator()
    device.step(0, as_scalars(S), 0)
    shown = device.get_data({"b": ["E[pu]", "Va_emf[deg]"]})["b"]
    used = {"E_used[pu]": shown["E[pu]"] + 1e-14, "Va_used[deg]": shown["Va_emf[deg]"] + 1e-12}
    one = as_scalars(S)["b"] | {attr: {"Grid.b": value} for attr, value in used.items()}
    device.step(0, {"b": one}, 0)
    assert not state(device).aligned


def test_group_in_another_process_exchanges_lists_and_moves_the_same_to_the_bit() -> None:
    powers = (S, S + 0.05, S + np.array([0.1 - 0.02j, 0.3]))
    remote = simulator(json=True)
    expected = reach(simulator(), *map(answer, powers))
    found = reach(remote, *(json.loads(json.dumps(answer(to_lists(s)))) for s in powers))
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other)
    shown = json.loads(json.dumps(remote.get_data({"Inverters": ["EMF[pu]", "f[Hz]", "record[1]"]})))["Inverters"]
    outputs = remote._groups["Inverters"].outputs
    assert np.array_equal(to_array(shown["EMF[pu]"]), outputs.emf_pu)
    for field, recorded in zip(outputs, shown["record[1]"]["outputs"], strict=True):
        assert np.array_equal(to_array(recorded), field)


def test_start_may_be_what_the_terminals_show() -> None:
    shown = [
        {"P_gen[MW]": 10 * s.real, "Q_gen[MVar]": 10 * s.imag, "E_used[pu]": abs(e),
         "Va_used[deg]": float(np.degrees(np.angle(e)))}
        for s, e in zip(S, EMF, strict=True)
    ]  # fmt: skip
    device = DeviceSimulator(inverter.MODEL)
    device.init("Inverter", 1e-6, s_base_mva=10.0)
    device.create(1, "Inverters", ids=["a", "b"], start=shown, params={"s_rated_kva": 10e3, "f_nom_hz": 60})
    assert state(device).s_filtered_pu == pytest.approx(S) and state(device).delta_rad == pytest.approx([0, 0.1])
    params = device._groups["Inverters"]._params
    assert params.s_base_mva == 10.0 and params.s_rated_kva.tolist() == [10e3, 10e3]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"params": {"s_rated": 1}, "start": []}, "unknown parameter s_rated; known: s_rated_kva"),
        ({"params": {"s_rated_kva": 1}, "s_start_pu": S}, "give either start, or s_start_pu and emf_start_pu"),
    ],
)
def test_wrong_groups_are_refused(given: Any, words: str) -> None:
    device = DeviceSimulator(inverter.MODEL)
    device.init("Inverter", 1e-6)
    with pytest.raises(ValueError, match=words):
        device.create(1, "Inverters", ids=["a", "b"], **given)


def followed(*inputs: Any) -> Any:
    """Frequency that a grid-following unit measures after these inputs, one a step."""
    device = DeviceSimulator(following.MODEL)
    device.init("Following", 1e-6, step_ms=5)
    start = {"P_gen[MW]": 0.0, "Q_gen[MVar]": 0.0, "Vm[pu]": 1.02, "Va[deg]": 30.0}
    device.create(1, "Followings", ids=["a"], start=[start], params={"s_rated_kva": 60})
    for place, given in enumerate(inputs):
        device.step(place * STEP, given, 0)
    return device.get_data({"a": ["f[Hz]"]})["a"]["f[Hz]"]


def test_bus_voltage_may_come_as_magnitude_and_angle() -> None:
    # half a degree every 5 ms are 0.2778 Hz; the filter of 50 ms shows a part of it
    angles = [30.0, 30.5, 31.0, 31.5]
    volts = [1.02 * np.exp(1j * np.radians([angle])) for angle in angles]
    together = followed(*({"Followings": {"V[pu]": {"G.T": v}, "events[1]": {"G.T": 0}}} for v in volts))
    apart = [{"a": {"Vm[pu]": {"G.t": 1.02}, "Va[deg]": {"G.t": angle}, "events[1]": {"G.t": 0}}} for angle in angles]
    assert followed(*apart) == pytest.approx(together, abs=1e-9)
    assert 50.02 < together < 50.28
