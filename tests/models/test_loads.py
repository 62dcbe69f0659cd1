"""Loads and injections by themselves: what they draw at a voltage, and how that changes."""

from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models.loads import (
    V_CEASE_PU,
    V_RELIEF_PU,
    Demand,
    current_derivatives,
    demand,
    power,
    relief,
    with_injections,
)

CONSTANT_Z, CONSTANT_I, CONSTANT_P, MIXED = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 0.3, 0.5)
kinds = pytest.mark.parametrize("zip_shares", [CONSTANT_Z, CONSTANT_I, CONSTANT_P, MIXED])
ONE: Any = np.ones(3, complex)


def voltage_law(zip_shares: Any) -> Demand:
    return demand(case_a.loads(zip_shares)._replace(v0_pu=np.array([0.95, 1.0, 1.05])))


def injections(s_pu: Any, i_max_pu: Any) -> Demand:
    """Units alone, without a load."""
    none = demand(case_a.loads().at(np.array([], int)))
    return with_injections(none, np.array(s_pu, complex), np.array(i_max_pu, float))


def slopes(need: Demand, v: Any, direction: complex, step: float = 1e-6) -> Any:
    """Central difference of the current that is injected into the bus."""
    ahead, behind = v + step * direction, v - step * direction
    return (-(power(need, ahead) / ahead).conj() + (power(need, behind) / behind).conj()) / (2 * step)


# --- loads ---


def test_load_by_hand() -> None:
    # u = 0.95/1.05 = 0.904762; 1.25 (0.2 u^2 + 0.3 u + 0.5) (1 - 0.01 * 1.5) = 1.1514
    loads = case_a.loads(MIXED, k_pf=1.5, k_qf=-2.0)._replace(v0_pu=np.full(3, 1.05))
    u = 0.95 / 1.05
    shape = 0.2 * u**2 + 0.3 * u + 0.5
    s = power(demand(loads, -0.01), np.array(0.95 * np.exp(1j * np.array([0.0, 1.0, 2.0])), complex))
    assert s[2] == pytest.approx(1.25 * shape * 0.985 + 0.5j * shape * 1.02, rel=1e-14)
    assert s[2].real == pytest.approx(1.1514, abs=5e-5)


def test_every_load_may_have_a_frequency_of_its_own() -> None:
    loads = case_a.loads(MIXED, k_pf=1.5, k_qf=-2.0)
    together = power(demand(loads, np.array([-0.01, 0.0, 0.02])), ONE)
    for row, df_pu in enumerate((-0.01, 0.0, 0.02)):
        assert together[row] == power(demand(loads, df_pu), ONE)[row]


def test_constant_power_is_relieved_to_an_impedance_below_0_7_pu() -> None:
    # (0.35 / 0.7)^2 = 1/4: below 0.7 pu P / V^2 keeps the value that it has there
    assert relief(np.array([1.2, 0.7, 0.35])) == pytest.approx([1.0, 1.0, 0.25])
    low, edge = (power(voltage_law(CONSTANT_P), v * ONE) for v in (0.2, V_RELIEF_PU))
    assert low / 0.2**2 == pytest.approx(edge / V_RELIEF_PU**2)


@kinds
def test_load_is_continuous_at_0_7_pu(zip_shares: Any) -> None:
    below, above = (power(voltage_law(zip_shares), (V_RELIEF_PU + side) * ONE) for side in (-1e-12, 1e-12))
    assert above == pytest.approx(below, abs=1e-11)


@kinds
@pytest.mark.parametrize("v_abs", [0.3, 0.69, 0.71, 1.05])
def test_derivatives_of_the_load_current(zip_shares: Any, v_abs: float) -> None:
    # central differences of 1e-6 pu in each direction: dI = a dV + b conj(dV)
    need = voltage_law(zip_shares)
    v = np.array(v_abs * np.exp(1j * np.array([0.2, -1.0, 3.0])), complex)
    a, b = current_derivatives(need, v)
    for direction in (1, 1j, np.exp(0.7j)):
        assert slopes(need, v, direction) == pytest.approx(a * direction + b * np.conj(direction), abs=1e-8)


# --- injections with a current limit ---


@pytest.mark.parametrize(
    ("v_abs", "expected"),
    [
        # 0.8 + 0.6j pu with 1.25 pu of current: full power down to 1/1.25 = 0.8 pu, then 1.25 V, then 12.5 V^2
        (1.0, 1.0), (0.81, 1.0), (0.8, 1.0), (0.4, 0.5), (0.1, 0.125), (0.05, 0.03125), (0.001, 1.25e-5),
    ],
)  # fmt: skip
def test_unit_gives_its_power_or_its_largest_current(v_abs: float, expected: float) -> None:
    v = np.array([v_abs * np.exp(0.4j)])
    given = -power(injections([0.8 + 0.6j], [1.25]), v)[0]
    assert abs(given) == pytest.approx(expected, rel=1e-12)
    assert np.angle(given) == pytest.approx(np.arctan2(0.6, 0.8), abs=1e-12), "the power factor is kept"
    assert abs(given) / v_abs <= 1.25 * (1 + 1e-12)


def test_unit_without_a_limit_is_relieved_as_a_load_is() -> None:
    for v_abs in (1.0, 0.7, 0.35):
        given = -power(injections([0.8 - 0.6j], [np.inf]), np.array([v_abs + 0j]))[0]
        assert given == pytest.approx((0.8 - 0.6j) * relief(np.array([v_abs]))[0], rel=1e-12)


def test_unit_that_asks_for_nothing_gives_nothing_at_any_voltage() -> None:
    need = injections([0.0, 0.0], [1.0, np.inf])
    for v_abs in (1.0, 0.5, 1e-3):
        v = np.full(2, v_abs + 0j)
        assert (power(need, v) == 0).all()
        assert np.isfinite(np.concatenate(current_derivatives(need, v))).all()


@pytest.mark.parametrize("edge", [0.8, V_CEASE_PU])
def test_limit_is_continuous_where_it_begins_and_ends(edge: float) -> None:
    need = injections([0.8 + 0.6j], [1.25])
    below, above = (power(need, np.array([edge + side + 0j])) for side in (-1e-12, 1e-12))
    assert above == pytest.approx(below, abs=1e-10)


@pytest.mark.parametrize("v_abs", [1.0, 0.81, 0.79, 0.3, 0.11, 0.09, 0.02])
@pytest.mark.parametrize("i_max", [1.25, np.inf])
def test_derivatives_of_the_injected_current(v_abs: float, i_max: float) -> None:
    need = injections([0.8 + 0.6j, -0.5 + 0.1j], [i_max, 0.5])
    v = np.array(v_abs * np.exp(1j * np.array([0.2, -1.0])), complex)
    a, b = current_derivatives(need, v)
    for direction in (1, 1j, np.exp(0.7j)):
        expected = slopes(need, v, direction, 1e-7)
        assert a * direction + b * np.conj(direction) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_loads_stand_before_the_units_and_keep_their_law() -> None:
    loads = voltage_law(MIXED)
    both = with_injections(loads, np.array([0.3 + 0.1j]), np.array([1.0]))
    v = np.array([0.9, 0.6, 1.0, 0.95]) * np.exp(1j * np.arange(4))
    assert power(both, v)[:3] == pytest.approx(power(loads, v[:3]), abs=1e-15)
    assert power(both, v)[3] == pytest.approx(-0.3 - 0.1j)
    assert loads.fixed and not both.fixed
