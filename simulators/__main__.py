"""A simulator in a process of its own: `python -m gridloop.simulators NAME HOST:PORT`.

It connects to mosaik at HOST:PORT (mosaik's CmdStarter), or with --listen waits there for mosaik (ConnectStarter).
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Any

from gridloop.simulators import SIM_CONFIG

log = logging.getLogger("gridloop.simulators")

LOOK_S = 0.5  # between two looks at whether the connection still stands
EXAMPLES = """in a mosaik scenario:
  world.start(CmdStarter("%(python)s -m gridloop.simulators grid %(addr)s"), "Grid", net="case9")
or, with `python -m gridloop.simulators grid 127.0.0.1:5678 --listen` running already:
  world.start(ConnectStarter("127.0.0.1", 5678), "Grid", net="case9")
"""


def make(name: str) -> Any:
    """A simulator by its name in SIM_CONFIG, or that of a user's own device model `module:MODEL`.

    Raises:
        ValueError: there is none of that name.
    """
    known = {key.lower(): entry["python"] for key, entry in SIM_CONFIG.items()}
    target = known.get(name.lower(), name)
    if ":" not in target:
        close = get_close_matches(name.lower(), known, n=1)
        there_are = f"there are {', '.join(known)}, and MODULE:MODEL for a device model of your own"
        raise ValueError(f"there is no simulator {name!r}; {f'did you mean {close[0]}?' if close else there_are}")
    module, _, attribute = target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{target}: {error}") from error
    if callable(found):
        return found(json=True) if "json" in signature(found).parameters else found()
    from gridloop.simulators.device import DeviceSimulator

    return DeviceSimulator(found, json=True)


async def serve(simulator: Any, host: str, port: int, listen: bool, timeout_s: float) -> None:
    """Answer mosaik until it says stop.

    Raises:
        ConnectionError: mosaik is not there, or goes away in the middle.
        TimeoutError: it does not come in time.
    """
    from mosaik_api_v3.connection import Channel, EndOfRequests

    reader, writer = await asyncio.wait_for(_streams(host, port, listen), timeout_s)
    channel = Channel(reader, writer)
    # asyncio would print what nobody has asked for
    channel._receiver_task.add_done_callback(lambda task: task.cancelled() or task.exception())
    working = asyncio.create_task(_answer(channel, simulator))
    # the channel's own task dies of a connection that is reset and leaves its requests waiting for ever
    while not working.done() and reader.exception() is None:
        await asyncio.wait([working], timeout=LOOK_S)
    if not working.done():
        working.cancel()
    try:
        await working
    except (EndOfRequests, asyncio.CancelledError) as error:
        raise ConnectionError("mosaik closed the connection in the middle of a run") from error
    finally:
        writer.close()


async def _answer(channel: Any, simulator: Any) -> None:
    """What mosaik's own run_simulator does, but an `init` that fails says so to mosaik instead of hanging up."""
    from mosaik_api_v3 import run

    request = await channel.next_request()
    _, args, kwargs = request.content
    try:
        meta = simulator.init(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the user reads it at mosaik's end
        await request.set_exception(error)
        return
    await request.set_result(meta)
    try:
        await run(channel, simulator)
    finally:
        simulator.finalize()


async def _streams(host: str, port: int, listen: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if not listen:
        return await asyncio.open_connection(host, port)
    arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take_first(*streams: Any) -> None:
        if not arrived.done():
            arrived.set_result(streams)

    server = await asyncio.start_server(take_first, host, port)
    log.info("waiting for mosaik at %s:%d", host, port)
    try:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] = await arrived
        return streams
    finally:
        server.close()


def _parser() -> argparse.ArgumentParser:
    known = ", ".join(name.lower() for name in SIM_CONFIG)
    parser = argparse.ArgumentParser(
        prog="python -m gridloop.simulators", description="Run one simulator in a process of its own, for mosaik.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help=f"{known}; MODULE:MODEL for a device model of your own")
    parser.add_argument("address", metavar="HOST:PORT", help="where mosaik waits, or where to wait for it")
    parser.add_argument("-r", "--remote", "--listen", action="store_true", help="wait at HOST:PORT for mosaik")
    parser.add_argument("-t", "--timeout", type=float, default=60, metavar="S", help="how long to wait (60 s)")
    parser.add_argument(
        "-l", "--log-level", default="warning", choices=("debug", "info", "warning", "error", "critical")
    )
    return parser


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 no mosaik, 2 wrong arguments."""
    parser = _parser()
    arguments = parser.parse_args(given)
    logging.basicConfig(level=arguments.log_level.upper(), format="%(name)s %(levelname)s: %(message)s")
    host, _, port = arguments.address.rpartition(":")
    if not host or not port.isdecimal():
        parser.error(f"{arguments.address!r} is not HOST:PORT")
    try:
        simulator = make(arguments.name)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(serve(simulator, host, int(port), arguments.remote, arguments.timeout))
    except (OSError, TimeoutError) as error:
        log.error("%s: %s", arguments.name, error if str(error) else "mosaik did not come in time")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
