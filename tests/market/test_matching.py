"""Matching of buyers with sellers: the design's table, the named refusals, and windows that overlap."""

import numpy as np
import pytest

from gridloop.simulators.market.dispatch import dispatch
from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.matching import Request, match, traded
from gridloop.simulators.market.net import dispatch_net
from gridloop.simulators.market.orpd9 import orpd9
from reactive_cases import paper


@pytest.mark.parametrize(
    ("bus", "p_mw", "changes", "loadings", "refused"),
    [
        ("7", 5.0, (-3.29, 1.47, 0.57), (65.5, 67.5, 65.5), {}),
        ("5", 5.0, (1.16, 6.11, 5.19), (65.5, 67.5, 65.5), {}),
        ("7", 100.0, (-5.43, 47.33, 33.83), (69.6, 106.9, 73.8), {"g2": "line 8-2 loaded 106.9 %"}),
        ("5", 125.0, (83.6, 262.1, 228.1), (83.2, 117.9, 103.3),
         {"g2": "line 8-2 loaded 117.9 %", "g3": "line 5-6 loaded 103.3 %"}),
    ],
)  # fmt: skip
def test_the_reference_table(bus, p_mw, changes, loadings, refused):
    (found,) = match(paper("C0").problem, [Request("r", bus, p_mw)])
    assert [offer.seller for offer in found.offers] == ["g1", "g2", "g3"]
    assert [offer.loss_change_percent for offer in found.offers] == pytest.approx(
        changes, abs=0.055
    )  # the table rounds
    assert [100 * offer.loading for offer in found.offers] == pytest.approx(loadings, abs=0.05)
    assert {offer.seller: "; ".join(offer.refused) for offer in found.offers if offer.refused} == refused
    assert found.seller == "g1"


@pytest.mark.parametrize(("bus", "p_mw", "seller", "flat_mw", "without", "with_svc"), [
    ("7", 100.0, "g3", 6.6311, 5.3461, 5.2783), ("5", 125.0, "g2", 17.94, 13.92, 13.76),
    ("7", 5.0, "g3", 4.9831, 4.0332, 3.9595),
])  # fmt: skip
def test_dispatch_after_a_transaction(bus, p_mw, seller, flat_mw, without, with_svc):
    for svc_mvar, least in ((None, without), (0.0, with_svc)):
        problem = paper("C2", q9_mvar=50.0, svc_mvar=svc_mvar).problem
        found = dispatch(newton(traded(problem, [(Request("r", bus, p_mw), seller)])))
        assert found.before.loss_mw[0] == pytest.approx(flat_mw, abs=5e-3)
        assert found.loss_mw == pytest.approx(least, abs=5e-3)


def test_a_matched_transaction_counts_where_windows_overlap():
    problem = paper("C0").problem
    requests = [Request("a", "7", 100.0, 0, 2), Request("b", "5", 125.0, 1, 3), Request("c", "5", 125.0, 2, 3)]
    first, during, after = match(problem, requests)
    assert first.seller == "g1"
    assert during.seller is None  # from 1 to 2 h generator 1 would carry both
    assert during.offers[0].refused == ("line 4-1 loaded 125.7 %", "g1 would give 303.3 MW of at most 250")
    assert after.seller == "g1"
    assert after.offers == match(problem, [requests[2]])[0].offers


def test_the_loss_over_parts_of_a_window_is_their_mean():
    problem = paper("C0").problem
    given = Request("a", "7", 40.0, 0, 1)
    whole = match(problem, [given, Request("b", "5", 30.0, 0, 4)], ["g1"])[1].offers[0]
    together = match(problem, [given, Request("b", "5", 30.0, 0, 1)], ["g1"])[1].offers[0]
    alone = match(problem, [Request("b", "5", 30.0, 0, 1)], ["g1"])[0].offers[0]
    assert whole.loss_mw == pytest.approx((together.loss_mw + 3 * alone.loss_mw) / 4)
    base = 4.954701588
    without = (base * (1 + match(problem, [given], ["g1"])[0].offers[0].loss_change_percent / 100) + 3 * base) / 4
    assert whole.loss_change_percent == pytest.approx(100 * (whole.loss_mw / without - 1))
    assert whole.loading == max(together.loading, alone.loading)


def test_the_first_of_equal_sellers_is_chosen():
    found = match(paper("C0").problem, [Request("r", "7", 5.0)], ["g3", "g3"])[0]
    assert found.offers[0] == found.offers[1]
    assert found.seller == "g3"


def test_voltage_band_greatest_power_and_collapse_refuse():
    problem = paper("C0").problem
    (found,) = match(problem, [Request("r", "5", 200.0)], ["g1", "g2"])
    assert "g1 would give 282.0 MW of at most 250" in found.offers[0].refused
    assert "g2 would give 363.0 MW of at most 300" in found.offers[1].refused
    (found,) = match(paper("C1").problem, [Request("r", "7", 5.0)], ["g1"])
    assert found.offers[0].refused == ("bus 9 at 0.781 pu",)
    (found,) = match(problem, [Request("r", "5", 2000.0)])
    assert found.seller is None
    assert found.offers[1].refused == ("the power flow does not converge",)
    assert np.isnan(found.offers[1].loss_change_percent)


def test_lines_without_a_rating_are_never_overloaded():
    net = orpd9(50.0, None)
    net.line["max_i_ka"], net.trafo["df"] = 99999.0, 1e6
    (found,) = match(dispatch_net(net).problem, [Request("r", "5", 125.0)])
    assert [offer.refused for offer in found.offers] == [(), (), ()]


def test_wrong_requests():
    problem = paper("C0").problem
    with pytest.raises(ValueError, match="there is no bus '77'; the network has 1, 2"):
        match(problem, [Request("r", "77", 5.0)])
    with pytest.raises(ValueError, match="there is no seller 'g9'; the net has g1, g2, g3"):
        match(problem, [], ["g9"])
    with pytest.raises(ValueError, match="r: p_mw = -5 must be > 0"):
        Request("r", "7", -5.0)
    with pytest.raises(ValueError, match=r"r: the window 2..2 h is empty"):
        Request("r", "7", 5.0, 2.0, 2.0)
