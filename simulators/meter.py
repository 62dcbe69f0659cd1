"""The mosaik wrapper of meters: sampled taps with a period and noise.

A meter takes what one entity shows, samples it every period and holds the sample until the next. What it gives is
named `<Quantity>_meas[unit]`. The noise depends on the seed and on the meter's name and on nothing else, so that a
run is the same to the bit every time and one meter more changes no other.
"""

import zlib
from typing import Any

import mosaik_api_v3
import numpy as np

from gridloop.simulators.device import Sink, check_names, only_value, refuse_unknown
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.models.network import Real

# quantities that the other simulators show; `init` takes more
KNOWN = (
    "P_gen[MW]", "Q_gen[MVar]", "P_load[MW]", "Q_load[MVar]", "P_from[MW]", "Q_from[MVar]", "P_set[MW]", "P_avail[MW]",
    "Vm[pu]", "Va[deg]", "E[pu]", "Va_emf[deg]", "f[Hz]", "loading[%]", "SoC[%]", "fuel[L]",
)  # fmt: skip


def measured(attr: str) -> str:
    """Name of a meter's output: `P_gen[MW]` -> `P_gen_meas[MW]`."""
    quantity, bracket, unit = attr.partition("[")
    return f"{quantity}_meas{bracket}{unit}"


def meta(attrs: tuple[str, ...] = KNOWN) -> Any:
    """mosaik META of meters that may measure `attrs`."""
    return {
        "api_version": "3.0",
        "type": "time-based",
        "models": {
            "Meter": {
                "public": True, "any_inputs": True,
                "params": ["name", "attr", "period_ms", "noise_percent", "noise", "seed"],
                "attrs": [*dict.fromkeys(map(measured, attrs))],
            }
        },
    }  # fmt: skip


class MeterSimulator(mosaik_api_v3.Simulator):
    """All meters.

    Args:
        sink: takes (time, values (k,)) whenever a meter has sampled; `columns` names the values.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        super().__init__(meta())  # type: ignore[no-untyped-call]
        self._sink = sink
        self._meters: dict[str, _Meter] = {}
        self._sid, self._resolution = "", 1.0

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up the simulator; `attrs` are quantities to measure that are not in `KNOWN`."""
        self._sid, self._resolution = sid, time_resolution
        self.meta = meta((*KNOWN, *sim_params.pop("attrs", ())))
        refuse_unknown("Meter", sim_params)
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create one meter.

        Model parameters:
            name: its entity id.
            attr: quantities that it measures, of one entity.
            period_ms: time between two samples, a multiple of the time resolution.
            noise_percent: standard deviation, percent of the value (0).
            noise: standard deviation in the quantity's unit, independent of the former (0); a number or one for
                each quantity.
            seed: of the noise (0).

        Raises:
            ValueError: more than one at a time, or a parameter out of its range.
        """
        if num != 1:
            raise ValueError(f"{model}: create one at a time; each has its own name")
        name = model_params.pop("name")
        check_names([name], self._meters)
        known = self.meta["models"]["Meter"]["attrs"]
        strange = [attr for attr in model_params["attr"] if measured(attr) not in known]
        if strange:
            raise ValueError(f"meter {name}: {', '.join(strange)} is not known; name it in `attrs` when starting")
        try:
            self._meters[name] = _Meter(name, self._resolution, **model_params)
        except ValueError as error:
            raise ValueError(f"meter {name}: {error}") from error
        return [{"eid": name, "type": model}]

    @property
    def columns(self) -> tuple[str, ...]:
        """`meter.attribute` of every value that the sink gets."""
        return tuple(f"{name}.{attr}" for name, meter in self._meters.items() for attr in meter.shown)

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Sample every meter whose time has come and return when the next one is due."""
        for name, meter in self._meters.items():
            if time % meter.period == 0:
                try:
                    meter.sample(time, inputs.get(name, {}))
                except ValueError as error:
                    raise SimulatorFailure(self._sid, name, time * self._resolution, error) from error
        if self._sink is not None:
            self._sink(time, np.concatenate([meter.values for meter in self._meters.values()] or [np.zeros(0)]))
        idle = time + max(round(1 / self._resolution), 1)  # no meter: once a second
        return min((time - time % meter.period + meter.period for meter in self._meters.values()), default=idle)

    def get_data(self, outputs: Any) -> Any:
        """The samples that the meters hold."""
        return {eid: {attr: self._meters[eid].show(attr) for attr in attrs} for eid, attrs in outputs.items()}


class _Meter:
    """One meter and the sample that it holds."""

    def __init__(
        self, name: str, resolution: float, attr: Any, period_ms: float,
        noise_percent: float = 0.0, noise: Any = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self._attrs = tuple(attr)
        if not self._attrs or len(set(self._attrs)) < len(self._attrs):
            raise ValueError(f"attr = {list(self._attrs)} must name quantities, each once")
        self.period = round(period_ms * 1e-3 / resolution)
        if self.period < 1 or abs(self.period * resolution - period_ms * 1e-3) > 1e-3 * resolution:
            raise ValueError(f"period_ms = {period_ms:g} must be a multiple of {resolution * 1e3:g} ms")
        if np.size(noise) not in (1, len(self._attrs)):
            raise ValueError(f"noise has {np.size(noise)} values; give one, or one for each of {len(self._attrs)}")
        self._sigma = np.broadcast_to(np.asarray(noise, float), len(self._attrs))
        self._relative = noise_percent / 100
        for field, value in (("noise_percent", noise_percent), ("noise", self._sigma)):
            if not (np.isfinite(value) & (np.asarray(value) >= 0)).all():
                raise ValueError(f"{field} = {np.array(value).tolist()} must be >= 0")
        # not hash(): Python's differs from process to process
        self._random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self._noisy = bool(self._relative or self._sigma.any())
        self._last: int | None = None  # time of the sample
        self.shown = tuple(measured(a) for a in self._attrs)
        self.values: Real = np.full(len(self._attrs), np.nan)

    def sample(self, time: int, given: Any) -> None:
        """Take a sample; a second call at the same time keeps the first."""
        if time == self._last:
            return
        missing = [attr for attr in self._attrs if attr not in given]
        if missing:
            raise ValueError(f"nothing is connected to {', '.join(missing)}")
        strange = [attr for attr in given if attr not in self._attrs]
        if strange:
            raise ValueError(f"{', '.join(strange)} is connected; this meter measures {', '.join(self._attrs)}")
        true = np.array([only_value(attr, given[attr]) for attr in self._attrs], float)
        if self._noisy:
            share, absolute = self._random.standard_normal((2, len(true)))
            true = true + self._relative * np.abs(true) * share + self._sigma * absolute
        self.values, self._last = true, time

    def show(self, attr: str) -> float:
        """The sample of one output attribute."""
        return float(self.values[self.shown.index(attr)])
