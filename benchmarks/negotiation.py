"""How many messages of a negotiation are handled in a second, and what a slot costs with either protocol.

python benchmarks/negotiation.py
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from gridloop.simulators.market.consensus import agree, chorded_ring
from gridloop.simulators.market.contract_net import Bid, Party, negotiate, rotating
from gridloop.simulators.market.economic import Offer, cost_eur, share

OFFERS = {
    "unit1": Offer(18, 0.30, 5, 30), "unit2": Offer(30, 0.20, 0, 40), "unit3": Offer(12, 0.40, -20, 20),
    "unit4": Offer(14, 0.35, -20, 20), "tie": Offer(25, 0.10, -60, 60),
}  # fmt: skip
HOMES, SLOTS, CONSENSUS_SLOTS = 17, 400, 10


def demands(seed: int, slots: int) -> list[dict[str, float]]:
    """Net demand of every agent in each slot [kW]."""
    random = np.random.default_rng(seed)
    names = [f"home{i}" for i in range(HOMES)]
    return [
        dict(zip(names, random.uniform(-1.0, 3.0, HOMES).tolist(), strict=True)) | dict.fromkeys(OFFERS, 0.0)
        for _ in range(slots)
    ]


def contract_net(demand_kw: list[dict[str, float]]) -> tuple[float, int]:
    """Processor seconds and messages."""
    names = list(demand_kw[0])

    def bid(name: str) -> Callable[[int], Bid]:
        return lambda slot: Bid(demand_kw[slot][name], OFFERS.get(name))

    parties = {name: Party(name, bid(name), rotating(names), names) for name in names}
    began = time.process_time()
    sent = sum(negotiate(parties, slot) for slot in range(len(demand_kw)))
    return time.process_time() - began, sent


def consensus(demand_kw: list[dict[str, float]]) -> tuple[float, int, float]:
    """Processor seconds, messages, and the largest cost beyond the least, relative."""
    edges = chorded_ring(len(demand_kw[0]))
    began, sent, gap = time.process_time(), 0, 0.0
    for demand in demand_kw:
        found = agree(OFFERS, demand, edges)
        least = cost_eur(OFFERS, share(OFFERS, sum(demand.values())).power_kw, 1)
        gap = max(gap, abs(cost_eur(OFFERS, found.power_kw, 1) - least) / abs(least))
        sent += found.messages
    return time.process_time() - began, sent, gap


def main() -> int:
    """Measure and print."""
    called_s, called = contract_net(demands(1, SLOTS))
    agreed_s, agreed, gap = consensus(demands(1, CONSENSUS_SLOTS))
    print(f"{'contract net: messages a second, messages a slot':<52} {called / called_s:10.0f} {called / SLOTS:8.0f}")
    each = agreed / CONSENSUS_SLOTS
    print(f"{'consensus: messages a second, messages a slot':<52} {agreed / agreed_s:10.0f} {each:8.0f}")
    ratio = (agreed_s / CONSENSUS_SLOTS) / (called_s / SLOTS)
    print(f"{'a slot by consensus / by contract net':<52} {ratio:10.1f}")
    print(f"{'cost of consensus beyond the least, at most':<52} {100 * gap:9.3f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
