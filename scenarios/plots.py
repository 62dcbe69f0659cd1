"""The time plots of a report: which series are shown, in which unit, and with how many points."""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridloop.scenarios.display import scale
from gridloop.scenarios.result import Kind, Real, Result

MOST_CURVES = 12  # more are shown as their envelope and a few extreme ones
MOST_POINTS = 2000  # of one curve
EXTREME = 2  # entities with the lowest values, and as many with the highest, beside an envelope
TIME_RESOLUTION_S = 1e-6

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Quantity:
    """One plot: `attribute` of all entities of these kinds that have it.

    Args:
        resolution: to which a value is kept [unit of the attribute]; None keeps six digits of the largest.
        least_span: the axis shows at least this much [unit of the attribute], so that noise stays small;
            None is 2 % of the largest value.
    """

    title: str
    kinds: tuple[Kind, ...]
    attribute: str
    resolution: float | None = None
    least_span: float | None = None


SOURCES: tuple[Kind, ...] = ("unit", "pcc")  # what feeds the network
QUANTITIES = (
    Quantity("Frequency", SOURCES, "f[Hz]", 1e-6, 0.02),
    Quantity("Active power", SOURCES, "P_gen[MW]"),
    Quantity("Reactive power", SOURCES, "Q_gen[MVar]"),
    Quantity("State of charge", ("unit",), "SoC[%]", 1e-3, 1.0),
    Quantity("Voltage at the buses", ("bus",), "Vm[pu]", 1e-6, 0.01),
    Quantity("Branch loading", ("branch",), "loading[%]", 1e-3, 5.0),
)
FLOW = Quantity("Branch flow", ("branch",), "P_from[MW]")  # where no branch has a rating
DEMAND = Quantity("Load", ("load",), "P_load[MW]")  # for the picture of the network only
MEASURED = "_meas["  # in the name of what a meter shows


@dataclass(frozen=True)
class Curve:
    """Values at a plot's times, the number of the colour, and whether it is a side of an envelope."""

    label: str
    colour: int
    values: Real
    role: Literal["line", "low", "high"] = "line"


@dataclass(frozen=True)
class Plot:
    """Curves over one time axis [s], with values in `unit`, kept to `resolution` [unit]."""

    title: str
    unit: str
    t_s: Real
    curves: Sequence[Curve]
    resolution: float
    least_span: float


def time_plots(result: Result, colours: Mapping[str, int], ranges: Mapping[str, Ranges]) -> list[Plot]:
    """The plots of a run, thinned.

    Args:
        result: the run.
        colours: number of each unit's colour.
        ranges: lowest and highest value of each entity, by attribute, from `extremes`.
    """
    return [plot(result, q, colours, ranges[q.attribute]) for q in drawn(result, ranges)]


def drawn(result: Result, ranges: Mapping[str, Ranges]) -> list[Quantity]:
    """The quantities of a run that get a plot; flows of branches only where no loading is known."""
    wanted = QUANTITIES if ranges.get("loading[%]") else (*QUANTITIES[:-1], FLOW)
    return [q for q in (*wanted, *metered(result)) if ranges.get(q.attribute)]


def metered(result: Result) -> list[Quantity]:
    """A quantity for each attribute that meters show."""
    shown = (a for entity in result.entities.values() if entity.kind == "meter" for a in entity.attributes)
    names = {attribute: attribute.partition(MEASURED)[0] for attribute in shown if MEASURED in attribute}
    return [Quantity(f"Meters, {name}", ("meter",), attribute) for attribute, name in names.items()]


def extremes(result: Result, wanted: Iterable[Quantity] | None = None) -> dict[str, Ranges]:
    """Lowest and highest finite value of every entity by attribute; of all that a report shows if not told."""
    found: dict[str, Ranges] = {}
    for q in (*QUANTITIES, FLOW, DEMAND, *metered(result)) if wanted is None else wanted:
        for name, entity in result.entities.items():
            if entity.kind not in q.kinds or q.attribute not in entity.attributes:
                continue
            values = shown(q, result.series(name, q.attribute)[1])
            if np.isfinite(values).any():
                span = float(np.nanmin(values)), float(np.nanmax(values))
                found.setdefault(q.attribute, {})[name] = span
    return found


def shown(q: Quantity, values: Real) -> Real:
    """Values as plotted: a gap where there is none, and where a bus is dead (its voltage is exactly 0)."""
    lost = ~np.isfinite(values) | ((values == 0) & (q.attribute == "Vm[pu]"))
    return np.where(lost, np.nan, values)


def plot(result: Result, q: Quantity, colours: Mapping[str, int], ranges: Ranges) -> Plot:
    """One quantity of all its entities, or its envelope and the most telling ones."""
    hosts = host_buses(result)
    chosen = list(ranges) if len(ranges) <= MOST_CURVES else telling(q, ranges, hosts)
    t_s = max((result.series(name, q.attribute)[0] for name in chosen), key=len)
    names = named(q, chosen, colours, hosts)
    curves = [Curve(*look, on(t_s, result, q, name)) for look, name in zip(names, chosen, strict=True)]
    if len(chosen) < len(ranges):
        low, high = envelope(t_s, result, q, ranges)
        curves += [Curve("lowest", -1, low, "low"), Curve("highest", -1, high, "high")]
    kept = thinned(np.array([c.values for c in curves]), t_s, [event.t_s for event in result.events])

    unit, largest = q.attribute.partition("[")[2][:-1], max(max(map(abs, span)) for span in ranges.values())
    by = scale(unit, largest)
    curves = [replace(c, values=c.values[kept] * by.factor) for c in curves]
    fine = 10.0 ** (math.floor(math.log10(largest)) - 5) if largest else 1e-6
    resolution = max(q.resolution or fine, largest * 1e-12)
    span = q.least_span if q.least_span is not None else 0.02 * largest
    title = q.title if len(chosen) == len(ranges) else f"{q.title}, envelope of {len(ranges)}"
    return Plot(title, by.unit, t_s[kept], curves, resolution * by.factor, span * by.factor)


def host_buses(result: Result) -> dict[str, str]:
    """The first unit of each bus that has one."""
    return {unit["bus"]: unit["id"] for unit in reversed(result.record.get("network", {}).get("units", []))}


def unit_colours(result: Result, ranges: Mapping[str, Ranges]) -> dict[str, int]:
    """A number for the colour of each unit that gets a curve anywhere, the same in all plots."""
    units: dict[str, int] = {}
    for q in QUANTITIES:
        if "unit" in q.kinds and (known := ranges.get(q.attribute)):
            for name in known if len(known) <= MOST_CURVES else telling(q, known, {}):
                units.setdefault(name, len(units))
    return units


def named(
    q: Quantity, chosen: Sequence[str], colours: Mapping[str, int], hosts: Mapping[str, str]
) -> list[tuple[str, int]]:
    """Label and colour of curves; a bus shares the colour of its unit, others take the next free one."""
    free, found = itertools.count(len(colours)), []
    for name in chosen:
        unit = hosts.get(name, "") if "bus" in q.kinds else name
        label = f"{name} ({unit})" if "bus" in q.kinds and unit else name
        found.append((label, colours[unit] if unit in colours else next(free)))
    return found


def telling(q: Quantity, ranges: Ranges, hosts: Collection[str]) -> list[str]:
    """Of many entities the ones worth a curve of their own, in the order of the network."""
    by_low = sorted(ranges, key=lambda name: ranges[name][0])
    by_high = sorted(ranges, key=lambda name: -ranges[name][1])
    if "bus" in q.kinds:
        with_unit = [name for name in ranges if name in hosts]
        some = {by_low[0], by_high[0], *with_unit[: MOST_CURVES - 2]}
    elif "branch" in q.kinds:
        busiest = sorted(ranges, key=lambda name: -max(map(abs, ranges[name])))
        some = set(busiest[: 2 * EXTREME])
    else:
        some = {*by_low[:EXTREME], *by_high[:EXTREME]}
    return [name for name in ranges if name in some]


def on(t_s: Real, result: Result, q: Quantity, name: str) -> Real:
    """A series at the given times; streams may end a row apart, and meters have their own periods."""
    own_s, values = result.series(name, q.attribute)
    values = shown(q, values)
    if np.array_equal(own_s, t_s):
        return values
    return np.interp(t_s, own_s, values, left=np.nan, right=np.nan)


def envelope(t_s: Real, result: Result, q: Quantity, names: Iterable[str]) -> tuple[Real, Real]:
    """Lowest and highest value over all entities at each time; one series in memory at a time."""
    low, high = np.full(len(t_s), np.nan), np.full(len(t_s), np.nan)
    for name in names:
        values = on(t_s, result, q, name)
        low, high = np.fmin(low, values), np.fmax(high, values)
    return low, high


def thinned(rows: Real, t_s: Real, event_s: Iterable[float], limit: int = MOST_POINTS) -> NDArray[np.intp]:
    """Which samples to draw so that no peak is lost: every point on a curve stays a sample at its own time.

    Args:
        rows: (n curves, n times); nan where there is no value.
        t_s: (n times,) ascending [s].
        event_s: times [s] around which each sample counts.
        limit: number of samples that is aimed at, above 2 n.

    Returns:
        Ascending indices: the ends, the samples beside events, and of bins of equal length the lowest and the
        highest of every curve.
    """
    count = len(t_s)
    if count <= limit:
        return np.arange(count)
    beside = [np.searchsorted(t_s, event) + step for event in event_s for step in (-1, 0, 1)]
    fixed = np.clip([0, count - 1, *beside], 0, count - 1)
    n_bin = max(1, (limit - len(np.unique(fixed))) // (2 * len(rows)))
    kept = finer = np.union1d(fixed, peaks(rows, n_bin))
    while len(finer) <= limit and n_bin < limit:  # curves that peak together leave room for finer bins
        kept, n_bin = finer, math.ceil(1.2 * n_bin)
        finer = np.union1d(fixed, peaks(rows, n_bin))
    return kept


def peaks(rows: Real, n_bin: int) -> NDArray[np.intp]:
    """Indices of the lowest and the highest value of each row in each of `n_bin` bins."""
    starts = np.linspace(0, rows.shape[1], n_bin + 1).astype(int)
    found = []
    for a, b in itertools.pairwise(starts):
        part = rows[:, a:b]
        found.append(a + np.where(np.isnan(part), np.inf, part).argmin(axis=1))
        found.append(a + np.where(np.isnan(part), -np.inf, part).argmax(axis=1))
    return np.unique(np.concatenate(found))


def encoded(values: Real, resolution: float) -> list[int | None]:
    """Values as whole multiples of `resolution`, each but the first as its difference to the one before.

    None stands for nan and leaves the sum as it is.
    """
    finite = np.isfinite(values)
    whole = np.round(values[finite] / resolution).astype(np.int64)
    steps = iter(np.diff(whole, prepend=0).tolist())
    return [next(steps) if has else None for has in finite]


def plot_data(plots: Sequence[Plot]) -> list[dict[str, Any]]:
    """What the page needs of the plots, ready for JSON."""
    return [
        {
            "title": p.title, "unit": p.unit, "resolution": p.resolution, "span": p.least_span,
            "t": encoded(p.t_s, TIME_RESOLUTION_S),
            "curves": [
                {"label": c.label, "colour": c.colour, "role": c.role, "d": encoded(c.values, p.resolution)}
                for c in p.curves
            ],
        }
        for p in plots
    ]  # fmt: skip
