"""The library's `neighbourhood`, and a small market in mode rms: from forecasts to set-points and their outcome."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.market_parts import Market, Offer
from gridloop.scenarios.market_plan import _sample_s
from gridloop.scenarios.metrics_market import outages
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.report import write_report

SLOT_S = 900
# the library's faults brought forward: 06 to 12 h of the first day
FAULTS = [
    {"t_s": 6 * 3600 - 60, "do": "agent_fail", "agent": name} for name in ("controller", "batt7")
] + [
    {"t_s": 12 * 3600 - 60, "do": "agent_recover", "agent": name} for name in ("controller", "batt7")
]  # fmt: skip


@pytest.fixture(scope="module")
def half_a_day(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    overrides = {"events": FAULTS, "until_s": 14 * 3600}
    return [run(load("neighbourhood"), overrides=overrides, folder=folder / name) for name in ("one", "other")]


def test_the_team_carries_on_and_the_controller_does_not(half_a_day):
    found = half_a_day[0].metrics
    assert found["resilience.team"].value > 0.95
    assert found["resilience.central"].value < 0.85
    assert found["resilience.standby"].value == pytest.approx(1, abs=1e-12)
    assert found["balancing_accuracy.team"].value > 0.86
    assert found["forecast_error"].value < 0.5 * found["forecast_error_naive"].value
    assert found["recovery_time.central"].value >= found["recovery_time.team"].value >= 3600


def test_the_same_run_again_is_the_same_to_the_bit(half_a_day):
    one, other = half_a_day
    for name, entity in one.entities.items():
        for attr in entity.attributes:
            assert one.series(name, attr)[1].tobytes() == other.series(name, attr)[1].tobytes(), (name, attr)
    assert (one.path / "ledger.sqlite").exists()
    assert one.metrics["ledger_blocks"].value == other.metrics["ledger_blocks"].value > 40


def test_units_give_what_was_agreed(half_a_day):
    result = half_a_day[0]
    t, agreed = result.series("team", "P_agreed[MW]")
    slots = (t // SLOT_S).astype(int) + 1
    units = sum(result.series(name, "P_gen[MW]")[1] for name in ("batt3", "batt7", "chp1"))
    given = [name for name in result.entities if name.startswith(("home", "pv"))]
    tie = -sum(result.series(name, "P_gen[MW]")[1] for name in given) - units
    # what the utility really gave is what was agreed of it, less what the forecasts missed
    missed = result.series("market", "P_demand[MW]")[1][slots[:-1]] - agreed[:-1]
    assert np.isfinite(tie).all()
    assert np.abs(missed).mean() < 0.1 * np.abs(agreed).mean() + 3e-4
    # the battery of the agent that is down holds its power (or its limit) through the fault
    held = result.series("batt7", "P_gen[MW]")[1][6 * 4 + 1 : 8 * 4]
    assert np.ptp(held) < 1e-9 or np.abs(held[-1]) < 1e-9


def test_neighbours_learn_to_trade_and_every_trade_is_on_the_ledger(half_a_day):
    found = half_a_day[0].metrics
    assert found["ledger_verified"].value == 1
    assert found["ledger_transactions"].value == pytest.approx(6 * found["trades"].value, abs=60)
    _, traded = half_a_day[0].series("market", "P_traded[MW]")
    _, possible = half_a_day[0].series("market", "P_possible[MW]")
    worth = possible > 1e-4
    assert traded[worth][:5].sum() == 0
    assert traded[worth][-8:].sum() > 0.8 * possible[worth][-8:].sum()


def test_an_altered_ledger_is_told(half_a_day, tmp_path, caplog):
    folder = tmp_path / "altered"
    shutil.copytree(half_a_day[0].path, folder)
    from gridloop.scenarios.metrics_market import market_metrics
    from gridloop.scenarios.result import open_run

    data = bytearray((folder / "ledger.sqlite").read_bytes())
    place = data.rindex(b'"propose"')
    data[place + 2] ^= 1
    (folder / "ledger.sqlite").write_bytes(bytes(data))
    assert market_metrics(open_run(folder))["ledger_verified"].value == 0
    assert "ledger.sqlite" in caplog.text


def test_the_report_shows_the_fault(half_a_day, tmp_path):
    page = write_report(half_a_day[0], tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index("<h2>Market</h2>") :]
    assert section.count("<polyline") == 4
    assert "somebody is down" in section
    assert re.search(r"central controller</th>.*?%", section)
    assert "every byte verified" in section


RMS = """
schema: 1
name: small-market
step_ms: 10
until_s: 30
seed: 3
clock: 2026-06-21T12:00:00+02:00
grid: {net: case9, base: {s_mva: 1, v_kv: 11}}
start: power_flow
profiles:
  home: {file: home.csv, columns: {p: "p[kW]"}}
units:
  batt1: {type: inverter, bus: 1, s_rated_kva: 3000}
  inv2: {type: inverter, bus: 2, control: following, s_rated_kva: 2000}
  inv3: {type: inverter, bus: 3, control: following, s_rated_kva: 2000}
  home1: {type: profile, bus: 5, p_load: home.p}
market:
  slot_s: 5
  lead_s: 2
  patience_s: 0.2
  forecast: persistence
  offers:
    inv2: {b_ct_per_kwh: 20, c_ct_per_kw2h: 0.02, p_kw: [0, 1800]}
    inv3: {b_ct_per_kwh: 20, c_ct_per_kw2h: 0.04, p_kw: [0, 1800]}
  comms: {delay_ms: 20}
"""
HOME = "time,p[kW]\n2026-06-21T12:00:00+02:00,600\n2026-06-21T12:00:12+02:00,600\n" \
    "2026-06-21T12:00:12.01+02:00,900\n2026-06-21T12:00:40+02:00,900\n"  # fmt: skip


def small(folder: Path, text: str = RMS) -> Path:
    (folder / "home.csv").write_text(HOME, encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_market_in_mode_rms(tmp_path):
    result = run(load(small(tmp_path)), folder=tmp_path / "run")
    # 600 kW of a slot before the step, 900 kW from the one after it: 2/3 and 1/3 by the offers' slopes
    for at_s, demand_kw in ((5.0, 600), (14.99, 600), (20.0, 900)):
        powers = [np.interp(at_s, *result.series(name, "P_set[MW]")) * 1e3 for name in ("inv2", "inv3")]
        assert powers == pytest.approx([demand_kw * 2 / 3, demand_kw / 3], rel=1e-6)
    assert result.metrics["messages_lost"].value == 0
    assert result.metrics["balancing_accuracy.team"].value > 0.8


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("inv3: {b_ct", "inv4: {b_ct", r"market.offers.inv4: there is no unit 'inv4', did you mean 'inv[23]'|inv4"),
        ("lead_s: 2", "lead_s: 1", "market.lead_s: must be at least 8 times patience_s, 1.6 s"),
        ("inv3: {b_ct", "tie: {b_ct", "market.offers.tie: the tie is the exchange with the utility grid: add `pcc:`"),
        ("inv3: {b_ct", "home1: {b_ct", "home1 cannot be told its power"),
        ("forecast: persistence", "forecast: ridge", "ridge forecasts quarters of an hour"),
        ("p_kw: [0, 1800]}\n    inv3", "p_kw: [5, 1]}\n    inv3", "the lower limit 5 is above the upper one 1"),
        ("lead_s: 2", "lead_s: 2\n  agents: {a: [home1, home2]}", "there is no unit 'home2'"),
        ("lead_s: 2", "lead_s: 2\n  trades: {buy_ct_per_kwh: 5}", "nobody could gain by trading"),
        ("lead_s: 2", "lead_s: 2\n  agents: {a: [batt1]}", "batt1 forms the grid and takes what is missing"),
        ("slot_s: 5", "slot_s: 5.005", "market.slot_s: must be a multiple of step_ms = 10"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_told(tmp_path, old, new, words):
    assert old in RMS
    with pytest.raises(ScenarioError, match=words):
        load(small(tmp_path, RMS.replace(old, new, 1)))


def test_a_history_that_is_too_short_is_told():
    scenario = load("neighbourhood").with_overrides({"market.history_days": 90})
    with pytest.raises(ScenarioError, match=r"neighbourhood-power.csv.*90 of history are needed"):
        run(scenario)


def test_outages_begin_and_end():
    failures = [(5.0, "agent_fail", "a"), (7.0, "agent_recover", "a"), (6.0, "agent_fail", "b")]
    assert outages(failures) == [("a", 5.0, 7.0), ("b", 6.0, float("inf"))]


@pytest.mark.parametrize(
    ("slot_s", "lead_s", "step_s", "sample_s"),
    [(900, 60, 900, 60), (900, 60, 60, 60), (900, 60, 1, 4), (5, 2, 0.01, 0.1)],
)
def test_units_are_looked_at_often_enough(slot_s, lead_s, step_s, sample_s):
    offers = {"u": Offer(b_ct_per_kwh=1, c_ct_per_kw2h=1, p_kw=(0, 1))}
    market = Market(slot_s=slot_s, lead_s=lead_s, patience_s=0.1, offers=offers)
    assert _sample_s(market, step_s) == pytest.approx(sample_s)
