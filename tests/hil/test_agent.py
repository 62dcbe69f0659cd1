"""The agent of a Raspberry Pi against the simulated one, with the same inputs; what it refuses; what it imports."""

import ast
import logging
import math
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.hil import agent as pi
from gridloop.hil import frames, messages
from gridloop.hil.frames import ALIGN, ANSWER, DECIDE, HELLO, MEASURE, NEIGHBOUR, REFUSED, STOP, SYNC, Frame
from gridloop.simulators.models import inverter
from gridloop.simulators.models.agents import Agent, AgentParams, Control, Measured
from gridloop.simulators.models.secondary import FREQUENCY_LAWS, TWO_PI, VOLTAGE_LAWS, Gains, frequency_f, voltage_v

SOURCE = Path(pi.__file__)
UNIT: dict[str, Any] = {
    "s_rated_kva": 10.0, "droop_p_percent": 2.5, "droop_q_percent": 4.0, "p_set_kw": 3.0, "q_set_kvar": 1.0,
    "v_set_pu": 1.01, "e_rated_kwh": 20.0,
}  # fmt: skip
GAINS: dict[str, Any] = {
    "c2_per_s": 3.0, "c0_per_s": 1.7, "c3_per_s": 7.0, "c0v_per_s": 6.0, "beta_per_s": 1.3, "v_ref_pu": 1.02,
    "v_limit_pu": 0.04,
}  # fmt: skip


class Asked:
    """An agent, asked over its own codec without a line."""

    def __init__(self, role, codec="json", **more) -> None:
        self.agent, self._codec, self._seq = pi.Agent(role, 50, **more), codec, 0

    def __call__(self, kind, t_ms=0, values=()) -> Frame:
        answer = self.tell(kind, t_ms, values)
        assert answer is not None
        return answer

    def tell(self, kind, t_ms=0, values=()) -> Frame | None:
        """Ask; None: no answer."""
        self._seq = (self._seq + 1) % 65536
        wire = frames.CODECS[self._codec].encode(Frame(kind, self._seq, t_ms, tuple(values)))
        (heard,) = pi.Decoder(self._codec).feed(wire)
        answer = self.agent.answer(heard, 0, 0)
        if answer is None:
            return None
        assert answer.seq == self._seq
        (found,) = frames.Decoder(self._codec).feed(pi.CODECS[self._codec].encode(answer))
        return found


def secondary(**changes) -> Asked:
    return Asked(pi.Secondary(pi.Settings(**({"s_rated_kva": 10.0} | changes))))


# --- equal to the simulated agent ---


def team(law, voltage_law, handling, max_age_ms) -> tuple[list[Agent], list[Asked]]:
    """Three simulated agents, the first one pinned, and their likes of the Raspberry Pi."""
    control = Control(
        50_000, frequency_law=FREQUENCY_LAWS[law], voltage_law=VOLTAGE_LAWS[voltage_law],
        gains=Gains(**GAINS, omega_limit_rad_per_s=0.3 * TWO_PI), delay_handling=handling,
        max_age_us=None if math.isinf(max_age_ms) else round(1000 * max_age_ms),
    )  # fmt: skip
    units = [UNIT | {"v_set_pu": 1 + 0.01 * number, "pin": float(number == 0)} for number in range(3)]
    simulated = [Agent(AgentParams(f"unit{number}", **unit), control) for number, unit in enumerate(units)]
    mine = [
        pi.Settings(
            **unit, **GAINS, limit_hz=0.3, law=law, voltage_law=voltage_law, delay_handling=handling,
            max_age_ms=max_age_ms,
        )
        for unit in units
    ]  # fmt: skip
    return simulated, [Asked(pi.Secondary(settings)) for settings in mine]


@pytest.mark.parametrize("law", pi.FREQUENCY_LAWS)
@pytest.mark.parametrize("voltage_law", pi.VOLTAGE_LAWS)
@pytest.mark.parametrize(("handling", "max_age_ms"), [("matched", math.inf), ("neighbour_only", 130.0)])
def test_its_law_is_the_simulated_one(law, voltage_law, handling, max_age_ms):
    """Random measurements, messages that are late, lost and overtake each other: 100 ticks of three agents."""
    chance = random.Random(1)
    simulated, real = team(law, voltage_law, handling, max_age_ms)
    on_the_way: list = []
    moved = np.zeros(4)
    for tick in range(100):
        t_ms = 50 * tick + 9_000 * max(0, tick - 50)  # the history is of 60 s
        for number, (theirs, mine) in enumerate(zip(simulated, real, strict=True)):
            values = (
                chance.gauss(50, 0.05), chance.uniform(-0.01, 0.01), chance.uniform(-0.01, 0.01), chance.gauss(1, 0.02),
                math.nan if chance.random() < 0.3 else chance.uniform(0, 0.01), chance.uniform(0, 100),
            )  # fmt: skip
            theirs.measure(1000 * t_ms, Measured(*values))
            told = mine(MEASURE, t_ms, values).values
            assert told == pytest.approx(tuple(theirs.own.shared), rel=1e-12, abs=1e-12)
            for receiver in {0, 1, 2} - {number}:
                if chance.random() < 0.8:
                    due = t_ms + chance.choice((0, 50, 100, 250, 30_000, 70_000))
                    on_the_way.append((due, receiver, number, t_ms, tuple(theirs.own.shared)))
        for message in [one for one in on_the_way if one[0] <= t_ms]:
            on_the_way.remove(message)
            _, receiver, sender, stamp_ms, shared = message
            simulated[receiver].hear(1000 * stamp_ms, f"unit{sender}", shared)
            assert real[receiver].tell(NEIGHBOUR, stamp_ms, (sender, *shared)) is None
        for theirs, mine in zip(simulated, real, strict=True):
            theirs.decide(1000 * t_ms)
            assert mine(DECIDE, t_ms).values == pytest.approx(tuple(theirs.correction), rel=1e-12, abs=1e-12)
            moved = np.maximum(moved, np.abs(theirs.correction))
    assert (moved[0] > 0.02) == (law != "none")
    assert (moved[1] > 0.01) == (voltage_law != "none")


def test_its_defaults_are_the_simulated_agents():
    mine, gains, unit = pi.Settings(s_rated_kva=1.0), Gains(), AgentParams("unit", 1.0)
    assert (FREQUENCY_LAWS[mine.law], VOLTAGE_LAWS[mine.voltage_law]) == (frequency_f, voltage_v)
    for theirs in (gains, unit, Control(50_000)):
        for name, value in vars(theirs).items():
            if hasattr(mine, name) and name != "voltage_law":
                assert getattr(mine, name) == value, name
    assert mine.limit_hz * TWO_PI == gains.omega_limit_rad_per_s


def test_its_droop_is_the_simulated_one():
    """200 steps of changing length with the powers linear in between: filters, f and E."""
    chance = random.Random(2)
    unit = {key: value for key, value in UNIT.items() if key != "e_rated_kwh"}
    params = inverter.Params(**unit, filter_hz=4.0)
    mine = Asked(pi.Inverter(pi.Settings(**unit, filter_hz=4.0)))
    s = complex(chance.uniform(-0.01, 0.01), chance.uniform(-0.01, 0.01))
    state, t_ms = inverter.initial(params, np.array([s]), np.array([1 + 0j])), 0
    for _ in range(200):
        p_set, q_set, v_set = (chance.uniform(low, high) for low, high in ((0, 0.01), (-0.01, 0.01), (0.95, 1.05)))
        omega, v = chance.gauss(0, 1), chance.gauss(0, 0.02)
        given = inverter.held(params)._replace(
            p_set_pu=np.array([p_set]), q_set_pu=np.array([q_set]), v_set_pu=np.array([v_set]),
            omega_rad_per_s=np.array([omega]), v_correction_pu=np.array([v]),
        )  # fmt: skip
        shown = inverter.respond(params, state, given)
        f_hz, e_pu = mine(MEASURE, t_ms, (s.real, s.imag, 1.0, p_set, q_set, v_set, omega, v)).values
        assert f_hz == pytest.approx(shown.f_hz[0], rel=1e-12, abs=0)
        assert e_pu == pytest.approx(abs(shown.emf_pu[0]), rel=1e-12, abs=0)
        step_ms, before = chance.choice((1, 5, 20, 200)), s
        s, t_ms = complex(chance.uniform(-0.01, 0.01), chance.uniform(-0.01, 0.01)), t_ms + step_ms
        slope = inverter.Slopes(np.array([(s - before) / (step_ms / 1e3)]))
        state = inverter.advance(params, state, given._replace(s_pu=np.array([before])), slope, step_ms / 1e3)


def test_an_inverter_takes_its_own_set_points_where_none_are_told():
    # 2 % droop on 10 kVA: 1 kW above the set-point is 0.1 Hz; 5 %: 2 kvar below is 0.01 pu
    mine = Asked(pi.Inverter(pi.Settings(s_rated_kva=10.0, p_set_kw=4.0, q_set_kvar=2.0, v_set_pu=1.01)))
    assert mine(MEASURE, 0, (0.005, 0.0)).values == pytest.approx((49.9, 1.02))
    assert mine(MEASURE, 0, (0.005, 0.0)).values == pytest.approx((49.9, 1.02))
    assert mine(HELLO).values == (1, 2, 50)


# --- the conversation ---


def test_a_repeated_request_changes_nothing():
    mine = secondary(pin=1.0)
    for t_ms in (0, 50):
        first = mine(MEASURE, t_ms, (49.9, 0.001, 0.0, 0.99)).values
        assert mine(MEASURE, t_ms, (49.0, 0.009, 0.0, 0.9)).values == first
        decided = mine(DECIDE, t_ms).values
        assert mine(DECIDE, t_ms).values == decided
    # pinned, 0.1 Hz and 0.01 pu missing: 4 * 2 pi 0.1 rad/s2 for 50 ms, and then on
    assert decided == pytest.approx((0.04 * math.pi, 0.005, 0.8 * math.pi, 0.1))


def test_align_takes_over_a_correction_and_hello_begins_anew():
    mine = secondary()
    mine(MEASURE, 0, (50.0, 0.0, 0.0, 1.0))
    assert mine(ALIGN, 0, (0.5, 0.01)).type == ALIGN + ANSWER
    assert mine(MEASURE, 50, (50.0, 0.0, 0.0, 1.0)).values[:2] == (0.5, 0.01)
    assert mine(HELLO).values == (messages.VERSION, 1, 50)
    assert messages.ROLES[1] == "secondary"
    assert mine(MEASURE, 0, (50.0, 0.0, 0.0, 1.0)).values[:2] == (0, 0)


def test_a_message_may_come_before_its_measurement():
    early, late = secondary(), secondary()
    shared = (0.1, 0.0, 0.0, 0.02, 1.0, 0.0, 0.0)
    early.tell(NEIGHBOUR, 0, (1, *shared))
    for mine in (early, late):
        mine(MEASURE, 0, (50.0, 0.0, 0.0, 1.0))
    late.tell(NEIGHBOUR, 0, (1, *shared))
    assert early(DECIDE, 0).values == late(DECIDE, 0).values == pytest.approx((0, 0, 0.4, 0.2))


def omega_told(value: float) -> tuple[float, ...]:
    """A message of neighbour 1."""
    return (1, value, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def test_of_messages_that_overtake_each_other_the_newest_counts():
    mine = secondary()
    for t_ms in (0, 50):
        mine(MEASURE, t_ms, (50.0, 0.0, 0.0, 1.0))
    mine.tell(NEIGHBOUR, 50, omega_told(0.5))
    mine.tell(NEIGHBOUR, 0, omega_told(9.0))
    assert mine(DECIDE, 50).values[2] == pytest.approx(4 * 0.5)


def test_a_message_from_before_its_first_measurement_is_left_aside():
    mine = secondary()
    mine(MEASURE, 1000, (50.0, 0.0, 0.0, 1.0))
    mine.tell(NEIGHBOUR, 999, omega_told(0.5))
    assert mine(DECIDE, 1000).values[2] == 0


def test_its_history_does_not_grow_for_ever():
    role = pi.Secondary(pi.Settings(s_rated_kva=10.0))
    for tick in range(6000):
        role.answer(pi.Frame(MEASURE, 0, 50 * tick, (50.0, 0.0, 0.0, 1.0)))
    assert 1200 <= len(role._times) == len(role._values) <= 2500  # 60 s, and as much before it is cut


@pytest.mark.parametrize(
    ("kind", "t_ms", "values", "code", "words"),
    [
        (99, 0, (), 1, "type 99"),
        (MEASURE, 100, (), 2, "0 values"),
        (MEASURE, 100, (50.0,) * 7, 2, "7 values"),
        (MEASURE, 0, (50.0,), 3, "hello"),
        (DECIDE, 100, (), 3, "100 ms"),
        (DECIDE, 50, (), 4, "connected"),
        (ALIGN, 50, (1.0,), 2, "1 values"),
        (ALIGN, 50, (1.0, math.nan), 2, "two numbers"),
        (SYNC, 50, (1.0,), 2, "3 values"),
    ],
)
def test_what_cannot_be_answered_is_refused(kind, t_ms, values, code, words, caplog):
    mine = secondary(pin=1.0)
    mine(MEASURE, 50, (math.nan, 0.001))
    with caplog.at_level(logging.WARNING, "agent"):
        answer = mine(kind, t_ms, values)
    assert (answer.type, answer.values) == (REFUSED, (code, kind))
    assert words in caplog.text
    assert code in messages.REFUSALS


@pytest.mark.parametrize("values", [(1.0,), (256.0, *(0.0,) * 7), (-1.0, *(0.0,) * 7), (math.nan, *(0.0,) * 7)])
def test_a_bad_message_is_left_aside(values):
    mine = secondary()
    mine(MEASURE, 0, (50.0, 0.0, 0.0, 1.0))
    assert mine.tell(NEIGHBOUR, 0, values) is None
    assert mine(DECIDE, 0).values == (0, 0, 0, 0)


def test_an_inverter_refuses_powers_that_are_none():
    mine = Asked(pi.Inverter(pi.Settings(s_rated_kva=10.0)))
    assert mine(MEASURE, 0, (math.nan, 0.0)).values == (4, MEASURE)
    assert mine(MEASURE, 50, (0.0, 0.0)).type == MEASURE + ANSWER
    assert mine(MEASURE, 0, (0.0, 0.0)).values == (3, MEASURE)
    assert mine(DECIDE, 50).values == (1, DECIDE)


def test_an_answer_is_never_answered():
    # an RS-485 adapter that echoes, or two agents on a line, must not talk for ever
    mine = secondary()
    for kind in range(ANSWER, 256):
        assert mine.tell(kind) is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 255), st.integers(0, 300),
            st.lists(st.floats(width=32, allow_infinity=False), max_size=9),
        ),
        max_size=30,
    ),
    st.sampled_from([pi.Secondary, pi.Inverter]), st.sampled_from(sorted(frames.CODECS)),
)  # fmt: skip
def test_no_request_makes_it_fail(requests, role, codec):
    logging.getLogger("agent").setLevel(logging.ERROR)
    mine = Asked(role(pi.Settings(s_rated_kva=10.0, pin=1.0)), codec)
    for kind, t_ms, values in requests:
        answer = mine.tell(kind, t_ms, values)
        assert answer is None or answer.type in (kind + ANSWER, REFUSED)


# --- a law of one's own ---


def test_a_law_of_ones_own():
    seen = []

    def control(measurement, neighbours):
        seen.append((measurement, neighbours))
        return 0.1 * (50 - measurement.f_hz), sum(n.theirs.v_pu for n in neighbours)

    mine = Asked(pi.Secondary(pi.Settings(s_rated_kva=10.0), control))
    mine(MEASURE, 0, (49.0, 0.0, 0.0, 1.0))
    mine.tell(NEIGHBOUR, 0, (7, 0.0, 0.02, 0.0, 0.0, 1.0, 0.0, 0.0))
    assert mine(DECIDE, 0).values == pytest.approx((0, 0, 0.1, 0.02))
    mine(MEASURE, 50, (49.0, 0.0, 0.0, 1.0))
    mine(DECIDE, 50)
    mine(DECIDE, 50)  # the answer was lost; the law may have a memory and is not asked again
    assert [one.t_s for one, _ in seen] == [0, 0.05]
    assert [(n.sender, n.age_s) for _, heard in seen for n in heard] == [(7, 0), (7, pytest.approx(0.05))]


@pytest.mark.parametrize(
    "answer", [None, 1.0, (1.0,), (1.0, 2.0, 3.0), ("a", "b"), (math.nan, 0.0), (0.0, math.inf), ZeroDivisionError]
)
@pytest.mark.parametrize("role", [pi.Secondary, pi.Inverter])
def test_a_law_that_fails_is_a_refusal(answer, role):
    def control(measurement, neighbours):
        if isinstance(answer, type):
            raise answer
        return answer

    mine = Asked(role(pi.Settings(s_rated_kva=10.0), control))
    first = mine(MEASURE, 0, (50.0, 0.0))
    assert (first if role is pi.Inverter else mine(DECIDE, 0)).values[0] == 4


def test_stop_is_the_safe_state():
    called = []
    mine = Asked(pi.Secondary(pi.Settings(s_rated_kva=10.0)), safe=lambda: called.append(1))
    mine(ALIGN, 0, (0.5, 0.01))
    assert mine(STOP).type == STOP + ANSWER
    assert called == [1]
    assert mine(MEASURE, 50, (50.0, 0.0, 0.0, 1.0)).values[:2] == (0, 0)


def test_a_safe_state_that_fails_is_reported(caplog):
    mine = Asked(pi.Secondary(pi.Settings(s_rated_kva=10.0)), safe=lambda: 1 / 0)
    assert mine(STOP).type == STOP + ANSWER
    assert "safe() fails" in caplog.text


@pytest.mark.parametrize("codec", frames.CODECS)
def test_what_no_frame_can_hold_is_refused(codec):
    mine = Asked(pi.Secondary(pi.Settings(s_rated_kva=0.01)), codec)
    assert mine(MEASURE, 0, (50.0, 3e38, 0.0, 1.0)).values == (4, MEASURE)
    assert mine(MEASURE, 50, (50.0, 0.0, 0.0, 1.0)).type == MEASURE + ANSWER


# --- settings and the file itself ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"s_rated_kva": 0.0}, "s_rated_kva = 0 must be > 0"),
        ({"s_rated_kva": math.nan}, "s_rated_kva"),
        ({"pin": -1.0, "period_ms": 0}, "pin = -1 must be >= 0; period_ms = 0 must be > 0|period_ms.*pin"),
        ({"law": "X"}, "law = 'X': there are F, D, none"),
        ({"p_set_kw": math.inf}, "p_set_kw = inf must be a number"),
        ({"droop_p_percent": math.nan}, "droop_p_percent"),
    ],
)
def test_wrong_settings_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        pi.Settings(**({"s_rated_kva": 10.0} | changes))


def test_it_is_one_file_for_python_3_9():
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"serial"}
    top = SimpleNamespace(body=[node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))])
    assert "serial" not in ast.dump(ast.Module(top.body, []))


def test_its_types_are_the_host_s():
    assert pi.TYPE_NAMES == frames.TYPE_NAMES
    assert (pi.VERSION, pi.MOST_BYTES, pi.MOST_VALUES) == (messages.VERSION, frames.MOST_BYTES, frames.MOST_VALUES)
    assert len(pi.Shared()) == len(messages.SHARED)
