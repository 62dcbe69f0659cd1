"""The library's `orpd9`: both cases of the reactive-power paper, dispatched, priced, matched and recorded."""

import json
from functools import cache

import numpy as np
import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.metrics_dispatch import slot_losses
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.reading import library
from gridloop.scenarios.report import write_report

SLOT_S = 900
# of the project's design, by pandapower: flat settings, and least losses that interior-point and SLSQP agree on
LOSS_MW = {0: 10.947052, 1: 6.765755, 2: 5.820531, 3: 3.935809}


@cache
def scenario():
    return load("orpd9")


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [run(scenario(), folder=folder / name) for name in ("one", "other")]


@pytest.fixture(scope="module")
def result(twice):
    return twice[0]


def decisions(result):
    return [json.loads(row) for row in (result.path / "dispatch.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_network_loses_what_the_optima_say(result):
    measured = slot_losses(result)
    for slot, wanted in LOSS_MW.items():
        assert measured[slot] == pytest.approx(wanted, abs=1e-4), slot
    assert result.series("svc", "Q_gen[MVar]")[1][3] == pytest.approx(182.166, abs=0.05)
    assert result.metrics["slot_loss.slot3"].value == measured[3]
    assert result.metrics["loss_reduction.slot1"].value == pytest.approx(1 - 6.765755 / 10.947052, abs=1e-5)


def test_the_network_has_the_voltages_of_the_optimum(result):
    at = {bus: result.series(bus, "Vm[pu]")[1][3] for bus in "456789"}
    wanted = dict(zip("456789", (1.0885, 1.0803, 1.1, 1.0894, 1.1, 1.0838), strict=True))
    assert at == pytest.approx(wanted, abs=2e-4)
    one = decisions(result)[3]
    assert one["band_pu"] == [0.9, 1.1]
    # a unit is told V / T
    for unit, tap in (("g1", "4-1"), ("g2", "8-2"), ("g3", "6-3")):
        told = one["setting"][f"V {unit}"] / one["setting"][f"T {tap}"]
        assert result.series(unit[1], "Vm[pu]")[1][3] == pytest.approx(told, abs=1e-9)


def test_what_breaks_limits_is_never_a_success(result):
    assert result.series("dso", "feasible[1]")[1][:4].tolist() == [0, 1, 1, 1]
    told = next(event.outcome for event in result.events if event.target == "slot 0")
    assert [event.target for event in result.events if event.kind == "dispatch"] == [f"slot {k}" for k in range(5)]
    assert "INFEASIBLE: V at bus 9 = 0.7798 pu < 0.9" in told
    assert result.metrics["infeasible_slots"].value == 1


def test_prices_are_those_of_the_design(result):
    cost = [one["prices"]["cost_per_h"] for one in decisions(result)]
    for slot, wanted in {
        0: (258.354, 65.117, 12.296, 0), 1: (267.101, 33.022, 8.010, 0), 2: (45.496, 10.622, 0.482, 228.01),
        3: (1.778, 0.297, 5.219, 340.03),
    }.items():  # fmt: skip
        assert list(cost[slot].values()) == pytest.approx(wanted, abs=6e-3), slot
        paid = sum(sum(share.values()) for share in decisions(result)[slot]["prices"]["share_per_h"].values())
        assert paid == pytest.approx(sum(cost[slot].values()), rel=1e-9)
    mean = np.mean([one["svc"] for one in cost[:7]])
    assert result.metrics["reactive_cost.svc"].value == pytest.approx(mean)
    assert result.metrics["slot_price.slot3"].value == pytest.approx(347.32, abs=0.01)  # the SVC does not pay
    assert result.metrics["slot_price.slot1"].value == pytest.approx(308.13, abs=0.01)


def test_buyers_get_what_was_matched_and_sellers_that_overload_a_line_are_named(result):
    assert result.series("buyer7", "P_gen[MW]")[1] == pytest.approx([0, 0, 0, 0, -100, 0, 0, 0], abs=1e-9)
    assert result.series("buyer5", "P_gen[MW]")[1] == pytest.approx([0, 0, 0, 0, 0, -125, 0, 0], abs=1e-9)
    told = {event.target: event.outcome for event in result.events if event.kind == "match" and event.t_s < 5000}
    assert told["buyer7"].startswith("100 MW at bus 7: g1, losses -7.69 %; g2 refused: line 8-2 loaded 105.6 %")
    assert "g2 refused: line 8-2" in told["buyer5"] and "g3 refused: line 5-6" in told["buyer5"]
    last = next(event.outcome for event in reversed(result.events) if event.kind == "match")
    assert last.startswith("190 MW at bus 5: no seller") and "g1 would give 267.4 MW of at most 250" in last
    found = result.metrics
    assert (found["requests"].value, found["requests_matched"].value, found["sellers_refused"].value) == (3, 2, 6)


def test_trades_are_settled_on_a_verified_ledger(result):
    from gridloop.simulators.market.ledger_embedded import EmbeddedLedger

    assert result.metrics["ledger_verified"].value == 1
    assert result.metrics["ledger_transactions"].value == 2 * 6
    ledger = EmbeddedLedger.open(result.path / "ledger.sqlite", read_only=True)
    txs = [tx for block in ledger.blocks() for tx in block.txs]
    assert [tx.body["w"] for tx in txs if tx.kind == "settle"] == [100_000_000, 125_000_000]
    mapped = [tx.body for tx in txs if tx.kind == "map"]
    # the rise of 5 P + .11 P^2 from what g1 gave before, 70.936 MW
    assert mapped[0]["price"] == pytest.approx(1000 * (5 + 0.11 * (2 * 70.936 + 100)), abs=2)
    assert mapped[1]["loss_w"] == pytest.approx(1e6 * slot_losses(result)[5], rel=1e-4)
    assert mapped[1]["loading_ppm"] == pytest.approx(802_000, abs=1000)
    ledger.close()


def test_the_same_seed_gives_the_same_bits(twice):
    one, other = twice
    for name, entity in one.entities.items():
        for attr in entity.attributes:
            assert one.series(name, attr)[1].tobytes() == other.series(name, attr)[1].tobytes(), (name, attr)
    assert (one.path / "dispatch.jsonl").read_bytes() == (other.path / "dispatch.jsonl").read_bytes()


def test_the_report_shows_it(result, tmp_path):
    page = write_report(result, tmp_path / "report.html").read_text(encoding="utf-8")
    section = page[page.index("<h2>Reactive power dispatch</h2>") :]
    section = section[: section.index("</section>")]
    assert section.count('aria-label="voltages before and after"') == 2
    assert section.count('aria-label="convergence"') == 1 and section.count("<polyline") == 2
    for words in (
        "6.765761", "INFEASIBLE: V at bus 9", "line 8-2 loaded 105.6 %", "every byte verified", "impossible: below the",
        "reproduces with the misprint",
    ):  # fmt: skip
        assert words in section, words


def test_without_its_operator_the_units_hold_their_set_points(tmp_path):
    events = [
        {"t_s": 0, "do": "unit_trip", "unit": "svc"}, {"t_s": 1000, "do": "agent_fail", "agent": "dso"},
        {"t_s": 3000, "do": "agent_recover", "agent": "dso"},
    ]  # fmt: skip
    found = run(scenario(), overrides={"events": events, "until_s": 4500}, folder=tmp_path / "run")
    loss = slot_losses(found)
    assert [loss[slot] for slot in (1, 2, 3)] == pytest.approx([6.765755] * 3, abs=1e-4)  # slot 2 would have been flat
    level = found.series("1", "Vm[pu]")[1]
    assert level[1] == level[2] == level[3] > 1.1
    assert "silent; the units hold their set-points" in [event.outcome for event in found.events]
    assert found.metrics["requests_matched"].value == 1  # back in time for the first buyer


def test_what_is_sold_for_several_slots_counts_once(tmp_path):
    requests = [
        {"buyer": "buyer7", "p_kw": 100_000, "slots": [1, 4]}, {"buyer": "buyer5", "p_kw": 20_000, "slots": [2, 4]},
    ]  # fmt: skip
    overrides = {
        "events": [], "until_s": 3600, "market.dispatch.flat_slots": [1, 2, 3], "market.dispatch.requests": requests,
    }  # fmt: skip
    found = run(scenario(), overrides=overrides, folder=tmp_path / "run")
    assert found.series("g3", "P_gen[MW]")[1] == pytest.approx([85, 85, 105, 105, 85], abs=0.01)
    expected = found.series("dso", "P_loss_after[MW]")[1]
    assert list(slot_losses(found).values()) == pytest.approx(expected[:4], abs=1e-4)
    assert found.metrics["energy_traded"].value == pytest.approx((3 * 100 + 2 * 20) / 4)


def test_the_operator_sees_loads_that_events_bring(tmp_path):
    events = [{"t_s": 900, "do": "load_step", "bus": 8, "p_kw": 30_000, "q_kvar": 10_000}]
    overrides = {"events": events, "until_s": 2700, "market.dispatch.requests": [], "market.dispatch.flat_slots": []}
    found = run(scenario(), overrides=overrides, folder=tmp_path / "run")
    expected, loss = found.series("dso", "P_loss_after[MW]")[1], slot_losses(found)
    assert abs(loss[1] - expected[1]) > 1e-2  # it did not know
    assert loss[2] == pytest.approx(expected[2], abs=1e-4)


def test_the_operator_knows_of_lines_and_holds_where_they_split_the_network(tmp_path):
    events = [
        {"t_s": 900, "do": "line_open", "line": "6-7"}, {"t_s": 1800, "do": "line_open", "line": "3-6"},
        {"t_s": 2700, "do": "line_close", "line": "3-6"},
    ]  # fmt: skip
    overrides = {
        "events": events, "until_s": 3600, "market.dispatch.flat_slots": [], "market.dispatch.requests": [],
    }  # fmt: skip
    found = run(scenario(), overrides=overrides, folder=tmp_path / "run")
    told = [event.outcome for event in found.events if event.kind == "dispatch"]
    assert told[2] == "the network is split; set-points are held"
    assert [row["slot"] for row in decisions(found)] == [0, 1, 3, 4]
    expected, loss = found.series("dso", "P_loss_after[MW]")[1], slot_losses(found)
    assert loss[1] == pytest.approx(expected[1], abs=1e-3)
    held = found.series("2", "Vm[pu]")[1]
    assert held[2] == pytest.approx(held[1], abs=1e-12)


RMS = {
    "mode": "rms", "step_ms": 5, "until_s": 1.8, "market.slot_s": 1, "market.lead_s": 0.5, "events": [],
    "market.dispatch.requests": [], "market.dispatch.flat_slots": [], "units.g1.droop_p_percent": 1,
    "units.g1.p_set_kw": 72820.5,
    "record.every_ms": 50,
}  # fmt: skip


def test_in_mode_rms_set_points_change_and_losses_fall(tmp_path):
    found = run(scenario(), overrides=RMS, folder=tmp_path / "run")
    t, loss = found.series("grid", "P_loss[MW]")
    assert loss[t < 0.99] == pytest.approx(np.full((t < 0.99).sum(), 5.8205), abs=2e-3)
    assert loss[-1] == pytest.approx(3.9358, abs=0.01)  # generators share what the losses change
    assert slot_losses(found)[1] == loss[-1]
    assert found.series("svc", "Q_gen[MVar]")[1][-1] == pytest.approx(182.2, abs=0.5)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"market.dispatch.generators": ["g1", "g2"]}, "dispatch.generators: the net's generator g3 has no unit"),
        ({"market.dispatch.generators": ["g1", "g2", "g4"]}, "there is no unit 'g4'"),
        ({"market.dispatch.generators": ["g1", "g2", "svc"]}, "a generator is an inverter with `control: droop`"),
        ({"units.g3.droop_q_percent": 5}, r"g3 must hold the voltage as it is told: give it droop_q_percent: 0"),
        ({"units.g3.z_pu": [0, 0.1]}, "g3 must hold the voltage as it is told"),
        ({"market.dispatch.svcs": {"g1": [0, 1]}}, "a compensator is an inverter with `control: following`"),
        ({"market.dispatch.svcs": {"svc": [1, 0]}}, "the lower limit 1 is above the upper one 0"),
        ({"market.dispatch.requests": [{"buyer": "svc", "p_kw": 1, "slots": [1, 2]}]}, "svc is a compensator already"),
        ({"market.dispatch.requests": [{"buyer": "buyer5", "p_kw": 1, "slots": [2, 2]}]}, "until before slot 2 there"),
        ({"market.dispatch.requests": 2 * [{"buyer": "buyer5", "p_kw": 1, "slots": [1, 2]}]}, "has asked for these"),
        ({"market.dispatch": None}, r"a market needs offers \(units that negotiate\), dispatch, or both"),
        ({"market.lead_s": 900}, "market.lead_s: must be shorter than slot_s"),
        ({"market.lead_s": 60.5}, "must be whole seconds where there are trades"),
        ({"market.trades": {}}, "trades between neighbours need offers"),
        ({"events": [{"t_s": 1, "do": "set", "path": "units.g*.v_set_pu", "value": 1}]}, "g1 is told its v_set_pu by"),
        (
            {"market.offers": {"buyer5": {"b_ct_per_kwh": 1, "c_ct_per_kw2h": 1, "p_kw": [0, 1]}}},
            "market.offers.buyer5: buyer5 is told its set-points by market.dispatch",
        ),
        ({"events": [{"t_s": 1, "do": "unit_trip", "unit": "g2"}]}, "needs all of its generators: g2 must stay"),
        ({"grid.base": {"s_mva": 1, "v_kv": 11}}, "grid.base: dispatch takes the net as it is"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_told(overrides, words, tmp_path):
    with pytest.raises(ScenarioError, match=words):
        run(scenario().with_overrides(overrides), folder=tmp_path / "run")


def test_compensators_of_the_net_itself_give_what_they_give(tmp_path):
    import pandapower

    from gridloop.simulators.market.orpd9 import orpd9

    pandapower.to_json(orpd9(svc_mvar=60.0), str(tmp_path / "own.json"))
    text = library()["orpd9"].read_text(encoding="utf-8").replace("orpd9-net.json", "own.json")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    found = run(load(tmp_path / "own.yaml"), overrides={"until_s": 900}, folder=tmp_path / "run")
    assert slot_losses(found)[0] == pytest.approx(found.series("dso", "P_loss_before[MW]")[1][0], abs=1e-6)
    assert slot_losses(found)[0] < 10.9


def test_the_net_is_that_of_its_recipe():
    from gridloop.simulators.market.orpd9 import orpd9
    from gridloop.simulators.pandapower_net import load_net

    given, made = load_net("orpd9-net.json", library()["orpd9"].parent), orpd9(svc_mvar=None)
    for table in ("bus", "line", "trafo", "load", "gen", "ext_grid", "poly_cost"):
        columns = [c for c in made[table].columns if made[table][c].dtype.kind in "fiub"]
        assert np.allclose(
            given[table][columns].to_numpy(float), made[table][columns].to_numpy(float), rtol=1e-12, equal_nan=True
        ), table
