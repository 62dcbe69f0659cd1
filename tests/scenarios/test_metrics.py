"""Figures of a run: series made by hand with calculations by hand, and a short run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.scenarios import Metric, Result, load, open_run, run
from gridloop.scenarios.ledger import network_account
from gridloop.scenarios.measure import measure
from gridloop.scenarios.metrics import Series, compute, windows
from gridloop.scenarios.result import Window

INF, NAN = float("inf"), float("nan")


def series(t_s: Any, **given: Any) -> Series:
    """Two units of 1 and 3 MVA, two buses, no losses: whatever is not given stands still."""
    rows = len(t_s)

    def held(value: float, columns: int) -> Any:
        return np.full((rows, columns), value)

    fields = {
        "t_s": t_s, "f_hz": held(60, 2), "p_gen_mw": held(0, 2), "q_gen_mvar": held(0, 2), "p_set_mw": held(0, 2),
        "limited": held(0, 2), "s_rated_mva": [1, 3], "q_set_mvar": [0, 0], "v_pu": held(1, 2),
        "v_source_pu": held(1, 2), "p_load_mw": held(0, 1)[:, 0], "p_loss_mw": held(0, 1)[:, 0],
        "p_unserved_mw": held(0, 1)[:, 0], "mismatch_mw": held(0, 1)[:, 0], "iterations": held(1, 1)[:, 0],
        "f_nom_hz": 60.0, "s_base_mva": 10.0, "step_s": 0.005, "island": held(0, 2), "event_s": [],
    } | given  # fmt: skip
    fields.setdefault("p_fed_mw", np.sum(fields["p_gen_mw"], axis=1))
    arrays: dict[str, Any] = {k: v if isinstance(v, float) else np.array(v, float) for k, v in fields.items()}
    return Series(**arrays)


def value(key: str, given: Series, end_s: float | None = None) -> float:
    return compute(given, end_s)[key].value


def both(column: Any) -> Any:
    """The same for both units."""
    return np.stack((column, column), axis=1)


# --- frequency ---


def test_lowest_highest_and_last_frequency() -> None:
    s = series([0, 1, 2], f_hz=[[60, 60.1], [59, 59.8], [59.9, 59.7]])
    assert value("f_nadir", s) == 59
    assert value("f_zenith", s) == 60.1
    # by rating: (1 * 59.9 + 3 * 59.7) / 4
    assert value("f_end", s) == pytest.approx(59.75)


RAMP_S = np.arange(21) * 0.05  # one second
RAMP_HZ = 60 - np.minimum(RAMP_S, 0.2)  # 1 Hz/s for 0.2 s, then flat


def test_fastest_change_of_frequency_over_its_window() -> None:
    s = series(RAMP_S, f_hz=np.stack((np.full(21, 60.0), RAMP_HZ), axis=1))
    assert value("rocof_100ms", s) == pytest.approx(1.0)
    assert value("rocof_500ms", s) == pytest.approx(0.2 / 0.5)  # the ramp lasts 0.2 s only


def test_change_over_a_window_between_two_rows() -> None:
    # rows every 30 ms, and 100 ms lie between: interpolated, a constant slope is found exactly
    t_s = np.arange(40) * 0.03
    assert value("rocof_100ms", series(t_s, f_hz=both(60 + 0.7 * t_s))) == pytest.approx(0.7)


@pytest.mark.parametrize(("length_s", "defined"), [(0.45, False), (0.5, True)])
def test_change_is_undefined_in_a_stretch_shorter_than_its_window(length_s: float, defined: bool) -> None:
    t_s = np.arange(round(length_s / 0.05) + 1) * 0.05
    assert np.isfinite(value("rocof_500ms", series(t_s))) == defined


@pytest.mark.parametrize(
    ("deviation_mhz", "expected"),
    [
        pytest.param([0, 0, 0, 0, 0], 0, id="always inside"),
        pytest.param([0, 30, 30, 10, 0], 3, id="inside from 3 s on"),
        pytest.param([30, 0, -30, 0, 0], 3, id="the last departure counts"),
        pytest.param([0, 0, 0, 0, 30], INF, id="outside at the end"),
        pytest.param([20, 20, 19.9, 0, 0], 2, id="the border is outside"),
    ],
)
def test_settling_time(deviation_mhz: list[float], expected: float) -> None:
    f_hz = 60 + np.array([[0, d] for d in deviation_mhz]) / 1e3
    assert value("f_settling_time", series(range(5), f_hz=f_hz)) == expected


def test_settling_time_counts_from_the_start_of_the_stretch() -> None:
    f_hz = 60 + both(np.array([0, 0, 30, 30, 0, 0])) / 1e3
    assert value("f_settling_time", series(range(6), f_hz=f_hz).rows(2, None)) == 2


def test_deviation_integral_of_the_mean_frequency() -> None:
    # means 0, -0.3, +0.3 Hz: by the trapezoidal rule of the absolute values 0.15 + 0.3
    f_hz = 60 + np.array([[0, 0], [0, -0.4], [0, 0.4]])
    assert value("f_deviation_integral", series([0, 1, 2], f_hz=f_hz)) == pytest.approx(0.45)


def test_disconnected_unit_has_no_frequency() -> None:
    # it runs up to 61 Hz, unseen: unit 1 alone is left with 59.9
    s = series(range(3), f_hz=[[60, 60], [59.9, NAN], [59.9, NAN]])
    assert (value("f_nadir", s), value("f_zenith", s)) == (59.9, 60)
    assert value("f_end", s) == pytest.approx(59.9)
    assert value("f_settling_time", s) == INF
    assert value("f_deviation_integral", s) == pytest.approx(0.05 + 0.1)


def test_frequency_without_any_unit_is_undefined() -> None:
    dark = np.array([60, 60, NAN, NAN])
    s = series(range(4), f_hz=both(dark))
    assert np.isnan(value("f_end", s))
    assert value("f_settling_time", s) == INF
    assert value("f_deviation_integral", s) == 0
    assert not any(key.startswith(("f_", "rocof")) for key in compute(s.rows(2, None)))


# --- sharing ---


def test_sharing_error_is_the_largest_distance_from_the_common_share() -> None:
    # 0.3 on 1 MVA and 0.3 on 3 MVA, together 0.6/4 = 0.15: |0.3 - 0.15| and |0.1 - 0.15|
    # 0.2 and 0.6 are 0.2 of either rating: no error
    s = series([0, 1, 2], p_gen_mw=[[0.2, 0.6], [0.3, 0.3], [0.2, 0.6]])
    assert value("p_sharing_error_max", s) == pytest.approx(0.15)
    assert value("p_sharing_error_end", s) == pytest.approx(0, abs=1e-15)
    assert value("p_sharing_time", s) == 2


def test_sharing_is_of_what_exceeds_the_set_points() -> None:
    s = series([0], p_gen_mw=[[0.7, 0.9]], p_set_mw=[[0.5, 0.3]])  # 0.2 and 0.6 more
    assert value("p_sharing_error_end", s) == pytest.approx(0, abs=1e-15)
    q = series([0], q_gen_mvar=[[0.3, 0.5]], q_set_mvar=[0, 0.2])  # 0.3 and 0.3 more
    assert value("q_sharing_error_end", q) == pytest.approx(0.15)
    assert value("p_sharing_error_end", q) == 0


THREE = {
    "s_rated_mva": [1, 2, 1.25], "q_set_mvar": [0, 0, 0], "f_hz": [[60, 60, 60]], "limited": [[0, 0, 0]],
    "p_gen_mw": [[0.1, 0.2, 0.5]], "q_gen_mvar": [[0, 0, 0]], "p_set_mw": [[0, 0, 0]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "error"),
    [
        # 0.8 MW of 4.25 MVA are a share of 0.188235, the third has 0.4
        pytest.param({}, 0.4 - 0.8 / 4.25, id="all three"),
        # the others have 0.1 each
        pytest.param({"limited": [[0, 0, 1]]}, 0, id="the third at its limit"),
        pytest.param({"f_hz": [[60, 60, NAN]]}, 0, id="the third disconnected"),
        # 0.7 of 3.25 are 0.215385, the third has 0.4
        pytest.param({"limited": [[1, 0, 0]]}, 0.4 - 0.7 / 3.25, id="the first at its limit"),
        pytest.param({"limited": [[1, 1, 1]]}, 0, id="none is free"),
    ],
)
def test_unit_that_is_not_free_shares_nothing(more: dict[str, Any], error: float) -> None:
    s = series([0], **(THREE | more))
    assert value("p_sharing_error_end", s) == pytest.approx(error, abs=1e-15)


@pytest.mark.parametrize(("last", "expected"), [(0.0099, 1), (0.0101, INF)])
def test_sharing_time_is_that_to_stay_below_one_percent(last: float, expected: float) -> None:
    # equal ratings: the error is half the difference of the shares
    p_gen = [[0.5 + e, 0.5 - e] for e in (0.02, 0.005, last)]
    s = series([0, 1, 2], s_rated_mva=[1, 1], p_gen_mw=p_gen)
    assert value("p_sharing_time", s) == expected


# --- voltage ---


def test_voltages_of_buses_without_supply_do_not_count() -> None:
    s = series([0, 1], v_pu=[[1.02, 0.97], [1.01, NAN]], v_source_pu=[[1.02], [1.04]])
    assert (value("v_min", s), value("v_max", s)) == (0.97, 1.02)
    assert value("v_rms_deviation", s) == pytest.approx(np.sqrt((0.02**2 + 0.03**2 + 0.01**2) / 3))
    assert value("v_source_rms_deviation", s) == pytest.approx(np.sqrt((0.02**2 + 0.04**2) / 2))


def test_time_outside_the_voltage_bands() -> None:
    # 6 % low from 60 s to 180 s, 11 % high from 120 s to 180 s, steps at events; the dead bus is no violation
    t_s = np.arange(6) * 60.0
    v = np.array([[1, 1], [0.94, 1], [0.94, 1.11], [1, NAN], [1, NAN], [1, NAN]])
    s = series(t_s, v_pu=v, event_s=t_s)
    assert value("v_outside_5_percent", s) == pytest.approx(2)
    assert value("v_outside_10_percent", s) == pytest.approx(1)


@pytest.mark.parametrize("v_pu", [[[NAN, NAN]], np.empty((1, 0))], ids=["no supply", "not recorded"])
def test_without_voltages_there_are_no_figures_of_them(v_pu: Any) -> None:
    found = compute(series([0], v_pu=v_pu, v_source_pu=v_pu))
    assert not any(key.startswith("v_") for key in found)
    assert "f_nadir" in found and "energy_served" in found


# --- energy ---


@pytest.mark.parametrize(
    ("event_s", "mwh"),
    [
        # 10 MW, then 20 MW from 2 s on: the value before an event holds up to it
        pytest.param([2.0], (10 * 2 + 20 * 1) / 3600, id="jump at an event"),
        # without an event the line from 10 to 20 MW counts
        pytest.param([], (10 * 1 + 15 * 1 + 20 * 1) / 3600, id="trapezoid"),
    ],
)
def test_integral_across_a_jump(event_s: list[float], mwh: float) -> None:
    p = [10, 10, 20, 20]
    s = series(range(4), p_load_mw=p, p_gen_mw=both(np.array(p) / 2), event_s=event_s)
    assert value("energy_served", s) == pytest.approx(mwh)
    assert value("energy_sources", s) == pytest.approx(mwh)


def test_energy_ledger() -> None:
    # one hour: 3 + 5 MW produced, 7.2 served, 0.6 lost, 0.2 not accounted for, 1.5 without supply
    s = series(
        [0, 1800, 3600], p_gen_mw=[[3, 5]] * 3, p_load_mw=[7.2] * 3, p_loss_mw=[0.6] * 3, p_unserved_mw=[1.5] * 3
    )  # fmt: skip
    assert value("energy_sources", s) == pytest.approx(8)
    assert value("energy_served", s) == pytest.approx(7.2)
    assert value("energy_network_losses", s) == pytest.approx(0.6)
    assert value("energy_unserved", s) == pytest.approx(1.5)
    assert network_account(compute(s)).residual == pytest.approx(0.2 / 8)
    assert value("loss_share", s) == pytest.approx(0.6 / 7.2)
    assert value("loss_end", s) == 0.6


def test_loss_share_is_undefined_where_nothing_is_served() -> None:
    s = series([0, 1], p_loss_mw=[0.1, 0.1])
    assert np.isnan(value("loss_share", s))
    assert np.isnan(value("loss_share", series([0])))


# --- limits and numerics ---


def test_time_and_depth_of_saturation() -> None:
    # unit 1 from 60 s to 180 s and unit 2 from 120 s to 180 s: two minutes; 0.9/1 and 2.4/3 at their limits
    t_s = np.arange(5) * 60.0
    s = series(
        t_s, limited=[[0, 0], [1, 0], [1, 1], [0, 0], [0, 0]], event_s=t_s,
        p_gen_mw=[[0.95, 0], [0.9, 0], [0.9, 2.4], [0.5, 0], [0, 0]],
    )  # fmt: skip
    assert value("saturation_time", s) == pytest.approx(2)
    assert value("saturation_depth", s) == pytest.approx(0.9)
    assert value("saturation_depth", series([0])) == 0


def test_figures_of_the_solver() -> None:
    s = series([0, 1], mismatch_mw=[1e-9, 3e-9], iterations=[2, 5])
    assert value("network_residual", s) == pytest.approx(3e-10)  # on 10 MVA
    assert value("newton_iterations_max", s) == 5


# --- windows ---


def stepped() -> Series:
    """Served power is the number of the second; events at 2 s and 4 s."""
    return series(range(7), p_load_mw=range(7), f_hz=both(60 - 0.1 * np.arange(7)), event_s=[2, 4])


def test_windows_go_from_event_to_event() -> None:
    found = windows(stepped(), 6, np.array([2.0, 4.0]))
    assert [(start, end) for start, end, _ in found] == [(0, 2), (2, 4), (4, 6)]
    nadirs = [metrics["f_nadir"].value for _, _, metrics in found]
    assert nadirs == pytest.approx([59.9, 59.7, 59.4])  # rows 0-1, 2-3 and 4-6
    # the row of an event belongs to what follows it: 0, 1 | 2, 3 | 4, 5, 6, the last value held up to the event
    served = [metrics["energy_served"].value * 3600 for _, _, metrics in found]
    assert served == pytest.approx([0.5 + 1, 2.5 + 3, 4.5 + 5.5])
    assert sum(served) == pytest.approx(value("energy_served", stepped()) * 3600)


def test_window_without_events_is_the_whole_run() -> None:
    s = stepped()
    ((start, end, metrics),) = windows(s, 6, np.array([]))
    assert (start, end) == (0, 6)
    assert metrics["f_nadir"] == compute(s)["f_nadir"]


def test_event_at_the_start_leaves_window_0_empty() -> None:
    first, second = windows(stepped(), 6, np.array([0.0]))
    assert first == (0, 0, {})
    assert (second[0], second[1]) == (0, 6)
    assert second[2]["f_zenith"].value == 60


def test_simultaneous_events_make_one_window() -> None:
    found = windows(stepped(), 6, np.array([2.0, 2.0, 4.0]))
    assert [(start, end) for start, end, _ in found] == [(0, 2), (2, 4), (4, 6)]


def test_event_at_the_very_end_has_a_window_of_one_row() -> None:
    *_, last = windows(stepped(), 6, np.array([6.0]))
    assert (last[0], last[1]) == (6, 6)
    assert last[2]["f_end"].value == pytest.approx(59.4)
    assert last[2]["energy_served"].value == 0


# --- run.json ---


@pytest.mark.parametrize("figure", [1.5, 0.0, -3.0, INF, -INF, NAN])
def test_figures_survive_json(figure: float) -> None:
    window = Window(0.5, 1.5, {"x.unit": Metric(figure, "MW", "words")})
    text = json.dumps(window.to_json(), allow_nan=False)
    again = Window.from_json(**json.loads(text))
    assert (again.start_s, again.end_s) == (0.5, 1.5)
    found = again.metrics["x.unit"]
    assert (found.unit, found.description) == ("MW", "words")
    assert found.value == pytest.approx(figure, nan_ok=True, abs=0)


# --- a run ---

EVENTS = [
    {"t_s": 0.1, "do": "load_step", "bus": 5, "p_kw": 30000, "q_kvar": 10000},
    {"t_s": 0.1, "do": "load_step", "bus": 7, "p_kw": 1000},
    {"t_s": 0.2023, "do": "line_open", "line": "6-7"},
    {"t_s": 5, "do": "line_close", "line": "6-7"},
]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run(load("ieee9"), until_s=0.8, overrides={"events": EVENTS}, folder=tmp_path_factory.mktemp("run"))


def stack(result: Result, names: tuple[str, ...], attribute: str) -> Any:
    return np.stack([result.series(name, attribute)[1] for name in names], axis=1)


UNITS, BUSES = ("inv1", "inv2", "inv3"), tuple("123456789")


def test_metrics_of_a_run_follow_from_its_series(short: Result) -> None:
    t_s, f_inv1 = short.series("inv1", "f[Hz]")
    f_hz, p_gen = stack(short, UNITS, "f[Hz]"), stack(short, UNITS, "P_gen[MW]")
    metrics = {key: metric.value for key, metric in short.metrics.items()}
    assert metrics["f_nadir"] == f_hz.min() < 59.95
    assert metrics["f_end"] == pytest.approx(f_hz[-1] @ [1, 2, 1.25] / 4.25, abs=1e-12)
    assert metrics["v_min"] == stack(short, BUSES, "Vm[pu]").min()
    assert metrics["v_max"] == stack(short, BUSES, "Vm[pu]").max()
    # piecewise: the value before each event holds up to it
    pieces = np.split(np.arange(len(t_s)), np.searchsorted(t_s, [0.1 - 1e-9, 0.2023 - 1e-9]))
    energy = 0.0
    for rows, end_s in zip(pieces, (0.1, 0.2023, 0.8), strict=True):
        produced = p_gen[rows].sum(1)
        energy += np.trapezoid(produced, t_s[rows]) + produced[-1] * (end_s - t_s[rows[-1]])
    assert metrics["energy_sources"] == pytest.approx(energy / 3600, rel=1e-12)
    assert metrics["energy_residual"] < 1e-9
    produced = p_gen[-1] - stack(short, UNITS, "P_set[MW]")[-1]
    shares = produced / [100, 200, 125]
    assert metrics["p_sharing_error_end"] == pytest.approx(np.abs(shares - produced.sum() / 425).max(), abs=1e-12)
    assert metrics["collapse_count"] == 0
    assert np.array_equal(t_s, short.series("grid", "P_load[MW]")[0]) and len(f_inv1) == len(t_s)


def test_measuring_again_gives_what_the_run_wrote(short: Result) -> None:
    metrics, found = measure(open_run(short.path))
    written = {key: metric for key, metric in short.metrics.items() if key in metrics}
    assert str(metrics) == str(written)  # as text, because undefined equals nothing, not even itself
    assert str(found) == str(short.windows)


def test_windows_of_a_run_end_at_its_events(short: Result) -> None:
    # two events at 0.1 s make one window; the one at 5 s did not happen
    assert [(w.start_s, w.end_s) for w in short.windows] == [(0, 0.1), (0.1, 0.2023), (0.2023, 0.8)]
    first, second, third = (window.metrics for window in short.windows)
    assert first["f_nadir"].value == pytest.approx(60, abs=1e-9)
    assert second["f_nadir"].value > third["f_nadir"].value == short.metrics["f_nadir"].value
    keys = [set(window) for window in (first, second, third)]
    assert keys[0] == keys[1] == keys[2] <= set(short.metrics)
    for key in ("energy_sources", "energy_served", "energy_network_losses"):
        parts = sum(window[key].value for window in (first, second, third))
        assert parts == pytest.approx(short.metrics[key].value, rel=1e-12)


def test_undefined_and_never_survive_the_run(short: Result) -> None:
    # 0.1 s and 0.1023 s are shorter than 0.5 s, and 0.7 s after the step the frequency is 90 mHz low for good
    assert np.isnan(short.windows[0].metrics["rocof_500ms"].value)
    assert short.metrics["f_settling_time"].value == INF
    assert short.metrics["rocof_500ms"].value > 0
    text = (short.path / "run.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"]["f_settling_time"]["value"] == "inf"


def test_collapse_is_counted_in_the_window_of_its_event(tmp_path: Path) -> None:
    # the loads' event has the time 0.1 s, the collapse 100000 * 1e-6 s, which is 0.09999999999999999
    events = [{"t_s": 0.1, "do": "load_set", "bus": 5, "p_kw": 3_000_000}]
    result = run(
        load("ieee9"), until_s=0.15, overrides={"events": events, "units.*.z_pu": [0.02, 0.2]}, folder=tmp_path
    )  # fmt: skip
    assert "voltage_collapse" in [event.kind for event in result.events]
    assert [window.metrics["collapse_count"].value for window in result.windows] == [0, 1]
    assert result.metrics["collapse_count"].value == 1


def test_tripped_unit_leaves_the_frequency_and_the_sharing(tmp_path: Path) -> None:
    # alone it runs up to 60 + 2 % * 60 * 85/125 = 60.816 Hz
    events = [{"t_s": 0.1, "do": "unit_trip", "unit": "inv3"}]
    result = run(load("ieee9"), until_s=1.5, overrides={"events": events}, folder=tmp_path)
    assert result.series("inv3", "f[Hz]")[1][-1] == pytest.approx(60.816, abs=1e-3)
    assert result.metrics["f_zenith"].value == pytest.approx(60, abs=1e-9)
    assert result.metrics["p_sharing_error_end"].value < 1e-3
    assert result.metrics["f_end"].value < 59.7


def test_figures_without_voltages_on_record(tmp_path: Path) -> None:
    overrides = {"record.signals": [], "record.every_ms": 50, "events": EVENTS}
    result = run(load("ieee9"), until_s=0.3, overrides=overrides, folder=tmp_path)
    assert not any(key.startswith("v_") for key in result.metrics)
    assert result.metrics["energy_residual"].value < 1e-9
    t_s, _ = result.series("grid", "P_loss[MW]")
    assert t_s == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.2023, 0.25, 0.3])
