"""Agents of secondary control at work: one for each unit, and central controllers.

At every tick an agent moves its correction to where the ramps have led, measures, hears what has arrived and decides
the ramps up to the next tick. The order of these calls is the caller's: who exchanges without delay lets everybody
measure before anybody hears.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from gridloop.simulators.models import balancing, central
from gridloop.simulators.models.balancing import Balancing, Estimate
from gridloop.simulators.models.exchange import Exchange, Handling, message
from gridloop.simulators.models.secondary import (  # fmt: skip
    TWO_PI,
    Correction,
    Gains,
    Law,
    Neighbour,
    Own,
    Rates,
    Shared,
    ahead,
    clamped,
    frequency_f,
    voltage_v,
)

REST = Correction()


@dataclass(frozen=True)
class Control:
    """What all agents have in common.

    Args:
        frequency_law, voltage_law: their rates add up.
        central_frequency, central_voltage: the correction is a central controller's instead.
        controllers: central controllers by name, with their rank.
        on_fail: an agent that fails leaves its unit at the last correction, or at none.
        max_age_us: messages that are older count no more.
        takeover_us: a standby takes over when it has heard nothing for so long.
    """

    period_us: int
    f_nom_hz: float = 50.0
    frequency_law: Law = frequency_f
    voltage_law: Law = voltage_v
    gains: Gains = field(default_factory=Gains)
    central_frequency: bool = False
    central_voltage: bool = False
    controllers: Mapping[str, int] = field(default_factory=dict)
    delay_handling: Handling = "matched"
    max_age_us: int | None = None
    takeover_us: int = 500_000
    balancing: Balancing | None = None
    on_fail: Literal["hold", "drop"] = "hold"

    @cached_property
    def period_s(self) -> float:
        """Time between two ticks."""
        return self.period_us * 1e-6


@dataclass(frozen=True)
class AgentParams:
    """What an agent knows of its unit; powers without an input are counted from these set-points."""

    name: str
    s_rated_kva: float
    droop_p_percent: float = 2.0
    droop_q_percent: float = 5.0
    p_set_kw: float = 0.0
    q_set_kvar: float = 0.0
    v_set_pu: float = 1.0
    e_rated_kwh: float = 0.0  # 0: no store, the unit takes no part in balancing
    pin: float = 0.0  # g: 1 for the leader

    def __post_init__(self) -> None:
        rules = (
            (0 < self.s_rated_kva < math.inf, f"s_rated_kva = {self.s_rated_kva:g} must be > 0"),
            (0 <= self.droop_p_percent < 100, f"droop_p_percent = {self.droop_p_percent:g} must be >= 0 and < 100"),
            (0 <= self.droop_q_percent < 100, f"droop_q_percent = {self.droop_q_percent:g} must be >= 0 and < 100"),
            (0 <= self.e_rated_kwh < math.inf, f"e_rated_kwh = {self.e_rated_kwh:g} must be >= 0"),
            (0 <= self.pin < math.inf, f"pin = {self.pin:g} must be >= 0"),
        )
        wrong = [words for holds, words in rules if not holds]
        if wrong:
            raise ValueError(f"agent {self.name}: {'; '.join(wrong)}")


class Measured(NamedTuple):
    """What reaches an agent from its unit; nan where nothing is connected."""

    f_hz: float = math.nan
    p_gen_mw: float = math.nan
    q_gen_mvar: float = math.nan
    v_pu: float = math.nan
    p_set_mw: float = math.nan
    soc_percent: float = math.nan


class Agent:
    """One unit's agent."""

    def __init__(self, params: AgentParams, control: Control) -> None:
        self.params, self._control = params, control
        self.alive = True
        self.correction = REST  # from the last tick on
        self.p_set_kw = params.p_set_kw
        self.own = Own(Shared())
        self._estimate = Estimate()
        self._omega_nom = TWO_PI * control.f_nom_hz
        self._droop_p, self._droop_q = params.droop_p_percent / 100 * self._omega_nom, params.droop_q_percent / 100
        self._begin()

    def _begin(self) -> None:
        self._exchange: Exchange[Shared] = Exchange(self._control.delay_handling, self._control.max_age_us)
        self._broadcast: tuple[int, int, Correction] | None = None  # stamp, minus rank, correction
        self._followed: int | None = None  # stamp of the broadcast that the ramps are of

    def fail(self) -> None:
        """Stop working at the beginning of a tick: no messages, no decisions."""
        self.alive = False
        dropped = self._control.on_fail == "drop"
        self.correction = REST if dropped else ahead(self.correction, self._control.period_s)
        self.p_set_kw = self.params.p_set_kw if dropped else self.p_set_kw

    def recover(self) -> None:
        """Work again, from the correction that is there; nobody has been heard yet."""
        self.alive = True
        self._begin()

    def kick(self, omega_rad_per_s: float, v_pu: float) -> None:
        """Disturb the correction at the beginning of a tick: an agent at rest shows no instability."""
        self.correction = _kicked(self.correction, omega_rad_per_s, v_pu)

    def measure(self, t_us: int, seen: Measured) -> None:
        """Begin a tick: move along the ramps, take the unit's values."""
        self.correction = omega, v, _, _ = ahead(self.correction, self._control.period_s)
        f_hz, p_gen_mw, q_gen_mvar, v_pu, p_set_mw, soc_percent = seen
        p, energy, (energy_moved, capacity_moved) = self.params, self.params.e_rated_kwh, self._estimate
        p_set_kw = self.p_set_kw if self._control.balancing or math.isnan(p_set_mw) else 1e3 * p_set_mw
        soc = soc_percent / 100
        shared = Shared(
            omega, v,
            self._droop_p * (1e3 * p_gen_mw - p_set_kw) / p.s_rated_kva,
            self._droop_q * (1e3 * q_gen_mvar - p.q_set_kvar) / p.s_rated_kva,
            p.v_set_pu + v,
            energy * (soc if energy else 0.0) + energy_moved, energy + capacity_moved,
        )  # fmt: skip
        self.own = Own(shared, TWO_PI * f_hz - self._omega_nom, v_pu, soc, p.pin)
        self._exchange.remember(t_us, shared)

    def hear(self, stamp_us: int, sender: str, values: Sequence[float]) -> None:
        """Take a neighbour's message, or a central controller's broadcast."""
        rank = self._control.controllers.get(sender)
        if rank is None:
            self._exchange.receive(sender, stamp_us, Shared(*values))
        elif self._broadcast is None or (stamp_us, -rank) > self._broadcast[:2]:
            self._broadcast = (stamp_us, -rank, Correction(*values))

    def message(self, stamp: int) -> list[Any]:
        """What the neighbours are told."""
        return message(self.params.name, stamp, self.own.shared)

    def decide(self, t_us: int) -> None:
        """The ramps, and the power set-point, up to the next tick.

        Raises:
            ValueError: a law gives no number.
        """
        control = self._control
        heard = [
            Neighbour(own, theirs, (t_us - stamp_us) * 1e-6)
            for own, theirs, stamp_us in self._exchange.pairs(t_us).values()
        ]
        omega, v = control.frequency_law(self.own, heard, control.gains)
        more_omega, more_v = control.voltage_law(self.own, heard, control.gains)
        total = Rates(omega + more_omega, v + more_v)
        if not (math.isfinite(total.omega_rad_per_s2) and math.isfinite(total.v_pu_per_s)):
            raise ValueError(f"the law gives {tuple(total)}; is f, P, Q and V connected as far as it needs them?")
        self.correction = self._followed_central(clamped(self.correction, total, control.gains, control.period_s))
        if control.balancing is not None:
            self._balance(heard, control.balancing)

    def _followed_central(self, own: Correction) -> Correction:
        """The correction with what a central controller decides in place of the own."""
        control = self._control
        if not (control.central_frequency or control.central_voltage) or self._broadcast is None:
            return own
        stamp, _, theirs = self._broadcast
        if stamp == self._followed:  # nothing new: rest where the ramps have led
            theirs = ahead(theirs, control.period_s)
        self._followed = stamp
        omega, v = (theirs if flag else own for flag in (control.central_frequency, control.central_voltage))
        return Correction(omega.omega_rad_per_s, v.v_pu, omega.omega_rate_rad_per_s2, v.v_rate_pu_per_s)

    def _balance(self, heard: Sequence[Neighbour], p: Balancing) -> None:
        shared = self.own.shared
        if math.isnan(shared.energy_kwh):
            raise ValueError("balancing needs the state of charge of every store; connect SoC[%]")
        if self.params.e_rated_kwh:
            self.p_set_kw = self.params.p_set_kw + balancing.p_set_kw(
                self.own.soc, shared.energy_kwh, shared.capacity_kwh, self.params.s_rated_kva, p
            )
        self._estimate = balancing.advance(self._estimate, heard, p, self._control.period_s)


class Controller:
    """A central controller; the one of rank 0 leads from the beginning, the others stand by."""

    def __init__(self, name: str, control: Control) -> None:
        self.name, self._control = name, control
        self._rank = control.controllers[name]
        self.alive = True
        self.state = central.State(leads=self._rank == 0)

    @property
    def correction(self) -> Correction:
        """From the last tick on."""
        return self.state.correction

    def fail(self) -> None:
        """Stop working."""
        self.alive = False

    def recover(self, t_us: int) -> None:
        """Work again."""
        self.state = central.begin(self.state, t_us, alone=len(self._control.controllers) == 1)
        self.alive = True

    def kick(self, omega_rad_per_s: float, v_pu: float) -> None:
        """Disturb the correction at the beginning of a tick."""
        self.state = self.state._replace(correction=_kicked(self.correction, omega_rad_per_s, v_pu))

    def hear(self, stamp_us: int, sender: str, values: Sequence[float]) -> None:
        """Take another controller's broadcast."""
        rank = self._control.controllers.get(sender)
        if rank is not None:
            self.state = central.follow(
                self.state, stamp_us, Correction(*values), self._control.period_s, rank < self._rank
            )

    def decide(self, t_us: int, seen: Measured) -> None:
        """Measure, move along the ramps and decide them up to the next tick.

        Raises:
            ValueError: a value that it controls is no number.
        """
        control = self._control
        rates = central.central_rates(
            TWO_PI * (seen.f_hz - control.f_nom_hz), seen.v_pu, control.gains, control.central_frequency,
            control.central_voltage,
        )  # fmt: skip
        if not all(map(math.isfinite, rates)):
            raise ValueError(f"the law gives {tuple(rates)}; is f or V connected as far as it needs them?")
        moved = self.state
        if moved.leads:
            moved = moved._replace(correction=ahead(moved.correction, control.period_s))
        self.state = central.tick(moved, rates, control.gains, t_us, control.period_s, control.takeover_us)

    def message(self, stamp: int) -> list[Any] | None:
        """The broadcast; None while another one leads."""
        return message(self.name, stamp, self.correction) if self.state.leads else None


def _kicked(correction: Correction, omega_rad_per_s: float, v_pu: float) -> Correction:
    return correction._replace(
        omega_rad_per_s=correction.omega_rad_per_s + omega_rad_per_s, v_pu=correction.v_pu + v_pu
    )
