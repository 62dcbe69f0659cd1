"""The coupling of droop sources and network in a plain loop, against both of them as one set of equations.

Case A0, unless a test says otherwise: start at the power flow, +0.3 + j0.1 pu at bus 5 at 1 s, trip of line
6-7 at 2 s. The printed numbers were found independently of the code under test.
"""

from functools import cache

import numpy as np
import pytest

import case_a
from case_a import LINE_TRIP, LOAD_STEP, RATINGS_PU, power_flow_start
from gridloop.simulators.models import inverter
from gridloop.simulators.models.nodal import observe
from gridloop.simulators.models.solve import solve
from plain_loop import (
    Equations,
    Plant,
    Scheme,
    Start,
    Trace,
    advance,
    at_rest,
    demand_at,
    grid_of,
    reference,
    run,
    tick,
)

EVENTS = (LOAD_STEP, LINE_TRIP)
EARLIER_STEP = (1_002_300, LOAD_STEP[1])  # between two ticks of every step that is tried here
END_US = 4_000_000
STEPS_US = (10_000, 5_000, 2_500)


@cache
def a0_run(scheme: Scheme = "foh", h_us: int = 5_000, events: tuple = EVENTS) -> Trace:
    return run(case_a.plant(), power_flow_start(), h_us, END_US, events, scheme)


@cache
def a0_reference(events: tuple = EVENTS) -> Trace:
    return reference(case_a.plant(), power_flow_start(), range(0, END_US + 1, STEPS_US[-1]), events)


def largest_error(trace: Trace, exact: Trace) -> tuple[float, float]:
    """Over all rows and units: angular frequency [rad/s] and complex power [pu]."""
    exact = exact.rows(trace.t_us)
    return 2 * np.pi * np.abs(trace.f_hz - exact.f_hz).max(), np.abs(trace.s_pu - exact.s_pu).max()


# --- the run itself ---

A0_TABLE = """
      t        f1        f2        f3       P1       P2       P3       Q1       Q2       Q3
1000000 60.000000 60.000000 60.000000  .883829 1.674803  .952529  .346162  .181692  .031913
1020000 59.912097 59.985400 59.953892  .866144 1.692761  .953442  .343392  .194206  .035315
1040000 59.881588 59.969179 59.928866  .831313 1.729091  .954060  .345704  .206594  .039209
1100000 59.913589 59.917981 59.908921  .776920 1.797008  .944131  .352319  .226034  .045927
1200000 59.910698 59.909121 59.912605  .797352 1.776719  .942773  .349536  .221478  .044531
1980000 59.910359 59.910359 59.910359  .794248 1.779402  .943377  .349936  .222202  .044763
2000000 59.910359 59.910359 59.910359  .811661 1.907691  .801060  .394966  .502290  .002226
2100000 59.920922 59.871370 59.959063  .781725 1.821152  .920391  .405485  .478787  .025292
4000000 59.908647 59.908647 59.908647  .795675 1.782256  .945160  .404925  .470390  .027655
"""  # us, Hz, pu
AT_REST_US = (1_000_000, 1_980_000, 2_000_000, 4_000_000)
a0_table = pytest.mark.parametrize(
    "expected",
    [[float(x) for x in line.split()] for line in A0_TABLE.strip().splitlines()[1:]],
    ids=lambda row: f"{row[0] / 1e6}s",
)


def columns(row: Trace):
    return np.concatenate((row.f_hz, row.s_pu.real, row.s_pu.imag))


@a0_table
def test_run_passes_through_the_table(expected):
    # the rows of the events are those just after them: the network has answered, f has not moved yet;
    # at rest the table's last digit counts, in between what an error of second order leaves at 5 ms
    t_us = int(expected[0])
    tolerance = 1e-6 if t_us in AT_REST_US else 1e-3
    assert columns(a0_run().at(t_us)) == pytest.approx(expected[1:], abs=tolerance)


@a0_table
def test_reference_passes_through_the_table(expected):
    # half a unit of the last digit and the 1e-7 that is not yet at rest
    assert columns(a0_reference().at(int(expected[0]))) == pytest.approx(expected[1:], abs=6e-7)


def test_nothing_moves_before_the_first_event():
    start = power_flow_start()
    y = np.concatenate((np.angle(start.emf_pu), start.s_pu.real, start.s_pu.imag))
    # powers are exact to 1e-13 pu, and the filters' corner of 31 rad/s makes rates of them
    assert np.abs(Equations(case_a.plant()).rates(0.0, y)).max() < 31.4 * 1e-13
    before = a0_run().rows(range(0, 1_000_000, 5_000))
    assert before.f_hz == pytest.approx(60.0, abs=1e-11)
    assert before.s_pu - start.s_pu == pytest.approx(0.0, abs=1e-11)


def test_nadirs_on_20_ms_samples():
    after_the_step = a0_run().rows(range(1_000_000, 2_000_000, 20_000))
    assert after_the_step.f_hz.min(axis=0) == pytest.approx([59.88159, 59.90559, 59.90892], abs=2e-3)


@pytest.mark.parametrize(
    ("t_us", "more_pu", "df_hz"), [(1_980_000, 0.317480, -0.0896415), (END_US, 0.323543, -0.0913534)]
)
def test_droop_law_and_shares_by_rating(t_us, more_pu, df_hz):
    # df = -sum dP / (2 pi sum 1/m), sum 1/m = sum S / (k_p w0) = 4.25 / (0.02 * 2 pi 60) = 0.563676 s;
    # more than the 0.3 pu of the load is delivered, because the losses change
    row, stiffness_s = a0_run().at(t_us), 4.25 / (0.02 * 2 * np.pi * 60)
    more = (row.s_pu - power_flow_start().s_pu).real
    assert more.sum() == pytest.approx(more_pu, abs=6e-7)
    assert row.f_hz - 60 == pytest.approx(-more.sum() / (2 * np.pi * stiffness_s), abs=1e-8)
    assert row.f_hz - 60 == pytest.approx(df_hz, abs=6e-8)
    assert more == pytest.approx(more.sum() * RATINGS_PU / RATINGS_PU.sum(), abs=1e-6)


def test_constant_impedance_loads():
    trace = run(case_a.plant(case_a.loads((1, 0, 0))), power_flow_start(), 5_000, END_US, EVENTS)
    for t_us, f_hz, p_pu in (
        (1_980_000, 59.932628, (0.775690, 1.742286, 0.920179)),
        (END_US, 59.958937, (0.753766, 1.698438, 0.892774)),
    ):
        assert trace.at(t_us).f_hz == pytest.approx(f_hz, abs=6e-7)
        assert trace.at(t_us).s_pu.real == pytest.approx(p_pu, abs=6e-7)


@pytest.mark.parametrize(("k_pf", "k_qf", "f_hz"), [(0, 0, 59.910359), (1.5, 1.5, 59.912584), (1.5, 0, 59.912574)])
def test_frequency_dependent_loads(k_pf, k_qf, f_hz):
    plant = case_a.plant(case_a.loads(k_pf=k_pf, k_qf=k_qf))
    last = run(plant, power_flow_start(), 5_000, 6_000_000, [LOAD_STEP]).at(6_000_000)
    assert last.f_hz == pytest.approx(f_hz, abs=6e-7)
    # what the sources lack is what the loads and losses want more:
    # -(dw) sum 1/m = dP_load + P_load k_pf dw/w0 + dP_loss, with P_load = 3.45 after the step of 0.3
    more_loss = _loss(LOAD_STEP[1](plant), last) - _loss(plant, None)
    slope = 4.25 / (0.02 * 2 * np.pi * 60) + k_pf * 3.45 / (2 * np.pi * 60)
    assert last.f_hz - 60 == pytest.approx(-(0.3 + more_loss) / slope / (2 * np.pi), abs=1e-7)


def _loss(plant: Plant, row: Trace | None) -> float:
    """Loss of the branches at a row, or at the power flow."""
    grid = grid_of(plant)
    f_hz, emf = (np.full(3, 60.0), power_flow_start().emf_pu) if row is None else (row.f_hz, row.emf_pu)
    solution = solve(grid.net, demand_at(grid, f_hz), emf, None)
    return float(observe(grid.net, solution.x).loss_pu)


@pytest.mark.parametrize("h_us", STEPS_US)
def test_power_limit_holds_and_the_others_share_by_rating(h_us):
    limited = case_a.plant(p_max_kw=np.array([np.inf, np.inf, 0.9]) * case_a.KW_PER_PU)
    trace = run(limited, power_flow_start(), h_us, 6_000_000, [LOAD_STEP])
    last, more = trace.at(6_000_000), (trace.at(6_000_000).s_pu - power_flow_start().s_pu).real
    assert last.f_hz == pytest.approx(59.893140, abs=6e-7)
    assert last.s_pu.real == pytest.approx([0.808597, 1.808100, 0.9], abs=1e-6)
    assert more[1] / more[0] == pytest.approx(2.0, abs=1e-6)
    # the network itself puts 0.9525 on unit 3 at once, and without its limit that would stay 0.9434;
    # from 0.3 s after the step on it is at most 1 % above
    assert trace.at(1_000_000).s_pu[2].real == pytest.approx(0.952529, abs=1e-6)
    assert trace.s_pu[trace.t_us >= 1_300_000, 2].real.max() < 1.01 * 0.9


def test_lower_power_limit_holds_likewise():
    limited = case_a.plant(p_min_kw=np.array([0.9, -np.inf, -np.inf]) * case_a.KW_PER_PU)
    last = run(limited, power_flow_start(), 5_000, 6_000_000, [LOAD_STEP]).at(6_000_000)
    more = (last.s_pu - power_flow_start().s_pu).real
    assert last.s_pu[0].real == pytest.approx(0.9, abs=1e-6)
    assert more[1] / more[2] == pytest.approx(2.0 / 1.25, abs=1e-6)
    assert np.ptp(last.f_hz) < 1e-6


# --- accuracy of the schemes ---

# Largest error in angular frequency (rad/s) and complex power (pu) on samples of 20 ms, for 10, 5 and 2.5 ms
ERRORS = {
    "jacobi": ((2.2e-1, 8.8e-2, 3.8e-2), (3.2e-2, 1.3e-2, 6.1e-3)),
    "zoh": ((3.9e-2, 1.8e-2, 8.7e-3), (9.1e-3, 4.4e-3, 2.2e-3)),
    "foh": ((1.2e-2, 2.8e-3, 7.0e-4), (1.5e-3, 3.7e-4, 9.4e-5)),
    "foh_without_reset": ((1.3e-1, 5.4e-2, 2.4e-2), (1.1e-2, 5.3e-3, 2.6e-3)),
    "heun": ((2.3e-3, 5.5e-4, 1.4e-4), (3.7e-4, 8.4e-5, 2.0e-5)),
}


@pytest.mark.parametrize("scheme", ERRORS)
def test_errors_of_the_schemes(scheme):
    samples = range(0, END_US + 1, 20_000)
    errors = [largest_error(a0_run(scheme, h).rows(samples), a0_reference()) for h in STEPS_US]
    assert np.transpose(errors) == pytest.approx(np.array(ERRORS[scheme]), rel=0.05)  # two digits are printed


def orders(scheme: Scheme, events=EVENTS):
    errors = np.array([largest_error(a0_run(scheme, h, events), a0_reference(events)) for h in STEPS_US])
    return np.log2(errors[:-1] / errors[1:])


@pytest.mark.parametrize(
    ("scheme", "order", "tolerance"),
    [
        ("foh", 2.0, 0.2),
        ("heun", 2.0, 0.2),
        ("zoh", 1.0, 0.2),
        ("foh_without_reset", 1.04, 0.2),
        ("jacobi", 1.1, 0.3),
    ],
)
def test_order_of_the_schemes(scheme, order, tolerance):
    assert orders(scheme) == pytest.approx(order, abs=tolerance)


@pytest.mark.parametrize(("scheme", "order"), [("foh", 2.0), ("heun", 2.0), ("zoh", 1.0)])
def test_order_is_kept_when_an_event_lies_between_two_ticks(scheme, order):
    assert orders(scheme, (EARLIER_STEP, LINE_TRIP)) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("h_us", STEPS_US)
def test_first_order_hold_without_reset_is_worse_than_zero_order_hold(h_us):
    with_trend = largest_error(a0_run("foh_without_reset", h_us), a0_reference())
    constant = largest_error(a0_run("zoh", h_us), a0_reference())
    assert with_trend[0] > 2 * constant[0]
    assert with_trend[1] > constant[1]


def test_event_between_two_ticks_is_not_moved_to_the_next():
    events = (EARLIER_STEP, LINE_TRIP)
    late = ((1_005_000, LOAD_STEP[1]), LINE_TRIP)
    ticks = range(0, END_US + 1, 5_000)
    assert largest_error(a0_run("foh", 5_000, events), a0_reference(events))[0] < 1.2 * ERRORS["foh"][0][1]
    assert largest_error(a0_run("foh", 5_000, late).rows(ticks), a0_reference(events))[0] > 0.05


@pytest.mark.parametrize("t_us", [LOAD_STEP[0], LINE_TRIP[0]])
def test_constant_power_loads_make_no_spike_at_an_event(t_us):
    # the power at the event is the new network's answer to the old EMFs: as exact as these are
    exact = a0_reference().at(t_us).s_pu
    before = a0_run().at(t_us - 5_000).s_pu
    assert np.abs(exact - before).max() > 0.1
    assert a0_run().at(t_us).s_pu - exact == pytest.approx(0.0, abs=1e-7)
    # one tick later only the held slope of one step is missing, which falls with h^2
    after = [np.abs(a0_run("foh", h).at(t_us + h).s_pu - a0_reference().at(t_us + h).s_pu).max() for h in STEPS_US]
    assert after[0] < 2e-4
    assert after[0] > 3.5 * after[1] > 3.5**2 * after[2]


def test_trend_is_that_of_the_interval_before_and_ends_at_an_event():
    # +0.1 pu in the 2 ms before the last tick are 50 pu/s in the 5 ms after it
    plant, start = case_a.plant(), power_flow_start()
    rising = at_rest(plant, start)._replace(s_before_pu=start.s_pu - 0.1, interval_s=0.002)
    for event, rate in ((False, 50.0), (True, 0.0)):
        own = advance(grid_of(plant), rising._replace(event=event), 0.005, "foh")
        held, slopes = inverter.held(plant.params)._replace(s_pu=start.s_pu), np.full(3, rate + 0j)
        expected = inverter.advance(plant.params, rising.state, held, inverter.Slopes(slopes), 0.005)
        assert own.s_filtered_pu == pytest.approx(expected.s_filtered_pu, abs=1e-12)
        assert own.delta_rad == pytest.approx(expected.delta_rad, abs=1e-12)


# --- stability ---

# k_p in percent, filter in Hz: fastest swing of the plant (1/s) and largest stable step (ms) of the schemes
STEP_LIMITS = {
    (1, 5): (-15.7 + 22.0j, {"jacobi": 34.7, "zoh": 148, "foh": 84, "heun": 134}),
    (2, 5): (-15.7 + 34.9j, {"jacobi": 16.0, "zoh": 61.8, "foh": 40.9, "heun": 83.8}),
    (5, 5): (-15.7 + 58.4j, {"jacobi": 6.0, "zoh": 19.0, "foh": 19.7, "heun": 41.2}),
    (2, 1): (-3.1 + 16.8j, {"jacobi": 14.6, "zoh": 44.9, "foh": 60.0, "heun": 133}),
    (2, 30): (None, {"jacobi": 20.2, "zoh": 53.6, "foh": 36.3, "heun": 52.5}),
    (5, 2): (-6.3 + 37.7j, {"jacobi": 5.8, "zoh": 17.8, "foh": 25.6, "heun": 58.3}),
}


@cache
def settled_start(droop_p_percent: float, filter_hz: float) -> tuple[Plant, Start]:
    plant = case_a.droop_plant(droop_p_percent, filter_hz)
    rest = case_a.settled(plant)
    return plant, Start(rest.solution.s_source, rest.emf_pu)


def jacobian(of, at):
    """By central differences; of(x) is smooth and exact to about 1e-11, so that this is to about 1e-6."""
    nudges = 1e-5 * np.eye(len(at))
    return np.transpose([(of(at + nudge) - of(at - nudge)) / 2e-5 for nudge in nudges])


def growth_per_step(plant: Plant, start: Start, h_s: float, scheme: Scheme) -> float:
    """Spectral radius of one tick around rest, seen from the first unit's angle: the common angle is free."""
    grid = grid_of(plant)
    rest = at_rest(plant, start)
    solution = solve(grid.net, demand_at(grid, rest.sent.f_hz), start.emf_pu, None)
    rest = rest._replace(interval_s=h_s, solution=solution)
    first = rest.state.delta_rad[0]

    def packed(memory):
        turned = memory.state.delta_rad[1:] - memory.state.delta_rad[0]
        powers = (memory.state.s_filtered_pu, memory.s_pu, memory.s_before_pu)
        return np.concatenate((turned, *(s.view(float) for s in powers)))

    def stepped(x):
        delta = first + np.concatenate(([0.0], x[:2]))
        filtered, s_pu, s_before_pu = x[2:].copy().view(complex).reshape(3, 3)
        state = rest.state._replace(delta_rad=delta, s_filtered_pu=filtered)
        memory = rest._replace(state=state, s_pu=s_pu, s_before_pu=s_before_pu)
        return packed(tick(grid, memory, h_s, scheme)[1])

    at = packed(rest)
    assert stepped(at) == pytest.approx(at, abs=1e-9)
    return float(np.abs(np.linalg.eigvals(jacobian(stepped, at))).max())


@pytest.mark.parametrize("scheme", ["jacobi", "zoh", "foh", "heun"])
@pytest.mark.parametrize(("droop_p_percent", "filter_hz"), STEP_LIMITS)
def test_largest_stable_step(droop_p_percent, filter_hz, scheme):
    limit_s = STEP_LIMITS[droop_p_percent, filter_hz][1][scheme] * 1e-3
    growth = [
        growth_per_step(*settled_start(droop_p_percent, filter_hz), share * limit_s, scheme)
        for share in (0.1, 0.5, 0.98, 1.02)
    ]
    assert max(growth[:3]) < 1 < growth[3]


@pytest.mark.parametrize("case", ["A0", "A"])
def test_extra_step_of_delay_diverges_at_20_ms_where_the_sequence_does_not(case):
    plant, start = (case_a.plant(), power_flow_start()) if case == "A0" else settled_start(2, 5)
    swing_hz = {}
    for scheme in ("jacobi", "zoh"):
        trace = run(plant, start, 20_000, END_US, EVENTS, scheme)
        assert np.isfinite(trace.f_hz).all()
        swing_hz[scheme] = [np.ptp(trace.f_hz[trace.t_us > t], axis=0).max() for t in (1_500_000, 3_500_000)]
    assert swing_hz["jacobi"][1] > 1.0
    assert swing_hz["zoh"][1] < 1e-6


def modes(droop_p_percent: float, filter_hz: float):
    """Eigenvalues of the plant at rest as differential equations, seen from the first unit's angle."""
    plant, start = settled_start(droop_p_percent, filter_hz)
    equations = Equations(plant)

    def rates(x):
        rate = equations.rates(0.0, np.concatenate(([0.0], x)))
        return np.concatenate((rate[1:3] - rate[0], rate[3:]))

    delta = np.angle(start.emf_pu)
    at = np.concatenate((delta[1:] - delta[0], start.s_pu.real, start.s_pu.imag))
    assert rates(at) == pytest.approx(np.zeros(8), abs=1e-8)
    return np.linalg.eigvals(jacobian(rates, at))


@pytest.mark.parametrize(
    ("droop_p_percent", "expected"),
    [(5, (-15.71 + 58.38j,)), (2, (-15.71 + 34.86j, -15.82 + 29.16j, -29.82))],
)
def test_modes_of_the_plant(droop_p_percent, expected):
    found = modes(droop_p_percent, 5)
    for mode in expected:
        assert np.abs(found - mode).min() < 0.008  # half a unit of the last digit in either part


@pytest.mark.parametrize(("droop_p_percent", "filter_hz"), STEP_LIMITS)
def test_fastest_swing_of_the_plant(droop_p_percent, filter_hz):
    found, expected = modes(droop_p_percent, filter_hz), STEP_LIMITS[droop_p_percent, filter_hz][0]
    if expected is None:
        assert np.abs(found.imag).max() < 1e-3
    else:
        assert found[found.imag.argmax()] == pytest.approx(expected, abs=0.08)


def test_ratings_and_droop_of_the_case():
    params: inverter.Params = case_a.plant().params
    assert params.droop_p_rad_per_s_pu == pytest.approx([7.539822, 3.769911, 6.031858], abs=6e-7)
    assert params.droop_q_pu == pytest.approx([0.05, 0.025, 0.04], rel=1e-12)
    assert params.corner_rad_per_s == pytest.approx(31.41593, abs=6e-6)
