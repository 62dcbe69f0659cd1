"""Which units stood in one island, from the network's drawing and what was switched."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gridloop.scenarios.result import Event
from gridloop.scenarios.spans import SAME_TIME_S, Real

SWITCHING = {"line_open": False, "line_close": True}


def island_numbers(network: Mapping[str, Any], events: Sequence[Event], buses: Sequence[str], t_s: Real) -> Real:
    """Number (r, n) of the island of each of n buses at times (r,); equal numbers at one time are one island.

    Buses that the drawing connects to nothing, as two names of one bus, are taken for one island with all others:
    then nothing is known of islands.
    """
    branches = network["branches"]
    places = {name: place for place, name in enumerate({b[end]: None for b in branches for end in ("from", "to")})}
    if not all(bus in places for bus in buses):
        return np.zeros((len(t_s), len(buses)))
    rows = {name: row for row, branch in enumerate(branches) for name in _names(branch)}
    ends = np.array([[places[b["from"]], places[b["to"]]] for b in branches], int).reshape(-1, 2)
    closed = np.array([b.get("closed", True) for b in branches], bool)
    mine = [places[bus] for bus in buses]
    numbers = np.tile(_components(ends[closed], len(places))[mine], (len(t_s), 1)).astype(float)
    for event in sorted(events, key=lambda one: one.t_s):
        if event.kind in SWITCHING and event.target in rows:
            closed[rows[event.target]] = SWITCHING[event.kind]
            numbers[t_s >= event.t_s - SAME_TIME_S] = _components(ends[closed], len(places))[mine]
    return numbers


def _names(branch: Mapping[str, Any]) -> tuple[str, str]:
    """A branch's name, and that from its other end."""
    number = branch["id"].partition("/")[1:]
    return branch["id"], f"{branch['to']}-{branch['from']}{''.join(number)}"


def _components(ends: Any, count: int) -> Any:
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]
