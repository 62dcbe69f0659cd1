"""What machines have in common at their terminals: an EMF behind an impedance, and a rotor that has a speed."""

import numpy as np

from gridloop.simulators.models.network import Complex, Real

SAME_EMF_PU = 1e-9  # an applied EMF that differs less is the unit's own, but for rounding
TRACKING = 0.1  # share of a speed's error that one step takes away
MOST_TRACKED_PU = 0.05  # a larger one is a jump of the angle and no speed


def terminal_voltage(s_pu: Complex, emf_pu: Complex, z_pu: Complex) -> Complex:
    """V (n,) at which the EMFs deliver `s_pu` through `z_pu`: of both solutions the high one, the nose beyond it.

    With V = E u, E = V + z conj(S/V) becomes conj(u) = |u|^2 + z conj(S) / |E|^2.
    """
    drop = z_pu * s_pu.conj() / np.abs(emf_pu) ** 2
    left = np.maximum(0.25 - drop.imag**2 - drop.real, 0)
    v: Complex = emf_pu * (0.5 + np.sqrt(left) - 1j * drop.imag)
    return v


def growth_per_s(v_pu: Complex, slope_pu: Complex, dt_s: float, turn_rad_per_s: Real) -> Complex:
    """Rate (n,) at which ln V is extrapolated over a step of `dt_s`: a phasor that turns keeps its magnitude.

    `slope_pu` is that of the chord over the interval before; it is undone for one as long as this step, which is
    exact on the regular grid and of second order off it. Where it says nothing (exactly 0: at the start, after an
    event) or the voltage has changed by a third and more, the voltage turns with the rotor, by `turn_rad_per_s`.
    """
    if np.count_nonzero(slope_pu) == len(v_pu) == np.count_nonzero(v_pu):  # as nearly always
        step: Complex = slope_pu * dt_s / v_pu
        if np.count_nonzero(np.abs(step) < 1 / 3) == len(v_pu):
            moving: Complex = np.log(1 - step)
            return moving / -dt_s
    with_rotor = np.asarray(1j * turn_rad_per_s, complex)
    if not np.count_nonzero(slope_pu):  # as at rest
        return with_rotor
    told = slope_pu != 0
    step = slope_pu * dt_s / np.where(v_pu == 0, 1, v_pu)
    told = told & (np.abs(step) < 1 / 3)
    known = np.log(1 - np.where(told, step, 0))
    return np.where(told, known / -dt_s, with_rotor)


def tracked_slip(slip_pu: Real, turned_rad: Real, turn_rad_per_pu: float) -> Real:
    """Speed deviation (n,) of rotors that follow an EMF which has turned by `turned_rad` more than they have.

    Args:
        slip_pu: the rotors' own.
        turned_rad: error of the angle after the last step, within +-pi.
        turn_rad_per_pu: nominal angular frequency times the length of that step; 0: there was none.
    """
    if turn_rad_per_pu <= 0:
        return slip_pu
    missing = turned_rad / turn_rad_per_pu
    slip: Real = slip_pu + TRACKING * np.where(np.abs(missing) < MOST_TRACKED_PU, missing, 0)
    return slip
