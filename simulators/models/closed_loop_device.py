"""The closed loop with one unit behind a line: what reaches its device, or what comes of it, is late.

The linearised map with that delay tells how late a device may be.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gridloop.simulators.models.closed_loop import Driven, Now
from gridloop.simulators.models.closed_loop_period import Loop, Whole
from gridloop.simulators.models.network import Real


@dataclass(frozen=True)
class DeviceLoop(Loop):
    """A plant of which one unit is a device; its period is one step, without secondary control.

    A unit that gives an EMF is told P, Q and |V| late: these do not turn with the frame. Of one that feeds power the
    power comes late. Both are the same to the loop as a delay there and back.

    Args:
        device: its group and row.
    """

    device: tuple[int, int] = (0, 0)

    def start(self) -> Whole:
        """At rest where the units start."""
        whole = super().start()
        past, (g, row) = whole.past, self.device
        s, v = complex(past.s_pu[g][row]), complex(past.v_pu[g][row])
        return whole._replace(over=np.array([s.real, s.imag, abs(v)] if self._gives_emf else [s.real, s.imag]))

    def told(self, whole: Whole) -> Real:
        """y: what the device is told at the beginning of the step, or the power that it shows."""
        return self._sent(self._solved(whole, whole.over))

    def period(self, whole: Whole, arrived: Real) -> Whole:
        """z' = one step on, with what comes over the line."""
        plant, now = self.plant, self._solved(whole, arrived)
        brought, lines = self._moved_on(whole.lines, now)
        driven, held = self._outside(whole, brought), None
        if self._gives_emf:  # a straight line through what has come, as devices take it
            held = self.device
            self._tell(driven, now, arrived + (arrived - whole.over) / 2)
        past = plant.later(whole.past, now, driven, held)
        return whole._replace(past=plant.in_own_frame(past), brought=brought, lines=lines, over=arrived)

    @property
    def _gives_emf(self) -> bool:
        return self.plant.plant.units[self.device[0]].gives_emf

    def _outside(self, whole: Whole, brought: Real) -> list[dict[str, Any]]:
        return list(self._driven(whole.corrections, np.zeros_like(whole.corrections), 0.0, brought))

    def _solved(self, whole: Whole, arrived: Real) -> Now:
        """The tick at the beginning; a device's EMF follows from what it was told at the step before."""
        driven = self._outside(whole, whole.brought)
        if not self._gives_emf:
            return self.plant.now(whole.past, driven, {self.device: complex(*arrived)})
        self._tell(driven, whole.past, whole.over)
        return self.plant.now(whole.past, driven)

    def _tell(self, driven: list[dict[str, Any]], at: Any, values: Real) -> None:
        """Put what has come into the device's inputs; the angle of its voltage stays."""
        g, row = self.device
        model = self.plant.plant.units[g].model
        assert model is not None
        s, v = np.array(at.s_pu[g], complex), np.array(at.v_pu[g], complex)
        s[row], v[row] = complex(values[0], values[1]), values[2] * np.exp(1j * np.angle(v[row]))
        told = {"S[pu]": s, "V[pu]": v}
        mine: Driven = {port.field: told[port.attr] for port in model.inputs if port.attr in told}
        driven[g] = {**driven[g], **mine}

    def _sent(self, now: Now) -> Real:
        g, row = self.device
        if self._gives_emf:
            s, v = complex(now.s_pu[g][row]), complex(now.v_pu[g][row])
            return np.array([s.real, s.imag, abs(v)])
        shown = now.shown[g]
        return np.array([shown.p_gen_pu[row], shown.q_gen_pu[row]])
