"""Types of units: ours by name, an inverter's two controls, and models of the user's own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.courses import Reference
from gridloop.scenarios.unit_types import known_types, model_of
from gridloop.simulators.models import following, inverter

OWN = "from dataclasses import replace\nfrom gridloop.simulators.models import inverter\n"
OWN += "MODEL = replace(inverter.MODEL, name={name!r})\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder; what a test imports is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def scenario(units: dict[str, Any], **more: Any) -> Any:
    return load({"schema": 1, "name": "types", "until_s": 1, "grid": {"net": "case9"}, "units": units} | more)


def unit(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "bus": 1, "s_rated_kva": 1} | more


def test_control_chooses_the_model_of_an_inverter() -> None:
    units = {"a": unit("inverter"), "b": unit("inverter", control="following"), "c": unit("inverter", control="droop")}
    given = scenario(units)
    assert [given.model_of(name) for name in units] == [inverter.MODEL, following.MODEL, inverter.MODEL]


def test_following_is_a_control_and_no_type() -> None:
    assert "following" not in known_types() and {"inverter", "profile"} <= set(known_types())
    with pytest.raises(ValueError, match="unknown type 'following'"):
        model_of("following")


def test_defaults_of_a_type_serve_both_controls() -> None:
    # droop and z_pu are of use to the forming unit only, the current limit to both
    given = scenario(
        {"a": unit("inverter"), "b": unit("inverter", control="following")},
        defaults={"inverter": {"droop_p_percent": 3, "z_pu": [0, 0.1], "i_max_percent": 120, "time_constant_ms": 5}},
    )
    assert given.units["a"].parameters == {"s_rated_kva": 1, "droop_p_percent": 3, "i_max_percent": 120}
    assert given.units["a"].z_pu == (0, 0.1)
    assert given.units["b"].parameters == {"s_rated_kva": 1, "i_max_percent": 120, "time_constant_ms": 5}
    assert given.units["b"].z_pu is None


def test_given_power_in_numbers() -> None:
    home = scenario({"home": {"type": "profile", "bus": 1, "p_load": 3, "q_gen": 2, "scale": 10}}).units["home"]
    assert home.given_power.p == (3, -10)
    assert home.given_power.q == (2, 10)


def test_given_power_by_columns(folder: Path) -> None:
    (folder / "day.csv").write_text("")
    given = scenario(
        {"home": {"type": "profile", "bus": 1, "p_gen": "day.p"}},
        clock="2026-06-21T12:00:00Z", profiles={"day": {"file": "day.csv", "columns": {"p": "P[MW]"}}},
    )  # fmt: skip
    home = given.units["home"].given_power
    assert home.p == (Reference("day", "p"), 1)
    assert home.q == (0, -1)
    assert home.references == {"p_gen": Reference("day", "p")}
    assert given.model_of("home") is None


def test_own_model_stands_beside_the_scenario(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "mine_here.py").write_text(OWN.format(name="Mine"))
    text = "schema: 1\nname: own\nuntil_s: 1\ngrid: {net: case9}\nunits:\n"
    (folder / "sub" / "s.yaml").write_text(text + "  a: {type: 'mine_here:MODEL', bus: 1, s_rated_kva: 1}\n")
    path = list(sys.path)
    given = load("sub/s.yaml")
    assert given.model_of("a").name == "Mine"
    assert given.units["a"].parameters == {"s_rated_kva": 1}
    assert sys.path == path


def test_modules_of_one_name_in_two_folders_are_two(folder: Path) -> None:
    for name in ("One", "Two"):
        (folder / name).mkdir()
        (folder / name / "twin.py").write_text(OWN.format(name=name))
    names = [model_of("twin:MODEL", folder=folder / name).name for name in ("One", "Two", "One")]  # type: ignore[union-attr]
    assert names == ["One", "Two", "One"]


def test_model_anywhere_on_the_path_serves() -> None:
    given = scenario({"a": unit("gridloop.simulators.models.inverter:MODEL"), "b": unit("inverter")})
    assert given.model_of("a") is inverter.MODEL
