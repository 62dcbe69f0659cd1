"""The power flow that seeds a run: closed forms, what is held, and how it says that there is no solution."""

import numpy as np
import pytest
from scipy.sparse import csc_matrix

import case_a
from gridloop.simulators.models.network import admittance_matrix
from gridloop.simulators.models.powerflow import PowerFlowError, Targets, power_flow

NONE = np.array([], int)
SLACK = np.array([0])


def line(z_pu: complex, tap: complex = 1.0):
    """Admittance matrix of two buses and a line behind a transformer at the first."""
    y = 1 / z_pu
    return csc_matrix([[y / abs(tap) ** 2, -y / np.conj(tap)], [-y / tap, y]])


def load(s_pu: complex, v_start: complex = 1.0) -> Targets:
    return Targets(np.array([0, -s_pu]), np.array([v_start, 1.0]), SLACK, NONE)


@pytest.mark.parametrize(("p", "q"), [(0, 0), (0.5, 0.2), (1.0, -0.3), (-0.8, 0.1), (2.4, 0)])
def test_two_buses_by_hand(p, q):
    # over a reactance X from 1 pu: V^4 - (1 - 2 Q X) V^2 + X^2 (P^2 + Q^2) = 0, and V sin(delta) = -P X
    x = 0.2
    half = 0.5 - q * x
    v = np.sqrt(half + np.sqrt(half**2 - x**2 * (p**2 + q**2)))
    found = power_flow(line(1j * x), load(p + 1j * q))
    assert np.abs(found) == pytest.approx([1.0, v], abs=1e-11)
    assert np.angle(found[1]) == pytest.approx(-np.arcsin(p * x / v), abs=1e-11)


def test_reference_keeps_its_angle():
    turned = power_flow(line(0.01 + 0.1j), load(0.5 + 0.1j, v_start=1.02 * np.exp(2j)))
    plain = power_flow(line(0.01 + 0.1j), load(0.5 + 0.1j, v_start=1.02))
    assert turned == pytest.approx(plain * np.exp(2j), abs=1e-12)


@pytest.mark.parametrize("shift_deg", [0, 30, 150, -90, 180])
def test_shift_of_a_transformer_is_known_from_the_start(shift_deg):
    # the load end lags by the shift: V2 turned back is that without it
    shifted = power_flow(line(0.1j, np.exp(1j * np.radians(shift_deg))), load(0.9 + 0.3j))
    plain = power_flow(line(0.1j), load(0.9 + 0.3j))
    assert shifted[1] * np.exp(1j * np.radians(shift_deg)) == pytest.approx(plain[1], abs=1e-11)


def test_held_magnitude_and_power():
    # P = V1 V2 sin(d) / X = 0.6 with V1 = 1, V2 = 1.03, X = 0.2
    targets = Targets(np.array([0, 0.6 + 0j]), np.array([1, 1.03 + 0j]), SLACK, np.array([1]))
    v = power_flow(line(0.2j), targets)
    assert np.abs(v[1]) == pytest.approx(1.03, abs=1e-12)
    assert np.angle(v[1]) == pytest.approx(np.arcsin(0.6 * 0.2 / 1.03), abs=1e-11)


def test_two_references_leave_nothing_to_solve():
    targets = Targets(np.zeros(2, complex), np.array([1.0, 0.98j]), np.array([0, 1]), NONE)
    assert power_flow(line(0.1j), targets) == pytest.approx([1.0, 0.98j])


def test_injections_of_case9_are_as_given():
    net, v = case_a.case9(), case_a.case9_voltages()
    s = v * (admittance_matrix(net.network, net.network.closed) @ v).conj()
    assert s[[4, 6, 8]] == pytest.approx([-0.9 - 0.3j, -1.0 - 0.35j, -1.25 - 0.5j], abs=1e-11)
    assert s[[3, 5, 7]] == pytest.approx(np.zeros(3), abs=1e-11)
    assert s.real[[1, 2]] == pytest.approx([1.63, 0.85], abs=1e-11)
    assert np.abs(v[:3]) == pytest.approx(np.abs(net.generators.v_pu), abs=1e-15)


def test_newtons_method_doubles_the_digits_in_every_iteration():
    # 0.1, 0.01, 1e-4, 1e-8, 1e-16: what takes more has a wrong derivative
    targets = load(1.5 + 0.5j)
    slow = power_flow(line(0.2j), targets)
    assert power_flow(line(0.2j), targets, most_iterations=7) == pytest.approx(slow, abs=1e-13)
    with pytest.raises(PowerFlowError):
        power_flow(line(0.2j), targets, most_iterations=2)


@pytest.mark.parametrize("p", [2.6, 5.0, 50.0])
def test_load_beyond_the_largest_transfer_is_named(p):
    # 1/(2 X) = 2.5 pu at unity power factor
    with pytest.raises(PowerFlowError, match="does not converge") as raised:
        power_flow(line(0.2j), load(p))
    assert raised.value.bus == 1


def test_what_is_given_is_not_changed():
    targets = load(0.5 + 0.1j, v_start=1.02)
    y = line(0.1j)
    kept = [np.array(field) for field in (targets.s_injected, targets.v_start)]
    power_flow(y, targets)
    assert np.array_equal(targets.s_injected, kept[0])
    assert np.array_equal(targets.v_start, kept[1])
    assert (y != line(0.1j)).nnz == 0
