"""Loops of device models and of the dense solve against numpy, on random units, inputs and step lengths."""

from typing import Any

import numpy as np
import pytest

import case_a
from gridloop.simulators.models import compiled, diesel, diesel_parameters, following, inverter, jit
from gridloop.simulators.models.loads import demand
from gridloop.simulators.models.nodal import Sources, reduce
from gridloop.simulators.models.solve import solve
from ways import LOOPS, taken

needs_numba = pytest.mark.peers(packages=["numba"])
loops = pytest.mark.parametrize("way", LOOPS)
UNITS = 3
STEPS_S = (5e-3, 1e-2, 2.5e-3, 7.3e-3)


def phasors(random: Any, spread: float) -> Any:
    return spread * (random.normal(size=UNITS) + 1j * random.normal(size=UNITS))


def both_ways(way: str, model: Any, p: Any, start: Any, drive: Any, steps: int = 300) -> Any:
    """The largest difference between a way and numpy over a run that numpy leads, and what the outputs reached."""
    random = np.random.default_rng(1)
    state, apart, reached = start, 0.0, []
    for k in range(steps):
        u, slopes = drive(random, k)
        if k == steps // 2:
            with taken("numpy", model):
                state = model.align(p, state, u, phasors(random, 0.1) + 1)
        ways = []
        for one in (way, "numpy"):
            with taken(one, model):
                after = model.advance(p, state, u, slopes, STEPS_S[k % 4])
                ways.append((after, model.respond(p, after, u)))
        apart = max(apart, *(difference(one, other) for one, other in zip(*ways, strict=True)))
        state = ways[1][0]
        reached.append(np.concatenate([np.asarray(field, complex).ravel() for field in ways[1][1]]))
    return apart, np.array(reached)


def difference(one: Any, other: Any) -> float:
    if isinstance(one, tuple):
        return max(difference(a, b) for a, b in zip(one, other, strict=True))
    a, b = np.asarray(one), np.asarray(other)
    assert a.shape == b.shape and a.dtype == b.dtype
    return float(np.abs(a.astype(complex) - b.astype(complex)).max(initial=0.0))


@pytest.mark.parametrize("dead_time_ms", [[24.0, 0.0, 10.0], [24.0, 12.0, 10.0], 24.0])
@needs_numba
def test_diesel(dead_time_ms):
    p = diesel_parameters.Params(
        s_rated_kva=[2000.0, 500.0, 100.0], dead_time_ms=dead_time_ms, f_nom_hz=60, p_set_kw=[1000.0, 200.0, 50.0],
        reverse_power_s=0.2,
    )  # fmt: skip
    s0, held = np.array([1 + 0.1j, 0.2 + 0.05j, 0.05]), diesel.held(p)

    def drive(random, k):
        power = -0.5 * s0 if 60 < k < 150 else s0 * (1 + 0.3 * random.normal())
        power = power * ~np.array([k % 37 == 0, False, 200 < k < 220])
        u = held._replace(s_pu=power, v_pu=np.exp(0.05j) + phasors(random, 0.05), omega_rad_per_s=random.normal(size=3))
        return u, diesel.Slopes(phasors(random, 1), phasors(random, 1) * (k % 5 > 0))

    apart, reached = both_ways("compiled", diesel, p, diesel.initial(p, s0, np.exp(0.2j) * np.ones(3)), drive)
    assert apart < 1e-12
    limited, tripped = reached.reshape(len(reached), 8, UNITS).real[:, [3, 7]].transpose(1, 0, 2)
    assert limited.max() == 1 and tripped.max() == 1 and limited.min() == 0  # every way was taken


@loops
def test_forming_inverter(way):
    p = inverter.Params(
        s_rated_kva=[2000.0, 500.0, 100.0], p_set_kw=10.0, p_max_kw=[1500.0, np.inf, 90.0], v_correction_limit_pu=0.05,
        e_min_pu=[0.0, 0.9, 0.95], e_max_pu=[np.inf, 1.1, 1.05], counts_energy=True,
    )  # fmt: skip
    s0, held = np.array([1 + 0.1j, 0.2 + 0.05j, 0.05]), inverter.held(p)

    def drive(random, k):
        u = held._replace(
            s_pu=s0 * (1 + random.normal()) * (k % 29 > 0), omega_rad_per_s=random.normal(size=3),
            v_correction_pu=0.05 * random.normal(size=3), p_dc_max_pu=np.abs(phasors(random, 1)),
        )  # fmt: skip
        return u, inverter.Slopes(phasors(random, 1))

    apart, reached = both_ways(way, inverter, p, inverter.initial(p, s0, np.ones(3, complex)), drive)
    assert apart < 1e-12
    assert set(reached.reshape(len(reached), 7, UNITS)[:, 3].real.ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("error", [ImportError("numba needs another numpy"), RuntimeError("cannot cache")])
def test_numba_that_does_not_serve_is_as_good_as_none(monkeypatch, error):
    def refuses(name):
        if name.endswith("jit"):
            return jit
        raise error

    compiled._kernels.cache_clear()
    monkeypatch.setattr(compiled, "import_module", refuses)
    try:
        assert compiled.kernels("compiled_inverters") is None and compiled.kernels("compiled_inverters", 1) is None
    finally:
        compiled._kernels.cache_clear()


@loops
def test_integrators_of_a_limit_that_is_gone_are_empty(way):
    p = inverter.Params(s_rated_kva=[2000.0, 500.0])
    state = inverter.initial(p, np.array([1 + 0.1j, 0.2]), np.ones(2, complex))._replace(over_pu=np.array([0.3, 0.1]))
    one_limited = inverter.held(p)._replace(p_dc_max_pu=np.array([np.inf, 0.1]), s_pu=np.array([1, 0.2 + 0j]))
    for one in (way, "numpy"):
        with taken(one, inverter):
            for u in (inverter.held(p), one_limited):
                later = inverter.advance(p, state, u, inverter.Slopes(np.zeros(2, complex)), 0.005)
                assert later.over_pu[0] == 0 and (later.over_pu[1] > 0) == (u is one_limited)


@loops
def test_following_inverter(way):
    p = following.Params(
        s_rated_kva=[2000.0, 500.0, 100.0], p_set_kw=[1500.0, 500.0, 50.0], q_set_kvar=40.0,
        frequency_watt_percent_per_hz=[40.0, 0.0, 0.0], droop_kw_per_hz=[0.0, 0.0, 10.0], counts_energy=True,
    )  # fmt: skip
    s0, held = np.array([1 + 0.1j, 0.2 + 0.05j, 0.05]), following.held(p)

    def drive(random, k):
        v = (np.exp(1j * k * 0.1) + phasors(random, 0.05)) * np.array([1, k % 31 > 3, 1])
        u = held._replace(
            s_pu=s0 * (1 + random.normal()), v_pu=v, p_available_pu=np.abs(phasors(random, 1)),
            f_meas_hz=np.where([False, False, k % 2 == 0], 50 + random.normal(), np.nan),
        )  # fmt: skip
        return u, following.Slopes(phasors(random, 1), phasors(random, 1))

    apart, reached = both_ways(way, following, p, following.initial(p, s0, np.ones(3, complex)), drive)
    assert apart < 1e-12
    assert set(reached.reshape(len(reached), 8, UNITS)[:, 4].real.ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("zip_shares", [(0, 0, 1), (0.3, 0.3, 0.4)])
@pytest.mark.parametrize("i_max_pu", [np.inf, 1.2])
@needs_numba
def test_dense_solve(monkeypatch, zip_shares, i_max_pu):
    network, loads = case_a.case9().network, case_a.loads(zip_shares)
    sources = Sources(np.arange(3), np.full(3, 0.01 + 0.1j), np.ones(3, bool), np.full(3, i_max_pu))
    net, need = reduce(network, network.closed, sources, loads.bus), demand(loads)
    random, emf, last, apart = np.random.default_rng(1), 1.03 * np.exp(1j * np.array([0, 0.2, 0.1])), None, 0.0
    for _ in range(100):
        moved = emf * (1 + 0.01 * random.normal(size=3)) * np.exp(0.02j * random.normal(size=3))
        ways = []
        for enabled in (True, False):
            monkeypatch.setattr(compiled, "ENABLED", enabled)
            ways.append(solve(net, need, moved, last))
        one, other = ways
        apart = max(apart, difference(one.s_source, other.s_source), difference(one.v_load, other.v_load))
        assert one.iterations == other.iterations and one.margin_pu == pytest.approx(other.margin_pu, abs=1e-12)
        last = other
    assert apart < 1e-12
