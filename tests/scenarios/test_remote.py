"""Simulators in other processes are watched: a run ends when one of them is gone."""

import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gridloop.scenarios.build import open_world
from gridloop.scenarios.remote import Lifeline


def failure(lifeline: Lifeline, starter: Any, harm: Callable[[], None] = lambda: None) -> tuple[Exception, float]:
    """What a world of one simulator ends with, and how many seconds after the harm."""
    struck: list[float] = []

    def strike() -> None:
        time.sleep(0.5)
        harm()
        struck.append(time.monotonic())

    with suppress(ConnectionError), open_world() as world:  # mosaik stumbles over the dead channel once more
        world.start(starter, "Inverter")
        watching = world.loop.create_task(lifeline.watch())
        threading.Thread(target=strike, daemon=True).start()
        try:
            with pytest.raises(Exception) as caught:
                world.run(until=10**12, print_progress=False)
        finally:
            watching.cancel()
    return caught.value, time.monotonic() - struck[0]


def child_of_this() -> int:
    me = os.getpid()
    (child,) = map(int, Path(f"/proc/{me}/task/{me}/children").read_text().split())
    return child


def test_a_killed_process_ends_the_run() -> None:
    lifeline = Lifeline()
    starter = lifeline.starter("inverter", "process", Path.cwd())
    error, after_s = failure(lifeline, starter, lambda: os.kill(child_of_this(), signal.SIGKILL))
    assert "Inverter" in str(error) and after_s < 5
    assert lifeline.gone() == ["Inverter"]


def answer_once_and_reset(server: socket.socket) -> None:
    """A simulator that takes part until its first step and then resets the connection."""
    connection, _ = server.accept()
    while True:
        (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        _, number, (function, _, _) = json.loads(connection.recv(length, socket.MSG_WAITALL))
        if function == "step":
            break
        meta = {"api_version": "3.0", "type": "time-based", "models": {}}
        reply = json.dumps([1, number, meta if function == "init" else None]).encode()
        connection.sendall(struct.pack(">I", len(reply)) + reply)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_reset_connection_ends_the_run_on_which_mosaik_would_wait_for_ever() -> None:
    lifeline = Lifeline()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once_and_reset, args=(server,), daemon=True)
        thread.start()
        starter = lifeline.starter("inverter", f"127.0.0.1:{server.getsockname()[1]}", Path.cwd())
        error, after_s = failure(lifeline, starter)
        thread.join(timeout=5)
    assert "Inverter" in str(error) and after_s < 5
    assert lifeline.gone() == ["Inverter"]
