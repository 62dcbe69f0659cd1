"""`gridloop new`, `check` and `schema`: a scenario from nothing to what is known of it before it runs."""

import json
from pathlib import Path

import pandapower
import pytest
from typer.testing import CliRunner
from typer.testing import Result as Answer

from gridloop.scenarios.cli import app
from gridloop.scenarios.json_schema import scenario_schema


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gridloop(*words: str) -> Answer:
    return CliRunner().invoke(app, words)


def flat(text: str) -> str:
    return " ".join(text.split())


def two_islands() -> None:
    """two.yaml on the lines A-B and C-D: 50 kW at B, fed by A; 20 kW at D, fed by nobody; 5 kW of PV at B."""
    net = pandapower.create_empty_network()
    buses = [pandapower.create_bus(net, 0.4, name=name) for name in "ABCD"]
    for first, load_mw in ((0, 0.05), (2, 0.02)):
        pandapower.create_line_from_parameters(net, buses[first], buses[first + 1], 1, 0.1, 0.1, 0, 1)
        pandapower.create_load(net, buses[first + 1], load_mw)
    pandapower.create_sgen(net, buses[1], 0.005)
    pandapower.to_json(net, "two.json")
    Path("two.yaml").write_text(
        "schema: 1\nname: two\nuntil_s: 1\ngrid: {net: two.json}\nstart: droop\n"
        "units:\n  a: {type: inverter, bus: A, s_rated_kva: 100}\n"
    )


# --- new ---


def test_new_then_check_then_run() -> None:
    answer = gridloop("new", "my.yaml")
    assert answer.exit_code == 0
    assert "gridloop check my.yaml, then gridloop run my.yaml" in flat(answer.stdout)
    checked = gridloop("check", "my.yaml")
    assert checked.exit_code == 0, checked.stderr
    assert "warning" not in checked.stdout
    run = gridloop("run", "my.yaml", "--until", "0.02", "--out", "here")
    assert run.exit_code == 0, run.stderr


def test_new_from_a_scenario_that_ships() -> None:
    assert gridloop("new", "my.yaml", "--from", "ieee9").exit_code == 0
    assert "name: my\n" in Path("my.yaml").read_text()


def test_new_overwrites_nothing() -> None:
    Path("my.yaml").write_text("mine")
    answer = gridloop("new", "my.yaml")
    assert answer.exit_code == 2
    assert flat(answer.stderr) == "error: my.yaml is there already: choose another name, it is left as it is"
    assert Path("my.yaml").read_text() == "mine"


# --- schema ---


def test_schema_is_printed_or_written() -> None:
    printed = gridloop("schema")
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == scenario_schema()
    assert gridloop("schema", "--out", "s.json").exit_code == 0
    assert Path("s.json").read_text() == printed.stdout


# --- check ---


def test_check_tells_connections_islands_and_ratings() -> None:
    said = flat(gridloop("check", "ieee9").stdout)
    assert "connections Grid - Inverter: 1" in said
    assert (
        "island 1 9 buses (1, 2, 3, 4, 5, 6, ...) · inv1, inv2, inv3 rated 425,000 kVA · load 315,000 kW unit" in said
    )  # fmt: skip


def test_check_as_json_holds_the_same() -> None:
    document = json.loads(gridloop("check", "ieee9", "--json").stdout)
    (island,) = document["islands"]
    assert island == {
        "island": 1, "buses": [*"123456789"], "units": ["inv1", "inv2", "inv3"], "pcc": False,
        "s_rated_kva": 425_000, "p_load_kw": pytest.approx(315_000), "p_static_kw": 0, "fed": True,
    }  # fmt: skip
    assert document["warnings"] == []
    (pair,) = document["connections"]
    assert {entity.partition(".")[0] for entity in pair} == {"Grid", "Inverter"}


def test_check_warns_of_an_island_without_a_source() -> None:
    two_islands()
    answer = gridloop("check", "two.yaml")
    assert answer.exit_code == 0, answer.stderr
    said = flat(answer.stdout)
    assert "island 1 2 buses (A, B) · a rated 100 kVA · load 50 kW · static generation 5 kW island 2" in said
    assert "island 2 2 buses (C, D) · load 20 kW · no voltage" in said
    assert (
        "warning: no grid-forming unit reaches 2 buses (C, D), a load of 20 kW: there is no voltage until a switch "
        "closes"
    ) in said


def test_check_warns_of_more_load_than_the_units_are_rated_for() -> None:
    two_islands()
    said = flat(gridloop("check", "two.yaml", "--set", "units.a.s_rated_kva=40").stdout)
    assert "warning: the units of 2 buses (A, B) are rated 40 kVA, less than the load of 50 kW" in said
    # 5 kW of the load come from the static generator
    assert "are rated" not in gridloop("check", "two.yaml", "--set", "units.a.s_rated_kva=46").stdout


def test_utility_grid_carries_what_the_units_cannot() -> None:
    two_islands()
    sets = ["--set", "units.a.s_rated_kva=40", "--set", "pcc={bus: B, r_pu: 0.01, x_pu: 0.1}"]
    said = flat(gridloop("check", "two.yaml", *sets).stdout)
    assert "utility grid connected" in said and "are rated" not in said


def test_utility_grid_feeds_an_island_without_units() -> None:
    two_islands()
    pcc = "pcc={bus: C, r_pu: 0.01, x_pu: 0.1, closed: %s}"
    assert "no voltage" not in gridloop("check", "two.yaml", "--set", pcc % "true").stdout
    assert "no voltage" in gridloop("check", "two.yaml", "--set", pcc % "false").stdout


def test_following_and_given_units_are_listed() -> None:
    gridloop("new", "my.yaml")
    more = {
        "units.pv1": "{type: inverter, control: following, bus: 5, s_rated_kva: 300, p_set_kw: 150}",
        "units.home": "{type: profile, bus: 6, p_load: 10, q_load: 20}",
    }
    sets = [word for path, value in more.items() for word in ("--set", f"{path}={value}")]
    answer = gridloop("check", "my.yaml", "--json", *sets)
    assert answer.exit_code == 0, answer.stderr
    pv1, home = json.loads(answer.stdout)["units"][-2:]
    assert pv1 == {
        "unit": "pv1", "type": "inverter following", "bus": "5", "s_rated_kva": 300,
        "p_start_kw": pytest.approx(150), "q_start_kvar": pytest.approx(0, abs=1e-6),
    }  # fmt: skip
    assert home == {
        "unit": "home", "type": "profile", "bus": "6", "s_rated_kva": None,
        "p_start_kw": pytest.approx(-10), "q_start_kvar": pytest.approx(-20),
    }  # fmt: skip
    shown = gridloop("check", "my.yaml", *sets)
    assert shown.exit_code == 0 and "None" not in shown.stdout


def test_help_names_the_commands() -> None:
    said = gridloop("--help").stdout
    assert all(f" {command} " in said for command in ("new", "check", "schema"))
