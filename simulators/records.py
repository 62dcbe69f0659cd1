"""What simulators in other processes tell of each step, and how it is read again, to the bit.

`GridTaker` and `UnitsTaker` are `tap.Taker`s in the run's own process. They give a sink and a log the very rows and
entries that these get from a simulator that runs there.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.device import Sink
from gridloop.simulators.grid_series import Epoch, Row, epoch_of
from gridloop.simulators.operation import Log, Operation
from gridloop.simulators.packed import pack, unpack
from gridloop.simulators.wire import to_array, to_lists

LEFT = "log: "  # begins the note of an exception that carries what was not told


class GridAccount:
    """What a grid tells of each step, at its own end.

    Args:
        log: takes the same entries at once.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._entries: list[Any] = []  # since the last step ended
        self._shown: list[Any] = []
        self._epoch: Epoch | None = None
        self._is_new, self._time = False, 0

    def log(self, t_s: float, kind: str, target: str, outcome: str) -> None:
        """Take an event."""
        self._entries.append((t_s, kind, target, outcome))
        self._log(t_s, kind, target, outcome)

    def close_step(self, time: int, epoch: Epoch) -> None:
        """What was logged so far belongs to the step at `time`, which ended in `epoch`."""
        self._shown, self._entries = self._entries, []
        self._is_new, self._epoch, self._time = epoch is not self._epoch, epoch, time

    def record(self, operation: Operation) -> dict[str, Any]:
        """The last step; its topology only when it is another than that of the step before."""
        solution = operation.solution
        assert solution is not None
        return {
            "time": self._time, "log": self._shown, "topology": pack(operation.topology) if self._is_new else None,
            "x": to_lists(solution.x), "turn": to_lists(np.atleast_1d(solution.turn)),
            "s_source": to_lists(solution.s_source), "iterations": solution.iterations,
            "unserved_pu": operation.unserved_pu,
        }  # fmt: skip

    def sign(self, failure: Exception) -> Exception:
        """The failure of a step with what was logged in it: nothing else reaches the run then."""
        failure.add_note(LEFT + json.dumps(self._entries))
        return failure


def left_in(traceback: Sequence[str]) -> list[Any]:
    """Entries of the log in the lines of a failure that was signed."""
    return [entry for line in traceback if line.startswith(LEFT) for entry in json.loads(line.removeprefix(LEFT))]


class GridTaker:
    """Reads the records of a grid of the same case in another process."""

    def __init__(self, case: Case, sink: Sink, log: Log) -> None:
        self._case, self._sink, self._log = case, sink, log
        self._epoch: Epoch
        self._time = -1

    def __call__(self, time: int, attr: str, value: Any) -> None:
        """Take one record; the same once more, where only units have a tick, is not one."""
        if value["time"] == self._time:
            return
        self._time = value["time"]
        for entry in value["log"]:
            self._log(*entry)
        if value["topology"] is not None:
            self._epoch = epoch_of(self._case, unpack(value["topology"]))
        x, turn, s_source = (to_array(value[name]) for name in ("x", "turn", "s_source"))
        self._sink(time, Row(self._epoch, x, turn, s_source, value["iterations"], value["unserved_pu"]))


class UnitsTaker:
    """Reads the records of a group of units in another process; `outputs` is the type of what its model gives."""

    def __init__(self, outputs: Callable[..., Any], sink: Sink, log: Log) -> None:
        self._outputs, self._sink, self._log = outputs, sink, log

    def __call__(self, time: int, attr: str, value: Any) -> None:
        """Take one record."""
        for entry in value["log"]:
            self._log(*entry)
        self._sink(time, self._outputs(*map(to_array, value["outputs"])))
