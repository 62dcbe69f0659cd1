"""Where secondary control comes to rest: the corrections at which its laws move nothing, or that stand at a limit.

Frequency laws F, D and C give all members of an island one correction Omega, which brings the frequency back to
nominal as long as |Omega| is within its limit. With y = slip - Omega, what the members' droop lines see, both follow
from y alone: Omega = -y within the limit, slip = y + Omega. Voltage laws are asked for their rates: at rest each is
0, or pushes a correction out of its limits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.csgraph import connected_components

from gridloop.simulators.models.network import Index, Mask, Real
from gridloop.simulators.models.secondary import VOLTAGE_LAWS, Gains, Law, Neighbour, Own, Shared

FREQUENCY_LAWS = ("F", "D", "C", "none")
SAME_FREQUENCY_RAD_PER_S = 1e-9


class Measured:
    """What the members (k,) measure at rest."""

    def __init__(self, v_pu: Real, q_share_pu: Real, v_set_pu: Real, pilot_pu: float) -> None:
        self.v_pu, self.q_share_pu, self.v_set_pu, self.pilot_pu = v_pu, q_share_pu, v_set_pu, pilot_pu


@dataclass(frozen=True)
class SteadyControl:
    """Secondary control of some of the sources.

    Args:
        members: their rows among all sources.
        pins: g (k,) of laws F, V and paper23; of C the unit whose frequency is measured.
        weights: adjacency (k, k) of the communication graph.
        frequency: F, D, C or none.
        voltage: a law of `secondary`, C for the central controller, None for none.
        gains: gains and limits.
        pilot_bus: row of the bus whose voltage C holds.
    """

    members: Index
    pins: Real
    weights: Real
    frequency: str
    voltage: Law | str | None
    gains: Gains
    pilot_bus: int | None = None

    @property
    def n_voltage(self) -> int:
        """Number of unknown voltage corrections."""
        return 0 if self.voltage is None else len(self.members)

    def among(self, connected: Mask) -> "SteadyControl":
        """The control as the connected members exercise it.

        Who loses all its neighbours talks to everyone, and the first stands in for pins that are gone: neither moves
        the rest of F, D, C, and of V and paper23 with one pin.
        """
        live = connected[self.members]
        if live.all() or not live.any():
            return self if live.all() else replace(
                self, members=self.members[live], pins=self.pins[live], weights=np.zeros((0, 0))
            )  # fmt: skip
        weights, pins = self.weights[np.ix_(live, live)], self.pins[live]
        if connected_components(weights, directed=False)[0] > 1:
            weights = 1.0 - np.eye(len(weights))
        if self.pins.any() and not pins.any():
            pins = np.eye(len(pins))[0]
        return replace(self, members=self.members[live], pins=pins, weights=weights)

    def omega_rad_per_s(self, y: Real, island: Index, given_slip: Real) -> Real:
        """Omega of the members of every island (i,).

        Args:
            y: what their droop lines see.
            island: (k,) of the members.
            given_slip: (i,) of islands whose frequency is given, nan of the others. There the control rests at 0
                at nominal frequency, and at its limit at any other.
        """
        omega, limit = np.zeros(len(y)), self.gains.omega_limit_rad_per_s
        if self.frequency == "none" or not len(self.members):
            return omega
        leading = island if self.frequency == "D" else island[self.pins > 0]
        inside = np.clip(-y, -limit, limit)
        off = np.where(np.abs(given_slip) > SAME_FREQUENCY_RAD_PER_S, -np.sign(given_slip) * limit, 0.0)
        omega[leading] = np.where(np.isnan(given_slip), inside, off)[leading]
        led = np.isin(np.arange(len(y)), leading)
        for alone in np.setdiff1d(island, leading) if led.any() else ():
            omega[alone] = omega[leading[0]]  # the correction is one for all who hear of it
        return omega

    def voltage_miss_pu(self, v: Real, measured: Measured) -> Real:
        """0 where the corrections `v` (k,) rest."""
        gains, limit = self.gains, self.gains.v_limit_pu
        if self.voltage == "C":
            miss: Real = v - v[0]
            miss[0] = v[0] - min(max(v[0] + gains.v_ref_pu - measured.pilot_pu, -limit), limit)
            return miss
        assert callable(self.voltage)
        scale = 1 / max(gains.c3_per_s, gains.c0v_per_s, gains.beta_per_s)
        rates = np.array([self.voltage(own, near, gains).v_pu_per_s for own, near in self._seen(v, measured)])
        rest: Real = v - np.clip(v + scale * rates, -limit, limit)
        return rest

    def _seen(self, v: Real, measured: Measured) -> list[tuple[Own, Sequence[Neighbour]]]:
        """What every agent knows at rest."""
        shared = [
            Shared(v_pu=v_k, q_share_pu=q_k, v_nominal_pu=v_set + v_k)
            for v_k, q_k, v_set in zip(
                v.tolist(), measured.q_share_pu.tolist(), measured.v_set_pu.tolist(), strict=True
            )
        ]
        return [
            (
                Own(shared[k], v_pu=float(measured.v_pu[k]), pin=float(self.pins[k])),
                [Neighbour(shared[k], shared[other]) for other in np.flatnonzero(self.weights[k])],
            )
            for k in range(len(shared))
        ]


def voltage_law(name: str, load: Callable[[str], Law]) -> Law | str | None:
    """The voltage law of a name; `load` finds those of MODULE:FUNCTION."""
    if name in ("none", "C"):
        return None if name == "none" else "C"
    return VOLTAGE_LAWS[name] if name in VOLTAGE_LAWS else load(name)
