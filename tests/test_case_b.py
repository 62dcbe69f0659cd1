"""Case B, battery inverter, diesel set and PV inverter on case9, as scenarios on mosaik; and three classical machines.

The printed numbers were found independently of the code under test. Where only the state at rest is looked at the runs
take steps of 10 ms and end when it is reached: the coupling leaves no error there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import case_a
import case_b
from case_b import RATINGS_PU, UNITS, line_trip, load_step, scenario
from gridloop.scenarios import Result, load, run
from gridloop.scenarios.start import plan

HALF_DIGIT = 6e-7  # of six printed ones, and what is not yet at rest
PV_DROP = {"t_s": 6, "do": "set", "path": "units.pv.p_set_kw", "value": 60000}
Runner = Callable[..., "Series"]


class Series:
    """Frequencies (T, n) and powers (T, n) pu of a result's units, with the times in microseconds."""

    def __init__(self, result: Result, units: tuple[str, ...] = UNITS) -> None:
        self.result = result
        self.t_us = np.round(result.series(units[0], "f[Hz]")[0] * 1e6).astype(int)
        self.f_hz, p, q = (
            np.stack([result.series(unit, attr)[1] for unit in units], axis=1)
            for attr in ("f[Hz]", "P_gen[MW]", "Q_gen[MVar]")
        )
        self.s_pu = (p + 1j * q) / 100

    def row(self, t_s: float) -> int:
        """Of one tick."""
        (row,) = np.flatnonzero(self.t_us == round(t_s * 1e6))
        return int(row)

    def rows(self, t_us: Any) -> Any:
        """Of ticks that all exist."""
        rows = np.searchsorted(self.t_us, t_us)
        assert np.array_equal(self.t_us[rows], t_us)
        return rows

    def nadirs(self) -> list[tuple[float, float]]:
        """Lowest frequency of every unit, every step sampled, and its time."""
        return [(self.f_hz[:, k].min(), self.t_us[self.f_hz[:, k].argmin()] * 1e-6) for k in range(self.f_hz.shape[1])]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    def series(given: dict[str, Any], units: tuple[str, ...] = UNITS) -> Series:
        return Series(run(load(given), folder=tmp_path_factory.mktemp("run")), units)

    return series


# --- B1: the PV inverter forms the grid ---


@pytest.fixture(scope="module")
def b1_transient(runner: Runner) -> Series:
    return runner(scenario([load_step(1)], step_ms=2.5, until_s=1.5))


@pytest.fixture(scope="module")
def b1_rest(runner: Runner) -> Series:
    return runner(scenario([load_step(1)], step_ms=10, until_s=20))


def test_b1_start():
    groups = {group.name: group for group in plan(load(scenario([load_step(1)]))).groups}
    emf = {unit: value for group in groups.values() for unit, value in zip(group.ids, group.emf_start_pu, strict=True)}
    for unit, size, degrees in (
        ("batt", 1.033606897, 3.858148), ("diesel", 1.052299087, 22.907126), ("pv", 1.007902011, 8.660370),
    ):  # fmt: skip
        assert abs(emf[unit]) == pytest.approx(size, abs=1e-9)
        assert np.degrees(np.angle(emf[unit])) == pytest.approx(degrees, abs=6e-7)
    assert groups["Diesel"].params.v_set_pu == pytest.approx([1.0], abs=1e-12)  # of the terminal, not of the EMF
    assert groups["Diesel"].z_pu == pytest.approx([(0.0036 + 0.296j) / 2])


def test_b1_nothing_moves_before_the_step(b1_transient: Series):
    before = b1_transient.t_us < 1_000_000
    assert np.abs(b1_transient.f_hz[before] - 60).max() < 1e-9
    assert np.ptp(b1_transient.s_pu[before].real, axis=0).max() < 1e-9
    assert np.ptp(b1_transient.s_pu[before].imag, axis=0).max() < 1e-9


def test_b1_just_after_the_step(b1_transient: Series):
    p = b1_transient.s_pu[b1_transient.row(1.0)].real
    assert p == pytest.approx([0.871177, 1.673667, 0.968814], abs=HALF_DIGIT)


def test_b1_half_a_second_later(b1_transient: Series):
    # [R] to 1e-3 at 5 ms; at 2.5 ms the error is a quarter of that
    row = b1_transient.row(1.5)
    assert b1_transient.f_hz[row, :2] == pytest.approx([59.87342, 59.87583], abs=2.5e-4)
    assert b1_transient.s_pu[row].real == pytest.approx([0.82476, 1.70957, 0.98155], abs=2.5e-4)


def test_b1_nadirs(b1_transient: Series):
    for found, (f_hz, t_s) in zip(
        b1_transient.nadirs(), ((59.8585, 1.282), (59.8186, 1.162), (59.8599, 1.274)), strict=True
    ):
        assert found[0] == pytest.approx(f_hz, abs=1e-4)
        assert found[1] == pytest.approx(t_s, abs=2.6e-3)


def assert_rest_of_b1(series: Series) -> None:
    s, start = series.s_pu[-1], series.s_pu[0]
    assert series.f_hz[-1] == pytest.approx(59.910034, abs=HALF_DIGIT)
    assert s.real == pytest.approx([0.794519, 1.779943, 0.943715], abs=HALF_DIGIT)
    assert s.imag == pytest.approx([0.334475, 0.268830, 0.043371], abs=HALF_DIGIT)
    volts = [series.result.series(bus, "Vm[pu]")[1][-1] for bus in ("5", "7", "9")]
    assert volts == pytest.approx([0.942667, 0.972477, 0.937516], abs=HALF_DIGIT)
    more = (s - start).real
    assert more / RATINGS_PU == pytest.approx(0.0749717, abs=6e-8)
    # df = -sum dP / (2 pi sum 1/m), sum 1/m = 4.25 / (0.02 * 2 pi 60)
    assert series.f_hz[-1] - 60 == pytest.approx(-more.sum() * 0.02 * 60 / 4.25, abs=1e-8)


def test_b1_at_rest(b1_rest: Series):
    assert_rest_of_b1(b1_rest)


def test_b1_nadirs_hardly_change_with_the_step(b1_rest: Series):
    assert [f for f, _ in b1_rest.nadirs()] == pytest.approx([59.8585, 59.8186, 59.8599], abs=2e-3)


def test_b1_fuel(b1_rest: Series):
    # 162.9 L/h at no load and 0.246 L for each kWh, of 2000 kW here a hundredfold
    t_s, fuel = b1_rest.result.series("diesel", "fuel[L]")
    energy_kwh = np.trapezoid(b1_rest.s_pu[:, 1].real, t_s) * 1e5 / 3600
    assert fuel[-1] == pytest.approx(0.08145 * 2e5 * 20 / 3600 + 0.246 * energy_kwh, rel=1e-5)
    assert b1_rest.result.series("diesel", "underload[min]")[1][-1] == 0


@pytest.mark.study
def test_b1_at_rest_at_the_printed_step(runner: Runner):
    assert_rest_of_b1(runner(scenario([load_step(1)], step_ms=2.5, until_s=40)))


def test_isochronous_diesel_takes_the_step_alone(runner: Runner):
    given = scenario([load_step(1)], step_ms=10, until_s=16)
    given["units"]["diesel"]["droop_p_percent"] = 0
    series = runner(given)
    more = (series.s_pu[-1] - series.s_pu[0]).real
    assert series.f_hz[-1] == pytest.approx(60, abs=2e-4)
    assert more[[0, 2]] == pytest.approx(0, abs=1e-3)
    assert more[1] > 0.3


def test_droop_start_settles_nothing():
    # set-points that do not fit: the units start where their droops let them, and stay there
    given = scenario([], start="droop")
    for unit, p_kw in (("batt", 60000), ("diesel", 150000), ("pv", 80000)):
        given["units"][unit]["p_set_kw"] = p_kw
    found = plan(load(given))
    (diesel,) = [group for group in found.groups if group.name == "Diesel"]
    more = (np.concatenate([group.s_start_pu for group in found.groups]).real - [0.6, 0.8, 1.5]) / [1, 1.25, 2]
    assert np.ptp(more) < 1e-9 and found.f_start_hz == pytest.approx(60 - 0.02 * 60 * more[0], abs=1e-9)
    assert diesel.model is not None
    state = diesel.model.initial(diesel.params, diesel.s_start_pu, diesel.emf_start_pu)
    shown = diesel.model.respond(diesel.params, state, diesel.model.held(diesel.params))
    assert shown.f_hz == pytest.approx([found.f_start_hz], abs=1e-9)
    v = diesel.emf_start_pu - diesel.z_pu * (diesel.s_start_pu / found.case.v_start[1]).conj()
    assert np.abs(v) == pytest.approx(1.0 - 0.05 * diesel.s_start_pu.imag / 2, abs=1e-4)


def test_droop_start_stays_where_it_is(runner: Runner):
    given = scenario([], start="droop", until_s=1)
    for unit, p_kw in (("batt", 60000), ("diesel", 100000), ("pv", 70000)):
        given["units"][unit]["p_set_kw"] = p_kw
    series = runner(given)
    assert series.f_hz[0] == pytest.approx(59.75, abs=0.01)  # 0.9 pu are missing: 2 % of 60 Hz for 0.9/4.25
    assert np.ptp(series.f_hz, axis=0).max() < 1e-8
    assert np.ptp(series.s_pu.real, axis=0).max() < 1e-8


# --- B2: it follows ---


def b2(events: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return scenario(events, case_b.following(), **more)


def test_b2_at_rest(runner: Runner):
    series = runner(b2([load_step(1)], step_ms=10, until_s=14))
    s, start = series.s_pu, [0.719547, 1.63, 0.85]
    assert series.f_hz[-1, :2] == pytest.approx(59.872051, abs=HALF_DIGIT)
    assert s[-1].real == pytest.approx([0.826171, 1.843248, 0.85], abs=HALF_DIGIT)
    assert ((s[-1] - s[0]).real / RATINGS_PU)[:2] == pytest.approx(0.106624, abs=HALF_DIGIT)
    # Q of the PV is 1e-5 from the power flow's: the start is solved with it
    assert np.ptp(s[series.t_us < 1_000_000].real, axis=0).max() < 1e-9
    assert s[0].real == pytest.approx(start, abs=1e-5)


def test_b2_nadirs(runner: Runner):
    (batt, diesel, _) = runner(b2([load_step(1)], step_ms=2.5, until_s=1.5)).nadirs()
    assert batt == pytest.approx((59.7328, 1.27), abs=3e-3) and diesel == pytest.approx((59.6957, 1.16), abs=3e-3)
    assert batt[0] == pytest.approx(59.7328, abs=2e-3) and diesel[0] == pytest.approx(59.6957, abs=2e-3)


def test_b2_trip_and_drop_of_the_pv(runner: Runner):
    series = runner(b2([load_step(1), line_trip(4), PV_DROP], until_s=14))
    at_8 = series.row(8.0)
    assert series.f_hz[at_8, :2] == pytest.approx([59.760045, 59.761367], abs=1e-5)
    assert series.s_pu[at_8].real == pytest.approx([0.919146, 2.004171, 0.6], abs=1e-5)
    assert series.f_hz[-1, 0] == pytest.approx(59.770233, abs=HALF_DIGIT)
    assert series.s_pu[-1].real == pytest.approx([0.911019, 2.012937, 0.6], abs=HALF_DIGIT)


# --- accuracy ---

SAMPLE_US = 20_000


def errors(series: Series, exact: case_b.Exact) -> tuple[float, float]:
    """Largest of angular frequency [rad/s] and active power [pu]."""
    rows = series.rows(exact.t_us)
    omega = 2 * np.pi * (series.f_hz[rows] - 60)
    p = series.s_pu[rows].real
    return np.abs(omega - exact.omega_rad_per_s).max(), np.abs(p - exact.s_pu.real).max()


def assert_second_order(runner: Runner, step_s: float, trip_s: float, end_s: float) -> None:
    exact = case_b.reference(range(0, round(end_s * 1e6) + 1, SAMPLE_US), step_s, trip_s)
    events = [load_step(step_s), line_trip(trip_s)]
    found = np.array([
        errors(runner(scenario(events, step_ms=h, until_s=end_s)), exact) for h in (10, 5, 2.5)
    ])  # fmt: skip
    assert np.log2(found[:-1] / found[1:]) == pytest.approx(2.0, abs=0.2)
    assert (found[1] < 2 * np.array([4.7e-3, 6.1e-4])).all()  # what the independent prototype left at 5 ms


def test_order_2_with_the_dead_time(runner: Runner):
    assert_second_order(runner, 0.1, 0.7, 1.4)


@pytest.mark.study
def test_order_2_over_8_s(runner: Runner):
    assert_second_order(runner, 1.0, 4.0, 8.0)


def test_rest_and_reference_agree_at_the_start():
    # the independent equations stand still at the models' start
    equations = case_b.Equations()
    net = case_a.case9()
    network = case_b.Network(net.network.closed, net.loads.s_pu, equations.z)
    assert np.abs(equations.rates(equations.y0, network, equations.y0[16])).max() < 1e-9
    assert equations.v_ref == pytest.approx(1.008327, abs=HALF_DIGIT)


# --- three classical machines ---

MACHINES = {"g1": (1, 23.64, 0.0608, 2), "g2": (2, 6.4, 0.1198, 1), "g3": (3, 3.01, 0.1813, 1)}
FREQUENCIES = {
    1.5: (59.857679, 59.873305, 59.862759), 3.0: (59.468991, 59.445122, 59.425550),
    6.0: (58.752092, 58.759377, 58.756161),
}  # fmt: skip


def machines(step_ms: float) -> dict[str, Any]:
    """H, x', D on 100 MVA; load step at 1 s, trip at 2 s."""
    units = {
        name: {"type": "machine", "bus": bus, "s_rated_kva": 100000, "h_s": h, "x_pu": x, "damping_pu": d}
        for name, (bus, h, x, d) in MACHINES.items()
    }
    return scenario([load_step(1), line_trip(2)], step_ms=step_ms, until_s=6) | {"units": units, "defaults": {}}


def test_classical_machines(runner: Runner):
    runs = {h: runner(machines(h), tuple(MACHINES)) for h in (10, 5, 2.5)}
    found = {h: np.array([series.f_hz[series.row(t)] for t in FREQUENCIES]) for h, series in runs.items()}
    expected = np.array(list(FREQUENCIES.values()))
    largest = [np.abs(found[h] - expected).max() for h in (10, 5, 2.5)]
    assert largest == pytest.approx([0.0155, 0.0040, 0.00099], rel=0.03)
    assert np.log2(np.divide(largest[:-1], largest[1:])) == pytest.approx(2, abs=0.05)
    # what is left when the error of second order and most of that of third are taken away
    better = [(4 * found[h / 2] - found[h]) / 3 for h in (10, 5)]
    best = (8 * better[1] - better[0]) / 7
    assert best == pytest.approx(expected, abs=1.5e-5)
    assert np.abs(runs[5].f_hz[runs[5].t_us < 1_000_000] - 60).max() < 1e-9
