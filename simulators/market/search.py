"""The account of a search: how many power flows, and the best setting after each of them."""

import numpy as np
from numpy.typing import ArrayLike

from gridloop.simulators.market.limits import Backend, Losses
from gridloop.simulators.models.network import Mask, Real


def better(loss: ArrayLike, violation: ArrayLike, than_loss: ArrayLike, than_violation: ArrayLike) -> Mask:
    """Whether a setting is at least as good: less violation first, then less loss.

    Source: Deb, Comput. Methods Appl. Mech. Eng. 186 (2000) 311, section 3.
    """
    loss, violation = np.asarray(loss), np.asarray(violation)
    result: Mask = (violation < than_violation) | ((violation == than_violation) & (loss <= than_loss))
    return result


class Search:
    """Counts power flows and keeps the best setting; a violation of up to `tolerance_pu` is none."""

    def __init__(self, tolerance_pu: float = 0.0) -> None:
        self.tolerance_pu = tolerance_pu
        self.evaluations = 0
        self.best_x: Real | None = None
        self.loss_mw = self.violation_pu = np.inf
        self.history: list[tuple[int, float, float]] = []  # power flows so far, loss and violation of the best

    def look(self, backend: Backend, x: Real) -> Losses:
        """Losses of settings (N, k), which are counted."""
        losses = backend.losses(x)
        violation = np.where(losses.violation_pu <= self.tolerance_pu, 0, losses.violation_pu)
        first = int(np.lexsort((losses.loss_mw, violation))[0])
        self.evaluations += len(x)
        if self.best_x is None or better(losses.loss_mw[first], violation[first], self.loss_mw, self.violation_pu):
            self.best_x = x[first].copy()
            self.loss_mw, self.violation_pu = float(losses.loss_mw[first]), float(violation[first])
        self.history.append((self.evaluations, self.loss_mw, self.violation_pu))
        return losses
