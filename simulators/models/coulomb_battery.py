"""Battery behind an inverter's DC side, by counting charge at nominal voltage: no resistance, no voltage curve.

The plain model of energy studies. It has the same ports as the equivalent circuit of `battery.py` where both know
the quantity.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.battery import TAPER, Inputs, Slopes, align, percent
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.parameters import as_columns, check
from gridloop.simulators.ports import Model, Port

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Params:
    """Energy and window of the state of charge of n packs; each field is a scalar or (n,)."""

    e_rated_kwh: Any  # nominal voltage times capacity, > 0
    soc_init_percent: Any
    soc_min_percent: Any = 10.0  # the pack cuts off here
    soc_max_percent: Any = 90.0
    c_rate_per_h: Any = 1.0  # current limit in both directions, in multiples of the capacity
    coulombic_efficiency_percent: Any = 99.0  # charge that is stored of what flows in

    def __post_init__(self) -> None:
        as_columns(self)
        low, high, efficiency = self.soc_min_percent, self.soc_max_percent, self.coulombic_efficiency_percent
        inside = (self.soc_init_percent >= low) & (self.soc_init_percent <= high)
        check(
            self,
            ("e_rated_kwh", (self.e_rated_kwh > 0) & np.isfinite(self.e_rated_kwh), "> 0"),
            ("soc_init_percent", inside, "between soc_min_percent and soc_max_percent"),
            ("soc_min_percent", low >= 0, ">= 0"),
            ("soc_max_percent", (high > low) & (high <= 100), "> soc_min_percent and <= 100"),
            ("c_rate_per_h", (self.c_rate_per_h > 0) & np.isfinite(self.c_rate_per_h), "> 0"),
            ("coulombic_efficiency_percent", (efficiency > 0) & (efficiency <= 100), "> 0 and <= 100"),
        )

    @cached_property
    def e_rated_mwh(self) -> Real:
        """Rated energy."""
        rated: Real = self.e_rated_kwh / 1e3
        return rated

    @cached_property
    def p_rated_mw(self) -> Real:
        """Power at the current limit."""
        rated: Real = self.e_rated_mwh * self.c_rate_per_h
        return rated

    @cached_property
    def soc_window(self) -> tuple[Real, Real]:
        """Lower and upper end of the state of charge (0..1)."""
        return self.soc_min_percent / 100, self.soc_max_percent / 100

    @cached_property
    def coulombic_efficiency(self) -> Real:
        """Charge stored for each unit of charge that flows in (0..1)."""
        efficiency: Real = self.coulombic_efficiency_percent / 100
        return efficiency


class State(NamedTuple):
    """State of n packs; energies since the start, chemical = terminal + coulombic."""

    soc: Real  # 0..1
    e_gen_mwh: Real  # energy that the inverter had asked for at the last step
    limited: Real  # 1 where the last interval's power was beyond the limits told to the inverter, or cut off
    chemical_mwh: Real  # drawn from the cells' chemistry
    terminal_mwh: Real  # given to the inverter
    coulombic_mwh: Real  # charge that flowed in and was not stored


class Outputs(NamedTuple):
    """What n packs show."""

    soc: Real
    p_max_mw: Real
    p_min_mw: Real
    limited: Real
    loss_mwh: Real
    chemical_mwh: Real
    terminal_mwh: Real
    unserved_mwh: Real


def initial(p: Params, s_pu: Any, v_pu: Any) -> State:
    """The charge of the parameters, whatever the inverter's power and voltage at the start."""
    zero = np.zeros(len(p.e_rated_kwh))
    return State(p.soc_init_percent / 100, zero, zero, zero, zero, zero)


def held(p: Params) -> Inputs:
    """An inverter that draws nothing."""
    return Inputs(np.zeros(len(p.e_rated_kwh)))


def advance(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """Take the energy that the inverter has drawn over the interval that has passed.

    Args:
        p: parameters of n packs.
        s: state at the start of the interval.
        u: the inverter's energy at the END of the interval.
        slopes: none.
        dt_s: length of the interval [s], >= 0; 0 returns `s`.

    Raises:
        ValueError: dt_s < 0.

    SOC falls by eta E / E_rated, eta = 1 on discharge: at constant voltage charge is energy, so that any length of
    the interval is exact. What would leave the SOC window is not served and counted; C-rate and taper are limits
    for the inverter, which keeps them with its own lag. Source: Alhasnawi et al., IJERPH 18 (2021) 8146, eq. 6,
    with the coulombic efficiency. Left out: everything that depends on the voltage.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    asked = u.e_gen_mwh - s.e_gen_mwh
    low, high = p.soc_window
    share = np.where(asked < 0, p.coulombic_efficiency, 1.0)
    least = np.minimum(s.soc - high, 0) * p.e_rated_mwh / share
    most = np.maximum(s.soc - low, 0) * p.e_rated_mwh
    given = np.clip(asked, least, most)
    p_min, p_max = power_limits_mw(p, s)
    asked_mw = asked * SECONDS_PER_HOUR / dt_s
    limited = (given != asked) | (asked_mw > p_max) | (asked_mw < p_min)
    return State(
        np.clip(s.soc - share * given / p.e_rated_mwh, low, high), u.e_gen_mwh, limited.astype(float),
        s.chemical_mwh + share * given, s.terminal_mwh + given, s.coulombic_mwh - (1 - share) * given,
    )  # fmt: skip


def power_limits_mw(p: Params, s: State) -> tuple[Real, Real]:
    """Least and largest power that the inverter may draw now, on its DC side; charging is negative."""
    low, high = p.soc_window
    charge = -p.p_rated_mw * np.clip((high - s.soc) / TAPER, 0, 1)
    discharge = p.p_rated_mw * np.clip((s.soc - low) / TAPER, 0, 1)
    return charge, discharge


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """State of charge, limits for the inverter and the ledger; memoryless."""
    p_min, p_max = power_limits_mw(p, s)
    return Outputs(
        s.soc, p_max, p_min, s.limited, s.coulombic_mwh, s.chemical_mwh, s.terminal_mwh,
        s.e_gen_mwh - s.terminal_mwh,
    )  # fmt: skip


MODEL = Model(
    name="CoulombBattery",
    params=Params,
    inputs=(Port("E_gen[MWh]", "e_gen_mwh", "energy drawn on the inverter's DC side since the start"),),
    outputs=(
        Port("SoC[%]", "soc", "state of charge", convert=percent),
        Port("P_max[MW]", "p_max_mw", "most that the inverter may draw on its DC side"),
        Port("P_min[MW]", "p_min_mw", "least, negative: most that it may charge"),
        Port("limited[1]", "limited", "1 while the power is beyond these limits or was cut off"),
        Port("E_loss[MWh]", "loss_mwh", "coulombic losses since the start"),
        Port("E_chemical[MWh]", "chemical_mwh", "energy drawn from the cells since the start"),
        Port("E_terminal[MWh]", "terminal_mwh", "energy given to the inverter since the start"),
        Port("E_unserved[MWh]", "unserved_mwh", "energy asked for and not given since the start"),
    ),
    # without limited[1]: the inverter, which goes by the same name in a run, records its own
    records=(
        "SoC[%]",
        "P_max[MW]",
        "P_min[MW]",
        "E_loss[MWh]",
        "E_chemical[MWh]",
        "E_terminal[MWh]",
        "E_unserved[MWh]",
    ),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
    source="none",
)
