"""The mosaik wrapper of forecasting: each unit's power of the coming slot, from what was measured of it so far.

An entity watches one unit. It samples the power that the network takes from it or gives to it, knows the mean of every
slot that is over, and shows a forecast of the coming slot a lead before that begins.
"""

from collections.abc import Sequence
from typing import Any

import mosaik_api_v3
import numpy as np
import numpy.typing as npt

from gridloop.simulators.device import Sink, check_names, only_value, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.market.forecast import DailyRidge
from gridloop.simulators.market.slots import DAY
from gridloop.simulators.ticks import Ticks

Array = npt.NDArray[np.floating[Any]]
P_GEN, FORECAST, MEASURED = "P_gen[MW]", "forecast[kW]", "measured[kW]"
KINDS = ("ridge", "persistence")  # persistence: the coming slot as this one so far
COLUMNS = ("P_forecast[MW]", "P_naive[MW]", "P_demand[MW]", "P_load[MW]")  # of all units together, by slot

META: Any = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Forecaster": {
            "public": True, "any_inputs": False, "params": ["name", "history_kw", "kind", "more", "first_day"],
            "attrs": [P_GEN, FORECAST, MEASURED],
        },
    },
}  # fmt: skip


class ForecastSimulator(mosaik_api_v3.Simulator):
    """All forecasters.

    Args:
        sink: takes (time, values of COLUMNS) when a slot is over: its forecast and seasonal naive forecast (the same
            slot of the day before, nan without a history), net demand and gross load.
    """

    columns = COLUMNS

    def __init__(self, sink: Sink | None = None) -> None:
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._sink = sink
        self._forecasters: dict[str, Forecaster] = {}
        self._sid, self._resolution = "", 1.0
        self._slot, self._lead = 1, 1
        self._ticks: Ticks

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            slot_s: length of a slot.
            lead_s: how long before a slot its forecast is made.
            sample_s: between two looks at the units; divides both.
        """
        self._sid, self._resolution = sid, time_resolution
        sample_s = sim_params.pop("sample_s")
        self._slot, self._lead = (round(sim_params.pop(key) / time_resolution) for key in ("slot_s", "lead_s"))
        self._ticks = Ticks(1e3 * sample_s, (), time_resolution)
        if self._slot % self._ticks.step or self._lead % self._ticks.step or not 0 < self._lead < self._slot:
            raise ValueError(f"Forecast: sample_s = {sample_s:g} must divide lead_s and slot_s, and lead_s < slot_s")
        refuse_unknown("Forecast", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create the forecaster of one unit.

        Model parameters:
            name: of the unit.
            kind: ridge or persistence.
            history_kw: net consumption before the run, one value a slot, the first of a midnight (none).
            more: a feature by slot that is known in advance, from the same midnight to the end of the run (none).
            first_day: day of that midnight, counted from 1970-01-01.

        Raises:
            ValueError: more than one at a time, or a history too short for the kind.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time; each has its own name")
        name = model_params.pop("name")
        check_names([name], self._forecasters)
        try:
            self._forecasters[name] = Forecaster(**model_params)
        except ValueError as error:
            raise ValueError(f"forecaster of {name}: {error}") from error
        return [{"eid": name, "type": model, "rel": []}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Look at the units; at the end of a slot keep its mean; a lead before it forecast the next one."""
        slot, phase = divmod(time, self._slot)
        if phase == 0 and slot > 0:
            for one in self._forecasters.values():
                one.finish_slot()
            if self._sink is not None:
                self._sink(time, np.array(self._totals()) / 1e3)
        for name, one in self._forecasters.items():
            try:
                given = inputs.get(name, {}).get(P_GEN)
                if given is None:
                    raise ValueError(f"{P_GEN} is not connected")
                one.sample(-1e3 * only_value(P_GEN, given, name))
                if phase == self._slot - self._lead:
                    one.look_ahead()
            except ValueError as error:
                raise SimulatorFailure(self._sid, name, time * self._resolution, error) from error
        return self._ticks.after(time)

    def _totals(self) -> list[float]:
        """Values of COLUMNS of the slot that is over [kW]."""
        ones = list(self._forecasters.values())
        seen = [one.measured_kw for one in ones]
        return [
            sum(one.foreseen_kw for one in ones), sum(one.naive_kw for one in ones), sum(seen),
            sum(max(power, 0.0) for power in seen),
        ]  # fmt: skip

    def get_data(self, outputs: Any) -> Any:
        """Forecasts of the coming slot and means of the last one."""
        return {
            eid: {
                attr: self._forecasters[eid].forecast_kw if attr == FORECAST else self._forecasters[eid].measured_kw
                for attr in attrs
            }
            for eid, attrs in outputs.items()
        }  # fmt: skip


class Forecaster:
    """What is known of one unit [kW, > 0 consumed]."""

    def __init__(
        self, kind: str = "persistence", history_kw: Sequence[float] = (), more: Array | None = None,
        first_day: int | None = None,
    ) -> None:  # fmt: skip
        if kind not in KINDS:
            raise ValueError(f"kind = {kind!r} must be one of {', '.join(KINDS)}")
        self._series: list[float] = [float(value) for value in history_kw]
        self._more, self._ridge = more, DailyRidge(first_day=first_day) if kind == "ridge" else None
        self._sign = -1.0 if sum(self._series) < 0 else 1.0  # what feeds in is forecast as such: never below zero
        if kind == "ridge" and len(self._series) < DailyRidge().least_history + 1:
            raise ValueError(
                f"ridge needs a history of {DailyRidge().least_history + 1} slots; there are {len(self._series)}"
            )
        self._samples: list[float] = []
        self.forecast_kw = self.measured_kw = self._series[-1] if self._series else 0.0
        self.foreseen_kw = self.forecast_kw  # of the slot that is over
        self._foreseen_next_kw = self.forecast_kw

    @property
    def naive_kw(self) -> float:
        """Of the slot that is over, its value a day before; nan where that is not known."""
        return self._series[-1 - DAY] if len(self._series) > DAY else float("nan")

    def sample(self, power_kw: float) -> None:
        """Take the power from now until the next sample."""
        self._samples.append(power_kw)

    def finish_slot(self) -> None:
        """The slot is over: keep its mean."""
        self.measured_kw = sum(self._samples) / len(self._samples)
        self._series.append(self.measured_kw)
        self._samples = []
        self.foreseen_kw, self._foreseen_next_kw = self._foreseen_next_kw, self.forecast_kw

    def look_ahead(self) -> None:
        """Forecast the coming slot; of this one its mean so far counts."""
        so_far = sum(self._samples) / len(self._samples)
        series = np.array([*self._series, so_far])
        if self._ridge is None:
            self.forecast_kw = so_far
        else:
            coming = self._ridge.forecast(self._sign * series, np.array([len(series)]), self._more)
            self.forecast_kw = self._sign * float(coming[0])
