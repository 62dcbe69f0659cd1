"""The simulators in anyone's mosaik scenario: from SIM_CONFIG, in processes of their own, from the command line."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import mosaik
import pytest
from mosaik.starters import CmdStarter, ConnectStarter
from mosaik_api_v3.connection import RemoteException

from gridloop.simulators import SIM_CONFIG
from gridloop.simulators.__main__ import make
from gridloop.simulators.recorder import read_columns
from gridloop.simulators.standalone import PV, Grid

UNITS = {"inv1": ("1", 1000), "inv2": ("2", 2000), "inv3": ("3", 1250)}
EVENTS = [
    {"t_s": 0.1, "do": "load_step", "bus": "5", "p_kw": 300, "q_kvar": 100},
    {"t_s": 0.2, "do": "line_open", "line": "6-7"},
]
NET: dict[str, Any] = {"net": "case9", "base": {"s_mva": 1, "v_kv": 11}, "f_nom_hz": 60}
COMMAND = "%(python)s -m gridloop.simulators {} %(addr)s"
MODULE = [sys.executable, "-m", "gridloop.simulators"]


def world_of(config: Any) -> Any:
    patience: Any = {"start_timeout": 60}  # a busy machine needs longer than mosaik's 10 s to import pandapower
    return mosaik.World(
        config, patience, cache=False, time_resolution=1e-6, skip_greetings=True, configure_logging=False
    )


def frequencies(folder: Path, **starters: Any) -> Any:
    """Series of three inverters connected one by one, with some simulators started in another way."""
    with world_of(SIM_CONFIG) as world:
        grid = world.start(starters.get("grid", "Grid"), sim_id="Grid", events=EVENTS, step_ms=5, **NET)
        inverter = world.start(starters.get("inverter", "Inverter"), sim_id="Inverter", step_ms=5)
        recorder = world.start("Recorder", sim_id="Recorder", folder=str(folder), step_ms=5).Recorder()
        terminals = [grid.Terminal(unit=unit, bus=bus) for unit, (bus, _) in UNITS.items()]
        start = [grid.initial(terminal.eid) for terminal in terminals]
        params = {
            "s_rated_kva": [rating for _, rating in UNITS.values()], "f_nom_hz": 60,
            "p_set_kw": [1e3 * shown["P_gen[MW]"] for shown in start],
            "q_set_kvar": [1e3 * shown["Q_gen[MVar]"] for shown in start],
            "v_set_pu": [shown["E_used[pu]"] for shown in start],
        }  # fmt: skip
        units = inverter.Inverters(ids=list(UNITS), start=start, params=params).children
        answers = ("P_gen[MW]", "Q_gen[MVar]", "E_used[pu]", "Va_used[deg]", "events[1]")
        for unit, terminal, shown in zip(units, terminals, start, strict=True):
            world.connect(unit, terminal, "E[pu]", "Va_emf[deg]")
            world.connect(terminal, unit, *answers, time_shifted=True, initial_data=shown)
            world.connect(unit, recorder, "f[Hz]")
        world.run(until=400_001, print_progress=False)
    return read_columns(folder, "Recorder", [f"Inverter.{unit}.f[Hz]" for unit in UNITS])


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return frequencies(tmp_path_factory.mktemp("in_process"))


def same(one: Any, other: Any) -> bool:
    return all((one[name] == other[name]).all() for name in one) and one.keys() == other.keys()


def test_units_start_at_rest_and_share_a_load_step(in_process: Any) -> None:
    # 0.3 MW settle at 60 - 0.0896 Hz (case A0); 0.1 s after the step the filters have let most of it through
    f_hz = in_process["Inverter.inv1.f[Hz]"]
    before = f_hz[in_process["t"] < 0.1]
    assert len(before) == 20 and before == pytest.approx(60, abs=1e-9)
    assert 59.88 < f_hz[in_process["t"] == 0.195] < 59.95


def test_grid_and_units_in_processes_of_their_own_give_the_same_to_the_bit(in_process: Any, tmp_path: Path) -> None:
    remote = {name: CmdStarter(COMMAND.format(name)) for name in ("grid", "inverter")}
    assert same(in_process, frequencies(tmp_path, **remote))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_simulator_that_listens_is_connected_to(in_process: Any, tmp_path: Path) -> None:
    port = free_port()
    command = [*MODULE, "inverter", f"127.0.0.1:{port}", "--listen", "-l", "info"]
    server = subprocess.Popen(command, stderr=PIPE, text=True)
    try:
        assert server.stderr is not None and "waiting for mosaik" in server.stderr.readline()
        assert same(in_process, frequencies(tmp_path, inverter=ConnectStarter("127.0.0.1", port)))
        assert server.wait(timeout=20) == 0
    finally:
        server.kill()
        server.wait()


ORPHAN = """
import sys
import mosaik
from mosaik.starters import CmdStarter
with mosaik.World(cache=False, time_resolution=1e-6, skip_greetings=True, configure_logging=False) as world:
    world.start(CmdStarter("%(python)s -m gridloop.simulators inverter %(addr)s"), "Inverter")
    print("started", flush=True)
    sys.stdin.read()
"""


def test_a_simulator_ends_when_mosaik_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
    try:
        assert parent.stdout is not None and parent.stdout.readline() == "started\n"
        (child,) = children_of(parent.pid)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 20
        while Path(f"/proc/{child}").exists() and "\nState:\tZ" not in Path(f"/proc/{child}/status").read_text():
            assert time.monotonic() < deadline, "the simulator goes on without mosaik"
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("name", SIM_CONFIG)
def test_everything_in_sim_config_starts_without_arguments(name: str, tmp_path: Path) -> None:
    more: dict[str, dict[str, Any]] = {"Grid": NET, "Recorder": {"folder": str(tmp_path)}}
    with world_of(SIM_CONFIG) as world:
        factory = world.start(name, **more.get(name, {}))
        assert any(model["public"] for model in factory.meta["models"].values())


def test_help_names_every_simulator() -> None:
    shown = subprocess.run([*MODULE, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(name.lower() in shown for name in SIM_CONFIG)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["invertr", "127.0.0.1:1"], 2, "there is no simulator 'invertr'; did you mean inverter?"),
        (["windmill", "127.0.0.1:1"], 2, "there is no simulator 'windmill'; there are grid, inverter, following, "),
        (["nowhere:MODEL", "127.0.0.1:1"], 2, "nowhere:MODEL: No module named 'nowhere'"),
        (["grid", "127.0.0.1"], 2, "'127.0.0.1' is not HOST:PORT"),
        (["recorder", "127.0.0.1:1"], 1, "Connect call failed"),
    ],
)
def test_wrong_commands_are_answered(arguments: list[str], status: int, words: str) -> None:
    done = subprocess.run([*MODULE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status and words in done.stderr


def test_a_device_model_of_the_users_own_is_served(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from gridloop.simulators.models.inverter import MODEL\n")
    starter = CmdStarter(COMMAND.format("mine:MODEL"), cwd=str(tmp_path))
    with world_of(None) as world:
        assert "Inverters" in world.start(starter, "Mine").meta["models"]


def test_wrong_parameters_are_named_across_processes() -> None:
    with world_of(None) as world, pytest.raises(RemoteException, match="no network 'case10'"):
        world.start(CmdStarter(COMMAND.format("grid")), "Grid", net="case10")


def grid(**more: Any) -> Grid:
    simulator = Grid()
    simulator.init("Grid", 1e-6, **(NET | more))
    return simulator


def test_terminal_starts_from_the_nets_own_power_flow() -> None:
    # WSCC 9 bus: generator 2 gives 163 MW and 14.460 Mvar at 9.6687 degrees (MATPOWER case9, 1 MVA instead of 100)
    simulator = grid()
    (entity,) = simulator.create(1, "Terminal", unit="inv2", bus="2")
    assert simulator.initial(entity["eid"]) == {
        "P_gen[MW]": pytest.approx(1.63, abs=1e-9), "Q_gen[MVar]": pytest.approx(0.14460120, abs=1e-7),
        "Vm[pu]": pytest.approx(1), "Va[deg]": pytest.approx(9.66874113, abs=1e-7),
        "E_used[pu]": pytest.approx(1), "Va_used[deg]": pytest.approx(9.66874113, abs=1e-7), "events[1]": 0,
    }  # fmt: skip


def test_generator_that_nothing_stands_for_is_warned_of(
    caplog: pytest.LogCaptureFixture, told: Callable[[], list[str]]
) -> None:
    simulator = grid()
    for bus in "12":
        simulator.create(1, "Terminal", unit=f"inv{bus}", bus=bus)
    with caplog.at_level(logging.WARNING):
        simulator.setup_done()
    assert told() == ["the net's gen at bus 3 has no terminal: what it gave at the start is missing"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"net": "case10"}, "no network 'case10'"),
        ({"base": {"mva": 1}}, "base has no mva; there are s_mva, v_kv"),
        ({"base": {"s_mva": -1}}, "s_mva = -1 must be > 0"),
        ({"loads": {"zip": 1}}, "loads has no zip; there are zip_p"),
        ({"loads": {"zip_p": [1, 1, 1]}}, r"zip_p = \[1, 1, 1\]: three shares, which must sum to 1"),
        ({"events": [{"t_s": 1, "do": "lode_step", "bus": "5"}]}, "unknown event 'lode_step'; there are load_step"),
        ({"events": [{"t_s": 1, "do": "load_step"}]}, "needs t_s and one of bus, line, unit"),
        ({"events": [{"t_s": 1, "do": "load_step", "bus": "5", "kw": 3}]}, "event load_step has no kw"),
        ({"events": [{"t_s": 1, "do": "load_step", "bus": "55"}]}, "there is no bus '55'"),
        ({"steps_ms": 5}, "unknown parameter steps_ms"),
    ],
)
def test_wrong_parameters_are_refused_by_name(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        grid(**given)


def test_net_is_obligatory() -> None:
    with pytest.raises(ValueError, match="the parameter net is missing"):
        Grid().init("Grid", 1e-6)


# --- sources ---


@pytest.mark.parametrize(("name", "limit_mw"), [("battery", 0.1), ("coulombbattery", 0.1)])
def test_battery_in_a_process_of_its_own_takes_energy_and_tells_its_limits(name: str, limit_mw: float) -> None:
    packs = make(name)
    (public,) = [
        model for model, about in packs.init("Battery", 1e-6, step_ms=100)["models"].items() if about["public"]
    ]
    packs.create(1, public, ids=["a", "b"], params={"e_rated_kwh": [100, 200], "soc_init_percent": 50})
    packs.step(0, {}, 0)
    packs.step(36_000_000, {public: {"E_gen[MWh]": {"Inverter.Inverters": [0.001, 0.0]}}}, 0)
    shown = packs.get_data({public: ["SoC[%]", "P_max[MW]"]})[public]
    assert isinstance(shown["SoC[%]"], list) and 48 < shown["SoC[%]"][0] < 49.1 and shown["SoC[%]"][1] == 50
    assert shown["P_max[MW]"][1] == pytest.approx(2 * limit_mw, rel=0.05)


def array(**more: Any) -> PV:
    simulator = PV()
    simulator.init("PV", 1e-6, step_ms=1000)
    given: dict[str, Any] = {"ids": ["pv1", "pv2"], "modules": [1000, 2000], "ghi_w_per_m2": 800.0, "t_air_degc": 20.0}
    simulator.create(1, "PVs", **(given | more))
    return simulator


def test_array_gives_what_sun_and_temperature_let_it() -> None:
    # 800 W/m2 at 20 degC: the cells are at 46 degC and a module gives 222.7457 W, of which 97 % are fed in
    simulator = array()
    simulator.step(0, {}, 0)
    shown = simulator.get_data({"PVs": ["P_avail[MW]"], "pv2": ["P_gen[MW]"]})
    assert shown["PVs"]["P_avail[MW]"] == pytest.approx([0.2160633, 0.4321267], abs=1e-7)
    assert shown["pv2"]["P_gen[MW]"] == pytest.approx(0.4321267, abs=1e-7)


def test_series_of_weather_are_for_all_arrays_or_for_each() -> None:
    rows = {"times_s": [0, 2], "t_air_degc": [20, 20]}
    common = array(ghi_w_per_m2=[800, 0], **rows, efficiency_percent=100)
    common.step(0, {}, 0)
    common.step(1_000_000, {}, 0)
    assert common.get_data({"pv1": ["P_avail[MW]"]})["pv1"]["P_avail[MW]"] == pytest.approx(0.2227457 / 2, abs=1e-7)
    each = array(ghi_w_per_m2=[[800, 0], [800, 0]], **rows)
    assert each.get_data({"PVs": ["P_avail[MW]"]})["PVs"]["P_avail[MW]"] == pytest.approx([0.2160633, 0], abs=1e-7)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ghi_w_per_m2": [1, 2, 3]}, r"ghi_w_per_m2 has the shape \(3,\); it must be \(1,\), \(1, 2\) or a number"),
        ({"module": "SunPower_SPR_305E"}, "there is no module 'SunPower_SPR_305E'; did you mean"),
        ({"modules": 0}, "modules = 0 must be > 0"),
    ],
)
def test_wrong_arrays_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        array(**more)


def test_array_needs_its_weather() -> None:
    with pytest.raises(ValueError, match="PVs: ghi_w_per_m2, t_air_degc must be given"):
        simulator = PV()
        simulator.init("PV", 1e-6)
        simulator.create(1, "PVs", ids=["pv1"], modules=10)
