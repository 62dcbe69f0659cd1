"""Case B: battery inverter, diesel set and PV inverter at buses 1 to 3 of case9, as scenarios and as one set of
equations that shares nothing with the models but the network's data.

S = 1, 2, 1.25 pu; droops of 2 and 5 % on the own ratings; set-points of the power flow; impedances of the inverters
0.01 + j0.1 and 0.01 + j0.08 on the system base.
"""

import bisect
import cmath
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

import case_a
from gridloop.simulators.models.network import Complex, Real, admittance_matrix

UNITS = ("batt", "diesel", "pv")
RATINGS_PU = np.array([1.0, 2.0, 1.25])
W0 = 2 * math.pi * 60
DEAD_S = 0.024


def load_step(t_s: float) -> dict[str, Any]:
    """+0.3 + j0.1 pu at bus 5."""
    return {"t_s": t_s, "do": "load_step", "bus": 5, "p_kw": 30000, "q_kvar": 10000}


def line_trip(t_s: float) -> dict[str, Any]:
    """Line 6-7 opens."""
    return {"t_s": t_s, "do": "line_open", "line": "6-7"}


def scenario(events: list[dict[str, Any]], pv: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Case B; the PV inverter forms the grid behind j0.08 unless `pv` says what it does."""
    forming = {"type": "inverter", "z_pu": [0.0125, 0.1]}  # on 1.25 pu: 0.01 + j0.08 on the system base
    return {
        "schema": 1, "name": "case-b", "until_s": 2, "step_ms": 5, "grid": {"net": "case9", "f_nom_hz": 60},
        "start": "power_flow", "defaults": {"inverter": {"droop_p_percent": 2, "droop_q_percent": 5, "filter_hz": 5}},
        "units": {
            "batt": {"type": "inverter", "bus": 1, "s_rated_kva": 100000, "z_pu": [0.01, 0.1]},
            "diesel": {"type": "diesel", "bus": 2, "s_rated_kva": 200000, "droop_p_percent": 2, "droop_q_percent": 5},
            "pv": {"bus": 3, "s_rated_kva": 125000} | (pv or forming),
        },
        "events": events,
    } | more  # fmt: skip


def following(p_pu: float = 0.85, q_pu: float = -0.0365) -> dict[str, Any]:
    """A PV inverter that injects constant power."""
    return {"type": "inverter", "control": "following", "p_set_kw": 1e5 * p_pu, "q_set_kvar": 1e5 * q_pu}


class Exact(NamedTuple):
    """The reference at some instants (T,): deviations of the three frequencies and their powers (T, 3)."""

    t_us: Any
    omega_rad_per_s: Real
    s_pu: Complex


class Network:
    """Powers of three EMFs behind impedances, with constant-power loads."""

    def __init__(self, closed: Any, s_load: Complex, z: Complex) -> None:
        net = case_a.case9()
        y = admittance_matrix(net.network, closed).toarray()
        y[range(3), range(3)] += 1 / z
        self._inverse, self._load, self._s, self._z = np.linalg.inv(y), net.loads.bus, s_load, z

    def solve(self, emf: Complex) -> tuple[Complex, Complex]:
        """Terminal voltages and powers (3,)."""
        z_load = self._inverse[np.ix_(self._load, self._load)]
        unloaded = self._inverse[:, :3] @ (emf / self._z)
        v, one = unloaded[self._load], np.eye(3)
        for _ in range(30):
            miss = v - unloaded[self._load] + z_load @ (self._s / v).conj()
            mirror = -z_load * (self._s / v**2).conj()
            jacobian = np.block([[one + mirror.real, mirror.imag], [mirror.imag, one - mirror.real]])
            change = np.linalg.solve(jacobian, np.concatenate((miss.real, miss.imag)))
            v = v - (change[:3] + 1j * change[3:])
            if np.abs(change).max() < 1e-13:
                break
        terminal = (unloaded - self._inverse[:, self._load] @ (self._s / v).conj())[:3]
        return terminal, terminal * ((emf - terminal) / self._z).conj()


class Diesel(NamedTuple):
    """The table of the diesel's data, one set of 2 pu."""

    k: float = 40
    t1: float = 0.01
    t2: float = 0.02
    t3: float = 0.2
    t4: float = 0.25
    t5: float = 0.009
    t6: float = 0.0384
    h: float = 1.07
    ra: float = 0.0036
    xd: float = 1.56
    xp: float = 0.296
    xq: float = 1.06
    tdo: float = 3.7
    tqo: float = 0.2
    ka: float = 200
    ta: float = 0.02
    ke: float = 1
    te: float = 0.02
    kf: float = 0.001
    tf: float = 0.1
    r: float = 0.02
    nq: float = 0.05
    wc: float = 2 * math.pi * 5

    def rates(self, y: Any, v: complex, s: complex, refs: tuple[float, complex], torque: float) -> list[float]:
        """dy/dt of [delta, w, E'q, E'd, V_R, E_fd, x_F, P_f, Q_f, c1, c2, a1, a2, a3]; v, s on the own base."""
        delta, w, eq, ed, vr, efd, xf, pf, qf, c1, c2, a1, a2, a3 = y
        v_ref, s_set = refs
        at = v * cmath.exp(-1j * (delta - math.pi / 2))
        i = (complex(ed, eq) - at) / complex(self.ra, self.xp)
        te = ed * i.real + eq * i.imag
        e_v = v_ref - self.nq * (qf - s_set.imag) - abs(v) - (self.kf / self.tf * efd - xf)
        e = -w - self.r * (pf - s_set.real)
        y_box = c1 + self.t3 * c2
        push = self.k * y_box
        d_a1 = 0.0 if (a1 >= 1.1 and push > 0) or (a1 <= 0 and push < 0) else push
        d_vr = (self.ka * e_v - vr) / self.ta
        d_vr = 0.0 if (vr >= 12 and d_vr > 0) or (vr <= -12 and d_vr < 0) else d_vr
        return [
            W0 * w, (min(max(torque, 0.0), 1.1) * (1 + w) - te) / (2 * self.h),
            (efd - eq - (self.xd - self.xp) * i.real) / self.tdo, (-ed + (self.xq - self.xp) * i.imag) / self.tqo,
            d_vr, (vr - self.ke * efd) / self.te, (self.kf / self.tf * efd - xf) / self.tf,
            self.wc * (s.real - pf), self.wc * (s.imag - qf),
            c2, (e - c1 - self.t1 * c2) / (self.t1 * self.t2), d_a1,
            (a1 + self.t4 * push - a2) / self.t5, (a2 - a3) / self.t6,
        ]  # fmt: skip

    def at_rest(self, v: complex, i: complex, emf: complex) -> tuple[list[float], float]:
        """State and V_ref while delivering the current i; own base."""
        axis = v + complex(self.ra, self.xq) * i
        delta = cmath.phase(axis)
        turn = cmath.exp(-1j * (delta - math.pi / 2))
        inner, current = emf * turn, i * turn
        efd = inner.imag + (self.xd - self.xp) * current.real
        torque = (inner * current.conjugate()).real
        s = v * i.conjugate()
        state = [delta, 0, inner.imag, inner.real, self.ke * efd, efd, self.kf / self.tf * efd, s.real, s.imag, 0, 0]
        return [*state, torque, torque, torque], abs(v) + self.ke * efd / self.ka


class Equations:
    """Case B with a PV inverter that forms the grid, y = [batt, diesel (14), pv], inverters [delta, P_f, Q_f]."""

    def __init__(self) -> None:
        self.diesel, self.start = Diesel(), case_a.power_flow_start()
        own = complex(self.diesel.ra, self.diesel.xp) / RATINGS_PU[1]
        self.z = np.array([0.01 + 0.1j, own, 0.01 + 0.08j])
        v, s = self.start.emf_pu, self.start.s_pu
        self.e0 = v + self.z * (s / v).conj()
        resting, self.v_ref = self.diesel.at_rest(v[1], (s[1] / v[1]).conjugate() / RATINGS_PU[1], self.e0[1])
        y0 = [cmath.phase(self.e0[0]), s[0].real, s[0].imag, *resting]
        self.y0 = np.array([*y0, cmath.phase(self.e0[2]), s[2].real, s[2].imag])
        self.m, self.n = 0.02 * W0 / RATINGS_PU, 0.05 / RATINGS_PU

    def emf(self, y: Real) -> Complex:
        """EMFs (3,)."""
        size = [abs(self.e0[k]) - self.n[k] * (y[at + 2] - self.start.s_pu[k].imag) for k, at in ((0, 0), (2, 17))]
        inner = complex(y[6], y[5]) * cmath.exp(1j * (y[3] - math.pi / 2))
        return np.array([cmath.rect(size[0], y[0]), inner, cmath.rect(size[1], y[17])])

    def slips(self, y: Real) -> Real:
        """Deviations of the angular frequencies (3,)."""
        set_pu = self.start.s_pu.real
        return np.array([-self.m[0] * (y[1] - set_pu[0]), W0 * y[4], -self.m[2] * (y[18] - set_pu[2])])

    def rates(self, y: Real, network: Network, torque: float) -> Real:
        """dy/dt, the network solved."""
        v, s = network.solve(self.emf(y))
        slips, wc, size = self.slips(y), self.diesel.wc, RATINGS_PU[1]
        diesel = self.diesel.rates(y[3:17], v[1], s[1] / size, (self.v_ref, self.start.s_pu[1] / size), torque)
        batt = [slips[0], wc * (s[0].real - y[1]), wc * (s[0].imag - y[2])]
        return np.array([*batt, *diesel, slips[2], wc * (s[2].real - y[18]), wc * (s[2].imag - y[19])])


def reference(t_us: Iterable[int], step_s: float, trip_s: float) -> Exact:
    """Case B with the load step and the line's trip, by DOP853 and the method of steps for the dead time."""
    equations, net = Equations(), case_a.case9()
    instants = np.array(sorted(t_us))
    starts, pieces, y = list[float](), list[Any](), equations.y0

    def torque(t: float) -> float:
        at = bisect.bisect_right(starts, t - DEAD_S) - 1
        return float(pieces[at](t - DEAD_S)[16]) if at >= 0 else float(equations.y0[16])

    closed, s_load = net.network.closed.copy(), net.loads.s_pu.copy()
    rows, end_s = list[Any](), instants[-1] * 1e-6
    for begin_s, until_s in ((0.0, step_s), (step_s, trip_s), (trip_s, end_s)):
        s_load = s_load + (np.array([0.3 + 0.1j, 0, 0]) if begin_s == step_s else 0)
        closed[net.network.row_of_branch("6-7")] = begin_s < trip_s
        network = Network(closed, s_load, equations.z)
        t = begin_s
        while t < until_s - 1e-9:
            stop = until_s if begin_s == 0 else min(t + DEAD_S, until_s)  # nothing moves before the first event
            found = solve_ivp(
                lambda at, y, network=network: equations.rates(y, network, torque(at)), (t, stop), y, "DOP853",
                rtol=1e-9, atol=1e-11, dense_output=True, first_step=min(2e-3, stop - t) if t == begin_s else None,
            )  # fmt: skip
            starts.append(t)
            pieces.append(found.sol)
            last = stop >= end_s - 1e-9
            for at in instants[(instants >= round(t * 1e6)) & (instants < round(stop * 1e6) + last)].tolist():
                here = found.sol(at * 1e-6)
                rows.append((at, equations.slips(here), network.solve(equations.emf(here))[1]))
            y, t = found.y[:, -1], stop
    return Exact._make(np.array(column) for column in zip(*rows, strict=True))
