"""Delay margins of whole scenarios: by eigenvalues of the linearised co-simulation and by its runs (physics.md 3.4).

The runs are case A with agents, kicked: an agent at rest shows no instability.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gridloop.scenarios.cli import app
from gridloop.scenarios.margin import DelayMargin, delay_margin
from gridloop.scenarios.margin_runs import growth_after_kick, measured_margin
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.reading import load
from gridloop.scenarios.runner import run
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.models.growth import growth
from margin_cases import CONSTANT_POWER, DDE_CONSTANT_POWER_S, DDE_MARGIN_S, LARGEST_TICKS, case_a

FINE_MS = 2  # of agents that are nearly continuous
COARSE_MS = 5


def agents(law: str, period_ms: float, **more: Any) -> dict[str, Any]:
    return {"frequency": {"law": law}, "period_ms": period_ms, **more}


def continuous_s(margin: DelayMargin) -> float:
    """The crossing for agents without a period: sampling and holding delay by half a period more."""
    return margin.linearised.crossing_s + margin.period_ms * 5e-4


def predicted(scenario: Scenario) -> DelayMargin:
    return delay_margin(scenario, 1.0)


@pytest.mark.parametrize(("law", "graph"), [("F", "line"), ("D", "ring")])
def test_eigenvalues_have_the_margin_of_the_differential_equation(law: str, graph: str) -> None:
    found = predicted(case_a(agents(law, FINE_MS), graph, step_ms=FINE_MS))
    assert continuous_s(found) == pytest.approx(DDE_MARGIN_S[law, graph], rel=2e-3)  # 1 % is asked for
    (formula,) = found.formulas
    assert formula.margin_s == pytest.approx(0.1309, abs=5e-5)
    assert found.delay_handling == "matched"


@pytest.mark.study
@pytest.mark.timeout(600)
@pytest.mark.parametrize("zip_p", [None, CONSTANT_POWER])
@pytest.mark.parametrize(("law", "graph"), DDE_MARGIN_S)
def test_eigenvalues_have_every_margin_of_the_differential_equation(law: str, graph: str, zip_p: Any) -> None:
    expected = (DDE_MARGIN_S if zip_p is None else DDE_CONSTANT_POWER_S)[law, graph]
    found = predicted(case_a(agents(law, FINE_MS), graph, zip_p=zip_p, step_ms=FINE_MS))
    assert continuous_s(found) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(("law", "period_s"), LARGEST_TICKS)
def test_sampled_agents_stand_the_ticks_of_the_table(law: str, period_s: float) -> None:
    found = predicted(case_a(agents(law, 1e3 * period_s), step_ms=10))
    assert found.linearised.ticks == LARGEST_TICKS[law, period_s]
    if law == "F":  # the pin adds nothing that would change a whole tick
        assert found.formulas[0].ticks == LARGEST_TICKS[law, period_s]


def test_gains_near_the_droops_bandwidth_and_the_ring_of_d() -> None:
    assert predicted(case_a(agents("D", 10), "ring", step_ms=10)).linearised.ticks == 13
    fast = {"frequency": {"law": "F", "c2_per_s": 20, "c0_per_s": 20}, "period_ms": 1}
    assert continuous_s(predicted(case_a(fast, step_ms=1))) == pytest.approx(0.0283, rel=0.01)


@pytest.mark.study
@pytest.mark.parametrize(("period_ms", "stable", "unstable"), [(20, 6, 7), (50, 2, 3), (100, 0, 1)])
def test_runs_change_between_the_ticks_of_the_table(period_ms: float, stable: int, unstable: int) -> None:
    scenario = case_a(agents("F", period_ms), step_ms=10)
    found = predicted(scenario)
    rates = [growth_after_kick(scenario, found, ticks * period_ms * 1e-3) for ticks in (stable, unstable)]
    assert rates[0] < 0 < rates[1]
    assert rates[1] > 0.5


def run_both_sides(law: str, graph: str, period_ms: float) -> list[float]:
    """Growth with delays that are, with half a period more, nearest to .95 and 1.05 of the margin."""
    scenario = case_a(agents(law, period_ms), graph, step_ms=period_ms)
    found, margin_s = predicted(scenario), DDE_MARGIN_S[law, graph]
    ticks = [share * margin_s * 1e3 / period_ms - 0.5 for share in (0.95, 1.05)]
    return [growth_after_kick(scenario, found, round(d) * period_ms * 1e-3) for d in ticks]


def test_runs_die_away_before_the_margin_and_grow_beyond() -> None:
    below, above = run_both_sides("F", "line", COARSE_MS)
    assert below < -0.05
    assert above > 0.05


@pytest.mark.study
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("law", "graph"), DDE_MARGIN_S)
def test_runs_die_away_at_95_percent_and_grow_at_105(law: str, graph: str) -> None:
    below, above = run_both_sides(law, graph, FINE_MS)
    assert below < -0.05
    assert above > 0.05


@pytest.mark.study
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("law", "graph"), DDE_MARGIN_S)
def test_bisection_over_runs_meets_the_eigenvalues(law: str, graph: str) -> None:
    scenario = case_a(agents(law, FINE_MS), graph, step_ms=FINE_MS)
    found = predicted(scenario)
    measured = measured_margin(scenario, found)
    assert measured.last_stable_s is not None
    assert measured.first_unstable_s is not None
    middle = (measured.last_stable_s + measured.first_unstable_s) / 2
    assert middle == pytest.approx(found.linearised.crossing_s, rel=0.02)
    assert middle + FINE_MS * 5e-4 == pytest.approx(DDE_MARGIN_S[law, graph], rel=0.02)


@pytest.mark.parametrize("k_i", [1.0, 2.0, 5.0])
def test_central_control_stands_a_quarter_turn_of_its_integrator(k_i: float) -> None:
    control = {"frequency": {"law": "C", "k_i_per_s": k_i}, "period_ms": 10}
    found = delay_margin(case_a(control, step_ms=10), 4.0)
    assert continuous_s(found) == pytest.approx(math.pi / (2 * k_i), rel=1e-3)
    assert found.formulas[0].margin_s == pytest.approx(math.pi / (2 * k_i), rel=1e-12)
    assert found.formulas[0].ticks == found.linearised.ticks


@pytest.mark.parametrize("k_i", [pytest.param(k, marks=[pytest.mark.study] if k < 5 else []) for k in (1.0, 2.0, 5.0)])
def test_runs_with_a_central_controller_change_within_three_percent(k_i: float) -> None:
    period_ms = 10.0
    scenario = case_a({"frequency": {"law": "C", "k_i_per_s": k_i}, "period_ms": period_ms}, step_ms=period_ms)
    found, margin_s = delay_margin(scenario, 4.0), math.pi / (2 * k_i)
    ticks = [share * margin_s * 1e3 / period_ms - 0.5 for share in (0.97, 1.03)]
    below, above = (growth_after_kick(scenario, found, round(d) * period_ms * 1e-3) for d in ticks)
    assert below < 0 < above


def neighbour_only(voltage: str, **more: Any) -> Scenario:
    control = agents("F", 50, delay_handling="neighbour_only", voltage={"law": voltage, **more})
    return case_a(control, step_ms=10)


def test_neighbour_only_frequency_alone_stands_every_delay() -> None:
    found = delay_margin(neighbour_only("none"), 3.0)
    assert found.delay_handling == "neighbour_only"
    assert (found.linearised.ticks, found.linearised.margin_s) == (None, math.inf)
    assert found.linearised.tried_s == 3.0
    assert (found.formulas[0].margin_s, found.formulas[0].ticks) == (math.inf, None)


def test_neighbour_only_with_the_voltage_loop_has_a_margin() -> None:
    # 4.1 s without a period; at 2 s it decays, at 6 s it grows at .0052 to .0058 1/s
    scenario = neighbour_only("V", limit_pu=1)
    rates = [
        delay_margin(scenario.with_overrides({"comms.delay_ms": 1e3 * delay_s}), 0.1).linearised.growth_per_s
        for delay_s in (2.0, 6.0)
    ]
    assert rates[0] < -0.005
    assert rates[1] == pytest.approx(0.0055, abs=4e-4)


@pytest.mark.study
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("delay_s", "sign"), [(2.0, -1), (6.0, 1)])
def test_runs_of_neighbour_only_with_the_voltage_loop(delay_s: float, sign: int) -> None:
    scenario = neighbour_only("V", limit_pu=1)
    found = delay_margin(scenario, 8.0)
    rate = growth_after_kick(scenario, found, delay_s)
    assert rate * sign > 0
    assert abs(rate) < 0.05  # both are slow


def test_delay126_says_126_ms() -> None:
    found = delay_margin(load("delay126"))
    assert found.formulas[0].margin_s == pytest.approx(0.12566, abs=1e-5)
    assert found.linearised.margin_s == pytest.approx(0.125, abs=1e-9)
    # half a step and the inverter's time constant count too; losses make the droop 1 % weaker
    assert found.linearised.crossing_s + 0.001 == pytest.approx(0.12566 * 1.01, rel=2e-3)
    assert found.linearised.growth_per_s < 0  # with its 120 ms


def test_delay126_decays_at_120_and_grows_at_130_ms(tmp_path: Path) -> None:
    rates = []
    for delay_ms in (120, 130):
        overrides: dict[str, Any] = {
            "comms.signals.gen1->droop1.delay_ms": delay_ms,
            "record": {"signals": []},
            "step_ms": 2,
        }
        result = run(load("delay126"), until_s=4.5, overrides=overrides, folder=tmp_path / str(delay_ms))
        t, f_hz = result.series("gen1", "f[Hz]")
        rates.append(growth(t[t > 1.5], f_hz[t > 1.5]).rate_per_s)
    # growth of s = -a e^(-s tau) near tau = pi / (2 a): a^2 / (1 + pi^2/4) = 45 1/s for each s, from 125.5 ms
    assert rates == pytest.approx([45 * (0.120 - 0.1255), 45 * (0.130 - 0.1255)], abs=0.08)


def test_diesel_pv_and_battery_have_a_margin() -> None:
    found = delay_margin(load("microgrid9"), 2.0)
    assert found.ticks == 2  # 80 ms, its longest link
    assert found.linearised.growth_per_s < -0.3
    assert found.linearised.ticks is not None
    # the regulator's lag and the voltage loop take a third of the consensus' margin
    assert found.formulas[0].ticks == 15
    assert 8 <= found.linearised.ticks < 15


def test_a_public_grid_is_followed_and_nothing_is_no_delay() -> None:
    control = agents("F", 50)
    tied = predicted(case_a(control, step_ms=10, pcc={"bus": "5", "r_pu": 0.01, "x_pu": 0.1}))
    # the grid holds the frequency: the pin has nothing to do, the consensus is as it was
    assert tied.linearised.ticks == LARGEST_TICKS["F", 0.05]
    with pytest.raises(ScenarioError, match="nobody exchanges anything"):
        delay_margin(load("ieee9"))


def told(*words: str) -> Any:
    return CliRunner().invoke(app, ["margin", *words])


def test_the_command_names_handling_and_margins() -> None:
    shown = told("delay126", "--longest", "0.2")
    assert shown.exit_code == 0
    assert "125.7 ms" in shown.output
    assert "stable up to 125 ticks = 125 ms" in shown.output
    other = told("microgrid9", "--json", "--longest", "0.2", "--set", "control.delay_handling=neighbour_only")
    found = json.loads(other.output)
    assert (found["of"], found["delay_handling"]) == ("links", "neighbour_only")
    assert found["linearised"]["ticks"] is None
    assert found["linearised"]["margin_s"] == "inf"
    refused = told("ieee9")
    assert refused.exit_code == 2
    assert "nobody exchanges anything" in refused.output


def test_measured_margin_brackets_the_eigenvalues() -> None:
    scenario = case_a(agents("F", 50), step_ms=10)
    found = predicted(scenario)
    seen: list[Any] = []
    measured = measured_margin(scenario, found, seen.append)
    assert measured.last_stable_s == pytest.approx(0.1)
    assert measured.first_unstable_s == pytest.approx(0.15)
    assert [trial.ticks for trial in measured.trials] == sorted(trial.ticks for trial in seen)
    assert np.isfinite([trial.growth_per_s for trial in seen]).all()
