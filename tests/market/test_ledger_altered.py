"""Nothing in the chain of our own can be altered, or cut off, unseen."""

import json
import sqlite3
import sys
from hashlib import sha256

import pytest

from gridloop.simulators.market import ledger_merkle
from gridloop.simulators.market.ledger import Head, LedgerError
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from gridloop.simulators.market.ledger_tx import canonical, statement
from ledger_cases import OFFER, ROLES, bodies, embedded, rewrite, traded


def test_every_altered_byte_is_found(tmp_path):
    # L2, the genesis included; 1 turns a digit into another one, 0x20 a letter's case
    path = tmp_path / "market.ledger"
    market = embedded(path)
    offer = market.do("house", "propose", **OFFER)
    market.ledger.seal(0)
    market.do("house", "withdraw", proposal=offer)
    market.ledger.seal(900)
    market.ledger.verify()
    unseen, flips, connection = [], 0, market.ledger._file._connection
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("DROP TRIGGER no_update")
    for number, body in bodies(path).items():
        for place in range(len(body)):
            for mask in (0x01, 0x20) if body[place : place + 1].isalpha() else (0x01,):
                altered = body[:place] + bytes([body[place] ^ mask]) + body[place + 1 :]
                connection.execute("UPDATE blocks SET body = ? WHERE number = ?", (altered, number))
                flips += 1
                try:
                    market.ledger.verify()
                except LedgerError:
                    continue
                unseen.append((number, place, mask))
        connection.execute("UPDATE blocks SET body = ? WHERE number = ?", (body, number))
    assert unseen == []
    assert flips > 4000
    market.ledger.verify()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b" ", lambda body: body.replace(b":", b": ", 1), lambda body: b"",
        lambda body: body.replace(b'"nonce":0', b'"nonce":0,"nonce":0', 1), lambda body: b"[" * 100_000,
        lambda body: body.replace(b'"nonce":0', b'"nonce":0.0', 1), lambda body: b"\xff" + body,
        lambda body: json.dumps(json.loads(body), separators=(",", ":")).encode().replace(b'"txs"', b'"TXS"'),
    ],
    ids=["space", "space inside", "nothing", "twice", "deep", "float", "not ASCII", "another key"],
)  # fmt: skip
def test_another_spelling_is_found(tmp_path, change):
    path = tmp_path / "market.ledger"
    market = traded(path)
    rewrite(path, 3, change(bodies(path)[3]))
    with pytest.raises(LedgerError, match="block 3: "):
        market.ledger.verify()


def test_nesting_does_not_end_the_process_where_a_package_has_raised_pythons_limit(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    rewrite(path, 3, b"[" * 100_000)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with pytest.raises(LedgerError, match=r"block 3: .*16 within each other"):
            market.ledger.verify()
    finally:
        sys.setrecursionlimit(before)


def test_a_signature_too_many_is_found(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    block = json.loads(bodies(path)[3])
    outsider = market.keys["outsider"]
    block["commit"][outsider.address] = outsider.sign(bytes.fromhex(market.ledger.head.hash))
    rewrite(path, 3, canonical(block))
    with pytest.raises(LedgerError, match=r"block 3: signed by .*no validator"):
        market.ledger.verify()


def test_a_quorum_is_enough_and_less_is_not(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    block = json.loads(bodies(path)[3])
    for left, address in enumerate(list(block["commit"])[:2]):
        del block["commit"][address]
        rewrite(path, 3, canonical(block))
        if left == 0:
            market.ledger.verify()
    with pytest.raises(LedgerError, match="block 3: 2 validators signed, it takes 3"):
        market.ledger.verify()


def test_blocks_that_were_cut_off_are_missed_by_who_keeps_an_anchor(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    anchor = market.ledger.head
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER no_delete")
        connection.execute("DELETE FROM blocks WHERE number = 3")
    connection.close()
    assert market.ledger.verify().blocks == 2
    with pytest.raises(LedgerError, match="block 3, which the anchor remembers, is missing, the last one is 2"):
        market.ledger.verify(anchor)
    with pytest.raises(LedgerError, match="the anchor remembers"):
        EmbeddedLedger.open(path, anchor=anchor)
    with pytest.raises(LedgerError, match="block 1, which the anchor remembers, is another one"):
        market.ledger.verify(Head(1, "0" * 64))


def test_a_block_in_the_middle_cannot_be_taken_out(tmp_path):
    path = tmp_path / "market.ledger"
    market = traded(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER no_delete")
        connection.execute("DELETE FROM blocks WHERE number = 2")
    connection.close()
    with pytest.raises(LedgerError, match="block 3: it does not follow"):
        market.ledger.verify()


def test_the_dso_cannot_rewrite_its_mapping_alone(tmp_path):
    # L6: with its own key it signs another price, and the last block anew
    path = tmp_path / "market.ledger"
    market = embedded(path)
    market.matched()
    market.ledger.seal(0)
    others_remember = market.ledger.head
    dso, block = market.keys["dso"], json.loads(bodies(path)[1])
    mapping = block["txs"][2]
    mapping["body"]["price"] += 1
    signed = statement(mapping["kind"], dso.address, mapping["nonce"], mapping["body"])
    mapping["sig"] = dso.sign(signed)
    block["header"]["merkle"] = ledger_merkle.root([canonical(tx) for tx in block["txs"]]).hex()
    new_hash = sha256(canonical(block["header"])).digest()
    block["commit"][dso.address] = dso.sign(new_hash)
    rewrite(path, 1, canonical(block))
    with pytest.raises(LedgerError, match=r"block 1: the signature of validator .* is wrong"):
        market.ledger.verify()
    block["commit"] = {dso.address: block["commit"][dso.address]}
    rewrite(path, 1, canonical(block))
    with pytest.raises(LedgerError, match="block 1: 1 validators signed, it takes 3"):
        market.ledger.verify()
    for name in ROLES:  # and if it had all keys, the others' heads still differ
        block["commit"][market.address(name)] = market.keys[name].sign(new_hash)
    rewrite(path, 1, canonical(block))
    assert market.ledger.verify().head.hash == new_hash.hex() != others_remember.hash
    with pytest.raises(LedgerError, match="block 1, which the anchor remembers, is another one"):
        market.ledger.verify(others_remember)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda block: block["header"].update(nonce=1), "whose turn it is"),
        (lambda block: block["header"].update(proposer=block["txs"][0]["sender"]), "whose turn it is"),
        (lambda block: block["header"].update(timestamp=1799), None),
        (lambda block: block["header"].update(timestamp=899), "time does not run backwards"),
        (lambda block: block["header"].update(number=4), "says that it is number 4"),
        (lambda block: block["txs"][0]["body"].update(w=1), "the signature is not the sender's"),
        (lambda block: block["txs"].append(block["txs"][0]), "nonce 5, but the sender's next is 6"),
        (lambda block: block["txs"].clear(), "0 transactions"),
    ],
    ids=["nonce", "proposer", "time", "past", "number", "body", "twice", "empty"],
)
def test_not_even_all_validators_together_break_a_rule(tmp_path, change, message):
    path = tmp_path / "market.ledger"
    market = traded(path)
    block = json.loads(bodies(path)[3])
    change(block)
    block["header"]["merkle"] = ledger_merkle.root([canonical(tx) for tx in block["txs"]]).hex()
    new_hash = sha256(canonical(block["header"])).digest()
    block["commit"] = {market.address(name): market.keys[name].sign(new_hash) for name in ROLES}
    rewrite(path, 3, canonical(block))
    if message is None:
        market.ledger.verify()
        return
    with pytest.raises(LedgerError, match=f"block 3.*{message}"):
        market.ledger.verify()


def test_the_file_refuses_changes(tmp_path):
    path = tmp_path / "market.ledger"
    traded(path).ledger.close()
    with sqlite3.connect(path) as connection:
        for change in ("UPDATE blocks SET body = x'00' WHERE number = 1", "DELETE FROM blocks"):
            with pytest.raises(sqlite3.IntegrityError, match="the ledger only grows"):
                connection.execute(change)
    connection.close()
