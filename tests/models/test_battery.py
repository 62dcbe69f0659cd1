"""Both batteries against hand calculations, published figures and their own ledgers."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp, trapezoid

from gridloop.simulators.device import DeviceSimulator
from gridloop.simulators.models import battery, coulomb_battery
from gridloop.simulators.models.battery import Params, State, held, initial, respond
from gridloop.simulators.models.open_circuit import NMC_V, OpenCircuit
from gridloop.simulators.models.parameters import ParameterError
from ways import WAYS, taken

KWS_PER_MWH = 3.6e6
BOTH = pytest.mark.parametrize("model", [battery, coulomb_battery], ids=["circuit", "coulomb"])
PACK = Params(e_rated_kwh=73.92, soc_init_percent=80)  # one string of 200 cells: 100 Ah, 0.1 and 0.05 ohm, 2000 F
MIXED: dict[str, Any] = {
    "e_rated_kwh": [73.92, 1000.0, 5.0], "soc_init_percent": [80.0, 12.0, 55.0], "soc_max_percent": [90.0, 95.0, 56.0],
    "coulombic_efficiency_percent": [99.0, 100.0, 97.0], "c_rate_per_h": [1.0, 0.5, 3.0],
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything holds for all ways."""
    PACK.compiled_memory.clear()
    with taken(request.param, battery):
        yield


class Course(NamedTuple):
    """What a sequence of powers made of a battery."""

    state: Any
    energy_mwh: Any


def drive(model: Any, p: Any, *powers_kw: tuple[Any, float, int], state: Any = None) -> Course:
    """Draw (power [kW], length of a step [s], steps) one after the other."""
    s = model.initial(p, None, None) if state is None else state
    energy = s.e_gen_mwh
    for power_kw, dt_s, steps in powers_kw:
        for _ in range(steps):
            energy = energy + np.asarray(power_kw) * dt_s / KWS_PER_MWH
            s = model.advance(p, s, model.Inputs(energy), model.Slopes(), dt_s)
    return Course(s, energy)


def residual_kwh(model: Any, p: Any, s: Any) -> Any:
    """What the ledger misses: chemical - terminal - losses - polarisation."""
    shown = model.respond(p, s, model.held(p))
    return 1e3 * (shown.chemical_mwh - shown.terminal_mwh - shown.loss_mwh - getattr(shown, "polarisation_mwh", 0))


def at(soc: float, v1_v: float = 0.0, **given: Any) -> tuple[Params, State]:
    """The test pack at a state of charge."""
    p = Params(**{"e_rated_kwh": 73.92, "soc_init_percent": 50, "soc_min_percent": 0, "soc_max_percent": 100} | given)
    return p, initial(p, None, None)._replace(soc=np.array([soc]), v1_v=np.array([v1_v]))


# --- the circuit by hand and against figures ---


@pytest.mark.parametrize("dt_s", [10.0, 1.0, 0.1])
def test_reference_course(dt_s):
    # +50 kW, -40 kW and rest, 600 s each; the reference solver's figures
    steps = round(600 / dt_s)
    s, _ = drive(battery, PACK, (50.0, dt_s, steps), (-40.0, dt_s, steps), (0.0, dt_s, steps))
    assert s.soc == pytest.approx([0.77576854], abs=2e-8)
    assert s.v1_v == pytest.approx([-0.0062999], abs=5e-8)
    at_terminals_kwh = 1e3 * (s.ledger.chemical - s.ledger.coulombic)
    assert at_terminals_kwh == pytest.approx([1.826615], abs=5e-7)
    assert 1e3 * s.ledger.joule == pytest.approx([0.159949], abs=5e-7)
    # energy-exact: 50 kW - 40 kW over 600 s, at any step
    assert 1e3 * s.ledger.terminal == pytest.approx([10 / 6], abs=1e-12)
    assert abs(s.ledger.unserved) < 1e-15
    assert abs(residual_kwh(battery, PACK, s)) < 1e-12
    assert s.limited.tolist() == [0.0]


def test_coulombic_loss_of_the_reference_course():
    # 1 % of the charge that flows in at 40 kW: 40 kWh/6 at the terminals, a little less behind the resistance
    s, _ = drive(battery, PACK, (50.0, 1.0, 600), (-40.0, 1.0, 600))
    assert 1e3 * s.ledger.coulombic == pytest.approx([0.0660852], abs=5e-7)


def test_chemical_energy_is_that_between_two_states_of_charge():
    # what the ledger sums up equals the integral of the curve times the capacity, by independent quadrature
    s, _ = drive(battery, PACK, (50.0, 10.0, 60), (-30.0, 60.0, 10), (70.0, 100.0, 20))
    soc = np.linspace(s.soc[0], 0.8, 200_001)
    curve = 200 * np.interp(soc, np.linspace(0, 1, 11), NMC_V)
    drawn_kwh = trapezoid(curve, soc) * 100 / 1e3
    assert 1e3 * s.ledger.chemical == pytest.approx([drawn_kwh], rel=1e-8)


def test_constant_power_against_an_independent_solver():
    def right_hand_side(_t: float, y: Any) -> Any:
        soc, v1 = y
        e = 200 * np.interp(soc, np.linspace(0, 1, 11), NMC_V) - v1
        i = (e - np.sqrt(e**2 - 4 * 0.1 * 60e3)) / 0.2
        return -i / 3.6e5, i / 2000 - v1 / 100

    exact = solve_ivp(right_hand_side, (0, 900), (0.8, 0.0), rtol=1e-10, atol=1e-12).y[:, -1]
    errors = []
    for dt_s in (10.0, 5.0):
        s, _ = drive(battery, PACK, (60.0, dt_s, round(900 / dt_s)))
        errors.append(abs(s.v1_v[0] - exact[1]))
        assert s.soc[0] == pytest.approx(exact[0], abs=1e-6)
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.5)  # second order


def test_one_step_by_hand():
    # flat curve, so that 3.7 V * 200 = 740 V; 1 ms is short beside 100 s: v1 stays about 0 and
    # i = (740 - sqrt(740^2 - 4 * 0.1 * 50e3)) / 0.2 = 68.1960 A
    p, s = at(0.5, cell_ocv_v=(3.7, 3.7), e_rated_kwh=74)
    s, _ = drive(battery, p, (50.0, 1e-3, 1), state=s)
    shown = respond(p, s, held(p))
    assert shown.i_a == pytest.approx([68.1960], abs=1e-4)
    assert shown.v_v == pytest.approx([740 - 6.81960], abs=1e-4)
    assert 0.5 - shown.soc == pytest.approx([68.1960e-3 / 3.6e5], rel=1e-5)


def test_rest_lets_the_polarisation_fade():
    p, s = at(0.5, v1_v=3.0)
    s, _ = drive(battery, p, (0.0, 100.0, 1), state=s)  # one time constant
    assert s.v1_v == pytest.approx([3 / np.e])
    assert s.soc == pytest.approx([0.5], abs=1e-15)
    # 2000 F / 2 (3^2 - (3/e)^2) heats R1
    assert 1e3 * s.ledger.joule == pytest.approx([1000 * 9 * (1 - np.exp(-2)) / 3.6e6])


def test_a_pack_of_another_size_behaves_the_same_per_energy():
    small, _ = drive(battery, PACK, (50.0, 10.0, 60))
    p = Params(e_rated_kwh=7392, soc_init_percent=80)
    large, _ = drive(battery, p, (5000.0, 10.0, 60))
    assert p.strings == pytest.approx([100])
    assert large.soc == pytest.approx(small.soc)
    assert large.v1_v == pytest.approx(small.v1_v)
    assert large.ledger.joule == pytest.approx(100 * small.ledger.joule)


def test_power_above_what_the_circuit_can_give_is_cut_and_counted():
    # flat 740 V behind 0.1 ohm, nearly no step: at most 740^2 / 0.4 = 1369 kW
    p, s = at(0.5, cell_ocv_v=(3.7, 3.7), e_rated_kwh=74)
    s, energy = drive(battery, p, (2000.0, 1e-3, 1), state=s)
    given_kw = s.ledger.terminal * KWS_PER_MWH / 1e-3
    assert given_kw == pytest.approx([1369], rel=1e-5)
    assert s.ledger.unserved == pytest.approx(energy - s.ledger.terminal)
    assert s.limited.tolist() == [1.0]


# --- limits for the inverter ---


def test_limits_by_hand():
    # SOC 0.5: 732 V; 100 A: (732 - 10) 100 = 72.2 kW out, (732 + 10) 100 = 74.2 kW in
    p, s = at(0.5)
    low, high = battery.power_limits_w(p, s)
    assert [*low, *high] == pytest.approx([-74.2e3, 72.2e3])


def test_terminal_voltage_limits_the_power():
    # SOC 0.5: 732 V; down to 730 V are 20 A: 730 * 20; up to 735 V 30 A: 735 * 30
    p, s = at(0.5, cell_v_min_v=3.65, cell_v_max_v=3.675)
    low, high = battery.power_limits_w(p, s)
    assert [*low, *high] == pytest.approx([-735 * 30, 730 * 20])
    # with v1 = 5 V the pack is below the lower limit already
    low, high = battery.power_limits_w(p, s._replace(v1_v=np.array([5.0])))
    assert [*low, *high] == pytest.approx([-(735 - 727) / 0.1 * 735, 0])


@BOTH
def test_limits_fall_to_zero_over_the_last_two_percent(model):
    p = model.Params(e_rated_kwh=np.full(6, 100.0), soc_init_percent=[10, 11, 12, 88, 89, 90])
    shown = model.respond(p, model.initial(p, None, None), model.held(p))
    whole = model.Params(e_rated_kwh=np.full(6, 100.0), soc_init_percent=p.soc_init_percent,
                         soc_min_percent=0, soc_max_percent=100)  # fmt: skip
    free = model.respond(whole, model.initial(whole, None, None), model.held(whole))
    assert shown.p_max_mw / free.p_max_mw == pytest.approx([0, 0.5, 1, 1, 1, 1])
    assert shown.p_min_mw / free.p_min_mw == pytest.approx([1, 1, 1, 1, 0.5, 0])


@BOTH
@pytest.mark.parametrize(("power_kw", "end"), [(30.0, 0.1), (-30.0, 0.9)])
def test_the_pack_cuts_off_at_the_end_of_its_window(model, power_kw, end):
    p = model.Params(e_rated_kwh=73.92, soc_init_percent=50)
    s, energy = drive(model, p, (power_kw, 60.0, 120))  # 60 kWh, where 29.6 fit
    assert s.soc == pytest.approx([end], abs=1e-15)
    shown = model.respond(p, s, model.held(p))
    assert shown.limited.tolist() == [1.0]
    assert shown.unserved_mwh == pytest.approx(energy - shown.terminal_mwh)
    assert abs(shown.unserved_mwh[0]) > 0.025
    assert abs(residual_kwh(model, p, s)) < 1e-12
    # the other way is open
    s, _ = drive(model, p, (-power_kw / 10, 60.0, 1), state=s)
    assert abs(s.soc[0] - end) > 1e-4 and s.limited.tolist() == [0.0]


@BOTH
@pytest.mark.parametrize("power_kw", [30.0, -30.0])
def test_a_cut_within_a_long_step_is_flagged(model, power_kw):
    # within the limits at the start of the step; its 60 kWh do not fit
    p = model.Params(e_rated_kwh=73.92, soc_init_percent=50)
    s, _ = drive(model, p, (power_kw, 7200.0, 1))
    assert s.limited.tolist() == [1.0]
    assert s.soc == pytest.approx([0.1 if power_kw > 0 else 0.9], abs=1e-15)
    assert drive(model, p, (power_kw, 1800.0, 1)).state.limited.tolist() == [0.0]


@BOTH
def test_power_beyond_the_limits_is_drawn_and_flagged(model):
    # 1 C of 73.92 kWh is about 72 kW
    p = model.Params(e_rated_kwh=73.92, soc_init_percent=50)
    s, energy = drive(model, p, (100.0, 1.0, 1))
    assert model.respond(p, s, model.held(p)).terminal_mwh == pytest.approx(energy, rel=1e-12)
    assert s.limited.tolist() == [1.0]
    assert drive(model, p, (60.0, 1.0, 1)).state.limited.tolist() == [0.0]


# --- counting charge ---


@pytest.mark.parametrize("dt_s", [360.0, 0.5])
def test_counting_charge_at_1c(dt_s):
    p = coulomb_battery.Params(e_rated_kwh=73.92, soc_init_percent=80)
    s, _ = drive(coulomb_battery, p, (73.92, dt_s, round(360 / dt_s)))
    assert s.soc == pytest.approx([0.7], abs=1e-12)


def test_counting_charge_there_and_back_loses_one_percent():
    p = coulomb_battery.Params(e_rated_kwh=100, soc_init_percent=50)
    s, _ = drive(coulomb_battery, p, (20.0, 900.0, 4), (-20.0, 900.0, 4))
    assert s.soc == pytest.approx([0.5 - 0.2 * 0.01])
    assert s.coulombic_mwh == pytest.approx([0.0002])


# --- the contract of device models ---


@BOTH
def test_no_time_changes_nothing(model):
    p = model.Params(**MIXED)
    s, _ = drive(model, p, ([3.0, -20.0, 0.1], 1.0, 3))
    assert model.advance(p, s, model.Inputs(s.e_gen_mwh + 1e-3), model.Slopes(), 0.0) is s
    with pytest.raises(ValueError, match="dt_s = -1"):
        model.advance(p, s, model.held(p), model.Slopes(), -1.0)


@BOTH
def test_several_packs_are_as_many_single_ones(model):
    powers_kw, dt_s = np.array([3.0, -300.0, 4.0]), 30.0
    together, _ = drive(model, model.Params(**MIXED), (powers_kw, dt_s, 40))
    for row, power_kw in enumerate(powers_kw):
        p = model.Params(**{name: values[row] for name, values in MIXED.items()})
        alone, _ = drive(model, p, (power_kw, dt_s, 40))
        for one, of_many in zip(_flat(alone), _flat(together), strict=True):
            assert one[0] == pytest.approx(of_many[row], rel=1e-12, abs=1e-17)


def _flat(state: Any) -> list[Any]:
    return [value for part in state for value in (part if isinstance(part, battery.Ledger) else [part])]


@BOTH
def test_arguments_stay_as_they_are(model):
    p = model.Params(**MIXED)
    s, energy = drive(model, p, ([3.0, -20.0, 0.1], 1.0, 3))
    u = model.Inputs(energy + 1e-5)
    before = [np.array(x) for x in (*_flat(s), *u)]
    model.advance(p, s, u, model.Slopes(), 10.0)
    model.respond(p, s, u)
    assert all(np.array_equal(x, y) for x, y in zip((*_flat(s), *u), before, strict=True))


def test_two_halves_of_a_step_agree_to_second_order():
    # the steps are energy-exact, so that halving them moves the state by the square of their length
    gaps = []
    for dt_s in (60.0, 30.0):
        one, _ = drive(battery, PACK, (50.0, dt_s, 1))
        two, _ = drive(battery, PACK, (50.0, dt_s / 2, 2))
        gaps.append(abs(one.v1_v - two.v1_v)[0])
    assert gaps[0] / gaps[1] > 3.5


@BOTH
@settings(derandomize=True, max_examples=60, deadline=None)
@given(data=st.data())
def test_random_powers_keep_the_window_and_the_ledger(model, data):
    p = model.Params(**MIXED)
    kw = st.lists(st.floats(-3, 3), min_size=3, max_size=3)  # multiples of the rated energy in an hour
    steps = data.draw(
        st.lists(st.tuples(kw, st.sampled_from([0.005, 0.1, 10.0, 900.0, 3600.0])), min_size=1, max_size=12)
    )
    s = model.initial(p, None, None)
    for per_h, dt_s in steps:
        s, energy = drive(model, p, (np.array(per_h) * p.e_rated_kwh, dt_s, 1), state=s)
        low, high = p.soc_window
        assert (s.soc >= low).all() and (s.soc <= high).all()
        shown = model.respond(p, s, model.held(p))
        assert shown.p_max_mw.min() >= 0 and shown.p_max_mw.max() < 1.1 and (shown.p_min_mw <= 0).all()
        assert shown.terminal_mwh + shown.unserved_mwh == pytest.approx(energy, rel=1e-12, abs=1e-15)
        assert (abs(residual_kwh(model, p, s)) < 1e-9).all()


@BOTH
@settings(derandomize=True, max_examples=60, deadline=None)
@given(share=st.floats(0, 1), charges=st.booleans(), soc=st.floats(0.11, 0.89), dt_s=st.sampled_from([0.1, 10.0]))
def test_within_the_limits_everything_is_served(model, share, charges, soc, dt_s):
    p = model.Params(e_rated_kwh=73.92, soc_init_percent=100 * soc)
    shown = model.respond(p, model.initial(p, None, None), model.held(p))
    power_kw = 1e3 * share * (shown.p_min_mw if charges else shown.p_max_mw)
    s, _ = drive(model, p, (power_kw, dt_s, 1))
    assert model.respond(p, s, model.held(p)).unserved_mwh == pytest.approx([0], abs=1e-15)


# --- parameters and ports ---


@BOTH
def test_every_wrong_parameter_is_named(model):
    wrong = {
        "soc_init_percent": 95.0,
        "soc_min_percent": -1.0,
        "c_rate_per_h": 0.0,
        "coulombic_efficiency_percent": 101.0,
    }
    with pytest.raises(ParameterError) as caught:
        model.Params(e_rated_kwh=0.0, **wrong)
    assert {field for _, field, _ in caught.value.violations} == {"e_rated_kwh", *wrong}
    with pytest.raises(ParameterError, match="soc_max_percent = 5 must be > soc_min_percent"):
        model.Params(e_rated_kwh=1, soc_init_percent=50, soc_max_percent=5)


def test_wrong_cells_are_named():
    with pytest.raises(ParameterError, match=r"cell_v_max_v = 2\.5 must be > cell_v_min_v"):
        Params(e_rated_kwh=1, soc_init_percent=50, cell_v_max_v=2.5)
    with pytest.raises(ParameterError, match=r"row 1: cell_ocv_v = 3\.1 must be > 0 and not falling"):
        Params(e_rated_kwh=1, soc_init_percent=50, cell_ocv_v=(3.2, 3.1, 3.3))
    with pytest.raises(ValueError, match="at least"):
        Params(e_rated_kwh=1, soc_init_percent=50, cell_ocv_v=(3.2,))


def test_ports_in_a_simulator():
    # 36 kW from 0.1 s on for 1.9 s of 2 s: the energy of the moment is what counts, not the power of the last step
    simulator = DeviceSimulator(battery.MODEL)
    simulator.init("Battery-0", 1e-3, step_ms=100)
    params = {"e_rated_kwh": 73.92, "soc_init_percent": 80.0}
    zero = np.zeros(1, complex)
    simulator.create(1, "Batterys", ids=["b1"], params=params, s_start_pu=zero, emf_start_pu=zero)
    for time in range(0, 2001, 100):
        energy = 36 / KWS_PER_MWH * max(time / 1000 - 0.1, 0)
        simulator.step(time, {"Batterys": {"E_gen[MWh]": {"Inverters": np.array([energy])}}}, 2001)
    shown = simulator.get_data({"b1": ["SoC[%]", "P_max[MW]", "E_terminal[MWh]"], "Batterys": ["P_min[MW]"]})
    assert shown["b1"]["E_terminal[MWh]"] == pytest.approx(1.9e-5)
    assert shown["b1"]["SoC[%]"] == pytest.approx(80 - 100 * 1.9e-2 / 73.92, abs=2e-3)
    assert 0.07 < shown["b1"]["P_max[MW]"] < 0.08 and -0.08 < shown["Batterys"]["P_min[MW]"][0] < -0.07


# --- the table of the open-circuit voltage ---


@settings(derandomize=True, max_examples=200, deadline=None)
@given(one=st.floats(0, 1), other=st.floats(0, 1))
def test_mean_voltage_of_a_way(one, other):
    cell = OpenCircuit(np.array(NMC_V))
    knots = np.linspace(0, 1, 11)
    low, high = min(one, other), max(one, other)
    corners = np.unique([low, high, *knots[(knots > low) & (knots < high)]])
    voltages = np.interp(corners, knots, NMC_V)
    expected = trapezoid(voltages, corners) / (high - low) if high - low > 1e-6 else voltages[0]
    assert cell.mean(np.array([one]), np.array([other])) == pytest.approx(
        [expected], abs=1e-5 if high - low < 1e-6 else 1e-9
    )
    assert cell.at(np.array([one])) == pytest.approx([np.interp(one, knots, NMC_V)])


def test_mean_voltage_of_a_short_way_over_a_knot_does_not_cancel():
    cell = OpenCircuit(np.array([3.0, 4.0, 4.0]))
    mean = cell.mean(np.array([0.5 - 1e-12]), np.array([0.5 + 1e-12]))
    assert mean == pytest.approx([4 - 0.5e-12], abs=1e-15)
