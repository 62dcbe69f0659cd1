"""One Runge-Kutta step of n diesel sets: the equations of `diesel.advance`.

Nearly everything is linear. Where that is all there is but for the turn between rotor and network and the products of
the swing equation, a step is four small matrix products and these few terms; a set that is disconnected, at a limit or
without dead time is integrated stage by stage.
"""

from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.dead_time import History, delayed
from gridloop.simulators.models.diesel_parameters import (
    A3,
    COLUMNS,
    DELTA,
    DRIVEN,
    E_D,
    E_Q,
    GIVEN,
    LIMITED,
    SLIP,
    STATES,
    TERMINAL,
    TORQUE,
    TRANSIENT,
    Params,
)
from gridloop.simulators.models.network import Complex, Mask, Real

MOST_STEP_LENGTHS = 64  # remembered matrices


class Drive(NamedTuple):
    """What drives n sets over one interval."""

    turned: Complex  # jV at its start, which turned by -delta is the terminal voltage in the rotor's frame
    growth_per_s: Complex  # rate of ln V
    s_pu: Complex  # power at its start, and its rate
    s_rate_pu_per_s: Complex
    reference_pu: Real  # of the regulator
    speed_pu: Real  # deviation at no power
    open: Mask | None  # which sets are disconnected; None: none is


def step(p: Params, drive: Drive, x: Real, torque: History, times_s: tuple[float, float]) -> Real:
    """State (n, 14) after one step.

    Args:
        p: parameters of n sets.
        drive: over the whole interval.
        x: state at the start of the step.
        torque: of the actuator, samples up to the start of the step.
        times_s: start of the step within the interval, and its length.
    """
    resting = bool(np.count_nonzero(touching(p, x)))
    begin_s, h = times_s
    stages = _stages(p, h)
    tau = stages.tau_s + begin_s if begin_s else stages.tau_s
    v = drive.turned[:, None] * np.exp(drive.growth_per_s[:, None] * tau)
    whole = np.empty((len(x), STATES + 4 * GIVEN))
    given = whole[:, STATES:].reshape(len(x), 4, GIVEN)  # at the four stages
    driven = given[:, :, DRIVEN.start - STATES :]
    driven[:, :, 0] = drive.reference_pu[:, None] - np.abs(v)
    driven[:, :, 1:3].view(complex)[:, :, 0] = drive.s_pu[:, None] + drive.s_rate_pu_per_s[:, None] * tau
    driven[:, :, 3] = np.minimum(np.maximum(delayed(torque, tau, p.dead), p.torque_min_pu), p.torque_max_pu).T
    driven[:, :, 4] = drive.speed_pu[:, None]
    plain = drive.open is None and p.immediate is None and not resting
    later = _in_products(p, stages, x, v, whole) if plain else _stage_by_stage(p, drive.open, x, v, (given, h, resting))
    low, high = p.limits_pu
    limited = later[:, LIMITED]
    np.minimum(np.maximum(limited, low), high, out=limited)
    return later


def touching(p: Params, x: Real) -> Mask:
    """(n, 2) which limits are touched: those of the regulator's output and of the fuel rack."""
    if p.touch_memory and p.touch_memory[0] is x:
        known: Mask = p.touch_memory[1]
        return known
    low, high = p.limits_pu
    at = x[:, LIMITED]
    touched: Mask = (at <= low) | (at >= high)
    p.touch_memory[:] = (x, touched)
    return touched


def _in_products(p: Params, stages: "Stages", x: Real, v: Complex, whole: Real) -> Real:
    """The step where only the turn and the swing's products are not linear; `v` (n, 4) is jV at the stages.

    `whole` (n, 14 + 4 GIVEN) has room for the state and holds what drives the sets at each stage; terminal voltage
    and products are filled in as they become known.
    """
    whole[:, :STATES] = x
    phasors = whole.view(complex)
    torque_2h = whole[:, TORQUE::GIVEN] * p.per_2h[:, None]
    at = x[:, : E_Q + 1]
    for stage in range(4):
        known = STATES + stage * GIVEN
        if stage:
            at = np.matmul(stages.to_stage[stage - 1], whole[:, :known, None])[:, :, 0]
        emf = at[:, TRANSIENT].view(complex)[:, 0]
        terminal = v[:, stage] * np.exp(at[:, DELTA] * p.minus_imaginary_unit)
        current_2h = p.admittance_2h * (emf - terminal)
        phasors[:, known // 2] = terminal
        whole[:, known + GIVEN - 1] = at[:, SLIP] * torque_2h[:, stage] - (emf * current_2h.conj()).real
    later: Real = np.matmul(stages.to_end, whole[:, :, None])[:, :, 0]
    return later


def _stage_by_stage(p: Params, is_open: Mask | None, x: Real, v: Complex, given: tuple[Real, float, bool]) -> Real:
    """The step of sets of any kind; `given`: what drives them at each stage, its length, whether one is at a limit."""
    driven, h, resting = given
    k: list[Real] = []
    for stage, share in enumerate((0.0, 0.5, 0.5, 1.0)):
        whole = np.empty((len(x), COLUMNS))  # state, terminal voltage and what drives it
        whole[:, :STATES] = x + (share * h) * k[-1] if k else x
        whole[:, DRIVEN] = driven[:, stage, DRIVEN.start - STATES : DRIVEN.stop - STATES]
        k.append(_rates(p, is_open, whole, v[:, stage], resting))
    later: Real = x + (h / 6) * (2 * (k[1] + k[2]) + k[0] + k[3])
    return later


def _rates(p: Params, is_open: Mask | None, whole: Real, v: Complex, resting: bool) -> Real:
    """dx/dt (n, 14) of the state in `whole` (n, COLUMNS); `resting`: one at a limit."""
    whole[:, TERMINAL].view(complex)[:, 0] = v * np.exp(whole[:, DELTA] * p.minus_imaginary_unit)
    if is_open is not None:
        whole[is_open, TERMINAL] = whole[is_open, TRANSIENT]
        whole[is_open, DRIVEN.start] -= np.hypot(whole[is_open, E_D], whole[is_open, E_Q])
    if p.immediate is not None:
        torque = np.clip(whole[:, A3], p.torque_min_pu, p.torque_max_pu)
        whole[:, TORQUE] = np.where(p.immediate, torque, whole[:, TORQUE])
    rates: Real = np.matmul(p.linear, whole[:, :, None])[:, :, 0]
    # behind the rates stand torque and currents over 2H: power is their product with speed and EMF
    rates[:, SLIP] += np.einsum("ij,ij->i", whole[:, SLIP : E_Q + 1], rates[:, STATES:])
    rates = rates[:, :STATES]
    if resting:
        low, high = p.limits_pu
        at, moving = whole[:, LIMITED], rates[:, LIMITED]
        pushed_out = ((at <= low) & (moving < 0)) | ((at >= high) & (moving > 0))
        rates[:, LIMITED] = np.where(pushed_out, 0, moving)
    return rates


class Stages(NamedTuple):
    """A step of one length as products with [state, GIVEN quantities at each of its four stages]."""

    tau_s: Real  # (4,) times of the stages
    to_stage: tuple[Any, ...]  # (n, 4, 14 + GIVEN s) angle, speed and EMF at stages s = 1, 2, 3 from what is before
    to_end: Real  # (n, 14, 14 + 4 GIVEN)


def _stages(p: Params, h: float) -> Stages:
    """The step of length `h`, remembered for the next."""
    known: Stages | None = p.stage_memory.get(h)
    if known is None:
        known = _made(p.linear, h)
        if len(p.stage_memory) < MOST_STEP_LENGTHS:
            p.stage_memory[h] = known
    return known


def _made(linear: Real, h: float) -> Stages:
    """The step of length `h` for the linear part (n, 17, COLUMNS) of n sets."""
    count, width = len(linear), STATES + 4 * GIVEN
    to_rates = linear[:, :STATES, :STATES]
    from_given = np.zeros((count, STATES, GIVEN))
    from_given[:, :, : COLUMNS - STATES] = linear[:, :STATES, STATES:]
    from_given[:, SLIP, GIVEN - 1] = 1  # products of the swing equation
    begin = np.zeros((count, STATES, width))
    begin[:, :, :STATES] = np.eye(STATES)
    at, rates = [begin], list[Any]()
    for stage in range(4):
        k = to_rates @ at[stage]
        k[:, :, STATES + stage * GIVEN : STATES + (stage + 1) * GIVEN] += from_given
        rates.append(k)
        if stage < 3:
            at.append(begin + h * (0.5, 0.5, 1.0)[stage] * k)
    to_end = begin + h / 6 * (rates[0] + 2 * (rates[1] + rates[2]) + rates[3])
    to_stage = tuple(np.ascontiguousarray(at[stage][:, : E_Q + 1, : STATES + stage * GIVEN]) for stage in (1, 2, 3))
    return Stages(np.array([0.0, h / 2, h / 2, h]), to_stage, to_end)
