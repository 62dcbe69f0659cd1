"""Contract net: in every slot one party calls for bids, shares the demand among the units at least cost, and awards.

A party is a state machine without a clock: it takes messages and deadlines and gives messages. The deadlines of a slot
are counted in stages of one patience each:

    stage 0   the initiator, the first in the slot's line, calls everybody for bids
    stage 1   it calls again whoever has not answered; where nobody is silent it awards
    stage 2   it awards; of those that are still silent it takes what it knew last, and their units hold their power
    one later it awards again where no acknowledgement came

Who stands at place j of the line and has heard nothing of an earlier one takes over at stage 2 j. A unit keeps to the
award of the earliest in line. In a team the line rotates from slot to slot; a central controller is a line of its
own, with or without a standby behind it. What an initiator knows of all goes to the next in line with the awards.

Source: Smith, The contract net protocol, IEEE Trans. Computers C-29(12), 1980; the deadlines and the book of last known
bids are this project's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gridloop.simulators.market.economic import Award, Offer, share

AGAIN, AWARD = 1, 2  # stages after an initiator's first call
TAKEOVER = 2  # stages that each one in line waits for those before it
MOST_SILENT = 2  # initiators in a row that may be down
STAGES = TAKEOVER * MOST_SILENT + AWARD + 2


class Bid(NamedTuple):
    """What a party needs (< 0: feeds in) [kW], and what its unit would give, if it has one."""

    demand_kw: float = 0.0
    offer: Offer | None = None


class Message(NamedTuple):
    """Something that one party tells another: plain values only, so that any channel carries it."""

    kind: str  # call | bid | award | taken | book
    sender: str
    receiver: str
    slot: int
    body: Any = None


@dataclass
class Known:
    """What an initiator knows of a party."""

    bid: Bid
    slot: int  # of the bid
    power_kw: float | None = None  # that its unit was awarded and took


@dataclass
class Party:
    """One that negotiates.

    Args:
        name: its own.
        bid: what it bids in a slot.
        line: who calls in a slot, the first one first.
        everyone: the names of all that bid.
    """

    name: str
    bid: Callable[[int], Bid]
    line: Callable[[int], Sequence[str]]
    everyone: Sequence[str]
    power_kw: float | None = None  # agreed for its unit, held until the next award
    book: dict[str, Known] = field(default_factory=dict)
    award: Award | None = None  # of the slot in which it called last
    _slot: int = -1
    _called_at: int | None = None  # stage
    _awarded_at: int | None = None
    _silent: set[str] = field(default_factory=set)
    _open: dict[str, float] = field(default_factory=dict)  # awards without an acknowledgement
    _heard: int | None = None  # earliest place in the line of which it has heard
    _by: int | None = None  # place of the one whose award it keeps to

    def begin(self, slot: int) -> list[Message]:
        """A slot begins; this is its stage 0."""
        self._slot, self._called_at, self._awarded_at, self._heard, self._by = slot, None, None, None, None
        self._silent, self._open = set(), {}
        return self.deadline(0)

    def deadline(self, stage: int) -> list[Message]:
        """A stage of the slot is over."""
        if self._called_at is None:
            place = self._place(self.name)
            if place is None or stage != TAKEOVER * place or self._heard is not None:
                return []
            return self._call(stage, place)
        if self._awarded_at is not None:
            return self._awards() if stage == self._awarded_at + 1 else []
        after = stage - self._called_at
        if after == AWARD or (after == AGAIN and not self._silent):
            self._awarded_at = stage
            return self._award()
        return self._calls() if after == AGAIN else []

    @property
    def has_called(self) -> bool:
        """Whether it was the one that called in this slot."""
        return self._called_at is not None

    @property
    def is_settled(self) -> bool:
        """Whether it waits for nothing more in this slot."""
        return self._heard is not None and (
            self._called_at is None or (self._awarded_at is not None and not self._open)
        )

    def take(self, message: Message) -> list[Message]:
        """A message has come; one of another slot is too late and counts for nothing."""
        if message.slot != self._slot:
            return []
        answer = {
            "call": self._asked, "bid": self._answered, "award": self._awarded, "taken": self._taken,
            "book": self._handed,
        }[message.kind]  # fmt: skip
        return answer(message)

    # ---- as one of those in line
    def _place(self, name: str) -> int | None:
        line = self.line(self._slot)
        return line.index(name) if name in line else None

    def _hear(self, name: str) -> int | None:
        place = self._place(name)
        if place is not None and (self._heard is None or place < self._heard):
            self._heard = place
        return place

    def _call(self, stage: int, place: int) -> list[Message]:
        self._called_at = stage
        self._silent = set(self.everyone) - {self.name}
        if self.name in self.everyone:
            self._note(self.name, self.bid(self._slot))
        self._heard = place
        return self._calls()

    def _calls(self) -> list[Message]:
        return [self._to("call", name) for name in self.everyone if name in self._silent]

    def _answered(self, message: Message) -> list[Message]:
        demand_kw, offer = message.body
        self._note(message.sender, Bid(demand_kw, None if offer is None else Offer(*offer)))
        self._silent.discard(message.sender)
        return []

    def _note(self, name: str, bid: Bid) -> None:
        power_kw = self.book[name].power_kw if name in self.book else None
        self.book[name] = Known(bid, self._slot, power_kw)

    def _award(self) -> list[Message]:
        offers = {}
        for name, known in self.book.items():
            offer, power_kw = known.bid.offer, known.power_kw
            if offer is None:
                continue
            if known.slot != self._slot and power_kw is not None:  # silent: its unit holds what it gave last
                offer = Offer(offer.b, offer.c, power_kw, power_kw)
            offers[name] = offer
        if not offers:
            return []
        self.award = share(offers, sum(known.bid.demand_kw for known in self.book.values()))
        self._open = {name: self.award.power_kw[name] for name in offers if name not in self._silent}
        if self.name in self._open:
            self.power_kw = self.book[self.name].power_kw = self._open.pop(self.name)
            self._by = self._place(self.name)
        return self._awards()

    def _awards(self) -> list[Message]:
        told = [self._to("award", name, power_kw) for name, power_kw in self._open.items()]
        line = self.line(self._slot)
        after = line.index(self.name) + 1
        if after < len(line):
            book = [
                (name, known.slot, known.power_kw, known.bid.demand_kw, known.bid.offer)
                for name, known in self.book.items()
            ]
            told.append(self._to("book", line[after], book))
        return told

    def _taken(self, message: Message) -> list[Message]:
        if message.sender in self._open:
            self.book[message.sender].power_kw = self._open.pop(message.sender)
        return []

    def _handed(self, message: Message) -> list[Message]:
        self._hear(message.sender)
        for name, slot, power_kw, demand_kw, offer in message.body:
            if name not in self.book or self.book[name].slot <= slot:
                self.book[name] = Known(Bid(demand_kw, None if offer is None else Offer(*offer)), slot, power_kw)
        return []

    # ---- as one that bids
    def _asked(self, message: Message) -> list[Message]:
        self._hear(message.sender)
        return [self._to("bid", message.sender, tuple(self.bid(self._slot)))]

    def _awarded(self, message: Message) -> list[Message]:
        place = self._hear(message.sender)
        if place is not None and (self._by is None or place <= self._by):
            self._by, self.power_kw = place, message.body
        return [self._to("taken", message.sender)]

    def _to(self, kind: str, receiver: str, body: Any = None) -> Message:
        return Message(kind, self.name, receiver, self._slot, body)


def rotating(names: Sequence[str]) -> Callable[[int], list[str]]:
    """The line of a team: in each slot the next one begins."""
    return lambda slot: [*names[slot % len(names) :], *names[: slot % len(names)]]


def negotiate(
    parties: Mapping[str, Party], slot: int, reaches: Callable[[Message], bool] = lambda _: True,
    down: Iterable[str] = (),
) -> int:  # fmt: skip
    """Play a whole slot where messages take no time; returns how many were sent.

    Args:
        parties: all, by name.
        slot: number of the slot.
        reaches: whether a message gets there.
        down: parties that are out of order: they neither hear nor speak.
    """
    at_work = {name: party for name, party in parties.items() if name not in set(down)}
    sent = 0
    for stage in range(STAGES):
        waiting = [
            message for party in at_work.values()
            for message in (party.begin(slot) if stage == 0 else party.deadline(stage))
        ]  # fmt: skip
        while waiting:
            answers: list[Message] = []
            for message in waiting:
                sent += 1
                if message.receiver in at_work and reaches(message):
                    answers += at_work[message.receiver].take(message)
            waiting = answers
    return sent
