"""The time plots of several runs over each other: colour tells the entity, the kind of line the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridloop.scenarios.compare import SeriesDifference
from gridloop.scenarios.display import scale
from gridloop.scenarios.plots import (
    TIME_RESOLUTION_S,
    Quantity,
    Ranges,
    drawn,
    encoded,
    envelope,
    extremes,
    host_buses,
    named,
    on,
    unit_colours,
)
from gridloop.scenarios.result import Real, Result
from gridloop.scenarios.thinning import bends, thinned

MOST_ENTITIES = 12  # of a plot; of more the ones that differ most are shown, and each run's envelope
MOST_CURVES = 36  # of a plot
MOST_SHOWN = 12  # curves at first; more wait for a click
ROWS = 4000  # samples of a plot, shared by the runs, before the straight parts are left out
FEW = 4  # entities whose curves are shown at first where all would be too many
SIDES = ("lowest", "highest")


@dataclass(frozen=True)
class Part:
    """One run's curves, each with its place in the plot's list of entities, at the run's own times [s]."""

    run: int
    t_s: Real
    curves: Mapping[int, Real]


@dataclass(frozen=True)
class Overlay:
    """One quantity of several runs in `unit`, kept to `resolution` [unit]; (label, colour, shown at first)."""

    title: str
    unit: str
    entities: Sequence[tuple[str, int, bool]]
    parts: Sequence[Part]
    resolution: float
    least_span: float


class Overlays:
    """Makes the overlays of runs.

    Args:
        results: the runs; the first is the one that others are compared with.
        differences: largest differences of each other run to the first.
    """

    def __init__(self, results: Sequence[Result], differences: Sequence[Sequence[SeriesDifference]]) -> None:
        self._results = results
        self._ranges = [extremes(result) for result in results]
        self._colours: dict[str, int] = {}
        for result, ranges in zip(results, self._ranges, strict=True):
            for unit in unit_colours(result, ranges):
                self._colours.setdefault(unit, len(self._colours))
        self._hosts = {bus: unit for result in reversed(results) for bus, unit in host_buses(result).items()}
        self._delta: dict[tuple[str, str], float] = {}
        for difference in (d for found in differences for d in found):
            key = difference.entity, difference.attribute
            self._delta[key] = max(self._delta.get(key, 0.0), abs(difference.delta))

    def all(self) -> list[Overlay]:
        """An overlay of each quantity that any of the runs has."""
        pairs = zip(self._results, self._ranges, strict=True)
        wanted = dict.fromkeys(q for result, ranges in pairs for q in drawn(result, ranges))
        return [self._overlay(q) for q in wanted]

    def _overlay(self, q: Quantity) -> Overlay:
        ranges = {run: spans[q.attribute] for run, spans in enumerate(self._ranges) if q.attribute in spans}
        names = list(dict.fromkeys(name for spans in ranges.values() for name in spans))
        limit = min(MOST_ENTITIES, max(FEW, MOST_CURVES // len(self._results)))
        kept = names if len(names) <= limit else self._telling(q, names, ranges, limit)
        curves = sum(name in spans for name in kept for spans in ranges.values())
        first = set(kept if curves <= MOST_SHOWN else self._telling(q, kept, ranges, FEW))
        looks = named(q, kept, self._colours, self._hosts)
        entities = [(*look, name in first) for look, name in zip(looks, kept, strict=True)]
        whole = len(kept) == len(names)
        largest = max(max(map(abs, span)) for spans in ranges.values() for span in spans.values())
        fine = 10.0 ** (math.floor(math.log10(largest)) - 5) if largest else 1e-6
        resolution = max(q.resolution or fine, largest * 1e-12)
        parts = [self._part(run, q, kept, whole, resolution) for run in ranges]

        by = scale(q.attribute.partition("[")[2][:-1], largest)
        span = q.least_span if q.least_span is not None else 0.02 * largest
        return Overlay(
            title=q.title if whole else f"{q.title}, {len(kept)} of {len(names)} and each run's envelope",
            unit=by.unit,
            entities=entities if whole else [*entities, *((side, -1, True) for side in SIDES)],
            parts=[Part(p.run, p.t_s, {i: v * by.factor for i, v in p.curves.items()}) for p in parts],
            resolution=resolution * by.factor,
            least_span=span * by.factor,
        )

    def _telling(self, q: Quantity, names: Sequence[str], ranges: Mapping[int, Ranges], limit: int) -> list[str]:
        """The entities that most runs have and that differ most, in the order of the network."""

        def rank(name: str) -> tuple[int, float]:
            return -sum(name in spans for spans in ranges.values()), -self._delta.get((name, q.attribute), 0.0)

        some = set(sorted(names, key=rank)[:limit])
        return [name for name in names if name in some]

    def _part(self, run: int, q: Quantity, kept: Sequence[str], whole: bool, resolution: float) -> Part:
        result, spans = self._results[run], self._ranges[run][q.attribute]
        own = [name for name in kept if name in spans]
        t_s = max((result.series(name, q.attribute)[0] for name in own or spans), key=len)
        curves = {kept.index(name): on(t_s, result, q, name) for name in own}
        if not whole:
            low, high = envelope(t_s, result, q, spans)
            curves |= {len(kept): low, len(kept) + 1: high}
        rows = np.array(list(curves.values()))
        at = thinned(rows, t_s, [event.t_s for event in result.events], ROWS // len(self._results))
        at = at[bends(rows[:, at], t_s[at], resolution / 2)]
        return Part(run, t_s[at], {i: values[at] for i, values in curves.items()})


def overlay_data(overlays: Sequence[Overlay]) -> list[dict[str, Any]]:
    """What the page needs of the plots, ready for JSON."""
    return [
        {
            "title": o.title, "unit": o.unit, "resolution": o.resolution, "span": o.least_span,
            "entities": [{"label": label, "colour": colour, "on": shown} for label, colour, shown in o.entities],
            "parts": [
                {"run": part.run, "t": encoded(part.t_s, TIME_RESOLUTION_S),
                 "curves": [{"entity": i, "d": encoded(v, o.resolution)} for i, v in part.curves.items()]}
                for part in o.parts
            ],
        }
        for o in overlays
    ]  # fmt: skip
