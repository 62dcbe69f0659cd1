"""Communication: when messages arrive in mosaik, what links show, events, statistics."""

from pathlib import Path
from typing import Any

import mosaik
import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.simulators.comms import CommSimulator, link_name, link_params
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models.channel import Burst, Jitter, LinkParams

P = "P_gen_meas[MW]"


class Speaker(mosaik_api_v3.Simulator):
    """Says its time, stamped and as a plain value; hears what links bring."""

    def __init__(self, heard: list[Any] | None = None) -> None:
        super().__init__({
            "api_version": "3.0", "type": "time-based",
            "models": {"Speaker": {
                "public": True, "params": [], "any_inputs": True, "attrs": ["message[1]", P, "received[1]"],
            }},
        })  # fmt: skip
        self.heard = heard if heard is not None else []

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        self.time, self.unit_s, self.step_units = (
            0,
            time_resolution,
            round(sim_params["step_ms"] / 1e3 / time_resolution),
        )
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "one", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.time = time
        for attr, sources in inputs.get("one", {}).items():
            self.heard.append((time, attr, *sources.values()))
        return int(time + self.step_units)

    def get_data(self, outputs: Any) -> Any:
        value = {"message[1]": [self.time, {"said": self.time}], P: self.time * self.unit_s}
        return {eid: {attr: value[attr] for attr in attrs} for eid, attrs in outputs.items()}


def talk(
    until_ms: float, send_ms: float, receive_ms: float, *attrs: str, resolution: float = 1e-6, link: Any = None,
    **init: Any,
) -> tuple[list[Any], CommSimulator]:  # fmt: skip
    """What a receiver hears of a sender over one link, as (time, attribute, value) in ms; and the links."""
    heard: list[Any] = []
    comms = CommSimulator(init.pop("sink", None), init.pop("log", None))
    with mosaik.World(cache=False, skip_greetings=True, configure_logging=False, time_resolution=resolution) as world:
        speaker = world.start(PythonStarter(Speaker), "A", step_ms=send_ms).Speaker()
        links = world.start(PythonStarter(lambda: comms), "Comms", **init)  # type: ignore[arg-type]
        given = {"send_ms": send_ms, "receive_ms": receive_ms} | (link or {})
        one = links.Link(sender="a", receiver="b", **given)
        listener = world.start(PythonStarter(lambda: Speaker(heard)), "B", step_ms=receive_ms).Speaker()  # type: ignore[arg-type]
        sent = given.get("attrs", ["message[1]"])
        world.connect(speaker, one, *sent, time_shifted=True, initial_data=dict.fromkeys(sent))
        for attr in attrs:
            world.connect(one, listener, (attr, attr))
        world.run(until=round(until_ms / 1e3 / resolution) + 1, print_progress=False)
    return [(time * resolution * 1e3, attr, value) for time, attr, value in heard], comms


def first_heard(heard: list[Any]) -> dict[float, float]:
    """Stamp [ms] -> when [ms] it was the newest for the first time."""
    found: dict[float, float] = {}
    for time, _, value in heard:
        if value is not None:
            found.setdefault(value[0] / 1e3, round(time, 6))
    return found


@pytest.mark.parametrize(
    ("delay_ms", "send_ms", "receive_ms", "expected"),
    [
        (0, 50, 50, {0: 50, 50: 100, 100: 150, 150: 200}),  # the next tick, never the same
        (30, 50, 50, {0: 50, 50: 100, 100: 150, 150: 200}),
        (50, 50, 50, {0: 50, 50: 100, 100: 150, 150: 200}),  # exactly at the tick: it is there
        (50.001, 50, 50, {0: 100, 50: 150, 100: 200}),
        (12, 50, 10, {0: 20, 50: 70, 100: 120, 150: 170}),  # the receiver is faster
        (0, 50, 10, {0: 10, 50: 60, 100: 110, 150: 160}),
        (5, 10, 50, {40: 50, 90: 100, 140: 150, 190: 200}),  # and slower: the newest of those that are there
        (70, 50, 30, {0: 90, 50: 120, 100: 180}),  # neither is a multiple of the other
    ],
)
def test_messages_arrive_at_the_first_tick_of_the_receiver_after_their_delay(
    delay_ms: float, send_ms: float, receive_ms: float, expected: dict[float, float]
) -> None:
    heard, _ = talk(200, send_ms, receive_ms, "received[1]", link={"delay_ms": delay_ms})
    assert first_heard(heard) == expected


def test_payload_arrives_as_it_was_sent() -> None:
    heard, _ = talk(100, 50, 50, "received[1]", link={"delay_ms": 20})
    assert [value for _, _, value in heard] == [None, [0, {"said": 0}], [50_000, {"said": 50_000}]]


def test_link_in_seconds_is_the_same() -> None:
    heard, _ = talk(10_000, 2000, 1000, "received[1]", resolution=1.0, link={"delay_ms": 2500})
    assert first_heard([(t, a, v and [v[0] * 1e6, 0]) for t, a, v in heard]) == {
        0: 3000,
        2000: 5000,
        4000: 7000,
        6000: 9000,
    }


def test_everything_that_arrived_is_shown_once() -> None:
    heard, _ = talk(300, 10, 50, "received_all[1]", link={"delay_ms": 5})
    stamps = [[stamp // 1000 for stamp, _ in value] for _, _, value in heard]
    assert stamps[1:3] == [[0, 10, 20, 30, 40], [50, 60, 70, 80, 90]]
    seldom, _ = talk(300, 100, 20, "received_all[1]", link={"delay_ms": 5})
    assert [stamp // 1000 for _, _, value in seldom for stamp, _ in value] == [0, 100, 200]


@pytest.mark.parametrize("faster", [1, 5])
def test_plain_values_are_sampled_and_delayed(faster: int) -> None:
    # a meter to a controller: values of 0, 50, 100 ms are seen 70 ms later at the receiver's ticks of 10 ms
    heard, _ = talk(
        240, 50 / faster, 10, P, attrs=[P],
        link={"delay_ms": 65, "attrs": [P], "send_ms": 50, "initial": {P: -1.0}},
    )  # fmt: skip
    at = {round(time): value for time, _, value in heard}
    assert [at[t] for t in (0, 60, 70, 110, 120, 170, 220)] == pytest.approx([-1, -1, 0, 0, 0.05, 0.1, 0.15])


@pytest.mark.parametrize("faster", [1, 5])
def test_plain_values_are_those_of_their_stamp(faster: int) -> None:
    # the receiver looks when the sender has moved on to 90 ms; what was said at 50 ms is what arrives
    heard, _ = talk(
        200, 50 / faster, 50, P, attrs=[P], link={"delay_ms": 20, "attrs": [P], "send_ms": 50, "initial": {P: -1.0}}
    )  # fmt: skip
    assert [value for _, _, value in heard] == pytest.approx([-1, 0, 0.05, 0.1, 0.15])


def test_age_and_counts() -> None:
    rows: list[Any] = []
    events = [{"t_s": 0.2, "do": "link_down", "link": "a->b", "for_s": 0.2}]
    heard, comms = talk(
        600, 50, 50, "age[ms]", "lost[1]", "up[1]", link={"delay_ms": 60}, events=events,
        sink=lambda time, row: rows.append((time, row)),
    )  # fmt: skip
    shown = {attr: [value for _, a, value in heard if a == attr] for attr in ("age[ms]", "lost[1]", "up[1]")}
    # each is 100 ms old when it can be used; what is sent at 200, 250, 300, 350 ms is lost
    nan = float("nan")
    age = [nan, nan, 100, 100, 100, 100, 150, 200, 250, 300, 100, 100, 100]
    assert shown["age[ms]"] == pytest.approx(age, nan_ok=True)
    assert shown["lost[1]"] == [0, 0, 0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 4]
    assert shown["up[1]"] == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert comms.columns == ("a->b.age[ms]", "a->b.lost[1]")
    assert np.array([row for _, row in rows]) == pytest.approx(np.array([age, shown["lost[1]"]]).T, nan_ok=True)
    found = comms.statistics()["a->b"]
    assert found == {
        "sent": 12, "delivered": 7, "lost": 4, "bytes": 8 * 64, "age_mean": pytest.approx(1600 / 11), "age_max": 300,
        "age_p95": pytest.approx(275),
    }  # fmt: skip


def test_age_counts_at_every_tick_of_the_receiver() -> None:
    # delay 3 ms, seen at 10 ms, then 20, ..., 50 ms old, every 10 ms: 10 to 50
    _, comms = talk(1009, 50, 10, "received[1]", link={"delay_ms": 3})
    found = comms.statistics()["a->b"]
    assert [found["age_mean"], found["age_max"]] == pytest.approx([30, 50])


def test_events_change_links_and_are_logged() -> None:
    told: list[Any] = []
    events = [
        {"t_s": 0.25, "do": "set", "link": "*", "key": "delay_ms", "value": 20},
        {"t_s": 0.1, "do": "set", "link": "a->b", "key": "delay_ms", "value": 120},
        {"t_s": 0.3, "do": "link_down", "link": "a->b"},
        {"t_s": 0.45, "do": "link_up", "link": "a->b"},
    ]
    heard, _ = talk(600, 50, 50, "received[1]", events=events, log=lambda *entry: told.append(entry))
    # 100, 150, 200 ms take 120 ms and are overtaken by 250 ms, which takes 20 ms; 300 to 400 ms are lost
    assert first_heard(heard) == {0: 50, 50: 100, 100: 250, 250: 300, 450: 500, 500: 550, 550: 600}
    assert told == [
        (0.1, "set", "a->b", "delay_ms now 120"), (0.25, "set", "a->b", "delay_ms now 20"),
        (0.3, "link_down", "a->b", "down"), (0.45, "link_up", "a->b", "up"),
    ]  # fmt: skip


def test_one_part_of_the_jitter_may_change() -> None:
    simulator = CommSimulator()
    events = [
        {"t_s": 1, "do": "set", "link": "*", "key": "jitter.percent", "value": 50},
        {
            "t_s": 2,
            "do": "set",
            "link": "*",
            "key": "burst",
            "value": {"good_to_bad_percent": 1, "bad_to_good_percent": 9},
        },
    ]
    simulator.init("Comms", 1e-6, events=events)
    simulator.create(
        1, "Link", sender="a", receiver="b", send_ms=50, delay_ms=10, jitter={"kind": "uniform", "percent": 5}
    )
    changes = simulator._links["a->b"]._channel._changes
    assert changes[0] == (1_000_000, LinkParams(delay_ms=10, jitter=Jitter("uniform", percent=50)))
    assert changes[1] == (2_000_000, LinkParams(10, Jitter("uniform", percent=50), 0, Burst(1, 9)))


def network(**more: Any) -> CommSimulator:
    simulator = CommSimulator()
    simulator.init("Comms", 1e-6, seed=more.pop("seed", 0))
    simulator.create(1, "Network", **({"graph": "line", "names": ["a", "b", "c"], "send_ms": 50} | more))
    return simulator


def test_network_has_a_link_in_either_direction_of_every_edge() -> None:
    simulator = CommSimulator()
    simulator.init("Comms", 1e-6)
    (one,) = simulator.create(
        1, "Network", graph="star", names=["a", "b", "c"], send_ms=50, delay_ms=5, links={"a->b": {"delay_ms": 80}}
    )
    assert [child["eid"] for child in one["children"]] == ["a->b", "b->a", "a->c", "c->a"]
    assert [simulator._links[name]._channel.params.delay_ms for name in ("a->b", "b->a")] == [80, 5]


def fates(simulator: CommSimulator, link: str = "a->b") -> Any:
    return [simulator._links[link]._channel.send(k, None, 1) for k in range(50)]


def test_luck_depends_on_the_seed_and_the_links_name_only() -> None:
    shaky: Any = {"loss_percent": 30, "delay_ms": 50, "jitter": {"kind": "normal", "percent": 20}}
    assert fates(network(**shaky), "b->c") == fates(network(graph="full", **shaky), "b->c")
    assert fates(network(**shaky)) != fates(network(seed=1, **shaky))
    assert fates(network(**shaky)) != fates(network(**shaky), "b->a")


def test_simulator_without_links_steps_once_a_second() -> None:
    simulator = CommSimulator()
    simulator.init("Comms", 1e-6)
    assert simulator.step(0, {}, 0) == 1_000_000


def test_steps_are_no_more_than_needed() -> None:
    # sender and receiver in step: one step of the links a period, whatever the delay
    steps: list[Any] = []
    talk(1000, 50, 50, "received[1]", link={"delay_ms": 137}, sink=lambda time, row: steps.append(time))
    assert steps == list(range(0, 1_000_001, 50_000))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"send_ms": 50, "delay": 1}, "link a->b: link has no delay; there are delay_ms, jitter"),
        ({"delay_ms": 5}, "link a->b: send_ms is missing: the step of the sender"),
        ({"send_ms": 0.0005}, "link a->b: step_ms = 0.0005 must be a multiple of 0.001 ms"),
        ({"send_ms": 50, "message_bytes": -1}, "link a->b: message_bytes = -1 must be >= 0"),
        ({"send_ms": 50, "delay_ms": -5, "loss_percent": 200}, "delay_ms = -5 must be >= 0; loss_percent = 200 must"),
        ({"send_ms": 50, "jitter": {"kind": "uniform", "prcent": 5}}, "link a->b: jitter has no prcent"),
        ({"send_ms": 50, "burst": {"good_to_bad_percent": 5}}, "link a->b: burst: .* missing"),
        ({"send_ms": 50, "attrs": ["T[degC]"]}, r"T\[degC\] is not known; name it in `attrs` when starting"),
        ({"send_ms": 50, "sender": "x.y"}, "'x.y->b': an entity's name has no dot and is used once"),
        ({"send_ms": 50, "sender": "old"}, "'old->b': an entity's name has no dot and is used once"),
    ],
)
def test_wrong_links_are_named(given: Any, words: str) -> None:
    simulator = CommSimulator()
    simulator.init("Comms", 1e-6)
    simulator.create(1, "Link", sender="old", receiver="b", send_ms=50)
    with pytest.raises(ValueError, match=words):
        simulator.create(1, "Link", **({"sender": "a", "receiver": "b"} | given))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"t_s": 1, "do": "cut", "link": "a->b"}, "unknown event 'cut'; there are link_down, link_up, set"),
        ({"t_s": 1, "do": "link_down"}, "needs link"),
        ({"t_s": 1, "do": "link_up", "link": "a->b", "for_s": 1}, "has no for_s"),
        ({"t_s": 1, "do": "set", "link": "a->b", "key": "delay_ms"}, "needs value"),
    ],
)
def test_wrong_events_are_named(event: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CommSimulator().init("Comms", 1e-6, events=[event])


def test_events_of_what_is_not_there_are_refused() -> None:
    simulator = CommSimulator()
    simulator.init("Comms", 1e-6, events=[{"t_s": 1, "do": "link_down", "link": "a->x"}])
    simulator.create(1, "Link", sender="a", receiver="b", send_ms=50)
    with pytest.raises(ValueError, match="an event names the link a->x, which is not there"):
        simulator.setup_done()
    for key, value, words in (("dely_ms", 1, "set: a link has no dely_ms"), ("delay_ms", -1, "delay_ms = -1 must be")):
        changed = CommSimulator()
        changed.init("Comms", 1e-6, events=[{"t_s": 1, "do": "set", "link": "*", "key": key, "value": value}])
        with pytest.raises(ValueError, match=words):
            changed.create(1, "Link", sender="a", receiver="b", send_ms=50)


def test_wrong_wires_are_named() -> None:
    simulator = CommSimulator()
    simulator.init("Comms", 1e-6, attrs=[P])
    simulator.create(1, "Link", sender="a", receiver="b", send_ms=50)
    with pytest.raises(SimulatorFailure, match=r"Comms\.a->b at t = 0\.05 s: a message is stamped 50000.*time_shifted"):
        simulator.step(50_000, {"a->b": {"message[1]": {"A.one": [50_000, 1]}}}, 0)
    simulator.create(1, "Link", sender="a", receiver="c", send_ms=50, attrs=[P])
    with pytest.raises(SimulatorFailure, match=r"message\[1\] is connected; this link carries P_gen_meas"):
        simulator.step(60_000, {"a->c": {"message[1]": {"A.one": [50_000, 1]}}}, 0)


def test_names_and_parameters() -> None:
    assert link_name("a", "b") == "a->b"
    assert link_params({"jitter": None, "burst": None}) == LinkParams()
    with pytest.raises(ValueError, match="time_resolution = 1e-07 s must be whole microseconds"):
        CommSimulator().init("Comms", 1e-7)
    with pytest.raises(ValueError, match="links: there is no a->c in the graph"):
        network(links={"a->c": {}})


def test_trace_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "delays.txt"
    file.write_text("# ms\n12.5\n80\n3\n")
    params = link_params({"jitter": {"kind": "trace", "trace": str(file)}})
    assert params.jitter.trace == (12.5, 80.0, 3.0)
