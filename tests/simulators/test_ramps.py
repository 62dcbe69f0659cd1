"""Corrections that a controller gives as value and rate: the device wrapper makes ramps of them."""

from typing import Any

import numpy as np
import pytest

from gridloop.simulators.device import DeviceSimulator
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models import diesel, inverter
from gridloop.simulators.ports import Port
from gridloop.simulators.ramps import Ramps

STEP = 5000
EMF = np.array([1.0, 1.0 * np.exp(0.1j)])
S: Any = np.array([0.5 + 0.1j, 0.8 - 0.2j])
OMEGA, V = np.array([0.3, -0.2]), np.array([0.01, 0.02])
RATES = {"dOmega[rad_per_s2]": np.array([2.0, -4.0]), "dv[pu_per_s]": np.array([0.1, 0.0]), "t_tick[s]": 0.002}


def simulator(model: Any = inverter.MODEL) -> DeviceSimulator:
    device = DeviceSimulator(model)
    device.init("Units", 1e-6, step_ms=5, s_base_mva=10.0, changes=[(0.01, "b", "p_set_kw", 4e3)])
    device.create(
        1, model.name + "s", ids=["a", "b"], s_start_pu=S, emf_start_pu=EMF,
        params={"s_rated_kva": [10e3, 20e3], "p_set_kw": [5e3, 8e3]},
    )  # fmt: skip
    return device


def arrived(**more: Any) -> dict[str, Any]:
    shown = {"S[pu]": S, "events[1]": 0, "Omega[rad_per_s]": OMEGA, "v[pu]": V} | more
    return {attr: {"X.x": value} for attr, value in shown.items()}


def group_of(device: DeviceSimulator) -> Any:
    (group,) = device._groups.values()
    return group


def test_value_goes_on_at_its_rate_to_the_middle_of_the_interval_and_to_the_answer() -> None:
    # t_tick 2 ms: over 0 to 5 ms the middle is 0.5 ms later, the answer 3 ms
    device = simulator()
    device.step(0, {"Inverters": arrived()}, 0)
    group = group_of(device)
    p, before, u = group._params, group._state, group._inputs
    device.step(STEP, {"Inverters": arrived(**RATES)}, 0)
    middle, end = (
        u._replace(
            omega_rad_per_s=OMEGA + late_s * np.array([2.0, -4.0]),
            v_correction_pu=V + late_s * np.array([0.1, 0.0]),
        )
        for late_s in (0.5e-3, 3e-3)
    )  # fmt: skip
    state = inverter.advance(p, before, middle, inverter.Slopes(0 * S), 5e-3)
    assert group._state.delta_rad == pytest.approx(state.delta_rad, abs=1e-15)
    shown = inverter.respond(p, state, end)
    assert group.outputs.f_hz == pytest.approx(shown.f_hz, abs=1e-13)
    assert group.outputs.emf_pu == pytest.approx(shown.emf_pu, abs=1e-15)
    plain = inverter.respond(p, state, u)
    assert (shown.f_hz != plain.f_hz).all() and (np.abs(shown.emf_pu) - np.abs(plain.emf_pu))[0] == pytest.approx(3e-4)


def test_angle_follows_the_ramp_exactly_over_many_steps() -> None:
    # d(delta)/dt = Omega0 + rate t beside what the held value alone turns: rate t^2 / 2
    ramped, held = simulator(), simulator()
    rate = np.array([2.0, -4.0])
    for k in range(11):
        ramp = {"dOmega[rad_per_s2]": rate, "t_tick[s]": 0.0}
        ramped.step(k * STEP, {"Inverters": arrived(**ramp)}, 0)
        held.step(k * STEP, {"Inverters": arrived()}, 0)
    turned = group_of(ramped)._state.delta_rad - group_of(held)._state.delta_rad
    assert turned == pytest.approx(rate * 0.05**2 / 2, rel=1e-12)


def test_diesel_has_the_same_ramps() -> None:
    device = simulator(diesel.MODEL)
    device.step(0, {"Diesels": arrived()}, 0)
    group = group_of(device)
    p, before, u = group._params, group._state, group._inputs
    device.step(STEP, {"Diesels": arrived(**RATES)}, 0)
    middle = u._replace(
        omega_rad_per_s=OMEGA + 0.5e-3 * np.array([2.0, -4.0]), v_correction_pu=V + 0.5e-3 * np.array([0.1, 0])
    )
    still = diesel.Slopes(np.zeros(2, complex), np.zeros(2, complex))
    ramped, held = (diesel.advance(p, before, given, still, 5e-3).x for given in (middle, u))
    assert group._state.x == pytest.approx(ramped, abs=1e-15)
    assert not np.allclose(ramped, held, rtol=0, atol=1e-9)


def test_nothing_is_computed_while_all_rates_are_zero() -> None:
    device = simulator()
    still = {"dOmega[rad_per_s2]": np.zeros(2), "dv[pu_per_s]": np.zeros(2), "t_tick[s]": 0.0}
    for k in range(3):
        device.step(k * STEP, {"Inverters": arrived(**(still if k else RATES))}, 0)
    group = group_of(device)
    assert group._answered is group._inputs


def test_units_by_themselves_have_rates_of_their_own() -> None:
    device, together = simulator(), simulator()
    own = {"Omega[rad_per_s]": -0.2, "dOmega[rad_per_s2]": -4.0, "t_tick[s]": 0.002}
    zero = {"Omega[rad_per_s]": np.array([0, -0.2]), "v[pu]": np.zeros(2), "dOmega[rad_per_s2]": np.array([0, -4.0])}
    for k in range(2):
        plain = {"S[pu]": {"G.T": S}, "events[1]": {"G.T": 0}}
        device.step(k * STEP, {"Inverters": plain, "b": {attr: {"A.b": value} for attr, value in own.items()}}, 0)
        together.step(k * STEP, {"Inverters": arrived(**zero, **{"t_tick[s]": 0.002})}, 0)
    for one, other in zip(group_of(device).outputs, group_of(together).outputs, strict=True):
        assert np.array_equal(one, other)


def test_rate_without_its_time_is_refused() -> None:
    without = {"dOmega[rad_per_s2]": np.array([1.0, 0.0])}
    with pytest.raises(SimulatorFailure, match=r"dOmega\[rad_per_s2\] came without t_tick\[s\]: connect both"):
        simulator().step(0, {"Inverters": arrived(**without)}, 0)


def test_rates_of_powers_are_on_the_base_of_the_attribute() -> None:
    port = Port("P_set[MW]", "p_set_pu", "", base="s", rate="dP_set[MW_per_s]")
    inputs = inverter.held(inverter.Params(s_rated_kva=[1.0, 1.0]))
    for row, value in ((None, np.array([0.0, 5.0])), (1, 5.0)):
        ramps = Ramps([port], type(inputs)._fields, 2, s_base_mva=10.0)
        ramps.take("dP_set[MW_per_s]", value, row)
        ramps.take("t_tick[s]", 1.0, row)
        assert ramps.at(3.0, inputs).p_set_pu.tolist() == [0, 1.0]


# --- what arrives again is known again ---


def test_array_that_says_the_same_again_is_kept_so_that_models_know_it() -> None:
    device = simulator()
    device.step(0, {"Inverters": arrived()}, 0)
    first = group_of(device)._inputs
    device.step(STEP, {"Inverters": arrived(**{"Omega[rad_per_s]": OMEGA.copy()})}, 0)
    assert group_of(device)._inputs.omega_rad_per_s is first.omega_rad_per_s


def test_controller_may_go_on_writing_into_its_own_array() -> None:
    device, mine = simulator(), OMEGA.copy()
    device.step(0, {"Inverters": arrived(**{"Omega[rad_per_s]": mine})}, 0)
    mine[0] = 9.0
    assert group_of(device)._inputs.omega_rad_per_s[0] == OMEGA[0]
    device.step(STEP, {"Inverters": arrived(**{"Omega[rad_per_s]": mine})}, 0)
    assert group_of(device)._inputs.omega_rad_per_s[0] == 9.0


def test_controller_that_says_the_same_again_overrides_what_an_event_has_set() -> None:
    # the event sets b to 4 MW at 10 ms; the controller's 9 MW arrive again at 15 ms
    device, shown = simulator(), []
    for k in range(4):
        device.step(k * STEP, {"Inverters": arrived(**{"P_set[MW]": np.array([5.0, 9.0])})}, 0)
        shown.append(device.get_data({"b": ["P_set[MW]"]})["b"]["P_set[MW]"])
    assert shown == pytest.approx([9, 9, 4, 9])


def test_group_speaks_for_a_unit_again_after_the_unit_was_told_by_itself() -> None:
    device = simulator()
    both = np.array([5.0, 9.0])
    device.step(0, {"Inverters": arrived(**{"P_set[MW]": both})}, 0)
    device.step(STEP, {"Inverters": arrived(**{"P_set[MW]": both}), "b": {"P_set[MW]": {"A.b": 1.0}}}, 0)
    assert device.get_data({"Inverters": ["P_set[MW]"]})["Inverters"]["P_set[MW]"] == pytest.approx([5, 1])
    device.step(2 * STEP - 1, {"Inverters": arrived(**{"P_set[MW]": both})}, 0)
    assert device.get_data({"Inverters": ["P_set[MW]"]})["Inverters"]["P_set[MW]"] == pytest.approx([5, 9])


def test_source_that_the_grid_takes_nothing_from_needs_no_start() -> None:
    from gridloop.simulators.models import battery

    device = DeviceSimulator(battery.MODEL)
    device.init("Battery", 1e-6)
    device.create(1, "Batterys", ids=["a"], params={"e_rated_kwh": 100, "soc_init_percent": 50})
    assert device.get_data({"a": ["SoC[%]"]})["a"]["SoC[%]"] == 50
