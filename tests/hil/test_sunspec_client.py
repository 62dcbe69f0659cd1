"""pysunspec2's own client, an implementation that is not ours, on our emulated device over TCP, RTU and TLS."""

from pathlib import Path
from typing import Any

import pytest

from certificates import make
from gridloop.hil.emulator import Emulator
from gridloop.hil.sunspec_emulated import emulated, running
from gridloop.hil.sunspec_image import typical_models

pytestmark = pytest.mark.peers(packages=["pysunspec2"])

SHOWN = {"P_gen[MW]": 0.012, "Q_gen[MVar]": -0.003, "f[Hz]": 49.98, "Vm[pu]": 0.98, "SoC[%]": 71.5}


def serving(url: str) -> Emulator:
    device, map, words = emulated(typical_models(50_000, serial_number="4711"))
    return Emulator(url, map, running(lambda t_s, written: SHOWN, device), words=words)


def finds_all(device: Any, emulator: Emulator) -> None:
    """The client finds the models and the values in them, and its set-point arrives."""
    try:
        device.scan()
        assert [model.model_id for model in device.model_list] == [1, 701, 702, 704, 705, 711, 713, 715]
        assert device.common[0].SN.value == "4711"
        measured = device.DERMeasureAC[0]
        assert (measured.W.cvalue, measured.Var.cvalue, measured.LLV.cvalue) == (12_000, -3_000, 392)
        assert (measured.ConnSt.value, measured.Hz.cvalue) == (1, pytest.approx(49.98))
        assert measured.A.value is None  # not implemented
        assert device.DERStorageCapacity[0].SoC.cvalue == pytest.approx(71.5)
        assert device.DERFreqDroop[0].Ctl[0].KOf.cvalue == pytest.approx(0.05)
        control = device.DERCtlAC[0]
        control.WSet.cvalue = 1500
        control.WSetEna.value = 1
        control.write()
        control.read()
        assert (control.WSet.cvalue, control.WSetEna.value) == (1500, 1)
        assert [emulator.written[attr] for attr in ("P_set[MW]", "enable[1]")] == pytest.approx([0.0015, 1.0])
    finally:
        device.close()


def test_over_tcp() -> None:
    from sunspec2.modbus import client

    with serving("sunspec+tcp://127.0.0.1:0/1") as emulator:
        finds_all(client.SunSpecModbusClientDeviceTCP(1, "127.0.0.1", emulator.url.port, timeout=5), emulator)


def test_over_rtu() -> None:
    from sunspec2.modbus import client

    with serving("sunspec+rtu://pty/1?baud=115200") as emulator:
        finds_all(client.SunSpecModbusClientDeviceRTU(1, emulator.url.path, baudrate=115200, timeout=5), emulator)


@pytest.mark.peers("openssl")
def test_over_tls_with_certificates_of_both(tmp_path: Path) -> None:
    from sunspec2.modbus import client

    made = make(tmp_path)
    ours = {"tls": True, "cafile": made / "ca.crt", "certfile": made / "us.crt", "keyfile": made / "us.key"}
    own = f"?cert={made / 'device.crt'}&key={made / 'device.key'}&ca={made / 'ca.crt'}"
    with serving(f"sunspec+tls://127.0.0.1:0/1{own}") as emulator:
        finds_all(client.SunSpecModbusClientDeviceTCP(1, "127.0.0.1", emulator.url.port, timeout=5, **ours), emulator)
