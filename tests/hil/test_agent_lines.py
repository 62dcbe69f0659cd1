"""The agent as a program of its own: TCP both ways, a serial line, its watchdog and its end."""

import csv
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tty
from types import SimpleNamespace

import pytest

from agent_process import SOURCE, logged, port_of, started
from gridloop.hil import agent as pi
from gridloop.hil.frames import ANSWER, CODECS, DECIDE, HELLO, MEASURE, STOP, Decoder, Frame
from gridloop.hil.messages import Requests

PATIENCE_S = 20.0


class Host:
    """The other end of a connection; asks and waits for the answer."""

    def __init__(self, connection, codec: str = "cobs") -> None:
        connection.settimeout(PATIENCE_S)
        self.connection, self._codec = connection, codec
        self.requests, self._decoder = Requests(), Decoder(codec)

    def send(self, *asked: Frame) -> None:
        self.connection.sendall(b"".join(map(CODECS[self._codec].encode, asked)))

    def hear(self, count: int = 1) -> list[Frame]:
        found: list[Frame] = []
        while len(found) < count:
            data = self.connection.recv(4096)
            assert data, "the agent ended the connection"
            for frame in self._decoder.feed(data):
                answer = self.requests.answered(frame, time.monotonic_ns() // 1000)
                assert answer is not None
                self.requests.exchanged(answer, time.monotonic_ns() // 1000)
                found.append(answer.frame)
        return found

    def ask(self, kind: int, t_ms: int = 0, values: tuple[float, ...] = ()) -> Frame:
        self.send(self.requests.request(kind, time.monotonic_ns() // 1000, t_ms, values))
        return self.hear()[0]


def connected(port: int, codec: str = "cobs") -> Host:
    return Host(socket.create_connection(("127.0.0.1", port), PATIENCE_S), codec)


def is_ended(connection: socket.socket) -> bool:
    """By the other end, with or without bytes that it did not read."""
    try:
        return not connection.recv(1)
    except ConnectionResetError:
        return True


def two_ticks(host: Host) -> None:
    """0.125 Hz (which a float32 holds) below nominal on the pinned agent: pi rad/s2, 0.05 pi rad/s after 50 ms."""
    host.ask(HELLO)
    for t_ms, omega in ((0, 0.0), (50, 0.05 * math.pi)):
        # one after the other without waiting, as a line with a long way wants it
        measured = host.requests.request(MEASURE, 0, t_ms, (49.875, 0.0, 0.0, 1.0))
        host.send(measured, host.requests.request(DECIDE, 0, t_ms))
        shared, correction = host.hear(2)
        assert shared.values[0] == pytest.approx(omega, abs=1e-6)
        assert correction.values == pytest.approx((omega, 0, math.pi, 0), abs=1e-6)


def pythons() -> list[str]:
    """Ours, and 3.9 where it works."""
    found = shutil.which("python3.9")
    works = found and subprocess.run([found, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0
    return [sys.executable, *([found] if found and works else [])]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("python", pythons())
def test_it_waits_for_the_host(codec, python):
    with started("--listen", "0", "--s-rated-kva", 10, "--pin", 1, "--codec", codec, python=python) as process:
        two_ticks(connected(port_of(process), codec))


def test_it_connects_to_the_host_and_comes_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        port = listener.getsockname()[1]
        with started("--connect", f"127.0.0.1:{port}", "--s-rated-kva", 10, "--pin", 1):
            for _ in range(2):
                host = Host(listener.accept()[0])
                two_ticks(host)
                host.connection.close()


def test_a_host_that_comes_again_takes_the_place_of_the_one_before():
    # the one before may be half open: nobody told the agent that it is gone
    with started("--listen", "0", "--s-rated-kva", 10, "--pin", 1) as process:
        port = port_of(process)
        before = connected(port)
        two_ticks(before)
        after = connected(port)
        two_ticks(after)
        assert is_ended(before.connection)
        after.connection.sendall(b"half a frame")
        after.connection.close()
        logged(process, "no line to the host")
        two_ticks(connected(port))


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_it_answers_on_a_serial_line():
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    line = SimpleNamespace(
        settimeout=lambda seconds: None,
        recv=lambda count: os.read(ours, count),
        sendall=lambda data: os.write(ours, data),
    )
    try:
        with started("--serial", os.ttyname(theirs), "--s-rated-kva", 10, "--pin", 1) as process:
            logged(process, "connected")
            os.write(ours, b"noise\0")
            two_ticks(Host(line))
    finally:
        os.close(ours)
        os.close(theirs)


OWN = """
from pathlib import Path
def control(measurement, neighbours):
    return measurement.p_gen_mw * 1e3, 1.0
def safe():
    with Path({log!r}).open("a") as file:
        file.write("safe ")
"""


def test_its_own_law_and_its_safe_state(tmp_path):
    """`safe` is called by the watchdog, by stop, and at the end by SIGTERM."""
    log, own = tmp_path / "log.txt", tmp_path / "own.py"
    own.write_text(OWN.format(log=str(log)))
    with started(
        "--listen", "0", "--role", "inverter", "--s-rated-kva", 10, "--control", own, "--watchdog-s", 0.2
    ) as process:  # fmt: skip
        host = connected(port_of(process))
        assert host.ask(MEASURE, 0, (0.0625, 0.0)).values == (62.5, 1.0)
        assert not log.exists()
        logged(process, "the host is silent for 0.2 s")
        assert host.ask(STOP).type == STOP + ANSWER  # answered after `safe`, and after the watchdog's
        assert log.read_text() == "safe safe "
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 143
    assert log.read_text() == "safe safe safe "


def test_it_records_the_clocks(tmp_path):
    path = tmp_path / "clocks.csv"
    with started("--listen", "0", "--s-rated-kva", 10, "--record", path) as process:
        host = connected(port_of(process))
        for _ in range(4):
            host.send(host.requests.sync(time.monotonic_ns() // 1000))
            host.hear()
        host.ask(HELLO)
        with path.open() as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        assert float(row["to_device_us"]) + float(row["to_host_us"]) == pytest.approx(float(row["round_trip_us"]))
        assert 0 <= float(row["round_trip_us"]) < 1e6 * PATIENCE_S


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one of the arguments --serial --listen --connect is required"),
        (("--listen", "0"), "s_rated_kva = 0 must be > 0"),
        (("--listen", "nowhere"), "'nowhere' is not HOST:PORT"),
        (("--listen", "99999"), "'99999' is not HOST:PORT"),
        (("--listen", "0", "--s-rated-kva", "1", "--control", "no.py"), "no.py"),
        (("--listen", "0", "--s-rated-kva", "1", "--control", SOURCE), "has no function control"),
        (("--listen", "0", "--s-rated-kva", "1", "--watchdog-s", "0"), "watchdog_s = 0"),
        (("--listen", "0", "--connect", "h:1"), "not allowed with"),
        (("--listen", "0", "--s-rated-kva", "1", "--law", "X"), "invalid choice: 'X'"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        pi.main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_its_help_says_how(capsys):
    with pytest.raises(SystemExit) as ended:
        pi.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "def control(measurement, neighbours)" in shown
    assert "--droop-p-percent" in shown


def test_options_may_come_from_a_file(tmp_path):
    path = tmp_path / "unit.txt"
    path.write_text("--s-rated-kva=10\n--pin=1\n")
    with started("--listen", "0", f"@{path}") as process:
        two_ticks(connected(port_of(process)))
