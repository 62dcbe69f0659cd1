"""A grid-following unit in the coupling: with the step the error falls by its square.

ieee9 with 40 MW + 5 Mvar injected at bus 6; its set-point rises to 55 MW at 0.1 s, 30 MW + 10 Mvar less are drawn at
bus 5 from 0.2 s on. Compared with steps of 0.625 ms.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import Result, load, run

PV = {"type": "inverter", "control": "following", "bus": 6, "s_rated_kva": 60000, "p_set_kw": 40000, "q_set_kvar": 5000}
STEPS_MS = (10, 5, 2.5)
EVENTS = [
    {"t_s": 0.1, "do": "set", "path": "units.pv.p_set_kw", "value": 55000},
    {"t_s": 0.2, "do": "load_step", "bus": "5", "p_kw": -30000, "q_kvar": -10000},
]


def run_at(step_ms: float, folder: Path, pv: dict[str, Any], loads: dict[str, Any]) -> Result:
    given = load("ieee9").to_dict() | {"step_ms": step_ms, "until_s": 0.5, "events": EVENTS}
    given["units"] = given["units"] | {"pv": PV | pv}
    given["grid"] = given["grid"] | {"loads": given["grid"]["loads"] | loads}
    return run(load(given | {"record": {"every_ms": 10, "signals": []}}), folder=folder)


def values(result: Result, attribute: str, units: tuple[str, ...]) -> Any:
    """Columns of units at the rows that all steps have."""
    t, _ = result.series(units[0], attribute)
    common = np.isclose(np.round(t * 1e6) % 10_000, 0)
    return np.stack([result.series(unit, attribute)[1][common] for unit in units])


@pytest.mark.parametrize(
    ("pv", "loads"),
    [
        pytest.param({}, {}, id="set power"),
        pytest.param({"frequency_watt_percent_per_hz": 50, "frequency_watt_deadband_hz": 0}, {}, id="watt(f)"),
        pytest.param({}, {"k_pf": 1.5, "frequency": "bus"}, id="loads that feel their bus"),
    ],
)
def test_error_falls_with_the_square_of_the_step(tmp_path: Path, pv: dict[str, Any], loads: dict[str, Any]) -> None:
    forming = ("inv1", "inv2", "inv3")
    what = (("f[Hz]", forming), ("P_gen[MW]", (*forming, "pv")))
    exact = run_at(0.625, tmp_path / "exact", pv, loads)
    errors = []
    for step_ms in STEPS_MS:
        found = run_at(step_ms, tmp_path / str(step_ms), pv, loads)
        errors.append([np.abs(values(found, *one) - values(exact, *one)).max() for one in what])
    orders = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    # the longest step is not yet where the square alone counts
    assert orders.min() > 1.7 and orders[-1] == pytest.approx(2.0, abs=0.5), (orders, errors)
    assert errors[1][0] < 5e-3 and errors[1][1] < 0.3, errors  # Hz and MW at 5 ms
