"""Batteries in steps of seconds to hours: what may be drawn without leaving the SOC window before the step ends.

The models themselves tell what a pack can give at this moment. Held over an hour that may be more energy than there
is, so the same limits are narrowed to what lasts for the step.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gridloop.simulators.models import battery, coulomb_battery
from gridloop.simulators.models.network import Real
from gridloop.simulators.ports import Model

KEPT = 1 - 1e-9  # of the energy that is left: rounding must not reach beyond the window


def within_steps(model: Model, step_s: float) -> Model:
    """The same battery, whose limits can be kept for `step_s`.

    Raises:
        ValueError: it is no battery model of ours.
    """
    lasting = LASTING_W.get(model.name)
    if lasting is None:
        raise ValueError(f"mode: steady does not know how much of {model.name} a step may draw; use mode: rms")

    def respond(p: Any, s: Any, u: Any) -> Any:
        shown = model.respond(p, s, u)
        charge_w, discharge_w = lasting(p, s, step_s)
        return shown._replace(
            p_max_mw=np.minimum(shown.p_max_mw, KEPT * discharge_w / 1e6),
            p_min_mw=np.maximum(shown.p_min_mw, KEPT * charge_w / 1e6),
        )

    return replace(model, respond=respond)


def circuit_w(p: battery.Params, s: battery.State, step_s: float) -> tuple[Real, Real]:
    """Constant powers that bring the state of charge to its ends in `step_s`: to full (<= 0), to empty (>= 0) [W].

    A constant current i moves the charge there; its mean voltage is that of `battery.advance`.
    """
    low, high = p.soc_window
    tau_s = p.cell_relaxation_s
    rising = 1 + np.expm1(-step_s / tau_s) * tau_s / step_s  # mean of v1 on its way to R1 i

    def power(end: Real | float, share: Real | float) -> Real:
        i_a = (s.soc - end) * p.charge_as / (share * step_s)
        mean_v = p.cells_in_series * p.cell.mean(s.soc, end + np.zeros_like(s.soc))
        lost_v = p.r0_ohm * i_a + p.r1_ohm * i_a * rising + s.v1_v * (1 - rising)
        given: Real = (mean_v - lost_v) * i_a
        return given

    # a current beyond that of the largest power is none that a step could come to: the model's own limit is lower
    most_i = p.cells_in_series * p.cell.at(s.soc) / (2 * (p.r0_ohm + p.r1_ohm))
    is_short = (s.soc - low) * p.charge_as / step_s < most_i
    discharge = np.where(is_short, np.maximum(power(low, 1.0), 0), np.inf)
    return np.minimum(power(high, p.coulombic_efficiency), 0), discharge


def coulomb_w(p: coulomb_battery.Params, s: coulomb_battery.State, step_s: float) -> tuple[Real, Real]:
    """The same of constant voltage, where charge is energy."""
    low, high = p.soc_window
    to_w = p.e_rated_mwh * 3.6e9 / step_s
    return (s.soc - high) * to_w / p.coulombic_efficiency, (s.soc - low) * to_w


LASTING_W: dict[str, Callable[[Any, Any, float], tuple[Real, Real]]] = {
    battery.MODEL.name: circuit_w, coulomb_battery.MODEL.name: coulomb_w,
}  # fmt: skip
