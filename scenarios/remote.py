"""Simulators in other processes: started or connected to, watched, and ended with the run.

mosaik does not notice every death: when a process dies with a question unread, its connection is reset, mosaik's
channel ends without a word and the run waits for ever. `_Proxy` lets everything fail that waits for a channel that
has ended, and remembers what a simulator failed with, of which mosaik does not tell everything either.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mosaik.exceptions import ConnectionClosedError
from mosaik.proxies import RemoteProxy
from mosaik.starters import Starter
from mosaik_api_v3.connection import Channel, EndOfRequests, RemoteException

from gridloop.scenarios.problems import did_you_mean
from gridloop.scenarios.start import Plan
from gridloop.scenarios.unit_types import module_of
from gridloop.simulators.failure import SimulatorFailure
from gridloop.simulators.records import left_in

START_S = 60.0  # a process may take as long to import what it needs
LOOK_S = 0.2  # between two looks at a process that starts
END_S = 2.0  # a process that was told to stop may take as long
HERE = ""  # instead of HOST:PORT: a process of its own on this machine
# a host that is gone without a word is noticed after about 4 s
ALIVE = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 4000}


class RemoteFailure(RuntimeError):
    """What a simulator in another process raised, in its own words."""


@dataclass(frozen=True)
class Program:
    """What is to run: the name for `python -m gridloop.simulators`, and where a module of the user's is found."""

    name: str
    folder: Path | None = None


def programs(plan: Plan) -> dict[str, Program]:
    """The simulators of a plan that can be in other processes, by name; none of a run of settled states."""
    if plan.scenario.mode == "steady":
        return {}
    found = {"Grid": Program("grid")}
    for group in plan.groups:
        unit = plan.scenario.units[group.ids[0]]
        if ":" in unit.type:
            found[group.name] = Program(unit.type, plan.scenario.folder_of("units", group.ids[0], "type"))
        elif group.model is None:
            found[group.name] = Program("profile")
        else:
            found[group.name] = Program(f"{module_of(unit.type, unit.control)}:MODEL")
    return found


def places(words: str | Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Where each named simulator is, HERE or HOST:PORT, from words `NAME` or `NAME=HOST:PORT`.

    Raises:
        ValueError: there is no simulator of that name, or a place is not HOST:PORT.
    """
    names = {name.lower(): name for name in known}
    found = {}
    for word in words.split(",") if words and isinstance(words, str) else words:
        given, equals, where = word.strip().partition("=")
        name = names.get(given.lower())
        if name is None:
            raise ValueError(f"remote: there is no simulator {given!r}{did_you_mean(given, list(names.values()))}")
        host, _, port = where.rpartition(":")
        if equals and not (host and port.isdecimal()):
            raise ValueError(f"remote: {word}: write {name}=HOST:PORT")
        found[name] = where
    return found


class Remotes:
    """The simulators of a run that are in other processes; in a `with` statement, which ends these processes.

    Args:
        where: HERE or HOST:PORT by the simulator's name.
        known: what each name stands for.
    """

    def __init__(self, where: Mapping[str, str], known: Mapping[str, Program]) -> None:
        self._where, self._known = where, known
        self._processes: dict[str, _Process] = {}
        self._failures: list[Exception] = []
        self.left: list[Any] = []  # entries of the log that a failure brought along

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def __enter__(self) -> "Remotes":
        for name, where in self._where.items():  # all at once: most of their start is imports
            if where == HERE:
                self._processes[name] = _Process(self._known[name])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.end()

    @property
    def failure(self) -> Exception | None:
        """What the first of them failed with."""
        return self._failures[0] if self._failures else None

    def starter(self, name: str) -> Starter:
        """A mosaik starter for the simulator `name`."""
        return _Starter(self, self._processes.get(name), self._where[name])

    def failed(self, simulator: str, entity: str, t_s: float | None, cause: Exception) -> None:
        """Remember why a simulator cannot go on; `t_s` is None before the run begins."""
        place = f"{simulator} did not start" if t_s is None else f"{simulator}.{entity} at t = {t_s:.6g} s"
        if isinstance(cause, RemoteException):
            self.left += left_in(cause.further_args)
            named = cause.remote_type == SimulatorFailure.__name__
            text = cause.remote_msg if named else f"{place}: {cause.remote_type}: {cause.remote_msg}"
        elif simulator in self._processes:
            text = f"{place}: its process {self._processes[simulator].fate()}"
        else:
            text = f"{place}: {self._where[simulator]} {'does not answer' if t_s is None else 'is gone'}"
        self._failures.append(RemoteFailure(text))


class _Process:
    """A simulator's process and the socket at which it is awaited."""

    def __init__(self, program: Program) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self._is_connected = False
        own = [] if program.folder is None else [str(program.folder.resolve())]
        path = [*own, *(folder or str(Path.cwd()) for folder in sys.path)]
        host, port = self._server.getsockname()
        # in a session of its own: Ctrl-C is the run's to answer, and when the run is gone the process ends itself
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "gridloop.simulators", program.name, f"{host}:{port}"],
            stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, start_new_session=True,
        )  # fmt: skip

    async def arrived(self) -> socket.socket:
        """Its connection.

        Raises:
            ConnectionError: it ended, or takes too long.
        """
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + START_S
        arrival = loop.create_task(loop.sock_accept(self._server))
        try:
            while not (await asyncio.wait([arrival], timeout=LOOK_S))[0]:
                if self._popen.poll() is not None or time.monotonic() > deadline:
                    raise ConnectionError(self.fate())
            self._is_connected = True
            return arrival.result()[0]
        finally:
            arrival.cancel()

    def fate(self) -> str:
        """How it ended."""
        with suppress(subprocess.TimeoutExpired):
            code = self._popen.wait(END_S)
            return f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"
        return "does not answer"

    def end(self) -> None:
        """See that it ends."""
        self._server.close()
        if not self._is_connected:  # nobody has told it
            self._popen.terminate()
        for urge in (self._popen.terminate, self._popen.kill):
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(END_S)
                return
            urge()
        self._popen.wait()


@dataclass
class _Starter(Starter):
    remotes: Remotes
    process: _Process | None
    where: str
    api_version: str | None = None

    async def start(self, sim_id: str, mosaik_remote: Any, mosaik_config: Any) -> RemoteProxy:
        try:
            if self.process is not None:
                reader, writer = await asyncio.open_connection(sock=await self.process.arrived())
            else:
                host, _, port = self.where.rpartition(":")
                reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), END_S)
        except (OSError, TimeoutError) as error:
            self.remotes.failed(sim_id, "", None, error)
            raise
        keep_alive(writer.get_extra_info("socket"))
        return _Proxy(Channel(reader, writer, name=sim_id), mosaik_remote, self.remotes)

    @classmethod
    def from_starter_config(cls, starter_config: Any) -> None:
        return None


def keep_alive(connection: socket.socket) -> None:
    """Let a connection fail when the other host is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ALIVE.items():
        if hasattr(socket, option):  # not all systems have all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


@dataclass
class _Told:
    """What a simulator was told, to name it when it fails."""

    resolution: float = 1.0
    time: int | None = None  # of its last step
    entity: str = ""  # the first that was created, with its units


class _Proxy(RemoteProxy):
    """mosaik's end of a connection."""

    def __init__(self, channel: Channel, mosaik_remote: Any, remotes: Remotes) -> None:
        super().__init__(channel, mosaik_remote)
        self._remotes, self._told = remotes, _Told()
        self._sid, self._stopping = str(channel._name), False
        # private, but nothing else tells a reset connection from a slow answer
        channel._receiver_task.add_done_callback(self._ended)

    def _ended(self, receiver: "asyncio.Task[None]") -> None:
        if not receiver.cancelled():
            receiver.exception()  # has been seen
        for future in self._channel._outgoing_request_futures.values():
            if not future.done():
                future.set_exception(asyncio.IncompleteReadError(b"", None))
        self._channel._incoming_requests.put_nowait(EndOfRequests())

    async def send(self, request: Any) -> Any:
        method, args, kwargs = request
        told = self._told
        if method == "init":
            told.resolution = kwargs.get("time_resolution", 1.0)
        elif method == "step":
            told.time = args[0]
        try:
            if self._channel._receiver_task.done():
                raise ConnectionError("the connection has ended")
            result = await super().send(request)
        except asyncio.CancelledError:
            self._expect_answers()
            raise
        except (RemoteException, ConnectionClosedError, OSError) as error:
            t_s = None if told.time is None and method != "setup_done" else (told.time or 0) * told.resolution
            self._remotes.failed(self._sid, told.entity, t_s, error)
            raise
        if method == "create" and not told.entity:
            ids = [*kwargs.get("ids", [])]
            units = ", ".join(ids[:4]) + (", ..." if len(ids) > 4 else "")
            told.entity = result[0]["eid"] + (f" ({units})" if units else "")
        return result

    def _expect_answers(self) -> None:
        """Take answers that nobody waits for any more: the channel would die of them."""
        waiting = self._channel._outgoing_request_futures
        for number in [number for number, future in waiting.items() if future.cancelled()]:
            waiting[number] = asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        channel = self._channel
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            if not channel._receiver_task.done():
                await asyncio.wait_for(channel.send(["stop", [], {}]), END_S)  # it answers by hanging up
        with suppress(OSError):
            await channel.close()  # type: ignore[no-untyped-call]
        self._reader_task.cancel()
