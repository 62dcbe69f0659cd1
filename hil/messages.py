"""What the frames of a serial agent say, from the host's side: requests, their answers, refusals.

A host asks, an agent answers every request but `neighbour`, with its seq and its type + 0x80, or with `refused`. An
agent begins nothing, so that lines of one direction at a time work. Requests may follow one another without waiting.

    hello      -                                 answer: version, role, period [ms]; the agent begins anew
    align      Omega, v (fields of CORRECTION)   answer: -; the correction goes on from there
    measure    fields of the role                answer: SHARED (secondary) or DROOP (inverter); t_ms: of the tick
    neighbour  sender 0..255, SHARED             no answer; t_ms: its stamp. Counts from the next `decide` on
    decide     -                                 answer: CORRECTION up to the next tick; t_ms: the measured tick
    sync       SYNC                              answer: SYNC_ANSWER; t_ms: t1 and t2 (`stamps`), whole milliseconds
    stop       -                                 answer: -; the agent's safe state

A request that is repeated, with the t_ms of before, changes nothing at the agent and is answered the same. Fields
that are not known are nan; fields at the end may be left out. `hil/agent.py`, the other side, is one file and has
its own copy of all this.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gridloop.hil.frames import ANSWER, NEIGHBOUR, REFUSED, SYNC, T_MS_WRAP, Frame
from gridloop.hil.stamps import ClockOffset, Exchange

VERSION = 1
ROLES = {1: "secondary", 2: "inverter"}
MEASURED = {
    "secondary": ("f[Hz]", "P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "P_set[MW]", "SoC[%]"),
    "inverter": (
        "P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "P_set[MW]", "Q_set[MVar]", "V_set[pu]", "Omega[rad_per_s]", "v[pu]",
    ),
}  # fmt: skip
SHARED = ("Omega", "v", "P~", "Q~", "V* + v", "energy_kwh", "capacity_kwh")
DROOP = ("f[Hz]", "E[pu]")
CORRECTION = ("Omega[rad_per_s]", "v[pu]", "dOmega[rad_per_s2]", "dv[pu_per_s]")
SYNC_FIELDS = ("t1 beyond t_ms [us]", "t4 - t1 of the exchange before [us]", "its seq")
SYNC_ANSWER = ("t2 beyond t_ms [us]", "t3 - t2 [us]")
T_S, STAMP = "t[s]", "stamp[s]"  # of a tick, of a message: names among what a device is told
ALIGNED = "align[1]"  # 1: the correction is to go on from the one that is told
REFUSALS = {
    1: "it knows no such request",
    2: "the number of values is wrong",
    3: "time went back, or nothing was measured at that time",
    4: "its law gave no number",
}


def heard_as(number: int, stamp_s: float, shared: Sequence[float]) -> dict[str, float]:
    """The message of neighbour `number` as values by name, as a device is told all else."""
    return {f"{number}.{name}": value for name, value in zip((STAMP, *SHARED), (stamp_s, *shared), strict=True)}


def heard_in(values: Mapping[str, float]) -> dict[int, tuple[float, tuple[float, ...]]]:
    """Messages among values by name: stamp and what is shared, by the neighbours' numbers."""
    numbers = [int(name.partition(".")[0]) for name in values if name.endswith(f".{STAMP}")]
    return {n: (values[f"{n}.{STAMP}"], tuple(values[f"{n}.{name}"] for name in SHARED)) for n in numbers}


class Answer(NamedTuple):
    """An answer and the request that it belongs to."""

    request: Frame
    frame: Frame
    round_trip_us: int

    @property
    def code(self) -> int | None:
        """The code of a refusal; None: it is none."""
        if self.frame.type != REFUSED:
            return None
        return int(self.frame.values[0]) if self.frame.values and math.isfinite(self.frame.values[0]) else 0

    @property
    def refusal(self) -> str:
        """Why the agent refused; empty: it did not."""
        return "" if self.code is None else REFUSALS.get(self.code, f"code {self.code}")


class Requests:
    """Numbers requests, and finds the one that an answer belongs to. All times are the caller's clock.

    Attributes:
        lost: requests that were given up.
        strange: frames that answer nothing: late, twice, or of another type.
    """

    def __init__(self) -> None:
        self._next, self._open = 0, dict[int, tuple[Frame, int]]()
        self._synced: tuple[int, int] | None = None  # round trip, seq
        self.clock = ClockOffset()
        self.lost = self.strange = 0

    def __len__(self) -> int:
        return len(self._open)

    def request(self, kind: int, now_us: int, t_ms: int, values: Sequence[float] = ()) -> Frame:
        """The next request."""
        frame = Frame(kind, self._next, t_ms % T_MS_WRAP, tuple(values))
        self._next = (self._next + 1) % (1 << 16)
        if kind != NEIGHBOUR:
            self.lost += self._open.pop(frame.seq, None) is not None
            self._open[frame.seq] = (frame, now_us)
        return frame

    def sync(self, now_us: int) -> Frame:
        """The next request for stamps; it tells the agent when the answer before came."""
        before = (math.nan, math.nan) if self._synced is None else self._synced
        return self.request(SYNC, now_us, now_us // 1000, (now_us % 1000, *before))

    def answered(self, frame: Frame, now_us: int) -> Answer | None:
        """The request and its answer; None for a frame that answers none."""
        request, sent_us = self._open.get(frame.seq, (None, 0))
        if (
            request is None
            or frame.type not in (request.type + ANSWER, REFUSED)
            or (request.type != SYNC and frame.t_ms != request.t_ms)  # of a request 65536 before
        ):
            self.strange += 1
            return None
        del self._open[frame.seq]
        return Answer(request, frame, now_us - sent_us)

    def exchanged(self, answer: Answer, now_us: int) -> Exchange | None:
        """What an answer to `sync` says of the clocks; None if it says nothing."""
        if answer.frame.type != SYNC + ANSWER or len(answer.frame.values) != len(SYNC_ANSWER):
            return None
        beyond_us, took_us = answer.frame.values
        if not (0 <= beyond_us < 1000 and 0 <= took_us <= answer.round_trip_us):
            return None
        t1_us = now_us - answer.round_trip_us
        t2_us = answer.frame.t_ms * 1000 + round(beyond_us)
        exchange = self.clock.add(t1_us, t2_us, t2_us + round(took_us), now_us)
        self._synced = (answer.round_trip_us, answer.frame.seq)
        return exchange

    def give_up(self, before_us: int) -> list[Frame]:
        """Forget requests that were sent before then; their answers are strange from now on."""
        late = [frame for frame, sent_us in self._open.values() if sent_us < before_us]
        for frame in late:
            del self._open[frame.seq]
        self.lost += len(late)
        return late
