"""Nothing moves before the first event, whatever stands on the network and however the start is found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import Plan, plan

FOLLOWING = {"type": "inverter", "control": "following", "s_rated_kva": 60000}
UNITS: dict[str, dict[str, Any]] = {
    "following": {"pv": FOLLOWING | {"bus": 6, "p_set_kw": 40000, "q_set_kvar": 5000}},
    "following in a generator's place": {"inv3": FOLLOWING | {"bus": 3, "s_rated_kva": 125000}},
    "following in the reference's place": {
        "inv1": FOLLOWING | {"bus": 1, "s_rated_kva": 100000, "p_set_kw": 70000, "q_set_kvar": 20000},
    },
    "following beside a forming unit": {"pv": FOLLOWING | {"bus": 2, "p_set_kw": 40000, "q_set_kvar": -5000}},
    "two that follow at one bus": {
        "pv": FOLLOWING | {"bus": 6, "p_set_kw": 40000, "q_set_kvar": 0},
        "wind": FOLLOWING | {"bus": 6, "p_set_kw": 20000, "q_set_kvar": 0},
    },
    "more set than the source gives": {
        "pv": FOLLOWING | {"bus": 6, "p_set_kw": 40000, "q_set_kvar": 0, "p_max_kw": 25000},
    },
    "more set than the rating": {"pv": FOLLOWING | {"bus": 6, "p_set_kw": 90000, "q_set_kvar": 20000}},
    "following without set-points": {"pv": FOLLOWING | {"bus": 6}},
    "profile": {"house": {"type": "profile", "bus": 4, "p_load": 5000, "q_load": 1000}},
    "profile in a generator's place": {"inv3": {"type": "profile", "bus": 3, "p_gen": 85000, "q_gen": 1000}},
    "all together": {
        "pv": FOLLOWING | {"bus": 6, "p_set_kw": 40000, "q_set_kvar": 5000},
        "house": {"type": "profile", "bus": 4, "p_load": 5000, "q_load": 1000},
        "beside": {"type": "inverter", "bus": 2, "s_rated_kva": 50000, "z_pu": [0.01, 0.1], "p_set_kw": 20000},
    },
}
PCC = {"bus": "5", "r_pu": 0.01, "x_pu": 0.1}
SWITCH = {"closed": PCC, "open": PCC | {"closed": False}, "closed, turned": PCC | {"angle_deg": 25, "v_pu": 1.02}}


def scenario(units: dict[str, Any], start: str, pcc: Any, **more: Any) -> Any:
    given = load("ieee9").to_dict() | {"start": start, "until_s": 0.5, "events": []}
    dispatch = {"inv1": (70000, 20000), "inv2": (163000, 10000), "inv3": (85000, 0)}
    own = {
        name: unit | ({"p_set_kw": dispatch[name][0], "q_set_kvar": dispatch[name][1]} if start == "droop" else {})
        for name, unit in given["units"].items() if name not in units
    }  # fmt: skip
    units = {
        name: unit | ({"p_set_kw": 85000, "q_set_kvar": 0} if name == "inv3" and "control" in unit and start == "droop"
                      else {})
        for name, unit in units.items()
    }  # fmt: skip
    return load(given | {"units": own | units} | ({"pcc": pcc} if pcc else {}) | more)


def assert_rest(folder: Path, what: Any) -> None:
    result = run(what, folder=folder)
    for name, entity in result.entities.items():
        if entity.kind not in ("unit", "pcc"):
            continue
        for attribute in ("P_gen[MW]", "Q_gen[MVar]"):
            values = result.series(name, attribute)[1]
            assert np.isfinite(values).all()
            assert np.ptp(values) / 100 < 1e-9, (name, attribute)
    assert result.series("grid", "mismatch[MW]")[1].max() < 1e-8


starts = pytest.mark.parametrize("start", ["power_flow", "droop"])


@starts
@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_nothing_moves(units: Any, start: str, tmp_path: Path) -> None:
    assert_rest(tmp_path, scenario(units, start, None))


@starts
@pytest.mark.parametrize("switch", SWITCH.values(), ids=SWITCH)
@pytest.mark.parametrize(
    "units", ["all together", "following in a generator's place", "profile in a generator's place"]
)
def test_nothing_moves_beside_a_public_grid(units: str, start: str, switch: Any, tmp_path: Path) -> None:
    assert_rest(tmp_path, scenario(UNITS[units], start, switch))


@starts
@pytest.mark.parametrize(
    "law", [{"zip_p": [0.3, 0.3, 0.4]}, {"k_pf": 1.5, "k_qf": -1.0}, {"k_pf": 1.5, "frequency": "bus"}, {"v0_pu": 1.0}],
    ids=str,
)  # fmt: skip
def test_nothing_moves_by_any_law_of_the_loads(law: Any, start: str, tmp_path: Path) -> None:
    grid = load("ieee9").to_dict()["grid"]
    grid = grid | {"loads": grid["loads"] | law}
    assert_rest(tmp_path, scenario(UNITS["all together"], start, None, grid=grid))


def group(planned: Plan, unit: str) -> tuple[complex, complex]:
    """Power and phasor of a unit at the start."""
    for each in planned.groups:
        if unit in each.ids:
            place = each.ids.index(unit)
            return complex(each.s_start_pu[place]), complex(each.emf_start_pu[place])
    raise KeyError(unit)


@starts
def test_following_unit_starts_at_what_it_can_give(start: str) -> None:
    for name, expected in (("following", 0.4 + 0.05j), ("more set than the source gives", 0.25),
                           ("more set than the rating", 0.6), ("following without set-points", 0)):  # fmt: skip
        assert group(plan(scenario(UNITS[name], start, None)), "pv")[0] == pytest.approx(expected, abs=1e-12), name


def test_generators_place_gives_a_following_unit_its_dispatch_and_voltage() -> None:
    s, v = group(plan(scenario(UNITS["following in a generator's place"], "power_flow", None)), "inv3")
    assert s.real == pytest.approx(0.85, abs=1e-9) and s.imag == pytest.approx(-0.036490255, abs=1e-8)
    assert abs(v) == pytest.approx(1.0, abs=1e-9)


def test_closed_switch_takes_what_the_units_do_not_give(tmp_path: Path) -> None:
    only = {"pv": FOLLOWING | {"bus": 3, "p_set_kw": 40000, "q_set_kvar": 0}}
    given = scenario(only, "power_flow", PCC).to_dict()
    given["units"] = only | {f"const{bus}": {"type": "profile", "bus": bus, "p_gen": 100000} for bus in (1, 2)}
    result = run(load(given), folder=tmp_path)
    p = result.series("pcc", "P_gen[MW]")[1]
    loss = result.series("grid", "P_loss[MW]")[1]
    assert p == pytest.approx(315 - 240 + loss, abs=1e-7) and np.ptp(p) < 1e-7


@starts
def test_grid_that_waits_for_its_switch_is_dead_until_then(start: str, tmp_path: Path) -> None:
    units = {"pv": FOLLOWING | {"bus": 3, "p_set_kw": 40000, "q_set_kvar": 0}}
    units |= {f"const{bus}": {"type": "profile", "bus": bus, "p_gen": 100000} for bus in (1, 2)}
    given = scenario(units, start, PCC | {"closed": False}, events=[{"t_s": 0.1, "do": "pcc_close"}]).to_dict()
    given["units"] = units
    result = run(load(given), folder=tmp_path)
    t, v = result.series("5", "Vm[pu]")
    assert (v[t < 0.1] == 0).all() and v[t >= 0.1].min() > 0.5
    assert (result.series("pv", "P_gen[MW]")[1][t < 0.1] == 0).all()
    assert result.series("pv", "P_gen[MW]")[1][-1] == pytest.approx(40, abs=1e-3)


@starts
def test_start_beyond_a_current_limit_is_refused(start: str) -> None:
    # inv2 of 200 MVA delivers some 163 MW at 1 pu: 82 % of its rated current, more than 60 %
    given = scenario({}, start, None).to_dict()
    given["units"]["inv2"] |= {"z_pu": [0.01, 0.1], "i_max_percent": 60}
    with pytest.raises(ScenarioError, match=rf"units.inv2: start: {start}: inv2 would carry 1[34]\d % of its largest"):
        plan(load(given))
    given["units"]["inv2"]["i_max_percent"] = 100
    plan(load(given))
