"""Pictures of a dispatch: how the search came down, and the voltages before and after it."""

from collections.abc import Sequence
from typing import Any

from gridloop.scenarios.study_axes import Direction, along_x, along_y
from gridloop.scenarios.study_svg import FONT, MUTED, WIDTH, axes, colour, line, mark, text

LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 66, 18, 56, 52, 300
FEASIBLE_PU = 1e-6
MANY = 100  # power flows from which their axis is logarithmic


def convergence(searched: Sequence[dict[str, Any]]) -> str:
    """Losses of the best setting over power flows, a curve for each dispatched slot."""
    counts = [point[0] for one in searched for point in one["history"]]
    losses = [point[1] for one in searched for point in one["history"] if point[1] is not None]
    x = along_x(counts, max(counts) > MANY, (), LEFT, WIDTH - LEFT - RIGHT)
    y = along_y(losses, HEIGHT - BOTTOM, TOP - (HEIGHT - BOTTOM))
    parts = [*_head("Losses of the best setting so far [MW]; hollow: breaks a limit"), *axes(
        x, y, (TOP, HEIGHT - BOTTOM), "power flows"
    )]  # fmt: skip
    for place, one in enumerate(searched):
        known = [point for point in one["history"] if point[1] is not None]
        corners = " ".join(f"{x.place(count):.1f},{y.place(loss):.1f}" for count, loss, _ in known)
        parts.append(f'<polyline points="{corners}" style="fill:none;stroke:{colour(place)};stroke-width:1.7"/>')
        for count, loss, outside in known:
            inside = outside is not None and outside <= FEASIBLE_PU
            style = f"fill:{colour(place) if inside else 'var(--paper, #fff)'};stroke:{colour(place)}"
            parts.append(mark(place, x.place(count), y.place(loss), style, f"{count:.0f} power flows, {loss:.6f} MW"))
        parts += _told(place, f"slot {one['slot']}: {one['loss_mw']:.4f} MW", 34)
    return _svg("convergence", parts)


def voltages(one: dict[str, Any]) -> str:
    """Voltages of all buses before and after one dispatch, and its band."""
    before, after = one["v_before_pu"], one["v_pu"]
    known = [v for levels in (before, after) for v in levels.values() if v is not None]
    x = along_x([*before], False, (), LEFT, WIDTH - LEFT - RIGHT)
    y = along_y([*known, *one["band_pu"]], HEIGHT - BOTTOM, TOP - (HEIGHT - BOTTOM))
    parts = [*_head(f"Voltages of slot {one['slot']} [pu]"), *axes(x, y, (TOP, HEIGHT - BOTTOM), "bus")]
    for limit in one["band_pu"]:
        parts.append(line(LEFT, y.place(limit), WIDTH - RIGHT, y.place(limit), f"stroke:{MUTED};stroke-dasharray:6 3"))
    for place, (told, levels) in enumerate((("before", before), ("after", after))):
        for row, (bus, v) in enumerate(levels.items()):
            if v is not None:
                parts.append(mark(place, _at(x, row), y.place(v), f"fill:{colour(place)}", f"bus {bus}: {v:.4f} pu"))
        parts += _told(place, told, 34)
    return _svg("voltages before and after", parts)


def _at(x: Direction, row: int) -> float:
    return x.place(float(row))


def _head(words: str) -> list[str]:
    return [text(LEFT, 16, words, "font-weight:650;font-size:14px")]


def _told(place: int, words: str, y: float) -> list[str]:
    x = LEFT + 200 * place
    return [mark(place, x + 6, y - 4, f"fill:{colour(place)}"), text(x + 18, y, words)]


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{label}" style="{FONT};font-size:12px;max-width:100%;height:auto">'
        + "".join(parts) + "</svg>"
    )  # fmt: skip
