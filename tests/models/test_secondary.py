"""Laws of secondary control, the agents that run them, central controllers, balancing of the charge."""

import math
from typing import Any

import numpy as np
import pytest

from gridloop.simulators.models import central
from gridloop.simulators.models.agents import Agent, AgentParams, Control, Controller, Measured
from gridloop.simulators.models.balancing import Balancing, p_set_kw
from gridloop.simulators.models.exchange import Exchange
from gridloop.simulators.models.secondary import (
    TWO_PI,
    Correction,
    Gains,
    Neighbour,
    Own,
    Rates,
    Shared,
    ahead,
    clamped,
    frequency_d,
    frequency_f,
    nothing,
    voltage_paper23,
    voltage_v,
    voltage_vprime,
)

PERIOD_US = 50_000
MEASURED = Measured(f_hz=50.0, p_gen_mw=0.1, q_gen_mvar=0.05, v_pu=1.0)


def neighbour(own: Any, theirs: Any) -> Neighbour:
    return Neighbour(Shared(**own), Shared(**theirs))


def test_law_f_by_hand() -> None:
    # -4 ((0.3 - 0.1) + (0.3 - 0.6)) - 4 * 1 * (-0.5) = 0.4 + 2
    heard = [neighbour({"omega_rad_per_s": 0.3}, {"omega_rad_per_s": omega}) for omega in (0.1, 0.6)]
    own = Own(Shared(0.3), d_omega_rad_per_s=-0.5, pin=1.0)
    assert frequency_f(own, heard, Gains()) == pytest.approx((2.4, 0.0))
    assert frequency_f(own._replace(pin=0.0), heard, Gains()) == pytest.approx((0.4, 0.0))


def test_law_d_by_hand() -> None:
    # every unit restores: pin or no pin; C2 = 2, k = 3: -2 * (0.2) + 3 * 0.5
    heard = [neighbour({"omega_rad_per_s": 0.3}, {"omega_rad_per_s": 0.1})]
    own = Own(Shared(0.3), d_omega_rad_per_s=-0.5)
    assert frequency_d(own, heard, Gains(c2_per_s=2, c0_per_s=3)) == pytest.approx((1.1, 0.0))


def test_voltage_laws_by_hand() -> None:
    heard = [neighbour({"q_share_pu": 0.02, "v_nominal_pu": 1.01}, {"q_share_pu": 0.05, "v_nominal_pu": 0.98})]
    pinned, free = Own(Shared(), v_pu=0.97, pin=1.0), Own(Shared(), v_pu=0.97)
    # -10 * (-0.03) = 0.3; pin: -10 * (0.97 - 1) = 0.3; beta: -2 * (-0.03) = 0.06; eq. 23: -10 * 0.03 = -0.3
    assert voltage_v(free, heard, Gains()).v_pu_per_s == pytest.approx(0.3)
    assert voltage_v(pinned, heard, Gains()).v_pu_per_s == pytest.approx(0.6)
    assert voltage_vprime(free, heard, Gains()).v_pu_per_s == pytest.approx(0.36)
    assert voltage_paper23(free, heard, Gains()).v_pu_per_s == pytest.approx(-0.3)
    assert voltage_paper23(pinned, heard, Gains()).v_pu_per_s == pytest.approx(0.0)
    assert nothing(pinned, heard, Gains()) == Rates()


def test_correction_ends_within_its_limits_and_does_not_wind_up() -> None:
    gains = Gains(omega_limit_rad_per_s=1.0, v_limit_pu=0.05)
    first = clamped(Correction(0.9, 0.0), Rates(4.0, -0.4), gains, 0.05)
    assert first == pytest.approx(Correction(0.9, 0.0, 2.0, -0.4)), "0.1 rad/s are left, in 50 ms"
    assert clamped(Correction(-0.9, 0.0), Rates(-4.0, -2.0), gains, 0.05) == pytest.approx(
        Correction(-0.9, 0.0, -2.0, -1)
    )
    held = ahead(first, 0.05)
    assert held == pytest.approx(Correction(1.0, -0.02))
    assert clamped(held, Rates(4.0, 0.0), gains, 0.05).omega_rate_rad_per_s2 == 0.0
    assert clamped(held, Rates(-4.0, 0.0), gains, 0.05).omega_rate_rad_per_s2 == -4.0, "back at once"


def test_wrong_gains_are_named() -> None:
    with pytest.raises(ValueError, match=r"c2_per_s = -1 must be >= 0; v_limit_pu = -0\.1 must be >= 0"):
        Gains(c2_per_s=-1, v_limit_pu=-0.1)


def test_matched_exchange_compares_at_the_stamp_and_neighbour_only_with_the_present() -> None:
    for handling, own in (("matched", 1.0), ("neighbour_only", 3.0)):
        exchange = Exchange[float](handling)  # type: ignore[arg-type]
        for k in range(4):
            exchange.remember(k * PERIOD_US, float(k))
        exchange.receive("b", PERIOD_US + 20_000, 7.0)
        assert exchange.pairs(3 * PERIOD_US) == {"b": (own, 7.0, PERIOD_US + 20_000)}


def test_exchange_keeps_the_newest_stamp_and_forgets_what_is_too_old() -> None:
    exchange = Exchange[float]("matched", max_age_us=100_000)
    exchange.remember(0, 0.0)
    exchange.receive("b", 40_000, 4.0)
    exchange.receive("b", 20_000, 2.0)
    assert exchange.pairs(140_000)["b"].theirs == 4.0
    assert exchange.pairs(140_001) == {}
    exchange.receive("c", -1, 1.0)
    assert "c" not in exchange.pairs(0), "there is no own value to match it"


def test_pairs_stand_in_the_order_of_names_whoever_was_heard_first() -> None:
    exchange = Exchange[float]("matched")
    exchange.remember(0, 0.0)
    for sender in ("c", "a", "b", "a"):
        exchange.receive(sender, 0, 1.0)
    assert list(exchange.pairs(0)) == ["a", "b", "c"]


def test_what_pairs_gave_is_the_callers() -> None:
    exchange = Exchange[float]("matched")
    exchange.remember(0, 0.0)
    exchange.receive("b", 0, 1.0)
    exchange.pairs(0).clear()
    assert list(exchange.pairs(0)) == ["b"]


def test_long_history_is_cut_without_losing_what_can_be_matched() -> None:
    exchange = Exchange[int]("matched")
    for k in range(5000):
        exchange.remember(k * PERIOD_US, k)
    exchange.receive("b", 4990 * PERIOD_US, 0)
    exchange.receive("c", (4999 - 1200) * PERIOD_US, 0)  # 60 s ago
    found = exchange.pairs(5000 * PERIOD_US)
    assert (found["b"].own, found["c"].own) == (4990, 3799)
    assert len(exchange._times) < 2600


def agent(name: str = "a", control: Control | None = None, **params: Any) -> Agent:
    return Agent(AgentParams(name, **({"s_rated_kva": 1000} | params)), control or Control(PERIOD_US))


def test_agent_moves_along_its_ramp_and_tells_what_it_is() -> None:
    one = agent(pin=1.0, control=Control(PERIOD_US, voltage_law=nothing))
    one.measure(0, MEASURED._replace(f_hz=49.9))
    one.decide(0)
    rate = 4 * TWO_PI * 0.1
    assert one.correction == pytest.approx(Correction(0.0, 0.0, rate, 0.0))
    one.measure(PERIOD_US, MEASURED._replace(f_hz=50.0))
    one.decide(PERIOD_US)
    assert one.correction == pytest.approx(Correction(rate * 0.05, 0.0, 0.0, 0.0))
    # P~ = 2 % * 2 pi 50 * 0.1 rad/s, Q~ = 5 % * 0.05
    stamp, (sender, values) = one.message(7)
    assert (stamp, sender) == (7, "a")
    assert values == pytest.approx([rate * 0.05, 0, 0.02 * TWO_PI * 50 * 0.1, 0.0025, 1.0, 0, 0])


def test_set_points_count_where_they_are_given() -> None:
    one = agent(p_set_kw=50, q_set_kvar=10)
    one.measure(0, MEASURED)
    assert one.own.shared.p_share_rad_per_s == pytest.approx(0.02 * TWO_PI * 50 * 0.05)
    assert one.own.shared.q_share_pu == pytest.approx(0.05 * 0.04)
    one.measure(PERIOD_US, MEASURED._replace(p_set_mw=0.08))
    assert one.own.shared.p_share_rad_per_s == pytest.approx(0.02 * TWO_PI * 50 * 0.02)


@pytest.mark.parametrize(("on_fail", "left"), [("hold", 0.01), ("drop", 0.0)])
def test_agent_that_fails_holds_or_drops_its_correction(on_fail: Any, left: float) -> None:
    one = agent(pin=1.0, control=Control(PERIOD_US, gains=Gains(c0_per_s=0.2), voltage_law=nothing, on_fail=on_fail))
    one.measure(0, MEASURED._replace(f_hz=50 - 1 / TWO_PI))
    one.decide(0)
    one.fail()
    assert one.correction == pytest.approx(Correction(left))
    one.recover()
    one.measure(PERIOD_US, MEASURED)
    one.decide(PERIOD_US)
    assert one.correction == pytest.approx(Correction(left))


def test_law_without_what_it_needs_says_so() -> None:
    pinned, free = agent(pin=1.0), agent("b")
    for one in (pinned, free):
        one.measure(0, Measured())
    free.decide(0)  # no pin, nobody heard: it needs nothing
    with pytest.raises(ValueError, match=r"the law gives \(nan, nan\); is f, P, Q and V connected"):
        pinned.decide(0)


def test_own_law_is_one_function() -> None:
    def law(own: Own, neighbours: Any, gains: Gains) -> Rates:
        return Rates(gains.more["push"] * len(neighbours), own.soc)

    one = agent(control=Control(PERIOD_US, frequency_law=law, voltage_law=nothing, gains=Gains(more={"push": 0.5})))
    one.measure(0, MEASURED._replace(soc_percent=40))
    one.hear(0, "b", list(Shared()))
    one.decide(0)
    assert one.correction == pytest.approx(Correction(0, 0, 0.5, 0.4))


def central_control(**more: Any) -> Control:
    return Control(
        PERIOD_US, frequency_law=nothing, voltage_law=nothing, central_frequency=True, central_voltage=True,
        controllers={"mgcc": 0, "spare": 1}, takeover_us=200_000, **more,
    )  # fmt: skip


def test_central_controller_integrates_and_units_follow_its_ramps() -> None:
    control = central_control()
    boss, one = Controller("mgcc", control), agent(control=control)
    boss.decide(0, Measured(f_hz=49.9, v_pu=0.99))
    rate = 2 * TWO_PI * 0.1
    assert boss.correction == pytest.approx(Correction(0, 0, rate, 0.02))
    message = boss.message(0)
    assert message is not None
    for t_us, expected in ((100_000, boss.correction), (150_000, Correction(rate * 0.05, 0.001))):
        one.measure(t_us, MEASURED)
        one.hear(0, *message[1])
        one.decide(t_us)
        assert one.correction == pytest.approx(expected), "a copy of the ramp, then rest at its end"
    boss.decide(PERIOD_US, Measured(f_hz=50, v_pu=1))
    assert boss.correction == pytest.approx(Correction(rate * 0.05, 0.001))


def test_standby_takes_over_without_a_step_and_the_first_follows_when_it_is_back() -> None:
    control = central_control()
    boss, spare = Controller("mgcc", control), Controller("spare", control)
    low = Measured(f_hz=49.99, v_pu=1.0)
    omega, leads, dead = [], [], range(10, 25)
    for k in range(40):
        t_us = k * PERIOD_US
        if k == dead.start:
            boss.fail()
        if k == dead.stop:
            boss.recover(t_us)
        for one, other in ((boss, spare), (spare, boss)):
            if not one.alive:
                continue
            one.decide(t_us, low)
            message = one.message(k)
            if message is not None and other.alive:
                other.hear(t_us, *message[1])
        leads.append((boss.alive and boss.state.leads, spare.state.leads))
        leader = boss if leads[-1][0] else spare
        omega.append(leader.correction.omega_rad_per_s)
    step = 2 * TWO_PI * 0.01 * 0.05
    assert leads[9] == (True, False) and leads[12] == (False, False)
    assert leads[13] == (False, True) == leads[39], "200 ms after the last broadcast at 450 ms"
    assert np.diff(omega) == pytest.approx([step] * 9 + [step, 0, 0, 0] + [step] * 26)


def test_of_two_leaders_the_first_in_rank_stays() -> None:
    control = central_control()
    boss, spare = Controller("mgcc", control), Controller("spare", control)
    spare.state = central.State(Correction(0.5), leads=True)
    boss.hear(0, "spare", list(spare.correction))
    spare.hear(0, "mgcc", list(boss.correction))
    assert boss.state.leads and not spare.state.leads
    assert spare.correction == boss.correction


def test_units_that_hear_two_leaders_follow_the_first_in_rank() -> None:
    for order in (("mgcc", "spare"), ("spare", "mgcc")):
        one = agent(control=central_control())
        one.measure(0, MEASURED)
        for name in order:
            one.hear(0, name, list(Correction(0.5 if name == "mgcc" else 0.9)))
        one.decide(0)
        assert one.correction == Correction(0.5)


def test_set_point_of_balancing_by_hand() -> None:
    # 2 * 1000 kVA * (0.6 - 300/600) = 200 kW, at most 15 % of the rating; nobody has a store: nothing
    assert p_set_kw(0.6, 300, 600, 1000, Balancing(2)) == pytest.approx(200)
    assert p_set_kw(0.6, 300, 600, 1000, Balancing(2, limit_percent=15)) == 150
    assert p_set_kw(0.1, 300, 600, 1000, Balancing(2, limit_percent=15)) == -150
    assert p_set_kw(0.1, 0, 0, 1000, Balancing(2)) == 0
    with pytest.raises(ValueError, match="balancing gain = -1 must be >= 0"):
        Balancing(-1)


def balanced(socs: list[float], e_kwh: list[float], seconds: int, delay_ticks: int = 0) -> tuple[Any, Any]:
    """Charges, and set-points [kW], of batteries that deliver their set-points; agents of 1 s in a ring."""
    control = Control(1_000_000, voltage_law=nothing, balancing=Balancing(2, estimate_per_s=0.1))
    agents = [agent(f"b{k}", control, e_rated_kwh=e) for k, e in enumerate(e_kwh)]
    soc, sent = np.array(socs), list[Any]()
    for k in range(seconds):
        p_kw = np.array([one.p_set_kw for one in agents])
        soc = soc - p_kw / 3600 / np.array(e_kwh) * (k > 0)
        for one, charge in zip(agents, soc, strict=True):
            one.measure(k * 1_000_000, MEASURED._replace(soc_percent=100 * charge))
        sent.append([one.message(k * 1_000_000) for one in agents])
        for message in sent[max(k - delay_ticks, 0)]:
            for one in agents:
                if one.params.name != message[1][0]:
                    one.hear(message[0], *message[1])
        for one in agents:
            one.decide(k * 1_000_000)
    return soc, np.array([one.p_set_kw for one in agents])


def test_charges_approach_each_other_as_the_formula_says() -> None:
    # K1: S = 1 MVA, E = 1 MWh, k_s = 2: the spread falls with 2 / 3600 s: 0.2 exp(-1) = 0.0736 after 1800 s
    soc, p_kw = balanced([0.7, 0.5], [1000, 1000], 1801)
    assert soc[0] - soc[1] == pytest.approx(0.2 * math.exp(-1), abs=2e-4)
    assert p_kw.sum() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("delay_ticks", [0, 2])
def test_average_is_weighted_by_the_capacities(delay_ticks: int) -> None:
    # (0.9 * 1000 + 0.3 * 3000 + 0.5 * 1000) / 5000 = 0.46; after 60 s the charges have moved by less than 0.02
    soc, p_kw = balanced([0.9, 0.3, 0.5], [1000, 3000, 1000], 120, delay_ticks)
    assert p_kw == pytest.approx(2000 * np.clip(soc - soc @ [0.2, 0.6, 0.2], -0.5, 0.5), abs=2)


def test_unit_without_a_store_helps_to_estimate_and_keeps_its_set_point() -> None:
    control = Control(PERIOD_US, voltage_law=nothing, balancing=Balancing(2))
    one = agent(control=control, p_set_kw=30)
    one.measure(0, MEASURED)
    one.hear(0, "b", list(Shared(energy_kwh=10, capacity_kwh=20)))
    one.decide(0)
    assert one.p_set_kw == 30
    one.measure(PERIOD_US, MEASURED)
    assert one.own.shared[5:] == pytest.approx((2.0, 4.0)), "C h = 0.2 of the way"


def test_balancing_without_the_charge_says_so() -> None:
    one = agent(control=Control(PERIOD_US, voltage_law=nothing, balancing=Balancing(2)), e_rated_kwh=1000)
    one.measure(0, MEASURED)
    with pytest.raises(ValueError, match=r"needs the state of charge of every store; connect SoC\[%\]"):
        one.decide(0)


def test_wrong_units_are_named() -> None:
    with pytest.raises(ValueError, match=r"agent a: s_rated_kva = 0 must be > 0; pin = -1 must be >= 0"):
        agent(s_rated_kva=0, pin=-1)
    with pytest.raises(ValueError, match="delay_handling = 'fast': there are matched, neighbour_only"):
        Exchange("fast")  # type: ignore[arg-type]
