"""Connections to simulators in other processes: how they begin, how they break, and that nothing waits for them."""

import asyncio
import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.build import open_world
from gridloop.scenarios.remote import HERE, Program, Remotes, keep_alive, places, programs
from gridloop.scenarios.start import plan

INVERTER = {"Inverter": Program("inverter")}


def failure(remotes: Remotes, harm: Callable[[], None] = lambda: None) -> tuple[str, float]:
    """What a world of one simulator ends with, and how many seconds after the harm."""
    struck: list[float] = []

    def strike() -> None:
        time.sleep(0.5)
        struck.append(time.monotonic())
        harm()

    with remotes, open_world() as world:
        world.start(remotes.starter("Inverter"), "Inverter")
        threading.Thread(target=strike, daemon=True).start()
        with pytest.raises(Exception, match="Inverter"):
            world.run(until=10**12, print_progress=False)
        after_s = time.monotonic() - struck[0]
    return str(remotes.failure), after_s


def child_of_this() -> int:
    """The simulator's process; other tests may have left helpers of their own."""
    children = [
        int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]
    (child,) = [pid for pid in children if b"gridloop.simulators" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return child


def test_a_killed_process_ends_the_run() -> None:
    said, after_s = failure(Remotes({"Inverter": HERE}, INVERTER), lambda: os.kill(child_of_this(), signal.SIGKILL))
    assert said.startswith("Inverter") and said.endswith("its process was killed (signal 9)") and after_s < 5


def answer_and_reset(server: socket.socket) -> None:
    """A simulator that takes part for half a second and then resets the connection with a question unread."""
    connection, _ = server.accept()
    deadline = time.monotonic() + 1.0
    while True:
        (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        _, number, (function, (*given,), _) = json.loads(connection.recv(length, socket.MSG_WAITALL))
        if function == "step" and time.monotonic() > deadline:
            break
        meta = {"api_version": "3.0", "type": "time-based", "models": {}}
        answers = {"init": meta, "step": given[0] + 1 if function == "step" else None}
        reply = json.dumps([1, number, answers.get(function)]).encode()
        connection.sendall(struct.pack(">I", len(reply)) + reply)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_reset_connection_ends_the_run_on_which_mosaik_would_wait_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_and_reset, args=(server,), daemon=True)
        thread.start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        said, after_s = failure(Remotes({"Inverter": where}, INVERTER))
        thread.join(timeout=5)
    assert said.startswith("Inverter. at t = ") and said.endswith(f"s: {where} is gone") and after_s < 5


def answer_late(server: socket.socket, heard: list[str]) -> None:
    """A simulator that takes 0.2 s for a step; notes what it is asked until the connection ends."""
    connection, _ = server.accept()
    with connection:
        while head := connection.recv(4, socket.MSG_WAITALL):
            (length,) = struct.unpack(">I", head)
            _, number, (function, *_) = json.loads(connection.recv(length, socket.MSG_WAITALL))
            heard.append(function)
            if function == "stop":
                return
            time.sleep(0.2)
            reply = json.dumps([1, number, 1]).encode()
            connection.sendall(struct.pack(">I", len(reply)) + reply)


def test_a_simulator_in_the_middle_of_a_step_is_told_to_stop() -> None:
    heard: list[str] = []

    async def interrupted(remotes: Remotes) -> None:
        starter: Any = remotes.starter("Inverter")
        proxy = await starter.start("Inverter", SimpleNamespace(sid="Inverter"), {})
        step = asyncio.create_task(proxy.send(["step", [0, {}, 0], {}]))
        await asyncio.sleep(0.05)
        step.cancel()
        await asyncio.sleep(0.4)  # its answer comes
        await proxy.stop()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_late, args=(server, heard), daemon=True)
        thread.start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        asyncio.run(interrupted(Remotes({"Inverter": where}, INVERTER)))
        thread.join(timeout=5)
    assert heard == ["step", "stop"]


def test_a_process_that_ends_before_it_connects_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    began_s = time.monotonic()
    remotes = Remotes({"Own": HERE}, {"Own": Program("no_such_module:MODEL")})
    with remotes, open_world() as world, pytest.raises(ConnectionError):
        world.start(remotes.starter("Own"), "Own")
    assert str(remotes.failure) == "Own did not start: its process ended (exit code 2)"
    assert time.monotonic() - began_s < 5
    assert "no_such_module" in capfd.readouterr().err


def test_a_host_that_vanishes_is_noticed_within_five_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        keep_alive(connection)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s, every_s, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle_s + every_s * count < 5
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) < 5000


def test_places_are_read_from_words() -> None:
    known = ["Grid", "Inverter"]
    assert places("", known) == places((), known) == {}
    assert places("grid, Inverter", known) == {"Grid": HERE, "Inverter": HERE}
    assert places(["Inverter=bench:5678"], known) == {"Inverter": "bench:5678"}


def test_programs_are_those_of_the_units_models() -> None:
    units = {
        "a": {"type": "inverter", "bus": 1, "s_rated_kva": 1e5},
        "b": {"type": "inverter", "bus": 2, "s_rated_kva": 1e5},
        "c": {"type": "inverter", "control": "following", "bus": 3, "s_rated_kva": 1e5},
        "d": {"type": "profile", "bus": 5, "p_load": 1.0},
    }
    planned = plan(load({"schema": 1, "name": "x", "until_s": 1, "grid": {"net": "case9"}, "units": units}))
    models = "gridloop.simulators.models"
    assert {name: program.name for name, program in programs(planned).items()} == {
        "Grid": "grid", "Inverter": f"{models}.inverter:MODEL", "Following": f"{models}.following:MODEL",
        "Profile": "profile",
    }  # fmt: skip
