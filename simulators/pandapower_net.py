"""A pandapower net as the plain arrays of models.network and models.loads.

The net goes through pandapower's own conversion to a bus-branch matrix, so that transformers with taps, closed
bus-bus switches, open line ends and everything else that it knows mean here what they mean there.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.simulators.models.network import Complex, Index, Mask, Network, Real, pi_branch

# tables of elements that control a voltage or a flow by themselves, for which there is no model here
UNSUPPORTED = ("dcline", "xward", "svc", "tcsc", "ssc", "vsc", "vsc_stacked", "line_dc", "bus_dc")
NO_LIMIT_MVA = 9899.0  # MATPOWER's cases write 9900 or more where no limit is known


@dataclass(frozen=True)
class Generators:
    """What seeds the start: one row a bus with an ext_grid or gen in service."""

    bus: Index
    p_pu: Real  # dispatch without the reference's unknown part
    v_pu: Complex  # set-point; its angle counts at reference buses
    reference: Mask
    kind: tuple[str, ...]  # 'ext_grid' or 'gen'


@dataclass(frozen=True)
class NetLoads:
    """Loads of the net, one row a bus; what else draws or injects constant power there is apart."""

    bus: Index
    s_pu: Complex  # at 1 pu
    zip_p: Real  # (k, 3)
    zip_q: Real
    fixed_bus: Index
    fixed_pu: Complex  # static generators, storages, ...; load sign


@dataclass(frozen=True)
class ImportedNet:
    """A pandapower net in plain arrays; `position` (buses, 2) is its drawing, nan where none is given."""

    network: Network
    loads: NetLoads
    generators: Generators
    position: Real
    branch_kinds: tuple[str, ...]  # pandapower's table of each branch: line, trafo, ...


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back pandapower's advice about its own power flow, which is not what runs here."""
    log = logging.getLogger("pandapower")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def load_net(name: str, folder: Path) -> Any:
    """A pandapower net: a function of pandapower.networks by its name, or a .json file beside the scenario.

    A net that has a name is made once in a process: treat it as read-only.

    Raises:
        ValueError: there is no such network or file, or the file is not a pandapower net.
    """
    import pandapower
    import pandapower.networks

    with _quiet():
        return _load(name, folder, pandapower)


def _load(name: str, folder: Path, pandapower: Any) -> Any:
    if name.endswith(".json"):
        path = folder / name
        if not path.is_file():
            near = [other.name for other in folder.glob("*.json")]
            raise ValueError(f"there is no file {path}{_closest(name, near)}")
        try:
            net = pandapower.from_json(str(path))
        except Exception as error:  # pandapower raises whatever its parser meets
            raise ValueError(f"{path} is not a pandapower net: {error}") from error
        if not isinstance(net, pandapower.pandapowerNet) or not hasattr(net.bus, "columns"):
            raise ValueError(f"{path} is not a pandapower net")
        return net
    function = getattr(pandapower.networks, name, None)
    if name.startswith("_") or not callable(function):
        nets = [key for key, value in vars(pandapower.networks).items() if _makes_a_net(key, value)]
        hint = _closest(name, [*nets, *(path.name for path in folder.glob("*.json"))])
        hint = hint or ", and a file's name ends in .json"
        raise ValueError(f"pandapower.networks has no network {name!r}{hint}")
    try:
        net = _made_once(function)
    except TypeError as error:
        raise ValueError(f"pandapower.networks.{name} needs arguments; save the net to a .json file") from error
    if not isinstance(net, pandapower.pandapowerNet):
        raise ValueError(f"pandapower.networks.{name} is not a network")
    return net


@lru_cache
def _made_once(function: Callable[[], Any]) -> Any:
    """Reading a case takes pandapower half a second."""
    return function()


def _makes_a_net(name: str, value: Any) -> bool:
    """Whether a name in pandapower.networks is that of a function that makes a net."""
    return callable(value) and not name.startswith("_") and str(value.__module__).startswith("pandapower.networks.")


def _closest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def import_net(net: Any, reference_bus: str | None = None) -> ImportedNet:
    """Convert a pandapower net. It is left as it was.

    Args:
        net: the net.
        reference_bus: name of the bus that lends the angle when the net has neither ext_grid nor slack generator.

    Raises:
        ValueError: the net has no bus, or elements that no model here stands for.
    """
    import copy
    import warnings

    import pandapower
    from pandapower.auxiliary import _add_ppc_options
    from pandapower.pd2ppc import _pd2ppc

    net = copy.deepcopy(net)
    if not len(net.bus):
        raise ValueError("the pandapower net has no bus")
    refused = [f"{len(net[table])} {table}" for table in UNSUPPORTED if table in net and len(net[table])]
    if refused:
        raise ValueError(f"the pandapower net has elements that are not supported: {', '.join(refused)}")
    if not net.ext_grid.in_service.any() and not (net.gen.in_service & net.gen.slack).any():
        named = [index for index, name in _names(net).items() if name == reference_bus]
        added = pandapower.create_ext_grid(net, (named or list(net.bus.index))[0])
    else:
        added = None
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net._options = {}
        _add_ppc_options(
            net, calculate_voltage_angles=True, trafo_model="t", check_connectivity=False, mode="pf",
            switch_rx_ratio=2, enforce_p_lims=False, enforce_q_lims=False, recycle=None,
        )  # fmt: skip
        # the internal matrix is the only one that keeps what is out of service and may be closed later
        ppc, _ = _pd2ppc(net)
    row_of = net._pd2ppc_lookups["bus"]
    network = _network(net, ppc, row_of)
    kinds = ["branch"] * len(network.branch_names)
    for table, (first, last) in net._pd2ppc_lookups["branch"].items():
        kinds[first:last] = [table] * (last - first)
    return ImportedNet(
        network, _loads(net, ppc, row_of), _generators(net, row_of, added), _positions(net), tuple(kinds)
    )


def _names(net: Any) -> dict[int, str]:
    """Bus index -> its name as text; `#index` where the name is missing or not unique, dots made dashes."""
    texts = {i: "" if n is None or n != n else str(n).replace(".", "-") for i, n in net.bus.name.items()}
    counts = list(texts.values())
    return {i: t if t and counts.count(t) == 1 else f"#{i}" for i, t in texts.items()}


def _network(net: Any, ppc: Any, row_of: Any) -> Network:
    from pandapower.pypower import idx_brch, idx_bus

    branch, bus = ppc["branch"], ppc["bus"]
    tap = np.where(branch[:, idx_brch.TAP] == 0, 1.0, branch[:, idx_brch.TAP].real)
    tap = tap * np.exp(1j * np.radians(branch[:, idx_brch.SHIFT].real))
    ports = pi_branch(
        branch[:, idx_brch.BR_R] + 1j * branch[:, idx_brch.BR_X],
        branch[:, idx_brch.BR_G] + 1j * branch[:, idx_brch.BR_B],
        tap,
        (branch[:, idx_brch.BR_R_ASYM] + 1j * branch[:, idx_brch.BR_X_ASYM],
         branch[:, idx_brch.BR_G_ASYM] + 1j * branch[:, idx_brch.BR_B_ASYM]),
    )  # fmt: skip
    names = _names(net)
    from_bus = branch[:, idx_brch.F_BUS].real.astype(np.intp)
    to_bus = branch[:, idx_brch.T_BUS].real.astype(np.intp)
    named = np.array([row_of[i] for i in names], dtype=np.intp)
    return Network(
        s_base_mva=float(ppc["baseMVA"]),
        f_nom_hz=float(net.f_hz),
        bus_names=tuple(names.values()),
        bus_row=named,
        v_base_kv=bus[:, idx_bus.BASE_KV].real.copy(),
        shunt_pu=(bus[:, idx_bus.GS] + 1j * bus[:, idx_bus.BS]) / ppc["baseMVA"],
        branch_names=_branch_names(net, names, from_bus, to_bus, named),
        from_bus=from_bus,
        to_bus=to_bus,
        two_ports=ports,
        closed=branch[:, idx_brch.BR_STATUS].real == 1,
        rating_pu=_ratings(net, len(branch)),
    )


def _ratings(net: Any, count: int) -> Real:
    """Current at which a line or transformer is loaded by 100 %, pu; nan where the net gives none."""
    rating = np.full(count, np.nan)
    for table, (first, last) in net._pd2ppc_lookups["branch"].items():
        elements = net[table]
        if table == "line":
            v_kv = net.bus.vn_kv.loc[elements.from_bus].to_numpy(float)
            i_ka = (elements.max_i_ka * elements.df * elements.parallel).to_numpy(float)
            given = i_ka * np.sqrt(3) * v_kv
        elif table == "trafo":
            given = (elements.sn_mva * elements.df * elements.parallel).to_numpy(float)
        else:
            continue
        known = (given > 0) & (given < NO_LIMIT_MVA)
        rating[first:last] = np.where(known, given / net.sn_mva, np.nan)
    return rating


def _branch_names(net: Any, names: dict[int, str], from_bus: Index, to_bus: Index, named: Index) -> tuple[str, ...]:
    """`from-to` by the ends that the net gives, else by the rows' first bus; parallel ones get /2, /3, ..."""
    of_row: dict[int, str] = {}
    for row, name in zip(named.tolist(), names.values(), strict=True):
        of_row.setdefault(row, name)
    pairs = [(of_row.get(f, f"aux{f}"), of_row.get(t, f"aux{t}")) for f, t in zip(from_bus, to_bus, strict=True)]
    for table, (first, _) in net._pd2ppc_lookups["branch"].items():
        ends = {"line": ("from_bus", "to_bus"), "trafo": ("hv_bus", "lv_bus"), "impedance": ("from_bus", "to_bus")}
        if table in ends:
            for offset, (f, t) in enumerate(zip(*(net[table][end] for end in ends[table]), strict=True)):
                pairs[first + offset] = (names[f], names[t])
    seen: dict[frozenset[str], int] = {}
    result = []
    for f_name, t_name in pairs:
        count = seen[frozenset((f_name, t_name))] = seen.get(frozenset((f_name, t_name)), 0) + 1
        result.append(f"{f_name}-{t_name}" + (f"/{count}" if count > 1 else ""))
    return tuple(result)


def _loads(net: Any, ppc: Any, row_of: Any) -> NetLoads:
    from pandapower.pypower import idx_bus

    total = (ppc["bus"][:, idx_bus.PD] + 1j * ppc["bus"][:, idx_bus.QD]) / ppc["baseMVA"]
    table = net.load[net.load.in_service & net.load.bus.map(net.bus.in_service)]
    rows = row_of[table.bus.to_numpy()]
    s = (table.p_mw + 1j * table.q_mvar).to_numpy() * table.scaling.to_numpy() / ppc["baseMVA"]
    shares = {}
    for kind in "pq":
        parts = [table[f"const_{part}_{kind}_percent"].to_numpy(float) / 100 for part in "zi"]
        shares[kind] = np.stack((*parts, 1 - parts[0] - parts[1]), axis=1)
    bus = np.unique(rows)
    s_bus = np.zeros(len(total), complex)
    np.add.at(s_bus, rows, s)
    zips = []
    for kind, part in (("p", s.real), ("q", s.imag)):
        weighted = np.zeros((len(total), 3))
        np.add.at(weighted, rows, part[:, None] * shares[kind])
        whole = weighted.sum(1, keepdims=True)
        zips.append(np.divide(weighted, whole, out=np.tile([0.0, 0.0, 1.0], (len(total), 1)), where=whole != 0)[bus])
    rest = total - s_bus
    fixed = np.flatnonzero(np.abs(rest) > 1e-12)
    return NetLoads(bus, s_bus[bus], zips[0], zips[1], fixed, rest[fixed])


def _generators(net: Any, row_of: Any, added: Any) -> Generators:
    rows: dict[int, list[Any]] = {}
    grids = net.ext_grid[net.ext_grid.in_service & (net.ext_grid.index != added if added is not None else True)]
    for grid in grids.itertuples():
        v = grid.vm_pu * np.exp(1j * np.radians(grid.va_degree))
        rows.setdefault(int(row_of[grid.bus]), [0.0, v, True, "ext_grid"])
    for gen in net.gen[net.gen.in_service].itertuples():
        row = rows.setdefault(int(row_of[gen.bus]), [0.0, complex(gen.vm_pu), bool(gen.slack), "gen"])
        row[0] += gen.p_mw * gen.scaling / net.sn_mva
    order = sorted(rows)
    columns = [[rows[bus][i] for bus in order] for i in range(4)]
    return Generators(
        np.array(order, np.intp), np.array(columns[0], float), np.array(columns[1], complex),
        np.array(columns[2], bool), tuple(columns[3]),
    )  # fmt: skip


def _positions(net: Any) -> Real:
    import json

    position = np.full((len(net.bus), 2), np.nan)
    if "geo" in net.bus:
        for row, geo in enumerate(net.bus.geo):
            if isinstance(geo, str):
                position[row] = json.loads(geo)["coordinates"][:2]
    return position
