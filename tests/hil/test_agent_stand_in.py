"""A physical agent in place of a simulated one: what it is told, when its decision counts, and no bump."""

import pytest

from gridloop.hil.adapter import DeviceLost
from gridloop.hil.agent_stand_in import AgentStandIn
from gridloop.hil.charge import Spec
from gridloop.hil.messages import ALIGNED, CORRECTION, T_S, heard_as, heard_in
from gridloop.hil.policy import GOOD, STALE, Snapshot

PERIOD_S = 0.05
SEEN = (49.9, 0.01, 0.002, 1.0, 0.005, 60.0)


class Agent:
    """Decides a ramp of 1 rad/s2 and 0.1 pu/s from where it is; `silent` while told so."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.at = [0.0, 0.0]
        self.values: dict[str, float] = {}
        self.silent, self.begun = False, 0

    def post(self, values):
        self.told = values
        if self.silent:
            return
        self.at = [self.at[0] + 1.0 * PERIOD_S, self.at[1] + 0.1 * PERIOD_S] if self.values else [0.0, 0.0]
        if values[ALIGNED]:
            self.at = [values[attr] for attr in CORRECTION[:2]]
        self.values = dict(zip(CORRECTION, (*self.at, 1.0, 0.1), strict=True)) | {T_S: values[T_S]}

    def snapshot(self):
        return Snapshot(self.values, 0.0, 1, STALE if self.silent else GOOD, "silent" if self.silent else "", 0.0)

    def cycle(self, timeout_s):
        return self.snapshot()

    def begin(self):
        self.begun += 1

    def safe(self):
        pass


def stand_in(agent, mode="lockstep", **more):
    spec = Spec("controller", mode, hold_ms=100.0, **more)
    return AgentStandIn(agent, spec, PERIOD_S, (6.0, 0.05), {"a": 0, "b": 7})


def tick(one, k, own=(0.0, 0.0, 0.5, 0.05)):
    """Tick k: the correction from then on, and what is logged."""
    one.begin(k * PERIOD_S, SEEN, own)
    return one.end(k * PERIOD_S)


def test_in_lockstep_its_decision_counts_at_its_tick():
    agent = Agent()
    one = stand_in(agent)
    one.hear(0.0, "b", range(7))
    decided, entries = tick(one, 0, (0.3, 0.02, 0.5, 0.05))
    assert decided == (0.3, 0.02, 1.0, 0.1)  # it begins where the simulated agent is
    assert [kind for kind, _ in entries] == ["swap"]
    assert agent.told[ALIGNED] == 1 and heard_in(agent.told) == {7: (0.0, tuple(range(7)))}
    assert agent.told.items() >= {"f[Hz]": 49.9, "SoC[%]": 60.0, **heard_as(7, 0.0, range(7))}.items()
    decided, entries = tick(one, 1, (0.35, 0.025, 0.5, 0.05))
    assert decided == pytest.approx((0.35, 0.025, 1.0, 0.1)) and not entries
    assert agent.told[ALIGNED] == 0 and one.shown[0] == 1


def test_free_it_decides_one_tick_late_and_goes_on_where_the_simulated_agent_would_be():
    agent = Agent()
    one = stand_in(agent, "free")
    assert tick(one, 0, (0.3, 0.02, 0.5, 0.05))[0] is None  # nothing is there yet
    assert agent.told[ALIGNED] == 1 and agent.begun == 1
    decided, entries = tick(one, 1, (0.325, 0.0225, 0.5, 0.05))
    assert decided == pytest.approx((0.325, 0.0225, 1.0, 0.1))  # no step
    assert [kind for kind, _ in entries] == ["swap"]
    decided, _ = tick(one, 2, (0.375, 0.0275, 0.5, 0.05))
    assert decided == pytest.approx((0.375, 0.0275, 1.0, 0.1)) and agent.told[ALIGNED] == 0


@pytest.mark.parametrize("mode", ["lockstep", "free"])
def test_lost_it_rests_then_the_simulated_agent_decides_and_it_comes_back(mode):
    agent = Agent()
    one = stand_in(agent, mode)
    for k in range(3):
        tick(one, k)
    agent.silent = True
    found = [tick(one, k, (0.2, 0.01, 0.5, 0.05)) for k in range(3, 7)]
    held = (0.2, 0.01, 0.0, 0.0)
    assert [decided for decided, _ in found] == [held, held, None, None]
    assert [kind for _, entries in found for kind, _ in entries] == ["device_lost"] and one.lost_of == "silent"
    assert agent.told[ALIGNED] == 1
    agent.silent = False
    found = [tick(one, k, (0.2, 0.01, 0.5, 0.05)) for k in range(7, 19)]
    back = next(k for k, (decided, _) in enumerate(found) if decided is not None)
    assert 10 <= back <= 11 and found[back][1][0][0] == "device_back"  # half a second of answers
    # free, it decides from where the ramps of the simulated agent led
    at = (0.2, 0.01) if mode == "lockstep" else (0.225, 0.0125)
    assert found[back][0] == pytest.approx((*at, 1.0, 0.1))


def test_stop_ends_the_run():
    agent = Agent()
    one = stand_in(agent, then="stop", where="the agent at x")
    tick(one, 0)
    agent.silent = True
    with pytest.raises(DeviceLost, match="the agent at x is lost: silent"):
        for k in range(1, 9):
            tick(one, k)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"Omega[rad_per_s]": 7.0}, "its Omega[rad_per_s] = 7 is beyond 6"),
        ({"v[pu]": -0.06}, "its v[pu] = -0.06 is beyond 0.05"),
        ({"dv[pu_per_s]": float("nan")}, "it decides 0, 0, 1, nan"),
        ({T_S: 0.0}, "it did not answer in time"),
    ],
)
def test_what_is_no_decision_is_not_taken(values, cause, monkeypatch):
    agent = Agent()
    one = stand_in(agent)
    tick(one, 0)
    decide = agent.post
    monkeypatch.setattr(agent, "post", lambda told: (decide(told), agent.values.update(values)))
    found = [tick(one, k) for k in range(1, 5)]
    assert all(decided in ((0.0, 0.0, 0.0, 0.0), None) for decided, _ in found) and one.lost_of == cause


def test_a_swap_begins_and_ends_when_told():
    agent = Agent()
    one = stand_in(agent, swapped=False)
    assert tick(one, 0)[0] is None and agent.told[ALIGNED] == 1
    one.command(0.05, "swap")
    assert tick(one, 1)[0] is not None
    assert one.command(0.1, "unswap") == [("unswap", "the model drives")]
    assert tick(one, 2)[0] is None
