"""Controllers outside read and drive a running scenario: three droop inverters on the 9-bus network."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymodbus.client import ModbusTcpClient

from gridloop.scenarios import load, run
from gridloop.scenarios.build import Built, build, open_world
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import plan
from gridloop.scenarios.wire_serve import SERVER

MAP = "?map=generic_inverter"
LONGEST_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Controller(threading.Thread):
    """Connects as soon as it can, writes a set-point once and reads until it is told to stop."""

    def __init__(self, port: int, p_set_w: int) -> None:
        super().__init__(daemon=True)
        self.client = ModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0)
        self.p_set_w, self.p_w, self.over = p_set_w, list[int](), threading.Event()

    def run(self) -> None:
        end_s = time.monotonic() + LONGEST_S
        while not self.client.connect() and time.monotonic() < end_s and not self.over.wait(0.02):
            pass
        words = self.client.convert_to_registers(self.p_set_w, self.client.DATATYPE.INT32)
        self.client.write_registers(0, words, device_id=1)
        while not self.over.wait(0.02):
            found = self.client.read_input_registers(0, count=2, device_id=1).registers
            self.p_w.append(int(self.client.convert_from_registers(found, self.client.DATATYPE.INT32)))  # type: ignore[arg-type]


def test_a_controller_outside_drives_a_unit_in_real_time(tmp_path: Path) -> None:
    port = free_port()
    controller = Controller(port, 150_000_000)

    def begin(built: Built) -> None:
        server = built.simulators[SERVER]
        listen, server.setup_done = server.setup_done, lambda: [call() for call in (listen, controller.start)]
        step = built.simulators["Grid"].step
        last = built.until - 30_000  # while it still listens

        def watched(time_us: int, *args: Any) -> Any:
            if time_us >= last:
                controller.over.set()
            return step(time_us, *args)

        built.simulators["Grid"].step = watched

    served = {"inv2": {"url": f"modbus+tcp://127.0.0.1:{port}/1{MAP}"}}
    scenario = load("ieee9").with_overrides({"serve": served, "until_s": 1, "events": []})
    result = run(scenario, folder=tmp_path / "run", extend=begin)
    controller.join(5)
    t, p = result.series("inv2", "P_gen[MW]")
    (told,) = result.events
    assert (told.kind, told.target, told.outcome) == ("write", "inv2", "P_set[MW] now 150")
    assert np.all(p[t <= told.t_s] == pytest.approx(163, abs=1e-6))
    assert p[-1] == pytest.approx(163 - 13 * 225 / 425, abs=0.5)  # the others take their share by rating
    assert controller.p_w[-1] == pytest.approx(1e6 * p[-1], rel=2e-3)
    assert result.record["wall"]["total_s"] > 0.95


def test_a_server_nobody_speaks_to_changes_nothing(tmp_path: Path) -> None:
    served = {"inv2": {"url": f"modbus+tcp://127.0.0.1:{free_port()}/1{MAP}"}}
    plain, other = (
        run(load("ieee9").with_overrides({"until_s": 0.2, "events.0.t_s": 0.1, **more}), folder=tmp_path / str(k))
        for k, more in enumerate(({}, {"serve": served}))
    )
    for name in ("inv1", "inv2"):
        assert np.abs(plain.series(name, "f[Hz]")[1] - other.series(name, "f[Hz]")[1]).max() < 1e-11


def test_buses_and_meters_are_read(tmp_path: Path) -> None:
    scenario = load("ieee9").with_overrides({
        "meters": {"m5": {"of": "inv1", "attr": ["P_gen[MW]", "Vm[pu]"], "period_ms": 5}},
        "serve": {"5": {"url": "modbus+tcp://127.0.0.1:5031/1?map=meter"},
                  "m5": {"url": "modbus+tcp://127.0.0.1:5032/1?map=meter"}},
    })  # fmt: skip
    with open_world() as world:
        built = build(plan(scenario), world)
        pairs = {str(a): str(b) for a, b in world.entity_graph.edges if SERVER in f"{a}{b}"}
    assert set(built.simulators[SERVER].addresses) == {"5", "m5"}
    assert len(pairs) == 2


@pytest.mark.parametrize(
    ("served", "words"),
    [
        ({"inv9": f"modbus+tcp://127.0.0.1:5021/1{MAP}"}, "serve.inv9: there is no unit, meter or bus 'inv9'"),
        ({"inv1": "modbus+tcp://127.0.0.1:5021/1"}, "serve.inv1.url: needs a register map"),
        ({"inv1": "modbus+tcp://127.0.0.1:5021/1?map=generic_invertor"}, "generic_inverter"),
        ({"inv1": "emulated:"}, "is served over Modbus only, not emulated"),
        (
            {"inv1": f"modbus+tcp://127.0.0.1:5021/1{MAP}", "inv3": f"modbus+tcp://127.0.0.1:5021/2{MAP}"},
            "inv1 is served there already: take another port",
        ),
    ],
)
def test_what_does_not_fit_is_told(served: dict[str, str], words: str) -> None:
    with pytest.raises(ScenarioError) as error:
        plan(load("ieee9").with_overrides({"serve": {name: {"url": url} for name, url in served.items()}}))
    assert words in str(error.value)


def test_a_unit_with_a_device_is_not_served() -> None:
    both = {
        "serve": {"inv1": {"url": f"modbus+tcp://127.0.0.1:5021/1{MAP}"}},
        "units.inv1.device": {"url": "emulated:"},
    }
    with pytest.raises(ScenarioError, match="inv1 has a device that stands in for it"):
        load("ieee9").with_overrides(both)
