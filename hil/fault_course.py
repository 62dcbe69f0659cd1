"""Faults of emulated devices in the course of a run: when they begin, and when all is well again."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class PlannedFault(NamedTuple):
    """A fault of a unit's device; `options` are those of `Fault`."""

    t_s: float
    unit: str
    kind: str
    options: Mapping[str, Any]
    for_s: float | None = None  # None: it stays

    @property
    def in_words(self) -> str:
        """Kind and options."""
        told = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.kind} ({told})" if told else self.kind


class FaultCourse:
    """Lets faults begin and end."""

    def __init__(self, faults: Sequence[PlannedFault]) -> None:
        begins = [(fault.t_s, fault, True) for fault in faults]
        # a restart is over by itself
        lasting = [(fault, fault.for_s) for fault in faults if fault.kind != "restart"]
        ends = [(round(fault.t_s + for_s, 9), fault, False) for fault, for_s in lasting if for_s is not None]
        self._turns = sorted([*ends, *begins], key=lambda turn: turn[0])
        self._there: list[PlannedFault] = []

    def act(self, t_s: float, devices: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Do what is due: the units and what goes wrong with their devices, in words."""
        while self._turns and self._turns[0][0] <= t_s + 1e-9:
            _, fault, begins = self._turns.pop(0)
            device = devices[fault.unit]
            if begins:
                self._there += [fault] if fault.kind != "restart" else []
                device.fault(fault.kind, **fault.options)
                yield fault.unit, fault.in_words
            else:
                self._there.remove(fault)
                device.clear()
                for other in self._there:
                    if other.unit == fault.unit:
                        device.fault(other.kind, **other.options)
                yield fault.unit, f"no longer {fault.in_words}"
