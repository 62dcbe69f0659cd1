"""What a user may ask of a run while it goes on: to swap units, or to stop all devices."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gridloop.simulators.operation import Log

ALL = "*"


class Command(NamedTuple):
    """`do` (swap, unswap or stop) with a unit, taken at the simulated time `t_s` [s]."""

    t_s: float
    unit: str
    do: str


class Steering:
    """Hand it to `run`, and call its methods from a callback of the run or from another thread.

        steering = Steering()
        threading.Timer(2.0, steering.unswap, ["inv2"]).start()
        run(scenario, swap={"inv2": "emulated:"}, steering=steering)

    A command is taken at the next step. What was taken stands in run.json, so that a replay does the same.

    Args:
        script: commands that are given at their times.
    """

    def __init__(self, script: Iterable[Command] = ()) -> None:
        self._script = deque(sorted((Command(*one) for one in script), key=lambda one: one.t_s))
        self._asked: deque[tuple[str, str]] = deque()
        self._units: Sequence[str] | None = None
        self._command: Callable[[str, str], None] = lambda unit, do: None
        self._halt: Callable[[], None] = lambda: None
        self._log: Log = lambda *_: None
        self.taken: list[Command] = []
        self.told = ""  # of an emergency stop, in words

    def swap(self, unit: str) -> None:
        """Let a unit's device drive.

        Raises:
            ValueError: the run has no such device.
        """
        self._ask(unit, "swap")

    def unswap(self, unit: str) -> None:
        """Let a unit's model drive.

        Raises:
            ValueError: the run has no such device.
        """
        self._ask(unit, "unswap")

    def stop(self) -> None:
        """Emergency stop: every device to its safe state at once, and there it stays; the models take over."""
        self._halt()
        self._asked.append((ALL, "stop"))

    def begin(
        self, units: Sequence[str], command: Callable[[str, str], None], halt: Callable[[], None], log: Log
    ) -> None:  # fmt: skip
        """The run is about to begin.

        Args:
            units: that have devices.
            command: the adapter's.
            halt: brings all devices to their safe states and keeps them there.
            log: takes events.
        """
        self._units, self._command, self._halt, self._log = units, command, halt, log
        for unit, do in list(self._asked):
            if do == "stop":
                halt()
            else:
                self._refuse_unknown(unit)

    def at(self, t_s: float) -> None:
        """A step begins: give the adapter what was asked for since the one before."""
        now: list[Command] = []
        while self._script and self._script[0].t_s <= t_s + 1e-9:
            now.append(self._script.popleft())
        while self._asked:
            now.append(Command(t_s, *self._asked.popleft()))
        for command in reversed(now):  # the adapter takes the last one first
            for unit in reversed(self._units or ()) if command.unit == ALL else (command.unit,):
                self._command(unit, "unswap" if command.do == "stop" else command.do)
        for command in now:
            self.taken.append(Command(t_s, command.unit, command.do))
            if command.do == "stop":
                self._halt()
                self.told = f"all devices were stopped at t = {t_s:g} s"
                self._log(t_s, "emergency_stop", "", "the safe states are written, the models drive")

    def _ask(self, unit: str, do: str) -> None:
        self._refuse_unknown(unit)
        self._asked.append((unit, do))

    def _refuse_unknown(self, unit: str) -> None:
        if self._units is not None and unit not in self._units:
            raise ValueError(f"{unit} has no device in this run; there are {', '.join(self._units) or 'none'}")
