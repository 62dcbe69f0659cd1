"""The ledger of a network of organisations: the contract ledger_contract.vy on any EVM chain, by the URL of a node.

Who may make blocks, and how they agree, is the chain's own (Besu with QBFT, for instance). `append` waits until the
transaction is in a block. `seal` tells the contract the simulated time; a contract made with simulated=False goes by
the time of the chain's blocks, and refuses to be told.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, TimeExhausted, Web3Exception, Web3RPCError
from web3.types import RPCEndpoint, TxParams

from gridloop.simulators.market import ledger_calls
from gridloop.simulators.market.ledger import Block, Head, LedgerError, Receipt, Sealed, Verified
from gridloop.simulators.market.ledger_blocks import encode_genesis
from gridloop.simulators.market.ledger_calls import STATUS, arguments, body_of, raw_call, raw_of, role_bits, transaction
from gridloop.simulators.market.ledger_rules import apply, check_membership
from gridloop.simulators.market.ledger_state import Genesis, State, begin_block, expire, initial
from gridloop.simulators.market.ledger_tx import Refused, Tx

MOST_GAS = 1_000_000  # of a transaction; a change of the membership with 14 signatures takes less than half
WITHOUT_LIMIT = 2**256 - 1
POLL_S = 0.01


class EvmLedger:
    """The contract at an address. Make it with `deploy`, or with the address that somebody else's `deploy` gave.

    Args:
        url: of a node (HTTP).
        address: of the contract.
        genesis: what the contract was deployed with; members' addresses as Ethereum writes them (checksum).
        ticker: a validator's account that tells the contract the simulated time, for `seal`.
        timeout_s: how long a transaction may take to get into a block.
    """

    def __init__(
        self, url: str, address: str, genesis: Genesis, ticker: LocalAccount | None = None, timeout_s: float = 30.0
    ) -> None:
        self._web3, self._genesis, self._ticker, self._timeout_s = _node(url), genesis, ticker, timeout_s
        self._chain = self._web3.eth.chain_id
        if not self._web3.eth.get_code(Web3.to_checksum_address(address)):
            raise LedgerError(f"{url}: there is no contract at {address}")
        self._contract = self._web3.eth.contract(Web3.to_checksum_address(address), abi=_compiled()["abi"])
        if self._contract.functions.GENESIS().call() != sha256(encode_genesis(genesis)).digest():
            raise LedgerError(f"{url}: the contract at {address} was deployed with another genesis")
        self._simulated = self._contract.functions.SIMULATED().call()
        self._sealed = int(self._web3.eth.block_number)

    @classmethod
    def deploy(
        cls, url: str, genesis: Genesis, owner: LocalAccount, ticker: LocalAccount | None = None,
        timeout_s: float = 30.0,
    ) -> "EvmLedger":  # fmt: skip
        """Put a new contract on the chain, paid by `owner`; with a ticker its time is simulated."""
        web3 = _node(url)
        members = list(genesis.members.items())
        contract = web3.eth.contract(abi=_compiled()["abi"], bytecode=_compiled()["bytecode"]).constructor(
            sha256(encode_genesis(genesis)).digest(), [address for address, _ in members],
            [member.name for _, member in members], [role_bits(member.roles) for _, member in members],
            list(genesis.validators), genesis.slot_s,
            WITHOUT_LIMIT if genesis.credit_limit is None else genesis.credit_limit, ticker is not None,
        )  # fmt: skip
        call = contract.build_transaction(_envelope(web3, owner.address, web3.eth.chain_id))
        sent = web3.eth.send_raw_transaction(_signed(owner, call))
        receipt = web3.eth.wait_for_transaction_receipt(sent, timeout_s, POLL_S)
        if receipt["status"] != 1 or receipt["contractAddress"] is None:
            raise LedgerError(f"{url}: the chain did not take the contract")
        return cls(url, receipt["contractAddress"], genesis, ticker, timeout_s)

    @property
    def address(self) -> str:
        """Of the contract: what others need besides the genesis."""
        return str(self._contract.address)

    @property
    def head(self) -> Head:
        """The chain's last block."""
        return self._head_at("latest")

    def sign(self, key: LocalAccount, kind: str, body: Mapping[str, Any]) -> Tx:
        """A transaction with the next nonce of the key's owner; Refused if the body is not one of this kind."""
        nonce = self._contract.functions.nonces(key.address).call()
        return self.sign_as(key, kind, body, nonce)

    def sign_as(self, key: LocalAccount, kind: str, body: Mapping[str, Any], nonce: int) -> Tx:
        """A transaction with a nonce that the caller counts."""
        data = self._contract.encode_abi(kind, [nonce, *arguments(kind, body)])
        envelope = _envelope(self._web3, key.address, self._chain)
        call = envelope | {"to": self.address, "gas": MOST_GAS, "value": 0, "data": data}
        return transaction(kind, key.address, nonce, body, _signed(key, call).hex())

    def endorse(self, key: LocalAccount, body: Mapping[str, Any]) -> str:
        """A validator's signature for the body of a `membership`; Refused if it is none."""
        check_membership({**body, "signatures": {}})
        return key.sign_message(ledger_calls.endorsement(body, self.address, self._chain)).signature.hex()

    def append(self, tx: Tx) -> Receipt:
        """Send a transaction and wait for its block; Refused by the node or by the contract.

        The rules are asked first: what they refuse is not sent, and uses none of the sender's numbers.
        """
        sender, to, data = raw_call(tx.sig)
        if (sender, to) != (tx.sender, self.address) or self._decoded(data) != (tx.kind, tx.nonce, dict(tx.body)):
            raise Refused(f"{tx.kind} {tx.id}: the signature is not the sender's for this content")
        call: TxParams = {"from": Web3.to_checksum_address(sender), "to": self.address, "data": data, "gas": MOST_GAS}
        try:
            self._web3.eth.call(call)
            sent = self._web3.eth.send_raw_transaction(bytes.fromhex(tx.sig))
            receipt = self._web3.eth.wait_for_transaction_receipt(sent, self._timeout_s, POLL_S)
        except ContractLogicError as error:
            raise Refused(f"{tx.kind} {tx.id}: {_reason(error)}") from error
        except Web3RPCError as error:
            raise Refused(f"{tx.kind} {tx.id}: the node refuses it: {error.message}") from error
        except TimeExhausted as error:
            raise LedgerError(f"{tx.kind} {tx.id}: not in a block after {self._timeout_s:g} s") from error
        if receipt["status"] != 1:
            raise Refused(f"{tx.kind} {tx.id}: another transaction came before it and changed what it rests on")
        return Receipt(tx.id, receipt["blockNumber"])

    def seal(self, t_s: int) -> Sealed:
        """Tell the contract the time; the blocks since the last call are what became final."""
        if self._simulated:
            if self._ticker is None:
                raise LedgerError("the contract's time is simulated: it takes a validator's account as `ticker`")
            envelope = _envelope(self._web3, self._ticker.address, self._chain)
            try:
                call = self._contract.functions.tick(t_s).build_transaction(envelope)
            except ContractLogicError as error:
                raise ValueError(f"time {t_s} s: {_reason(error)}") from error
            sent = self._web3.eth.send_raw_transaction(_signed(self._ticker, call))
            self._web3.eth.wait_for_transaction_receipt(sent, self._timeout_s, POLL_S)
        blocks = tuple(self.blocks(self._sealed + 1))
        self._sealed = blocks[-1].number if blocks else self._sealed
        return Sealed(blocks, {})

    def get(self, id: str) -> tuple[Tx, Receipt]:
        """A transaction that the contract took."""
        logs = self._contract.events.Entry.get_logs(argument_filters={"id": bytes.fromhex(id)}, from_block=0)
        if not logs:
            raise LedgerError(f"no block holds a transaction {id}")
        return self._tx(logs[0]), Receipt(id, logs[0]["blockNumber"])

    def blocks(self, start: int = 1) -> Iterator[Block]:
        """The chain's blocks from a number on that hold transactions of this ledger. Their seals are the chain's."""
        for number, logs in self._entries(start).items():
            yield self._block(number, tuple(self._tx(log) for log in logs))

    def verify(self, anchor: Head | None = None) -> Verified:
        """Follow every transaction by our own rules, and compare with what the contract holds.

        The contract's code has to be the shipped one, and the block that a member remembers still in the chain.
        """
        code = bytes(self._web3.eth.get_code(self._contract.address)).hex()
        if not code.startswith(_compiled()["bytecode_runtime"][2:]):  # what it was deployed with stands behind
            raise LedgerError(f"the contract at {self.address} is not the one that ships")
        if anchor is not None and self._head_at(anchor.number) != anchor:
            raise LedgerError(f"block {anchor.number}, which the anchor remembers, is another one")
        state, blocks, count = initial(self._genesis), 0, 0
        for number, logs in self._entries(1).items():
            begin_block(state, logs[0]["args"]["time_s"])
            blocks, count = blocks + 1, count + len(logs)
            for log in logs:
                expire(state, log["args"]["time_s"])
                tx = self._tx(log)
                try:
                    apply(state, tx, tx.body.get("signatures", ()))
                except Refused as refusal:
                    raise LedgerError(f"block {number}: the contract took what is refused: {refusal}") from refusal
        self._compare(state)
        return Verified(blocks, count, self.head)

    def status(self, id: str) -> str:
        """Of a proposal or a match."""
        found = STATUS[self._contract.functions.status(bytes.fromhex(id)).call()]
        if not found:
            raise LedgerError(f"there is no proposal and no match {id}")
        return found

    def balance(self, address: str) -> int:
        """What a member has won or owes [millionths of the currency]."""
        return int(self._contract.functions.balances(Web3.to_checksum_address(address)).call())

    def close(self) -> None:
        """Nothing to let go of: the sessions of web3 end with it."""

    def _compare(self, state: State) -> None:
        """The contract holds what follows from the transactions."""
        for address, balance in state.balances.items():
            if self.balance(address) != balance:
                raise LedgerError(f"the contract's balance of {address} is not the sum of its trades, {balance}")
        if self._simulated:
            stated = {id: one.status for id, one in state.proposals.items()}
            stated |= {id: one.status for id, one in state.matches.items()}
            for id, status in stated.items():
                found = self.status(id)
                if found not in (status, "expired"):
                    raise LedgerError(f"{id} is {found} in the contract, and {status} by its transactions")

    def _head_at(self, number: int | Any) -> Head:
        block = self._web3.eth.get_block(number)
        return Head(block["number"], bytes(block["hash"]).hex())

    def _entries(self, start: int) -> dict[int, list[Any]]:
        """What the contract logged, by block."""
        found: dict[int, list[Any]] = {}
        if start > self._web3.eth.block_number:  # nodes call that an error
            return found
        for log in self._contract.events.Entry.get_logs(from_block=start):
            found.setdefault(log["blockNumber"], []).append(log)
        return found

    def _block(self, number: int, txs: tuple[Tx, ...]) -> Block:
        block = self._web3.eth.get_block(number)
        header = {
            "number": number, "timestamp": block["timestamp"], "nonce": 0, "prev": bytes(block["parentHash"]).hex(),
            "merkle": bytes(block["transactionsRoot"]).hex(), "proposer": block["miner"],
        }  # fmt: skip
        return Block(header, txs, {}, bytes(block["hash"]).hex())

    def _tx(self, log: Any) -> Tx:
        """The transaction that left a log."""
        given = self._web3.eth.get_transaction(log["transactionHash"])
        kind, nonce, body = self._decoded(bytes(given["input"]))
        return transaction(kind, given["from"], nonce, body, raw_of(given))

    def _decoded(self, data: bytes) -> tuple[str, int, dict[str, Any]]:
        """Kind, nonce and body of a call."""
        try:
            function, given = self._contract.decode_function_input(data)
            return function.fn_name, given["nonce"], body_of(function.fn_name, given, self.address, self._chain)
        except (ValueError, KeyError, Web3Exception) as error:
            raise Refused(f"not a call of the ledger: {error}") from error


@cache
def _compiled() -> dict[str, Any]:
    """The contract as compiled: abi, bytecode, bytecode_runtime."""
    text = resources.files("gridloop.simulators.market").joinpath("ledger_contract.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _node(url: str) -> Web3:
    # web3 asks for the chain's number before nearly every request; it never changes
    web3 = Web3(HTTPProvider(url, cache_allowed_requests=True, cacheable_requests={RPCEndpoint("eth_chainId")}))
    if not web3.is_connected():
        raise LedgerError(f"{url}: no node of an EVM chain answers there")
    return web3


def _envelope(web3: Web3, sender: str, chain: int) -> Any:
    """What a transaction carries besides its call."""
    count = web3.eth.get_transaction_count(Web3.to_checksum_address(sender), "pending")
    return {"from": sender, "nonce": count, "gasPrice": web3.eth.gas_price, "chainId": chain}


def _signed(key: LocalAccount, call: Any) -> bytes:
    """The raw transaction; `from` follows from its signature and is not in it."""
    return bytes(key.sign_transaction({name: value for name, value in call.items() if name != "from"}).raw_transaction)


def _reason(error: ContractLogicError) -> str:
    return str(error.message or error).removeprefix("execution reverted: ")
