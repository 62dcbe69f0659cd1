"""Kinds of secondary control compared on one system, with the figures that are known of it (physics.md 5.1, M1).

Case A without set-points from its droop equilibrium, constant-power loads, agents on from the start: a load step at
10 s, a line that opens at 20 s. Tolerances: f 1e-4 Hz, nadir 2 mHz, times .05 s, sharing 1e-3, losses 1e-4 pu.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gridloop.scenarios.result import Result
from gridloop.scenarios.runner import run
from margin_cases import CONSTANT_POWER, NONE, case_a

EVENTS = [
    {"t_s": 10, "do": "load_step", "bus": "5", "p_kw": 30_000, "q_kvar": 10_000},
    {"t_s": 20, "do": "line_open", "line": "6-7"},
]
S_BASE_MVA = 100


class Row(NamedTuple):
    """Of 10 to 20 s, and of what follows."""

    f_end_hz: float
    f_nadir_hz: float
    settling_s: float  # until |f - 60 Hz| stays below 20 mHz
    p_error: float
    q_error: float
    loss_pu: float
    later_q_error: float
    later_v_max: float
    later_loss_pu: float


FREE_V, FREE_C = {"law": "V", "limit_pu": 1}, {"law": "C", "limit_pu": 1}
# delay [ms], control, figures
ROWS: dict[str, tuple[float, dict[str, Any], Row]] = {
    "droop": (0, {"frequency": NONE, "voltage": NONE},
              Row(59.00751, 58.9774, math.inf, 0, 0.1696, 0.06506, 0.1619, 0.997, 0.07584)),
    "C": (50, {"frequency": {"law": "C"}, "voltage": FREE_C},
          Row(60, 59.8812, 0.730, 0, 0.1633, 0.06257, 0.1585, 1.016, 0.07233)),
    "F+V": (50, {"frequency": {"law": "F"}, "voltage": FREE_V},
            Row(60, 59.8835, 1.420, 0, 0, 0.06034, 0, 1.090, 0.07146)),
    "F+paper23": (50, {"frequency": {"law": "F"}, "voltage": {"law": "paper23", "limit_pu": 1}},
                  Row(60, 59.8812, 1.420, 0, 0.1633, 0.06257, 0.1585, 1.016, 0.07233)),
    "F+V within .05": (50, {"frequency": {"law": "F"}, "voltage": {"law": "V", "limit_pu": 0.05}},
                       Row(60, 59.8835, 1.420, 0, 0.0074, 0.06044, 0.1008, 1.045, 0.07237)),
    "F+V .5 s": (500, {"frequency": {"law": "F"}, "voltage": FREE_V},
                 Row(59.99670, 59.8584, 4.885, 0.0020, 1e-4, 0.06025, 0, 1.090, 0.07146)),
    "C .5 s": (500, {"frequency": {"law": "C", "limit_hz": 10}, "voltage": FREE_C},
               Row(59.99954, 59.8802, 3.005, 0, 0.1633, 0.06258, 0.1585, 1.016, 0.07233)),
    "D+V'": (50, {"frequency": {"law": "D"}, "voltage": {"law": "Vprime", "limit_pu": 1, "beta_per_s": 2}},
             Row(60, 59.8813, 0.505, 0, 0.0755, 0.06419, 0.0987, 1.029, 0.07401)),
}  # fmt: skip
FAST = ("F+V",)


def compared(name: str, folder: Path) -> Result:
    delay_ms, control, _ = ROWS[name]
    scenario = case_a(
        {"delay_handling": "neighbour_only", **control}, p_set_kw=(0, 0, 0), zip_p=CONSTANT_POWER, until_s=35,
        events=EVENTS, record={"signals": ["buses"]},
    )  # fmt: skip
    return run(scenario, overrides={"comms.delay_ms": delay_ms}, folder=folder / "run")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else [pytest.mark.study]) for n in ROWS])
def test_figures_of_a_kind_of_control(name: str, tmp_path: Path) -> None:
    row = ROWS[name][2]
    first, later = ({key: m.value for key, m in w.metrics.items()} for w in compared(name, tmp_path).windows[1:3])
    assert first["f_end"] == pytest.approx(row.f_end_hz, abs=1e-4)
    assert first["f_nadir"] == pytest.approx(row.f_nadir_hz, abs=2e-3)
    assert first["f_settling_time"] == pytest.approx(row.settling_s, abs=0.05)
    assert first["p_sharing_error_end"] == pytest.approx(row.p_error, abs=1e-3)
    assert first["q_sharing_error_end"] == pytest.approx(row.q_error, abs=1e-3)
    assert first["loss_end"] / S_BASE_MVA == pytest.approx(row.loss_pu, abs=1e-4)
    assert later["q_sharing_error_end"] == pytest.approx(row.later_q_error, abs=1e-3)
    assert later["loss_end"] / S_BASE_MVA == pytest.approx(row.later_loss_pu, abs=1e-4)
    # the known one is that of the end, the metric's that of the whole window
    assert later["v_max"] == pytest.approx(row.later_v_max, abs=2e-3)
