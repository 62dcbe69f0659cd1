"""What a device would have the grid apply; while not in charge it follows what the grid really applied."""

import cmath
import math
from collections.abc import Mapping
from typing import Any

from gridloop.simulators.device import E_USED, SAME_EMF_PU, VA_USED

DECAY_S = 0.5  # of what a swap takes over


class Emf:
    """The EMF of a device that gives frequency and magnitude."""

    def __init__(self, emf_pu: complex, f_nom_hz: float) -> None:
        self._f_nom_hz = f_nom_hz
        self._delta_rad, self._offset_pu = math.atan2(emf_pu.imag, emf_pu.real), 0.0
        self._e_pu = math.nan  # as the device gave it; nan: it has not yet
        self._f_hz, self._own_rad = f_nom_hz, math.nan

    def advance(self, told: Mapping[str, Any], values: Mapping[str, float] | None, dt_s: float, drove: bool) -> None:
        """Follow the EMF that the grid applied at the step before, then move on with what the device shows."""
        used_pu, used_rad = told.get(E_USED, math.nan), math.radians(told.get(VA_USED, math.nan))
        if not drove or self._is_other(used_pu, used_rad):
            self._delta_rad, self._offset_pu = used_rad, used_pu - self._e_pu
        f_hz, e_pu, own_rad = self._f_hz, self._e_pu, math.nan
        if values is not None:
            f_hz, e_pu = values["f[Hz]"], values["E[pu]"]
            own_rad = math.radians(values.get("Va_emf[deg]", math.nan))
            if math.isnan(self._e_pu):  # its first
                self._f_hz, self._offset_pu = f_hz, used_pu - e_pu
        turned = math.remainder(own_rad - self._own_rad, 2 * math.pi)
        if math.isnan(turned):  # only its frequency is known
            turned = math.pi * (self._f_hz + f_hz - 2 * self._f_nom_hz) * dt_s
        self._delta_rad = math.remainder(self._delta_rad + turned, 2 * math.pi)
        self._offset_pu *= math.exp(-dt_s / DECAY_S)
        self._f_hz, self._e_pu, self._own_rad = f_hz, e_pu, own_rad

    def _is_other(self, used_pu: float, used_rad: float) -> bool:
        """Whether the grid applied another EMF than was given: the unit is off."""
        own = cmath.rect(self._e_pu + self._offset_pu, self._delta_rad)
        return abs(cmath.rect(used_pu, used_rad) - own) > SAME_EMF_PU

    @property
    def given(self) -> dict[str, float]:
        """What the grid may apply."""
        return {
            "f[Hz]": self._f_hz, "E[pu]": self._e_pu + self._offset_pu, "Va_emf[deg]": math.degrees(self._delta_rad),
        }  # fmt: skip


class Power:
    """The power of a device that feeds in."""

    def __init__(self) -> None:
        self._s: complex | None = None  # as the device gave it [MW, MVar]
        self._offset = 0j

    def advance(self, told: Mapping[str, Any], values: Mapping[str, float] | None, dt_s: float, drove: bool) -> None:
        """Follow the power that the grid took at the step before, then take what the device shows."""
        s = self._s if values is None else complex(values["P_gen[MW]"], values["Q_gen[MVar]"])
        if not drove and s is not None:
            taken = complex(told["P_gen[MW]"], told["Q_gen[MVar]"])
            self._offset = taken - (s if self._s is None else self._s)
        self._offset *= math.exp(-dt_s / DECAY_S)
        self._s = s

    @property
    def given(self) -> dict[str, float]:
        s = (0j if self._s is None else self._s) + self._offset
        return {"P_gen[MW]": s.real, "Q_gen[MVar]": s.imag}
