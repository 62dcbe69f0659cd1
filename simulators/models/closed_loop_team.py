"""One tick of all agents and of the central controller, from what they know now and what they are told of the past.

It is made of the agents at work (`agents`); here they are given their memory anew at every tick, so that the tick is
a function.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gridloop.simulators.models import central
from gridloop.simulators.models.agents import Agent, AgentParams, Control, Controller, Measured
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.secondary import Correction

THEN_US, NOW_US = 0, 1  # stamps: of what is told, and of the tick


class Member(NamedTuple):
    """An agent and the unit that it moves."""

    params: AgentParams
    group: int
    row: int


class Known(NamedTuple):
    """What everybody knows at one tick: what delayed messages tell later."""

    corrections: Real  # (a, 2) Omega [rad/s], v [pu]
    seen: Real  # (a, 4) f [Hz], P [MW], Q [MVar], |V| [pu] of each agent's unit
    pilot: Real  # (2,) f [Hz], |V| [pu] that the central controller is to hold


class Moves(NamedTuple):
    """What is decided at a tick: the corrections, and their rates until the next."""

    corrections: Real  # (a, 2)
    rates: Real  # (a, 2) rad/s2, pu/s
    central: Real  # (2,) the central controller's correction one period later


@dataclass(frozen=True)
class Team:
    """All agents.

    Args:
        control: what they have in common; balancing of charge is left out, it is slow.
        members: the agents.
        pairs: (sender, receiver) places of who talks to whom.
    """

    control: Control
    members: tuple[Member, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def has_central(self) -> bool:
        """Whether a central controller decides anything."""
        return self.control.central_frequency or self.control.central_voltage

    def decide(self, now: Known, then: Known, central_correction: Real) -> Moves:
        """One tick.

        Args:
            now: what everybody knows of itself.
            then: what the messages tell that have arrived: everybody's knowledge when they were sent.
            central_correction: Omega [rad/s] and v [pu] of the central controller.
        """
        control = replace(self.control, balancing=None, max_age_us=None)
        agents = [Agent(member.params, control) for member in self.members]
        _measure(agents, then, THEN_US)
        told = [agent.own.shared for agent in agents]
        _measure(agents, now, NOW_US)
        for sender, receiver in self.pairs:
            agents[receiver].hear(THEN_US, self.members[sender].params.name, told[sender])
        after = central_correction
        if self.has_central:
            controller = Controller(next(iter(control.controllers)), control)
            controller.state = central.State(Correction(*map(float, central_correction)))
            controller.decide(NOW_US, Measured(f_hz=float(then.pilot[0]), v_pu=float(then.pilot[1])))
            decided = controller.correction
            after = _pair(decided) + _rates(decided) * control.period_s
            for agent in agents:
                agent.hear(NOW_US, controller.name, decided)
        for agent in agents:
            agent.decide(NOW_US)
        corrections = [agent.correction for agent in agents]
        return Moves(
            np.array([_pair(c) for c in corrections]), np.array([_rates(c) for c in corrections]), np.asarray(after)
        )


def _measure(agents: Sequence[Agent], known: Known, t_us: int) -> None:
    for agent, correction, seen in zip(agents, known.corrections, known.seen, strict=True):
        agent.correction = Correction(*map(float, correction))
        f_hz, p_mw, q_mvar, v_pu = map(float, seen)
        agent.measure(t_us, Measured(f_hz, p_mw, q_mvar, v_pu))


def _pair(correction: Correction) -> Real:
    return np.array([correction.omega_rad_per_s, correction.v_pu])


def _rates(correction: Correction) -> Real:
    return np.array([correction.omega_rate_rad_per_s2, correction.v_rate_pu_per_s])
