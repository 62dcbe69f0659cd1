"""A recorded run once more, with the recordings in place of its devices, and whether it comes out the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from gridloop.hil.replay import Replay, recorded_units
from gridloop.scenarios.reading import load
from gridloop.scenarios.result import Result, open_run
from gridloop.scenarios.runner import RunFailed, run
from gridloop.scenarios.steering import Command, Steering

KILLED = "running"  # status of a run that could not tell its end, nor what happened
SHORT = (KILLED, "interrupted")  # runs that did not come to their end by themselves


@dataclass(frozen=True)
class Difference:
    """Where a series of the replay leaves the recorded one first: values there [unit of the attribute]."""

    entity: str
    attribute: str
    t_s: float
    recorded: float
    replayed: float


@dataclass(frozen=True)
class Replayed:
    """What a replay came to.

    Args:
        result: of the replay.
        compared: how many series.
        differences: of series, the earliest first; empty if all are the same to the bit.
        events: in one run and not in the other, in words.
    """

    result: Result
    compared: int
    differences: tuple[Difference, ...]
    events: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether all series are the same to the bit, and the same happened."""
        return not self.differences and not self.events


def replay(recorded: Path | str, folder: Path | str | None = None) -> Replayed:
    """Run a recorded run again from its own run.json.

    Args:
        recorded: folder of the run; one that was cut short is replayed up to where its recordings end.
        folder: for the new run.

    Raises:
        ValueError: the folder holds no run, or one without recordings.
    """
    before = open_run(recorded)
    units = recorded_units(before.path)
    if not units:
        raise ValueError(f"{before.path} has no recording of a device: there is nothing to replay")
    scenario = load(before.record["scenario"], Path(before.record["folder"]))
    steering = Steering(Command(*command) for command in before.record["commands"])
    swap = {unit: _url(before, unit) for unit in units}
    try:
        until_s = _last_s(before, units) if before.record["status"] in SHORT else None
        after = run(scenario, until_s=until_s, folder=folder, swap=swap, steering=steering)
    except RunFailed as failure:
        after = failure.result
    names = [(name, attr) for name, entity in before.entities.items() for attr in entity.attributes]
    found = [one for name, attr in names for one in _compared(before, after, name, attr)]
    found.sort(key=lambda one: one.t_s)
    events = () if before.record["status"] == KILLED else tuple(_events(before, after))
    return Replayed(after, len(names), tuple(found), events)


def _url(result: Result, unit: str) -> str:
    shadow = "&shadow=yes" if result.record["devices"][unit]["shadow"] else ""
    return f"replay://{quote(str(result.path.resolve()))}?unit={quote(unit)}{shadow}"


def _last_s(result: Result, units: list[str]) -> float:
    """The time up to which everything of a run is on disk.

    Raises:
        ValueError: there is nothing.
    """
    first = {result.stream(name, attr): (name, attr) for name, entity in result.entities.items()
             for attr in entity.attributes}  # fmt: skip
    if not first:
        raise ValueError(f"{result.path} was killed before anything of it was on disk")
    return min(*(float(result.series(*one)[0][-1]) for one in first.values()),
               *(Replay(result.path, unit).last_s for unit in units))  # fmt: skip


def _compared(before: Result, after: Result, name: str, attr: str) -> Iterator[Difference]:
    """Where a series is another first; of a run that was cut short what both have counts."""
    if name not in after.entities or attr not in after.entities[name].attributes:
        yield Difference(name, attr, 0.0, 0.0, np.nan)
        return
    (t, old), (t_new, new) = before.series(name, attr), after.series(name, attr)
    if before.record["status"] in SHORT:
        count = min(len(t), len(t_new))
        t, old, t_new, new = t[:count], old[:count], t_new[:count], new[:count]
    if len(t) != len(t_new) or not np.array_equal(t, t_new):
        count = min(len(t), len(t_new))
        row = int(np.argmax(np.append(t[:count] != t_new[:count], True)))
        yield Difference(name, attr, float((t if row < len(t) else t_new)[row]), float("nan"), float("nan"))
        return
    other = ~((old == new) | (np.isnan(old) & np.isnan(new)))
    if other.any():
        row = int(np.argmax(other))
        yield Difference(name, attr, float(t[row]), float(old[row]), float(new[row]))


def _events(before: Result, after: Result) -> Iterator[str]:
    """What happened in one run only; the words of an outcome name the device, which is another."""
    old, new = ([(event.t_s, event.kind, event.target) for event in one.events] for one in (before, after))
    for which, one, other in (("only recorded", old, new), ("only replayed", new, old)):
        for event in one:
            if event not in other:
                yield f"{which}: {event[1].replace('_', ' ')} {event[2]} at t = {event[0]:g} s"
