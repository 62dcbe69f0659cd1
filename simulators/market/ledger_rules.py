"""The market's rules as one state machine: the same for a chain of our own and for a contract on an EVM chain.

    proposal: open -> matched -> committed            match: matched -> committed -> settled
    open again when a match is rejected; withdrawn by its owner; expired, with its match, when its slot ends

What a transaction's body holds (integers and texts):
    propose     side "sell"|"buy", slot, bus, w, price     by a seller, a buyer
    map         sell, buy, w, price, loading_ppm, loss_w   by the DSO, which is never a party itself
    approve     match                                      by both owners; the second one commits the trade
    reject      match                                      by an owner; both proposals are open again
    withdraw    proposal                                   by its owner
    settle      match, w                                   by the buyer, once; w was delivered
    membership  member, name, roles, validator, change, signatures     by a validator, signed by a quorum of them
Slot k is the time from k slot_s until (k+1) slot_s [s]. A price is in millionths of the currency per kWh, w in W, so
settling moves floor(w price slot_s / 3,600,000) millionths from the buyer to the seller.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from gridloop.simulators.market.ledger_state import (
    LONGEST_NAME,
    MOST,
    MOST_VALIDATORS,
    Match,
    Member,
    Proposal,
    State,
    check_member,
    is_name,
    quorum,
)
from gridloop.simulators.market.ledger_tx import Refused, Tx, is_count

SIDES: Final = {"sell": "seller", "buy": "buyer"}
W_S_PER_KWH = 3_600_000


def apply(state: State, tx: Tx, endorsers: Collection[str] = ()) -> None:
    """Take a transaction whose signature is known to be good, or refuse it and leave the state as it is.

    Args:
        state: changed.
        tx: the transaction.
        endorsers: for `membership`, who signed the change besides the sender (signatures known to be good).

    Raises:
        Refused: with the rule that it breaks.
    """
    try:
        if tx.sender not in state.members:
            raise Refused("the sender is not a member")
        if tx.nonce != state.nonces.get(tx.sender, 0):
            raise Refused(f"nonce {tx.nonce}, but the sender's next is {state.nonces.get(tx.sender, 0)}")
        if tx.id in state.proposals or tx.id in state.matches:
            raise Refused("there is an entry of this id")
        if tx.kind == "membership":
            _change_membership(state, tx, endorsers)
        elif tx.kind in RULES:
            keys, rule = RULES[tx.kind]
            check_body(tx.body, keys)
            rule(state, tx)
        else:
            raise Refused(f"kinds are {', '.join(RULES)}, membership")
    except Refused as refusal:
        who = state.members[tx.sender].name if tx.sender in state.members else tx.sender[:8]
        raise Refused(f"{tx.kind} {tx.id} of {who}: {refusal}") from None
    state.nonces[tx.sender] = tx.nonce + 1


# ---- one rule a kind: refuse first, change last
def _propose(state: State, tx: Tx) -> None:
    body = tx.body
    side, bus = body["side"], body["bus"]
    if side not in SIDES:
        raise Refused(f"side {side!r} is neither sell nor buy")
    _need_role(state, tx.sender, SIDES[side])
    if not is_name(bus):
        raise Refused(f"bus {bus!r} is not a text of 1 to {LONGEST_NAME} characters of ASCII")
    if body["w"] == 0:
        raise Refused("w must be > 0")
    end_s = (body["slot"] + 1) * state.slot_s
    if end_s <= state.now_s:
        raise Refused(f"slot {body['slot']} ended at {end_s} s, and it is {state.now_s} s")
    state.proposals[tx.id] = Proposal(tx.sender, **body)
    state.open_until[tx.id] = end_s


def _map(state: State, tx: Tx) -> None:
    body = tx.body
    _need_role(state, tx.sender, "dso")
    sell, buy = _proposal(state, body["sell"], "open"), _proposal(state, body["buy"], "open")
    if (sell.side, buy.side) != ("sell", "buy"):
        raise Refused("it takes a proposal to sell and one to buy")
    if sell.slot != buy.slot:
        raise Refused(f"the proposals are for slots {sell.slot} and {buy.slot}")
    if sell.owner == buy.owner:
        raise Refused("both proposals are of the same member")
    _need_role(state, sell.owner, "seller")
    _need_role(state, buy.owner, "buyer")
    if not 0 < body["w"] <= min(sell.w, buy.w):
        raise Refused(f"{body['w']} W, but {sell.w} W are offered and {buy.w} W wanted")
    if not sell.price <= body["price"] <= buy.price:
        raise Refused(f"price {body['price']}, but asked is {sell.price} and bid {buy.price}")
    if body["loading_ppm"] > 1_000_000:
        raise Refused(f"a line would be loaded to {body['loading_ppm'] / 1e4:g} %")
    state.matches[tx.id] = Match(**body)
    _set_proposals(state, state.matches[tx.id], "matched")
    state.open_until[tx.id] = state.open_until[body["sell"]]


def _approve(state: State, tx: Tx) -> None:
    id = tx.body["match"]
    match = _party(state, tx, id, "matched")
    if tx.sender in match.approvals:
        raise Refused("this owner has approved already")
    approvals = match.approvals | {tx.sender}
    if len(approvals) < 2:
        state.matches[id] = replace(match, approvals=approvals)
        return
    state.matches[id] = replace(match, approvals=approvals, status="committed")
    _set_proposals(state, match, "committed")
    for done in (id, match.sell, match.buy):
        del state.open_until[done]


def _reject(state: State, tx: Tx) -> None:
    id = tx.body["match"]
    match = _party(state, tx, id, "matched")
    state.matches[id] = replace(match, status="rejected")
    _set_proposals(state, match, "open")
    del state.open_until[id]


def _withdraw(state: State, tx: Tx) -> None:
    id = tx.body["proposal"]
    proposal = _proposal(state, id, "open")
    if tx.sender != proposal.owner:
        raise Refused("only its owner withdraws a proposal")
    state.proposals[id] = replace(proposal, status="withdrawn")
    del state.open_until[id]


def _settle(state: State, tx: Tx) -> None:
    id, w = tx.body["match"], tx.body["w"]
    match = _party(state, tx, id, "committed")
    buyer, seller = state.proposals[match.buy].owner, state.proposals[match.sell].owner
    if tx.sender != buyer:
        raise Refused("only the buyer settles")
    if w > match.w:
        raise Refused(f"{w} W of {match.w} W that were agreed")
    amount = w * match.price * state.slot_s // W_S_PER_KWH
    left = state.balances.get(buyer, 0) - amount
    if state.credit_limit is not None and left < -state.credit_limit:
        raise Refused(f"the buyer's balance would be {left}, and its limit is {-state.credit_limit}")
    state.matches[id] = replace(match, status="settled", settled_w=w)
    state.balances[buyer] = left
    state.balances[seller] = state.balances.get(seller, 0) + amount


def _change_membership(state: State, tx: Tx, endorsers: Collection[str]) -> None:
    body = tx.body
    member = check_membership(body)
    address, validator = body["member"], body["validator"]
    if tx.sender not in state.validators:
        raise Refused("only a validator brings a change of the membership")
    if body["change"] != state.changes:
        raise Refused(f"change {body['change']}, but the next is {state.changes}")
    strangers = set(endorsers) - set(state.validators)
    if strangers:
        raise Refused(f"{sorted(strangers)[0][:8]} signed the change and is no validator")
    if len(set(endorsers)) < quorum(state.validators):
        raise Refused(f"{len(set(endorsers))} validators signed the change, it takes {quorum(state.validators)}")
    validators = tuple(v for v in state.coming_validators if v != address)
    if validator:
        validators = state.coming_validators if address in state.coming_validators else (*validators, address)
    if not 1 <= len(validators) <= MOST_VALIDATORS:
        raise Refused(f"there would be {len(validators)} validators; between 1 and {MOST_VALIDATORS} are possible")
    members = {key: one for key, one in state.coming_members.items() if key != address}
    if any(one.name == member.name for one in members.values()):
        raise Refused(f"another member is called {member.name}")
    if member.roles:
        members[address] = member
    state.coming_members, state.coming_validators, state.changes = members, validators, state.changes + 1


def check_membership(body: Mapping[str, Any]) -> Member:
    """The member that a change of the membership states; Refused if it states none."""
    check_body(body, "member name roles validator change signatures")
    try:
        member = Member(body["name"], tuple(body["roles"]) if isinstance(body["roles"], list) else body["roles"])
        check_member(member, may_leave=True)
    except ValueError as error:
        raise Refused(str(error)) from error
    if body["validator"] not in (0, 1) or not isinstance(body["signatures"], dict):
        raise Refused("validator is 0 or 1, signatures holds one for each validator that signed")
    if body["validator"] and not member.roles:
        raise Refused("a validator is a member and has a role")
    return member


RULES: Final[dict[str, tuple[str, Callable[[State, Tx], None]]]] = {
    "propose": ("side slot bus w price", _propose),
    "map": ("sell buy w price loading_ppm loss_w", _map),
    "approve": ("match", _approve),
    "reject": ("match", _reject),
    "withdraw": ("proposal", _withdraw),
    "settle": ("match w", _settle),
}
COUNTS = {"slot", "w", "price", "loading_ppm", "change", "validator"}
TEXTS = {"side", "bus", "sell", "buy", "match", "proposal", "member", "name"}


# ---- what the rules ask
def check_body(body: Mapping[str, Any], keys: str) -> None:
    if set(body) != set(keys.split()):
        raise Refused(f"the body holds {', '.join(keys.split())}, not {', '.join(sorted(body)) or 'nothing'}")
    for key, value in body.items():
        if key in COUNTS and (not is_count(value) or value > MOST):
            raise Refused(f"{key} = {value!r} is not an integer from 0 to {MOST}")
        if key in TEXTS and not isinstance(value, str):
            raise Refused(f"{key} = {value!r} is not a text")
        if key == "loss_w" and (type(value) is not int or abs(value) > MOST):
            raise Refused(f"loss_w = {value!r} is not an integer from {-MOST} to {MOST}")


def _need_role(state: State, address: str, role: str) -> None:
    member = state.members.get(address)
    if member is None or role not in member.roles:
        raise Refused(f"{member.name if member else address[:8]} does not have the role {role}")


def _proposal(state: State, id: str, status: str) -> Proposal:
    proposal = state.proposals.get(id)
    if proposal is None:
        raise Refused(f"there is no proposal {id}")
    if proposal.status != status:
        raise Refused(f"proposal {id} is {proposal.status}, not {status}")
    return proposal


def _party(state: State, tx: Tx, id: str, status: str) -> Match:
    """The match, of which the sender is a party."""
    match = state.matches.get(id)
    if match is None:
        raise Refused(f"there is no match {id}")
    if tx.sender not in (state.proposals[match.sell].owner, state.proposals[match.buy].owner):
        raise Refused(f"the sender is not a party of match {id}")
    if match.status != status:
        raise Refused(f"match {id} is {match.status}, not {status}")
    return match


def _set_proposals(state: State, match: Match, status: str) -> None:
    for id in (match.sell, match.buy):
        state.proposals[id] = replace(state.proposals[id], status=status)
