"""Speed of `microgrid9`: its run to the same wiring with empty models, to real time, to its models alone, and with all
kinds of units in one simulator; without numba, as most install gridloop, and with it.
"""

import json
import math
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from gridloop.scenarios.build import Built, build, open_world
from gridloop.scenarios.reading import load
from gridloop.scenarios.start import Plan, plan
from gridloop.simulators import operation
from gridloop.simulators.models import compiled
from gridloop.simulators.models.solve import solve

SIMULATED_S = 10.0
# a process in which Python finds no numba
WITHOUT_NUMBA = """
import json, sys
sys.modules["numba"] = None
sys.path.insert(0, "")
import microgrid9
print(json.dumps(microgrid9.rows_here({})))
"""
TICKING = ("Comms", "Secondary")  # what they do is no model of arrays; their own steps are emptied


class Reach(NamedTuple):
    """What has to be reached."""

    to_empty: float  # at most
    real_time: float  # at least
    models_alone: float  # at most
    together: float  # at most


REACH = {"numpy": Reach(1.7, 5.0, 0.4, 0.85), "numba": Reach(1.25, 8.0, 0.15, 0.8)}


def planned(until_s: float = SIMULATED_S, grouping: str = "kind") -> Plan:
    """The scenario without its events, which cost a few solves each."""
    return plan(load("microgrid9").with_overrides({"until_s": until_s, "events": [], "grouping": grouping}))


def simulate(one: Plan, change: Callable[[Built], None] | None = None) -> float:
    """Processor seconds of the mosaik run, its set-up left out; rows are kept, not written."""
    rows: list[Any] = []
    sinks: Any = defaultdict(lambda: lambda t, row: rows.append((t, row)))
    for name in ("Grid", "Inverter", "Diesel", "Following", "Battery", "PV", *TICKING):
        _ = sinks[name]
    with open_world() as world:
        built = build(one, world, sinks)
        if change is not None:
            change(built)
        began = time.process_time()
        world.run(until=built.until, print_progress=False, lazy_stepping=False)
        return time.process_time() - began


def step_times(one: Plan) -> dict[str, list[int]]:
    """When the simulators that decide themselves when to step do so."""
    times: dict[str, list[int]] = defaultdict(list)

    def note(built: Built) -> None:
        for name in TICKING:
            simulator = built.simulators[name]

            def noted(time: int, inputs: Any, max_advance: int, name: str = name, step: Any = simulator.step) -> int:
                times[name].append(time)
                return int(step(time, inputs, max_advance))

            simulator.step = noted

    simulate(one, note)
    return times


def emptied(times: dict[str, list[int]]) -> Callable[[Built], None]:
    """Leave mosaik, wrappers and recording, around models that return what they were given."""

    def change(built: Built) -> None:
        for name, simulator in built.simulators.items():
            if name in TICKING:
                following = dict(zip(times[name], [*times[name][1:], built.until], strict=True))
                simulator.step = _idle(simulator, following)
            elif name not in ("Grid", "PV"):
                for group in simulator._groups.values():
                    group._model = replace(
                        group._model,
                        advance=lambda p, s, u, slopes, dt_s: s,
                        respond=lambda p, s, u, shown=group.outputs: shown,
                    )

    return change


def _idle(simulator: Any, following: dict[int, int]) -> Callable[[int, Any, int], int]:
    row, sink = np.zeros(len(simulator.columns)), simulator._sink

    def step(time: int, inputs: Any, max_advance: int) -> int:
        simulator._time = time
        sink(time, row)
        return following[time]

    return step


def simulate_empty(one: Plan, times: dict[str, list[int]]) -> float:
    """Processor seconds of the same wiring with empty models and a network that is solved once."""

    def unsolved(net: Any, need: Any, emf: Any, last: Any) -> Any:
        return last or solve(net, need, emf, None)

    with patch.object(operation, "solve", unsolved):
        return simulate(one, emptied(times))


def calls_of(one: Plan) -> list[tuple[Any, Any]]:
    """Every call (function, arguments) of a device model or of the network's solve in a run, in order."""
    calls: list[tuple[Any, Any]] = []

    def noting(function: Any) -> Any:
        def noted(*given: Any) -> Any:
            calls.append((function, given))
            return function(*given)

        return noted

    def note(built: Built) -> None:
        for name, simulator in built.simulators.items():
            if name not in ("Grid", "PV", *TICKING):
                for group in simulator._groups.values():
                    model = group._model
                    group._model = replace(model, advance=noting(model.advance), respond=noting(model.respond))

    with patch.object(operation, "solve", noting(solve)):
        simulate(one, note)
    return calls


def call_again(calls: list[tuple[Any, Any]]) -> float:
    """Processor seconds of the models alone, in a plain loop over the calls of a run."""
    began = time.process_time()
    for function, given in calls:
        function(*given)
    return time.process_time() - began


Row = tuple[str, float, str, float]  # name, figure, 'at most' or 'at least', and bound


def rows(repeats: int) -> list[Row]:
    """All rows; medians of ratios within one round."""
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA.format(repeats)], cwd=Path(__file__).parent, check=True,
        stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    found = [tuple(row) for row in json.loads(told)]
    return found + rows_here(repeats) if compiled.kernels() is not None else found


def rows_here(repeats: int) -> list[Row]:
    """The rows of this process."""
    one, together = planned(), planned(grouping="step")
    simulate(planned(0.2))  # compiles
    times, calls = step_times(one), calls_of(one)
    rounds = np.array([
        (simulate(one), simulate_empty(one, times), call_again(calls), simulate(together)) for _ in range(repeats)
    ])  # fmt: skip
    real, empty, alone, grouped = rounds.T
    way = "numpy" if compiled.kernels() is None else "numba"
    reach = REACH[way]
    return [
        (f"microgrid9, {way} / empty models", float(np.median(real / empty)), "at most", reach.to_empty),
        (f"microgrid9, {way}: models alone / run", float(np.median(alone / real)), "at most", reach.models_alone),
        (f"microgrid9, {way}: grouping step / kind", float(np.median(grouped / real)), "at most", reach.together),
        (f"microgrid9, {way}, x real time", SIMULATED_S / float(real.min()), "at least", reach.real_time),
    ]


def fits(figure: float, bound: str, limit: float) -> bool:
    """Whether a row holds."""
    return figure <= limit if bound == "at most" else figure >= limit and not math.isnan(figure)
