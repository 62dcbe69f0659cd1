"""The chain of our own: blocks, proofs, limits, and a file that goes on where it ended."""

from dataclasses import replace
from hashlib import sha256

import pytest

from gridloop.simulators.market.ledger import Head, LedgerError
from gridloop.simulators.market.ledger_blocks import MOST_TXS, check_proof, decode_genesis
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from gridloop.simulators.market.ledger_keys import simulated
from gridloop.simulators.market.ledger_rules import apply
from gridloop.simulators.market.ledger_state import Genesis, Member, initial
from gridloop.simulators.market.ledger_tx import Refused, Tx, canonical
from ledger_cases import OFFER, ROLES, embedded, traded

HEAD = "9567bc7d340415174ea4ebdd6553e145ca0ccdf82636e6f325696e25d7a0e400"


def test_the_same_seed_gives_the_same_head():
    # L7; pinned: another spelling of anything would make every stored ledger unreadable
    heads = [traded(seed=seed).ledger.head for seed in (7, 7, 8)]
    assert heads[0] == heads[1] != heads[2]
    assert heads[0] == Head(3, HEAD)


def test_a_block_is_what_its_header_says():
    market = traded()
    genesis = market.ledger._replay(None, {})[0]
    blocks = list(market.ledger.blocks())
    assert [block.number for block in blocks] == [1, 2, 3]
    assert [len(block.txs) for block in blocks] == [5, 6, 1]
    for block, before in zip(blocks[1:], blocks, strict=False):
        assert block.header["prev"] == before.hash
    for block in blocks:
        assert block.hash == sha256(canonical(block.header)).hexdigest()
        assert block.header["proposer"] == genesis.validators[block.number % 4]
        assert block.header["nonce"] == 0
        assert set(block.commit) == set(genesis.validators)  # all of them, not only a quorum
    assert [block.header["timestamp"] for block in blocks] == [0, 900, 1800]


def test_an_anchor_may_be_any_block_or_the_genesis():
    market = embedded()
    beginning = market.ledger.head
    market.do("house", "propose", **OFFER)
    market.ledger.seal(0)
    middle = market.ledger.head
    market.do("house", "propose", **OFFER)
    market.ledger.seal(0)
    assert [head.number for head in (beginning, middle)] == [0, 1]
    for anchor in (beginning, middle, market.ledger.head):
        assert market.ledger.verify(anchor) == (2, 2, market.ledger.head)


def test_every_transaction_has_a_proof():
    # L3
    market = traded()
    validators = list(market.ledger.state.validators)
    for block in market.ledger.blocks():
        for tx in block.txs:
            proof = market.ledger.proof(tx.id)
            check_proof(proof, validators)
            for other in (replace(tx, nonce=tx.nonce + 1), replace(tx, sig=tx.sig[::-1]), replace(tx, body={})):
                with pytest.raises(LedgerError, match="Merkle root"):
                    check_proof(replace(proof, tx=other), validators)
            with pytest.raises(LedgerError, match="validator"):
                check_proof(proof, validators[:1])
            with pytest.raises(LedgerError, match="is wrong"):
                check_proof(replace(proof, header={**proof.header, "timestamp": 1}), validators)


def test_a_file_is_opened_again_and_goes_on(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    head, balance = market.ledger.head, market.balances()
    market.ledger.close()
    market.ledger = EmbeddedLedger.open(path, [market.keys[name] for name in ROLES], anchor=head)
    assert (market.ledger.head, market.balances()) == (head, balance)
    offer = market.do("house", "propose", **OFFER)
    assert market.ledger.get(offer)[1] == (offer, None)
    market.ledger.seal(2700)
    assert market.ledger.get(offer)[1] == (offer, 4)


def test_without_the_validators_keys_a_ledger_is_read_only(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    market.ledger.close()
    market.ledger = EmbeddedLedger.open(path, [market.keys["house"]])
    market.do("house", "propose", **OFFER)
    with pytest.raises(ValueError, match="block 4: it takes 3 validators, 1 keys are here"):
        market.ledger.seal(2700)
    assert market.ledger.verify().blocks == 3


def test_two_writers_are_told_apart(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    other = EmbeddedLedger.open(path, [market.keys[name] for name in ROLES])
    market.do("house", "propose", **OFFER)
    market.ledger.seal(2700)
    other.append(other.sign(market.keys["shop"], "propose", OFFER))
    with pytest.raises(LedgerError, match="block 4 is there already: somebody else writes too"):
        other.seal(2700)
    assert market.ledger.verify().blocks == 4


def test_a_ledger_is_not_overwritten(tmp_path):
    path = tmp_path / "market.ledger"
    traded(path)
    with pytest.raises(FileExistsError):
        embedded(path)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00" + bytes(100), b"x" * 5000])
def test_another_file_is_no_ledger(tmp_path, content):
    path = tmp_path / "market.ledger"
    with pytest.raises(ValueError, match="there is no such file"):
        EmbeddedLedger.open(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"market\.ledger: not a ledger's file"):
        EmbeddedLedger.open(path)


def test_what_comes_too_late_for_its_block_is_named():
    market = embedded()
    offer = market.do("house", "propose", **OFFER)
    match = market.matched()[2]
    sealed = market.ledger.seal(5400)  # the slot's end
    assert set(sealed.refused) >= {offer, match}
    assert "slot 5 ended at 5400 s" in sealed.refused[offer]
    assert sealed.blocks == ()
    assert market.ledger.sign(market.keys["house"], "propose", OFFER).nonce == 0


def test_a_block_has_at_most_1000_transactions():
    market = embedded()
    for slot in range(MOST_TXS + 1):
        market.do("house", "propose", **(OFFER | {"slot": slot}))
    assert [len(block.txs) for block in market.ledger.seal(0).blocks] == [MOST_TXS, 1]
    assert market.ledger.verify() == (2, MOST_TXS + 1, market.ledger.head)


def test_a_transaction_has_at_most_4_kib():
    market = embedded()
    signed = {f"{number:064x}": "0" * 128 for number in range(21)}
    with pytest.raises(Refused, match="longer than 4096 bytes"):
        market.do("dso", "membership", member=HEAD, name="", roles=[], signatures=signed)


@pytest.mark.parametrize("t_s", [-1, 1.0, True, None])
def test_time_is_whole_seconds(t_s):
    market = embedded()
    market.do("house", "propose", **OFFER)
    with pytest.raises(ValueError, match="integer number of seconds"):
        market.ledger.seal(t_s)


def genesis(**changes):
    keys = [simulated(1, str(number)).address for number in range(30)]
    members = {key: Member(f"m{number}", ("buyer",)) for number, key in enumerate(keys)}
    return Genesis(**({"members": members, "validators": tuple(keys[:4])} | changes))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"validators": ()}, "between 1 and 20 validators"),
        ({"validators": tuple(genesis().members)}, "between 1 and 20 validators"),
        ({"validators": ("00",)}, "every validator is a member"),
        ({"slot_s": 0}, "slot_s = 0"),
        ({"credit_limit": -1}, "credit_limit = -1"),
        ({"members": {"0": Member("a", ("buyer",)), "1": Member("a", ("seller",))}}, "the same name"),
        ({"members": {"0": Member("a", ("buyer", "dso"))}}, "a: the DSO coordinates"),
        ({"members": {"0": Member("a", ())}}, "a has no role"),
        ({"members": {"0": Member("a", ("seller", "buyer"))}}, "in this order"),
    ],
)
def test_a_wrong_genesis_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        genesis(**changes)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"members":{}}', canonical({"members": 1})])
def test_a_damaged_genesis_is_named(data):
    with pytest.raises(LedgerError, match="the genesis is damaged"):
        decode_genesis(data)


def test_a_second_entry_of_the_same_id_is_refused():
    # ids are 64 bits of a hash: whoever finds two transactions of one id does not replace the first with the second
    members = {"a": Member("a", ("seller",))}
    state = initial(Genesis(members, ("a",)))
    apply(state, Tx("propose", "a", 0, OFFER, "", "0" * 16))
    with pytest.raises(Refused, match="there is an entry of this id"):
        apply(state, Tx("propose", "a", 1, OFFER | {"price": 1}, "", "0" * 16))


def test_a_member_has_the_address_of_a_key():
    with pytest.raises(ValueError, match="a's address 00 is not the 64 digits of a public key"):
        EmbeddedLedger.create(None, Genesis({"00": Member("a", ("buyer",))}, ("00",)))
    market = embedded()
    body = {"member": "00", "name": "new", "roles": ["seller"], "validator": 0, "change": 0, "signatures": {}}
    with pytest.raises(Refused, match="a member's address has 64 hexadecimal digits"):
        market.do("dso", "membership", **body)


def test_a_change_of_the_membership_does_not_hold_in_its_own_block():
    market = embedded()
    market.change("outsider", ["seller"], ["dso", "house", "shop"])
    with pytest.raises(Refused, match="not a member"):
        market.do("outsider", "propose", **OFFER)
    market.ledger.seal(0)
    market.do("outsider", "propose", **OFFER)
