"""Photovoltaic array: the power that it has to give, from irradiance and air temperature.

A series is computed at once before a run, because pvlib needs as long for one value as for a thousand; in the run
the power is taken as linear between the rows.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridloop.simulators.models.network import Real
from gridloop.simulators.models.parameters import as_columns, check


@dataclass(frozen=True)
class Module:
    """A module by the CEC single-diode model, at 1000 W/m2 and a cell temperature of 25 degC.

    Never mix columns of this set with those of another fit of the same module: each compensates the others.
    """

    i_light_a: float
    i_saturation_a: float
    r_series_ohm: float
    r_shunt_ohm: float
    a_v: float  # modified ideality factor: ideality times cells in series times thermal voltage
    adjust_percent: float  # of the temperature coefficient of the short-circuit current
    alpha_sc_a_per_k: float
    noct_degc: float  # cell temperature at 800 W/m2, 20 degC, 1 m/s


# 305 W, 96 cells; CEC module table of the System Advisor Model, version 2018.11.11
SUNPOWER_SPR_305E_WHT_D = Module(
    i_light_a=5.963467, i_saturation_a=8.688718e-11, r_series_ohm=0.275871, r_shunt_ohm=474.271454, a_v=2.575303,
    adjust_percent=23.447672, alpha_sc_a_per_k=0.00368, noct_degc=46.0,
)  # fmt: skip


@dataclass(frozen=True)
class Params:
    """n arrays of the same module; each field but `module` is a scalar or (n,)."""

    modules: Any  # number of modules, > 0
    efficiency_percent: Any = 97.0  # of the inverter
    module: Module = field(default=SUNPOWER_SPR_305E_WHT_D, metadata={"scalar": True})

    def __post_init__(self) -> None:
        as_columns(self)
        efficiency = self.efficiency_percent
        check(
            self,
            ("modules", (self.modules > 0) & np.isfinite(self.modules), "> 0"),
            ("efficiency_percent", (efficiency > 0) & (efficiency <= 100), "> 0 and <= 100"),
        )


def available_power_mw(p: Params, irradiance_w_per_m2: Real, t_air_degc: Real) -> Real:
    """Power that n inverters can feed in at their arrays' maximum power points.

    Args:
        p: parameters of n arrays.
        irradiance_w_per_m2: in the plane of the modules, (m,) for all arrays or (m, n); below 0 counts as 0.
        t_air_degc: of the same shape.

    Returns:
        Power (m, n) [MW].

    Raises:
        ValueError: a value that is no finite number.

    Left out: spectrum, angle of incidence, soiling, mismatch, the inverter's rating (which limits the power where it
    is fed in) and its efficiency's dependence on the load.
    """
    t_cell = cell_temperature_degc(p.module, irradiance_w_per_m2, t_air_degc)
    power_w = max_power_w(p.module, irradiance_w_per_m2, t_cell)
    available: Real = power_w.reshape(len(power_w), -1) * (p.modules * p.efficiency_percent / 100 / 1e6)
    return available


def cell_temperature_degc(module: Module, irradiance_w_per_m2: Real, t_air_degc: Real) -> Real:
    """Cell temperature [degC] by the nominal operating cell temperature: a steady state, without wind."""
    t_cell: Real = np.asarray(t_air_degc, float) + (module.noct_degc - 20) / 800 * np.maximum(irradiance_w_per_m2, 0)
    return t_cell


def max_power_w(module: Module, irradiance_w_per_m2: Real, t_cell_degc: Real) -> Real:
    """Power of one module at its maximum power point, of the arguments' shape; 0 without light.

    Args:
        module: the module.
        irradiance_w_per_m2: in its plane; below 0, as instruments show at night, counts as 0.
        t_cell_degc: cell temperature.

    Raises:
        ValueError: a value that is no finite number.

    Source: Dobos, An improved coefficient calculator for the California Energy Commission 6 parameter photovoltaic
    module model, J. Sol. Energy Eng. 134 (2012) 021011, doi:10.1115/1.4005759, as pvlib computes it.
    """
    import pvlib.pvsystem  # brings pandas with it: a second that only runs with PV should wait for

    irradiance, t_cell = np.broadcast_arrays(np.asarray(irradiance_w_per_m2, float), np.asarray(t_cell_degc, float))
    for name, values in (("irradiance", irradiance), ("temperature", t_cell)):
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            row = tuple(wrong[0])
            raise ValueError(f"{name}: {values[row]} in row {', '.join(map(str, row))} must be a finite number")
    power = np.zeros(irradiance.shape)
    lit = irradiance > 0
    if lit.any():
        diode = pvlib.pvsystem.calcparams_cec(
            irradiance[lit], t_cell[lit], module.alpha_sc_a_per_k, module.a_v, module.i_light_a,
            module.i_saturation_a, module.r_shunt_ohm, module.r_series_ohm, module.adjust_percent,
        )  # fmt: skip
        power[lit] = pvlib.pvsystem.max_power_point(*diode, method="newton")["p_mp"]
    return power
