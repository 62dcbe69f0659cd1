"""Stability of an engine's isochronous speed loop: DEGOV governor, dead time and inertia."""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Real

OMEGA_RAD_PER_S = np.geomspace(1e-3, 1e5, 4001)  # 500 a decade: margins are right to 1e-5


class SpeedLoop(NamedTuple):
    """K, T1 to T6, dead time and inertia constant of n sets; each field (n,).

    L(s) = (1 + T3 s) / (1 + T1 s + T1 T2 s^2) * K (1 + T4 s) / (s (1 + T5 s)(1 + T6 s)) * exp(-s TD) / (2H s)
    """

    gain: Real
    t1_s: Real
    t2_s: Real
    t3_s: Real
    t4_s: Real
    t5_s: Real
    t6_s: Real
    dead_time_s: Real
    h_s: Real


def response(loop: SpeedLoop, omega_rad_per_s: Real) -> Complex:
    """L(j omega), (n, m) at m frequencies."""
    gain, t1, t2, t3, t4, t5, t6, dead, h = (column[:, None] for column in loop)
    s = 1j * omega_rad_per_s
    lag = (1 + t1 * s + t1 * t2 * s**2) * (1 + t5 * s) * (1 + t6 * s) * 2 * h * s**2
    found: Complex = gain * (1 + t3 * s) * (1 + t4 * s) * np.exp(-s * dead) / lag
    return found


def gain_margin(loop: SpeedLoop) -> Real:
    """Factor (n,) by which the gain may rise; stable above 1, and 0 where the phase never leads.

    The smallest 1/|L| of all frequencies at which L crosses the negative real axis.
    """
    _, t1, t2, t3, t4, t5, t6, dead, _ = (column[:, None] for column in loop)
    omega = OMEGA_RAD_PER_S
    # of both integrators -180 degrees are left out
    lead = np.arctan(t3 * omega) + np.arctan(t4 * omega) - np.arctan(t5 * omega) - np.arctan(t6 * omega)
    lead = lead - np.arctan2(t1 * omega, 1 - t1 * t2 * omega**2) - dead * omega
    size = np.log(np.abs(response(loop, omega)))
    rounds = np.floor(lead / (2 * np.pi))
    margins = np.full(len(loop.gain), np.inf)
    for row, at in zip(*np.nonzero(np.diff(rounds, axis=1)), strict=True):
        target = 2 * np.pi * rounds[row, at : at + 2].max()
        before, after = lead[row, at : at + 2] - target
        share = before / (before - after)
        margins[row] = min(margins[row], np.exp(-(size[row, at] * (1 - share) + size[row, at + 1] * share)))
    return np.where(lead[:, 0] > 0, margins, 0.0)
