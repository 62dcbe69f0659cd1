"""The devices of a run, opened for as long as it lasts."""

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gridloop.hil.adapter import Handle
from gridloop.hil.policy import GOOD
from gridloop.hil.registers import load_map
from gridloop.scenarios.device_plan import DeviceRow
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.problems import Problem, did_you_mean
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_devices import Attached, at_start

OWN = "emulated:"  # what stands in a scenario for a device of the caller's own
WRITES = "writes.csv"
FIRST_ANSWER_S = 3.0  # wall time that devices have before a run begins
SETTLE_S = 0.5  # wall time in which they get used to the operating point
LOOK_S = 0.01
LEAST_WATCHDOG_S = 1.0  # of wall time without a step, after which safe states are written


def swapped(scenario: Scenario, swap: Mapping[str, Any]) -> Scenario:
    """The scenario with devices in place of units.

    Raises:
        ValueError: there is no such unit.
        ScenarioError: a device cannot stand in for its unit.
    """
    overrides: dict[str, Any] = {}
    for unit, what in swap.items():
        if unit not in scenario.units:
            raise ValueError(f"swap: there is no unit {unit!r}{did_you_mean(unit, list(scenario.units))}")
        url = what if isinstance(what, str) else OWN
        if scenario.units[unit].device is None:
            overrides[f"units.{unit}.device"] = {"url": url}
        else:
            overrides[f"units.{unit}.device.url"] = url
        if hasattr(what, "role"):
            overrides[f"units.{unit}.device.role"] = what.role
    return scenario.with_overrides(overrides) if overrides else scenario


@contextmanager
def open_devices(plan: Plan, swap: Mapping[str, Any], folder: Path) -> Iterator[Attached]:
    """Handles of all devices of a plan; those that `swap` holds are taken as they are.

    Args:
        plan: what runs.
        swap: devices of the caller's own, by unit; URLs among them stand in the plan already.
        folder: where what was written to devices is told.
    """
    handles: dict[str, Handle] = {}
    wired: list[DeviceRow] = []
    for one in plan.devices:
        own = swap.get(one.unit)
        if own is not None and not isinstance(own, str):
            handles[one.unit] = own
        elif one.url.scheme == "emulated":
            gives = "power" if one.source == "power" else "controller"
            if one.role != gives:
                message = f"the model of {one.unit} as a device has role {gives}: delete this key"
                raise plan.scenario.error(Problem(("units", one.unit, "device", "role"), message))
            changes = [(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit == one.unit]
            handles[one.unit] = EmulatedDevice(
                plan.groups[one.group], one.row, plan.case.network.s_base_mva, plan.scenario.step_ms, changes
            )
        else:
            wired.append(one)
    with ExitStack() as stack:
        wait = None
        if wired:
            handles |= _open_wired(plan, wired, stack, folder)
        if any(one.spec["mode"] == "free" for one in wired):
            from gridloop.hil.pacer import Pacer

            pacer = Pacer()
            wait = pacer.wait
        yield Attached(handles, wait)


def _open_wired(plan: Plan, wired: list[DeviceRow], stack: ExitStack, folder: Path) -> dict[str, Handle]:
    """Devices behind a wire: polled in a thread of their own from now on, at the operating point before the start."""
    from gridloop.hil.io import IoThread

    io = stack.enter_context(IoThread(on_write=_written(folder / WRITES, stack)))
    handles = {one.unit: io.add(_described(plan, one)) for one in wired}
    for one in wired:
        handles[one.unit].post(at_start(plan, one))
    began_s = time.monotonic()
    while time.monotonic() - began_s < FIRST_ANSWER_S:
        time.sleep(LOOK_S)
        is_settled = time.monotonic() - began_s >= SETTLE_S
        if is_settled and all(handle.snapshot().quality == GOOD for handle in handles.values()):
            break
    return dict(handles)


def _described(plan: Plan, one: DeviceRow) -> Any:
    """What the I/O thread must know of a device."""
    from gridloop.hil.io import Device

    device = one.device
    registers = load_map(one.url.options["map"], plan.scenario.folder_of("units", one.unit, "device", "url"))
    limits, safe, ramp = device.limits, device.safe, device.limits.p_ramp_kw_per_s
    ranges = {"P_set[MW]": limits.p_set_kw, "Q_set[MVar]": limits.q_set_kvar}
    taken = {point.attr for point in registers.written_points}
    return Device(
        one.unit, one.url, registers, device.period_ms * 1e-3, device.answer_ms * 1e-3, device.max_age_ms * 1e-3,
        device.mode, one.may_write,
        {attr: (most[0] / 1e3, most[1] / 1e3) for attr, most in ranges.items() if most is not None and attr in taken},
        {} if ramp is None or "P_set[MW]" not in taken else {"P_set[MW]": ramp / 1e3},
        {attr: value / 1e3 for attr, value in (("P_set[MW]", safe.p_set_kw), ("Q_set[MVar]", safe.q_set_kvar))
         if attr in taken},
        max(LEAST_WATCHDOG_S, 4 * plan.scenario.step_ms * 1e-3),
    )  # fmt: skip


def _written(path: Path, stack: ExitStack) -> Callable[[Any], None]:
    """Takes every write and tells it in a table."""
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    table, began_s = csv.writer(file), time.monotonic()
    table.writerow(("t_wall_s", "unit", "attribute", "wanted", "written", "changed_by", "done", "trouble"))

    def take(write: Any) -> None:
        table.writerow((
            f"{write.at_s - began_s:.6f}", write.device, write.attr, repr(write.wanted), repr(write.value), write.cause,
            int(write.done), write.trouble,
        ))  # fmt: skip

    return take
