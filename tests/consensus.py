"""A consensus of agents over channels, message by message, and the criterion by which its stability is judged."""

import zlib
from typing import Any

import numpy as np

from gridloop.simulators.models import graph
from gridloop.simulators.models.channel import Channel, LinkParams
from gridloop.simulators.models.exchange import Exchange
from gridloop.simulators.models.secondary import Gains, Neighbour, Own, Shared, frequency_f

CASES = [(kind, n) for kind in ("line", "ring", "full") for n in (3, 5, 10)]
PERIODS_S = (0.01, 0.02, 0.05, 0.1, 0.2)
# physics.md 3.1: largest stable delay in ticks, a row a graph, a column a period; c = 1 1/s
LARGEST_TICKS = {
    ("line", 3): (51, 25, 9, 4, 2), ("line", 5): (42, 21, 8, 3, 1), ("line", 10): (39, 19, 7, 3, 1),
    ("ring", 3): (51, 25, 9, 4, 2), ("ring", 5): (42, 21, 8, 3, 1), ("ring", 10): (38, 19, 7, 3, 1),
    ("full", 3): (51, 25, 9, 4, 2), ("full", 5): (30, 15, 5, 2, 0), ("full", 10): (15, 7, 2, 0, -1),
}  # fmt: skip


class Team:
    """Agents that run law F without a pin over channels, from the values `start` held since ever.

    Args:
        graph_kind: as `graph.edges` takes it.
        start: the n first values.
        period_s: of the agents, who all step together.
        link: of every channel.
        handling: matched or neighbour_only.
        seed: of the channels.
    """

    def __init__(
        self, graph_kind: Any, start: Any, period_s: float, link: LinkParams, handling: Any = "matched", seed: int = 0
    ) -> None:
        names = [f"a{k}" for k in range(len(start))]
        self.values = dict(zip(names, map(float, start), strict=True))
        self._period_us, self._t_us = round(1e6 * period_s), 0
        self._gains = Gains(c2_per_s=1.0)
        self._exchange = {name: Exchange[Shared](handling) for name in names}
        self._channels = {
            pair: Channel(link, np.random.default_rng([seed, zlib.crc32("->".join(pair).encode())]))
            for pair in graph.links(graph.edges(graph_kind, names))
        }
        before = -1
        for name in names:
            self._exchange[name].remember(before, Shared(self.values[name]))
        for sender, receiver in self._channels:
            self._exchange[receiver].receive(sender, before, Shared(self.values[sender]))

    @property
    def spread(self) -> float:
        """Largest difference of two values."""
        return max(self.values.values()) - min(self.values.values())

    def tick(self) -> None:
        """Everybody sends, receives and moves on by one period."""
        now, shared = self._t_us, {name: Shared(value) for name, value in self.values.items()}
        for name, exchange in self._exchange.items():
            exchange.remember(now, shared[name])
        for (sender, receiver), channel in self._channels.items():
            channel.send(now, shared[sender], 64)
            if channel.next_arrival_us is not None and channel.next_arrival_us <= now:
                newest = channel.newest
                channel.receive(now)
                if channel.newest is not None and channel.newest is not newest:
                    self._exchange[receiver].receive(sender, channel.newest.stamp_us, channel.newest.payload)
        for name, exchange in self._exchange.items():
            heard = [Neighbour(pair.own, pair.theirs) for pair in exchange.pairs(now).values()]
            rate = frequency_f(Own(shared[name]), heard, self._gains).omega_rad_per_s2
            self.values[name] += rate * self._period_us * 1e-6
        self._t_us += self._period_us


def is_stable(team: Team, ticks: int) -> bool:
    """physics.md 3.1: by the largest spread of the 200 ticks that end at half of `ticks` and at their end."""
    first, early, late, block = team.spread, 0.0, 0.0, 0.0
    for k in range(1, ticks + 1):
        team.tick()
        spread = team.spread
        if spread > 1e9 * first:  # it does not come back from there
            return False
        early = max(early, spread) if ticks // 2 - 200 < k <= ticks // 2 else early
        late = max(late, spread) if ticks - 200 < k else late
        block = max(block, spread)
        if k % 200 == 0:
            if block < 1e-10 * first:  # nor from here
                return True
            block = 0.0
    return late < 1e-9 * first or late < 0.99 * early


def stable_at(case: tuple[str, int], period_s: float, delay_ticks: int) -> bool:
    """Whether the team of a cell of table 3.1 is stable with this delay, from a random start."""
    kind, n = case
    start = np.random.default_rng(n).standard_normal(n)
    link = LinkParams(delay_ms=1e3 * period_s * delay_ticks)
    return is_stable(Team(kind, start, period_s, link), max(4000, 400 * (delay_ticks + 1)))
