"""A physical agent in place of a simulated one: what it is told at a tick, and whether its decision counts.

In lockstep a tick waits for the agent's decision. In mode free the tick takes the newest one, as a rule that of the
tick before, and tells the agent what it sees: the agent is one tick late.

The simulated agent goes on beside it. It holds the correction that is applied, and an agent that is not in charge is
aligned with it at every tick, so that every change of who decides is without a bump.
"""

import math
from collections.abc import Mapping, Sequence

from gridloop.hil.adapter import DeviceLost, Handle
from gridloop.hil.charge import Charge, Spec
from gridloop.hil.messages import ALIGNED, CORRECTION, MEASURED, T_S, heard_as
from gridloop.hil.policy import FAULT, GOOD, Snapshot

Entries = list[tuple[str, str]]  # (kind, outcome), to be logged
Decision = tuple[float, ...]  # fields of CORRECTION
SAME_S = 1e-6


class AgentStandIn:
    """One unit's physical agent.

    Args:
        handle: of the agent.
        spec: when its decisions count.
        period_s: between two ticks.
        limits: largest frequency and voltage correction [rad/s, pu].
        numbers: of the agents that may talk to it, 0 to 255.

    Attributes:
        lost_of: what it was lost of while it decided; '' if it was not.
        shown: whether it decides, the age of its decision [ms], and its quality.
    """

    def __init__(
        self, handle: Handle, spec: Spec, period_s: float, limits: tuple[float, float], numbers: Mapping[str, int]
    ) -> None:  # fmt: skip
        self._handle, self._spec, self._period_s = handle, spec, period_s
        self._limits, self._numbers = limits, numbers
        self._charge = Charge(spec)
        self._heard: dict[str, float] = {}
        self._seen: Sequence[float] = ()
        self._own: Decision = (0.0, 0.0, 0.0, 0.0)
        self._taken_s = -math.inf  # tick of the decision that was taken last
        self._follows = True  # it is aligned with what is applied
        self.lost_of = ""
        self.shown: tuple[float, ...] = (0.0, math.nan, float(FAULT))

    def command(self, t_s: float, do: str) -> Entries:
        """Swap or unswap."""
        return self._charge.command(t_s, do)

    def hear(self, stamp_s: float, sender: str, values: Sequence[float]) -> None:
        """Take a neighbour's message."""
        if sender in self._numbers:
            self._heard |= heard_as(self._numbers[sender], stamp_s, values)

    def begin(self, t_s: float, seen: Sequence[float], own: Decision) -> None:
        """A tick: what the agent sees, fields of MEASURED, and the correction as the simulated agent decides it."""
        self._seen, self._own = seen, own
        if self._spec.mode == "lockstep":
            self._tell(t_s, own[:2])

    def end(self, t_s: float) -> tuple[Decision | None, Entries]:
        """The correction from this tick on, None if the simulated agent decides; and what is to be logged.

        Raises:
            DeviceLost: it is lost, and the run is to end then.
        """
        spec, lockstep = self._spec, self._spec.mode == "lockstep"
        snapshot = self._handle.cycle(spec.deadline_ms * 1e-3) if lockstep else self._handle.snapshot()
        cause = self._amiss(t_s, snapshot)
        entries = self._charge.decide(t_s, cause)
        if self._charge.lost_now:
            self.lost_of = cause
            if spec.then == "stop":
                raise DeviceLost(f"{spec.where} is lost: {cause}; on_loss: {{then: stop}}")
        decided = None
        if self._charge.drives:
            decided = (*self._own[:2], 0.0, 0.0)  # nothing new: where the ramps have led
        decided_s = snapshot.values.get(T_S, -math.inf)
        self._follows = not (self._charge.drives and not cause and decided_s > self._taken_s)
        if not self._follows:
            self._taken_s = decided_s
            decided = tuple(snapshot.values[attr] for attr in CORRECTION)
        if not lockstep:
            omega, v, omega_rate, v_rate = decided or self._own
            self._tell(t_s, (omega + omega_rate * self._period_s, v + v_rate * self._period_s))
        quality = float(FAULT) if cause and snapshot.quality == GOOD else float(snapshot.quality)
        self.shown = (float(self._charge.drives), snapshot.age_s * 1e3, quality)
        return decided, entries

    def _tell(self, t_s: float, at: Sequence[float]) -> None:
        """Let the agent decide; `at` is where its correction is to be if it follows."""
        told = dict(zip((*MEASURED["secondary"], *CORRECTION[:2]), (*self._seen, *at), strict=True))
        self._handle.post({T_S: t_s, **told, ALIGNED: float(self._follows), **self._heard})
        if hasattr(self._handle, "begin"):
            self._handle.begin()

    def _amiss(self, t_s: float, seen: Snapshot) -> str:
        """Why it decides nothing that counts; '' if it does."""
        if seen.quality != GOOD:
            return seen.cause or "no answer"
        decided_s = seen.values.get(T_S)
        if decided_s is None:
            return "it has decided nothing yet"
        if self._spec.mode == "lockstep" and abs(decided_s - t_s) > SAME_S:
            return "it did not answer in time"
        values = [seen.values.get(attr, math.nan) for attr in CORRECTION]
        if not all(map(math.isfinite, values)):
            return f"it decides {', '.join(f'{value:g}' for value in values)}"
        for attr, value, most in zip(CORRECTION, values, self._limits, strict=False):
            if abs(value) > most * (1 + 1e-6):
                return f"its {attr} = {value:g} is beyond {most:g}"
        return ""
