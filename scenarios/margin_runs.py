"""The delay margin of a scenario as runs of the co-simulation show it: bisection over the delay.

Each delay takes two runs of the scenario without its events, one of them with a small kick: their difference is what
the kick does, whatever else moves. Its late envelope tells whether it grows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from gridloop.scenarios.margin import DelayMargin
from gridloop.scenarios.runner import run
from gridloop.scenarios.schema import Scenario
from gridloop.simulators.models.growth import growth
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.secondary import TWO_PI, Gains

KICK_RAD_PER_S = 0.01  # of the agents' corrections
KICK_PU = 1e-3  # of their voltage corrections, and of a load where there are no agents
PU_PER_RAD_PER_S = KICK_PU / KICK_RAD_PER_S
KICK_S = 0.1
LARGEST = 100.0  # times the first swing: beyond it limits may act
SWINGS = 8  # of the mode in question that a run shows
SHORTEST_S, LONGEST_S = 2.0, 120.0  # of what is looked at
FIRST_STEP = 0.06  # share of the predicted margin by which the search begins to both sides
RESOLUTION = 0.01
MOST_TRIALS = 24
NEAR = 0.98  # of a limit
SIGNALS = {"f[Hz]": 1.0, "Omega[Hz]": 1.0, "v[pu]": KICK_RAD_PER_S / KICK_PU}  # and their weights


@dataclass(frozen=True)
class Trial:
    """What a kick came to with one delay."""

    ticks: int
    delay_s: float
    growth_per_s: float

    @property
    def stable(self) -> bool:
        """Whether it died away."""
        return self.growth_per_s <= 0


@dataclass(frozen=True)
class Measured:
    """Between which delays the runs become unstable; None: they were stable, or unstable, with every one tried."""

    last_stable_s: float | None
    first_unstable_s: float | None
    trials: tuple[Trial, ...]


def measured_margin(
    scenario: Scenario, predicted: DelayMargin, watch: Callable[[Trial], None] | None = None
) -> Measured:
    """Find the margin by runs.

    Args:
        scenario: as it was predicted.
        predicted: its computed margin: where the search begins, and how long a run must be.
        watch: called with every trial.

    Raises:
        RunFailed: a run failed.
    """
    if predicted.linearised.ticks is None:  # nothing to be found: show that the longest delay of a few seconds holds
        guess = max(round(min(predicted.linearised.tried_s, LONGEST_S / SWINGS) / predicted.period_ms * 1e3), 1)
        trial = _tried(scenario, predicted, guess, watch)
        ends: tuple[float | None, float | None] = (trial.delay_s, None) if trial.stable else (None, trial.delay_s)
        return Measured(*ends, trials=(trial,))
    first = 0 if predicted.of == "links" else 1
    guess = max(predicted.linearised.ticks, first)
    resolution = max(round(RESOLUTION * guess), 1)
    trials: dict[int, Trial] = {}

    def is_stable(ticks: int) -> bool:
        if ticks not in trials:
            trials[ticks] = _tried(scenario, predicted, ticks, watch)
        return trials[ticks].stable

    step = max(round(FIRST_STEP * guess), 1)
    below, above = max(guess - step + 1, first), guess + step
    while below > first and not is_stable(below) and len(trials) < MOST_TRIALS:
        below, above, step = max(below - 2 * step, first), below, 2 * step
    stable = is_stable(below)
    while stable and is_stable(above) and len(trials) < MOST_TRIALS:
        below, above, step = above, above + 2 * step, 2 * step
    while stable and above - below > resolution and not is_stable(above):
        middle = (below + above) // 2
        below, above = (middle, above) if is_stable(middle) else (below, middle)
    told = sorted(trials.values(), key=lambda trial: trial.ticks)
    good = [trial.delay_s for trial in told if trial.stable]
    bad = [trial.delay_s for trial in told if not trial.stable]
    return Measured(max(good, default=None), min(bad, default=None), tuple(told))


def _tried(scenario: Scenario, predicted: DelayMargin, ticks: int, watch: Callable[[Trial], None] | None) -> Trial:
    delay_s = ticks * predicted.period_ms * 1e-3
    trial = Trial(ticks, delay_s, growth_after_kick(scenario, predicted, delay_s))
    if watch is not None:
        watch(trial)
    return trial


def growth_after_kick(scenario: Scenario, predicted: DelayMargin, delay_s: float) -> float:
    """Growth rate [1/s] of what a kick does to the scenario with this delay; nan if it did nothing."""
    f_hz = predicted.linearised.f_hz
    swing_s = 1 / f_hz if math.isfinite(f_hz) and f_hz > 0 else 4 * delay_s
    shown_s = min(max(SWINGS * swing_s, SHORTEST_S), LONGEST_S)
    begin_s = KICK_S + 2 * delay_s + predicted.period_ms * 1e-3
    step_s = scenario.step_ms * 1e-3
    until_s = (begin_s + shown_s) // step_s * step_s
    changes = {
        **scenario.for_study, "comms": _comms(scenario, predicted, delay_s), "until_s": round(until_s, 6),
        "record": {"signals": []},
    }  # fmt: skip
    seen = []
    with TemporaryDirectory() as folder:
        for name, events in (("rest", []), ("kicked", kicks(scenario, predicted))):
            seen.append(_signals(run(scenario, overrides={**changes, "events": events}, folder=Path(folder) / name)))
    rest, kicked = seen
    after = rest.t_s >= begin_s - 1e-9
    t = rest.t_s[after]
    difference = (kicked.values - rest.values)[after] * kicked.weights
    size = np.abs(difference).max(axis=1)
    start = size[t <= begin_s + swing_s].max(initial=0.0)
    beyond = (size > LARGEST * start) | _at_limit(scenario, rest, after) | _at_limit(scenario, kicked, after)
    end = int(np.argmax(beyond)) if beyond.any() else len(t)
    return growth(t[:end], difference[:end], swing_s).rate_per_s


def _comms(scenario: Scenario, predicted: DelayMargin, delay_s: float) -> dict[str, Any]:
    """Communication with one delay for all links in question, and nothing but the delay."""
    given = scenario.to_dict().get("comms") or {}
    kept = {key: given[key] for key in ("graph", "signals") if key in given}
    delay_ms = round(1e3 * delay_s, 6)
    if predicted.of == "links":
        return {**kept, "delay_ms": delay_ms}
    own = {
        name: {key: signal[key] for key in ("attr", "to_attr", "period_ms") if key in signal} | {"delay_ms": delay_ms}
        for name, signal in given["signals"].items()
    }
    return {**kept, "signals": own}


def kicks(scenario: Scenario, predicted: DelayMargin) -> list[dict[str, Any]]:
    """Events that disturb the loop: corrections as in the mode that grows first, or a load that is stepped."""
    control = scenario.control
    if control is None or predicted.of == "signals":
        bus = max(_loads(scenario), key=lambda load: load[1])
        return [{"t_s": KICK_S, "do": "load_step", "bus": bus[0], "p_kw": KICK_PU * bus[1], "q_kvar": 0.0}]
    if not control.needs_neighbours:
        return [
            {"t_s": KICK_S, "do": "agent_kick", "agent": control.central_names[0],
             "omega_rad_per_s": KICK_RAD_PER_S, "v_pu": KICK_PU}
        ]  # fmt: skip
    own = predicted.kicks or [one for side in sides(len(control.members)) for one in (side, side * PU_PER_RAD_PER_S)]
    return [
        {"t_s": KICK_S, "do": "agent_kick", "agent": name, "omega_rad_per_s": float(omega) * KICK_RAD_PER_S,
         "v_pu": float(v) * KICK_RAD_PER_S}
        for name, omega, v in zip(control.members, own[0::2], own[1::2], strict=True)
    ]  # fmt: skip


def sides(count: int) -> list[float]:
    """Kicks of so many agents: unequal, to both sides, so that no mode of a graph is left out."""
    return [(-1) ** k * (1 - 0.5 * k / count) for k in range(count)]


def _loads(scenario: Scenario) -> list[tuple[str, float]]:
    """Buses with a load, and its size [kW]."""
    from gridloop.scenarios.start import plan

    case = plan(scenario).case
    names = case.network.bus_names
    row_names = {int(row): name for name, row in zip(names, case.network.bus_row, strict=True)}
    base = case.network.s_base_mva * 1e3
    return [(row_names[row], float(case.loads.p0_pu[i]) * base) for row, i in case.load_of_bus.items()]


class _Seen(NamedTuple):
    """Signals of a run at the times of the units' rows."""

    t_s: Real
    values: Real  # (m, k)
    attributes: tuple[str, ...]  # of each column

    @property
    def weights(self) -> Real:
        """Of each column: kicks of all kinds count alike."""
        return np.array([SIGNALS[attribute] for attribute in self.attributes])


def _signals(result: Any) -> _Seen:
    columns, attributes, t = [], [], None
    for name, entity in result.entities.items():
        for attr in SIGNALS if entity.kind == "unit" else ():
            if attr in entity.attributes:
                own_t, values = result.series(name, attr)
                t = own_t if t is None else t
                columns.append(np.interp(t, own_t, values))
                attributes.append(attr)
    assert t is not None
    return _Seen(t, np.stack(columns, axis=1), tuple(attributes))


def _at_limit(scenario: Scenario, seen: _Seen, after: Any) -> Any:
    """Rows in which a correction has come to its limit that was not there at the first of them."""
    if scenario.control is None:
        return np.zeros(int(after.sum()), bool)
    own, usual = scenario.control, Gains()
    limits = {
        "Omega[Hz]": own.frequency.limit_hz or usual.omega_limit_rad_per_s / TWO_PI,
        "v[pu]": own.voltage.limit_pu or usual.v_limit_pu,
    }
    most = np.array([NEAR * limits.get(attribute, np.inf) for attribute in seen.attributes])
    there = np.abs(seen.values[after]) >= most
    return (there & ~there[0]).any(axis=1)
