"""A SunSpec device as an emulator serves it: its register map, all its other registers, and what it does. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gridloop.hil.bank import Behave
from gridloop.hil.registers import RegisterMap
from gridloop.hil.sunspec import Scan, SunSpecDevice
from gridloop.hil.sunspec_image import image
from gridloop.hil.sunspec_map import sunspec_map

RUNNING = {"connected[1]": 1.0, "alarm[1]": 0.0}
STATES = {701: 3.0, 103: 4.0}  # the number that says running
ENABLES = {"P_set[MW]": "enable[1]", "Q_set[MVar]": "enable_Q[1]"}  # set-point -> without which it does not count


class SunSpecDeviceMap(NamedTuple):
    """What `Emulator` serves."""

    device: SunSpecDevice
    map: RegisterMap
    words: dict[tuple[str, int], int]


def emulated(models: Mapping[int, Mapping[str, Any]], base: int = 40000) -> SunSpecDeviceMap:
    """The device with these models, as `image` takes them.

    Raises:
        SunSpecError: see `image` and `sunspec_map`.
    """
    registers = image(models)
    scan = Scan((base,))
    while scan.request is not None:
        address, count = scan.request
        scan.answer(registers[address - base : address - base + count])
    device = scan.device()
    return SunSpecDeviceMap(device, sunspec_map(device), {("holding", at): w for at, w in enumerate(registers, base)})


def running(law: Behave, device: SunSpecDevice) -> Behave:
    """The law of a device whose set-points count only while they are enabled, and which says that it runs."""
    state = next((STATES[id] for id, _, _ in device.directory if id in STATES), 0.0)

    def behave(t_s: float, written: Mapping[str, float]) -> dict[str, float]:
        counts = {attr: written[attr] if written.get(enable) else 0.0 for attr, enable in ENABLES.items()}
        return dict(law(t_s, counts)) | RUNNING | {"state[1]": state}

    return behave
