"""`gridloop market ledger`: what people see of a ledger's file."""

import csv
import json
import sqlite3

import pytest
from typer.testing import CliRunner

from gridloop.scenarios.cli import app
from gridloop.simulators.market.ledger import Proof
from gridloop.simulators.market.ledger_blocks import check_proof
from gridloop.simulators.market.ledger_tx import from_content
from ledger_cases import OFFER, embedded

RUN = CliRunner()


@pytest.fixture
def traded(tmp_path):
    """A file with one settled trade and one that waits, its market and the settled match."""
    path = tmp_path / "market.ledger"
    market = embedded(path)
    match = market.committed()
    market.ledger.seal(0)
    market.do("shop", "settle", match=match, w=1000)
    market.matched()
    market.ledger.seal(900)
    market.ledger.close()
    return path, market, match


def ask(*words):
    return RUN.invoke(app, ["market", "ledger", *map(str, words)])


def test_a_ledger_is_verified_and_its_head_is_an_anchor(traded):
    path, market, _ = traded
    done = ask("verify", path)
    assert done.exit_code == 0
    assert "2 blocks, 9 transactions" in done.stdout
    head = f"2:{market.ledger.head.hash}"
    assert head in done.stdout
    found = json.loads(ask("verify", path, "--anchor", head, "--json").stdout)
    assert found == {"verified": True, "blocks": 2, "transactions": 9, "head": head, "anchored": True}
    assert not list(path.parent.glob("*-wal"))


def test_an_altered_ledger_ends_with_1_and_the_block(traded):
    path, _, _ = traded
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER no_update")
        connection.execute("UPDATE blocks SET body = CAST(replace(body, '1000', '1001') AS BLOB) WHERE number = 2")
    connection.close()
    for command in (("verify", path), ("show", path), ("export", path), ("proof", path, "0" * 16)):
        done = ask(*command)
        assert done.exit_code == 1
        assert "NOT IN ORDER" in done.stderr
        assert "block 2: the transactions are not those of its Merkle root" in done.stderr
    assert json.loads(ask("verify", path, "--json").stdout)["verified"] is False


def test_a_block_that_is_gone_ends_with_1(traded):
    path, _, _ = traded
    done = ask("verify", path, "--anchor", f"7:{'0' * 64}")
    assert done.exit_code == 1
    assert "block 7, which the anchor remembers, is missing, the last one is 2" in done.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        (["verify", "nowhere.ledger"], "nowhere.ledger: there is no such file"),
        (["verify", "{file}", "--anchor", "7"], "--anchor 7: write NUMBER:HASH"),
        (["proof", "{file}", "0123"], "no block holds a transaction 0123"),
        (["export", "{file}", "--out", "trades.xls"], "trades.xls: write to a .csv or a .json file"),
    ],
)
def test_what_the_user_can_mend_ends_with_2(traded, words, message):
    done = ask(*(word.format(file=traded[0]) for word in words))
    assert done.exit_code == 2
    assert message in done.stderr


def test_members_balances_and_trades_are_shown(traded):
    path, market, match = traded
    done = ask("show", path)
    assert done.exit_code == 0
    for text in ("house", "buyer seller", "0.055000", "-0.055000", match, "settled", "matched", "slots of 900 s"):
        assert text in done.stdout
    found = json.loads(ask("show", path, "--json").stdout)
    house = {
        "member": "house", "roles": "buyer seller", "validator": True, "balance": 0.055,
        "address": market.address("house"),
    }  # fmt: skip
    assert house in found["members"]
    assert found["trades"][0] == {
        "match": match, "slot": 5, "seller": "house", "buyer": "shop", "from_bus": "bus7", "to_bus": "bus9",
        "w": 1500, "price_per_kwh": 0.22, "loading_percent": 64.0, "loss_w": -31, "status": "settled",
        "settled_w": 1000,
    }  # fmt: skip
    assert [trade["status"] for trade in found["trades"]] == ["settled", "matched"]


def test_a_market_without_trades_is_shown(tmp_path):
    path = tmp_path / "market.ledger"
    market = embedded(path)
    market.do("house", "propose", **OFFER)
    market.ledger.seal(0)
    market.ledger.close()
    assert "none" in ask("show", path).stdout


def test_a_proof_convinces_somebody_who_has_only_that(traded):
    path, market, match = traded
    told = ask("proof", path, match).stdout
    assert "map" in told
    assert "block 1 of t = 0 s, entry 3 of 5" in told
    assert "signed by    auditor, dso, house, shop" in told
    found = json.loads(ask("proof", path, match, "--json").stdout)
    proof = Proof(**(found | {"tx": from_content(found["tx"]), "path": tuple(found["path"])}))
    check_proof(proof, [market.address(name) for name in ("dso", "house", "shop", "auditor")])


def test_trades_and_blocks_are_exported(traded):
    path, market, match = traded
    assert ask("export", path).stdout.strip() == f"{path}.csv"
    rows = list(csv.DictReader(path.with_name("market.ledger.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["status"] for row in rows] == ["settled", "matched"]
    assert rows[0]["match"] == match
    assert rows[0]["price_per_kwh"] == "0.22"
    whole = path.with_suffix(".json")
    assert ask("export", path, "--out", whole).exit_code == 0
    blocks = json.loads(whole.read_text(encoding="utf-8"))["blocks"]
    assert blocks[-1]["hash"] == market.ledger.head.hash
    assert sum(len(block["txs"]) for block in blocks) == 9
