"""A unit's own model as a device in this process: `emulated:` lets a swap be tried without hardware."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from gridloop.hil.policy import FAULT, GOOD, Snapshot
from gridloop.scenarios.groups import Group
from gridloop.simulators.device import EVENTS, SET_POINTS, DeviceSimulator, group_name
from gridloop.simulators.ports import Model
from gridloop.simulators.ramps import T_TICK

RESOLUTION_S = 1e-6
SHOWN = {"emf": ("f[Hz]", "E[pu]", "Va_emf[deg]"), "power": ("P_gen[MW]", "Q_gen[MVar]", "f[Hz]")}


class EmulatedDevice:
    """A device that computes what its unit's model does, on what the adapter tells it.

    Args:
        group: the units of which one is emulated.
        row: its place among them.
        s_base_mva: system base.
        step_ms: macro step.
        changes: its set-points that change, (t_s, unit, key, value).
        parameters: of the model, where the device's differ.
        simulator: of the model; absent: one of this process.
    """

    def __init__(
        self, group: Group, row: int, s_base_mva: float, step_ms: float, changes: Sequence[Any] = (),
        parameters: Mapping[str, Any] | None = None, *, simulator: Any = None,
    ) -> None:  # fmt: skip
        model = group.model
        assert model is not None
        self._unit, self._shown = group.ids[row], SHOWN[model.source]
        self._device = DeviceSimulator(model) if simulator is None else simulator
        self._device.init("emulated", RESOLUTION_S, step_ms=step_ms, s_base_mva=s_base_mva, changes=changes)
        self._device.create(
            1, group_name(model), ids=[self._unit], params=_row_of(group.params, row, len(group.ids), parameters or {}),
            s_start_pu=group.s_start_pu[row : row + 1], emf_start_pu=group.emf_start_pu[row : row + 1],
        )  # fmt: skip
        self._taken = _taken(model)
        self._values: dict[str, float] = {}
        self._sequence = 0
        self.fault = ""  # why it does not answer; '' while it does

    def post(self, values: dict[str, float]) -> None:
        """Move on to the time `t[s]` with what the grid answered at the step before."""
        time = round(values["t[s]"] / RESOLUTION_S)
        told = {attr: {"adapter": values[attr]} for attr in self._taken if attr in values}
        self._device.step(time, {self._unit: told}, time)
        if not self.fault:
            self._values = self._device.get_data({self._unit: list(self._shown)})[self._unit]
            self._sequence += 1

    def snapshot(self) -> Snapshot:
        """What it shows at the time that was posted last."""
        quality = FAULT if self.fault else GOOD
        return Snapshot(dict(self._values), 0.0, self._sequence, quality, self.fault, 0.0)

    def cycle(self, timeout_s: float) -> Snapshot:
        """The same: it answers at once."""
        return self.snapshot()

    def safe(self) -> None:
        """There is nothing that could be harmed."""


def _taken(model: Model) -> tuple[str, ...]:
    """What an emulated device takes of what it is told.

    It keeps its own set-points: those of the model's row would reach it a step early where they change.
    """
    own = {attr for attr, _ in SET_POINTS.values()}
    inputs = [port for port in model.inputs if port.attr not in own]
    known = [attr for port in inputs for attr in (*(port.halves or (port.attr,)), port.rate) if attr]
    return (*known, T_TICK, EVENTS)


def _row_of(params: Any, row: int, count: int, other: Mapping[str, Any]) -> Any:
    """Parameters of one unit out of those of a group."""
    columns: dict[str, Any] = {}
    for field in fields(params):
        value = getattr(params, field.name)
        if isinstance(value, np.ndarray) and value.shape[:1] == (count,):
            columns[field.name] = value[row : row + 1]
    return replace(params, **{**columns, **{name: np.array([value], float) for name, value in other.items()}})
