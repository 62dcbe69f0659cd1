"""The coupling without mosaik: a plain loop over the model functions, and the other wirings it is compared with."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from gridloop.simulators.models import inverter
from gridloop.simulators.models.loads import Loads, demand
from gridloop.simulators.models.network import Network
from gridloop.simulators.models.nodal import Reduction, Solution, Sources, reduce, solve

Scheme = Literal["foh", "foh_without_reset", "zoh", "jacobi", "heun"]


class Plant(NamedTuple):
    """Droop sources on a network."""

    network: Network
    sources: Sources
    loads: Loads
    params: inverter.Params


class Row(NamedTuple):
    """The solution at one tick; `f_hz` and `p_pu` per unit."""

    t_s: float
    f_hz: Any
    s_pu: Any


def step_load(row: int, p_pu: float, q_pu: float) -> Callable[[Plant, Any], tuple[Plant, Any]]:
    def change(plant: Plant, closed: Any) -> tuple[Plant, Any]:
        p, q = plant.loads.p0_pu.copy(), plant.loads.q0_pu.copy()
        p[row] += p_pu
        q[row] += q_pu
        return plant._replace(loads=plant.loads._replace(p0_pu=p, q0_pu=q)), closed
    return change


def open_line(name: str) -> Callable[[Plant, Any], tuple[Plant, Any]]:
    def change(plant: Plant, closed: Any) -> tuple[Plant, Any]:
        closed = closed.copy()
        closed[plant.network.row_of_branch(name)] = False
        return plant, closed
    return change


def frequency_deviation(plant: Plant, f_hz: Any) -> float:
    """Deviation that the loads see: the sources' mean weighted with 1/m."""
    weight = 1 / plant.params.droop_p_rad_per_s_pu
    return float(weight @ (f_hz - plant.params.f_nom_hz) / weight.sum() / plant.params.f_nom_hz)


def run(
    plant: Plant, start: tuple[Any, Any], h_us: int, end_us: int,
    events: Sequence[tuple[int, Callable[[Plant, Any], tuple[Plant, Any]]]] = (), scheme: Scheme = "foh",
) -> list[Row]:
    """Macro steps of `h_us` with an extra tick at every event; `start` is (S, EMF) at rest."""
    p = plant.params
    closed = plant.network.closed
    state = inverter.initial(p, *start)
    held = inverter.held(p)
    flat = inverter.Slopes(np.zeros(len(start[0]), complex))
    net = reduce(plant.network, closed, plant.sources, plant.loads.bus)
    ticks = sorted(set(range(0, end_us + 1, h_us)) | {t for t, _ in events})
    pending = sorted(events, key=lambda e: e[0])
    solution: Solution | None = None
    s_now = s_before = start[0]
    older_emf = start[1]
    reset, rows, before = True, [], None
    interval = 0.0
    for t in ticks:
        dt = 0.0 if before is None else (t - before) * 1e-6
        slopes = flat
        if scheme in ("foh", "foh_without_reset", "heun") and interval and not (reset and scheme == "foh"):
            slopes = inverter.Slopes((s_now - s_before) / interval)
        begin = state
        if scheme == "heun":
            slopes = flat
        state = inverter.advance(p, begin, held._replace(s_pu=s_now), slopes, dt)
        changed = bool(pending) and pending[0][0] == t
        if scheme == "heun" and dt and solution is not None:
            trial = inverter.respond(p, state, held)
            s_trial = solve(net, need_of(plant, net, trial.f_hz), trial.emf_pu, solution).s_source
            slopes = inverter.Slopes((s_trial - s_now) / dt)
            state = inverter.advance(p, begin, held._replace(s_pu=s_now), slopes, dt)
        while pending and pending[0][0] == t:
            plant, closed = pending.pop(0)[1](plant, closed)
        if changed:
            net = reduce(plant.network, closed, plant.sources, plant.loads.bus)
            solution = None
        out = inverter.respond(p, state, held)
        emf = older_emf if scheme == "jacobi" else out.emf_pu
        older_emf = out.emf_pu
        solution = solve(net, need_of(plant, net, out.f_hz), emf, solution)
        s_before, s_now = s_now, solution.s_source
        interval, before, reset = dt, t, changed
        rows.append(Row(t * 1e-6, out.f_hz, s_now))
    return rows


def need_of(plant: Plant, net: Reduction, f_hz: Any) -> Any:
    df = frequency_deviation(plant, f_hz) if plant.loads.k_pf.any() or plant.loads.k_qf.any() else 0.0
    return demand(Loads(*(column[net.supplied] for column in plant.loads)), df)
