"""How much delay a consensus x' = -c L x(t - tau) stands, and what it loses by it.

'Matched' agents compare with their own value at the time stamp of the neighbour's; 'neighbour only' agents with
their present one.
"""

import math

import numpy as np

from gridloop.simulators.models.network import Real

SLACK = 1e-9  # a step that is marginal to this counts as unstable: rounding must not decide


def analytic_margin_s(gain_per_s: float, lambda_max: float) -> float:
    """Delay at which the matched continuous consensus loses its stability: pi / (2 c lambda_max) [s].

    Source: Olfati-Saber, Murray, IEEE Trans. Automatic Control 49 (2004), theorem 10.
    """
    strength = gain_per_s * lambda_max
    return math.pi / (2 * strength) if strength > 0 else math.inf


def central_margin_s(gain_per_s: float) -> float:
    """Delay at which a central integral controller of frequency or voltage loses its stability: pi / (2 K) [s]."""
    return analytic_margin_s(gain_per_s, 1.0)


def ticks_of_delay(delay_s: float, period_s: float) -> int:
    """d: the ticks that a message is behind, ceil(tau / h) in whole microseconds."""
    delay_us, period_us = round(delay_s * 1e6), round(period_s * 1e6)
    return -(-delay_us // period_us)


def sampled_is_stable(gain_per_s: float, period_s: float, lambda_max: float, ticks: int) -> bool:
    """Whether z^(d+1) - z^d + c h lambda_max = 0 has all its roots inside the unit circle, for d = `ticks` >= 0.

    The first root that leaves has the angle pi / (2 d + 1) and the gain 2 sin(pi / (2 (2 d + 1))).
    """
    return gain_per_s * period_s * lambda_max < (1 - SLACK) * 2 * math.sin(math.pi / (2 * (2 * ticks + 1)))


def sampled_margin_ticks(gain_per_s: float, period_s: float, lambda_max: float) -> int | None:
    """d*: the most ticks of delay that matched agents with this period stand.

    Returns:
        d* >= 0; -1 if they are unstable without any delay; None if every delay is stable (no gain, no edges).
    """
    strength = gain_per_s * period_s * lambda_max
    if strength <= 0:
        return None
    if strength >= (1 - SLACK) * 2:
        return -1
    # the exact answer is beside the formula solved for d
    near = math.floor((math.pi / (2 * math.asin(strength / 2)) - 1) / 2)
    return max(
        d for d in (near - 1, near, near + 1) if d >= 0 and sampled_is_stable(gain_per_s, period_s, lambda_max, d)
    )


def neighbour_only_consensus(start: Real, degrees: Real, gain_per_s: float, delay_s: float) -> float:
    """Where x' = -c (D x(t) - A x(t - tau)) ends for a constant history: an average weighted by the degrees.

    Args:
        start: values of the n agents up to the beginning.
        degrees: number of neighbours of each.
        gain_per_s: c.
        delay_s: tau; of sampled agents a whole number of their periods.

    The sum over i of x_i(t) + c d_i (integral of x_i over the last tau) does not change.
    """
    weights = 1 + gain_per_s * delay_s * np.asarray(degrees, float)
    return float(weights @ np.asarray(start, float) / weights.sum())


def swing_margin_s(droop_kw_per_hz: float, kinetic_kws: float, f_nom_hz: float) -> float:
    """Delay at which a droop that feeds power to machines without damping loses its stability: pi / (2 a) [s].

    Args:
        droop_kw_per_hz: power for each Hz below nominal, after the delay.
        kinetic_kws: H S, kinetic energy of all machines at nominal speed [kWs].
        f_nom_hz: nominal frequency.

    2 H S df/dt / f0 = -droop f(t - tau), the delayed integrator of `analytic_margin_s` with a = droop f0 / (2 H S).
    """
    return analytic_margin_s(droop_kw_per_hz * f_nom_hz / (2 * kinetic_kws), 1.0)
