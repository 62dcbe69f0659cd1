"""Links between simulators: units are checked and scaled, initial data too."""

from typing import Any

import mosaik_api_v3
import numpy as np
import pytest
from mosaik.starters import PythonStarter

from gridloop.scenarios.build import open_world
from gridloop.scenarios.links import UnitError, factor, link
from gridloop.simulators.wire import to_lists

ATTRS = ["P_gen[MW]", "P_gen[kW]", "Q_gen[kvar]", "Q_gen[MVar]", "f[Hz]", "Va[rad]", "Va[deg]", "S[pu]", "plain", "x[]"]


class Show(mosaik_api_v3.Simulator):
    """Shows `value` in every attribute and keeps what it takes."""

    def __init__(self, value: Any = None) -> None:
        models = {"Show": {"public": True, "params": [], "attrs": ATTRS}}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})
        self.value = value
        self.seen: list[Any] = []

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        return [{"eid": "one", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        self.seen.append({attr: next(iter(v.values())) for attr, v in inputs.get("one", {}).items()})
        return time + 10

    def get_data(self, outputs: Any) -> Any:
        return {eid: dict.fromkeys(attrs, self.value) for eid, attrs in outputs.items()}


def seen(value: Any, *pairs: Any, **options: Any) -> Any:
    """What a destination takes in two steps."""
    taker = Show()
    with open_world() as world:
        src = world.start(PythonStarter(Show, args=(value,)), "Src").Show()
        dest = world.start(PythonStarter(lambda: taker), "Dest").Show()  # type: ignore[arg-type]
        link(world, src, dest, *pairs, **options)
        world.run(until=11, print_progress=False)
    return taker.seen


@pytest.mark.parametrize(
    ("src", "dest", "times"),
    [
        ("P[kW]", "P[MW]", 1e-3),
        ("P[MW]", "P[W]", 1e6),
        ("Q[kvar]", "Q[MVar]", 1e-3),
        ("Va[rad]", "Va[deg]", 180 / np.pi),
        ("SoC[%]", "soc[1]", 0.01),
        ("delay[ms]", "delay[s]", 1e-3),
        ("x[furlong]", "x[furlong]", 1.0),
        ("plain", "P[MW]", 1.0),
    ],
)
def test_units_of_one_quantity_are_scaled(src: str, dest: str, times: float) -> None:
    assert factor(src, dest) == pytest.approx(times, rel=1e-15)


@pytest.mark.parametrize(
    ("src", "dest", "words"),
    [
        ("P_gen[MW]", "f[Hz]", r"P_gen\[MW\] cannot feed f\[Hz\]: MW is active power, Hz is frequency"),
        ("P_gen[MW]", "Q_gen[MVar]", "MW is active power, MVar is reactive power"),
        ("V[pu]", "V[kV]", "pu is per unit, kV is voltage"),
        ("Omega[rad_per_s]", "f[Hz]", "rad_per_s is angular frequency"),
        ("P[mW]", "P[MW]", "the unit 'mW' is not known; did you mean"),
        ("P[horse]", "P[MW]", "the unit 'horse' is not known$"),
    ],
)
def test_other_quantities_are_refused(src: str, dest: str, words: str) -> None:
    with pytest.raises(UnitError, match=words):
        factor(src, dest)


def test_link_scales_values_and_passes_those_of_one_unit() -> None:
    assert seen(250.0, ("P_gen[kW]", "P_gen[MW]"), "f[Hz]") == [{"P_gen[MW]": 0.25, "f[Hz]": 250.0}] * 2


def test_initial_data_are_given_in_the_unit_of_the_source() -> None:
    found = seen(250.0, ("P_gen[kW]", "P_gen[MW]"), time_shifted=True, initial_data={"P_gen[kW]": 100.0})
    assert found == [{"P_gen[MW]": pytest.approx(0.1)}, {"P_gen[MW]": pytest.approx(0.25)}]


def test_arrays_become_lists_on_their_way_to_another_process() -> None:
    found = seen(np.array([1 + 2j, 3]), "S[pu]", form=to_lists, time_shifted=True, initial_data={"S[pu]": np.ones(2)})
    assert found == [{"S[pu]": [1, 1]}, {"S[pu]": [[1, 2], [3, 0]]}]
    assert seen([1.0, 2.0], ("P_gen[kW]", "P_gen[MW]")) == [{"P_gen[MW]": pytest.approx([1e-3, 2e-3])}] * 2


def test_refused_link_names_both_ends_and_connects_nothing() -> None:
    taker = Show()
    with open_world() as world:
        src = world.start(PythonStarter(Show, args=(1.0,)), "Src").Show()
        dest = world.start(PythonStarter(lambda: taker), "Dest").Show()  # type: ignore[arg-type]
        with pytest.raises(UnitError, match=r"Src\.one -> Dest\.one: P_gen\[MW\] cannot feed f\[Hz\]"):
            link(world, src, dest, "Va[deg]", ("P_gen[MW]", "f[Hz]"))
        with pytest.raises(ValueError, match=r"more than one attribute for P_gen\[MW\]"):
            link(world, src, dest, ("P_gen[kW]", "P_gen[MW]"), "P_gen[MW]")
        world.run(until=11, print_progress=False)
    assert taker.seen == [{}, {}]
