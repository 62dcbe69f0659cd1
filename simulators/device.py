"""The one mosaik wrapper of every vectorised device model.

A group entity (`Inverters`) exchanges arrays, one row a unit; each unit has a scalar child entity of its own
name. `step(t)` advances over the interval that has passed, on what the grid computed at its start, and then
answers for t. Linearly held inputs get the slope over the previous interval; it is zero where the grid's event
counter moved in it, because the jump at an event is not a trend.
"""

from collections.abc import Callable, Mapping
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.ports import Model, Port
from gridloop.simulators.ticks import Ticks

Sink = Callable[[int, Any], None]

EVENTS = "events[1]"
E_USED = "E_used[pu]"


def group_name(model: Model) -> str:
    """Name of the mosaik model and of the first entity that hold all units of a device model."""
    return model.name + "s"


def meta(model: Model) -> Any:
    """mosaik META of a device model, read off its ports."""
    group = [port.attr for port in (*model.inputs, *model.outputs)]
    child = [port.attr for port in (*model.inputs, *model.outputs) if port.scalar]
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {
            group_name(model): {
                "public": True, "any_inputs": False,
                "params": ["ids", "params", "s_start_pu", "emf_start_pu"],
                "attrs": [*dict.fromkeys((*group, EVENTS, E_USED))],
            },
            model.name: {"public": False, "any_inputs": False, "params": [], "attrs": [*dict.fromkeys(child)]},
        },
    }  # fmt: skip


class DeviceSimulator(mosaik_api_v3.Simulator):
    """All units of one device model.

    Args:
        model: the device model.
        sink: takes (time, outputs) of every step, to record them.
    """

    def __init__(self, model: Model, sink: Sink | None = None) -> None:
        super().__init__(meta(model))  # type: ignore[no-untyped-call]
        self._model, self._sink = model, sink
        self._groups: dict[str, _Group] = {}
        self._sid, self._resolution, self._s_base_mva = "", 1.0, 1.0
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set the macro step `step_ms` (5), the times of events `extra_ticks_s` (none) and `s_base_mva` (1)."""
        self._sid, self._resolution = sid, time_resolution
        self._s_base_mva = sim_params.pop("s_base_mva", 1.0)
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), sim_params.pop("extra_ticks_s", ()), time_resolution)
        refuse_unknown(self._model.name, sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one group with its children.

        Model parameters:
            ids: names of the units.
            params: the model's Params, or a dict of its fields.
            s_start_pu, emf_start_pu: operating point at the start, complex (n,) or pairs of numbers.

        Raises:
            ValueError: more than one group at a time, a name with a dot or used twice.
            ParameterError: parameters out of their range.
        """
        if num != 1:
            raise ValueError(f"{model}: create one group at a time; it holds any number of units")
        ids = list(model_params["ids"])
        taken = [i for group in self._groups.values() for i in group.ids]
        for unit in ids:
            if "." in unit or (taken + ids).count(unit) > 1:
                raise ValueError(f"{unit!r}: an entity's name has no dot and is used once")
        eid = model if not self._groups else f"{model}-{len(self._groups)}"
        params = model_params["params"]
        if isinstance(params, Mapping):
            params = self._model.params(**params)
        start = (_complex(model_params["s_start_pu"]), _complex(model_params["emf_start_pu"]))
        self._groups[eid] = _Group(self._model, eid, ids, params, start, self._s_base_mva)
        children = [{"eid": unit, "type": self._model.name, "rel": [eid]} for unit in ids]
        return [{"eid": eid, "type": model, "rel": [], "children": children}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Advance every group to `time` and return the next tick."""
        for group in self._groups.values():
            try:
                group.step(time, self._resolution, inputs)
            except Exception as error:
                names = ", ".join(group.ids[:4]) + (", ..." if len(group.ids) > 4 else "")
                raise SimulatorFailure(self._sid, f"{group.eid} ({names})", time * self._resolution, error) from error
            if self._sink is not None:
                self._sink(time, group.outputs)
        return self._ticks.after(time)

    def get_data(self, outputs: Any) -> Any:
        """Outputs of groups (arrays) and units (floats) as of the last step."""
        data = {}
        for eid, attrs in outputs.items():
            group = self._groups.get(eid)
            if group is not None:
                data[eid] = {attr: group.shown(attr) for attr in attrs}
            else:
                group = next(g for g in self._groups.values() if eid in g.ids)
                row = group.ids.index(eid)
                data[eid] = {attr: float(group.shown(attr)[row]) for attr in attrs}
        return data


def only_value(name: str, sources: Mapping[str, Any]) -> Any:
    """The value of an input that one source feeds; ValueError names them if there are more."""
    if len(sources) != 1:
        raise ValueError(f"{name} has {len(sources)} sources ({', '.join(sources)}); connect one")
    (value,) = sources.values()
    return value


def refuse_unknown(simulator: str, left: Mapping[str, Any]) -> None:
    """Raise ValueError for parameters that nobody has taken."""
    if left:
        raise ValueError(f"{simulator}: unknown parameter {', '.join(left)}")


def _complex(values: Any) -> Any:
    """Complex (n,) from a complex array or from pairs of numbers, which survive JSON."""
    array = np.asarray(values)
    return array if np.iscomplexobj(array) else array[:, 0] + 1j * array[:, 1]


class _Group:
    """State and wiring of the units behind one group entity."""

    def __init__(
        self, model: Model, eid: str, ids: list[str], params: Any, start: tuple[Any, Any], s_base_mva: float
    ) -> None:
        self.eid, self.ids = eid, ids
        self._model, self._params, self._s_base_mva = model, params, s_base_mva
        self._state = model.initial(params, *start)
        self._inputs = model.held(params)
        fields = type(self._inputs)._fields
        self._place = {port.attr: (fields.index(port.field), port) for port in model.inputs}
        self._extrapolated = [fields.index(port.field) for port in model.inputs if port.hold == "linear"]
        self._flat = model.slopes(*(np.zeros_like(self._inputs[i]) for i in self._extrapolated))
        self._slopes = self._flat
        self._last: int | None = None  # time of the last step
        self._linear: int | None = None  # time of the linearly held inputs in `_inputs`
        self._events: Any = None
        self._out = {port.attr: port for port in model.outputs}
        self.outputs = model.respond(params, self._state, self._inputs)

    def step(self, time: int, resolution: float, inputs: Any) -> None:
        """Take what has arrived, advance to `time` and respond."""
        given = inputs.get(self.eid)
        fresh, events, applied = list(self._inputs), self._events, None
        if given is not None:
            for attr, sources in given.items():
                value = only_value(attr, sources)
                if attr == EVENTS:
                    events = value
                elif attr == E_USED:
                    applied = value
                else:
                    place, port = self._place[attr]
                    if port.hold == "constant":  # a controller may go on writing into its own array
                        value = np.array(value, float)
                    fresh[place] = value / self._s_base_mva if port.base == "s" else value
        if len(inputs) > (given is not None):
            self._take_scalars(inputs, fresh)
        self._advance(time, resolution, fresh, events, applied)
        self.outputs = self._model.respond(self._params, self._state, self._inputs)

    def _advance(self, time: int, resolution: float, fresh: list[Any], events: Any, applied: Any) -> None:
        """Move the state over the interval since the last step, with the inputs of its start."""
        inputs, model, params, last = self._inputs, self._model, self._params, self._last
        if applied is not None and applied is not getattr(self.outputs, "emf_pu", None):
            self._state = model.align(params, self._state, inputs, applied)
        slopes = self._flat
        if self._linear is not None and last is not None and events == self._events and last > self._linear:
            span = (last - self._linear) * resolution
            slopes = model.slopes(*[(fresh[i] - inputs[i]) / span for i in self._extrapolated])
        self._inputs = inputs = type(inputs)(*fresh)
        self._events = events
        if last is not None and time > last:
            self._state = model.advance(params, self._state, inputs, slopes, (time - last) * resolution)
            self._linear = last
        self._last = time

    def _take_scalars(self, inputs: Any, fresh: list[Any]) -> None:
        """Put what arrived at child entities into their rows."""
        for eid, attrs in inputs.items():
            if eid not in self.ids:
                continue
            row = self.ids.index(eid)
            for attr, sources in attrs.items():
                value = only_value(f"{eid}.{attr}", sources)
                place, port = self._place[attr]
                column = np.array(fresh[place])
                column[row] = value / (self._s_base_mva if port.base == "s" else 1)
                fresh[place] = column

    def shown(self, attr: str) -> Any:
        """Array (n,) of one output attribute."""
        return show(self._out[attr], self.outputs, self._s_base_mva)


def show(port: Port, outputs: Any, s_base_mva: float) -> Any:
    """An output's attribute from the model's outputs, whose fields may have leading dimensions."""
    value = getattr(outputs, port.field)
    if port.convert is not None:
        value = port.convert(value)
    return value * s_base_mva if port.base == "s" else value
