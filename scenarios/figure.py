"""Series of a run as a matplotlib figure, for notebooks and papers."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gridloop.scenarios.aligned import chosen
from gridloop.scenarios.plots import QUANTITIES, Curve, extremes, time_plots, unit_colours
from gridloop.scenarios.result import Real, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ("f[Hz]", "P_gen[MW]", "Vm[pu]")  # what a figure of a whole run holds
# the report's colours on paper, told apart by people who confuse red and green
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c98a00", "#b85c93", "#3fa0e0", "#6b7280", "#882255")
DASHES: tuple[Any, ...] = ("-", (0, (6, 3)), (0, (2, 2)), (0, (8, 2, 2, 2)))
PANEL_IN, WIDTH_IN = 2.2, 8.0


@dataclass(frozen=True)
class Panel:
    """Curves over their times [s], in `unit`; the axis shows at least `least_span` [unit]."""

    title: str
    unit: str
    lines: Sequence[tuple[Real, Curve]]
    least_span: float = 0.0


def figure(result: Result, signals: Sequence[str] = ()) -> "Figure":
    """A panel for each quantity over time, with a line at every event.

    Args:
        result: the run.
        signals: an id and its attribute, or patterns as in `aligned.chosen`; the main quantities if absent.

    Raises:
        ValueError: nothing to plot, or matplotlib is missing.
    """
    pyplot = library()
    panels = of_signals(result, signals) if signals else of_run(result)
    if not panels:
        raise ValueError(f"{result.path} holds no series to plot")
    size = WIDTH_IN, 0.8 + PANEL_IN * len(panels)
    drawn, axes = pyplot.subplots(len(panels), sharex=True, squeeze=False, figsize=size, layout="constrained")
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        fill(axis, panel)
        for event in result.events:
            axis.axvline(event.t_s, color="0.6", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes[-1, 0].set_xlabel("Time [s]")
    return drawn  # type: ignore[no-any-return]


def library() -> ModuleType:
    """matplotlib.pyplot."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ValueError("plot() needs matplotlib; install the extra: pip install 'gridloop[plot]'") from None
    module: ModuleType = pyplot
    return module


def of_run(result: Result) -> list[Panel]:
    """The main plots of the report."""
    ranges = extremes(result, [q for q in QUANTITIES if q.attribute in SHOWN])
    plots = time_plots(result, unit_colours(result, ranges), ranges)
    return [Panel(p.title, p.unit, [(p.t_s, curve) for curve in p.curves], p.least_span) for p in plots]


def of_signals(result: Result, signals: Sequence[str]) -> list[Panel]:
    """One panel for each attribute, every sample in it."""
    entity = result.entities.get(signals[0])
    if len(signals) == 2 and entity and signals[1] in entity.attributes:
        names = [(signals[0], signals[1])]
    else:
        names = chosen(result, signals)
    panels: dict[str, list[tuple[Real, Curve]]] = {}
    for name, attribute in names:
        lines = panels.setdefault(attribute, [])
        t_s, values = result.series(name, attribute)
        lines.append((t_s, Curve(name, len(lines), values)))
    parts = [(attribute.partition("["), lines) for attribute, lines in panels.items()]
    return [Panel(quantity, unit.rstrip("]"), lines) for (quantity, _, unit), lines in parts]


def fill(axis: Any, panel: Panel) -> None:
    """Curves, envelope, names."""
    sides = [(t_s, curve.values) for t_s, curve in panel.lines if curve.role != "line"]
    if sides:
        (t_s, low), (_, high) = sides
        axis.fill_between(t_s, low, high, color="0.5", alpha=0.2, linewidth=0, label="lowest to highest")
    for t_s, curve in panel.lines:
        if curve.role == "line":
            turn, place = divmod(curve.colour, len(COLOURS))
            style = DASHES[turn % len(DASHES)]
            axis.plot(t_s, curve.values, label=curve.label, color=COLOURS[place], linestyle=style, linewidth=1.3)
    axis.set_title(panel.title, loc="left", fontsize=10)
    axis.set_ylabel(f"[{panel.unit}]" if panel.unit else "")
    axis.ticklabel_format(useOffset=False)
    axis.grid(color="0.92")
    axis.spines[["top", "right"]].set_visible(False)
    low, high = axis.get_ylim()
    room = max(0.0, panel.least_span - (high - low)) / 2
    axis.set_ylim(low - room, high + room)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
