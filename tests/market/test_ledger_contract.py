"""What only the EVM backend has: the shipped bytes, the contract by itself, and what a node is asked to prove."""

import json
from dataclasses import replace

import pytest

from compile_ledger_contract import COMPILED, compiled
from gridloop.simulators.market.ledger import Head, LedgerError
from gridloop.simulators.market.ledger_tx import Refused
from ledger_cases import OFFER, WISH, consortium, on_evm

on_chain = pytest.mark.peers(packages=["web3"], npm=["@foundry-rs/anvil/package.json"])


@pytest.mark.peers(packages=["vyper"])
def test_the_shipped_bytes_are_those_of_the_source():
    # if this fails after a change of the source: python tests/compile_ledger_contract.py
    assert json.loads(COMPILED.read_text(encoding="utf-8")) == compiled()


@on_chain
def test_the_contract_refuses_by_itself_what_is_sent_past_our_checks(chain_url):
    market = on_evm(chain_url)
    ledger, web3 = market.ledger, market.ledger._web3
    for name in ("outsider", "dso"):
        tx = ledger.sign(market.keys[name], "propose", OFFER)
        receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(bytes.fromhex(tx.sig)))
        assert receipt["status"] == 0
        with pytest.raises(LedgerError):
            ledger.status(tx.id)


@on_chain
def test_the_node_refuses_a_replayed_transaction(chain_url):
    from web3.exceptions import Web3RPCError

    market = on_evm(chain_url)
    tx = market.ledger.sign(market.keys["house"], "propose", OFFER)
    market.ledger.append(tx)
    with pytest.raises(Web3RPCError, match="nonce too low"):
        market.ledger._web3.eth.send_raw_transaction(bytes.fromhex(tx.sig))


@on_chain
def test_a_transaction_for_another_contract_is_refused(chain_url):
    here, there = on_evm(chain_url), on_evm(chain_url)
    tx = here.ledger.sign(here.keys["house"], "propose", OFFER)
    with pytest.raises(Refused, match="signature is not the sender's"):
        there.ledger.append(tx)
    with pytest.raises(Refused, match="not a signed transaction"):
        here.ledger.append(replace(tx, sig="00"))


@on_chain
def test_a_contract_is_known_by_its_genesis_its_code_and_its_blocks(chain_url):
    from gridloop.simulators.market.ledger_calls import simulated
    from gridloop.simulators.market.ledger_evm import EvmLedger

    market = on_evm(chain_url)
    market.do("house", "propose", **OFFER)
    anchor = market.ledger.head
    genesis, _ = consortium(lambda name: simulated(7, name))
    EvmLedger(chain_url, market.ledger.address, genesis).verify(anchor)
    with pytest.raises(LedgerError, match="the anchor remembers, is another one"):
        market.ledger.verify(Head(anchor.number, "0" * 64))
    with pytest.raises(LedgerError, match="another genesis"):
        EvmLedger(chain_url, market.ledger.address, consortium(lambda name: simulated(8, name))[0])
    with pytest.raises(LedgerError, match="there is no contract at"):
        EvmLedger(chain_url, market.address("house"), genesis)
    with pytest.raises(LedgerError, match="no node of an EVM chain answers"):
        EvmLedger("http://127.0.0.1:1", market.ledger.address, genesis)


@on_chain
def test_only_a_validator_tells_the_time_and_only_where_it_is_simulated(chain_url):
    from gridloop.simulators.market.ledger_calls import simulated
    from gridloop.simulators.market.ledger_evm import EvmLedger

    market = on_evm(chain_url)
    genesis, keys = consortium(lambda name: simulated(7, name))
    with pytest.raises(ValueError, match="only a validator moves time"):
        EvmLedger(chain_url, market.ledger.address, genesis, ticker=keys["outsider"]).seal(900)
    with pytest.raises(LedgerError, match="as `ticker`"):
        EvmLedger(chain_url, market.ledger.address, genesis).seal(900)
    real = EvmLedger.deploy(chain_url, genesis, keys["dso"])
    assert real.seal(900).blocks == ()
    with pytest.raises(Refused, match="the slot is over"):  # slot 5 ended 75 minutes after 1 January 1970
        real.append(real.sign(keys["house"], "propose", OFFER))


@on_chain
def test_the_contract_checks_every_number_and_text_by_itself(chain_url):
    from web3.exceptions import ContractLogicError

    market = on_evm(chain_url)
    contract, most = market.ledger._contract, 10**12
    sell, buy = market.do("house", "propose", **OFFER), market.do("shop", "propose", **WISH)
    pair = bytes.fromhex(sell), bytes.fromhex(buy)
    for name, kind, arguments, reason in (
        ("house", "propose", (1, 2, 5, "bus7", 1, 1), "side"),
        ("house", "propose", (1, 0, most + 1, "bus7", 1, 1), "slot"),
        ("house", "propose", (1, 0, 5, "", 1, 1), "bus"),
        ("house", "propose", (1, 0, 5, "Köln", 1, 1), "bus"),
        ("house", "propose", (1, 0, 5, "a\nb", 1, 1), "bus"),
        ("house", "propose", (1, 0, 5, "bus7", 0, 1), "w"),
        ("house", "propose", (1, 0, 5, "bus7", most + 1, 1), "w"),
        ("house", "propose", (1, 0, 5, "bus7", 1, most + 1), "price"),
        ("house", "propose", (0, 0, 5, "bus7", 1, 1), "nonce"),
        ("house", "propose", (2, 0, 5, "bus7", 1, 1), "nonce"),
        ("dso", "propose", (0, 0, 5, "bus7", 1, 1), "role"),
        ("outsider", "propose", (0, 0, 5, "bus7", 1, 1), "not a member"),
        ("dso", "map", (0, *pair, 1, 230_000, 0, most + 1), "loss_w"),
        ("dso", "map", (0, *pair, 1, 230_000, 0, -most - 1), "loss_w"),
        ("dso", "map", (0, *pair, 0, 230_000, 0, 0), "w is more"),
        ("house", "map", (1, *pair, 1, 230_000, 0, 0), "role"),
        ("dso", "membership", (0, market.address("outsider"), "new", 8, False, 0, []), "too few validators"),
        ("outsider", "tick", (0,), "only a validator"),
    ):
        with pytest.raises(ContractLogicError, match=reason):
            contract.functions[kind](*arguments).call({"from": market.address(name)})


@on_chain
def test_a_validator_does_not_count_twice(chain_url):
    from web3.exceptions import ContractLogicError

    from gridloop.simulators.market.ledger_calls import arguments

    market = on_evm(chain_url)
    body = {"member": market.address("outsider"), "name": "new", "roles": ["seller"], "validator": 0, "change": 0}
    signed = {market.address("dso"): market.ledger.endorse(market.keys["dso"], body)}
    *rest, signatures = arguments("membership", {**body, "signatures": signed})
    with pytest.raises(ContractLogicError, match="do not ascend"):
        market.ledger._contract.functions.membership(0, *rest, signatures * 3).call({"from": market.address("dso")})


@on_chain
def test_a_change_of_the_membership_does_not_hold_in_its_own_block(chain_url):
    market = on_evm(chain_url)
    ledger, node = market.ledger, market.ledger._web3
    body = {"member": market.address("outsider"), "name": "new", "roles": ["seller"], "validator": 0, "change": 0}
    names = ("dso", "house", "shop")
    body["signatures"] = {market.address(name): ledger.endorse(market.keys[name], body) for name in names}
    txs = [ledger.sign(market.keys["dso"], "membership", body)]
    txs.append(ledger.sign(market.keys["outsider"], "propose", OFFER))
    node.provider.make_request("evm_setAutomine", [False])
    try:
        sent = [node.eth.send_raw_transaction(bytes.fromhex(tx.sig)) for tx in txs]
        node.provider.make_request("evm_mine", [])
    finally:
        node.provider.make_request("evm_setAutomine", [True])
    receipts = [node.eth.wait_for_transaction_receipt(one) for one in sent]
    assert receipts[0]["blockNumber"] == receipts[1]["blockNumber"]
    assert sorted(receipt["status"] for receipt in receipts) == [0, 1]
    ledger.seal(900)  # another block
    market.do("outsider", "propose", **OFFER)
