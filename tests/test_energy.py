"""The energy ledger of real runs: every device of the microgrid, in seconds and in hours, books of two origins each."""

from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import Result, load, run
from gridloop.scenarios.measure import ledger

LEDGER = 1e-6
RMS: dict[str, Any] = {
    "until_s": 2.5,
    "events": [
        {"t_s": 0.5, "do": "load_step", "bus": 5, "p_kw": 300, "q_kvar": 100},
        {"t_s": 1.0023, "do": "line_open", "line": "6-7"},  # between two steps
        {"t_s": 1.5, "do": "set", "path": "units.batt1.p_set_kw", "value": -800},  # it charges
        {"t_s": 2.0, "do": "unit_trip", "unit": "diesel1"},
    ],
}
DEVICES = ("network", "batt1", "diesel1", "pv1")


@pytest.fixture(scope="module", params=["circuit", "coulomb"])
def short(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """microgrid9 through a load step, a line trip, charging and the loss of its diesel set."""
    overrides = {**RMS, "units.batt1.source.model": request.param}
    return run(load("microgrid9"), overrides=overrides, folder=tmp_path_factory.mktemp("energy"))


@pytest.mark.parametrize("device", DEVICES)
def test_the_books_of_every_device_close(short: Result, device: str) -> None:
    assert short.metrics[f"energy_residual.{device}"].value < LEDGER


def test_every_account_was_held(short: Result) -> None:
    found = {(account.device, account.kind): account for account in ledger(short)}
    assert list(found) == [
        ("network", "network"), ("batt1", "converter"), ("batt1", "battery"), ("diesel1", "diesel set"),
        ("pv1", "converter"),
    ]  # fmt: skip
    assert all(account.moved_mwh > 1e-5 for account in found.values())
    power = short.series("batt1", "P_gen[MW]")[1]
    assert power.min() < -0.1 and power.max() > 0.5  # it charged and discharged


def test_the_books_close_between_events(short: Result) -> None:
    assert len(short.windows) == 5
    for window in short.windows:
        assert window.metrics["energy_residual"].value < LEDGER


def test_the_books_of_a_day_close(tmp_path: Path) -> None:
    coarse = {"step_ms": 300_000, "record.every_ms": 300_000}
    result = run(load("village-day"), until_s=12 * 3600, overrides=coarse, folder=tmp_path)
    residuals = {key: m.value for key, m in result.metrics.items() if key.startswith("energy_residual.")}
    assert max(residuals.values()) < LEDGER
    assert len(residuals) == 11  # network, battery, diesel set and eight arrays
    assert 0 < result.metrics["renewable_share"].value < 3
