"""SunSpec over a wire: our scan against a server of pymodbus."""

import asyncio
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gridloop.hil import links, urls
from gridloop.hil.sunspec_image import image, typical_models
from gridloop.hil.sunspec_link import map_of, scan_device
from gridloop.hil.sunspec_models import SunSpecError

MODELS = typical_models(50_000, serial_number="4711")
MODELS[701] |= {"W": 12_000, "Var": -3_000, "Hz": 49.98, "LLV": 392}


async def serving(base=40000) -> tuple[Any, int]:
    data = SimData(base, values=image(MODELS), datatype=DataType.REGISTERS)
    server: Any = ModbusTcpServer(SimDevice(id=1, simdata=[data]), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    return server, server.transport.sockets[0].getsockname()[1]


async def opened(port):
    link = links.open_link(urls.parse(f"sunspec+tcp://127.0.0.1:{port}/1"))
    await link.open()
    return link


@pytest.mark.parametrize("base", [40000, 0, 7000])
def test_a_device_on_a_wire_is_found_read_and_written(base):
    async def talk():
        server, port = await serving(base)
        link = await opened(port)
        try:
            found = await scan_device(link, 1, bases=(40000, 0, 7000))
            map = await map_of(link, 1, bases=(base,))
            values = dict[str, float]()
            for block in map.reads():
                values |= block.values(await link.read(1, block.function, block.address, block.count, 1.0))
            wanted = map.presets | {"P_set[MW]": 0.02, "Q_set[MVar]": 0.004}
            for block in map.writes(list(wanted)):
                await link.write(1, block.function, block.address, block.registers(wanted)[0], 1.0)
            return found, values, (await scan_device(link, 1, bases=(base,))).model(704)
        finally:
            await link.close()
            await server.shutdown()

    found, values, control = asyncio.run(talk())
    assert (found.base, found.identity["serial_number"]) == (base, "4711")
    shown = {"P_gen[MW]": 0.012, "Q_gen[MVar]": -0.003, "f[Hz]": 49.98, "Vm[pu]": 0.98, "SoC[%]": 50}
    assert {attr: values[attr] for attr in shown} == pytest.approx(shown)
    assert [control.value(path) for path in ("WSet", "VarSet", "WSetEna", "VarSetEna")] == [20_000, 4_000, 1, 1]


class Shy:
    """Says nothing at one base, is busy once, and then serves."""

    def __init__(self, base):
        self.memory = dict(enumerate(image(MODELS), base))
        self.said = []
        self.is_busy = True

    async def read(self, unit, function, address, count, deadline_s):
        if address == 40000:
            self.said.append("nothing")
            raise links.Timeout("no answer")
        if self.said[-1] == "nothing":
            self.said.append("quarantine")
            raise links.Busy("left alone")
        if self.is_busy:
            self.is_busy = False
            raise links.Refused("busy", 6)
        if any(at not in self.memory for at in range(address, address + count)):
            raise links.Refused("no such address", 2)
        return [self.memory[at] for at in range(address, address + count)]


def test_silence_at_a_base_and_the_quarantine_after_it_do_not_end_the_scan():
    device = Shy(50000)
    found = asyncio.run(scan_device(device, 1, deadline_s=0.001))
    assert found.base == 50000
    assert device.said == ["nothing", "nothing", "quarantine"]
    with pytest.raises(SunSpecError, match="no SunSpec mark"):
        asyncio.run(scan_device(Shy(9000), 1, deadline_s=0.001))


def test_a_lost_link_is_told_as_such():
    class Lost:
        async def read(self, *request):
            raise links.LinkDown("gone")

    with pytest.raises(links.LinkDown):
        asyncio.run(scan_device(Lost(), 1))
