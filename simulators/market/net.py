"""A pandapower net as a dispatch problem, and a setting written back into the net.

Controls are the voltages of `gen` and `ext_grid`, tap changers of type `Ratio` whose range is given, and static var
compensators: `sgen` with `controllable` set and a range of reactive power, and `svc`, which count as one whose range
is that of their susceptance at 1 pu.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gridloop.simulators.market.problem import KINDS, Compensators, Demands, Problem, Sources, Taps
from gridloop.simulators.models.network import Index, Real, islands
from gridloop.simulators.pandapower_net import ImportedNet, import_net, load_net

V_MIN_PU, V_MAX_PU = 0.9, 1.1  # where the net gives no band


@dataclass(frozen=True)
class DispatchNet:
    """A problem beside the net that it came from; the net's rows of every control in the problem's order."""

    net: Any
    problem: Problem
    row_of_bus: Index  # of each row of net.bus
    holders: tuple[tuple[tuple[str, int], ...], ...]  # of each source: ("gen", 0), ("ext_grid", 0), ...
    trafos: tuple[int, ...]  # of each tap changer
    sgens: tuple[int, ...]  # of each compensator


def read_net(name: str, folder: Path, kinds: tuple[str, ...] = KINDS) -> DispatchNet:
    """A net of pandapower.networks by its name, or a .json file in `folder`, as a dispatch problem.

    Raises:
        ValueError: there is no such net, or it cannot be dispatched; it says why.
    """
    return dispatch_net(load_net(name, folder), kinds)


def dispatch_net(net: Any, kinds: tuple[str, ...] = KINDS) -> DispatchNet:
    """A pandapower net as a dispatch problem; the net given is left as it was.

    Args:
        net: with at least one `ext_grid` or slack generator.
        kinds: groups of controls that may be moved, of KINDS.

    Raises:
        ValueError: the net has no source, voltage-dependent loads, or elements no model here stands for.
    """
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(f"controls {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
    net = copy.deepcopy(net)
    _svcs_as_sgens(net)
    _refuse_voltage_dependence(net)
    imported = import_net(net)
    network = imported.network
    row_of = dict(zip(net.bus.index, network.bus_row.tolist(), strict=True))
    label = islands(network, network.closed)
    referred = imported.generators.bus[imported.generators.reference]
    supplied = np.isin(label, label[referred])
    supplied[np.setdiff1d(np.arange(network.n_bus), _used(imported))] = False
    sources, holders = _sources(net, imported, row_of, supplied)
    if not sources.reference.any():
        raise ValueError("the net has no ext_grid or slack generator in service that supplies it")
    svcs, sgens = _compensators(net, imported, row_of, supplied)
    taps, trafos = _taps(net, imported)
    demands = _demands(net, imported, row_of)
    fixed = np.zeros(network.n_bus, complex)
    fixed[imported.loads.fixed_bus] = -imported.loads.fixed_pu * network.s_base_mva
    np.subtract.at(fixed, svcs.bus, 1j * svcs.q_mvar)  # they stand in the setting
    v_min, v_max = _bands(net, network.n_bus, row_of)
    problem = Problem(
        network, sources, taps, svcs, demands, fixed, v_min, v_max, supplied, _angles(net, sources), tuple(kinds)
    )
    return DispatchNet(net, problem, network.bus_row, holders, trafos, sgens)


def with_setting(given: DispatchNet, x: Real) -> Any:
    """A copy of the net with the setting `x` (k,); tap positions may be fractions of a step."""
    net = copy.deepcopy(given.net)
    v, ratio, q = given.problem.parts(x)
    for holders, level in zip(given.holders, v, strict=True):
        for table, index in holders:
            net[table].loc[index, "vm_pu"] = float(level)
    if len(ratio):
        net.trafo["tap_pos"] = net.trafo.tap_pos.astype(float)
        rows = net.trafo.loc[list(given.trafos)]
        net.trafo.loc[list(given.trafos), "tap_pos"] = rows.tap_neutral + (ratio - 1) * 100 / rows.tap_step_percent
    for index, value in zip(given.sgens, q, strict=True):
        net.sgen.loc[index, "q_mvar"] = float(value) / float(net.sgen.scaling[index])
    return net


def _angles(net: Any, sources: Sources) -> Real:
    """Angles (n,) of pandapower's linear power flow, which knows the transformers' shifts."""
    import pandapower
    from pandapower.pypower import idx_bus

    pandapower.rundcpp(net, calculate_voltage_angles=True, trafo_model="t")
    angle: Real = np.nan_to_num(np.radians(net._ppc["bus"][:, idx_bus.VA].real))
    angle[sources.bus[sources.reference]] = np.angle(sources.v_pu[sources.reference])
    return angle


def _used(imported: ImportedNet) -> Index:
    """Rows that belong to a bus in use: an end of a closed branch, or a generator's."""
    network = imported.network
    return np.concatenate((
        network.from_bus[network.closed], network.to_bus[network.closed], imported.generators.bus,
    ))  # fmt: skip


def _named(table: Any, fallback: list[str]) -> tuple[str, ...]:
    """Names of a table's rows where it gives different ones, else the fallback, numbered where it repeats."""
    given = [str(name) if isinstance(name, str) and name else "" for name in table.name]
    names = [n if n and given.count(n) == 1 else f for n, f in zip(given, fallback, strict=True)]
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        names[row] = name if seen[name] == 1 else f"{name}/{seen[name]}"
    return tuple(names)


def _bus_name(imported: ImportedNet, row: int) -> str:
    network = imported.network
    return network.bus_names[int(np.flatnonzero(network.bus_row == row)[0])]


def _sources(net: Any, imported: ImportedNet, row_of: dict[Any, int], supplied: Any) -> tuple[Sources, Any]:
    made = imported.generators
    keep = np.flatnonzero(supplied[made.bus])
    held = [
        tuple((table, int(i)) for table in ("ext_grid", "gen") for i in net[table].index[net[table].in_service]
              if row_of[net[table].bus[i]] == bus)
        for bus in made.bus[keep]
    ]  # fmt: skip

    def total(column: str, unknown: float) -> Real:
        """Sums of a limit over each bus's generators; `unknown` where one of them gives none."""
        sums = []
        for elements in held:
            values = [_number(net[table], i, column) for table, i in elements]
            sums.append(unknown if any(np.isnan(values)) else float(sum(values)))
        return np.array(sums)

    p_max = total("max_p_mw", np.inf)
    s_max = total("sn_mva", np.nan)
    sources = Sources(
        tuple(f"g{_bus_name(imported, bus)}" for bus in made.bus[keep]), made.bus[keep],
        made.p_pu[keep] * imported.network.s_base_mva,
        made.v_pu[keep], made.reference[keep],
        total("min_q_mvar", -np.inf), total("max_q_mvar", np.inf), p_max, np.where(np.isnan(s_max), p_max, s_max),
        np.array([_cost(net, elements) for elements in held]).reshape(-1, 3),
    )  # fmt: skip
    return sources, tuple(held)


def _number(table: Any, index: int, column: str) -> float:
    return float(table[column][index]) if column in table else float("nan")


def _cost(net: Any, elements: tuple[tuple[str, int], ...]) -> tuple[float, float, float]:
    """Polynomial of the one generator at a bus; nan where there is none or there are several."""
    if len(elements) == 1 and "poly_cost" in net:
        (table, index), costs = elements[0], net.poly_cost
        for row in costs[(costs.et == table) & (costs.element == index)].itertuples():
            return float(row.cp0_eur), float(row.cp1_eur_per_mw), float(row.cp2_eur_per_mw2)
    return (np.nan, np.nan, np.nan)


def _compensators(net: Any, imported: ImportedNet, row_of: dict[Any, int], supplied: Any) -> tuple[Compensators, Any]:
    table = net.sgen[net.sgen.in_service]
    ranged = [c in table for c in ("controllable", "min_q_mvar", "max_q_mvar")]
    if all(ranged):
        wide = (table.max_q_mvar.astype(float) > table.min_q_mvar.astype(float)).to_numpy()
        inside = np.array([supplied[row_of[bus]] for bus in table.bus], bool)
        table = table[wide & inside & (table.controllable == True).to_numpy()]  # noqa: E712 - it may be missing
    else:
        table = table.iloc[:0]
    rows = np.array([row_of[bus] for bus in table.bus], np.intp)
    compensators = Compensators(
        _named(table, [f"svc{_bus_name(imported, row)}" for row in rows]), rows,
        (table.q_mvar * table.scaling).to_numpy(float),
        *(table[c].to_numpy(float) if all(ranged) else np.empty(0) for c in ("min_q_mvar", "max_q_mvar")),
    )  # fmt: skip
    return compensators, tuple(int(i) for i in table.index)


def _taps(net: Any, imported: ImportedNet) -> tuple[Taps, tuple[int, ...]]:
    branch = np.flatnonzero(np.array(imported.branch_kinds) == "trafo")
    closed = imported.network.closed[branch] if len(branch) else np.zeros(0, bool)
    table = net.trafo
    columns = ("tap_min", "tap_max", "tap_pos", "tap_neutral", "tap_step_percent")
    known = np.ones(len(table), bool)
    for column in columns:
        known &= np.isfinite(table[column].to_numpy(float))
    known &= closed & (table.tap_changer_type == "Ratio").to_numpy() & table.tap_side.isin(("hv", "lv")).to_numpy()
    known &= ~np.nan_to_num(table.tap_step_degree.to_numpy(float)).astype(bool)
    table, branch = table[known], branch[known]
    neutral, step = table.tap_neutral.to_numpy(float), table.tap_step_percent.to_numpy(float) / 100
    ends = np.sort([1 + (table[c].to_numpy(float) - neutral) * step for c in ("tap_min", "tap_max")], axis=0)
    taps = Taps(
        tuple(imported.network.branch_names[row] for row in branch), branch, (table.tap_side == "hv").to_numpy(),
        1 + (table.tap_pos.to_numpy(float) - neutral) * step, ends[0], ends[1],
    )  # fmt: skip
    return taps, tuple(int(i) for i in table.index)


def _demands(net: Any, imported: ImportedNet, row_of: dict[Any, int]) -> Demands:
    table = net.load[net.load.in_service & net.load.bus.map(net.bus.in_service)]
    rows = np.array([row_of[bus] for bus in table.bus], np.intp)
    s = (table.p_mw + 1j * table.q_mvar).to_numpy() * table.scaling.to_numpy(float)
    return Demands(_named(table, [f"load{_bus_name(imported, row)}" for row in rows]), rows, s)


def _bands(net: Any, count: int, row_of: dict[Any, int]) -> tuple[Real, Real]:
    """Narrowest voltage band of the buses behind each row."""
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    for bus in net.bus.index:
        row = row_of[bus]
        for limits, column, default, narrower in (
            (low, "min_vm_pu", V_MIN_PU, max), (high, "max_vm_pu", V_MAX_PU, min),
        ):  # fmt: skip
            value = _number(net.bus, bus, column)
            limits[row] = narrower(limits[row], default if np.isnan(value) else value)
    return np.where(np.isfinite(low), low, V_MIN_PU), np.where(np.isfinite(high), high, V_MAX_PU)


def _svcs_as_sgens(net: Any) -> None:
    """Replace each `svc` by an `sgen` whose range is that of its susceptance at 1 pu."""
    import pandapower

    if "svc" not in net or not len(net.svc):
        return
    for svc in net.svc[net.svc.in_service].itertuples():
        vn_kv = float(net.bus.vn_kv[svc.bus])

        def q_mvar(angle_degree: float, svc: Any = svc, vn_kv: float = vn_kv) -> float:
            angle = np.radians(angle_degree)
            coil = (2 * (np.pi - angle) + np.sin(2 * angle)) / (np.pi * svc.x_l_ohm)
            return float(-(coil + 1 / svc.x_cvar_ohm) * vn_kv**2)

        ends = sorted((q_mvar(svc.min_angle_degree), q_mvar(svc.max_angle_degree)))
        pandapower.create_sgen(
            net, svc.bus, 0.0, q_mvar(svc.thyristor_firing_angle_degree), name=svc.name, controllable=True,
            min_q_mvar=ends[0], max_q_mvar=ends[1],
        )  # fmt: skip
    net.svc = net.svc.iloc[:0]


def _refuse_voltage_dependence(net: Any) -> None:
    """Least losses with loads that follow the voltage would be found by starving them."""
    shares = [c for c in net.load.columns if c.startswith("const_") and (net.load[c].fillna(0) != 0).any()]
    if shares:
        raise ValueError(f"loads with {', '.join(shares)} != 0: dispatch is for loads of constant power")
