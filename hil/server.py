"""The server role: units, buses and meters of a running scenario shown as Modbus devices, for controllers outside.

What they read is what the grid has answered at the newest step. What they write to a unit is its set-point from the
next step on. Each entity is an emulated device of its own, which listens from the first step to the end of the run.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import mosaik_api_v3

from gridloop.hil.bank import Bank
from gridloop.hil.emulator import Emulator
from gridloop.hil.registers import RegisterMap
from gridloop.simulators.device import SET_POINTS, only_value, refuse_unknown
from gridloop.simulators.ticks import Ticks

Log = Callable[[float, str, str, str], None]


class PlantBank(Bank):
    """Registers of a part of the plant: `shown` is what it shows, `writes` what was written and not yet taken.

    Args:
        map: its registers.
        set_points: by attribute, as they are at the start.
    """

    def __init__(self, map: RegisterMap, set_points: Mapping[str, float]) -> None:
        super().__init__(map, lambda t_s, written: self.shown)
        self.shown: Mapping[str, float] = {}
        self.writes: deque[tuple[str, float]] = deque()
        self._set_points = set_points

    def switch_on(self, now_s: float) -> None:
        """Begin with the set-points of the scenario, not with the map's defaults."""
        super().switch_on(now_s)
        for attr, value in self._set_points.items():
            self._take(attr, value)
        self.writes.clear()

    def write(self, function: str, address: int, values: Any, now_s: float) -> int:
        """Take new set-points."""
        code = super().write(function, address, values, now_s)
        if not code:
            self.writes += [(attr, self.written[attr]) for attr, at_s in self._written_s.items() if at_s == now_s]
        return code

    def _revert(self, now_s: float) -> None:
        before = dict(self.written)
        super()._revert(now_s)
        self.writes += [(attr, value) for attr, value in self.written.items() if value != before.get(attr)]


class PlantServer(mosaik_api_v3.Simulator):
    """Serves parts of the plant.

    Args:
        log: takes (t_s, kind, target, outcome) of every value that was written.
    """

    def __init__(self, log: Log | None = None) -> None:
        super().__init__(_meta(()))  # type: ignore[no-untyped-call]
        self._log = log or (lambda *_: None)
        self._served: dict[str, tuple[Emulator, PlantBank, dict[str, float]]] = {}
        self._changes: list[Any] = []
        self._resolution = 1.0
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the server.

        Parameters:
            step_ms: macro step (5).
            extra_ticks_s: times of events (none).
            attrs: all that is shown or written.
            changes: set-points that the scenario changes, (t_s, unit, key, value) with a key of SET_POINTS (none).
        """
        del sid
        self._resolution = time_resolution
        self.meta = _meta(tuple(sim_params.pop("attrs", ())))
        self._changes = sorted(sim_params.pop("changes", ()), key=lambda one: one[0])
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), sim_params.pop("extra_ticks_s", ()), time_resolution)
        refuse_unknown("Server", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Serve one entity.

        Model parameters:
            name: of the entity.
            url: where it listens.
            map: a RegisterMap.
            anywhere: whether the address may be one that other machines reach (no).
            set_points: those that may be written, by attribute, as they are at the start (none).

        Raises:
            ValueError: more than one at a time, or an address that is not allowed.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time")
        name, map = model_params["name"], model_params["map"]
        bank = PlantBank(map, dict(model_params.get("set_points", {})))
        emulator = Emulator(model_params["url"], map, bank.behave, anywhere=model_params.get("anywhere", False))
        emulator.device.bank = bank
        self._served[name] = emulator, bank, dict(model_params.get("set_points", {}))
        return [{"eid": name, "type": model, "rel": []}]

    def setup_done(self) -> None:
        """Listen."""
        for emulator, _, _ in self._served.values():
            emulator.__enter__()

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Show what the plant shows, and take what was written."""
        t_s = round(time * self._resolution, 9)
        while self._changes and self._changes[0][0] <= t_s + 1e-9:
            _, unit, key, value = self._changes.pop(0)
            attr, factor = SET_POINTS[key]
            self._served[unit][2][attr] = value * factor
        for name, (_, bank, set_points) in self._served.items():
            given = inputs.get(name, {})
            bank.shown = {attr: only_value(attr, sources, name) for attr, sources in given.items()}
            while bank.writes:
                attr, value = bank.writes.popleft()
                if attr in set_points:
                    set_points[attr] = value
                    self._log(t_s, "write", name, f"{attr} now {value:g}")
        return self._ticks.after(time)

    def get_data(self, outputs: Any) -> Any:
        """Set-points as they are now."""
        return {name: {attr: self._served[name][2][attr] for attr in attrs} for name, attrs in outputs.items()}

    @property
    def addresses(self) -> dict[str, str]:
        """Where each entity is served, by name: HOST:PORT, or the line."""
        return {name: emulator.url.bus for name, (emulator, _, _) in self._served.items()}

    def finalize(self) -> None:
        """Listen no more."""
        for emulator, _, _ in self._served.values():
            emulator.close()


def _meta(attrs: tuple[str, ...]) -> Any:
    params = ["name", "url", "map", "anywhere", "set_points"]
    return {
        "api_version": "3.0", "type": "time-based",
        "models": {"Served": {"public": True, "any_inputs": False, "params": params, "attrs": list(attrs)}},
    }  # fmt: skip
