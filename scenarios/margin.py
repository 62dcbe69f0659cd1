"""The delay margin of a scenario: by formula, by eigenvalues of the linearised co-simulation, and by runs."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from gridloop.scenarios.communication import graph_of
from gridloop.scenarios.control_plan import Link
from gridloop.scenarios.margin_loop import asked_of, loop_of
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import Plan, plan
from gridloop.simulators.models import flat_state, graph
from gridloop.simulators.models.closed_loop_period import Loop, Whole
from gridloop.simulators.models.linear_delay import DelayedMap, Margin, largest_stable_delay, settled
from gridloop.simulators.models.machine import Params as MachineParams
from gridloop.simulators.models.margins import (
    analytic_margin_s,
    central_margin_s,
    sampled_margin_ticks,
    swing_margin_s,
    ticks_of_delay,
)
from gridloop.simulators.models.secondary import Gains

LONGEST_S = 20.0  # delay up to which a margin is looked for
CONSENSUS = ("F", "D")  # laws of the frequency that the formula of consensus is of


@dataclass(frozen=True)
class Formula:
    """A margin from a formula, of one part of the loop as if it stood alone."""

    what: str
    formula: str
    margin_s: float  # of agents without a period; inf: every delay is stable
    ticks: int | None  # of agents with their period; None: every delay is stable; -1: none is


@dataclass(frozen=True)
class Linearised:
    """The margin of the whole loop from its eigenvalues, where it rests at the start of the scenario."""

    ticks: int | None  # longest stable delay; None: every one that was tried is; -1: none is
    margin_s: float  # the same in seconds; a delay counts up to the next tick
    crossing_s: float  # delay at which the growth rate crosses zero, between two ticks; inf: not up to tried_s
    tried_s: float
    f_hz: float  # of the swing that grows first; nan if none does
    growth_per_s: float  # with the delay that the scenario has


@dataclass(frozen=True)
class DelayMargin:
    """Everything that is known of a scenario's margin. Delays are counted in ticks of `period_ms`."""

    scenario: str
    of: Literal["links", "signals"]
    delay_handling: Literal["matched", "neighbour_only"] | None
    period_ms: float
    delay_ms: float  # that the scenario has; the longest of its links
    ticks: int
    formulas: tuple[Formula, ...]
    linearised: Linearised
    kicks: tuple[float, ...]  # of the members' frequency and voltage corrections, in turn: what excites the first swing

    def to_json(self) -> dict[str, Any]:
        """Plain data; endless numbers are words."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def delay_margin(scenario: Scenario, longest_s: float = LONGEST_S) -> DelayMargin:
    """The margin of a scenario by formulas and by its linearised map, before its first event.

    One delay holds for all links of secondary control, without jitter and loss, or for all signals where there is no
    such control; signals beside it keep their own.

    Raises:
        ScenarioError: the scenario cannot run, or nothing in it has a delay.
        NotSettled: it comes to no rest.
    """
    planned = plan(scenario)
    loop = loop_of(planned)
    rest, found = settled(loop, loop.start())
    period_s, now = loop.period_s, _present_ticks(planned, loop)
    margin = largest_stable_delay(found, max(round(longest_s / period_s), 1))
    control = scenario.control
    return DelayMargin(
        scenario.name, loop.asked, control.delay_handling if control is not None and loop.asked == "links" else None,
        round(1e3 * period_s, 6), _present_ms(planned), now, tuple(_formulas(planned, period_s)),
        _linearised(found, margin, now), _kicks(found, rest, margin),
    )  # fmt: skip


def _kicks(found: DelayedMap, rest: Whole, margin: Margin) -> tuple[float, ...]:
    """Corrections of the mode that grows first, the largest 1; none where nothing grows or they have no part in it."""
    if margin.ticks is None or found.kept is None:
        return ()
    marked = flat_state.flat(rest._replace(corrections=np.full_like(rest.corrections, np.nan)))
    places = np.flatnonzero(np.isnan(marked))
    shape = np.zeros(len(marked), complex)
    shape[found.kept] = found.shape(margin.tried_ticks)
    own = shape[places]
    largest = own[np.abs(own).argmax()] if len(own) else 0.0
    return tuple((own / largest).real) if largest != 0 else ()


def _linearised(found: DelayedMap, margin: Margin, now: int) -> Linearised:
    h = found.period_s
    ends = {None: math.inf, -1: math.nan}
    seconds = ends[margin.ticks] if margin.ticks in ends else round((margin.ticks or 0) * h, 9)
    return Linearised(
        margin.ticks, seconds, margin.crossing_ticks * h, round(margin.tried_ticks * h, 9), margin.f_hz,
        found.growth_per_s(now),
    )  # fmt: skip


def _present_ms(planned: Plan) -> float:
    return max((float(link.settings.get("delay_ms", 0.0)) for link in _in_question(planned)), default=0.0)


def _in_question(planned: Plan) -> tuple[Link, ...]:
    """The links whose delay is asked for."""
    if asked_of(planned) == "signals":
        return planned.signals
    control = planned.control
    return () if control is None else (*control.links, *control.measured_over)


def _present_ticks(planned: Plan, loop: Loop) -> int:
    """Ticks of the longest delay; over links at least one, inside the agents' simulator none."""
    least = 1 if _in_question(planned) else 0
    return max(ticks_of_delay(_present_ms(planned) * 1e-3, loop.period_s), least)


def _formulas(planned: Plan, period_s: float) -> list[Formula]:
    control = planned.scenario.control
    if control is None or asked_of(planned) == "signals":
        return _swing(planned)
    found, gains = [], _gains(planned)
    frequency, voltage = control.frequency.law, control.voltage.law
    if control.needs_neighbours:
        edges = graph.edges(graph_of(planned.scenario), control.members)
        lambda_max = float(graph.laplacian_eigenvalues(graph.adjacency(edges, control.members))[-1])
        laws = [(f"frequency law {frequency}", gains.c2_per_s, "c2")] if frequency in CONSENSUS else []
        laws += [("voltage law paper23", gains.c3_per_s, "c3")] if voltage == "paper23" else []
        for what, gain, symbol in laws:
            if control.delay_handling == "matched":
                text = f"pi / (2 {symbol} lambda_max), {symbol} = {gain:g} 1/s, lambda_max = {lambda_max:.4g}"
                ticks = sampled_margin_ticks(gain, period_s, lambda_max)
                found.append(Formula(what, text, analytic_margin_s(gain, lambda_max), ticks))
            else:
                found.append(Formula(what, "neighbour_only: no delay makes a consensus alone unstable", math.inf, None))
    for what, law, gain, symbol in (
        ("frequency law C", frequency, gains.k_i_per_s, "k_i"), ("voltage law C", voltage, gains.k_v_per_s, "k_v"),
    ):  # fmt: skip
        if law == "C":
            text = f"pi / (2 {symbol}), {symbol} = {gain:g} 1/s"
            found.append(Formula(what, text, central_margin_s(gain), sampled_margin_ticks(gain, period_s, 1.0)))
    return found


def _gains(planned: Plan) -> Gains:
    loop = loop_of(planned)
    assert loop.team is not None
    return loop.team.control.gains


def _swing(planned: Plan) -> list[Formula]:
    """Following units with a droop on a frequency from elsewhere, and machines alone that form the grid."""
    forming = [group for group in planned.groups if group.source == "emf"]
    if not forming or not all(isinstance(group.params, MachineParams) for group in forming):
        return []
    kinetic_kws = sum(float((g.params.h_s * g.params.s_rated_kva).sum()) for g in forming)
    droop = 0.0
    for group in planned.groups:
        for row, name in enumerate(group.ids):
            told = any(link.receiver == name and link.to_attr == "f_meas[Hz]" for link in planned.signals)
            droop += float(np.asarray(group.params.droop_kw_per_hz)[row]) if told else 0.0
    if droop == 0.0:
        return []
    text = f"pi / (2 a), a = droop f0 / (2 H S) = {droop:g} kW/Hz x {planned.case.network.f_nom_hz:g} Hz / "
    text += f"{2 * kinetic_kws:g} kWs; all of the delay, damping and own lags left out"
    return [Formula("swing", text, swing_margin_s(droop, kinetic_kws, planned.case.network.f_nom_hz), None)]
