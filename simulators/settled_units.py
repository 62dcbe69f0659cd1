"""The units of a settled grid: what arrives at them, what they hold over a step, what they show."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.device import SET_POINTS, only_value, show
from gridloop.simulators.models import following
from gridloop.simulators.models.conversion import ENERGY_PORTS, Energies, added
from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.models.steady_lines import Line, line_of
from gridloop.simulators.ports import Model
from gridloop.simulators.terminals import Slot

SOC = "SoC[%]"
AHEAD = "E_gen_ahead[MWh]"  # energy drawn from the DC side up to the next step
ENERGY = tuple(port.attr for port in ENERGY_PORTS)


class Felt(NamedTuple):
    """What n units feel once the grid is settled; system base."""

    s_pu: Complex
    v_pu: Complex  # of their buses
    emf_pu: Complex
    slip_rad_per_s: Real  # of their islands
    connected: Mask


class SettledUnits:
    """All units of one device model.

    Args:
        model: the device model.
        ids: names of the units.
        params: the model's Params.
        start: power and EMF (n,), or bus voltage, at the start.
        slot: their terminal.
        s_base_mva: system base.
    """

    def __init__(
        self, model: Model, ids: Sequence[str], params: Any, start: tuple[Complex, Complex], slot: Slot,
        s_base_mva: float,
    ) -> None:  # fmt: skip
        self.model, self.ids, self.params, self.slot = model, tuple(ids), params, slot
        self._s_base_mva = s_base_mva
        self.inputs = model.held(params)
        self.soc = np.full(len(self.ids), np.nan)
        self._of_input = {port.attr: port for port in model.inputs}
        self._of_output = {port.attr: port for port in model.outputs}
        self.ahead_mwh: Real = np.zeros(len(self.ids))
        self._energy: Energies = (self.ahead_mwh,) * 3
        self._efficiency = getattr(params, "efficiency", np.ones(len(self.ids)))
        self._p_gen_pu = np.zeros(len(self.ids))
        self._runs = np.zeros(len(self.ids), bool)
        self._fuel_l, self._underload_min, self._reverse_s = (np.zeros(len(self.ids)) for _ in range(3))
        self._line = line_of(model.name, params, self.inputs, start) if model.source == "emf" else None
        self.outputs = model.respond(params, model.initial(params, *start), self.inputs)

    def take(self, row: int, given: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what has arrived at one unit's entity."""
        unit = self.ids[row]
        for attr, sources in given.items():
            value = only_value(attr, sources, unit)
            if attr == SOC:
                self.soc[row] = value / 100
            else:
                self._put(row, attr, value)

    def change(self, unit: str, key: str, value: float) -> None:
        """Change a set-point by its key in a scenario."""
        attr, factor = SET_POINTS[key]
        self._put(self.ids.index(unit), attr, value * factor)

    def _put(self, row: int, attr: str, value: float) -> None:
        port = self._of_input[attr]
        column = np.array(getattr(self.inputs, port.field), float)
        column[row] = value / self._s_base_mva if port.base == "s" else value
        self.inputs = self.inputs._replace(**{port.field: column})

    @property
    def is_emf(self) -> bool:
        """Whether they form the grid."""
        return self._line is not None

    def line(self, p_more_pu: Real) -> Line:
        """Their droop lines, with what a balancing of charges adds to the active set-points (n,)."""
        assert self._line is not None
        given = self.inputs
        if p_more_pu.any():
            given = given._replace(p_set_pu=given.p_set_pu + p_more_pu)
        self._line = replace(self._line, given=given)  # type: ignore[type-var]  # every Line is a dataclass
        return self._line

    @property
    def answers_to_frequency(self) -> bool:
        """Whether the power that they inject depends on the frequency."""
        return bool(getattr(self.params, "answers_to_frequency", False))

    def injected_pu(self, slip_rad_per_s: Real) -> Complex:
        """What following units (n,) inject into a live network at a slip."""
        return self._target(slip_rad_per_s, np.ones(len(self.ids), bool)).s_pu

    def _target(self, slip_rad_per_s: Real, alive: Mask) -> following.Target:
        lag_rad = slip_rad_per_s / (2 * np.pi * self.params.hz_per_rad)  # of the frequency measurement's filter
        return following.target(self.params, self.inputs, lag_rad, alive)

    def pass_time(self, dt_s: float) -> None:
        """Count what the powers of the last step come to, held for `dt_s`."""
        if getattr(self.params, "counts_energy", False):
            self._energy = self._after(dt_s)
        if self.model.name != "Diesel":
            return
        p, own = self.params, self._p_gen_pu * self.params.to_own
        idle, slope = p.fuel_l_per_s
        self._fuel_l = self._fuel_l + (idle + slope * np.maximum(0.0, self._p_gen_pu)) * (dt_s * self._runs)
        self._underload_min = self._underload_min + (dt_s / 60) * (self._runs & (own < p.p_min_pu))
        self._reverse_s = (self._reverse_s + dt_s) * (self._runs & (own < p.reverse_power_pu))

    def _after(self, dt_s: float) -> Energies:
        return added(self._energy, self._efficiency, self._p_gen_pu * dt_s)

    @property
    def reverse(self) -> tuple[str, ...]:
        """Diesel sets that have consumed power for too long."""
        if self.model.name != "Diesel":
            return ()
        return tuple(self.ids[row] for row in np.flatnonzero(self._reverse_s > self.params.reverse_power_s))

    def show(self, felt: Felt, at_limit: Mask, ahead_s: float) -> None:
        """Make the outputs of a settled state that will last for `ahead_s`."""
        self._p_gen_pu, self._runs = felt.s_pu.real, felt.connected
        self.ahead_mwh = self._after(ahead_s)[0] * self._s_base_mva
        shown: dict[str, Any] = dict(zip(ENERGY, self._energy, strict=True))
        shown["f[Hz]"] = self.params.f_nom_hz + felt.slip_rad_per_s / (2 * np.pi)
        if self.is_emf:
            shown |= {"EMF[pu]": felt.emf_pu, "limited[1]": at_limit.astype(float)}
            shown["P_set[MW]"] = self._line.given.p_set_pu  # type: ignore[union-attr]
        else:
            aim = self._target(felt.slip_rad_per_s, felt.connected & (felt.v_pu != 0))
            shown |= {"P_gen[pu]": felt.s_pu.real, "Q_gen[pu]": felt.s_pu.imag}
            shown |= {"P_set[MW]": aim.s_pu.real, "limited[1]": aim.limited}
        shown |= {"fuel[L]": self._fuel_l, "underload[min]": self._underload_min}
        shown |= {"running[1]": felt.connected.astype(float), "reverse_trip[1]": np.zeros(len(self.ids))}
        known = {self._of_output[attr].field: value for attr, value in shown.items() if attr in self._of_output}
        self.outputs = self.outputs._replace(**known)

    def shown(self, attr: str) -> Any:
        """One attribute of all units, in its own unit."""
        if attr == AHEAD:
            return self.ahead_mwh
        return show(self._of_output[attr], self.outputs, self._s_base_mva)
