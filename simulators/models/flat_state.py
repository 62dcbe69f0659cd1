"""States of any model as one vector and back, and which of their numbers turn with the common angle.

Tables of a model's State are NamedTuples of arrays, nested or not. Numbers that are no quantities stay as they are:
booleans, whole numbers, and times (fields whose name ends in `_s`), which say where samples of a history stand.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gridloop.simulators.models.network import Complex, Mask, Real
from gridloop.simulators.ports import Model

PROBE_RAD = 0.1  # turn by which angles are found
SAME = 1e-9  # of that turn


class Leaf(NamedTuple):
    """One array of a state."""

    name: str  # of the field
    path: tuple[str, ...]
    value: Any


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """The arrays of a state that are quantities, in a fixed order."""
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", tuple(map(str, range(len(tree)))))
        for name, part in zip(names, tree, strict=True):
            yield from leaves(part, (*path, name))
        return
    value = np.asarray(tree)
    if value.dtype.kind in "fc" and not path[-1].endswith("_s"):
        yield Leaf(path[-1], path, value)


def flat(tree: Any) -> Real:
    """The quantities of a state in one vector; a complex number is two."""
    parts = [_real(leaf.value) for leaf in leaves(tree)]
    return np.concatenate(parts) if parts else np.zeros(0)


def rebuilt(like: Any, vector: Real) -> Any:
    """The state `like` with its quantities from `vector`."""
    tree, used = _rebuilt(like, vector, 0, "")
    assert used == len(vector)
    return tree


def _rebuilt(like: Any, vector: Real, at: int, name: str) -> tuple[Any, int]:
    if isinstance(like, tuple):
        names = getattr(like, "_fields", tuple(map(str, range(len(like)))))
        parts = []
        for inner, part in zip(names, like, strict=True):
            made, at = _rebuilt(part, vector, at, inner)
            parts.append(made)
        return (type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)), at
    value = np.asarray(like)
    if value.dtype.kind not in "fc" or name.endswith("_s"):
        return like, at
    count = value.size * (2 if value.dtype.kind == "c" else 1)
    piece = vector[at : at + count]
    made = piece[0::2] + 1j * piece[1::2] if value.dtype.kind == "c" else piece.copy()
    return (made.reshape(value.shape) if value.shape else made[0]), at + count


def _real(value: Any) -> Real:
    if value.dtype.kind != "c":
        whole: Real = value.astype(float).ravel()
        return whole
    halves: Real = np.stack((value.real.ravel(), value.imag.ravel()), axis=1).ravel()
    return halves


Turning = dict[tuple[str, ...], tuple[Mask, bool]]  # path -> (which numbers turn, as phasors rather than angles)


def turning(model: Model, params: Any, s_pu: Complex, phasor_pu: Complex) -> Turning:
    """Which numbers of a model's state are angles or phasors in the nominal frame.

    Found from two starts with the same powers, one with its phasors turned.

    Raises:
        ValueError: a number does neither turn nor stay; then the model has no meaning in another frame.
    """
    before, after = (model.initial(params, s_pu, phasor_pu * np.exp(1j * phi)) for phi in (0.0, PROBE_RAD))
    found: Turning = {}
    for one, other in zip(leaves(before), leaves(after), strict=True):
        is_phasor = one.value.dtype.kind == "c"
        if is_phasor:
            moved = np.abs(other.value - one.value) > SAME * (1 + np.abs(one.value))
            turned = np.abs(other.value - one.value * np.exp(1j * PROBE_RAD)) <= SAME * (1 + np.abs(one.value))
        else:
            difference = np.remainder(other.value - one.value + np.pi, 2 * np.pi) - np.pi
            moved = np.abs(other.value - one.value) > SAME * (1 + np.abs(one.value))
            turned = np.abs(difference - PROBE_RAD) <= SAME * 10
        if (moved & ~turned).any():
            raise ValueError(f"{model.name}: {'.'.join(one.path)} of the state neither turns with the EMF nor stays")
        if moved.any():
            found[one.path] = (moved, is_phasor)
    return found


def turned(tree: Any, which: Turning, by_rad: Real, path: tuple[str, ...] = ()) -> Any:
    """A state of n units whose angles have moved by `by_rad` (n,)."""
    if isinstance(tree, tuple):
        names = getattr(tree, "_fields", tuple(map(str, range(len(tree)))))
        parts = [turned(part, which, by_rad, (*path, name)) for name, part in zip(names, tree, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if path not in which:
        return tree
    mask, is_phasor = which[path]
    by = by_rad.reshape(-1, *(1,) * (np.ndim(tree) - 1))
    return np.where(mask, tree * np.exp(1j * by), tree) if is_phasor else np.where(mask, tree + by, tree)
