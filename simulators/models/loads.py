"""Voltage- and frequency-dependent loads (ZIP), solved inside the network.

P = P0 (z u^2 + i u + p)(1 + k_pf df), Q likewise, with u = |V|/V0 and df = (f - f0)/f0. Below
`V_RELIEF_PU` the constant-power part falls with |V|^2, i.e. it turns into a constant impedance,
so that a low-voltage solution exists and a collapse can be seen and reported.

Source: Kundur, Power System Stability and Control (1994), section 7.1.1, eq. 7.1 to 7.6.
"""

from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Index, Real

V_RELIEF_PU = 0.7
LEAST_KNEE_PU = 1e-9
V_CEASE_PU = 0.1  # below this the current of a limited injection falls with the voltage


class Loads(NamedTuple):
    """Parameters of k loads; every field (k,) or (k, 3). Load convention: positive is consumed."""

    bus: Index  # row in the network
    p0_pu: Real
    q0_pu: Real
    v0_pu: Real  # > 0
    zip_p: Real  # (k, 3) shares of constant impedance, current, power; each row sums to 1
    zip_q: Real
    k_pf: Real  # pu power per pu frequency
    k_qf: Real

    def at(self, rows: Index) -> "Loads":
        """Some of the loads."""
        return Loads(*[column[rows] for column in self])  # type: ignore[arg-type]  # int and float columns


class Demand(NamedTuple):
    """What k nodes draw at one frequency: S(V) = z |V|^2 + i |V| + p g(|V|). Fields complex (k,), pu.

    g is 1 above both voltages of `knee_pu` and falls in proportion to |V| below each of them: a load's two knees
    are V_RELIEF_PU; an injection with a current limit has one where the limit begins and one at V_CEASE_PU.
    """

    z: Complex
    i: Complex
    p: Complex
    constant_power: bool  # z and i are 0
    knee_pu: Real  # (2, k)
    fixed: bool = True  # the knees stay where they are from one solve to the next


def demand(loads: Loads, df_pu: Any = 0.0) -> Demand:
    """Coefficients of S(V) at the frequency deviation `df_pu` = (f - f0)/f0, a number or (k,)."""
    p = loads.p0_pu * (1.0 + loads.k_pf * df_pu)
    q = loads.q0_pu * (1.0 + loads.k_qf * df_pu)
    shares = p[:, None] * loads.zip_p + 1j * q[:, None] * loads.zip_q
    z, i = shares[:, 0] / loads.v0_pu**2, shares[:, 1] / loads.v0_pu
    return Demand(z, i, shares[:, 2].copy(), not (z.any() or i.any()), np.full((2, len(p)), V_RELIEF_PU))


def with_injections(loads: Demand, s_pu: Complex, i_max_pu: Real) -> Demand:
    """The loads, and behind them units that inject `s_pu` (u,) with at most the current `i_max_pu` (u,).

    At a voltage too low for its power a unit keeps its power factor and gives its largest current, which falls in
    proportion to the voltage below V_CEASE_PU. Without a limit (inf) the power falls as that of a load does.
    """
    return Injected(with_room(loads, i_max_pu), s_pu, i_max_pu).whole()


def with_room(loads: Demand, i_max_pu: Real) -> Demand:
    """The loads, and behind them units with the current limits `i_max_pu` (u,) that inject nothing yet."""
    none, limited = np.zeros(len(i_max_pu), complex), np.isfinite(i_max_pu)
    knee = np.where(limited, ((LEAST_KNEE_PU,), (V_CEASE_PU,)), V_RELIEF_PU)
    return Demand(
        np.concatenate((loads.z, none)), np.concatenate((loads.i, none)), np.concatenate((loads.p, none)),
        loads.constant_power, np.concatenate((loads.knee_pu, knee), axis=1), loads.fixed and not limited.any(),
    )  # fmt: skip


class Injected(NamedTuple):
    """A demand and units behind it; the compiled solve fills the room itself."""

    room: Demand  # from `with_room`, for the same limits
    s_pu: Complex  # (u,) what they inject
    i_max_pu: Real  # (u,) largest currents; a unit without one (inf) keeps its own knee

    def whole(self) -> Demand:
        """The demand with the units in it."""
        room, first = self.room, len(self.room.p) - len(self.s_pu)
        p, knee = room.p.copy(), room.knee_pu
        np.negative(self.s_pu, out=p[first:])
        if not room.fixed:
            knee = knee.copy()
            begin = knee[0, first:]  # of the limit
            np.maximum(np.abs(self.s_pu) / self.i_max_pu, begin, out=begin)
        return Demand(room.z, room.i, p, room.constant_power, knee, room.fixed)


def relief(v_abs: Real, knee_pu: Any = (V_RELIEF_PU, V_RELIEF_PU)) -> Real:
    """Factor of the constant-power part: 1 above both knees, falling with |V| below each."""
    factor: Real = np.minimum(1.0, v_abs / knee_pu[0]) * np.minimum(1.0, v_abs / knee_pu[1])
    return factor


def power(d: Demand, v_pu: Complex) -> Complex:
    """Complex power consumed at voltage `v_pu` (..., k), pu."""
    v_abs = np.abs(v_pu)
    s: Complex = d.z * v_abs**2 + d.i * v_abs + d.p * relief(v_abs, d.knee_pu)
    return s


def current_derivatives(d: Demand, v_pu: Complex) -> tuple[Complex, Complex]:
    """(a, b), each (k,), of dI = a dV + b conj(dV), where I = -conj(S(V)/V) is injected into the bus."""
    v_abs = np.abs(v_pu)
    below = v_abs < d.knee_pu
    knees = below.sum(0)  # below 0, 1 or 2 knees the p part is constant power, current or impedance
    slope = np.where(below, 1 / d.knee_pu, 1.0).prod(0)
    z = np.conj(d.z + np.where(knees == 2, d.p * slope, 0))
    i = np.conj(d.i + np.where(knees == 1, d.p * slope, 0))
    p = np.conj(np.where(knees == 0, d.p, 0))
    a = -z - i / (2 * v_abs)
    b = i * v_pu**2 / (2 * v_abs**3) + p / np.conj(v_pu) ** 2
    return a, b
