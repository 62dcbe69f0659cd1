"""Events in the grid: what can be switched or changed, and what each does. Pure: state in, state out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Mask, Network


class Event(NamedTuple):
    """Something that is to happen at `t_s`; `p_kw`, `q_kvar` count for load events only."""

    t_s: float
    kind: str  # load_step | load_set | line_open | line_close | unit_trip
    target: str  # name of the bus, line or unit
    p_kw: float = 0.0
    q_kvar: float = 0.0


@dataclass(frozen=True)
class Switching:
    """What events change: closed branches (m,), the loads, connected sources (s,)."""

    closed: Mask
    loads: Loads
    connected: Mask


@dataclass(frozen=True)
class Names:
    """Where the targets of events stand in the arrays."""

    network: Network
    load_of_bus: dict[int, int]  # row in the network -> row of the load that events change
    units: tuple[str, ...]  # one a source


def _change_load(state: Switching, names: Names, event: Event, keep: float) -> tuple[Switching, str]:
    """`keep` 1 adds to the load, 0 replaces it."""
    row = names.load_of_bus[names.network.row_of_bus(event.target)]
    kw = 1e3 * names.network.s_base_mva
    p, q = state.loads.p0_pu.copy(), state.loads.q0_pu.copy()
    p[row] = keep * p[row] + event.p_kw / kw
    q[row] = keep * q[row] + event.q_kvar / kw
    loads = state.loads._replace(p0_pu=p, q0_pu=q)
    return Switching(state.closed, loads, state.connected), f"now {p[row] * kw:g} kW, {q[row] * kw:g} kvar"


def load_step(state: Switching, names: Names, event: Event) -> tuple[Switching, str]:
    """Add power to the load of a bus."""
    return _change_load(state, names, event, 1.0)


def load_set(state: Switching, names: Names, event: Event) -> tuple[Switching, str]:
    """Set the power of the load of a bus."""
    return _change_load(state, names, event, 0.0)


def _switch_line(state: Switching, names: Names, event: Event, to: bool) -> tuple[Switching, str]:
    row = names.network.row_of_branch(event.target)
    if state.closed[row] == to:
        return state, f"was {'closed' if to else 'open'} already"
    closed = state.closed.copy()
    closed[row] = to
    return Switching(closed, state.loads, state.connected), "closed" if to else "opened"


def line_open(state: Switching, names: Names, event: Event) -> tuple[Switching, str]:
    """Open a line or transformer at both ends."""
    return _switch_line(state, names, event, False)


def line_close(state: Switching, names: Names, event: Event) -> tuple[Switching, str]:
    """Close a line or transformer."""
    return _switch_line(state, names, event, True)


def unit_trip(state: Switching, names: Names, event: Event) -> tuple[Switching, str]:
    """Disconnect a unit from its bus."""
    row = names.units.index(event.target)
    if not state.connected[row]:
        return state, "was disconnected already"
    connected = state.connected.copy()
    connected[row] = False
    return Switching(state.closed, state.loads, connected), "disconnected"


KINDS: dict[str, Callable[[Switching, Names, Event], tuple[Switching, str]]] = {
    function.__name__: function for function in (load_step, load_set, line_open, line_close, unit_trip)
}


def check(event: Event, names: Names) -> None:
    """Raise ValueError if the event's target does not exist."""
    if event.kind.startswith("line"):
        names.network.row_of_branch(event.target)
    elif event.kind.startswith("load"):
        if names.network.row_of_bus(event.target) not in names.load_of_bus:
            raise ValueError(f"bus {event.target!r} has no load that an event could change")
    elif event.target not in names.units:
        raise ValueError(f"there is no unit {event.target!r}; there are {', '.join(names.units)}")
