"""Classical synchronous machine: a constant EMF behind its transient reactance, constant mechanical power."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.machine_terminal import SAME_EMF_PU, growth_per_s, tracked_slip
from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.models.parameters import as_columns, check
from gridloop.simulators.ports import Model, Port


@dataclass(frozen=True)
class Params:
    """Ratings and data of n machines on their own ratings; each field is a scalar or (n,)."""

    s_rated_kva: Any  # apparent-power rating, > 0
    h_s: Any  # inertia constant: kinetic energy at nominal speed per rating
    x_pu: Any  # transient reactance, own rating
    damping_pu: Any = 0.0  # power per relative speed deviation, own rating
    p_set_kw: Any = 0.0  # mechanical power
    s_base_mva: float = field(default=1.0, metadata={"scalar": True})  # system base
    f_nom_hz: float = field(default=50.0, metadata={"scalar": True})

    def __post_init__(self) -> None:
        as_columns(self)
        check(
            self,
            ("s_base_mva", self.s_base_mva > 0, "> 0"),
            ("f_nom_hz", self.f_nom_hz > 0, "> 0"),
            ("s_rated_kva", (self.s_rated_kva > 0) & np.isfinite(self.s_rated_kva), "> 0"),
            ("h_s", (self.h_s > 0) & np.isfinite(self.h_s), "> 0"),
            ("x_pu", (self.x_pu > 0) & np.isfinite(self.x_pu), "> 0"),
            ("damping_pu", (self.damping_pu >= 0) & np.isfinite(self.damping_pu), ">= 0"),
            ("p_set_kw", np.isfinite(self.p_set_kw), "finite"),
        )

    @cached_property
    def kw_to_pu(self) -> float:
        """Factor from kW, kvar or kVA to per unit on the system base."""
        return 1e-3 / self.s_base_mva

    @cached_property
    def impedance_pu(self) -> Complex:
        """Transient reactance on the system base, behind which the EMF stands."""
        z: Complex = 1j * self.x_pu / (self.s_rated_kva * self.kw_to_pu)
        return z

    @cached_property
    def omega_nom_rad_per_s(self) -> float:
        """Nominal angular frequency."""
        return 2 * np.pi * self.f_nom_hz

    @cached_property
    def inertia_s_pu(self) -> Real:
        """2H on the system base: power [pu] for each 1/s of acceleration."""
        inertia: Real = 2 * self.h_s * self.s_rated_kva * self.kw_to_pu
        return inertia

    @cached_property
    def damping_per_s(self) -> Real:
        """Rate at which damping alone would take a speed deviation away."""
        rate: Real = self.damping_pu / (2 * self.h_s)
        return rate


class State(NamedTuple):
    """State of n machines."""

    delta_rad: Real  # EMF angle in the frame that rotates at nominal frequency
    slip_pu: Real  # deviation from nominal speed
    e_pu: Real  # EMF magnitude, constant unless `align` changes it
    dt_s: float = 0.0  # length of the last step, for `align`


class Inputs(NamedTuple):
    """What reaches n machines."""

    s_pu: Complex  # power into the bus; exactly 0 of a machine that is not connected
    v_pu: Complex  # bus voltage in the nominal frame
    p_set_pu: Real  # mechanical power


class Slopes(NamedTuple):
    """Rates of the linearly held inputs."""

    s_pu: Complex
    v_pu: Complex


class Outputs(NamedTuple):
    """What n machines show."""

    emf_pu: Complex
    f_hz: Real
    p_set_pu: Real


LONGEST_STEP_S = 5e-3  # of the integration


def initial(p: Params, s_pu: Complex, emf_pu: Complex) -> State:
    """State at nominal speed with the EMF `emf_pu` (n,); at rest where that delivers the mechanical power."""
    return State(np.angle(emf_pu), np.zeros(len(emf_pu)), np.abs(emf_pu))


def held(p: Params) -> Inputs:
    """Mechanical power from the parameters; no power yet."""
    n = len(p.s_rated_kva)
    return Inputs(np.zeros(n, complex), np.ones(n, complex), p.p_set_kw * p.kw_to_pu)


def advance(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """Integrate the swing equation over the interval that has passed.

    Args:
        p: parameters of n machines.
        s: state at the start of the interval.
        u: inputs at the start of the interval.
        slopes: rates of the power and of the bus voltage [pu/s].
        dt_s: length of the interval [s], >= 0; 0 returns `s`.

    Raises:
        ValueError: dt_s < 0.

    2H dw/dt = P_m - P_e - D w with P_e as power (no division by 1 + w), ddelta/dt = w0 w, P_e from the EMF and the
    extrapolated bus voltage; Runge-Kutta of fourth order. Source: Kundur, Power System Stability and Control
    (1994), sections 3.9 and 13.3. Left out: armature resistance, saliency, flux decay, governor.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    growth = growth_per_s(u.v_pu, slopes.v_pu, dt_s, p.omega_nom_rad_per_s * s.slip_pu)
    count = int(np.ceil(dt_s / LONGEST_STEP_S - 1e-9))
    h = dt_s / count
    # power of the EMF: Re(E conj((E - V) / jx)) = Re(E conj(V)) turned by a quarter
    pull = np.where(u.s_pu == 0, 0, s.e_pu * (1j * u.v_pu / p.impedance_pu.imag).conj())
    conj_growth = growth.conj()

    def rates(tau_s: float, delta: Real, slip: Real) -> tuple[Real, Real]:
        p_e = (pull * np.exp(1j * delta + conj_growth * tau_s)).real
        return p.omega_nom_rad_per_s * slip, (u.p_set_pu - p_e) / p.inertia_s_pu - p.damping_per_s * slip

    delta, slip = s.delta_rad, s.slip_pu
    for k in range(count):
        at = k * h
        d1, w1 = rates(at, delta, slip)
        d2, w2 = rates(at + h / 2, delta + h / 2 * d1, slip + h / 2 * w1)
        d3, w3 = rates(at + h / 2, delta + h / 2 * d2, slip + h / 2 * w2)
        d4, w4 = rates(at + h, delta + h * d3, slip + h * w3)
        delta = delta + h / 6 * (d1 + 2 * (d2 + d3) + d4)
        slip = slip + h / 6 * (w1 + 2 * (w2 + w3) + w4)
    return State(delta, slip, s.e_pu, dt_s)


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """EMF and frequency; memoryless."""
    emf: Complex = s.e_pu * np.exp(1j * s.delta_rad)
    return Outputs(emf, p.f_nom_hz * (1 + s.slip_pu), u.p_set_pu)


def align(p: Params, s: State, u: Inputs, applied_pu: Complex) -> State:
    """Make a machine that is not in charge follow the EMF that the grid applied (n,); others keep their state.

    Its speed tends to that at which the applied EMF turns.
    """
    own = respond(p, s, u).emf_pu
    other = np.abs(applied_pu - own) > SAME_EMF_PU
    turned = np.angle(applied_pu * own.conj())
    slip = tracked_slip(s.slip_pu, turned, p.omega_nom_rad_per_s * s.dt_s)
    return s._replace(
        delta_rad=np.where(other, s.delta_rad + turned, s.delta_rad),
        slip_pu=np.where(other, slip, s.slip_pu),
        e_pu=np.where(other, np.abs(applied_pu), s.e_pu),
    )


def _degrees(emf_pu: Any) -> Any:
    return np.degrees(np.angle(emf_pu))


MODEL = Model(
    name="Machine",
    params=Params,
    inputs=(
        Port("S[pu]", "s_pu", "power into the bus on the system base", hold="linear", scalar=False),
        Port("V[pu]", "v_pu", "bus voltage in the nominal frame", hold="linear", scalar=False),
        Port("P_set[MW]", "p_set_pu", "mechanical power", base="s"),
    ),
    outputs=(
        Port("EMF[pu]", "emf_pu", "EMF phasor in the nominal frame", scalar=False),
        Port("E[pu]", "emf_pu", "EMF magnitude", convert=np.abs),
        Port("Va_emf[deg]", "emf_pu", "EMF angle in the nominal frame, within +-180", convert=_degrees),
        Port("f[Hz]", "f_hz", "frequency of the rotor"),
        Port("P_set[MW]", "p_set_pu", "mechanical power", base="s"),
    ),
    records=("f[Hz]", "E[pu]", "Va_emf[deg]", "P_set[MW]"),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
)
