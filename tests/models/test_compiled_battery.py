"""Loops over packs against numpy, on random packs, courses and step lengths."""

from typing import Any

import numpy as np
import pytest

from gridloop.simulators.models import battery, compiled, compiled_battery, jit
from gridloop.simulators.models.battery import Inputs, Ledger, Params, Slopes, State
from ways import LOOPS, taken

PACKS = 3
DRAWS = 300
STEPS_S = (5e-3, 0.1, 10.0, 900.0, 7200.0)
both = pytest.mark.parametrize("way", LOOPS)


def random_packs(random: Any) -> Params:
    """Any cells; some lose no charge, some may be emptied and filled altogether."""
    low = random.choice([0.0, 10.0, 30.0], PACKS)
    high = random.choice([60.0, 90.0, 100.0], PACKS)
    return Params(
        e_rated_kwh=10 ** random.uniform(0, 4, PACKS), soc_init_percent=(low + high) / 2, soc_min_percent=low,
        soc_max_percent=high, c_rate_per_h=random.uniform(0.2, 5, PACKS),
        coulombic_efficiency_percent=random.choice([90.0, 99.0, 100.0], PACKS),
        cells_in_series=random.integers(10, 400, PACKS), cell_r0_mohm=random.uniform(0.1, 5, PACKS),
        cell_r1_mohm=random.uniform(0.1, 2, PACKS), cell_relaxation_s=10 ** random.uniform(0, 4, PACKS),
        cell_v_min_v=random.choice([0.5, 2.8], PACKS),
        cell_ocv_v=tuple(np.sort(random.uniform(2.7, 4.3, random.integers(2, 30)))),
    )  # fmt: skip


def random_state(random: Any, p: Params) -> State:
    """Anywhere in the window, and often at its ends."""
    low, high = p.soc_window
    soc = low + (high - low) * np.clip(random.uniform(-0.2, 1.2, PACKS), 0, 1)
    v1 = p.r1_ohm * p.i_max_a * random.uniform(-1, 1, PACKS)
    energies = random.uniform(-1, 1, (6, PACKS)) * p.e_rated_kwh / 1e3
    return State(soc, v1, p.i_max_a * random.uniform(-1, 1, PACKS), energies[0], np.zeros(PACKS), Ledger(*energies[1:]))


def random_power_kw(random: Any, p: Params) -> Any:
    """From nothing to far beyond every limit, in both directions."""
    return p.e_rated_kwh * random.choice([0.0, 1e-9, 0.1, 1.0, 10.0, 1000.0], PACKS) * random.normal(size=PACKS)


def flat(fields: Any) -> Any:
    """(fields, n) of nested fields."""
    return np.array([row for field in fields for row in (field if isinstance(field, Ledger) else [field])])


def one_step(p: Params, energy_mwh: Any) -> Any:
    """(fields, n) after an hour from the start."""
    return flat(battery.advance(p, battery.initial(p, None, None), Inputs(energy_mwh), Slopes(), 3600.0))


@both
def test_loops_agree_with_numpy(way):
    random, apart, crossed = np.random.default_rng(1), 0.0, 0
    flags: set[tuple[float, float, float]] = set()
    for draw in range(DRAWS):
        p, dt_s = random_packs(random), STEPS_S[draw % len(STEPS_S)]
        s, power_kw = random_state(random, p), random_power_kw(random, p)
        u = Inputs(s.e_gen_mwh + power_kw * dt_s / 3.6e6)
        found = []
        for one in ("numpy", way):
            with taken(one, battery):
                later = battery.advance(p, s, u, Slopes(), dt_s)
                found.append([flat(later), flat(battery.respond(p, later, u))])
        for numpy_, loops in zip(*found, strict=True):
            assert loops.shape == numpy_.shape and loops.dtype == numpy_.dtype
            apart = max(apart, float((np.abs(loops - numpy_) / (np.abs(numpy_) + 1e-9)).max()))
        soc, limited, knots = found[0][0][0], found[0][0][4], len(p.cell_ocv_v) - 1
        crossed += (np.floor(soc * knots) != np.floor(s.soc * knots)).sum()
        ends = np.equal(soc, p.soc_window[0]) * 1.0 - np.equal(soc, p.soc_window[1])
        flags |= set(zip(ends, np.sign(power_kw), limited, strict=True))
    assert apart < 1e-13
    assert crossed > PACKS * DRAWS / 6
    # emptied and filled, kept within the limits and beyond them, at rest, with power in both directions
    assert {(1, 1, 1), (-1, -1, 1), (0, 1, 0), (0, 1, 1), (0, -1, 0), (0, -1, 1), (0, 0, 0)} <= flags


@both
def test_a_step_over_many_knots(way):
    # 0.8 of the window in one step, over 7 of the 11 knots, until the energy is used up
    for power_kw in (80.0, -80.0):
        found = []
        for one in ("numpy", way):
            p = Params(e_rated_kwh=100.0, soc_init_percent=90.0 if power_kw > 0 else 10.0)
            with taken(one, battery):
                found.append(one_step(p, np.array([power_kw / 1e3])))
        assert found[1] == pytest.approx(found[0], rel=1e-13, abs=1e-17)


@both
def test_packs_are_computed_each_by_itself(way):
    given: dict[str, Any] = {"e_rated_kwh": [100.0, 50.0, 7.0], "soc_init_percent": [20.0, 50.0, 90.0]}
    energy = np.array([0.02, -0.015, 0.0])
    with taken(way, battery):
        together = one_step(Params(**given), energy)
        for n in range(3):
            alone = one_step(Params(**{name: values[n] for name, values in given.items()}), energy[n : n + 1])
            assert np.array_equal(alone[:, 0], together[:, n])


@both
def test_what_is_no_number_is_refused(way):
    p = random_packs(np.random.default_rng(4))
    with taken(way, battery):
        for energy in (np.nan, -np.inf):
            with pytest.raises(IndexError, match="not a number"):
                one_step(p, np.full(PACKS, energy))


@both
def test_energies_of_another_number_of_packs_are_refused(way):
    p = random_packs(np.random.default_rng(4))
    with taken(way, battery):
        for count in (PACKS - 1, PACKS + 1):
            with pytest.raises(ValueError, match="broadcast"):
                one_step(p, np.zeros(count))


def test_constants_are_those_of_the_battery():
    names = ("TAPER", "ITERATIONS", "SAME_CURRENT", "WS_PER_MWH")
    assert [getattr(compiled_battery, name) for name in names] == [getattr(battery, name) for name in names]


def test_few_packs_take_the_loops_and_many_do_where_they_are_compiled():
    assert compiled.kernels("compiled_battery", compiled.FEW) is compiled_battery
    many = compiled.kernels("compiled_battery", compiled.FEW + 1)
    assert many is (compiled_battery if jit.COMPILES else None)
