"""The market's rules, on both backends: a chain of our own and a contract on an EVM chain."""

from dataclasses import replace

import pytest

from gridloop.simulators.market.ledger_tx import Refused
from ledger_cases import MAPPING, OFFER, PAID, WISH


def test_a_trade_goes_from_proposals_to_settlement(market):
    sell, buy, match = market.matched()
    assert [market.ledger.status(id) for id in (sell, buy, match)] == ["matched"] * 3
    market.do("shop", "approve", match=match)
    assert market.ledger.status(match) == "matched"
    market.do("house", "approve", match=match)
    assert [market.ledger.status(id) for id in (sell, buy, match)] == ["committed"] * 3
    market.do("shop", "settle", match=match, w=1500)
    assert market.ledger.status(match) == "settled"
    assert market.balances() == (PAID, -PAID)


def test_what_was_delivered_is_paid_rounded_down(market):
    # 7 W x 220,000 millionths per kWh x 900 s / 3,600,000 = 385 exactly; 1 W gives 55; 1 W at 13 s would not
    match = market.committed()
    market.do("shop", "settle", match=match, w=7)
    assert market.balances() == (385, -385)


def test_a_fraction_of_a_millionth_is_not_paid(open_market):
    market = open_market(slot_s=907)
    match = market.committed()
    market.do("shop", "settle", match=match, w=1)  # 220,000 x 907 / 3,600,000 = 55.43
    assert market.balances() == (55, -55)


def test_a_rejected_match_opens_both_proposals_again(market):
    sell, buy, match = market.matched()
    market.do("house", "approve", match=match)
    market.do("shop", "reject", match=match)
    assert [market.ledger.status(id) for id in (sell, buy, match)] == ["open", "open", "rejected"]
    with pytest.raises(Refused):
        market.do("house", "approve", match=match)


def test_an_owner_withdraws_an_open_proposal(market):
    offer = market.do("house", "propose", **OFFER)
    with pytest.raises(Refused, match="owner"):
        market.do("shop", "withdraw", proposal=offer)
    market.do("house", "withdraw", proposal=offer)
    assert market.ledger.status(offer) == "withdrawn"
    with pytest.raises(Refused):
        market.do("house", "withdraw", proposal=offer)


def test_what_is_not_approved_expires_when_its_slot_ends(market):
    sell, buy, match = market.matched()
    market.do("house", "approve", match=match)
    market.ledger.seal(5399)  # slot 5 ends at 6 x 900 s
    assert market.ledger.status(match) == "matched"
    market.ledger.seal(5400)
    assert [market.ledger.status(id) for id in (sell, buy, match)] == ["expired"] * 3
    with pytest.raises(Refused):
        market.do("shop", "approve", match=match)
    with pytest.raises(Refused, match="slot"):
        market.do("house", "propose", **OFFER)


def test_a_committed_trade_does_not_expire(market):
    match = market.committed()
    market.ledger.seal(0)
    market.ledger.seal(100_000)
    market.do("shop", "settle", match=match, w=1500)
    assert market.ledger.status(match) == "settled"


def test_time_does_not_run_backwards(market):
    market.ledger.seal(900)
    with pytest.raises(ValueError, match="backwards"):
        market.ledger.seal(899)


# ---- L1: who may do what
def test_only_sellers_and_buyers_propose(market):
    for name in ("outsider", "dso", "auditor"):
        for body in (OFFER, WISH):
            with pytest.raises(Refused):
                market.do(name, "propose", **body)


def test_only_the_dso_maps(market):
    sell, buy = market.do("house", "propose", **OFFER), market.do("shop", "propose", **WISH)
    for name in ("house", "shop", "auditor", "outsider"):
        with pytest.raises(Refused):
            market.do(name, "map", **MAPPING, sell=sell, buy=buy)
    market.do("dso", "map", **MAPPING, sell=sell, buy=buy)


def test_only_the_owners_judge_a_match(market):
    _, _, match = market.matched()
    for name in ("dso", "auditor", "outsider"):
        for kind in ("approve", "reject"):
            with pytest.raises(Refused):
                market.do(name, kind, match=match)
    assert market.ledger.status(match) == "matched"


def test_an_owner_approves_once(market):
    _, _, match = market.matched()
    market.do("house", "approve", match=match)
    with pytest.raises(Refused, match="approved already"):
        market.do("house", "approve", match=match)
    assert market.ledger.status(match) == "matched"


def test_only_the_buyer_settles(market):
    match = market.committed()
    for name in ("house", "dso", "outsider"):
        with pytest.raises(Refused):
            market.do(name, "settle", match=match, w=1)
    assert market.balances() == (0, 0)


def test_a_trade_is_settled_once_and_not_before_it_is_committed(market):
    _, _, match = market.matched()
    with pytest.raises(Refused):
        market.do("shop", "settle", match=match, w=1)
    market.do("shop", "approve", match=match)
    market.do("house", "approve", match=match)
    with pytest.raises(Refused, match="agreed"):
        market.do("shop", "settle", match=match, w=1501)
    market.do("shop", "settle", match=match, w=1500)
    with pytest.raises(Refused):
        market.do("shop", "settle", match=match, w=1500)
    assert market.balances() == (PAID, -PAID)


def test_a_replayed_transaction_is_refused(market):
    tx = market.ledger.sign(market.keys["house"], "propose", OFFER)
    market.ledger.append(tx)
    with pytest.raises(Refused, match="nonce"):
        market.ledger.append(tx)
    market.ledger.seal(0)
    with pytest.raises(Refused, match="nonce"):
        market.ledger.append(tx)


def test_a_refused_transaction_uses_no_nonce(market):
    with pytest.raises(Refused):
        market.do("house", "propose", **(OFFER | {"w": 0}))
    offer = market.ledger.sign(market.keys["house"], "propose", OFFER)
    assert offer.nonce == 0
    market.ledger.append(offer)


def test_what_the_sender_did_not_sign_is_refused(market):
    tx = market.ledger.sign(market.keys["house"], "propose", OFFER)
    last = "0" if tx.sig[-1] != "0" else "1"
    altered = {
        "sig": tx.sig[:-1] + last, "body": {**OFFER, "price": 1}, "sender": market.address("shop"),
        "nonce": 1, "kind": "withdraw",
    }  # fmt: skip
    for key, value in altered.items():
        with pytest.raises(Refused):
            market.ledger.append(replace(tx, **{key: value}))
    market.ledger.append(tx)


def test_the_dso_maps_only_what_was_proposed(market):
    sell, buy = market.do("house", "propose", **OFFER), market.do("shop", "propose", **WISH)
    mapping = MAPPING | {"sell": sell, "buy": buy}
    for changes in (
        {"w": 0}, {"w": 1501}, {"price": 199_999}, {"price": 260_001}, {"loading_ppm": 1_000_001},
        {"sell": "0" * 16}, {"w": -1}, {"loss_w": 10**12 + 1},
    ):  # fmt: skip
        with pytest.raises(Refused):
            market.do("dso", "map", **(mapping | changes))
    market.do("dso", "map", **mapping)


def test_the_dso_maps_a_loss_and_a_full_line(market):
    assert market.ledger.status(market.matched(loading_ppm=1_000_000, loss_w=-(10**12))[2]) == "matched"


def test_a_mapping_needs_two_sides_two_owners_one_slot(market):
    offer, wish = market.do("house", "propose", **OFFER), market.do("shop", "propose", **WISH)
    late = market.do("shop", "propose", **(WISH | {"slot": 6}))
    own = market.do("house", "propose", **WISH)
    rest = {"w": 1, "price": 230_000, "loading_ppm": 0, "loss_w": 0}
    for sell, buy in ((wish, offer), (offer, late), (offer, own), (offer, offer)):
        with pytest.raises(Refused):
            market.do("dso", "map", sell=sell, buy=buy, **rest)
    market.do("dso", "map", sell=offer, buy=wish, **rest)
    with pytest.raises(Refused):
        market.do("dso", "map", sell=offer, buy=own, **rest)


def test_a_proposal_of_another_form_is_refused(market):
    for changes in (
        {"side": "lend"}, {"w": 0}, {"w": 10**12 + 1}, {"price": -1}, {"slot": -1}, {"bus": ""}, {"bus": "x" * 33},
        {"bus": "Köln"}, {"bus": "a\nb"}, {"w": True}, {"w": "1"}, {"more": 1},
    ):  # fmt: skip
        with pytest.raises(Refused):
            market.do("house", "propose", **(OFFER | changes))


def test_the_ledger_counts_in_integers(market):
    with pytest.raises(ValueError, match="integer"):
        market.do("house", "propose", **(OFFER | {"w": 1.5}))


def test_an_unknown_kind_is_refused(market):
    with pytest.raises(Refused, match="kinds"):
        market.do("house", "gift", match="0" * 16)


def test_a_buyer_does_not_owe_more_than_its_limit(open_market):
    market = open_market(credit_limit=82_445)  # what 1499 W cost
    match = market.committed()
    with pytest.raises(Refused, match="limit"):
        market.do("shop", "settle", match=match, w=1500)
    market.do("shop", "settle", match=match, w=1499)
    assert market.balances() == (82_445, -82_445)


# ---- membership
VALIDATORS = ["dso", "house", "shop", "auditor"]  # a quorum of four is three


def test_a_quorum_lets_a_member_in_from_the_next_block(market):
    market.change("outsider", ["seller"], VALIDATORS[:3])
    market.ledger.seal(900)
    market.do("outsider", "propose", **OFFER)


def test_less_than_a_quorum_changes_nothing(market):
    with pytest.raises(Refused, match="validators signed"):
        market.change("outsider", ["seller"], VALIDATORS[:2])
    with pytest.raises(Refused):
        market.change("outsider", ["seller"], ["dso", "house", "outsider"])
    with pytest.raises(Refused):
        market.do("outsider", "propose", **OFFER)


def test_a_change_is_signed_for_once(market):
    market.change("outsider", ["seller"], VALIDATORS)
    market.ledger.seal(900)
    market.change("outsider", [], VALIDATORS, change=1)
    market.ledger.seal(1800)
    with pytest.raises(Refused):
        market.do("outsider", "propose", **OFFER)
    with pytest.raises(Refused, match="change"):
        market.change("outsider", ["seller"], VALIDATORS)


def test_only_a_validator_brings_a_change(market):
    market.change("outsider", ["seller"], VALIDATORS)
    market.ledger.seal(900)
    with pytest.raises(Refused, match="only a validator"):
        market.change("shop", [], VALIDATORS, by="outsider", change=1)


def test_a_change_cannot_be_altered_after_it_was_signed(market):
    body = {"member": market.address("outsider"), "name": "outsider", "roles": ["seller"], "validator": 0, "change": 0}
    signed = {market.address(name): market.ledger.endorse(market.keys[name], body) for name in VALIDATORS}
    with pytest.raises(Refused):
        market.do("dso", "membership", **(body | {"roles": ["buyer"]}), signatures=signed)


def test_a_member_of_another_form_is_refused(market):
    for roles, changes in (
        (["buyer", "dso"], {}), (["judge"], {}), (["seller"], {"name": "house"}), ([], {"validator": 1}),
        (["seller"], {"name": ""}), (["seller"], {"change": 1}),
    ):  # fmt: skip
        with pytest.raises(Refused):
            market.change("outsider", roles, VALIDATORS, **changes)


def test_a_new_validator_counts(market):
    market.change("outsider", ["auditor"], VALIDATORS, validator=1)
    market.ledger.seal(900)
    five = [*VALIDATORS, "outsider"]  # a quorum of five is four
    with pytest.raises(Refused, match="validators signed"):
        market.change("shop", [], five[2:], change=1)
    market.change("shop", [], five[1:], change=1)
    market.ledger.seal(1800)
    with pytest.raises(Refused):
        market.do("shop", "propose", **WISH)


@pytest.mark.parametrize("name, left", [("house", "buyer"), ("shop", "seller")])
def test_who_lost_a_role_is_not_matched(market, name, left):
    sell, buy = market.do("house", "propose", **OFFER), market.do("shop", "propose", **WISH)
    market.change(name, [left], VALIDATORS)
    market.ledger.seal(900)
    with pytest.raises(Refused, match="role"):
        market.do("dso", "map", **MAPPING, sell=sell, buy=buy)


def test_who_left_is_no_party_any_more(market):
    _, _, match = market.matched()
    market.change("shop", [], VALIDATORS)
    market.ledger.seal(900)
    for kind in ("approve", "reject"):
        with pytest.raises(Refused, match="not a member"):
            market.do("shop", kind, match=match)


# ---- reading
def test_a_transaction_is_found_by_its_id(market):
    offer = market.do("house", "propose", **OFFER)
    market.ledger.seal(900)
    tx, receipt = market.ledger.get(offer)
    assert (tx.kind, tx.sender, tx.nonce, tx.body) == ("propose", market.address("house"), 0, OFFER)
    assert receipt.id == tx.id == offer
    with pytest.raises(ValueError, match="no block holds"):
        market.ledger.get("0" * 16)
    with pytest.raises(ValueError, match="there is no proposal"):
        market.ledger.status("0" * 16)


def test_blocks_hold_what_was_taken_in_its_order(market):
    ids = [*market.matched()]
    sealed = market.ledger.seal(900)
    assert sealed.refused == {}
    assert [tx.id for block in market.ledger.blocks() for tx in block.txs] == ids
    assert [block.number for block in sealed.blocks] == [block.number for block in market.ledger.blocks()]
    again = {tx.id: tx for block in sealed.blocks for tx in block.txs}
    assert again == {id: market.ledger.get(id)[0] for id in ids}
