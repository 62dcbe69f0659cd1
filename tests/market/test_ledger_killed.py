"""A ledger whose writer is killed at any moment."""

import random
import signal
import subprocess
import sys
import time

from gridloop.simulators.market.ledger import Head
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from ledger_cases import embedded

WRITER = """
import sys
from pathlib import Path
from ledger_cases import OFFER, ROLES, consortium, Market
from gridloop.simulators.market.ledger_embedded import EmbeddedLedger
from gridloop.simulators.market.ledger_keys import simulated

keys = consortium(lambda name: simulated(7, name))[1]
market = Market(EmbeddedLedger.open(Path(sys.argv[1]), [keys[name] for name in ROLES]), keys)
print(*market.ledger.head, flush=True)
while True:
    market.do("house", "propose", **OFFER)
    market.ledger.seal(0)
    print(*market.ledger.head, flush=True)
"""


def test_a_killed_writer_loses_no_block_that_it_had_sealed(tmp_path):
    path, chance = tmp_path / "market.ledger", random.Random(20)
    embedded(path).ledger.close()
    counts = []
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        first = writer.stdout.readline() if writer.stdout else ""  # it is up
        time.sleep(chance.uniform(0.0, 0.1))
        writer.send_signal(signal.SIGKILL)
        told = [first, *writer.communicate()[0].splitlines(keepends=True)]
        number, hash = [line for line in told if line.endswith("\n")][-1].split()  # the very last may be half a line
        ledger = EmbeddedLedger.open(path, anchor=Head(int(number), hash))
        counts.append(ledger.head.number)
        ledger.close()
    assert counts == sorted(counts)
    assert counts[-1] > 10
