"""One connection over pymodbus 3.16: the only file of the client side that knows it.

pymodbus opens the socket or the serial port and moves bytes; which bytes are an answer is decided in guard. A new
connection gets a new object, so that the end of an old one cannot be taken for the end of the new. What of pymodbus
is set or replaced here, and why:
    retries=0, reconnect_delay=0: it would block for 12 s, and waits up to 300 s between attempts;
    ctx.framer: its framers let wrong answers through, and its TLS framer loses answers in two records;
    ctx.max_buffer_size: it throws away what comes in one piece of more than 264 bytes;
    ctx.call_create: connect() says only that it failed, not why.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusTlsClient
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from gridloop.hil.guard import Request, RtuLine, TcpStream, Verdict
from gridloop.hil.urls import DeviceUrl

READS = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}
LONG_S = 3600.0  # pymodbus' own timeout; the deadline of each request is kept by the link
LARGE = 1 << 16

# It writes a warning or an error, with the last 20 frames, for all that the link reports itself. Whoever wants to see
# them sets a level before.
if logging.getLogger("pymodbus.logging").level == logging.NOTSET:
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class _Guarded:
    """What both framers do: hand the bytes to the guard, and only what it lets through to pymodbus."""

    guard: TcpStream | RtuLine
    request: Request | None = None
    heard: Callable[[], None]
    failed: Callable[[Verdict], None]
    decoder: Any

    def handleFrame(self, data: bytes, _unit: int, transaction: int) -> tuple[int, ModbusPDU | None]:
        """Take all the bytes, whatever they are: the guard keeps what is to come together."""
        verdict = self.guard.feed(data, self.request, transaction)
        self.heard()
        if verdict.fault:
            self.failed(verdict)
        if self.request is None or not verdict.body:
            return len(data), None
        pdu: ModbusPDU | None = self.decoder.decode(verdict.body)
        if pdu is None:
            self.failed(Verdict(fault=f"bytes {verdict.body.hex()} that pymodbus cannot decode"))
            return len(data), None
        pdu.dev_id, pdu.transaction_id = self.request.unit, transaction
        self.request = None
        return len(data), pdu


class _Socket(_Guarded, FramerSocket):
    """Frames with a header, over TCP and TLS."""


class _Rtu(_Guarded, FramerRTU):
    """Frames with a CRC, over a serial line or TCP; pymodbus asks for the class to know that there are no ids."""


class Connection:
    """One connection to a bus; made inside the running event loop.

    Args:
        url: of the bus; unit and map are not looked at.
        lost: called when the other end goes.
        heard: called when bytes came.
        failed: called with the verdict when the bytes cannot be the answer.
    """

    def __init__(
        self, url: DeviceUrl, lost: Callable[[], None], heard: Callable[[], None], failed: Callable[[Verdict], None]
    ) -> None:
        self.reason = ""  # why connecting failed
        self._client = client = _client(url, lambda up: None if up else lost())
        guarded = _Rtu if url.transport in ("rtu", "rtutcp") else _Socket
        self._framer = guarded(client.ctx.framer.decoder)
        self._framer.guard = self.guard = RtuLine() if guarded is _Rtu else TcpStream()
        self._framer.heard, self._framer.failed = heard, failed
        client.ctx.framer = self._framer
        client.ctx.max_buffer_size = LARGE
        self._create = client.ctx.call_create
        client.ctx.call_create = self._noting

    async def _noting(self) -> Any:
        try:
            return await self._create()
        except OSError as wrong:  # ssl.SSLError and serial.SerialException are OSErrors too
            self.reason = str(wrong) or type(wrong).__name__
            raise

    async def connect(self, within_s: float) -> bool:
        """Whether it is connected; `reason` says why not."""
        try:
            async with asyncio.timeout(within_s):
                return bool(await self._client.connect())
        except TimeoutError:
            self.reason = f"no connection within {within_s:g} s"
        except ValueError as wrong:  # pyserial, of a line's settings
            self.reason = str(wrong)
        return False

    async def ask(self, request: Request) -> tuple[list[int], int]:
        """The values of the answer and 0, or none and the exception's code. Waits for ever: the caller has a deadline.

        Raises:
            ConnectionError: not connected, or a stream in which no answer could be told.
        """
        if not self.guard.begin():
            raise ConnectionError("half an answer, and its rest never came")
        self._framer.request = request
        try:
            pdu = await self._client.execute(False, _pdu(request))
        except (ModbusException, OSError) as wrong:
            raise ConnectionError(str(wrong)) from wrong
        finally:
            self._framer.request = None
        if pdu.isError():
            return [], pdu.exception_code
        if request.is_write:
            return [], 0
        items = pdu.bits if request.code in (1, 2) else pdu.registers
        return [int(item) for item in items[: request.count]], 0

    def strays(self) -> list[int]:
        """Units whose answers came unasked since the last call."""
        if not isinstance(self.guard, RtuLine):
            return []
        units, self.guard.strays = self.guard.strays, []
        return units

    def is_damaged(self, request: Request) -> bool:
        """Whether the answer has come, with a wrong checksum."""
        return isinstance(self.guard, RtuLine) and self.guard.is_damaged(request)

    def close(self) -> None:
        """Give up the socket or the port; `lost` is not called for it."""
        self._client.close()


def _pdu(request: Request) -> ModbusPDU:
    place: dict[str, Any] = {"address": request.address, "dev_id": request.unit}
    if request.code in READS:
        return READS[request.code](count=request.count, **place)
    if request.code == 5:
        return WriteSingleCoilRequest(bits=[bool(request.values[0])], **place)
    if request.code == 15:
        return WriteMultipleCoilsRequest(bits=[bool(value) for value in request.values], **place)
    if request.code == 6:
        return WriteSingleRegisterRequest(registers=list(request.values), **place)
    return WriteMultipleRegistersRequest(registers=list(request.values), **place)


def _client(url: DeviceUrl, changed: Callable[[bool], None]) -> Any:
    settings: dict[str, Any] = {
        "timeout": LONG_S,
        "retries": 0,
        "reconnect_delay": 0,
        "trace_connect": changed,
    }
    if url.transport == "rtu":
        return AsyncModbusSerialClient(
            url.path,
            baudrate=int(url.number("baud", 9600)),
            parity=url.options.get("parity", "N"),
            stopbits=int(url.number("stop_bits", 1)),
            handle_local_echo=url.options.get("echo") == "yes",
            **settings,
        )
    if url.transport == "tls":
        return AsyncModbusTlsClient(url.host, port=url.port, sslctx=tls_context(url), **settings)
    framer = FramerType.RTU if url.transport == "rtutcp" else FramerType.SOCKET
    return AsyncModbusTcpClient(url.host, port=url.port, framer=framer, **settings)


def tls_context(url: DeviceUrl) -> ssl.SSLContext:
    """Checks the device's certificate against `ca` (else the system's) and shows ours where the device asks for it.

    Raises:
        ValueError: a file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = url.options.get("hostname") != "any"
    ca, cert, key = (url.options.get(name) for name in ("ca", "cert", "key"))
    try:
        if ca:
            context.load_verify_locations(ca)
        else:
            context.load_default_certs()
    except OSError as wrong:
        raise ValueError(f"device url: ca={ca}: {wrong}") from wrong
    try:
        if cert:
            context.load_cert_chain(cert, key, password="")  # an encrypted key fails, and does not ask the terminal
    except OSError as wrong:
        raise ValueError(f"device url: cert={cert}, key={key}: {wrong}") from wrong
    return context
