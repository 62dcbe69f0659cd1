"""The units of a scenario: where they stand, what they are to do, and the groups that they make."""

from collections.abc import Iterable
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from gridloop.scenarios.courses import Reference
from gridloop.scenarios.groups import Course, Group
from gridloop.scenarios.operating_point import OperatingPoint, Placed
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.sources import Available, available, own_defaults
from gridloop.scenarios.unit_parts import Unit
from gridloop.simulators.models.network import Complex, Mask, Network, Real
from gridloop.simulators.ports import Model
from gridloop.simulators.profile_table import Profile

STIFF = 1e-3  # share of a machine's impedance that stays where its terminal voltage is held


class Units:
    """The units of a scenario with their models, in the order of the file."""

    def __init__(
        self, scenario: Scenario, network: Network, profiles: dict[str, Profile], generator_rows: Iterable[int]
    ) -> None:
        self._scenario, self._network, self._profiles = scenario, network, profiles
        self._names, self._units = list(scenario.units), list(scenario.units.values())
        self._models = [scenario.model_of(name) for name in self._names]
        self.available = self._available()
        self._given = [own_defaults(unit) | unit.parameters for unit in self._units]
        self._rows = np.array([network.row_of_bus(unit.bus) for unit in self._units], np.intp)
        self._kw = 1e-3 / network.s_base_mva
        self._courses = {
            name: self._course(unit)
            for name, unit, model in zip(self._names, self._units, self._models, strict=True) if model is None
        }  # fmt: skip
        self._at_generator = np.isin(self._rows, list(generator_rows))

    def _course(self, unit: Unit) -> Course:
        """Given power of one unit at the times of its profile; (m, 1)."""
        given = unit.given_power
        used = [what.profile for what, _ in (given.p, given.q) if isinstance(what, Reference)]
        times_s = self._profiles[used[0]].times_s if used else np.zeros(1)
        if len(used) == 2 and used[0] != used[1]:
            times_s = np.union1d(times_s, self._profiles[used[1]].times_s)

        def values(what: float | Reference, factor: float) -> Real:
            if not isinstance(what, Reference):
                return np.full((len(times_s), 1), what * 1e-3 * factor)
            profile = self._profiles[what.profile]
            return factor * np.interp(times_s, profile.times_s, profile.values[what.column])[:, None]

        return Course(times_s, values(*given.p), values(*given.q))

    def _available(self) -> dict[str, Available]:
        try:
            return available(self._scenario, self._profiles)
        except ValueError as error:
            raise self._scenario.error(Problem(("units",), f"photovoltaics: {error}")) from error

    def _efficiency_percent(self, place: int) -> float:
        model = self._models[place]
        assert model is not None  # who has an array is an inverter
        return float(self._given[place].get("efficiency_percent", _default(model, "efficiency_percent")))

    @cached_property
    def placed(self) -> Placed:
        """Where the units stand and what they are to do."""
        network = self._network
        is_given = np.array([model is None for model in self._models])
        is_emf = np.array([model is not None and model.source == "emf" for model in self._models])

        def column(key: str, factor: float) -> Real:
            return np.array([each.get(key, np.nan) for each in self._given], float) * factor

        p, q = column("p_set_kw", self._kw), column("q_set_kvar", self._kw)
        for places, params in self._by_model:
            possible = getattr(params, "s_settled_pu", None)  # a source may have less than is asked of it
            if possible is not None:
                p[places] = np.where(np.isnan(p[places]), np.nan, possible.real)
                q[places] = np.where(np.isnan(q[places]), np.nan, possible.imag)
        for place in np.flatnonzero(is_given):
            course = self._courses[self._names[place]]
            p[place], q[place] = (
                np.interp(0.0, course.times_s, power[:, 0]) / network.s_base_mva
                for power in (course.p_gen_mw, course.q_gen_mvar)
            )
        for i, name in enumerate(self._names):
            if name in self.available and not is_emf[i]:
                most_kw = self.available[name].at_start_kw(self._efficiency_percent(i))
                p[i] = min(p[i], most_kw * self._kw)
        # a following unit takes a generator's dispatch and voltage as long as the file gives it no reactive power
        is_fixed = ~is_emf & (~np.isnan(q) | ~self._at_generator | np.isin(self._names, list(self.available)))
        droop_m, droop_n = self._per_unit("droop_p_rad_per_s_pu"), self._per_unit("droop_q_pu")
        return Placed(
            self._rows, is_emf, is_given, is_fixed, self._impedances(), self._current_limits(),
            np.nan_to_num(self._ratings()), p, q, column("v_set_pu", 1.0), droop_m, droop_n,
        )  # fmt: skip

    def _ratings(self) -> Real:
        return np.array([unit.parameters.get("s_rated_kva", np.nan) for unit in self._units], float)

    def _impedances(self) -> Complex:
        """Source impedances on the system base: the models' own, or from the file's on the units' own ratings."""
        own: Complex = np.array([complex(*(unit.z_pu or (0.0, 0.0))) for unit in self._units], complex)
        z: Complex = own * self._network.s_base_mva * 1e3 / np.nan_to_num(self._ratings(), nan=1.0)
        for places, params in self._by_model:
            z[places] = getattr(params, "impedance_pu", z[places])
        return z

    @property
    def _machines(self) -> list[tuple[list[int], Any]]:
        """Places and parameters of units that bring an impedance of their own."""
        return [(places, params) for places, params in self._by_model if hasattr(params, "impedance_pu")]

    @property
    def without_droop(self) -> list[str]:
        """Machines whose power is the same at every frequency."""
        return [
            self._names[place] for places, params in self._machines for place in places
            if not hasattr(params, "droop_p_rad_per_s_pu")
        ]  # fmt: skip

    def at_terminals(self, placed: Placed) -> Placed:
        """Machines as nearly ideal sources at their terminals, whose voltage their droop lines are of."""
        z = placed.z_pu.copy()
        for places, _ in self._machines:
            z[places] *= STIFF
        return replace(placed, z_pu=z)

    def behind_impedances(self, start: OperatingPoint) -> OperatingPoint:
        """The same start with the machines' EMFs behind the whole of their impedances."""
        emf, z = start.emf_pu.copy(), self._impedances()
        for places, _ in self._machines:
            s, v = start.s_pu[places], start.v_bus[self._rows[places]]
            emf[places] = v + z[places] * np.divide(s, v, out=np.zeros_like(s), where=v != 0).conj()
        return replace(start, emf_pu=emf)

    def _current_limits(self) -> Real:
        """Largest currents on the system base, inf = no limit."""
        percent = np.array([
            np.inf if model is None else unit.parameters.get("i_max_percent", _default(model, "i_max_percent"))
            for unit, model in zip(self._units, self._models, strict=True)
        ])  # fmt: skip
        limits: Real = np.where(np.isfinite(percent), percent / 100 * self._ratings() * self._kw, np.inf)
        return limits

    def _per_unit(self, name: str) -> Real:
        """A figure of the models that know it, 0 of the others."""
        values = np.zeros(len(self._units))
        for places, params in self._by_model:
            values[places] = getattr(params, name, 0.0)
        return values

    @cached_property
    def _by_model(self) -> list[tuple[list[int], Any]]:
        """Places of the units of each model, and their parameters."""
        found = []
        for model in dict.fromkeys(known for known in self._models if known is not None):
            places = [i for i, other in enumerate(self._models) if other is model]
            found.append((places, self._params(model, places)))
        return found

    def _params(self, model: Model, places: list[int]) -> Any:
        """Parameters of units of one model as columns."""
        optional = {field.name: field.default for field in fields(model.params)}
        given = [self._given[i] for i in places]
        names = list(dict.fromkeys(key for each in given for key in each))
        columns: dict[str, Any] = {name: [each.get(name, optional[name]) for each in given] for name in names}
        if "counts_energy" in optional:
            columns["counts_energy"] = any(self._units[i].source is not None for i in places)
        return model.params(**columns, s_base_mva=self._network.s_base_mva, f_nom_hz=self._network.f_nom_hz)

    def groups(self, start: OperatingPoint) -> tuple[Group, ...]:
        """The units in groups; at a power-flow start its result becomes the set-points of those with a model."""
        found = []
        for places, params in self._by_model:
            model = self._models[places[0]]
            if self._scenario.start == "power_flow":
                own = self.placed.is_fixed[places]
                # a machine holds the voltage of its terminal, not the EMF behind its impedance
                holds = start.v_bus[self._rows] if hasattr(params, "impedance_pu") else start.emf_pu
                settled = _settled(params, start.s_pu[places], holds[places], self._kw, own)
            else:
                settled = params
            droop = getattr(settled, "droop_p_rad_per_s_pu", None)
            weight = self._ratings()[places]
            if droop is not None:  # an isochronous unit counts by its rating, before those with droop
                weight = np.divide(1.0, droop, out=weight, where=droop > 0)
            found.append(self._group(places, model.name, model, settled, None, weight, start))
        alike: dict[tuple[float, ...], list[int]] = {}
        for place, name in enumerate(self._names):
            if name in self._courses:
                alike.setdefault(tuple(self._courses[name].times_s), []).append(place)
        for places in alike.values():
            courses = [self._courses[self._names[place]] for place in places]
            course = Course(
                courses[0].times_s, np.hstack([c.p_gen_mw for c in courses]), np.hstack([c.q_gen_mvar for c in courses])
            )
            found.append(self._group(places, "Profile", None, None, course, np.zeros(len(places)), start))
        return tuple(found)

    def _group(
        self, places: list[int], name: str, model: Model | None, params: Any, course: Course | None, weight: Real,
        start: OperatingPoint,
    ) -> Group:  # fmt: skip
        return Group(
            name, model, tuple(self._names[i] for i in places), tuple(self._units[i].bus for i in places),
            self._impedances()[places], self._current_limits()[places], weight, self._ratings()[places], params,
            course, start.s_pu[places], start.emf_pu[places],
        )  # fmt: skip


def _default(model: Model, name: str) -> Any:
    """Default of a model's parameter; inf where it has none of that name."""
    return next((field.default for field in fields(model.params) if field.name == name), np.inf)


def _settled(params: Any, s_pu: Complex, phasor_pu: Complex, kw: float, keeps_own: Mask) -> Any:
    """Parameters whose set-points are those of the start, but for units that keep the file's."""
    values = {"p_set_kw": s_pu.real / kw, "q_set_kvar": s_pu.imag / kw, "v_set_pu": np.abs(phasor_pu)}
    known = {field.name for field in fields(params)}
    return replace(params, **{
        name: np.where(keeps_own, getattr(params, name), value) for name, value in values.items() if name in known
    })  # fmt: skip
