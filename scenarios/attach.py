"""The devices of a run, opened for as long as it lasts."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridloop.hil.adapter import Handle
from gridloop.hil.faulty import Faulty
from gridloop.hil.policy import GOOD
from gridloop.hil.recording import Recorder
from gridloop.hil.registers import load_map
from gridloop.hil.replay import FOLDER, Replay
from gridloop.scenarios.agent_plan import AgentRow
from gridloop.scenarios.agent_settings import EmulatedAgent
from gridloop.scenarios.device_log import FrameLog, WriteLog, round_trips
from gridloop.scenarios.device_plan import DeviceRow
from gridloop.scenarios.emulated import EmulatedDevice
from gridloop.scenarios.problems import Problem
from gridloop.scenarios.recorded import recording_for
from gridloop.scenarios.start import Plan
from gridloop.scenarios.wire_devices import Attached, at_start

if TYPE_CHECKING:
    from gridloop.hil.pacer import Pacer

FIRST_ANSWER_S = 3.0  # wall time that devices have before a run begins
SETTLE_S = 0.5  # wall time in which they get used to the operating point
LOOK_S = 0.01
LEAST_WATCHDOG_S = 1.0  # of wall time without a step, after which safe states are written


@contextmanager
def open_devices(
    plan: Plan, swap: Mapping[str, Any], folder: Path, pacer: "Pacer | None" = None, *, raw_frames: bool = False,
    listeners: Sequence[Callable[[float], None]] = (),
) -> Iterator[Attached]:  # fmt: skip
    """Handles of all devices of a plan; those that `swap` holds are taken as they are.

    Args:
        plan: what runs.
        swap: devices of the caller's own, by unit; URLs among them stand in the plan already.
        folder: of the run, where all that goes on with devices is kept.
        pacer: holds every step until its time has come.
        raw_frames: whether what goes over wires is kept too.
        listeners: are told the simulated time at the start of every step.
    """
    handles: dict[str, Handle] = {}
    wired: list[DeviceRow | AgentRow] = []
    told: list[Callable[[float], None]] = [] if pacer is None else [pacer.wait]
    with ExitStack() as stack:
        recorder = Recorder(folder / FOLDER, time.monotonic)
        stack.callback(recorder.close)
        for one in plan.stand_ins:
            own = swap.get(one.unit)
            if own is not None and not isinstance(own, str):
                handles[one.unit] = recorder.recorded(one.unit, own)
            elif one.url.scheme == "emulated":
                handles[one.unit] = EmulatedAgent(plan, one.of) if isinstance(one, AgentRow) else _emulated(plan, one)
            elif one.url.scheme == "mosaik" and isinstance(one, DeviceRow):
                from gridloop.scenarios.remote_unit import remote_unit

                handles[one.unit] = stack.enter_context(remote_unit(plan, one))
            elif one.url.scheme == "replay":
                handles[one.unit] = replay = Replay(*recording_for(plan.scenario, one.unit))
                told.append(replay.at)
            else:
                wired.append(one)
        writes, answered = WriteLog(), list[Any]()
        if wired:
            opened = _open_wired(plan, wired, stack, (folder, recorder, writes), raw_frames)
            handles |= {unit: recorder.recorded(unit, handle) for unit, handle in opened.items()}
            stack.callback(round_trips, folder / FOLDER, opened)
            answered = [handle for handle in opened.values() if handle.snapshot().quality == GOOD]
        told += [recorder.at, *listeners]

        def begin_step(t_s: float) -> None:
            while answered:  # before the first step: what was built meanwhile may have kept them from being asked
                _wait_for([answered.pop()], SETTLE_S)
            for tell in told:
                tell(t_s)

        yield Attached(handles, begin_step if handles else None, writes.counts)


def _emulated(plan: Plan, one: DeviceRow) -> Handle:
    gives = "power" if one.source == "power" else "controller"
    if one.role != gives:
        message = f"the model of {one.unit} as a device has role {gives}: delete this key"
        raise plan.scenario.error(Problem(("units", one.unit, "device", "role"), message))
    changes = [(c.t_s, c.unit, c.key, c.value) for c in plan.changes if c.unit == one.unit]

    def made() -> EmulatedDevice:
        base_mva, step_ms = plan.case.network.s_base_mva, plan.scenario.step_ms
        return EmulatedDevice(plan.groups[one.group], one.row, base_mva, step_ms, changes)

    return Faulty(made) if any(fault.unit == one.unit for fault in plan.faults) else made()


def _open_wired(
    plan: Plan, wired: list[DeviceRow | AgentRow], stack: ExitStack, kept: tuple[Path, Recorder, WriteLog],
    raw_frames: bool,
) -> dict[str, Any]:  # fmt: skip
    """Devices behind a wire: polled in a thread of their own from now on, at the operating point before the start."""
    from gridloop.hil.io import IoThread

    folder, recorder, writes = kept
    stack.enter_context(writes.into(folder))
    frames = stack.enter_context(FrameLog(folder / FOLDER)) if raw_frames else None
    io = stack.enter_context(IoThread(on_write=writes.take, on_reading=recorder.hear))
    handles = {
        one.unit: io.add(one.described() if isinstance(one, AgentRow) else _described(plan, one)) for one in wired
    }
    for one in wired:
        if frames is not None:
            handles[one.unit].trace(frames.of(one.url.bus))
        if isinstance(one, DeviceRow):
            handles[one.unit].post(at_start(plan, one))
    time.sleep(SETTLE_S)
    _wait_for(handles.values(), FIRST_ANSWER_S - SETTLE_S)
    return dict(handles)


def _wait_for(handles: Iterable[Any], longest_s: float) -> None:
    """Until all show values that are good."""
    end_s = time.monotonic() + longest_s
    while time.monotonic() < end_s and any(handle.snapshot().quality != GOOD for handle in handles):
        time.sleep(LOOK_S)


def _described(plan: Plan, one: DeviceRow) -> Any:
    """What the I/O thread must know of a device."""
    from gridloop.hil.io import Device

    device = one.device
    name = one.url.options.get("map")
    registers = None if name is None else load_map(name, plan.scenario.folder_of("units", one.unit, "device", "url"))
    limits, safe, ramp = device.limits, device.safe, device.limits.p_ramp_kw_per_s
    ranges = {"P_set[MW]": limits.p_set_kw, "Q_set[MVar]": limits.q_set_kvar}
    taken = set(ranges) if registers is None else {point.attr for point in registers.written_points}
    return Device(
        one.unit, one.url, registers, device.period_ms * 1e-3, device.answer_ms * 1e-3, device.oldest_ms * 1e-3,
        device.mode, one.may_write,
        {attr: (most[0] / 1e3, most[1] / 1e3) for attr, most in ranges.items() if most is not None and attr in taken},
        {} if ramp is None or "P_set[MW]" not in taken else {"P_set[MW]": ramp / 1e3},
        {attr: value / 1e3 for attr, value in (("P_set[MW]", safe.p_set_kw), ("Q_set[MVar]", safe.q_set_kvar))
         if attr in taken},
        max(LEAST_WATCHDOG_S, 4 * plan.scenario.step_ms * 1e-3),
    )  # fmt: skip
