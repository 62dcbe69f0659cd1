"""Secondary control in mosaik: a quasi-static plant, agents, and links between them."""

import sys
from pathlib import Path
from typing import Any

import mosaik
import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.simulators.comms import CommSimulator
from gridloop.simulators.control import SecondarySimulator
from gridloop.simulators.control_settings import law_named
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models.margins import sampled_margin_ticks
from gridloop.simulators.models.secondary import FREQUENCY_LAWS, TWO_PI, frequency_d
from gridloop.simulators.wire import to_lists

UNITS = ("u1", "u2", "u3")
RATING_MW = np.array([1.0, 2.0, 1.25])
M = 0.02 * TWO_PI * 50 / RATING_MW  # rad/s per MW
N = 0.05 / RATING_MW
X = np.array([0.02, 0.08, 0.05])  # reactance from each unit to the one bus: Q is not shared by itself
GIVEN = ("Omega[rad_per_s]", "dOmega[rad_per_s2]", "v[pu]", "dv[pu_per_s]", "t_tick[s]")
SEEN = ("f[Hz]", "S[pu]", "V[pu]")
PERIOD_S = 0.05


class Plant(mosaik_api_v3.Simulator):
    """Droop sources at one frequency, which feed 2 MW and 0.5 Mvar (1 MW until 1 s): Omega_i - m_i P_i is the same."""

    def __init__(self, rows: list[Any], lists: bool) -> None:
        attrs = [*GIVEN, *SEEN]
        super().__init__({
            "api_version": "3.0", "type": "time-based",
            "models": {"Plant": {"public": True, "params": [], "attrs": attrs, "any_inputs": False}},
        })  # fmt: skip
        self.rows, self.lists = rows, lists

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "plant", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        given = {attr: np.asarray(*sources.values()) for attr, sources in inputs["plant"].items()}
        ran_s = time * 1e-6 - given[GIVEN[4]] if time else 0.0  # along the ramps since the agents' last tick
        omega = given[GIVEN[0]] + given[GIVEN[1]] * ran_s
        e_pu = 1 + given[GIVEN[2]] + given[GIVEN[3]] * ran_s
        load_mw = 1.0 if time < 1_000_000 else 2.0
        d_omega = ((omega / M).sum() - load_mw) / (1 / M).sum()
        v = ((e_pu / (X + N)).sum() - 0.5) / (1 / (X + N)).sum()
        q = (e_pu - v) / (X + N)
        self.shown = {"f[Hz]": np.full(3, 50 + d_omega / TWO_PI), "S[pu]": (omega - d_omega) / M + 1j * q}
        self.shown["V[pu]"] = (e_pu - N * q) * np.exp(0.3j)
        p, v = self.shown["S[pu]"].real / RATING_MW, np.abs(self.shown["V[pu]"])
        self.rows.append([time * 1e-6, self.shown["f[Hz]"][0], *p, *(q / RATING_MW), *v])
        return time + 50_000

    def get_data(self, outputs: Any) -> Any:
        form = to_lists if self.lists else np.array
        return {eid: {attr: form(self.shown[attr]) for attr in attrs} for eid, attrs in outputs.items()}


def run(until_s: float, link: Any = None, pairs: Any = None, **init: Any) -> tuple[Any, Any]:
    """Rows (t, f, P/S of the units, Q/S, V) of the plant, and the control; over links where one is given."""
    rows: list[Any] = []
    lists, pins, central = init.pop("lists", False), init.pop("pins", "u1"), init.get("central", [])
    members = init.pop("members", UNITS)
    control = SecondarySimulator(init.pop("sink", None), lists, init.pop("log", None))
    init.setdefault("voltage", {"law": "none"})
    init.setdefault("exchange", "inside" if link is None else "links")
    with mosaik.World(cache=False, skip_greetings=True, configure_logging=False, time_resolution=1e-6) as world:
        plant = world.start(PythonStarter(lambda: Plant(rows, lists)), "Plant").Plant()  # type: ignore[arg-type]
        secondary = world.start(PythonStarter(lambda: control), "Secondary", **init)  # type: ignore[arg-type]
        params = {"s_rated_kva": [1e3 * rating for rating in RATING_MW]}
        group = secondary.Agents(ids=list(UNITS), members=list(members), params=params, pins=pins)
        bosses = [secondary.Central(name=name) for name in central]
        world.connect(plant, group, *((attr, attr) for attr in SEEN))
        for boss in bosses:
            pick = {"transform": lambda value: abs(complex(value[0]))}
            world.connect(plant, boss, ("f[Hz]", "f[Hz]"), **pick)
            world.connect(plant, boss, ("V[pu]", "Vm[pu]"), **pick)
        zero = [0.0] * 3 if lists else np.zeros(3)
        start = dict.fromkeys(GIVEN[:4], zero) | {GIVEN[4]: 0.0}
        world.connect(group, plant, *((attr, attr) for attr in GIVEN), time_shifted=True, initial_data=start)
        if link is not None:
            comms = world.start(PythonStarter(CommSimulator), "Comms", seed=1)
            entities = {child.eid: child for child in group.children} | {boss.eid: boss for boss in bosses}
            for sender, receiver in pairs or [(a, b) for a in UNITS for b in UNITS if abs(int(a[1]) - int(b[1])) == 1]:
                one = comms.Link(sender=sender, receiver=receiver, send_ms=50, receive_ms=50, **link)
                out, into = ("message[1]", "message[1]"), ("received[1]", "received[1]")
                world.connect(entities[sender], one, out, time_shifted=True, initial_data={"message[1]": None})
                world.connect(one, entities[receiver], into)
        world.run(until=round(until_s * 1e6) + 1, print_progress=False)
    return np.array(rows), control


def test_distributed_control_restores_the_frequency_and_shares_the_load() -> None:
    rows, control = run(15, graph="line")
    droop_hz = 50 - 1 / (1 / M).sum() / TWO_PI
    assert rows[0, 1] == pytest.approx(droop_hz), "no correction yet"
    assert rows[20, 1] - rows[19, 1] == pytest.approx(droop_hz - 50, abs=0.05), "1 MW more at 1 s"
    assert rows[-1, 1] == pytest.approx(50, abs=1e-6)
    assert rows[-1, 2:5] == pytest.approx([2 / 4.25] * 3, abs=1e-6)
    # equal corrections: m_i P_i, 2 % of 50 Hz at the rating
    shown = [control.get_data({unit: ["Omega[Hz]"]})[unit]["Omega[Hz]"] for unit in UNITS]
    assert shown == pytest.approx([1.0 * 2 / 4.25] * 3, abs=1e-6)


def test_law_f_follows_its_equations() -> None:
    # the same loop without mosaik: Omega_k+1 = Omega_k + h (-4 L Omega_k - 4 g dw_k)
    rows, _ = run(3, graph="line")
    laplacian = np.array([[1.0, -1, 0], [-1, 2, -1], [0, -1, 1]])
    omega, f = np.zeros(3), []
    for k in range(len(rows)):
        d_omega = ((omega / M).sum() - (1.0 if k < 20 else 2.0)) / (1 / M).sum()
        f.append(50 + d_omega / TWO_PI)
        omega = np.clip(
            omega + PERIOD_S * (-4 * laplacian @ omega - 4 * np.array([1, 0, 0]) * d_omega), -TWO_PI, TWO_PI
        )
    assert rows[:, 1] == pytest.approx(f, abs=1e-12)


def test_law_v_shares_reactive_power_and_paper23_does_not() -> None:
    for law, shared in (("V", True), ("paper23", False), ("none", False)):
        rows, _ = run(15, graph="line", voltage={"law": law, "limit_pu": 0.2, "c3_per_s": 4, "c0_per_s": 4})
        q = rows[-1, 5:8]
        assert (np.ptp(q) < 1e-4) == shared
        assert (abs(rows[-1, 8] - 1) < 1e-4) == (law != "none"), "the pinned bus"


def test_groups_that_exchange_lists_give_the_same() -> None:
    assert np.array_equal(run(2, graph="line", voltage={})[0], run(2, graph="line", voltage={}, lists=True)[0])


def envelope(rows: Any, start_s: float, end_s: float) -> float:
    """Largest distance of the units' power shares in a window."""
    shares = rows[(rows[:, 0] >= start_s) & (rows[:, 0] < end_s), 2:5]
    return float(np.ptp(shares, axis=1).max())


KICKS = [
    {"t_s": 5, "do": "agent_kick", "agent": unit, "omega_rad_per_s": kick}
    for unit, kick in (("u2", 0.1), ("u3", -0.05))
]


@pytest.mark.parametrize(
    ("handling", "delay_ms", "stable"),
    [("matched", 100, True), ("matched", 101, False), ("neighbour_only", 150, True), ("neighbour_only", 1000, True)],
)
def test_delayed_messages_are_stood_up_to_the_sampled_margin(handling: str, delay_ms: float, stable: bool) -> None:
    # line of 3, C2 h lambda = 4 * 0.05 * 3 = 0.6: two ticks of delay are stable, three are not
    assert sampled_margin_ticks(4, PERIOD_S, 3.0) == 2
    rows, _ = run(60, {"delay_ms": delay_ms}, graph="line", delay_handling=handling, events=KICKS)
    assert (envelope(rows, 50, 60) < 0.5 * envelope(rows, 5, 15)) == stable


@pytest.mark.parametrize(("delay_ms", "stable"), [(250, True), (251, False)])
def test_central_controller_stands_its_sampled_margin(delay_ms: float, stable: bool) -> None:
    # K_I h = 0.25: 2 sin(pi/22) = 0.285 with five ticks, 2 sin(pi/26) = 0.241 with six
    assert sampled_margin_ticks(5, PERIOD_S, 1.0) == 5
    rows, _ = run(
        30, {"delay_ms": delay_ms}, [("mgcc", unit) for unit in UNITS], central=["mgcc"],
        frequency={"law": "C", "k_i_per_s": 5, "limit_hz": 100},
    )  # fmt: skip
    late, early = (np.abs(rows[(rows[:, 0] >= t) & (rows[:, 0] < t + 5), 1] - 50).max() for t in (25, 1))
    assert (late < 0.5 * early) == stable


def test_central_controller_inside_restores_frequency_and_voltage() -> None:
    rows, _ = run(15, graph="star", central=["mgcc"], frequency={"law": "C"}, voltage={"law": "C"})
    assert rows[-1, 1] == pytest.approx(50, abs=1e-6)
    assert rows[-1, 8] == pytest.approx(1, abs=1e-6)


def test_standby_goes_on_when_the_central_controller_fails() -> None:
    told: list[Any] = []
    events = [{"t_s": 0.5, "do": "agent_fail", "agent": "mgcc"}, {"t_s": 5, "do": "agent_recover", "agent": "mgcc"}]
    rows, control = run(
        12, graph="star", central=["mgcc", "spare"], frequency={"law": "C"}, takeover_ms=300, events=events,
        log=lambda *entry: told.append(entry),
    )  # fmt: skip
    assert rows[-1, 1] == pytest.approx(50, abs=1e-6)
    leads = {name: control.get_data({name: ["leads[1]"]})[name]["leads[1]"] for name in ("mgcc", "spare")}
    assert leads == {"mgcc": 0.0, "spare": 1.0}
    assert told == [(0.5, "agent_fail", "mgcc", "failed"), (5.0, "agent_recover", "mgcc", "works")]


def test_agent_that_fails_is_left_out_and_comes_back() -> None:
    events = [{"t_s": 0.5, "do": "agent_fail", "agent": "u3"}, {"t_s": 10, "do": "agent_recover", "agent": "u3"}]
    rows, _ = run(25, graph="full", events=events, max_age_ms=200)
    held, end = rows[(rows[:, 0] > 9) & (rows[:, 0] < 10)][-1], rows[-1]
    assert held[1] == pytest.approx(50, abs=1e-4), "the others restore the frequency"
    assert held[2] == pytest.approx(held[3], abs=1e-4)
    assert held[4] < 0.9 * held[2], "it holds its old correction"
    assert end[2:5] == pytest.approx([2 / 4.25] * 3, abs=1e-5)


def test_units_without_an_agent_keep_their_droop() -> None:
    _, control = run(8, graph="line", members=["u1", "u2"])
    shown = control.get_data({"Agents": ["Omega[rad_per_s]", "P_set[MW]"]})["Agents"]
    assert shown["Omega[rad_per_s]"][2] == 0 < shown["Omega[rad_per_s]"][0]
    assert shown["P_set[MW]"].tolist() == [0, 0, 0]


def test_own_law_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "laws_of_mine.py").write_text(
        "from gridloop.simulators.models.secondary import Rates\n"
        "def restore(own, neighbours, gains):\n"
        "    return Rates(-gains.more['k'] * own.d_omega_rad_per_s)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rows, _ = run(10, graph="line", frequency={"law": "laws_of_mine:restore"}, more={"k": 3.0})
    sys.modules.pop("laws_of_mine")
    assert rows[-1, 1] == pytest.approx(50, abs=1e-6)
    assert law_named("D", FREQUENCY_LAWS) is frequency_d


def test_corrections_are_recorded_under_their_names() -> None:
    told: list[Any] = []
    _, control = run(0.2, graph="line", sink=lambda time, row: told.append((time, row)))
    assert control.columns == tuple(f"{unit}.{attr}" for unit in UNITS for attr in ("Omega[Hz]", "v[pu]"))
    assert [time for time, _ in told] == [0, 50_000, 100_000, 150_000, 200_000]
    shown = control.get_data(
        {"u1": ["Omega[Hz]", "Omega[rad_per_s]", "v[pu]", "dv[pu_per_s]", "alive[1]", "t_tick[s]"]}
    )
    assert told[-1][1][0] == shown["u1"]["Omega[Hz]"] == shown["u1"]["Omega[rad_per_s]"] / TWO_PI > 0
    assert (shown["u1"]["alive[1]"], shown["u1"]["t_tick[s]"]) == (1.0, 0.2)


def simulator(**init: Any) -> SecondarySimulator:
    made = SecondarySimulator()
    made.init("Secondary", 1e-6, **init)
    return made


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"frequency": {"law": "G"}}, "law = 'G': there are F, D, C, none, and MODULE:FUNCTION"),
        ({"voltage": {"law": "no_such:law"}}, "law = 'no_such:law': No module named"),
        ({"frequency": {"c3_per_s": 1}}, "frequency has no c3_per_s; there are law, c2_per_s"),
        ({"voltage": {"limit_pu": -1}}, "v_limit_pu = -1 must be >= 0"),
        ({"exchange": "radio"}, "exchange = 'radio': there are inside, links"),
        ({"on_fail": "stop"}, "on_fail = 'stop': there are hold, drop"),
        ({"delay_handling": "fast"}, "delay_handling = 'fast': there are matched, neighbour_only"),
        ({"balancing": {"estimate_per_s": 1}}, "balancing takes gain, estimate_per_s, limit_percent"),
        ({"period": 50}, "unknown parameter period"),
        ({"events": [{"t_s": 1, "do": "agent_die", "agent": "a"}]}, "unknown event 'agent_die'"),
        ({"events": [{"t_s": 1, "do": "agent_fail"}]}, "needs agent"),
        ({"events": [{"t_s": 1, "do": "agent_fail", "agent": "a", "v_pu": 1}]}, "has no v_pu"),
    ],
)
def test_wrong_settings_are_named(init: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulator(**init)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"members": ["c"]}, "Agents: c is not one of a, b"),
        ({"pins": "c"}, "Agents: c is not one of a, b"),
        ({"ids": ["old", "b"]}, "'old': an entity's name has no dot and is used once"),
        ({"ids": ["a.x", "b"]}, r"'a\.x': an entity's name has no dot and is used once"),
        ({"params": {}}, "s_rated_kva is missing; there are s_rated_kva, droop_p_percent"),
        ({"params": {"s_rated_kva": 1, "rating": 1}}, "params: unknown rating"),
        ({"params": {"s_rated_kva": [1, 2, 3]}}, "s_rated_kva has 3 values for 2 units"),
        ({"params": {"s_rated_kva": [1, -2]}}, "agent b: s_rated_kva = -2 must be > 0"),
    ],
)
def test_wrong_agents_are_named(given: Any, words: str) -> None:
    made = simulator()
    made.create(1, "Agents", ids=["old"], params={"s_rated_kva": 1})
    with pytest.raises(ValueError, match=words):
        made.create(1, "Agents", **({"ids": ["a", "b"], "params": {"s_rated_kva": 1}} | given))


def test_what_is_missing_is_named_before_the_run() -> None:
    made = simulator(frequency={"law": "C"}, events=[{"t_s": 1, "do": "agent_fail", "agent": "x"}])
    with pytest.raises(ValueError, match="the central controller mgcc is not created"):
        made.setup_done()
    with pytest.raises(ValueError, match="'boss': name every central controller in `central` and create it once"):
        made.create(1, "Central", name="boss")
    made.create(1, "Central", name="mgcc")
    with pytest.raises(ValueError, match="an event names the agent x, which is not there"):
        made.setup_done()


def test_law_without_its_inputs_fails_by_name() -> None:
    made = simulator()
    made.create(1, "Agents", ids=["a"], params={"s_rated_kva": 1}, pins="a")
    made.setup_done()
    with pytest.raises(SimulatorFailure, match=r"Secondary\.a at t = 0 s: the law gives .* is f, P, Q and V connected"):
        made.step(0, {}, 0)
    inputs = {attr: {"Grid.x": value} for attr, value in (("f[Hz]", 49.9), ("Vm[pu]", 1.0), ("Q_gen[MVar]", 0.0))}
    made.step(0, {"a": inputs}, 0)
    assert made.get_data({"a": ["dOmega[rad_per_s2]"]})["a"]["dOmega[rad_per_s2]"] == pytest.approx(0.4 * TWO_PI)


@pytest.mark.parametrize(("graph", "known"), [("line", True), ([], False)])
def test_before_the_first_messages_neighbours_know_the_start(graph: Any, known: bool) -> None:
    made = simulator(graph=graph, exchange="links")
    made.create(1, "Agents", ids=["a", "b"], params={"s_rated_kva": 1000})
    made.setup_done()
    made.step(0, {"a": {"Q_gen[MVar]": {"Grid.a": 0.4}}, "b": {"Q_gen[MVar]": {"Grid.b": 0.2}}}, 0)
    # 10 * 5 % * (0.4 - 0.2) = 0.1 pu/s
    rate = made.get_data({"a": ["dv[pu_per_s]"]})["a"]["dv[pu_per_s]"]
    assert rate == pytest.approx(-0.1 if known else 0.0)
    made.step(50_000, {"a": {"Q_gen[MVar]": {"Grid.a": 0.3}}, "b": {"Q_gen[MVar]": {"Grid.b": 0.3}}}, 0)
    again = made.get_data({"a": ["dv[pu_per_s]"]})["a"]["dv[pu_per_s]"]
    assert again == pytest.approx(rate), "matched: still what was at the start, until something newer arrives"
