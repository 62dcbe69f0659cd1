"""Typical weather years that pvlib ships, as a profile: irradiance on level ground and air temperature.

They let a scenario run without a weather file of its own. A typical year is put together from months of different
years, so it has no year of its own.
"""

from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np

from gridloop.simulators.models.network import Real
from gridloop.simulators.profile_table import Profile

STATIONS = {
    "greensboro": "723170TYA.CSV",  # North Carolina, 36.1 N: warm summers, mild winters
    "sand_point": "703165TY.csv",  # Alaska, 55.3 N: cool and cloudy
}
HOUR_S = 3600.0


def typical_year(station: str, start: datetime, until_s: float) -> Profile:
    """The hours of a typical year that a run needs, as columns `ghi` [W_per_m2] and `t_air` [degC].

    Args:
        station: a name of STATIONS.
        start: the scenario's clock. Its date and wall time count as the station's standard time, whatever its
            year and offset: noon stays noon. The 29th of February repeats the 28th.
        until_s: end of the run [s].

    Raises:
        ValueError: an unknown station.

    Irradiance is the mean of an hour and stands at its middle; temperature is what was read at its end, so that the
    middle gets the mean of both ends. Source: Wilcox and Marion, Users Manual for TMY3 Data Sets, NREL/TP-581-43156
    (2008).
    """
    if station not in STATIONS:
        raise ValueError(f"there is no typical year of {station!r}; there are {', '.join(STATIONS)}")
    ghi, t_end = _year(STATIONS[station])
    t_middle = (np.roll(t_end, 1) + t_end) / 2
    wall = start.replace(tzinfo=None)
    first = wall.replace(minute=30, second=0, microsecond=0) - timedelta(hours=1)
    begin_s = (first - wall) / timedelta(seconds=1)  # at least half an hour before the start
    count = int(np.ceil((until_s - begin_s) / HOUR_S)) + 1
    row = [_row(first + timedelta(hours=hour)) for hour in range(count)]
    values = {"ghi": ghi[row], "t_air": t_middle[row]}
    return Profile(begin_s + HOUR_S * np.arange(count), values, {"ghi": "W_per_m2", "t_air": "degC"})


def _row(middle: datetime) -> int:
    """The row of an hour in a year of 365 days."""
    day = 28 if (middle.month, middle.day) == (2, 29) else middle.day
    return (date(2001, middle.month, day) - date(2001, 1, 1)).days * 24 + middle.hour


@cache
def _year(file: str) -> tuple[Real, Real]:
    """Irradiance and temperature of 8760 hours."""
    import pvlib.iotools

    table, _ = pvlib.iotools.read_tmy3(Path(pvlib.__file__).parent / "data" / file, map_variables=True)
    return table["ghi"].to_numpy(float), table["temp_air"].to_numpy(float)
