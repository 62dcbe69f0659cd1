"""Is this installation fit to run? One finding a line, each with the way out."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import available_timezones

from gridloop.scenarios.provenance import versions

ENOUGH_DISK_GB = 1.0


def examine() -> list[dict[str, str]]:
    """Findings with keys subject, verdict (ok, warning, FAIL), finding."""
    found = versions()
    findings = [_finding("Python", sys.version_info >= (3, 11), found.pop("python"), "3.11 or newer is needed")]
    for package, version in found.items():
        findings.append(_finding(package, version != "missing", version, f"pip install {package}"))
    findings.append(_finding(
        "mosaik-api", find_spec("mosaik_api") is None, "absent, as it should be",
        "the abandoned package mosaik-api is installed and overwrites files of mosaik-api-v3: pip uninstall mosaik-api",
    ))  # fmt: skip
    zones = len(available_timezones())
    findings.append(_finding(
        "time zones", zones > 0, f"{zones} known", "profiles with a time_zone need them: pip install tzdata", "warning",
    ))  # fmt: skip
    writable = os.access(Path.cwd(), os.W_OK)
    findings.append(_finding("current folder", writable, "writable", "results go to runs/ here, but it is read-only"))
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    findings.append(_finding(
        "disk", free_gb > ENOUGH_DISK_GB, f"{free_gb:.0f} GB free", f"only {free_gb:.1f} GB free", "warning"
    ))  # fmt: skip
    return findings


def _finding(subject: str, good: bool, finding: str, trouble: str, otherwise: str = "FAIL") -> dict[str, str]:
    return {"subject": subject, "verdict": "ok" if good else otherwise, "finding": finding if good else trouble}
