"""One connection to a bus over pymodbus 3.16: the only file of the client side that knows it.

pymodbus opens the socket or the serial port and moves bytes; what is asked and which bytes are an answer is the
matter of guard. A new connection gets a new object, so that the end of an old one cannot be taken for the end of the
new. What of pymodbus is set or replaced here, and why:
    retries=0, reconnect_delay=0: it would block for 12 s, and waits up to 300 s between attempts;
    ctx.callback_data: its framers let wrong answers through, its TLS framer loses answers in two records, and its
        execute() takes as long as all the rest of a request;
    ctx.max_buffer_size: it throws away what comes in one piece of more than 264 bytes;
    ctx.call_create: connect() says only that it failed, not why.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient, AsyncModbusTlsClient

from gridloop.hil.guard import EXCEPTION_BIT, Request, RtuLine, TcpStream, Verdict
from gridloop.hil.urls import DeviceUrl

LONG_S = 3600.0  # pymodbus' own timeout; deadlines are kept by the link
LARGE = 1 << 16
HOST_MISMATCH = (62, 64)  # of a name, of an address: X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH

# It writes a warning or an error, with the last 20 frames, for all that the link reports itself. Whoever wants to see
# them sets a level before.
if logging.getLogger("pymodbus.logging").level == logging.NOTSET:
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


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
        self._heard, self._failed = heard, failed
        self.guard: TcpStream | RtuLine = RtuLine() if url.transport in ("rtu", "rtutcp") else TcpStream()
        self._request: Request | None = None  # that is waited for
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transaction = 0
        self._trace: Callable[[bool, bytes], object] = lambda sent, frame: None
        self._client = _client(url, lambda up: None if up else lost())
        self._wire = wire = self._client.ctx
        wire.callback_data = self._take
        wire.max_buffer_size = LARGE
        self._create = wire.call_create
        wire.call_create = self._noting

    async def _noting(self) -> Any:
        try:
            return await self._create()
        except ssl.SSLCertVerificationError as wrong:
            fix = "" if wrong.verify_code in HOST_MISMATCH else "; ca= is the authority that signed it"
            self.reason = f"its certificate is refused: {wrong.verify_message}{fix}"
            raise
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
        if not self._wire.is_active():
            raise ConnectionError("it is closed")
        self._transaction = self._transaction % 0xFFFF + 1
        self._request, self._answer = request, asyncio.get_running_loop().create_future()
        frame = self.guard.frame(request, self._transaction)
        self._trace(True, frame)
        try:
            self._wire.send(frame)
            body = await self._answer
        finally:
            self._request = None
        return ([], body[1]) if body[0] & EXCEPTION_BIT else (request.items(body), 0)

    def _take(self, data: bytes, addr: object = None) -> int:
        """Bytes have come; all are taken, whatever they are: the guard keeps what is to come together."""
        del addr
        self._trace(False, data)
        verdict = self.guard.feed(data, self._request, self._transaction)
        self._heard()
        if verdict.fault:
            self._failed(verdict)
        if self._request is not None and verdict.body and not self._answer.done():
            self._request = None
            self._answer.set_result(verdict.body)
        return len(data)

    def trace(self, take: Callable[[bool, bytes], object]) -> None:
        """Let `take` see all bytes: (whether they are sent, bytes)."""
        self._trace = take

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
    return AsyncModbusTcpClient(url.host, port=url.port, **settings)


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
