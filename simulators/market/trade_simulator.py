"""The mosaik wrapper of trading: forecasts become orders, trades go to the ledger, measurements settle them.

A `Trader` is an owner of what stands at a bus; the `Dso` sees the network. Once a slot, a lead before the next one
begins, what was measured of the slot before is settled and the coming slot is auctioned.
"""

from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import Sink, check_names, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.grid import LOSS
from gridloop.simulators.market.forecast_simulator import FORECAST, MEASURED
from gridloop.simulators.market.trading import Floor, State

LOADING = "loading[%]"
COLUMNS = ("trades[1]", "P_traded[MW]", "P_possible[MW]", "P_settled[MW]", "price[EUR_per_MWh]")

META: Any = {
    "api_version": "3.0",
    "type": "time-based",
    "models": {
        "Trader": {"public": True, "any_inputs": False, "params": ["name"], "attrs": [FORECAST, MEASURED]},
        "Dso": {"public": True, "any_inputs": False, "params": [], "attrs": [LOADING, LOSS]},
    },
}  # fmt: skip


class TradeSimulator(mosaik_api_v3.Simulator):
    """All traders and the DSO.

    Args:
        floor: where they trade.
        sink: takes (time, values of COLUMNS) once a slot: of the coming one, and what was settled of the last.
    """

    columns = COLUMNS

    def __init__(self, floor: Floor[Any], sink: Sink | None = None) -> None:
        super().__init__(META)  # type: ignore[no-untyped-call]
        self._floor, self._sink = floor, sink
        self._traders: list[str] = []
        self._sid, self._resolution = "", 1.0
        self._slot = self._lead = 1

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator.

        Parameters:
            slot_s: length of a slot.
            lead_s: how long before a slot it is auctioned; whole seconds.
        """
        self._sid, self._resolution = sid, time_resolution
        self._slot, self._lead = (round(sim_params.pop(key) / time_resolution) for key in ("slot_s", "lead_s"))
        refuse_unknown("Trade", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one trader, `name`, or the DSO.

        Raises:
            ValueError: more than one at a time, or a name twice.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time")
        if model == "Dso":
            return [{"eid": "dso", "type": model, "rel": []}]
        name = model_params["name"]
        check_names([name], dict.fromkeys(["dso", *self._traders]))
        self._traders.append(name)
        return [{"eid": name, "type": model, "rel": []}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Settle the slot before this one, auction the one after it."""
        slot, phase = divmod(time, self._slot)
        at = self._slot - self._lead
        if phase == at:
            try:
                self._deal(slot, time, inputs)
            except ValueError as error:
                raise SimulatorFailure(self._sid, "dso", time * self._resolution, error) from error
        return time - phase + at + (self._slot if phase >= at else 0)

    def _deal(self, slot: int, time: int, inputs: Any) -> None:
        t_s = int(time * self._resolution)
        forecast, measured = (
            {name: -round(1e3 * sum(inputs.get(name, {}).get(attr, {}).values())) for name in self._traders}
            for attr in (FORECAST, MEASURED)
        )
        settled_w = self._floor.settle(slot - 1, t_s, measured)
        loading, loss = (inputs.get("dso", {}).get(attr, {}).values() for attr in (LOADING, LOSS))
        load_w = -sum(w for w in measured.values() if w < 0)
        state = State(max(loading, default=0.0) / 100, 1e6 * sum(loss) / load_w if load_w > 0 else 0.0)
        found = self._floor.trade(slot + 1, t_s, forecast, state)
        if self._sink is not None:
            traded_w = sum(trade.power_w for trade in found.trades)
            price = float("nan") if found.price is None else found.price / 1e3
            self._sink(
                time, np.array([len(found.trades), traded_w / 1e6, found.possible_w / 1e6, settled_w / 1e6, price])
            )

    def get_data(self, outputs: Any) -> Any:
        """Nothing is shown."""
        return {}

    def finalize(self) -> None:
        """Let go of the ledger."""
        self._floor.notary.ledger.close()
