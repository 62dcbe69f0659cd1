"""Voltage- and frequency-dependent loads (ZIP), solved inside the network.

P = P0 (z u^2 + i u + p)(1 + k_pf df), Q likewise, with u = |V|/V0 and df = (f - f0)/f0. Below
`V_RELIEF_PU` the constant-power part falls with |V|^2, i.e. it turns into a constant impedance,
so that a low-voltage solution exists and a collapse can be seen and reported.

Source: Kundur, Power System Stability and Control (1994), section 7.1.1, eq. 7.1 to 7.6.
"""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Index, Mask, Real

V_RELIEF_PU = 0.7


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
    """The loads at one frequency: S(V) = z |V|^2 + i |V| + p. Fields complex (k,), pu."""

    z: Complex
    i: Complex
    p: Complex
    constant_power: bool  # z and i are 0


def demand(loads: Loads, df_pu: float = 0.0) -> Demand:
    """Coefficients of S(V) at the frequency deviation `df_pu` = (f - f0)/f0."""
    p = loads.p0_pu * (1.0 + loads.k_pf * df_pu)
    q = loads.q0_pu * (1.0 + loads.k_qf * df_pu)
    shares = p[:, None] * loads.zip_p + 1j * q[:, None] * loads.zip_q
    z, i = shares[:, 0] / loads.v0_pu**2, shares[:, 1] / loads.v0_pu
    return Demand(z, i, shares[:, 2].copy(), not (z.any() or i.any()))


def relief(v_abs: Real) -> Real:
    """Factor of the constant-power part: 1 above V_RELIEF_PU, (|V|/V_RELIEF_PU)^2 below."""
    factor: Real = np.minimum(1.0, v_abs / V_RELIEF_PU) ** 2
    return factor


def power(d: Demand, v_pu: Complex) -> Complex:
    """Complex power consumed at voltage `v_pu` (..., k), pu."""
    v_abs = np.abs(v_pu)
    s: Complex = d.z * v_abs**2 + d.i * v_abs + d.p * relief(v_abs)
    return s


def current_derivatives(d: Demand, v_pu: Complex) -> tuple[Complex, Complex]:
    """(a, b), each (k,), of dI = a dV + b conj(dV), where I = -conj(S(V)/V) is injected into the bus."""
    v_abs = np.abs(v_pu)
    low: Mask = v_abs < V_RELIEF_PU
    held = -np.conj(d.p) / V_RELIEF_PU**2
    a = -np.conj(d.z) - np.conj(d.i) / (2 * v_abs) + np.where(low, held, 0)
    b = np.conj(d.i) * v_pu**2 / (2 * v_abs**3) + np.where(low, 0, np.conj(d.p) / np.conj(v_pu) ** 2)
    return a, b
