"""What the ledger in a run's folder holds, and whether all of it is in order."""

import logging

from gridloop.scenarios.result import Metric, Result
from gridloop.scenarios.wire_ledger import LEDGER

log = logging.getLogger(__name__)


def ledger_metrics(result: Result) -> dict[str, Metric]:
    """Figures of the ledger; none without one."""
    path = result.path / LEDGER
    if not path.exists():
        return {}
    from gridloop.simulators.market.ledger import LedgerError
    from gridloop.simulators.market.ledger_embedded import EmbeddedLedger

    figures, good = {}, 0.0
    try:
        ledger = EmbeddedLedger.open(path, read_only=True)  # which verifies all of it
        found = ledger.closed
        ledger.close()
    except LedgerError as error:
        log.warning("%s: %s", path, error)
    else:
        good = 1.0
        figures = {
            "ledger_blocks": Metric(float(found.blocks), "1", "blocks of the ledger"),
            "ledger_transactions": Metric(float(found.txs), "1", "transactions on the ledger"),
        }
    words = "the ledger, 1 = every byte is as its members signed it"
    return figures | {"ledger_verified": Metric(good, "1", words)}
