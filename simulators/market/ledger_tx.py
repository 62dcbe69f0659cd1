"""Transactions and their one spelling: canonical JSON, in which equal content is equal bytes.

canonical JSON: keys sorted, no spaces, ASCII, no floats. A transaction is {kind, sender, nonce, body, sig}; its
signature covers all but itself, its id and its Merkle leaf cover all of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

MOST_BYTES = 4096  # of a transaction
ID_DIGITS = 16
TX_KEYS = ("kind", "sender", "nonce", "body", "sig")
DEEPEST = 16  # brackets within each other
TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Refused(ValueError):
    """A transaction that the ledger does not take; the text says by which rule."""


@dataclass(frozen=True)
class Tx:
    """One signed statement of a member.

    Args:
        kind: propose, map, approve, reject, withdraw, settle, membership.
        sender: the member's address: its Ed25519 public key in hex, on an EVM chain its account.
        nonce: how many transactions of this sender the ledger took before.
        body: what is stated, integers and texts (ledger_rules.py).
        sig: Ed25519 over the canonical rest, in hex; on an EVM chain the signed raw transaction.
        id: how later transactions and everybody refer to this one.
    """

    kind: str
    sender: str
    nonce: int
    body: Mapping[str, Any]
    sig: str
    id: str

    @cached_property
    def entry(self) -> bytes:
        """What is stored: an entry of the block's Merkle tree."""
        return canonical(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """All but the id, which follows from it."""
        return {key: getattr(self, key) for key in TX_KEYS}


def canonical(value: Any) -> bytes:
    """The one spelling of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def parse(data: bytes) -> Any:
    """What was written by `canonical`; ValueError for any other bytes, if only a space is too many, and for floats."""
    try:
        _refuse_deep(data)
        value = json.loads(data, parse_float=_no_float)
        same = canonical(value) == data
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not canonical JSON: {error}") from error
    if not same:
        raise ValueError("not canonical JSON: read and written again it is not the same")
    return value


def _refuse_deep(data: bytes) -> None:
    """Python's own limit does not hold: packages raise it (py_ecc does), and then nesting ends the process."""
    brackets = TEXTS.sub(b"", data).translate(None, NO_BRACKETS)
    for _ in range(DEEPEST):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise ValueError(f"brackets that are not closed, or more than {DEEPEST} within each other")


def statement(kind: str, sender: str, nonce: int, body: Mapping[str, Any]) -> bytes:
    """What a sender signs."""
    return canonical({"kind": kind, "sender": sender, "nonce": nonce, "body": body})


def endorsement(body: Mapping[str, Any]) -> bytes:
    """What the validators sign of a change of the membership; `change` keeps it from being used twice."""
    return canonical({"membership": {key: value for key, value in body.items() if key != "signatures"}})


def signed(kind: str, sender: str, nonce: int, body: Mapping[str, Any], sig: str) -> Tx:
    """A transaction with the id that follows from its content."""
    tx = Tx(kind, sender, nonce, body, sig, id="")
    return replace(tx, id=sha256(tx.entry).hexdigest()[:ID_DIGITS])


def from_content(value: Any) -> Tx:
    """A stored transaction; ValueError if it is none."""
    if not isinstance(value, dict) or set(value) != set(TX_KEYS):
        raise ValueError(f"a transaction has the keys {', '.join(TX_KEYS)}")
    kind, nonce, body = value["kind"], value["nonce"], value["body"]
    if not isinstance(kind, str) or not is_count(nonce) or not isinstance(body, dict):
        raise ValueError("a transaction's kind is a text, its nonce a count, its body an object")
    for key, digits in (("sender", 64), ("sig", 128)):
        if not is_hex(value[key], digits):
            raise ValueError(f"a transaction's {key} has {digits} hexadecimal digits in lower case")
    tx = signed(**value)
    if len(tx.entry) > MOST_BYTES:
        raise ValueError(f"transaction {tx.id} is longer than {MOST_BYTES} bytes")
    return tx


def is_count(value: Any) -> bool:
    """An integer from 0 on; True is none."""
    return type(value) is int and value >= 0


def is_hex(value: Any, digits: int) -> bool:
    """That many hexadecimal digits, lower case."""
    return isinstance(value, str) and len(value) == digits and set(value) <= set("0123456789abcdef")


def _no_float(text: str) -> Any:
    raise ValueError(f"{text}: the ledger counts in integers (W, var, millionths of the currency)")
