"""How the sources' powers change with their EMFs, at a solution of the network."""

from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.loads import Demand
from gridloop.simulators.models.network import Complex
from gridloop.simulators.models.nodal import Reduction
from gridloop.simulators.models.solve import Solution, current_derivatives


class Slopes(NamedTuple):
    """Change of the sources' powers (s, s) for each pu of the real and of the imaginary part of an EMF."""

    by_real: Complex
    by_imag: Complex

    def along(self, direction: Complex) -> Complex:
        """dS (s, c) when source j's EMF, c of them from the first, moves by `direction[j]`."""
        count = len(direction)
        along: Complex = self.by_real[:, :count] * direction.real + self.by_imag[:, :count] * direction.imag
        return along


def power_slopes(net: Reduction, need: Demand, solution: Solution) -> Slopes:
    """Derivatives of every source's power by every EMF; `solution` is a fresh one, its frame is the nominal one.

    Sources at their current limit count as if they were not.
    """
    count = len(net.sources.bus)
    emf = solution.x[:count]
    moves = np.concatenate((np.eye(count), 1j * np.eye(count)), axis=1)
    a, b = current_derivatives(net, need, solution.v_load, emf)
    if solution.v_free is None:
        pushed = net.emf_to_load @ moves
        dv = _complex(solution.chord.inverse @ _real(pushed))
    else:
        from gridloop.simulators.models.sparse_solve import nodal

        matrices = nodal(net)
        whole = matrices.factors(need, solution.v_free, emf)
        dv_free = _complex(whole.solve(_real(matrices.push @ moves)))
        dv = np.concatenate((dv_free, moves))[matrices.draw_place]
    drawn = -(a[:, None] * dv + b[:, None] * dv.conj())
    if solution.v_free is None:
        terminal = net.to_terminal @ np.concatenate((moves, drawn))
        dv_terminal, di_source = terminal[:count], terminal[count:]
        i_source = (net.to_terminal @ solution.x)[count:]
    else:
        dv_terminal, di_source = matrices.terminals(moves, dv_free, drawn)
        i_source = matrices.terminals(emf[:, None], solution.v_free[:, None], solution.x[count:, None])[1][:, 0]
    ds = dv_terminal * i_source.conj()[:, None] + solution.v_terminal[:, None] * di_source.conj()
    return Slopes(ds[:, :count], ds[:, count:])


def _real(columns: Complex) -> "np.typing.NDArray[np.float64]":
    """Complex (k, c) as interleaved real rows (2k, c)."""
    return np.stack((columns.real, columns.imag), axis=1).reshape(2 * len(columns), columns.shape[1])


def _complex(columns: "np.typing.NDArray[np.float64]") -> Complex:
    """The way back."""
    whole: Complex = columns[0::2] + 1j * columns[1::2]
    return whole
