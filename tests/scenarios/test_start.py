"""From a scenario to the operating point at which nothing moves."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandapower
import pandapower.networks
import pytest

from gridloop.scenarios import load
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import Plan, plan
from gridloop.simulators.events import Event
from gridloop.simulators.models.loads import Loads, demand, power
from gridloop.simulators.models.nodal import Sources, observe, reduce
from gridloop.simulators.models.solve import solve

CASE9 = cache(pandapower.networks.case9)
RATINGS_KVA = {1: 100_000, 2: 200_000, 3: 125_000}
S_POWER_FLOW = [0.719547016 + 0.240689578j, 1.63 + 0.144601195j, 0.85 - 0.036490255j]  # pu, at buses 1, 2, 3
INERTIA_OF_DROOP_S = 4.25 / (0.02 * 2 * np.pi * 60)  # sum of 1/m: ratings of 4.25 pu, 2 %, 60 Hz: 0.563676 s


@pytest.fixture(autouse=True)
def read_case9_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """pandapower takes half a second to read its file."""
    monkeypatch.setattr(pandapower.networks, "case9", CASE9)


def inverter(bus: Any, s_rated_kva: float, **more: Any) -> dict[str, Any]:
    return {"type": "inverter", "bus": bus, "s_rated_kva": s_rated_kva} | more


def case9(grid: dict[str, Any] | None = None, units: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Three droop inverters on case9; `units` are added to them."""
    three = {f"inv{bus}": inverter(bus, rating) for bus, rating in RATINGS_KVA.items()}
    return {
        "schema": 1, "name": "nine", "until_s": 2, "grid": {"net": "case9"} | (grid or {}),
        "units": three | (units or {}),
    } | more  # fmt: skip


def planned(given: dict[str, Any], **overrides: Any) -> Plan:
    return plan(load(given).with_overrides(overrides))


def complaint(given: Any) -> list[str]:
    """What a user is told, without the head."""
    with pytest.raises(ScenarioError) as error:
        plan(given if not isinstance(given, dict) else load(given))
    return str(error.value).splitlines()[1:]


def start_pu(p: Plan) -> Any:
    return np.concatenate([group.s_start_pu for group in p.groups])


def assert_at_rest(p: Plan) -> None:
    """The network answers the EMFs of the start with its powers, at its frequency, and the units keep still."""
    network, case = p.case.network, p.case
    buses = np.array([network.row_of_bus(bus) for group in p.groups for bus in group.bus])
    z = np.concatenate([group.z_pu for group in p.groups])
    net = reduce(network, network.closed, Sources(buses, z, np.ones(len(buses), bool)), case.loads.bus)
    supplied = Loads._make(column[net.supplied] for column in case.loads)
    emf = np.concatenate([group.emf_start_pu for group in p.groups])
    solution = solve(net, demand(supplied, p.f_start_hz / network.f_nom_hz - 1), emf, None)
    assert solution.s_source == pytest.approx(start_pu(p), abs=1e-9)
    seen = observe(net, solution.x)
    assert seen.v_bus == pytest.approx(case.v_start, abs=1e-9)
    for group in p.groups:
        model = group.model
        assert model is not None
        state = model.initial(group.params, group.s_start_pu, group.emf_start_pu)
        shown = model.respond(group.params, state, model.held(group.params))
        assert shown.f_hz == pytest.approx(p.f_start_hz, abs=1e-9)
        assert shown.emf_pu == pytest.approx(group.emf_start_pu, abs=1e-9)


# --- power-flow start ---


def test_power_flow_start_is_the_power_flow_of_the_net() -> None:
    p = plan(load("ieee9"))
    (group,) = p.groups
    assert group.ids == ("inv1", "inv2", "inv3") and group.bus == ("1", "2", "3")
    assert group.s_start_pu == pytest.approx(S_POWER_FLOW, abs=1e-9)
    assert np.angle(group.emf_start_pu) == pytest.approx([0, 0.168751367, 0.083270937], abs=1e-9)
    assert np.abs(group.emf_start_pu) == pytest.approx(1, abs=1e-12)
    assert np.abs(p.case.v_start[3:]) == pytest.approx(
        [0.987006852, 0.975472177, 1.003375436, 0.985644882, 0.996185246, 0.957621040], abs=1e-9
    )
    assert p.f_start_hz == 60
    # it becomes the units' set-points
    assert group.params.p_set_kw == pytest.approx(np.real(S_POWER_FLOW) * 1e5, abs=1e-4)
    assert group.params.q_set_kvar == pytest.approx(np.imag(S_POWER_FLOW) * 1e5, abs=1e-4)
    assert group.params.v_set_pu == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(case9(), id="case9"),
        pytest.param(case9({"base": {"s_mva": 1}}), id="another base"),
        pytest.param(case9({"loads": {"zip_p": [1, 0, 0], "zip_q": [0, 1, 0]}}), id="loads of voltage"),
        pytest.param(case9({"loads": {"zip_p": [1, 0, 0], "zip_q": [0, 1, 0], "v0_pu": 1}}), id="nominal voltage"),
        pytest.param(case9(units={"inv1": inverter(1, 1e5, z_pu=[0.01, 0.1])}), id="impedance"),
        pytest.param(case9(units={"inv5": inverter(5, 3e4, p_set_kw=2e4, v_set_pu=0.99)}), id="unit at a load"),
        pytest.param(case9(start="droop"), id="droop"),
        pytest.param(
            case9({"loads": {"zip_p": [0.3, 0.3, 0.4], "k_pf": 1.5, "k_qf": -1}}, start="droop"),
            id="droop, loads of voltage and frequency",
        ),
        pytest.param(
            case9(start="droop", units={"inv2": inverter(2, 2e5, z_pu=[0, 0.1], p_set_kw=1e5, v_set_pu=1.03)}),
            id="droop behind an impedance",
        ),
    ],
)  # fmt: skip
def test_nothing_moves_at_the_start(given: dict[str, Any]) -> None:
    assert_at_rest(planned(given))


def test_base_keeps_the_per_unit_network_and_scales_powers() -> None:
    small = planned(case9({"base": {"s_mva": 1, "v_kv": 11}}), **{"units.*.s_rated_kva": 1000})
    network = small.case.network
    assert (network.s_base_mva, network.v_base_kv.max()) == (1, pytest.approx(11))
    # 90 MW of load on 100 MVA are 0.9 pu, and 0.9 MW on 1 MVA
    assert small.case.loads.p0_pu[0] == pytest.approx(0.9)
    assert small.case.loads.p0_pu[0] * network.s_base_mva == pytest.approx(90 * 1 / 100)
    assert start_pu(small) == pytest.approx(S_POWER_FLOW, abs=1e-9)
    assert small.groups[0].params.p_set_kw == pytest.approx(np.real(S_POWER_FLOW) * 1e3, abs=1e-6)


def test_base_without_a_voltage_keeps_the_voltages() -> None:
    assert planned(case9({"base": {"s_mva": 1}})).case.network.v_base_kv == pytest.approx(345)


@pytest.mark.parametrize(("given", "f_hz"), [({}, 60), ({"f_nom_hz": 50}, 50)])
def test_nominal_frequency_is_the_nets_own_unless_it_is_given(given: dict[str, Any], f_hz: float) -> None:
    p = planned(case9(given))
    assert p.f_start_hz == p.case.network.f_nom_hz == p.groups[0].params.f_nom_hz == f_hz


def test_impedance_on_the_units_own_base() -> None:
    # 0.01 + 0.1j on 50 MVA are 0.02 + 0.2j on 100 MVA; EMF = V + z conj(S/V) with V = 1
    p = planned(case9(units={"inv1": inverter(1, 50_000, z_pu=[0.01, 0.1])}))
    assert p.groups[0].z_pu == pytest.approx([0.02 + 0.2j, 0, 0], abs=1e-12)
    expected = 1 + (0.02 + 0.2j) * np.conj(S_POWER_FLOW[0])
    assert p.groups[0].emf_start_pu[0] == pytest.approx(expected, abs=1e-9)
    assert p.groups[0].params.v_set_pu[0] == pytest.approx(abs(expected), abs=1e-9)
    assert start_pu(p) == pytest.approx(S_POWER_FLOW, abs=1e-9)


def test_units_at_one_bus_share_by_rating() -> None:
    # 25 and 75 MVA in place of bus 1's 100 MVA
    units = {"inv1": inverter(1, 25_000, z_pu=[0, 0.1]), "more": inverter(1, 75_000, z_pu=[0, 0.1])}
    p = planned(case9(units=units))
    s = dict(zip(p.groups[0].ids, p.groups[0].s_start_pu, strict=True))
    assert s["inv1"] == pytest.approx(S_POWER_FLOW[0] / 4, abs=1e-9)
    assert s["more"] == pytest.approx(S_POWER_FLOW[0] * 3 / 4, abs=1e-9)
    assert_at_rest(p)


def test_one_ideal_source_beside_one_with_an_impedance() -> None:
    assert_at_rest(planned(case9(units={"more": inverter(1, 75_000, z_pu=[0, 0.1])})))


def test_unit_at_a_bus_without_a_generator_delivers_its_set_point_and_holds_its_voltage() -> None:
    p = planned(case9(units={"inv4": inverter(4, 50_000, p_set_kw=20_000, v_set_pu=1.01)}))
    inv4 = p.groups[0].ids.index("inv4")
    assert start_pu(p)[inv4].real == pytest.approx(0.2, abs=1e-10)
    assert abs(p.case.v_start[3]) == pytest.approx(1.01, abs=1e-12)
    # the reference at bus 1 gives way
    assert start_pu(p)[0].real == pytest.approx(S_POWER_FLOW[0].real - 0.2, abs=0.01)
    assert start_pu(p)[1:3].real == pytest.approx([1.63, 0.85], abs=1e-10)


def test_set_points_of_a_unit_replace_those_of_the_nets_generator() -> None:
    p = planned(case9(), **{"units.inv2.p_set_kw": 100_000, "units.inv2.v_set_pu": 1.02})
    assert start_pu(p)[1].real == pytest.approx(1, abs=1e-10)
    assert abs(p.case.v_start[1]) == pytest.approx(1.02, abs=1e-12)
    assert np.angle(p.case.v_start[0]) == 0


# --- loads ---


def test_load_without_a_nominal_voltage_draws_its_power_at_the_start() -> None:
    # V0 is the voltage of the power flow, so that constant impedances change nothing there
    p = planned(case9({"loads": {"zip_p": [1, 0, 0], "zip_q": [1, 0, 0]}}))
    loads = p.case.loads
    assert loads.v0_pu == pytest.approx([0.975472177, 0.985644882, 0.957621040], abs=1e-9)
    assert start_pu(p) == pytest.approx(S_POWER_FLOW, abs=1e-9)
    assert power(demand(loads), p.case.v_start[loads.bus]) == pytest.approx([0.9 + 0.3j, 1 + 0.35j, 1.25 + 0.5j])


def test_load_with_a_nominal_voltage_draws_what_the_start_gives_it() -> None:
    p = planned(case9({"loads": {"zip_p": [1, 0, 0], "zip_q": [1, 0, 0], "v0_pu": 1}}))
    loads, v = p.case.loads, np.abs(p.case.v_start[p.case.loads.bus])
    assert loads.v0_pu.tolist() == [1, 1, 1]
    drawn = power(demand(loads), p.case.v_start[loads.bus])
    assert drawn == pytest.approx(np.array([0.9 + 0.3j, 1 + 0.35j, 1.25 + 0.5j]) * v**2, abs=1e-12)
    assert v.max() < 1
    assert drawn.real.sum() < start_pu(p).real.sum() < drawn.real.sum() + 0.06


def test_shares_of_the_scenario_replace_those_of_the_net() -> None:
    own = planned(case9()).case.loads
    assert own.zip_p.tolist() == [[0, 0, 1]] * 3
    given = planned(case9({"loads": {"zip_q": [0.5, 0, 0.5], "k_pf": 1.5, "k_qf": -1}})).case.loads
    assert given.zip_p.tolist() == [[0, 0, 1]] * 3
    assert given.zip_q.tolist() == [[0.5, 0, 0.5]] * 3
    assert (given.k_pf.tolist(), given.k_qf.tolist()) == ([1.5] * 3, [-1] * 3)


def test_event_at_a_bus_without_a_load_finds_an_empty_one() -> None:
    events = [
        {"t_s": 1, "do": "load_step", "bus": 4, "p_kw": 1000},
        {"t_s": 2, "do": "load_set", "bus": "4", "p_kw": 0},
        {"t_s": 2, "do": "load_set", "bus": 8, "p_kw": 10, "q_kvar": 5},
    ]
    p = planned(case9({"loads": {"zip_p": [1, 0, 0]}}, events=events))
    assert p.case.load_names == ("load5", "load7", "load9", "load4", "load8")
    assert [p.case.load_of_bus[row] for row in (3, 7)] == [3, 4]
    assert p.case.loads.bus.tolist() == [4, 6, 8, 3, 7]
    assert p.case.loads.p0_pu[3:].tolist() == p.case.loads.q0_pu[3:].tolist() == [0, 0]
    assert p.case.loads.zip_p[3:].tolist() == [[1, 0, 0]] * 2
    assert start_pu(p) == pytest.approx(S_POWER_FLOW, abs=1e-9)


def test_events_keep_their_order_and_numbers() -> None:
    events = [
        {"t_s": 1, "do": "load_step", "bus": 5, "p_kw": 30, "q_kvar": -10},
        {"t_s": 0.5, "do": "line_open", "line": "7-6"},
        {"t_s": 0.5, "do": "unit_trip", "unit": "inv3"},
    ]
    assert planned(case9(events=events)).events == (
        Event(1, "load_step", "5", 30, -10), Event(0.5, "line_open", "7-6"), Event(0.5, "unit_trip", "inv3"),
    )  # fmt: skip


# --- droop start ---


def test_droop_start_without_set_points() -> None:
    # all power is a deviation: every unit at the same share of its rating, losses .047873
    p = planned(case9(start="droop"))
    s, ratings = start_pu(p), np.array([1, 2, 1.25])
    assert p.f_start_hz == pytest.approx(59.09707, abs=5e-6)
    assert s.real / ratings == pytest.approx([0.752441] * 3, abs=5e-7)
    assert s.imag / ratings == pytest.approx([0.2034, 0.0682, 0.0003], abs=5e-5)
    assert s.real.sum() - 3.15 == pytest.approx(0.047873, abs=5e-7)
    assert p.groups[0].params.p_set_kw.tolist() == [0, 0, 0]


def test_droop_start_follows_the_droop_law() -> None:
    # df = -sum(P - P*) / (2 pi sum 1/m), and the set-points of .67, 1.63, .85 leave the losses only
    set_points = {f"units.inv{bus}.p_set_kw": p * 1e5 for bus, p in ((1, 0.67), (2, 1.63), (3, 0.85))}
    p = planned(case9(start="droop"), **set_points)
    more = start_pu(p).real - [0.67, 1.63, 0.85]
    loss = start_pu(p).real.sum() - 3.15
    assert 0.03 < loss < 0.06
    assert p.f_start_hz - 60 == pytest.approx(-loss / (2 * np.pi * INERTIA_OF_DROOP_S), abs=1e-9)
    assert more == pytest.approx(loss * np.array([1, 2, 1.25]) / 4.25, abs=1e-9)
    # E = V* - n (Q - Q*), n = 5 % on the units' own ratings
    n = 0.05 / np.array([1, 2, 1.25])
    assert np.abs(p.groups[0].emf_start_pu) == pytest.approx(1 - n * start_pu(p).imag, abs=1e-9)


def test_stiffness_of_the_coupling() -> None:
    # lambda = 47.11 and 117.78 /s at 2 and 5 % droop; times 5 ms
    assert planned(case9()).h_lambda == pytest.approx(0.005 * 47.11, rel=2e-4)
    assert planned(case9(), **{"units.*.droop_p_percent": 5}).h_lambda == pytest.approx(0.005 * 117.78, rel=2e-4)
    assert planned(case9(), step_ms=10).h_lambda == pytest.approx(0.010 * 47.11, rel=2e-4)


# --- what does not fit between file and network ---


def test_bus_that_the_net_does_not_have() -> None:
    assert complaint(case9(units={"more": inverter("44", 1)})) == [
        "scenario: units.more.bus: case9 has no bus '44'; did you mean 4?"
    ]
    assert complaint(case9(units={"more": inverter("main", 1)})) == [
        "scenario: units.more.bus: case9 has no bus 'main'; known: 1, 2, 3, 4, 5, 6, 7, 8, 9"
    ]


def test_line_and_bus_of_events_that_the_net_does_not_have() -> None:
    events = [
        {"t_s": 1, "do": "line_open", "line": "6-8"},
        {"t_s": 1, "do": "line_close", "line": "7-6"},
        {"t_s": 1, "do": "load_set", "bus": "55", "p_kw": 1},
    ]
    assert complaint(case9(events=events)) == [
        "scenario: events.0.line: case9 has no line '6-8'; did you mean 7-8?",
        "scenario: events.2.bus: case9 has no bus '55'; did you mean 5?",
    ]


@pytest.mark.parametrize(("unit", "kind"), [("inv1", "an ext_grid"), ("inv3", "a gen")])
def test_generator_of_the_net_without_a_unit(unit: str, kind: str) -> None:
    given = case9()
    del given["units"][unit]
    (told,) = complaint(given)
    assert told.startswith(f"scenario: units: bus '{unit[-1]}' has {kind} in case9 but no unit; add a unit there")


def test_two_ideal_sources_at_one_bus() -> None:
    assert complaint(case9(units={"more": inverter(2, 1000, z_pu=[0, 0])})) == [
        "scenario: units.inv2: two ideal sources at bus 2: give this one a z_pu",
        "scenario: units.more: two ideal sources at bus 2: give this one a z_pu",
    ]


@pytest.mark.parametrize("name", ["4", "4-5", "grid"])
def test_unit_with_the_name_of_something_else(name: str) -> None:
    (told,) = complaint(case9(units={name: inverter(4, 1000)}))
    assert told.startswith(f"scenario: units.{name}: {name!r} is the name of a")


def test_all_misfits_come_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "schema: 1\nname: wrong\nuntil_s: 1\ngrid: {net: case9}\nunits:\n"
        "  inv1: {type: inverter, bus: 1, s_rated_kva: 1000}\n"
        "  inv2: {type: inverter, bus: 22, s_rated_kva: 1000}\n"
        "  '9': {type: inverter, bus: 3, s_rated_kva: 1000}\n"
    )
    told = [line for line in complaint(load(file)) if line.startswith(str(file))]
    assert len(told) == 3
    assert told[0].startswith(f"{file}:5:1: units: bus '2' has a gen")
    assert told[1] == f"{file}:7:26: units.inv2.bus: case9 has no bus '22'; did you mean 2?"
    assert told[2].startswith(f"{file}:8:3: units.9: '9' is the name of a")


def test_start_without_a_solution() -> None:
    (told,) = complaint(case9(units={"inv2": inverter(2, 1e5, p_set_kw=1e7)}))
    assert told.startswith("scenario: start: power_flow: the power flow does not converge (mismatch ")
    assert "; the largest mismatch is at bus " in told
    (told,) = complaint(case9(start="droop", units={"inv2": inverter(2, 1e5, p_set_kw=1e9)}))
    assert told.startswith("scenario: start: droop: ")


# --- nets from files ---


def saved(net: Any, folder: Path) -> str:
    pandapower.to_json(net, str(folder / "net.json"))
    return "net.json"


def scenario_file(folder: Path, net: str, units: str) -> Path:
    file = folder / "case.yaml"
    file.write_text(f"schema: 1\nname: own\nuntil_s: 1\ngrid: {{net: {net}}}\nunits: {{{units}}}\n")
    return file


THREE = ", ".join(f"inv{bus}: {{type: inverter, bus: {bus}, s_rated_kva: {s}}}" for bus, s in RATINGS_KVA.items())


def test_net_that_pandapower_saved_stands_beside_the_scenario(tmp_path: Path) -> None:
    net = pandapower.networks.case9()
    file = scenario_file(tmp_path, saved(net, tmp_path), THREE)
    p = plan(load(file))
    assert start_pu(p) == pytest.approx(S_POWER_FLOW, abs=1e-9)
    assert p.case.network.f_nom_hz == net.f_hz


def two_islands() -> Any:
    """Buses A - B with 1 MW + 0.2 Mvar and a static generator of 0.4 MW at B, and a bus C of its own."""
    net = pandapower.create_empty_network(f_hz=50, sn_mva=1)
    a, b, c = (pandapower.create_bus(net, 20, name=name) for name in "ABC")
    pandapower.create_line_from_parameters(net, a, b, 5, 0.5, 0.4, 0, max_i_ka=0.1)
    pandapower.create_load(net, b, 1, 0.2)
    pandapower.create_sgen(net, b, 0.4)
    pandapower.create_load(net, c, 0.1)
    return net


def test_net_without_any_generator_starts_at_its_largest_unit(tmp_path: Path) -> None:
    units = (
        "small: {type: inverter, bus: B, s_rated_kva: 500, p_set_kw: 200}, "
        "large: {type: inverter, bus: A, s_rated_kva: 1000}"
    )
    p = plan(load(scenario_file(tmp_path, saved(two_islands(), tmp_path), units)))
    small, large = start_pu(p)
    assert small.real == pytest.approx(0.2, abs=1e-10)
    # 1 - 0.4 - 0.2 MW and the few kW that the line loses
    assert 0.4 < large.real < 0.405
    assert p.case.v_start[0] == pytest.approx(1, abs=1e-12)
    assert p.f_start_hz == 50
    assert_at_rest(p)


def test_static_generator_is_a_load_of_constant_power_that_no_event_touches(tmp_path: Path) -> None:
    units = "large: {type: inverter, bus: A, s_rated_kva: 1000}"
    scenario = load(scenario_file(tmp_path, saved(two_islands(), tmp_path), units))
    p = plan(scenario.with_overrides({"grid.loads.zip_p": [1, 0, 0], "grid.loads.k_pf": 1}))
    assert p.case.load_names == ("loadB", "loadC", "fixedB")
    loads = p.case.loads
    assert loads.p0_pu == pytest.approx([1, 0.1, -0.4])
    assert loads.zip_p.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert loads.k_pf.tolist() == [1, 1, 0]
    assert sorted(p.case.load_of_bus.values()) == [0, 1]


@pytest.mark.parametrize("start", ["power_flow", "droop"])
def test_island_without_a_unit_has_no_voltage(start: str, tmp_path: Path) -> None:
    units = "large: {type: inverter, bus: A, s_rated_kva: 1000}"
    scenario = load(scenario_file(tmp_path, saved(two_islands(), tmp_path), units))
    p = plan(scenario.with_overrides({"start": start}))
    assert p.case.v_start[2] == 0
    assert abs(p.case.v_start[1]) > 0.9
    assert_at_rest(p)


def test_no_such_net_in_pandapower() -> None:
    assert complaint(case9({"net": "case99"})) == [
        "scenario: grid.net: pandapower.networks has no network 'case99'; did you mean case9?"
    ]


def test_no_such_file_of_a_net(tmp_path: Path) -> None:
    file = scenario_file(tmp_path, "other.json", THREE)
    assert complaint(load(file))[0] == (f"{file}:4:8: grid.net: there is no file {tmp_path / 'other.json'}")


@pytest.mark.parametrize("content", ["", "no json", "{}", "[1, 2]", '"text"'])
def test_file_that_is_no_net(content: str, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(content)
    told = complaint(load(scenario_file(tmp_path, "net.json", THREE)))
    assert told[0].startswith(f"{tmp_path / 'case.yaml'}:4:8: grid.net: ")
    assert f"{tmp_path / 'net.json'} is not a pandapower net" in told[0]


def test_net_without_a_bus(tmp_path: Path) -> None:
    file = scenario_file(tmp_path, saved(pandapower.create_empty_network(), tmp_path), THREE)
    assert complaint(load(file))[0] == f"{file}:4:8: grid.net: the pandapower net has no bus"
