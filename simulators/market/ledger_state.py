"""What the market's rules act upon: members, proposals, matches, balances, and how a block begins."""

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from gridloop.simulators.market.ledger_tx import is_count

ROLES = ("auditor", "buyer", "dso", "seller")
MOST = 10**12  # of every number in a body: sums and products stay within 256 bits
MOST_VALIDATORS = 20  # so many that a quorum's signatures fit into a transaction
LONGEST_NAME = 32


@dataclass(frozen=True)
class Member:
    """Who may take part, and as what."""

    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Genesis:
    """What all members agree upon before the first block.

    Args:
        members: by address.
        validators: addresses of the members that sign the blocks.
        slot_s: length of a slot [s].
        credit_limit: how far a balance may fall below zero [millionths of the currency]; None: without limit.
    """

    members: Mapping[str, Member]
    validators: tuple[str, ...]
    slot_s: int = 900
    credit_limit: int | None = None

    def __post_init__(self) -> None:
        for member in self.members.values():
            check_member(member)
        names = [member.name for member in self.members.values()]
        if len(set(names)) < len(names):
            raise ValueError("genesis: two members have the same name")
        if not 1 <= len(self.validators) <= MOST_VALIDATORS or len(set(self.validators)) < len(self.validators):
            raise ValueError(f"genesis: between 1 and {MOST_VALIDATORS} validators, each once")
        if not set(self.validators) <= set(self.members):
            raise ValueError("genesis: every validator is a member")
        if not is_count(self.slot_s) or not 0 < self.slot_s <= MOST:
            raise ValueError(f"genesis: slot_s = {self.slot_s} must be a number of seconds > 0")
        if self.credit_limit is not None and not is_count(self.credit_limit):
            raise ValueError(f"genesis: credit_limit = {self.credit_limit} must be an integer >= 0 or None")


@dataclass(frozen=True)
class Proposal:
    owner: str
    side: str
    slot: int
    bus: str
    w: int
    price: int
    status: str = "open"


@dataclass(frozen=True)
class Match:
    sell: str
    buy: str
    w: int
    price: int
    loading_ppm: int
    loss_w: int
    status: str = "matched"
    approvals: frozenset[str] = frozenset()
    settled_w: int = 0


@dataclass
class State:
    """Everything that follows from the genesis and the transactions so far. `apply` and `begin_block` change it."""

    slot_s: int
    credit_limit: int | None
    members: dict[str, Member]
    validators: tuple[str, ...]
    coming_members: dict[str, Member]  # in force from the next block
    coming_validators: tuple[str, ...]
    changes: int = 0  # of the membership so far
    now_s: int = 0
    nonces: dict[str, int] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)
    matches: dict[str, Match] = field(default_factory=dict)
    open_until: dict[str, int] = field(default_factory=dict)  # proposals and matches that expire: when [s]
    balances: dict[str, int] = field(default_factory=dict)  # millionths of the currency

    def copied(self) -> "State":
        """The same state in containers of its own; what they hold is never changed."""
        other = copy(self)
        for key, value in vars(self).items():
            if isinstance(value, dict):
                setattr(other, key, dict(value))
        return other


def initial(genesis: Genesis) -> State:
    """The state before the first block."""
    members, validators = dict(genesis.members), genesis.validators
    return State(genesis.slot_s, genesis.credit_limit, members, validators, dict(members), validators)


def quorum(validators: Collection[str]) -> int:
    """How many of the validators have to agree: more than two thirds."""
    return 2 * len(validators) // 3 + 1


def begin_block(state: State, now_s: int) -> None:
    """Move to the time of the next block: changes of the membership hold, slots that are over expire."""
    if not is_count(now_s):
        raise ValueError(f"block at {now_s!r} s: its time is an integer number of seconds >= 0")
    if now_s < state.now_s:
        raise ValueError(f"block at {now_s} s after one at {state.now_s} s: time does not run backwards")
    state.members, state.validators = dict(state.coming_members), state.coming_validators
    expire(state, now_s)


def expire(state: State, now_s: int) -> None:
    """Move time on: the proposals and matches of slots that are over expire."""
    state.now_s = now_s
    for id in [id for id, end_s in state.open_until.items() if end_s <= now_s]:
        book: dict[str, Any] = state.proposals if id in state.proposals else state.matches
        book[id] = replace(book[id], status="expired")
        del state.open_until[id]


def check_member(member: Member, may_leave: bool = False) -> None:
    if not is_name(member.name):
        raise ValueError(f"member {member.name!r}: a name has 1 to {LONGEST_NAME} characters of ASCII")
    roles = member.roles
    if not isinstance(roles, tuple) or not all(isinstance(role, str) for role in roles):
        raise ValueError(f"{member.name}: roles is a list of texts")
    if list(roles) != sorted(set(roles)) or not set(roles) <= set(ROLES):
        raise ValueError(f"{member.name}: roles {list(roles)}: any of {', '.join(ROLES)}, in this order")
    if not roles and not may_leave:
        raise ValueError(f"{member.name} has no role")
    if "dso" in roles and {"seller", "buyer"} & set(roles):
        raise ValueError(f"{member.name}: the DSO coordinates and is neither seller nor buyer")


def is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isascii() and value.isprintable()
