"""Transactions as calls of the contract ledger_contract.vy, and back; needs the extra `evm`.

A transaction's `sig` is the raw Ethereum transaction, in the form with a gas price (EIP-155) that every chain takes.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import rlp
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from gridloop.simulators.market.ledger_keys import DOMAIN
from gridloop.simulators.market.ledger_rules import RULES, check_body, check_membership
from gridloop.simulators.market.ledger_state import ROLES
from gridloop.simulators.market.ledger_tx import ID_DIGITS, Refused, Tx, is_hex

SIDES: Final = ("sell", "buy")
STATUS: Final = ("", "open", "matched", "committed", "rejected", "settled", "withdrawn", "expired")
REFERENCES = {"sell", "buy", "match", "proposal"}


def simulated(seed: int, name: str) -> LocalAccount:
    """The account of a simulated member: the same in every run of the same seed."""
    account: LocalAccount = Account.from_key(sha256(f"{DOMAIN}|evm|{seed}|{name}".encode()).digest())
    return account


def entry_id(sender: str, nonce: int) -> str:
    """How the contract calls the entry of this sender's transaction."""
    return keccak(abi_encode(["address", "uint256"], [sender, nonce])).hex()[:ID_DIGITS]


def role_bits(roles: tuple[str, ...]) -> int:
    """Roles as the contract counts them."""
    return sum(1 << ROLES.index(role) for role in roles)


def arguments(kind: str, body: Mapping[str, Any]) -> list[Any]:
    """A body as the arguments of the contract's function `kind`, after the nonce; Refused if it is none."""
    if kind == "membership":
        member = check_membership(body)
        signatures = body["signatures"]
        ascending = sorted(signatures, key=lambda address: int(address, 16))
        return [
            to_checksum_address(body["member"]), member.name, role_bits(member.roles), bool(body["validator"]),
            body["change"], [bytes.fromhex(signatures[address]) for address in ascending],
        ]  # fmt: skip
    if kind not in RULES:
        raise Refused(f"kinds are {', '.join(RULES)}, membership")
    keys = RULES[kind][0]
    check_body(body, keys)
    return [_argument(key, body[key]) for key in keys.split()]


def body_of(kind: str, given: Mapping[str, Any], contract: str, chain: int) -> dict[str, Any]:
    """The body from a call's arguments."""
    if kind == "membership":
        roles = [role for index, role in enumerate(ROLES) if given["roles"] >> index & 1]
        body = {key: given[key] for key in ("member", "name", "change")}
        body |= {"roles": roles, "validator": int(given["validator"])}
        message = endorsement(body, contract, chain)
        signatures = {Account.recover_message(message, signature=one): one.hex() for one in given["signatures"]}
        return body | {"signatures": signatures}
    keys = RULES[kind][0].split()
    values = list(given.values())[1:]  # in the contract's order, which is that of the rules
    return {key: _value(key, value) for key, value in zip(keys, values, strict=True)}


def endorsement(body: Mapping[str, Any], contract: str, chain: int) -> Any:
    """What a validator signs of a change of the membership, on this chain and for this contract only."""
    inner = abi_encode(
        ["address", "uint256", "address", "bytes32", "uint256", "bool", "uint256"],
        [contract, chain, body["member"], keccak(text=body["name"]), role_bits(tuple(body["roles"])),
         bool(body["validator"]), body["change"]],
    )  # fmt: skip
    return encode_defunct(primitive=keccak(inner))


def raw_call(raw: str) -> tuple[str, str, bytes]:
    """Who sends a raw transaction, to whom, and what; Refused if it is none."""
    try:
        fields = rlp.decode(bytes.fromhex(raw))
        return Account.recover_transaction(raw), to_checksum_address(fields[3]), bytes(fields[5])
    except Exception as error:  # the libraries raise many kinds
        raise Refused(f"not a signed transaction: {error}") from error


def raw_of(given: Mapping[str, Any]) -> str:
    """The raw transaction, put together from what a node tells of it; empty if it is of another form."""
    if given["type"] != 0:
        return ""
    numbers = [given["nonce"], given["gasPrice"], given["gas"]]
    rest = [given["value"], bytes(given["input"]), given["v"], int.from_bytes(given["r"]), int.from_bytes(given["s"])]
    raw = bytes(rlp.encode([*numbers, bytes.fromhex(given["to"][2:]), *rest]))
    return raw.hex() if keccak(raw) == bytes(given["hash"]) else ""


def transaction(kind: str, sender: str, nonce: int, body: Mapping[str, Any], raw: str) -> Tx:
    """A transaction with the id that the contract gives it."""
    return Tx(kind, sender, nonce, body, raw, entry_id(sender, nonce))


def _argument(key: str, value: Any) -> Any:
    if key == "side":
        if value not in SIDES:
            raise Refused(f"side {value!r} is neither sell nor buy")
        return SIDES.index(value)
    if key in REFERENCES:
        if not is_hex(value, ID_DIGITS):
            raise Refused(f"{key} = {value!r} is not an id of {ID_DIGITS} hexadecimal digits")
        return bytes.fromhex(value)
    return value


def _value(key: str, value: Any) -> Any:
    if key == "side":
        return SIDES[value]
    return value.hex() if key in REFERENCES else value
