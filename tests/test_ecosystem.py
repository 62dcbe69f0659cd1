"""Beside the official components of mosaik: pandapower's grid, CSV as a source, HDF5 as a sink."""

from pathlib import Path
from typing import Any

import mosaik
import numpy as np
import pytest

from gridloop.scenarios import load, run
from gridloop.scenarios.build import Built
from gridloop.scenarios.links import link
from gridloop.simulators import SIM_CONFIG
from gridloop.simulators.recorder import read_columns

PEERS = {
    "PandaPower": {"python": "mosaik_components.pandapower:Simulator"},
    "CSV": {"python": "mosaik_csv:CSV"},
}


def world_of() -> Any:
    return mosaik.World(
        SIM_CONFIG | PEERS, cache=False, time_resolution=1e-6, skip_greetings=True, configure_logging=False
    )


def feeder() -> Any:
    """Two buses of 0.4 kV, 300 m apart; the second has no load of its own."""
    import pandapower

    net = pandapower.create_empty_network(sn_mva=1.0)
    buses = [pandapower.create_bus(net, vn_kv=0.4, name=name) for name in ("head", "end")]
    pandapower.create_ext_grid(net, buses[0], vm_pu=1.02)
    pandapower.create_line(net, *buses, length_km=0.3, std_type="NAYY 4x150 SE")
    return net


def solved(p_gen_mw: float, q_gen_mvar: float, p_load_mw: float) -> Any:
    """The feeder by pandapower alone."""
    import pandapower

    net = feeder()
    pandapower.create_sgen(net, 1, p_mw=p_gen_mw, q_mvar=q_gen_mvar)
    pandapower.create_load(net, 1, p_mw=p_load_mw)
    pandapower.runpp(net)
    return net


@pytest.mark.peers(packages=["mosaik-pandapower-2"])
def test_following_unit_and_profile_stand_at_a_bus_of_mosaik_pandapower(tmp_path: Path) -> None:
    attrs = ["P[MW]", "Q[MVar]", "Vm[pu]", "Va[deg]"]
    with world_of() as world:
        grid = world.start("PandaPower", sim_id="PandaPower", step_size=20_000).Grid(net=feeder())
        following = world.start("Following", sim_id="Following", step_ms=20)
        profile = world.start("Profile", sim_id="Profile", step_ms=20)
        recorder = world.start("Recorder", sim_id="Recorder", folder=str(tmp_path), step_ms=20).Recorder()
        (bus,) = [child for child in grid.children if child.eid == "Bus-1"]
        at_rest = {"P_gen[MW]": 0.0, "Q_gen[MVar]": 0.0, "Vm[pu]": 1.02, "Va[deg]": 0.0}
        (pv,) = following.Followings(
            ids=["pv1"], start=[at_rest], params={"s_rated_kva": 60, "p_set_kw": 40, "q_set_kvar": -10}
        ).children
        # a house: 10 kW that rise to 20 kW between 0.2 s and 0.4 s
        (house,) = profile.Profiles(ids=["house1"], times_s=[0.2, 0.4], p_gen_mw=[[-0.01], [-0.02]]).children
        world.connect(pv, bus, "P_gen[MW]", "Q_gen[MVar]")
        world.connect(house, bus, "P_load[MW]", "Q_load[MVar]")
        world.connect(bus, pv, "Vm[pu]", "Va[deg]", time_shifted=True, initial_data=at_rest)
        world.connect(bus, recorder, *attrs)
        world.connect(pv, recorder, "P_gen[MW]", "f[Hz]")
        world.run(until=800_001, print_progress=False)
    shown = read_columns(tmp_path, "Recorder", [f"PandaPower.Bus-1.{attr}" for attr in attrs])
    expected = solved(0.04, -0.01, 0.02)
    # pandapower's own tolerance is 1e-8 MVA
    for attr, column in zip(attrs, ("p_mw", "q_mvar", "vm_pu", "va_degree"), strict=True):
        assert shown[f"PandaPower.Bus-1.{attr}"][-1] == pytest.approx(expected.res_bus[column][1], abs=1e-6), attr
    unit = read_columns(tmp_path, "Recorder", ["Following.pv1.P_gen[MW]", "Following.pv1.f[Hz]"])
    assert unit["Following.pv1.P_gen[MW]"][[0, -1]] == pytest.approx([0, 0.04], abs=1e-9)
    assert unit["Following.pv1.f[Hz]"][-1] == pytest.approx(50, abs=1e-3)


@pytest.mark.peers(packages=["mosaik-csv"])
def test_mosaik_csv_drives_a_load_and_a_set_point(tmp_path: Path) -> None:
    (tmp_path / "source.csv").write_text(
        "time,P_load[kW],P_set[kW]\n"
        "2026-06-21 12:00:00,900,719.547\n"
        "2026-06-21 12:00:01,1200,719.547\n"
        "2026-06-21 12:00:02,1200,1019.547\n"
    )
    with world_of() as world:
        grid = world.start("Grid", sim_id="Grid", net="case9", base={"s_mva": 1, "v_kv": 11}, f_nom_hz=60)
        inverter = world.start("Inverter", sim_id="Inverter")
        source = world.start("CSV", sim_start="2026-06-21 12:00:00", datafile=str(tmp_path / "source.csv")).Data()
        recorder = world.start("Recorder", sim_id="Recorder", folder=str(tmp_path), step_ms=5).Recorder()
        buses = {"inv1": "1", "inv2": "2", "inv3": "3"}
        terminals = [grid.Terminal(unit=unit, bus=bus) for unit, bus in buses.items()]
        start = [grid.initial(terminal.eid) for terminal in terminals]
        units = inverter.Inverters(ids=list(buses), start=start, params={
            "s_rated_kva": 1000, "f_nom_hz": 60,
            "p_set_kw": [1e3 * shown["P_gen[MW]"] for shown in start],
            "q_set_kvar": [1e3 * shown["Q_gen[MVar]"] for shown in start],
        }).children  # fmt: skip
        for unit, terminal, shown in zip(units, terminals, start, strict=True):
            world.connect(unit, terminal, "E[pu]", "Va_emf[deg]")
            world.connect(
                terminal, unit, "P_gen[MW]", "Q_gen[MVar]", "events[1]", time_shifted=True, initial_data=shown
            )
        (load5,) = [child for child in grid.Grid().children if child.eid == "load5"]
        link(world, source, load5, ("P_load[kW]", "P_load[MW]"))
        link(world, source, units[0], ("P_set[kW]", "P_set[MW]"))
        world.connect(load5, recorder, "P_load[MW]")
        world.connect(units[0], recorder, "f[Hz]", "P_set[MW]")
        world.run(until=2_900_001, print_progress=False)
    names = ["Grid.load5.P_load[MW]", "Inverter.inv1.f[Hz]", "Inverter.inv1.P_set[MW]"]
    t, p_load, f_hz, p_set = read_columns(tmp_path, "Recorder", names).values()
    assert p_load[t < 1] == pytest.approx(0.9) and p_load[t >= 1] == pytest.approx(1.2)
    assert p_set[t < 2] == pytest.approx(0.719547) and p_set[t >= 2] == pytest.approx(1.019547)
    # 0.3 MW on 3 MVA with 2 % droop are 0.12 Hz down and up again, but for the losses: 20 kW are 8 mHz
    assert f_hz[0] == pytest.approx(60)
    settled = f_hz[np.searchsorted(t, [0.9, 1.9, 2.9])]
    assert np.diff(settled) == pytest.approx([-0.12, 0.12], abs=8e-3)


@pytest.mark.peers(packages=["mosaik-hdf5"])
def test_mosaik_hdf5_takes_our_scalars(tmp_path: Path) -> None:
    import h5py
    from mosaik.starters import PythonStarter
    from mosaik_hdf5 import MosaikHdf5

    file = tmp_path / "run.hdf5"

    def extend(built: Built) -> None:
        # its duration ends before that time: one step more, because our runs step at their end
        hdf5 = built.world.start(PythonStarter(MosaikHdf5), "Hdf5", step_size=10_000, duration=1_210_000)
        database = hdf5.Database(filename=str(file))
        built.world.connect(built.entities["inv1"], database, "f[Hz]", "E[pu]")
        built.world.connect(built.entities["5"], database, "Vm[pu]")

    result = run(load("ieee9"), folder=tmp_path / "run", until_s=1.2, extend=extend)
    t, f_hz = result.series("inv1", "f[Hz]")
    wanted = np.isin(np.round(t * 1e6).astype(int), np.arange(0, 1_210_000, 10_000))
    with h5py.File(file) as stored:
        series = stored["Series"]
        assert np.array_equal(series["Inverter.inv1"]["f[Hz]"][:], f_hz[wanted])
        # the run's own voltages are computed from many rows at once
        assert series["Grid.5"]["Vm[pu]"][:] == pytest.approx(result.series("5", "Vm[pu]")[1][wanted], abs=1e-14)
