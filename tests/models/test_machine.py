"""The classical machine against its swing equation."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gridloop.simulators.models.machine import Inputs, Params, Slopes, State, advance, align, held, initial, respond
from gridloop.simulators.models.machine_terminal import growth_per_s, terminal_voltage
from gridloop.simulators.models.parameters import ParameterError

W0 = 2 * np.pi * 60
TWO = Params(
    s_rated_kva=[100e3, 50e3], h_s=[3, 5], x_pu=[0.2, 0.3], damping_pu=[2, 0], p_set_kw=[60e3, 20e3], s_base_mva=100,
    f_nom_hz=60,
)  # fmt: skip
V0 = np.array([1.01 * np.exp(0.2j), 0.98 * np.exp(-0.4j)])
STATE = State(np.array([0.4, -0.1]), np.array([0.001, -0.002]), np.array([1.1, 1.05]))
GROWTH = np.array([-0.3 + 2.0j, 0.1 - 1.5j])  # of ln V


def inputs(p: Params, v=V0, s=1.0) -> Inputs:
    return held(p)._replace(v_pu=v, s_pu=np.full(len(v), s + 0j))


def slopes_of(growth, v, dt_s: float) -> Slopes:
    """The chord behind, as the wrapper forms it."""
    return Slopes(np.zeros(len(v), complex), v * (1 - np.exp(-growth * dt_s)) / dt_s)


def reference(p: Params, s: State, row: int, dt_s: float, growth=GROWTH):
    own = 100e3 / p.s_rated_kva[row]

    def rates(t, y):
        v = V0[row] * np.exp(growth[row] * t)
        p_e = s.e_pu[row] * abs(v) / p.x_pu[row] * np.sin(y[0] - np.angle(v))
        p_m = p.p_set_kw[row] / 100e3 * own
        return [W0 * y[1], (p_m - p_e - p.damping_pu[row] * y[1]) / (2 * p.h_s[row])]

    return solve_ivp(rates, (0, dt_s), [s.delta_rad[row], s.slip_pu[row]], rtol=1e-12, atol=1e-14).y[:, -1]


@pytest.mark.parametrize("dt_s", [0.001, 0.005, 0.0123])
def test_one_step_solves_the_swing_equation(dt_s):
    found = advance(TWO, STATE, inputs(TWO), slopes_of(GROWTH, V0, dt_s), dt_s)
    for row in (0, 1):
        delta, slip = reference(TWO, STATE, row, dt_s)
        # w_n = 18 rad/s at most: (w_n h)^5 / 120 = 5e-8 of what changes, in steps of 5 ms
        assert found.delta_rad[row] == pytest.approx(delta, abs=1e-7)
        assert found.slip_pu[row] == pytest.approx(slip, abs=1e-9)


def test_swing_frequency_by_hand():
    # against an infinite bus of 1 pu, E = 1.1, x = 0.2, no power: w_n^2 = w0 E V / (2 H x) = 377 * 5.5 / 6
    p = Params(s_rated_kva=100e3, h_s=3, x_pu=0.2, s_base_mva=100, f_nom_hz=60)
    s, u = State(np.array([1e-4]), np.zeros(1), np.array([1.1])), inputs(p, np.ones(1, complex))
    quarter_s = np.pi / 2 / np.sqrt(W0 * 5.5 / 6)
    after = advance(p, s, u, Slopes(np.zeros(1, complex), np.zeros(1, complex)), quarter_s)
    assert after.delta_rad == pytest.approx([0], abs=1e-8)
    assert respond(p, after, u).f_hz == pytest.approx([60 * (1 - 1e-4 * np.sqrt(W0 * 5.5 / 6) / W0)], abs=1e-8)


def test_rest_is_rest():
    z, s = TWO.impedance_pu, np.array([0.6 + 0.1j, 0.2 - 0.05j])
    emf = V0 + z * (s / V0).conj()
    state = initial(TWO, s, emf)
    assert state.slip_pu.tolist() == [0, 0] and respond(TWO, state, held(TWO)).emf_pu == pytest.approx(emf)
    after = advance(TWO, state, held(TWO)._replace(v_pu=V0, s_pu=s), slopes_of(0 * GROWTH, V0, 1), 0.02)
    assert after.delta_rad == pytest.approx(state.delta_rad, abs=1e-12)


def test_common_rotation_at_another_frequency_is_rest_too():
    # rotor, EMF and bus at 60.12 Hz and no damping: the load angle stays
    p = Params(s_rated_kva=100e3, h_s=3, x_pu=0.2, p_set_kw=0, s_base_mva=100, f_nom_hz=60)
    s = State(np.array([0.3]), np.array([0.002]), np.array([1.0]))
    v, turn = np.array([np.exp(0.3j)]), np.array([1j * W0 * 0.002])
    for slopes in (slopes_of(turn, v, 0.01), slopes_of(0 * turn, v, 0.01)):  # known, or nothing is known
        after = advance(p, s, inputs(p, v), slopes, 0.01)
        assert after.slip_pu == pytest.approx([0.002], abs=1e-12)
        assert after.delta_rad == pytest.approx([0.3 + W0 * 0.002 * 0.01])


def test_impedance_is_on_the_system_base():
    assert TWO.impedance_pu == pytest.approx([0.2j, 0.6j])


def test_unconnected_machine_runs_away_with_its_mechanical_power():
    # 2H dw/dt = P_m: 0.4 of the own 50 MVA over 10 s: 0.04/s
    s = advance(TWO, STATE, inputs(TWO, V0, 0), Slopes(0 * V0, 0 * V0), 0.1)
    assert s.slip_pu[1] - STATE.slip_pu[1] == pytest.approx(0.004)


def test_nothing_is_changed_in_place_and_dt_0_is_the_identity():
    u, slopes = inputs(TWO), slopes_of(GROWTH, V0, 0.01)
    before = [np.array(column) for column in (*STATE[:3], *u, *slopes)]
    assert advance(TWO, STATE, u, slopes, 0.0) is STATE
    align(TWO, advance(TWO, STATE, u, slopes, 0.02), u, V0)
    assert all(np.array_equal(a, b) for a, b in zip((*STATE[:3], *u, *slopes), before, strict=True))
    with pytest.raises(ValueError, match="dt_s"):
        advance(TWO, STATE, u, slopes, -0.1)


def test_n_machines_are_n_single_ones():
    both = advance(TWO, STATE, inputs(TWO), slopes_of(GROWTH, V0, 0.01), 0.01)
    for row in (0, 1):
        fields = ("s_rated_kva", "h_s", "x_pu", "damping_pu", "p_set_kw")
        p = Params(**{name: getattr(TWO, name)[row] for name in fields}, s_base_mva=100, f_nom_hz=60)
        v = V0[row : row + 1]
        state = State(STATE.delta_rad[[row]], STATE.slip_pu[[row]], STATE.e_pu[[row]])
        single = advance(p, state, inputs(p, v), slopes_of(GROWTH[row : row + 1], v, 0.01), 0.01)
        assert [both.delta_rad[row], both.slip_pu[row]] == [*single.delta_rad, *single.slip_pu]


def test_unit_off_the_grid_follows_bus_and_frequency():
    # the bus turns at 60.06 Hz; after 60 steps the rotor is at its angle and speed
    s, u, h = STATE, inputs(TWO, 0 * V0, 0), 0.005
    for k in range(60):
        applied = V0 * np.exp(1j * W0 * 0.001 * h * k)
        s = align(TWO, s, u, applied)
        assert respond(TWO, s, u).emf_pu == pytest.approx(applied)
        s = advance(TWO, s, u._replace(p_set_pu=np.zeros(2)), Slopes(0 * V0, 0 * V0), h)
    assert s.slip_pu == pytest.approx(0.001, abs=2e-5)


def test_align_leaves_units_in_charge_alone():
    own = respond(TWO, STATE, held(TWO)).emf_pu
    after = align(TWO, STATE, held(TWO), np.array([own[0], 1.0]))
    assert [column[0] for column in after[:3]] == [column[0] for column in STATE[:3]]
    assert after.e_pu[1] == 1.0 and after.delta_rad[1] == pytest.approx(0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"h_s": 0}, "h_s = 0 must be > 0"),
        ({"x_pu": -0.1}, "x_pu = -0.1 must be > 0"),
        ({"damping_pu": -1}, "damping_pu = -1 must be >= 0"),
        ({"p_set_kw": np.nan}, "p_set_kw = nan must be finite"),
    ],
)
def test_wrong_parameters(given, message):
    with pytest.raises(ParameterError, match=message):
        Params(**({"s_rated_kva": 100, "h_s": 3, "x_pu": 0.2} | given))


# --- what machines have in common ---


def test_terminal_voltage_gives_the_power():
    z, s = np.array([0.01 + 0.3j, 0.2j]), np.array([0.8 + 0.3j, -0.1 + 0.02j])
    emf = V0 + z * (s / V0).conj()
    assert terminal_voltage(s, emf, z) == pytest.approx(V0, abs=1e-14)


def test_growth_keeps_the_magnitude_of_a_turning_voltage():
    h = 0.01
    slope = V0 * (1 - np.exp(-1j * np.array([3.0, -2.0]) * h)) / h
    assert growth_per_s(V0, slope, h, np.zeros(2)) == pytest.approx([3j, -2j], abs=1e-12)


def test_growth_of_what_is_not_known_is_that_of_the_rotor():
    # nothing known, a jump of half the voltage, a dead bus
    v, slope = np.array([1.0 + 0j, 1.0, 0.0]), np.array([0j, 50.0, 0])
    assert growth_per_s(v, slope, 0.01, np.array([2.0, 3.0, 4.0])).tolist() == [2j, 3j, 4j]
