"""What a distribution system operator may move in a net, within which limits: the data of every market calculation.

A setting is one vector of all controls: voltages that generators hold [pu], ratios of tap changers [1], reactive
power of static var compensators [Mvar], in this order. Settings (N, k) are evaluated N at a time.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from gridloop.simulators.models.network import Complex, Index, Mask, Network, Real, TwoPorts

KINDS = ("voltages", "taps", "svcs")


@dataclass(frozen=True)
class Sources:
    """Buses whose voltage generators hold, one row each. Unknown limits are infinite, unknown costs nan."""

    names: tuple[str, ...]
    bus: Index
    p_mw: Real  # dispatch; of a reference what the power flow leaves counts instead
    v_pu: Complex  # set-point; its angle counts at references
    reference: Mask
    q_min_mvar: Real
    q_max_mvar: Real
    p_max_mw: Real
    s_max_mva: Real
    cost: Real  # (s, 3): a [$/h], b [$/MWh], c [$/MW^2h] of a + b P + c P^2


@dataclass(frozen=True)
class Taps:
    """Tap changers; the ratio multiplies the rated voltage of the side they sit on, and its impedance squared."""

    names: tuple[str, ...]
    branch: Index
    at_from: Mask  # side of the branch
    ratio: Real
    low: Real
    high: Real


@dataclass(frozen=True)
class Compensators:
    """Static var compensators: constant reactive power within a range; > 0 flows into the bus."""

    names: tuple[str, ...]
    bus: Index
    q_mvar: Real
    low_mvar: Real
    high_mvar: Real


@dataclass(frozen=True)
class Demands:
    """Constant-power loads, one row an element."""

    names: tuple[str, ...]
    bus: Index
    s_mva: Complex


@dataclass(frozen=True)
class Problem:
    """A net with its controls; `kinds` says which groups of controls may be moved."""

    network: Network
    sources: Sources
    taps: Taps
    svcs: Compensators
    demands: Demands
    fixed_mva: Complex  # (n,) what else flows into each bus
    v_min_pu: Real  # (n,)
    v_max_pu: Real
    supplied: Mask  # (n,) connected to a reference
    angle_rad: Real  # (n,) near which the power flow's angles are; those of references count
    kinds: tuple[str, ...] = KINDS

    @cached_property
    def control_names(self) -> tuple[str, ...]:
        """A name for each control: `V g1`, `T 4-1`, `Q svc9`."""
        groups = (("V", self.sources.names), ("T", self.taps.names), ("Q", self.svcs.names))
        return tuple(f"{letter} {name}" for letter, names in groups for name in names)

    @cached_property
    def start(self) -> Real:
        """The setting (k,) that the net was given with."""
        return np.concatenate((np.abs(self.sources.v_pu), self.taps.ratio, self.svcs.q_mvar))

    @cached_property
    def bounds(self) -> tuple[Real, Real]:
        """Lowest and highest value (k,) of each control; equal where it may not be moved."""
        bus = self.sources.bus
        low = np.concatenate((self.v_min_pu[bus], self.taps.low, self.svcs.low_mvar))
        high = np.concatenate((self.v_max_pu[bus], self.taps.high, self.svcs.high_mvar))
        counts = [len(self.sources.bus), len(self.taps.branch), len(self.svcs.bus)]
        free = np.repeat([kind in self.kinds for kind in KINDS], counts)
        return np.where(free, low, self.start), np.where(free, high, self.start)

    def parts(self, x: Real) -> tuple[Real, Real, Real]:
        """Voltages [pu], ratios [1] and reactive powers [Mvar] of settings (..., k)."""
        first, second = len(self.sources.bus), len(self.sources.bus) + len(self.taps.branch)
        return x[..., :first], x[..., first:second], x[..., second:]

    @cached_property
    def injected_pu(self) -> Complex:
        """Power into each bus (n,) without compensators and without what sources give beyond their dispatch."""
        s = self.fixed_mva.copy()
        np.subtract.at(s, self.demands.bus, self.demands.s_mva)
        np.add.at(s, self.sources.bus, self.sources.p_mw)
        return s / self.network.s_base_mva

    def at(self, x: Real) -> "Problem":
        """The same net given with the setting `x` (k,)."""
        v, ratio, q = self.parts(x)
        held = self.sources.v_pu
        ports = self.two_ports(x[None])
        return replace(
            self,
            network=replace(self.network, two_ports=TwoPorts(ports.ff[0], ports.ft[0], ports.tf[0], ports.tt[0])),
            sources=replace(self.sources, v_pu=held * v / np.abs(held)), taps=replace(self.taps, ratio=ratio),
            svcs=replace(self.svcs, q_mvar=q),
        )  # fmt: skip

    @cached_property
    def flat_pu(self) -> Complex:
        """Voltages (n,) of magnitude 1 at the angles that are near; 0 where nothing supplies."""
        return np.where(self.supplied, np.exp(1j * self.angle_rad), 0j)

    @cached_property
    def ends(self) -> tuple[Any, Any]:
        """Incidence (m, n) of the branches' from and to ends, scipy CSR."""
        count = len(self.network.from_bus)
        shape, ones, rows = (count, self.network.n_bus), np.ones(count), np.arange(count)
        at_from, at_to = (csr_array((ones, (rows, bus)), shape) for bus in (self.network.from_bus, self.network.to_bus))
        return at_from, at_to

    def two_ports(self, x: Real) -> TwoPorts:
        """Two-ports of all branches at settings (N, k), fields (N, m).

        With an ideal ratio T at one end, what is seen at that end goes with 1/T^2 and what couples with 1/T.
        """
        ports, ratio = self.network.two_ports, self.parts(x)[1]
        relative = np.ones((len(x), len(self.network.from_bus)))
        relative[:, self.taps.branch] = self.taps.ratio / ratio
        at_from = np.zeros(relative.shape[1], bool)
        at_from[self.taps.branch] = self.taps.at_from
        square = relative**2
        return TwoPorts(
            ff=ports.ff * np.where(at_from, square, 1), ft=ports.ft * relative, tf=ports.tf * relative,
            tt=ports.tt * np.where(at_from, 1, square),
        )  # fmt: skip

    def network_at(self, x: Real) -> Network:
        """The network with the ratios of settings (N, k)."""
        return replace(self.network, two_ports=self.two_ports(x))


def row_named(names: tuple[str, ...], name: str, what: str) -> int:
    """Row of a name; ValueError says which there are."""
    if name not in names:
        raise ValueError(f"there is no {what} {name!r}; the net has {', '.join(names) or 'none'}")
    return names.index(name)
