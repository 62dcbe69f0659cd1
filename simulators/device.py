"""The one mosaik wrapper of every vectorised device model.

A group entity (`Inverters`) exchanges arrays, one row a unit; each unit has a scalar child entity of its own
name. `step(t)` advances over the interval that has passed, on what the grid computed at its start, and then
answers for t. Linearly held inputs get the slope over the previous interval; it is zero where the grid's event
counter moved in it, because the jump at an event is not a trend. What a controller says of the rate of its
corrections makes a ramp of them, see `ramps`.
"""

import cmath
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.ports import Model, Port
from gridloop.simulators.ramps import Ramps, bytes_of, ramp_attributes
from gridloop.simulators.ticks import Ticks
from gridloop.simulators.wire import as_arrays, to_array, to_lists

Sink = Callable[[int, Any], None]

EVENTS = "events[1]"
E_USED = "E_used[pu]"
VA_USED = "Va_used[deg]"
RECORD = "record[1]"  # everything a group shows at once and what happened, for a recorder in another process
# key of a set-point in a scenario -> the input, and the factor to its unit
SET_POINTS = {"p_set_kw": ("P_set[MW]", 1e-3), "q_set_kvar": ("Q_set[MVar]", 1e-3), "v_set_pu": ("V_set[pu]", 1.0)}
SAME_EMF_PU = 1e-9  # what magnitude and angle of an EMF may lose on their way through the grid


def group_name(model: Model) -> str:
    """Name of the mosaik model and of the first entity that hold all units of a device model."""
    return model.name + "s"


def meta(model: Model) -> Any:
    """mosaik META of a device model, read off its ports."""
    ramps = ramp_attributes(model.inputs)
    group = [port.attr for port in (*model.inputs, *model.outputs)]
    child = [half for port in model.inputs for half in port.halves]
    child += [port.attr for port in (*model.inputs, *model.outputs) if port.scalar]
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {
            group_name(model): {
                "public": True, "any_inputs": False,
                "params": ["ids", "params", "s_start_pu", "emf_start_pu", "start"],
                "attrs": [*dict.fromkeys((*group, *ramps, EVENTS, E_USED, RECORD))],
            },
            model.name: {
                "public": False, "any_inputs": False, "params": [],
                "attrs": [*dict.fromkeys((*child, *ramps, EVENTS, E_USED, VA_USED))],
            },
        },
    }  # fmt: skip


class DeviceSimulator(mosaik_api_v3.Simulator):
    """All units of one device model.

    Args:
        model: the device model.
        sink: takes (time, outputs) of every step, to record them.
        json: whether groups exchange lists, as they must in another process than mosaik's.
        log: takes (t_s, kind, target, outcome) of set-points that change.
    """

    def __init__(
        self, model: Model, sink: Sink | None = None, json: bool = False,
        log: Callable[[float, str, str, str], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(meta(model))  # type: ignore[no-untyped-call]
        self._model, self._sink, self._log = model, sink, log or (lambda *_: None)
        self._entries: list[Any] = []  # of the log, as of the last step
        self._changes: list[Any] = []  # (time, unit, key, value), the next one first
        self._groups: dict[str, _Group] = {}
        self._place: dict[str, tuple[_Group, int]] = {}  # unit -> its group and row
        self._sid, self._resolution, self._s_base_mva, self._json = "", 1.0, 1.0, json
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            step_ms: macro step (5).
            extra_ticks_s: times of events (none).
            s_base_mva: system base of what groups exchange (1).
            changes: set-points that change, (t_s, unit, key, value) with a key of SET_POINTS (none).
        """
        changes = sorted(sim_params.pop("changes", ()), key=lambda change: change[0])
        self._changes = [(round(t_s / time_resolution), *change) for t_s, *change in changes]
        self._sid, self._resolution = sid, time_resolution
        self._s_base_mva = sim_params.pop("s_base_mva", 1.0)
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), sim_params.pop("extra_ticks_s", ()), time_resolution)
        refuse_unknown(self._model.name, sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one group with its children.

        Model parameters:
            ids: names of the units.
            params: the model's Params, or a dict of its fields; a number holds for all units.
            s_start_pu, emf_start_pu: operating point at the start, complex (n,) or pairs of numbers; a model from
                which the grid takes nothing needs none.
            start: instead of these two, what the grid's `initial` says of every unit's Terminal.

        Raises:
            ValueError: more than one group at a time, a name with a dot or used twice, no start.
            ParameterError: parameters out of their range.
        """
        if num != 1:
            raise ValueError(f"{model}: create one group at a time; it holds any number of units")
        ids = list(model_params["ids"])
        check_names(ids, self._place)
        eid = model if not self._groups else f"{model}-{len(self._groups)}"
        params = model_params["params"]
        if isinstance(params, Mapping):
            params = self._params(params, len(ids))
        group = _Group(self._model, eid, ids, params, self._start(model, model_params), self._s_base_mva)
        self._groups[eid] = group
        self._place |= {unit: (group, row) for row, unit in enumerate(ids)}
        children = [{"eid": unit, "type": self._model.name, "rel": [eid]} for unit in ids]
        return [{"eid": eid, "type": model, "rel": [], "children": children}]

    def _params(self, given: Mapping[str, Any], count: int) -> Any:
        """The model's Params for `count` units, on the system base of the simulator unless they name another."""
        known = {field.name: field for field in fields(self._model.params)}
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"{self._model.name}: unknown parameter {', '.join(unknown)}; known: {', '.join(known)}")
        whole: dict[str, Any] = {"s_base_mva": self._s_base_mva} if "s_base_mva" in known else {}
        if given.get("s_base_mva", self._s_base_mva) != self._s_base_mva:
            raise ValueError(f"{self._model.name}: s_base_mva is {self._s_base_mva:g} for the whole simulator")
        for name, value in given.items():
            one = isinstance(value, int | float) and not known[name].metadata.get("scalar")
            whole[name] = [value] * count if one else value
        return self._model.params(**whole)

    def _start(self, model: str, given: Mapping[str, Any]) -> tuple[Any, Any]:
        """Power on the system base and EMF of every unit at the start."""
        if "start" not in given:
            if self._model.source == "none":
                nothing = np.zeros(len(given["ids"]), complex)
                return nothing, nothing
            if "s_start_pu" not in given or "emf_start_pu" not in given:
                raise ValueError(f"{model}: give either start, or s_start_pu and emf_start_pu")
            return to_array(given["s_start_pu"]), to_array(given["emf_start_pu"])
        voltage = (E_USED, VA_USED) if self._model.source == "emf" else ("Vm[pu]", "Va[deg]")
        s_mva, phasor = (
            np.array([[one[half] for half in halves] for one in given["start"]]).reshape(-1, 2)
            for halves in (("P_gen[MW]", "Q_gen[MVar]"), voltage)
        )
        s = (s_mva[:, 0] + 1j * s_mva[:, 1]) / self._s_base_mva
        return s, phasor[:, 0] * np.exp(1j * np.radians(phasor[:, 1]))

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Advance every group to `time` and return the next tick."""
        if self._json:
            inputs = {eid: as_arrays(attrs) if eid in self._groups else attrs for eid, attrs in inputs.items()}
        due = self._due(time) if self._changes or self._entries else ()
        for group in self._groups.values():
            try:
                changes = [change for change in due if change[0] in group.ids] if due else ()
                group.step(time, self._resolution, inputs, changes)
            except Exception as error:
                names = ", ".join(group.ids[:4]) + (", ..." if len(group.ids) > 4 else "")
                raise SimulatorFailure(self._sid, f"{group.eid} ({names})", time * self._resolution, error) from error
            if self._sink is not None:
                self._sink(time, group.outputs)
        return self._ticks.after(time)

    def _due(self, time: int) -> list[Any]:
        """Take the changes of `time` off the list and log them."""
        due: list[Any] = []
        self._entries = []
        while self._changes and self._changes[0][0] <= time:
            _, unit, key, value = self._changes.pop(0)
            due.append((unit, key, value))
            entry = (round(time * self._resolution, 9), "set", f"{unit}.{key}", f"now {value:g}")
            self._entries.append(entry)
            self._log(*entry)
        return due

    def _record(self, group: "_Group") -> dict[str, Any]:
        return {"log": self._entries, "outputs": [to_lists(field) for field in group.outputs]}

    def get_data(self, outputs: Any) -> Any:
        """Outputs of groups (arrays) and units (floats) as of the last step."""
        data = {}
        columns: dict[tuple[str, str], Any] = {}  # of groups whose units are asked for one by one
        for eid, attrs in outputs.items():
            group = self._groups.get(eid)
            if group is not None:
                shown = {attr: group.shown(attr) if attr != RECORD else self._record(group) for attr in attrs}
                data[eid] = {attr: to_lists(value) for attr, value in shown.items()} if self._json else shown
                continue
            group, row = self._place[eid]
            for attr in attrs:
                if (group.eid, attr) not in columns:
                    columns[group.eid, attr] = group.shown(attr).tolist()
            data[eid] = {attr: columns[group.eid, attr][row] for attr in attrs}
        return data


def check_names(names: Sequence[str], *taken: Collection[str]) -> None:
    """Raise ValueError for a name of an entity that has a dot or is used twice."""
    for name in names:
        if "." in name or names.count(name) > 1 or any(name in known for known in taken):
            raise ValueError(f"{name!r}: an entity's name has no dot and is used once")


def only_value(attr: str, sources: Mapping[str, Any], eid: str = "") -> Any:
    """The value of an input, of an entity if one is named, that one source feeds; ValueError names them all."""
    if len(sources) != 1:
        name = f"{eid}.{attr}" if eid else attr
        raise ValueError(f"{name} has {len(sources)} sources ({', '.join(sources)}); connect one")
    (value,) = sources.values()
    return value


def refuse_unknown(simulator: str, left: Mapping[str, Any]) -> None:
    """Raise ValueError for parameters that nobody has taken."""
    if left:
        raise ValueError(f"{simulator}: unknown parameter {', '.join(left)}")


class _Group:
    """State and wiring of the units behind one group entity."""

    def __init__(
        self, model: Model, eid: str, ids: list[str], params: Any, start: tuple[Any, Any], s_base_mva: float
    ) -> None:
        self.eid, self.ids = eid, ids
        self._model, self._params, self._s_base_mva = model, params, s_base_mva
        self._state = model.initial(params, *start)
        self._inputs = self._answered = model.held(params)  # as they arrived; as they were at the last answer
        names = type(self._inputs)._fields
        self._place = {port.attr: (names.index(port.field), port) for port in model.inputs}
        self._row = {unit: row for row, unit in enumerate(ids)}
        self._ramps = Ramps(model.inputs, names, len(ids), s_base_mva)
        self._arrived: dict[int, bytes] = {}  # place -> what arrived last there, of a whole group
        self._extrapolated = [names.index(port.field) for port in model.inputs if port.hold == "linear"]
        self._flat = model.slopes(*(np.zeros_like(self._inputs[i]) for i in self._extrapolated))
        self._slopes = self._flat
        self._last: int | None = None  # time of the last step
        self._linear: int | None = None  # time of the linearly held inputs in `_inputs`
        self._counter: Any = None  # the grid's event counter as the group has it
        self._events: Any = None  # at the last step, with those of units that are connected by themselves
        self._out = {port.attr: port for port in model.outputs}
        self.outputs = model.respond(params, self._state, self._inputs)

    def step(self, time: int, resolution: float, inputs: Any, changes: Sequence[Any] = ()) -> None:
        """Take what has arrived, advance to `time`, change set-points and respond."""
        given = inputs.get(self.eid)
        fresh, events, applied = list(self._inputs), self._counter, None
        if given is not None:
            for attr, sources in given.items():
                (value,) = sources.values() if len(sources) == 1 else (only_value(attr, sources),)
                if attr == EVENTS:
                    self._counter = events = value
                elif attr == E_USED:
                    applied = value
                elif (known := self._place.get(attr)) is None:
                    self._ramps.take(attr, value)
                else:
                    place, port = known
                    if port.hold == "constant":
                        said = bytes_of(value)
                        if self._arrived.get(place) == said:
                            continue  # models know an array again by its identity
                        # a controller may go on writing into its own array; a number holds for all units
                        value = np.array(value, float) if np.ndim(value) else np.full(len(self.ids), float(value))
                        self._arrived[place] = said
                    if len(value) != len(self.ids):
                        raise ValueError(f"{attr} has {len(value)} values for {len(self.ids)} units")
                    fresh[place] = value / self._s_base_mva if port.base == "s" else value
        if len(inputs) > (given is not None):
            counters, used = self._take_scalars(inputs, fresh)
            events = (events, *counters)
            applied = self._applied(used) if used else applied
        self._advance(time, resolution, fresh, events, applied)
        if changes:
            self._change(changes)
        self._answered = self._ramps.at(time * resolution, self._inputs) if self._ramps.rates else self._inputs
        self.outputs = self._model.respond(self._params, self._state, self._answered)

    def _advance(self, time: int, resolution: float, fresh: list[Any], events: Any, applied: Any) -> None:
        """Move the state over the interval since the last step, with the inputs of its start."""
        inputs, model, params, last = self._inputs, self._model, self._params, self._last
        if applied is not None and applied is not getattr(self.outputs, "emf_pu", None):
            self._state = model.align(params, self._state, self._answered, applied)
        slopes = self._flat
        if self._linear is not None and last is not None and events == self._events and last > self._linear:
            span = (last - self._linear) * resolution
            slopes = model.slopes(*[(fresh[i] - inputs[i]) / span for i in self._extrapolated])
        self._inputs = inputs = type(inputs)(*fresh)
        self._events = events
        if last is not None and time > last:
            if self._ramps.rates:
                inputs = self._ramps.at((last + time) / 2 * resolution, inputs)
            self._state = model.advance(params, self._state, inputs, slopes, (time - last) * resolution)
            self._linear = last
        self._last = time

    def _take_scalars(self, inputs: Any, fresh: list[Any]) -> tuple[list[Any], dict[int, complex]]:
        """Put what arrived at child entities into their rows.

        Returns:
            The event counters of their terminals, and by row the EMF that the grid applied.
        """
        own, counters, used = set[int](), [], dict[int, complex]()
        for eid, attrs in inputs.items():
            row = self._row.get(eid)
            if row is None:
                continue
            given = {attr: only_value(attr, sources, eid) for attr, sources in attrs.items()}
            if EVENTS in given:
                counters.append(given.pop(EVENTS))
            if E_USED in given and VA_USED in given:
                used[row] = cmath.rect(given.pop(E_USED), math.radians(given.pop(VA_USED)))
            for attr in self._ramps.attributes & given.keys():
                self._ramps.take(attr, given[attr], row)
            for place, port in self._place.values():
                arrived = {attr: given[attr] for attr in port.halves or (port.attr,) if attr in given}
                if not arrived:
                    continue
                if place not in own:
                    fresh[place] = np.array(fresh[place])
                    own.add(place)
                    self._arrived.pop(place, None)
                fresh[place][row] = port.joined(arrived, fresh[place][row], self._s_base_mva)
        return counters, used

    def _applied(self, used: Mapping[int, complex]) -> Any:
        """The units' own EMFs (n,), but what the grid applied where that is another."""
        emf = self.outputs.emf_pu.copy()
        for row, value in used.items():
            if abs(value - emf[row]) > SAME_EMF_PU:
                emf[row] = value
        return emf

    def _change(self, changes: Sequence[Any]) -> None:
        """Set-points (unit, key, value) from now on."""
        held = list(self._inputs)
        for unit, key, value in changes:
            attr, factor = SET_POINTS[key]
            place, port = self._place[attr]
            column = held[place] = np.array(held[place])
            self._arrived.pop(place, None)
            column[self._row[unit]] = value * factor / (self._s_base_mva if port.base == "s" else 1)
        self._inputs = type(self._inputs)(*held)

    def shown(self, attr: str) -> Any:
        """One output attribute, an array (n,)."""
        return show(self._out[attr], self.outputs, self._s_base_mva)


def show(port: Port, outputs: Any, s_base_mva: float) -> Any:
    """An output's attribute from the model's outputs, whose fields may have leading dimensions."""
    value = getattr(outputs, port.field)
    if port.convert is not None:
        value = port.convert(value)
    return value * s_base_mva if port.base == "s" and s_base_mva != 1 else value
