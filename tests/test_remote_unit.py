"""One unit's model on another machine, attached by mosaik's own protocol: `mosaik+tcp://HOST:PORT`."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.hil.links import LinkDown, Timeout, WrongAnswer
from gridloop.hil.mosaik_link import MosaikLink
from gridloop.scenarios import run
from swap_case import UNIT, simulated

PATIENCE_S = 60.0


@pytest.fixture
def listening() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`python -m gridloop.simulators inverter HOST:PORT --listen`, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gridloop.simulators", "inverter", f"127.0.0.1:{port}", "--listen", "-l", "info"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            assert b"waiting for mosaik" in process.stderr.readline()
            yield process, port
        finally:
            process.kill()


def test_a_unit_elsewhere_is_as_here_and_survived_when_it_is_gone(
    listening: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:  # fmt: skip
    process, port = listening
    case = simulated(until_s=0.9, **{f"units.{UNIT}.device": {"url": "emulated:", "on_loss": {"hold_ms": 100}}})
    here = run(simulated(until_s=0.9), folder=tmp_path / "here")

    def watch(progress: Any) -> None:
        if progress.t_s >= 0.6:
            process.kill()

    there = run(case, folder=tmp_path / "there", swap={UNIT: f"mosaik+tcp://127.0.0.1:{port}"}, watch=watch)
    lost = next(event for event in there.events if event.kind == "device_lost")
    assert there.status == "degraded" and "is gone" in lost.outcome and lost.t_s >= 0.7
    t = here.series(UNIT, "f[Hz]")[0]
    before = t < lost.t_s - 0.1
    for attr in ("f[Hz]", "P_gen[MW]", "E[pu]"):
        assert here.series(UNIT, attr)[1][before] == pytest.approx(there.series(UNIT, attr)[1][before], rel=1e-12)
    assert np.abs(here.series(UNIT, "f[Hz]")[1] - there.series(UNIT, "f[Hz]")[1]).max() < 0.05
    counted = there.record["device_statistics"][UNIT]
    assert counted["requests"] == counted["answers"] + sum(counted["lost"].values())


def test_nobody_there_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(LinkDown, match=r"no simulator listens at 127\.0\.0\.1:1"):
        run(simulated(), folder=tmp_path / "run", swap={UNIT: "mosaik+tcp://127.0.0.1:1"})


def answering(*answers: bytes, pause_s: float = 0.0) -> int:
    """The port at which these bytes answer whatever comes, each a request."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            for answer in answers:
                connection.recv(4096)
                time.sleep(pause_s)
                connection.sendall(answer)
            connection.recv(4096)

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def framed(text: str) -> bytes:
    return len(text).to_bytes(4, "big") + text.encode()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (framed('[2, 1, ["ValueError", "no such unit", "trace"]]'), WrongAnswer, "fails: ValueError no such unit"),
        (framed("{not json"), WrongAnswer, "is no mosaik simulator"),
        (b"HTTP/1.1 400 Bad Request", WrongAnswer, "is no mosaik simulator"),
        (framed("[1, 7, 5]"), Timeout, "no answer to step within 200 ms"),
        (b"\0\0\0", Timeout, "no answer to step within 200 ms"),
    ],
)
def test_what_is_no_answer_is_not_taken(answer: bytes, error: type[Exception], words: str) -> None:
    link = MosaikLink("127.0.0.1", answering(answer), 0.2)
    with pytest.raises(error, match=words):
        link.step(0, {}, 0)
    link.close()


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    link = MosaikLink("127.0.0.1", answering(framed("[1, 1, 5]"), framed("[1, 2, 6]"), pause_s=0.15), 0.1)
    with pytest.raises(Timeout):
        link.step(0, {}, 0)
    time.sleep(0.1)
    link._deadline_s = PATIENCE_S
    assert link.step(5, {}, 0) == 6
    link.close()
