"""The same forecasts and negotiation on a feeder of simbench, whose series are of 2016 and in quarters of an hour.

Days 120 to 175 to learn from, days 176 to 189 to be judged by; for negotiation the arrays are halved.
"""

from functools import cache

import numpy as np
import pytest

from gridloop.simulators.market.accuracy import resilience
from gridloop.simulators.market.contract_net import rotating
from gridloop.simulators.market.forecast import DailyRidge, compared
from gridloop.simulators.market.slots import DAY, first_day
from neighbourhood_case import CENTRAL, OFFERS, STANDBY, Played, Week, names, play, week_of

pytestmark = [pytest.mark.peers(packages=["simbench"]), pytest.mark.timeout(300)]

GRID = "1-LV-rural1--0-sw"
FIRST_DAY = first_day("2016-01-01")
SLOTS = np.arange(176 * DAY, 190 * DAY)


@cache
def series() -> tuple[np.ndarray, np.ndarray]:
    """Loads and arrays [kW], (slots, n)."""
    import simbench

    values = simbench.get_absolute_values(simbench.get_simbench_net(GRID), profiles_instead_of_study_cases=True)
    return tuple(1e3 * values[kind, "p_mw"].to_numpy() for kind in ("load", "sgen"))


@cache
def week() -> Week:
    load_kw, pv_kw = series()
    return week_of(load_kw, pv_kw / 2, SLOTS, FIRST_DAY)


@cache
def played(how: str, down: str = "") -> Played:
    lines = {"central": lambda slot: CENTRAL, "standby": lambda slot: STANDBY, "team": rotating(names(week()))}
    return play(lines[how], down, week=week())


def test_forecasts_beat_what_they_have_to_beat():
    load_kw, pv_kw = (of.sum(1) for of in series())
    quarter, day, sun = (
        compared(DailyRidge(horizon, first_day=FIRST_DAY).forecast(of, SLOTS), of, SLOTS, horizon)
        for of, horizon in ((load_kw, 1), (load_kw, DAY), (pv_kw, 1))
    )
    assert quarter["ridge"] < quarter["persistence"]  # F1
    assert day["ridge"] < min(day["naive_1d"], day["naive_7d"])
    assert quarter["ridge"] <= 0.115  # F2
    assert sun["ridge"] <= 0.05


def test_negotiation_on_the_feeder():
    team, central = played("team"), played("central")
    assert abs(team.accuracy() - central.accuracy()) <= 0.005  # N1
    assert abs(team.cost_eur.sum() - central.cost_eur.sum()) / np.abs(central.cost_eur).sum() <= 0.001  # N3
    lossy = [play(rotating(names(week())), loss=0.1, seed=3, week=week()) for _ in range(2)]
    assert lossy[0].agreed_kw.tobytes() == lossy[1].agreed_kw.tobytes()  # N4
    assert abs(lossy[0].accuracy() - team.accuracy()) <= 0.01  # N5


@pytest.mark.parametrize("unit", OFFERS)
def test_a_unit_down(unit):
    down = played("team", unit).accuracy(in_faults=True)
    assert resilience(down, played("team").accuracy(in_faults=True)) >= 0.98  # N2


def test_a_controller_down():
    without = played("central").accuracy(in_faults=True)
    assert resilience(played("central", "controller").accuracy(in_faults=True), without) <= 0.85  # N2
    standby = resilience(played("standby", "controller").accuracy(in_faults=True), without)
    assert standby == pytest.approx(1, abs=1e-12)
