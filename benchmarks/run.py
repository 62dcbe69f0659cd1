"""Speed of gridloop as ratios measured in one run; absolute times of a shared machine mean nothing.

    python benchmarks/run.py            # or: make bench

Every ratio is printed beside what it has to reach. The exit code is 1 if one is missed.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices gain nothing from threads

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import mosaik
import mosaik_api_v3
import numpy as np

import feeder1000
import hil_cycle
import ledger
import microgrid9
import study
from gridloop.scenarios.build import Built, build, open_world
from gridloop.scenarios.reading import load
from gridloop.scenarios.runner import run
from gridloop.scenarios.start import Plan, plan
from gridloop.scenarios.study_pool import cores
from gridloop.simulators.models import inverter
from gridloop.simulators.models.loads import demand
from gridloop.simulators.models.nodal import Sources, reduce
from gridloop.simulators.models.solve import solve


def empty_models(built: Built) -> None:
    """Leave the wiring and the wrappers around models that return what they were given."""
    for name, simulator in built.simulators.items():
        for group in simulator._groups.values() if name != "Grid" else ():
            group._model = replace(
                group._model,
                advance=lambda p, s, u, slopes, dt_s: s,
                respond=lambda p, s, u, shown=group.outputs: shown,
            )


def unsolved(net: Any, need: Any, emf: Any, last: Any) -> Any:
    """A network that is solved once and never again."""
    return last or solve(net, need, emf, None)


def empty_simulators(built: Built) -> None:
    """Leave mosaik alone: same entities, same attributes, fresh arrays, nothing behind them."""
    step = round(built.plan.scenario.step_ms * 1000)

    def get_data(outputs: Any) -> Any:
        return {
            eid: {attr: 0 if attr == "events[1]" else np.zeros(3, complex) for attr in attrs}
            for eid, attrs in outputs.items()
        }

    for simulator in built.simulators.values():
        sink = simulator._sink

        def empty_step(time: int, inputs: Any, max_advance: int, sink: Any = sink) -> int:
            sink(time, None)
            return time + step

        simulator.step, simulator.get_data = empty_step, get_data


def simulate(planned: Plan, change: Callable[[Built], None] | None = None) -> float:
    """Processor seconds of the mosaik run of a plan, its set-up left out."""
    rows: list[Any] = []
    sinks = {name: lambda t, row: rows.append((t, row)) for name in ("Grid", "Inverter")}
    with open_world() as world:
        built = build(planned, world, sinks)
        if change is not None:
            change(built)
        with patch("gridloop.simulators.operation.solve", unsolved if change is empty_models else solve):
            began = time.process_time()
            world.run(until=built.until, print_progress=False, lazy_stepping=False)
            return time.process_time() - began


def plain_loop(planned: Plan) -> float:
    """Processor seconds of the same model functions in a bare loop without recording."""
    group, case = planned.groups[0], planned.case
    p, network = group.params, case.network
    rows = np.array([network.row_of_bus(bus) for bus in group.bus], np.intp)
    sources = Sources(rows, group.z_pu, np.ones(len(rows), bool))
    net, need = reduce(network, network.closed, sources, case.loads.bus), demand(case.loads)
    state, held = inverter.initial(p, group.s_start_pu, group.emf_start_pu), inverter.held(p)
    dt = planned.scenario.step_ms * 1e-3
    solution, s, s_before = None, group.s_start_pu, group.s_start_pu
    began = time.process_time()
    for _ in range(round(planned.scenario.until_s / dt)):
        held = held._replace(s_pu=s)
        state = inverter.advance(p, state, held, inverter.Slopes((s - s_before) / dt), dt)
        solution = solve(net, need, inverter.respond(p, state, held).emf_pu, solution)
        s_before, s = s, solution.s_source
    return time.process_time() - began


def in_turns(repeats: int, *functions: Callable[[], float]) -> Any:
    """Figures (repeats, functions), the functions taken in turns.

    Only figures of one round are to be compared: a slow spell of the machine then meets both sides of a ratio.
    """
    return np.array([[function() for function in functions] for _ in range(repeats)])


def late_step_ratio(simulated_s: float = 62.0) -> float:
    """Cost of a step after 60 s relative to one after 2 s, in one recorded run (medians over 400 steps)."""
    scenario = load("ieee9").with_overrides({"until_s": simulated_s, "events": []})
    stamps: list[float] = []

    def stamp(built: Built) -> None:
        simulator = built.simulators["Grid"]
        step = simulator.step

        def stamped(*args: Any) -> Any:
            stamps.append(time.perf_counter())
            return step(*args)

        simulator.step = stamped

    with TemporaryDirectory() as folder:
        run(scenario, folder=folder, extend=stamp)
    cost = np.diff(stamps)
    early, late = round(2 / 5e-3), round(60 / 5e-3)
    return float(np.median(cost[late : late + 390]) / np.median(cost[early : early + 390]))


def main() -> int:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=15, help="runs of each side of a ratio")
    repeats = arguments.parse_args().repeats
    planned = plan(load("ieee9"))
    steps = round(planned.scenario.until_s / planned.scenario.step_ms * 1e3)
    real, models, bare, loop = in_turns(
        repeats,
        lambda: simulate(planned),
        lambda: simulate(planned, empty_models),
        lambda: simulate(planned, empty_simulators),
        lambda: plain_loop(planned),
    ).T
    late = statistics.median(late_step_ratio() for _ in range(5))
    with TemporaryDirectory() as folder:
        shares = run(load("ieee9"), folder=folder).metrics
    print(f"mosaik {mosaik.__version__}, API {mosaik_api_v3.__version__}, Python {sys.version.split()[0]}")
    limits = [
        ("ieee9 / same wiring with empty models", np.median(real / models), 1.45),
        ("ieee9: a step after 60 s / after 2 s", late, 1.15),
    ]
    for name, ratio, limit in limits:
        print(f"{name:<48} {ratio:6.3f}   at most {limit:g}   {'ok' if ratio <= limit else 'MISSED'}")
    rows = microgrid9.rows(max(repeats // 3, 1)) + hil_cycle.rows(max(repeats // 3, 1))
    jobs = cores()
    name = f"study on {jobs} processes / {jobs} x one process"
    rows.append((name, study.efficiency(jobs), "at least", study.REACH))
    for name, figure, bound, limit in rows:
        mark = "ok" if microgrid9.fits(figure, bound, limit) else "MISSED"
        print(f"{name:<48} {figure:6.3f}   {bound} {limit:g}   {mark}")
    rates = feeder1000.rates(3)
    for name, rate, reach, written_s in rates:
        mark = "ok" if rate >= reach else "MISSED"
        print(f"{name + ', x real time':<48} {rate:6.1f}   at least {reach:g}   {mark}; {written_s:.2f} s to write it")
    print(f"{'ieee9 / mosaik alone, nothing in the simulators':<48} {np.median(real / bare):6.3f}")
    print(f"{'ieee9: bare loop of the models / mosaik run':<48} {np.median(loop / real):6.3f}")
    print(f"{'ieee9: simulated time / wall time':<48} {planned.scenario.until_s / np.median(real):6.1f}")
    for part in ("models", "mosaik", "io"):
        print(f"{f'ieee9: share of the wall time in {part}':<48} {shares[f'wall_share_{part}'].value:6.3f}")
    step_us, empty_us = (np.median(figures) / steps * 1e6 for figures in (real, models))
    print(f"a step here and now: {step_us:.0f} us, {empty_us:.0f} us with empty models")
    reached = all(ratio <= limit for _, ratio, limit in limits) and all(rate >= reach for _, rate, reach, _ in rates)
    reached = reached and all(microgrid9.fits(*row[1:]) for row in rows)
    return 0 if ledger.show() and reached else 1


if __name__ == "__main__":
    sys.exit(main())
