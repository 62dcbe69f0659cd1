"""Messages, ages, agreement of agents, growth and pilot bus: by hand."""

import numpy as np
import pytest

from books import EVENT_S, T_S, run_in_memory, with_links
from gridloop.scenarios.islands import island_numbers
from gridloop.scenarios.measure import measure
from gridloop.scenarios.metrics_comms import read_comms, whole_metrics, window_metrics
from gridloop.scenarios.metrics_response import growth_metrics, pilot_bus
from gridloop.scenarios.result import Event
from gridloop.scenarios.spans import Stretch
from memory_runs import INF, NAN

NO_EVENTS = np.array([])


def figures(metrics):
    return {key: metric.value for key, metric in metrics.items()}


def test_whole_run_from_the_links_statistics():
    found = figures(whole_metrics(read_comms(with_links()), Stretch(0.0, 20.0, NO_EVENTS)))
    assert found == {
        "messages_sent": 150, "messages_delivered": 140, "messages_lost": 8, "bytes_sent": 9600, "age_mean": 40,
        "age_p95": 70, "age_max": 200, "consensus_disagreement": pytest.approx(0.1),
    }  # fmt: skip


def test_window_from_the_series():
    # the row at the end belongs to the next window, what was counted up to it does not
    found = figures(window_metrics(read_comms(with_links()), Stretch(1.0, 3.0, NO_EVENTS, False)))
    assert found["messages_lost"] == 3
    assert found["age_mean"] == pytest.approx((50 + 20) / 2)
    assert found["age_max"] == 60
    assert found["age_p95"] == pytest.approx(59)
    assert found["consensus_disagreement"] == pytest.approx(0.015, abs=1e-4)
    assert "messages_sent" not in found


def test_age_is_undefined_before_anything_arrived():
    found = figures(window_metrics(read_comms(with_links()), Stretch(0.0, 1.0, NO_EVENTS, False)))
    assert np.isnan(found["age_mean"]) and np.isnan(found["age_max"])


def test_an_agent_whose_unit_is_tripped_does_not_disagree():
    result = with_links()
    result.record["series"]["dg1", "connected[1]"] = (T_S < 10).astype(float)
    comms = read_comms(result)
    assert figures(window_metrics(comms, Stretch(0.0, 20.0, NO_EVENTS)))["consensus_disagreement"] == 0
    early = figures(window_metrics(comms, Stretch(0.0, 5.0, NO_EVENTS, False)))
    assert early["consensus_disagreement"] == pytest.approx(0.025, abs=1e-4)


def test_a_run_without_links_and_agents_has_no_figures_of_them():
    assert whole_metrics(read_comms(run_in_memory()), Stretch(0.0, 20.0, NO_EVENTS)) == {}
    assert window_metrics(read_comms(run_in_memory()), Stretch(0.0, 20.0, NO_EVENTS)) == {}


def test_figures_of_links_are_among_those_of_a_run():
    whole, windows = measure(with_links())
    assert whole["messages_sent"].value == 150
    assert windows[0].metrics["messages_lost"].value == 8
    assert windows[1].metrics["messages_lost"].value == 0


# --- growth ---


def swinging(rate_per_s):
    t_s = np.arange(4000) * 0.005
    return t_s, 50 + 0.01 * np.exp(rate_per_s * t_s)[:, None] * np.sin(2 * np.pi * t_s[:, None] + [0.0, 1.0])


@pytest.mark.parametrize(("rate_per_s", "stable"), [(-0.1, 1), (0.1, 0)])
def test_growth_of_a_swing(rate_per_s, stable):
    found = growth_metrics(*swinging(rate_per_s))
    assert found["growth_rate"].value == pytest.approx(rate_per_s, rel=0.02)
    assert found["stable"].value == stable


def test_growth_below_a_thousandth_of_a_hertz_is_none():
    t_s, f_hz = swinging(0.1)
    assert growth_metrics(t_s, 50 + (f_hz - 50) * 1e-3)["stable"].value == 1


def test_rest_is_stable_and_too_few_rows_say_nothing():
    t_s, f_hz = swinging(0.1)
    rest = growth_metrics(t_s, np.full_like(f_hz, 50.0))
    assert (rest["stable"].value, rest["growth_rate"].value) == (1, -INF)
    few = growth_metrics(t_s[:2], f_hz[:2])
    assert np.isnan(few["stable"].value) and np.isnan(few["growth_rate"].value)


def test_a_unit_that_was_tripped_does_not_grow():
    t_s, f_hz = swinging(0.1)
    f_hz[:, 0] = swinging(-0.1)[1][:, 0]
    f_hz[10:, 1] = NAN
    assert growth_metrics(t_s, f_hz)["stable"].value == 1
    assert growth_metrics(t_s, np.full_like(f_hz, NAN)) == {}


def test_growth_of_a_run_is_that_after_its_last_event():
    result = run_in_memory()
    grows = 50 + 0.01 * np.exp(-0.3 * np.abs(T_S - EVENT_S)) * np.sin(9 * T_S)  # up to the event, then it decays
    result.record["series"] |= {("batt1", "f[Hz]"): grows, ("dg1", "f[Hz]"): grows}
    whole, (before, after) = measure(result)
    assert before.metrics["stable"].value == 0
    assert after.metrics["stable"].value == whole["stable"].value == 1
    assert whole["growth_rate"].value == pytest.approx(-0.3, rel=0.05)


@pytest.mark.parametrize("change", [{"mode": "steady"}, {"profiles": {"sky": {}}}])
def test_growth_has_no_meaning_where_something_moves_the_run(change):
    result = run_in_memory()
    result.record["scenario"] |= change
    assert not {"stable", "growth_rate"} & measure(result)[0].keys()


# --- pilot bus ---

CONTROL = {"voltage": {"law": "V", "v_ref_pu": 1.02}, "members": ["batt1", "dg1"], "leader": "dg1"}


@pytest.mark.parametrize(
    ("control", "bus"),
    [
        (CONTROL, "3"),
        (CONTROL | {"pilot_bus": 2}, "2"),
        (CONTROL | {"leader": None}, "1"),
        (CONTROL | {"leader": None, "pins": {"dg1": 1.0}}, "3"),
        (None, None),
    ],
)
def test_pilot_bus(control, bus):
    result = run_in_memory()
    assert pilot_bus(result.record | {"scenario": {"control": control}}) == bus


def test_time_to_the_pilot_voltage():
    result = run_in_memory()
    result.record["scenario"]["control"] = CONTROL
    # 1.02 pu +- 0.5 %: from 2 s on, again from 13 s on, five seconds after the event
    outside = (T_S < 2) | ((T_S >= EVENT_S) & (T_S < EVENT_S + 5))
    result.record["series"]["3", "Vm[pu]"] = np.where(outside, 1.0, 1.0249)
    whole, windows = measure(result)
    assert whole["v_pilot_time"].value == pytest.approx(13)
    assert [window.metrics["v_pilot_time"].value for window in windows] == pytest.approx([2, 5])
    result.record["series"]["3", "Vm[pu]"] = np.full(len(T_S), 1.03)
    assert measure(result)[0]["v_pilot_time"].value == INF


@pytest.mark.parametrize("control", [None, {"members": ["batt1"]}, CONTROL | {"voltage": {"law": "none"}}])
def test_without_voltage_control_there_is_no_pilot(control):
    result = run_in_memory()
    result.record["scenario"]["control"] = control
    assert "v_pilot_time" not in measure(result)[0]


# --- islands ---

NETWORK = {
    "branches": [
        {"id": "1-2", "from": "1", "to": "2", "closed": True}, {"id": "2-3", "from": "2", "to": "3", "closed": True},
        {"id": "1-3/2", "from": "1", "to": "3", "closed": False},
    ]
}  # fmt: skip


def events(*given):
    return [Event(t_s, kind, target, "") for t_s, kind, target in given]


def test_islands_follow_the_switching():
    happened = events((1.0, "line_open", "3-2"), (2.0, "line_close", "3-1/2"))
    numbers = island_numbers(NETWORK, happened, ["1", "2", "3"], np.arange(4.0))
    together = [[a == b for a, b in ((row[0], row[1]), (row[0], row[2]))] for row in numbers]
    assert together == [[True, True], [True, False], [True, True], [True, True]]


def test_a_bus_that_the_drawing_does_not_connect_tells_nothing_of_islands():
    assert not island_numbers(NETWORK, [], ["1", "9"], np.arange(2.0)).any()


def test_units_of_different_islands_are_not_compared():
    happened = [{"t_s": EVENT_S, "kind": "line_open", "target": "2-3", "outcome": ""}]
    apart, together = run_in_memory(events=happened), run_in_memory(events=[])
    assert measure(apart)[0]["p_sharing_error_end"].value < 1e-12  # each is alone
    assert measure(together)[0]["p_sharing_error_end"].value > 0.1


def test_a_set_that_stands_still_shares_nothing():
    result = run_in_memory()
    running = result.record["series"]["dg1", "running[1]"]
    assert measure(result)[1][0].metrics["p_sharing_error_max"].value < 1e-12
    result.record["series"]["dg1", "running[1]"] = np.ones_like(running)
    assert measure(result)[1][0].metrics["p_sharing_error_max"].value > 0.01
