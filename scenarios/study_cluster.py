"""Points of a study on a Dask cluster (extra `cluster`)."""

from collections.abc import Callable, Iterator, Sequence

from gridloop.scenarios.study_points import Point
from gridloop.scenarios.study_pool import TRIES
from gridloop.scenarios.study_worker import Order, Outcome, run_point

PATIENCE_S = 10.0


def run_on_cluster(
    points: Sequence[Point], order: Callable[[Point], Order], address: str
) -> Iterator[tuple[Point, Outcome]]:  # fmt: skip
    """Points and their outcomes as they finish; closing the iterator takes back what has not begun.

    Args:
        points: what to run.
        order: what a worker is told of a point.
        address: the scheduler's, `tcp://HOST:PORT`.

    Raises:
        ValueError: distributed is missing, nobody answers at the address, or its workers cannot import gridloop.
        ConnectionError: the scheduler was lost.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise ValueError("--scheduler needs Dask; install the extra: pip install 'gridloop[cluster]'") from None
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        # the scheduler gives what a dead worker had to another one; a point that kills every worker is given up
        futures = {
            client.submit(run_point, order(point), key=f"{point.key}-{place}", retries=TRIES, pure=False): point
            for place, point in enumerate(points)
        }
        try:
            for future in as_completed(futures, loop=client.loop):
                if future.cancelled():
                    raise ConnectionError(f"the scheduler at {address} was lost")
                try:
                    outcome = future.result()
                except KilledWorker as error:
                    outcome = Outcome("failed", f"the workers that ran it died: {error}")
                except Exception as error:
                    raise ValueError(f"a worker of {address} cannot run a point: {error}") from error
                yield futures[future], outcome
        finally:
            client.cancel(list(futures))
