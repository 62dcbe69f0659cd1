"""Secondary control and communication in scenario files: what the simulators are given of them."""

from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.communication import agent_links, graph_of, link_names, measurement_links
from gridloop.scenarios.control_summary import in_words, links, secondary, warnings
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.schedule import agent_events, grid_events, link_events, set_point_changes
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.comms import CommSimulator
from gridloop.simulators.control import SecondarySimulator


def given(**changes: Any) -> dict[str, Any]:
    """Three inverters under secondary control, one link slower than the others."""
    return {
        "schema": 1, "name": "three", "until_s": 2, "grid": {"net": "case9"},
        "units": {f"inv{k}": {"type": "inverter", "bus": k, "s_rated_kva": 1e5} for k in (1, 2, 3)},
        "control": {"members": ["inv1", "inv2", "inv3"], "leader": "inv1"},
        "comms": {
            "delay_ms": 50, "jitter": {"kind": "uniform", "percent": 20},
            "links": {"inv1->inv2": {"delay_ms": 80, "fifo": True}},
        },
        **changes,
    }  # fmt: skip


def scenario(**changes: Any) -> Scenario:
    return load(given(**changes))


def control(**changes: Any) -> dict[str, Any]:
    return {"members": ["inv1", "inv2", "inv3"], "leader": "inv1", **changes}


# --- control ---


def test_simulator_takes_the_settings_as_they_are() -> None:
    whole = scenario(control=control(
        frequency={"law": "D", "c2_per_s": 1, "limit_hz": 0.5}, voltage={"law": "C", "k_v_per_s": 3}, period_ms=20,
        delay_handling="neighbour_only", max_age_ms=400, central=["m1", "m2"], takeover_ms=300, on_fail="drop",
        balancing={"gain": 0.1}, more={"x": 1},
    ), units={
        **given()["units"],
        "inv1": {"type": "inverter", "bus": 1, "s_rated_kva": 1e5, "source": {
            "type": "battery", "e_rated_kwh": 1e5, "soc_init_percent": 50}},
    }, comms=None)  # fmt: skip
    assert whole.control is not None
    settings = whole.control.settings()
    assert settings == {
        "frequency": {"law": "D", "c2_per_s": 1, "limit_hz": 0.5}, "voltage": {"law": "C", "k_v_per_s": 3},
        "period_ms": 20, "delay_handling": "neighbour_only", "max_age_ms": 400, "central": ["m1", "m2"],
        "takeover_ms": 300, "on_fail": "drop", "balancing": {"gain": 0.1}, "more": {"x": 1},
    }  # fmt: skip
    SecondarySimulator().init("Secondary-0", time_resolution=1e-6, **settings, graph=graph_of(whole))


def test_what_is_absent_is_left_to_the_simulator() -> None:
    whole = scenario()
    assert whole.control is not None
    settings = whole.control.settings()
    assert settings["frequency"] == {"law": "F"} and settings["voltage"] == {"law": "V"}
    assert not {"max_age_ms", "balancing", "central", "members", "leader", "pins", "pilot_bus"} & settings.keys()
    SecondarySimulator().init("Secondary-0", time_resolution=1e-6, **settings)


def test_leader_is_a_pin_of_one() -> None:
    led = scenario().control
    pinned = scenario(control={"members": ["inv1", "inv2", "inv3"], "pins": {"inv2": 0.5, "inv3": 2}}).control
    assert led is not None and pinned is not None
    assert (led.pin_gains, led.leader_name) == ({"inv1": 1}, "inv1")
    assert (pinned.pin_gains, pinned.leader_name) == ({"inv2": 0.5, "inv3": 2}, "inv3")


def test_law_without_a_pinned_unit_needs_no_leader() -> None:
    whole = scenario(
        control={"members": ["inv1", "inv2", "inv3"], "frequency": {"law": "D"}, "voltage": {"law": "Vprime"}}
    )
    assert whole.control is not None
    assert whole.control.pin_gains == {}


def test_law_of_ones_own_stands_beside_its_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # two folders, each with its own module of the same name, and none of them the current one
    monkeypatch.chdir(tmp_path)
    loaded = []
    for folder, rate in (("a", 1.0), ("b", 2.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_laws.py").write_text(
            "from gridloop.simulators.models.secondary import Rates\n"
            f"def push(own, neighbours, gains):\n    return Rates({rate})\n"
        )
        (tmp_path / folder / "mine.yaml").write_text(
            "extends: ieee9\ncontrol:\n  members: [inv1, inv2]\n"
            '  frequency: {law: "my_laws:push"}\n  voltage: {law: none}\n'
        )
        loaded.append(load(f"{folder}/mine.yaml").with_overrides({"until_s": 1}))
    for whole, rate in zip(loaded, (1.0, 2.0), strict=True):
        assert whole.control is not None
        assert whole.control.own_law("frequency")(None, (), None).omega_rad_per_s2 == rate
        assert whole.control.own_law("voltage") is None
        SecondarySimulator().init("Secondary-0", time_resolution=1e-6, **whole.control.settings())


# --- links ---


def test_links_of_a_consensus_run_along_the_graph() -> None:
    whole = scenario()
    both_ways = [("inv1", "inv2"), ("inv2", "inv1"), ("inv2", "inv3"), ("inv3", "inv2")]
    assert graph_of(whole) == "line"
    assert list(agent_links(whole)) == both_ways
    assert measurement_links(whole) == ()


def test_central_controllers_alone_are_told_what_the_leader_measures() -> None:
    laws = {"frequency": {"law": "C"}, "voltage": {"law": "none"}}
    whole = scenario(control=control(**laws, central=["m1", "m2"]), comms={"delay_ms": 5, "links": {"inv1->m2": {}}})
    assert agent_links(whole) == () and graph_of(whole) == []
    assert measurement_links(whole) == (("inv1", "m1"), ("inv1", "m2"))


def test_central_voltage_beside_a_consensus_of_frequency() -> None:
    whole = scenario(control=control(voltage={"law": "C"}))
    assert agent_links(whole)[4:] == (("mgcc", "inv1"), ("mgcc", "inv2"), ("mgcc", "inv3"))
    assert measurement_links(whole) == ()


def test_own_settings_of_a_link_go_before_those_of_all() -> None:
    comms = scenario().comms
    assert comms is not None
    jitter = {"kind": "uniform", "percent": 20}
    assert comms.link_settings("inv2->inv1") == {"delay_ms": 50, "jitter": jitter}
    assert comms.link_settings("inv1->inv2") == {"delay_ms": 80, "fifo": True, "jitter": jitter}


def test_simulator_takes_the_settings_of_every_link() -> None:
    whole = scenario(comms={
        "graph": [["inv1", "inv3"]], "delay_ms": 50, "jitter": {"kind": "trace", "trace": [1, 2]}, "loss_percent": 1,
        "burst": {"good_to_bad_percent": 1, "bad_to_good_percent": 10}, "bandwidth_bit_per_s": 1e4,
        "queue_bytes": 500, "rto_ms": 200, "fifo": True, "message_bytes": 80,
        "signals": {"inv1->inv2": {"attr": "P_set[MW]", "to_attr": "P_set[MW]", "period_ms": 20, "delay_ms": 7}},
    })  # fmt: skip
    simulator = CommSimulator()
    simulator.init("Comms-0", time_resolution=1e-6, events=link_events(whole))
    assert whole.comms is not None
    assert link_names(whole) == ["inv1->inv3", "inv3->inv1", "inv1->inv2"]
    for name in link_names(whole):
        sender, receiver = name.split("->")
        settings = whole.comms.link_settings(name)
        assert settings["delay_ms"] == (7 if name == "inv1->inv2" else 50)
        simulator.create(1, "Link", sender=sender, receiver=receiver, send_ms=50, **settings)


def test_file_of_a_trace_stands_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "delays.txt").write_text("5\n7\n")
    (tmp_path / "far.yaml").write_text(
        "extends: ieee9\ncontrol: {members: [inv1, inv2], leader: inv1}\n"
        "comms: {delay_ms: 1, jitter: {kind: trace, trace: delays.txt}}\n"
    )
    comms = load(tmp_path / "far.yaml").comms
    assert comms is not None
    assert comms.link_settings("inv1->inv2")["jitter"]["trace"] == str(tmp_path / "delays.txt")


def test_wrong_links_do_not_hide_each_other() -> None:
    links = {"inv1->inv2": {"dealy_ms": 1}, "inv1->inv7": {"delay_ms": 1}}
    with pytest.raises(ScenarioError) as error:
        scenario(comms={"links": links}, events=[{"t_s": 1, "do": "link_down", "link": "inv2->inv9"}])
    assert str(error.value).splitlines() == [
        "scenario has 3 problems",
        "scenario: comms.links.inv1->inv2.dealy_ms: unknown key; did you mean delay_ms?",
        "scenario: comms.links.inv1->inv7: there is no link 'inv1->inv7'; did you mean inv1->inv2?",
        "scenario: events.0.link: there is no link 'inv2->inv9'; did you mean inv2->inv3?",
    ]


# --- events ---


def test_events_go_to_whom_they_are_about() -> None:
    whole = scenario(events=[
        {"t_s": 0.1, "do": "load_step", "bus": 5, "p_kw": 1},
        {"t_s": 0.2, "do": "set", "path": "comms.delay_ms", "value": 100},
        {"t_s": 0.3, "do": "set", "path": "comms.links.inv1->*.jitter.percent", "value": 5},
        {"t_s": 0.4, "do": "link_down", "link": "inv2->inv1", "for_s": 0.5},
        {"t_s": 0.5, "do": "link_down", "link": "*"},
        {"t_s": 0.6, "do": "link_up", "link": "*->inv2"},
        {"t_s": 0.7, "do": "agent_fail", "agent": "inv3"},
        {"t_s": 0.8, "do": "agent_recover", "agent": "inv3"},
        {"t_s": 0.9, "do": "agent_kick", "agent": "inv1", "v_pu": 0.01},
        {"t_s": 1.0, "do": "set", "path": "units.inv1.p_set_kw", "value": 3},
    ])  # fmt: skip
    assert [event.kind for event in grid_events(whole)] == ["load_step"]
    assert [change.key for change in set_point_changes(whole)] == ["p_set_kw"]
    found = link_events(whole)
    assert found == [
        {"t_s": 0.2, "do": "set", "link": "*", "key": "delay_ms", "value": 100},
        {"t_s": 0.3, "do": "set", "link": "inv1->inv2", "key": "jitter.percent", "value": 5},
        {"t_s": 0.4, "do": "link_down", "link": "inv2->inv1", "for_s": 0.5},
        {"t_s": 0.5, "do": "link_down", "link": "*"},
        {"t_s": 0.6, "do": "link_up", "link": "inv1->inv2"},
        {"t_s": 0.6, "do": "link_up", "link": "inv3->inv2"},
    ]
    assert agent_events(whole) == [
        {"t_s": 0.7, "do": "agent_fail", "agent": "inv3"},
        {"t_s": 0.8, "do": "agent_recover", "agent": "inv3"},
        {"t_s": 0.9, "do": "agent_kick", "agent": "inv1", "omega_rad_per_s": 0, "v_pu": 0.01},
    ]
    SecondarySimulator().init("Secondary-0", time_resolution=1e-6, events=agent_events(whole))
    CommSimulator().init("Comms-0", time_resolution=1e-6, events=found)


def test_values_of_links_are_checked_in_the_order_of_time() -> None:
    # 20 % of 100 ms are 20 ms; a spread of 60 % is right only after the fixed one of the link has gone
    events = [
        {"t_s": 2, "do": "set", "path": "comms.jitter.ms", "value": 60},
        {"t_s": 1, "do": "set", "path": "comms.delay_ms", "value": 100},
    ]
    comms = {"delay_ms": 50, "jitter": {"kind": "uniform", "ms": 20}}
    assert scenario(comms=comms, events=events).events
    with pytest.raises(ScenarioError, match=r"events\.0\.value: link inv1->inv2: jitter of \+- 60 ms must be within"):
        scenario(comms=comms, events=events[:1])


def test_set_of_the_file_uses_the_same_paths() -> None:
    whole = scenario().with_overrides({"comms.links.inv2->inv1.delay_ms": 3, "control.frequency.c2_per_s": 2})
    assert whole.comms is not None and whole.control is not None
    assert whole.comms.link_settings("inv2->inv1")["delay_ms"] == 3
    assert whole.control.frequency.c2_per_s == 2


# --- what `check` tells ---


def test_account_of_control_and_links() -> None:
    whole = scenario()
    assert in_words(whole) == [
        (
            "control", "frequency F, voltage V · 3 members (inv1, inv2, inv3) · pinned inv1 · every 50 ms · "
            "delay handling matched",
        ),
        (
            "comms", "line · 4 links (inv1->inv2, inv2->inv1, inv2->inv3, inv3->inv2) · delay 50 ms · "
            "jitter uniform 20 %",
        ),
        ("", "inv1->inv2: delay 80 ms · in order"),
    ]  # fmt: skip
    told = secondary(whole)
    assert told is not None
    assert (told["graph"], told["delay_handling"], told["pins"]) == ("line", "matched", {"inv1": 1})
    assert links(whole)["inv1->inv2"]["delay_ms"] == 80
    assert warnings(whole) == []


def test_account_of_control_without_links_and_of_nothing() -> None:
    alone = scenario(comms=None)
    assert in_words(alone)[1:] == [("comms", "none: agents exchange without delay or loss")]
    assert links(alone) == {}
    assert in_words(load("ieee9")) == [] and secondary(load("ieee9")) is None


def test_graph_that_falls_apart_is_told() -> None:
    whole = scenario(comms={"graph": [["inv1", "inv3"]]})
    assert warnings(whole) == ["the communication graph falls apart: no message of inv1 reaches inv2"]
