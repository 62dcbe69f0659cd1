"""Frequency measured at buses: the derivative of the voltage's angle behind a first-order filter.

f = f0 + (1 / 2 pi) s / (1 + s T) angle(V): one state a bus, the filtered angle.
"""

import math
from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Real


class State(NamedTuple):
    """State of n buses."""

    v_pu: Complex  # last voltage
    lag_rad: Real  # angle of the voltage ahead of the filtered angle
    df_hz: Real  # deviation measured at the last voltage
    before_hz: Real  # and at the one before; equal right after an event


def initial(v_pu: Complex, df_hz: Real, filter_s: float) -> State:
    """Buses whose voltage turns evenly at the deviation `df_hz` (n,) from nominal; 0 where there is none."""
    df = np.where(v_pu != 0, df_hz, 0.0)
    return State(v_pu, 2 * np.pi * filter_s * df, df, df)


def advance(s: State, v_pu: Complex, dt_s: float, filter_s: float, jumped: bool) -> State:
    """The state at the voltages `v_pu` (n,), `dt_s` after the last ones.

    Args:
        s: state at the last voltages.
        v_pu: voltages now; where they or the last ones are 0 the frequency is nominal.
        dt_s: time since the last ones [s]; 0 takes the change as a jump.
        filter_s: T [s].
        jumped: an event lies at the end of the interval: the angle jumps there instead of turning evenly.
    """
    turned = np.where(s.v_pu * v_pu != 0, np.angle(v_pu * s.v_pu.conj()), 0.0)
    rate = turned / dt_s if dt_s > 0 and not jumped else 2 * np.pi * s.df_hz
    settled = rate * filter_s  # the lag of an angle that turns evenly
    lag = settled + (s.lag_rad - settled) * math.exp(-dt_s / filter_s)
    if jumped or dt_s <= 0:
        lag = lag + turned - rate * dt_s
    lag = np.where(v_pu != 0, lag, 0.0)
    df = lag / (2 * np.pi * filter_s)
    return State(v_pu, lag, df, df if jumped else s.df_hz)


def ahead(s: State) -> Real:
    """Deviation [Hz] (n,) to be expected one step later."""
    deviation: Real = 2 * s.df_hz - s.before_hz
    return deviation
