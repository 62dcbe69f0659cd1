"""Units that form the grid, at rest: their droop lines and how far their voltage is from what their control holds.

A settled unit is on its droop line m (P - P*) = Omega - slip, or at a limit of its power. Its voltage is the EMF of an
inverter or of a machine, and the terminal voltage of a diesel set, whose regulator leaves the error E_fd K_e / K_A.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from gridloop.simulators.models import diesel, inverter
from gridloop.simulators.models.diesel_parameters import Params as DieselParams
from gridloop.simulators.models.machine import Params as MachineParams
from gridloop.simulators.models.network import Complex, Real


class Terminal(NamedTuple):
    """What n units feel; system base."""

    emf_pu: Complex
    v_pu: Complex  # of their buses
    s_pu: Complex  # into their buses
    slip_pu: Real  # deviation from nominal frequency, of the units' islands

    def at(self, rows: Any) -> "Terminal":
        """Some of the units."""
        return Terminal(*(column[rows] for column in self))


class Settings(NamedTuple):
    """Droop lines and set-points of n units on the system base; each field (n,)."""

    m_rad_per_s_pu: Real  # 0: isochronous
    n_pu: Real
    p_set_pu: Real
    q_set_pu: Real
    v_set_pu: Real
    omega_rad_per_s: Real  # what others than the secondary control of the same model add to the frequency
    v_correction_pu: Real  # the same of the voltage


def _drawn(p: inverter.Params | DieselParams, u: inverter.Inputs | diesel.Inputs) -> Settings:
    """The lines that the set-points of units with droop draw."""
    return Settings(
        p.droop_p_rad_per_s_pu, p.droop_q_pu, u.p_set_pu, u.q_set_pu, u.v_set_pu, u.omega_rad_per_s,
        u.v_correction_pu,
    )  # fmt: skip


class Line(Protocol):
    """Units of one model at rest."""

    @property
    def settings(self) -> Settings:
        """The lines that the set-points draw."""

    def power_limits_pu(self, at: Terminal) -> tuple[Real, Real]:
        """Least and largest active power (n,)."""

    def voltage_miss_pu(self, at: Terminal, correction_pu: Real) -> Real:
        """How far the voltage (n,) is above what the control holds with a secondary correction."""


@dataclass(frozen=True)
class InverterLine:
    """Grid-forming inverters with the inputs `given`."""

    params: inverter.Params
    given: inverter.Inputs

    @property
    def settings(self) -> Settings:
        """The lines that the set-points draw."""
        return _drawn(self.params, self.given)

    def power_limits_pu(self, at: Terminal) -> tuple[Real, Real]:
        """The units' own limits and those of their DC sides."""
        return inverter.power_limits_pu(self.params, self.given)

    def voltage_miss_pu(self, at: Terminal, correction_pu: Real) -> Real:
        """Of the EMF, which has clamps."""
        p, u = self.params, self.given
        most = p.v_correction_limit_pu
        e_pu = u.v_set_pu + np.clip(correction_pu, -most, most) + p.droop_q_pu * (u.q_set_pu - at.s_pu.imag)
        miss: Real = np.abs(at.emf_pu) - np.clip(e_pu, *p.e_limits_pu)
        return miss


@dataclass(frozen=True)
class DieselLine:
    """Diesel sets with the inputs `given` and the regulators' reference above V_set."""

    params: DieselParams
    given: diesel.Inputs
    trim_pu: Real

    @property
    def settings(self) -> Settings:
        """The lines that the set-points draw."""
        return _drawn(self.params, self.given)

    def power_limits_pu(self, at: Terminal) -> tuple[Real, Real]:
        """What the limits of the torque leave behind damping and armature.

        T_m (1 + w) = P + r_a |i|^2 + D w on the sets' own ratings.
        """
        p = self.params
        current = np.abs(at.emf_pu - at.v_pu) / np.abs(p.impedance_own_pu)
        lost = p.r_a_pu * current**2 + p.damping_pu * at.slip_pu
        least, most = (torque * (1 + at.slip_pu) - lost for torque in (p.torque_min_pu, p.torque_max_pu))
        return least / p.to_own, most / p.to_own

    def voltage_miss_pu(self, at: Terminal, correction_pu: Real) -> Real:
        """Of the terminal voltage, with the error that makes the field; at the limit of V_R, of the field."""
        p, u = self.params, self.given
        reference = u.v_set_pu + self.trim_pu + correction_pu - p.droop_q_pu * (at.s_pu.imag - u.q_set_pu)
        output = np.clip(p.avr_gain * (reference - np.abs(at.v_pu)), -p.v_r_max_pu, p.v_r_max_pu)
        miss: Real = (p.exciter_gain * self.field_pu(at) - output) / p.avr_gain
        return miss

    def field_pu(self, at: Terminal) -> Real:
        """Field voltage E_fd at rest: E'q + (x_d - x') i_d in the rotor's frame."""
        p = self.params
        current = (at.emf_pu - at.v_pu) * p.admittance
        axis = at.v_pu + (p.r_a_pu + 1j * p.x_q_pu) * current
        size = np.abs(axis)
        turn = 1j * np.divide(axis.conj(), size, out=np.ones_like(axis), where=size > 0)
        field: Real = (at.emf_pu * turn).imag + (p.x_d_pu - p.x_transient_pu) * (current * turn).real
        return field


@dataclass(frozen=True)
class MachineLine:
    """Classical machines: constant EMF; their damping is a droop of the mechanical power."""

    params: MachineParams
    given: Any  # machine.Inputs
    e_pu: Real

    @property
    def settings(self) -> Settings:
        """P = P_m - D slip."""
        p, zero = self.params, np.zeros(len(self.e_pu))
        m = p.omega_nom_rad_per_s / (p.damping_pu * p.s_rated_kva * p.kw_to_pu)
        return Settings(m, zero, self.given.p_set_pu, zero, self.e_pu, zero, zero)

    def power_limits_pu(self, at: Terminal) -> tuple[Real, Real]:
        """None."""
        return np.full(len(at.s_pu), -np.inf), np.full(len(at.s_pu), np.inf)

    def voltage_miss_pu(self, at: Terminal, correction_pu: Real) -> Real:
        """Of the EMF."""
        miss: Real = np.abs(at.emf_pu) - self.e_pu
        return miss


def line_of(name: str, params: Any, given: Any, start: tuple[Complex, Complex]) -> Line:
    """The units of a device model by its name.

    Args:
        name: of the model.
        params: its Params.
        given: its Inputs.
        start: power and EMF (n,) at the start.

    Raises:
        ValueError: the model has no settled state here, or a machine has no damping.
    """
    if name == "Inverter":
        return InverterLine(params, given)
    if name == "Diesel":
        return DieselLine(params, given, diesel.initial(params, *start).trim_pu)
    if name == "Machine":
        if not (params.damping_pu > 0).all():
            raise ValueError("a machine without damping_pu has no settled state: its power is no function of frequency")
        return MachineLine(params, given, np.abs(start[1]))
    raise ValueError(f"mode: steady knows no settled state of {name}; use mode: rms")
