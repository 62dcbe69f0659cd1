"""What a setting costs and how far it is outside its limits: `losses` in front of any power-flow backend."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gridloop.simulators.market.power_flow import voltages
from gridloop.simulators.market.problem import Problem
from gridloop.simulators.models.network import Complex, Real, branch_flows

FEASIBLE_PU = 1e-6  # violation that counts as none


class States(NamedTuple):
    """Solved settings; nan where the power flow does not converge."""

    v_pu: Complex  # (N, n)
    s_from_pu: Complex  # (N, m) into the branches
    s_to_pu: Complex
    p_source_mw: Real  # (N, s)
    q_source_mvar: Real


class Losses(NamedTuple):
    """What `losses` returns: active losses, sum of all excesses over limits, and the states behind them."""

    loss_mw: Real  # (N,) inf without convergence
    violation_pu: Real  # (N,) voltages in pu, reactive power on the system base; inf without convergence
    states: States


@dataclass(frozen=True)
class Backend:
    """A power flow by name; `voltages` turns settings (N, k) into bus voltages (N, n), nan without convergence."""

    problem: Problem
    name: str
    voltages: Callable[[Real], Complex]
    remark: str = ""  # why it and not the one asked for

    def losses(self, x: Real) -> Losses:
        """Losses [MW] and violation [pu] of settings (N, k), with their states."""
        return judged(self.problem, states(self.problem, x, self.voltages(x)))


def newton(problem: Problem) -> Backend:
    """The power flow in numpy, all settings at once."""
    return Backend(problem, "newton", lambda x: voltages(problem, x))


def states(problem: Problem, x: Real, v: Complex) -> States:
    """Flows and what sources give at voltages (N, n) of settings (N, k)."""
    network, (at_from, at_to), bus = problem.network, problem.ends, problem.sources.bus
    s_from, s_to = branch_flows(problem.network_at(x), network.closed, v)
    leaving = s_from @ at_from + s_to @ at_to + np.abs(v) ** 2 * network.shunt_pu.conj()
    q = problem.parts(x)[2]
    given = np.tile(problem.fixed_mva, (len(x), 1))
    np.add.at(given.T, problem.svcs.bus, 1j * q.T)
    np.subtract.at(given.T, problem.demands.bus, problem.demands.s_mva[:, None])
    source = (leaving * network.s_base_mva - given)[:, bus]
    return States(v, s_from, s_to, source.real, source.imag)


def judged(problem: Problem, state: States) -> Losses:
    """Losses and violation of solved settings.

    Source: Danalakshmi et al., Energies 13 (2020) 6179, eq. 1 as the sum over branches of Re(S_from + S_to).
    """
    network, sources = problem.network, problem.sources
    solved = np.isfinite(state.v_pu).all(axis=1)
    loss = network.s_base_mva * (state.s_from_pu + state.s_to_pu).real.sum(axis=1)
    level = np.abs(state.v_pu)[:, problem.supplied]
    excess_v = _beyond(level, problem.v_min_pu[problem.supplied], problem.v_max_pu[problem.supplied])
    excess_q = _beyond(state.q_source_mvar, sources.q_min_mvar, sources.q_max_mvar) / network.s_base_mva
    violation = excess_v.sum(axis=1) + excess_q.sum(axis=1)
    return Losses(np.where(solved, loss, np.inf), np.where(solved, violation, np.inf), state)


def _beyond(value: Real, low: Real, high: Real) -> Real:
    beyond: Real = np.maximum(low - value, 0) + np.maximum(value - high, 0)
    return beyond


def broken(problem: Problem, state: States) -> tuple[str, ...]:
    """Each limit that one solved setting (1, ...) breaks, in words."""
    if not np.isfinite(state.v_pu).all():
        return ("the power flow does not converge",)
    words, network, sources = [], problem.network, problem.sources
    for name, row in zip(network.bus_names, network.bus_row, strict=True):
        level = abs(state.v_pu[0, row])
        if problem.supplied[row]:
            words += _words(f"V at bus {name}", level, problem.v_min_pu[row], problem.v_max_pu[row], "pu")
    scale = network.s_base_mva
    for row, name in enumerate(sources.names):
        limits = sources.q_min_mvar[row] / scale, sources.q_max_mvar[row] / scale
        words += _words(f"Q of {name}", state.q_source_mvar[0, row] / scale, *limits, "Mvar", scale)
    return tuple(words)


def _words(what: str, value: float, low: float, high: float, unit: str, scale: float = 1.0) -> list[str]:
    if value < low - FEASIBLE_PU:
        return [f"{what} = {value * scale:.4f} {unit} < {low * scale:g}"]
    return [f"{what} = {value * scale:.4f} {unit} > {high * scale:g}"] if value > high + FEASIBLE_PU else []
