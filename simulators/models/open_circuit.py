"""A cell's open-circuit voltage over its state of charge: a table with equal steps, linear between them."""

import numpy as np

from gridloop.simulators.models.network import Real

# lithium-ion cell (nickel manganese cobalt) at SOC 0, 10 ... 100 %
NMC_V = (3.00, 3.45, 3.55, 3.60, 3.63, 3.66, 3.71, 3.80, 3.92, 4.05, 4.18)


class OpenCircuit:
    """The table of one kind of cell.

    Args:
        knots_v: voltages (m,) at equal steps of the state of charge from 0 to 1, m >= 2.
    """

    def __init__(self, knots_v: Real) -> None:
        self.knots_v, self._last = knots_v, len(knots_v) - 1
        # integral over the state of charge from 0 to every knot
        self.integral_v = np.append(0.0, np.cumsum(knots_v[1:] + knots_v[:-1]) / (2 * self._last))
        self.mean_v = float(self.integral_v[-1])  # from empty to full

    def at(self, soc: Real) -> Real:
        """Voltage [V] at states of charge (n,) within 0..1."""
        place = soc * self._last
        segment = np.minimum(place.astype(int), self._last - 1)
        below, above = self.knots_v[segment], self.knots_v[segment + 1]
        voltage: Real = below + (above - below) * (place - segment)
        return voltage

    def mean(self, one: Real, other: Real) -> Real:
        """Mean voltage [V] on the way from one state of charge to another (n,), exact for the table.

        The parts before the first knot on the way and after the last are taken by themselves: the difference of
        two integrals from zero would cancel on short ways.
        """
        low, high = np.minimum(one, other), np.maximum(one, other)
        first = np.minimum((low * self._last).astype(int), self._last - 1) + 1
        final = np.minimum((high * self._last).astype(int), self._last - 1)
        v_low, v_high = self.at(low), self.at(high)
        crosses = final >= first
        if not crosses.any():
            within: Real = (v_low + v_high) / 2
            return within
        integral = (
            (first / self._last - low) * (v_low + self.knots_v[first]) / 2
            + (self.integral_v[final] - self.integral_v[first])
            + (high - final / self._last) * (self.knots_v[final] + v_high) / 2
        )
        mean: Real = np.where(crosses, integral / np.where(crosses, high - low, 1.0), (v_low + v_high) / 2)
        return mean
