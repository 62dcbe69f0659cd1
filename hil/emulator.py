"""Serves a register map as a Modbus device, for developing and testing without hardware; faults on demand.

An emulator listens on loopback addresses unless told otherwise, in a thread and an asyncio loop of its own.
"""

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Self, cast

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from gridloop.hil import urls
from gridloop.hil.bank import Bank, Behave
from gridloop.hil.faults import Fault, Kind, met
from gridloop.hil.loop_thread import LoopThread
from gridloop.hil.pty_cable import PtyCable
from gridloop.hil.registers import RegisterMap

__all__ = ["Behave", "Emulator", "Fault"]

PTY = "pty"
FUNCTIONS = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil", 16: "holding",
             22: "holding", 23: "holding"}  # fmt: skip
WRITES = (5, 6, 15, 16, 22, 23)

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # it prints frames; what fails is told by errors here


class Emulated:
    """An emulated device apart from its wire: registers, unit number, faults; used in the server's loop only."""

    def __init__(self, url: urls.DeviceUrl, bank: Bank, clock: Callable[[], float]) -> None:
        self.unit = url.unit
        self.on_a_line = url.transport in ("rtu", "rtutcp")  # with others: what is for them is left to them
        self.bank = bank
        self.clock = clock
        self.faults: list[Fault] = []
        self.requests = 0

    def show_faults(self) -> None:
        """Let the lasting faults act on the registers."""
        self.bank.frozen = any(fault.kind == "frozen" for fault in self.faults)
        self.bank.unknown = any(fault.kind == "nan" for fault in self.faults)

    # what pymodbus asks a datastore for
    async def async_getValues(self, device_id: int, func_code: int, address: int, count: int = 1) -> Any:
        """Registers, or the exception."""
        del device_id
        found = self.bank.read(FUNCTIONS[func_code], address, count, self.clock())
        return ExcCodes(found) if isinstance(found, int) else found

    async def async_setValues(
        self, device_id: int, func_code: int, address: int, values: list[int] | list[bool]
    ) -> ExcCodes | None:
        """None, or the exception."""
        del device_id
        code = self.bank.write(FUNCTIONS[func_code], address, [int(value) for value in values], self.clock())
        return ExcCodes(code) if code else None


class _Connection(ServerRequestHandler):
    """One client's connection. pymodbus's own answers a late request with the number of the newest one."""

    def __init__(self, owner: Any, device: Emulated) -> None:
        super().__init__(owner, None, None, None)  # type: ignore[no-untyped-call]
        self.device = device
        self.tasks: set[asyncio.Task[None]] = set()

    def handle_later(self) -> None:
        """A request has come."""
        request, self.last_pdu = self.last_pdu, None
        if request is not None:
            task = self.loop.create_task(self.answer(request))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, request: ModbusPDU) -> None:
        """Answer a request, or go wrong as told."""
        device = self.device
        device.requests += 1
        if request.dev_id != device.unit:
            if device.on_a_line:
                return  # others on the line may have it
            self.send_answer(request, ExceptionResponse(request.function_code, ExcCodes.GATEWAY_NO_RESPONSE), {})
            return
        faults = met(device.faults, "write" if request.function_code in WRITES else "read")
        if "drop" in faults:
            self.close()
        elif "exception" in faults:
            self.send_answer(request, ExceptionResponse(request.function_code, faults["exception"].code), faults)
        else:
            device.show_faults()
            response = await request.datastore_update(cast(Any, device), request.dev_id)
            if "silent" in faults:
                return
            if "late" in faults:
                await asyncio.sleep(faults["late"].delay_s)
            self.send_answer(request, response, faults)

    def send_answer(self, request: ModbusPDU, response: ModbusPDU, faults: dict[str, Fault]) -> None:
        """Put an answer on the wire."""
        response.transaction_id = request.transaction_id
        response.dev_id = request.dev_id + ("wrong_unit" in faults)
        if self.transport is None:
            return
        if "slow" in faults:
            data = self.framer.buildFrame(response)
            for at in range(len(data)):
                after_s = faults["slow"].delay_s * at / len(data)
                self.loop.call_later(after_s, self._send_byte, data[at : at + 1])
        else:
            self.pdu_send(response)

    def _send_byte(self, data: bytes) -> None:
        if self.transport is not None:
            self.send(data)


class _TcpServer(ModbusTcpServer):
    device: Emulated

    def callback_new_connection(self) -> _Connection:
        return _Connection(self, self.device)


class _TlsServer(ModbusTlsServer):
    device: Emulated

    def callback_new_connection(self) -> _Connection:
        return _Connection(self, self.device)


class _SerialServer(ModbusSerialServer):
    device: Emulated

    def callback_new_connection(self) -> _Connection:
        return _Connection(self, self.device)


Server = _TcpServer | _TlsServer | _SerialServer


class Emulator:
    """An emulated device that serves inside a `with` block.

    Args:
        url: where it is found, e.g. modbus+tcp://127.0.0.1:5020/1; port 0 takes a free one, and `pty` in place of a
            serial port makes one, see `url` afterwards.
        map: its registers.
        words: registers that belong to no point of it, by function and address.
        behave: see `Bank`; called in the emulator's thread.
        faults: that it begins with.
        clock: monotonic time [s].
        anywhere: also listen on an address that other machines reach.

    Raises:
        ValueError: the address is not a loopback address and `anywhere` was not given.
        OSError: nothing can listen there.
    """

    def __init__(
        self, url: str | urls.DeviceUrl, map: RegisterMap, behave: Behave, faults: Iterable[Fault] = (), *,
        words: Mapping[tuple[str, int], int] | None = None, clock: Callable[[], float] = time.monotonic,
        anywhere: bool = False,
    ) -> None:  # fmt: skip
        self.url = served_at(url) if isinstance(url, str) else url
        refuse_other_machines(self.url, anywhere)
        self.device = Emulated(self.url, Bank(map, behave, words), clock)
        self.device.faults = list(faults)
        self._port = self.url.path  # serial
        self._held = ExitStack()
        self._server: Server | None = None
        self._thread = LoopThread(f"emulator {self.url.bus}")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            if self._port == PTY:
                cable = self._held.enter_context(PtyCable())
                self._port, self.url = cable.near, replace(self.url, path=cable.far)
            self._thread.do(self._open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def written(self) -> dict[str, float]:
        """The set-points as the device has them now."""
        return self._thread.do(self._written())

    @property
    def requests(self) -> int:
        """How many requests came so far."""
        return self.device.requests

    def fault(self, kind: Kind, **options: Any) -> None:
        """Let something go wrong from now on; the options are those of `Fault`."""
        new = Fault(kind, **options)
        self._thread.do(self._restart(new.delay_s) if kind == "restart" else self._add(new))

    def clear(self) -> None:
        """Let all be well again."""
        self._thread.do(self._clear())

    def kill(self) -> None:
        """Vanish: close every connection and listen no more; `revive` brings it back."""
        self._thread.do(self._shut())

    def revive(self) -> None:
        """Be switched on again, with the defaults."""
        self._thread.do(self._open())

    def close(self) -> None:
        """End the server and its thread; a second time does nothing."""
        self._thread.end(self._shut)
        self._held.close()

    async def _written(self) -> dict[str, float]:
        self.device.bank.refresh(self.device.clock())
        return dict(self.device.bank.written)

    async def _add(self, fault: Fault) -> None:
        self.device.faults.append(fault)

    async def _clear(self) -> None:
        self.device.faults.clear()
        self.device.show_faults()

    async def _restart(self, down_s: float) -> None:
        await self._shut()
        loop = self._thread.loop
        loop.call_later(down_s, lambda: loop.create_task(self._open()))

    async def _open(self) -> None:
        if self._server is not None:
            return
        self.device.bank.switch_on(self.device.clock())
        server = self._made()
        server.device = self.device
        if not await server.listen():
            raise OSError(f"{self.url.bus}: nothing can listen there; is another program using it?")
        self._server = server
        if self.url.host:
            sockets = cast(Any, server.transport).sockets
            self.url = replace(self.url, port=sockets[0].getsockname()[1])

    def _made(self) -> Server:
        """The server of the URL's transport; its datastore is never asked, `_Connection` has the device."""
        url, unused = self.url, SimDevice(id=0, simdata=[SimData(0, values=0, datatype=DataType.REGISTERS)])
        if url.transport in ("rtu", "serial"):
            return _SerialServer(
                unused, port=self._port, baudrate=int(url.options.get("baud", 9600)),
                parity=url.options.get("parity", "N"), reconnect_delay=0.0,
            )  # fmt: skip
        if url.transport == "tls":
            return _TlsServer(unused, address=(url.host, url.port), sslctx=_tls(url))
        framer = FramerType.RTU if url.transport == "rtutcp" else FramerType.SOCKET
        return _TcpServer(unused, address=(url.host, url.port), framer=framer)

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.shutdown()  # type: ignore[no-untyped-call]
            await asyncio.sleep(0)


def _tls(url: urls.DeviceUrl) -> Any:
    import ssl

    options = url.options
    if "cert" not in options or "key" not in options:
        raise ValueError("a TLS server needs its certificate: add ?cert=FILE&key=FILE (and ca=FILE to check clients)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options["cert"], options["key"])
    if "ca" in options:
        context.load_verify_locations(options["ca"])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def served_at(url: str) -> urls.DeviceUrl:
    """The URL, whose port may be 0 here."""
    taken = re.sub(r":0(?=[/?]|$)", ":1", url, count=1)
    parsed = urls.parse(taken)
    return parsed if taken == url else replace(parsed, port=0)


def refuse_other_machines(url: urls.DeviceUrl, anywhere: bool) -> None:
    """Raise ValueError for an address that others reach, unless they may."""
    if url.host and not anywhere and not _is_loopback(url.host):
        raise ValueError(f"{url.host}: other machines could reach it and write; take 127.0.0.1, or allow it expressly")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
