"""`python agent.py` in a process of its own, as on a Raspberry Pi."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridloop.hil import agent as pi

SOURCE = Path(pi.__file__)


@contextmanager
def started(*arguments: object, python: str = sys.executable) -> Iterator[subprocess.Popen[str]]:
    """The agent with these arguments, ended afterwards; its log lines on stderr."""
    command = [python, str(SOURCE), *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def logged(process: subprocess.Popen[str], words: str) -> str:
    """The next line of its log that has these words."""
    assert process.stderr is not None
    seen = []
    for line in iter(process.stderr.readline, ""):
        if words in line:
            return line
        seen.append(line)
    raise AssertionError("".join(seen))


def port_of(process: subprocess.Popen[str]) -> int:
    return int(logged(process, "listens on").rpartition(":")[2])
