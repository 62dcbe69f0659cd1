"""Power tracing: a mix by hand, and sums that are exact in any net."""

import numpy as np
import pytest

from gridloop.simulators.market.limits import newton
from gridloop.simulators.market.tracing import Flows, Terminals, trace, trace_reactive
from reactive_cases import paper, voltages_of


def terminals(**amounts):
    """`g0=4` is 4 at bus 0."""
    nodes = [int(name[1:]) for name in amounts]
    return Terminals(tuple(amounts), np.array(nodes, np.intp), np.array(list(amounts.values()), float))


def lines(*ends):
    """(from, to, sent, received) each."""
    f, t, sent, received = np.array(ends, float).T
    names = tuple(f"{int(a)}-{int(b)}" for a, b in zip(f, t, strict=True))
    return Flows(f.astype(np.intp), t.astype(np.intp), sent, -received, names)


def test_a_mix_by_hand():
    # bus 0 makes 60 and sends it with 6 lost on the way; bus 1 adds 26 and sends 50 of its 80 on to bus 2:
    # 54/80 of whatever leaves bus 1 is from bus 0
    found = trace(3, lines((0, 1, 60, 54), (1, 2, 50, 50)), terminals(g0=60, g1=26), terminals(l1=30, l2=50))
    assert found.sinks.names == ("l1", "l2", "line 0-1")
    assert found.share == pytest.approx(np.array([[30 * 54 / 80, 30 * 26 / 80], [50 * 54 / 80, 50 * 26 / 80], [6, 0]]))


def test_a_line_that_charges_is_a_source_and_may_feed_both_ends():
    found = trace(2, lines((0, 1, -3, 5)), terminals(g0=1), terminals(l0=4, l1=5))
    assert found.sources.names == ("g0", "line 0-1")
    assert found.share == pytest.approx(np.array([[1, 3], [0, 5]]))


def test_flows_that_do_not_balance_are_refused():
    with pytest.raises(ValueError, match="do not balance at node 1"):
        trace(2, lines((0, 1, 5, 5)), terminals(g0=5), terminals(l1=4.9))


def test_nothing_flows():
    found = trace(2, lines((0, 1, 0, 0)), terminals(), terminals())
    assert found.share.shape == (0, 0)


@pytest.mark.parametrize("name", ["C0", "C1", "C2", "case30", "case118"])
def test_sums_are_exact(name):
    problem = (paper(name) if name.startswith("C") else voltages_of(name)).problem
    state = newton(problem).losses(problem.start[None]).states
    found = trace_reactive(problem, problem.start, state)
    assert (found.share >= -1e-12).all()
    scale = 1e-9 * max(1.0, found.sources.amount.max())
    assert np.abs(found.share.sum(axis=0) - found.sources.amount).max() < scale
    assert np.abs(found.share.sum(axis=1) - found.sinks.amount).max() < scale
    q = problem.demands.s_mva.imag
    assert found.to(problem.demands.names).sum(axis=1) == pytest.approx(np.maximum(q, 0), abs=1e-6)
