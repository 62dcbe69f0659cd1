"""A generated neighbourhood: what homes consume and their arrays feed in, in quarters of an hour. No measurement.

A home has a base load, busy hours in the morning, at noon and in the evening, other habits at the weekend, and moods
that last for hours (a first-order autoregression). An array follows the clear sky (Haurwitz, through pvlib) times the
clearness of the day (beta distributed, common to the neighbourhood) times passing clouds. The same seed gives the same
table, in whole watts, so that `checksum` is the same on every machine.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gridloop.simulators.market.slots import DAY, SLOT_H, SLOT_S, Slots, first_day, is_weekend

Array = npt.NDArray[np.floating[Any]]
# hour of the day, its spread [h], least and most power [kW]
BUSY = ((7.2, 1.1, 0.2, 0.7), (12.6, 0.9, 0.1, 0.5), (19.3, 1.9, 0.5, 1.2))
BASE_KW = (0.12, 0.30)
WEEKEND = (1.05, 1.35)  # by which a busy hour is busier
LATE_H = 1.3  # by which mornings begin later at weekends
MOOD, MOOD_SPREAD = 0.85, 0.30  # autoregression of a home from slot to slot, and its standard deviation
CLOUD, CLOUD_SPREAD = 0.93, 0.22
CLEAR_DAY = (2.4, 1.1)  # beta distribution of the clearness of a day
LATITUDE, LONGITUDE = 48.8, 11.4


@dataclass(frozen=True)
class Neighbourhood:
    """What was generated; one row for each quarter of an hour from `start`."""

    start: str  # ISO 8601 with offset
    load_kw: Array  # (slots, homes)
    pv_kw: Array  # (slots, arrays)
    clear_sky_kw: Array  # (slots, arrays), what the arrays would feed in under a clear sky

    @property
    def checksum(self) -> str:
        """SHA-256 of loads and PV in whole watts."""
        watts = np.rint(1000 * np.hstack([self.load_kw, self.pv_kw])).astype("<i4")
        return hashlib.sha256(watts.tobytes()).hexdigest()


def generate(
    seed: int, *, days: int = 84, homes: int = 13, pv_kwp: tuple[float, ...] = (3.0, 4.0, 3.0, 5.0),
    start: str = "2026-05-04T00:00:00+02:00",
) -> Neighbourhood:  # fmt: skip
    """Generate a neighbourhood.

    Args:
        seed: of everything that happens by chance.
        days: how many, the first one a Monday if `start` is.
        homes: how many.
        pv_kwp: peak power of each array [kW].
        start: begin of the first slot, ISO 8601 with offset.
    """
    random = np.random.default_rng(seed)
    slots = np.arange(days * DAY)
    clear = clear_sky(start, slots.size, LATITUDE, LONGITUDE)
    weekend = is_weekend(slots, first_day(start))
    load_kw = np.stack([_home(random, slots, weekend) for _ in range(homes)], axis=1)
    clearness = np.repeat(random.beta(*CLEAR_DAY, days), DAY)
    sky = clearness * _mood(random, slots.size, CLOUD, CLOUD_SPREAD)
    own = [np.minimum(sky * _mood(random, slots.size, CLOUD, CLOUD_SPREAD / 4), 1.1) for _ in pv_kwp]
    clear_sky_kw = clear[:, None] * np.array(pv_kwp)
    return Neighbourhood(start, _in_watts(load_kw), _in_watts(clear_sky_kw * np.stack(own, 1)), clear_sky_kw)


def _home(random: np.random.Generator, slots: Slots, weekend: npt.NDArray[np.bool_]) -> Array:
    hour = (slots % DAY + 0.5) * SLOT_H
    power = np.full(slots.size, random.uniform(*BASE_KW))
    busier = random.uniform(*WEEKEND)
    for middle_h, spread_h, least_kw, most_kw in BUSY:
        middle = middle_h + random.normal(0, 0.4) + np.where(weekend & (middle_h < 12), LATE_H, 0.0)
        bump = np.exp(-0.5 * ((hour - middle) / spread_h) ** 2)
        power += random.uniform(least_kw, most_kw) * bump * np.where(weekend, busier, 1.0)
    return power * _mood(random, slots.size, MOOD, MOOD_SPREAD)


def _mood(random: np.random.Generator, count: int, memory: float, spread: float) -> Array:
    """A factor around 1 that remembers: the exponential of a stationary first-order autoregression, mean 1."""
    from scipy.signal import lfilter

    shocks = random.normal(0, spread * np.sqrt(1 - memory**2), count)
    shocks[0] /= np.sqrt(1 - memory**2)
    return np.asarray(np.exp(lfilter([1.0], [1.0, -memory], shocks) - spread**2 / 2))


def clear_sky(start: str, count: int, latitude_deg: float, longitude_deg: float, slot_s: float = SLOT_S) -> Array:
    """Irradiance on the horizontal under a clear sky, in the middle of each slot [kW/m2]; (count,).

    Source: Haurwitz's formula, through pvlib.
    """
    import pandas as pd
    from pvlib import clearsky, solarposition

    first = pd.Timestamp(start) + pd.Timedelta(seconds=slot_s / 2)
    middles = pd.date_range(first, periods=count, freq=pd.Timedelta(seconds=slot_s))
    position = solarposition.get_solarposition(middles, latitude_deg, longitude_deg)
    return np.asarray(clearsky.haurwitz(position["apparent_zenith"])["ghi"].to_numpy() / 1000, float)


def _in_watts(power_kw: Array) -> Array:
    return np.asarray(np.rint(1000 * power_kw) / 1000)
