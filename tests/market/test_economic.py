"""Sharing at least cost, the auction, consensus, and the measures of balance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridloop.simulators.market.accuracy import balancing_accuracy, recovery_slots, resilience, rms_kw, within
from gridloop.simulators.market.auction import Learner, Order, Trade, clear, traded
from gridloop.simulators.market.consensus import agree, chorded_ring, metropolis, stability_limit
from gridloop.simulators.market.economic import Offer, cost_eur, share
from neighbourhood_case import OFFERS

offers = st.builds(
    lambda b, c, least, width: Offer(b, c, least, least + width),
    st.floats(0, 40), st.floats(0.05, 2), st.floats(-20, 10), st.floats(0, 40),
)  # fmt: skip


@given(st.lists(offers, min_size=1, max_size=6), st.floats(-100, 200))
def test_shares_meet_the_demand_at_one_marginal_cost(given, demand_kw):
    named = {str(i): offer for i, offer in enumerate(given)}
    award = share(named, demand_kw)
    assert sum(award.power_kw.values()) + award.unserved_kw == pytest.approx(demand_kw, abs=1e-9)
    least, most = sum(offer.least_kw for offer in given), sum(offer.most_kw for offer in given)
    assert award.unserved_kw == pytest.approx(demand_kw - min(max(demand_kw, least), most), abs=1e-7)
    for name, offer in named.items():
        p = award.power_kw[name]
        assert offer.least_kw <= p <= offer.most_kw
        if offer.least_kw + 1e-6 < p < offer.most_kw - 1e-6:
            assert offer.b + 2 * offer.c * p == pytest.approx(award.price, abs=1e-6)


def test_offers_that_cannot_be():
    with pytest.raises(ValueError, match=r"u: .*must have c > 0"):
        share({"u": Offer(1, 0, 0, 1)}, 1)
    with pytest.raises(ValueError, match="nobody offers"):
        share({}, 1)


def test_consensus_finds_the_same_optimum():
    demand_kw = {f"home{i}": 0.4 * i for i in range(17)} | dict.fromkeys(OFFERS, 0.0)
    best = share(OFFERS, sum(demand_kw.values()))
    edges = chorded_ring(len(demand_kw))
    found = agree(OFFERS, demand_kw, edges)
    assert abs(found.missing_kw) <= 0.02
    gap = abs(cost_eur(OFFERS, found.power_kw, 1) / cost_eur(OFFERS, best.power_kw, 1) - 1)
    assert gap <= 1e-3
    lossy = agree(OFFERS, demand_kw, edges, loss=0.3, random=np.random.default_rng(1))
    assert lossy.power_kw == pytest.approx(found.power_kw, abs=0.02)


def test_the_step_of_consensus_is_bounded_by_its_stability():
    demand_kw = {"home": 20.0} | dict.fromkeys(OFFERS, 0.0)
    edges = chorded_ring(len(demand_kw), 2)
    response = np.array([0.0] + [0.5 / offer.c for offer in OFFERS.values()])
    limit = stability_limit(metropolis(edges, len(demand_kw)), response)
    with pytest.raises(ValueError, match="becomes unstable"):
        agree(OFFERS, demand_kw, edges, eps=0.6 * limit)
    free = {name: offer._replace(least_kw=-1e9, most_kw=1e9) for name, offer in OFFERS.items()}
    grown = []
    for factor in (0.95, 1.05):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gridloop.simulators.market.consensus.SAFETY", 1.1)
            grown.append(abs(np.ptp(agree(free, demand_kw, edges, eps=factor * limit, most=1500).prices)))
    assert grown[0] < 1e-2 < 1 < grown[1]


def test_metropolis_weights_are_doubly_stochastic():
    weights = metropolis(chorded_ring(22), 22)
    assert weights.sum(0) == pytest.approx(1)
    assert (weights == weights.T).all()
    assert (np.diag(weights) > 0).all()


ASKS = [Order("s2", 300, 120), Order("s1", 200, 100), Order("s3", 500, 220)]
BIDS = [Order("b1", 250, 260), Order("b2", 400, 150), Order("b3", 100, 110)]


def test_one_price_clears():
    # 200 W of s1 and 50 W of s2 to b1 (260), 250 W of s2 to b2 (150); s3 (220) is too dear for b2
    # price (120 + 150) / 2
    price, trades = clear(ASKS, BIDS)
    assert price == 135
    assert trades == [
        Trade("s1", "b1", 200, 135), Trade("s2", "b1", 50, 135), Trade("s2", "b2", 250, 135)
    ]  # fmt: skip
    assert traded(trades) == {"s1": 200, "s2": 300, "b1": -250, "b2": -250}


def test_the_order_of_arrival_does_not_matter():
    assert clear(ASKS[::-1], BIDS[::-1]) == clear(ASKS, BIDS)
    twins = [Order("b", 10, 5), Order("a", 10, 5)]
    assert clear(twins, [Order("c", 10, 5)])[1][0].seller == "a"


def test_no_trade_without_a_bid_that_is_worth_its_ask():
    assert clear([Order("s", 10, 6)], [Order("b", 10, 5)]) == (None, [])
    assert clear([], BIDS) == (None, [])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8),
       st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8))  # fmt: skip
def test_nobody_trades_at_a_loss_or_more_than_offered(sells, buys):
    asks = [Order(f"s{i}", *one) for i, one in enumerate(sells)]
    bids = [Order(f"b{i}", *one) for i, one in enumerate(buys)]
    price, trades = clear(asks, bids)
    sums = traded(trades)
    for order, sign in [(ask, 1) for ask in asks] + [(bid, -1) for bid in bids]:
        took = sign * sums.get(order.owner, 0)
        assert 0 <= took <= order.power_w
        if took:
            assert price is not None
            assert sign * (price - order.price) >= 0


def test_bidders_learn_from_what_became_of_their_orders():
    # values overlap (sellers 8 to 16, buyers 15 to 30), but with a margin of 60 % nobody meets at first
    sellers = {f"s{i}": Learner(80 + 20 * i, margin=0.6) for i in range(5)}
    buyers = {f"b{i}": Learner(150 + 10 * i, margin=0.6) for i in range(5)}
    volume = []
    for _ in range(80):
        _, trades = clear(
            [one.ask(name, 100) for name, one in sellers.items()], [one.bid(name, 100) for name, one in buyers.items()]
        )
        sums = traded(trades)
        for name, one in (sellers | buyers).items():
            one.learn(100, abs(sums.get(name, 0)))
        volume.append(sum(trade.power_w for trade in trades))
    # at their values 400 W would be traded: 80, 100, 120, 140 against 190, 180, 170, 160
    assert volume[0] == 0
    assert np.mean(volume[-10:]) > 300
    assert all(one.margin >= 0 for one in (sellers | buyers).values())


def test_measures_of_balance():
    agreed, demand, load = np.array([1.0, 2.0]), np.array([1.5, 2.0]), np.array([2.0, 3.0])
    assert balancing_accuracy(agreed, demand, load) == pytest.approx(0.9)
    assert rms_kw(agreed, demand) == pytest.approx(0.5 / 2**0.5)
    assert resilience(0.7, 0.9) == pytest.approx(7 / 9)
    assert np.isnan(resilience(0.7, 0.0))
    assert np.isnan(balancing_accuracy(agreed, demand, 0 * load))
    assert within([(1, 2)], 4).tolist() == [False, True, True, False]


def test_recovery_is_counted_from_the_begin_of_a_fault():
    load = np.full(120, 2.0)
    agreed = load.copy()
    agreed[100:106] = 1.0  # half is missing for six slots
    # the first four slots in a row that reach .95 begin with slot 106
    assert recovery_slots(agreed, load, load, 100) == 10
    agreed[100:] = 1.0
    assert recovery_slots(agreed, load, load, 100) == float("inf")
