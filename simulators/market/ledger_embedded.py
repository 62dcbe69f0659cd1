"""The ledger on this machine: a chain of signed blocks in one file, that every member can verify by itself.

What was appended and not sealed is lost when the process ends; what `seal` returned is there for good.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gridloop.simulators.market.ledger import Block, Head, LedgerError, Proof, Receipt, Sealed, Verified
from gridloop.simulators.market.ledger_blocks import (
    ADDRESS_DIGITS,
    MOST_TXS,
    authenticate,
    close,
    decode,
    decode_genesis,
    encode,
    encode_genesis,
    follow,
    genesis_head,
    proof_of,
)
from gridloop.simulators.market.ledger_file import LedgerFile
from gridloop.simulators.market.ledger_keys import MemberKey
from gridloop.simulators.market.ledger_rules import apply
from gridloop.simulators.market.ledger_state import Genesis, State, begin_block, initial
from gridloop.simulators.market.ledger_tx import (
    Refused,
    Tx,
    endorsement,
    from_content,
    is_hex,
    parse,
    signed,
    statement,
)


class EmbeddedLedger:
    """A chain in a file, or in memory. Make it with `create` or `open`.

    Without the keys of a quorum of the validators it can be read and verified, but seals nothing.
    """

    def __init__(self, file: LedgerFile, keys: Iterable[MemberKey], anchor: Head | None = None) -> None:
        self._file = file
        self._keys = {key.address: key for key in keys}
        self._place: dict[str, tuple[int, int]] = {}  # of a transaction: number of its block, index in it
        self._pending: dict[str, Tx] = {}
        self._state, self._head = self._replay(anchor, self._place)
        self._ahead = self._state.copied()  # with what is pending

    @classmethod
    def create(cls, path: Path | None, genesis: Genesis, keys: Iterable[MemberKey] = ()) -> "EmbeddedLedger":
        """A new ledger; `path` None keeps it in memory."""
        for key, one in genesis.members.items():
            if not is_hex(key, ADDRESS_DIGITS):
                raise ValueError(f"{one.name}'s address {key} is not the {ADDRESS_DIGITS} digits of a public key")
        return cls(LedgerFile.create(path, encode_genesis(genesis)), keys)

    @classmethod
    def open(
        cls, path: Path, keys: Iterable[MemberKey] = (), anchor: Head | None = None, read_only: bool = False
    ) -> "EmbeddedLedger":
        """A ledger that is there, verified; LedgerError if it is not in order, ValueError if it is none."""
        file = LedgerFile.open(path, read_only)
        try:
            return cls(file, keys, anchor)
        except LedgerError:
            file.close()
            raise

    @property
    def head(self) -> Head:
        """The last block."""
        return self._head

    @property
    def closed(self) -> Verified:
        """How much is in closed blocks, each of which was checked when it was opened or made."""
        return Verified(self._head.number, len(self._place), self._head)

    @property
    def state(self) -> State:
        """What follows from the closed blocks and the time of the last `seal`; to be read only."""
        return self._state

    def sign(self, key: MemberKey, kind: str, body: Mapping[str, Any]) -> Tx:
        """A transaction with the next nonce of the key's owner."""
        nonce = self._ahead.nonces.get(key.address, 0)
        return signed(kind, key.address, nonce, body, key.sign(statement(kind, key.address, nonce, body)))

    def endorse(self, key: MemberKey, body: Mapping[str, Any]) -> str:
        """A validator's signature for the body of a `membership`."""
        return key.sign(endorsement(body))

    def append(self, tx: Tx) -> Receipt:
        """Take a transaction for the next block, or refuse it."""
        try:
            checked = from_content(parse(tx.entry))  # a copy that nobody else can change
        except ValueError as error:
            raise Refused(str(error)) from error
        if checked.id != tx.id:
            raise Refused(f"{tx.kind} {tx.id}: by its content its id is {checked.id}")
        apply(self._ahead, checked, authenticate(checked))
        self._pending[checked.id] = checked
        return Receipt(checked.id, None)

    def seal(self, t_s: int) -> Sealed:
        """Close blocks of what was taken, at most 1,000 transactions in each; judge it again at t_s before."""
        blocks: list[Block] = []
        refused: dict[str, str] = {}
        waiting = list(self._pending.values())
        while True:
            trial, taken = self._state.copied(), list[Tx]()
            begin_block(trial, t_s)
            while waiting and len(taken) < MOST_TXS:
                tx = waiting.pop(0)
                try:
                    apply(trial, tx, tx.body["signatures"] if tx.kind == "membership" else ())
                    taken.append(tx)
                except Refused as refusal:
                    refused[tx.id] = str(refusal)
            if not taken:
                break
            blocks.append(self._commit(trial, taken))
        self._pending.clear()
        self._state, self._ahead = trial, trial.copied()
        return Sealed(tuple(blocks), refused)

    def get(self, id: str) -> tuple[Tx, Receipt]:
        """A transaction that was taken."""
        if id in self._pending:
            return self._pending[id], Receipt(id, None)
        block, index = self._find(id)
        return block.txs[index], Receipt(id, block.number)

    def blocks(self, start: int = 1) -> Iterator[Block]:
        """The closed blocks from a number on."""
        for number, body in self._file.bodies(max(start, 1)):
            yield _read(number, body)

    def proof(self, id: str) -> Proof:
        """The proof for a transaction in a closed block; `ledger_blocks.check_proof` checks it."""
        return proof_of(*self._find(id))

    def verify(self, anchor: Head | None = None) -> Verified:
        """Check every byte of what is stored, and that the block which a member remembers is still there."""
        place: dict[str, tuple[int, int]] = {}
        _, head = self._replay(anchor, place)
        return Verified(head.number, len(place), head)

    def status(self, id: str) -> str:
        """Of a proposal or a match, what is pending included."""
        book: Mapping[str, Any] = self._ahead.proposals if id in self._ahead.proposals else self._ahead.matches
        if id not in book:
            raise LedgerError(f"there is no proposal and no match {id}")
        return str(book[id].status)

    def balance(self, address: str) -> int:
        """What a member has won or owes, what is pending included [millionths of the currency]."""
        return self._ahead.balances.get(address, 0)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _commit(self, state: State, txs: list[Tx]) -> Block:
        """Sign a block of transactions that `state` has taken, store it, and stand after it."""
        block = close(state, self._head, txs, self._keys)
        self._file.add(block.number, encode(block))
        self._state, self._head = state, Head(block.number, block.hash)
        self._place |= {tx.id: (block.number, index) for index, tx in enumerate(txs)}
        return block

    def _find(self, id: str) -> tuple[Block, int]:
        if id not in self._place:
            raise LedgerError(f"no block holds a transaction {id}")
        number, index = self._place[id]
        return next(self.blocks(number)), index

    def _replay(self, anchor: Head | None, place: dict[str, tuple[int, int]]) -> tuple[State, Head]:
        """State and head that follow from what is stored; `place` is filled with where each transaction is."""
        bodies = self._file.bodies()
        number, body = next(bodies, (0, b""))
        if number != 0:
            raise LedgerError("the genesis is missing")
        genesis = decode_genesis(body)
        state, head = initial(genesis), genesis_head(body)
        anchored = anchor is None or anchor == head
        for number, body in bodies:
            block = _read(number, body)
            try:
                head = follow(state, head, block)
            except ValueError as error:
                raise LedgerError(f"block {number}: {error}") from error
            place |= {tx.id: (number, index) for index, tx in enumerate(block.txs)}
            anchored = anchored or anchor == head
        if not anchored and anchor is not None:
            found = "is another one" if anchor.number <= head.number else f"is missing, the last one is {head.number}"
            raise LedgerError(f"block {anchor.number}, which the anchor remembers, {found}")
        return state, head


def _read(number: int, body: bytes) -> Block:
    """A stored block; LedgerError if it is damaged."""
    try:
        block = decode(body)
    except ValueError as error:
        raise LedgerError(f"block {number}: {error}") from error
    if block.number != number:
        raise LedgerError(f"block {number} says that it is number {block.number}")
    return block
