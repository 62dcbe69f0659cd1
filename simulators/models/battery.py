"""Battery behind an inverter's DC side: energy-exact equivalent circuit with open-circuit voltage, R0 and one RC pair.

The battery stands beside the inverter that it feeds. It takes the energy that the inverter has drawn since the
start, so that no energy is lost between their steps, and tells the inverter how much power it may draw or charge.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.compiled import kernels
from gridloop.simulators.models.network import Mask, Real
from gridloop.simulators.models.open_circuit import NMC_V, OpenCircuit
from gridloop.simulators.models.parameters import as_columns, check
from gridloop.simulators.ports import Model, Port

TAPER = 0.02  # the power limits fall to 0 over this last part of the state of charge
ITERATIONS = 8  # at most, for the mean open-circuit voltage of a step; two where it crosses no knot of the table
SAME_CURRENT = 1e-15  # relative
WS_PER_MWH = 3.6e9
POSITIVE = (
    "e_rated_kwh", "c_rate_per_h", "cells_in_series", "cell_capacity_ah", "cell_r0_mohm", "cell_r1_mohm",
    "cell_relaxation_s", "cell_v_min_v",
)  # fmt: skip


@dataclass(frozen=True)
class Params:
    """Energy, window of the state of charge and cells of n packs; each field is a scalar or (n,).

    A pack is `cells_in_series` cells of the defaults' 100 Ah and as many of these strings in parallel, not
    necessarily a whole number, as give `e_rated_kwh` at open circuit from empty to full. So voltages, losses in
    percent and the time constant are the same for every size. One string of 200 such cells holds 73.92 kWh.
    """

    e_rated_kwh: Any  # energy at open circuit from 0 to 100 %, > 0
    soc_init_percent: Any  # at the start, cells at rest
    soc_min_percent: Any = 10.0  # the pack cuts off here
    soc_max_percent: Any = 90.0
    c_rate_per_h: Any = 1.0  # current limit in both directions, in multiples of the capacity
    coulombic_efficiency_percent: Any = 99.0  # charge that is stored of what flows in
    cells_in_series: Any = 200.0
    cell_capacity_ah: Any = 100.0
    cell_r0_mohm: Any = 0.5  # ohmic resistance
    cell_r1_mohm: Any = 0.25  # of the RC pair
    cell_relaxation_s: Any = 100.0  # time constant R1 C1
    cell_v_min_v: Any = 2.8  # limits of the terminal voltage, usual for these cells
    cell_v_max_v: Any = 4.2
    # open-circuit voltage at equal steps of SOC from 0 to 100 %, the same for all packs
    cell_ocv_v: tuple[float, ...] = field(default_factory=lambda: NMC_V, metadata={"scalar": True})

    def __post_init__(self) -> None:
        as_columns(self)
        low, high, efficiency = self.soc_min_percent, self.soc_max_percent, self.coulombic_efficiency_percent
        inside = (self.soc_init_percent >= low) & (self.soc_init_percent <= high)
        v_max, ocv = self.cell_v_max_v, np.asarray(self.cell_ocv_v, float)
        if len(ocv) < 2:
            raise ValueError("cell_ocv_v must hold the voltages at SOC 0 and 100 % at least")
        columns = {name: getattr(self, name) for name in POSITIVE}
        check(
            self,
            *((name, (column > 0) & np.isfinite(column), "> 0") for name, column in columns.items()),
            ("soc_init_percent", inside, "between soc_min_percent and soc_max_percent"),
            ("soc_min_percent", low >= 0, ">= 0"),
            ("soc_max_percent", (high > low) & (high <= 100), "> soc_min_percent and <= 100"),
            ("coulombic_efficiency_percent", (efficiency > 0) & (efficiency <= 100), "> 0 and <= 100"),
            ("cell_v_max_v", (v_max > self.cell_v_min_v) & np.isfinite(v_max), "> cell_v_min_v"),
            ("cell_ocv_v", (np.diff(ocv, prepend=0) >= 0) & (ocv > 0) & np.isfinite(ocv), "> 0 and not falling"),
        )

    @cached_property
    def cell(self) -> OpenCircuit:
        """Open-circuit voltage of a cell."""
        return OpenCircuit(np.asarray(self.cell_ocv_v, float))

    @cached_property
    def strings(self) -> Real:
        """Strings in parallel, a real number."""
        string_wh = self.cells_in_series * self.cell_capacity_ah * self.cell.mean_v
        count: Real = self.e_rated_kwh * 1e3 / string_wh
        return count

    @cached_property
    def charge_as(self) -> Real:
        """Capacity of the pack [As]."""
        charge: Real = self.strings * self.cell_capacity_ah * 3600
        return charge

    @cached_property
    def i_max_a(self) -> Real:
        """Current limit."""
        limit: Real = self.c_rate_per_h * self.strings * self.cell_capacity_ah
        return limit

    @cached_property
    def r0_ohm(self) -> Real:
        """Ohmic resistance of the pack."""
        r0: Real = self.cell_r0_mohm * 1e-3 * self.cells_in_series / self.strings
        return r0

    @cached_property
    def r1_ohm(self) -> Real:
        """Resistance of the RC pair."""
        r1: Real = self.cell_r1_mohm * 1e-3 * self.cells_in_series / self.strings
        return r1

    @cached_property
    def v_limits_v(self) -> tuple[Real, Real]:
        """Lower and upper limit of the terminal voltage."""
        return self.cells_in_series * self.cell_v_min_v, self.cells_in_series * self.cell_v_max_v

    @cached_property
    def soc_window(self) -> tuple[Real, Real]:
        """Lower and upper end of the state of charge (0..1)."""
        return self.soc_min_percent / 100, self.soc_max_percent / 100

    @cached_property
    def coulombic_efficiency(self) -> Real:
        """Charge stored for each unit of charge that flows in (0..1)."""
        efficiency: Real = self.coulombic_efficiency_percent / 100
        return efficiency

    @cached_property
    def compiled_memory(self) -> list[Any]:
        """The parameters as loops take them."""
        return []


class Ledger(NamedTuple):
    """Energies of n packs since the start [MWh]: chemical = terminal + joule + coulombic + polarisation C1 v1^2 / 2."""

    chemical: Real  # drawn from the cells' chemistry
    terminal: Real  # given to the inverter
    joule: Real
    coulombic: Real  # charge that flowed in and was not stored
    unserved: Real  # asked for by the inverter and not given: E_gen - terminal


class State(NamedTuple):
    """State of n packs."""

    soc: Real  # 0..1
    v1_v: Real  # of the RC pair
    i_a: Real  # current of the last interval, discharge > 0
    e_gen_mwh: Real  # energy that the inverter had asked for at the last step
    limited: Real  # 1 where the last interval's power was beyond the limits told to the inverter, or cut off
    ledger: Ledger


class Inputs(NamedTuple):
    """What reaches n packs."""

    e_gen_mwh: Real  # energy that the inverter has drawn on its DC side since the start, discharge > 0


class Slopes(NamedTuple):
    """Nothing is held linearly: the energy says all of the interval."""


class Outputs(NamedTuple):
    """What n packs show."""

    soc: Real
    p_max_mw: Real
    p_min_mw: Real
    v_v: Real
    i_a: Real
    limited: Real
    loss_mwh: Real
    chemical_mwh: Real
    terminal_mwh: Real
    unserved_mwh: Real
    polarisation_mwh: Real


def initial(p: Params, s_pu: Any, v_pu: Any) -> State:
    """Cells at rest with the charge of the parameters, whatever the inverter's power and voltage at the start."""
    zero = np.zeros(len(p.e_rated_kwh))
    return State(p.soc_init_percent / 100, zero, zero, zero, zero, Ledger(zero, zero, zero, zero, zero))


def held(p: Params) -> Inputs:
    """An inverter that draws nothing."""
    return Inputs(np.zeros(len(p.e_rated_kwh)))


def advance(p: Params, s: State, u: Inputs, slopes: Slopes, dt_s: float) -> State:
    """Take the energy that the inverter has drawn over the interval that has passed, with a constant current.

    Args:
        p: parameters of n packs.
        s: state at the start of the interval.
        u: the inverter's energy at the END of the interval.
        slopes: none.
        dt_s: length of the interval [s], >= 0; 0 returns `s`.

    Raises:
        ValueError: dt_s < 0.

    The current is the one whose mean terminal voltage makes the energy exact, for any length of the interval;
    the naive current of the initial voltage errs in proportion to it. At the ends of the SOC window and above the
    largest power that the circuit can give, the rest of the energy is not served and counted. C-rate, voltage and
    taper are limits for the inverter, which keeps them with its own lag: what it draws beyond them is drawn.
    Left out: self-discharge, ageing, temperature, hysteresis. Thevenin model: Plett, Battery Management Systems,
    vol. 1 (2015), ch. 2. Valid for power that varies little within a step beside the RC pair's time constant.
    """
    if dt_s <= 0:
        if dt_s < 0:
            raise ValueError(f"dt_s = {dt_s} must be >= 0")
        return s
    loops = kernels("compiled_battery", len(s.soc))
    if loops is not None and len(u.e_gen_mwh) == len(s.soc):  # else numpy says what is wrong
        found = np.empty((9, len(s.soc)))
        state = loops.columns((s.soc, s.v1_v, s.e_gen_mwh, u.e_gen_mwh, *s.ledger))
        loops.advance(loops.packs(p), state, dt_s, found)
        soc, v1_v, i_a, limited, *energies = found
        return State(soc, v1_v, i_a, u.e_gen_mwh, limited, Ledger(*energies))
    asked_w = (u.e_gen_mwh - s.e_gen_mwh) * (WS_PER_MWH / dt_s)
    low, high = power_limits_w(p, s)
    flow = _flow(p, s, asked_w, dt_s)
    v1_v = s.v1_v + (p.r1_ohm * flow.i_a - s.v1_v) * -np.expm1(-dt_s / p.cell_relaxation_s)
    limited = (flow.is_cut | (asked_w > high) | (asked_w < low)).astype(float)
    return State(flow.soc, v1_v, flow.i_a, u.e_gen_mwh, limited, _booked(p, s, u, flow, dt_s))


def _within(value: Real, low: Real | float, high: Real | float) -> Real:
    """np.clip in a quarter of its time for few packs."""
    clipped: Real = np.minimum(np.maximum(value, low), high)
    return clipped


class _Flow(NamedTuple):
    """A step's constant current and where it leads."""

    i_a: Real  # at the terminals
    stored_a: Real  # that moves the state of charge
    soc: Real  # after the step
    is_cut: Mask  # at an end of the SOC window


def _rising(p: Params, dt_s: float) -> Real:
    """How far the mean v1 of a step is on its way from the initial to the final value, 0..1."""
    share: Real = 1 + np.expm1(-dt_s / p.cell_relaxation_s) * p.cell_relaxation_s / dt_s
    return share


def _flow(p: Params, s: State, asked_w: Real, dt_s: float) -> _Flow:
    """The current whose terminal energy over the step is `asked_w` dt_s, or the nearest that there is.

    The means of v1 and, within a segment of its table, of the open-circuit voltage are linear in the current, so that
    the power is a parabola in it. Iterating finds the slope where the step crosses knots of the table.
    """
    low, high = p.soc_window
    share = np.where(asked_w < 0, p.coulombic_efficiency, 1.0)
    per_a = share * dt_s / p.charge_as  # fall of SOC for each ampere
    least, most = np.minimum(s.soc - high, 0) / per_a, np.maximum(s.soc - low, 0) / per_a
    ocv, rising = p.cells_in_series * p.cell.at(s.soc), _rising(p, dt_s)
    e, r = ocv - s.v1_v * (1 - rising), p.r0_ohm + p.r1_ohm * rising
    i = _within(asked_w / ocv, least, most)
    for _ in range(ITERATIONS):
        mean_ocv = p.cells_in_series * p.cell.mean(s.soc, s.soc - per_a * i)
        steep = r + (ocv - mean_ocv) / np.where(i == 0, 1, i)  # no current, no fall: any slope will do
        root = np.sqrt(np.maximum(e**2 - 4 * steep * asked_w, 0))
        before, i = i, _within(np.minimum(2 * asked_w / (e + root), e / (2 * steep)), least, most)
        if (np.abs(i - before) <= SAME_CURRENT * np.abs(i)).all():
            break
    is_cut = (asked_w != 0) & ((i == least) | (i == most))
    return _Flow(i, i * share, _within(s.soc - per_a * i, low, high), is_cut)


def _booked(p: Params, s: State, u: Inputs, flow: _Flow, dt_s: float) -> Ledger:
    """The ledger after a step."""
    to_mwh = dt_s / WS_PER_MWH
    i, tau_s, rising = flow.i_a, p.cell_relaxation_s, _rising(p, dt_s)
    mean_ocv = p.cells_in_series * p.cell.mean(s.soc, flow.soc)
    final = p.r1_ohm * i
    fading = s.v1_v - final  # v1 = final + fading exp(-t / tau)
    terminal_v = mean_ocv - final - fading * (1 - rising) - p.r0_ohm * i
    given = terminal_v * i * to_mwh
    faded = -np.expm1(-2 * dt_s / tau_s) * tau_s / (2 * dt_s)  # mean of exp(-2 t / tau)
    rc_w = (final**2 + 2 * final * fading * (1 - rising) + fading**2 * faded) / p.r1_ohm
    before = s.ledger
    return Ledger(
        before.chemical + mean_ocv * flow.stored_a * to_mwh,
        before.terminal + given,
        before.joule + (p.r0_ohm * i**2 + rc_w) * to_mwh,
        before.coulombic + mean_ocv * (flow.stored_a - i) * to_mwh,
        before.unserved + (u.e_gen_mwh - s.e_gen_mwh - given),
    )


def power_limits_w(p: Params, s: State) -> tuple[Real, Real]:
    """Least and largest power that the inverter may draw now, on its DC side [W]; charging is negative.

    The terminal voltage and the current stay within their limits; towards the ends of the SOC window both powers
    fall linearly to zero.
    """
    low, high = p.soc_window
    v_min, v_max = p.v_limits_v
    e = p.cells_in_series * p.cell.at(s.soc) - s.v1_v
    most = _within(np.minimum((e - v_min) / p.r0_ohm, e / (2 * p.r0_ohm)), 0, p.i_max_a)
    least = -_within((v_max - e) / p.r0_ohm, 0, p.i_max_a)
    discharge = (e - p.r0_ohm * most) * most * _within((s.soc - low) / TAPER, 0, 1)
    charge = (e - p.r0_ohm * least) * least * _within((high - s.soc) / TAPER, 0, 1)
    return charge, discharge


def respond(p: Params, s: State, u: Inputs) -> Outputs:
    """State of charge, limits for the inverter and the ledger; memoryless."""
    ledger, loops = s.ledger, kernels("compiled_battery", len(s.soc))
    if loops is not None:
        found = np.empty((5, len(s.soc)))
        state = loops.columns((s.soc, s.v1_v, s.i_a, ledger.joule, ledger.coulombic))
        loops.respond(loops.packs(p), state, found)
        p_max, p_min, v_v, loss, polarisation = found
        return Outputs(
            s.soc, p_max, p_min, v_v, s.i_a, s.limited, loss, ledger.chemical, ledger.terminal, ledger.unserved,
            polarisation,
        )  # fmt: skip
    charge_w, discharge_w = power_limits_w(p, s)
    terminal_v = p.cells_in_series * p.cell.at(s.soc) - s.v1_v - p.r0_ohm * s.i_a
    polarisation = p.cell_relaxation_s / p.r1_ohm * s.v1_v**2 / 2 / WS_PER_MWH
    return Outputs(
        s.soc, discharge_w / 1e6, charge_w / 1e6, terminal_v, s.i_a, s.limited, ledger.joule + ledger.coulombic,
        ledger.chemical, ledger.terminal, ledger.unserved, polarisation,
    )  # fmt: skip


def align(p: Any, s: Any, u: Inputs, applied_pu: Any) -> Any:
    """Nothing to follow: the energy that was really drawn is the input already."""
    return s


def percent(soc: Any) -> Any:
    """A share (0..1) in percent."""
    return 100 * soc


MODEL = Model(
    name="Battery",
    params=Params,
    inputs=(Port("E_gen[MWh]", "e_gen_mwh", "energy drawn on the inverter's DC side since the start"),),
    outputs=(
        Port("SoC[%]", "soc", "state of charge", convert=percent),
        Port("P_max[MW]", "p_max_mw", "most that the inverter may draw on its DC side"),
        Port("P_min[MW]", "p_min_mw", "least, negative: most that it may charge"),
        Port("V_dc[V]", "v_v", "terminal voltage"),
        Port("I_dc[A]", "i_a", "current of the last interval, discharge > 0"),
        Port("limited[1]", "limited", "1 while the power is beyond these limits or was cut off"),
        Port("E_loss[MWh]", "loss_mwh", "Joule and coulombic losses since the start"),
        Port("E_chemical[MWh]", "chemical_mwh", "energy drawn from the cells since the start"),
        Port("E_terminal[MWh]", "terminal_mwh", "energy given to the inverter since the start"),
        Port("E_unserved[MWh]", "unserved_mwh", "energy asked for and not given since the start"),
        Port("E_polarisation[MWh]", "polarisation_mwh", "energy in the cells' capacitance now"),
    ),
    # without limited[1]: the inverter, which goes by the same name in a run, records its own
    records=(
        "SoC[%]",
        "P_max[MW]",
        "P_min[MW]",
        "V_dc[V]",
        "I_dc[A]",
        "E_loss[MWh]",
        "E_chemical[MWh]",
        "E_terminal[MWh]",
        "E_unserved[MWh]",
        "E_polarisation[MWh]",
    ),
    slopes=Slopes,
    initial=initial,
    held=held,
    advance=advance,
    respond=respond,
    align=align,
    source="none",
)
