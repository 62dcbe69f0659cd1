"""The central controller of law C and its hot standby.

The one that leads integrates the frequency of the point of common coupling and the pilot bus' voltage and broadcasts
the correction. Any other follows what it hears; when it has heard nothing for `takeover_us` it goes on from there by
itself. So a standby takes over without a step, and a controller that comes back follows the one in charge. Where two
lead, because they did not hear each other for a while, the first in rank stays.
"""

from typing import NamedTuple

from gridloop.simulators.models.secondary import Correction, Gains, Rates, ahead, clamped


class State(NamedTuple):
    """A controller's memory."""

    correction: Correction = Correction()
    leads: bool = True
    heard_us: int = 0  # when the other one's last broadcast was stamped, or when this one began to listen


def central_rates(d_omega_rad_per_s: float, v_pu: float, gains: Gains, frequency: bool, voltage: bool) -> Rates:
    """Integral action of law C on what it controls."""
    return Rates(
        -gains.k_i_per_s * d_omega_rad_per_s if frequency else 0.0,
        gains.k_v_per_s * (gains.v_ref_pu - v_pu) if voltage else 0.0,
    )


def follow(state: State, stamp_us: int, broadcast: Correction, period_s: float, outranked: bool) -> State:
    """Hear another controller's broadcast; who leads goes on unless it is `outranked` by the other.

    The copy is where the broadcast's ramp ends, so that taking over one period later makes no step.
    """
    if stamp_us < state.heard_us or (state.leads and not outranked):
        return state
    return State(ahead(broadcast, period_s), leads=False, heard_us=stamp_us)


def begin(state: State, t_us: int, alone: bool) -> State:
    """Come back after a failure: lead if there is no other controller, listen otherwise."""
    return State(state.correction.held(), leads=alone, heard_us=t_us)


def tick(state: State, rates: Rates, gains: Gains, now_us: int, period_s: float, takeover_us: int) -> State:
    """The state from this tick on; the correction has its rates, which hold until the next."""
    leads = state.leads or now_us - state.heard_us >= takeover_us
    if not leads:
        return state._replace(correction=state.correction.held())
    return State(clamped(state.correction, rates, gains, period_s), True, state.heard_us)
