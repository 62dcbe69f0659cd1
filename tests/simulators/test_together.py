"""Device simulators that mosaik sees as one: entities, inputs and outputs reach the part that they are of."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridloop.simulators.device import DeviceSimulator
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models import following, inverter
from gridloop.simulators.ports import Model
from gridloop.simulators.together import Together

STEP = 5000
EMF = np.array([1.0, np.exp(0.1j)])
S: Any = np.array([0.5 + 0.1j, 0.8 - 0.2j])
V = np.array([0.98 + 0.05j])
INIT: dict[str, Any] = {"step_ms": 5, "s_base_mva": 10.0, "extra_ticks_s": [0.0123]}
CHANGES = [(0.005, "pv", "p_set_kw", 50.0)]
INITS = {"Inverter": INIT, "Following": {**INIT, "changes": CHANGES}}
GROUPS: dict[str, dict[str, Any]] = {
    "Inverters": {
        "ids": ["a", "b"], "s_start_pu": S, "emf_start_pu": EMF,
        "params": {"s_rated_kva": [10e3, 20e3], "p_set_kw": [5e3, 8e3], "s_base_mva": 10.0, "f_nom_hz": 60.0},
    },
    "Followings": {
        "ids": ["pv"], "s_start_pu": S[:1], "emf_start_pu": V,
        "params": {"s_rated_kva": [300.0], "p_set_kw": [120.0], "s_base_mva": 10.0, "f_nom_hz": 60.0},
    },
}  # fmt: skip


def parts(inverters: Model = inverter.MODEL, **more: Any) -> dict[str, DeviceSimulator]:
    return {"Inverter": DeviceSimulator(inverters, **more), "Following": DeviceSimulator(following.MODEL, **more)}


def together(**more: Any) -> Together:
    simulator = Together(parts(**more))
    simulator.init("Inverter+Following", 1e-6, **INITS)
    for model, params in GROUPS.items():
        simulator.create(1, model, **params)
    return simulator


def alone(**more: Any) -> dict[str, DeviceSimulator]:
    found = parts(**more)
    for (name, simulator), (model, params) in zip(found.items(), GROUPS.items(), strict=True):
        simulator.init(name, 1e-6, **INITS[name])
        simulator.create(1, model, **params)
    return found


def inputs_at(step: int) -> dict[str, Any]:
    """What the grid answers, to groups and, at every second step, to one unit by itself."""
    answers: dict[str, Any] = {
        "Inverters": {"S[pu]": {"Grid.T": S + 0.01 * step}, "events[1]": {"Grid.T": 0}},
        "Followings": {"V[pu]": {"Grid.U": V + 0.002 * step}, "events[1]": {"Grid.U": step // 3}},
    }
    return answers | ({"b": {"Omega[rad_per_s]": {"Agent.b": 0.02 * step}}} if step % 2 else {})


OUTPUTS = {
    "Inverters": ["EMF[pu]", "f[Hz]"], "Followings": ["P_gen[pu]", "Q_gen[pu]"], "a": ["f[Hz]"], "pv": ["P_set[MW]"],
}  # fmt: skip


def test_meta_holds_the_models_of_all_parts() -> None:
    simulator = together()
    apart: dict[str, Any] = {}
    for part in parts().values():
        apart |= part.meta["models"]
    assert simulator.meta["models"] == apart
    assert simulator.meta["type"] == "time-based"


def test_entities_have_the_names_that_they_have_in_a_simulator_of_their_own() -> None:
    simulator, single = together(), alone()["Following"]
    more = GROUPS["Followings"] | {"ids": ["pv2"]}
    assert simulator.create(1, "Followings", **more) == single.create(1, "Followings", **more)


def test_every_step_is_that_of_the_simulators_by_themselves() -> None:
    rows: list[Any] = []
    log: list[Any] = []
    simulator, single = together(log=lambda *entry: log.append(entry)), alone(sink=lambda *row: rows.append(row))
    time = 0
    for step in range(8):
        given = inputs_at(step)
        following_tick = simulator.step(time, given, 0)
        own = {"Inverter": ("Inverters", "a", "b"), "Following": ("Followings", "pv")}
        for name, part in single.items():
            mine = {eid: told for eid, told in given.items() if eid in own[name]}
            assert part.step(time, mine, 0) == following_tick
            wanted = {eid: attrs for eid, attrs in OUTPUTS.items() if eid in own[name]}
            found, expected = simulator.get_data(OUTPUTS), part.get_data(wanted)
            assert set(found) == set(OUTPUTS)
            for eid, shown in expected.items():
                assert all(np.array_equal(found[eid][attr], value) for attr, value in shown.items())
        time = following_tick
    assert time == 7 * STEP  # with the extra tick after 12.3 ms
    assert log == [(0.005, "set", "pv.p_set_kw", "now 50")]  # told once, by the part that has the unit
    assert len(rows) == 16


def test_a_failure_is_that_of_the_part() -> None:
    def breaks(*given: Any) -> Any:
        raise ZeroDivisionError("capacitor missing")

    simulator = together(inverters=replace(inverter.MODEL, advance=breaks))
    simulator.step(0, inputs_at(0), 0)
    with pytest.raises(SimulatorFailure, match=r"^Inverter\.Inverters \(a, b\) at t = 0\.005 s: capacitor"):
        simulator.step(STEP, inputs_at(1), 0)


def test_one_name_is_of_one_model_and_of_one_entity() -> None:
    twice = parts() | {"Other": DeviceSimulator(following.MODEL)}
    with pytest.raises(ValueError, match="Following and Other both have a model Followings"):
        Together(twice)
    with pytest.raises(ValueError, match="'a': an entity's name has no dot and is used once"):
        together().create(1, "Followings", **GROUPS["Followings"] | {"ids": ["a"]})
