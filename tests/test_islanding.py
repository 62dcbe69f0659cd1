"""Islanding and reconnection (case C1): case A0 beside a public grid of 1 pu behind 0.01 + j0.1 pu at bus 5.

The switch opens at 2 s, 0.2 + j0.05 pu are added at bus 7 at 4 s, and it is to close again within 2 degrees,
0.1 Hz and 0.1 pu. The printed numbers were found independently of the code under test, at 5 ms.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.scenarios import Result, load, run

UNITS = ("inv1", "inv2", "inv3")
P_SET, HALF_DIGIT = (0.719547, 1.63, 0.85), 5.1e-7


@cache
def c1() -> Any:
    """The scenario; the units' set-points are the power flow of the islanded network."""
    s, emf = case_a.power_flow_start()
    units = {
        name: {
            "type": "inverter", "bus": str(place + 1), "s_rated_kva": float(case_a.RATINGS_PU[place] * 1e5),
            "p_set_kw": float(s[place].real * 1e5), "q_set_kvar": float(s[place].imag * 1e5),
            "v_set_pu": float(abs(emf[place])),
        }
        for place, name in enumerate(UNITS)
    }  # fmt: skip
    return {
        "schema": 1, "name": "c1", "step_ms": 5, "until_s": 25, "start": "droop", "units": units,
        "grid": {"net": "case9", "base": {"s_mva": 100}, "f_nom_hz": 60, "loads": {"v0_pu": 1}},
        "record": {"signals": ["buses"]},
        "pcc": {"bus": "5", "r_pu": 0.01, "x_pu": 0.1, "sync": {"angle_deg": 2, "df_hz": 0.1, "dv_pu": 0.1}},
    }  # fmt: skip


def events(armed_at_s: float, sync: bool = True) -> list[dict[str, Any]]:
    return [
        {"t_s": 2, "do": "pcc_open"},
        {"t_s": 4, "do": "load_step", "bus": "7", "p_kw": 20000, "q_kvar": 5000},
        {"t_s": armed_at_s, "do": "pcc_close", "sync": sync},
    ]


def run_c1(folder: Path, armed_at_s: float, until_s: float, **more: Any) -> Result:
    sync = more.pop("sync", True)
    return run(load(c1() | {"events": events(armed_at_s, sync), "until_s": until_s} | more), folder=folder)


@pytest.fixture(scope="module")
def armed_at_5(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run_c1(tmp_path_factory.mktemp("c1"), 5, 24.575)


def at(result: Result, t_s: float) -> tuple[Any, Any, complex]:
    """Frequencies [Hz], active powers of the units [pu], and what the public grid delivers [pu]."""

    def value(entity: str, attribute: str) -> float:
        t, values = result.series(entity, attribute)
        (row,) = np.flatnonzero(np.abs(t - t_s) < 1e-9)
        return float(values[row])

    f_hz, p = (np.array([value(unit, attribute) for unit in UNITS]) for attribute in ("f[Hz]", "P_gen[MW]"))
    return f_hz, p / 100, complex(value("pcc", "P_gen[MW]"), value("pcc", "Q_gen[MVar]")) / 100


def happened(result: Result) -> list[tuple[float, str]]:
    return [(event.t_s, event.kind) for event in result.events]


# --- armed at 5 s ---


@pytest.mark.parametrize("t_s", [0, 1, 1.995])
def test_connected_rest_is_at_the_set_points_because_the_public_grid_has_nominal_frequency(
    armed_at_5: Result, t_s: float
) -> None:
    f_hz, p, pcc = at(armed_at_5, t_s)
    assert f_hz == pytest.approx(60, abs=1e-9)
    assert p == pytest.approx(P_SET, abs=HALF_DIGIT)
    assert [pcc.real, pcc.imag] == pytest.approx([-0.000575, 0.112947], abs=HALF_DIGIT)


def test_opening_hardly_moves_the_frequency_because_no_active_power_is_exchanged(armed_at_5: Result) -> None:
    t, _ = armed_at_5.series("inv1", "f[Hz]")
    f_hz = np.stack([armed_at_5.series(unit, "f[Hz]")[1] for unit in UNITS])[:, (t >= 3.5) & (t < 4)]
    assert np.abs(f_hz - 60).max() < 1e-4
    assert at(armed_at_5, 2)[2] == at(armed_at_5, 3.995)[2] == 0


def test_island_settles_on_its_droop(armed_at_5: Result) -> None:
    f_hz, p, pcc = at(armed_at_5, 21.57)
    assert f_hz == pytest.approx(59.943320, abs=HALF_DIGIT)
    assert p == pytest.approx((0.766781, 1.724467, 0.909042), abs=HALF_DIGIT)
    assert pcc == 0


def test_switch_closes_when_the_angles_meet(armed_at_5: Result) -> None:
    # they slip at 60 - 59.94332 Hz: once round in 17.6 s
    assert happened(armed_at_5) == [
        (2, "pcc_open"), (4, "load_step"), (5, "pcc_arm"), (21.575, "pcc_close"),
    ]  # fmt: skip
    assert armed_at_5.events[-1].outcome == "closed in synchronism"
    t, angle = armed_at_5.series("5", "Va[deg]")
    before, now = (float(angle[np.argmin(np.abs(t - t_s))]) for t_s in (21.57, 21.575))
    assert abs(before) > 2 and abs(now) < abs(before)


def test_reconnected_rest_three_seconds_later(armed_at_5: Result) -> None:
    f_hz, p, pcc = at(armed_at_5, 24.575)
    assert f_hz == pytest.approx(60, abs=HALF_DIGIT)
    assert p == pytest.approx(P_SET, abs=HALF_DIGIT)
    assert [pcc.real, pcc.imag] == pytest.approx([0.192285, 0.085232], abs=HALF_DIGIT)


def test_network_and_energy_stay_balanced(armed_at_5: Result) -> None:
    assert armed_at_5.series("grid", "mismatch[MW]")[1].max() < 1e-7
    p_gen, p_load, p_loss = (armed_at_5.series("grid", f"P_{x}[MW]")[1] for x in ("gen", "load", "loss"))
    assert np.abs(p_gen - p_load - p_loss).max() < 1e-7


# --- other ways to close ---


def test_armed_at_4_s_it_closes_at_once(tmp_path: Path) -> None:
    # nothing has slipped yet
    result = run_c1(tmp_path, 4, 7)
    assert happened(result) == [(2, "pcc_open"), (4, "load_step"), (4, "pcc_arm"), (4, "pcc_close")]
    f_hz, p, pcc = at(result, 7)
    assert f_hz == pytest.approx(60, abs=HALF_DIGIT)
    assert p == pytest.approx(P_SET, abs=HALF_DIGIT)
    assert [pcc.real, pcc.imag] == pytest.approx([0.192285, 0.085232], abs=HALF_DIGIT)
    assert abs(at(result, 4)[2]) > 0.05, "the row of the event is that just after it"


def test_without_the_check_it_closes_whatever_that_does(tmp_path: Path) -> None:
    result = run_c1(tmp_path, 4.5, 4.6, sync=False)
    assert happened(result)[-1] == (4.5, "pcc_close")
    assert abs(at(result, 4.5)[2]) > 0.2


def test_switch_that_never_finds_synchronism_stays_open(tmp_path: Path) -> None:
    # 60 - 59.943 Hz are more than 0.05 Hz
    tight = {"bus": "5", "r_pu": 0.01, "x_pu": 0.1, "sync": {"angle_deg": 20, "df_hz": 0.05, "dv_pu": 0.1}}
    result = run_c1(tmp_path, 4.4, 7, pcc=tight)
    assert happened(result)[-1] == (4.4, "pcc_arm")
    assert at(result, 7)[2] == 0


def test_opening_again_disarms(tmp_path: Path) -> None:
    # armed at 5 s, given up at 6 s, it does not close at 21.575 s
    given = c1() | {"events": [*events(5), {"t_s": 6, "do": "pcc_open"}], "until_s": 21.7, "step_ms": 25}
    result = run(load(given), folder=tmp_path)
    assert "pcc_close" not in [kind for _, kind in happened(result)]


def test_public_grid_of_another_frequency_takes_the_island_along(tmp_path: Path) -> None:
    # 59.97 Hz ask every unit for 0.03 Hz of droop more: dP = 2 pi 0.03 / m
    pcc = c1()["pcc"] | {"f_hz": 59.97}
    result = run(load(c1() | {"pcc": pcc, "until_s": 1, "events": []}), folder=tmp_path)
    m = 0.02 * 2 * np.pi * 60 / case_a.RATINGS_PU
    for t_s in (0, 0.5, 1):
        f_hz, p, _ = at(result, t_s)
        assert f_hz == pytest.approx(59.97, abs=1e-8)
        assert p == pytest.approx(np.array(P_SET) + 2 * np.pi * 0.03 / m, abs=1e-6)


def test_loads_of_a_grid_that_only_the_public_one_forms_feel_its_frequency(tmp_path: Path) -> None:
    # 59.4 Hz are 1 % less: 1.5 % less load; units whose power is given stand in the generators' place
    units = {f"given{bus}": {"type": "profile", "bus": bus, "p_gen": 100000} for bus in (1, 2, 3)}
    grid = c1()["grid"] | {"loads": {"v0_pu": 1, "k_pf": 1.5}}
    pcc = c1()["pcc"] | {"f_hz": 59.4}
    what = c1() | {"units": units, "grid": grid, "pcc": pcc, "until_s": 0.1, "events": [], "record": {}}
    result = run(load(what), folder=tmp_path)
    for bus, p_mw in (("5", 90), ("7", 100), ("9", 125)):
        assert result.series(f"load{bus}", "P_load[MW]")[1] == pytest.approx(p_mw * 0.985, abs=1e-6)
