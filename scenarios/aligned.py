"""Series of a run side by side on one time axis, a stretch at a time, so that long runs need little memory.

Simulators record at their own times: the grid at its step, a meter at its period. The common axis holds every time
at which one of the chosen series has a row; where another has none, it has no value (nan). Nothing is held or
interpolated.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from gridloop.scenarios.result import Real, Result

VALUES_AT_ONCE = 2_000_000
TIME_RESOLUTION_S = 1e-6  # simulated time has whole microseconds


@dataclass(frozen=True)
class Stretch:
    """Rows of consecutive times: `values` (times, series), nan where a series has no row."""

    t_s: Real
    values: Real


def chosen(result: Result, signals: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Entities and attributes that fit one of the patterns, in the order of the recording.

    Args:
        result: the run.
        signals: patterns `entity.attribute` (`inv1.*`, `*.f[Hz]`) in which only `*` has a meaning; an id alone
            stands for all that it has. None at all: everything.

    Raises:
        ValueError: a pattern fits nothing.
    """
    names = [(entity, a) for entity, what in result.entities.items() for a in what.attributes]
    patterns = list(signals)
    found: set[tuple[str, str]] = set()
    for pattern in patterns:
        # brackets belong to the names here, they are no sets of characters
        glob = pattern.replace("[", "[[]").replace("?", "[?]")
        fits = {(e, a) for e, a in names if e == pattern or fnmatchcase(f"{e}.{a}", glob)}
        if not fits:
            raise ValueError(f"no series fits {pattern!r}; this run has {', '.join(result.entities)}")
        found |= fits
    return [name for name in names if name in found] if patterns else names


def stretches(
    result: Result, names: Sequence[tuple[str, str]], every_s: float | None = None, rows: int | None = None
) -> Iterator[Stretch]:
    """The named series on their common time axis.

    Args:
        result: the run.
        names: entities and attributes.
        every_s: keep the first row of every such interval [s] only; None keeps all.
        rows: rows read at a time; as many as some ten megabytes hold if absent.
    """
    if every_s is not None and not every_s > 0:
        raise ValueError(f"the distance of rows must be > 0 s, got {every_s:g}")
    streams: dict[str, list[int]] = {}
    for place, (entity, attribute) in enumerate(names):
        streams.setdefault(result.stream(entity, attribute), []).append(place)
    rows = rows or max(100, VALUES_AT_ONCE // (len(names) + 1))
    sources = [
        _Source(result.batches(stream, [names[p] for p in places], rows), places) for stream, places in streams.items()
    ]
    last_interval = -1
    while any([source.fill() for source in sources]):  # every one reads on
        # complete is what lies before the end of the shortest stock; an exhausted source holds nobody up
        until = min(source.t_us[-1] for source in sources if len(source.t_us))
        t_us = np.unique(np.concatenate([source.t_us[source.t_us <= until] for source in sources]))
        values = np.full((len(t_us), len(names)), np.nan)
        for source in sources:
            source.move(t_us, until, values)
        if every_s is not None:
            interval = np.floor(t_us * TIME_RESOLUTION_S / every_s + 1e-9)
            keep = np.diff(interval, prepend=last_interval) > 0
            last_interval = interval[-1]
            t_us, values = t_us[keep], values[keep]
        if len(t_us):
            yield Stretch(t_us / (1 / TIME_RESOLUTION_S), values)


class _Source:
    """Rows of one stream that were read and not yet given out."""

    def __init__(self, batches: Iterator[tuple[Real, Real]], places: list[int]) -> None:
        self._batches, self._places = batches, places
        self.t_us: NDArray[np.int64] = np.empty(0, np.int64)
        self._values: Real = np.empty((0, len(places)))

    def fill(self) -> bool:
        """Read on if the stock is used up; False at the end of the stream."""
        while not len(self.t_us):
            batch = next(self._batches, None)
            if batch is None:
                return False
            self.t_us, self._values = np.round(batch[0] / TIME_RESOLUTION_S).astype(np.int64), batch[1]
        return True

    def move(self, t_us: NDArray[np.int64], until: int, into: Real) -> None:
        """Put the rows up to `until` into their places of a table with rows at `t_us`."""
        count = int(np.searchsorted(self.t_us, until, side="right"))
        into[np.ix_(np.searchsorted(t_us, self.t_us[:count]), np.array(self._places))] = self._values[:count]
        self.t_us, self._values = self.t_us[count:], self._values[count:]
