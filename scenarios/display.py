"""Numbers as people read them: the prefix that fits the size, few digits, words for never and undefined."""

import math
import re
from dataclasses import dataclass

PREFIXES = {"": 1e-6, "k": 1e-3, "M": 1.0, "G": 1e3}  # size of each in mega
SCALABLE = re.compile(r"([kMG]?)(Wh|W|VAh|VA|[Vv]arh|[Vv]ar)")
DECIMALS = {"Hz": 4, "pu": 4}  # a nadir is read to a tenth of a millihertz, a voltage to 0.01 %
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """How a column of values is shown: times `factor`, in `unit`."""

    factor: float
    unit: str


def scale(unit: str, largest: float) -> Scale:
    """The unit in which values up to `largest` [unit] read best; one choice for a whole plot or column.

    Args:
        unit: as in metrics and attributes, e.g. MW, MVar, MWh, Hz_per_s, 1.
        largest: greatest magnitude to be shown [unit]; 0, inf and nan leave the prefix.

    Returns:
        Factor and spelling: powers and energies get W, kW, MW or GW so that `largest` lies within 1..1000.
    """
    found = SCALABLE.fullmatch(unit)
    if not found:
        return Scale(1.0, spelled(unit))
    given, symbol = found.group(1), found.group(2).replace("Var", "var")
    prefix, mega = given, abs(largest) * PREFIXES[given]
    if 0 < mega < math.inf:
        prefix = next((p for p in ("G", "M", "k") if mega >= PREFIXES[p]), "")
    return Scale(PREFIXES[given] / PREFIXES[prefix], prefix + symbol)


def spelled(unit: str) -> str:
    """A unit as printed: Hz_per_s is Hz/s, EUR_per_MWh is EUR/MWh, 1 is nothing."""
    return "" if unit == "1" else unit.replace("_per_", "/").replace("_", " ")


def number(value: float, unit: str = "") -> str:
    """A value with the digits that its unit deserves; inf is 'never', nan is 'undefined'."""
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "never" if value > 0 else "-∞"
    size = abs(value)
    if unit in DECIMALS and 0.1 <= size < 1e4:
        return f"{value:.{DECIMALS[unit]}f}"
    if size and not 1e-4 <= size < 1e7:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}·10{str(int(exponent)).translate(SUPERSCRIPT)}"
    return f"{value:.0f}" if size >= 1000 else f"{value:.4g}"


def quantity(value: float, unit: str) -> str:
    """One value with its unit and a prefix that fits it, e.g. `quantity(0.025, "MW")` is '25 kW'."""
    if not math.isfinite(value):
        return number(value)
    shown = scale(unit, value)
    return f"{number(value * shown.factor, unit)} {shown.unit}".rstrip()
