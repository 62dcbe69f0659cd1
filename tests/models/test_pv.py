"""The PV array against published figures, and the paper's printed formulas against it."""

import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from gridloop.simulators.models.parameters import ParameterError
from gridloop.simulators.models.pv import (
    SUNPOWER_SPR_305E_WHT_D,
    Module,
    Params,
    available_power_mw,
    cell_temperature_degc,
    max_power_w,
)
from gridloop.simulators.profiles import ProfileSimulator
from gridloop.simulators.pv_modules import pv_module
from gridloop.simulators.weather import STATIONS, typical_year

SPR = SUNPOWER_SPR_305E_WHT_D
FIGURES = [
    (1000, 25, 305.226), (800, 25, 243.0414), (500, 25, 149.8797), (200, 25, 57.8854),
    (1000, 45, 281.2916), (1000, 60, 263.0722), (800, 46, 222.7457),
]  # fmt: skip  # W/m2, degC of the cell, W


def power_w(irradiance: float, t_cell: float) -> float:
    return float(max_power_w(SPR, np.array([irradiance]), np.array([t_cell]))[0])


# --- the module ---


@pytest.mark.parametrize(("irradiance", "t_cell", "expected"), FIGURES)
def test_maximum_power(irradiance, t_cell, expected):
    digits = 5e-5 if expected != 305.226 else 5e-4
    assert power_w(irradiance, t_cell) == pytest.approx(expected, abs=digits)


def test_module_is_that_of_the_cec_table():
    assert pv_module("SunPower_SPR_305E_WHT_D") == SPR
    assert pv_module("SunPower SPR-305E-WHT-D") == SPR


def test_unknown_module():
    with pytest.raises(
        ValueError, match=r"there is no module 'SunPower_SPR_305E_WHT'; did you mean SunPower_SPR_305E_"
    ):
        pv_module("SunPower_SPR_305E_WHT")


def test_night_gives_nothing():
    # also the negative offsets that instruments show, and temperatures of the poles
    dark = max_power_w(SPR, np.array([0.0, -3.0, 0.0]), np.array([20.0, 5.0, -60.0]))
    assert dark.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.filterwarnings("error")
def test_power_is_finite_and_rises_with_light_everywhere():
    light, t_cell = np.meshgrid(np.r_[0, np.geomspace(1e-6, 1500, 60)], np.linspace(-40, 90, 9))
    power = max_power_w(SPR, light, t_cell)
    assert power.shape == (9, 61)
    assert (np.diff(power, axis=1) > 0).all()  # with light
    assert (np.diff(power[:, 45:], axis=0) < 0).all()  # colder is better


@pytest.mark.parametrize(("light", "t_cell", "told"), [
    ([500.0, np.nan], [20.0, 20.0], r"irradiance: nan in row 1 must be a finite number"),
    ([500.0, 10.0], [np.inf, 20.0], r"temperature: inf in row 0"),
    ([[1.0, 2.0], [3.0, np.nan]], [[1.0, 2.0], [3.0, 4.0]], r"irradiance: nan in row 1, 1"),
])  # fmt: skip
def test_no_number_is_refused(light, t_cell, told):
    with pytest.raises(ValueError, match=told):
        max_power_w(SPR, np.array(light), np.array(t_cell))


def test_arguments_stay_as_they_are():
    light, t_air = np.array([-5.0, 0.0, 700.0]), np.array([1.0, 2.0, 3.0])
    available_power_mw(Params(10), light, t_air)
    assert light.tolist() == [-5.0, 0.0, 700.0] and t_air.tolist() == [1.0, 2.0, 3.0]


# --- the array ---


def test_cell_temperature_by_hand():
    # NOCT 46: 26 K at 800 W/m2; at night the air's
    t_cell = cell_temperature_degc(SPR, np.array([800.0, 400.0, 0.0, -2.0]), np.array([20.0, 20.0, 5.0, 5.0]))
    assert t_cell.tolist() == [46.0, 33.0, 5.0, 5.0]


def test_available_power_by_hand():
    # 800 W/m2 and 20 degC heat the cells to 46 degC: 222.7457 W of each of 3600 modules, 97 % of which go through
    available = available_power_mw(Params([3600, 7], [97, 100]), np.array([800.0, 0.0]), np.array([20.0, 20.0]))
    assert available == pytest.approx(np.array([[222.7457e-6 * 3600 * 0.97, 222.7457e-6 * 7], [0, 0]]), rel=1e-6)


def test_arrays_under_their_own_skies_are_as_many_single_ones():
    light, t_air = np.array([[800.0, 300.0], [500.0, 0.0], [50.0, 900.0]]), np.array([[20.0, 5.0]] * 3)
    together = available_power_mw(Params([100, 2000]), light, t_air)
    for row, modules in enumerate([100, 2000]):
        alone = available_power_mw(Params(modules), light[:, row], t_air[:, row])
        assert alone[:, 0].tolist() == together[:, row].tolist()


def test_power_is_linear_between_the_rows_in_a_run():
    # the table goes to the simulator of given powers: half way between 0 and 800 W/m2 half of the power
    times_s = np.array([0.0, 60.0, 120.0])
    p_mw = available_power_mw(Params([3600]), np.array([0.0, 800.0, 400.0]), np.array([20.0, 20.0, 20.0]))
    simulator = ProfileSimulator()
    simulator.init("PV-0", 1e-3, step_ms=15_000)
    simulator.create(1, "Profiles", ids=["pv1"], times_s=times_s, p_gen_mw=p_mw)
    seen = []
    for time in range(0, 120_001, 15_000):
        simulator.step(time, {}, 120_001)
        seen.append(simulator.get_data({"pv1": ["P_gen[MW]"]})["pv1"]["P_gen[MW]"])
    assert seen == pytest.approx(np.interp(np.arange(0, 121, 15), times_s, p_mw[:, 0]))
    assert seen[2] == pytest.approx(p_mw[1, 0] / 2) and seen[2] > 0.3


def test_wrong_parameters_are_named():
    with pytest.raises(ParameterError) as caught:
        Params([10, 0], [0, 101])
    assert [(row, field) for row, field, _ in caught.value.violations] == [
        (1, "modules"), (0, "efficiency_percent"), (1, "efficiency_percent"),
    ]  # fmt: skip


def test_pvlib_waits_until_it_is_needed():
    # it brings pandas, which takes a second
    code = "import sys, gridloop.simulators.models.pv, gridloop.simulators.weather; print('pvlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# --- weather that comes with pvlib ---


def test_hours_of_a_typical_year():
    # rows of 06/21 in the file (date, end of hour, GHI, dry-bulb): 12:00 702 W/m2, 13:00 745 and 26.1 degC, 14:00 448
    start = datetime.fromisoformat("2026-06-21T12:00:00+02:00")
    hours = typical_year("greensboro", start, 3600.0)
    assert hours.times_s.tolist() == [-1800.0, 1800.0, 5400.0]
    assert hours.values["ghi"].tolist() == [702.0, 745.0, 448.0]
    assert hours.values["t_air"][1] == pytest.approx((26.1 + 26.1) / 2)
    assert hours.units == {"ghi": "W_per_m2", "t_air": "degC"}


@pytest.mark.parametrize("station", STATIONS)
@pytest.mark.parametrize("start", ["2024-01-01T00:00:00Z", "2026-11-29T23:59:59+01:00", "2028-02-28T12:34:56-05:00"])
def test_every_run_is_covered(station, start):
    until_s = 40 * 86400.0
    hours = typical_year(station, datetime.fromisoformat(start), until_s)
    assert hours.times_s[0] <= 0 and hours.times_s[-1] >= until_s
    assert (np.diff(hours.times_s) == 3600).all()
    assert all(np.isfinite(column).all() and column.shape == hours.times_s.shape for column in hours.values.values())


def test_the_leap_day_repeats_the_day_before():
    hours = typical_year("sand_point", datetime.fromisoformat("2028-02-28T00:00:00Z"), 2 * 86400.0)
    ghi = hours.values["ghi"][1:]
    assert ghi[:24].tolist() == ghi[24:48].tolist() and ghi[:24].max() > 50


def test_unknown_station():
    with pytest.raises(ValueError, match="there is no typical year of 'berlin'; there are greensboro, sand_point"):
        typical_year("berlin", datetime.fromisoformat("2026-01-01T00:00:00Z"), 1.0)


# --- the paper's formulas ---


def paper_power_w(irradiance: float, t_cell: float) -> float:
    """Alhasnawi et al., IJERPH 18 (2021) 8146, eq. 1 to 5, with the lost minus signs put back and no other repair."""
    r_s, r_sh, warmer = 0.37152, 269.5934, t_cell - 25
    a_v = 0.94504 * 96 * 1.380649e-23 * (t_cell + 273.15) / 1.602176634e-19
    light = irradiance / 1000 * (6.0092 + 0.00368 * warmer)
    saturation = (5.96 + 0.00368 * warmer) / np.expm1((64.2 - 0.175073 * warmer) / a_v)

    def current(v: float) -> float:
        def balance(i: float) -> Any:
            return light - saturation * np.expm1((v + i * r_s) / a_v) - (v + i * r_s) / r_sh - i

        return float(brentq(balance, -20.0, light + 1.0, xtol=1e-14))

    best = minimize_scalar(lambda v: -v * current(v), bounds=(20.0, 64.0), method="bounded", options={"xatol": 1e-8})
    return -float(best.fun)


@pytest.mark.parametrize(("irradiance", "t_cell", "expected", "error_percent"), [
    (1000, 25, 303.776, -0.5), (500, 25, 145.03, -3.2), (1000, 45, 285.79, 1.6), (200, 25, 50.5, -13),
])  # fmt: skip
def test_error_of_the_papers_formulas(irradiance, t_cell, expected, error_percent):
    # the parallel resistance does not rise at low light, the saturation current ignores the band gap
    printed = paper_power_w(irradiance, t_cell)
    assert printed == pytest.approx(expected, abs=0.05 if expected == 50.5 else 0.005)
    error = 100 * (printed / power_w(irradiance, t_cell) - 1)
    assert error == pytest.approx(error_percent, abs=0.5 if error_percent == -13 else 0.05)


def test_the_papers_saturation_current_as_printed_gives_no_power():
    # "6.3x10 1" A for 6.3e-12 A: the exponent got lost. Simscape's preset of the same module
    simscape = Module(6.0092, 6.3014e-12, 0.37152, 269.5934, 0.94504 * 96 * 0.025692579, 0.0, 0.00368, 46.0)
    sun, t_cell = np.array([1000.0]), np.array([25.0])
    assert max_power_w(simscape, sun, t_cell) == pytest.approx([304.2], abs=0.05)
    assert max_power_w(replace(simscape, i_saturation_a=63.0), sun, t_cell) == pytest.approx([0.03], abs=0.005)
