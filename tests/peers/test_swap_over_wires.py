"""The swap row over wires: inv2 emulated over TCP, RTU and TLS, and as a program in C on libmodbus."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certificates
from droop_inverter import MAP, as_inv2, in_c, inverter
from gridloop.scenarios import run
from serial_cable import cable
from swap_case import LOCKSTEP, UNIT, emulator, judge, p_quantum_mw, scenario, simulated

OURS = "map=generic_controller"
REGISTERS = p_quantum_mw(1e-6, 1e-6)  # what generic_controller has for f and P
FLOATS = p_quantum_mw(float(np.spacing(np.float32(60))), float(np.spacing(np.float32(180))))
LINE = "baud=115200&quarantine_ms=50"  # an answer that a busy machine delays is not waited for long


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The run in which inv2 is simulated."""
    return run(simulated(), folder=tmp_path_factory.mktemp("reference") / "run")


def over_tcp(stack: ExitStack, folder: Path) -> str:
    served = stack.enter_context(emulator("modbus+tcp://127.0.0.1:0/1"))
    return f"modbus+tcp://127.0.0.1:{served.url.port}/1?{OURS}"


def over_rtu(stack: ExitStack, folder: Path) -> str:
    ports = stack.enter_context(cable())
    stack.enter_context(emulator(f"modbus+rtu://{ports.one}/1?baud=115200"))
    return f"modbus+rtu://{ports.other}/1?{OURS}&{LINE}"


def over_tls(stack: ExitStack, folder: Path) -> str:
    certificates.make(folder)
    served, ours = (f"ca={folder}/ca.crt&cert={folder}/{name}.crt&key={folder}/{name}.key" for name in ("device", "us"))
    device = stack.enter_context(emulator(f"modbus+tls://127.0.0.1:0/1?{served}"))
    return f"modbus+tls://127.0.0.1:{device.url.port}/1?{OURS}&{ours}"


def c_over_tcp(stack: ExitStack, folder: Path) -> str:
    return stack.enter_context(inverter(**as_inv2())).url


def c_over_rtu(stack: ExitStack, folder: Path) -> str:
    ports = stack.enter_context(cable())
    stack.enter_context(inverter(f"rtu {ports.one}", **as_inv2()))
    return f"modbus+rtu://{ports.other}/1?map={MAP}&{LINE}"


@pytest.mark.parametrize(
    ("device", "p_most_mw"),
    [
        (over_tcp, REGISTERS),
        (over_rtu, REGISTERS),
        pytest.param(over_tls, REGISTERS, marks=pytest.mark.peers("openssl")),
        pytest.param(c_over_tcp, FLOATS, marks=in_c),
        pytest.param(c_over_rtu, FLOATS, marks=in_c),
    ],
)
def test_a_device_over_a_wire_settles_as_the_model_does(
    device: Any, p_most_mw: float, reference: Any, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        url = device(stack, tmp_path)
        result = run(scenario(**LOCKSTEP), folder=tmp_path / "run", swap={UNIT: url})
    judge(result, reference, p_most_mw)
    assert result.metrics[f"rtt_p99.{UNIT}"].value > 0  # it was a wire


def test_in_real_time_it_does_so_too(reference: Any, tmp_path: Path) -> None:
    with ExitStack() as stack:
        url = over_tcp(stack, tmp_path)
        result = run(scenario(), folder=tmp_path / "run", swap={UNIT: url})
    judge(result, reference, 100 * REGISTERS)  # a busy machine lets it settle later
    assert result.metrics[f"device_age_p95.{UNIT}"].value > 0


def test_the_process_own_device_does_so_at_every_step(reference: Any, tmp_path: Path) -> None:
    result = run(scenario(), folder=tmp_path / "run")
    judge(result, reference, 1e-10)
