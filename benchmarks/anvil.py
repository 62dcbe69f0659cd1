"""A node of an EVM chain for as long as a test or a benchmark lasts: anvil, npm package @foundry-rs/anvil.

It is looked for on the PATH, then below NODE_PATH (npm install --prefix FOLDER @foundry-rs/anvil: FOLDER/node_modules).
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 20.0
FREE = ["--gas-price", "0", "--base-fee", "0", "--disable-min-priority-fee"]  # as consortium chains mostly are


def program() -> str | None:
    """Where anvil is."""
    folders = [Path(folder) for folder in os.environ.get("NODE_PATH", "").split(os.pathsep) if folder]
    found = [str(path) for folder in folders for path in folder.glob("@foundry-rs/anvil-*/bin/anvil")]
    return shutil.which("anvil") or (found[0] if found else None)


@contextmanager
def node() -> Iterator[str]:
    """The URL of a fresh chain on which nothing costs gas."""
    anvil = program()
    if anvil is None:
        raise FileNotFoundError("anvil is neither on the PATH nor below NODE_PATH: npm install @foundry-rs/anvil")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([anvil, "--silent", "--port", str(port), *FREE])
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        with socket.socket() as link:
            if link.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"anvil did not listen on port {port} within {START_S:g} s")
