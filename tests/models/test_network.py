"""The imported network against pandapower's own power flow; then what a user meets: names and messages."""

import copy
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandapower
import pandapower.networks
import pandapower.toolbox
import pytest

from gridloop.simulators.models.network import (
    admittance_matrix,
    branch_flows,
    islands,
    pi_branch,
    preview,
)
from gridloop.simulators.models.powerflow import Targets, power_flow
from gridloop.simulators.pandapower_net import ImportedNet, import_net, load_net

NETS = (
    "case9",
    "case14",
    "case30",
    "case118",
    "create_cigre_network_lv",
    "create_cigre_network_mv",
    "mv_oberrhein",
)
# pandapower's own nets of old miss a table that it has introduced since
pytestmark = pytest.mark.filterwarnings("ignore:tap_dependency_table is missing:DeprecationWarning")
every_net = pytest.mark.parametrize("name", NETS)


@cache
def solved(name: str) -> Any:
    """A net of pandapower with its results; not to be changed."""
    net = getattr(pandapower.networks, name)()
    pandapower.runpp(net, tolerance_mva=1e-10, numba=False, calculate_voltage_angles=True)
    return net


@cache
def imported(name: str) -> ImportedNet:
    return import_net(solved(name))


def energised(imported_net: ImportedNet):
    """Rows in an island with a generator; pandapower keeps only these."""
    label = islands(imported_net.network, imported_net.network.closed)
    return np.flatnonzero(np.isin(label, label[imported_net.generators.bus]))


@cache
def own_voltages(name: str):
    """Own power flow of the imported net, (n,), 0 where there is no voltage."""
    net, live = imported(name), energised(imported(name))
    network, generators = net.network, net.generators
    injected, start = np.zeros(network.n_bus, complex), np.ones(network.n_bus, complex)
    np.add.at(injected, net.loads.bus, -net.loads.s_pu)
    np.add.at(injected, net.loads.fixed_bus, -net.loads.fixed_pu)
    np.add.at(injected, generators.bus, generators.p_pu)
    start[generators.bus] = generators.v_pu
    row = np.searchsorted(live, generators.bus)
    targets = Targets(injected[live], start[live], row[generators.reference], row[~generators.reference])
    v = np.zeros(network.n_bus, complex)
    v[live] = power_flow(admittance_matrix(network, network.closed)[live][:, live], targets)
    return v


@every_net
def test_admittance_matrix_is_pandapowers(name):
    network, live = imported(name).network, energised(imported(name))
    own = admittance_matrix(network, network.closed)[live][:, live].toarray()
    theirs = solved(name)._ppc["internal"]["Ybus"].toarray()
    assert own.shape == theirs.shape
    assert np.abs(own - theirs).max() <= 1e-12 * np.abs(theirs).max()


@every_net
def test_power_flow_is_pandapowers(name):
    result = solved(name).res_bus
    theirs = (result.vm_pu * np.exp(1j * np.radians(result.va_degree))).to_numpy()
    own = own_voltages(name)[imported(name).network.bus_row]
    assert np.isfinite(theirs).all()
    assert np.abs(own - theirs).max() < 1e-9


@every_net
def test_flows_and_losses_are_pandapowers(name):
    net, network = solved(name), imported(name).network
    s_from, s_to = branch_flows(network, network.closed, own_voltages(name))
    for table, result, from_end, to_end in (
        ("line", net.res_line, "from", "to"),
        ("trafo", net.res_trafo, "hv", "lv"),
    ):
        rows = [row for row, kind in enumerate(imported(name).branch_kinds) if kind == table]
        assert len(rows) == len(result)
        for end, own in ((from_end, s_from[rows]), (to_end, s_to[rows])):
            theirs = (result[f"p_{end}_mw"] + 1j * result[f"q_{end}_mvar"]).to_numpy() / network.s_base_mva
            # a bound on the voltages' error of 1e-9, times the largest admittance that they meet
            assert np.abs(own - theirs).max(initial=0) < 1e-8 * max(1.0, np.abs(theirs).max(initial=0))
    loss_mw = (s_from + s_to).real.sum() * network.s_base_mva
    assert loss_mw == pytest.approx(net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum(), rel=1e-8)


def test_case9_losses():
    s_from, s_to = branch_flows(imported("case9").network, imported("case9").network.closed, own_voltages("case9"))
    assert (s_from + s_to).real.sum() * 100 == pytest.approx(4.9547016, abs=6e-8)  # MW


@every_net
def test_import_leaves_the_net_as_it_was(name):
    net, twin = solved(name), copy.deepcopy(solved(name))
    import_net(net)
    assert pandapower.toolbox.nets_equal(net, twin)
    assert net.keys() == twin.keys()


def test_net_without_ext_grid_imports():
    net = pandapower.networks.case9()
    net.ext_grid = net.ext_grid.drop(net.ext_grid.index)
    islanded, given = import_net(net), imported("case9")
    assert len(net.ext_grid) == 0
    assert islanded.generators.bus.tolist() == [1, 2]  # the gens of buses 2 and 3
    assert not islanded.generators.reference.any()
    matrices = [admittance_matrix(n.network, n.network.closed) for n in (islanded, given)]
    assert np.abs(matrices[0] - matrices[1]).max() == 0


def test_net_without_any_generator_imports():
    net = pandapower.networks.case9()
    net.ext_grid, net.gen = net.ext_grid.drop(net.ext_grid.index), net.gen.drop(net.gen.index)
    assert import_net(net).generators.kind == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_case", "has no network 'no_such_case'"),
        ("_case9", "has no network"),
        ("power_system_test_cases", "has no network"),
        ("mv_oberrhein.json", "there is no file"),
    ],
)
def test_unknown_net_is_refused(name, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        load_net(name, tmp_path)


def test_elements_without_a_model_are_refused_by_name():
    net = pandapower.networks.case9()
    pandapower.create_dcline(net, 3, 5, p_mw=1, loss_percent=1, loss_mw=0, vm_from_pu=1, vm_to_pu=1)
    with pytest.raises(ValueError, match="not supported: 1 dcline"):
        import_net(net)


def test_empty_net_is_refused():
    with pytest.raises(ValueError, match="no bus"):
        import_net(pandapower.create_empty_network())


# --- names ---


def small_net(*names: str | None) -> Any:
    """A chain of 0.4 kV buses with a line between neighbours."""
    net = pandapower.create_empty_network(sn_mva=0.1)
    buses = pandapower.create_buses(net, len(names), 0.4, name=list(names))
    for first, second in pairwise(buses):
        pandapower.create_line(net, first, second, 0.1, "NAYY 4x150 SE")
    pandapower.create_ext_grid(net, buses[0])
    return net


def test_branches_are_named_by_their_ends():
    network = imported("case9").network
    assert network.bus_names == tuple("123456789")
    assert set(network.branch_names) == {"1-4", "4-5", "5-6", "3-6", "6-7", "7-8", "8-2", "8-9", "9-4"}
    assert [network.row_of_bus(bus) for bus in "19"] == [0, 8]
    net = solved("create_cigre_network_lv")
    names, cigre = net.bus.name, imported("create_cigre_network_lv").network
    for row, line in enumerate(net.line.itertuples()):
        assert cigre.row_of_branch(f"{names[line.from_bus]}-{names[line.to_bus]}") == row


@pytest.mark.parametrize(
    ("name", "branch", "other_way"),
    [
        ("case9", "6-7", "7-6"),
        ("case9", "8-2", "2-8"),
        ("create_cigre_network_mv", "Bus 3-Bus 8", "Bus 8-Bus 3"),
        ("case118", "42-49/2", "49-42/2"),
    ],
)
def test_branch_is_found_from_either_end(name, branch, other_way):
    network = imported(name).network
    assert network.branch_names[network.row_of_branch(branch)] == branch
    assert network.row_of_branch(other_way) == network.row_of_branch(branch)


def test_circuits_side_by_side_are_two_branches():
    network = imported("case118").network
    first, second = network.row_of_branch("42-49"), network.row_of_branch("42-49/2")
    assert first != second
    assert network.from_bus[first] == network.from_bus[second]
    assert network.to_bus[first] == network.to_bus[second]


def test_dash_and_slash_in_the_name_of_a_bus():
    network = import_net(small_net("A.1", "B/2", "C-3", "D")).network
    assert network.bus_names == ("A-1", "B/2", "C-3", "D")  # a dot would end the name of an entity
    for row, (forth, back) in enumerate([("A-1-B/2", "B/2-A-1"), ("B/2-C-3", "C-3-B/2"), ("C-3-D", "D-C-3")]):
        assert network.row_of_branch(forth) == row
        assert network.row_of_branch(back) == row


def test_bus_without_a_name_of_its_own_is_called_by_its_index():
    network = import_net(small_net("feeder", "feeder", None, "end")).network
    assert network.bus_names == ("#0", "#1", "#2", "end")
    assert network.branch_names == ("#0-#1", "#1-#2", "#2-end")


def test_closed_bus_bus_switch_makes_one_row_with_two_names():
    net = small_net("a", "b", "c")
    tie = pandapower.create_bus(net, 0.4, name="tie")
    pandapower.create_switch(net, 1, tie, "b")
    network = import_net(net).network
    assert network.row_of_bus("tie") == network.row_of_bus("b")
    assert len({network.row_of_bus(bus) for bus in "abc"}) == 3
    assert network.branch_names == ("a-b", "b-c")


@pytest.mark.parametrize("missing", ["10", "", "1-4"])
def test_missing_bus_is_named_with_those_that_exist(missing):
    with pytest.raises(ValueError, match=f"no bus '{missing}'.*1, 2, 3, 4, 5, 6, 7, 8, 9$"):
        imported("case9").network.row_of_bus(missing)


@pytest.mark.parametrize("missing", ["1-9", "4", "", "6-7/2", "-", "6--7"])
def test_missing_branch_is_named_with_those_that_exist(missing):
    with pytest.raises(ValueError, match=f"no line '{missing}'.*1-4, 4-5, .*9-4$"):
        imported("case9").network.row_of_branch(missing)


def test_preview_stops_after_a_few_names():
    assert preview([*"abc"]) == "a, b, c"
    assert preview([*"abc"], most=2) == "a, b, ..."


# --- what the tables of a net become ---


def test_loads_of_one_bus_add_up_with_their_shares():
    # 10 kW of 50 % constant impedance and 20 % constant current, and 20 kW * 0.5 of constant power:
    # of 20 kW 25 % are impedance and 10 % current; reactive, 2 kvar and 2 kvar * 0.5: of 3 kvar 1/3 and 2/15
    net = small_net("a", "b")
    percent = {f"const_{part}_{kind}_percent": x for part, x in (("z", 50), ("i", 20)) for kind in "pq"}
    pandapower.create_load(net, 1, 0.010, 0.002, **percent)
    pandapower.create_load(net, 1, 0.020, 0.002, scaling=0.5)
    pandapower.create_load(net, 1, 1.0, 1.0, in_service=False)
    loads = import_net(net).loads
    assert loads.bus.tolist() == [1]
    assert loads.s_pu == pytest.approx([0.2 + 0.03j])
    assert loads.zip_p == pytest.approx(np.array([[0.25, 0.1, 0.65]]))
    assert loads.zip_q == pytest.approx(np.array([[1 / 3, 2 / 15, 8 / 15]]))
    assert len(loads.fixed_bus) == 0


def test_static_generators_are_apart_from_loads():
    net = small_net("a", "b")
    pandapower.create_sgen(net, 1, 0.005, 0.001)
    pandapower.create_storage(net, 1, 0.002, max_e_mwh=1)  # charges: a load
    loads = import_net(net).loads
    assert len(loads.bus) == 0
    assert loads.fixed_bus.tolist() == [1]
    assert loads.fixed_pu == pytest.approx([-0.03 - 0.01j])


def test_line_out_of_service_is_kept_open():
    net = small_net("a", "b", "c")
    net.line.loc[1, "in_service"] = False
    network = import_net(net).network
    assert network.closed.tolist() == [True, False]
    assert islands(network, network.closed)[2] != islands(network, network.closed)[0]
    assert len(set(islands(network, np.array([True, True])))) == 1


@pytest.mark.parametrize("max_loading", [{}, {"max_loading_percent": 80.0}])
def test_rating_of_a_branch_is_what_pandapower_calls_100_percent(max_loading):
    # 0.27 kA at 0.4 kV, two cables side by side: 2 sqrt(3) 0.4 0.27 = 0.374123 MVA = 3.74123 pu of 0.1 MVA
    net = pandapower.create_empty_network(sn_mva=0.1)
    station, feeder, end = (pandapower.create_bus(net, v) for v in (20.0, 0.4, 0.4))
    pandapower.create_transformer(net, station, feeder, "0.25 MVA 20/0.4 kV", **max_loading)
    pandapower.create_line(net, feeder, end, 0.1, "NAYY 4x150 SE", parallel=2, **max_loading)
    net.line.loc[0, "max_i_ka"] = 0.27
    imported_net = import_net(net)
    rating = dict(zip(imported_net.branch_kinds, imported_net.network.rating_pu, strict=True))
    assert rating == pytest.approx({"line": 3.74123, "trafo": 2.5}, rel=1e-6)


@pytest.mark.parametrize("name", ["case9", "create_cigre_network_lv", "create_cigre_network_mv", "mv_oberrhein"])
def test_loading_of_lines_is_pandapowers(name):
    network, v, lines = imported(name).network, own_voltages(name), solved(name).res_line
    s_from, s_to = branch_flows(network, network.closed, v)
    with np.errstate(invalid="ignore"):  # 0/0 at an end without voltage
        ends = np.abs(s_from / v[network.from_bus]), np.abs(s_to / v[network.to_bus])
    loading = 100 * np.fmax(*ends)[: len(lines)] / network.rating_pu[: len(lines)]
    assert np.nan_to_num(loading) == pytest.approx(lines.loading_percent.to_numpy(), abs=1e-5)


def test_branch_without_a_limit_has_no_rating():
    assert np.isnan(imported("case14").network.rating_pu).all()  # 9900 MVA in the data, which means none


# --- two-ports and islands ---


def test_two_port_by_hand():
    # behind a ratio of 2: V' = V_from / 2, I_from = I' / 2; y = 1/(0.1j) = -10j, half of b = 0.4 at each end
    ports = pi_branch(np.array([0.1j]), np.array([0.4j]), np.array([2 + 0j]))
    assert ports.ff == pytest.approx([(-10j + 0.2j) / 4])
    assert ports.ft == pytest.approx([10j / 2])
    assert ports.tf == pytest.approx([10j / 2])
    assert ports.tt == pytest.approx([-10j + 0.2j])


def test_phase_shift_turns_against_itself_seen_from_the_other_end():
    # with the ratio e^{j30 deg} an unloaded to end lags the from end by 30 degrees
    ports = pi_branch(np.array([0.1j]), np.array([0j]), np.exp(1j * np.radians([30.0])))
    v_to = -ports.tf * 1.0 / ports.tt
    assert np.degrees(np.angle(v_to)) == pytest.approx([-30.0])
    assert np.abs(ports.ft) == pytest.approx(np.abs(ports.tf))


def test_open_branches_part_the_network():
    network = imported("case9").network
    closed = network.closed.copy()
    closed[[network.row_of_branch("4-5"), network.row_of_branch("5-6")]] = False
    label = islands(network, closed)
    assert len(set(islands(network, network.closed))) == 1
    assert len(set(label)) == 2
    assert np.flatnonzero(label == label[network.row_of_bus("5")]).tolist() == [network.row_of_bus("5")]


def test_flows_of_many_instants_are_those_of_each():
    network = imported("case9").network
    closed = network.closed.copy()
    closed[network.row_of_branch("6-7")] = False
    v = own_voltages("case9") * np.exp(1j * np.arange(6.0)).reshape(2, 3, 1) * np.linspace(0.9, 1.1, 9)
    together = branch_flows(network, closed, v)
    for place in np.ndindex(2, 3):
        for whole, single in zip(together, branch_flows(network, closed, v[place]), strict=True):
            assert np.array_equal(whole[place], single)
    for end in together:
        assert (end[..., network.row_of_branch("6-7")] == 0).all()
