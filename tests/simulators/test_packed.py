"""Cases through JSON and back."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridloop.simulators.case import Case, Pcc, Stage, Synchrocheck
from gridloop.simulators.events import Event
from gridloop.simulators.net_case import LoadLaw, net_case
from gridloop.simulators.packed import pack, unpack
from gridloop.simulators.pandapower_net import import_net, load_net


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())
    if hasattr(one, "_fields") or (isinstance(one, tuple) and len(one) == len(other)):
        return type(one) is type(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other)


def through_json(value: Any) -> Any:
    return unpack(json.loads(json.dumps(pack(value))))


@pytest.mark.parametrize("name", ["case9", "create_cigre_network_mv"])
def test_case_of_a_net_survives_to_the_bit(name: str) -> None:
    case = net_case(import_net(load_net(name, Path())), LoadLaw(k_pf=1.5))
    found = through_json(case)
    assert isinstance(found, Case) and same(case, found)
    assert found.load_of_bus == case.load_of_bus


def test_pcc_stages_and_events_survive() -> None:
    pcc = Pcc("1", 0.01 + 0.1j, 1.0, 0.2, 50.0, True, Synchrocheck(10.0, 0.1, 0.03))
    assert same(through_json(pcc), pcc)
    rest = (Stage(49.0, 0.1, 0.3, (0, 2)), Event(1.0, "load_step", "5", 30.0))
    assert through_json(rest) == rest


@pytest.mark.parametrize("packed", [{"type": "Popen", "fields": {"args": "ls"}}, {"pickle": "gASV"}, {"type": "Event"}])
def test_nothing_else_is_made_of_what_comes(packed: Any) -> None:
    with pytest.raises(ValueError, match="not a packed value"):
        unpack(packed)


def test_unknown_types_are_refused_before_they_are_sent() -> None:
    with pytest.raises(TypeError, match="Path cannot be packed"):
        pack((Path(),))
