"""What two clocks and a line between them tell of each other: four stamps an exchange.

    t1  the host sends            offset     ((t2 - t1) + (t3 - t4)) / 2   of the device's clock to the host's
    t2  the device receives       round trip (t4 - t1) - (t3 - t2)         on the line, both ways
    t3  the device answers        to device  t2 - t1 - offset
    t4  the host receives         to host    t4 - t3 + offset

The offset is that of the exchange with the shortest round trip among the last ones, which queues disturbed least
(Mills et al., RFC 5905, clock filter of 8 stages); its error is at most half that round trip. What the two ways
differ by always is not to be seen: it is taken for an offset.
"""

from collections import deque
from typing import NamedTuple

STAGES = 8
DRIFT_US = 2000  # what two clocks may move apart within so many exchanges
WRAP_US = (1 << 32) * 1000  # a frame's u32 t_ms


class Exchange(NamedTuple):
    """What one exchange showed."""

    at_us: int  # t4
    offset_us: float  # the estimate after it
    error_us: float  # of the estimate, at most
    round_trip_us: int
    to_device_us: float
    to_host_us: float


def apart_us(later_us: int, earlier_us: int) -> int:
    """later - earlier of clocks that begin anew after 2^32 ms."""
    return (later_us - earlier_us + WRAP_US // 2) % WRAP_US - WRAP_US // 2


class ClockOffset:
    """Offset of a device's clock, and the one-way delays that follow from it.

    Attributes:
        jumps: how often the device's clock was set anew, as by a restart; older exchanges count no more then.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._stages: deque[tuple[int, float]] = deque(maxlen=STAGES)

    def add(self, t1_us: int, t2_us: int, t3_us: int, t4_us: int) -> Exchange:
        """Take one exchange.

        Raises:
            ValueError: the device answered before it was asked, or for longer than it took.
        """
        out, back = apart_us(t2_us, t1_us), apart_us(t4_us, t3_us)
        round_trip = apart_us(t4_us, t1_us) - apart_us(t3_us, t2_us)
        if round_trip < 0 or apart_us(t3_us, t2_us) < 0:
            raise ValueError(f"stamps: {t1_us}, {t2_us}, {t3_us}, {t4_us} us are of no exchange")
        here = (round_trip, (out - back) / 2)
        if self._stages and _apart(here, min(self._stages)):
            self.jumps += 1
            self._stages.clear()
        self._stages.append(here)
        shortest, offset = min(self._stages)
        return Exchange(t4_us, offset, shortest / 2, round_trip, out - offset, back + offset)


def _apart(one: tuple[int, float], other: tuple[int, float]) -> bool:
    """Whether two exchanges (round trip, offset) cannot be of one clock: each errs by half its round trip at most."""
    return abs(one[1] - other[1]) > (one[0] + other[0]) / 2 + DRIFT_US
