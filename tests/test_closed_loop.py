"""The loop that delay margins are computed from moves as the co-simulation does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios.margin_loop import loop_of
from gridloop.scenarios.reading import load
from gridloop.scenarios.runner import run
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import plan
from gridloop.simulators.models import flat_state
from margin_cases import CONSTANT_POWER, UNITS, case_a

PERIODS = 12


def moved(scenario: Scenario) -> Any:
    """Corrections (PERIODS, members, 2) at the end of each period of the plain loop, without delay."""
    loop = loop_of(plan(scenario))
    whole, found = loop.start(), []
    for _ in range(PERIODS):
        whole = loop.period(whole, loop.told(whole))
        found.append(whole.corrections)
    return np.array(found)


def simulated(scenario: Scenario, members: tuple[str, ...], folder: Path) -> Any:
    """The same of a run; corrections are recorded at the agents' ticks."""
    assert scenario.control is not None
    period_s = scenario.control.period_ms * 1e-3
    result = run(scenario, until_s=PERIODS * period_s, overrides={"events": []}, folder=folder / "run")
    columns = [[result.series(name, attr)[1][1:] for attr in ("Omega[Hz]", "v[pu]")] for name in members]
    return np.array(columns).transpose(2, 0, 1) * [2 * np.pi, 1]


def test_agents_of_case_a(tmp_path: Path) -> None:
    control = {"frequency": {"law": "F"}, "voltage": {"law": "V", "limit_pu": 1}}
    loads: dict[str, Any] = {"zip_p": CONSTANT_POWER, "zip_q": CONSTANT_POWER, "k_pf": 1.5}
    scenario = case_a(control, p_set_kw=(0, 0, 0), zip_p=CONSTANT_POWER).with_overrides({"grid.loads": loads})
    own = moved(scenario)
    assert np.abs(own[-1]).max() > 0.3  # they have something to do
    assert own == pytest.approx(simulated(scenario, UNITS, tmp_path), abs=1e-9)


def test_central_controller(tmp_path: Path) -> None:
    control = {"frequency": {"law": "C"}, "voltage": {"law": "C", "limit_pu": 1}, "pilot_bus": "9"}
    scenario = case_a(control, p_set_kw=(0, 0, 0))
    own = moved(scenario)
    assert np.abs(own[-1]).max() > 0.3
    assert own == pytest.approx(simulated(scenario, UNITS, tmp_path), abs=1e-9)


def test_diesel_pv_and_a_signal(tmp_path: Path) -> None:
    scenario = load("microgrid9").with_overrides({
        "comms": {"signals": {"batt1->pv1": {"attr": "f[Hz]", "to_attr": "f_meas[Hz]", "delay_ms": 5}}},
        "units.pv1.droop_kw_per_hz": 2000, "control.voltage.v_ref_pu": 1.03, "units.pv1.p_set_kw": 750,
        "control.pins": {"batt1": 1, "diesel1": 0.5}, "control.leader": None,
    })  # fmt: skip
    own = moved(scenario)
    assert np.abs(own[-1][:, 1]).max() > 0.01
    assert own == pytest.approx(simulated(scenario, ("batt1", "diesel1"), tmp_path), abs=1e-9)


def test_a_state_survives_its_way_through_a_vector() -> None:
    loop = loop_of(plan(load("microgrid9")))
    whole = loop.period(loop.start(), loop.told(loop.start()))
    z = flat_state.flat(whole)
    assert np.array_equal(flat_state.flat(flat_state.rebuilt(whole, z)), z)
    later, again = (flat_state.flat(loop.period(w, loop.told(w))) for w in (whole, flat_state.rebuilt(whole, z)))
    assert np.array_equal(later, again)


def test_a_turn_of_all_angles_changes_nothing() -> None:
    loop = loop_of(plan(load("microgrid9")))
    whole = loop.period(loop.start(), loop.told(loop.start()))
    past, plant = whole.past, loop.plant
    states = [
        flat_state.turned(state, which, np.full(len(units.ids), 0.7))
        for state, which, units in zip(past.states, plant._turning, plant.plant.units, strict=True)
    ]
    turned = whole._replace(
        past=past._replace(states=tuple(states), v_pu=tuple(v * np.exp(0.7j) for v in past.v_pu))
    )  # fmt: skip
    one, other = (flat_state.flat(loop.period(w, loop.told(w))) for w in (whole, turned))
    assert other == pytest.approx(one, abs=1e-9)
