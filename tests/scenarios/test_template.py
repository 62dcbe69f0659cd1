"""`gridloop new`: what it writes is right, explained, and right with everything switched on too."""

import re
from pathlib import Path

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import plan
from gridloop.scenarios.template import TEXT, write_new


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_scenario_can_be_planned() -> None:
    write_new(Path("my-grid.yaml"))
    planned = plan(load("my-grid.yaml"))
    assert planned.scenario.name == "my-grid"
    assert planned.f_start_hz == pytest.approx(50)
    assert planned.h_lambda < 0.5
    assert len(planned.events) == 2


def test_everything_that_is_switched_off_is_right_too(folder: Path) -> None:
    (folder / "my_model.py").write_text("from gridloop.simulators.models.inverter import MODEL\n")
    (folder / "day.csv").write_text("time,P[kW]\n2026-06-21T12:00,10\n2026-06-21T13:00,20\n")
    (folder / "all.yaml").write_text(re.sub(r"(?m)^#(?=\S|  )", "", TEXT.format(name="all")))
    scenario = load("all.yaml")
    everything = set(Scenario.model_fields) - {"seed", "mode", "record"}
    assert everything <= scenario.model_fields_set
    assert {"pv1", "sun1", "batt1", "village", "mine"} < set(scenario.units)
    assert {event.do for event in scenario.events} == {
        "load_step", "line_open", "set", "fault", "unit_trip", "pcc_close", "link_down", "agent_fail",
    }  # fmt: skip
    assert len(plan(scenario).groups) == 3


def test_comment_and_switched_off_line_can_be_told_apart() -> None:
    # the text promises: # and a letter, or two spaces, is switched off
    lines = [line for line in TEXT.splitlines() if line.startswith("#")]
    assert all(re.match(r"# \S|#[a-z_]+:|#  (- \{|  )?\S", line) for line in lines)


@pytest.mark.parametrize(
    ("file", "name"), [("a.b.yaml", "a-b"), ("2026.yaml", "scenario-2026"), ("true.yaml", "scenario-true")]
)
def test_name_comes_from_the_file(file: str, name: str) -> None:
    write_new(Path(file))
    assert load(file).name == name


def test_copy_of_a_scenario_that_ships() -> None:
    write_new(Path("mine.yml"), "ieee9")
    mine, shipped = load("mine.yml"), load("ieee9")
    assert mine.to_dict() == shipped.to_dict() | {"name": "mine"}
    assert "# a network of pandapower.networks" in Path("mine.yml").read_text()


@pytest.mark.parametrize(
    ("file", "like", "message"),
    [
        ("there.yaml", None, "there.yaml is there already: choose another name, it is left as it is"),
        ("new", None, "new: the name of a scenario file ends in .yaml"),
        ("no/new.yaml", None, "no/new.yaml: there is no folder no"),
        ("new.yaml", "ieee10", "no scenario 'ieee10' ships; there are "),
    ],
)
def test_what_cannot_be_written(file: str, like: str | None, message: str, folder: Path) -> None:
    Path("there.yaml").write_text("mine")
    with pytest.raises((ValueError, FileExistsError), match=re.escape(message)):
        write_new(Path(file), like)
    assert [path.name for path in folder.iterdir()] == ["there.yaml"]
    assert Path("there.yaml").read_text() == "mine"
