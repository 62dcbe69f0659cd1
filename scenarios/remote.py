"""Simulators in other processes: started or connected to, and watched, because mosaik does not notice every death.

When a process dies with a question unread, its connection is reset; mosaik's channel then ends without a word and
the run waits for ever. `Lifeline` looks at the channels and lets what they still wait for fail, as mosaik does when
a connection ends in order.
"""

import asyncio
from pathlib import Path
from typing import Any

from mosaik.starters import CmdStarter, ConnectStarter

LOOK_S = 0.5  # between two looks at the connections
HERE = "process"  # instead of HOST:PORT: a process of its own on this machine


class Lifeline:
    """All simulators of a run that are in other processes."""

    def __init__(self) -> None:
        self._proxies: dict[str, Any] = {}

    def starter(self, name: str, where: str, folder: Path) -> Any:
        """A mosaik starter for the simulator `name` of `gridloop.simulators`, e.g. 'grid' or 'module:MODEL'.

        Args:
            name: as for `python -m gridloop.simulators`.
            where: 'process', or HOST:PORT where it waits already.
            folder: its working folder, where files and modules of the user's are found.
        """
        kept = self._proxies

        if where == HERE:

            class Process(CmdStarter):
                async def start(self, sim_id: str, *rest: Any) -> Any:
                    kept[sim_id] = proxy = await super().start(sim_id, *rest)
                    return proxy

            return Process(f"%(python)s -m gridloop.simulators {name} %(addr)s", cwd=str(folder))

        class Connection(ConnectStarter):
            async def start(self, sim_id: str, *rest: Any) -> Any:
                kept[sim_id] = proxy = await super().start(sim_id, *rest)
                return proxy

        host, _, port = where.rpartition(":")
        return Connection(host, int(port))

    def gone(self) -> list[str]:
        """The simulators whose connection has ended."""
        return [sid for sid, channel in self._channels() if channel._receiver_task.done()]

    async def watch(self) -> None:
        """End what waits for a simulator that is gone. A task for the world's loop; cancel it after the run."""
        while True:
            await asyncio.sleep(LOOK_S)
            for _, channel in self._channels():
                if channel._receiver_task.done():
                    for future in channel._outgoing_request_futures.values():
                        if not future.done():
                            future.set_exception(asyncio.IncompleteReadError(b"", None))

    def _channels(self) -> list[tuple[str, Any]]:
        # private, but nothing else tells a reset connection from a slow answer
        return [(sid, proxy._channel) for sid, proxy in self._proxies.items()]
