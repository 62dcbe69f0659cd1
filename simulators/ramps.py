"""Inputs that a controller ticks slower than the device: it gives value and rate, the device makes a ramp of them.

A staircase of set-points would be late by half a controller's period on the average, or early where the controller
sends what holds at the end of its period.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gridloop.simulators.ports import Port

FLOAT = np.dtype(float)
T_TICK = "t_tick[s]"  # the time at which values and rates held


def ramp_attributes(inputs: Sequence[Port]) -> tuple[str, ...]:
    """The attributes besides the ports' own that tell how inputs go on."""
    rates = tuple(port.rate for port in inputs if port.rate)
    return (*rates, T_TICK) if rates else ()


def bytes_of(value: Any) -> bytes:
    """What an array of numbers says, to know it again."""
    said: bytes = (value if getattr(value, "dtype", None) is FLOAT else np.array(value, float)).tobytes()
    return said


class Ramps:
    """Rates of the inputs of n units.

    Args:
        inputs: ports of the model.
        names: fields of the model's inputs.
        count: number of units.
        s_base_mva: system base of what arrives.
    """

    def __init__(self, inputs: Sequence[Port], names: Sequence[str], count: int, s_base_mva: float) -> None:
        self.attributes = frozenset(ramp_attributes(inputs))
        self._count = count
        self._of = {
            port.rate: (names.index(port.field), 1 / s_base_mva if port.base == "s" else 1.0)
            for port in inputs if port.rate
        }  # fmt: skip
        self.rates: dict[int, Any] = {}  # place -> (n,), only those that are not all 0
        self._arrived: dict[str, bytes] = {}  # rates of a whole group that arrived last
        self._t_tick_s: Any = np.nan  # a number for all units, or (n,)
        self._late_s = np.empty(1)  # room for the time since then: a product with an array is faster than with a number

    def take(self, attr: str, value: Any, row: int | None = None) -> None:
        """Take what arrived at the group, or at the unit of `row`."""
        if attr == T_TICK:
            self._t_tick_s = value if row is None else self._with(self._t_tick_s, row, value)
            return
        place, factor = self._of[attr]
        if row is None:
            said = bytes_of(value)
            if self._arrived.get(attr) == said:
                return
            self._arrived[attr] = said
            value = np.array(value, float)  # a controller may go on writing into its own array
        else:
            self._arrived.pop(attr, None)
        rate = value if row is None else self._with(self.rates.get(place, 0.0), row, value)
        if row is None and factor != 1.0:
            rate = rate * factor
        elif row is not None:
            rate[row] *= factor
        if rate.any():
            self.rates[place] = rate
        else:
            self.rates.pop(place, None)

    def _with(self, column: Any, row: int, value: float) -> Any:
        changed = np.array(np.broadcast_to(column, self._count), float)
        changed[row] = value
        return changed

    def at(self, t_s: float, inputs: Any) -> Any:
        """The inputs at `t_s`.

        Raises:
            ValueError: a rate without the time it is of.
        """
        moved, late_s = list(inputs), t_s - self._t_tick_s
        if isinstance(late_s, float) and math.isfinite(late_s):  # one controller for all units
            self._late_s[0] = late_s
            for place, rate in self.rates.items():
                moved[place] = moved[place] + rate * self._late_s
            return inputs._make(moved)
        for place, rate in self.rates.items():
            gone = np.where(rate == 0, 0.0, rate * late_s)
            if np.isnan(gone).any():
                attr = next(attr for attr, (of, _) in self._of.items() if of == place)
                raise ValueError(f"{attr} came without {T_TICK}: connect both, from the same controller")
            moved[place] = moved[place] + gone
        return type(inputs)(*moved)
