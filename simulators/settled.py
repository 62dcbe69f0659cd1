"""The mosaik wrapper of a grid whose units are settled at every step: for runs of hours to years.

It takes the place of the grid and of the units' own simulators. Between two events nothing swings: at each step the
network, the droop lines of the units, their limits and their secondary control are solved at once, with the frequency
of every island an unknown, and hold until the next step.

Entities:
    Grid        the network with a Bus, Branch or Load child for everything that has a name.
    Terminals   units whose power is given: arrays of P and Q, as of `grid`.
    Units       units of one device model; each has a Unit child of its own name with everything that it shows. What
                comes from others (set-points, available power, state of charge) comes to the children.

`E_gen_ahead[MWh]` of a unit is the energy drawn from its DC side by the time of the next step: a battery that steps
before the grid does takes it time-shifted and tells its limits at once, so that both are exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.device import Sink, check_names
from gridloop.simulators.events import Event
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.grid import GridSimulator
from gridloop.simulators.models.network import Real
from gridloop.simulators.models.steady_lines import Line
from gridloop.simulators.operation import Log
from gridloop.simulators.ports import Model
from gridloop.simulators.settled_control import NamedControl
from gridloop.simulators.settled_operation import SettledOperation
from gridloop.simulators.settled_units import AHEAD, SOC, Felt, SettledUnits

SEEN = ("P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "Va[deg]")  # what the grid tells of a unit


def _kind(model: Model) -> str:
    """mosaik model of the units of a device model."""
    return f"{model.name}Unit"


def _kinds(models: Sequence[Model]) -> dict[str, Any]:
    """The part of mosaik's META that is of the units."""
    params = ["device", "params", "units", "bus", "z", "i_max", "weight", "s_start_pu", "emf_start_pu"]
    found: dict[str, Any] = {"Units": {"public": True, "any_inputs": False, "params": params, "attrs": []}}
    for model in models:
        own = [port.attr for port in (*model.inputs, *model.outputs) if port.scalar]
        attrs = list(dict.fromkeys((*SEEN, *own, SOC, AHEAD)))
        found[_kind(model)] = {"public": False, "any_inputs": False, "params": [], "attrs": attrs}
    return found


class SettledSimulator(GridSimulator):
    """The network with its loads and its settled units.

    Args:
        case: network, loads, relays and their start.
        models: the device models of the units.
        events: what happens in the grid, and when.
        changes: set-points that change, (t_s, unit, key, value) with a key of `device.SET_POINTS`.
        control: secondary control, or None.
        sinks: takers of recorded rows: `Grid` of the network's, a model's name of its units', `Secondary` of the
            corrections.
        log: takes (t_s, kind, target, outcome) of everything that happened.
    """

    def __init__(
        self, case: Case, models: Sequence[Model], events: tuple[Event, ...] = (),
        changes: Sequence[tuple[float, str, str, float]] = (), control: NamedControl | None = None, *,
        sinks: Mapping[str, Sink] | None = None, log: Log | None = None,
    ) -> None:  # fmt: skip
        self._sinks: Mapping[str, Sink] = {} if sinks is None else sinks
        super().__init__(case, events, self._sinks.get("Grid"), log)
        self._log, self._control = log or (lambda *_: None), control
        self._operation = self._settling = SettledOperation(case, events, self._board, self._log)
        self._event_times_s = [*self._event_times_s, *(t_s for t_s, *_ in changes)]
        self._changes = sorted(changes, key=lambda change: change[0])
        self._groups: dict[str, SettledUnits] = {}
        self._row_of: dict[str, tuple[SettledUnits, int]] = {}  # unit -> its group and row
        self._last: int | None = None
        self.meta = {**self.meta, "models": {**self.meta["models"], **_kinds(models)}}

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create Units, or what a grid has.

        Model parameters:
            device: of Units, the device model (`ports.Model`).
            units, bus, z, i_max, weight: of Units, as of Terminals.
            params: of Units, the model's Params.
            s_start_pu, emf_start_pu: of Units, power and EMF, or bus voltage, at the start (n,).

        Raises:
            ValueError: a model without a settled state, an unknown bus, more than one entity at a time.
        """
        if model != "Units":
            return super().create(num, model, **model_params)
        device, params = model_params.pop("device"), model_params.pop("params")
        start = (model_params.pop("s_start_pu"), model_params.pop("emf_start_pu"))
        check_names(list(model_params["units"]), self._row_of)
        eid = self._board.create("Terminals", {**model_params, "source": device.source})
        slot = self._board.slots[eid]
        slot.value = np.array(start[1] if device.source == "emf" else start[0], complex)
        group = SettledUnits(device, slot.units, params, start, slot, self._case.network.s_base_mva)
        name = f"Units-{len(self._groups)}"
        self._groups[name] = group
        self._row_of |= {unit: (group, row) for row, unit in enumerate(slot.units)}
        self._unit |= {unit: (slot, row) for row, unit in enumerate(slot.units)}
        children = [{"eid": unit, "type": _kind(device), "rel": [name]} for unit in slot.units]
        return [{"eid": name, "type": "Units", "rel": [], "children": children}]

    def setup_done(self) -> None:
        """Reduce the network to the units that were created."""
        operation = self._settling
        operation.groups = tuple(self._groups.values())
        operation.lines = self._lines
        if self._control is not None:
            operation.control = self._control.steady(self._board.emf.units, self._case.network)
        super().setup_done()

    def _lines(self) -> list[Line]:
        """Droop lines in the order of the network's sources."""
        more = {} if self._control is None else self._control.balanced_kw(self._soc())
        kw = 1e-3 / self._case.network.s_base_mva
        return [
            group.line(np.array([more.get(unit, 0.0) * kw for unit in group.ids]))
            for group in self._groups.values() if group.is_emf
        ]  # fmt: skip

    def _soc(self) -> dict[str, float]:
        return {unit: float(group.soc[row]) for unit, (group, row) in self._row_of.items()}

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Count the time that has passed, take what came in, settle, and return the next tick."""
        t_s = round(time * self._resolution, 9)
        after = self._ticks.after(time)
        self._settling.hold_s = (after - time) * self._resolution
        try:
            self._pass_time(time, t_s)
            for unit, (group, row) in self._row_of.items():
                if unit in inputs:
                    group.take(row, inputs[unit])
            self._change(t_s)
        except Exception as error:
            raise SimulatorFailure(self._sid, "Units", t_s, error) from error
        super().step(time, inputs, max_advance)
        self._show(time)
        return after

    def _pass_time(self, time: int, t_s: float) -> None:
        if self._last is not None and time > self._last:
            for group in self._groups.values():
                group.pass_time((time - self._last) * self._resolution)
                for unit in group.reverse:
                    self._settling.trip(t_s, unit, "reverse power")
        self._last = time

    def _change(self, t_s: float) -> None:
        while self._changes and self._changes[0][0] <= t_s + self._resolution / 2:
            _, unit, key, value = self._changes.pop(0)
            self._row_of[unit][0].change(unit, key, value)
            self._log(t_s, "set", f"{unit}.{key}", f"now {value:g}")

    def _show(self, time: int) -> None:
        """Make and record what the units show."""
        operation = self._settling
        solution, settled = operation.solution, operation.settled
        assert solution is not None
        for group in self._groups.values():
            slot, buses = group.slot, self._board.buses(group.slot)
            connected = operation.connected(slot.rows, slot.source)
            v = operation.bus_voltages(solution, buses)
            if group.is_emf:
                s, emf, at_limit = solution.s_source[slot.rows], settled.emf_pu[slot.rows], settled.at_limit[slot.rows]
            else:
                s, emf, at_limit = np.asarray(self._show_injected(slot, "S[pu]", solution)), v, connected
            felt = Felt(s, v, emf, operation.slip_at(buses), connected)
            group.show(felt, at_limit & connected, operation.hold_s)
            if group.model.name in self._sinks:
                self._sinks[group.model.name](time, group.outputs)
        if self._control is not None and "Secondary" in self._sinks:
            row: Real = self._control.recorded(self._board.emf.units, settled.omega_rad_per_s, settled.correction_pu)
            self._sinks["Secondary"](time, row)

    def get_data(self, outputs: Any) -> Any:
        """State as of the last step."""
        mine = {
            eid: [attr for attr in attrs if attr not in SEEN] for eid, attrs in outputs.items() if eid in self._row_of
        }
        others = {eid: [attr for attr in attrs if eid not in mine or attr in SEEN] for eid, attrs in outputs.items()}
        data: dict[str, Any] = super().get_data({eid: attrs for eid, attrs in others.items() if attrs})
        for eid, attrs in mine.items():
            group, row = self._row_of[eid]
            data.setdefault(eid, {}).update({attr: float(group.shown(attr)[row]) for attr in attrs})
        return data
