"""Events in the grid: what can be switched or changed, and what each does. Pure: state in, state out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Complex, Mask, Network, Real

PCC = "pcc"  # name of the connection to the public grid


class Event(NamedTuple):
    """Something that is to happen at `t_s`; the other fields count for the kinds that need them."""

    t_s: float
    kind: str  # a key of KINDS
    target: str  # name of the bus, line or unit
    p_kw: float = 0.0  # of load events
    q_kvar: float = 0.0
    r_pu: float = 0.0  # of faults, on the system base
    x_pu: float = 0.0
    sync: bool = True  # of pcc_close: wait until both sides agree


@dataclass(frozen=True)
class Switching:
    """What events change."""

    closed: Mask  # (m,) branches
    loads: Loads  # (k,) as they would be without shedding
    kept: Real  # (k,) share of each load that is not shed
    connected: Mask  # (s,) sources
    injecting: Mask  # (u,) units that inject power
    fault_pu: Complex  # (n,) admittance to ground


@dataclass(frozen=True)
class Names:
    """Where the targets of events stand in the arrays."""

    network: Network
    load_of_bus: dict[int, int]  # row in the network -> row of the load that events change
    sources: tuple[str, ...]
    injections: tuple[str, ...]


Outcome = tuple[Switching, str]


def _change_load(state: Switching, names: Names, event: Event, keep: float) -> Outcome:
    """`keep` 1 adds to the load, 0 replaces it."""
    row = names.load_of_bus[names.network.row_of_bus(event.target)]
    kw = 1e3 * names.network.s_base_mva
    p, q = state.loads.p0_pu.copy(), state.loads.q0_pu.copy()
    p[row] = keep * p[row] + event.p_kw / kw
    q[row] = keep * q[row] + event.q_kvar / kw
    loads = state.loads._replace(p0_pu=p, q0_pu=q)
    return replace(state, loads=loads), f"now {p[row] * kw:g} kW, {q[row] * kw:g} kvar"


def load_step(state: Switching, names: Names, event: Event) -> Outcome:
    """Add power to the load of a bus."""
    return _change_load(state, names, event, 1.0)


def load_set(state: Switching, names: Names, event: Event) -> Outcome:
    """Set the power of the load of a bus."""
    return _change_load(state, names, event, 0.0)


def _switch_line(state: Switching, names: Names, event: Event, to: bool) -> Outcome:
    row = names.network.row_of_branch(event.target)
    if state.closed[row] == to:
        return state, f"was {'closed' if to else 'open'} already"
    closed = state.closed.copy()
    closed[row] = to
    return replace(state, closed=closed), "closed" if to else "opened"


def line_open(state: Switching, names: Names, event: Event) -> Outcome:
    """Open a line or transformer at both ends."""
    return _switch_line(state, names, event, False)


def line_close(state: Switching, names: Names, event: Event) -> Outcome:
    """Close a line or transformer."""
    return _switch_line(state, names, event, True)


def _switch_unit(state: Switching, names: Names, name: str, to: bool) -> Outcome:
    is_source = name in names.sources
    row = (names.sources if is_source else names.injections).index(name)
    mask = (state.connected if is_source else state.injecting).copy()
    if mask[row] == to:
        return state, f"was {'connected' if to else 'disconnected'} already"
    mask[row] = to
    words = "connected" if to else "disconnected"
    return (replace(state, connected=mask) if is_source else replace(state, injecting=mask)), words


def unit_trip(state: Switching, names: Names, event: Event) -> Outcome:
    """Disconnect a unit from its bus."""
    return _switch_unit(state, names, event.target, False)


def unit_start(state: Switching, names: Names, event: Event) -> Outcome:
    """Connect a unit to its bus again; while it was off it followed the voltage there."""
    return _switch_unit(state, names, event.target, True)


def pcc_open(state: Switching, names: Names, event: Event) -> Outcome:
    """Separate from the public grid."""
    return _switch_unit(state, names, PCC, False)


def pcc_close(state: Switching, names: Names, event: Event) -> Outcome:
    """Connect to the public grid."""
    return _switch_unit(state, names, PCC, True)


def _shunt(state: Switching, names: Names, event: Event, sign: float) -> Switching:
    fault = state.fault_pu.copy()
    fault[names.network.row_of_bus(event.target)] += sign / complex(event.r_pu, event.x_pu)
    return replace(state, fault_pu=np.where(np.abs(fault) < 1e-9, 0, fault))


def fault(state: Switching, names: Names, event: Event) -> Outcome:
    """Three-phase short circuit of a bus through r + jx."""
    return _shunt(state, names, event, 1.0), f"through {event.r_pu:g} + j{event.x_pu:g} pu"


def fault_clear(state: Switching, names: Names, event: Event) -> Outcome:
    """Take a short circuit off again."""
    return _shunt(state, names, event, -1.0), "cleared"


KINDS: dict[str, Callable[[Switching, Names, Event], Outcome]] = {
    function.__name__: function
    for function in (
        load_step, load_set, line_open, line_close, unit_trip, unit_start, pcc_open, pcc_close, fault, fault_clear,
    )
}  # fmt: skip


def check(event: Event, names: Names) -> None:
    """Raise ValueError if the event's target does not exist."""
    units = (*names.sources, *names.injections)
    if event.kind.startswith("line"):
        names.network.row_of_branch(event.target)
    elif event.kind.startswith("load"):
        if names.network.row_of_bus(event.target) not in names.load_of_bus:
            raise ValueError(f"bus {event.target!r} has no load that an event could change")
    elif event.kind.startswith("fault"):
        names.network.row_of_bus(event.target)
    elif event.kind.startswith("pcc"):
        if PCC not in names.sources:
            raise ValueError(f"{event.kind}: there is no pcc")
    elif event.target not in units:
        raise ValueError(f"there is no unit {event.target!r}; there are {', '.join(units)}")
