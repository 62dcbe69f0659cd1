"""The time plots of a report: which series are shown, in which unit, and with how many points."""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gridloop.scenarios.display import scale
from gridloop.scenarios.result import Kind, Real, Result
from gridloop.scenarios.thinning import MOST_POINTS, bends, thinned

COLOURS = 8  # of the page; a number beyond them is a colour once more, dashed
MOST_BESIDE = 4  # entities with two curves each; of more the sums are shown
MOST_CURVES = 12  # more are shown as their envelope and a few extreme ones
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
        beside: another attribute of the same entities that the plot shows beside it.
        words: what curves of the one and the other are called, behind the entity's id.
    """

    title: str
    kinds: tuple[Kind, ...]
    attribute: str
    resolution: float | None = None
    least_span: float | None = None
    beside: str = ""
    words: tuple[str, str] = ("", "")


SOURCES: tuple[Kind, ...] = ("unit", "pcc")  # what feeds the network
AGENTS: tuple[Kind, ...] = ("unit", "controller")  # what carries the state of a secondary control
QUANTITIES = (
    Quantity("Frequency", SOURCES, "f[Hz]", 1e-6, 0.02),
    Quantity("Active power", SOURCES, "P_gen[MW]"),
    Quantity("Reactive power", SOURCES, "Q_gen[MVar]"),
    Quantity("PV power available", ("unit",), "P_avail[MW]", None, None, "P_gen[MW]", ("available", "used")),
    Quantity("State of charge", ("unit",), "SoC[%]", 1e-3, 1.0),
    Quantity("Fuel burnt", ("unit",), "fuel[L]"),
    Quantity("Voltage at the buses", ("bus",), "Vm[pu]", 1e-6, 0.01),
    Quantity("Secondary control, frequency correction", AGENTS, "Omega[Hz]", 1e-6, 0.02),
    Quantity("Secondary control, voltage correction", AGENTS, "v[pu]", 1e-6, 0.01),
    Quantity("Age of the information on links", ("link",), "age[ms]", 1e-2, 10.0),
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


def time_plots(
    result: Result, colours: Mapping[str, int], ranges: Mapping[str, Ranges], limit: int = MOST_POINTS
) -> list[Plot]:  # fmt: skip
    """The plots of a run, thinned.

    Args:
        result: the run.
        colours: number of each unit's colour.
        ranges: lowest and highest value of each entity, by attribute, from `extremes`.
        limit: number of samples of a curve that is aimed at.
    """
    return [plot(result, q, colours, ranges[q.attribute], limit) for q in drawn(result, ranges)]


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


def plot(
    result: Result, q: Quantity, colours: Mapping[str, int], ranges: Ranges, limit: int = MOST_POINTS
) -> Plot:  # fmt: skip
    """One quantity of all its entities, or its envelope and the most telling ones."""
    hosts = host_buses(result)
    chosen = list(ranges) if len(ranges) <= MOST_CURVES else telling(q, ranges, hosts)
    t_s = max((result.series(name, q.attribute)[0] for name in chosen), key=len)
    names = named(q, chosen, colours, hosts)
    curves = [Curve(*look, on(t_s, result, q, name)) for look, name in zip(names, chosen, strict=True)]
    summed = bool(q.beside) and len(ranges) > MOST_BESIDE
    if summed:
        curves = totals(t_s, result, q, ranges)
    elif q.beside:
        curves = beside(t_s, result, q, list(zip(chosen, curves, strict=True)))
    elif len(chosen) < len(ranges):
        low, high = envelope(t_s, result, q, ranges)
        curves += [Curve("lowest", -1, low, "low"), Curve("highest", -1, high, "high")]

    unit, largest = q.attribute.partition("[")[2][:-1], max(float(np.nanmax(np.abs(c.values))) for c in curves)
    by = scale(unit, largest)
    fine = 10.0 ** (math.floor(math.log10(largest)) - 5) if largest else 1e-6
    resolution = max(q.resolution or fine, largest * 1e-12)
    rows = np.array([c.values for c in curves])
    kept = thinned(rows, t_s, [event.t_s for event in result.events], limit)
    kept = kept[bends(rows[:, kept], t_s[kept], resolution / 2)]
    curves = [replace(c, values=c.values[kept] * by.factor) for c in curves]
    span = q.least_span if q.least_span is not None else 0.02 * largest
    title = f"{q.title} and {q.words[1]}" if q.beside else q.title
    if summed:
        title = f"{title}, sum of {len(ranges)}"
    elif len(chosen) < len(ranges):
        title = f"{title}, envelope of {len(ranges)}"
    return Plot(title, by.unit, t_s[kept], curves, resolution * by.factor, span * by.factor)


def beside(t_s: Real, result: Result, q: Quantity, drawn: Sequence[tuple[str, Curve]]) -> list[Curve]:
    """The curves of the entities with those of the other attribute in the same colour, the first ones dashed."""
    other, curves = replace(q, attribute=q.beside), []
    for name, curve in drawn:
        first, second = (f"{curve.label} {word}" for word in q.words)
        curves.append(replace(curve, label=first, colour=curve.colour + COLOURS))
        if q.beside in result.entities[name].attributes:
            curves.append(Curve(second, curve.colour, on(t_s, result, other, name)))
    return curves


def totals(t_s: Real, result: Result, q: Quantity, names: Iterable[str]) -> list[Curve]:
    """Sums of both attributes over all entities."""
    sums = []
    for attribute in (q.attribute, q.beside):
        one, having = replace(q, attribute=attribute), [n for n in names if attribute in result.entities[n].attributes]
        sums.append(np.sum([np.nan_to_num(on(t_s, result, one, name)) for name in having], axis=0))
    first, second = q.words
    return [Curve(f"all {first}", COLOURS, sums[0]), Curve(f"all {second}", 0, sums[1])]


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
