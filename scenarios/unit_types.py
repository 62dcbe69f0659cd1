"""The device model behind a unit's type: one of ours by its name, or a user's own `module:MODEL`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module, invalidate_caches
from importlib.resources import files
from pathlib import Path

from gridloop.scenarios.problems import did_you_mean
from gridloop.scenarios.unit_parts import PROFILE
from gridloop.simulators.ports import Model

# what the builder passes to every model: ratings weigh the units, the rest is the system's
EXPECTED_FIELDS = ("s_rated_kva", "s_base_mva", "f_nom_hz")
CONTROLS = {"inverter": {"droop": "inverter", "following": "following"}}  # type -> control -> module


@cache
def known_types() -> tuple[str, ...]:
    """Types of units without those that are a user's own; a model that feeds no bus by itself is none."""
    modules = {
        path.name.removesuffix(".py")
        for path in (files("gridloop.simulators") / "models").iterdir()
        if path.name.endswith(".py") and "\nMODEL = " in path.read_text(encoding="utf-8")
    }
    units = {name for name in modules if import_module(f"gridloop.simulators.models.{name}").MODEL.source != "none"}
    reached_by_control = {module for controls in CONTROLS.values() for module in controls.values()} - {*CONTROLS}
    return tuple(sorted(units - reached_by_control | {PROFILE}))


def model_of(kind: str, control: str = "droop", folder: Path = Path()) -> Model | None:
    """The device model of a unit's type; None for a unit whose power is given.

    Args:
        kind: the unit's type.
        control: its control, which chooses among an inverter's models.
        folder: where a user's own module may stand, besides Python's path.

    Raises:
        ValueError: there is no such model, or it is none.
    """
    if kind == PROFILE:
        return None
    if ":" in kind:
        return _own_model(kind, folder)
    known = known_types()
    if kind not in known:
        hint = did_you_mean(kind, known)
        raise ValueError(f"unknown type {kind!r}{hint}" + (", MODULE:MODEL" if "known:" in hint else ""))
    model: Model = import_module(module_of(kind, control)).MODEL
    return model


def module_of(kind: str, control: str) -> str:
    """The module that holds the model of one of our types."""
    return f"gridloop.simulators.models.{CONTROLS.get(kind, {}).get(control, kind)}"


def _own_model(kind: str, folder: Path) -> Model:
    module_name, _, name = kind.partition(":")
    with _first_on_the_path(folder, module_name):
        try:
            module = import_module(module_name)
        except Exception as error:  # whatever a user's module raises while it is imported
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{module_name!r} cannot be imported from {_shown(folder)}: {what}") from error
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if isinstance(value, Model)]
        raise ValueError(f"{module_name!r} has no {name!r}" + (did_you_mean(name, known) if known else ""))
    model = getattr(module, name)
    if not isinstance(model, Model):
        raise ValueError(f"{kind!r} is of type {type(model).__name__}, not a gridloop.simulators.ports.Model")
    given = {field.name for field in fields(model.params)} if is_dataclass(model.params) else set()
    missing = [name for name in EXPECTED_FIELDS if name not in given]
    if missing:
        raise ValueError(f"the parameters of {kind!r} must be a dataclass with {', '.join(missing)}")
    return model


def _shown(folder: Path) -> str:
    return "the current folder" if folder == Path() else str(folder)


@contextmanager
def _first_on_the_path(folder: Path, module_name: str) -> Iterator[None]:
    """Let modules beside the scenario be found, and found before one of that name from another folder."""
    place = folder.resolve()
    stem = place.joinpath(*module_name.split("."))
    here = [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    before = getattr(sys.modules.get(module_name), "__file__", None)
    if here and before is not None and Path(before).resolve() != here[0].resolve():
        del sys.modules[module_name]
    sys.path.insert(0, str(place))
    invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(place))
