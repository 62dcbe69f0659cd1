"""The server role by itself: a plant that is stepped by hand, and a controller outside that reads and writes."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient

from gridloop.hil.bank import ILLEGAL_ADDRESS
from gridloop.hil.registers import load_map
from gridloop.hil.server import PlantBank, PlantServer

MAP = load_map("generic_inverter")
SET_POINTS = {"P_set[MW]": 0.05, "Q_set[MVar]": 0.01}
ATTRS = ["P_gen[MW]", "Q_gen[MVar]", "Vm[pu]", "f[Hz]", *SET_POINTS]
SHOWN = {"P_gen[MW]": 0.0481, "Q_gen[MVar]": -0.002, "Vm[pu]": 1.01, "f[Hz]": 49.98}
STEP = 5_000


class Plant:
    """A served unit and its log."""

    def __init__(self, **init: Any) -> None:
        self.log: list[tuple[float, str, str, str]] = []
        self.server = PlantServer(lambda *entry: self.log.append(entry))
        self.server.init("Server", 1e-6, attrs=ATTRS, **init)
        self.server.create(1, "Served", name="inv1", url="modbus+tcp://127.0.0.1:0/7", map=MAP, set_points=SET_POINTS)
        self.time = -STEP

    def step(self, **shown: float) -> dict[str, float]:
        """One step; the set-points that the unit gets from it."""
        self.time += STEP
        values = {attr: {"Grid.inv1": value} for attr, value in (SHOWN | shown).items()}
        assert self.server.step(self.time, {"inv1": values}, self.time) == self.time + STEP
        return dict(self.server.get_data({"inv1": list(SET_POINTS)})["inv1"])


@pytest.fixture
def plant() -> Iterator[Plant]:
    made = Plant()
    made.server.setup_done()
    yield made
    made.server.finalize()


@pytest.fixture
def outside(plant: Plant) -> Iterator[ModbusTcpClient]:
    client = ModbusTcpClient(
        "127.0.0.1", port=int(plant.server.addresses["inv1"].rpartition(":")[2]), timeout=2, retries=0
    )
    assert client.connect()
    yield client
    client.close()


def number(client: ModbusTcpClient, words: Any) -> Any:
    return client.convert_from_registers(words, client.DATATYPE.INT32)


def test_what_the_plant_shows_is_read(plant: Plant, outside: ModbusTcpClient) -> None:
    plant.step()
    plant.step(**{"P_gen[MW]": 0.0492})
    words = outside.read_input_registers(0, count=8, device_id=7).registers
    assert [number(outside, words[at : at + 2]) for at in (0, 2, 4, 6)] == [49_200, -2_000, 1_010_000, 49_980_000]


def test_set_points_stand_there_and_those_written_are_the_units_at_the_next_step(
    plant: Plant, outside: ModbusTcpClient
) -> None:  # fmt: skip
    assert plant.step() == SET_POINTS
    assert number(outside, outside.read_holding_registers(0, count=2, device_id=7).registers) == 50_000
    outside.write_registers(0, outside.convert_to_registers(-30_000, outside.DATATYPE.INT32), device_id=7)
    assert plant.step() == SET_POINTS | {"P_set[MW]": -0.03}
    assert plant.step() == SET_POINTS | {"P_set[MW]": -0.03}
    assert plant.log == [(0.005, "write", "inv1", "P_set[MW] now -0.03")]


def test_what_no_unit_takes_changes_nothing(plant: Plant, outside: ModbusTcpClient) -> None:
    plant.step()
    outside.write_registers(4, outside.convert_to_registers(990_000, outside.DATATYPE.UINT32), device_id=7)  # V_grid
    assert plant.step() == SET_POINTS
    assert plant.log == []


def test_the_scenario_changes_set_points_too() -> None:
    plant = Plant(changes=[(0.01, "inv1", "p_set_kw", 70.0)])
    assert [plant.step()["P_set[MW]"] for _ in range(3)] == [0.05, 0.05, 0.07]


def test_it_forgets_what_was_written_when_its_timer_runs_out() -> None:
    bank = PlantBank(MAP, SET_POINTS)
    bank.switch_on(0.0)
    assert not bank.write("holding", 0, [0, 20_000, 0, 0, 0, 0, 0, 0, 20, 1], 1.0)  # 20 kW for 2 s
    assert dict(bank.writes)["P_set[MW]"] == 0.02
    bank.writes.clear()
    bank.refresh(2.9)
    assert not bank.writes
    bank.refresh(3.1)
    assert dict(bank.writes)["P_set[MW]"] == 0.0  # the map's safe value
    assert bank.write("input", 0, [1, 2], 4.0) == ILLEGAL_ADDRESS


def test_other_machines_are_let_in_expressly_only() -> None:
    server = PlantServer()
    server.init("Server", 1e-6, attrs=ATTRS)
    with pytest.raises(ValueError, match="other machines could reach it"):
        server.create(1, "Served", name="inv1", url="modbus+tcp://0.0.0.0:5021/1", map=MAP)
    server.create(1, "Served", name="inv2", url="modbus+tcp://0.0.0.0:5021/1", map=MAP, anywhere=True)
    server.finalize()
