"""Secondary control of a settled grid, by the names of units and buses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gridloop.simulators.models import balancing
from gridloop.simulators.models.balancing import Balancing
from gridloop.simulators.models.graph import adjacency, edges
from gridloop.simulators.models.network import Network, Real
from gridloop.simulators.models.secondary import Gains, Law
from gridloop.simulators.models.steady_control import FREQUENCY_LAWS, SteadyControl


@dataclass(frozen=True)
class Store:
    """What the balancing of charges knows of a member with a battery."""

    e_rated_kwh: float
    s_rated_kva: float


@dataclass(frozen=True)
class NamedControl:
    """Secondary control of some units.

    Args:
        members: the units, in the order in which their corrections are recorded.
        pins: g of some of them; of law C the leader.
        graph: as `graph.edges` takes it.
        frequency: F, D, C or none.
        voltage: a law, C for the central controller's, None for none.
        gains: gains and limits.
        pilot_bus: the bus whose voltage law C holds.
        central: names of central controllers, which are recorded too.
        balancing: of charges, None for none.
        stores: members with a battery.

    Raises:
        ValueError: a frequency law that has no settled state here.
    """

    members: tuple[str, ...]
    pins: Mapping[str, float]
    graph: str | Sequence[Sequence[str]]
    frequency: str
    voltage: Law | str | None
    gains: Gains
    pilot_bus: str
    central: tuple[str, ...] = ()
    balancing: Balancing | None = None
    stores: Mapping[str, Store] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frequency not in FREQUENCY_LAWS:
            raise ValueError(
                f"control.frequency.law = {self.frequency!r}: mode: steady knows where {', '.join(FREQUENCY_LAWS)} "
                "come to rest; use one of them, or mode: rms"
            )

    def steady(self, sources: Sequence[str], network: Network) -> SteadyControl:
        """The control by rows: of `sources`, the units that form the grid in its order."""
        names = list(self.members)
        return SteadyControl(
            np.array([sources.index(name) for name in names], np.intp),
            np.array([self.pins.get(name, 0.0) for name in names]), adjacency(edges(self.graph, names), names),
            self.frequency, self.voltage, self.gains, network.row_of_bus(self.pilot_bus),
        )  # fmt: skip

    def balanced_kw(self, soc: Mapping[str, float]) -> dict[str, float]:
        """What P* of the members with a battery moves by, for their states of charge (0..1)."""
        if self.balancing is None or not self.stores:
            return {}
        missing = [name for name in self.stores if not np.isfinite(soc.get(name, np.nan))]
        if missing:
            raise ValueError(f"balancing needs the state of charge of {', '.join(missing)}; connect SoC[%]")
        capacity = sum(store.e_rated_kwh for store in self.stores.values())
        energy = sum(store.e_rated_kwh * soc[name] for name, store in self.stores.items())
        return {
            name: balancing.p_set_kw(soc[name], energy, capacity, store.s_rated_kva, self.balancing)
            for name, store in self.stores.items()
        }  # fmt: skip

    def recorded(self, sources: Sequence[str], omega_rad_per_s: Real, correction_pu: Real) -> Real:
        """Omega [Hz] and v [pu] of every member, then of every central controller, as they are recorded."""
        rows = [sources.index(name) for name in self.members]
        pairs = np.stack((omega_rad_per_s[rows] / (2 * np.pi), correction_pu[rows]), axis=1)
        own = [self.frequency == "C", self.voltage == "C"]
        shared = np.where(own, pairs[0], 0.0) if len(pairs) else np.zeros(2)
        return np.concatenate([pairs.ravel(), *(shared for _ in self.central)])
