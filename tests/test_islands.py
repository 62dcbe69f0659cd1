"""Several islands in one scenario: each is as if it were alone, and each goes its own way when a net splits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandapower
import pytest

from gridloop.scenarios import load, run

PARTS = "ab"


def feeder(net: Any, part: str, scale: float) -> None:
    """Four buses in a ring, loads at the third and fourth; 10 kV."""
    buses = [pandapower.create_bus(net, 10, name=f"{part}{k}") for k in range(1, 5)]
    for start, end, km in ((0, 1, 2), (1, 2, 3), (2, 3, 1), (3, 0, 2)):
        pandapower.create_line_from_parameters(
            net, buses[start], buses[end], km * scale, 0.3, 0.35, 10, max_i_ka=0.4
        )  # fmt: skip
    pandapower.create_load(net, buses[2], 0.8 * scale, 0.2)
    pandapower.create_load(net, buses[3], 0.5, 0.15 * scale, const_z_p_percent=40, const_z_q_percent=40)


def saved(folder: Path, parts: str) -> str:
    """A net of these parts, which nothing joins."""
    net = pandapower.create_empty_network(f_hz=50, sn_mva=1)
    for part, scale in zip("ab", (1.0, 1.3), strict=True):
        if part in parts:
            feeder(net, part, scale)
    name = f"{parts}.json"
    pandapower.to_json(net, str(folder / name))
    return name


def units_of(part: str, more_kva: float) -> dict[str, Any]:
    return {
        f"form_{part}": {"type": "inverter", "bus": f"{part}1", "s_rated_kva": 1500 + more_kva, "p_set_kw": 900},
        f"soft_{part}": {
            "type": "inverter", "bus": f"{part}2", "s_rated_kva": 800, "p_set_kw": 300, "q_set_kvar": 50,
            "z_pu": [0.01, 0.1], "i_max_percent": 120,
        },
        f"pv_{part}": {
            "type": "inverter", "control": "following", "bus": f"{part}4", "s_rated_kva": 400, "p_set_kw": 250,
        },
        f"wind_{part}": {"type": "profile", "bus": f"{part}3", "p_gen": 100 + more_kva / 10, "q_gen": 20},
    }  # fmt: skip


def events_of(part: str) -> list[dict[str, Any]]:
    """At the same instants in both: an event ends the trend that is held, everywhere."""
    more = 200 if part == "a" else 150
    return [
        {"t_s": 0.1, "do": "load_step", "bus": f"{part}3", "p_kw": more, "q_kvar": 50},
        {"t_s": 0.2013, "do": "set", "path": f"units.pv_{part}.p_set_kw", "value": more},
        {"t_s": 0.35, "do": "line_open", "line": f"{part}3-{part}4"},
        {"t_s": 0.45, "do": "fault", "bus": f"{part}4", "r_pu": 0.4, "for_s": 0.0512},
    ]


def scenario(folder: Path, parts: str, **more: Any) -> Any:
    given = {
        "schema": 1, "name": parts, "step_ms": 5, "until_s": 0.8, "start": "droop",
        "grid": {"net": saved(folder, parts), "loads": {"k_pf": 1.5, "k_qf": -1.0, "v0_pu": 1}},
        "units": {k: v for part in parts for k, v in units_of(part, 0 if part == "a" else 300).items()},
        "events": [event for part in parts for event in events_of(part)],
    } | more  # fmt: skip
    file = folder / f"{parts}.yaml"
    file.write_text(json.dumps(given), encoding="utf-8")
    return load(file)


@pytest.mark.parametrize("frequency", ["sources", "bus"])
def test_two_islands_in_one_scenario_are_two_separate_runs(tmp_path: Path, frequency: str) -> None:
    law = {"grid.loads.frequency": frequency}
    both = run(scenario(tmp_path, "ab"), folder=tmp_path / "both", overrides=law)
    for part in PARTS:
        alone = run(scenario(tmp_path, part), folder=tmp_path / part, overrides=law)
        for name, entity in alone.entities.items():
            for attribute in entity.attributes if name != "grid" else ():
                t_s, expected = alone.series(name, attribute)
                t_both, found = both.series(name, attribute)
                assert np.array_equal(t_s, t_both)
                if attribute == "Va[deg]":
                    expected, found = (np.exp(1j * np.radians(angle)) for angle in (expected, found))
                assert found == pytest.approx(expected, abs=1e-9), (name, attribute)


def test_events_of_one_island_leave_the_other_as_it_was(tmp_path: Path) -> None:
    # but for the trend that every unit drops at an event: nothing that is at rest moves
    result = run(scenario(tmp_path, "ab", events=events_of("a")), folder=tmp_path / "run")
    for unit in units_of("b", 300):
        for attribute in ("P_gen[MW]", "Q_gen[MVar]"):
            assert np.ptp(result.series(unit, attribute)[1]) < 1e-9
    assert np.ptp(result.series("form_a", "P_gen[MW]")[1]) > 0.1


def test_islands_have_frequencies_of_their_own(tmp_path: Path) -> None:
    result = run(scenario(tmp_path, "ab", until_s=2), folder=tmp_path / "run")
    f = {part: result.series(f"form_{part}", "f[Hz]")[1][-1] for part in PARTS}
    assert abs(f["a"] - f["b"]) > 0.01
    soft = {part: result.series(f"soft_{part}", "f[Hz]")[1][-1] for part in PARTS}
    assert all(abs(soft[part] - f[part]) < 2e-3 for part in PARTS)


# --- a net that splits in mid-run ---


def test_net_that_splits_goes_on_as_two_on_its_chords(tmp_path: Path) -> None:
    # 4-5 and 6-7 leave inv3 with the load at 5, and inv1 and inv2 with those at 7 and 9
    opened = [{"t_s": 0.1, "do": "line_open", "line": "4-5"}, {"t_s": 0.1, "do": "line_open", "line": "6-7"}]
    result = run(load("ieee9").with_overrides({"events": opened, "until_s": 8}), folder=tmp_path)
    f_hz = np.array([result.series(unit, "f[Hz]")[1][-1] for unit in ("inv1", "inv2", "inv3")])
    p_pu = np.array([result.series(unit, "P_gen[MW]")[1][-1] for unit in ("inv1", "inv2", "inv3")]) / 100
    before = np.array([result.series(unit, "P_gen[MW]")[1][0] for unit in ("inv1", "inv2", "inv3")]) / 100
    m_hz = 0.02 * 60 / np.array([1, 2, 1.25])
    assert f_hz == pytest.approx(60 - m_hz * (p_pu - before), abs=1e-7), "each stands on its droop line"
    assert f_hz[0] == pytest.approx(f_hz[1], abs=1e-7) and abs(f_hz[2] - f_hz[0]) > 0.1
    t, iterations = result.series("grid", "iterations[1]")
    quiet = iterations[t > 2]
    assert quiet.max() <= 2, "every island turns in a frame of its own"
    assert result.series("grid", "mismatch[MW]")[1].max() < 1e-7
    angle = {bus: np.unwrap(np.radians(result.series(bus, "Va[deg]")[1])) for bus in ("1", "3")}
    slip = (angle["3"][-1] - angle["3"][-201]) / (2 * np.pi)  # the last second
    assert slip == pytest.approx(f_hz[2] - 60, abs=1e-4)


def test_islands_that_are_joined_again_settle_on_one_frequency(tmp_path: Path) -> None:
    events = [
        {"t_s": 0.1, "do": "line_open", "line": "4-5"}, {"t_s": 0.1, "do": "line_open", "line": "6-7"},
        {"t_s": 0.15, "do": "line_close", "line": "4-5"}, {"t_s": 0.15, "do": "line_close", "line": "6-7"},
    ]  # fmt: skip
    result = run(load("ieee9").with_overrides({"events": events, "until_s": 5}), folder=tmp_path)
    f_hz = np.array([result.series(unit, "f[Hz]")[1][-1] for unit in ("inv1", "inv2", "inv3")])
    assert f_hz == pytest.approx(60, abs=1e-7)
    assert [result.series(unit, "P_gen[MW]")[1][-1] for unit in ("inv1", "inv2", "inv3")] == pytest.approx(
        [71.9547016, 163, 85], abs=1e-4
    )
