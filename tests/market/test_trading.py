"""Trades of a neighbourhood on the embedded ledger: recorded, settled, verified, and learnt from."""

import pytest

from gridloop.simulators.market.deals import Notary
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from gridloop.simulators.market.ledger_keys import simulated
from gridloop.simulators.market.ledger_state import Genesis, Member
from gridloop.simulators.market.trading import Floor, State

SLOT_S = 900
BUSES = {"home1": "h1", "home2": "h2", "roof": "h3"}


def floor(margin: float = 0.0, sell_value: int = 80_000) -> Floor:
    keys = {name: simulated(1, name) for name in ("dso", *BUSES)}
    roles = {"dso": ("dso",)} | dict.fromkeys(BUSES, ("buyer", "seller"))
    members = {keys[name].address: Member(name, roles[name]) for name in keys}
    genesis = Genesis(members, tuple(key.address for key in keys.values()), SLOT_S)
    notary = Notary(EmbeddedLedger.create(None, genesis, keys.values()), keys, BUSES)
    return Floor(notary, sell_value, 300_000, margin)


def test_a_trade_goes_the_whole_way():
    here = floor()
    found = here.trade(1, 840, {"home1": -600, "home2": -300, "roof": 2000}, State(0.4, 0.02))
    assert found.price == (80_000 + 300_000) // 2
    assert {(trade.buyer, trade.power_w) for trade in found.trades} == {("home1", 600), ("home2", 300)}
    assert found.possible_w == 900
    # the roof had 450 W only, half of what it sold: both get half, for a quarter of an hour at .19 a kWh
    assert here.settle(1, 1740, {"home1": -700, "home2": -300, "roof": 450}) == 450
    earned = here.notary.ledger.balance(here.notary.keys["roof"].address)
    assert earned == 300 * 190_000 * SLOT_S // 3_600_000 + 150 * 190_000 * SLOT_S // 3_600_000
    assert here.notary.ledger.balance(here.notary.keys["home1"].address) == -300 * 190_000 * SLOT_S // 3_600_000
    verified = here.notary.ledger.verify()
    assert verified.txs == 2 * 6
    block = next(iter(here.notary.ledger.blocks()))
    assert [tx.body["loss_w"] for tx in block.txs if tx.kind == "map"] == [12, 6]


def test_what_nobody_delivered_is_not_paid():
    here = floor()
    here.trade(1, 840, {"home1": -600, "roof": 600}, State())
    assert here.settle(1, 1740, {"home1": -600, "roof": -100}) == 0
    assert here.notary.ledger.balance(here.notary.keys["roof"].address) == 0


def test_small_surpluses_and_slots_without_trades_leave_no_block():
    here = floor()
    assert here.trade(1, 840, {"home1": -5, "roof": 2000}, State()).trades == []
    assert here.settle(1, 1740, {}) == 0
    assert here.notary.ledger.verify().blocks == 0


def test_owners_learn_to_trade():
    # they ask 160 and bid 150 at first, so nobody trades although both would gain
    here = floor(margin=1.0)
    share = []
    for slot in range(1, 61):
        found = here.trade(slot, slot * SLOT_S - 60, {"home1": -400, "home2": -500, "roof": 900}, State())
        share.append(sum(trade.power_w for trade in found.trades) / found.possible_w)
    assert share[0] == 0
    assert sum(share[-10:]) / 10 > 0.7


def test_values_at_which_nobody_could_gain():
    with pytest.raises(ValueError, match="nobody could gain by trading"):
        floor(sell_value=300_000)
