"""Connections with a check of their units: `kW` reaches `MW` scaled, `MW` does not reach `Hz`.

mosaik's own `connect` takes any two attributes. `link` reads the units that their names end in, refuses what is not
the same quantity and scales what is. It is for a user's simulators beside ours as much as for the builder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

# quantity -> unit -> size in the quantity's first unit
UNITS: dict[str, dict[str, float]] = {
    "active power": {"MW": 1.0, "kW": 1e-3, "W": 1e-6},
    "reactive power": {"MVar": 1.0, "kVar": 1e-3, "Var": 1e-6, "Mvar": 1.0, "kvar": 1e-3, "var": 1e-6},
    "apparent power": {"MVA": 1.0, "kVA": 1e-3, "VA": 1e-6},
    "energy": {"MWh": 1.0, "kWh": 1e-3, "Wh": 1e-6},
    "voltage": {"kV": 1.0, "V": 1e-3},
    "current": {"kA": 1.0, "A": 1e-3},
    "frequency": {"Hz": 1.0, "mHz": 1e-3, "kHz": 1e3},
    "angular frequency": {"rad_per_s": 1.0},
    "angle": {"deg": 1.0, "rad": 180 / np.pi},
    "per unit": {"pu": 1.0},
    "ratio": {"1": 1.0, "%": 1e-2, "percent": 1e-2},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0},
    "temperature": {"degC": 1.0},
    "irradiance": {"W_per_m2": 1.0, "kW_per_m2": 1e3},
    "speed": {"m_per_s": 1.0},
    "volume": {"L": 1.0},
    "price": {"EUR_per_MWh": 1.0, "EUR_per_kWh": 1e3, "ct_per_kWh": 10.0},
    "money": {"EUR": 1.0, "ct": 1e-2},
}
QUANTITY = {unit: (quantity, size) for quantity, units in UNITS.items() for unit, size in units.items()}

Form = Callable[[Any], Any]
Start = Callable[..., Any]  # (name, simulator, **init) -> mosaik's model factory


class UnitError(ValueError):
    """Two attributes that are not the same quantity."""


def unit_of(attr: str) -> str | None:
    """The unit in `Quantity[unit]`; None for a name without one."""
    head, bracket, rest = attr.partition("[")
    return rest[:-1] if head and bracket and rest.endswith("]") else None


def factor(src_attr: str, dest_attr: str) -> float:
    """What a value of `src_attr` is multiplied with to be one of `dest_attr`; 1 if either name has no unit.

    Raises:
        UnitError: the units are of different quantities, or differ and one of them is not known.
    """
    given, wanted = unit_of(src_attr), unit_of(dest_attr)
    if given is None or wanted is None or given == wanted:
        return 1.0
    for unit in (given, wanted):
        if unit not in QUANTITY:
            close = get_close_matches(unit, QUANTITY, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UnitError(f"{src_attr} cannot feed {dest_attr}: the unit {unit!r} is not known{hint}")
    (quantity, size), (other, other_size) = QUANTITY[given], QUANTITY[wanted]
    if quantity != other:
        raise UnitError(f"{src_attr} cannot feed {dest_attr}: {given} is {quantity}, {wanted} is {other}")
    return size / other_size


@dataclass(frozen=True)
class _Scaled:
    """A transform: scale, then give the value the form that the other process can take."""

    times: float
    form: Form | None

    def __call__(self, value: Any) -> Any:
        if self.times != 1.0 and value is not None:
            value = (np.asarray(value) * self.times).tolist() if isinstance(value, list) else value * self.times
        return value if self.form is None else self.form(value)


def link(
    world: Any, src: Any, dest: Any, *attr_pairs: str | tuple[str, str], time_shifted: bool | int = False,
    initial_data: Mapping[str, Any] | None = None, form: Form | None = None,
) -> None:  # fmt: skip
    """Connect two entities as mosaik's `connect` does, with units checked and scaled.

    Args:
        world: the mosaik world.
        src: entity that shows the values.
        dest: entity that takes them.
        attr_pairs: attributes of both, or one name for both.
        time_shifted: whether the destination sees them later, by one unit of time or this many.
        initial_data: by the source's attribute and in its unit and form, what the destination sees before that.
        form: applied to every value after scaling, e.g. `wire.to_lists` on the way to another process.

    Raises:
        UnitError: the units are not of one quantity; nothing is connected.
        ValueError: two attributes of the source would go to one of the destination.
    """
    pairs = [(pair, pair) if isinstance(pair, str) else pair for pair in attr_pairs]
    targets = [dest_attr for _, dest_attr in pairs]
    twice = [attr for attr in dict.fromkeys(targets) if targets.count(attr) > 1]
    if twice:  # mosaik would keep one of them, which one depends on the hash seed
        raise ValueError(f"{src.full_id} -> {dest.full_id}: more than one attribute for {', '.join(twice)}")
    try:
        transforms = [_Scaled(factor(*pair), form) for pair in pairs]
    except UnitError as error:
        raise UnitError(f"{src.full_id} -> {dest.full_id}: {error}") from None
    for (src_attr, dest_attr), transform in zip(pairs, transforms, strict=True):
        more: dict[str, Any] = {}
        if transform != _Scaled(1.0, None):
            more["transform"] = transform
        if initial_data is not None and src_attr in initial_data:
            # mosaik hands initial data over as they are
            more["initial_data"] = {src_attr: transform(initial_data[src_attr])}
        world.connect(src, dest, (src_attr, dest_attr), time_shifted=time_shifted, **more)
