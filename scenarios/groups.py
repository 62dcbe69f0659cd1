"""Units that are rows of the same arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gridloop.simulators.models.network import Complex, Real
from gridloop.simulators.ports import Model


@dataclass(frozen=True)
class Course:
    """Given power of n units: rows (m,) of time and (m, n) of power into the bus."""

    times_s: Real
    p_gen_mw: Real
    q_gen_mvar: Real


@dataclass(frozen=True)
class Group:
    """Units that are rows of the same arrays: all of one model, or those that share the times of a profile."""

    name: str  # of the simulator
    model: Model | None  # None: the power is given by `course`
    ids: tuple[str, ...]
    bus: tuple[str, ...]
    z_pu: Complex  # system base
    i_max_pu: Real
    weight: Real  # in the frequency of the island
    rated_kva: Real  # nan = none
    params: Any
    course: Course | None
    s_start_pu: Complex
    emf_start_pu: Complex  # the bus voltage of units that inject power

    @property
    def source(self) -> str:
        """'emf' or 'power'."""
        return "power" if self.model is None else self.model.source


def parameter(groups: tuple[Group, ...], unit: str, key: str) -> float:
    """A parameter of a unit, as it starts."""
    group = next(group for group in groups if unit in group.ids)
    return float(np.broadcast_to(getattr(group.params, key), len(group.ids))[group.ids.index(unit)])
