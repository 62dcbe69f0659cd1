"""The symbols of a single-line diagram as SVG fragments; points are complex numbers x + iy [px], y down."""

from html import escape

NAMESPACE = "http://www.w3.org/2000/svg"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#c98a00", "#b85c93", "#3fa0e0", "#6b7280", "#882255")
LETTERS = {"diesel": "D", "machine": "G", "pcc": "N"}  # an inverter shows a sine instead

# Every colour is a variable of the page with a default, so that the picture also stands alone.
STYLE = """
.network{font-family:system-ui,sans-serif;color:var(--ink,#1f2933)}
.network text{fill:currentColor;stroke:var(--paper,#fff);stroke-width:3px;paint-order:stroke;
stroke-linejoin:round;text-anchor:middle;dominant-baseline:central}
.network .soft{fill:var(--muted,#5b6773)}
.network .bar{stroke:var(--ink,#1f2933);stroke-linecap:round}
.network .symbol{fill:var(--paper,#fff);stroke:currentColor}
.network .line{stroke:currentColor;fill:none}
.network .solid{fill:currentColor}
.network .load{color:var(--muted,#5b6773)}
.network .hit{stroke:transparent;stroke-width:14}
.network .branch{fill:none;stroke-linecap:round}
.network .level0{stroke:var(--level0,#aab3bd);stroke-width:1.8}
.network .level1{stroke:var(--level1,#9a86cf);stroke-width:2.8}
.network .level2{stroke:var(--level2,#6f42b5);stroke-width:4}
.network .level3{stroke:var(--level3,#3b0f70);stroke-width:5.4}
.network .over{stroke:var(--bad,#c2185b)}
.network .open{stroke:var(--bad,#c2185b);stroke-width:2;stroke-dasharray:6 5;stroke-linecap:butt}
.network .cross{stroke:var(--bad,#c2185b);stroke-width:2.2;fill:none}
.network .legend>text{text-anchor:start}
.network .name{font-weight:600}
.network .mark{fill:var(--bad,#c2185b);font-weight:600}
""" + "".join(f".network .c{i}{{color:var(--c{i},{colour})}}\n" for i, colour in enumerate(PALETTE))


def xy(point: complex) -> str:
    """A point as in a path, to a tenth of a pixel."""
    return f"{point.real:.1f} {point.imag:.1f}"


def line(a: complex, b: complex, classes: str, width: float | None = None) -> str:
    """A straight line."""
    stroke = "" if width is None else f' stroke-width="{width:.1f}"'
    return f'<path class="{classes}" d="M{xy(a)}L{xy(b)}"{stroke}/>'


def circle(centre: complex, radius: float, classes: str, width: float) -> str:
    """A circle of the given line width."""
    place = f'cx="{centre.real:.1f}" cy="{centre.imag:.1f}"'
    return f'<circle class="{classes}" {place} r="{radius:.1f}" stroke-width="{width:.1f}"/>'


def text(centre: complex, content: str, font: float, classes: str = "") -> str:
    """One line of text around its centre."""
    place = f'x="{centre.real:.1f}" y="{centre.imag:.1f}"'
    return f'<text class="{classes}" {place} font-size="{font:.1f}">{escape(content)}</text>'


def text_extent(rows: list[str], font: float) -> complex:
    """Width + height*1j of rows of text, near enough for any sans-serif face."""
    return complex(max(len(row) for row in rows) * font * 0.56 + 2, len(rows) * font * 1.2)


def text_rows(centre: complex, rows: list[str], font: float, classes: str = "") -> str:
    """Rows of text around their centre; the second and later ones are smaller and softer."""
    top = centre - 1j * font * 1.2 * (len(rows) - 1) / 2
    first = text(top, rows[0], font, classes)
    rest = (text(top + 1j * font * 1.2 * k, row, font * 0.88, "soft") for k, row in enumerate(rows[1:], 1))
    return first + "".join(rest)


def group(parts: list[str], tooltip: str, classes: str = "") -> str:
    """Shapes that belong together and say what they are when pointed at."""
    return f'<g class="{classes}"><title>{escape(tooltip)}</title>{"".join(parts)}</g>'


def unit_symbol(centre: complex, kind: str, size: float) -> list[str]:
    """A circle with a sine for an inverter, a crossed square for the public grid, else a circle with a letter."""
    shapes = [circle(centre, 14 * size, "symbol", 1.2 + size)]
    if size < 0.55:
        return [circle(centre, max(4.0, 11 * size), "symbol", 2.4)]
    if kind == "pcc":  # the public grid: a hatched square
        half = 12 * size * (1 + 1j)
        corners = [centre + half, centre + half.conjugate(), centre - half, centre - half.conjugate()]
        box = f'<path class="symbol" d="M{"L".join(xy(c) for c in corners)}Z" stroke-width="{1.2 + size:.1f}"/>'
        return [box, line(corners[0], corners[2], "line", size), line(corners[1], corners[3], "line", size)]
    if kind != "inverter":
        letter = LETTERS.get(kind, kind[:1].upper())
        return [*shapes, text(centre, letter, 14 * size)]
    s = 4.2 * size
    wave = f"M{xy(centre - 2 * s)}q{s:.1f} {-2.2 * s:.1f} {2 * s:.1f} 0t{2 * s:.1f} 0"
    return [*shapes, f'<path class="line" d="{wave}" stroke-width="{1.2 + 0.6 * size:.1f}"/>']


def load_symbol(bar: complex, side: complex, size: float) -> list[str]:
    """An arrow that leaves the bar at a point."""
    tip, base, across = bar + 32 * size * side, bar + 20 * size * side, 6 * size * side * 1j
    head = f'<path class="solid" d="M{xy(tip)}L{xy(base + across)}L{xy(base - across)}Z"/>'
    return [line(bar, base, "line", 0.8 + size), head]


def transformer_symbol(centre: complex, direction: complex, size: float, classes: str) -> list[str]:
    """Two rings that cover each other by a third, along the branch."""
    radius = max(4.0, 9 * size)
    rings = [centre + direction * radius * k for k in (-0.65, 0.65)]
    return [circle(c, radius, f"symbol {classes}", 1.4 + size) for c in rings]


def open_symbol(centre: complex, size: float) -> str:
    """A cross on a branch that is open."""
    arm = 5 + 3 * size
    return line(centre - arm * (1 + 1j) / 2, centre + arm * (1 + 1j) / 2, "cross") + line(
        centre - arm * (1 - 1j) / 2, centre + arm * (1 - 1j) / 2, "cross"
    )


def legend(items: list[tuple[str, str]], top_left: complex, width: float) -> tuple[str, float]:
    """Symbols with their meaning in rows; each is drawn around the origin.

    Returns:
        The fragment and its depth [px].
    """
    font, row, at, parts = 11.0, 26.0, top_left, []
    for words, symbol in items:
        extent = text_extent([words], font).real
        if at.real + 34 + extent > width and at.real > top_left.real:
            at = complex(top_left.real, at.imag + row)
        parts.append(f'<g transform="translate({at.real + 14:.1f} {at.imag:.1f})">{symbol}</g>')
        parts.append(text(at + 32, words, font, "soft"))
        at += 42 + extent
    return f'<g class="legend">{"".join(parts)}</g>', at.imag - top_left.imag + row
