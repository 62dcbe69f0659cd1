"""Serves a serial agent that is none, for developing and testing without hardware; faults on demand.

It is `agent.py` in a thread, with a role of the caller's making. Faults meet every request that is answered:

    late        the answer comes after `delay_s`       silent      no answer, but what was asked is done
    frozen      the answer has the values of before    nan         the answer has no numbers
    exception   the request is refused with `code`     wrong_unit  the answer is to another request
    drop        the line is closed                     slow        the answer comes byte by byte over `delay_s`
    restart     gone for `delay_s`, then there anew
"""

import heapq
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Self

from gridloop.hil.agent import CODECS, Agent, Decoder, Frame, Inverter, Line, Secondary, SerialLine, TcpServer
from gridloop.hil.faults import Fault, Kind, met
from gridloop.hil.frames import MEASURE, REFUSED
from gridloop.hil.messages import MEASURED
from gridloop.hil.serial_line import DEFAULT_BAUD
from gridloop.hil.urls import DeviceUrl

LOOK_S = 0.02


class AgentEmulator:
    """An agent that serves inside a `with` block.

    Args:
        url: where it is found, of kind serial or serial+socket; port 0 takes a free one, see `url` afterwards.
        made: makes its role, at the beginning and after each restart.
        faults: that it begins with.
        period_ms: of a secondary agent.

    Raises:
        OSError: nothing can listen there.
    """

    def __init__(
        self, url: DeviceUrl, made: Callable[[], Secondary | Inverter], faults: Iterable[Fault] = (),
        period_ms: int = 0,
    ) -> None:  # fmt: skip
        self._made, self._period_ms = made, period_ms
        self._codec = url.options.get("codec", "cobs")
        self._line: Line
        if url.transport == "socket":
            self._line = server = TcpServer(url.host, url.port)
            url = replace(url, port=server.listener.getsockname()[1])
        else:
            self._line = SerialLine(url.path, int(url.number("baud", DEFAULT_BAUD)))
        self.url, self.requests = url, 0
        self.written: dict[str, float] = {}  # what it was told last, by attribute
        self._faults = list(faults)
        self._later: list[tuple[float, int, bytes]] = []  # when, a number, what
        self._before: dict[int, tuple[float, ...]] = {}  # by the type of the answer
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._switch_on(0.0)
        self._thread = threading.Thread(target=self._serve, name=f"agent {url.bus}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def fault(self, kind: Kind, **options: Any) -> None:
        """Let something go wrong from now on; the options are those of `Fault`."""
        with self._lock:
            self._faults.append(Fault(kind, **options))

    def clear(self) -> None:
        """Let all be well again."""
        with self._lock:
            self._faults.clear()

    def _switch_on(self, gone_s: float) -> None:
        self._back_s = time.monotonic() + gone_s
        role = self._made()
        self._agent, self._role = Agent(role, self._period_ms), role.name
        self._began_ns = time.monotonic_ns()
        self._before.clear()
        self._later.clear()

    def _serve(self) -> None:
        decoder, generation = Decoder(self._codec), -1
        try:
            while not self._ending.is_set():
                self._restart_if_told()
                if time.monotonic() < self._back_s:
                    time.sleep(LOOK_S)
                    continue
                due_s = self._later[0][0] - time.monotonic() if self._later else LOOK_S
                data = self._line.read(min(max(due_s, 0.0), LOOK_S))
                if self._line.generation != generation:
                    decoder, generation = Decoder(self._codec), self._line.generation
                for frame in decoder.feed(data):
                    self._meet(frame)
                while self._later and self._later[0][0] <= time.monotonic():
                    self._line.write(heapq.heappop(self._later)[2])
        finally:
            self._line.close()
            if isinstance(self._line, TcpServer):
                self._line.listener.close()

    def _restart_if_told(self) -> None:
        with self._lock:
            restart = next((fault for fault in self._faults if fault.kind == "restart"), None)
            if restart is not None:
                self._faults.remove(restart)
        if restart is not None:
            self._line.close()
            self._switch_on(restart.delay_s)

    def _meet(self, request: Frame) -> None:
        """Answer a request, or go wrong as told."""
        self.requests += 1
        if request.type == MEASURE:
            self.written = {
                attr: value
                for attr, value in zip(MEASURED[self._role], request.values, strict=False) if not math.isnan(value)
            }  # fmt: skip
        answer = self._agent.answer(request, self._now_us(), self._now_us())
        if answer is None:
            return
        with self._lock:
            faults = met(self._faults)
        if "drop" in faults:
            self._line.close()
            return
        if "exception" in faults:
            answer = Frame(REFUSED, request.seq, request.t_ms, (float(faults["exception"].code), float(request.type)))
        if "frozen" in faults:
            answer = answer._replace(values=self._before.get(answer.type, answer.values))
        self._before[answer.type] = answer.values
        if "nan" in faults:
            answer = answer._replace(values=tuple(math.nan for _ in answer.values))
        if "wrong_unit" in faults:
            answer = answer._replace(seq=(answer.seq + 1) % (1 << 16))
        if "silent" not in faults:
            self._send(CODECS[self._codec].encode(answer), faults)

    def _send(self, data: bytes, faults: dict[str, Fault]) -> None:
        at_s = time.monotonic() + (faults["late"].delay_s if "late" in faults else 0.0)
        slow_s = faults["slow"].delay_s if "slow" in faults else 0.0
        pieces = [data[k : k + 1] for k in range(len(data))] if slow_s else [data]
        for number, piece in enumerate(pieces):
            due_s = at_s + slow_s * (number + 1) / len(pieces) if slow_s else at_s
            heapq.heappush(self._later, (due_s, self.requests * 10_000 + number, piece))

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self._began_ns) // 1000
