"""Power flow by Newton's method in polar coordinates, for the start of a run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags_array, hstack, vstack
from scipy.sparse.linalg import spsolve

from gridloop.simulators.models.network import Complex, Index, Real


class PowerFlowError(ArithmeticError):
    """The power flow did not converge; `bus` is the row with the largest mismatch."""

    def __init__(self, bus: int, mismatch_pu: float) -> None:
        super().__init__(f"the power flow does not converge (mismatch {mismatch_pu:.3g} pu)")
        self.bus, self.mismatch_pu = bus, mismatch_pu


@dataclass(frozen=True)
class Targets:
    """What is given: complex injections, and the voltages of the buses that hold them.

    `v_start` (n,) holds the magnitudes of `held_magnitude` and `reference` buses and the angles of the latter.
    """

    s_injected: Complex  # (n,) pu, generator sign
    v_start: Complex  # (n,)
    reference: Index  # buses of given magnitude and angle
    held_magnitude: Index  # buses of given magnitude and active power


def power_flow(
    y: Any, targets: Targets, tolerance_pu: float = 1e-12, most_iterations: int = 40, start: Complex | None = None
) -> Complex:
    """Bus voltages (n,) at which the injections are as given.

    Args:
        y: nodal admittance matrix (n, n), scipy sparse.
        targets: injections and held voltages.
        tolerance_pu: largest mismatch left; the limit of double precision counts as reached.
        most_iterations: before it gives up.
        start: voltages (n,) to begin with; absent, those of the unloaded network.

    Raises:
        PowerFlowError: no convergence.

    Source: Tinney, Hart, IEEE Trans. PAS-86 (1967); derivatives as in MATPOWER's Technical Note 2 (2010).
    """
    y = csr_matrix(y)
    n = y.shape[0]
    no_angle = np.zeros(n, bool)
    no_angle[targets.reference] = True
    no_magnitude = no_angle.copy()
    no_magnitude[targets.held_magnitude] = True
    angle_rows, magnitude_rows = np.flatnonzero(~no_angle), np.flatnonzero(~no_magnitude)
    v = _turned_start(y, targets) if start is None else start
    best, stalled = np.inf, 0
    for _ in range(most_iterations):
        current = y @ v
        miss = v * current.conj() - targets.s_injected
        miss_real = np.concatenate((miss.real[angle_rows], miss.imag[magnitude_rows]))
        largest = float(np.abs(miss_real).max(initial=0.0))
        stalled = stalled + 1 if largest > best / 2 else 0
        if largest < tolerance_pu or (stalled and best < 1e3 * tolerance_pu):
            return v
        best = min(best, largest)
        if not np.isfinite(largest):
            break
        diag_v, diag_i = diags_array(v), diags_array(current)
        unit = diags_array(v / np.abs(v))
        by_angle = 1j * diag_v @ (diag_i - y @ diag_v).conj()
        by_magnitude = diag_v @ (y @ unit).conj() + diag_i.conj() @ unit
        jacobian = vstack((
            hstack((by_angle.real.tocsr()[angle_rows][:, angle_rows],
                    by_magnitude.real.tocsr()[angle_rows][:, magnitude_rows])),
            hstack((by_angle.imag.tocsr()[magnitude_rows][:, angle_rows],
                    by_magnitude.imag.tocsr()[magnitude_rows][:, magnitude_rows])),
        )).tocsc()  # fmt: skip
        step: Real = spsolve(jacobian, -miss_real) if len(miss_real) else np.empty(0)
        angle, magnitude = np.angle(v), np.abs(v)
        angle[angle_rows] += step[: len(angle_rows)]
        magnitude[magnitude_rows] += step[len(angle_rows) :]
        v = magnitude * np.exp(1j * angle)
    worst = np.concatenate((angle_rows, magnitude_rows))
    raise PowerFlowError(int(worst[np.abs(miss_real).argmax()]), best)


def _turned_start(y: Any, targets: Targets) -> Complex:
    """Held magnitudes (1 elsewhere) at the angles of the unloaded network, which know transformers' shifts."""
    free = np.setdiff1d(np.arange(y.shape[0]), targets.reference)
    v = targets.v_start.astype(complex)
    if not len(free):
        return v
    y_free = y[free]
    unloaded = spsolve(y_free[:, free].tocsc(), -(y_free[:, targets.reference] @ v[targets.reference]))
    magnitude = np.ones(y.shape[0])
    magnitude[targets.held_magnitude] = np.abs(v[targets.held_magnitude])
    v[free] = magnitude[free] * np.exp(1j * np.angle(unloaded))
    return v
