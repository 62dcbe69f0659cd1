"""Where units meet the grid: which rows of the network solve are theirs, and what came from them last.

Terminals  a group of units: arrays.
Terminal   one unit, in scalars that survive JSON.
View       a Terminal that replaces one row of a group while its `active` is not 0; power may replace an EMF.

A terminal's `source` is 'emf' (the unit gives an EMF) or 'power' (it gives P and Q, which are injected). Its `trip`
is that of a relay of the unit's own: it opens the unit's breaker when it rises from 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gridloop.simulators.device import only_value
from gridloop.simulators.models.network import Complex, Index, Real

Kind = Literal["emf", "power"]

TRIP = "trip[1]"


@dataclass
class Slot:
    """Rows of one Terminals or Terminal entity among all EMFs or all injections."""

    many: bool
    source: Kind
    units: tuple[str, ...]
    rows: slice
    value: Any  # EMFs or powers that came last, pu: an array of Terminals, a number of Terminal
    trip: Any = False  # of the units' relays as it came last, (n,) or one for all


@dataclass
class View:
    """What may stand in for a row of a group; power in place of an EMF has a row of its own among the injections."""

    of: str
    offset: int
    source: Kind
    row: int  # among all EMFs, or all injections
    has_own_row: bool
    value: complex
    active: bool = False


class _Rows:
    """All rows of one kind, in the order of creation."""

    def __init__(self) -> None:
        self.units: list[str] = []
        self.bus: list[int] = []
        self.z: list[complex] = []
        self.i_max: list[float] = []
        self.weight: list[float] = []

    def add(self, units: Sequence[str], bus: Sequence[int], z: Any, i_max: Any, weight: Any) -> slice:
        first, count = len(self.units), len(units)
        z_pu = [complex(*v) if isinstance(v, list | tuple) else complex(v) for v in _each("z", z, count)]
        limits = [np.inf if v is None else float(v) for v in _each("i_max", i_max, count)]
        weights = [float(v) for v in _each("weight", weight, count)]
        for name, values, allowed, law in (
            ("z", z_pu, np.isfinite(z_pu), "finite"), ("i_max", limits, np.array(limits) > 0, "> 0"),
        ):  # fmt: skip
            for place in np.flatnonzero(~allowed):
                raise ValueError(f"{name} = {values[place]:g} must be {law}")
        self.units += units
        self.bus += bus
        self.z += z_pu
        self.i_max += limits
        self.weight += weights
        return slice(first, first + count)


def _each(name: str, value: Any, count: int) -> list[Any]:
    values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * count
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} values for {count} units")
    return values


class Board:
    """All terminals of a grid.

    Args:
        row_of_bus: finds a bus's row by its name.
        s_base_mva: of the network.
    """

    def __init__(self, row_of_bus: Callable[[str], int], s_base_mva: float) -> None:
        self._row_of_bus, self._s_base_mva = row_of_bus, s_base_mva
        self.slots: dict[str, Slot] = {}
        self._of_kind: dict[Kind, list[Slot]] = {"emf": [], "power": []}
        self.views: dict[str, View] = {}
        self.tripped: list[str] = []  # units whose relays tripped in what was collected last
        self.emf, self.power = _Rows(), _Rows()

    def create(self, model: str, params: dict[str, Any]) -> str:
        """Add a Terminals or Terminal entity and return its id.

        Raises:
            ValueError: unknown bus, unknown source, values that do not fit the units.
        """
        many, source = model == "Terminals", params.get("source", "emf")
        if source not in ("emf", "power"):
            raise ValueError(f"{model}: source must be 'emf' or 'power', got {source!r}")
        units = tuple(params["units"]) if many else (params["unit"],)
        bus = [self._row_of_bus(str(name)) for name in (params["bus"] if many else [params["bus"]])]
        if len(bus) != len(units):
            raise ValueError(f"{model}: {len(units)} units at {len(bus)} buses")
        z = params.get("z", 0)
        z = z if many or not isinstance(z, list | tuple) else [z]
        if source == "power" and np.any(z):
            raise ValueError(f"{model}: an impedance z belongs to an EMF, not to injected power")
        i_max, kind = params.get("i_max"), self.emf if source == "emf" else self.power
        try:
            rows = kind.add(units, bus, z, i_max if many else [i_max], params.get("weight", 1.0))
        except ValueError as error:
            raise ValueError(f"{model}: {error}") from error
        if source == "emf" and any(
            z == 0 and np.isfinite(limit) for z, limit in zip(kind.z[rows], kind.i_max[rows], strict=True)
        ):
            raise ValueError(f"{model}: an ideal source cannot limit its current: give it an impedance z")
        eid = f"{model}-{sum(slot.many == many for slot in self.slots.values())}"
        slot = self.slots[eid] = Slot(many, source, units, rows, None)
        self._of_kind[slot.source].append(slot)
        return eid

    def create_view(self, params: dict[str, Any]) -> str:
        """Add a View of one row of a group.

        Raises:
            ValueError: there is no such row.
        """
        of, offset, role = params["of"], int(params["row"]), params.get("role", "emf")
        slot = self.slots.get(of)
        if slot is None or not slot.many or not 0 <= offset < len(slot.units):
            raise ValueError(f"View: there is no row {offset} of a group {of!r}")
        if role not in ("emf", "power"):
            raise ValueError(f"View: role must be 'emf' or 'power', got {role!r}")
        if slot.source == "power" and role == "emf":
            raise ValueError(f"View: row {offset} of {of} injects power: give the View role 'power'")
        eid, row = f"View-{slot.units[offset]}", slot.rows.start + offset
        if role != slot.source:
            row = self.power.add((f"{slot.units[offset]} as power",), [self.emf.bus[row]], 0, None, 1.0).start
        self.views[eid] = View(of, offset, role, row, role != slot.source, 0j)
        return eid

    def buses(self, slot: Slot) -> Index:
        """Bus rows of a terminal's units."""
        return np.array((self.emf if slot.source == "emf" else self.power).bus[slot.rows], np.intp)

    def collect(self, inputs: Any) -> tuple[Complex, Complex, bool]:
        """EMFs (s,) and injected powers (u,) of all rows, and whether a View came or went; units' relays too.

        A single untouched group of EMFs passes as it is.
        """
        slot, self.tripped = None, []
        for eid, slot in self.slots.items():
            given = inputs.get(eid)
            if given:
                slot.value = self._group(eid, slot, given) if slot.many else self._single(eid, slot, given)
                if TRIP in given:
                    self._take_trip(eid, slot, given[TRIP])
        if slot is not None and len(self.slots) == 1 and slot.many and slot.source == "emf" and not self.views:
            return slot.value, _NONE, False
        moved = self._collect_views(inputs) if self.views else False
        emf = self._joined("emf", len(self.emf.units))
        if not self.power.units:
            return emf, _NONE, moved
        power = self._joined("power", len(self.power.units))
        if np.count_nonzero(np.isfinite(power)) < len(power):
            raise ValueError(f"the power of {self.power.units[int(np.isfinite(power).argmin())]} is not finite")
        return emf, power, moved

    def _joined(self, source: Kind, count: int) -> Complex:
        of_kind = self._of_kind[source]
        if len(of_kind) == 1 and len(of_kind[0].units) == count and of_kind[0].many:
            whole: Complex = of_kind[0].value
            return whole
        joined = np.zeros(count, complex)
        for slot in of_kind:
            joined[slot.rows] = slot.value
        for view in self.views.values():
            if view.has_own_row and source == "power" and view.active:
                joined[view.row] = view.value
        return joined

    def _group(self, eid: str, slot: Slot, given: Any) -> Any:
        if slot.source == "emf":
            return self._column(eid, slot, given, "EMF[pu]") if "EMF[pu]" in given else slot.value
        s = slot.value.copy()
        if "P_gen[pu]" in given:
            s.real = self._column(eid, slot, given, "P_gen[pu]")
        if "Q_gen[pu]" in given:
            s.imag = self._column(eid, slot, given, "Q_gen[pu]")
        return s

    def _column(self, eid: str, slot: Slot, given: Any, attr: str) -> Any:
        """What came for all units of a group."""
        column = np.asarray(only_value(attr, given[attr], eid))
        if len(column) != len(slot.units):
            raise ValueError(f"{eid}: {attr} has {len(column)} rows, not {len(slot.units)}")
        return column

    def _single(self, eid: str, slot: Slot, given: Any) -> complex:
        if slot.source == "emf":
            return phasor(eid, given, slot.value)
        return self._power(eid, given, slot.value)

    def _power(self, eid: str, given: Any, last: complex) -> complex:
        p = sum(given["P_gen[MW]"].values()) / self._s_base_mva if "P_gen[MW]" in given else last.real
        q = sum(given["Q_gen[MVar]"].values()) / self._s_base_mva if "Q_gen[MVar]" in given else last.imag
        return complex(p, q)

    def _collect_views(self, inputs: Any) -> bool:
        moved = False
        for eid, view in self.views.items():
            given, slot = inputs.get(eid, {}), self.slots[view.of]
            active = bool(only_value("active[1]", given["active[1]"], eid)) if "active[1]" in given else view.active
            moved |= active != view.active and view.has_own_row
            view.active = active
            if not active:
                continue
            if view.source == "power":
                view.value = self._power(eid, given, view.value)
            else:
                view.value = phasor(eid, given, slot.value[view.offset])
            if not view.has_own_row:
                slot.value = np.array(slot.value)
                slot.value[view.offset] = view.value
        return moved

    def _take_trip(self, eid: str, slot: Slot, sources: Any) -> None:
        """Note the units whose relays trip now."""
        trip = only_value(TRIP, sources, eid)
        if not np.count_nonzero(trip):
            slot.trip = False
            return
        trip = np.atleast_1d(trip) != 0
        self.tripped += [slot.units[row] for row in np.flatnonzero(trip & ~np.asarray(slot.trip))]
        slot.trip = trip

    def frequencies(self, inputs: Any, f_hz: Real) -> None:
        """Put the frequencies that came in into `f_hz` (s,)."""
        for eid, slot in self.slots.items():
            given = inputs.get(eid, {})
            if slot.source == "emf" and "f[Hz]" in given:
                f_hz[slot.rows] = only_value("f[Hz]", given["f[Hz]"], eid)
        for eid, view in self.views.items():
            given = inputs.get(eid, {})
            if view.source == "emf" and view.active and "f[Hz]" in given:
                f_hz[view.row] = only_value("f[Hz]", given["f[Hz]"], eid)


_NONE = np.zeros(0, complex)


def phasor(eid: str, given: Any, last: complex) -> complex:
    """EMF from magnitude and angle; what is not given stays."""
    magnitude = only_value("E[pu]", given["E[pu]"], eid) if "E[pu]" in given else abs(last)
    degrees = only_value("Va_emf[deg]", given["Va_emf[deg]"], eid) if "Va_emf[deg]" in given else None
    angle = np.angle(last) if degrees is None else np.radians(degrees)
    return complex(magnitude * np.exp(1j * angle))
