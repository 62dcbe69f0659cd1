"""The mosaik wrapper of units whose power is given: series of P and Q, linear between their rows.

A group entity (`Profiles`) exchanges arrays, one row a unit; each unit has a scalar child entity of its own name.
Groups have their own times, so that a household's minutes and a wind farm's quarters of an hour stay as they are.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import RECORD, Sink, check_names, refuse_unknown, show
from gridloop.simulators.models.network import Real
from gridloop.simulators.ports import Port
from gridloop.simulators.ticks import Ticks
from gridloop.simulators.wire import to_lists


class Outputs(NamedTuple):
    """What n units want to inject."""

    p_gen_pu: Real
    q_gen_pu: Real


OUTPUTS = (
    Port("P_gen[pu]", "p_gen_pu", "injected active power on the system base", scalar=False),
    Port("Q_gen[pu]", "q_gen_pu", "injected reactive power on the system base", scalar=False),
    Port("P_gen[MW]", "p_gen_pu", "active power into the bus", base="s"),
    Port("Q_gen[MVar]", "q_gen_pu", "reactive power into the bus", base="s"),
    Port("P_load[MW]", "p_gen_pu", "active power consumed", base="s", convert=np.negative),
    Port("Q_load[MVar]", "q_gen_pu", "reactive power consumed", base="s", convert=np.negative),
    Port("P_set[MW]", "p_gen_pu", "active power that the profile asks for", base="s"),
    Port("P_avail[MW]", "p_gen_pu", "active power that a source has to give, for a unit that feeds it in", base="s"),
)
RECORDS = ("P_set[MW]",)  # attributes that a run records: what the grid really took is the grid's to tell


def meta(name: str, params: Sequence[str]) -> Any:
    """mosaik META of units `name` in groups of `name`s that are created with `params`."""
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {
            f"{name}s": {
                "public": True, "any_inputs": False, "params": ["ids", "times_s", *params],
                "attrs": [*(port.attr for port in OUTPUTS), RECORD],
            },
            name: {
                "public": False, "any_inputs": False, "params": [],
                "attrs": [port.attr for port in OUTPUTS if port.scalar],
            },
        },
    }  # fmt: skip


META = meta("Profile", ("p_gen_mw", "q_gen_mvar"))


class ProfileSimulator(mosaik_api_v3.Simulator):
    """All units whose power is given.

    Args:
        sink: takes (time, Outputs) of every step, all groups' units in the order of creation.
        json: whether groups exchange lists, as they must in another process than mosaik's.
        description: mosaik META, from `meta`.
    """

    def __init__(self, sink: Sink | None = None, json: bool = False, description: Any = META) -> None:
        super().__init__(description)  # type: ignore[no-untyped-call]
        self._sink, self._json = sink, json
        self._groups: dict[str, _Group] = {}
        self._place: dict[str, tuple[_Group, int]] = {}  # unit -> its group and row
        self._resolution, self._s_base_mva = 1.0, 1.0
        self._ticks: Ticks
        self._ports = {port.attr: port for port in OUTPUTS}

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            step_ms: macro step (5).
            extra_ticks_s: times of events (none).
            s_base_mva: system base of what groups exchange (1).
        """
        self._resolution = time_resolution
        self._s_base_mva = sim_params.pop("s_base_mva", 1.0)
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), sim_params.pop("extra_ticks_s", ()), time_resolution)
        refuse_unknown("Profile", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one group with its children.

        Model parameters:
            ids: names of the n units.
            times_s: (m,) times of the rows in simulated seconds; absent: everything is constant.
            p_gen_mw, q_gen_mvar: (m, n) power into the bus at these times, (n,) or a number where it is constant.
                Q is 0 where nothing is given.

        Raises:
            ValueError: more than one group at a time, a name with a dot or used twice, shapes that do not fit,
                times that do not increase, values that are no finite numbers.
        """
        if num != 1:
            raise ValueError(f"{model}: create one group at a time; it holds any number of units")
        ids = list(model_params["ids"])
        check_names(ids, self._place)
        eid = model if not self._groups else f"{model}-{len(self._groups)}"
        times_s = _times(model_params.get("times_s", (0.0,)))
        power_mva = [
            _rows(name, model_params.get(name, 0.0), (len(times_s), len(ids))) for name in ("p_gen_mw", "q_gen_mvar")
        ]
        group = self._groups[eid] = _Group(times_s, np.hstack(power_mva) / self._s_base_mva)
        self._place |= {unit: (group, row) for row, unit in enumerate(ids)}
        children = [{"eid": unit, "type": model.removesuffix("s"), "rel": [eid]} for unit in ids]
        return [{"eid": eid, "type": model, "rel": [], "children": children}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Look up the powers of `time` and return the next tick."""
        t_s = round(time * self._resolution, 9)  # 0.3, not 0.30000000000000004: rows are met exactly
        for group in self._groups.values():
            group.look_up(t_s)
        if self._sink is not None and self._groups:
            self._sink(time, self._together())
        return self._ticks.after(time)

    def _together(self) -> Outputs:
        """Outputs of all groups."""
        shown = [group.outputs for group in self._groups.values()]
        joined = (np.concatenate(field) for field in zip(*shown, strict=True))
        return shown[0] if len(shown) == 1 else Outputs(*joined)

    def get_data(self, outputs: Any) -> Any:
        """Power of groups (arrays) and units (floats) as of the last step."""
        data = {}
        for eid, attrs in outputs.items():
            if eid in self._groups:
                shown = {attr: self._show(self._groups[eid], attr) for attr in attrs}
                data[eid] = {attr: to_lists(value) for attr, value in shown.items()} if self._json else shown
            else:
                group, row = self._place[eid]
                data[eid] = {attr: float(self._show(group, attr)[row]) for attr in attrs}
        return data

    def _show(self, group: "_Group", attr: str) -> Any:
        if attr == RECORD:  # of all groups, as it is recorded
            return {"log": [], "outputs": [to_lists(field) for field in self._together()]}
        return show(self._ports[attr], group.outputs, self._s_base_mva)


def _times(given: Any) -> Real:
    times_s = np.asarray(given, float)
    if times_s.ndim != 1 or not len(times_s):
        raise ValueError(f"times_s has the shape {times_s.shape}; it must be a list of at least one time")
    wrong = np.flatnonzero(~np.isfinite(times_s) | ~(np.diff(times_s, prepend=-np.inf) > 0))
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(f"times_s: {times_s[row]:g} in row {row} must be finite and after the row before")
    return times_s


def _rows(name: str, given: Any, shape: tuple[int, int]) -> Real:
    """Values (m, n) from rows, from one constant for each unit, or from a number."""
    values = np.asarray(given, float)
    if values.shape not in (shape, shape[1:], ()):
        raise ValueError(f"{name} has the shape {values.shape}; it must be {shape}, {shape[1:]} or a number")
    values = np.broadcast_to(values, shape)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise ValueError(f"{name}: {values[row, column]} in row {row}, unit {column} must be a finite number")
    return values


class _Group:
    """Rows of P and Q side by side (m, 2 n), and what they give now."""

    def __init__(self, times_s: Real, power_pu: Real) -> None:
        self._times, self._power = times_s.tolist(), power_pu
        self._n = power_pu.shape[1] // 2
        self._row, self._slope = -1, np.zeros(2 * self._n)  # the row that counts, and the rate after it
        self.look_up(0.0)

    def look_up(self, t_s: float) -> None:
        """Set the outputs to the powers at `t_s`; before the first row and after the last these hold."""
        row = max(bisect_right(self._times, t_s) - 1, 0)
        if row != self._row:
            self._row, self._slope = row, self._slope_after(row)
        past_s = max(t_s - self._times[row], 0.0)
        power = self._power[row] + self._slope * past_s
        self.outputs = Outputs(power[: self._n], power[self._n :])

    def _slope_after(self, row: int) -> Real:
        if row + 1 == len(self._times):
            return np.zeros(2 * self._n)
        slope: Real = (self._power[row + 1] - self._power[row]) / (self._times[row + 1] - self._times[row])
        return slope
