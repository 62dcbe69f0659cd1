"""Run a scenario: build its world, watch it, name who failed, keep what there is."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import numpy as np

from gridloop.hil.pacer import DeadlineMissed
from gridloop.scenarios.agent_parts import ENDING
from gridloop.scenarios.attach import open_devices
from gridloop.scenarios.build import TIME_RESOLUTION, Built, build, open_world
from gridloop.scenarios.pacing import acted, paced_simulator, pacer_of, pacing_facts
from gridloop.scenarios.recording import Recording, add_metrics, new_folder
from gridloop.scenarios.remote import Remotes, places, programs
from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.schema import Scenario
from gridloop.scenarios.start import LONGEST_H_LAMBDA, Plan, plan
from gridloop.scenarios.steering import Steering
from gridloop.scenarios.swapping import swapped
from gridloop.scenarios.wire_control import COMMS, SECONDARY, commands_to
from gridloop.scenarios.wire_devices import DEVICES
from gridloop.scenarios.wire_market import MARKET_COMMS
from gridloop.simulators.failure import SimulatorFailure

log = logging.getLogger(__name__)

Failure = TypeVar("Failure", bound=Exception)


class RunFailed(RuntimeError):
    """A run ended early; `result` holds everything up to there."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class _Interrupted(Exception):
    """The user asked the run to stop."""


@dataclass(frozen=True)
class Progress:
    """Where a run is: simulated time, and the units' mean frequency there."""

    t_s: float
    f_hz: float


class Stopwatch:
    """Wall time spent inside simulators."""

    def __init__(self) -> None:
        self.wall_s = 0.0

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` with its time counted."""

        def call(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args)
            finally:
                self.wall_s += time.perf_counter() - began

        return call


def run(  # noqa: PLR0913 - the public entry; all but the scenario are options with a name
    scenario: Scenario, *, until_s: float | None = None, overrides: Mapping[str, Any] | None = None,
    folder: Path | str | None = None, watch: Callable[[Progress], None] | None = None,
    planned: Callable[[Plan], None] | None = None, extend: Callable[[Built], None] | None = None,
    check_order: bool = False, remote: str | Iterable[str] = (), swap: Mapping[str, Any] | None = None,
    allow_writes: bool = False, raw_frames: bool = False, steering: Steering | None = None,
    pace: float | None = None, late: Literal["warn", "slip", "stop"] = "warn",
) -> Result:  # fmt: skip
    """Run a scenario and return its result.

    Args:
        scenario: from `load`.
        until_s: another end [s].
        overrides: values by dotted path, e.g. {"step_ms": 2.5, "units.*.droop_p_percent": 1}.
        folder: where results go; `runs/<time>-<name>` by default. It must not hold a run already.
        watch: called every few steps with the progress.
        planned: called with what will run, once its start is known.
        extend: called with the built world before it runs, to add simulators of your own.
        check_order: run once more at half the step and add the metrics order_change_f and order_change_p.
        remote: simulators that run in processes of their own, e.g. ("Grid", "Inverter"), or that listen already,
            "Inverter=192.0.2.7:5678". The result is the same.
        swap: devices that stand in for units from the start: a URL by the unit's name, {"inv2": "emulated:"}, or a
            device of your own in this process, anything with the methods of `gridloop.hil.adapter.Handle`.
        allow_writes: leave to write to all devices of this run.
        raw_frames: keep all that goes over wires, for diagnosis.
        steering: takes swaps and an emergency stop while the run goes on.
        pace: simulated seconds a second; as fast as it can if absent, but in real time with devices in mode free.
        late: what becomes of a step that begins too late in a paced run: it is counted (`warn`), the clock is set
            back (`slip`), or the run fails (`stop`).

    Raises:
        ScenarioError: the scenario cannot run.
        ValueError: `remote` or `swap` names what is not there, or `pace` is not that of the devices.
        RunFailed: a simulator failed; the error carries the result up to there.
    """
    changes = dict(overrides or {}) | ({} if until_s is None else {"until_s": until_s})
    what = plan(swapped(scenario.with_overrides(changes) if changes else scenario, swap or {}, allow_writes))
    if planned is not None:
        planned(what)
    elif what.h_lambda > LONGEST_H_LAMBDA:
        step_ms = what.scenario.step_ms
        log.warning("step_ms = %g is too long for this stiff a grid: h*lambda = %.2f", step_ms, what.h_lambda)
    known = programs(what)
    remotes, stop = Remotes(places(remote, known), known), _Stop()

    def each_look(t_s: float, outputs: Any) -> None:
        if stop.asked:
            raise _Interrupted
        if watch is not None:
            watch(Progress(t_s, float(np.mean(outputs.f_hz))))

    pacer, steering = pacer_of(what, pace, late, lambda: stop.asked), steering or Steering()
    path = new_folder(folder, what.scenario.name)
    recording = Recording(what, path, each_look)
    stopwatch, failure, interrupted = Stopwatch(), None, False
    devices = open_devices(what, swap or {}, path, pacer, raw_frames=raw_frames, listeners=(steering.at,))
    with stop.on_signals(), remotes, devices as attached, open_world() as world:
        built = None
        try:
            built = build(what, world, recording.sinks, recording.log, remotes, attached, path)
            if attached.handles:
                steering.begin(
                    list(attached.handles), commands_to(built.simulators), attached.halt, recording.log
                )  # fmt: skip
            if pacer is not None and DEVICES not in built.simulators:
                grid = paced_simulator(built.simulators)
                grid.step = pacer.paced(grid.step, TIME_RESOLUTION)
            for simulator in built.simulators.values():
                simulator.step = stopwatch.watched(simulator.step)
                simulator.get_data = stopwatch.watched(simulator.get_data)
            if extend is not None:
                extend(built)
        except Exception:
            if remotes.failure is None:
                raise
        recording.begin()
        if built is not None:
            try:
                with stop.between_rows():
                    world.run(until=built.until, print_progress=False, lazy_stepping=False)
                failure = _silent_failure(built)
            except (_Interrupted, KeyboardInterrupt):
                interrupted = True
            except Exception as error:  # noqa: BLE001 - whatever it was, the run keeps its results and says so
                interrupted = _cause(error, _Interrupted) is not None
                failure = None if interrupted else _told(error) or _silent_failure(built) or error
            finally:
                _end_tasks(built)
        if not interrupted:
            failure = remotes.failure or failure
        recording.device_statistics, recording.commands = attached.statistics, steering.taken
        recording.pacing = pacing_facts(pacer)
    for entry in remotes.left:
        recording.log(*entry)
    if failure is None:
        amiss = "; ".join(words for words in (_lost(built), steering.told, acted(pacer)) if words)
        status, message = ("degraded", amiss) if amiss else ("done", "")
        if interrupted:
            status, message = "interrupted", "stopped by the user"
        result = recording.finish(status, message, stopwatch.wall_s, _statistics(built))
        if check_order and not interrupted:
            result = add_metrics(result, _order_change(what.scenario, result, extend))
        return result
    result = recording.finish("failed", str(failure), stopwatch.wall_s, _statistics(built))
    raise RunFailed(str(failure), result) from failure


def _lost(built: Built | None) -> str:
    """Which devices were lost; '' if none."""
    simulators = {} if built is None else built.simulators
    units, agents = (getattr(simulators.get(name), "lost", {}) for name in (DEVICES, SECONDARY))
    lost = {**units, **{f"{name}{ENDING}": of for name, of in agents.items()}}
    return "; ".join(f"{name}: {of}" for name, of in lost.items())


def _statistics(built: Built | None) -> dict[str, dict[str, float]]:
    """What became of the messages on every link."""
    simulators = {} if built is None else built.simulators
    return {
        link: counts for name in (COMMS, MARKET_COMMS) if name in simulators
        for link, counts in simulators[name].statistics().items()
    }  # fmt: skip


def _order_change(scenario: Scenario, result: Result, extend: Callable[[Built], None] | None) -> dict[str, Metric]:
    """Largest change of the units' frequency and power that half the step makes."""
    with TemporaryDirectory() as folder:
        finer = run(scenario, overrides={"step_ms": scenario.step_ms / 2}, folder=folder, extend=extend)
        changes = {"f[Hz]": 0.0, "P_gen[MW]": 0.0}
        for unit in (name for name, entity in result.entities.items() if entity.kind == "unit"):
            for attribute, before in changes.items():
                t, values = result.series(unit, attribute)
                t_finer, values_finer = finer.series(unit, attribute)
                common = np.isin(np.round(t_finer * 1e6), np.round(t * 1e6))
                changes[attribute] = max(before, float(np.abs(values_finer[common] - values).max()))
    s_base_mva = result.record["s_base_mva"]
    return {
        "order_change_f": Metric(changes["f[Hz]"], "Hz", "largest change of a frequency at half the step"),
        "order_change_p": Metric(changes["P_gen[MW]"] / s_base_mva, "pu", "largest change of a power at half the step"),
    }


def _end_tasks(built: Built) -> None:
    """End the simulators' tasks that mosaik leaves waiting after a failure, lest Python complains at exit."""
    runners = built.world.compile(use_cache=True).values()
    tasks = [task for runner in runners if (task := getattr(runner, "task", None)) is not None]  # None: not begun
    for task in tasks:
        task.cancel()
    built.world.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


class _Stop:
    """Ctrl-C, or a supervisor's SIGTERM, ends a run between two rows, so that nothing is lost.

    A second one, and one before the first row, ends it at once: devices are left in their safe states all the same.
    """

    def __init__(self) -> None:
        self.asked = self._waits = False

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked or not self._waits:
            raise KeyboardInterrupt
        self.asked = True

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Mind both signals."""
        try:
            before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # outside the main thread Python delivers no signals: nothing to do
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def between_rows(self) -> Iterator[None]:
        """Rows are being made: the first signal waits for the end of one."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False


def _cause(error: BaseException | None, kind: type[Failure]) -> Failure | None:
    """The error of a kind of ours behind whatever mosaik made of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kind):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _told(error: BaseException | None) -> Exception | None:
    """The error that says what happened: the clock's, or that of a simulator with its name."""
    return _cause(error, DeadlineMissed) or _cause(error, SimulatorFailure)


def _silent_failure(built: Built) -> BaseException | None:
    """What a simulator's task died of: mosaik says nothing of a remote one, and names nobody for a foreign one."""
    for sid, runner in built.world.compile(use_cache=True).items():
        task = getattr(runner, "task", None)
        if task is None or not task.done() or task.cancelled() or task.exception() is None:
            continue
        error = task.exception()
        if isinstance(error, _Interrupted):
            raise error
        mine = [name.partition(".")[2] for name in built.world.entity_graph if name.startswith(f"{sid}.")]
        step = getattr(runner, "current_step", None) or getattr(runner, "last_step", None)
        t_s = getattr(step, "time", 0) * TIME_RESOLUTION
        return _told(error) or SimulatorFailure(sid, ", ".join(mine[:4]) or "?", t_s, error)
    return None
