"""What holds for all tests: the same examples in every run, and peers.

A test marked `peers("chromium", packages=["mosaik-csv"])` runs only where these are installed: programs, packages of
Python, and further `libraries` of C (as pkg-config calls them) and packages of `npm` (below NODE_PATH).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import pytest
from hypothesis import settings

# the same examples in every run; HYPOTHESIS_PROFILE=default searches for new ones
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

REQUIRE = "GRIDLOOP_REQUIRE_PEERS"
LEAST_PYTHON = {"mosaik-hdf5": (3, 12)}  # packages that cannot be installed everywhere


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = {kind: _wanted(item, kind) for kind in ("packages", "libraries", "npm")}
    for name in wanted["packages"]:
        least = LEAST_PYTHON.get(name, (3,))
        if sys.version_info < least:
            pytest.skip(f"{name} needs Python {'.'.join(map(str, least))}")
    programs = [name for mark in item.iter_markers("peers") for name in mark.args if shutil.which(name) is None]
    libraries = [name for name in wanted["libraries"] if not _works("pkg-config", "--exists", name)]
    npm = [name for name in wanted["npm"] if not _works("node", "-e", f"require.resolve('{name}')")]
    debian = [*programs, *(f"{name}-dev" for name in libraries)]
    packages = [name for name in wanted["packages"] if not _is_installed(name)]
    reasons = [
        f"not installed: {', '.join(names)}; {how} {' '.join(names)}"
        for names, how in (
            (debian, "on Debian: apt-get install"), (packages, "pip install"),
            (npm, "set NODE_PATH to the node_modules of npm install"),
        ) if names
    ]  # fmt: skip
    if not reasons:
        return
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{REQUIRE}=1, but {'; '.join(reasons)}", pytrace=False)
    pytest.skip("; ".join(reasons))


def _wanted(item: pytest.Item, kind: str) -> list[str]:
    return [name for mark in item.iter_markers("peers") for name in mark.kwargs.get(kind, ())]


@cache
def _works(*words: str) -> bool:
    """Whether a command can be run and ends well."""
    found = shutil.which(words[0]) is not None
    return found and subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What gridloop's own loggers said; asyncio may speak in any test, of a task that an earlier one left behind."""
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("gridloop")]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
