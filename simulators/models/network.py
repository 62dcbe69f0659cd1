"""The network as plain arrays: two-port branches, admittance matrix, branch flows and islands.

Everything is per unit on one system base, positive sequence, in a frame that rotates at nominal frequency.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from scipy.sparse.csgraph import connected_components

Real = NDArray[np.floating[Any]]
Complex = NDArray[np.complex128]
Index = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TwoPorts:
    """Admittances of branches [pu], fields (m,): I_from = ff V_from + ft V_to, I_to = tf V_from + tt V_to."""

    ff: Complex
    ft: Complex
    tf: Complex
    tt: Complex


def pi_branch(
    series: Complex, charging: Complex, tap: Complex, asymmetry: tuple[Complex, Complex] | None = None
) -> TwoPorts:
    """Two-ports of pi branches behind an ideal transformer at their from end.

    Args:
        series: impedance r + jx (m,), not 0.
        charging: total shunt admittance g + jb (m,); half of it stands at either end.
        tap: complex ratio (m,), 1 for a line.
        asymmetry: what series and charging of the to end have more than those of the from end.

    Source: Zimmerman, Murillo-Sanchez, Thomas, MATPOWER, IEEE Trans. Power Syst. 26 (2011), eq. 3.
    """
    more_series, more_charging = asymmetry if asymmetry is not None else (0, 0)
    y_from, y_to = 1.0 / series, 1.0 / (series + more_series)
    return TwoPorts(
        ff=(y_from + charging / 2) / (tap * tap.conj()),
        ft=-y_from / tap.conj(),
        tf=-y_to / tap,
        tt=y_to + (charging + more_charging) / 2,
    )


@dataclass(frozen=True)
class Network:
    """Buses and branches, pu on `s_base_mva`.

    `bus_names` holds every name that a user may give, also those of buses that closed switches made one;
    several names may therefore share one row of the solution.
    """

    s_base_mva: float
    f_nom_hz: float
    bus_names: tuple[str, ...]  # one a user-visible bus
    bus_row: Index  # row of each name in the arrays below
    v_base_kv: Real  # (n,)
    shunt_pu: Complex  # (n,) admittance to ground
    branch_names: tuple[str, ...]  # (m,)
    from_bus: Index  # (m,) rows
    to_bus: Index  # (m,)
    two_ports: TwoPorts  # (m,)
    closed: Mask  # (m,) at the start
    rating_pu: Real  # (m,) current rating, nan = none given

    @property
    def n_bus(self) -> int:
        """Number of rows; a bus that a closed switch made part of another leaves a row without branches."""
        return len(self.shunt_pu)

    def row_of_bus(self, name: str) -> int:
        """Row of a bus by its name; ValueError says which names exist."""
        if name not in self.bus_names:
            raise ValueError(f"there is no bus {name!r}; the network has {preview(self.bus_names)}")
        return int(self.bus_row[self.bus_names.index(name)])

    def row_of_branch(self, name: str) -> int:
        """Row of a branch by `from-to` in either direction; ValueError says which names exist."""
        for candidate in (name, *_reversed(name)):
            if candidate in self.branch_names:
                return self.branch_names.index(candidate)
        raise ValueError(f"there is no line {name!r}; the network has {preview(self.branch_names)}")


def _reversed(name: str) -> list[str]:
    """What `from-to` or `from-to/2` is called from its other end; a bus's name may hold a dash or slash."""
    ends, slash, circuit = name.rpartition("/")
    return [
        f"{text[place + 1 :]}-{text[:place]}{suffix}"
        for text, suffix in ((name, ""), (ends, slash + circuit))
        for place, letter in enumerate(text)
        if letter == "-"
    ]


def preview(names: Sequence[str], most: int = 12) -> str:
    """The first names of a list, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def admittance_matrix(network: Network, closed: Mask) -> Any:
    """Nodal admittance matrix Y (n, n), scipy CSC, of the branches that are closed, and the shunts."""
    f, t = network.from_bus[closed], network.to_bus[closed]
    ports, buses = network.two_ports, np.arange(network.n_bus)
    values = (ports.ff[closed], ports.ft[closed], ports.tf[closed], ports.tt[closed], network.shunt_pu)
    rows = np.concatenate((f, f, t, t, buses))
    columns = np.concatenate((f, t, f, t, buses))
    return csc_matrix((np.concatenate(values), (rows, columns)), shape=(network.n_bus, network.n_bus))


def branch_flows(network: Network, closed: Mask, v_pu: Complex) -> tuple[Complex, Complex]:
    """Complex power into each branch at its from and to end, (..., m) for voltages (..., n); 0 where open."""
    ports = network.two_ports
    v_from, v_to = v_pu[..., network.from_bus], v_pu[..., network.to_bus]
    s_from = np.where(closed, v_from * (ports.ff * v_from + ports.ft * v_to).conj(), 0)
    s_to = np.where(closed, v_to * (ports.tf * v_from + ports.tt * v_to).conj(), 0)
    return s_from, s_to


def islands(network: Network, closed: Mask) -> Index:
    """Label (n,) of the island that each bus belongs to."""
    f, t = network.from_bus[closed], network.to_bus[closed]
    graph = csc_matrix((np.ones(len(f)), (f, t)), shape=(network.n_bus, network.n_bus))
    labels: Index = connected_components(graph, directed=False)[1].astype(np.intp)
    return labels
