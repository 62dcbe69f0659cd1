"""The figures of a run, from its recorded series.

Sharing errors follow e_P(t) = max_i |(P_i - P*_i)/S_i - sum(P - P*)/sum(S)| over units that no limit holds, the sums
over the unit's island.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridloop.scenarios.result import Metric
from gridloop.scenarios.spans import HOUR_S, Real, Span

SETTLED_HZ = 0.020
ROCOF_S = (0.1, 0.5)  # windows of the rate of change
SHARED = 0.01
NOT_ROWS = ("s_rated_mva", "q_set_mvar", "event_s", "f_nom_hz", "s_base_mva", "step_s")  # fields of Series


@dataclass(frozen=True)
class Series:
    """What the metrics are computed from; rows (r,), units (r, u), buses (r, b)."""

    t_s: Real
    f_hz: Real  # nan while a unit is disconnected
    p_gen_mw: Real
    q_gen_mvar: Real
    p_set_mw: Real  # nan for units that have none
    limited: Real
    island: Real  # number of the island that a unit stands in
    s_rated_mva: Real  # (u,)
    q_set_mvar: Real  # (u,)
    v_pu: Real  # nan where a bus has no supply
    v_source_pu: Real  # at the units' buses
    p_fed_mw: Real  # (r,) totals of the grid: of all units and the public grid
    p_load_mw: Real
    p_loss_mw: Real
    p_unserved_mw: Real
    mismatch_mw: Real
    iterations: Real
    f_nom_hz: float
    s_base_mva: float
    step_s: float  # macro step
    event_s: Real  # times of events, up to which the row before holds

    def rows(self, start_s: float, end_s: float | None) -> "Series":
        """The rows from `start_s` up to, without, `end_s`."""
        keep = self.t_s >= start_s - 1e-9
        if end_s is not None:
            keep &= self.t_s < end_s - 1e-9
        count = len(self.t_s)
        cut = {
            name: value[keep] for name, value in vars(self).items() if name not in NOT_ROWS and len(value) == count
        }  # fmt: skip
        return Series(**{**vars(self), **cut})


def compute(series: Series, end_s: float | None = None) -> dict[str, Metric]:
    """All metrics of a stretch. `end_s` is its end where that lies after the last row (a window before an event)."""
    if not len(series.t_s):
        return {}
    result: dict[str, Metric] = {}
    span = Span(series.t_s, series.event_s, end_s)
    for group in (_frequency, _sharing, _voltage, _energy, _limits, _numerics):
        result |= {key: Metric(float(value), unit, text) for key, (value, unit, text) in group(series, span).items()}
    return result


Figures = Mapping[str, tuple[Any, str, str]]


def _frequency(s: Series, span: Span) -> Figures:
    there = ~np.isnan(s.f_hz)
    if not there.any():
        return {}
    alive: NDArray[np.bool_] = np.any(there, axis=1)
    deviation = np.where(there, s.f_hz - s.f_nom_hz, 0.0)
    mean_deviation = deviation @ s.s_rated_mva / np.maximum(there @ s.s_rated_mva, 1e-300)
    f_end = s.f_nom_hz + mean_deviation[-1] if alive[-1] else np.nan
    rocof = {
        f"rocof_{1e3 * window_s:.0f}ms": (
            _rocof(s.t_s, s.f_hz, window_s), "Hz_per_s", f"fastest change of frequency over {1e3 * window_s:.0f} ms",
        )
        for window_s in ROCOF_S if window_s >= s.step_s
    }  # fmt: skip
    return {
        "f_nadir": (np.nanmin(s.f_hz), "Hz", "lowest frequency of any unit"),
        "f_zenith": (np.nanmax(s.f_hz), "Hz", "highest frequency of any unit"),
        "f_end": (f_end, "Hz", "frequency at the end, mean of the units by rating"),
        **rocof,
        "f_settling_time": (
            span.settles(s.t_s, alive & np.all(np.abs(deviation) < SETTLED_HZ, axis=1)), "s",
            "time until every unit stays within 20 mHz of nominal frequency",
        ),
        "f_deviation_integral": (
            span.integral(np.abs(mean_deviation)), "Hz_s", "integral of the frequency's absolute deviation",
        ),
    }  # fmt: skip


def _rocof(t_s: Real, f_hz: Real, window_s: float) -> float:
    """Largest |f(t) - f(t - window)| / window over units; nan if the stretch is shorter than the window."""
    if t_s[-1] - t_s[0] < window_s - 1e-9:
        return float("nan")
    late = t_s[t_s >= t_s[0] + window_s - 1e-9]
    changes = np.array([np.interp(late, t_s, f) - np.interp(late - window_s, t_s, f) for f in f_hz.T])
    known = np.abs(changes[~np.isnan(changes)])
    return float(known.max()) / window_s if len(known) else float("nan")


def _sharing(s: Series, span: Span) -> Figures:
    figures: dict[str, tuple[Any, str, str]] = {}
    for letter, word, produced in (
        ("p", "active", s.p_gen_mw - s.p_set_mw), ("q", "reactive", s.q_gen_mvar - s.q_set_mvar),
    ):  # fmt: skip
        # units without a set-point of their own share nothing
        free = (s.limited == 0) & ~np.isnan(s.f_hz) & ~np.isnan(s.p_set_mw)
        counted = np.where(free, produced, 0.0)
        share = _of_island(s.island, counted) / np.maximum(_of_island(s.island, s.s_rated_mva * free), 1e-300)
        error = np.where(free, np.abs(counted / s.s_rated_mva - share), 0.0).max(1)
        figures |= {
            f"{letter}_sharing_error_end": (error[-1], "1", f"{word}-power sharing error at the end"),
            f"{letter}_sharing_error_max": (error.max(), "1", f"largest {word}-power sharing error"),
            f"{letter}_sharing_time": (
                span.settles(s.t_s, error < SHARED), "s", f"time until the {word}-power sharing error stays below 1 %",
            ),
        }  # fmt: skip
    return figures


def _of_island(island: Real, values: Real) -> Real:
    """Sums (r, u) of the values (r, u) of the units of each unit's island."""
    if (island == island[:1, :1]).all():
        return np.broadcast_to(values.sum(1, keepdims=True), values.shape)
    sums = np.zeros_like(values)
    for number in np.unique(island):
        mine = island == number
        sums += mine * (values * mine).sum(1, keepdims=True)
    return sums


def _voltage(s: Series, span: Span) -> Figures:
    if not s.v_pu.shape[1] or np.isnan(s.v_pu).all():
        return {}
    deviation = s.v_pu - 1

    def outside(limit: float) -> float:
        return span.integral((np.abs(np.nan_to_num(deviation)) > limit).any(1).astype(float)) / 60

    return {
        "v_min": (np.nanmin(s.v_pu), "pu", "lowest voltage of any supplied bus"),
        "v_max": (np.nanmax(s.v_pu), "pu", "highest voltage of any bus"),
        "v_rms_deviation": (np.sqrt(np.nanmean(deviation**2)), "pu", "rms deviation of all buses from 1 pu"),
        "v_source_rms_deviation": (
            np.sqrt(np.nanmean((s.v_source_pu - 1) ** 2)), "pu", "rms deviation of the units' buses from 1 pu",
        ),
        "v_outside_5_percent": (outside(0.05), "min", "time with a bus outside 1 pu +- 5 %"),
        "v_outside_10_percent": (outside(0.10), "min", "time with a bus outside 1 pu +- 10 %"),
    }  # fmt: skip


def _energy(s: Series, span: Span) -> Figures:
    sources, served, losses, unserved = (
        span.integral(power) / HOUR_S for power in (s.p_fed_mw, s.p_load_mw, s.p_loss_mw, s.p_unserved_mw)
    )
    return {
        "energy_sources": (sources, "MWh", "energy that the units and the public grid fed into the network"),
        "energy_served": (served, "MWh", "energy that reached the loads"),
        "energy_network_losses": (losses, "MWh", "energy lost in lines, transformers and shunts"),
        "energy_unserved": (unserved, "MWh", "energy of loads that had no supply"),
        "loss_end": (s.p_loss_mw[-1], "MW", "network losses at the end"),
        "loss_share": (losses / served if served else np.nan, "1", "network losses relative to the energy served"),
    }  # fmt: skip


def _limits(s: Series, span: Span) -> Figures:
    share = s.p_gen_mw / s.s_rated_mva
    held = s.limited != 0
    return {
        "saturation_time": (
            span.integral(held.any(1).astype(float)) / 60, "min", "time with a unit at its power limit",
        ),
        "saturation_depth": (
            np.abs(share[held]).max() if held.any() else 0.0, "pu", "largest power of a unit at its limit, own base",
        ),
    }  # fmt: skip


def _numerics(s: Series, span: Span) -> Figures:
    return {
        "network_residual": (
            s.mismatch_mw.max() / s.s_base_mva, "pu", "largest nodal power that the solution leaves unbalanced",
        ),
        "newton_iterations_max": (s.iterations.max(), "1", "most iterations of the network solver in a step"),
    }  # fmt: skip


def windows(series: Series, end_s: float, event_s: Real) -> list[tuple[float, float, dict[str, Metric]]]:
    """(start, end, metrics) from event to event; number 0 ends at the first event."""
    edges = [0.0, *sorted(set(event_s.tolist()))]
    result = [(start, end, compute(series.rows(start, end), end)) for start, end in pairwise(edges)]
    return [*result, (edges[-1], end_s, compute(series.rows(edges[-1], None), end_s))]
