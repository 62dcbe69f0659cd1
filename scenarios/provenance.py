"""Where a result came from: versions, machine and the state of the working tree."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("gridloop", "mosaik", "mosaik-api-v3", "numpy", "scipy", "pandapower", "pyarrow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape results; 'missing' where one is not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def provenance() -> dict[str, Any]:
    """Start time, versions, machine and the git state of the current folder, as run.json keeps them."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "git": git_state(),
    }


def git_state() -> dict[str, Any] | None:
    """Commit of the current folder and whether anything differs from it; None outside a checkout."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()  # fmt: skip

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
