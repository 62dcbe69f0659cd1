"""What a grid starts from."""

from dataclasses import dataclass
from typing import NamedTuple

from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Complex, Network


class Synchrocheck(NamedTuple):
    """How far both sides of an open switch may be apart when it closes."""

    angle_deg: float
    df_hz: float
    dv_pu: float


class Pcc(NamedTuple):
    """The connection to the public grid: an EMF of constant frequency behind its short-circuit impedance."""

    bus: str
    z_pu: complex  # system base, not 0
    v_pu: float
    angle_rad: float  # at the start, in the frame that turns at nominal frequency
    f_hz: float
    closed: bool
    sync: Synchrocheck


class Stage(NamedTuple):
    """One stage of under-frequency load shedding: after `delay_s` below `below_hz` it sheds `share` of each load."""

    below_hz: float
    delay_s: float
    share: float  # of the load before any shedding, 0..1
    loads: tuple[int, ...]  # rows


@dataclass(frozen=True)
class Case:
    """What a grid starts from.

    `v_start` (n,) and `s_start` (n,) are bus voltages and generated power of the net's own power flow; they serve
    `initial`. `load_names` has one name a row of `loads`; `load_of_bus` tells which of them events change.
    `bus_filter_s` is the time constant of frequencies measured at the loads' buses; None gives every load the
    mean frequency of the sources of its island.
    """

    network: Network
    loads: Loads
    load_names: tuple[str, ...]
    load_of_bus: dict[int, int]
    v_start: Complex
    s_start: Complex
    pcc: Pcc | None = None
    shedding: tuple[Stage, ...] = ()
    bus_filter_s: float | None = None
