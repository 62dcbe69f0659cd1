"""Who is in charge of a unit, its model or its device: by commands and by how the device answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RETURN_S = 0.5  # a device that was lost must answer for so long before it drives again


@dataclass(frozen=True)
class Spec:
    """How a device stands in for a unit."""

    role: Literal["controller", "power"]
    mode: Literal["free", "lockstep"] = "free"
    deadline_ms: float = 25.0  # of a cycle in lockstep
    max_age_ms: float = 200.0  # older values are no data
    hold_ms: float = 500.0  # a silent device's last values hold for so long
    then: Literal["model", "safe", "stop"] = "model"
    safe: complex = 0j  # P + jQ that a power device feeds in once lost [MW, MVar]
    set_points: Mapping[str, float] = field(default_factory=dict)  # by attribute, as of the start
    mw_per_hz: float = math.nan  # power that the unit's droop line gives for a change of frequency
    most_mva: float = math.inf  # apparent power that no device of this rating can mean
    shadow: bool = False  # it never drives
    swapped: bool = True  # it drives from the start
    where: str = "the device"  # for the log
    emf_start_pu: complex = 1 + 0j
    over_links: bool = False  # whether there are simulated links between it and the scenario
    critical_ms: float = math.inf  # delay of the device with which the unit's loop becomes unstable


class Charge:
    """Who drives a unit: its model or its device."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._wanted, self._state = False, "model"  # model | wait | device | hold | lost
        self._since_s, self._good_s = 0.0, math.nan
        self.lost_now = False
        self._pending = spec.swapped

    @property
    def active(self) -> bool:
        """Whether what the row gives counts."""
        return self.drives or self.is_safe

    @property
    def drives(self) -> bool:
        """Whether the device is in charge, with what it shows or showed last."""
        return self._state in ("device", "hold")

    @property
    def is_safe(self) -> bool:
        """Whether a lost device's safe power counts."""
        return self._state == "lost" and self._spec.then == "safe"

    @property
    def rests(self) -> bool:
        """Whether a lost device has not answered again."""
        return math.isnan(self._good_s)

    def command(self, t_s: float, do: str) -> list[tuple[str, str]]:
        """Take a command; what is to be logged at once."""
        self._pending = False
        if do == "unswap":
            was_in = self._wanted
            self._wanted, self._state = False, "model"
            return [("unswap", "the model drives" if was_in else "nothing to do: the model drives")]
        if self._spec.shadow:
            return [("swap", f"shadow only, the model drives: nothing may be written to {self._spec.where}")]
        if not self._wanted:
            self._wanted, self._state, self._since_s = True, "wait", t_s
            return []
        return [("swap", "nothing to do: the device drives")]

    def decide(self, t_s: float, cause: str) -> list[tuple[str, str]]:
        """Who drives from now on; `cause` is why the device gives no data, '' where it does."""
        self.lost_now = False
        entries = self.command(t_s, "swap") if self._pending else []
        if not self._wanted:
            return entries
        if not cause:
            return entries + self._good(t_s)
        self._good_s = math.nan
        if self._state == "device":
            self._state, self._since_s = "hold", t_s
        if self._state in ("hold", "wait") and t_s - self._since_s >= self._spec.hold_ms * 1e-3 - 1e-9:
            self._state, self.lost_now = "lost", True
            then = {"model": "the model drives", "safe": "the safe set-point holds", "stop": "the run stops"}
            return [*entries, ("device_lost", f"{cause}; {then[self._spec.then]}")]
        return entries

    def _good(self, t_s: float) -> list[tuple[str, str]]:
        before = self._state
        if before == "lost":
            self._good_s = t_s if math.isnan(self._good_s) else self._good_s
            if t_s - self._good_s < RETURN_S - 1e-9:
                return []
        self._state = "device"
        if before == "wait":
            return [("swap", f"{self._spec.where} drives")]
        return [("device_back", f"{self._spec.where} drives again")] if before == "lost" else []
