"""The case of a pandapower net: its loads by a law of voltage and frequency, and its own power flow as the start."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gridloop.simulators.case import Case
from gridloop.simulators.models.loads import Loads, demand, power
from gridloop.simulators.models.network import Complex, Index, Mask, Network, Real, admittance_matrix, islands
from gridloop.simulators.models.powerflow import PowerFlowError, Targets, power_flow
from gridloop.simulators.pandapower_net import ImportedNet

CONSTANT_POWER = (0.0, 0.0, 1.0)
MOST_PASSES = 60  # of the power flow, each with what the loads draw at the voltages of the one before


@dataclass(frozen=True)
class LoadLaw:
    """How the loads depend on voltage and frequency; None keeps what the net says."""

    zip_p: tuple[float, float, float] | None = None  # shares of constant impedance, current, power
    zip_q: tuple[float, float, float] | None = None
    k_pf: float = 0.0  # pu power per pu frequency
    k_qf: float = 0.0
    v0_pu: float | None = None  # None: every load draws P0, Q0 at the start's voltage

    def __post_init__(self) -> None:
        for name in ("zip_p", "zip_q"):
            shares = getattr(self, name)
            if shares is not None and (len(shares) != 3 or abs(sum(shares) - 1) > 1e-9):
                raise ValueError(f"{name} = {list(shares)}: three shares, which must sum to 1")
        if self.v0_pu is not None and not self.v0_pu > 0:
            raise ValueError(f"v0_pu = {self.v0_pu:g} must be > 0")


def rebased(
    net: ImportedNet, s_mva: float | None = None, v_kv: float | None = None, f_nom_hz: float | None = None
) -> ImportedNet:
    """The same per-unit network on another base, its highest voltage level on `v_kv`; None keeps the net's own."""
    network = net.network
    for name, value in (("s_mva", s_mva), ("v_kv", v_kv), ("f_nom_hz", f_nom_hz)):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{name} = {value:g} must be > 0")
    ratio = 1.0 if v_kv is None else v_kv / network.v_base_kv.max()
    changed = replace(
        network, s_base_mva=s_mva or network.s_base_mva, v_base_kv=network.v_base_kv * ratio,
        f_nom_hz=f_nom_hz or network.f_nom_hz,
    )  # fmt: skip
    return replace(net, network=changed)


def net_loads(net: ImportedNet, law: LoadLaw, empty_at: Iterable[int] = ()) -> tuple[Loads, tuple[str, ...]]:
    """Loads of the net, an empty one at each of the rows `empty_at` that has none, and the net's fixed injections.

    Returns:
        The loads and a name for each: `load<bus>`, `fixed<bus>`. v0_pu is 1 where the law gives none.
    """
    given, network = net.loads, net.network
    empty = sorted(set(empty_at) - set(given.bus.tolist()))
    count, fixed = len(given.bus) + len(empty), len(given.fixed_bus)

    def shares(own: Real, wanted: tuple[float, float, float] | None) -> Real:
        rows = own if wanted is None else np.tile(wanted, (len(own), 1))
        rest = [wanted or CONSTANT_POWER] * len(empty) + [CONSTANT_POWER] * fixed
        return np.concatenate((rows.reshape(-1, 3), np.array(rest, float).reshape(-1, 3)))

    bus = np.concatenate((given.bus, np.array(empty, np.intp), given.fixed_bus))
    s = np.concatenate((given.s_pu, np.zeros(len(empty)), given.fixed_pu))
    varies = np.arange(count + fixed) < count
    loads = Loads(
        bus, s.real.copy(), s.imag.copy(), np.full(len(bus), law.v0_pu or 1.0),
        shares(given.zip_p, law.zip_p), shares(given.zip_q, law.zip_q),
        np.where(varies, law.k_pf, 0.0), np.where(varies, law.k_qf, 0.0),
    )  # fmt: skip
    names = [f"{'load' if i < count else 'fixed'}{bus_name(network, row)}" for i, row in enumerate(bus)]
    return loads, tuple(names)


def bus_name(network: Network, row: int) -> str:
    """The first name of a row."""
    return network.bus_names[int(np.flatnonzero(network.bus_row == row)[0])]


def load_power(loads: Loads, v_bus: Complex, v0_pu: float | None) -> Complex:
    """Power of every load; without a nominal voltage of their own they draw P0, Q0 at the start's voltages."""
    return power(demand(loads), v_bus[loads.bus]) if v0_pu is not None else loads.p0_pu + 1j * loads.q0_pu


@dataclass(frozen=True)
class Dispatch:
    """What stands at each bus (n,) at the start: power generated, voltage to be held, the reference, the size."""

    s_pu: Complex
    v_pu: Complex
    reference: Mask
    size: Real  # the largest in an island without a reference becomes it
    held: Index  # rows of the buses whose voltage is held


def solve_voltages(network: Network, loads: Loads, dispatch: Dispatch, v0_pu: float | None) -> Complex:
    """Bus voltages at the power flow; 0 in islands that have no bus of held voltage.

    Raises:
        PowerFlowError: no convergence; it names the row of the bus.
    """
    label = islands(network, network.closed)
    result = np.zeros(network.n_bus, complex)
    generated, v, reference = dispatch.s_pu, dispatch.v_pu, dispatch.reference.copy()
    for island in sorted(set(label[dispatch.held].tolist())):
        inside = np.flatnonzero(label == island)
        if not reference[inside].any():
            candidates = np.intersect1d(inside, dispatch.held)
            reference[candidates[dispatch.size[candidates].argmax()]] = True
        y = admittance_matrix(network, network.closed)[inside][:, inside]
        place = {bus: i for i, bus in enumerate(inside.tolist())}
        mine = [i for i, bus in enumerate(loads.bus.tolist()) if bus in place]
        at = [place[loads.bus[i]] for i in mine]
        own = loads.at(np.array(mine, np.intp))._replace(bus=np.array(at, np.intp))
        held = [place[row] for row in np.unique(dispatch.held).tolist() if row in place and not reference[row]]
        voltage = v[inside]
        for _ in range(MOST_PASSES):
            s = generated[inside].copy()
            np.subtract.at(s, at, load_power(own, voltage, v0_pu))
            targets = Targets(s, v[inside], np.flatnonzero(reference[inside]), np.array(held, np.intp))
            try:
                before, voltage = voltage, power_flow(y, targets)
            except PowerFlowError as error:
                raise PowerFlowError(int(inside[error.bus]), error.mismatch_pu) from error
            if v0_pu is None or float(np.abs(voltage - before).max()) < 1e-13:
                break
        result[inside] = voltage
    return result


def net_case(net: ImportedNet, law: LoadLaw, empty_at: Iterable[int] = ()) -> Case:
    """The case of a net as it is: its generators' power flow is what units at their buses start from.

    Args:
        net: from `import_net`.
        law: of the loads.
        empty_at: rows that get a load of 0, for what changes it later.

    Raises:
        PowerFlowError: the power flow does not converge.
    """
    network, generators = net.network, net.generators
    loads, names = net_loads(net, law, empty_at)
    p, v = np.zeros(network.n_bus, complex), np.ones(network.n_bus, complex)
    reference = np.zeros(network.n_bus, bool)
    p[generators.bus], v[generators.bus] = generators.p_pu, generators.v_pu
    reference[generators.bus] = generators.reference
    v_bus = solve_voltages(network, loads, Dispatch(p, v, reference, np.abs(p), generators.bus), law.v0_pu)
    s_bus = v_bus * (admittance_matrix(network, network.closed) @ v_bus).conj()
    np.add.at(s_bus, loads.bus, load_power(loads, v_bus, law.v0_pu))
    s_bus[np.setdiff1d(np.arange(network.n_bus), generators.bus)] = 0
    if law.v0_pu is None:
        level = np.abs(v_bus[loads.bus])
        loads = loads._replace(v0_pu=np.where(level > 0, level, 1.0))
    changeable = {int(row): i for i, row in enumerate(loads.bus) if names[i].startswith("load")}
    return Case(network, loads, names, changeable, v_bus, s_bus)
