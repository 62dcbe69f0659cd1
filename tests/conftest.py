"""What holds for all tests: the same examples in every run, and peers.

A test marked `peers("chromium", packages=["mosaik-csv"])` runs only where these are installed.
"""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import pytest
from hypothesis import settings

# the same examples in every run; HYPOTHESIS_PROFILE=default searches for new ones
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

REQUIRE = "GRIDLOOP_REQUIRE_PEERS"
LEAST_PYTHON = {"mosaik-hdf5": (3, 12)}  # packages that cannot be installed everywhere


def pytest_runtest_setup(item: pytest.Item) -> None:
    marks = list(item.iter_markers("peers"))
    packages = [name for mark in marks for name in mark.kwargs.get("packages", ())]
    for name in packages:
        least = LEAST_PYTHON.get(name, (3,))
        if sys.version_info < least:
            pytest.skip(f"{name} needs Python {'.'.join(map(str, least))}")
    programs = [name for mark in marks for name in mark.args if shutil.which(name) is None]
    absent = [name for name in packages if not _is_installed(name)]
    reasons = [f"not on the PATH: {', '.join(programs)}; on Debian: apt-get install {' '.join(programs)}"] * bool(
        programs
    ) + [f"not installed: {', '.join(absent)}; pip install {' '.join(absent)}"] * bool(absent)
    if not reasons:
        return
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{REQUIRE}=1, but {'; '.join(reasons)}", pytrace=False)
    pytest.skip("; ".join(reasons))


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
