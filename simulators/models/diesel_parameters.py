"""Diesel generator set: two-axis machine, exciter, voltage regulator, DEGOV governor and an engine with dead time."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gridloop.simulators.models.dead_time import DeadTimes, dead_times
from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.models.parameters import as_columns, check
from gridloop.simulators.models.speed_loop import SpeedLoop, gain_margin

# columns of the state matrix; neighbours are taken together
DELTA, SLIP, E_D, E_Q, V_R, A1, P_F, Q_F, E_FD, X_F, C1, C2, A2, A3 = range(14)
TRANSIENT, LIMITED = slice(E_D, E_Q + 1), slice(V_R, A1 + 1)
# behind them what is no state: terminal voltage (v_d, v_q); and what drives the sets: V_ref - |V|, P and Q on the
# system base, T_m, and e at no power
V_D, V_Q, VOLTAGE, POWER, REACTIVE, TORQUE, SPEED = range(14, 21)
TERMINAL, DRIVEN, STATES, COLUMNS = slice(V_D, V_Q + 1), slice(VOLTAGE, SPEED + 1), 14, 21
GIVEN = COLUMNS - STATES + 1  # what is no state, and the products of the swing equation
NOT_ZERO = ("h_s", "x_d_pu", "x_q_pu", "x_transient_pu", "t_do_s", "t_qo_s", "filter_hz", "avr_gain", "avr_s",
            "exciter_gain", "exciter_s", "feedback_s", "v_r_max_pu", "governor_gain", "governor_t1_s",
            "governor_t2_s", "governor_t5_s", "governor_t6_s")  # fmt: skip
NOT_NEGATIVE = ("r_a_pu", "damping_pu", "feedback_gain", "governor_t3_s", "governor_t4_s", "start_s",
                "p_min_percent",
                "reverse_power_percent", "reverse_power_s", "fuel_idle_l_per_kwh", "fuel_l_per_kwh")  # fmt: skip


@dataclass(frozen=True)
class Params:
    """Ratings and data of n sets on their own ratings; each field is a scalar or (n,).

    Governor: the values of OpenIPSL's DEGOV examples. Machine: the emergency-diesel data set of a 3.125 MVA set that
    ships with Simulink, whose 3.7 s are taken as T'do and not as the short-circuit time constant. Regulator and
    exciter: typical. Fuel: affine in the power as in HOMER, common coefficients.
    """

    s_rated_kva: Any  # rating of machine and engine, > 0
    droop_p_percent: Any = 2.0  # frequency drop from no load to rated power, percent of nominal; 0 = isochronous
    droop_q_percent: Any = 5.0  # voltage drop from no load to rated reactive power, percent
    filter_hz: Any = 5.0  # corner of the power filters of both droops
    p_set_kw: Any = 0.0
    q_set_kvar: Any = 0.0
    v_set_pu: Any = 1.0  # terminal voltage at the set reactive power
    h_s: Any = 1.07  # inertia constant: kinetic energy at nominal speed per rating
    damping_pu: Any = 0.0  # torque per relative speed deviation
    r_a_pu: Any = 0.0036  # armature resistance
    x_d_pu: Any = 1.56  # synchronous reactance of the direct axis
    x_q_pu: Any = 1.06  # of the quadrature axis
    x_transient_pu: Any = 0.296  # transient reactance of both axes
    t_do_s: Any = 3.7  # open-circuit transient time constant of the direct axis
    t_qo_s: Any = 0.2  # of the quadrature axis
    avr_gain: Any = 200.0  # of the voltage regulator
    avr_s: Any = 0.02  # its time constant
    v_r_max_pu: Any = 12.0  # its output stays within +- this
    exciter_gain: Any = 1.0  # K_e: regulator output per field voltage at rest
    exciter_s: Any = 0.02  # T_e
    feedback_gain: Any = 0.001  # K_F of the rate feedback from the field voltage
    feedback_s: Any = 0.1  # T_F
    governor_gain: Any = 40.0  # K of DEGOV
    governor_t1_s: Any = 0.01  # T1 and T2: electric control box
    governor_t2_s: Any = 0.02
    governor_t3_s: Any = 0.2
    governor_t4_s: Any = 0.25  # T4, T5 and T6: actuator
    governor_t5_s: Any = 0.009
    governor_t6_s: Any = 0.0384
    dead_time_ms: Any = 24.0  # of the engine: 0, or at least 1
    torque_max_pu: Any = 1.1  # the engine's torque stays between these
    torque_min_pu: Any = 0.0
    start_s: Any = 10.0  # from the order to start until the breaker closes
    p_min_percent: Any = 30.0  # minimum load; minutes below it are counted
    reverse_power_percent: Any = 5.0  # consumed for longer than reverse_power_s trips
    reverse_power_s: Any = 2.0
    fuel_idle_l_per_kwh: Any = 0.08145  # fuel per hour for each kW of the rating, whatever the load
    fuel_l_per_kwh: Any = 0.246  # fuel for each kWh more
    s_base_mva: float = field(default=1.0, metadata={"scalar": True})  # system base
    f_nom_hz: float = field(default=50.0, metadata={"scalar": True})

    def __post_init__(self) -> None:
        as_columns(self)
        droop_p, droop_q, dead_ms = self.droop_p_percent, self.droop_q_percent, self.dead_time_ms
        check(
            self,
            ("s_base_mva", self.s_base_mva > 0, "> 0"),
            ("f_nom_hz", self.f_nom_hz > 0, "> 0"),
            ("s_rated_kva", (self.s_rated_kva > 0) & np.isfinite(self.s_rated_kva), "> 0"),
            ("droop_p_percent", (droop_p >= 0) & (droop_p < 100), ">= 0 and < 100"),
            ("droop_q_percent", (droop_q >= 0) & (droop_q < 100), ">= 0 and < 100"),
            ("p_set_kw", np.isfinite(self.p_set_kw), "finite"),
            ("q_set_kvar", np.isfinite(self.q_set_kvar), "finite"),
            ("v_set_pu", (self.v_set_pu > 0) & (self.v_set_pu < 2), "> 0 and < 2"),
            ("dead_time_ms", ((dead_ms == 0) | (dead_ms >= 1)) & np.isfinite(dead_ms), "0, or at least 1"),
            ("torque_max_pu", (self.torque_max_pu > self.torque_min_pu), "> torque_min_pu"),
            ("torque_min_pu", np.isfinite(self.torque_min_pu), "finite"),
            ("x_d_pu", self.x_d_pu >= self.x_transient_pu, ">= x_transient_pu"),
            ("x_q_pu", self.x_q_pu >= self.x_transient_pu, ">= x_transient_pu"),
            *((name, (getattr(self, name) > 0) & np.isfinite(getattr(self, name)), "> 0") for name in NOT_ZERO),
            *((name, (getattr(self, name) >= 0) & np.isfinite(getattr(self, name)), ">= 0") for name in NOT_NEGATIVE),
        )
        margin = gain_margin(self.speed_loop)
        if (margin <= 1).any():
            of_worst = (
                f"smaller, or another of the governor's times, the dead time and h_s: the isochronous speed loop is "
                f"unstable with a gain margin of {margin.min():.3g}, which must be > 1"
            )
            check(self, ("governor_gain", margin > 1, of_worst))

    @cached_property
    def speed_loop(self) -> SpeedLoop:
        """Governor, engine and inertia."""
        return SpeedLoop(
            self.governor_gain, self.governor_t1_s, self.governor_t2_s, self.governor_t3_s, self.governor_t4_s,
            self.governor_t5_s, self.governor_t6_s, self.dead_time_ms * 1e-3, self.h_s,
        )  # fmt: skip

    @cached_property
    def kw_to_pu(self) -> float:
        """Factor from kW, kvar or kVA to per unit on the system base."""
        return 1e-3 / self.s_base_mva

    @cached_property
    def to_own(self) -> Real:
        """Factor from powers on the system base to those on the sets' own ratings."""
        factor: Real = 1 / (self.s_rated_kva * self.kw_to_pu)
        return factor

    @cached_property
    def impedance_own_pu(self) -> Complex:
        """r_a + jx' on the sets' own ratings."""
        z: Complex = self.r_a_pu + 1j * self.x_transient_pu
        return z

    @cached_property
    def impedance_pu(self) -> Complex:
        """The same on the system base, behind which the EMF stands."""
        z: Complex = self.impedance_own_pu * self.to_own
        return z

    @cached_property
    def omega_nom_rad_per_s(self) -> float:
        """Nominal angular frequency."""
        return 2 * np.pi * self.f_nom_hz

    @cached_property
    def droop_p_rad_per_s_pu(self) -> Real:
        """m: fall of the angular frequency [rad/s] per pu of active power on the system base."""
        m: Real = self.droop_p_percent / 100 * self.omega_nom_rad_per_s * self.to_own
        return m

    @cached_property
    def droop_q_pu(self) -> Real:
        """n: fall of the voltage [pu] per pu of reactive power on the system base."""
        n: Real = self.droop_q_percent / 100 * self.to_own
        return n

    @cached_property
    def corner_rad_per_s(self) -> Real:
        """Corner of the power filters."""
        corner: Real = 2 * np.pi * self.filter_hz
        return corner

    @cached_property
    def admittance(self) -> Complex:
        """1/(r_a + jx') on the sets' own ratings."""
        y: Complex = 1 / self.impedance_own_pu
        return y

    @cached_property
    def imaginary_unit(self) -> Complex:
        """1j (n,): numpy multiplies arrays faster than it converts a number."""
        return np.full(len(self.s_rated_kva), 1j)

    @cached_property
    def minus_imaginary_unit(self) -> Complex:
        """-1j (n,)."""
        return -self.imaginary_unit

    @cached_property
    def compiled_memory(self) -> list[Any]:
        """The parameters as compiled loops take them, once they have asked."""
        return []

    @cached_property
    def set_point_memory(self) -> list[Any]:
        """The last inputs (the very arrays) and what their set-points come to."""
        return []

    @cached_property
    def touch_memory(self) -> list[Any]:
        """The last state (the very array) and which of its limits are touched."""
        return []

    @cached_property
    def stage_memory(self) -> dict[float, Any]:
        """Steps of one length as matrices, by that length."""
        return {}

    @cached_property
    def nothing(self) -> Real:
        """Zeros (n,)."""
        return np.zeros(len(self.s_rated_kva))

    @cached_property
    def per_2h(self) -> Real:
        """1/2H."""
        share: Real = 1 / (2 * self.h_s)
        return share

    @cached_property
    def admittance_2h(self) -> Complex:
        """1/(r_a + jx') over 2H."""
        y: Complex = self.admittance * self.per_2h
        return y

    @cached_property
    def fuel_l_per_s(self) -> tuple[Real, Real]:
        """Fuel at no power, and more for each pu of power on the system base."""
        return self.fuel_idle_l_per_kwh * self.s_rated_kva / 3600, self.fuel_l_per_kwh / self.kw_to_pu / 3600

    @cached_property
    def p_min_pu(self) -> Real:
        """Minimum load, own rating."""
        least: Real = self.p_min_percent / 100
        return least

    @cached_property
    def reverse_power_pu(self) -> Real:
        """Power below which the reverse-power relay counts, own rating."""
        power: Real = -self.reverse_power_percent / 100
        return power

    @cached_property
    def damped_feedback(self) -> Real:
        """K_F/T_F."""
        ratio: Real = self.feedback_gain / self.feedback_s
        return ratio

    @cached_property
    def dead(self) -> DeadTimes:
        """Dead times, those of 0 as if they were 1 ms."""
        return dead_times(np.maximum(self.dead_time_ms, 1.0) * 1e-3)

    @cached_property
    def immediate(self) -> Mask | None:
        """Which engines have no dead time; None: all have one."""
        none = self.dead_time_ms == 0
        return none if none.any() else None

    @cached_property
    def limits_pu(self) -> tuple[Real, Real]:
        """Lower and upper limits (n, 2) of the columns LIMITED: regulator output and fuel rack."""
        return (
            np.stack((-self.v_r_max_pu, self.torque_min_pu), axis=1),
            np.stack((self.v_r_max_pu, self.torque_max_pu), axis=1),
        )

    @cached_property
    def linear(self) -> Real:
        """(n, 17, 21): all that is linear in the state and what drives it. See `diesel.advance`.

        Rows 0 to 13 give dx/dt without the products of T_m and w, E' and i; rows 14 to 16 their second factors
        T_m, -i_d, -i_q, all over 2H.
        """
        a = np.zeros((len(self.s_rated_kva), 17, COLUMNS))
        a[:, DELTA, SLIP] = self.omega_nom_rad_per_s
        a[:, SLIP, SLIP] = -self.damping_pu / (2 * self.h_s)
        a[:, SLIP, TORQUE] = a[:, 14, TORQUE] = 1 / (2 * self.h_s)
        a[:, P_F, P_F] = a[:, Q_F, Q_F] = -self.corner_rad_per_s
        a[:, P_F, POWER] = a[:, Q_F, REACTIVE] = self.corner_rad_per_s * self.to_own
        self._add_machine(a)
        self._add_regulator(a)
        self._add_governor(a)
        return a

    def _add_machine(self, a: Real) -> None:
        y = self.admittance  # i_d + j i_q = y (E'd - v_d + j (E'q - v_q))
        a[:, E_Q, E_FD] = 1 / self.t_do_s
        a[:, E_Q, E_Q] = -1 / self.t_do_s
        a[:, E_D, E_D] = -1 / self.t_qo_s
        gap_d = -(self.x_d_pu - self.x_transient_pu) / self.t_do_s
        gap_q = (self.x_q_pu - self.x_transient_pu) / self.t_qo_s
        for direct, quadrature, sign in ((E_D, E_Q, 1), (V_D, V_Q, -1)):
            for row, factor in ((E_Q, gap_d), (15, -1 / (2 * self.h_s))):  # times i_d
                a[:, row, direct] += sign * factor * y.real
                a[:, row, quadrature] -= sign * factor * y.imag
            for row, factor in ((E_D, gap_q), (16, -1 / (2 * self.h_s))):  # times i_q
                a[:, row, direct] += sign * factor * y.imag
                a[:, row, quadrature] += sign * factor * y.real

    def _add_regulator(self, a: Real) -> None:
        steep = self.avr_gain / self.avr_s
        a[:, V_R, VOLTAGE] = steep
        a[:, V_R, V_R] = -1 / self.avr_s
        a[:, V_R, Q_F] = -steep * self.droop_q_percent / 100
        a[:, V_R, E_FD] = -steep * self.damped_feedback
        a[:, V_R, X_F] = steep
        a[:, E_FD, V_R] = 1 / self.exciter_s
        a[:, E_FD, E_FD] = -self.exciter_gain / self.exciter_s
        a[:, X_F, E_FD] = self.damped_feedback / self.feedback_s
        a[:, X_F, X_F] = -1 / self.feedback_s

    def _add_governor(self, a: Real) -> None:
        t1, t2, t3, gain = self.governor_t1_s, self.governor_t2_s, self.governor_t3_s, self.governor_gain
        a[:, C1, C2] = 1
        a[:, C2, SPEED] = 1 / (t1 * t2)
        a[:, C2, SLIP] = -1 / (t1 * t2)
        a[:, C2, P_F] = -self.droop_p_percent / 100 / (t1 * t2)
        a[:, C2, C1] = -1 / (t1 * t2)
        a[:, C2, C2] = -1 / t2
        a[:, A1, C1], a[:, A1, C2] = gain, gain * t3
        t4, t5, t6 = self.governor_t4_s, self.governor_t5_s, self.governor_t6_s
        a[:, A2, A1], a[:, A2, A2] = 1 / t5, -1 / t5
        a[:, A2, C1], a[:, A2, C2] = t4 * gain / t5, t4 * gain * t3 / t5
        a[:, A3, A2], a[:, A3, A3] = 1 / t6, -1 / t6
