"""What a grid starts from."""

from dataclasses import dataclass

from gridloop.simulators.models.loads import Loads
from gridloop.simulators.models.network import Complex, Network


@dataclass(frozen=True)
class Case:
    """What a grid starts from.

    `v_start` (n,) and `s_start` (n,) are bus voltages and generated power of the net's own power flow; they serve
    `initial`. `load_names` has one name a row of `loads`; `load_of_bus` tells which of them events change.
    """

    network: Network
    loads: Loads
    load_names: tuple[str, ...]
    load_of_bus: dict[int, int]
    v_start: Complex
    s_start: Complex
