"""What a scenario takes from a user's own module, which may stand beside its file: `MODULE:NAME`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

from gridloop.scenarios.problems import did_you_mean

OWN = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def own(spec: str, folder: Path, kind: type = object) -> Any:
    """The thing that `MODULE:NAME` names.

    Args:
        spec: module and name.
        folder: where the module may stand, besides Python's path.
        kind: what is meant; its names in the module are told where there is no such name.

    Raises:
        ValueError: the module cannot be imported, or has no such name.
    """
    module_name, _, name = spec.partition(":")
    with _first_on_the_path(folder, module_name):
        try:
            module = import_module(module_name)
        except Exception as error:  # whatever a user's module raises while it is imported
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{module_name!r} cannot be imported from {_shown(folder)}: {what}") from error
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if isinstance(value, kind) and not key.startswith("_")]
        raise ValueError(f"{module_name!r} has no {name!r}" + (did_you_mean(name, known) if known else ""))
    return getattr(module, name)


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
