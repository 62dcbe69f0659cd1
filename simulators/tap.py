"""Simulators that write down what others show: a recorder for anyone's scenario, and a tap on remote groups.

Inside a scenario of ours the wrappers record by themselves, which is cheaper. These serve other people's simulators
and those in other processes.
"""

import time as wall
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.recorder import Columns, Sampling, Stream
from gridloop.simulators.ticks import Ticks

Taker = Callable[[int, str, Any], None]  # (time, attribute, value)


def _meta(model: str, params: list[str]) -> Any:
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {model: {"public": True, "any_inputs": True, "params": params, "attrs": []}},
    }


class Tap(mosaik_api_v3.Simulator):
    """Hands on what it is connected to, at every tick of the fast coupling.

    Args:
        takers: by the simulator that shows it, takes (time, attribute, value).
    """

    def __init__(self, takers: Mapping[str, Taker]) -> None:
        super().__init__(_meta("Tap", []))  # type: ignore[no-untyped-call]
        self._takers = takers
        self._sid, self._resolution = "", 1.0
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set the macro step `step_ms` (5) and the times of events `extra_ticks_s` (none)."""
        self._sid, self._resolution = sid, time_resolution
        self._ticks = Ticks(sim_params.pop("step_ms", 5.0), sim_params.pop("extra_ticks_s", ()), time_resolution)
        refuse_unknown("Tap", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create the one entity `tap`."""
        if num != 1:
            raise ValueError("Tap: there is one")
        return [{"eid": "tap", "type": model, "rel": []}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Hand on what has arrived and return the next tick."""
        for attr, sources in inputs.get("tap", {}).items():
            for source, value in sources.items():
                try:
                    self._takers[source.partition(".")[0]](time, attr, value)
                except Exception as error:
                    raise SimulatorFailure(self._sid, source, time * self._resolution, error) from error
        return self._ticks.after(time)

    def get_data(self, outputs: Any) -> Any:
        """Nothing: a tap has no outputs."""
        return {}


class Recorder(mosaik_api_v3.Simulator):
    """Samples of scalars from any simulator, as Parquet segments with the columns `t` [s] and `sid.eid.attribute`.

    Connect time-based simulators to it: a column stays empty until its simulator has shown something.
    """

    def __init__(self) -> None:
        super().__init__(_meta("Recorder", []))  # type: ignore[no-untyped-call]
        self._sid, self._resolution = "", 1.0
        self._ticks: Ticks
        self._stream: Stream

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Say where samples go.

        Parameters:
            folder: holds the segments `<sid>-00000.parquet`, ...; made if need be (`recorded`).
            step_ms: period of the samples (5).

        Raises:
            FileExistsError: the folder has segments of an earlier run.
        """
        self._sid, self._resolution = sid, time_resolution
        folder, step_ms = Path(sim_params.pop("folder", "recorded")), sim_params.pop("step_ms", 5.0)
        refuse_unknown("Recorder", sim_params)
        self._ticks = Ticks(step_ms, (), time_resolution)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob(f"{sid}-*.parquet")):
            raise FileExistsError(f"{folder} holds samples of {sid} already; choose another folder")
        self._stream = Stream(folder, sid, _columns, Sampling(time_resolution, 1), wall.monotonic)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create the one entity `recorder`."""
        if num != 1:
            raise ValueError("Recorder: one takes everything that is connected to it")
        return [{"eid": "recorder", "type": model, "rel": []}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Take a sample of everything and return the time of the next."""
        row = {
            f"{source}.{attr}": self._number(f"{source}.{attr}", value, time)
            for attr, sources in inputs.get("recorder", {}).items() for source, value in sources.items()
        }  # fmt: skip
        self._stream.append(time, row)
        return self._ticks.after(time)

    def _number(self, name: str, value: Any, time: int) -> float:
        if value is None:
            return float("nan")
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            shown = ValueError(f"it shows {str(value)[:40]!r}, which is not one number; connect a unit's own entity")
            raise SimulatorFailure(self._sid, name, time * self._resolution, shown) from error

    def get_data(self, outputs: Any) -> Any:
        """Nothing: a recorder has no outputs."""
        return {}

    def finalize(self) -> None:
        """Write what waits for its segment."""
        if hasattr(self, "_stream"):
            self._stream.close()


def _columns(rows: list[dict[str, float]]) -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
