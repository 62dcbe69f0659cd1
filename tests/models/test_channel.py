"""One link: arithmetic of its line, statistics of its chance, order, outages."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gridloop.simulators.models.channel import Burst, Channel, Jitter, LinkError, LinkParams

MANY = 20_000
STEP_US = 10_000


def channel(seed: int = 0, changes: Any = (), outages: Any = (), **params: Any) -> Channel:
    return Channel(LinkParams(**params), np.random.default_rng(seed), changes, outages)


def delays_ms(count: int = MANY, seed: int = 0, **params: Any) -> Any:
    """Delay of every message that gets through, sent every 10 ms."""
    link = channel(seed, **params)
    arrivals = [link.send(k * STEP_US, k, 64) for k in range(count)]
    return np.array([(at - k * STEP_US) / 1e3 for k, at in enumerate(arrivals) if at is not None])


def lost(count: int = MANY, seed: int = 0, **params: Any) -> Any:
    """Whether each message is lost."""
    link = channel(seed, **params)
    return np.array([link.send(k * STEP_US, k, 64) is None for k in range(count)])


def test_delay_is_exact() -> None:
    link = channel(delay_ms=50)
    assert [link.send(t, None, 64) for t in (0, 20_000, 999_999)] == [50_000, 70_000, 1_049_999]
    assert channel().send(7, None, 64) == 7, "without a delay it is there at once"
    assert channel(delay_ms=0.0006).send(0, None, 64) == 1


def test_message_is_there_when_it_has_arrived_and_once() -> None:
    link = channel(delay_ms=50)
    link.send(0, "first", 64)
    link.send(10_000, "second", 64)
    assert link.next_arrival_us == 50_000
    assert link.receive(49_999) == []
    assert [message.payload for message in link.receive(50_000)] == ["first"]
    assert link.receive(50_000) == []
    assert [message.payload for message in link.receive(90_000)] == ["second"]
    assert link.next_arrival_us is None
    assert (link.sent, link.delivered, link.lost, link.bytes_sent) == (2, 2, 0, 128)


def test_messages_are_sent_in_the_order_of_time() -> None:
    link = channel()
    link.send(10, None, 1)
    with pytest.raises(ValueError, match="a message of 9 us is sent after one of 10 us"):
        link.send(9, None, 1)


# a sample of 20 000: the Kolmogorov-Smirnov distance is below 1.63 / sqrt(20 000) = 0.0115 with 99 %; seeds are fixed
def distance(found: Any, distribution: Any) -> float:
    return float(stats.kstest(found, distribution.cdf).statistic)


def test_uniform_jitter() -> None:
    found = delays_ms(delay_ms=100, jitter=Jitter("uniform", percent=20))
    assert distance(found, stats.uniform(80, 40)) < 0.0115
    assert found.min() >= 80 and found.max() <= 120
    in_ms = delays_ms(delay_ms=100, jitter=Jitter("uniform", ms=20))
    assert np.array_equal(found, in_ms)


@pytest.mark.parametrize(("spread_ms", "cut"), [(10, 3.0), (50, 2.0)])
def test_normal_jitter_is_truncated_at_three_deviations_and_at_no_delay(spread_ms: float, cut: float) -> None:
    found = delays_ms(delay_ms=100, jitter=Jitter("normal", ms=spread_ms))
    assert distance(found, stats.truncnorm(-cut, cut, 100, spread_ms)) < 0.0115
    assert found.min() >= 100 - cut * spread_ms and found.max() <= 100 + cut * spread_ms
    assert found.mean() == pytest.approx(100, abs=4 * spread_ms / math.sqrt(MANY))


def test_lognormal_delay_has_the_mean_and_the_deviation_that_were_asked_for() -> None:
    found = delays_ms(delay_ms=100, jitter=Jitter("lognormal", percent=50))
    sigma = math.sqrt(math.log(1 + 0.5**2))
    assert distance(found, stats.lognorm(sigma, scale=100 * math.exp(-(sigma**2) / 2))) < 0.0115
    assert found.mean() == pytest.approx(100, rel=0.015)
    assert found.std() == pytest.approx(50, rel=0.04)


def test_trace_is_played_in_its_order_from_somewhere_and_again() -> None:
    trace = (1.0, 5.0, 2.0, 9.0)
    found = delays_ms(9, seed=3, delay_ms=10, jitter=Jitter("trace", trace=trace)) - 10
    start = trace.index(found[0])
    assert found.tolist() == [trace[(start + k) % 4] for k in range(9)]
    begins = {float(delays_ms(1, seed=seed, jitter=Jitter("trace", trace=trace))[0]) for seed in range(30)}
    assert begins == set(trace)


@pytest.mark.parametrize("percent", [0, 1, 30, 100])
def test_bernoulli_loss(percent: float) -> None:
    # four standard deviations of the mean; losses are independent: so is the lag-1 correlation
    found = lost(loss_percent=percent)
    share = percent / 100
    assert found.mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / MANY))
    if percent == 30:
        assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 4 / math.sqrt(MANY)


def test_gilbert_elliott_loss_comes_in_bursts() -> None:
    # bad 2/(2+8) = 20 % of the time, loses 90 % there and 1 % else: 0.2 * 0.9 + 0.8 * 0.01 = 0.188
    burst = Burst(good_to_bad_percent=2, bad_to_good_percent=8, loss_bad_percent=90)
    found = np.concatenate([lost(seed=seed, loss_percent=1, burst=burst) for seed in range(5)])
    # correlation time of the state 1/0.1 = 10 messages, so 100 000 messages count as about 5000: one sigma 0.005
    assert found.mean() == pytest.approx(0.188, abs=0.015)
    # P(bad, bad) = 0.2 * 0.92, P(bad, good) = 0.2 * 0.08, both ways, P(good, good) = 0.8 * 0.98
    both = 0.184 * 0.9**2 + 2 * 0.016 * 0.9 * 0.01 + 0.784 * 0.01**2
    assert (found[1:] & found[:-1]).mean() == pytest.approx(both, rel=0.08)


def test_gilbert_elliott_link_begins_in_either_state_by_its_share() -> None:
    burst = Burst(good_to_bad_percent=1, bad_to_good_percent=3)
    first = [lost(1, seed=seed, burst=burst)[0] for seed in range(2000)]
    assert np.mean(first) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 2000))


def test_bandwidth_and_queue_by_hand() -> None:
    # 100 bytes at 8000 bit/s take 100 ms; then 5 ms of delay. At 0, 30, 60 ms the line is busy until 100, 200, 300 ms
    link = channel(delay_ms=5, bandwidth_bit_per_s=8000)
    assert [link.send(t * 1000, None, 100) for t in (0, 30, 60, 500)] == [105_000, 205_000, 305_000, 605_000]
    # 2400 bit/s, 64 bytes: 213333.33 us, up to the next whole one
    assert channel(bandwidth_bit_per_s=2400).send(0, None, 64) == 213_334
    # before the message at 30 ms there wait 70 bytes, before that at 60 ms 140, at 120 ms 80
    link = channel(bandwidth_bit_per_s=8000, queue_bytes=100)
    assert [link.send(t * 1000, None, 100) for t in (0, 30, 60, 120)] == [100_000, 200_000, None, 300_000]
    assert (link.sent, link.lost, link.bytes_sent) == (4, 1, 300)
    assert channel(queue_bytes=0).send(0, None, 100) == 0, "an idle line takes everything"


def test_message_may_overtake_unless_the_link_keeps_the_order() -> None:
    params: Any = {"delay_ms": 100, "jitter": Jitter("uniform", percent=50)}
    free, ordered = channel(1, **params), channel(1, fifo=True, **params)
    times = [k * STEP_US for k in range(2000)]
    loose = [free.send(t, t, 64) or 0 for t in times]
    strict = [ordered.send(t, t, 64) or 0 for t in times]
    assert np.diff(loose).min() < 0 <= np.diff(strict).min()
    assert strict == list(np.maximum.accumulate(loose))
    # the receiver keeps the newest stamp although older messages arrive after it
    stamps = []
    for t in range(0, max(loose) + STEP_US, STEP_US):
        free.receive(t)
        stamps.append(-1 if free.newest is None else free.newest.stamp_us)
    assert np.diff(stamps).min() >= 0 and stamps[-1] == times[-1]
    assert [message.stamp_us for message in ordered.receive(10**9)] == times


def test_lost_messages_are_sent_again_until_one_arrives() -> None:
    # the number of times is geometric: 50 % loss, mean 1 more; the delay grows by 40 ms each
    link = channel(delay_ms=10, loss_percent=50, rto_ms=40)
    more = np.array([((link.send(k * STEP_US, k, 64) or 0) - k * STEP_US - 10_000) / 40_000 for k in range(MANY)])
    assert set(np.unique(more)) <= set(range(30))
    shares = [(more == k).mean() for k in range(4)]
    assert shares == pytest.approx([0.5, 0.25, 0.125, 0.0625], abs=4 * math.sqrt(0.25 / MANY))
    assert link.lost == 0 and link.bytes_sent == 64 * (MANY + more.sum())


def test_what_is_sent_while_the_link_is_down_is_lost_and_what_is_on_its_way_arrives() -> None:
    link = channel(delay_ms=50, outages=[(100_000, 200_000), (500_000, None)])
    assert [link.send(t * 1000, None, 64) for t in (90, 100, 199, 200, 499, 500, 9000)] == [
        140_000, None, None, 250_000, 549_000, None, None,
    ]  # fmt: skip
    assert [link.is_up(t) for t in (99_999, 100_000, 199_999, 200_000, 10**9)] == [True, False, False, True, False]
    assert link.lost == 4


def test_retransmission_bridges_an_outage_that_ends() -> None:
    link = channel(rto_ms=30, outages=[(0, 100_000), (110_000, 140_000), (900_000, None)])
    # 0 + 4 * 30 = 120 ms is in the second outage, 150 ms is not
    assert link.send(0, None, 64) == 150_000
    assert link.send(890_000, None, 64) == 890_000
    assert link.send(900_000, None, 64) is None


def test_changed_parameters_hold_for_what_is_sent_from_then_on() -> None:
    link = channel(delay_ms=50, changes=[(30_000, LinkParams(delay_ms=500)), (60_000, LinkParams())])
    assert [link.send(t, None, 64) for t in (0, 29_999, 30_000, 60_000)] == [50_000, 79_999, 530_000, 60_000]


def test_same_seed_same_fate() -> None:
    params: Any = {"delay_ms": 100, "jitter": Jitter("lognormal", percent=30), "loss_percent": 10}
    assert np.array_equal(delays_ms(500, seed=1, **params), delays_ms(500, seed=1, **params))
    assert not np.array_equal(delays_ms(500, seed=1, **params)[:400], delays_ms(500, seed=2, **params)[:400])


def test_chance_of_one_kind_does_not_depend_on_the_other() -> None:
    plain, shaky = lost(500, loss_percent=20), lost(500, loss_percent=20, delay_ms=9, jitter=Jitter("normal", ms=2))
    assert np.array_equal(plain, shaky)


def test_fate_is_the_same_in_every_version() -> None:
    # a change here changes the results of everybody's runs: draws in threes, after three at the beginning
    draws = np.random.default_rng(5).random((6, 3))[1:]
    link = channel(5, delay_ms=100, jitter=Jitter("uniform", percent=10), loss_percent=50)
    found = [link.send(0, None, 1) for _ in range(5)]
    assert found == [None if u[1] < 0.5 else round(1e5 + 1e4 * (2 * u[2] - 1)) for u in draws]


def test_fate_in_bursts_is_the_same_in_every_version() -> None:
    first, *draws = np.random.default_rng(5).random((200, 3)).tolist()
    bad, expected = first[0] < 30 / 70, []
    for change, loss, _ in draws:
        bad = bad != (change < (0.4 if bad else 0.3))
        expected.append(loss < (0.6 if bad else 0.1))
    burst = Burst(good_to_bad_percent=30, bad_to_good_percent=40, loss_bad_percent=60)
    assert lost(199, seed=5, loss_percent=10, burst=burst).tolist() == expected


def test_ideal_links_are_told_apart() -> None:
    assert LinkParams(fifo=True, rto_ms=5).is_ideal and LinkParams(jitter=Jitter("uniform", percent=20)).is_ideal
    for params in (LinkParams(delay_ms=1), LinkParams(loss_percent=1), LinkParams(bandwidth_bit_per_s=9600)):
        assert not params.is_ideal


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinkParams(delay_ms=-1, loss_percent=101), "delay_ms = -1 must be >= 0; loss_percent = 101 must be"),
        (lambda: LinkParams(delay_ms=math.nan), "delay_ms = nan"),
        (lambda: LinkParams(bandwidth_bit_per_s=0), "bandwidth_bit_per_s = 0 must be > 0"),
        (lambda: LinkParams(queue_bytes=-1), "queue_bytes = -1 must be >= 0"),
        (lambda: LinkParams(rto_ms=0), "rto_ms = 0 must be >= 0.001"),
        (lambda: LinkParams(rto_ms=10, loss_percent=100), "a link that loses everything would send for ever"),
        (lambda: LinkParams(rto_ms=10, burst=Burst(1, 0)), "a link that loses everything would send for ever"),
        (lambda: LinkParams(delay_ms=10, jitter=Jitter("uniform", ms=11)), r"jitter of \+- 11 ms must be within"),
        (lambda: LinkParams(jitter=Jitter("normal", ms=1)), "scatters around delay_ms, which must be > 0"),
        (lambda: Jitter("gauss", percent=1), "jitter kind 'gauss'"),  # type: ignore[arg-type]
        (lambda: Jitter("uniform"), "needs either percent or ms"),
        (lambda: Jitter("uniform", percent=1, ms=1), "needs either percent or ms"),
        (lambda: Jitter("none", percent=1), "takes neither percent nor ms"),
        (lambda: Jitter("normal", percent=-1), "must be >= 0"),
        (lambda: Jitter("trace"), "trace and its values belong together"),
        (lambda: Jitter("trace", trace=(1, -1)), "every value must be >= 0"),
        (lambda: Burst(0, 0), "the link must be able to change"),
        (lambda: Burst(101, 1), "burst good_to_bad_percent = 101 must be within 0 and 100"),
    ],
)
def test_wrong_parameters_are_named(make: Any, words: str) -> None:
    with pytest.raises(LinkError, match=words):
        make()
