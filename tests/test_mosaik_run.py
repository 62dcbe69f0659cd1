"""The same coupling on mosaik: equal to the plain loop to the bit, the same twice, and exact where it is compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import case_a
import plain_loop
from gridloop.scenarios import Result, load, run
from gridloop.scenarios.start import plan
from gridloop.simulators.models.nodal import Sources
from test_coupling import A0_TABLE

WITHOUT_WALL = ("wall_",)


def plant_of(scenario: Any) -> tuple[plain_loop.Plant, plain_loop.Start]:
    """The plan's own arrays for the plain loop."""
    planned = plan(scenario)
    (group,), case = planned.groups, planned.case
    rows = np.array([case.network.row_of_bus(bus) for bus in group.bus])
    sources = Sources(rows, group.z_pu, np.ones(len(rows), bool))
    plant = plain_loop.Plant(case.network, case.network.closed, sources, case.loads, group.params)
    return plant, plain_loop.Start(group.s_start_pu, group.emf_start_pu)


def columns(result: Result, attribute: str) -> Any:
    return np.stack([result.series(unit, attribute)[1] for unit in ("inv1", "inv2", "inv3")], axis=1)


@pytest.fixture(scope="module")
def ieee9(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(load("ieee9"), folder=tmp_path_factory.mktemp("ieee9"))


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, id="ieee9"),
        pytest.param({"events.0.t_s": 1.0023}, id="event off the macro grid"),
        pytest.param({"units.*.z_pu": [0.01, 0.1], "step_ms": 2.5}, id="sources behind impedances"),
        pytest.param(
            {"grid.loads.zip_p": [0.2, 0.3, 0.5], "grid.loads.k_pf": 1.5, "grid.loads.k_qf": -1.0},
            id="loads of voltage and frequency",
        ),
        pytest.param({"units.inv3.p_max_kw": 90000}, id="power limit"),
    ],
)
def test_mosaik_run_equals_the_plain_loop_to_the_bit(overrides: dict[str, Any], tmp_path: Path) -> None:
    scenario = load("ieee9").with_overrides(overrides | {"until_s": 2.5})
    plant, start = plant_of(scenario)
    t_us = round(scenario.events[0].t_s * 1e6)
    events = [(t_us, case_a.LOAD_STEP[1]), case_a.LINE_TRIP]
    expected = plain_loop.run(plant, start, round(scenario.step_ms * 1000), 2_500_000, events)
    result = run(scenario, folder=tmp_path)
    t, _ = result.series("inv1", "f[Hz]")
    assert np.array_equal(np.round(t * 1e6).astype(int), expected.t_us)
    assert np.array_equal(columns(result, "f[Hz]"), expected.f_hz)
    assert np.array_equal(columns(result, "P_gen[MW]"), (expected.s_pu * 100.0).real)
    assert np.array_equal(columns(result, "Q_gen[MVar]"), (expected.s_pu * 100.0).imag)


def test_every_cell_of_case_a0(ieee9: Result) -> None:
    # transients: 1e-3 Hz and 1e-3 pu at 5 ms; the rows just after the events and at rest: their printed digits
    t, _ = ieee9.series("inv1", "f[Hz]")
    s = np.concatenate((columns(ieee9, "P_gen[MW]"), columns(ieee9, "Q_gen[MVar]")), axis=1) / 100
    found = np.concatenate((columns(ieee9, "f[Hz]"), s), axis=1)
    at_rest = {1_000_000, 1_980_000, 2_000_000, 4_000_000}
    for line in A0_TABLE.strip().splitlines()[1:]:
        t_us, *expected = (float(word) for word in line.split())
        (row,) = np.flatnonzero(np.round(t * 1e6) == t_us)
        assert found[row] == pytest.approx(expected, abs=1.5e-6 if t_us in at_rest else 1e-3), t_us


def test_nothing_moves_before_the_first_event(ieee9: Result) -> None:
    t, _ = ieee9.series("inv1", "f[Hz]")
    assert np.abs(columns(ieee9, "f[Hz]")[t < 1] - 60).max() < 1e-9
    assert np.ptp(columns(ieee9, "P_gen[MW]")[t < 1], axis=0).max() < 1e-7


def test_the_same_scenario_twice_gives_the_same_series_and_metrics(ieee9: Result, tmp_path: Path) -> None:
    again = run(load("ieee9"), folder=tmp_path)
    for entity, what in ieee9.entities.items():
        for attribute in what.attributes:
            for one, other in zip(ieee9.series(entity, attribute), again.series(entity, attribute), strict=True):
                assert np.array_equal(one, other), (entity, attribute)
    for file in (ieee9.path / "series").iterdir():
        assert file.read_bytes() == (again.path / "series" / file.name).read_bytes()
    kept = {key: metric for key, metric in ieee9.metrics.items() if not key.startswith(WITHOUT_WALL)}
    assert kept == {key: metric for key, metric in again.metrics.items() if not key.startswith(WITHOUT_WALL)}
    assert len(kept) > 25


def test_energy_closes(ieee9: Result) -> None:
    assert ieee9.metrics["energy_residual"].value < 1e-9
    assert ieee9.metrics["network_residual"].value < 1e-9
    assert ieee9.metrics["newton_iterations_max"].value <= 6


def test_metrics_of_the_windows_are_those_of_the_droop_law(ieee9: Result) -> None:
    # df = -sum(dP) / (2 pi sum(1/m)), sum(1/m) = 0.563676 s: 0.317480 pu settle at -0.0896415 Hz before 2 s
    assert ieee9.windows[1].metrics["f_end"].value == pytest.approx(60 - 0.0896415, abs=5e-7)
    assert ieee9.windows[2].metrics["f_end"].value == pytest.approx(60 - 0.0913534, abs=5e-7)
    assert ieee9.windows[0].metrics["f_nadir"].value == pytest.approx(60, abs=1e-9)


def test_base_makes_a_microgrid_of_the_same_per_unit_network(ieee9: Result, tmp_path: Path) -> None:
    # 1 MVA instead of 100: everything in kW is a hundredth, every per-unit figure and frequency the same
    small = {f"units.{unit}.s_rated_kva": rating for unit, rating in (("inv1", 1000), ("inv2", 2000), ("inv3", 1250))}
    result = run(
        load("ieee9"), folder=tmp_path, until_s=1.5,
        overrides=small | {"grid.base.s_mva": 1, "events.0.p_kw": 300, "events.0.q_kvar": 100},
    )  # fmt: skip
    rows = len(result.series("inv1", "f[Hz]")[0])
    assert columns(result, "f[Hz]") == pytest.approx(columns(ieee9, "f[Hz]")[:rows], abs=1e-9)
    assert columns(result, "P_gen[MW]") == pytest.approx(columns(ieee9, "P_gen[MW]")[:rows] / 100, abs=1e-9)


def test_order_check_reports_what_half_the_step_changes(tmp_path: Path) -> None:
    # case A0 at 5 ms is 2.8e-3 rad/s off at most; half the step takes three quarters of the error away
    result = run(load("ieee9"), folder=tmp_path, until_s=2.0, check_order=True)
    assert 1e-4 < result.metrics["order_change_f"].value < 2.8e-3 / (2 * np.pi)
    assert 1e-5 < result.metrics["order_change_p"].value < 3.7e-4


def test_step_that_is_too_long_for_the_grid_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # lambda is 47.11 per second at this operating point: 20 ms make 0.94
    result = run(load("ieee9"), folder=tmp_path, until_s=0.1, overrides={"step_ms": 20})
    assert result.metrics["h_lambda"].value == pytest.approx(0.9422, abs=1e-3)
    assert "step_ms = 20 is too long" in caplog.text
