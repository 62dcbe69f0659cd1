"""The ledger as its users see it, whichever backend keeps it.

A transaction is signed (`sign`), taken or refused at once (`append`), and final when its block is closed (`seal`).
Time is what `seal` is told, in whole seconds: simulation time in a simulation. No backend looks at a clock.

    ledger = EmbeddedLedger.create(path, genesis, validator_keys)            # or EvmLedger(url, ...)
    offer = ledger.append(ledger.sign(house, "propose", {"side": "sell", ...}))
    ledger.seal(t_s)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from gridloop.simulators.market.ledger_tx import Tx

K_contra = TypeVar("K_contra", contravariant=True)


class LedgerError(ValueError):
    """A ledger that is not what its members signed, or not the one that a member remembers."""


class Head(NamedTuple):
    """The last block. A member that keeps it has an anchor: no block up to here can be taken back unseen."""

    number: int
    hash: str


class Receipt(NamedTuple):
    """What became of a transaction: the number of its block, None while it waits for one."""

    id: str
    block: int | None


@dataclass(frozen=True)
class Block:
    """Transactions that became final together.

    Args:
        header: number, timestamp [s], nonce, prev (hash of the block before), merkle, proposer.
        txs: in their order.
        commit: signatures of the header's hash by validator.
        hash: of the header.
    """

    header: Mapping[str, Any]
    txs: tuple[Tx, ...]
    commit: Mapping[str, str]
    hash: str

    @property
    def number(self) -> int:
        """The first one is number 1; before it stands the genesis."""
        return int(self.header["number"])


class Sealed(NamedTuple):
    """What `seal` closed, and what came too late for its time: the transaction's id and why."""

    blocks: tuple[Block, ...]
    refused: dict[str, str]


class Verified(NamedTuple):
    """What was found to be in order."""

    blocks: int
    txs: int
    head: Head


@dataclass(frozen=True)
class Proof:
    """That a transaction is in a block, for someone who has not the others."""

    tx: Tx
    index: int
    count: int
    path: tuple[str, ...]
    header: Mapping[str, Any]
    commit: Mapping[str, str]


class Ledger(Protocol[K_contra]):
    """What every backend does. K_contra is its kind of private key.

    Proofs for somebody who has only these are EmbeddedLedger.proof; an EVM chain has its own kind, for its own clients.
    """

    @property
    def head(self) -> Head:
        """The last block."""

    def sign(self, key: K_contra, kind: str, body: Mapping[str, Any]) -> Tx:
        """A transaction with the next nonce of the key's owner, not yet given to anyone."""

    def endorse(self, key: K_contra, body: Mapping[str, Any]) -> str:
        """A validator's signature for the body of a `membership`."""

    def append(self, tx: Tx) -> Receipt:
        """Take a transaction for the next block; Refused by the rules as things stand with those before it."""

    def seal(self, t_s: int) -> Sealed:
        """Make final what was taken; its time is t_s, which never runs backwards. Nothing taken: no block."""

    def get(self, id: str) -> tuple[Tx, Receipt]:
        """A transaction that was taken; LedgerError if there is none."""

    def blocks(self, start: int = 1) -> Iterator[Block]:
        """The closed blocks from a number on."""

    def verify(self, anchor: Head | None = None) -> Verified:
        """Check everything again from what is stored; LedgerError names what does not hold."""

    def status(self, id: str) -> str:
        """Of a proposal (open, matched, ...) or a match (matched, committed, settled, ...)."""

    def balance(self, address: str) -> int:
        """What a member has won or owes [millionths of the currency]."""

    def close(self) -> None:
        """Let go of the file or the link."""
