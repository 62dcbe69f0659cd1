"""One period of the whole closed loop as a function of vectors: z' = period(z, w), with y = told(z).

y is what goes out on the links whose delay is in question; w is what arrives on them, y of some ticks ago. Signals
with a delay that is not in question have their messages on the way in z.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gridloop.simulators.models.closed_loop import Now, Past, PlantLoop
from gridloop.simulators.models.closed_loop_team import Known, Moves, Team
from gridloop.simulators.models.network import Real

CORRECTIONS = ("Omega[rad_per_s]", "v[pu]")
BUS_ATTRS = ("Vm[pu]", "Va[deg]")
TERMINAL_ATTRS = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]")


class Signal(NamedTuple):
    """A value of one unit or bus that reaches an input of another unit over a link.

    `ticks`: macro steps from the instant whose value it is to the beginning of the first step on which it acts, at
    least 1.
    """

    source: tuple[int, int] | int  # group and row of a unit, or row of a bus
    attr: str
    group: int
    row: int
    to_attr: str
    ticks: int


class Whole(NamedTuple):
    """State at the beginning of a period."""

    past: Past
    corrections: Real  # (a, 2)
    central: Real  # (2,)
    brought: Real  # what each signal has brought last
    lines: tuple[Real, ...]  # of each signal, what has been sent in the steps before, the newest first
    over: Real = np.zeros(0)  # what came over a device's line at the step before


@dataclass(frozen=True)
class Loop:
    """A plant with its control.

    Args:
        plant: devices and network.
        steps: macro steps in a period.
        team: agents; None: no secondary control.
        signals: values over links of their own.
        pilot: unit (group, row) and bus row whose f and |V| a central controller holds.
        asked: whose delay is in question, that of the team's links or that of the signals.
    """

    plant: PlantLoop
    steps: int
    team: Team | None = None
    signals: tuple[Signal, ...] = ()
    pilot: tuple[tuple[int, int], int] = ((0, 0), 0)
    asked: Literal["links", "signals"] = "links"

    @property
    def period_s(self) -> float:
        """Length of a period."""
        return self.steps * self.plant.plant.step_s

    def start(self) -> Whole:
        """At rest where the units start, without corrections."""
        plant = self.plant
        past = plant.start()
        count = 0 if self.team is None else len(self.team.members)
        now = plant.now(past, [{} for _ in plant.plant.units])
        brought = np.array([self._source(signal, now) for signal in self.signals])
        lines: tuple[Real, ...] = ()
        if self.asked == "links":
            lines = tuple(np.full(s.ticks, value) for s, value in zip(self.signals, brought, strict=True))
        return Whole(past, np.zeros((count, 2)), np.zeros(2), brought, lines)

    def told(self, whole: Whole) -> Real:
        """y: what goes out at the beginning of the period."""
        return self._told(whole, self._now(whole))

    def _now(self, whole: Whole) -> Now:
        """The solved tick at the beginning."""
        rest = np.zeros_like(whole.corrections)
        return self.plant.now(whole.past, self._driven(whole.corrections, rest, 0.0, whole.brought))

    def _told(self, whole: Whole, now: Now) -> Real:
        if self.asked == "signals":
            return np.array([self._source(signal, now) for signal in self.signals])
        return _flat(self._known(whole, now))

    def period(self, whole: Whole, arrived: Real) -> Whole:
        """z' = one period on; angles of the result are counted from a reference in each island."""
        plant, h = self.plant, self.plant.plant.step_s
        now = self._now(whole)
        moves = Moves(whole.corrections, np.zeros_like(whole.corrections), whole.central)
        if self.team is not None:
            known = self._known(whole, now)
            then = _unflat(known, arrived) if self.asked == "links" else known
            moves = self.team.decide(known, then, whole.central)
        past, lines, brought = whole.past, whole.lines, whole.brought
        for k in range(self.steps):
            if k:
                now = plant.now(past, self._driven(moves.corrections, moves.rates, k * h, brought))
            if self.asked == "signals":
                brought = arrived
            else:
                brought, lines = self._moved_on(lines, now)
            past = plant.later(past, now, self._driven(moves.corrections, moves.rates, (k + 0.5) * h, brought))
        corrections = moves.corrections + moves.rates * self.period_s
        return Whole(plant.in_own_frame(past), corrections, moves.central, brought, lines)

    def _moved_on(self, lines: tuple[Real, ...], now: Now) -> tuple[Real, tuple[Real, ...]]:
        """What each signal brings, and its line with what is sent now."""
        queues = [np.append(self._source(signal, now), line) for signal, line in zip(self.signals, lines, strict=True)]
        return np.array([queue[-1] for queue in queues]), tuple(queue[:-1] for queue in queues)

    def _source(self, signal: Signal, now: Now) -> float:
        """What a signal's source shows."""
        if isinstance(signal.source, int):
            v = self.plant.bus_voltage(now, signal.source)
            return abs(v) if signal.attr == BUS_ATTRS[0] else float(np.degrees(np.angle(v)))
        group, row = signal.source
        base = self.plant.plant.network.s_base_mva
        s, v = complex(now.s_pu[group][row]) * base, complex(now.v_pu[group][row])
        if signal.attr in TERMINAL_ATTRS:
            return dict(zip(TERMINAL_ATTRS, (s.real, s.imag, abs(v)), strict=True))[signal.attr]
        model = self.plant.plant.units[group].model
        assert model is not None
        port = next(port for port in model.outputs if port.attr == signal.attr)
        value = getattr(now.shown[group], port.field)
        value = port.convert(value) if port.convert is not None else value
        return float(value[row]) * (base if port.base == "s" else 1.0)

    def _known(self, whole: Whole, now: Now) -> Known:
        """What agents and controller measure at a tick."""
        if self.team is None:
            return Known(whole.corrections, np.zeros((0, 4)), np.zeros(2))
        base = self.plant.plant.network.s_base_mva
        seen = []
        for member in self.team.members:
            s = complex(now.s_pu[member.group][member.row]) * base
            v = abs(complex(now.v_pu[member.group][member.row]))
            seen.append((float(now.shown[member.group].f_hz[member.row]), s.real, s.imag, v))
        (group, row), bus = self.pilot
        pilot = np.array([now.shown[group].f_hz[row], abs(self.plant.bus_voltage(now, bus))])
        return Known(whole.corrections, np.array(seen), pilot)

    def _driven(self, corrections: Real, rates: Real, since_s: float, brought: Real) -> Sequence[dict[str, Any]]:
        """Inputs of every group from outside, `since_s` after the tick: corrections on their ramps, signals held.

        Ports without a rate hold the correction of the tick.
        """
        units = self.plant.plant.units
        driven: list[dict[str, Any]] = [{} for _ in units]
        for number, member in enumerate(() if self.team is None else self.team.members):
            model = units[member.group].model
            assert model is not None
            for column, attr in enumerate(CORRECTIONS):
                port = next(port for port in model.inputs if port.attr == attr)
                values_of = driven[member.group].setdefault(port.field, np.zeros(len(units[member.group].ids)))
                ramp = rates[number, column] * since_s if port.rate else 0.0
                values_of[member.row] = corrections[number, column] + ramp
        for signal, value in zip(self.signals, brought, strict=True):
            model, base = units[signal.group].model, self.plant.plant.network.s_base_mva
            assert model is not None
            port = next(port for port in model.inputs if port.attr == signal.to_attr)
            if port.field not in driven[signal.group]:
                driven[signal.group][port.field] = np.array(getattr(self.plant.held[signal.group], port.field))
            driven[signal.group][port.field][signal.row] = value / base if port.base == "s" else value
        return driven


def _flat(known: Known) -> Real:
    return np.concatenate([np.ravel(part) for part in known])


def _unflat(like: Known, vector: Real) -> Known:
    sizes = np.cumsum([part.size for part in like])[:-1]
    parts = np.split(np.asarray(vector), sizes)
    return Known(*(part.reshape(old.shape) for part, old in zip(parts, like, strict=True)))
