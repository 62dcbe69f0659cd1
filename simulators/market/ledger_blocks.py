"""Blocks of a chain of our own: how they are spelt, and all that must hold for the next one (pure).

header hash = SHA-256 of the canonical header; the first block's `prev` is SHA-256 of the canonical genesis. A block is
final with the signatures of more than two thirds of the validators over its hash.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from gridloop.simulators.market import ledger_merkle
from gridloop.simulators.market.ledger import Block, Head, LedgerError, Proof
from gridloop.simulators.market.ledger_keys import MemberKey, is_signed
from gridloop.simulators.market.ledger_rules import apply
from gridloop.simulators.market.ledger_state import Genesis, Member, State, begin_block, quorum
from gridloop.simulators.market.ledger_tx import (
    Refused,
    Tx,
    canonical,
    endorsement,
    from_content,
    is_count,
    is_hex,
    parse,
    statement,
)

MOST_TXS = 1000  # of a block
ADDRESS_DIGITS = 64
HEADER_KEYS = {"number", "timestamp", "nonce", "prev", "merkle", "proposer"}


def encode_genesis(genesis: Genesis) -> bytes:
    """What is stored before the first block."""
    members = {key: {"name": one.name, "roles": one.roles} for key, one in genesis.members.items()}
    agreed = {"validators": genesis.validators, "slot_s": genesis.slot_s, "credit_limit": genesis.credit_limit}
    return canonical(agreed | {"members": members})


def decode_genesis(data: bytes) -> Genesis:
    """The genesis from what is stored."""
    try:
        value = parse(data)
        members = {key: Member(one["name"], tuple(one["roles"])) for key, one in value["members"].items()}
        genesis = Genesis(members, tuple(value["validators"]), value["slot_s"], value["credit_limit"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerError(f"the genesis is damaged: {error}") from error
    if encode_genesis(genesis) != data:
        raise LedgerError("the genesis is damaged: it holds more than it should")
    return genesis


def genesis_head(data: bytes) -> Head:
    """What the first block refers to, of a genesis as it is stored."""
    return Head(0, sha256(data).hexdigest())


def close(state: State, head: Head, txs: Sequence[Tx], keys: Mapping[str, MemberKey]) -> Block:
    """The block after `head` of transactions that `state` has taken, signed by every validator whose key is here."""
    number = head.number + 1
    header = {
        "number": number, "timestamp": state.now_s, "nonce": 0, "prev": head.hash,
        "merkle": ledger_merkle.root([tx.entry for tx in txs]).hex(),
        "proposer": state.validators[number % len(state.validators)],
    }  # fmt: skip
    digest = sha256(canonical(header))
    commit = {one: keys[one].sign(digest.digest()) for one in state.validators if one in keys}
    if len(commit) < quorum(state.validators):
        raise ValueError(f"block {number}: it takes {quorum(state.validators)} validators, {len(commit)} keys are here")
    return Block(header, tuple(txs), commit, digest.hexdigest())


def encode(block: Block) -> bytes:
    """What is stored of a block."""
    return canonical({"header": block.header, "txs": [tx.content for tx in block.txs], "commit": block.commit})


def decode(data: bytes) -> Block:
    """A block from what is stored, its form checked to the last byte; ValueError if it is none."""
    value = parse(data)
    if not isinstance(value, dict) or set(value) != {"header", "txs", "commit"}:
        raise ValueError("a block holds header, txs and commit")
    header, commit = value["header"], value["commit"]
    if not isinstance(header, dict) or set(header) != HEADER_KEYS:
        raise ValueError(f"a header holds {', '.join(sorted(HEADER_KEYS))}")
    if not all(is_count(header[key]) for key in ("number", "timestamp", "nonce")):
        raise ValueError("number, timestamp and nonce of a header are integers >= 0")
    if not all(is_hex(header[key], 64) for key in ("prev", "merkle", "proposer")):
        raise ValueError("prev, merkle and proposer of a header have 64 hexadecimal digits in lower case")
    if not isinstance(commit, dict) or not all(is_hex(sig, 128) for sig in commit.values()):
        raise ValueError("a signature has 128 hexadecimal digits in lower case")
    if not isinstance(value["txs"], list):
        raise ValueError("txs is a list")
    txs = tuple(from_content(one) for one in value["txs"])
    return Block(header, txs, commit, sha256(canonical(header)).hexdigest())


def follow(state: State, head: Head, block: Block) -> Head:
    """Check that a block is the right one after `head`, and move `state` past it.

    Raises:
        ValueError: with what does not hold; `state` is then of no use.
    """
    header = block.header
    if (header["number"], header["prev"]) != (head.number + 1, head.hash):
        raise ValueError("it does not follow the block before it")
    begin_block(state, header["timestamp"])
    if header["nonce"] != 0 or header["proposer"] != state.validators[header["number"] % len(state.validators)]:
        raise ValueError("nonce or proposer is not the one whose turn it is")
    if not 1 <= len(block.txs) <= MOST_TXS:
        raise ValueError(f"{len(block.txs)} transactions; a block has 1 to {MOST_TXS}")
    if ledger_merkle.root([tx.entry for tx in block.txs]).hex() != header["merkle"]:
        raise ValueError("the transactions are not those of its Merkle root")
    check_commit(block.hash, block.commit, state.validators)
    for tx in block.txs:
        apply(state, tx, authenticate(tx))
    return Head(block.number, block.hash)


def check_commit(hash: str, commit: Mapping[str, str], validators: Sequence[str]) -> None:
    """A quorum of the validators signed, and no signature beside theirs is there."""
    for address, sig in commit.items():
        if address not in validators:
            raise ValueError(f"signed by {address[:8]}, which is no validator")
        if not is_signed(address, bytes.fromhex(hash), sig):
            raise ValueError(f"the signature of validator {address[:8]} is wrong")
    if len(commit) < quorum(validators):
        raise ValueError(f"{len(commit)} validators signed, it takes {quorum(validators)}")


def authenticate(tx: Tx) -> frozenset[str]:
    """Check the signatures of a transaction; who else signed what it states. Refused if one is wrong."""
    if not is_signed(tx.sender, statement(tx.kind, tx.sender, tx.nonce, tx.body), tx.sig):
        raise Refused(f"{tx.kind} {tx.id}: the signature is not the sender's")
    if tx.kind != "membership":
        return frozenset()
    if not is_hex(tx.body.get("member"), ADDRESS_DIGITS):
        raise Refused(f"membership {tx.id}: a member's address has {ADDRESS_DIGITS} hexadecimal digits")
    signatures = tx.body.get("signatures")
    if not isinstance(signatures, dict):
        raise Refused(f"membership {tx.id}: signatures holds one for each validator that signed")
    for address, sig in signatures.items():
        if not is_hex(sig, 128) or not is_signed(address, endorsement(tx.body), sig):
            raise Refused(f"membership {tx.id}: the signature of validator {address[:8]} is wrong")
    return frozenset(signatures)


def proof_of(block: Block, index: int) -> Proof:
    """That transaction number `index` is in the block."""
    entries = [tx.entry for tx in block.txs]
    path = tuple(one.hex() for one in ledger_merkle.path(entries, index))
    return Proof(block.txs[index], index, len(entries), path, block.header, block.commit)


def check_proof(proof: Proof, validators: Sequence[str]) -> None:
    """Whether the validators signed a block with this transaction in it; LedgerError if not."""
    entry, root = proof.tx.entry, bytes.fromhex(proof.header["merkle"])
    path = [bytes.fromhex(one) for one in proof.path]
    if not ledger_merkle.holds(entry, proof.index, proof.count, path, root):
        raise LedgerError(f"transaction {proof.tx.id} is not under the Merkle root of block {proof.header['number']}")
    try:
        check_commit(sha256(canonical(proof.header)).hexdigest(), proof.commit, validators)
    except ValueError as error:
        raise LedgerError(f"block {proof.header['number']}: {error}") from error
