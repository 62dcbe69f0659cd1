"""The device model behind a unit's type: one of ours by its name, or a user's own `module:MODEL`."""

from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from gridloop.scenarios.own_code import own
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
    model = own(kind, folder, Model)
    if not isinstance(model, Model):
        raise ValueError(f"{kind!r} is of type {type(model).__name__}, not a gridloop.simulators.ports.Model")
    given = {field.name for field in fields(model.params)} if is_dataclass(model.params) else set()
    missing = [name for name in EXPECTED_FIELDS if name not in given]
    if missing:
        raise ValueError(f"the parameters of {kind!r} must be a dataclass with {', '.join(missing)}")
    return model
