"""All kinds of units in one simulator: the same files to the bit, the same errors, and studies that run so."""

from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import Result, RunFailed, load, open_run, run
from gridloop.scenarios.build import build, open_world
from gridloop.scenarios.compare import scenario_differences
from gridloop.scenarios.margin import delay_margin
from gridloop.scenarios.margin_runs import growth_after_kick
from gridloop.scenarios.start import plan
from gridloop.scenarios.study_worker import Order, run_point
from gridloop.simulators.models import diesel
from gridloop.simulators.together import Together
from test_remote import FULL, assert_same

GROUPINGS = ("kind", "step")
# the diesel set trips and comes back, set-points change on and off the macro grid, a line opens
SWITCHED = [
    {"t_s": 0.1, "do": "set", "path": "units.diesel1.p_set_kw", "value": 700},
    {"t_s": 0.1, "do": "set", "path": "units.batt1.p_set_kw", "value": 200},
    {"t_s": 0.2003, "do": "set", "path": "units.pv1.q_set_kvar", "value": 40},
    {"t_s": 0.3, "do": "unit_trip", "unit": "diesel1"},
    {"t_s": 0.4, "do": "unit_start", "unit": "diesel1"},
    {"t_s": 0.5, "do": "line_open", "line": "6-7"},
]


def microgrid9(*events: Any, until_s: Any = 0.5, **more: Any) -> Any:
    return load("microgrid9").with_overrides({"until_s": until_s, "events": list(events)} | more)


def both(scenario: Any, folder: Path, **options: Any) -> list[Result]:
    """The scenario's runs with one simulator for each kind, and with one for all."""
    return [
        run(scenario, overrides={"grouping": grouping}, folder=folder / grouping, **options) for grouping in GROUPINGS
    ]


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(lambda: load("ieee9").with_overrides({"until_s": 1.2}), id="one kind"),
        pytest.param(lambda: load("microgrid9").with_overrides({"until_s": 1, "events.0.t_s": 0.5}), id="microgrid9"),
        pytest.param(lambda: microgrid9(*SWITCHED, until_s=0.7), id="a diesel that trips, set-points"),
        pytest.param(lambda: load(FULL), id="utility grid, profiles, meters, shedding"),
        pytest.param(
            lambda: microgrid9(**{"units.pv1.device": {"url": "emulated:"}}),
            id="an emulated device of a following unit",
        ),
        pytest.param(
            lambda: microgrid9(**{"units.batt1.device": {"url": "emulated:"}}),
            id="an emulated device of a forming unit",
        ),
    ],
)
def test_files_are_the_same_to_the_bit(scenario: Any, tmp_path: Path) -> None:
    kind, step = both(scenario(), tmp_path)
    assert_same(kind, step)
    assert [one.path for one in scenario_differences([kind.record["scenario"], step.record["scenario"]])] == [
        "grouping"
    ]


def test_a_kind_in_another_process_stands_beside_the_others(tmp_path: Path) -> None:
    # the batteries and the set-points of agents cross between both
    scenario = microgrid9(*SWITCHED, until_s=0.4)
    kind = run(scenario, folder=tmp_path / "kind")
    step = run(scenario, overrides={"grouping": "step"}, folder=tmp_path / "step", remote="Diesel")
    assert_same(kind, step)


def test_mosaik_sees_one_simulator_and_whoever_looks_at_the_run_each_kind() -> None:
    seen, known, entities = [], [], []
    for grouping in GROUPINGS:
        with open_world() as world:
            built = build(plan(microgrid9(grouping=grouping)), world)
            seen.append({name.partition(".")[0] for name in world.entity_graph})
            known.append(set(built.simulators))
            entities.append({name: entity.eid for name, entity in built.entities.items()})
    kinds = {"Inverter", "Diesel", "Following"}
    assert known[0] == known[1] == seen[0] > kinds  # each once, so that nothing counts time twice
    assert seen[1] == known[1] - kinds | {"Inverter+Diesel+Following"}
    assert entities[0] == entities[1]


def test_steady_runs_have_one_simulator_anyway(tmp_path: Path) -> None:
    kind, step = both(load("ieee9").with_overrides({"mode": "steady", "until_s": 60, "step_ms": 1000}), tmp_path)
    assert_same(kind, step)


def test_a_model_that_raises_is_named_as_if_it_stood_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(p: Any, s: Any, u: Any, slopes: Any, dt_s: float) -> Any:
        passed["s"] += dt_s
        if passed["s"] > 0.2001:
            raise ValueError("oil is missing")
        return diesel.advance(p, s, u, slopes, dt_s)

    model = diesel.MODEL
    monkeypatch.setattr(diesel, "MODEL", type(model)(**{**vars(model), "advance": breaks}))
    for grouping in GROUPINGS:
        passed = {"s": 0.0}
        with pytest.raises(RunFailed, match=r"^Diesel\.Diesels \(diesel1\) at t = 0\.205 s: oil is missing") as caught:
            run(microgrid9(grouping=grouping), folder=tmp_path / grouping)
        t_s, _ = caught.value.result.series("diesel1", "f[Hz]")
        assert t_s[-1] == pytest.approx(0.2)


def grouping_of_point(folder: Path, scenario: Any, **overrides: Any) -> Any:
    """What the record of a study's point says."""
    assert run_point(Order(scenario, overrides, folder)).status == "done"
    return open_run(folder).record["scenario"].get("grouping")


def test_points_of_studies_have_one_simulator_unless_they_say_something_else(tmp_path: Path) -> None:
    scenario = microgrid9(until_s=0.05)
    assert grouping_of_point(tmp_path / "a", scenario) == "step"
    assert grouping_of_point(tmp_path / "b", scenario, grouping="kind") == "kind"
    assert grouping_of_point(tmp_path / "c", scenario.with_overrides({"grouping": "kind"})) == "kind"
    steady = load("ieee9").with_overrides({"mode": "steady", "until_s": 2, "step_ms": 1000, "events": []})
    assert grouping_of_point(tmp_path / "d", steady) is None


def test_runs_of_margins_have_one_simulator_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []

    class Noted(Together):
        def __init__(self, parts: Any) -> None:
            made.append(list(parts))
            super().__init__(parts)

    monkeypatch.setattr("gridloop.scenarios.build.Together", Noted)
    scenario = load("delay126").with_overrides({"step_ms": 5, "units.droop1.time_constant_ms": 20})
    predicted = delay_margin(scenario)
    growths = [
        growth_after_kick(one, predicted, 0.05) for one in (scenario, scenario.with_overrides({"grouping": "kind"}))
    ]
    assert made == [["Machine", "Following"]] * 2  # at rest and kicked
    assert growths[0] == growths[1] < 0
