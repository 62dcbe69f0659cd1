"""A test marked `peers("chromium", ...)` runs only where these programs are installed."""

import os
import shutil

import pytest

REQUIRE = "GRIDLOOP_REQUIRE_PEERS"


def pytest_runtest_setup(item: pytest.Item) -> None:
    wanted = [program for mark in item.iter_markers("peers") for program in mark.args]
    missing = [program for program in wanted if shutil.which(program) is None]
    if not missing:
        return
    reason = f"not on the PATH: {', '.join(missing)}; on Debian: apt-get install {' '.join(missing)}"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{REQUIRE}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
