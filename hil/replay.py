"""A recording as a device: at the simulated time t it shows what the run had at t. No wire and no clock."""

from bisect import bisect_right
from dataclasses import replace
from pathlib import Path
from typing import Any

from gridloop.hil.policy import FAULT, NEVER_S, Snapshot
from gridloop.hil.recording import OF_SNAPSHOT, RESOLUTION_S, TAKEN
from gridloop.simulators.recorder import read_table, streams

FOLDER = "devices"  # of a run
AGES = ("age_s", "told_age_s")


def recorded_units(run: Path) -> list[str]:
    """Units whose devices a run recorded."""
    return streams(run / FOLDER / TAKEN)


def unit_in(run: Path, unit: str, named: str = "") -> str:
    """Whose recording plays for a unit: the one that is named, its own, or the only one that there is.

    Raises:
        ValueError: there is none, or there are several.
    """
    found = recorded_units(run)
    if not found:
        raise ValueError(f"{run} holds no recording of a device: there is nothing in {Path(FOLDER) / TAKEN}")
    if (named or unit) in found:
        return named or unit
    if len(found) == 1 and not named:
        return found[0]
    raise ValueError(f"{run} has recordings of {', '.join(found)}, not of {named or unit}: write ?unit={found[0]}")


class Replay:
    """The device of a unit as a run recorded it, with the methods of the adapter's `Handle`.

    Between two recorded steps it shows the earlier one's values, which grow older; before the first and after the last
    it shows nothing.

    Args:
        run: folder of a run.
        unit: whose device it was.
    """

    def __init__(self, run: Path, unit: str) -> None:
        table = read_table(run / FOLDER / TAKEN, unit)
        columns = {name: table[name].to_pylist() for name in table.column_names}
        self._times: list[int] = [round(t_s / RESOLUTION_S) for t_s in columns.pop("t")]
        self._fields = {name: columns.pop(name) for name in OF_SNAPSHOT}
        self._values = columns
        self._time = 0

    @property
    def last_s(self) -> float:
        """Simulated time of the last step [s]."""
        return self._times[-1] * RESOLUTION_S

    def at(self, t_s: float) -> None:
        """A step begins at the simulated time `t_s`."""
        self._time = round(t_s / RESOLUTION_S)

    def post(self, values: dict[str, float]) -> None:
        """Nobody listens."""

    def snapshot(self) -> Snapshot:
        """What the run had at this time."""
        row = bisect_right(self._times, self._time) - 1
        if row < 0 or (row == len(self._times) - 1 and self._time - self._times[row] > self._step):
            which = "begins" if row < 0 else "ends"
            cause = f"the recording {which} at t = {self._times[0] * RESOLUTION_S if row < 0 else self.last_s:g} s"
            return Snapshot({}, NEVER_S, 0, FAULT, cause)
        values: dict[str, Any] = {attr: of[row] for attr, of in self._values.items() if of[row] is not None}
        seen = Snapshot(values, **{name: of[row] for name, of in self._fields.items()})
        late_s = (self._time - self._times[row]) * RESOLUTION_S
        return replace(seen, **{name: getattr(seen, name) + late_s for name in AGES}) if late_s else seen

    def cycle(self, timeout_s: float) -> Snapshot:
        """The same."""
        return self.snapshot()

    def safe(self) -> None:
        """There is nothing that could be harmed."""

    @property
    def _step(self) -> int:
        """Longest time for which the last row holds: the step before it."""
        return self._times[-1] - self._times[-2] if len(self._times) > 1 else 0
