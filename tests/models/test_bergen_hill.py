"""The reference paper's structure-preserving model with its Table 2, on the product's data of the network.

Bergen and Hill, IEEE Trans. Power App. Syst. 100 (1981): every bus i has a frequency dependence D_i and unit voltage,
lines have reactances x_ij alone,

    D_i dtheta_i/dt = P_i - sum_j sin(theta_i - theta_j) / x_ij

No model of the product is of this kind; the paper's figures are what is on record here.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import root

import case_a
from gridloop.simulators.models.network import Index, Real

P_PU = np.array([0.67, 1.63, 0.85, 0, -0.9, 0, -1.0, 0, -1.25])  # into buses 1 to 9
STEPPED_PU = P_PU - 0.3 * np.eye(9)[4]  # +0.3 of load at bus 5
DAMPING_S = np.array([5, 5, 5, 1e-2, 2, 1e-2, 2, 1e-2, 2])


class Lines(NamedTuple):
    """Ends (rows of buses) and susceptances 1/x."""

    begin: Index
    end: Index
    b_pu: Real

    def outflow(self, theta_rad: Real) -> Real:
        """Power that leaves every bus into its lines."""
        power = self.b_pu * np.sin(theta_rad[self.begin] - theta_rad[self.end])
        total = np.zeros(9)
        np.add.at(total, self.begin, power)
        np.subtract.at(total, self.end, power)
        return total

    def stiffness(self, theta_rad: Real) -> Real:
        """d outflow / d theta."""
        slope = self.b_pu * np.cos(theta_rad[self.begin] - theta_rad[self.end])
        matrix = np.zeros((9, 9))
        for one, other in ((self.begin, self.end), (self.end, self.begin)):
            np.add.at(matrix, (one, one), slope)
            np.add.at(matrix, (one, other), -slope)
        return matrix


def lines(without: str = "") -> Lines:
    """Of case9, without their resistance and charging."""
    net = case_a.case9().network
    kept = np.array([name != without for name in net.branch_names])
    reactance = (-1 / net.two_ports.tf).imag
    return Lines(net.from_bus[kept], net.to_bus[kept], 1 / reactance[kept])


def equilibrium(net: Lines, p_pu: Real) -> Real:
    """Angles at which all buses turn alike, relative to bus 1."""
    missing = p_pu - DAMPING_S * p_pu.sum() / DAMPING_S.sum()
    found = root(lambda angles: (missing - net.outflow(np.append(0, angles)))[1:], np.zeros(8), tol=1e-13)
    assert found.success
    return np.append(0, found.x)


def speeds(net: Lines, p_pu: Real, theta_rad: Real) -> Real:
    """dtheta/dt."""
    rates: Real = (p_pu - net.outflow(theta_rad)) / DAMPING_S
    return rates


def slip_after(net: Lines, theta_rad: Real, p_pu: Real, until_s: float) -> Real:
    """Speed of every bus `until_s` after it stood at `theta_rad`; implicit, because three buses have hardly any D."""
    run = solve_ivp(
        lambda _, theta: speeds(net, p_pu, theta), (0, until_s), theta_rad, "BDF", rtol=1e-10, atol=1e-12,
        jac=lambda _, theta: -net.stiffness(theta) / DAMPING_S[:, None],
    )  # fmt: skip
    return speeds(net, p_pu, run.y[:, -1])


def test_angles():
    degrees = np.degrees(equilibrium(lines(), P_PU))
    published = [9.8266, 5.0772, -2.2117, -3.7369, 2.2221, 0.8398, 3.9795, -4.0660]
    np.testing.assert_allclose(degrees[1:], published, rtol=0, atol=5.1e-5)


@pytest.mark.parametrize("without", ["", "6-7"])
def test_a_load_step_slows_every_bus_alike(without):
    slip = slip_after(lines(without), equilibrium(lines(), P_PU), STEPPED_PU, 60.0)
    np.testing.assert_allclose(slip, -0.0142653352, rtol=0, atol=5e-10)
    np.testing.assert_allclose(1e3 * slip / (2 * np.pi), -2.2704, rtol=0, atol=5.1e-5)  # mHz
    shares = -DAMPING_S * slip
    np.testing.assert_allclose(shares[:3], 0.0713267, rtol=0, atol=5.1e-8)
    np.testing.assert_allclose(shares[[4, 6, 8]], 0.0285307, rtol=0, atol=5.1e-8)


def test_right_after_the_step_only_its_bus_has_slowed():
    slip = slip_after(lines(), equilibrium(lines(), P_PU), STEPPED_PU, 1e-6)
    np.testing.assert_allclose(slip, -0.15 * np.eye(9)[4], rtol=0, atol=1e-3)  # 0.3 / D_5


def test_eigenvalues_after_the_step():
    net = lines()
    theta = equilibrium(net, STEPPED_PU)
    found = np.sort(np.linalg.eigvals(-net.stiffness(theta) / DAMPING_S[:, None]).real)[::-1]
    assert found[0] == pytest.approx(0, abs=1e-9)  # all angles together
    np.testing.assert_allclose(found[1:3], [-1.287, -1.568], rtol=0, atol=5.1e-4)
    assert found[3] == pytest.approx(-6.02, abs=5.1e-3)
    assert found[-1] == pytest.approx(-4.0e3, abs=50)
