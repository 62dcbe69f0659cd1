"""Devices with the map generic_controller on loopback, as quick as Python can be: what hil_cycle.py talks to.

python benchmarks/loopback_device.py AFTER_S COUNT    (prints the ports)
"""

import asyncio
import struct
import sys
from typing import Any

SHOWN = struct.pack(">IIH", 1_000_000, 50_000_000, 0)  # E, f, quality, from address 4


class _Answers(asyncio.Protocol):
    """Modbus TCP as short as it gets: writes are confirmed at once, reads answered after a time.

    It shows what was written, and its own values, which are the same each time but for a heartbeat.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s, self._rest, self._beat, self._written = after_s, b"", 0, bytes(20)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= 6 and len(self._rest) >= (size := 6 + int.from_bytes(self._rest[4:6])):
            asked, self._rest = self._rest[:size], self._rest[size:]
            self._answer(asked)

    def _answer(self, asked: bytes) -> None:
        if asked[7] == 16:
            self._written = asked[13:]
            self._transport.write(asked[:4] + b"\0\6" + asked[6:12])
            return
        self._beat = (self._beat + 1) % 60_000
        shown = self._written if asked[7] == 3 else bytes(8) + SHOWN + self._beat.to_bytes(2)
        address, count = struct.unpack(">HH", asked[8:12])
        body = shown[2 * address : 2 * (address + count)]
        answer = asked[:4] + (3 + len(body)).to_bytes(2) + asked[6:8] + bytes([len(body)]) + body
        if self._after_s:
            asyncio.get_running_loop().call_later(self._after_s, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def serve(after_s: float, count: int) -> None:
    """For as long as the process lives."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(lambda: _Answers(after_s), "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), int(sys.argv[2])))
