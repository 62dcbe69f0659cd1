"""The line to one serial agent: bytes to and from a serial port or a TCP connection, which is made again when lost.

A port is read when the system says that there is something to read. What does not fit into the system's buffer is not
sent later: it would be old by then.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Protocol

from gridloop.hil.guard import Backoff
from gridloop.hil.links import CONNECT_S, Busy, LinkDown
from gridloop.hil.urls import DeviceUrl

log = logging.getLogger(__name__)

PIECE = 4096
MOST_WAITING = 16384  # bytes that a network connection has not taken yet
DEFAULT_BAUD = 115200


class Connected(Protocol):
    """An open port or connection."""

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            Busy: not all of it, or nothing.
        """

    def close(self) -> None:
        """End it; a second time does nothing."""


class SerialLine:
    """Bytes to and from an agent; made and used in a running loop.

    Args:
        url: of kind serial or serial+socket.
        heard: takes the bytes that come.
        lost: is told why a connection is lost.

    Attributes:
        connected: times.
        reason: why there is no connection.
    """

    def __init__(self, url: DeviceUrl, heard: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self.url, self._heard, self._tell_lost = url, heard, lost
        self.connected, self.reason = 0, "not opened"
        self._connection: Connected | None = None
        self._down, self._tried = asyncio.Event(), asyncio.Event()
        self._backoff = Backoff()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Connected; says nothing about who is there."""
        return self._connection is not None

    async def open(self) -> None:
        """Connect; returns after the first attempt, whatever came of it. Further ones go on until close."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"line {self.url.bus}")
        await self._tried.wait()

    async def close(self) -> None:
        """Hang up and stay so."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            LinkDown: there is no connection.
            Busy: the other end does not take them.
        """
        if self._connection is None:
            raise LinkDown(f"{self.url.bus} is not connected: {self.reason}")
        try:
            self._connection.send(data)
        except Busy:
            raise
        except OSError as error:
            self.lose(str(error))
            raise LinkDown(f"{self.url.bus} was lost: {error}") from error

    def proven(self) -> None:
        """Somebody answers: the next loss may be mended at once."""
        self._backoff.reset()

    def lose(self, reason: str) -> None:
        """Hang up and connect again."""
        if self._connection is not None:
            self._hang_up(reason)
            self._down.set()
            self._tell_lost(reason)

    def _hang_up(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        self.reason = reason
        if connection is not None:
            connection.close()

    async def _keep(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._backoff.wait_s())
                self._down = asyncio.Event()
                try:
                    self._connection = await self._opened()
                except OSError as error:
                    self.reason = str(error) or "no answer"
                else:
                    self.connected += 1
                    log.debug("%s is connected", self.url.bus)
                self._tried.set()
                if self._connection is not None:
                    await self._down.wait()
        finally:
            self._hang_up("closed")
            self._tried.set()

    async def _opened(self) -> Connected:
        if self.url.transport != "socket":
            return _Port(self.url, self._heard, self.lose)
        made = _Network(self._heard, self.lose)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_connection(lambda: made, self.url.host, self.url.port)
        return made


class _Network(asyncio.Protocol):
    """A TCP connection."""

    def __init__(self, heard: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._heard, self._lost = heard, lost
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(str(exc or "the other end hung up"))

    def send(self, data: bytes) -> None:
        if self._transport.get_write_buffer_size() > MOST_WAITING:
            raise Busy("the other end does not take what is sent")
        self._transport.write(data)

    def close(self) -> None:
        self._lost = lambda reason: None  # what is told later is of no connection that counts
        self._transport.abort()


class _Port:
    """A serial port; pyserial opens it, its descriptor is read and written."""

    def __init__(self, url: DeviceUrl, heard: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        import serial  # slow to import, and not needed for networks

        self._heard, self._lost = heard, lost
        try:
            self._serial = serial.Serial(
                url.path, int(url.number("baud", DEFAULT_BAUD)), parity=url.options.get("parity", "N"),
                stopbits=int(url.number("stop_bits", 1)), exclusive=True,
            )  # fmt: skip
        except Exception as error:  # a driver's: termios.error is no OSError
            raise LinkDown(str(error)) from error
        self._descriptor: int = self._serial.fileno()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(str(error))
            return
        if data:
            self._heard(data)
        else:
            self._lost("the port hung up")

    def send(self, data: bytes) -> None:
        try:
            taken = os.write(self._descriptor, data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            raise Busy("the port does not take what is sent")

    def close(self) -> None:
        if self._serial.is_open:
            self._loop.remove_reader(self._descriptor)
            self._serial.close()
