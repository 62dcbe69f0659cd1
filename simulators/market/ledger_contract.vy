# pragma version ==0.4.3
# pragma evm-version london
"""
@title The market's rules (ledger_rules.py) as a contract
@notice The same state machine, rule by rule. Nonce and signature of a transaction are the chain's; `nonce` counts what
        the contract took of a sender. An id is the first 8 bytes of keccak256(sender, nonce). Roles are bits.
"""

event Entry:
    id: indexed(bytes8)
    sender: indexed(address)
    nonce: uint256
    time_s: uint256  # at which the rules judged it

struct Proposal:
    owner: address
    side: uint256
    slot: uint256
    w: uint256
    price: uint256
    status: uint256

struct Match:
    sell: bytes8
    buy: bytes8
    w: uint256
    price: uint256
    status: uint256
    approved: uint256  # bits: the seller, the buyer
    settled_w: uint256

struct Change:  # of the membership; it holds from the next block
    at_block: uint256
    member: address
    roles_before: uint256
    validator_before: bool
    validators_before: uint256

BUYER: constant(uint256) = 2  # 1 is the auditor, who only reads
DSO: constant(uint256) = 4
SELLER: constant(uint256) = 8

SELL: constant(uint256) = 0
BUY: constant(uint256) = 1

OPEN: constant(uint256) = 1
MATCHED: constant(uint256) = 2
COMMITTED: constant(uint256) = 3
REJECTED: constant(uint256) = 4
SETTLED: constant(uint256) = 5
WITHDRAWN: constant(uint256) = 6
EXPIRED: constant(uint256) = 7

MOST: constant(uint256) = 10**12
MOST_MEMBERS: constant(uint256) = 256  # at the deployment; more come by `membership`
MOST_VALIDATORS: constant(uint256) = 20

GENESIS: public(immutable(bytes32))  # SHA-256 of the canonical genesis
SLOT_S: public(immutable(uint256))
CREDIT_LIMIT: public(immutable(uint256))  # the largest number: without limit
SIMULATED: public(immutable(bool))  # time is what `tick` says, not the block's

clock_s: uint256
roles: HashMap[address, uint256]
is_validator: HashMap[address, bool]
validators: uint256
owner_of_name: HashMap[String[32], address]
name_of: HashMap[address, String[32]]
last_change: Change
changes: public(uint256)
nonces: public(HashMap[address, uint256])
proposals: public(HashMap[bytes8, Proposal])
matches: public(HashMap[bytes8, Match])
balances: public(HashMap[address, int256])


@deploy
def __init__(
    genesis: bytes32, members: DynArray[address, MOST_MEMBERS], names: DynArray[String[32], MOST_MEMBERS],
    roles: DynArray[uint256, MOST_MEMBERS], validators: DynArray[address, MOST_VALIDATORS], slot_s: uint256,
    credit_limit: uint256, simulated: bool,
):
    GENESIS = genesis
    SLOT_S = slot_s
    CREDIT_LIMIT = credit_limit
    SIMULATED = simulated
    assert 0 < slot_s and slot_s <= MOST, "slot_s"
    assert len(members) == len(names) and len(members) == len(roles), "members, names and roles differ in number"
    for i: uint256 in range(len(members), bound=MOST_MEMBERS):
        assert self.roles[members[i]] == 0, "a member stands twice"
        self._set_member(members[i], names[i], roles[i])
        assert roles[i] != 0, "a member has no role"
    for validator: address in validators:
        assert self.roles[validator] != 0 and not self.is_validator[validator], "every validator is a member, once"
        self.is_validator[validator] = True
    self.validators = len(validators)
    assert self.validators > 0, "no validator"


@external
def tick(time_s: uint256):
    """
    @notice Move simulated time; what ended by then has expired.
    """
    assert SIMULATED, "time is the chain's own"
    assert self._validates(msg.sender), "only a validator moves time"
    assert time_s >= self.clock_s, "time does not run backwards"
    self.clock_s = time_s


@external
def propose(nonce: uint256, side: uint256, slot: uint256, bus: String[32], w: uint256, price: uint256):
    id: bytes8 = self._enter(nonce)
    assert side == SELL or side == BUY, "side is neither sell nor buy"
    self._need_role(msg.sender, SELLER if side == SELL else BUYER)
    assert self._is_name(bus), "bus is not a text of 1 to 32 characters of ASCII"
    assert 0 < w and w <= MOST, "w"
    assert price <= MOST, "price"
    assert slot <= MOST, "slot"
    assert self._end_s(slot) > self._now_s(), "the slot is over"
    self.proposals[id] = Proposal(owner=msg.sender, side=side, slot=slot, w=w, price=price, status=OPEN)


@external
def map(
    nonce: uint256, sell: bytes8, buy: bytes8, w: uint256, price: uint256, loading_ppm: uint256, loss_w: int256
):
    id: bytes8 = self._enter(nonce)
    self._need_role(msg.sender, DSO)
    assert self._proposal_status(sell) == OPEN, "the proposal to sell is not open"
    assert self._proposal_status(buy) == OPEN, "the proposal to buy is not open"
    offer: Proposal = self.proposals[sell]
    want: Proposal = self.proposals[buy]
    assert offer.side == SELL and want.side == BUY, "it takes a proposal to sell and one to buy"
    assert offer.slot == want.slot, "the proposals are for different slots"
    assert offer.owner != want.owner, "both proposals are of the same member"
    self._need_role(offer.owner, SELLER)
    self._need_role(want.owner, BUYER)
    assert 0 < w and w <= min(offer.w, want.w), "w is more than is offered and wanted"
    assert offer.price <= price and price <= want.price, "the price is not between those asked and bid"
    assert loading_ppm <= 1000000, "a line would be overloaded"
    assert abs(loss_w) <= convert(MOST, int256), "loss_w"
    self.matches[id] = Match(sell=sell, buy=buy, w=w, price=price, status=MATCHED, approved=0, settled_w=0)
    self._set_proposals(sell, buy, MATCHED)


@external
def approve(nonce: uint256, match_id: bytes8):
    _: bytes8 = self._enter(nonce)
    assert self._match_status(match_id) == MATCHED, "the match does not wait for approval"
    side: uint256 = self._party(match_id)
    one: Match = self.matches[match_id]
    assert one.approved & (1 << side) == 0, "this owner has approved already"
    one.approved |= 1 << side
    if one.approved == 3:
        one.status = COMMITTED
        self._set_proposals(one.sell, one.buy, COMMITTED)
    self.matches[match_id] = one


@external
def reject(nonce: uint256, match_id: bytes8):
    _: bytes8 = self._enter(nonce)
    assert self._match_status(match_id) == MATCHED, "the match does not wait for approval"
    side: uint256 = self._party(match_id)
    self.matches[match_id].status = REJECTED
    self._set_proposals(self.matches[match_id].sell, self.matches[match_id].buy, OPEN)


@external
def withdraw(nonce: uint256, proposal: bytes8):
    _: bytes8 = self._enter(nonce)
    assert self._proposal_status(proposal) == OPEN, "the proposal is not open"
    assert self.proposals[proposal].owner == msg.sender, "only its owner withdraws a proposal"
    self.proposals[proposal].status = WITHDRAWN


@external
def settle(nonce: uint256, match_id: bytes8, w: uint256):
    _: bytes8 = self._enter(nonce)
    assert self._match_status(match_id) == COMMITTED, "the match is not committed, or settled already"
    one: Match = self.matches[match_id]
    buyer: address = self.proposals[one.buy].owner
    seller: address = self.proposals[one.sell].owner
    assert msg.sender == buyer, "only the buyer settles"
    assert w <= one.w, "w is more than was agreed"
    amount: int256 = convert(w * one.price * SLOT_S // 3600000, int256)
    left: int256 = self.balances[buyer] - amount
    if CREDIT_LIMIT != max_value(uint256):
        assert left >= -convert(CREDIT_LIMIT, int256), "the buyer's balance would be below its limit"
    one.status = SETTLED
    one.settled_w = w
    self.matches[match_id] = one
    self.balances[buyer] = left
    self.balances[seller] += amount


@external
def membership(
    nonce: uint256, member: address, name: String[32], roles: uint256, validator: bool, change: uint256,
    signatures: DynArray[Bytes[65], MOST_VALIDATORS],
):
    """
    @notice Let a member in, change its roles, or (no roles) let it go; signed by a quorum of the validators, whose
            addresses ascend. It holds from the next block, so there is one change a block.
    """
    _: bytes8 = self._enter(nonce)
    assert self._validates(msg.sender), "only a validator brings a change of the membership"
    assert self.last_change.at_block < block.number, "one change of the membership a block"
    assert change == self.changes, "change is not the next number"
    assert not validator or roles != 0, "a validator is a member and has a role"
    digest: bytes32 = keccak256(concat(
        b"\x19Ethereum Signed Message:\n32",
        keccak256(abi_encode(self, chain.id, member, keccak256(name), roles, validator, change)),
    ))
    last: address = empty(address)
    for signature: Bytes[65] in signatures:
        signer: address = ecrecover(
            digest,
            convert(slice(signature, 64, 1), uint256),
            convert(slice(signature, 0, 32), bytes32),
            convert(slice(signature, 32, 32), bytes32),
        )
        assert convert(signer, uint160) > convert(last, uint160), "the signers' addresses do not ascend"
        assert self.is_validator[signer], "a signer is no validator"
        last = signer
    assert len(signatures) >= 2 * self.validators // 3 + 1, "too few validators signed the change"
    self.last_change = Change(
        at_block=block.number, member=member, roles_before=self.roles[member],
        validator_before=self.is_validator[member], validators_before=self.validators,
    )
    self._set_member(member, name, roles)
    if validator != self.is_validator[member]:
        self.validators = self.validators + 1 if validator else self.validators - 1
        assert 0 < self.validators and self.validators <= MOST_VALIDATORS, "number of validators"
        self.is_validator[member] = validator
    self.changes += 1


@view
@external
def status(id: bytes8) -> uint256:
    """
    @notice Of a proposal or a match; 0: there is none.
    """
    if self.proposals[id].status != 0:
        return self._proposal_status(id)
    return self._match_status(id)


@internal
def _enter(nonce: uint256) -> bytes8:
    assert msg.sender == tx.origin, "members call by themselves"  # so that every entry can be read from its call
    assert self._roles(msg.sender) != 0, "the sender is not a member"
    assert nonce == self.nonces[msg.sender], "nonce is not the sender's next"
    self.nonces[msg.sender] = nonce + 1
    id: bytes8 = convert(slice(keccak256(abi_encode(msg.sender, nonce)), 0, 8), bytes8)
    assert self.proposals[id].status == 0 and self.matches[id].status == 0, "there is an entry of this id"
    log Entry(id=id, sender=msg.sender, nonce=nonce, time_s=self._now_s())
    return id


@internal
def _set_member(member: address, name: String[32], roles: uint256):
    assert roles < 16, "roles are auditor 1, buyer 2, dso 4, seller 8"
    assert roles & DSO == 0 or roles & (SELLER | BUYER) == 0, "the DSO is neither seller nor buyer"
    assert self._is_name(name), "a name has 1 to 32 characters of ASCII"
    holder: address = self.owner_of_name[name]
    assert holder == empty(address) or holder == member, "another member is called so"
    self.owner_of_name[self.name_of[member]] = empty(address)
    if roles != 0:
        self.owner_of_name[name] = member
        self.name_of[member] = name
    else:
        self.name_of[member] = ""
    self.roles[member] = roles


@view
@internal
def _roles(member: address) -> uint256:
    if self.last_change.at_block == block.number and self.last_change.member == member:
        return self.last_change.roles_before
    return self.roles[member]


@view
@internal
def _validates(member: address) -> bool:
    if self.last_change.at_block == block.number and self.last_change.member == member:
        return self.last_change.validator_before
    return self.is_validator[member]


@view
@internal
def _need_role(member: address, role: uint256):
    assert self._roles(member) & role != 0, "the role for this is missing"


@view
@internal
def _now_s() -> uint256:
    return self.clock_s if SIMULATED else block.timestamp


@view
@internal
def _end_s(slot: uint256) -> uint256:
    return (slot + 1) * SLOT_S


@view
@internal
def _proposal_status(id: bytes8) -> uint256:
    one: Proposal = self.proposals[id]
    if (one.status == OPEN or one.status == MATCHED) and self._end_s(one.slot) <= self._now_s():
        return EXPIRED
    return one.status


@view
@internal
def _match_status(id: bytes8) -> uint256:
    one: Match = self.matches[id]
    if one.status == MATCHED and self._end_s(self.proposals[one.sell].slot) <= self._now_s():
        return EXPIRED
    return one.status


@view
@internal
def _party(match_id: bytes8) -> uint256:
    if self.proposals[self.matches[match_id].sell].owner == msg.sender:
        return SELL
    assert self.proposals[self.matches[match_id].buy].owner == msg.sender, "the sender is not a party of the match"
    return BUY


@internal
def _set_proposals(sell: bytes8, buy: bytes8, status: uint256):
    self.proposals[sell].status = status
    self.proposals[buy].status = status


@pure
@internal
def _is_name(text: String[32]) -> bool:
    for i: uint256 in range(len(text), bound=32):
        letter: uint256 = convert(slice(convert(text, Bytes[32]), i, 1), uint256)
        if letter < 32 or letter > 126:
            return False
    return len(text) > 0
