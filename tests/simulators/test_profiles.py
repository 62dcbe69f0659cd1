"""Units whose power is given: between rows, at rows, beyond them, and in a mosaik world."""

import json
from typing import Any

import mosaik
import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.simulators.profiles import META, OUTPUTS, RECORDS, Outputs, ProfileSimulator

STEP = 5000
P_MW = [[1.0, -2.0], [3.0, -2.5], [2.0, 0.0]]
Q_MVAR = [[0.1, 0.2], [0.3, 0.2], [0.3, -0.2]]


def simulator(resolution: float = 1e-6, sink: Any = None, **more: Any) -> ProfileSimulator:
    profile = ProfileSimulator(sink)
    profile.init("Profile", resolution, **({"s_base_mva": 10.0} | more))
    return profile


def group(profile: ProfileSimulator, ids: Any = ("a", "b"), **more: Any) -> Any:
    given = {"ids": ids, "times_s": [0, 60, 90], "p_gen_mw": P_MW, "q_gen_mvar": Q_MVAR} | more
    return profile.create(1, "Profiles", **given)


def powers(profile: ProfileSimulator, t_s: float, eid: str = "Profiles") -> Any:
    profile.step(round(t_s * 1e6), {}, 0)
    shown = profile.get_data({eid: ["P_gen[pu]", "Q_gen[pu]"]})[eid]
    return [10 * shown["P_gen[pu]"], 10 * shown["Q_gen[pu]"]]


def test_power_is_linear_between_rows_and_holds_beyond_them() -> None:
    # after 15 of 60 s a quarter of the way, after 20 of 30 s two thirds
    profile = simulator()
    group(profile)
    for t_s, p_mw, q_mvar in (
        (0, [1, -2], [0.1, 0.2]),
        (15, [1.5, -2.125], [0.15, 0.2]),
        (60, [3, -2.5], [0.3, 0.2]),
        (80, [7 / 3, -2.5 / 3], [0.3, 0.2 - 0.8 / 3]),
        (90, [2, 0], [0.3, -0.2]),
        (4000, [2, 0], [0.3, -0.2]),
        (15, [1.5, -2.125], [0.15, 0.2]),  # and back
    ):
        found = powers(profile, t_s)
        assert found[0] == pytest.approx(p_mw) and found[1] == pytest.approx(q_mvar), t_s


def test_before_the_first_row_it_holds() -> None:
    profile = simulator()
    group(profile, times_s=[30, 60, 90])
    assert powers(profile, 10)[0] == pytest.approx([1, -2])
    assert powers(profile, 45)[0] == pytest.approx([2, -2.25])


def test_rows_are_met_exactly() -> None:
    # 0.3 s are 300000 us, and 300000 * 1e-6 is not 0.3
    times = [round(0.1 * k, 1) for k in range(20)]
    values = np.random.default_rng(1).normal(size=(20, 2))
    profile = simulator(s_base_mva=1.0)
    group(profile, times_s=times, p_gen_mw=values, q_gen_mvar=0.0)
    for t_s, row in zip(times, values, strict=True):
        profile.step(round(t_s * 1e6), {}, 0)
        assert np.array_equal(profile.get_data({"Profiles": ["P_gen[MW]"]})["Profiles"]["P_gen[MW]"], row), t_s


def test_units_show_generation_and_load_in_mw() -> None:
    profile = simulator()
    (made,) = group(profile)
    assert [child["eid"] for child in made["children"]] == ["a", "b"]
    profile.step(15_000_000, {}, 0)
    attrs = ["P_gen[MW]", "Q_gen[MVar]", "P_load[MW]", "Q_load[MVar]", "P_set[MW]"]
    shown = profile.get_data({"b": attrs, "a": attrs[:1]})
    assert shown["b"] == pytest.approx(dict(zip(attrs, [-2.125, 0.2, 2.125, -0.2, -2.125], strict=True)))
    assert shown["a"] == pytest.approx({"P_gen[MW]": 1.5})
    json.dumps(shown)


@pytest.mark.parametrize(
    ("p_gen_mw", "expected"), [(2.5, [2.5, 2.5]), ([2.5, -1], [2.5, -1]), (np.full((3, 2), 0.5), [0.5, 0.5])]
)
def test_constants_need_no_series(p_gen_mw: Any, expected: Any) -> None:
    profile = simulator()
    group(profile, p_gen_mw=p_gen_mw)
    assert powers(profile, 15) == [pytest.approx(expected), pytest.approx([0.15, 0.2])]
    alone = simulator()
    alone.create(1, "Profiles", ids=["a", "b"], p_gen_mw=[2.5, -1])
    assert np.array_equal(powers(alone, 15), [[2.5, -1.0], [0.0, 0.0]])


def test_groups_have_times_of_their_own_and_one_record() -> None:
    rows: list[Any] = []
    profile = simulator(sink=lambda time, outputs: rows.append((time, outputs)))
    group(profile)
    (made,) = profile.create(1, "Profiles", ids=["c"], times_s=[0, 10], p_gen_mw=[[0], [5]], q_gen_mvar=[[1], [2]])
    assert made["eid"] == "Profiles-1"
    assert powers(profile, 6)[0] == pytest.approx([1.2, -2.05])
    assert powers(profile, 6, "Profiles-1") == [pytest.approx([3]), pytest.approx([1.6])]
    assert profile.get_data({"c": ["Q_load[MVar]"]})["c"]["Q_load[MVar]"] == pytest.approx(-1.6)
    time, recorded = rows[-1]
    assert time == 6_000_000 and isinstance(recorded, Outputs)
    assert recorded.p_gen_pu == pytest.approx([0.12, -0.205, 0.3])
    assert recorded.q_gen_pu == pytest.approx([0.012, 0.02, 0.16])


def test_outputs_are_fresh_in_every_step() -> None:
    profile = simulator()
    group(profile)
    profile.step(0, {}, 0)
    first = profile.get_data({"Profiles": ["P_gen[pu]"]})["Profiles"]["P_gen[pu]"]
    kept = first.copy()
    profile.step(STEP, {}, 0)
    second = profile.get_data({"Profiles": ["P_gen[pu]"]})["Profiles"]["P_gen[pu]"]
    assert np.array_equal(first, kept) and not np.array_equal(second, kept)


def test_what_it_was_given_is_not_changed_and_may_change_afterwards() -> None:
    profile, values = simulator(), np.array(P_MW)
    group(profile, p_gen_mw=values)
    values *= 2
    assert powers(profile, 0)[0] == pytest.approx([1, -2])


def test_steps_are_those_of_the_macro_grid_and_events() -> None:
    profile = simulator(step_ms=2.5, extra_ticks_s=[0.0031])
    group(profile)
    assert [profile.step(time, {}, 0) for time in (0, 2500, 3100, 5000)] == [2500, 3100, 5000, 7500]


def test_meta_is_that_of_the_ports() -> None:
    assert META["models"]["Profiles"]["attrs"] == [*(port.attr for port in OUTPUTS), "record[1]"]
    assert set(META["models"]["Profile"]["attrs"]) == {
        "P_gen[MW]", "Q_gen[MVar]", "P_load[MW]", "Q_load[MVar]", "P_set[MW]", "P_avail[MW]",
    }  # fmt: skip
    assert set(RECORDS) <= set(META["models"]["Profile"]["attrs"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ids": ["a.b", "c"]}, "'a.b': an entity's name has no dot and is used once"),
        ({"ids": ["a", "a"]}, "'a': an entity's name has no dot and is used once"),
        ({"ids": ["z", "y"]}, "'z': an entity's name has no dot and is used once"),
        ({"times_s": [0, 60, 60]}, "times_s: 60 in row 2 must be finite and after the row before"),
        ({"times_s": [0, np.nan, 90]}, "times_s: nan in row 1 must be finite and after the row before"),
        ({"times_s": [0, 60, np.inf]}, "times_s: inf in row 2 must be finite and after the row before"),
        ({"times_s": []}, r"times_s has the shape (0,); it must be a list of at least one time"),
        ({"p_gen_mw": P_MW[:2]}, r"p_gen_mw has the shape (2, 2); it must be (3, 2), (2,) or a number"),
        ({"q_gen_mvar": [1, 2, 3]}, r"q_gen_mvar has the shape (3,); it must be (3, 2), (2,) or a number"),
        ({"q_gen_mvar": [0, np.nan]}, "q_gen_mvar: nan in row 0, unit 1 must be a finite number"),
        ({"p_gen_mw": [*P_MW[:2], [np.inf, 0]]}, "p_gen_mw: inf in row 2, unit 0 must be a finite number"),
    ],
)
def test_wrong_parameters_are_named(more: Any, words: str) -> None:
    profile = simulator()
    group(profile, ids=["z"], p_gen_mw=0, q_gen_mvar=0)
    with pytest.raises(ValueError) as error:
        group(profile, **more)
    assert str(error.value) == words


def test_one_group_at_a_time_and_no_unknown_parameters() -> None:
    with pytest.raises(ValueError, match="Profiles: create one group at a time"):
        simulator().create(2, "Profiles", ids=["a"])
    with pytest.raises(ValueError, match="Profile: unknown parameter step_s"):
        simulator(step_s=1)


class Taker(mosaik_api_v3.Simulator):
    """Keeps what reaches it at every step."""

    def __init__(self, seen: dict[int, Any]) -> None:
        super().__init__({
            "api_version": "3.0", "type": "time-based",
            "models": {"Taker": {"public": True, "any_inputs": True, "params": [], "attrs": []}},
        })  # fmt: skip
        self.seen = seen

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "taker", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.seen[time] = {attr: next(iter(sources.values())) for attr, sources in inputs["taker"].items()}
        return time + STEP

    def get_data(self, outputs: Any) -> Any:
        return {}


@pytest.mark.parametrize("in_lists", [False, True])
def test_in_a_mosaik_world(in_lists: bool) -> None:
    seen: dict[int, Any] = {}
    given = {"times_s": [0, 0.01, 0.02], "p_gen_mw": P_MW, "q_gen_mvar": Q_MVAR}
    with mosaik.World(cache=False, skip_greetings=True, configure_logging=False, time_resolution=1e-6) as world:
        starter = PythonStarter(ProfileSimulator, kwargs={"json": in_lists})
        profile = world.start(starter, "Profile", step_ms=5, s_base_mva=10.0)
        units = profile.Profiles(ids=["wind", "ev"], **given)
        taker = world.start(PythonStarter(lambda: Taker(seen)), "Taker").Taker()  # type: ignore[arg-type]
        world.connect(units, taker, "P_gen[pu]", "Q_gen[pu]")
        world.connect(units.children[1], taker, "P_load[MW]")
        world.run(until=20_001)
    assert list(seen) == [0, 5000, 10_000, 15_000, 20_000]
    assert seen[5000]["P_gen[pu]"] == pytest.approx([0.2, -0.225])
    assert seen[15_000]["Q_gen[pu]"] == pytest.approx([0.03, 0.0])
    assert [seen[time]["P_load[MW]"] for time in seen] == pytest.approx([2, 2.25, 2.5, 1.25, 0])
    assert isinstance(seen[0]["P_gen[pu]"], list if in_lists else np.ndarray)
