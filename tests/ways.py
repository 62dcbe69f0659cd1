"""The ways in which a device model is computed: numpy, loops over units as plain Python, the same loops compiled."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

import pytest

PACKAGE = "gridloop.simulators.models"
LOOPS = ("plain", pytest.param("compiled", marks=pytest.mark.peers(packages=["numba"])))
WAYS = ("numpy", *LOOPS)
LOOPS_OF = {
    "battery": "compiled_battery", "diesel": "compiled_diesel", "following": "compiled_inverters",
    "inverter": "compiled_inverters",
}  # fmt: skip


@contextmanager
def taken(way: str, model: Any) -> Iterator[Any]:
    """A model's module goes one way only; parameters that another one has asked do not fit."""
    name = LOOPS_OF[model.__name__.rpartition(".")[2]]
    with pytest.MonkeyPatch.context() as patch:
        loops = None if way == "numpy" else {"plain": plain, "compiled": compiled}[way](name)
        patch.setattr(model, "kernels", lambda *_: loops)
        yield loops


def plain(name: str) -> Any:
    """The loops as they are where numba is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        jit = _again(patch, "jit")
        assert not jit.COMPILES
        return _again(patch, name)


def compiled(name: str) -> Any:
    """The loops as they are where it is."""
    assert import_module(f"{PACKAGE}.jit").COMPILES
    return import_module(f"{PACKAGE}.{name}")


def _again(patch: pytest.MonkeyPatch, name: str) -> Any:
    """A second copy of a module, which the patch forgets with its end."""
    spec = find_spec(f"{PACKAGE}.{name}")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    patch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module
