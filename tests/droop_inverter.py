"""The droop inverter in C on libmodbus (tests/peers/droop_inverter.c): compiled once, run as a process of its own."""

import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

import pytest

from swap_case import droop

SOURCE = Path(__file__).parent / "peers" / "droop_inverter.c"
MAP = SOURCE.with_suffix(".yaml")
in_c = pytest.mark.peers("gcc", "pkg-config", libraries=["libmodbus"])


class Inverter(NamedTuple):
    """A running inverter."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"modbus+tcp://127.0.0.1:{self.port}/1?map={MAP}"

    def freeze(self) -> None:
        """As if its processor hung: its socket stays, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@cache
def compiled() -> str:
    """The program, in a folder of this test run."""
    told = subprocess.run(["pkg-config", "--cflags", "--libs", "libmodbus"], check=True, capture_output=True, text=True)
    program = str(Path(mkdtemp(prefix="gridloop-")) / SOURCE.stem)
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", str(SOURCE), *shlex.split(told.stdout), "-lm", "-o", program]
    subprocess.run(words, check=True)
    return program


@contextmanager
def inverter(where: str = "tcp 0", /, **settings: float) -> Iterator[Inverter]:
    """Run one: `tcp PORT` or `rtu DEVICE`, with keys of the program."""
    words = [compiled(), *where.split(), *(f"{key}={value!r}" for key, value in settings.items())]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Inverter(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def as_inv2() -> dict[str, float]:
    """The keys that make it the swap row's inv2."""
    own = droop()
    return {
        "f0": own.f_hz, "m": own.hz_per_mw, "v0": own.v_pu, "n": own.pu_per_mvar, "p_set": own.p_set_mw,
        "q_set": own.q_set_mvar, "filter": own.filter_hz,
    }  # fmt: skip
