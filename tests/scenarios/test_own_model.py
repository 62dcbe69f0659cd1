"""A device model of a user's own, named in a scenario file: examples/stiff_source."""

from pathlib import Path

import numpy as np
import pytest

from gridloop.scenarios import load, run

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_own_model_feeds_the_grid_beside_ours(tmp_path: Path) -> None:
    # +100 kW at 1 s: a source of constant frequency takes all of it once the droop units have followed
    result = run(load(EXAMPLES / "stiff_source.yaml"), until_s=5.0, folder=tmp_path / "run")
    t_s, f_hz = result.series("big", "f[Hz]")
    assert np.all(f_hz == 60.0)
    p_mw = {unit: result.series(unit, "P_gen[MW]")[1] for unit in ("big", "inv2", "inv3")}
    for unit in ("inv2", "inv3"):
        assert result.series(unit, "f[Hz]")[1][-1] == pytest.approx(60.0, abs=1e-4)
        assert p_mw[unit][-1] == pytest.approx(p_mw[unit][0], abs=2e-4)
    assert p_mw["big"][-1] - p_mw["big"][0] == pytest.approx(0.1, rel=0.05)
    assert np.allclose(p_mw["big"][t_s < 1], p_mw["big"][0], atol=1e-9)


def test_metrics_do_without_what_the_model_does_not_show(tmp_path: Path) -> None:
    result = run(load(EXAMPLES / "stiff_source.yaml"), folder=tmp_path / "run")
    assert result.metrics["p_sharing_error_end"].value < 0.01  # of the two droop inverters
    assert result.metrics["f_zenith"].value == pytest.approx(60.0, abs=0.02)
