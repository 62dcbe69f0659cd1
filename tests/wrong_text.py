"""Scenario files with a mistake, and what the user is told."""

from pathlib import Path

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.problems import ScenarioError
from gridloop.scenarios.start import plan

Change = tuple[str, str]  # what stands in a right file, and what stands there instead


def answer(text: str) -> str:
    """What `wrong.yaml` with this text is answered with."""
    Path("wrong.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as error:
        plan(load("wrong.yaml"))
    return str(error.value)


def changed(text: str, changes: list[Change]) -> str:
    """The text with every change made once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def write_neighbours() -> None:
    """Put what the files name, or almost name, into the current folder."""
    rows = ["2026-06-21T12:00:00+02:00,500,20", "2026-06-21T13:00:00+02:00,600,21"]
    Path("sky.csv").write_text("\n".join(["time,GHI[W_per_m2],T[degC]", *rows]))
    Path("own.py").write_text("NUMBER = 1\ndef sharing(own, neighbours, gains): ...\n")
    Path("delays.txt").write_text("50\n60\n")
