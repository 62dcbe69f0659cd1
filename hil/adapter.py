"""The mosaik side of hardware in the loop: one row for each unit that a device may stand in for.

A row has a role. A `controller` is told P, Q and V of its terminal and gives f and E; the row integrates the angle of
f. A `power` device is told set-points, V and f and gives the P and Q that it feeds in. The row gives these to the View
of the unit's terminal and says with `active[1]` whether they count.

Whoever is not in charge follows what the grid really applied, so that every swap is without a bump: the row turns its
angle to that of the applied EMF and keeps the difference in magnitude (of a power device: in power) as an offset that
decays in `applied.DECAY_S`. The model does the same in its `align`.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import mosaik_api_v3
import numpy as np

from gridloop.hil.applied import Emf, Power
from gridloop.hil.charge import Charge, Spec
from gridloop.hil.fault_course import FaultCourse
from gridloop.hil.lateness import LATE, Lateness
from gridloop.hil.policy import FAULT, GOOD, STALE, Snapshot
from gridloop.hil.way import HEARD, SEEN, SHOWN, TOLD, Way
from gridloop.simulators.device import (
    E_USED,
    EVENTS,
    SET_POINTS,
    VA_USED,
    Sink,
    only_value,
    refuse_unknown,
)
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.ticks import Ticks

log = logging.getLogger(__name__)

ROUNDING_MS = 1e-6  # of an age
MOST_F_SHARE, MOST_E_PU = 0.2, 2.0  # a device that shows more is broken

ANSWERED = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]")  # by the grid, of the step before
OF_MODEL = {"f[Hz]": "f_model[Hz]", "E[pu]": "E_model[pu]", "Va_emf[deg]": "Va_model[deg]", "P_gen[MW]": "P_model[MW]"}
MORE = (  # what else reaches the unit's model, for devices that want to know it
    "P_set[MW]", "Omega[rad_per_s]", "dOmega[rad_per_s2]", "v[pu]", "dv[pu_per_s]", "t_tick[s]", "P_max[MW]",
    "P_min[MW]", "P_avail[MW]",
)  # fmt: skip
NEEDED = {"controller": ("f[Hz]", "E[pu]"), "power": ("P_gen[MW]", "Q_gen[MVar]")}
APPLIED = {"controller": ("f[Hz]", "E[pu]", "Va_emf[deg]"), "power": ()}  # records that are not the model's row's
RECORDS = ("P_meas[MW]", "Q_meas[MVar]", "age[ms]", "quality[1]", "residual_P[MW]", "active[1]")

META: Any = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Device": {
            "public": True, "any_inputs": False,
            "params": [
                "unit", "role", "mode", "deadline_ms", "max_age_ms", "hold_ms", "then", "safe", "set_points",
                "mw_per_hz", "most_mva", "shadow", "swapped", "where", "emf_start_pu", "over_links", "critical_ms",
            ],
            "attrs": [*dict.fromkeys((
                *ANSWERED, E_USED, VA_USED, EVENTS, *OF_MODEL.values(), *MORE, "f[Hz]", "E[pu]", "Va_emf[deg]",
                *RECORDS, TOLD, HEARD, SHOWN, SEEN,
            ))],
        },
    },
    "extra_methods": ["command"],
}  # fmt: skip


class Handle(Protocol):
    """A device as the adapter knows it; no method waits for a wire, but `cycle` up to its timeout."""

    def post(self, values: dict[str, float]) -> None:
        """Tell the device; what its map does not name is left out."""

    def snapshot(self) -> Snapshot:
        """What it showed last."""

    def cycle(self, timeout_s: float) -> Snapshot:
        """What it shows after it was told what was posted."""

    def safe(self) -> None:
        """Bring it to its safe state."""


class DeviceLost(RuntimeError):
    """A device is lost, and the scenario says that the run ends then."""


Log = Callable[[float, str, str, str], None]


class HilSimulator(mosaik_api_v3.Simulator):
    """All units for which devices may stand in.

    Args:
        handles: of the devices by the units' names.
        sink: takes (time, values (k,)) of every step; `columns` names the values.
        log: takes (t_s, kind, target, outcome) of swaps and losses.
        wait: called with simulated seconds at the start of every step; a pacer's.
    """

    def __init__(
        self, handles: Mapping[str, Handle], sink: Sink | None = None, log: Log | None = None,
        wait: Callable[[float], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._handles, self._sink = handles, sink
        self._log, self._wait = log or (lambda *_: None), wait
        self._rows: dict[str, _Row] = {}
        self._commands: list[tuple[int, str, str]] = []
        self._changes: list[Any] = []
        self._sid, self._resolution, self._f_nom_hz, self._time = "", 1.0, 50.0, 0
        self._more: tuple[str, ...] = ()
        self._faults = FaultCourse(())
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the adapter.

        Parameters:
            step_ms: macro step (5).
            extra_ticks_s: times of events (none).
            f_nom_hz: nominal frequency (50).
            commands: (t_s, unit, 'swap' | 'unswap') (none).
            changes: set-points that change, (t_s, unit, key, value) with a key of SET_POINTS (none).
            faults: of emulated devices, each a `PlannedFault` (none).
            attrs: of signals that devices are told besides what is known here (none).
        """
        self._sid, self._resolution = sid, time_resolution
        self._f_nom_hz = sim_params.pop("f_nom_hz", 50.0)
        commands = sorted(sim_params.pop("commands", ()), key=lambda one: one[0])
        self._commands = [(round(t_s / time_resolution), unit, do) for t_s, unit, do in commands]
        changes = sorted(sim_params.pop("changes", ()), key=lambda one: one[0])
        self._changes = [(round(t_s / time_resolution), *change) for t_s, *change in changes]
        self._faults = FaultCourse(sim_params.pop("faults", ()))
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), sim_params.pop("extra_ticks_s", ()), time_resolution)
        self._more = tuple(attr for attr in sim_params.pop("attrs", ()) if attr not in MORE)
        refuse_unknown("Devices", sim_params)
        model = META["models"]["Device"]
        whole: Any = {
            **META,
            "models": {"Device": {**model, "attrs": [*dict.fromkeys((*model["attrs"], *self._more))]}},
        }
        self.meta = whole
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create the row of one unit.

        Model parameters:
            unit: the unit's name.
            others: fields of `Spec`.

        Raises:
            ValueError: more than one at a time, a unit without a handle or with a row already.
        """
        unit = model_params.pop("unit")
        if num != 1:
            raise ValueError(f"{model}: create one at a time")
        if unit not in self._handles or unit in self._rows:
            raise ValueError(f"{unit!r}: every device has one handle and one row")
        self._rows[unit] = _Row(unit, self._handles[unit], Spec(**model_params), self._f_nom_hz, self._more)
        return [{"eid": unit, "type": model, "rel": []}]

    @property
    def columns(self) -> tuple[str, ...]:
        """`unit.attribute` of every value that the sink gets."""
        return columns({unit: row.spec.role for unit, row in self._rows.items()})

    @property
    def lost(self) -> dict[str, str]:
        """Units whose devices were lost while they drove, and of what."""
        return {unit: row.lost_of for unit, row in self._rows.items() if row.lost_of}

    def command(self, unit: str, do: str) -> None:
        """Swap or unswap a unit at the next step.

        Raises:
            ValueError: there is no such unit or command.
        """
        if unit not in self._rows or do not in ("swap", "unswap"):
            raise ValueError(f"{do} {unit}: the commands are swap and unswap of {', '.join(self._rows)}")
        self._commands.insert(0, (self._time, unit, do))

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Tell the devices what the grid answered, take what they show, and decide who drives."""
        t_s = round(time * self._resolution, 9)
        self._time = time
        if self._wait is not None:
            self._wait(t_s)
        while self._changes and self._changes[0][0] <= time:
            _, unit, key, value = self._changes.pop(0)
            attr, factor = SET_POINTS[key]
            self._rows[unit].set_points[attr] = value * factor
        while self._commands and self._commands[0][0] <= time:
            _, unit, do = self._commands.pop(0)
            self._tell(t_s, unit, self._rows[unit].take_command(t_s, do))
        for unit, words in self._faults.act(t_s, self._handles):
            self._log(t_s, "device_fault", unit, words)
        for unit, row in self._rows.items():  # all are told before any is waited for
            row.take({attr: only_value(attr, sources, unit) for attr, sources in inputs.get(unit, {}).items()})
            row.tell(time, t_s)
        for row in self._rows.values():
            row.begin()
        for unit, row in self._rows.items():
            try:
                self._tell(t_s, unit, row.advance(time, t_s))
                row.refuse_loss()
            except Exception as error:
                raise SimulatorFailure(self._sid, unit, t_s, error) from error
        if self._sink is not None:
            self._sink(time, np.array([value for row in self._rows.values() for value in row.recorded()]))
        return self._ticks.after(time)

    def _tell(self, t_s: float, unit: str, entries: Sequence[tuple[str, str]]) -> None:
        for kind, outcome in entries:
            if kind == LATE:
                log.warning("%s: %s", unit, outcome)
            self._log(t_s, kind, unit, outcome)

    def get_data(self, outputs: Any) -> Any:
        """Values as of the last step."""
        return {unit: {attr: self._rows[unit].shown[attr] for attr in attrs} for unit, attrs in outputs.items()}

    def finalize(self) -> None:
        """Leave every device in its safe state."""
        for row in self._rows.values():
            row.handle.safe()


def columns(roles: Mapping[str, str]) -> tuple[str, ...]:
    """`unit.attribute` of every value that is recorded, by the units' roles."""
    return tuple(f"{unit}.{attr}" for unit, role in roles.items() for attr in (*APPLIED[role], *RECORDS))


class _Row:
    """One unit: what its device shows, what follows from it, and who drives."""

    def __init__(self, unit: str, handle: Handle, spec: Spec, f_nom_hz: float, more: Sequence[str] = ()) -> None:
        self.unit, self.handle, self.spec, self._f_nom_hz = unit, handle, spec, f_nom_hz
        self._known = (*ANSWERED, *MORE, *more, EVENTS)  # what devices are told, where it is there
        self._way, self._late = Way(spec.over_links), Lateness(spec.critical_ms)
        self.set_points = dict(spec.set_points)
        self.lost_of = ""
        self._given: dict[str, Any] = {}
        self._source = Emf(spec.emf_start_pu, f_nom_hz) if spec.role == "controller" else Power()
        self._charge = Charge(spec)
        self._last_s: float | None = None
        self._measured: Mapping[str, float] = {}
        self._age_ms, self._quality, self._sequence = math.nan, FAULT, -1
        self.shown: dict[str, Any] = {}

    def take_command(self, t_s: float, do: str) -> list[tuple[str, str]]:
        return self._charge.command(t_s, do)

    def take(self, given: dict[str, Any]) -> None:
        """What the grid answered at the step before, and the model's row now."""
        self._given |= given

    def tell(self, time: int, t_s: float) -> None:
        """Post what the device may want to know; a device in its safe state is left there."""
        if self._charge.is_safe and self._charge.rests:
            return
        given, known = self._given, {"t[s]": t_s, **self.set_points}
        known |= {attr: given[attr] for attr in self._known if given.get(attr) is not None}
        if "f_model[Hz]" in given:
            known["f[Hz]"] = given["f_model[Hz]"]
        self.handle.post(self._way.there(time, t_s, known, given.get(HEARD)))

    def begin(self) -> None:
        """Let the exchange begin for which `advance` waits, so that devices are waited for all at once."""
        if self.spec.mode == "lockstep" and hasattr(self.handle, "begin"):
            self.handle.begin()

    def advance(self, time: int, t_s: float) -> list[tuple[str, str]]:
        """Take what the device shows and decide who drives; what is to be logged."""
        spec, drove = self.spec, self._charge.drives
        seen = self.handle.cycle(spec.deadline_ms * 1e-3) if spec.mode == "lockstep" else self.handle.snapshot()
        seen = self._way.back(time, t_s, seen, self._given.get(SEEN))
        values, cause = self._judged(seen)
        dt_s = 0.0 if self._last_s is None else t_s - self._last_s
        if seen.sequence == self._sequence:  # nothing new: an angle that stands still would be one of nominal frequency
            values = {attr: value for attr, value in values.items() if attr != "Va_emf[deg]"}
        self._sequence = seen.sequence
        self._source.advance(self._given, None if cause else values, dt_s, drove)
        self._last_s = t_s
        entries = self._charge.decide(t_s, cause)
        if self._charge.drives and not cause:
            entries += self._late.seen(self._age_ms, dt_s)
        if self._charge.lost_now:
            self.lost_of = cause
            if spec.then != "model":
                self.handle.safe()
        self._show(None if cause else values)
        return entries

    def refuse_loss(self) -> None:
        """Raise DeviceLost if the device was lost and the run is to end then."""
        if self._charge.lost_now and self.spec.then == "stop":
            raise DeviceLost(f"{self.spec.where} is lost: {self.lost_of}; on_loss: {{then: stop}}")

    def _judged(self, seen: Snapshot) -> tuple[Mapping[str, float], str]:
        """Values of a snapshot, and why they are no data; '' where they are."""
        own_ms, self._age_ms = seen.age_s * 1e3, self._way.age_s * 1e3
        self._quality, cause = seen.quality, seen.cause
        if seen.quality != GOOD:
            return seen.values, cause or "no answer"
        if own_ms > self.spec.max_age_ms + ROUNDING_MS:
            self._quality = STALE
            return seen.values, f"its values are {own_ms:.0f} ms old" + (f": {cause}" if cause else "")
        missing = [attr for attr in NEEDED[self.spec.role] if not math.isfinite(seen.values.get(attr, math.nan))]
        if missing:
            self._quality = FAULT
            return seen.values, f"it gives no {', '.join(missing)}"
        cause = self._implausible(seen.values)
        self._quality = FAULT if cause else GOOD
        return seen.values, cause

    def _implausible(self, values: Mapping[str, float]) -> str:
        """What no sound device of this unit shows: wrong registers, a wrong scale or a broken device."""
        if self.spec.role == "power":
            size = abs(complex(values["P_gen[MW]"], values["Q_gen[MVar]"]))
            return f"its {size:g} MVA are beyond {self.spec.most_mva:g} MVA" if size > self.spec.most_mva else ""
        f_hz, e_pu = values["f[Hz]"], values["E[pu]"]
        if abs(f_hz - self._f_nom_hz) > MOST_F_SHARE * self._f_nom_hz:
            return f"its frequency of {f_hz:g} Hz is too far from {self._f_nom_hz:g} Hz"
        return "" if 0 < e_pu <= MOST_E_PU else f"its EMF of {e_pu:g} pu is none"

    def _show(self, values: Mapping[str, float] | None) -> None:
        given, spec, is_active = self._given, self.spec, self._charge.active
        if values is not None:
            self._measured = values
        p, q = (self._measured.get(attr, math.nan) for attr in ("P_gen[MW]", "Q_gen[MVar]"))
        if spec.role == "controller":
            p, q = (self._measured.get(attr, given.get(attr, math.nan)) for attr in ("P_gen[MW]", "Q_gen[MVar]"))
            of_model = given.get("f_model[Hz]", math.nan)
            residual = (self._measured.get("f[Hz]", math.nan) - of_model) * spec.mw_per_hz
            gives = {attr: given[OF_MODEL[attr]] for attr in APPLIED["controller"]}
            if is_active:
                gives = self._source.given
        else:
            residual = p - given.get("P_model[MW]", math.nan)
            gives = self._source.given
            if self._charge.is_safe:
                gives = {"P_gen[MW]": spec.safe.real, "Q_gen[MVar]": spec.safe.imag}
        self.shown = {
            **gives, "active[1]": int(is_active), "P_meas[MW]": p, "Q_meas[MVar]": q, "age[ms]": self._age_ms,
            "quality[1]": self._quality, "residual_P[MW]": residual, **self._way.sent,
        }  # fmt: skip

    def recorded(self) -> list[float]:
        return [float(self.shown[attr]) for attr in (*APPLIED[self.spec.role], *RECORDS)]
